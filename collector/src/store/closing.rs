//! The SQL of closing a day: templates in `schema/closing/`, put together from constants of ours. What is about a day or a site travels as a parameter.

use super::migrate::without_comments;
use super::reached::Reached;
use super::rollup;
use crate::site::declared::{Declared, Detail};

/// The cuts of visits, by the columns of `sessions`: what a visit began with, or began and ended on. The others are of events, and are those of the open
/// rollup.
pub const CUTS_OF_VISITS: &[&str] = &[
    "source",
    "channel",
    "referrer",
    "utm_source",
    "utm_medium",
    "utm_campaign",
    "utm_content",
    "utm_term",
    "country",
    "browser",
    "os",
    "device",
    "screen",
    "language",
    "app_version",
    ENTRY_PAGE,
    EXIT_PAGE,
];

const ENTRY_PAGE: &str = "entry_page";
const EXIT_PAGE: &str = "exit_page";

/// Those that events know only through their visit.
const OF_VISITS_ALONE: &[&str] = &[ENTRY_PAGE, EXIT_PAGE];

/// The cuts of visits by what they have reached, with the columns of `sessions` that list it: a visit is in as many cells as it has reached.
pub const REACHED: &[(&str, &str)] = &[(GOAL, "goals"), (FUNNEL, "steps")];

/// The cut by goals.
pub const GOAL: &str = "goal";
/// The cut by steps of funnels: `name/number`.
pub const FUNNEL: &str = "funnel";
/// The cut by properties of events, `key=value`, of the keys that a site names.
pub const EVENT_PROPERTY: &str = "event_property";

/// What goals and funnels are kept together with.
const WITH_REACHED: &[&str] = &["channel", "utm_campaign", "country", "device"];

/// The cut of the mark that says that a goal, or a step, was looked for on a day: only such days count for its rate.
pub fn mark_of(cut: &str) -> String {
    format!("~{cut}")
}

/// The sums of a finished cell: all of its counts but visitors, by the names of the columns.
pub(crate) const SUMS: &[&str] = &[
    "visits",
    "bounces",
    "visit_ms",
    "pageviews",
    "events",
    "engagements",
    "engaged_ms",
    "scroll_pct",
    "entries",
    "first_today",
    "first_this_week",
    "first_this_month",
];

/// The counts of a pair's cell, each rounded by a lot of its own.
const COUNTS: &[&str] = &[
    "visitors",
    "visits",
    "bounces",
    "pageviews",
    "events",
    "engagements",
    "entries",
    "first_today",
    "first_this_week",
    "first_this_month",
];

/// Within a dimension, the cells that make up a whole together: the values of one property; a goal or a step each by itself; else all of them. What is too
/// small to be named in it is hidden by another of it.
const CUT: &str = "multiIf(toString(dimension) = 'event_property', substring(value, 1, position(value, '=')), \
    toString(dimension) IN ('goal', 'funnel'), value, '')";

/// A site's threshold. The arrays are parameters; of a site that is no longer configured it is the usual one.
const K: &str = "transform(toString(site), {sites:Array(String)}, {ks:Array(UInt64)}, {k:UInt64})";

macro_rules! template {
    ($name:literal) => {
        include_str!(concat!("../../../schema/closing/", $name, ".sql"))
    };
}

/// A stretch of days after which what waits may be named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span {
    /// One day.
    Day,
    /// From Monday to Sunday.
    Week,
    /// A month of the calendar.
    Month,
}

impl Span {
    /// The name in the table.
    pub fn label(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
        }
    }
}

/// Every cut that a pair can be made of: those of events and of visits, but for the whole site and its hours.
pub fn cuts() -> impl Iterator<Item = &'static str> {
    let of_events = rollup::DIMENSIONS.iter().map(|own| own.name).filter(|name| ![rollup::ALL, rollup::HOUR, rollup::BATCH].contains(name));
    let of_visits = CUTS_OF_VISITS.iter().copied().filter(|name| rollup::DIMENSIONS.iter().all(|own| own.name != *name));
    of_events.chain(of_visits)
}

/// Two cuts that are kept together for closed days, in the order in which they are stored.
pub type Pair = (&'static str, &'static str);

/// The pairs that are kept of a site, which may declare more and fewer than the usual ones.
pub fn pairs(declared: &Declared) -> Vec<Pair> {
    let mut pairs = match declared.detail {
        Detail::Pairs => usual_pairs(),
        Detail::Totals => Vec::new(),
    };
    if declared.detail == Detail::Pairs {
        let reached = [(GOAL, declared.goals.is_empty()), (FUNNEL, declared.funnels.is_empty())];
        let reached = reached.into_iter().filter(|(_, none)| !none);
        pairs.extend(reached.flat_map(|(cut, _)| WITH_REACHED.iter().map(move |with| (cut, *with))));
    }
    for (one, two) in &declared.cubes {
        if !pairs.contains(&(one, two)) && !pairs.contains(&(two, one)) {
            // What only visits have comes second.
            pairs.push(if OF_VISITS_ALONE.contains(one) { (two, one) } else { (one, two) });
        }
    }
    pairs
}

/// The pairs that are kept of a site that says nothing.
fn usual_pairs() -> Vec<Pair> {
    const LEFT: &[&str] = &["page", "event"];
    const MIDDLE: &[&str] = &["source", "channel", "utm_campaign"];
    const RIGHT: &[&str] = &["country", "device", ENTRY_PAGE];
    let of_page = LEFT.iter().flat_map(|left| MIDDLE.iter().chain(RIGHT).map(move |right| (*left, *right)));
    let of_source = MIDDLE.iter().flat_map(|left| RIGHT.iter().map(move |right| (*left, *right)));
    of_page.chain(of_source).chain([("country", "device")]).collect()
}

/// The cells that events tell: those of the open rollup, but of the sites in `anew` as the events tell them now.
pub(super) fn open_cells(anew: &[String]) -> String {
    if anew.is_empty() {
        return "rollup_open".to_owned();
    }
    let events = rollup::select(
        "(SELECT * FROM events WHERE zone = {zone:String} AND day = {day:Date} AND has({anew:Array(String)}, toString(site)))",
    );
    format!(
        "(SELECT * FROM rollup_open WHERE NOT has({{anew:Array(String)}}, toString(site)) \
         UNION ALL SELECT * REPLACE(CAST(visitors AS AggregateFunction(uniqCombined64(14), UInt64)) AS visitors) FROM ({events})) AS rollup_open"
    )
}

/// Every finished cell of a day, from the [`open_cells`].
pub(super) fn cells(open: &str) -> String {
    let cuts = format!("('all', ''), ('hour', leftPad(toString(hour), 2, '0')), {}", cuts_of_visits());
    filled(template!("cells"), &[("cuts", &cuts), ("open", open)])
}

/// Each cut of visits with its value.
fn cuts_of_visits() -> String {
    CUTS_OF_VISITS.iter().map(|cut| format!("('{cut}', {cut})")).collect::<Vec<_>>().join(", ")
}

/// What visits have reached on a day.
pub(super) fn reached() -> String {
    filled(template!("reached"), &[])
}

/// What the events of a site without visits have reached on a day.
pub(super) fn reached_by_events(reached: &Reached) -> String {
    let blanks = [("goals_of_event", &*reached.goals_of_event()), ("amounts_of_event", &*reached.amounts_of_event())];
    filled(template!("reached_events"), &blanks)
}

/// The properties of a day.
pub(super) fn properties() -> String {
    filled(template!("properties"), &[])
}

/// The cells of a day that wait.
pub(super) fn waiting() -> String {
    filled(template!("waiting"), &[("small", &small())])
}

/// The cells of a day that are named; those that are too small are weighed by the [`open_cells`].
pub(super) fn named(open: &str) -> String {
    let absorbed = filled(template!("absorbed"), &[("small", &small()), ("cuts", &cuts_of_visits()), ("open", open)]);
    filled(template!("named"), &[("small", &small()), ("absorbed", &absorbed)])
}

fn small() -> String {
    filled(template!("small"), &[])
}

/// The cells that a week or a month names.
pub(super) fn span(span: Span) -> String {
    let (waiting, limit) = match span {
        Span::Day | Span::Week => (template!("week"), ""),
        Span::Month => (template!("month"), "LIMIT 1 BY site, dimension, {cut}"),
    };
    let waiting = filled(waiting, &[]);
    let candidates = filled(template!("candidates"), &[("waiting", &waiting)]);
    let left = filled(template!("left"), &[("waiting", &waiting), ("candidates", &candidates)]);
    let held_back = filled(template!("held_back"), &[("candidates", &candidates), ("left", &left), ("limit", limit)]);
    let held_back = format!("SELECT site, dimension, value FROM ({held_back})");
    filled(template!("span"), &[("waiting", &waiting), ("candidates", &candidates), ("held_back", &held_back)])
}

/// A pair, and which sites keep it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) pair: Pair,
    pub(super) of: Of,
}

/// Some sites, or all but some.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Of {
    These(Vec<String>),
    AllBut(Vec<String>),
}

/// Every pair that any site keeps. Of a site that declares nothing, or is no longer configured, the usual ones are.
pub(super) fn kept_pairs(declared: &[(String, Declared)]) -> Vec<Kept> {
    let usual = usual_pairs();
    let mut all = usual.clone();
    for pair in declared.iter().flat_map(|(_, own)| pairs(own)) {
        if !all.contains(&pair) {
            all.push(pair);
        }
    }
    let kept = |pair: Pair| {
        let (keep, leave): (Vec<_>, Vec<_>) = declared.iter().partition(|(_, own)| pairs(own).contains(&pair));
        let names = |of: Vec<&(String, Declared)>| of.into_iter().map(|(site, _)| site.clone()).collect();
        Kept { pair, of: if usual.contains(&pair) { Of::AllBut(names(leave)) } else { Of::These(names(keep)) } }
    };
    all.into_iter().map(kept).collect()
}

/// The cells of a pair.
pub(super) fn pair(Kept { pair: (one, two), of }: &Kept) -> String {
    let reached = REACHED.iter().find(|(cut, _)| cut == one);
    let of_visits = reached.is_some() || (CUTS_OF_VISITS.contains(one) && CUTS_OF_VISITS.contains(two));
    let alone = reached.is_some() || OF_VISITS_ALONE.contains(two);
    let whose = match of {
        Of::These(_) => "has({whose:Array(String)}, toString(site))",
        Of::AllBut(_) => "NOT has({whose:Array(String)}, toString(site))",
    };
    let mut parts = Vec::new();
    if !(alone && of_visits) {
        // An event knows its visit's first page, and its last, only through the visit.
        let visits = "(SELECT *, visit.entry_page AS entry_page, visit.exit_page AS exit_page FROM events ASOF INNER JOIN \
            (SELECT site, visitor, start, entry_page, exit_page FROM sessions WHERE zone = {zone:String} AND day = {day:Date}) AS visit \
            ON events.site = visit.site AND events.visitor = visit.visitor AND events.time >= visit.start \
            WHERE zone = {zone:String} AND day = {day:Date})";
        let source = if alone { visits } else { "events" };
        let text = |cut: &str| if cut == "event" { "source.name".to_owned() } else { format!("source.{cut}") };
        let events = template!("pair_events");
        parts.push(filled(events, &[("one_of", &text(one)), ("two_of", &text(two)), ("source", source), ("whose", whose)]));
    }
    if of_visits {
        // Where events tell the rest, visits must not tell it again.
        let [visitors, pageviews, events] =
            if alone { ["uniqExact(visit.visitor)", "sum(visit.pageviews)", "sum(visit.events)"] } else { ["0", "0", "0"] };
        let value = reached.map_or_else(|| format!("visit.{one}"), |(_, column)| format!("arrayJoin(visit.{column})"));
        let blanks =
            [("one", &*value), ("two", two), ("visitors", visitors), ("pageviews", pageviews), ("events", events), ("whose", whose)];
        parts.push(filled(template!("pair_visits"), &blanks));
    }
    rounded((one, two), &parts)
}

/// The cells of goals and another cut, of a site without visits.
pub(super) fn pair_of_goals(reached: &Reached, two: &'static str) -> String {
    let cells = filled(template!("pair_goals"), &[("two", two), ("goals_of_event", &reached.goals_of_event())]);
    rounded((GOAL, two), &[cells])
}

/// The cells that are the sums of `parts`, rounded by lot.
fn rounded((one, two): Pair, parts: &[String]) -> String {
    let rounded = |(lot, count): (usize, &&str)| {
        let sum = format!("sum(cell.{count})");
        let one = if *count == "visitors" { "n" } else { "whole" };
        format!("toUInt64(intDiv({sum}, {one}) * n + if(rand64({lot}) % {one} < {sum} % {one}, n, 0)) AS {count}")
    };
    let rounded = COUNTS.iter().enumerate().map(rounded).collect::<Vec<_>>().join(", ");
    // The names of the columns decide, not their order.
    let columns = format!("site, value, value2, {}", COUNTS.join(", "));
    let parts: Vec<String> = parts.iter().map(|part| format!("SELECT {columns} FROM ({part})")).collect();
    filled(template!("pair"), &[("one", one), ("two", two), ("rounded", &rounded), ("cells_of", &parts.join(" UNION ALL "))])
}

/// The template without its comments, its blanks filled in.
fn filled(template: &str, blanks: &[(&str, &str)]) -> String {
    let mut sql = without_comments(template).trim().to_owned();
    for (blank, text) in blanks {
        sql = sql.replace(&format!("{{{blank}}}"), text);
    }
    sql.replace("{k}", K).replace("{cut}", CUT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::site::declared::{Goal, Step};

    #[test]
    fn no_template_has_a_blank_left() {
        let goal = Goal { name: "g".into(), at: Step::Event("e".into()), worth: None };
        let reaching = Reached::of(&Declared { goals: vec![goal], ..Declared::default() });
        let of_goals = [reached(), properties(), reached_by_events(&reaching), pair_of_goals(&reaching, "country")];
        let mut all = vec![waiting(), span(Span::Week), span(Span::Month)];
        all.extend([open_cells(&[]), open_cells(&["a".to_owned()])].iter().flat_map(|open| [cells(open), named(open)]));
        let cubes = vec![("page", "exit_page"), ("entry_page", "exit_page"), ("since_first", "network")];
        let declared = [("a".to_owned(), Declared { cubes, ..Declared::default() })];
        all.extend(kept_pairs(&declared).iter().map(pair).chain(of_goals));
        for sql in all {
            for blank in sql.split('{').skip(1) {
                let blank = blank.split('}').next().unwrap_or_default();
                assert!(blank.contains(':'), "{{{blank}}} in {sql}");
            }
        }
    }

    #[test]
    fn the_default_pairs_are_kept() {
        let pairs = pairs(&Declared::default());
        assert_eq!(pairs.len(), 2 * 6 + 3 * 3 + 1);
        for pair in [("page", "utm_campaign"), ("event", "entry_page"), ("channel", "device"), ("country", "device")] {
            assert!(pairs.contains(&pair), "{pair:?}");
        }
    }

    #[test]
    fn a_site_keeps_more_pairs_and_fewer() {
        let cubes = vec![("entry_page", "browser"), ("country", "page"), ("page", "browser")];
        let more = Declared { cubes: cubes.clone(), ..Declared::default() };
        let added: Vec<Pair> = pairs(&more).split_off(usual_pairs().len());
        assert_eq!(added, [("browser", "entry_page"), ("page", "browser")], "what is kept anyway is not kept twice");
        let fewer = Declared { detail: Detail::Totals, ..Declared::default() };
        assert_eq!(pairs(&fewer), []);
        let few = Declared { detail: Detail::Totals, cubes: cubes[2..].to_vec(), ..Declared::default() };
        assert_eq!(pairs(&few), [("page", "browser")]);

        let [a, b, c] = ["a", "b", "c"].map(str::to_owned);
        let kept = kept_pairs(&[(a.clone(), more), (b.clone(), fewer), (c.clone(), few)]);
        let of = |pair: Pair| kept.iter().find(|kept| kept.pair == pair).map(|kept| kept.of.clone());
        assert_eq!(of(("page", "country")), Some(Of::AllBut(vec![b, c.clone()])));
        assert_eq!(of(("page", "browser")), Some(Of::These(vec![a.clone(), c])));
        assert_eq!(of(("browser", "entry_page")), Some(Of::These(vec![a])));
        assert_eq!(kept.len(), usual_pairs().len() + 2);
    }
}
