//! The bounds of a listener as one value, so that a test can shrink them, and the budget of bytes that bodies may hold.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::limits;

/// What one worker's listener allows. Deadlines are watched by a sweep, not by timers: each is met within two sweeps after it.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// From accepting a connection, or from the first byte of a later head, to the end of the head.
    pub head: Duration,
    /// From the end of the head to the end of the body.
    pub body: Duration,
    /// A kept-alive connection without a request.
    pub idle: Duration,
    /// From the end of the body to an answer that the client has taken.
    pub answer: Duration,
    /// After the last answer, for the client to read it and close.
    pub linger: Duration,
    /// How long a drain waits for the first request of a connection that was accepted but has not spoken.
    pub drain_silence: Duration,
    /// From the start of a drain to its end.
    pub drain: Duration,
    /// How often deadlines are looked at.
    pub sweep: Duration,
    /// Connections open at one time, on this worker.
    pub connections: usize,
    /// Requests answered on one connection before it is closed.
    pub requests: u32,
}

impl Limits {
    /// The limits of [`crate::limits`], for one of `workers` workers that share the connections evenly.
    pub fn for_one_of(workers: usize) -> Self {
        Self {
            head: limits::HEAD_DEADLINE,
            body: limits::BODY_DEADLINE,
            idle: limits::IDLE_DEADLINE,
            answer: limits::ANSWER_DEADLINE,
            linger: limits::LINGER_DEADLINE,
            drain_silence: limits::DRAIN_SILENCE,
            drain: limits::DRAIN_DEADLINE,
            sweep: limits::SWEEP_INTERVAL,
            connections: (limits::CONNECTIONS / workers.max(1)).max(1),
            requests: limits::CONNECTION_REQUESTS,
        }
    }
}

/// Bytes of bodies that may be in memory at one time, over all workers.
///
/// A worker leases from it in steps and serves its requests from the lease, so that an ordinary request touches no memory of another core.
#[derive(Clone, Debug)]
pub struct BodyBudget(Arc<AtomicUsize>);

impl Default for BodyBudget {
    fn default() -> Self {
        Self::of(limits::BODIES_IN_FLIGHT_BYTES)
    }
}

impl BodyBudget {
    /// A budget of `bytes`.
    pub fn of(bytes: usize) -> Self {
        Self(Arc::new(AtomicUsize::new(bytes)))
    }

    fn lease(&self, bytes: usize) -> bool {
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |free| free.checked_sub(bytes)).is_ok()
    }

    fn give_back(&self, bytes: usize) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// One worker's lease from the [`BodyBudget`].
pub struct BodyLease {
    budget: BodyBudget,
    free: Cell<usize>,
}

impl BodyLease {
    /// A lease of nothing yet.
    pub fn new(budget: BodyBudget) -> Self {
        Self { budget, free: Cell::new(0) }
    }

    fn take(&self, bytes: usize) -> bool {
        let free = self.free.get();
        if let Some(rest) = free.checked_sub(bytes) {
            self.free.set(rest);
            return true;
        }
        let step = (bytes - free).next_multiple_of(limits::BODY_LEASE_BYTES);
        // Near the end of the budget a whole step may be too much where the bytes themselves are not.
        for leased in [step, bytes - free] {
            if self.budget.lease(leased) {
                self.free.set(free + leased - bytes);
                return true;
            }
        }
        false
    }

    fn give_back(&self, bytes: usize) {
        let free = self.free.get() + bytes;
        let kept = free.min(limits::BODY_LEASE_BYTES);
        self.free.set(kept);
        if free > kept {
            self.budget.give_back(free - kept);
        }
    }
}

impl Drop for BodyLease {
    fn drop(&mut self) {
        self.budget.give_back(self.free.get());
    }
}

/// The room that one request's body takes, as it arrived and as it is unpacked. Given back when dropped.
pub struct Room {
    lease: Rc<BodyLease>,
    taken: usize,
}

impl Room {
    /// No room yet, to be taken from this lease.
    pub fn new(lease: &Rc<BodyLease>) -> Self {
        Self { lease: Rc::clone(lease), taken: 0 }
    }

    #[cfg(test)]
    pub(crate) fn of(budget: BodyBudget) -> Self {
        Self::new(&Rc::new(BodyLease::new(budget)))
    }

    /// Takes `bytes` more; `false` when all bodies together would pass the budget: the request is then answered with 503.
    #[must_use]
    pub fn grow(&mut self, bytes: usize) -> bool {
        let taken = self.lease.take(bytes);
        if taken {
            self.taken += bytes;
        }
        taken
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.lease.give_back(self.taken);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_of_all_workers_together_stay_within_the_budget() {
        let budget = BodyBudget::of(1_000_000);
        let (one, other) = (Rc::new(BodyLease::new(budget.clone())), Rc::new(BodyLease::new(budget)));
        let mut first = Room::new(&one);
        assert!(first.grow(900_000));
        assert!(!Room::new(&other).grow(200_000));
        assert!(Room::new(&other).grow(10_000));
        drop(first);
        assert!(Room::new(&other).grow(900_000));
    }

    #[test]
    fn everything_taken_is_given_back() {
        let budget = BodyBudget::of(500_000);
        let lease = Rc::new(BodyLease::new(budget.clone()));
        for round in 1..200 {
            let mut room = Room::new(&lease);
            assert!(room.grow(round));
            assert!(room.grow(round * 1_000));
        }
        drop(lease);
        assert!(budget.lease(500_000));
    }
}
