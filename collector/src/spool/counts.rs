//! Counts of events that are not stored, gathered between commits so that each commit carries one row per (site, day, reason) and not one per event.

use std::collections::HashMap;

use crate::clock::{Day, Zone};
use crate::outcome::Outcome;
use crate::row::OutcomeCount;

/// What was counted since the last commit.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// Few, so they are searched in a line. A site that moves to another zone is counted in both.
    zones: Vec<ZoneCounts>,
    pending: bool,
}

#[derive(Debug)]
struct ZoneCounts {
    zone: Zone,
    /// A site stays here once it was counted, so that counting it again allocates nothing.
    sites: HashMap<Box<str>, Vec<Cell>>,
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
        let cells = self.cells_of(site, zone);
        match cells.iter_mut().find(|cell| (cell.day, cell.outcome) == (day, outcome)) {
            Some(cell) => cell.waiting += count,
            None => cells.push(Cell { day, outcome, waiting: count, taken: 0 }),
        }
    }

    fn cells_of(&mut self, site: &str, zone: &Zone) -> &mut Vec<Cell> {
        let position = self.zones.iter().position(|counts| counts.zone.name() == zone.name()).unwrap_or_else(|| {
            self.zones.push(ZoneCounts { zone: zone.clone(), sites: HashMap::new() });
            self.zones.len() - 1
        });
        let sites = &mut self.zones[position].sites;
        if !sites.contains_key(site) {
            sites.insert(site.into(), Vec::new());
        }
        sites.get_mut(site).expect("it was inserted above, if it was not there")
    }

    fn all_cells(&mut self) -> impl Iterator<Item = &mut Vec<Cell>> {
        self.zones.iter_mut().flat_map(|counts| counts.sites.values_mut())
    }

    /// Whether anything waits.
    pub(super) fn is_pending(&self) -> bool {
        self.pending
    }

    /// Gives every count that waits to `take`, to go with the commit at hand. What it does not take waits on.
    pub(super) fn take(&mut self, mut take: impl FnMut(&Zone, OutcomeCount<'_>) -> bool) {
        self.pending = false;
        for ZoneCounts { zone, sites } in &mut self.zones {
            for (site, cells) in sites {
                for cell in cells.iter_mut().filter(|cell| cell.waiting > 0) {
                    if take(zone, OutcomeCount { site, day: cell.day, outcome: cell.outcome, count: cell.waiting }) {
                        cell.taken += std::mem::take(&mut cell.waiting);
                    } else {
                        self.pending = true;
                    }
                }
            }
        }
    }

    /// The commit is on the disk: what went with it is forgotten.
    pub(super) fn settle(&mut self) {
        for cells in self.all_cells() {
            cells.retain_mut(|cell| {
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
        let mut pending = self.pending;
        for cell in self.all_cells().flatten() {
            cell.waiting += std::mem::take(&mut cell.taken);
            pending |= cell.waiting > 0;
        }
        self.pending = pending;
    }
}
