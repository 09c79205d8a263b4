//! A segment file while it is being written: created, grown ahead of need, appended to, synced, and at last sealed.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Spool;
use super::disk::{self, File};
use super::format::{FOOTER, Header, Totals};
use super::sealed::{Names, Place, Sealed, events_of};
use crate::leak;

/// File name of a segment that is being written.
pub(super) fn open_path(folder: &Path, batch: u64) -> PathBuf {
    folder.join(format!("{batch:016x}.open"))
}

/// File name of a sealed segment.
pub(super) fn sealed_path(folder: &Path, batch: u64) -> PathBuf {
    folder.join(format!("{batch:016x}.sealed"))
}

/// The one open file of a segment. Whoever owns it is the only writer.
#[derive(Debug)]
pub(super) struct SegmentFile {
    spool: Arc<Spool>,
    file: File,
    header: Header,
    /// Where what its senders were told is durable ends.
    kept: u64,
    /// Where what is written ends.
    written: u64,
    /// Where the preallocated space ends.
    allocated: u64,
    /// Where the zeros end that were written ahead of small commits.
    zeroed: u64,
    /// What the kept frames hold.
    totals: Totals,
    poisoned: bool,
    /// Whether any of its frames has names, kept or not.
    names: Names,
}

impl SegmentFile {
    /// Makes the file and takes its first piece of disk; the header is written but not synced. The folder must be synced before anything is promised.
    pub(super) fn create(spool: &Arc<Spool>, header: Header) -> io::Result<Self> {
        let file = disk::create(&open_path(spool.folder(), header.batch))?;
        let bytes = header.encode();
        let mut segment = Self {
            spool: Arc::clone(spool),
            file,
            header,
            kept: 0,
            written: 0,
            allocated: 0,
            zeroed: 0,
            totals: Totals::default(),
            poisoned: false,
            names: Names::None,
        };
        let started = segment.reserve(bytes.len() as u64).and_then(|()| segment.append(&bytes));
        if let Err(error) = started {
            segment.discard();
            return Err(error);
        }
        Ok(segment)
    }

    /// The number in its header.
    pub(super) fn batch(&self) -> u64 {
        self.header.batch
    }

    /// Some of what is about to be appended could be recognised when it is sent again.
    pub(super) fn is_named(&mut self) {
        self.names = Names::Some;
    }

    /// Makes sure that `bytes` more, and a footer, fit on the disk.
    ///
    /// Space that small commits will fill is filled with zeros first: syncing what is written over them costs the system a third less than syncing the
    /// first thing that is ever written to a block, because the file's extents stay what they are. Some at a time, for the sync of the commit at hand takes the
    /// zeros along: with a megabyte of them it took 2.5 ms in place of 0.3. A large commit has one sync for many rows, and would write twice.
    pub(super) fn reserve(&mut self, bytes: u64) -> io::Result<()> {
        let bounds = &self.spool.bounds;
        let needed = self.written + bytes + FOOTER as u64;
        if needed > self.allocated {
            let growth = self.allocated.clamp(bounds.growth_min, bounds.growth_max);
            let length = growth.max(needed - self.allocated);
            disk::allocate(&self.file, self.allocated, length)?;
            self.allocated += length;
            self.spool.gauge().add(length);
        }
        if needed > self.zeroed && bytes < bounds.growth_min {
            let from = self.zeroed.max(self.written);
            let to = needed.max(from + bounds.zeros_ahead).min(self.allocated);
            disk::write_zeros(&self.file, from, to - from)?;
            self.zeroed = to;
        }
        Ok(())
    }

    /// Writes `bytes` after what is there. A failure poisons the segment: how much of it arrived is unknown.
    pub(super) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        disk::write_at(&self.file, bytes, self.written).inspect_err(|_| self.poisoned = true)?;
        self.written += bytes.len() as u64;
        Ok(())
    }

    /// Syncs what was appended. A failure poisons the segment: the system may have thrown the pages away, so a second try that succeeds would prove
    /// nothing.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        disk::sync(&self.file).inspect_err(|_| self.poisoned = true)
    }

    /// From here on the segment holds what was synced, which is `totals`: the whole commit succeeded, and its senders are told so.
    pub(super) fn keep(&mut self, totals: Totals) {
        let gauge = self.spool.gauge();
        gauge.events_came(events_of(&self.header, &totals) - events_of(&self.header, &self.totals));
        if self.totals.rows == 0 {
            // From here on, not from its seal: a segment that cannot be sealed is not delivered either, and its age must show.
            gauge.waits(&self.header);
        }
        self.kept = self.written;
        self.totals = totals;
    }

    /// Ends the segment. What was not kept is cut off. `None` when it holds no rows; then the file is gone. After a failure it may be tried again.
    pub(super) fn seal(&mut self) -> io::Result<Option<Sealed>> {
        if self.totals.rows == 0 {
            self.discard();
            return Ok(None);
        }
        let poisoned = self.poisoned && !leak::planted("poisoned_synced_again");
        let length = if poisoned { self.rescue()? } else { self.finish()? };
        let gauge = self.spool.gauge();
        gauge.add(length);
        gauge.subtract(std::mem::take(&mut self.allocated));
        Ok(Some(Sealed::new(Place::Sealed, self.header.clone(), self.totals, length, &self.spool.books).with(self.names)))
    }

    /// Writes the footer and gives the file its new name; returns its length. The name itself is not synced: after a power cut the file has one or the
    /// other, and recovery takes either for what it is.
    fn finish(&mut self) -> io::Result<u64> {
        self.written = self.kept;
        self.append(&self.totals.encode(self.header.seed()))?;
        disk::truncate(&self.file, self.written)?;
        self.sync()?;
        let folder = self.spool.folder();
        disk::rename(&open_path(folder, self.header.batch), &sealed_path(folder, self.header.batch))?;
        Ok(self.written)
    }

    /// Copies what was kept into a new file, because the poisoned one is never written or synced again; returns the length of the new one. Here names
    /// matter: the old file may hold more than was kept, and must not come back once the new one is gone.
    fn rescue(&self) -> io::Result<u64> {
        let folder = self.spool.folder();
        let path = sealed_path(folder, self.header.batch);
        let length = rewrite(&self.file, &[Range { offset: 0, length: self.kept }], &self.totals.encode(self.header.seed()), &path)?;
        disk::sync_folder(folder)?;
        disk::remove(&open_path(folder, self.header.batch))?;
        disk::sync_folder(folder)?;
        Ok(length)
    }

    fn discard(&mut self) {
        // A file that stays behind has no rows that anybody was promised; recovery takes it for what it is.
        let _ = disk::remove(&open_path(self.spool.folder(), self.header.batch));
        self.spool.gauge().subtract(std::mem::take(&mut self.allocated));
    }
}

/// A piece of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) offset: u64,
    pub(super) length: u64,
}

/// Writes pieces of a segment (the header being one of them) and its footer into a new, synced file at `to`; after a crash there is what was there
/// before, or the new one. Returns its length. The folder is the caller's to sync.
pub(super) fn rewrite(from: &File, pieces: &[Range], footer: &[u8], to: &Path) -> io::Result<u64> {
    let fresh = to.with_extension("fresh");
    disk::remove(&fresh)?;
    let file = disk::create(&fresh)?;
    let mut written = 0;
    for piece in pieces {
        copy(from, *piece, &file, written)?;
        written += piece.length;
    }
    disk::write_at(&file, footer, written)?;
    disk::sync(&file)?;
    disk::rename(&fresh, to)?;
    Ok(written + footer.len() as u64)
}

/// Copies one piece of `from` to `offset` of `to`. Holds at most 256 KiB of it at a time.
pub(super) fn copy(from: &File, piece: Range, to: &File, offset: u64) -> io::Result<()> {
    let mut buffer = vec![0; 256 * 1024];
    let mut copied = 0;
    while copied < piece.length {
        let wanted = usize::try_from(piece.length - copied).map_or(buffer.len(), |left| left.min(buffer.len()));
        if disk::read_at(from, &mut buffer[..wanted], piece.offset + copied)? != wanted {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        disk::write_at(to, &buffer[..wanted], offset + copied)?;
        copied += wanted as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::tests::{DAY, Folder};
    use super::*;
    use crate::clock::UnixMillis;
    use crate::limits::{GROWTH_MIN, ZEROS_AHEAD};
    use crate::row::EVENTS;

    #[test]
    fn small_commits_are_written_over_a_few_zeros_and_large_ones_over_none() {
        let folder = Folder::new("zeros");
        let header = Header {
            node: 1,
            batch: 1,
            begun: UnixMillis(0),
            day: DAY,
            schema_id: EVENTS.schema_id,
            zone: "UTC".into(),
            table: EVENTS.table.into(),
            columns: EVENTS.column_list().into(),
        };
        let mut segment = SegmentFile::create(&folder.spool(), header).unwrap();
        let mut write = |bytes: u64| {
            segment.reserve(bytes).unwrap();
            let ahead = segment.zeroed.saturating_sub(segment.written);
            segment.append(&vec![1; usize::try_from(bytes).unwrap()]).unwrap();
            (ahead, segment.zeroed.saturating_sub(segment.written))
        };
        let small = GROWTH_MIN / 4;
        for _ in 0..200 {
            let (before, after) = write(small);
            assert!((small..ZEROS_AHEAD + small).contains(&before), "{before} zeros lie ahead of a small commit");
            assert!(after < before);
        }
        let (_, left) = write(2 * ZEROS_AHEAD);
        assert_eq!(left, 0, "a large commit is not written twice");
        assert!(write(small).0 >= small, "and small ones after it go on");
    }
}
