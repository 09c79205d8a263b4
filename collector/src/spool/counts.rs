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
    cells: Vec<(Day, Outcome, u64)>,
}

impl Counts {
    /// Adds `count` events of `site` that met `outcome` on `day`.
    pub(super) fn add(&mut self, (site, zone): (&str, &Zone), day: Day, outcome: Outcome, count: u64) {
        self.pending = true;
        if !self.sites.contains_key(site) {
            self.sites.insert(site.into(), SiteCounts { zone: zone.clone(), cells: Vec::new() });
        }
        let Some(counts) = self.sites.get_mut(site) else { return };
        match counts.cells.iter_mut().find(|cell| (cell.0, cell.1) == (day, outcome)) {
            Some(cell) => cell.2 += count,
            None => counts.cells.push((day, outcome, count)),
        }
    }

    /// Whether anything was counted.
    pub(super) fn is_pending(&self) -> bool {
        self.pending
    }

    /// Gives every count to `take` and forgets it.
    pub(super) fn drain(&mut self, mut take: impl FnMut(&Zone, OutcomeCount<'_>)) {
        self.pending = false;
        for (site, counts) in &mut self.sites {
            for (day, outcome, count) in counts.cells.drain(..) {
                take(&counts.zone, OutcomeCount { site, day, outcome, count });
            }
        }
    }
}
