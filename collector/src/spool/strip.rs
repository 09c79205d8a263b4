//! A pseudonym waits in the spool for a week at most ([`STRIP_AFTER`]), whatever ClickHouse does meanwhile.
//!
//! A segment that was begun longer ago, sealed or parked, is written anew without its pseudonyms: in each row of an event the visitor becomes 0, as if none
//! had been known; everything else is as it was, the segment's number, its rows' order, their hashes and the lengths. As with every rewrite, the new file is
//! synced whole before it takes the old one's name. What cannot be read cannot be stripped: a frame that is damaged, or whose rows are none that this version
//! knows, is zeros in the new file, which is as damaged as the old one was and is dealt with in the same way; and a damaged piece in quarantine is removed
//! when it is a week old.
//!
//! The events are counted as stripped from then on, and no longer as waiting or parked, until they are in the tables or are given up.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{MutexGuard, PoisonError};

use super::disk;
use super::format::{self, FOOTER, Frame, HASH, Seed, Totals};
use super::inspect::{self, QUARANTINE};
use super::recover::scan;
use super::sealed::read_header;
use super::segment::sealed_path;
use super::{Gauge, Spool, parked};
use crate::clock::UnixMillis;
use crate::leak;
use crate::limits::STRIP_AFTER;
use crate::row::stored::{self, layout_of};
use crate::row::{EVENTS, TableLayout};

/// What has become older than a week since the last look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stripped {
    /// Events that have no pseudonym any more.
    pub events: u64,
    /// Damaged pieces that were removed.
    pub pieces: u64,
}

impl Spool {
    /// Strips what has waited for a week at `now`. Blocking, and cheap while there is nothing. To be called where orders are carried out, so that the two
    /// never meet on one file.
    pub fn strip(&self, now: UnixMillis) -> io::Result<Stripped> {
        let mut stripped = Stripped::default();
        if leak::planted("never_stripped") {
            return Ok(stripped);
        }
        let week = u64::try_from(STRIP_AFTER.as_millis()).unwrap_or(u64::MAX);
        let bound = now.minus(week);
        for batch in self.gauge().begun_before(bound) {
            let path = sealed_path(self.folder(), batch);
            if disk::exists(&path)? {
                stripped.events += self.strip_segment(&path, bound)?;
            }
        }
        for path in disk::list(&self.folder().join(parked::FOLDER))? {
            if !self.gauge().stripped_segments().contains_key(stem(&path)) {
                stripped.events += self.strip_segment(&path, bound)?;
            }
        }
        for path in disk::list(&self.folder().join(QUARANTINE))? {
            stripped.pieces += u64::from(self.remove_old_piece(&path, now, bound)?);
        }
        Ok(stripped)
    }

    /// Strips the segment at `path` if it was begun before `bound`; returns how many events that were.
    fn strip_segment(&self, path: &Path, bound: UnixMillis) -> io::Result<u64> {
        let file = match disk::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
            opened => opened?,
        };
        let Some((header, start)) = read_header(&file)?.filter(|(header, _)| header.begun < bound) else { return Ok(0) };
        if *header.table != *EVENTS.table {
            return Ok(0);
        }
        let layout = layout_of(&header.table, header.schema_id, &header.columns).ok();
        let length = disk::length(&file)?;
        let scan = scan(&file, header.seed(), start as u64..length)?;
        let fresh = self.folder().join(path.with_extension("fresh").file_name().unwrap_or_default());
        disk::remove(&fresh)?;
        let copy = disk::create(&fresh)?;
        disk::write_at(&copy, &header.encode(), 0)?;
        let (mut totals, mut written) = (Totals::default(), Ok(()));
        inspect::good_frames(&file, header.seed(), &scan.good, |offset, frame| {
            if let Some((bytes, checksum)) = layout.and_then(|layout| without_pseudonyms(layout, header.seed(), &frame)) {
                totals.add(frame.count, frame.rows.len(), checksum);
                written = disk::write_at(&copy, &bytes, offset);
            }
            written.is_ok()
        })?;
        written?;
        // What could not be read is zeros now, so the file is as damaged as it was: it says how much it held.
        if let Some((stated, end)) = scan.stated {
            disk::write_at(&copy, &Totals { chain: totals.chain, ..stated }.encode(header.seed()), end - FOOTER as u64)?;
        }
        disk::truncate(&copy, length)?;
        disk::sync(&copy)?;
        let held = self.gauge().files();
        if !disk::exists(path)? {
            // Delivered meanwhile.
            return disk::remove(&fresh).map(|()| 0);
        }
        disk::rename(&fresh, path)?;
        let events = scan.stated.map_or(scan.totals, |(stated, _)| stated).rows;
        self.gauge().stripped(path, events);
        drop(held);
        disk::sync_folder(path.parent().unwrap_or(Path::new(".")))?;
        disk::sync_folder(self.folder())?;
        Ok(events)
    }

    /// Removes a piece that is a week old: a part of a segment says in its name when that was begun, a whole file when it was first seen here.
    fn remove_old_piece(&self, path: &Path, now: UnixMillis, bound: UnixMillis) -> io::Result<bool> {
        let Some(since) = since(path) else {
            disk::rename(path, &dated(path, now))?;
            return Ok(false);
        };
        if since >= bound {
            return Ok(false);
        }
        let bytes = disk::length(&disk::open(path)?)?;
        disk::remove(path)?;
        disk::sync_folder(path.parent().unwrap_or(Path::new(".")))?;
        self.gauge().piece_removed(bytes);
        Ok(true)
    }
}

/// The name of a piece that says since when it counts.
pub(super) fn dated(path: &Path, since: UnixMillis) -> PathBuf {
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!("{name}@{}.damaged", since.0))
}

fn since(path: &Path) -> Option<UnixMillis> {
    path.file_stem()?.to_str()?.rsplit_once('@')?.1.parse().ok().map(UnixMillis)
}

/// A frame as it was, but for its pseudonyms, and its checksum; `None` when its rows are none of that layout.
fn without_pseudonyms(layout: &'static TableLayout, seed: Seed, frame: &Frame<'_>) -> Option<(Vec<u8>, u32)> {
    let mut bytes = Vec::new();
    format::begin_frame(&mut bytes);
    for row in stored::walk(layout, frame.rows) {
        row.ok()?.put_stripped(&mut bytes);
    }
    let hashes: Vec<u64> = frame.hashes.chunks_exact(HASH).filter_map(|hash| hash.try_into().ok().map(u64::from_le_bytes)).collect();
    let checksum = format::finish_frame(&mut bytes, 0, seed, frame.request, &hashes);
    Some((bytes, checksum))
}

impl Gauge {
    /// Events that wait or are parked and have lost their pseudonyms.
    pub fn stripped_events(&self) -> u64 {
        self.stripped_segments().values().sum()
    }

    /// Held by who removes or replaces a segment's file, and until that is counted.
    pub(super) fn files(&self) -> MutexGuard<'_, ()> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many events of the segment are stripped.
    pub(super) fn stripped_of(&self, path: &Path) -> u64 {
        self.stripped_segments().get(stem(path)).copied().unwrap_or(0)
    }

    /// Takes a segment out of the stripped ones; returns how many events of it were.
    pub(super) fn stripped_no_more(&self, path: &Path) -> u64 {
        self.stripped_segments().remove(stem(path)).unwrap_or(0)
    }

    /// So many events of a segment, which waits or is parked, are stripped.
    fn stripped(&self, path: &Path, events: u64) {
        self.stripped_segments().insert(stem(path).to_owned(), events);
        match self.parked_segments().get_mut(stem(path)) {
            Some(parked) => *parked = parked.saturating_sub(events),
            None => self.events_went(events),
        }
    }

    fn piece_removed(&self, bytes: u64) {
        self.pieces.fetch_sub(1, Ordering::Relaxed);
        self.subtract(bytes);
    }

    /// Segments that wait since before `bound` and are not stripped.
    fn begun_before(&self, bound: UnixMillis) -> Vec<u64> {
        let waiting: Vec<u64> = self.waiting().iter().filter(|(_, begun)| **begun < bound).map(|(batch, _)| *batch).collect();
        let stripped = self.stripped_segments();
        waiting.into_iter().filter(|batch| !stripped.contains_key(OsStr::new(&format!("{batch:016x}")))).collect()
    }

    fn stripped_segments(&self) -> MutexGuard<'_, BTreeMap<OsString, u64>> {
        self.stripped.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn stem(path: &Path) -> &OsStr {
    path.file_stem().unwrap_or_default()
}

#[cfg(test)]
mod tests;
