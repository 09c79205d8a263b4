//! What can be asked: closed lists of metrics, dimensions, ranges, intervals and forms, and a question made of them.

use crate::clock::Day;
use crate::store::closing::{CUTS_OF_VISITS, EVENT_PROPERTY, REACHED};
use crate::store::rollup::{ALL, BATCH, DIMENSIONS};

pub(crate) use crate::store::rollup::HOUR;

/// A figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Metric {
    DailyVisitors,
    Visits,
    Pageviews,
    Events,
    Value,
    BounceRate,
    VisitDuration,
    EngagedTime,
    ScrollDepth,
    DailyActives,
    WeeklyActives,
    MonthlyActives,
    Conversions,
    ConversionRate,
}

impl Metric {
    /// Every metric.
    pub(crate) const ALL: &[Self] = &[
        Self::DailyVisitors,
        Self::Visits,
        Self::Pageviews,
        Self::Events,
        Self::Value,
        Self::BounceRate,
        Self::VisitDuration,
        Self::EngagedTime,
        Self::ScrollDepth,
        Self::DailyActives,
        Self::WeeklyActives,
        Self::MonthlyActives,
        Self::Conversions,
        Self::ConversionRate,
    ];

    /// What the first page of the dashboard asks for.
    pub(crate) const OF_A_PAGE: &[Self] =
        &[Self::DailyVisitors, Self::Visits, Self::Pageviews, Self::Events, Self::BounceRate, Self::VisitDuration];

    /// The name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::DailyVisitors => "daily_visitors",
            Self::Visits => "visits",
            Self::Pageviews => "pageviews",
            Self::Events => "events",
            Self::Value => "value",
            Self::BounceRate => "bounce_rate",
            Self::VisitDuration => "visit_duration",
            Self::EngagedTime => "engaged_time",
            Self::ScrollDepth => "scroll_depth",
            Self::DailyActives => "daily_actives",
            Self::WeeklyActives => "weekly_actives",
            Self::MonthlyActives => "monthly_actives",
            Self::Conversions => "conversions",
            Self::ConversionRate => "conversion_rate",
        }
    }

    /// The sums that the figure is made of, where visitors have ids; else visits are entries, and what is known of each by its visitor is not.
    pub(crate) fn sums(self, ids: bool) -> &'static [&'static str] {
        match self {
            Self::DailyVisitors | Self::Value => &[],
            Self::Visits if ids => &["visits"],
            Self::Visits => &["entries"],
            Self::BounceRate | Self::VisitDuration if !ids => &[],
            Self::BounceRate => &["visits", "bounces"],
            Self::VisitDuration => &["visits", "visit_ms"],
            Self::Pageviews => &["pageviews"],
            Self::Events => &["events"],
            Self::EngagedTime => &["engagements", "engaged_ms"],
            Self::ScrollDepth => &["engagements", "scroll_pct"],
            Self::DailyActives => &["first_today"],
            Self::WeeklyActives => &["first_this_week"],
            Self::MonthlyActives => &["first_this_month"],
            Self::Conversions => &["visits"],
            Self::ConversionRate => &["visits", "entries"],
        }
    }

    /// What the figure is of.
    pub(crate) fn unit(self) -> &'static str {
        match self {
            Self::DailyVisitors
            | Self::Visits
            | Self::Pageviews
            | Self::Events
            | Self::DailyActives
            | Self::WeeklyActives
            | Self::MonthlyActives
            | Self::Conversions => "count",
            Self::Value => "money",
            Self::BounceRate | Self::ScrollDepth | Self::ConversionRate => "percent",
            Self::VisitDuration | Self::EngagedTime => "seconds",
        }
    }

    /// How it is counted, in a sentence.
    pub(crate) fn counted(self) -> &'static str {
        match self {
            Self::DailyVisitors => "Distinct visitors of a day; over more than one day, the average of its days.",
            Self::Visits => "Visits: a new one after 30 minutes without an event, on a new campaign, and at the site's midnight.",
            Self::Pageviews => "Page views and screens.",
            Self::Events => "Events of the site's own.",
            Self::Value => "The sum of the amounts that came with events, by currency.",
            Self::BounceRate => {
                "Of 100 visits, those of one page view, no event of the site's own and no more than 10 seconds of engagement."
            }
            Self::VisitDuration => "From the first event of a visit to its last, on average.",
            Self::EngagedTime => "Visible time of a page that was left, on average.",
            Self::ScrollDepth => "How much of a page that was left was seen, on average.",
            Self::DailyActives => "Installs whose first event of a day it was, by their own word; the average of the days.",
            Self::WeeklyActives => {
                "Installs whose first event of a week it was, by their own word; the average of the weeks that the range touches."
            }
            Self::MonthlyActives => {
                "Installs whose first event of a month it was, by their own word; the average of the months that the range touches."
            }
            Self::Conversions => {
                "Visits that reached the goal or the step, since the day it was declared; on a site without ids, the events that reached it."
            }
            Self::ConversionRate => {
                "Of 100 visits of the days on which the goal was looked for, those that reached it; on a site without ids, events of 100 entries."
            }
        }
    }

    /// Whether it is computed from visits.
    pub(crate) fn is_of_visits(self) -> bool {
        matches!(self, Self::Visits | Self::BounceRate | Self::VisitDuration) || self.is_of_reached()
    }

    /// Whether it is about what visits have reached.
    pub(crate) fn is_of_reached(self) -> bool {
        matches!(self, Self::Conversions | Self::ConversionRate)
    }

    /// Whether the pairs of closed days can tell it: they keep counts, and no sums of time or money.
    pub(crate) fn is_kept_of_pairs(self) -> bool {
        !matches!(self, Self::Value | Self::VisitDuration | Self::EngagedTime | Self::ScrollDepth)
    }

    /// Whether visits alone can tell it, by what they began or ended with.
    fn visits_know(self) -> bool {
        self.is_of_visits() || matches!(self, Self::DailyVisitors | Self::Pageviews | Self::Events)
    }
}

/// A way to cut figures: by a text that every event has, that every visit has, or both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Dimension {
    /// The name in questions, answers and tables.
    pub(crate) name: &'static str,
    /// The text of a row of `events` called `source`, in SQL.
    pub(crate) of_event: Option<&'static str>,
    /// The column of `sessions`.
    pub(crate) of_visit: Option<&'static str>,
    /// How many of its values one event, or one visit, has.
    pub(crate) values: Values,
}

/// How many values of a dimension one event, or one visit, has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Values {
    One,
    /// A list: its cells cannot be added up, and what is too small to be named is left out.
    Many,
}

impl Dimension {
    /// Every dimension: those of the rollup, whole site and hours apart, and what only visits have.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        let of_visit = |name: &str| CUTS_OF_VISITS.iter().copied().find(|own| *own == name);
        let of_events = DIMENSIONS.iter().filter(|dimension| ![ALL, HOUR, BATCH].contains(&dimension.name));
        let of_events =
            of_events.map(move |own| Self { name: own.name, of_event: Some(own.text), of_visit: of_visit(own.name), values: Values::One });
        let of_visits = CUTS_OF_VISITS.iter().filter(|name| DIMENSIONS.iter().all(|own| own.name != **name));
        let of_visits = of_visits.map(|name| Self { name, of_event: None, of_visit: Some(name), values: Values::One });
        let property = Self { name: EVENT_PROPERTY, of_event: Some("source.event_property"), of_visit: None, values: Values::Many };
        let reached = REACHED.iter().map(|(name, column)| Self { name, of_event: None, of_visit: Some(column), values: Values::Many });
        of_events.chain(of_visits).chain([property]).chain(reached)
    }

    /// Whether the rollup of open days has its cells.
    pub(crate) fn is_of_rollup(self) -> bool {
        self.of_event.is_some() && self.values == Values::One
    }

    /// Whether it is a goal or a step of a funnel: what visits have reached.
    pub(crate) fn is_reached(self) -> bool {
        REACHED.iter().any(|(name, _)| *name == self.name)
    }

    /// The dimension of that name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::all().find(|dimension| dimension.name == name)
    }

    /// Whether figures cut by it can tell `metric`.
    pub(crate) fn tells(self, metric: Metric) -> bool {
        match (self.of_event, self.of_visit) {
            (Some(_), Some(_)) => true,
            (Some(_), None) => !metric.is_of_visits(),
            (None, _) => metric.visits_know(),
        }
    }
}

/// Which values of a dimension are looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Filter {
    pub(crate) dimension: Dimension,
    pub(crate) keeps: Keeps,
    pub(crate) values: Vec<String>,
}

/// Whether a filter's values stay or go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keeps {
    These,
    AllButThese,
}

/// Whole days of the site, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Days {
    pub(crate) from: Day,
    pub(crate) to: Day,
}

/// How the range is divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Interval {
    Hour,
    Day,
    Week,
    Month,
}

impl Interval {
    pub(crate) const ALL: &[(&'static str, Self)] =
        &[("hour", Self::Hour), ("day", Self::Day), ("week", Self::Week), ("month", Self::Month)];
}

/// The form of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Json,
    Csv,
    Parquet,
}

impl Form {
    pub(crate) const ALL: &[(&'static str, Self)] = &[("json", Self::Json), ("csv", Self::Csv), ("parquet", Self::Parquet)];
}

/// What the rows are sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    Time,
    Metric(usize),
    Dimension(usize),
}

/// The order of the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Order {
    pub(crate) by: By,
    pub(crate) direction: Direction,
}

/// Up or down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Ascending,
    Descending,
}

/// A question that can be read. Whether it can be answered depends on the days it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Query {
    pub(crate) metrics: Vec<Metric>,
    pub(crate) dimensions: Vec<Dimension>,
    pub(crate) filters: Vec<Filter>,
    pub(crate) days: Days,
    pub(crate) compare: Option<Days>,
    pub(crate) interval: Option<Interval>,
    pub(crate) order: Option<Order>,
    pub(crate) limit: u32,
    pub(crate) offset: u32,
    pub(crate) form: Form,
}

impl Query {
    /// Whether it asks for a figure of visits.
    pub(crate) fn asks_for_visits(&self) -> bool {
        self.metrics.iter().any(|metric| metric.is_of_visits())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_dimension_of_the_rollup_and_of_visits_can_be_asked_for() {
        let names: Vec<&str> = Dimension::all().map(|dimension| dimension.name).collect();
        for name in DIMENSIONS.iter().map(|own| own.name).chain(CUTS_OF_VISITS.iter().copied()) {
            assert_eq!(names.iter().filter(|known| **known == name).count(), usize::from(![ALL, HOUR, BATCH].contains(&name)), "{name}");
        }
    }

    #[test]
    fn visits_are_told_by_what_visits_have() {
        for (name, metric, told) in [
            ("page", Metric::Visits, false),
            ("page", Metric::Pageviews, true),
            ("entry_page", Metric::Visits, true),
            ("entry_page", Metric::Pageviews, true),
            ("entry_page", Metric::Value, false),
            ("country", Metric::BounceRate, true),
            ("country", Metric::Value, true),
        ] {
            assert_eq!(Dimension::named(name).unwrap().tells(metric), told, "{name} {metric:?}");
        }
    }
}
