//! A sealed segment: never written again, read by the sink as the body of one INSERT, then removed or parked.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::disk::{self, Ahead, File};
use super::divide::piece_path;
use super::format::{self, FOOTER, Frame, HEADER_MAX, Header, PREFIX, Record, Seed, Totals};
use super::recover::each_frame;
use super::segment::sealed_path;
use super::{Gauge, Seen, parked};
use crate::clock::UnixMillis;
use crate::leak;
use crate::row::EVENTS;

/// A segment that waits for ClickHouse. Its bytes count in the spool's gauge until it is confirmed.
///
/// Very many of them wait when ClickHouse is away for days, so each is small: what its header says that those of the same day say too, they share.
#[derive(Debug)]
pub struct Sealed {
    batch: u64,
    begun: UnixMillis,
    /// Its header, but for its number and its time.
    like: Arc<Header>,
    totals: Totals,
    bytes: u64,
    place: Place,
    has_end: bool,
    in_doubt: bool,
    names: Names,
    books: Arc<Books>,
}

/// The name of a segment's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// That of a sealed segment.
    Sealed,
    /// Still that of a piece of a divided one.
    Piece,
}

/// What a segment's coming and going is written down in.
#[derive(Debug)]
pub(super) struct Books {
    pub(super) folder: PathBuf,
    pub(super) gauge: Arc<Gauge>,
    pub(super) seen: Arc<Seen>,
    /// The headers that segments had of late.
    alike: Mutex<Vec<Arc<Header>>>,
}

impl Books {
    pub(super) fn new(folder: &Path, gauge: Gauge, seen: Seen) -> Self {
        Self { folder: folder.to_owned(), gauge: gauge.into(), seen: seen.into(), alike: Mutex::default() }
    }

    /// A header like this one, but for number and time, which segments of the same table, zone and day share.
    fn like(&self, header: Header) -> Arc<Header> {
        let header = Header { batch: 0, begun: UnixMillis(0), ..header };
        let mut alike = self.alike.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = alike.iter().rev().find(|known| ***known == header) {
            return Arc::clone(known);
        }
        alike.retain(|known| Arc::strong_count(known) > 1);
        let header = Arc::new(header);
        alike.push(Arc::clone(&header));
        header
    }
}

/// Whether any row of a segment could be recognised when it is sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Names {
    /// None can: no key and no id came with them.
    None,
    /// Some can, or nobody has looked.
    Some,
}

/// How many rows a segment had when it was sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowCount {
    /// Its end says so.
    Exactly(u64),
    /// Its end is damaged; so many were found.
    AtLeast(u64),
}

/// Why a sealed segment cannot be read to its end.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The system cannot read the file.
    #[error("the segment cannot be read")]
    Io(#[from] io::Error),
    /// Its bytes do not match its checksums.
    #[error("the segment is damaged")]
    Damaged,
}

impl Sealed {
    pub(super) fn new(place: Place, header: Header, totals: Totals, bytes: u64, books: &Arc<Books>) -> Self {
        books.gauge.waits(&header);
        let (batch, begun, like) = (header.batch, header.begun, books.like(header));
        let books = Arc::clone(books);
        Self { batch, begun, like, totals, bytes, place, has_end: true, in_doubt: false, names: Names::Some, books }
    }

    /// The same, of which an earlier process, or this one before it was parked, may have sent something.
    #[must_use]
    pub fn found(self) -> Self {
        Self { in_doubt: true, ..self }
    }

    /// The same, with what its writer or reader knows.
    pub(super) fn with(self, names: Names) -> Self {
        Self { names, ..self }
    }

    /// Whether the database may have some of it although this process has not sent it since it was found.
    pub fn is_in_doubt(&self) -> bool {
        self.in_doubt
    }

    /// The same segment when its end cannot be read, so that it may have held more than was found.
    pub(super) fn without_end(self) -> Self {
        Self { has_end: false, ..self }
    }

    /// How many rows it had when it was sealed.
    pub fn rows(&self) -> RowCount {
        if self.has_end { RowCount::Exactly(self.totals.rows) } else { RowCount::AtLeast(self.totals.rows) }
    }

    /// How many of its rows are events, as opposed to counts.
    pub(super) fn events(&self) -> u64 {
        events_of(&self.like, &self.totals)
    }

    fn leaves(&self) {
        self.books.gauge.waits_no_more(self.batch);
        let stripped = self.books.gauge.stripped_no_more(&self.path());
        self.books.gauge.events_went(self.events().saturating_sub(stripped));
    }

    /// Other segments have its rows now. After an error its file is still there, and takes room until the next start.
    pub(super) fn replaced(self, removed: &io::Result<()>) {
        self.leaves();
        if removed.is_ok() {
            self.books.gauge.subtract(self.bytes);
        }
    }

    /// What the segment says about itself.
    pub fn header(&self) -> Header {
        Header { batch: self.batch, begun: self.begun, ..Header::clone(&self.like) }
    }

    /// Its number.
    pub fn batch(&self) -> u64 {
        self.batch
    }

    /// The table its rows belong to.
    pub fn table(&self) -> &str {
        &self.like.table
    }

    /// What it holds.
    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// Its length on disk.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Where it lies.
    pub fn path(&self) -> PathBuf {
        match self.place {
            Place::Sealed => sealed_path(&self.books.folder, self.batch),
            Place::Piece => piece_path(&self.books.folder, self.batch),
        }
    }

    /// Reads it from the start, one frame at a time. Blocking.
    pub fn reader(&self) -> Result<Reader, ReadError> {
        let file = disk::open(&self.path())?;
        let (header, start) = read_header(&file)?.ok_or(ReadError::Damaged)?;
        Ok(Reader {
            file,
            seed: header.seed(),
            offset: start as u64,
            seen: Totals::default(),
            stated: self.totals,
            ahead: Ahead::default(),
        })
    }

    /// ClickHouse has it, so it waits no more; the file goes, synced, and its bytes are free. What it was recognised by is written down before. With an
    /// error the segment comes back, as it was: it is removed another time. One that a power cut brings back, the next start asks ClickHouse about.
    pub fn confirm(self) -> Result<(), Box<Unremoved>> {
        let removed = self.remember().and_then(|()| {
            let _held = self.books.gauge.files();
            disk::remove(&self.path())?;
            self.leaves();
            Ok(())
        });
        if let Err(source) = removed {
            return Err(Box::new(Unremoved { sealed: self, source }));
        }
        self.books.gauge.subtract(self.bytes);
        if let Err(error) = disk::sync_folder(&self.books.folder) {
            tracing::warn!(batch = self.batch, kind = ?error.kind(), "the removal of a delivered segment may not outlive a power cut");
        }
        if self.names == Names::Some {
            self.books.seen.make_room();
        }
        Ok(())
    }

    /// ClickHouse will not have it: the file moves to the folder `parked`, where it stays, counted, until an operator acts (see [`parked`]).
    pub fn park(self) -> io::Result<PathBuf> {
        let folder = &self.books.folder;
        let parked = folder.join(parked::FOLDER);
        disk::create_folder(&parked)?;
        self.remember()?;
        let lies = self.path();
        let path = parked.join(lies.file_name().unwrap_or_default());
        let _held = self.books.gauge.files();
        disk::rename(&lies, &path)?;
        disk::sync_folder(&parked)?;
        disk::sync_folder(folder)?;
        self.books.gauge.waits_no_more(self.batch);
        // What was stripped of it stays counted as that, wherever it lies.
        let events = self.events().saturating_sub(self.books.gauge.stripped_of(&path));
        self.books.gauge.events_went(events);
        self.books.gauge.parked(&path, events);
        Ok(path)
    }

    /// Writes down, synced, by what its rows would be recognised: the file is about to leave the spool.
    fn remember(&self) -> io::Result<()> {
        if self.names == Names::None || leak::planted("names_lost_with_segment") {
            return Ok(());
        }
        let file = disk::open(&self.path())?;
        let Some((header, start)) = read_header(&file)? else { return Ok(()) };
        let mut keeping = self.books.seen.keep();
        each_frame(&file, header.seed(), start as u64..disk::length(&file)?, |frame| keeping.add(&header, frame))?;
        keeping.finish(&header)
    }
}

/// A segment that ClickHouse has and whose file is still there.
#[derive(Debug, thiserror::Error)]
#[error("a delivered segment cannot be removed")]
pub struct Unremoved {
    /// The segment.
    pub sealed: Sealed,
    /// What the system says.
    pub source: io::Error,
}

/// How many rows of a segment are events, as opposed to counts.
pub(super) fn events_of(header: &Header, totals: &Totals) -> u64 {
    if *header.table == *EVENTS.table { totals.rows } else { 0 }
}

/// Reads the header of a segment; `None` when it is damaged. The second value is where the first frame begins.
pub(super) fn read_header(file: &File) -> io::Result<Option<(Header, usize)>> {
    Ok(Header::decode(&read_start(file)?))
}

/// Reads as much of a file as a header can have.
pub(super) fn read_start(file: &File) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; HEADER_MAX];
    let length = disk::read_at(file, &mut bytes, 0)?;
    bytes.truncate(length);
    Ok(bytes)
}

/// Goes through a sealed segment once, checking every byte it gives out.
#[derive(Debug)]
pub struct Reader {
    file: File,
    seed: Seed,
    offset: u64,
    seen: Totals,
    stated: Totals,
    ahead: Ahead,
}

impl Reader {
    /// Goes through frames that were found before, wherever they lie; there is no end that would have to agree with them.
    pub(super) fn of_frames(file: File, seed: Seed) -> Self {
        Self { file, seed, offset: 0, seen: Totals::default(), stated: Totals::default(), ahead: Ahead::default() }
    }

    /// Where the next frame is looked for.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Looks for the next frame there.
    pub(super) fn go_to(&mut self, offset: u64) {
        self.offset = offset;
    }

    /// The rows of the next frame, in RowBinary; `None` once everything was read and agrees with the footer.
    pub fn next_rows(&mut self) -> Result<Option<&[u8]>, ReadError> {
        Ok(self.next_frame()?.map(|frame| frame.rows))
    }

    /// The next frame; `None` once everything was read and agrees with the footer.
    pub(super) fn next_frame(&mut self) -> Result<Option<Frame<'_>>, ReadError> {
        let record = format::record(self.ahead.at(&self.file, self.offset, PREFIX)?.ok_or(ReadError::Damaged)?);
        self.offset += PREFIX as u64;
        match record {
            Record::Frame { length, checksum } => self.frame(length, checksum).map(Some),
            Record::Footer { checksum } => self.footer(checksum).map(|()| None),
            Record::Nothing => Err(ReadError::Damaged),
        }
    }

    /// The end is sound when the footer agrees with what was read, and that is as much as was sealed. The checksums themselves may be others than at the
    /// seal: the segment may have been stripped since.
    fn footer(&mut self, checksum: u32) -> Result<(), ReadError> {
        let body = self.ahead.at(&self.file, self.offset, FOOTER - PREFIX)?.ok_or(ReadError::Damaged)?;
        let as_sealed = Totals { chain: self.stated.chain, ..self.seen } == self.stated;
        let agrees = format::footer(body, checksum, self.seed) == Some(self.seen);
        if as_sealed && agrees { Ok(()) } else { Err(ReadError::Damaged) }
    }

    fn frame(&mut self, length: usize, checksum: u32) -> Result<Frame<'_>, ReadError> {
        let body = self.ahead.at(&self.file, self.offset, length)?.ok_or(ReadError::Damaged)?;
        self.offset += length as u64;
        let frame = Frame::decode(body, checksum, self.seed).ok_or(ReadError::Damaged)?;
        self.seen.add(frame.count, frame.rows.len(), checksum);
        Ok(frame)
    }
}
