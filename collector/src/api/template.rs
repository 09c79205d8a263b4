//! The SQL of the API. Every piece is a constant of ours or made of names from closed lists; whatever was asked travels as a bound parameter.
//!
//! An answer is made in four steps, each a select around the last:
//!
//! 1. **Cells** of open days, from `rollup_open`, `events` or `sessions`: one a (day, hour, value, value), with the state that counts its visitors.
//! 2. **Folding**, for each day: a cell of fewer visitors than the threshold goes into `(other)`. If what is there by then has not as many itself, the smallest
//!    cell that was to be named joins it; if there is none, the day shows nothing. The finished cells of closed days need no folding: it was done once.
//! 3. **Sums** over the days of each part of the range.
//! 4. **Figures**: ratios of sums, in order, as many as were asked for.
//!
//! The last two steps are this program's own where that can be ([`super::summed`]): then closed days and open ones are asked for apart, and nothing that is known of
//! closed ones is asked for again because an event arrived.
//! What has no filter and one cut at most takes none of these steps in ClickHouse: it is read as it is, and folded here by the same rule ([`super::cells`]).
//!
//! ClickHouse needs much longer to understand such a statement than to read finished figures: tens of milliseconds, in proportion to the columns of every select. So
//! only those figures travel that are asked for ([`Needed`]), and the whole site, which has nothing to fold, skips the second step.
//!
//! A cell's *weight* is how many visitors it speaks of: if it tells visits too, the fewer of those who sent its events and those whose visits it counts. On a site
//! without ids it is the number of entries, and the threshold is twice as high.

use super::question::{Dimension, Filter, Keeps};
use crate::store::closing::SUMS;

/// The value that stands for all that are not named.
pub(super) const OTHER: &str = "(other)";

/// The value of a day's cells that are too few to be shown even together. No text of an event is this: texts hold no control characters.
pub(super) const HIDDEN: &str = r"\x01";

/// The same as it arrives.
pub(super) const HIDDEN_VALUE: &str = "\x01";

/// What `cut` is where a row holds the rest of closed days: its visitors cannot be told. 1 is a row whose cells were folded, 0 a named one.
pub(super) const BEYOND: u8 = 2;

const STATE: &str = "'AggregateFunction(uniqCombined64(14), UInt64)'";
/// The part that a day is in where a range has no parts.
pub(super) const WHOLE_RANGE: &str = "''";

pub(super) const NO_AMOUNTS: &str = "CAST(map(), 'Map(String, Decimal(38, 4))')";

/// The site's open days that are asked for.
pub(super) fn open_days(table: &str) -> String {
    format!("{table}.zone = {{zone:String}} AND {table}.site = {{site:String}} AND {table}.day IN {{open:Array(Date)}}")
}

/// A sum by currency.
fn amounts(currency: &str, amount: &str) -> String {
    format!("mapFilter((name, sum) -> name != '', sumMap(map(toString({currency}), toDecimal128({amount}, 4))))")
}

/// What of a cell is carried from step to step, beside its visitors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Needed {
    /// Counts, by the names of their columns.
    pub(super) sums: Vec<&'static str>,
    pub(super) money: Amounts,
}

impl Needed {
    /// The columns, as they go on a list: each count as `of` makes it, and the money.
    pub(super) fn columns(&self, of: impl Fn(&str) -> String, amounts: &str) -> String {
        let counts = self.sums.iter().map(|name| format!(", {} AS {name}", of(name))).collect::<Vec<_>>().concat();
        match self.money {
            Amounts::None => counts,
            Amounts::Sums => format!("{counts}, {amounts} AS amounts"),
        }
    }
}

/// Whether money is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Amounts {
    None,
    Sums,
}

/// Whether cells are by the hour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hours {
    Whole,
    Each,
}

/// Cells of the rollup's dimension `{dimension}`.
pub(super) fn of_rollup(needed: &Needed) -> String {
    format!(
        "SELECT rollup_open.day AS day, rollup_open.value AS value1, '' AS value2, toUInt8(0) AS of_visits, \
         uniqCombined64MergeState(14)(rollup_open.visitors) AS heads{} FROM rollup_open WHERE {} GROUP BY day, value1",
        columns_of_rollup(needed),
        in_rollup(),
    )
}

fn columns_of_rollup(needed: &Needed) -> String {
    let count = |name: &str| match name {
        "visits" | "bounces" | "visit_ms" => "toUInt64(0)".to_owned(),
        _ => format!("sum(rollup_open.{name})"),
    };
    needed.columns(count, &amounts("rollup_open.currency", "rollup_open.amount"))
}

fn in_rollup() -> String {
    format!("{} AND rollup_open.dimension = {{dimension:String}}", open_days("rollup_open"))
}

/// The whole site on open days: nothing is cut, so nothing is folded. Its visits, where they are asked for, are further rows.
pub(super) fn whole_site(hours: Hours, tells_visits: bool, needed: &Needed) -> Vec<String> {
    let hour = match hours {
        Hours::Whole => ["''", "''"],
        Hours::Each => ["rollup_open.value", HOUR_OF_VISIT],
    };
    let select = |day: &str, hour: &str, visitors: &str, columns: &str| {
        format!("SELECT {day} AS day, {hour} AS at_hour, '' AS name1, '' AS name2, toUInt8(0) AS cut, {visitors} AS visitors{columns}")
    };
    let events = select("rollup_open.day", hour[0], "uniqCombined64Merge(14)(rollup_open.visitors)", &columns_of_rollup(needed));
    let mut parts = vec![format!("{events} FROM rollup_open WHERE {} GROUP BY day, at_hour", in_rollup())];
    if tells_visits {
        let visits = select("visit.day", hour[1], "toUInt64(0)", &columns_of_visits(Tells::Visits, needed));
        parts.push(format!("{visits} FROM sessions AS visit WHERE {} GROUP BY day, at_hour", open_days("visit")));
    }
    parts
}

/// The hour in which a visit began, as the rollup writes it.
const HOUR_OF_VISIT: &str = "leftPad(toString(visit.hour), 2, '0')";

/// Cells of events, by up to two texts of a row of `source`.
pub(super) fn of_events(source: &str, texts: [&str; 2], conditions: &str, needed: &Needed) -> String {
    let count = |name: &str| match name {
        "pageviews" => "countIf(source.kind IN ('pageview', 'screen'))".to_owned(),
        "events" => "countIf(source.kind = 'event')".to_owned(),
        "engagements" => "countIf(source.kind = 'engagement')".to_owned(),
        "engaged_ms" | "scroll_pct" => format!("sum(toUInt64(source.{name}))"),
        "entries" => "countIf(source.entry)".to_owned(),
        "first_today" | "first_this_week" | "first_this_month" => format!("countIf(source.{name})"),
        _ => "toUInt64(0)".to_owned(),
    };
    let columns = needed.columns(count, &amounts("source.currency", "source.value"));
    let [first, second] = texts;
    format!(
        "SELECT source.day AS day, {first} AS value1, {second} AS value2, toUInt8(0) AS of_visits, \
         CAST(uniqCombined64IfState(14)(source.visitor, source.visitor != 0), {STATE}) AS heads{columns} \
         FROM {source} WHERE {}{conditions} GROUP BY day, value1, value2",
        open_days("source"),
    )
}

/// Events as they are.
pub(super) const EVENTS: &str = "events AS source";

/// Events with what their visit began and ended on, and when it began.
pub(super) fn events_of_visits() -> String {
    format!(
        "(SELECT * FROM (SELECT * FROM events WHERE {} AND visitor != 0) AS event \
         ASOF INNER JOIN (SELECT day AS visit_day, visitor AS visit_visitor, start AS visit_start, entry_page, exit_page, goals, steps \
         FROM sessions WHERE {}) AS visit \
         ON event.day = visit.visit_day AND event.visitor = visit.visit_visitor AND event.time >= visit.visit_start) AS source",
        open_days("events"),
        open_days("sessions"),
    )
}

/// What a cell of visits tells: visits beside the events of the same cell, or all there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tells {
    Visits,
    Everything,
}

/// Cells of visits, by up to two columns of `visit`.
pub(super) fn of_visits(columns: [&str; 2], conditions: &str, tells: Tells, needed: &Needed) -> String {
    let of_visits = u8::from(tells == Tells::Visits);
    let [first, second] = columns;
    format!(
        "SELECT visit.day AS day, {first} AS value1, {second} AS value2, toUInt8({of_visits}) AS of_visits, \
         uniqCombined64State(14)(visit.visitor) AS heads{} FROM sessions AS visit WHERE {}{conditions} GROUP BY day, value1, value2",
        columns_of_visits(tells, needed),
        open_days("visit"),
    )
}

fn columns_of_visits(tells: Tells, needed: &Needed) -> String {
    let count = |name: &str| match (name, tells) {
        ("visits", _) => "count()".to_owned(),
        ("bounces", _) => "countIf(visit.bounce)".to_owned(),
        ("visit_ms", _) => "sum(visit.duration_ms)".to_owned(),
        ("pageviews" | "events", Tells::Everything) => format!("sum(toUInt64(visit.{name}))"),
        _ => "toUInt64(0)".to_owned(),
    };
    needed.columns(count, NO_AMOUNTS)
}

/// Visits that have an event which meets `conditions`.
pub(super) fn visits_with_events(conditions: &str) -> String {
    let source = events_of_visits();
    format!(
        " AND (visit.day, visit.visitor, visit.start) IN (SELECT visit_day, visit_visitor, visit_start FROM {source} WHERE 1{conditions})"
    )
}

/// What a condition is about: a text, or a list of which any may be meant.
pub(super) enum Operand {
    Text(String),
    List(String),
}

/// One condition. Its values are the parameter `name`.
pub(super) fn condition(filter: &Filter, operand: &Operand, name: &str) -> String {
    match (operand, filter.keeps) {
        (Operand::Text(text), Keeps::These) => format!(" AND {text} IN {{{name}:Array(String)}}"),
        (Operand::Text(text), Keeps::AllButThese) => format!(" AND {text} NOT IN {{{name}:Array(String)}}"),
        (Operand::List(list), Keeps::These) => format!(" AND hasAny({list}, {{{name}:Array(String)}})"),
        (Operand::List(list), Keeps::AllButThese) => format!(" AND NOT hasAny({list}, {{{name}:Array(String)}})"),
    }
}

/// The properties of an event that may be asked for, as `key=value`.
pub(super) const PROPERTIES: &str = "arrayMap((key, text) -> concat(key, '=', text), \
    mapKeys(mapFilter((key, text) -> text != '' AND has({properties:Array(String)}, key), source.props)), \
    mapValues(mapFilter((key, text) -> text != '' AND has({properties:Array(String)}, key), source.props)))";

/// The events of `source`, each as often as it has properties.
pub(super) fn by_property(source: &str) -> String {
    format!("(SELECT *, arrayJoin({PROPERTIES}) AS event_property FROM {source} WHERE {}) AS source", open_days("source"))
}

/// The events' part and the visits' part of the same cells, joined.
pub(super) fn both(of_events: &str, of_visits: &str, needed: &Needed) -> String {
    let columns = needed.columns(|name| format!("sum(cell.{name})"), "sumMap(cell.amounts)");
    format!(
        "SELECT cell.day AS day, cell.value1 AS value1, cell.value2 AS value2, \
         uniqCombined64MergeStateIf(14)(cell.heads, cell.of_visits = 0) AS heads, \
         uniqCombined64MergeStateIf(14)(cell.heads, cell.of_visits = 1) AS visit_heads{columns} \
         FROM ({of_events} UNION ALL {of_visits}) AS cell GROUP BY day, value1, value2"
    )
}

/// What a cell's weight is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Weight {
    /// The visitors of its events, or of its visits.
    Visitors,
    /// The fewer of those of its events and those of its visits: it tells both.
    VisitorsOfBoth,
    Entries,
}

/// What the cells of a day make up together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whole {
    /// The site, or what is left of it by filters: what is too small to be named is `(other)`.
    Site,
    /// For each property, the events that have it; it stands in that value. What is too small is left out.
    Property(usize),
}

/// The cells of open days, folded. Only the states of those that are not named are put together: the others are counted once.
pub(super) fn folded(cells: &str, weight: Weight, whole: Whole, needed: &Needed) -> String {
    let among = |state: &str| format!("uniqCombined64MergeIf(14)({state}, NOT named) OVER days");
    let fewer = |heads: &str, visit_heads: &str| format!("if({visit_heads} = 0, {heads}, least({heads}, {visit_heads}))");
    let (own, rest) = match weight {
        Weight::Entries => ("entries".to_owned(), "sumIf(entries, NOT named) OVER days".to_owned()),
        Weight::Visitors => ("heads_of_cell".to_owned(), among("heads")),
        Weight::VisitorsOfBoth => {
            let own = fewer("heads_of_cell", "finalizeAggregation(visit_heads)");
            (own, fewer(&among("heads"), &among("visit_heads")))
        }
    };
    let columns = needed.columns(|name| format!("sum(ranked.{name})"), "sumMap(ranked.amounts)");
    let (part, other) = match whole {
        Whole::Site => (String::new(), OTHER),
        Whole::Property(place) => (format!(", substring(value{0}, 1, position(value{0}, '='))", place + 1), HIDDEN),
    };
    format!(
        "SELECT ranked.day AS day, '' AS at_hour, multiIf(kept, value1, shown, '{other}', '{HIDDEN}') AS name1, \
         multiIf(kept, value2, shown, '{other}', '{HIDDEN}') AS name2, toUInt8(NOT kept) AS cut, \
         if(cut = 0, max(ranked.heads_of_cell), uniqCombined64MergeIf(14)(ranked.heads, NOT kept)) AS visitors{columns} FROM \
         (SELECT *, named AND NOT (place = 1 AND small > 0 AND rest < {{threshold:UInt64}}) AS kept, \
         names > 0 OR rest >= {{threshold:UInt64}} AS shown FROM \
         (SELECT *, countIf(NOT named) OVER days AS small, countIf(named) OVER days AS names, {rest} AS rest, \
         row_number() OVER (PARTITION BY day{part}, named ORDER BY weight, value1, value2) AS place FROM \
         (SELECT *, finalizeAggregation(heads) AS heads_of_cell, {own} AS weight, weight >= {{threshold:UInt64}} AND value1 != '{OTHER}' AND value2 != '{OTHER}' AS named \
         FROM ({cells}) AS cell) AS weighed WINDOW days AS (PARTITION BY day{part})) AS placed) AS ranked \
         GROUP BY day, at_hour, name1, name2, cut"
    )
}

/// Cells of closed days: `spans` says which, `names` which columns are the two values.
pub(super) fn closed(names: [&str; 2], hour: &str, (conditions, spans): (&str, &str), needed: &Needed) -> String {
    let amounts = format!(
        "if(closed.currency = '', {NO_AMOUNTS}, CAST(map(toString(closed.currency), closed.amount), 'Map(String, Decimal(38, 4))'))"
    );
    let columns = needed.columns(|name| format!("closed.{name}"), &amounts);
    let [first, second] = names;
    format!(
        "SELECT closed.day AS day, {hour} AS at_hour, {first} AS name1, {second} AS name2, \
         toUInt8(closed.value = '{OTHER}' OR closed.value2 = '{OTHER}') AS cut, closed.visitors AS visitors{columns} \
         FROM rollup_closed AS closed WHERE zone = {{zone:String}} AND site = {{site:String}} AND dimension = {{dimension1:String}} \
         AND dimension2 = {{dimension2:String}}{conditions} AND ({spans})"
    )
}

/// Cells of closed days by one dimension, and what the whole site has beyond them in each part of the range. Closing writes none of that down: cells that were
/// too small for their day may be named with their week or month. Events without a value are in it. Nobody can tell its visitors: they may be in named cells too.
///
/// Both are made of the same rows, which are read once: the grouping by value has the cells, the one without it what is left.
pub(super) fn closed_with_rest(bucket: &str, spans: &str, needed: &Needed) -> String {
    const REST: &str = "grouping(closed.value) = 1";
    const SIGN: &str = "if(closed.dimension = 'all', 1, -1)";
    let beyond = |name: &str| format!("sum({SIGN} * toInt64(closed.{name}))");
    let either = |rest: &str, named: &str| format!("if({REST}, {rest}, {named})");
    let amounts = |amount: &str| {
        format!(
            "mapFilter((name, sum) -> name != '', sumMap(CAST(map(toString(closed.currency), {amount}), 'Map(String, Decimal(38, 4))')))"
        )
    };
    let columns = needed.columns(
        |name| format!("toUInt64({})", either(&format!("greatest(0, {})", beyond(name)), &format!("sum(closed.{name})"))),
        &either(&amounts(&format!("{SIGN} * closed.amount")), &amounts("closed.amount")),
    );
    let any = ["pageviews", "events", "visits", "entries"].map(|name| format!("{} > 0", beyond(name))).join(" OR ");
    let part = if bucket == WHOLE_RANGE { String::new() } else { bucket.replace("part.", "closed.") };
    let comma = if part.is_empty() { "" } else { ", " };
    format!(
        "SELECT min(closed.day) AS day, '' AS at_hour, {} AS name1, {} AS name2, toUInt8({}) AS cut, {} AS visitors{columns} \
         FROM rollup_closed AS closed WHERE zone = {{zone:String}} AND site = {{site:String}} \
         AND dimension IN ('all', {{dimension1:String}}) AND dimension2 = '' AND ({spans}) \
         GROUP BY GROUPING SETS (({part}{comma}closed.dimension, closed.value), ({part})) HAVING {}",
        either(&format!("'{OTHER}'"), "closed.value"),
        either(&format!("'{OTHER}'"), "''"),
        either(&BEYOND.to_string(), &format!("closed.value = '{OTHER}'")),
        either("toUInt64(0)", "sum(closed.visitors)"),
        either(&any, "closed.dimension != 'all'"),
    )
}

/// What figures for everybody are cut by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PublicCut {
    WholeSite,
    /// By values that are shown.
    Shown(Dimension),
    /// By values of which a filter picks one.
    Hidden(Dimension),
}

/// Cells of closed days for everybody. A day is left out if the whole site has fewer than the threshold. Of the others only cells of single days are told, so that
/// nothing can be found by subtracting days from weeks, and those that are too small go into `(other)` once more. What is there by then is whatever the
/// whole site has beyond the named cells. How many visitors that is cannot be known, but it is no fewer than the whole site has beyond the *sum* of the named
/// ones, nor than the largest that is not named; where both are too few, the smallest named cell joins it.
pub(super) fn public(cut: PublicCut, weight: Weight, conditions: &str, needed: &Needed) -> String {
    let weighed = match weight {
        Weight::Entries => "entries",
        Weight::Visitors | Weight::VisitorsOfBoth => "if(visits = 0, heads, least(heads, visits))",
    };
    let (whole, name) = match cut {
        PublicCut::WholeSite => ("[('', 1)]".to_owned(), "part.name"),
        PublicCut::Shown(_) => (format!("[('{OTHER}', 1)]"), "part.name"),
        PublicCut::Hidden(_) => (format!("[('{OTHER}', 1)]"), "''"),
    };
    let is_left = match cut {
        PublicCut::WholeSite => "0".to_owned(),
        PublicCut::Shown(own) | PublicCut::Hidden(own) => {
            let of_events: &[&str] = if own.of_event.is_some() { &["engagements", "entries"] } else { &[] };
            let of_visits: &[&str] = if own.of_visit.is_some() { &["visits"] } else { &[] };
            let told = ["pageviews", "events"].iter().chain(of_events).chain(of_visits);
            told.map(|sum| format!("sumIf({sum}, whole) OVER days != sumIf({sum}, named) OVER days")).collect::<Vec<_>>().join(" OR ")
        }
    };
    // What only events have says nothing of visits: all of them would be left.
    let any = match cut {
        PublicCut::WholeSite => "1",
        PublicCut::Shown(own) | PublicCut::Hidden(own) if own.of_visit.is_none() => "pageviews + events",
        PublicCut::Shown(_) | PublicCut::Hidden(_) => "pageviews + events + visits + entries",
    };
    let told = Needed { sums: SUMS.to_vec(), money: needed.money };
    let cells = told.columns(
        |name| format!("sum(closed.{name})"),
        "mapFilter((currency, sum) -> currency != '', sumMap(map(toString(closed.currency), closed.amount)))",
    );
    let parted = told.columns(
        |name| format!("toUInt64(greatest(0, sum(part.sign * toInt64(part.{name}))))"),
        "sumMap(mapApply((currency, sum) -> (currency, toDecimal128(sum * part.sign, 4)), part.amounts))",
    );
    let shown = needed.columns(str::to_owned, "amounts");
    format!(
        "SELECT day, at_hour, name1, name2, cut, visitors{shown} FROM (SELECT part.day AS day, '' AS at_hour, {name} AS name1, '' AS name2, toUInt8(if(part.name = '{OTHER}', {BEYOND}, 0)) AS cut, \
         sumIf(part.heads, part.name != '{OTHER}') AS visitors{parted} FROM \
         (SELECT *, shown.1 AS name, shown.2 AS sign FROM \
         (SELECT *, named AND NOT (place = 1 AND is_left AND greatest(toInt64(site_weight) - toInt64(named_weight), toInt64(largest)) \
         < {{threshold:UInt64}}) AS kept FROM \
         (SELECT *, sumIf(weight, named) OVER days AS named_weight, maxIf(weight, NOT whole AND NOT named) OVER days AS largest, \
         {is_left} AS is_left, row_number() OVER (PARTITION BY day, named ORDER BY weight, value) AS place FROM \
         (SELECT *, sumIf(weight, whole) OVER days AS site_weight, \
         NOT whole AND value != '{OTHER}' AND weight >= {{threshold:UInt64}} AS named FROM \
         (SELECT *, {weighed} AS weight FROM \
         (SELECT closed.day AS day, closed.dimension = 'all' AS whole, closed.value AS value, sum(closed.visitors) AS heads{cells} \
         FROM rollup_closed AS closed WHERE zone = {{zone:String}} AND site = {{site:String}} AND span = 'day' AND day IN {{closed:Array(Date)}} \
         AND dimension IN ('all', {{dimension1:String}}) AND dimension2 = '' GROUP BY day, whole, value) AS cell) AS weighed \
         WINDOW days AS (PARTITION BY day)) AS named_cells WINDOW days AS (PARTITION BY day)) AS placed) AS folded \
         ARRAY JOIN multiIf(whole, {whole}, kept, [(value, 1), ('{OTHER}', -1)], []) AS shown \
         WHERE site_weight >= {{threshold:UInt64}}) AS part WHERE 1{conditions} GROUP BY day, name1, cut) AS told \
         WHERE cut = 0 OR {any} > 0"
    )
}

/// The parts of the range, with nothing in them: so that a part without any event is a row too.
pub(super) fn nothing(needed: &Needed) -> String {
    let columns = needed.columns(|_| "toUInt64(0)".to_owned(), NO_AMOUNTS);
    format!(
        "SELECT day, at_hour, '' AS name1, '' AS name2, toUInt8(0) AS cut, toUInt64(0) AS visitors{columns} \
         FROM system.one ARRAY JOIN {{part_days:Array(Date)}} AS day, {{part_hours:Array(String)}} AS at_hour"
    )
}

/// Sums by part of the range and value.
pub(super) fn summed(parts: &[String], bucket: &str, needed: &Needed) -> String {
    let columns = needed.columns(|name| format!("sum(part.{name})"), "sumMap(part.amounts)");
    format!(
        "SELECT {bucket} AS bucket, part.name1 AS name1, part.name2 AS name2, max(part.cut) AS cut, sum(part.visitors) AS visitors{columns} \
         FROM ({}) AS part GROUP BY bucket, name1, name2",
        parts.join(" UNION ALL "),
    )
}

/// The figures. `columns` is what is selected, `order` how it is sorted, `which` what else is asked of a row.
pub(super) fn figures(summed: &str, columns: &str, (order, which): (&str, &str), money: Amounts) -> String {
    let by_currency = match money {
        Amounts::None => "",
        Amounts::Sums => {
            " ARRAY JOIN mapKeys(if(empty(amounts), map('', toDecimal128(0, 4)), amounts)) AS currency, \
             mapValues(if(empty(amounts), map('', toDecimal128(0, 4)), amounts)) AS amount"
        }
    };
    format!(
        "SELECT {columns} FROM (SELECT *, countIf(cut > 0) OVER () > 0 AS folded FROM ({summed}) AS summed) AS figure{by_currency} \
         WHERE name1 != '{HIDDEN}'{which} ORDER BY {order} LIMIT {{limit:UInt32}} OFFSET {{offset:UInt32}}"
    )
}
