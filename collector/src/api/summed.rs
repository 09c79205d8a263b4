//! From cells to the rows of an answer: the sums of each part of the range, figures made of them, in order.
//!
//! What a cell may tell was decided where it was made ([`template`](super::template)): here it is only added up. ClickHouse could do that too, and does for
//! files; but it needs longer to understand such a statement than to read the cells, and would have to read those of closed days again whenever an event arrives.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::cells::folding::add;
use super::cells::{Cell, Sums, place};
use super::plan::{Facts, Identities, Planning};
use super::question::{By, Days, Direction, Interval, Metric, Order, Query};
use super::tables::Rows;
use super::template::{BEYOND, HIDDEN_VALUE};

/// What a part of the range has of a value.
#[derive(Clone, Debug, Default)]
struct Sum {
    /// The largest of its cells: see [`template`](super::template).
    cut: u8,
    visitors: u64,
    sums: Sums,
}

/// A figure: a count, or a ratio of counts, or nothing that can be told.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Figure {
    Count(u64),
    Ratio(f64),
    None,
}

/// The cells of a question over `days`, being added up.
pub(super) struct Summing<'a> {
    query: &'a Query,
    facts: &'a Facts,
    days: Days,
    /// The days of each part of the range.
    parts: BTreeMap<String, Days>,
    sums: BTreeMap<(String, String), Sum>,
}

impl<'a> Summing<'a> {
    /// Nothing yet; of the whole site each part of the range has a row, also one without an event.
    pub(super) fn new(query: &'a Query, days: Days, facts: &'a Facts) -> Self {
        let planning = Planning::new(query, days, facts);
        let parts: BTreeMap<String, Days> = planning.parts().into_iter().collect();
        let sums = if planning.is_whole_site() {
            parts.keys().map(|part| ((part.clone(), String::new()), Sum::default())).collect()
        } else {
            BTreeMap::new()
        };
        Self { query, facts, days, parts, sums }
    }

    /// Adds cells of days, hours or parts of the range. `None` if they are of none.
    pub(super) fn add(&mut self, cells: &[Cell]) -> Option<()> {
        for cell in cells {
            let key = (self.part(&cell.at)?, cell.name.to_string());
            let sum = self.sums.entry(key).or_default();
            sum.cut = sum.cut.max(cell.cut);
            sum.visitors += cell.visitors;
            add(&mut sum.sums, &cell.sums);
        }
        Some(())
    }

    /// Adds cells as a statement gives them: day, hour, name, name, cut, visitors, sums. `None` if they are no such rows.
    pub(super) fn add_rows(&mut self, rows: Rows) -> Option<()> {
        let names = Planning::new(self.query, self.days, self.facts).needed().sums;
        for row in rows {
            let [day, hour, name, _, cut, visitors, figures @ ..] = &*row else { return None };
            let (day, hour) = (day.as_str()?, hour.as_str()?);
            let mut sums = Sums::default();
            for (figure, name) in figures.iter().zip(&names) {
                sums[place(name)?] = figure.as_u64()?;
            }
            let at = if hour.is_empty() { day.to_owned() } else { format!("{day}T{hour}") };
            let (cut, visitors) = (u8::try_from(cut.as_u64()?).ok()?, visitors.as_u64()?);
            self.add(&[Cell { at: at.into(), name: name.as_str()?.into(), cut, visitors, sums }])?;
        }
        Some(())
    }

    /// The part of the range that a cell is in.
    fn part(&self, at: &str) -> Option<String> {
        Some(match self.query.interval {
            None => String::new(),
            Some(Interval::Hour) => at.to_owned(),
            Some(interval) => interval.first_of_part(at.parse().ok()?).to_string(),
        })
    }

    /// The rows as they are asked for, and one more if there are more; each ends with whether anything is folded.
    pub(super) fn rows(self) -> Rows {
        let folded = json!(u8::from(self.sums.values().any(|sum| sum.cut > 0)));
        let named = self.sums.iter().filter(|((_, name), _)| name != HIDDEN_VALUE);
        let figures = |part: &str, sum: &Sum| self.query.metrics.iter().map(|metric| self.figure(*metric, part, sum)).collect::<Vec<_>>();
        let mut rows: Vec<_> = named.map(|((part, name), sum)| ((part, name), figures(part, sum))).collect();
        rows.sort_by(|one, other| self.order(one, other));
        let (offset, limit) = (self.query.offset as usize, self.query.limit as usize);
        let row = |((part, name), figures): ((&String, &String), Vec<Figure>)| {
            let time = self.query.interval.map(|_| json!(part));
            let value = (!self.query.dimensions.is_empty()).then(|| json!(name));
            time.into_iter().chain(value).chain(figures.into_iter().map(Figure::value)).chain([folded.clone()]).collect()
        };
        rows.into_iter().skip(offset).take(limit + 1).map(row).collect()
    }

    fn order(&self, one: &((&String, &String), Vec<Figure>), other: &((&String, &String), Vec<Figure>)) -> Ordering {
        let directed = |order: Ordering, direction| match direction {
            Direction::Ascending => order,
            Direction::Descending => order.reverse(),
        };
        let by_figure = |index: usize, direction| match (one.1[index].number(), other.1[index].number()) {
            (Some(one), Some(other)) => directed(one.total_cmp(&other), direction),
            // What cannot be told comes last, whatever the direction.
            (one, other) => other.is_some().cmp(&one.is_some()),
        };
        let asked = match self.query.order {
            Some(Order { by: By::Time, direction }) => directed(one.0.0.cmp(other.0.0), direction),
            Some(Order { by: By::Dimension(_), direction }) => directed(one.0.1.cmp(other.0.1), direction),
            Some(Order { by: By::Metric(index), direction }) => by_figure(index, direction),
            None if self.query.interval.is_some() => one.0.0.cmp(other.0.0).then_with(|| by_figure(0, Direction::Descending)),
            None => by_figure(0, Direction::Descending),
        };
        asked.then_with(|| one.0.cmp(&other.0))
    }

    fn figure(&self, metric: Metric, part: &str, sum: &Sum) -> Figure {
        let of = |name: &str| place(name).map_or(0, |place| sum.sums[place]);
        let number = |name: &str| as_float(of(name));
        let per = |amount: f64, name: &str| if of(name) == 0 { Figure::None } else { Figure::Ratio(amount / number(name)) };
        let ids = self.facts.ids == Identities::OfADay;
        match metric {
            Metric::DailyVisitors if !ids || sum.cut == BEYOND => Figure::None,
            Metric::DailyVisitors => Figure::Ratio(as_float(sum.visitors) / self.divisor(part, |days| days.count().into())),
            Metric::Visits if !ids => Figure::Count(of("entries")),
            Metric::Visits | Metric::Conversions => Figure::Count(of("visits")),
            Metric::BounceRate | Metric::VisitDuration if !ids => Figure::None,
            Metric::BounceRate => per(100.0 * number("bounces"), "visits"),
            Metric::VisitDuration => per(number("visit_ms") / 1000.0, "visits"),
            Metric::Pageviews => Figure::Count(of("pageviews")),
            Metric::Events => Figure::Count(of("events")),
            Metric::EngagedTime => per(number("engaged_ms") / 1000.0, "engagements"),
            Metric::ScrollDepth => per(number("scroll_pct"), "engagements"),
            Metric::DailyActives => Figure::Ratio(number("first_today") / self.divisor(part, |days| days.count().into())),
            Metric::WeeklyActives => Figure::Ratio(number("first_this_week") / self.divisor(part, |days| days.weeks().get())),
            Metric::MonthlyActives => Figure::Ratio(number("first_this_month") / self.divisor(part, |days| days.months().get())),
            // Not summed up here.
            Metric::Value | Metric::ConversionRate => Figure::None,
        }
    }

    /// What a sum is divided by in a part of the range: days before the site's first are none of it.
    fn divisor(&self, part: &str, count: impl Fn(Days) -> u32) -> f64 {
        match self.query.interval {
            Some(Interval::Hour | Interval::Day) => 1.0,
            None => count(self.days.since(self.facts.first_day)).into(),
            Some(Interval::Week | Interval::Month) => {
                self.parts.get(part).map_or(1.0, |days| count(days.since(self.facts.first_day)).into())
            }
        }
    }
}

impl Figure {
    fn number(self) -> Option<f64> {
        match self {
            Self::Count(count) => Some(as_float(count)),
            Self::Ratio(ratio) => Some(ratio),
            Self::None => None,
        }
    }

    fn value(self) -> Value {
        match self {
            Self::Count(count) => json!(count),
            // As ClickHouse writes it: `12` and not `12.0`.
            Self::Ratio(ratio) => format!("{ratio}").parse::<u64>().map_or_else(|_| json!(ratio), |whole| json!(whole)),
            Self::None => Value::Null,
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "ClickHouse divides counts as numbers of 64 bits too")]
fn as_float(count: u64) -> f64 {
    count as f64
}
