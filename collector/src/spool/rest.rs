//! When a worker rests. Commits begin at most once in [`COMMIT_INTERVAL`], and until the next may begin nothing that comes can be promised anyway. So a worker that
//! has nothing left to do does not wait for its sockets meanwhile, which would wake it for each request: it sleeps until the disk is done, answers, sleeps until
//! the next commit may begin, and then reads at once all who have come.
//!
//! A worker that is busy never gets here. One whose last commit is longer ago waits for its sockets as ever: who comes alone waits for nothing but the disk.
//! What needs no commit (the script, a refusal) waits at most for one rest, and only beside others.
//!
//! Measured in turn at half of what one core takes, 64 connections: 31 us of CPU for a request in place of 44, at most 1,000 commits a second in place of 1,700, half of
//! the answers within 1.4 ms in place of 0.8, and a p99 of 3.5 ms in place of 11.6, on a virtual machine whose host stopped both cores for 8 to 10 ms in each tenth of a
//! second before. In other runs the p99 was up to 7.7 ms. At saturation a request costs the same within the spread (1.04 times, 0.69 to 1.37), so nothing
//! changes. Tried and left out: resting only while the disk works (43 us, p99 9.9 ms), intervals of half a millisecond (39 us) and of two (34 us, half of the answers
//! within 2.3 ms), and waiting by the runtime's own timer, which knows whole milliseconds (41 us, a third less at saturation).

use std::future::poll_fn;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;

use crate::clock::Clock;
use crate::limits::COMMIT_INTERVAL;

/// What a worker's runtime, its log and its sync thread know of its commits. The one by default is of a worker that does not rest, and commits as soon as it can.
#[derive(Debug, Default)]
pub struct Rest {
    /// Between the beginnings of two commits, and as long as the worker sleeps at a time.
    interval: Duration,
    state: Mutex<State>,
    /// A commit has ended.
    ended: Condvar,
}

#[derive(Debug, Default)]
struct State {
    is_under_way: bool,
    /// When the next commit may begin; in the past, or none, when one may begin now.
    next: Option<Instant>,
    /// Of the log, which waits for that.
    waker: Option<Waker>,
}

impl Rest {
    /// A runtime for one worker, and the rest that it takes.
    pub fn runtime() -> io::Result<(Runtime, Arc<Self>)> {
        Self::every(COMMIT_INTERVAL)
    }

    fn every(interval: Duration) -> io::Result<(Runtime, Arc<Self>)> {
        let rest = Arc::new(Self { interval, ..Self::default() });
        let resting = Arc::clone(&rest);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().on_thread_park(move || resting.take()).build()?;
        Ok((runtime, rest))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The worker has nothing to do; it waits for its sockets once this returns.
    fn take(&self) {
        let state = self.lock();
        if state.is_under_way {
            // Not to its end, however long it takes: some are answered without a commit.
            drop(self.ended.wait_timeout_while(state, self.interval, |state| state.is_under_way));
            return;
        }
        let left = state.next.map(|next| next.saturating_duration_since(Clock::monotonic()));
        drop(state);
        if let Some(left) = left.filter(|left| !left.is_zero()) {
            std::thread::sleep(left);
        }
        if let Some(waker) = self.lock().waker.take() {
            waker.wake();
        }
    }

    /// Resolves when the next commit may begin.
    pub(super) async fn is_over(&self) {
        let Some(next) = self.lock().next.filter(|next| *next > Clock::monotonic()) else { return };
        let rested = poll_fn(|context| {
            if Clock::monotonic() >= next {
                return Poll::Ready(());
            }
            self.lock().waker = Some(context.waker().clone());
            Poll::Pending
        });
        // The worker may have so much to do that it never rests.
        let _ = tokio::time::timeout_at(next.into(), rested).await;
    }

    /// A commit begins.
    pub(super) fn begin(&self) {
        if self.interval.is_zero() {
            return;
        }
        let mut state = self.lock();
        state.is_under_way = true;
        state.next = Some(Clock::monotonic() + self.interval);
    }

    /// That commit has ended: whoever waits for it can be answered.
    pub(super) fn end(&self) {
        self.lock().is_under_way = false;
        self.ended.notify_one();
    }
}

#[cfg(test)]
mod tests;
