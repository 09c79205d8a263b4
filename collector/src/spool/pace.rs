//! How much may wait for a disk that is slow. Whoever may not is answered with 503 at once, instead of late.
//!
//! A commit that took long shows how much the disk can take: no more may wait for the next than it takes in [`COMMIT_WAIT`]. One that was quick doubles
//! what may wait, up to its bound. And once a commit is under way for longer than [`crate::limits::COMMIT_PATIENCE`], nothing more may wait until it has
//! ended: the disk may hang for a minute.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Gauge;
use crate::leak;
use crate::limits::{COMMIT_BYTES_SLOW, COMMIT_WAIT};

/// What one worker knows of its disk.
#[derive(Debug)]
pub(super) struct Pace {
    /// The commit under way takes too long.
    hangs: bool,
    /// Bytes that may wait for the next commit: now, and at most.
    bytes: usize,
    bytes_max: usize,
}

impl Pace {
    /// For a log in which at most `bytes_max` may wait.
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { hangs: false, bytes: bytes_max, bytes_max }
    }

    /// Whether another request may wait where `pending` bytes do.
    pub(super) fn admits(&self, pending: usize) -> bool {
        (!self.hangs && pending < self.bytes) || leak::planted("all_admitted")
    }

    /// The commit under way takes too long.
    pub(super) fn hang(&mut self) {
        self.hangs = true;
    }

    /// A commit of so many bytes has ended, for better or worse.
    pub(super) fn end(&mut self, bytes: usize, took: Duration) {
        self.hangs = false;
        self.bytes = if took <= COMMIT_WAIT {
            self.bytes.saturating_mul(2).min(self.bytes_max)
        } else {
            let share = bytes as u128 * COMMIT_WAIT.as_millis() / took.as_millis();
            usize::try_from(share).unwrap_or(usize::MAX).max(COMMIT_BYTES_SLOW).min(self.bytes_max)
        };
    }
}

impl Gauge {
    /// Told when a commit is under way for too long, which it is until what is returned is dropped.
    pub(super) fn hanging(&self) -> Hanging<'_> {
        tracing::error!("the disk takes long over a commit; until it has ended, who comes is answered with 503");
        self.hanging.fetch_add(1, Ordering::Relaxed);
        Hanging(self)
    }
}

/// A commit that is under way for too long.
pub(super) struct Hanging<'a>(&'a Gauge);

impl Drop for Hanging<'_> {
    fn drop(&mut self) {
        self.0.hanging.fetch_sub(1, Ordering::Relaxed);
        tracing::info!("that commit has ended");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    #[test]
    fn no_more_may_wait_than_the_disk_takes_in_a_moment() {
        let mut pace = Pace::new(16 * MIB);
        pace.end(MIB, COMMIT_WAIT);
        assert!(pace.admits(16 * MIB - 1) && !pace.admits(16 * MIB), "quick enough");
        pace.end(16 * MIB, COMMIT_WAIT * 4);
        assert!(pace.admits(4 * MIB - 1) && !pace.admits(4 * MIB));
        pace.end(1_000, COMMIT_WAIT * 1_000);
        assert!(pace.admits(COMMIT_BYTES_SLOW - 1) && !pace.admits(COMMIT_BYTES_SLOW), "however slow it is, somebody may wait");
        for _ in 0..8 {
            assert!(!pace.admits(16 * MIB - 1));
            pace.end(1_000, COMMIT_WAIT / 2);
        }
        assert!(pace.admits(16 * MIB - 1) && !pace.admits(16 * MIB));
    }

    #[test]
    fn nothing_more_may_wait_for_a_commit_that_hangs() {
        let mut pace = Pace::new(MIB);
        pace.hang();
        assert!(!pace.admits(0));
        pace.end(1_000, COMMIT_WAIT * 5);
        assert!(pace.admits(0));
    }
}
