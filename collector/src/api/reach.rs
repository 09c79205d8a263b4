//! What visits have reached, as a statement: goals and steps of funnels, alone or with one more cut, each with the visits that could have reached it.
//!
//! A visit is in as many cells as it has reached, and in one more without a name: that cell has every visit. Nobody can add such cells up, so what is too small
//! is not folded but left out; and as whoever knows how many visits there were knows how many have not reached a goal, a cell is as small as the fewer of
//! the two. Of closed days that was decided once, at their closing; of open days it is decided here, by the same rule.
//!
//! In rows of this kind `visits` are those that reached, and `entries` those that could have: on days on which it was looked for.

use super::plan::{Identities, Planning};
use super::question::{Dimension, Metric, Query};
use super::refusal::Refusal;
use super::template::{HIDDEN, NO_AMOUNTS, Needed, open_days};
use crate::store::closing::{GOAL, mark_of};
use crate::store::reached::Reached;
use crate::store::rollup::ALL;

/// The dimension by which a question asks what was reached, and its place among the dimensions.
pub(super) fn dimension(query: &Query) -> Option<(usize, Dimension)> {
    query.dimensions.iter().copied().enumerate().find(|(_, own)| own.is_reached())
}

impl Planning<'_> {
    /// What was reached on open days.
    pub(super) fn reached_of_open(&mut self, (place, own): (usize, Dimension)) -> String {
        let ids = self.facts.ids == Identities::OfADay;
        let declared: Vec<String> = if own.name == GOAL {
            self.facts.declared.goal_names().map(str::to_owned).collect()
        } else {
            self.facts.declared.step_names().collect()
        };
        self.texts("declared", declared);
        let other = self.query.dimensions.iter().find(|other| !other.is_reached()).copied();
        self.bind_filters();
        let source =
            if ids { of_visits(own, &self.conditions_of_visits(|filter| filter.dimension != own)) } else { self.goals_of_events(own) };
        let text = other.map_or_else(|| "''".to_owned(), |other| format!("source.{}", other.of_visit.unwrap_or(other.name)));
        let [heads, number] = if ids {
            ["uniqExact(source.visitor)", "count()"]
        } else {
            ["toUInt64(0)", "if(reached = '', countIf(source.entry), count())"]
        };
        let not_empty = other.map_or_else(String::new, |_| format!(" WHERE {text} != ''"));
        let cells = format!(
            "SELECT source.day AS day, source.reached AS reached, {text} AS other, {heads} AS heads, {number} AS number, \
             sumMap(CAST(arrayMap(paid -> (paid.2, paid.3), arrayFilter(paid -> paid.1 = source.reached, source.paid)), 'Map(String, Decimal(38, 4))')) AS amounts \
             FROM ({source}) AS source{not_empty} GROUP BY day, reached, other"
        );
        self.number("threshold", if ids { self.facts.k.into() } else { 2 * u64::from(self.facts.k) });
        let is_whole = other.is_none() && self.query.filters.iter().all(|filter| filter.dimension == own);
        let names = if place == 0 { ["shown", "other"] } else { ["other", "shown"] };
        let filters = self.conditions_on(own, "shown");
        folded(&cells, names, (own, is_whole, weight(ids)), &filters, &self.needed())
    }

    /// The events of a site without visits, each as often as it has reached a goal, and once more.
    fn goals_of_events(&mut self, own: Dimension) -> String {
        let conditions = self.conditions(|filter| filter.dimension != own, |other| self.in_events(other));
        let reached = Reached::of(&self.facts.declared);
        let (goals, amounts) = (reached.goals_of_event(), reached.amounts_of_event());
        if !reached.goals.is_empty() {
            self.texts("texts", reached.texts);
            self.texts("goals", reached.goals);
        }
        format!(
            "SELECT *, arrayJoin(arrayPushFront({goals}, '')) AS reached, {amounts} AS paid FROM events AS source WHERE {}{conditions}",
            open_days("source"),
        )
    }

    /// What was reached on closed days, and what could have been.
    pub(super) fn reached_of_closed(&mut self, (place, own): (usize, Dimension)) -> Result<[String; 2], Refusal> {
        let cells = self.closed()?;
        let filtered = self.query.filters.iter().map(|filter| filter.dimension).find(|other| *other != own);
        let other = self.query.dimensions.iter().copied().find(|other| *other != own);
        self.text("whole", other.or(filtered).map_or(ALL, |other| other.name));
        self.text("mark", &mark_of(own.name));
        let of_other = other.or(filtered).map_or_else(String::new, |other| self.conditions_on(other, "closed.value"));
        let conditions = self.conditions_on(own, "mark.shown") + &of_other;
        let names = match (place, other) {
            (0, None) => ["mark.shown", "''"],
            (0, Some(_)) => ["mark.shown", "closed.value"],
            _ => ["closed.value", "mark.shown"],
        };
        let could = if self.facts.ids == Identities::OfADay { "closed.visits" } else { "closed.entries" };
        Ok([cells, could_have(names, could, (&conditions, self.spans()), &self.needed())])
    }
}

/// The visits, each as often as it has reached something, and once more.
fn of_visits(own: Dimension, conditions: &str) -> String {
    let column = own.of_visit.unwrap_or(own.name);
    format!(
        "SELECT *, arrayJoin(arrayPushFront(visit.{column}, '')) AS reached, visit.goal_amounts AS paid FROM sessions AS visit WHERE {}{conditions}",
        open_days("visit"),
    )
}

/// What a cell's weight is: of visits the fewer of the visitors who reached and those who were lost on the way; of events their number.
fn weight(ids: bool) -> &'static str {
    if ids {
        "min(if(number = number_before, heads, least(heads, toUInt64(greatest(0, toInt64(heads_before) - toInt64(heads)))))) \
         OVER (PARTITION BY day, other, name ORDER BY step ROWS UNBOUNDED PRECEDING)"
    } else {
        "number"
    }
}

/// The cells that are large enough, by their names; with those that could have reached each.
fn folded(
    cells: &str,
    [first, second]: [&str; 2],
    (own, is_whole, weight): (Dimension, bool, &str),
    filters: &str,
    needed: &Needed,
) -> String {
    let step = if own.name == GOAL { "if(reached = '', 0, 1)" } else { "if(reached = '', 0, toUInt8OrZero(splitByChar('/', reached)[2]))" };
    // Every visit is before a first step.
    let before =
        |name: &str| format!("if(step = 1, maxIf({name}, step = 0) OVER (PARTITION BY day, other), lagInFrame({name}) OVER steps)");
    let could = if is_whole { "1" } else { "greatest(heads, if(heads = 0, number, 0)) >= {threshold:UInt64}" };
    let count = |name: &str| match name {
        "visits" => "if(step = 0, 0, number)".to_owned(),
        "entries" => format!("if(step = 0 AND ({could}), number, 0)"),
        _ => "toUInt64(0)".to_owned(),
    };
    let columns = needed.columns(count, &format!("if(step = 0, {NO_AMOUNTS}, amounts)"));
    format!(
        "SELECT day, '' AS at_hour, if(step = 0 OR weight >= {{threshold:UInt64}}, {first}, '{HIDDEN}') AS name1, {second} AS name2, \
         toUInt8(step > 0 AND weight < {{threshold:UInt64}}) AS cut, if(step = 0, 0, heads) AS visitors{columns} FROM \
         (SELECT *, {weight} AS weight, arrayJoin(if(step = 0, {{declared:Array(String)}}, [reached])) AS shown FROM \
         (SELECT *, {} AS heads_before, {} AS number_before FROM \
         (SELECT *, {step} AS step, splitByChar('/', reached)[1] AS name FROM ({cells}) AS cell) AS told \
         WINDOW steps AS (PARTITION BY day, other, name ORDER BY step ROWS BETWEEN 1 PRECEDING AND CURRENT ROW)) AS placed) AS weighed WHERE 1{filters}",
        before("heads"),
        before("number"),
    )
}

/// The visits of closed days that could have reached something, on days on which it was looked for.
fn could_have([first, second]: [&str; 2], could: &str, (conditions, spans): (&str, &str), needed: &Needed) -> String {
    let count = |name: &str| if name == "entries" { format!("toUInt64({could})") } else { "toUInt64(0)".to_owned() };
    let columns = needed.columns(count, NO_AMOUNTS);
    let of = "zone = {zone:String} AND site = {site:String} AND dimension2 = '' AND currency = ''";
    format!(
        "SELECT closed.day AS day, '' AS at_hour, {first} AS name1, {second} AS name2, toUInt8(0) AS cut, toUInt64(0) AS visitors{columns} \
         FROM (SELECT * FROM rollup_closed WHERE {of} AND dimension = {{whole:String}} AND ({spans})) AS closed \
         INNER JOIN (SELECT DISTINCT day, value AS shown FROM rollup_closed WHERE {of} AND dimension = {{mark:String}}) AS mark \
         ON closed.day = mark.day WHERE 1{conditions}"
    )
}

/// The metrics that are told of what was reached.
pub(super) fn tells(own: Dimension, metric: Metric) -> bool {
    match metric {
        Metric::DailyVisitors | Metric::Conversions | Metric::ConversionRate => true,
        Metric::Value => own.name == GOAL,
        Metric::Visits
        | Metric::Pageviews
        | Metric::Events
        | Metric::BounceRate
        | Metric::VisitDuration
        | Metric::EngagedTime
        | Metric::ScrollDepth
        | Metric::DailyActives
        | Metric::WeeklyActives
        | Metric::MonthlyActives => false,
    }
}
