//! Where a worker and its sync thread meet: one thing to do goes over, and what came of it comes back. Never two at a time.
//!
//! This is all that the two share, behind one lock that neither holds while it waits or wakes. So whatever the two threads do, it is one of the orders of
//! what they do here, and those are few: a test goes through them (`spool/tests/schedules.rs`).

use std::future::poll_fn;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

use crate::leak;

/// Both ends of a new one.
pub(super) fn pair<C, D>() -> (Giver<C, D>, Taker<C, D>) {
    let table = Arc::new(Table { place: Mutex::new(Place::default()), changed: Condvar::new() });
    (Giver(Arc::clone(&table)), Taker(table))
}

#[derive(Debug)]
struct Table<C, D> {
    place: Mutex<Place<C, D>>,
    /// The taker waits for this; the giver is woken by its waker.
    changed: Condvar,
}

#[derive(Debug)]
struct Place<C, D> {
    given: Option<C>,
    done: Option<D>,
    waker: Option<Waker>,
    giver_is_gone: bool,
    taker_is_gone: bool,
}

impl<C, D> Default for Place<C, D> {
    fn default() -> Self {
        Self { given: None, done: None, waker: None, giver_is_gone: false, taker_is_gone: false }
    }
}

impl<C, D> Table<C, D> {
    fn lock(&self) -> MutexGuard<'_, Place<C, D>> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The worker's end.
#[derive(Debug)]
pub(super) struct Giver<C, D>(Arc<Table<C, D>>);

impl<C, D> Giver<C, D> {
    /// Gives something and waits for what comes of it; `None` when the taker is gone.
    pub(super) async fn give(&mut self, given: C) -> Option<D> {
        self.0.lock().given = Some(given);
        self.0.changed.notify_one();
        poll_fn(|context| {
            let mut place = self.0.lock();
            if place.done.is_some() || place.taker_is_gone {
                return Poll::Ready(place.done.take());
            }
            place.waker = Some(context.waker().clone());
            Poll::Pending
        })
        .await
    }
}

impl<C, D> Drop for Giver<C, D> {
    fn drop(&mut self) {
        self.0.lock().giver_is_gone = true;
        self.0.changed.notify_one();
    }
}

/// What there is to take.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next<C> {
    /// This.
    Given(C),
    /// Nothing yet.
    Nothing,
    /// Nothing, and never again.
    Ended,
}

/// The sync thread's end.
#[derive(Debug)]
pub(super) struct Taker<C, D>(Arc<Table<C, D>>);

impl<C, D> Taker<C, D> {
    /// Waits until something is given.
    pub(super) fn take(&self) -> Option<C> {
        let mut place = self.0.lock();
        loop {
            match place.next() {
                Next::Given(given) => return Some(given),
                Next::Ended => return None,
                Next::Nothing => place = self.0.changed.wait(place).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    /// Waits until something is given, but not longer than this.
    pub(super) fn take_within(&self, patience: Duration) -> Next<C> {
        let mut place = self.0.lock();
        match place.next() {
            Next::Nothing => {
                place = self.0.changed.wait_timeout(place, patience).unwrap_or_else(PoisonError::into_inner).0;
                place.next()
            }
            next => next,
        }
    }

    /// Says what came of what was taken last.
    pub(super) fn done(&self, done: D) {
        let mut place = self.0.lock();
        place.done = Some(done);
        let waker = place.waker.take().filter(|_| !leak::planted("wakeup_lost"));
        drop(place);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<C, D> Place<C, D> {
    fn next(&mut self) -> Next<C> {
        match self.given.take() {
            Some(given) => Next::Given(given),
            None if self.giver_is_gone => Next::Ended,
            None => Next::Nothing,
        }
    }
}

impl<C, D> Drop for Taker<C, D> {
    fn drop(&mut self) {
        let mut place = self.0.lock();
        place.taker_is_gone = true;
        let waker = place.waker.take();
        drop(place);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}
