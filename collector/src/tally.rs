//! What a request's events came to: counted while they are judged, told to everybody at once when the answer is certain.

use crate::outcome::{Outcome, Refused};
use crate::site::{Site, Sites};

/// Outcomes of one request's events, by site. Short: most requests carry one event.
#[derive(Debug, Default)]
pub struct Tally {
    entries: Vec<Entry>,
    masked: Vec<(usize, u64)>,
}

/// How many events of a site met an outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The site's index, or `None` when no site could be told.
    site: Option<usize>,
    /// What was met.
    pub outcome: Outcome,
    /// How often.
    pub count: u64,
}

impl Entry {
    /// The site, in the [`Sites`] that the tally was made with.
    pub fn site<'s>(&self, sites: &'s Sites) -> Option<&'s Site> {
        self.site.and_then(|index| sites.at(index))
    }
}

impl Tally {
    /// Counts one event.
    pub fn add(&mut self, site: Option<&Site>, outcome: Outcome) {
        let site = site.map(|site| site.index);
        match self.entries.iter_mut().find(|entry| entry.site == site && entry.outcome == outcome) {
            Some(entry) => entry.count += 1,
            None => self.entries.push(Entry { site, outcome, count: 1 }),
        }
    }

    /// Notes that the masks changed something of an event of `site`.
    pub fn mask(&mut self, site: &Site) {
        match self.masked.iter_mut().find(|(index, _)| *index == site.index) {
            Some((_, count)) => *count += 1,
            None => self.masked.push((site.index, 1)),
        }
    }

    /// How many events of each site the masks changed.
    pub fn masked<'s>(&self, sites: &'s Sites) -> impl Iterator<Item = (&'s Site, u64)> {
        self.masked.iter().filter_map(|(index, count)| Some((sites.at(*index)?, *count)))
    }

    /// What was counted.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Whether any event was taken: kept, dropped for the visitor's sake, or known already.
    pub fn took_any(&self) -> bool {
        self.entries.iter().any(|entry| !matches!(entry.outcome, Outcome::Refused(_)))
    }

    /// Whether nothing is stored, and some of it could be as soon as its day has a key: who sends all of it again loses nothing and doubles nothing.
    pub fn waits_for_a_key(&self) -> bool {
        let stored = |entry: &Entry| matches!(entry.outcome, Outcome::Accepted(_) | Outcome::Duplicate);
        !self.entries.iter().any(stored) && self.entries.iter().any(|entry| entry.outcome == Outcome::Refused(Refused::NoKey))
    }

    /// The commit failed: what was accepted is refused after all. Drops stay what they are; nothing of them was promised.
    pub fn undo_accepted(&mut self) {
        for entry in &mut self.entries {
            if matches!(entry.outcome, Outcome::Accepted(_)) {
                entry.outcome = Outcome::Refused(Refused::Unavailable);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::{Accepted, Dropped};

    #[test]
    fn like_outcomes_are_counted_together_and_undone_together() {
        let mut tally = Tally::default();
        for outcome in
            [Outcome::Accepted(Accepted::Pseudonymous), Outcome::Dropped(Dropped::DoNotTrack), Outcome::Accepted(Accepted::Pseudonymous)]
        {
            tally.add(None, outcome);
        }
        assert!(tally.took_any());
        tally.undo_accepted();
        let counted: Vec<_> = tally.entries().iter().map(|entry| (entry.outcome.label(), entry.count)).collect();
        assert_eq!(counted, [("unavailable", 2), ("dnt", 1)]);
    }

    #[test]
    fn only_what_stores_nothing_waits_for_a_key() {
        let keyless = Outcome::Refused(Refused::NoKey);
        let dropped = Outcome::Dropped(Dropped::DoNotTrack);
        for (outcomes, waits) in [
            (&[keyless][..], true),
            (&[Outcome::Refused(Refused::Invalid), dropped, keyless], true),
            (&[keyless, Outcome::Accepted(Accepted::Anonymous)], false),
            (&[keyless, Outcome::Duplicate], false),
            (&[dropped], false),
            (&[], false),
        ] {
            let mut tally = Tally::default();
            for outcome in outcomes {
                tally.add(None, *outcome);
            }
            assert_eq!(tally.waits_for_a_key(), waits, "{outcomes:?}");
        }
    }
}
