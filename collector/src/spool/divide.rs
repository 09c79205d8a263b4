//! A segment that is replaced by others: ClickHouse refuses it as a whole, or its file is damaged, and what is good in it is to go on without the rest.
//!
//! Its rows move into new segments, called pieces, which have numbers of their own, as another body may never go under the same number. A piece has
//! the header of the original but for the number; its rows are stamped anew, and its frames keep the hashes of the rows. A frame that is divided
//! leaves its idempotency key with the first of its rows, so that the key is found as often as before.
//!
//! At every moment either the original or all of its pieces count, never both and never neither, whenever the power goes:
//!
//! 1. Each piece is written whole as `{number}.piece`, and synced, and so are the names. Recovery removes pieces that nobody names.
//! 2. The original becomes `{number}-{first piece}-{second piece}.divided`, synced. **This one rename decides**: from here on the pieces count, which it
//!    names, and the original does not.
//! 3. The pieces become `{number}.sealed`, synced.
//! 4. The original is removed.
//!
//! Recovery goes on with steps 3 and 4 where it finds a `.divided`, before it looks at anything else, and as often as it takes. Nothing of a piece
//! is sent before step 2 is synced, and nothing of the original after it.

use std::io;
use std::path::{Path, PathBuf};

use super::Spool;
use super::disk::{self, File};
use super::format::{self, Header, PREFIX, PREFIX_OF_ROWS, Request, Seed, Totals};
use super::recover::{quarantine, scan};
use super::sealed::{Place, ReadError, Reader, Sealed, events_of, read_header};
use super::segment::{Range, sealed_path};
use crate::limits::PIECE_BUFFER_BYTES;
use crate::row::stored::{self, Unreadable};
use crate::row::{Stamp, TableLayout};

/// Why a segment was not replaced.
#[derive(Debug)]
pub enum Undivided {
    /// It is a single row, or where its rows begin cannot be told. It is what it was.
    Indivisible(Box<Sealed>),
    /// The disk did not take the pieces. It is what it was.
    Later(Box<Sealed>, io::Error),
    /// The disk failed at the moment that decides, so which side counts is known after the next start; until then neither is touched.
    Undecided(io::Error),
}

/// What was made of a damaged segment.
#[derive(Debug)]
pub struct Salvaged {
    /// Its good rows; `None` when there is none.
    pub piece: Option<Sealed>,
    /// Rows that the segment should have had besides.
    pub lost_rows: u64,
}

/// Why a piece cannot be written.
enum Stopped {
    Unreadable,
    Disk(io::Error),
}

impl From<io::Error> for Stopped {
    fn from(error: io::Error) -> Self {
        Self::Disk(error)
    }
}

impl From<Unreadable> for Stopped {
    fn from(_: Unreadable) -> Self {
        Self::Unreadable
    }
}

impl From<ReadError> for Stopped {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Io(error) => Self::Disk(error),
            ReadError::Damaged => Self::Unreadable,
        }
    }
}

impl Sealed {
    /// Replaces the segment by two: the first half of its rows and the second. Blocking.
    ///
    /// # Errors
    /// See [`Undivided`]; where the segment comes back with it, it is what it was.
    pub fn divide(self, spool: &Spool) -> Result<[Sealed; 2], Undivided> {
        let mut pieces = Vec::new();
        match halves(&self, spool, &mut pieces) {
            Ok(()) => {}
            Err(stopped) => return Err(give_back(self, spool, &pieces, stopped)),
        }
        let pieces = replace(self, spool, pieces)?;
        Ok(pieces.try_into().expect("two halves were written"))
    }

    /// Replaces a damaged segment by one of its good rows; what is damaged goes to the folder `quarantine`. Blocking.
    ///
    /// # Errors
    /// See [`Undivided`]; where the segment comes back with it, it is what it was.
    pub fn salvage(self, spool: &Spool) -> Result<Salvaged, Undivided> {
        let (expected, header) = (self.totals(), self.header());
        let mut pieces = Vec::new();
        let damaged = match good_rows(&self, spool, &mut pieces) {
            Ok(damaged) => damaged,
            Err(stopped) => return Err(give_back(self, spool, &pieces, stopped)),
        };
        let piece = replace(self, spool, pieces)?.pop();
        let kept = piece.as_ref().map_or(Totals::default(), Sealed::totals);
        spool.gauge().quarantined(damaged.len() as u64, damaged.iter().map(|range| range.length).sum());
        spool.gauge().lost(events_of(&header, &expected).saturating_sub(events_of(&header, &kept)));
        Ok(Salvaged { piece, lost_rows: expected.rows.saturating_sub(kept.rows) })
    }
}

fn give_back(original: Sealed, spool: &Spool, pieces: &[Piece], stopped: Stopped) -> Undivided {
    for piece in pieces {
        // What stays behind is named by nobody: the next start removes it.
        let _ = disk::remove(&piece_path(spool.folder(), piece.header.batch));
    }
    match stopped {
        Stopped::Unreadable => Undivided::Indivisible(original.into()),
        Stopped::Disk(error) => Undivided::Later(original.into(), error),
    }
}

fn layout_of(header: &Header) -> Result<&'static TableLayout, Unreadable> {
    stored::layout_of(&header.table, header.schema_id, &header.columns)
}

/// Writes both halves.
fn halves(original: &Sealed, spool: &Spool, pieces: &mut Vec<Piece>) -> Result<(), Stopped> {
    let header = original.header();
    let layout = layout_of(&header)?;
    let mut left = original.totals().rows / 2;
    if left == 0 {
        return Err(Stopped::Unreadable);
    }
    let mut reader = original.reader()?;
    pieces.push(Piece::begin(spool, &header)?);
    while let Some(frame) = reader.next_frame()? {
        let rows = Rows::of(layout, &frame)?;
        let first = usize::try_from(left).map_or(rows.count(), |left| left.min(rows.count()));
        if first > 0 {
            pieces[0].push(&rows, 0..first)?;
            left -= first as u64;
        }
        if first < rows.count() {
            if pieces.len() == 1 {
                pieces.push(Piece::begin(spool, &header)?);
            }
            pieces[1].push(&rows, first..rows.count())?;
        }
    }
    pieces.iter_mut().try_for_each(Piece::end)?;
    Ok(())
}

/// Writes what is good of a damaged segment, if there is anything, and puts aside what is not, which it returns.
fn good_rows(original: &Sealed, spool: &Spool, pieces: &mut Vec<Piece>) -> Result<Vec<Range>, Stopped> {
    let file = disk::open(&original.path())?;
    let header = original.header();
    let layout = layout_of(&header)?;
    let (_, start) = read_header(&file)?.ok_or(Stopped::Unreadable)?;
    let length = disk::length(&file)?;
    let mut scan = scan(&file, header.seed(), start as u64..length)?;
    let known_to = scan.good.iter().chain(&scan.damaged).map(|range| range.offset + range.length).max().unwrap_or(start as u64);
    if scan.stated.is_none() && known_to < length {
        // It was sealed, so what stands in the place of its end is no torn commit, but damage.
        scan.damaged.push(Range { offset: known_to, length: length - known_to });
    }
    for damaged in &scan.damaged {
        quarantine(spool.folder(), &header, &file, *damaged)?;
    }
    if scan.totals.rows == 0 {
        return Ok(scan.damaged);
    }
    pieces.push(Piece::begin(spool, &header)?);
    let mut reader = Reader::of_frames(file, header.seed());
    for Range { offset, length } in scan.good {
        reader.go_to(offset);
        while reader.offset() < offset + length {
            let frame = reader.next_frame()?.ok_or(Stopped::Unreadable)?;
            let rows = Rows::of(layout, &frame)?;
            pieces[0].push(&rows, 0..rows.count())?;
        }
    }
    pieces[0].end()?;
    Ok(scan.damaged)
}

/// The rows of one frame, told apart.
struct Rows<'a> {
    rows: Vec<stored::Row<'a>>,
    hashes: Vec<u64>,
    request: Request,
}

impl<'a> Rows<'a> {
    fn of(layout: &'static TableLayout, frame: &format::Frame<'a>) -> Result<Self, Unreadable> {
        let rows = stored::walk(layout, frame.rows).collect::<Result<Vec<_>, _>>()?;
        let hashes =
            frame.hashes.chunks_exact(format::HASH).map(|hash| hash.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)));
        if rows.len() != frame.count {
            return Err(Unreadable::Malformed);
        }
        Ok(Self { rows, hashes: hashes.collect(), request: frame.request })
    }

    fn count(&self) -> usize {
        self.rows.len()
    }
}

/// A segment that takes rows of another.
struct Piece {
    header: Header,
    seed: Seed,
    file: File,
    /// Not yet written.
    buffer: Vec<u8>,
    written: u64,
    totals: Totals,
}

impl Piece {
    fn begin(spool: &Spool, original: &Header) -> io::Result<Self> {
        let header = Header { batch: spool.batches.draw()?, ..original.clone() };
        let file = disk::create(&piece_path(spool.folder(), header.batch))?;
        let buffer = header.encode();
        Ok(Self { seed: header.seed(), header, file, buffer, written: 0, totals: Totals::default() })
    }

    /// Adds these rows of a frame as a frame.
    fn push(&mut self, of: &Rows<'_>, range: std::ops::Range<usize>) -> io::Result<()> {
        let stamp = Stamp { node: self.header.node, batch: self.header.batch };
        let request = if range.start == 0 { of.request } else { Request { key: 0, parts: 1 } };
        let start = format::begin_frame(&mut self.buffer);
        for row in &of.rows[range.clone()] {
            row.put_restamped(&mut self.buffer, stamp);
        }
        let row_bytes = self.buffer.len() - start - PREFIX - PREFIX_OF_ROWS;
        let hashes = &of.hashes[range];
        let checksum = format::finish_frame(&mut self.buffer, start, self.seed, request, hashes);
        self.totals.add(hashes.len(), row_bytes, checksum);
        if self.buffer.len() < PIECE_BUFFER_BYTES { Ok(()) } else { self.flush() }
    }

    fn flush(&mut self) -> io::Result<()> {
        disk::write_at(&self.file, &self.buffer, self.written)?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    fn end(&mut self) -> io::Result<()> {
        self.buffer.extend_from_slice(&self.totals.encode(self.seed));
        self.flush()?;
        disk::sync(&self.file)
    }
}

/// Steps 2 to 4; the pieces' bytes are synced, their names not yet.
fn replace(original: Sealed, spool: &Spool, pieces: Vec<Piece>) -> Result<Vec<Sealed>, Undivided> {
    let folder = spool.folder();
    let divided = divided_path(folder, original.header().batch, &pieces);
    let held = spool.gauge().files();
    let begun = disk::sync_folder(folder).and_then(|()| disk::rename(&original.path(), &divided));
    drop(held);
    if let Err(error) = begun {
        return Err(give_back(original, spool, &pieces, error.into()));
    }
    if let Err(error) = disk::sync_folder(folder) {
        // The disk may have either name. Once it surely has the old one, nothing has happened.
        let undone = disk::rename(&divided, &original.path()).and_then(|()| disk::sync_folder(folder));
        return Err(undone.map_or_else(Undivided::Undecided, |()| give_back(original, spool, &pieces, error.into())));
    }
    let named = pieces.iter().try_for_each(|piece| name(folder, piece.header.batch)).and_then(|()| disk::sync_folder(folder));
    let sealed = pieces.into_iter().map(|piece| adopt(spool, piece)).collect();
    // What is not done here, the next start does: it is decided.
    let removed = named.and_then(|()| disk::remove(&divided)).and_then(|()| disk::sync_folder(folder));
    if let Err(error) = &removed {
        tracing::warn!(batch = original.header().batch, kind = %error.kind(), "a segment that was divided is removed at the next start");
    }
    original.replaced(&removed);
    Ok(sealed)
}

fn adopt(spool: &Spool, piece: Piece) -> Sealed {
    let folder = spool.folder();
    let is_named = disk::exists(&sealed_path(folder, piece.header.batch)).unwrap_or(false);
    let place = if is_named { Place::Sealed } else { Place::Piece };
    spool.gauge().add(piece.written);
    spool.gauge().events_came(events_of(&piece.header, &piece.totals));
    Sealed::new(place, piece.header, piece.totals, piece.written, &spool.books)
}

pub(super) fn piece_path(folder: &Path, batch: u64) -> PathBuf {
    folder.join(format!("{batch:016x}.piece"))
}

fn divided_path(folder: &Path, batch: u64, pieces: &[Piece]) -> PathBuf {
    let numbers = std::iter::once(batch).chain(pieces.iter().map(|piece| piece.header.batch));
    let name: Vec<String> = numbers.map(|number| format!("{number:016x}")).collect();
    folder.join(format!("{}.divided", name.join("-")))
}

/// Gives a piece the name of a segment; one that has it already, or is gone, was named before.
fn name(folder: &Path, batch: u64) -> io::Result<()> {
    let piece = piece_path(folder, batch);
    if disk::exists(&piece)? { disk::rename(&piece, &sealed_path(folder, batch)) } else { Ok(()) }
}

/// Ends what a crash has interrupted: where it was decided, the pieces take the original's place, and pieces of what was not decided are removed.
pub(super) fn recover(folder: &Path) -> io::Result<()> {
    let has = |path: &Path, extension: &str| path.extension().is_some_and(|found| found == extension);
    for divided in disk::list(folder)?.iter().filter(|path| has(path, "divided")) {
        // The name that decides may have been seen and never synced: it must not be lost once a piece has its own.
        disk::sync_folder(folder)?;
        for batch in pieces_of(divided) {
            name(folder, batch)?;
        }
        disk::sync_folder(folder)?;
        disk::remove(divided)?;
    }
    for piece in disk::list(folder)?.iter().filter(|path| has(path, "piece")) {
        disk::remove(piece)?;
    }
    Ok(())
}

/// The numbers of the pieces that take a divided segment's place, by its name.
fn pieces_of(divided: &Path) -> Vec<u64> {
    let name = divided.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    name.split('-').skip(1).filter_map(|number| u64::from_str_radix(number, 16).ok()).collect()
}

#[cfg(test)]
mod crash;
#[cfg(test)]
mod tests;
