//! From a question to a statement: which templates, and which parameters. Pure, so that what reaches ClickHouse can be read in tests.
//!
//! Where a figure comes from:
//!
//! | days | question | tables |
//! |---|---|---|
//! | open | no filter, one dimension at most | `rollup_open`; with figures of visits, `sessions` too |
//! | open | filters, or two dimensions | `events`, `sessions`, or both joined |
//! | open | by what a visit began or ended on | `sessions` |
//! | open | what visits have reached | `sessions`; on a site without ids, `events` ([`reach`]) |
//! | closed | one dimension, or two that are stored together; a filter counts as one | `rollup_closed` |
//! | closed, for everybody | one dimension at most; a filter counts as one | `rollup_closed`, its cells of single days |

mod cells;
mod public;

pub(crate) use cells::cells;
pub(super) use cells::texts;

use super::question::{Days, Dimension, Filter, Form, HOUR, Interval, Keeps, Metric, Query, Values};
use super::reach;
use super::refusal::{Reason, Refusal};
use super::template::{self, Amounts, Hours, Operand, Tells, Weight, Whole};
use crate::access::Access;
use crate::clock::Day;
use crate::leak;
use crate::site::declared::Declared;
use crate::store::closing::{EVENT_PROPERTY, Pair};
use crate::store::rollup::ALL;

/// What is known of the site before a question about it is planned.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    pub(crate) zone: String,
    pub(crate) site: String,
    /// The site's threshold.
    pub(crate) k: u16,
    pub(crate) audience: Audience,
    /// Whether its visitors have ids.
    pub(crate) ids: Identities,
    /// The cuts of its closed days that are kept together.
    pub(crate) pairs: Vec<Pair>,
    /// What the site declares.
    pub(crate) declared: Declared,
    /// The closed days of the zone among those that are asked for.
    pub(crate) closed: Vec<Day>,
    /// The first day with figures.
    pub(crate) first_day: Option<Day>,
    /// The hour that it is there, for the last day of an hourly course.
    pub(crate) hour: u8,
    pub(crate) today: Day,
}

impl Facts {
    /// How much weight a cell of an open day must have to be named.
    pub(crate) fn threshold(&self) -> u64 {
        if leak::planted("small_counts_shown") { 0 } else { self.threshold_of_site() }
    }

    fn threshold_of_site(&self) -> u64 {
        let k = u64::from(self.k);
        match self.ids {
            Identities::OfADay => k,
            Identities::None => 2 * k,
        }
    }
}

/// For whom figures are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Audience {
    /// Whoever has shown a token.
    Analysts,
    /// Everybody: closed days alone, each folded once more with a threshold of its own, which the whole site has to reach too.
    Public,
}

impl Audience {
    /// Who comes with `access`.
    pub(crate) fn of(access: &Access) -> Self {
        match access {
            Access::Admin | Access::Analyst(_) => Self::Analysts,
            Access::Public(_) => Self::Public,
        }
    }
}

/// Whether visitors of a site have ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Identities {
    OfADay,
    None,
}

/// A statement with its parameters.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Plan {
    pub(crate) sql: String,
    pub(crate) parameters: Vec<(String, Parameter)>,
}

/// The value of a parameter.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Parameter {
    Text(String),
    Texts(Vec<String>),
    Number(u64),
    Numbers(Vec<u64>),
}

/// The statement that answers `query` over `days`.
pub(crate) fn plan(query: &Query, days: Days, facts: &Facts) -> Result<Plan, Refusal> {
    if reach::dimension(query).is_none() && query.metrics.contains(&Metric::ConversionRate) {
        return Err(Refusal::at("metrics", Reason::NotStored));
    }
    let mut planning = Planning::new(query, days, facts);
    let sql = planning.sql()?;
    Ok(Plan { sql, parameters: planning.parameters })
}

/// The same question about everything together: no dimensions, no parts. Of the whole site it is of the metrics of a page, if it can be: so that all the questions
/// of a page ask for the same, and ClickHouse is asked once.
pub(crate) fn of_totals(query: &Query) -> Query {
    let of_a_page = query.filters.is_empty() && query.metrics.iter().all(|metric| Metric::OF_A_PAGE.contains(metric));
    let metrics = if of_a_page { Metric::OF_A_PAGE.to_vec() } else { query.metrics.clone() };
    Query { metrics, dimensions: Vec::new(), interval: None, order: None, limit: 100, offset: 0, form: Form::Json, ..query.clone() }
}

pub(super) struct Planning<'a> {
    pub(super) query: &'a Query,
    pub(super) days: Days,
    pub(super) facts: &'a Facts,
    parameters: Vec<(String, Parameter)>,
}

impl<'a> Planning<'a> {
    pub(super) fn new(query: &'a Query, days: Days, facts: &'a Facts) -> Self {
        Self { query, days, facts, parameters: Vec::new() }
    }
}

impl Planning<'_> {
    fn sql(&mut self) -> Result<String, Refusal> {
        let (closed, open) = self.days_by_state();
        let mut parts: Vec<String> = self.cells(&closed, &open)?.into_iter().map(|(_, sql)| sql).collect();
        let (needed, reached) = (self.needed(), reach::dimension(self.query));
        if self.is_whole_site() {
            self.bind_parts();
            parts.push(template::nothing(&needed));
        }
        let summed = template::summed(&parts, self.bucket(), &needed);
        let (columns, order) = (self.columns(), self.order());
        self.bind("limit", Parameter::Number(u64::from(self.query.limit) + u64::from(self.query.form == Form::Json)));
        self.bind("offset", Parameter::Number(self.query.offset.into()));
        // Where nothing was reached there is nothing to tell, but how many could have.
        let which = if reached.is_some() { " AND visits > 0" } else { "" };
        Ok(template::figures(&summed, &columns, (&order, which), self.money()))
    }

    /// Neither dimensions nor filters: no attribute, so no threshold.
    pub(super) fn is_whole_site(&self) -> bool {
        self.query.dimensions.is_empty() && self.query.filters.is_empty()
    }

    pub(super) fn money(&self) -> Amounts {
        if self.query.metrics.contains(&Metric::Value) { Amounts::Sums } else { Amounts::None }
    }

    fn hours(&self) -> Hours {
        if self.query.interval == Some(Interval::Hour) { Hours::Each } else { Hours::Whole }
    }

    /// What a cell's weight is counted in, and how much of it a cell must have.
    fn threshold(&self) -> (Weight, u64) {
        let weight = match self.facts.ids {
            Identities::OfADay => Weight::Visitors,
            Identities::None => Weight::Entries,
        };
        (weight, self.facts.threshold_of_site())
    }

    /// Whether figures of visits are asked for, of a site that has any.
    fn tells_visits(&self) -> bool {
        self.query.asks_for_visits() && self.facts.ids == Identities::OfADay
    }

    /// The cells of the open days, folded.
    fn open(&mut self) -> String {
        let needed = self.needed();
        let (weight, _) = self.threshold();
        self.bind("threshold", Parameter::Number(self.facts.threshold()));
        let dimensions = &self.query.dimensions;
        let of_visits_alone = dimensions.iter().any(|own| own.of_event.is_none()) && dimensions.iter().all(|own| own.of_visit.is_some());
        self.bind_filters();
        let (cells, weight) = if of_visits_alone {
            (self.of_visits(Tells::Everything), weight)
        } else {
            let of_events = self.of_events();
            if self.tells_visits() {
                (template::both(&of_events, &self.of_visits(Tells::Visits), &needed), Weight::VisitorsOfBoth)
            } else {
                (of_events, weight)
            }
        };
        let property = dimensions.iter().position(|own| own.values == Values::Many);
        template::folded(&cells, weight, property.map_or(Whole::Site, Whole::Property), &needed)
    }

    /// The filters' values, and the properties that may be asked for where any is.
    pub(super) fn bind_filters(&mut self) {
        let query = self.query;
        for (index, filter) in query.filters.iter().enumerate() {
            self.texts(&format!("filter{index}"), filter.values.clone());
        }
        if query.dimensions.iter().chain(query.filters.iter().map(|filter| &filter.dimension)).any(|own| own.name == EVENT_PROPERTY) {
            self.texts("properties", self.facts.declared.properties.iter().map(ToString::to_string).collect());
        }
    }

    fn of_events(&mut self) -> String {
        let query = self.query;
        if query.filters.is_empty() && query.dimensions.len() <= 1 && query.dimensions.iter().all(|own| own.is_of_rollup()) {
            self.text("dimension", query.dimensions.first().map_or(ALL, |own| own.name));
            return template::of_rollup(&self.needed());
        }
        let by_visit = |own: &Dimension| own.of_event.is_none();
        let joins = query.dimensions.iter().any(by_visit) || query.filters.iter().any(|filter| by_visit(&filter.dimension));
        let source = if joins { template::events_of_visits() } else { template::EVENTS.to_owned() };
        let by_property = query.dimensions.iter().any(|own| own.name == EVENT_PROPERTY);
        let source = if by_property { template::by_property(&source) } else { source };
        let texts: Vec<String> = query.dimensions.iter().map(text_of_event).collect();
        let conditions = self.conditions(|_| true, |own| self.in_events(own)) + &not_empty(&texts);
        template::of_events(&source, padded(&texts), &conditions, &self.needed())
    }

    fn of_visits(&self, tells: Tells) -> String {
        let columns: Vec<String> = self.query.dimensions.iter().filter_map(column_of_visit).collect();
        let conditions = self.conditions_of_visits(|_| true) + &not_empty(&columns);
        template::of_visits(padded(&columns), &conditions, tells, &self.needed())
    }

    /// The conditions of those filters that `applies` to, on visits.
    pub(super) fn conditions_of_visits(&self, applies: impl Fn(&Filter) -> bool) -> String {
        let own = self.conditions(|filter| applies(filter) && filter.dimension.of_visit.is_some(), in_visits);
        let of_events = self.conditions(|filter| applies(filter) && filter.dimension.of_visit.is_none(), |own| self.in_events(own));
        if of_events.is_empty() { own } else { own + &template::visits_with_events(&of_events) }
    }

    /// What a condition on an event is about.
    pub(super) fn in_events(&self, own: &Dimension) -> Operand {
        match own.values {
            Values::Many if own.is_reached() => Operand::List(text_of_event(own)),
            Values::Many if !self.query.dimensions.contains(own) => Operand::List(template::PROPERTIES.to_owned()),
            Values::One | Values::Many => Operand::Text(text_of_event(own)),
        }
    }

    /// The conditions on one dimension, on `text`.
    pub(super) fn conditions_on(&self, own: Dimension, text: &str) -> String {
        self.conditions(|filter| filter.dimension == own, |_| Operand::Text(text.to_owned()))
    }

    /// The conditions of those filters that `applies` to, on what `text` makes of their dimensions.
    pub(super) fn conditions(&self, applies: impl Fn(&Filter) -> bool, operand: impl Fn(&Dimension) -> Operand) -> String {
        let filters = self.query.filters.iter().enumerate().filter(|(_, filter)| applies(filter));
        filters.map(|(index, filter)| template::condition(filter, &operand(&filter.dimension), &format!("filter{index}"))).collect()
    }

    /// The finished cells of closed days, if there are any of this cut.
    pub(super) fn closed(&mut self) -> Result<String, Refusal> {
        let query = self.query;
        let mut cut: Vec<&'static str> = query.dimensions.iter().map(|own| own.name).collect();
        for (index, filter) in query.filters.iter().enumerate() {
            if !query.dimensions.contains(&filter.dimension) {
                one_value_of_closed_days(filter, index)?;
                cut.push(filter.dimension.name);
            }
        }
        cut.dedup();
        self.kept_of_closed_days(cut.len())?;
        let (stored, swapped) = match *cut {
            [] => ([if self.hours() == Hours::Each { HOUR } else { ALL }, ""], false),
            [one] => ([one, ""], false),
            [one, two] => self.pair(one, two)?,
            _ => return Err(self.not_stored()),
        };
        self.text("dimension1", stored[0]);
        let columns = if swapped { ["closed.value2", "closed.value"] } else { ["closed.value", "closed.value2"] };
        let column = |own: &Dimension| cut.iter().position(|name| *name == own.name).map_or("closed.value", |at| columns[at]);
        for (index, filter) in query.filters.iter().enumerate() {
            self.texts(&format!("filter{index}"), filter.values.clone());
        }
        let conditions = self.conditions(|_| true, |own| Operand::Text(column(own).to_owned()));
        let shown = |at: usize| if at < query.dimensions.len() { columns[at] } else { "''" };
        let hour = if self.hours() == Hours::Each { "closed.value" } else { "''" };
        let spans = self.spans();
        if spans.contains("{from:") {
            self.text("from", &self.days.from.to_string());
            self.text("to", &self.days.to.to_string());
        }
        let adds_up = query.dimensions.iter().all(|own| own.values == Values::One);
        if adds_up && query.dimensions.len() == 1 && query.filters.is_empty() {
            return Ok(template::closed_with_rest(self.bucket(), spans, &self.needed()));
        }
        self.text("dimension2", stored[1]);
        Ok(template::closed([shown(0), shown(1)], hour, (&conditions, spans), &self.needed()))
    }

    /// Refuses figures that closed days have not kept of so many dimensions together: that a filter is on what only events have, or that there are two.
    fn kept_of_closed_days(&self, dimensions: usize) -> Result<(), Refusal> {
        let query = self.query;
        let told = |metric: Metric| {
            let by_all =
                || query.filters.iter().all(|filter| query.dimensions.contains(&filter.dimension) || filter.dimension.tells(metric));
            (self.facts.ids == Identities::None || by_all()) && (dimensions < 2 || metric.is_kept_of_pairs())
        };
        match query.metrics.iter().position(|metric| !told(*metric)) {
            None => Ok(()),
            Some(index) => {
                let allowed = Metric::ALL.iter().filter(|metric| told(**metric)).map(|metric| metric.name());
                Err(Refusal::at(&format!("metrics[{index}]"), Reason::NotStored).allowing(allowed))
            }
        }
    }

    /// Cells of a week or a month count where it lies wholly in the range and in one part of it.
    pub(super) fn spans(&self) -> &'static str {
        if self.query.dimensions.is_empty() && self.query.filters.is_empty() {
            return "span = 'day' AND day IN {closed:Array(Date)}";
        }
        match self.query.interval {
            Some(Interval::Hour | Interval::Day) => "span = 'day' AND day IN {closed:Array(Date)}",
            Some(Interval::Week) => {
                "span = 'day' AND day IN {closed:Array(Date)} OR span = 'week' AND day >= {from:Date} AND day + 6 <= {to:Date}"
            }
            Some(Interval::Month) => {
                "span = 'day' AND day IN {closed:Array(Date)} \
                 OR span = 'week' AND day >= {from:Date} AND day + 6 <= {to:Date} AND toStartOfMonth(day) = toStartOfMonth(day + 6) \
                 OR span = 'month' AND day >= {from:Date} AND toLastDayOfMonth(day) <= {to:Date}"
            }
            None => {
                "span = 'day' AND day IN {closed:Array(Date)} \
                 OR span = 'week' AND day >= {from:Date} AND day + 6 <= {to:Date} \
                 OR span = 'month' AND day >= {from:Date} AND toLastDayOfMonth(day) <= {to:Date}"
            }
        }
    }

    pub(super) fn bucket(&self) -> &'static str {
        match self.query.interval {
            None => template::WHOLE_RANGE,
            Some(Interval::Hour) => "concat(toString(part.day), 'T', part.at_hour)",
            Some(Interval::Day) => "toString(part.day)",
            Some(Interval::Week) => "toString(toMonday(part.day))",
            Some(Interval::Month) => "toString(toStartOfMonth(part.day))",
        }
    }

    /// The parts of the range by a day of each, and the hour where it is one.
    fn bind_parts(&mut self) {
        let parts = self.parts();
        let hours = parts.iter().map(|(name, _)| name.split_once('T').map_or("", |(_, hour)| hour).to_owned()).collect();
        self.bind("part_days", Parameter::Texts(parts.iter().map(|(_, days)| days.from.to_string()).collect()));
        self.bind("part_hours", Parameter::Texts(hours));
    }

    pub(super) fn parts(&self) -> Vec<(String, Days)> {
        let last_hour = if self.days.to == self.facts.today { self.facts.hour } else { 23 };
        self.query.interval.map_or_else(|| vec![(String::new(), self.days)], |interval| self.days.parts(interval, last_hour))
    }

    /// Two cuts in the order in which they are stored, and whether that is the other one.
    fn pair(&self, one: &'static str, two: &'static str) -> Result<([&'static str; 2], bool), Refusal> {
        let pairs = &self.facts.pairs;
        if pairs.contains(&(one, two)) {
            return Ok(([one, two], false));
        }
        if pairs.contains(&(two, one)) { Ok(([two, one], true)) } else { Err(self.not_stored()) }
    }

    /// With everything that closed days can be asked for.
    fn not_stored(&self) -> Refusal {
        let pairs = self.facts.pairs.iter().map(|(one, two)| format!("{one} and {two}"));
        let allowed = Dimension::all().map(|own| own.name.to_owned()).chain(pairs);
        Refusal::at("dimensions", Reason::NotStored).allowing(allowed)
    }

    pub(super) fn texts(&mut self, name: &str, values: Vec<String>) {
        self.bind(name, Parameter::Texts(values));
    }

    pub(super) fn number(&mut self, name: &str, value: u64) {
        self.bind(name, Parameter::Number(value));
    }

    pub(super) fn text(&mut self, name: &str, value: &str) {
        self.bind(name, Parameter::Text(value.to_owned()));
    }

    pub(super) fn bind(&mut self, name: &str, value: Parameter) {
        if !self.parameters.iter().any(|(known, _)| known == name) {
            self.parameters.push((name.to_owned(), value));
        }
    }
}

/// Visitors of two values may be the same people: only one cell can be taken as it is.
fn one_value_of_closed_days(filter: &Filter, index: usize) -> Result<(), Refusal> {
    if filter.keeps == Keeps::AllButThese || filter.values.len() > 1 {
        return Err(Refusal::at(&format!("filters[{index}]"), Reason::NotStored).allowing(["is, with one value, on closed days"]));
    }
    Ok(())
}

fn text_of_event(own: &Dimension) -> String {
    own.of_event.map_or_else(|| format!("source.{}", own.of_visit.unwrap_or(own.name)), str::to_owned)
}

fn in_visits(own: &Dimension) -> Operand {
    let column = column_of_visit(own).unwrap_or_default();
    match own.values {
        Values::One => Operand::Text(column),
        Values::Many => Operand::List(column),
    }
}

fn column_of_visit(own: &Dimension) -> Option<String> {
    own.of_visit.map(|column| format!("visit.{column}"))
}

fn padded(texts: &[String]) -> [&str; 2] {
    let at = |index: usize| texts.get(index).map_or("''", String::as_str);
    [at(0), at(1)]
}

fn not_empty(texts: &[String]) -> String {
    texts.iter().flat_map(|text| [" AND ", text, " != ''"]).collect()
}
