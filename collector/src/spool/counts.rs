//! Counts of events that are not stored, gathered between commits so that each commit carries one row per (site, day, reason) and not one per event.

use std::collections::HashMap;

use crate::clock::{Day, Zone};
use crate::outcome::Outcome;
use crate::row::OutcomeCount;

/// What was counted since the last commit.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// A site stays here once it was counted, so that counting it again allocates nothing.
    sites: HashMap<Box<str>, SiteCounts>,
    pending: bool,
}

#[derive(Debug)]
struct SiteCounts {
    zone: Zone,
    cells: Vec<Cell>,
}

#[derive(Debug)]
struct Cell {
    day: Day,
    outcome: Outcome,
    /// Counted since the last commit was taken.
    waiting: u64,
    /// With the commit under way.
    taken: u64,
}

impl Counts {
    /// Adds `count` events of `site` that met `outcome` on `day`.
    pub(super) fn add(&mut self, (site, zone): (&str, &Zone), day: Day, outcome: Outcome, count: u64) {
        self.pending = true;
        if !self.sites.contains_key(site) {
            self.sites.insert(site.into(), SiteCounts { zone: zone.clone(), cells: Vec::new() });
        }
        let Some(counts) = self.sites.get_mut(site) else { return };
        match counts.cells.iter_mut().find(|cell| (cell.day, cell.outcome) == (day, outcome)) {
            Some(cell) => cell.waiting += count,
            None => counts.cells.push(Cell { day, outcome, waiting: count, taken: 0 }),
        }
    }

    /// Whether anything waits.
    pub(super) fn is_pending(&self) -> bool {
        self.pending
    }

    /// Gives every count that waits to `take`, to go with the commit at hand. What it does not take waits on.
    pub(super) fn take(&mut self, mut take: impl FnMut(&Zone, OutcomeCount<'_>) -> bool) {
        self.pending = false;
        for (site, counts) in &mut self.sites {
            for cell in counts.cells.iter_mut().filter(|cell| cell.waiting > 0) {
                if take(&counts.zone, OutcomeCount { site, day: cell.day, outcome: cell.outcome, count: cell.waiting }) {
                    cell.taken += std::mem::take(&mut cell.waiting);
                } else {
                    self.pending = true;
                }
            }
        }
    }

    /// The commit is on the disk: what went with it is forgotten.
    pub(super) fn settle(&mut self) {
        for counts in self.sites.values_mut() {
            counts.cells.retain_mut(|cell| {
                cell.taken = 0;
                cell.waiting > 0
            });
        }
    }

    /// There will be no other commit.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    /// The commit failed: what went with it waits again.
    pub(super) fn restore(&mut self) {
        for cell in self.sites.values_mut().flat_map(|counts| &mut counts.cells) {
            cell.waiting += std::mem::take(&mut cell.taken);
            self.pending |= cell.waiting > 0;
        }
    }
}
