//! What a crash leaves: every file in the spool's folder becomes a sealed segment again, or is gone, or lies in quarantine. No human is needed.
//!
//! * A segment that was being written keeps every frame whose checksum holds. What follows the last of them is the torn end of a commit that nobody
//!   was told had succeeded.
//! * A damaged frame with good ones behind it goes to the folder `quarantine`, is counted, and the good ones live on in a rewritten segment of the
//!   same number: their rows carry it.
//! * A damaged segment that was sealed may have been sent already, so nothing of it may go under its number again and nothing under another before
//!   ClickHouse was asked: it stays as it is, and the sink takes what is good out of it ([`super::divide`]).
//! * Memory does not grow with what is found: one frame is held at a time.

use std::io;
use std::path::{Path, PathBuf};

use super::disk::{self, File};
use super::format::{self, FOOTER, Frame, Header, PREFIX, Record, Seed, Totals};
use super::inspect::{self, QUARANTINE};
use super::parked::{self, Order};
use super::sealed::{Names, Sealed, events_of, read_header};
use super::segment::{Range, copy, rewrite, sealed_path};
use super::{Seen, Spool, divide, strip};
use crate::leak;

/// What was found at start.
#[derive(Debug, Default)]
pub struct Recovered {
    /// Segments to deliver, oldest first.
    pub sealed: Vec<Sealed>,
    /// Damaged pieces that were put aside now.
    pub quarantined: u64,
    /// Their bytes.
    pub quarantined_bytes: u64,
    /// Files that held no row.
    pub empty: u64,
}

/// Why what lies in a spool's folder cannot be taken over.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// A newer Headcount has written a segment: this one cannot read it, and must not put it aside as damaged.
    #[error(
        "{}: written by a newer Headcount, in format {found}; this one knows formats up to {KNOWN}: start the newer one again",
        path.display()
    )]
    Newer {
        /// The segment.
        path: PathBuf,
        /// Its format's version.
        found: char,
    },
    /// The disk cannot be read or written.
    #[error("the spool cannot be recovered")]
    Io(#[from] io::Error),
}

/// The newest version of the segments' format that this program knows.
const KNOWN: char = format::MAGIC[7] as char;

/// Looks through the spool's folder. Must run before any [`super::Log`] writes. Changes nothing when a newer Headcount was here.
pub fn recover(spool: &Spool) -> Result<Recovered, RecoverError> {
    refuse_newer(spool.folder())?;
    Ok(take_over(spool)?)
}

fn refuse_newer(folder: &Path) -> Result<(), RecoverError> {
    for folder in [folder.to_owned(), folder.join(parked::FOLDER)] {
        for path in disk::list(&folder)?.into_iter().filter(|path| inspect::state_of(path).is_some()) {
            let mut start = [0; format::MAGIC.len()];
            let length = disk::read_at(&disk::open(&path)?, &mut start, 0)?;
            if let Some(found) = format::newer_version(&start[..length]) {
                return Err(RecoverError::Newer { path, found });
            }
        }
    }
    Ok(())
}

fn take_over(spool: &Spool) -> io::Result<Recovered> {
    let mut recovered = Recovered::default();
    finish_moves(spool.folder())?;
    divide::recover(spool.folder())?;
    for (path, order) in parked::orders(spool.folder())? {
        if order == Order::Drop {
            spool.gauge().discarded(parked_events(spool, &path)?);
        }
        parked::carry_out(&path, order)?;
    }
    for path in disk::list(spool.folder())? {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("fresh") => disk::remove(&path)?,
            Some("open" | "sealed") => segment(spool, &path, &mut recovered)?,
            _ => {}
        }
    }
    for path in disk::list(&spool.folder().join(parked::FOLDER))? {
        spool.gauge().parked(&path, parked_events(spool, &path)?);
        // They take disk until somebody acts, and so count, as they did before the start.
        spool.gauge().add(disk::length(&disk::open(&path)?)?);
    }
    for path in disk::list(&spool.folder().join(QUARANTINE))? {
        spool.gauge().quarantined(1, disk::length(&disk::open(&path)?)?);
    }
    recovered.sealed.sort_by_key(|sealed| sealed.header().batch);
    disk::sync_folder(spool.folder())?;
    if !spool.seen().is_empty() {
        spool.seen().make_room();
    }
    Ok(recovered)
}

/// What was on its way between two folders when the last process ended is in one of them afterwards, synced: it arrives before it is gone from where it
/// was. What a power cut has left in both is delivered, and parked again if it must be.
fn finish_moves(folder: &Path) -> io::Result<()> {
    let parked = folder.join(parked::FOLDER);
    for below in [&parked, &folder.join(QUARANTINE)] {
        if disk::exists(below)? {
            disk::sync_folder(below)?;
        }
    }
    disk::sync_folder(folder)?;
    for path in disk::list(&parked)? {
        if disk::exists(&parked::back_path(&path))? {
            disk::remove(&path)?;
            disk::sync_folder(&parked)?;
        }
    }
    Ok(())
}

fn parked_events(spool: &Spool, path: &Path) -> io::Result<u64> {
    let file = disk::open(path)?;
    let Some((header, start)) = read_header(&file)? else { return Ok(0) };
    let (scan, _) = recall(spool.seen(), &file, &header, start as u64..disk::length(&file)?)?;
    Ok(events_of(&header, &scan.stated.unwrap_or(scan.totals)))
}

/// Takes over the segment at `path`, which was parked and lies in the spool again; `None` when nothing of it can be read.
pub(super) fn take_back(spool: &Spool, path: &Path) -> io::Result<Option<Sealed>> {
    let mut recovered = Recovered::default();
    segment(spool, path, &mut recovered)?;
    spool.gauge().quarantined(recovered.quarantined, recovered.quarantined_bytes);
    Ok(recovered.sealed.pop())
}

/// Scans a segment, and remembers what its frames would be recognised by.
fn recall(seen: &Seen, file: &File, header: &Header, content: std::ops::Range<u64>) -> io::Result<(Scan, Names)> {
    let mut names = Names::None;
    let scan = each_frame(file, header.seed(), content, |frame| {
        if frame.is_named() && !leak::planted("names_not_recalled") {
            names = Names::Some;
            seen.recall(header, frame);
        }
        Ok(())
    })?;
    Ok((scan, names))
}

fn segment(spool: &Spool, path: &Path, recovered: &mut Recovered) -> io::Result<()> {
    let is_open = path.extension().is_some_and(|extension| extension == "open");
    if is_open && disk::exists(&path.with_extension("sealed"))? && !leak::planted("copy_beside_original") {
        // A copy was made of what was to be kept of it, synced whole before it got its name. It may have been sent already, so it alone counts.
        return disk::remove(path);
    }
    let file = disk::open(path)?;
    let length = disk::length(&file)?;
    let Some((header, start)) = read_header(&file)? else {
        return without_header(path, &file, length, recovered);
    };
    let (scan, names) = recall(spool.seen(), &file, &header, start as u64..length)?;
    let adopt = |header, totals, bytes| adopt(spool, header, totals, bytes).with(names);
    let was_sealed = scan.stated.is_some() || path.extension().is_some_and(|extension| extension == "sealed");
    if was_sealed && (scan.footer_end.is_none() || !scan.damaged.is_empty()) {
        let target = sealed_path(spool.folder(), header.batch);
        if path != target {
            disk::rename(path, &target)?;
        }
        let sealed = adopt(header, scan.stated.unwrap_or(scan.totals), length);
        recovered.sealed.push(if scan.stated.is_some() { sealed } else { sealed.without_end() });
        return Ok(());
    }
    if scan.totals.rows == 0 && scan.damaged.is_empty() {
        recovered.empty += 1;
        return disk::remove(path);
    }
    let target = sealed_path(spool.folder(), header.batch);
    if let Some(end) = scan.footer_end.filter(|_| scan.damaged.is_empty()) {
        if path != target {
            disk::truncate(&file, end)?;
            disk::sync(&file)?;
            disk::rename(path, &target)?;
        }
        recovered.sealed.push(adopt(header, scan.totals, end));
        return Ok(());
    }
    for damaged in &scan.damaged {
        quarantine(spool.folder(), &header, &file, *damaged)?;
        recovered.quarantined += 1;
        recovered.quarantined_bytes += damaged.length;
    }
    let start = Range { offset: 0, length: start as u64 };
    let pieces: Vec<Range> = std::iter::once(start).chain(scan.good).collect();
    let length = rewrite(&file, &pieces, &scan.totals.encode(header.seed()), &target)?;
    if path != target {
        disk::sync_folder(spool.folder())?;
        disk::remove(path)?;
    }
    recovered.sealed.push(adopt(header, scan.totals, length));
    Ok(())
}

fn adopt(spool: &Spool, header: Header, totals: Totals, bytes: u64) -> Sealed {
    spool.gauge().add(bytes);
    spool.gauge().events_came(events_of(&header, &totals));
    Sealed::new(sealed_path(spool.folder(), header.batch), header, totals, bytes, spool.books.clone()).found()
}

/// A header that cannot be read: nothing but zeros is a file whose first commit never ended; anything else is put aside whole.
fn without_header(path: &Path, file: &File, length: u64, recovered: &mut Recovered) -> io::Result<()> {
    let mut start = vec![0; 4_096];
    let read = disk::read_at(file, &mut start, 0)?;
    let torn =
        path.extension().is_some_and(|extension| extension == "open") && (length == 0 || start[..read].iter().all(|byte| *byte == 0));
    if torn {
        recovered.empty += 1;
        return disk::remove(path);
    }
    let folder = path.parent().unwrap_or(Path::new(".")).join(QUARANTINE);
    disk::create_folder(&folder)?;
    recovered.quarantined += 1;
    recovered.quarantined_bytes += length;
    disk::rename(path, &folder.join(path.file_name().unwrap_or_default()))?;
    disk::sync_folder(&folder)
}

/// What lies between a segment's header and its end.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// Good frames: offset and length with their prefix.
    pub(super) good: Vec<Range>,
    /// Damaged bytes that have something good behind them.
    pub(super) damaged: Vec<Range>,
    pub(super) totals: Totals,
    /// What a footer says that the segment holds, whether or not it agrees.
    pub(super) stated: Option<Totals>,
    /// Where the file ends, if a footer says so and agrees.
    pub(super) footer_end: Option<u64>,
}

pub(super) fn scan(file: &File, seed: Seed, content: std::ops::Range<u64>) -> io::Result<Scan> {
    each_frame(file, seed, content, |_| Ok(()))
}

/// The same, and gives `take` every good frame.
pub(super) fn each_frame(
    file: &File,
    seed: Seed,
    content: std::ops::Range<u64>,
    mut take: impl FnMut(&Frame<'_>) -> io::Result<()>,
) -> io::Result<Scan> {
    let mut scan = Scan::default();
    let mut records = Records { file, seed, end: content.end, body: Vec::new() };
    let mut offset = content.start;
    while offset < records.end {
        match records.read(offset)? {
            Found::Frame { rows, row_bytes, checksum, length } => {
                scan.totals.add(rows, row_bytes, checksum);
                if let Some(frame) = Frame::parse(&records.body) {
                    take(&frame)?;
                }
                match scan.good.last_mut().filter(|last| last.offset + last.length == offset) {
                    Some(last) => last.length += length,
                    None => scan.good.push(Range { offset, length }),
                }
                offset += length;
            }
            Found::Footer(totals) => {
                scan.stated = Some(totals);
                scan.footer_end = (totals == scan.totals).then_some(offset + FOOTER as u64);
                break;
            }
            Found::Nothing => {
                let Some(next) = records.next(offset + 1)? else { break };
                scan.damaged.push(Range { offset, length: next - offset });
                offset = next;
            }
        }
    }
    Ok(scan)
}

enum Found {
    Frame { rows: usize, row_bytes: usize, checksum: u32, length: u64 },
    Footer(Totals),
    Nothing,
}

/// The records of a segment, looked for anywhere in its file.
struct Records<'a> {
    file: &'a File,
    seed: Seed,
    end: u64,
    body: Vec<u8>,
}

impl Records<'_> {
    /// What stands at `offset`.
    fn read(&mut self, offset: u64) -> io::Result<Found> {
        let mut prefix = [0; PREFIX];
        if disk::read_at(self.file, &mut prefix, offset)? != PREFIX {
            return Ok(Found::Nothing);
        }
        let (length, checksum, is_frame) = match format::record(&prefix) {
            Record::Frame { length, checksum } => (length, checksum, true),
            Record::Footer { checksum } => (FOOTER - PREFIX, checksum, false),
            Record::Nothing => return Ok(Found::Nothing),
        };
        if length as u64 > self.end.saturating_sub(offset + PREFIX as u64) {
            return Ok(Found::Nothing);
        }
        self.body.resize(length, 0);
        if disk::read_at(self.file, &mut self.body, offset + PREFIX as u64)? != length {
            return Ok(Found::Nothing);
        }
        if !is_frame {
            return Ok(format::footer(&self.body, checksum, self.seed).map_or(Found::Nothing, Found::Footer));
        }
        Ok(Frame::decode(&self.body, checksum, self.seed).map_or(Found::Nothing, |frame| Found::Frame {
            rows: frame.count,
            row_bytes: frame.rows.len(),
            checksum,
            length: (PREFIX + length) as u64,
        }))
    }

    /// Where the next good frame or footer begins at or after `offset`. Reads the file in pieces that overlap by a magic's length.
    fn next(&mut self, mut offset: u64) -> io::Result<Option<u64>> {
        let mut piece = vec![0; 64 * 1024];
        while offset < self.end {
            let read = disk::read_at(self.file, &mut piece, offset)?;
            let mut from = 0;
            while let Some(position) = format::next_magic(&piece[from..read]) {
                let candidate = offset + (from + position) as u64;
                if !matches!(self.read(candidate)?, Found::Nothing) {
                    return Ok(Some(candidate));
                }
                from += position + 1;
            }
            if read < piece.len() {
                break;
            }
            offset += (read - 3) as u64;
        }
        Ok(None)
    }
}

pub(super) fn quarantine(folder: &Path, header: &Header, file: &File, damaged: Range) -> io::Result<()> {
    let folder = folder.join(QUARANTINE);
    disk::create_folder(&folder)?;
    let path = strip::dated(&folder.join(format!("{:016x}-{}.damaged", header.batch, damaged.offset)), header.begun);
    disk::remove(&path)?;
    let piece = disk::create(&path)?;
    copy(file, damaged, &piece, 0)?;
    disk::sync(&piece)?;
    disk::sync_folder(&folder)
}
