//! What a crash leaves: every file in the spool's folder becomes a sealed segment again, or is gone, or lies in quarantine. No human is needed.
//!
//! * A segment that was being written keeps every frame whose checksum holds. What follows the last of them is the torn end of a commit that nobody
//!   was told had succeeded.
//! * A damaged frame with good ones behind it goes to the folder `quarantine`, is counted, and the good ones live on in a rewritten segment of the
//!   same number: their rows carry it.
//! * A damaged segment that was sealed may have been sent already, so nothing of it may go under its number again and nothing under another before
//!   ClickHouse was asked: it stays as it is, and the sink takes what is good out of it ([`super::divide`]).
//! * A file that the disk does not let read or write stays where it is, and is tried again while the collector runs.
//! * Every byte is read and checked before an event is taken: 0.3 s of CPU for each GB in large segments, 1 s in segments of 62 KiB (`make bench-backlog`).
//! * Memory does not grow with the bytes that are found: one frame is held at a time. It grows with the segments, by about 120 bytes for each: 5 GB in 78,784
//!   segments took 9 MiB, in 150 segments nothing that could be told.

use std::io;
use std::path::{Path, PathBuf};

use super::disk::{self, Ahead, File};
use super::format::{self, FOOTER, Frame, Header, PREFIX, Record, Seed, Totals};
use super::inspect::{self, QUARANTINE};
use super::parked::{self, Order};
use super::sealed::{Names, Place, Sealed, events_of, read_header, read_start};
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
            // What cannot be read now is neither newer nor older; it stays where it is.
            let Ok(start) = disk::open(&path).and_then(|file| read_start(&file)) else { continue };
            if let Some(found) = format::newer_version(&start) {
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
        let events = if order == Order::Drop { parked_events(spool, &path) } else { 0 };
        match parked::carry_out(&path, order) {
            Ok(()) => spool.gauge().discarded(events),
            Err(error) => left_alone(&path, &error),
        }
    }
    for path in disk::list(spool.folder())? {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("fresh") => disk::remove(&path)?,
            Some("open" | "sealed") => {
                if let Err(error) = segment(spool, &path, &mut recovered) {
                    left_alone(&path, &error);
                    spool.leave(path);
                }
            }
            _ => {}
        }
    }
    for path in disk::list(&spool.folder().join(parked::FOLDER))? {
        spool.gauge().parked(&path, parked_events(spool, &path));
        // They take disk until somebody acts, and so count, as they did before the start.
        spool.gauge().add(disk::length(&disk::open(&path)?)?);
    }
    for path in disk::list(&spool.folder().join(QUARANTINE))? {
        spool.gauge().quarantined(1, disk::length(&disk::open(&path)?)?);
    }
    recovered.sealed.sort_by_key(Sealed::batch);
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

/// One file that the disk does not let go of must not keep the others, or the collector, waiting.
fn left_alone(path: &Path, error: &io::Error) {
    let file = path.file_name().unwrap_or_default();
    tracing::error!(?file, kind = ?error.kind(), "a file of the spool cannot be read or written; it stays where it is and is tried again");
}

/// How many events a parked segment holds, none if the disk does not say.
fn parked_events(spool: &Spool, path: &Path) -> u64 {
    let read = || {
        let file = disk::open(path)?;
        let Some((header, start)) = read_header(&file)? else { return Ok(0) };
        let (scan, _) = recall(spool.seen(), &file, &header, start as u64..disk::length(&file)?)?;
        Ok(events_of(&header, &scan.stated.map_or(scan.totals, |(stated, _)| stated)))
    };
    read().inspect_err(|error| left_alone(path, error)).unwrap_or(0)
}

/// Takes over the segment at `path`, which nobody else knows of; `None` when nothing of it can be read.
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
    let (totals, bytes) = match scan.stated {
        Some((stated, _)) if !is_open => (stated, length),
        None if !is_open => {
            recovered.sealed.push(adopt(spool, header, scan.totals, length).with(names).without_end());
            return Ok(());
        }
        Some((stated, end)) => {
            // It has its end, and under another name, which is not on the disk, it may have been sent.
            let whole = Range { offset: 0, length: end - FOOTER as u64 };
            (stated, take_place(spool, path, &file, &[whole], (&header, stated))?)
        }
        None => {
            for damaged in &scan.damaged {
                quarantine(spool.folder(), &header, &file, *damaged)?;
                recovered.quarantined += 1;
                recovered.quarantined_bytes += damaged.length;
            }
            if scan.totals.rows == 0 {
                recovered.empty += u64::from(scan.damaged.is_empty());
                return disk::remove(path);
            }
            let start = Range { offset: 0, length: start as u64 };
            let pieces: Vec<Range> = std::iter::once(start).chain(scan.good).collect();
            (scan.totals, take_place(spool, path, &file, &pieces, (&header, scan.totals))?)
        }
    };
    recovered.sealed.push(adopt(spool, header, totals, bytes).with(names));
    Ok(())
}

/// Seals a segment that was being written, by a copy of what counts of it. A copy in any case: the process that wrote the file may have been killed after a
/// sync of it had failed, and what is read of it now is then not on the disk, and never will be by syncing it again.
fn take_place(spool: &Spool, path: &Path, file: &File, pieces: &[Range], (header, totals): (&Header, Totals)) -> io::Result<u64> {
    let length = rewrite(file, pieces, &totals.encode(header.seed()), &sealed_path(spool.folder(), header.batch))?;
    disk::sync_folder(spool.folder())?;
    disk::remove(path)?;
    Ok(length)
}

fn adopt(spool: &Spool, header: Header, totals: Totals, bytes: u64) -> Sealed {
    spool.gauge().add(bytes);
    spool.gauge().events_came(events_of(&header, &totals));
    Sealed::new(Place::Sealed, header, totals, bytes, &spool.books).found()
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
    /// What a footer says that the segment holds, whether or not it agrees, and where it ends.
    pub(super) stated: Option<(Totals, u64)>,
}

impl Scan {
    /// Whether a footer says what was found.
    pub(super) fn is_complete(&self) -> bool {
        self.stated.is_some_and(|(stated, _)| stated == self.totals)
    }
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
    let mut records = Records { file, seed, end: content.end, ahead: Ahead::default() };
    let mut offset = content.start;
    while offset < records.end {
        match records.read(offset)? {
            Found::Frame { rows, row_bytes, checksum, length } => {
                scan.totals.add(rows, row_bytes, checksum);
                if let Some(frame) = records.body(offset, length)?.and_then(Frame::parse) {
                    take(&frame)?;
                }
                match scan.good.last_mut().filter(|last| last.offset + last.length == offset) {
                    Some(last) => last.length += length,
                    None => scan.good.push(Range { offset, length }),
                }
                offset += length;
            }
            Found::Footer(totals) => {
                scan.stated = Some((totals, offset + FOOTER as u64));
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
    ahead: Ahead,
}

impl Records<'_> {
    /// What stands at `offset`.
    fn read(&mut self, offset: u64) -> io::Result<Found> {
        let Some(prefix) = self.ahead.at(self.file, offset, PREFIX)? else { return Ok(Found::Nothing) };
        let (length, checksum, is_frame) = match format::record(prefix) {
            Record::Frame { length, checksum } => (length, checksum, true),
            Record::Footer { checksum } => (FOOTER - PREFIX, checksum, false),
            Record::Nothing => return Ok(Found::Nothing),
        };
        if length as u64 > self.end.saturating_sub(offset + PREFIX as u64) {
            return Ok(Found::Nothing);
        }
        let Some(body) = self.ahead.at(self.file, offset + PREFIX as u64, length)? else { return Ok(Found::Nothing) };
        if !is_frame {
            return Ok(format::footer(body, checksum, self.seed).map_or(Found::Nothing, Found::Footer));
        }
        Ok(Frame::decode(body, checksum, self.seed).map_or(Found::Nothing, |frame| Found::Frame {
            rows: frame.count,
            row_bytes: frame.rows.len(),
            checksum,
            length: (PREFIX + length) as u64,
        }))
    }

    /// What follows the prefix of the record at `offset`, which has `length` bytes in all.
    fn body(&mut self, offset: u64, length: u64) -> io::Result<Option<&[u8]>> {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        self.ahead.at(self.file, offset + PREFIX as u64, length.saturating_sub(PREFIX))
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
