//! The cap on distinct values: a hostile script that invents pages cannot blow the rollup up.
//!
//! For each (site, day, dimension) a node lets [`DISTINCT_VALUES`] values through; every other one is written as `(other)`. What is held is a keyed
//! hash of each value, never the value. Workers remember what they have seen in a set of their own, so the shared one is asked once per value and
//! worker, not once per event. After a start the sets are filled from the rollup by [`Distinct::restore`].

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, Hasher};
use std::sync::{Mutex, PoisonError};

use foldhash::quality::RandomState;

use crate::clock::Day;
use crate::limits::{DISTINCT_CACHED, DISTINCT_VALUES};
use crate::row::Capped;

/// The values that this node has let through; shared by all workers.
#[derive(Debug, Default)]
pub struct Distinct {
    keys: RandomState,
    cells: Mutex<HashMap<Cell, HashSet<u64, Unhashed>>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Cell {
    site: Box<str>,
    day: Day,
    dimension: usize,
}

/// What one worker has seen let through.
#[derive(Debug, Default)]
pub struct Seen(HashSet<u64, Unhashed>);

impl Distinct {
    /// Whether `value` may stand in its own name.
    pub fn admits(&self, seen: &mut Seen, (site, day): (&str, Day), dimension: Capped, value: &str) -> bool {
        let hash = self.hash(site, day, dimension, value);
        if seen.0.contains(&hash) {
            return true;
        }
        let admitted = self.admit(Cell { site: site.into(), day, dimension: dimension as usize }, hash);
        if admitted {
            if seen.0.len() >= DISTINCT_CACHED {
                seen.0.clear();
            }
            seen.0.insert(hash);
        }
        admitted
    }

    /// Adds a value that the rollup already has, from before this process started.
    pub fn restore(&self, site: &str, day: Day, dimension: Capped, value: &str) {
        let hash = self.hash(site, day, dimension, value);
        self.admit(Cell { site: site.into(), day, dimension: dimension as usize }, hash);
    }

    /// Forgets days before `day`: they take no events any more.
    pub fn forget_before(&self, day: Day) {
        self.cells.lock().unwrap_or_else(PoisonError::into_inner).retain(|cell, _| cell.day >= day);
    }

    fn admit(&self, cell: Cell, hash: u64) -> bool {
        let mut cells = self.cells.lock().unwrap_or_else(PoisonError::into_inner);
        let values = cells.entry(cell).or_default();
        values.contains(&hash) || (values.len() < DISTINCT_VALUES && values.insert(hash))
    }

    fn hash(&self, site: &str, day: Day, dimension: Capped, value: &str) -> u64 {
        self.keys.hash_one((site, day, dimension as usize, value))
    }
}

/// The sets hold hashes already; they are not hashed again.
#[derive(Clone, Copy, Debug, Default)]
struct Unhashed;

impl BuildHasher for Unhashed {
    type Hasher = Same;

    fn build_hasher(&self) -> Same {
        Same(0)
    }
}

#[derive(Debug)]
struct Same(u64);

impl Hasher for Same {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Day = Day(20_000);

    #[test]
    fn the_cap_holds_per_site_day_and_dimension_over_all_workers() {
        let distinct = Distinct::default();
        let mut workers = [Seen::default(), Seen::default()];
        let mut admitted = 0;
        for number in 0..DISTINCT_VALUES + 500 {
            let worker = &mut workers[number % 2];
            admitted += usize::from(distinct.admits(worker, ("a", DAY), Capped::Page, &format!("/{number}")));
        }
        assert_eq!(admitted, DISTINCT_VALUES);
        let [first, second] = &mut workers;
        assert!(distinct.admits(second, ("a", DAY), Capped::Page, "/0"), "a value that was let through stays, on every worker");
        assert!(!distinct.admits(first, ("a", DAY), Capped::Page, "/new"));
        for (site, day, dimension) in [("b", DAY, Capped::Page), ("a", DAY.next(), Capped::Page), ("a", DAY, Capped::Event)] {
            assert!(distinct.admits(first, (site, day), dimension, "/new"));
        }
    }

    #[test]
    fn restored_values_count_and_forgotten_days_do_not() {
        let distinct = Distinct::default();
        for number in 0..DISTINCT_VALUES {
            distinct.restore("a", DAY, Capped::Page, &format!("/{number}"));
        }
        let mut seen = Seen::default();
        assert!(distinct.admits(&mut seen, ("a", DAY), Capped::Page, "/7"));
        assert!(!distinct.admits(&mut seen, ("a", DAY), Capped::Page, "/new"));
        distinct.forget_before(DAY.next());
        assert!(distinct.admits(&mut seen, ("a", DAY), Capped::Page, "/new"));
    }

    #[test]
    fn a_workers_memory_is_bounded() {
        let distinct = Distinct::default();
        let mut seen = Seen::default();
        for number in 0..DISTINCT_CACHED as u64 + 10 {
            let site = format!("site-{}", number / 5_000);
            distinct.admits(&mut seen, (&site, DAY), Capped::Page, &number.to_string());
        }
        assert!(seen.0.len() <= DISTINCT_CACHED);
    }
}
