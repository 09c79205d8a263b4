//! The files in which hashes outlive the segments that brought them.
//!
//! A segment's own frames hold its hashes for as long as it is there. Before its file goes, they are written here, and synced; so each hash that is
//! remembered is on the disk in one place or the other, and whatever is killed, a start finds it.
//!
//! The folder `seen` holds files that are written one after the other, each from its start to its end: `0000000000000001.journal`, and so on. A file is
//! nothing but chunks. All numbers are little-endian:
//!
//! ```text
//! chunk    4  "SEN1"
//!          4  CRC32C of node, file number and what follows this field
//!          4  what the hashes are of: 1 idempotency keys, 2 event ids, 3 parts of requests
//!          4  number of hashes, n: 1 to 8,192
//!          8  when the segment was begun that brought them: milliseconds since 1970
//!      8 * n  hashes
//! ```
//!
//! Space is taken ahead of need, so the file is longer than its content: zeros follow, and no chunk begins with zeros. That reserve is also what lets a
//! disk that is full become empty: a segment that ClickHouse has can always be removed.
//!
//! * What follows the last good chunk is the torn end of a write that removed no segment; a start cuts it off.
//! * A damaged chunk with good ones behind it is skipped and counted. At worst a retry of what it held is stored again; a start never fails over it.
//! * After a write or sync that failed the file is left alone for ever: the system may have thrown its pages away. What it was to take goes into a new one.
//! * So is every file that an earlier process has left: nobody knows whether its last sync had failed. A start begins a new one.
//! * A file goes when everything in it is forgotten.

use std::io;
use std::path::{Path, PathBuf};

use crate::clock::UnixMillis;
use crate::limits::{JOURNAL_CHUNK_HASHES, JOURNAL_FILE_AGE, JOURNAL_FILE_BYTES};
use crate::spool::disk::{self, File};
use crate::spool::format::Seed;

const MAGIC: [u8; 4] = *b"SEN1";
/// What stands before a chunk's hashes.
const PREFIX: usize = 24;
const HASH: usize = 8;

/// What hashes are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// Idempotency keys whose requests are there whole.
    Keys,
    /// Event ids.
    Ids,
    /// Frames of requests that are not known to be there whole.
    Parts,
}

impl Kind {
    pub(super) const ALL: [Self; 3] = [Self::Keys, Self::Ids, Self::Parts];

    fn code(self) -> u32 {
        self as u32 + 1
    }

    fn of(code: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.code() == code)
    }
}

/// The files, and the one that is being written.
#[derive(Debug)]
pub(super) struct Journal {
    folder: PathBuf,
    node: u64,
    /// Bytes of disk that are taken ahead of need.
    reserve_bytes: u64,
    past: Vec<Past>,
    current: Option<Current>,
    next_number: u64,
}

/// A file that is not written any more.
#[derive(Debug)]
struct Past {
    path: PathBuf,
    /// When the youngest segment was begun whose hashes are in it.
    newest: UnixMillis,
}

#[derive(Debug)]
struct Current {
    path: PathBuf,
    file: File,
    seed: Seed,
    /// Where what is synced ends.
    synced: u64,
    /// Where what is written ends.
    written: u64,
    /// Where the space that was taken ends.
    allocated: u64,
    /// When the oldest and the youngest segment were begun whose hashes are in it; `None` while it has none.
    span: Option<(UnixMillis, UnixMillis)>,
}

impl Journal {
    /// Reads all files in `folder`, which need not be there, and gives `take` every hash. Returns how many damaged pieces were met.
    pub(super) fn open(
        folder: PathBuf,
        node: u64,
        reserve_bytes: u64,
        mut take: impl FnMut(Kind, UnixMillis, &[u64]),
    ) -> io::Result<(Self, u64)> {
        let mut journal = Self { folder, node, reserve_bytes, past: Vec::new(), current: None, next_number: 1 };
        let mut damaged = 0;
        for path in disk::list(&journal.folder)? {
            let Some(number) = number_of(&path) else { continue };
            journal.next_number = number + 1;
            match Current::read(path, Seed::of(node, number), &mut take) {
                Ok((current, pieces)) => {
                    damaged += pieces;
                    journal.past.extend(current.into_past());
                }
                // It may be readable at another start.
                Err(_) => damaged += 1,
            }
        }
        Ok((journal, damaged))
    }

    /// Makes sure that there is a file with room in it, and ends one that is large or old.
    pub(super) fn make_room(&mut self) -> io::Result<()> {
        if self.current.as_ref().is_some_and(Current::is_due) {
            self.close();
        }
        if self.current.is_none() {
            self.current = Some(self.begin()?);
        }
        let reserve_bytes = self.reserve_bytes;
        self.current.as_mut().map_or(Ok(()), |current| current.reserve(reserve_bytes))
    }

    /// Adds hashes of a segment that was begun at `at`; at most [`JOURNAL_CHUNK_HASHES`]. Nothing is promised before [`Journal::sync`].
    pub(super) fn append(&mut self, kind: Kind, at: UnixMillis, hashes: &[u64]) -> io::Result<()> {
        if hashes.is_empty() {
            return Ok(());
        }
        if self.current.is_none() {
            self.current = Some(self.begin()?);
        }
        let Some(current) = &mut self.current else { return Ok(()) };
        let chunk = encode(current.seed, kind, at, hashes);
        // A full disk is met here, and hurts nothing: what there was is whole.
        current.reserve(chunk.len() as u64).inspect_err(|_| current.written = current.synced)?;
        if let Err(error) = disk::write_at(&current.file, &chunk, current.written) {
            self.poison();
            return Err(error);
        }
        current.written += chunk.len() as u64;
        let (oldest, newest) = current.span.unwrap_or((at, at));
        current.span = Some((oldest.min(at), newest.max(at)));
        Ok(())
    }

    /// Puts what was added on the disk itself.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        let Some(current) = &mut self.current else { return Ok(()) };
        if current.written == current.synced {
            return Ok(());
        }
        match disk::sync(&current.file) {
            Ok(()) => {
                current.synced = current.written;
                Ok(())
            }
            Err(error) => {
                self.poison();
                Err(error)
            }
        }
    }

    /// Removes the files that have nothing of `oldest` or after it.
    pub(super) fn forget_before(&mut self, oldest: UnixMillis) {
        // One that cannot be removed now is looked at again at the next start.
        let _ = self.past.extract_if(.., |past| past.newest < oldest).try_for_each(|past| disk::remove(&past.path));
        if self.current.as_ref().and_then(|current| current.span).is_some_and(|(_, newest)| newest < oldest) {
            self.close();
            self.forget_before(oldest);
        }
    }

    /// How many files there are.
    #[cfg(test)]
    pub(super) fn files(&self) -> usize {
        self.past.len() + usize::from(self.current.is_some())
    }

    fn begin(&mut self) -> io::Result<Current> {
        disk::create_folder(&self.folder)?;
        let number = self.next_number;
        let path = self.folder.join(format!("{number:016x}.journal"));
        let file = disk::create(&path)?;
        self.next_number += 1;
        disk::sync_folder(&self.folder)?;
        Ok(Current { path, file, seed: Seed::of(self.node, number), synced: 0, written: 0, allocated: 0, span: None })
    }

    /// Writes no more into the file at hand; the space that it took ahead is given back.
    fn close(&mut self) {
        let Some(current) = self.current.take() else { return };
        // Zeros at its end hurt nobody.
        let _ = disk::truncate(&current.file, current.written);
        self.past.extend(current.into_past());
    }

    /// The file at hand is never touched again; what was synced of it before holds.
    fn poison(&mut self) {
        self.past.extend(self.current.take().and_then(Current::into_past));
    }
}

impl Current {
    /// Reads a file, gives `take` its hashes and cuts off its torn end; returns it, and how many damaged pieces it has.
    fn read(path: PathBuf, seed: Seed, take: &mut impl FnMut(Kind, UnixMillis, &[u64])) -> io::Result<(Self, u64)> {
        let file = disk::open(&path)?;
        let mut chunks = Chunks { file: &file, seed, body: Vec::new(), hashes: Vec::new() };
        let (mut end, mut damaged, mut span) = (0, 0, None::<(UnixMillis, UnixMillis)>);
        loop {
            let chunk = match chunks.read(end)? {
                Some(chunk) => chunk,
                None => match chunks.next(end + HASH as u64)? {
                    Some((offset, chunk)) => {
                        damaged += 1;
                        end = offset;
                        chunk
                    }
                    None => break,
                },
            };
            take(chunk.kind, chunk.at, &chunks.hashes);
            let (oldest, newest) = span.unwrap_or((chunk.at, chunk.at));
            span = Some((oldest.min(chunk.at), newest.max(chunk.at)));
            end += (PREFIX + chunks.hashes.len() * HASH) as u64;
        }
        disk::truncate(&file, end)?;
        Ok((Self { path, file, seed, synced: end, written: end, allocated: end, span }, damaged))
    }

    /// Takes the disk for `bytes` more.
    fn reserve(&mut self, bytes: u64) -> io::Result<()> {
        let needed = self.written + bytes;
        if needed > self.allocated {
            disk::allocate(&self.file, self.allocated, needed - self.allocated)?;
            self.allocated = needed;
        }
        Ok(())
    }

    fn is_due(&self) -> bool {
        let age = self.span.map_or(0, |(oldest, newest)| newest.since(oldest));
        self.written >= JOURNAL_FILE_BYTES || u128::from(age) >= JOURNAL_FILE_AGE.as_millis()
    }

    /// What is left of it when it is written no more: nothing, if nothing of it was synced.
    fn into_past(self) -> Option<Past> {
        match self.span {
            Some((_, newest)) if self.synced > 0 => Some(Past { path: self.path, newest }),
            _ => {
                // What a file that stays behind holds is in segments too.
                let _ = disk::remove(&self.path);
                None
            }
        }
    }
}

fn number_of(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?.strip_suffix(".journal")?;
    u64::from_str_radix(name, 16).ok().filter(|number| *number < u64::MAX)
}

fn encode(seed: Seed, kind: Kind, at: UnixMillis, hashes: &[u64]) -> Vec<u8> {
    let count = u32::try_from(hashes.len()).expect("a chunk has at most a few thousand hashes");
    let mut bytes = Vec::with_capacity(PREFIX + hashes.len() * HASH);
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&kind.code().to_le_bytes());
    bytes.extend_from_slice(&count.to_le_bytes());
    bytes.extend_from_slice(&at.0.to_le_bytes());
    for hash in hashes {
        bytes.extend_from_slice(&hash.to_le_bytes());
    }
    let checksum = seed.checksum(&bytes[8..]);
    bytes[4..8].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

/// The chunks of a file, looked for anywhere in it. One is held at a time.
struct Chunks<'a> {
    file: &'a File,
    seed: Seed,
    body: Vec<u8>,
    hashes: Vec<u64>,
}

/// A good chunk, whose hashes were read.
struct Chunk {
    kind: Kind,
    at: UnixMillis,
}

impl Chunks<'_> {
    /// The chunk at `offset`, if a good one stands there.
    fn read(&mut self, offset: u64) -> io::Result<Option<Chunk>> {
        self.body.resize(PREFIX, 0);
        if disk::read_at(self.file, &mut self.body, offset)? != PREFIX || self.body[..4] != MAGIC {
            return Ok(None);
        }
        let count = number(&self.body[12..16]);
        if !(1..=JOURNAL_CHUNK_HASHES as u64).contains(&count) {
            return Ok(None);
        }
        let length = PREFIX + usize::try_from(count).unwrap_or(0) * HASH;
        self.body.resize(length, 0);
        if disk::read_at(self.file, &mut self.body, offset)? != length
            || u64::from(self.seed.checksum(&self.body[8..])) != number(&self.body[4..8])
        {
            return Ok(None);
        }
        let Some(kind) = u32::try_from(number(&self.body[8..12])).ok().and_then(Kind::of) else { return Ok(None) };
        self.hashes.clear();
        self.hashes.extend(self.body[PREFIX..].chunks_exact(HASH).map(number));
        Ok(Some(Chunk { kind, at: UnixMillis(number(&self.body[16..24]).cast_signed()) }))
    }

    /// The next good chunk at or after `offset`, and where it begins. Chunks begin at multiples of eight, as everything in them is.
    fn next(&mut self, mut offset: u64) -> io::Result<Option<(u64, Chunk)>> {
        let mut piece = vec![0; 64 * 1024];
        loop {
            let read = disk::read_at(self.file, &mut piece, offset)?;
            for candidate in (0..read).step_by(HASH).filter(|start| piece[*start..].starts_with(&MAGIC)) {
                if let Some(chunk) = self.read(offset + candidate as u64)? {
                    return Ok(Some((offset + candidate as u64, chunk)));
                }
            }
            if read < piece.len() {
                return Ok(None);
            }
            offset += read as u64;
        }
    }
}

/// A little-endian number of up to eight bytes.
fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests;
