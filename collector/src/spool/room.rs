//! What follows when the disk is full: nothing more is taken until there is room for more than crumbs.
//!
//! A commit that fails ends every segment that is being written. If the next one were tried at once, whatever is small would find the last of the room,
//! again and again: ClickHouse would get one insert for a handful of rows and make room more slowly than they take it, and what is large would never be
//! taken. So nobody is let in until a tenth of what lay in the spool is gone. When something else fills the disk that never comes; then it is tried again
//! after [`ROOM_PATIENCE`](crate::limits::ROOM_PATIENCE).

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::clock::Clock;

/// Whether there is room on the disk, as far as is known.
#[derive(Debug)]
pub(super) struct Room {
    /// How long it is waited for at most.
    patience: Duration,
    /// Read for every request; the lock is taken only while it is set.
    awaited: AtomicBool,
    wait: Mutex<Option<Wait>>,
}

#[derive(Clone, Copy, Debug)]
struct Wait {
    /// Ends when no more bytes than these lie in the spool ...
    bytes: u64,
    /// ... and now at the latest.
    until: Instant,
}

impl Room {
    /// Which is waited for so long at most.
    pub(super) fn new(patience: Duration) -> Self {
        Self { patience, awaited: AtomicBool::new(false), wait: Mutex::default() }
    }

    /// Whether it is waited for.
    pub(super) fn is_awaited(&self) -> bool {
        self.awaited.load(Ordering::Relaxed) && self.ends_when(|wait| Clock::monotonic() >= wait.until)
    }

    /// A commit failed while so many bytes lay in the spool. What still fails while room is waited for does not prolong the wait.
    pub(super) fn commit_failed(&self, error: &io::Error, bytes: u64) {
        let is_full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
        if is_full && !self.is_awaited() {
            let mut wait = self.wait.lock().unwrap_or_else(PoisonError::into_inner);
            *wait = Some(Wait { bytes: bytes / 10 * 9, until: Clock::monotonic() + self.patience });
            self.awaited.store(true, Ordering::Relaxed);
        }
    }

    /// Something was removed; so many bytes are left.
    pub(super) fn left(&self, bytes: u64) {
        if self.awaited.load(Ordering::Relaxed) {
            self.ends_when(|wait| bytes <= wait.bytes);
        }
    }

    /// Ends the wait if it is over by this; returns whether it goes on.
    fn ends_when(&self, is_over: impl FnOnce(&Wait) -> bool) -> bool {
        let mut wait = self.wait.lock().unwrap_or_else(PoisonError::into_inner);
        if wait.as_ref().is_some_and(is_over) {
            *wait = None;
        }
        self.awaited.store(wait.is_some(), Ordering::Relaxed);
        wait.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::ROOM_PATIENCE;

    fn full() -> io::Error {
        io::ErrorKind::StorageFull.into()
    }

    #[test]
    fn a_full_disk_takes_nothing_until_a_tenth_of_the_spool_is_gone() {
        let room = Room::new(ROOM_PATIENCE);
        assert!(!room.is_awaited());
        room.commit_failed(&full(), 1_000);
        assert!(room.is_awaited());
        room.left(901);
        assert!(room.is_awaited());
        room.commit_failed(&full(), 100);
        room.left(900);
        assert!(!room.is_awaited(), "what failed meanwhile has not moved the mark");
        room.commit_failed(&io::ErrorKind::QuotaExceeded.into(), 900);
        assert!(room.is_awaited(), "the next one begins anew");
    }

    #[test]
    fn a_disk_that_something_else_fills_is_tried_again_in_time() {
        let patience = Duration::from_millis(20);
        let room = Room::new(patience);
        room.commit_failed(&full(), 0);
        let begun = Clock::monotonic();
        while room.is_awaited() {
            std::thread::yield_now();
        }
        assert!(begun.elapsed() > patience / 2);
        room.commit_failed(&full(), 0);
        assert!(room.wait.lock().unwrap().is_some(), "and left alone again if it is as full as before");
    }

    #[test]
    fn other_failures_are_none_of_its_business() {
        let room = Room::new(ROOM_PATIENCE);
        room.commit_failed(&io::ErrorKind::Other.into(), 1_000);
        assert!(!room.is_awaited());
    }
}
