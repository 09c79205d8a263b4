//! What is too small to be named: which cells of a day go into `(other)`, and which cell joins them where they are too few themselves.
//!
//! It is the rule of [`template`](crate::api::template), for cells that are here. How many visitors several cells have together is not their sum, as one
//! visitor may be in several: where that decides or is told, it is asked for ([`Folding::wanted`]), and answered ([`Folding::told`]).

use std::collections::HashMap;

use super::{Cell, Sums, Told, place};
use crate::api::plan::Identities;
use crate::api::template::{HIDDEN_VALUE, OTHER};
use crate::clock::Day;

/// What a table has of a value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::api) struct Raw {
    pub(super) value: String,
    pub(super) heads: u64,
    pub(super) sums: Sums,
}

/// What a day has of a value, of events and of visits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Weighed {
    value: String,
    /// The visitors that are told: of its events, or of its visits where it has nothing else.
    heads: u64,
    visit_heads: u64,
    weight: u64,
    sums: Sums,
}

/// The rule of a site for a cut.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rule {
    pub(super) told: Told,
    pub(super) ids: Identities,
    pub(super) threshold: u64,
}

/// A day's cells of one cut, on their way into `(other)` or past it.
#[derive(Debug)]
pub(super) struct Folding {
    pub(super) day: Day,
    pub(super) dimension: &'static str,
    rule: Rule,
    named: Vec<Weighed>,
    small: Vec<Weighed>,
    rest: Rest,
}

/// What is known of the cells that are too small.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rest {
    /// Not whether they are enough together.
    Unknown,
    /// Not how many visitors they have, with the one that has joined them.
    Joined,
    /// Their visitors; nothing if they are too few, and there is no other to join them.
    Known(Option<u64>),
}

/// Which values are meant: these, or all but these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Values {
    These(Vec<String>),
    AllBut(Vec<String>),
}

/// Whose visitors are to be counted together: those of events, and those of visits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) of_events: Option<Values>,
    pub(super) of_visits: Option<Values>,
}

/// How many they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Together {
    pub(super) of_events: u64,
    pub(super) of_visits: u64,
}

/// The fewer of the visitors of events and those of visits, where there are visits.
fn fewer(heads: u64, visit_heads: u64) -> u64 {
    if visit_heads == 0 { heads } else { heads.min(visit_heads) }
}

impl Folding {
    /// The cells of a day.
    pub(super) fn of(day: Day, dimension: &'static str, rule: Rule, events: &[Raw], visits: &[Raw]) -> Self {
        let mut cells = joined(rule.told, events, visits);
        for cell in &mut cells {
            cell.weight = match rule.ids {
                Identities::OfADay => fewer(cell.heads, cell.visit_heads),
                Identities::None => entries(&cell.sums),
            };
        }
        let (named, small) = cells.into_iter().partition(|cell| cell.weight >= rule.threshold && cell.value != OTHER);
        let mut folding = Self { day, dimension, rule, named, small, rest: Rest::Unknown };
        folding.weigh();
        folding
    }

    /// Decides what can be decided from the cells alone.
    fn weigh(&mut self) {
        let of = |count: fn(&Weighed) -> u64, cells: &[Weighed]| cells.iter().map(count).sum::<u64>();
        let all = Together { of_events: of(|cell| cell.heads, &self.small), of_visits: of(|cell| cell.visit_heads, &self.small) };
        if self.small.is_empty() {
            self.rest = Rest::Known(None);
        } else if self.rule.ids == Identities::None {
            let enough = of(|cell| cell.weight, &self.small) >= self.rule.threshold;
            self.settle(enough, 0);
        } else if self.small.len() == 1 {
            self.settle(fewer(all.of_events, all.of_visits) >= self.rule.threshold, all.of_events);
        } else if all.of_events < self.rule.threshold {
            // Not even if all were different people.
            self.settle(false, 0);
        }
    }

    /// Goes on once it is known whether the small cells are enough, and how many visitors they have if they are.
    fn settle(&mut self, enough: bool, heads: u64) {
        let smallest = (0..self.named.len()).min_by(|one, other| {
            let key = |index: &usize| (self.named[*index].weight, &self.named[*index].value);
            key(one).cmp(&key(other))
        });
        self.rest = match smallest {
            _ if enough => Rest::Known(Some(heads)),
            None => Rest::Known(None),
            Some(index) => {
                self.small.push(self.named.swap_remove(index));
                if self.rule.ids == Identities::None { Rest::Known(Some(0)) } else { Rest::Joined }
            }
        };
    }

    /// Whose visitors have to be counted together, if any.
    pub(super) fn wanted(&self) -> Option<Wanted> {
        let values = |has: fn(&Weighed) -> u64| {
            let small: Vec<&str> = self.small.iter().filter(|cell| has(cell) > 0).map(|cell| &*cell.value).collect();
            let of = |values: Vec<&str>| values.into_iter().map(str::to_owned).collect();
            if small.len() <= self.named.len() {
                return Values::These(of(small));
            }
            Values::AllBut(of(self.named.iter().map(|cell| &*cell.value).collect()))
        };
        let has_any = |has: fn(&Weighed) -> u64| self.small.iter().any(|cell| has(cell) > 0);
        let of_heads = has_any(|cell| cell.heads).then(|| values(|cell| cell.heads));
        let of_visit_heads = || has_any(|cell| cell.visit_heads).then(|| values(|cell| cell.visit_heads));
        match (self.rest, self.rule.told) {
            (Rest::Known(_), _) => None,
            (_, Told::Visits) => Some(Wanted { of_events: None, of_visits: of_heads }),
            // The visits have decided already.
            (Rest::Joined, _) | (_, Told::Events) => Some(Wanted { of_events: of_heads, of_visits: None }),
            (Rest::Unknown, Told::Both) => Some(Wanted { of_events: of_heads, of_visits: of_visit_heads() }),
        }
    }

    /// Takes the answer to what was wanted.
    pub(super) fn told(&mut self, together: Together) {
        let Together { of_events, of_visits } = together;
        let (heads, visit_heads) = if self.rule.told == Told::Visits { (of_visits, 0) } else { (of_events, of_visits) };
        match self.rest {
            Rest::Unknown => self.settle(fewer(heads, visit_heads) >= self.rule.threshold, heads),
            Rest::Joined => self.rest = Rest::Known(Some(heads)),
            Rest::Known(_) => {}
        }
    }

    /// What may be told, once nothing is wanted any more.
    pub(super) fn cells(self) -> Vec<Cell> {
        let at = self.day.to_string();
        let cell = |name: &str, cut, visitors, sums| Cell { at: at.as_str().into(), name: name.into(), cut, visitors, sums };
        let mut cells: Vec<Cell> = self.named.iter().map(|named| cell(&named.value, 0, named.heads, named.sums)).collect();
        if !self.small.is_empty() {
            let mut sums = Sums::default();
            self.small.iter().for_each(|small| add(&mut sums, &small.sums));
            let (name, visitors) = match self.rest {
                Rest::Known(Some(heads)) => (OTHER, heads),
                Rest::Known(None) | Rest::Unknown | Rest::Joined => (HIDDEN_VALUE, 0),
            };
            cells.push(cell(name, 1, visitors, sums));
        }
        cells
    }
}

/// Adds sums to sums.
pub(in crate::api) fn add(sums: &mut Sums, others: &Sums) {
    for (sum, other) in sums.iter_mut().zip(others) {
        *sum += other;
    }
}

fn entries(sums: &Sums) -> u64 {
    place("entries").map_or(0, |place| sums[place])
}

/// Events and visits of the same values, side by side.
fn joined(told: Told, events: &[Raw], visits: &[Raw]) -> Vec<Weighed> {
    let weighed = |raw: &Raw| Weighed { value: raw.value.clone(), heads: raw.heads, sums: raw.sums, ..Weighed::default() };
    let mut cells: Vec<Weighed> = if told == Told::Visits { visits } else { events }.iter().map(weighed).collect();
    if told == Told::Both {
        let places: HashMap<String, usize> = cells.iter().enumerate().map(|(place, cell)| (cell.value.clone(), place)).collect();
        for visit in visits {
            let place = places.get(&visit.value).copied().unwrap_or_else(|| {
                cells.push(Weighed { value: visit.value.clone(), ..Weighed::default() });
                cells.len() - 1
            });
            cells[place].visit_heads = visit.heads;
            add(&mut cells[place].sums, &beside_events(&visit.sums));
        }
    }
    cells
}

/// What visits add to the events of a cell: their page views and events are counted there.
pub(super) fn beside_events(sums: &Sums) -> Sums {
    let mut own = *sums;
    for name in ["pageviews", "events"] {
        if let Some(place) = place(name) {
            own[place] = 0;
        }
    }
    own
}

#[cfg(test)]
mod tests {
    use super::super::sums;
    use super::*;

    const DAY: Day = Day(20_779);

    fn raws(cells: &[(&str, u64, u64)]) -> Vec<Raw> {
        let raw = |(value, heads, visits): &(&str, u64, u64)| Raw {
            value: (*value).to_owned(),
            heads: *heads,
            sums: sums(&["visits", "pageviews"], &[*visits, 1]),
        };
        cells.iter().map(raw).collect()
    }

    fn folding(told: Told, events: &[(&str, u64, u64)], visits: &[(&str, u64, u64)]) -> Folding {
        let rule = Rule { told, ids: Identities::OfADay, threshold: 5 };
        Folding::of(DAY, "page", rule, &raws(events), &raws(visits))
    }

    /// Name, cut, visitors and visits of each cell.
    fn told(folding: Folding) -> Vec<(String, u8, u64, u64)> {
        let visits = place("visits").unwrap();
        let mut told: Vec<_> =
            folding.cells().into_iter().map(|cell| (cell.name.to_string(), cell.cut, cell.visitors, cell.sums[visits])).collect();
        told.sort();
        told
    }

    fn row(name: &str, cut: u8, visitors: u64, visits: u64) -> (String, u8, u64, u64) {
        (name.to_owned(), cut, visitors, visits)
    }

    fn these(values: &[&str]) -> Values {
        Values::These(values.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn small_cells_that_are_enough_together_become_one() {
        let mut cells = folding(Told::Events, &[("/a", 9, 0), ("/b", 4, 0), ("/c", 5, 0), ("/d", 3, 0)], &[]);
        assert_eq!(cells.wanted(), Some(Wanted { of_events: Some(these(&["/b", "/d"])), of_visits: None }));
        cells.told(Together { of_events: 6, of_visits: 0 });
        assert_eq!(cells.wanted(), None);
        assert_eq!(told(cells), [row("(other)", 1, 6, 0), row("/a", 0, 9, 0), row("/c", 0, 5, 0)]);
    }

    #[test]
    fn the_smallest_named_cell_joins_those_that_are_too_few() {
        // Seven if all were different people: that has to be asked for. They are four.
        let mut cells = folding(Told::Events, &[("/a", 9, 0), ("/b", 4, 0), ("/c", 5, 0), ("/d", 3, 0), ("/z", 5, 0)], &[]);
        assert!(cells.wanted().is_some());
        cells.told(Together { of_events: 4, of_visits: 0 });
        let wanted = Wanted { of_events: Some(Values::AllBut(vec!["/a".to_owned(), "/z".to_owned()])), of_visits: None };
        assert_eq!(cells.wanted(), Some(wanted), "of two that are alike the first by its name");
        cells.told(Together { of_events: 8, of_visits: 0 });
        assert_eq!(told(cells), [row("(other)", 1, 8, 0), row("/a", 0, 9, 0), row("/z", 0, 5, 0)]);
        // Three and one are too few whoever they are.
        let mut cells = folding(Told::Events, &[("/a", 9, 0), ("/b", 3, 0), ("/d", 1, 0)], &[]);
        assert_eq!(cells.wanted(), Some(Wanted { of_events: Some(Values::AllBut(vec![])), of_visits: None }));
        cells.told(Together { of_events: 10, of_visits: 0 });
        assert_eq!(told(cells), [row("(other)", 1, 10, 0)]);
    }

    #[test]
    fn a_day_of_too_few_shows_nothing_and_one_without_small_cells_asks_nothing() {
        assert_eq!(told(folding(Told::Events, &[("/b", 3, 0)], &[])), [row(HIDDEN_VALUE, 1, 0, 0)]);
        assert_eq!(told(folding(Told::Events, &[("/b", 3, 0), ("/c", 1, 0)], &[])), [row(HIDDEN_VALUE, 1, 0, 0)]);
        let whole = folding(Told::Both, &[("/b", 7, 0)], &[("/b", 6, 9)]);
        assert_eq!(whole.wanted(), None);
        assert_eq!(told(whole), [row("/b", 0, 7, 9)]);
        assert_eq!(told(folding(Told::Events, &[], &[])), []);
        // What did not fit into the bound of values is never named, and needs no other.
        assert_eq!(told(folding(Told::Events, &[(OTHER, 70, 0), ("/a", 5, 0)], &[])), [row("(other)", 1, 70, 0), row("/a", 0, 5, 0)]);
    }

    #[test]
    fn where_visits_are_told_the_fewer_of_both_decide() {
        let events = [("/a", 9, 0), ("/b", 9, 0), ("/c", 9, 0), ("/few", 40, 0)];
        let mut cells = folding(Told::Both, &events, &[("/a", 8, 11), ("/few", 4, 4), ("/none", 6, 7)]);
        // Of `/b` and `/c` no visit is told, so they are as large as they are; of `/none` there are no events at all.
        let wanted = Wanted { of_events: Some(these(&["/few"])), of_visits: Some(these(&["/few", "/none"])) };
        assert_eq!(cells.wanted(), Some(wanted));
        cells.told(Together { of_events: 40, of_visits: 10 });
        assert_eq!(told(cells), [row("(other)", 1, 40, 11), row("/a", 0, 9, 11), row("/b", 0, 9, 0), row("/c", 0, 9, 0)]);
        let mut cells = folding(Told::Both, &events, &[("/a", 8, 11), ("/few", 3, 4), ("/none", 2, 2)]);
        cells.told(Together { of_events: 40, of_visits: 4 });
        // Eight visits decide, and not the nine who sent events.
        assert_eq!(cells.wanted(), Some(Wanted { of_events: Some(these(&["/few", "/a"])), of_visits: None }));
        cells.told(Together { of_events: 45, of_visits: 0 });
        assert_eq!(told(cells), [row("(other)", 1, 45, 17), row("/b", 0, 9, 0), row("/c", 0, 9, 0)]);
    }

    #[test]
    fn what_only_visits_have_is_decided_by_them() {
        let mut cells = folding(Told::Visits, &[], &[("/a", 6, 7), ("/b", 4, 4), ("/c", 4, 5)]);
        assert_eq!(cells.wanted(), Some(Wanted { of_events: None, of_visits: Some(Values::AllBut(vec!["/a".to_owned()])) }));
        cells.told(Together { of_events: 0, of_visits: 5 });
        assert_eq!(told(cells), [row("(other)", 1, 5, 9), row("/a", 0, 6, 7)]);
    }

    #[test]
    fn without_ids_entries_decide_and_nothing_is_asked() {
        let raw = |value: &str, entries| Raw { value: value.to_owned(), heads: 0, sums: sums(&["entries"], &[entries]) };
        let rule = Rule { told: Told::Events, ids: Identities::None, threshold: 10 };
        let names = |events: &[Raw]| {
            let folding = Folding::of(DAY, "page", rule, events, &[]);
            assert_eq!(folding.wanted(), None);
            told(folding).into_iter().map(|(name, ..)| name).collect::<Vec<_>>()
        };
        assert_eq!(names(&[raw("/a", 30), raw("/b", 9), raw("/c", 1)]), ["(other)", "/a"]);
        assert_eq!(names(&[raw("/a", 30), raw("/b", 9), raw("/c", 12)]), ["(other)", "/a"]);
        assert_eq!(names(&[raw("/b", 9)]), [HIDDEN_VALUE]);
    }
}
