//! Who a node is and which numbers it has given: a few small files of the spool's folder, each with its checksum.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::disk;
use crate::leak;

/// Makes the files of a node that is not there yet. What an earlier start may have left of them is made anew: it failed, so it cannot be told whether that
/// is on the disk. `node` comes last: where it is, the others are.
pub(super) fn make([next_batch, hash_key, node]: [&Path; 3]) -> io::Result<()> {
    disk::replace_small(next_batch, &with_checksum(&1_u64.to_le_bytes()))?;
    disk::replace_small(hash_key, &with_checksum(&random::<32>()?))?;
    disk::replace_small(node, &with_checksum(&random::<8>()?))
}

fn random<const LENGTH: usize>() -> io::Result<[u8; LENGTH]> {
    let mut bytes = [0; LENGTH];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(bytes)
}

/// The bytes of one of these files; `None` when it is damaged or gone.
pub(super) fn known<const LENGTH: usize>(path: &Path) -> io::Result<Option<[u8; LENGTH]>> {
    Ok(disk::read_small(path)?.and_then(|content| checked(&content)))
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
    /// Goes on where `path` says; `None` when it is damaged or gone.
    pub(super) fn open(path: &Path, block: u64) -> io::Result<Option<Self>> {
        let Some(next) = known(path)?.map(u64::from_le_bytes) else { return Ok(None) };
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
