//! A set of hashes that forgets: after a time, or when so many newer ones have come, whichever is first.
//!
//! Hashes lie in generations, by when they came. What is forgotten is the oldest generation as a whole, so forgetting costs the same whatever it held,
//! and nothing is written down for a single hash but the hash. A generation ends when it holds its share of the bound, or spans its share of the
//! time; the oldest goes when all of it is too old, or when the others alone hold as many as the bound. So what is promised is kept exactly: nothing
//! is forgotten early, and never more is held than the bound and one share of it.

use std::collections::{HashSet, VecDeque};

use foldhash::fast::FixedState;

use crate::clock::UnixMillis;

/// Shares into which bound and time are cut. More forget in smaller pieces, and make each look-up that finds nothing dearer. With six, a share of each
/// bound nearly fills the table that holds it, whose sizes are powers of two.
pub(super) const SHARES: usize = 6;

/// How long hashes are remembered, and how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    /// Milliseconds from when a hash came.
    pub(super) millis: u64,
    /// Hashes.
    pub(super) hashes: usize,
}

/// Hashes by when they came.
#[derive(Debug)]
pub(super) struct Generations {
    bounds: Bounds,
    /// Oldest first; the last one takes what comes.
    all: VecDeque<Generation>,
    held: usize,
}

#[derive(Debug)]
struct Generation {
    /// They are keyed hashes already and cannot be chosen by a sender: no hasher of their own is needed against that.
    hashes: HashSet<u64, FixedState>,
    oldest: UnixMillis,
    newest: UnixMillis,
}

impl Generations {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self { bounds, all: VecDeque::new(), held: 0 }
    }

    /// Remembers from here on for so long; what is there already too.
    pub(super) fn keep_for(&mut self, millis: u64) {
        self.bounds.millis = millis;
    }

    /// Whether `hash` came before. The newest are looked at first: what is repeated is mostly repeated soon.
    pub(super) fn contains(&self, hash: u64) -> bool {
        self.all.iter().rev().any(|generation| generation.hashes.contains(&hash))
    }

    /// Adds a hash that came at `at`; one that is there already stays what it is.
    pub(super) fn insert(&mut self, hash: u64, at: UnixMillis) {
        if self.contains(hash) {
            return;
        }
        if self.all.back().is_none_or(|last| self.has_ended(last, at)) {
            self.begin(at);
        }
        let Some(last) = self.all.back_mut() else { return };
        last.hashes.insert(hash);
        last.oldest = last.oldest.min(at);
        last.newest = last.newest.max(at);
        self.held += 1;
    }

    /// Forgets what came too long before `now`.
    pub(super) fn forget_old(&mut self, now: UnixMillis) {
        while self.all.front().is_some_and(|first| now.since(first.newest) >= self.bounds.millis) {
            self.forget_first();
        }
    }

    /// When the oldest hash came that is remembered.
    pub(super) fn oldest(&self) -> Option<UnixMillis> {
        self.all.iter().map(|generation| generation.oldest).min()
    }

    /// How many hashes are remembered.
    pub(super) fn len(&self) -> usize {
        self.held
    }

    /// Bytes of memory that the hashes take: eight and one for each place of the tables, of which at most seven eighths are taken.
    pub(super) fn bytes(&self) -> usize {
        self.all.iter().map(|generation| (generation.hashes.capacity() / 7 * 8) * 9).sum()
    }

    fn has_ended(&self, generation: &Generation, at: UnixMillis) -> bool {
        let share = self.bounds.hashes.div_ceil(SHARES);
        generation.hashes.len() >= share || at.since(generation.oldest) >= self.bounds.millis / SHARES as u64
    }

    fn begin(&mut self, at: UnixMillis) {
        while self.all.front().is_some_and(|first| self.held - first.hashes.len() >= self.bounds.hashes) {
            self.forget_first();
        }
        // A table that is as large from the start as the last one became is never moved while senders wait.
        let expected = self.all.back().map_or(0, |last| last.hashes.len());
        self.all.push_back(Generation {
            hashes: HashSet::with_capacity_and_hasher(expected, FixedState::default()),
            oldest: at,
            newest: at,
        });
    }

    fn forget_first(&mut self) {
        self.held -= self.all.pop_front().map_or(0, |first| first.hashes.len());
    }
}

#[cfg(test)]
mod tests {
    use std::hash::BuildHasher;

    use super::*;
    use crate::limits::{IDS_REMEMBERED, KEYS_REMEMBERED};

    const HOUR: u64 = 3_600_000;
    const DAY: Bounds = Bounds { millis: 24 * HOUR, hashes: 600 };

    fn hour(hour: u64) -> UnixMillis {
        UnixMillis(0).plus(hour * HOUR)
    }

    #[test]
    fn a_hash_is_remembered_for_its_time_and_forgotten_within_a_share_of_it() {
        let mut set = Generations::new(DAY);
        for number in 0..100 {
            set.forget_old(hour(number));
            set.insert(number + 1, hour(number));
            let remembered: Vec<u64> = (0..=number).filter(|came| set.contains(came + 1)).collect();
            let first = *remembered.first().unwrap();
            let most = 22 + 24 / SHARES as u64;
            assert!((first == 0 && number <= most) || (23..=most).contains(&(number - first)), "{first} at {number}");
            assert_eq!(remembered, (first..=number).collect::<Vec<_>>(), "no gap");
            assert_eq!((set.len(), set.oldest()), (remembered.len(), Some(hour(first))));
        }
        set.forget_old(hour(1_000));
        assert_eq!((set.len(), set.oldest(), set.contains(100)), (0, None, false));
    }

    #[test]
    fn the_last_ones_up_to_the_bound_are_remembered_and_never_more_than_a_share_over_it() {
        let mut set = Generations::new(DAY);
        for number in 1..=10_000 {
            set.insert(number, hour(0));
            assert!(set.len() <= DAY.hashes + DAY.hashes / SHARES);
            if number % 97 == 0 {
                let newest = number.saturating_sub(DAY.hashes as u64 - 1).max(1);
                assert!((newest..=number).all(|came| set.contains(came)), "{number}");
            }
        }
        assert!(!set.contains(1));
    }

    #[test]
    fn neither_time_nor_number_alone_forgets_early() {
        // Full generations and slow ones in turn: a hash goes only when it is a day old, or when 600 newer ones are there.
        let mut set = Generations::new(DAY);
        let mut came = Vec::new();
        for turn in 0..40 {
            let burst = if turn % 2 == 0 { 100 } else { 3 };
            for _ in 0..burst {
                came.push(hour(turn));
                set.forget_old(hour(turn));
                set.insert(came.len() as u64, hour(turn));
            }
            for (index, at) in came.iter().enumerate() {
                let young = hour(turn).since(*at) < DAY.millis && came.len() - index <= DAY.hashes;
                assert!(!young || set.contains(index as u64 + 1), "turn {turn}, number {index}");
            }
        }
    }

    #[test]
    fn a_clock_that_goes_back_forgets_nothing_and_a_hash_that_comes_again_takes_no_room() {
        let mut set = Generations::new(DAY);
        set.insert(1, hour(100));
        set.forget_old(hour(0));
        set.insert(2, hour(0));
        set.insert(1, hour(101));
        assert!(set.contains(1) && set.contains(2));
        assert_eq!((set.len(), set.oldest()), (2, Some(hour(0))));
    }

    #[test]
    fn a_full_memory_of_keys_and_ids_takes_what_is_documented() {
        // One generation of each at its full size; seven are the most that full ones can be.
        let bytes = [KEYS_REMEMBERED, IDS_REMEMBERED].map(|hashes| {
            let mut set = Generations::new(Bounds { hashes, ..DAY });
            for number in 0..(hashes / SHARES) as u64 {
                set.insert(FixedState::default().hash_one(number), hour(0));
            }
            assert_eq!(set.all.len(), 1);
            set.bytes() * (SHARES + 1)
        });
        assert!(bytes[0] <= 16 << 20 && bytes[1] <= 64 << 20, "{bytes:?}");
    }
}
