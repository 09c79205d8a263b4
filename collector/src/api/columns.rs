//! The columns of an answer in SQL: figures as ratios of sums, and the order of the rows.

use super::plan::{Identities, Parameter, Planning};
use super::question::{By, Days, Direction, Form, Interval, Metric, Order};
use super::template::{self, Amounts};

impl Planning<'_> {
    /// What is selected: the part, the values, the currency, the metrics, and for JSON whether anything was folded.
    pub(super) fn columns(&mut self) -> String {
        let mut columns = Vec::new();
        columns.extend(self.query.interval.map(|_| "bucket AS time".to_owned()));
        let names = self.query.dimensions.iter().zip(["name1", "name2"]);
        columns.extend(names.map(|(own, column)| format!("{column} AS `{}`", own.name)));
        columns.extend((self.money() == Amounts::Sums).then(|| "currency".to_owned()));
        let metrics = self.query.metrics.clone();
        columns.extend(metrics.into_iter().map(|metric| format!("{} AS `{}`", self.figure(metric), metric.name())));
        columns.extend((self.query.form == Form::Json).then(|| "folded".to_owned()));
        columns.join(", ")
    }

    fn figure(&mut self, metric: Metric) -> String {
        let ids = self.facts.ids == Identities::OfADay;
        let per = |sum: &str, of: &str| format!("if({of} = 0, NULL, {sum} / {of})");
        match metric {
            Metric::DailyVisitors if ids => {
                let days = self.divisor("days", |days| days.count().into());
                format!("if(cut = {}, NULL, visitors / {days})", template::BEYOND)
            }
            Metric::Visits if ids => "visits".to_owned(),
            Metric::Conversions => "visits".to_owned(),
            // Pairs of closed days are rounded, and may be rounded up to more than there were.
            Metric::ConversionRate => "if(entries = 0, NULL, least(100, 100 * visits / entries))".to_owned(),
            Metric::Visits => "entries".to_owned(),
            Metric::BounceRate if ids => per("100 * bounces", "visits"),
            Metric::VisitDuration if ids => per("visit_ms / 1000", "visits"),
            // Nobody can tell who came twice, or how long they stayed.
            Metric::DailyVisitors | Metric::BounceRate | Metric::VisitDuration => "CAST(NULL, 'Nullable(Float64)')".to_owned(),
            Metric::Pageviews => "pageviews".to_owned(),
            Metric::Events => "events".to_owned(),
            Metric::Value => "amount".to_owned(),
            Metric::EngagedTime => per("engaged_ms / 1000", "engagements"),
            Metric::ScrollDepth => per("scroll_pct", "engagements"),
            Metric::DailyActives => format!("first_today / {}", self.divisor("days", |days| days.count().into())),
            Metric::WeeklyActives => format!("first_this_week / {}", self.divisor("weeks", |days| days.weeks().get().into())),
            Metric::MonthlyActives => format!("first_this_month / {}", self.divisor("months", |days| days.months().get().into())),
        }
    }

    /// What a sum is divided by in each part of the range: days before the site's first are none of it.
    fn divisor(&mut self, name: &str, count: impl Fn(Days) -> u64) -> String {
        let counts = |days: Days| count(days.since(self.facts.first_day));
        match self.query.interval {
            Some(Interval::Hour | Interval::Day) => "1".to_owned(),
            None => {
                let counted = Parameter::Number(counts(self.days));
                self.bind(name, counted);
                format!("{{{name}:UInt64}}")
            }
            Some(Interval::Week | Interval::Month) => {
                let (names, counted): (Vec<String>, Vec<u64>) = self.parts().into_iter().map(|(part, days)| (part, counts(days))).unzip();
                self.bind("part_names", Parameter::Texts(names));
                self.bind(&format!("{name}_of_parts"), Parameter::Numbers(counted));
                format!("transform(bucket, {{part_names:Array(String)}}, {{{name}_of_parts:Array(UInt64)}}, toUInt64(1))")
            }
        }
    }

    /// By position, as names of columns and figures may be the same.
    pub(super) fn order(&self) -> String {
        let query = self.query;
        let time = usize::from(query.interval.is_some());
        let dimension = |index: usize| time + index + 1;
        let metric = |index: usize| time + query.dimensions.len() + usize::from(self.money() == Amounts::Sums) + index + 1;
        let mut order: Vec<String> = match query.order {
            Some(Order { by, direction }) => {
                let position = match by {
                    By::Time => 1,
                    By::Metric(index) => metric(index),
                    By::Dimension(index) => dimension(index),
                };
                let word = match direction {
                    Direction::Ascending => "ASC",
                    Direction::Descending => "DESC",
                };
                vec![format!("{position} {word} NULLS LAST")]
            }
            None if query.interval.is_some() => vec!["1".to_owned(), format!("{} DESC NULLS LAST", metric(0))],
            None => vec![format!("{} DESC NULLS LAST", metric(0))],
        };
        // Equal ones in an order of their own, so that pages of an answer fit together.
        order.extend((0..metric(0) - 1).map(|index| (index + 1).to_string()));
        order.join(", ")
    }
}
