//! Who a node is and which numbers it has given: a few small files of the spool's folder, each with its checksum.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::disk;
use crate::leak;

/// Random bytes that are drawn once and kept; `None` when the file is there and damaged.
pub(super) fn identity<const LENGTH: usize>(path: &Path) -> io::Result<Option<[u8; LENGTH]>> {
    if let Some(bytes) = disk::read_small(path)? {
        return Ok(checked(&bytes));
    }
    let mut fresh = [0; LENGTH];
    getrandom::fill(&mut fresh).map_err(io::Error::other)?;
    disk::replace_small(path, &with_checksum(&fresh))?;
    Ok(Some(fresh))
}

/// A small file's content: its bytes and their CRC32C.
fn with_checksum(bytes: &[u8]) -> Vec<u8> {
    [bytes, &crc32c::crc32c(bytes).to_le_bytes()].concat()
}

/// The bytes of a small file; `None` when they are not what was written.
fn checked<const LENGTH: usize>(content: &[u8]) -> Option<[u8; LENGTH]> {
    let (bytes, checksum) = content.split_last_chunk::<4>()?;
    (crc32c::crc32c(bytes).to_le_bytes() == *checksum).then_some(())?;
    bytes.try_into().ok()
}

/// Gives every segment a number that this node has never given before, also not before a crash: numbers are reserved on disk in blocks.
#[derive(Debug)]
pub(super) struct Batches {
    path: PathBuf,
    /// How many are reserved at once.
    block: u64,
    state: Mutex<Reserved>,
}

#[derive(Debug)]
struct Reserved {
    next: u64,
    end: u64,
}

impl Batches {
    pub(super) fn open(path: &Path, block: u64) -> io::Result<Option<Self>> {
        let next = match disk::read_small(path)? {
            None => {
                disk::replace_small(path, &with_checksum(&1_u64.to_le_bytes()))?;
                1
            }
            Some(bytes) => match checked(&bytes) {
                Some(bytes) => u64::from_le_bytes(bytes),
                None => return Ok(None),
            },
        };
        Ok(Some(Self { path: path.to_owned(), block, state: Mutex::new(Reserved { next, end: next }) }))
    }

    /// The next number. Taken about once a second and worker, so a lock and, each [`BATCHES_RESERVED`](crate::limits::BATCHES_RESERVED) times, a small synced write are of no weight.
    pub(super) fn draw(&self) -> io::Result<u64> {
        let mut reserved = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if reserved.next == reserved.end {
            let end = reserved.end + self.block;
            if !leak::planted("numbers_not_reserved") {
                disk::replace_small(&self.path, &with_checksum(&end.to_le_bytes()))?;
            }
            reserved.end = end;
        }
        let batch = reserved.next;
        reserved.next += 1;
        Ok(batch)
    }
}
