//! The bytes of a segment: header, frames, footer.
//!
//! All numbers are little-endian. A segment is one file, written from its start to its end and never changed. Checksums of frames and of the footer
//! begin with the segment's node and batch: bytes of another segment, which a file system may bring back after a power cut, are never taken for its own.
//!
//! ```text
//! header   8  "HCSPOOL1"
//!          4  length of the rest of the header, in bytes
//!          4  CRC32C of the rest of the header
//!             node u64 · batch u64 · begun i64 (milliseconds since 1970) · day u16 · schema id u32
//!             time zone, table, column list: each a u16 length and that many bytes of UTF-8
//!
//! frame    4  "FRM1"                                          one frame for each request's rows of that day
//!          4  length of what follows the next field, in bytes
//!          4  CRC32C of node, batch and what follows this field
//!          4  number of rows, n
//!          8  keyed hash of (site, idempotency key), or zero
//!          4  number of frames that the request has, in this segment and others
//!             n rows in RowBinary
//!      8 * n  keyed hash of (site, event id) for each row, or zero
//!
//! footer   4  "SEAL"
//!          4  length of what follows the next field: 24
//!          4  CRC32C of node, batch and what follows this field
//!          4  number of frames
//!          8  number of rows
//!          8  bytes of RowBinary in all frames
//!          4  CRC32C over the CRC fields of all frames, in order
//! ```
//!
//! A row's first columns are `node` and `batch`, so a row can prove which segment it came from. The rows of all frames, in order, are the body of
//! the segment's one INSERT. While a segment is being written the file is longer than its content: what follows is zeros, and no frame begins with
//! zeros. Nothing in a segment is raw: rows hold what `event.rs` allows, and the hashes are keyed with bytes that exist only in the spool's folder.

use std::sync::Arc;

use crate::clock::{Day, UnixMillis};
use crate::leak;

/// First bytes of every segment of this version: the last of them is the version.
pub(super) const MAGIC: [u8; 8] = *b"HCSPOOL1";
/// Bytes before the part of the header whose length the header states.
pub(super) const HEADER_PREFIX: usize = 16;
/// More than any header can have; bounds what is read of a damaged one.
pub(super) const HEADER_MAX: usize = 64 * 1024;
const FRAME_MAGIC: [u8; 4] = *b"FRM1";
const FOOTER_MAGIC: [u8; 4] = *b"SEAL";
/// Magic, length and checksum, before frame and footer alike.
pub(super) const PREFIX: usize = 12;
/// Row count, key hash and number of the request's frames.
pub(super) const FRAME_FIXED: usize = 16;
/// Where the rows begin in a frame's body.
pub(super) const PREFIX_OF_ROWS: usize = FRAME_FIXED;
/// Row hashes are 64 bits wide.
pub(super) const HASH: usize = 8;
/// The footer with its prefix.
pub(super) const FOOTER: usize = PREFIX + 24;

/// What a segment says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Drawn at random when the spool's folder was made.
    pub node: u64,
    /// Never given twice by a node.
    pub batch: u64,
    /// When its first row was taken: no row in it is older.
    pub begun: UnixMillis,
    /// The day that every row in it falls on.
    pub day: Day,
    /// Version of the row's layout.
    pub schema_id: u32,
    /// The time zone whose day it is; with the day, the partition.
    pub zone: Arc<str>,
    /// The table its rows belong to.
    pub table: Arc<str>,
    /// The columns of each row, comma-separated, as the INSERT names them.
    pub columns: Arc<str>,
}

impl Header {
    /// What the checksums of its frames and its footer begin with.
    pub(super) fn seed(&self) -> Seed {
        Seed::of(self.node, self.batch)
    }

    /// The header's bytes.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&[0; 8]);
        bytes.extend_from_slice(&self.node.to_le_bytes());
        bytes.extend_from_slice(&self.batch.to_le_bytes());
        bytes.extend_from_slice(&self.begun.0.to_le_bytes());
        bytes.extend_from_slice(&self.day.0.to_le_bytes());
        bytes.extend_from_slice(&self.schema_id.to_le_bytes());
        for text in [&self.zone, &self.table, &self.columns] {
            bytes.extend_from_slice(&length_u16(text).to_le_bytes());
            bytes.extend_from_slice(text.as_bytes());
        }
        let length = u32::try_from(bytes.len() - HEADER_PREFIX).expect("a header is far below 4 GiB");
        let checksum = crc32c::crc32c(&bytes[HEADER_PREFIX..]);
        bytes[8..12].copy_from_slice(&length.to_le_bytes());
        bytes[12..16].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// Reads a header from the start of a segment; returns it and its length in bytes, or `None` when it is damaged.
    pub(super) fn decode(bytes: &[u8]) -> Option<(Self, usize)> {
        let mut prefix = Reader(bytes);
        (prefix.take(8)? == MAGIC).then_some(())?;
        let length = prefix.u32()? as usize;
        let checksum = prefix.u32()?;
        let mut body = Reader(prefix.take(length)?);
        (crc32c::crc32c(body.0) == checksum).then_some(())?;
        let header = Self {
            node: body.u64()?,
            batch: body.u64()?,
            begun: UnixMillis(body.u64()?.cast_signed()),
            day: Day(body.u16()?),
            schema_id: body.u32()?,
            zone: body.text()?,
            table: body.text()?,
            columns: body.text()?,
        };
        Some((header, HEADER_PREFIX + length))
    }
}

/// The version of a segment that a newer Headcount has written, by its first bytes; `None` for a segment of this version, and for what is none at all.
/// Such a file is whole for all that this version can know, so it must not be taken for a damaged one; and one of this version, whose version has lost a
/// bit, not for a newer one: the collector would not start any more. So a version that follows must begin the checksum of its
/// header with something else.
pub(super) fn newer_version(start: &[u8]) -> Option<char> {
    let (name, known) = MAGIC.split_at(7);
    let found = start.strip_prefix(name)?.first().filter(|found| found.is_ascii_alphanumeric() && **found > known[0])?;
    let as_ours = [&MAGIC, &start[MAGIC.len()..]].concat();
    Header::decode(&as_ours).is_none().then_some(char::from(*found))
}

/// What the checksums of a segment's frames and footer begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seed(u32);

impl Seed {
    /// The seed of the segment with these numbers.
    pub(super) fn of(node: u64, batch: u64) -> Self {
        Self(crc32c::crc32c_append(crc32c::crc32c(&node.to_le_bytes()), &batch.to_le_bytes()))
    }

    /// CRC32C of the segment's numbers and `bytes`.
    pub(super) fn checksum(self, bytes: &[u8]) -> u32 {
        crc32c::crc32c_append(self.0, bytes)
    }
}

/// The request that a frame's rows came with, as far as a segment knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Request {
    /// Keyed hash of (site, idempotency key), or zero.
    pub(super) key: u64,
    /// In how many frames its rows lie: one in the segment of each table, time zone and day.
    pub(super) parts: u32,
}

fn length_u16(text: &str) -> u16 {
    u16::try_from(text.len()).expect("names and column lists are our own and shorter than 64 KiB")
}

/// Starts a frame at the end of `buffer` and returns where it starts. Rows are appended after it, then [`finish_frame`] completes it.
pub(super) fn begin_frame(buffer: &mut Vec<u8>) -> usize {
    let start = buffer.len();
    buffer.extend_from_slice(&[0; PREFIX + FRAME_FIXED]);
    start
}

/// Completes the frame that starts at `start`: `hashes` has one entry per row. Returns the frame's checksum.
pub(super) fn finish_frame(buffer: &mut Vec<u8>, start: usize, seed: Seed, request: Request, hashes: &[u64]) -> u32 {
    for hash in hashes {
        buffer.extend_from_slice(&hash.to_le_bytes());
    }
    let rows = u32::try_from(hashes.len()).expect("a request holds at most a few thousand events");
    let fixed = start + PREFIX;
    buffer[fixed..fixed + 4].copy_from_slice(&rows.to_le_bytes());
    buffer[fixed + 4..fixed + 12].copy_from_slice(&request.key.to_le_bytes());
    buffer[fixed + 12..fixed + 16].copy_from_slice(&request.parts.to_le_bytes());
    finish(buffer, start, seed, FRAME_MAGIC)
}

fn finish(buffer: &mut [u8], start: usize, seed: Seed, magic: [u8; 4]) -> u32 {
    let body = start + PREFIX;
    let length = u32::try_from(buffer.len() - body).expect("a commit is bounded far below 4 GiB");
    let checksum = seed.checksum(&buffer[body..]);
    buffer[start..start + 4].copy_from_slice(&magic);
    buffer[start + 4..start + 8].copy_from_slice(&length.to_le_bytes());
    buffer[start + 8..start + 12].copy_from_slice(&checksum.to_le_bytes());
    checksum
}

/// What a segment holds, kept while it is written and stated in its footer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Frames.
    pub frames: u32,
    /// Rows of all frames.
    pub rows: u64,
    /// Bytes of RowBinary of all frames.
    pub row_bytes: u64,
    /// CRC32C over the frames' own checksums.
    pub chain: u32,
}

impl Totals {
    /// Adds one frame.
    pub(super) fn add(&mut self, rows: usize, row_bytes: usize, checksum: u32) {
        self.frames += 1;
        self.rows += rows as u64;
        self.row_bytes += row_bytes as u64;
        self.chain = crc32c::crc32c_append(self.chain, &checksum.to_le_bytes());
    }

    /// The footer's bytes.
    pub(super) fn encode(&self, seed: Seed) -> Vec<u8> {
        let mut bytes = vec![0; PREFIX];
        bytes.extend_from_slice(&self.frames.to_le_bytes());
        bytes.extend_from_slice(&self.rows.to_le_bytes());
        bytes.extend_from_slice(&self.row_bytes.to_le_bytes());
        bytes.extend_from_slice(&self.chain.to_le_bytes());
        finish(&mut bytes, 0, seed, FOOTER_MAGIC);
        bytes
    }
}

/// What stands at some place of a segment.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Record {
    /// A frame whose body is this long.
    Frame { length: usize, checksum: u32 },
    /// The footer.
    Footer { checksum: u32 },
    /// Neither: the end of what was written, or damage.
    Nothing,
}

/// Reads the prefix of a record.
pub(super) fn record(prefix: &[u8]) -> Record {
    let mut reader = Reader(prefix);
    let (Some(magic), Some(length), Some(checksum)) = (reader.take(4), reader.u32(), reader.u32()) else { return Record::Nothing };
    match magic {
        magic if magic == FRAME_MAGIC => Record::Frame { length: length as usize, checksum },
        magic if magic == FOOTER_MAGIC && length as usize == FOOTER - PREFIX => Record::Footer { checksum },
        _ => Record::Nothing,
    }
}

/// Where the next frame could begin in `bytes`: used to find good frames after a damaged one.
pub(super) fn next_magic(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|window| window == FRAME_MAGIC || window == FOOTER_MAGIC)
}

/// A frame's body, checked against its checksum and taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Frame<'a> {
    /// What its rows came with.
    pub(super) request: Request,
    /// RowBinary of all its rows.
    pub(super) rows: &'a [u8],
    /// How many rows that is.
    pub(super) count: usize,
    /// One keyed hash per row, eight bytes each.
    pub(super) hashes: &'a [u8],
}

impl<'a> Frame<'a> {
    /// `None` when the body does not match its checksum.
    pub(super) fn decode(body: &'a [u8], checksum: u32, seed: Seed) -> Option<Self> {
        (seed.checksum(body) == checksum || leak::planted("checksum_ignored")).then(|| Self::parse(body)).flatten()
    }

    /// Takes a body apart whose checksum was seen to hold.
    pub(super) fn parse(body: &'a [u8]) -> Option<Self> {
        let mut reader = Reader(body);
        let count = reader.u32()? as usize;
        let request = Request { key: reader.u64()?, parts: reader.u32()? };
        let rows = reader.0.len().checked_sub(count.checked_mul(HASH)?)?;
        Some(Self { request, rows: reader.take(rows)?, count, hashes: reader.0 })
    }

    /// The rows' hashes that are not zero.
    pub(super) fn ids(&self) -> impl Iterator<Item = u64> {
        let hashes = self.hashes.as_chunks::<HASH>().0.iter();
        hashes.map(|bytes| u64::from_le_bytes(*bytes)).filter(|hash| *hash != 0)
    }

    /// Whether it holds anything by which it, or a row of it, could be recognised.
    pub(super) fn is_named(&self) -> bool {
        self.request.key != 0 || self.ids().next().is_some()
    }
}

/// Reads the footer's body; `None` when it is damaged.
pub(super) fn footer(body: &[u8], checksum: u32, seed: Seed) -> Option<Totals> {
    (seed.checksum(body) == checksum).then_some(())?;
    let mut reader = Reader(body);
    Some(Totals { frames: reader.u32()?, rows: reader.u64()?, row_bytes: reader.u64()?, chain: reader.u32()? })
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn u16(&mut self) -> Option<u16> {
        Some(u16::from_le_bytes(self.take(2)?.try_into().ok()?))
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    fn u64(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }

    fn text(&mut self) -> Option<Arc<str>> {
        let length = self.u16()?;
        Some(std::str::from_utf8(self.take(usize::from(length))?).ok()?.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        Header {
            node: 7,
            batch: 9,
            begun: UnixMillis(1_793_318_400_000),
            day: Day(20_000),
            schema_id: 1,
            zone: "Europe/Berlin".into(),
            table: "events".into(),
            columns: "node,batch,site".into(),
        }
    }

    #[test]
    fn a_header_survives_and_a_flipped_bit_does_not() {
        let bytes = header().encode();
        assert_eq!(Header::decode(&bytes), Some((header(), bytes.len())));
        for position in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[position] ^= 1;
            assert_eq!(Header::decode(&damaged), None, "byte {position}");
        }
        assert_eq!(Header::decode(&bytes[..bytes.len() - 1]), None);
    }

    #[test]
    fn a_newer_segment_is_told_from_a_damaged_one() {
        for (start, newer) in [
            (&b"HCSPOOL2 and whatever follows"[..], Some('2')),
            (b"HCSPOOLA", Some('A')),
            (b"HCSPOOL1", None),
            (b"HCSPOOL0", None),
            (b"HCSPOOL\xff", None),
            (b"HCSPOOL", None),
            (b"HCSPOIL2", None),
            (b"", None),
        ] {
            assert_eq!(newer_version(start), newer, "{start:?}");
        }
        let mut flipped = header().encode();
        flipped[7] = b'3';
        assert_eq!((newer_version(&flipped), Header::decode(&flipped)), (None, None), "one bit of the version");
    }

    #[test]
    fn a_frame_survives_and_a_flipped_bit_does_not() {
        let mut buffer = Vec::new();
        let start = begin_frame(&mut buffer);
        buffer.extend_from_slice(b"two rows");
        let request = Request { key: 3, parts: 2 };
        let seed = header().seed();
        let checksum = finish_frame(&mut buffer, start, seed, request, &[0, 5]);
        let Record::Frame { length, checksum: stated } = record(&buffer[..PREFIX]) else { panic!("no frame") };
        assert_eq!((length, stated), (buffer.len() - PREFIX, checksum));
        let frame = Frame::decode(&buffer[PREFIX..], checksum, seed).unwrap();
        assert_eq!((frame.request, frame.rows, frame.count), (request, &b"two rows"[..], 2));
        assert_eq!(frame.hashes, [[0; 8], 5_u64.to_le_bytes()].concat());
        for position in PREFIX..buffer.len() {
            let mut damaged = buffer.clone();
            damaged[position] ^= 1;
            assert_eq!(Frame::decode(&damaged[PREFIX..], checksum, seed), None, "byte {position}");
        }
    }

    #[test]
    fn a_footer_states_what_was_added() {
        let mut totals = Totals::default();
        totals.add(2, 8, 0xabcd);
        totals.add(1, 4, 0x1234);
        let seed = header().seed();
        let bytes = totals.encode(seed);
        assert_eq!(bytes.len(), FOOTER);
        let Record::Footer { checksum } = record(&bytes[..PREFIX]) else { panic!("no footer") };
        assert_eq!(footer(&bytes[PREFIX..], checksum, seed), Some(totals));
        assert_eq!(record(&[0; PREFIX]), Record::Nothing);
    }

    #[test]
    fn what_another_segment_holds_is_not_taken_for_its_own() {
        let mut buffer = Vec::new();
        begin_frame(&mut buffer);
        let own = header().seed();
        let frame = finish_frame(&mut buffer, 0, own, Request { key: 0, parts: 1 }, &[]);
        let totals = Totals::default();
        let footer_bytes = totals.encode(own);
        let Record::Footer { checksum } = record(&footer_bytes[..PREFIX]) else { panic!("no footer") };
        for (node, batch) in [(7, 10), (8, 9), (9, 7), (0, 0)] {
            let other = Seed::of(node, batch);
            assert_eq!(Frame::decode(&buffer[PREFIX..], frame, other), None, "{node}/{batch}");
            assert_eq!(footer(&footer_bytes[PREFIX..], checksum, other), None, "{node}/{batch}");
        }
        assert!(Frame::decode(&buffer[PREFIX..], frame, own).is_some());
    }
}
