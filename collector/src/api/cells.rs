//! Cells that are added up here: what a day, or the closed days of a range, has of each value of a dimension, with what may be told of it.
//!
//! ClickHouse needs longer to understand a statement than to read cells, so there are few statements and plain ones: one a table that has them ([`open`], [`closed`]),
//! for all the dimensions that a page shows at once ([`Group`]), and no more than a select each. What is too small to be named is found here ([`folding`]); only who
//! is in several small cells is ClickHouse's to say. Cells are kept as long as the tables hold what they were read from ([`kept`]).
//!
//! Of a site the open days that are past, today, the closed days of a range and the whole site on its closed days are kept apart: what arrives makes today's be read again.

pub(super) mod closed;
pub(super) mod folding;
pub(super) mod kept;
pub(super) mod open;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::plan::{Audience, Facts, Identities};
use super::question::{Dimension, Form, HOUR, Interval, Metric, Query, Values};
use super::reach;
use crate::store::closing::SUMS;
use crate::store::rollup::ALL;

/// The sums of a cell, in the order of [`SUMS`].
pub(super) type Sums = [u64; SUMS.len()];

/// The place of a sum.
pub(super) fn place(name: &str) -> Option<usize> {
    SUMS.iter().position(|own| *own == name)
}

/// Sums of these columns, as an answer has them; of all others nothing.
fn sums(columns: &[&str], figures: &[u64]) -> Sums {
    let mut sums = Sums::default();
    for (name, figure) in columns.iter().zip(figures) {
        if let Some(place) = place(name) {
            sums[place] = *figure;
        }
    }
    sums
}

/// What may be told of a value, on a day, in an hour or in a part of a range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cell {
    /// The day, the hour (`2026-11-22T09`), or the first day of the part of the range.
    pub(super) at: Box<str>,
    /// The value; of the whole site none.
    pub(super) name: Box<str>,
    /// Whether it is `(other)`, and whether its visitors can be told: see [`template`](super::template).
    pub(super) cut: u8,
    pub(super) visitors: u64,
    pub(super) sums: Sums,
}

/// Cells by their dimension.
pub(super) type Cells = BTreeMap<&'static str, Vec<Cell>>;

/// What is kept of cells that were read together, and how much memory that takes, about: of what is too much as a whole the largest cut is left out, and asked for by itself.
pub(super) fn kept_of(cells: &Arc<Cells>, most: usize) -> Option<(Arc<Cells>, usize)> {
    let bytes = |cells: &[Cell]| cells.iter().map(|cell| size_of::<Cell>() + cell.at.len() + cell.name.len()).sum::<usize>();
    let sizes: BTreeMap<&'static str, usize> = cells.iter().map(|(name, cells)| (*name, bytes(cells))).collect();
    let mut all: usize = sizes.values().sum();
    if all <= most {
        return Some((Arc::clone(cells), all));
    }
    let mut kept = Cells::clone(cells);
    while all > most {
        let largest = kept.keys().copied().max_by_key(|name| sizes[name])?;
        kept.remove(largest);
        all -= sizes[largest];
    }
    (!kept.is_empty()).then(|| (Arc::new(kept), all))
}

/// What a cell's figures are of. It decides what the cell's weight is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Told {
    Events,
    Visits,
    /// Both, of which the fewer visitors count.
    Both,
}

/// Cells that are read together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Group {
    /// All that the first page of the dashboard shows: whichever of its questions comes first asks for what the others want too.
    Page,
    /// One cut, with every sum.
    One(&'static str, Told),
}

/// What the panels of the first page are cut by when it opens.
const OF_A_PAGE: &[&str] = &[ALL, HOUR, "page", "channel", "country", "device", "event"];

/// The sums of what the first page asks for. Entries stand for visits where nobody has an id, and tell whether closed days have anything beyond their cells.
const SUMS_OF_A_PAGE: &[&str] = &["visits", "bounces", "visit_ms", "pageviews", "events", "entries"];

impl Group {
    /// The cells that `query` is made of, if it is one that is added up here: JSON, by one dimension at most, without filters and without money.
    pub(super) fn of(query: &Query, facts: &Facts) -> Option<(Self, &'static str)> {
        let plain = query.filters.is_empty() && query.dimensions.len() <= 1 && reach::dimension(query).is_none();
        let adds_up = query.dimensions.iter().all(|own| own.values == Values::One);
        let told_here = !query.metrics.iter().any(|metric| matches!(metric, Metric::Value | Metric::ConversionRate));
        if !(plain && adds_up && told_here && query.form == Form::Json && facts.audience == Audience::Analysts) {
            return None;
        }
        let name = match query.dimensions.first() {
            Some(own) => own.name,
            None if query.interval == Some(Interval::Hour) => HOUR,
            None => ALL,
        };
        let told = match query.dimensions.first() {
            Some(own) if own.of_event.is_none() => Told::Visits,
            Some(_) if query.asks_for_visits() => Told::Both,
            Some(_) => Told::Events,
            // The whole site has no threshold.
            None => Told::Both,
        };
        let told = match facts.ids {
            Identities::OfADay => told,
            // Nobody's visits are known, but those of a time when there were ids.
            Identities::None if told == Told::Visits => return None,
            Identities::None => Told::Events,
        };
        let of_a_page = OF_A_PAGE.contains(&name) && told == told_of_a_page(name, facts.ids);
        let is_of_page = of_a_page && query.metrics.iter().all(|metric| Metric::OF_A_PAGE.contains(metric));
        Some((if is_of_page { Self::Page } else { Self::One(name, told) }, name))
    }

    /// Its cuts, and what is told of each.
    fn cuts(self, ids: Identities) -> Vec<(&'static str, Told)> {
        match self {
            Self::Page => OF_A_PAGE.iter().map(|name| (*name, told_of_a_page(name, ids))).collect(),
            Self::One(name, told) => vec![(name, told)],
        }
    }

    /// The sums that are read, of those that a table has.
    fn sums(self, has: &[&'static str]) -> Vec<&'static str> {
        let all = has.iter().copied();
        match self {
            Self::Page => all.filter(|name| SUMS_OF_A_PAGE.contains(name)).collect(),
            Self::One(..) => all.collect(),
        }
    }
}

/// What the page tells of a cut: visits of what visits have.
fn told_of_a_page(name: &str, ids: Identities) -> Told {
    let has_visits = [ALL, HOUR].contains(&name) || Dimension::named(name).is_some_and(|own| own.of_visit.is_some());
    if ids == Identities::OfADay && has_visits { Told::Both } else { Told::Events }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_what_is_too_much_to_be_kept_the_largest_cut_goes() {
        let cell = Cell { at: "2026-11-22".into(), name: "/a".into(), cut: 0, visitors: 5, sums: Sums::default() };
        let cells = Arc::new(Cells::from([("page", vec![cell.clone(); 90]), ("country", vec![cell.clone(); 9]), ("device", vec![])]));
        let kept = |cells: &Arc<Cells>, most| kept_of(cells, most).map(|(kept, bytes)| (kept.keys().copied().collect::<Vec<_>>(), bytes));
        let (all, bytes) = kept(&cells, 1_000_000).unwrap();
        assert_eq!(all, ["country", "device", "page"]);
        assert_eq!(kept(&cells, bytes - 1), Some((vec!["country", "device"], bytes / 11)));
        let alone = Arc::new(Cells::from([("page", vec![cell; 90])]));
        assert_eq!(kept(&alone, 1_000), None, "nothing is no answer to who asks for it");
    }
}
