//! Cells of open days: what events and visits have of each value, read once a table and folded here.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::folding::{Folding, Raw, Rule, Together, Values, Wanted, beside_events};
use super::kept::{Key, Of};
use super::{Cell, Cells, Group, Told, sums};
use crate::api::plan::{Facts, Identities, Parameter, Plan, texts};
use crate::api::question::{Dimension, HOUR};
use crate::api::refusal::{Reason, Refusal};
use crate::api::tables::Reader;
use crate::clock::Day;
use crate::limits::QUERY_SMALL_BYTES;
use crate::store::rollup::ALL;

/// What a table has of each value, by day and dimension.
pub(in crate::api) type Raws = BTreeMap<(Day, &'static str), Vec<Raw>>;

/// The day, for each column whether the row is *not* of it, the columns' texts, the visitors and the sums.
type RowOfVisits = (u16, Vec<u8>, Vec<String>, u64, Vec<u64>);

/// How much memory they take, about.
pub(in crate::api) fn bytes(raws: &Raws) -> usize {
    raws.values().flatten().map(|raw| size_of::<Raw>() + raw.value.len()).sum()
}

/// The sums of events that the rollup of open days has.
const SUMS_OF_EVENTS: &[&str] =
    &["pageviews", "events", "engagements", "engaged_ms", "scroll_pct", "entries", "first_today", "first_this_week", "first_this_month"];

/// The sums of visits, and how they are made.
const SUMS_OF_VISITS: &[(&str, &str)] = &[
    ("visits", "count()"),
    ("bounces", "countIf(visit.bounce)"),
    ("visit_ms", "sum(visit.duration_ms)"),
    ("pageviews", "sum(toUInt64(visit.pageviews))"),
    ("events", "sum(toUInt64(visit.events))"),
];

/// The cells of `name`, which `group` has, on open `days`: folded.
pub(in crate::api) async fn cells(
    reader: &Reader<'_>,
    facts: &Facts,
    (group, name): (Group, &'static str),
    days: &[Day],
) -> Result<Vec<Cell>, Refusal> {
    if days.is_empty() {
        return Ok(Vec::new());
    }
    let of_group = |group| OpenDays { reader, facts, group, days };
    let cells = match of_group(group).cells().await {
        Ok(cells) => cells.get(name).cloned(),
        Err(refusal) if refusal.reason == Reason::TooWide => None,
        Err(refusal) => return Err(refusal),
    };
    let told = |(own, told): (&'static str, Told)| (own == name).then_some(told);
    match (cells, group.cuts(facts.ids).into_iter().find_map(told)) {
        (Some(cells), _) => Ok(cells),
        // Too many to be read or kept with the others.
        (None, Some(told)) => of_group(Group::One(name, told)).cells().await.map(|cells| cells.get(name).cloned().unwrap_or_default()),
        (None, None) => Ok(Vec::new()),
    }
}

#[derive(Clone, Copy)]
struct OpenDays<'a> {
    reader: &'a Reader<'a>,
    facts: &'a Facts,
    group: Group,
    days: &'a [Day],
}

impl OpenDays<'_> {
    fn key(self, of: Of) -> Key {
        let Facts { zone, site, .. } = self.facts;
        Key { zone: zone.clone(), site: site.clone(), threshold: self.facts.threshold(), of, group: self.group }
    }

    async fn cells(self) -> Result<Arc<Cells>, Refusal> {
        let held = self.reader.held(&["rollup_open", "sessions"], self.days, &[]);
        self.reader.cells(&self.key(Of::OpenDays(self.days.to_vec())), held, Box::pin(self.folded())).await
    }

    async fn folded(self) -> Result<Cells, Refusal> {
        let cuts = self.group.cuts(self.facts.ids);
        let (events, visits) = tokio::try_join!(self.events(&cuts), self.visits(&cuts))?;
        let none = Vec::new();
        let mut cells: Cells = cuts.iter().map(|(name, _)| (*name, Vec::new())).collect();
        let mut foldings = Vec::new();
        for (day, (dimension, told)) in self.days.iter().flat_map(|day| cuts.iter().map(move |cut| (*day, *cut))) {
            let of_events = events.get(&(day, dimension)).unwrap_or(&none);
            let of_visits = visits.get(&(day, dimension)).unwrap_or(&none);
            if [ALL, HOUR].contains(&dimension) {
                cells.entry(dimension).or_default().extend(whole_site(day, dimension, of_events, of_visits));
                continue;
            }
            let rule = Rule { told, ids: self.facts.ids, threshold: self.facts.threshold() };
            foldings.push(Folding::of(day, dimension, rule, of_events, of_visits));
        }
        self.told(&mut foldings).await?;
        for folding in foldings {
            cells.entry(folding.dimension).or_default().extend(folding.cells());
        }
        Ok(cells)
    }

    /// Asks for what the foldings want, until they want nothing: twice at most.
    async fn told(self, foldings: &mut [Folding]) -> Result<(), Refusal> {
        loop {
            let wanted: Vec<(usize, Wanted)> =
                foldings.iter().enumerate().filter_map(|(place, folding)| Some((place, folding.wanted()?))).collect();
            if wanted.is_empty() {
                return Ok(());
            }
            let of = |values: fn(&Wanted) -> Option<&Values>| {
                let some = wanted.iter().filter_map(|(place, wanted)| Some((*place, values(wanted)?)));
                some.map(|(place, values)| (place, Small { day: foldings[place].day, dimension: foldings[place].dimension, values }))
                    .collect::<Vec<_>>()
            };
            let (events, visits) = (of(|wanted| wanted.of_events.as_ref()), of(|wanted| wanted.of_visits.as_ref()));
            let (of_events, of_visits) = tokio::try_join!(self.visitors_of_events(&events), self.visitors_of_visits(&visits))?;
            let count = |told: &HashMap<usize, u64>, place| told.get(&place).copied().unwrap_or(0);
            for (place, _) in wanted {
                foldings[place].told(Together { of_events: count(&of_events, place), of_visits: count(&of_visits, place) });
            }
        }
    }

    async fn events(self, cuts: &[(&'static str, Told)]) -> Result<Raws, Refusal> {
        let names: Vec<&'static str> = cuts.iter().filter(|(_, told)| *told != Told::Visits).map(|(name, _)| *name).collect();
        if names.is_empty() {
            return Ok(Raws::new());
        }
        let columns = self.group.sums(SUMS_OF_EVENTS);
        // What counts visitors is the dearest to read, and nobody asks where nobody has an id.
        let heads = if self.facts.ids == Identities::OfADay { "uniqCombined64Merge(14)(rollup_open.visitors)" } else { "toUInt64(0)" };
        let figures = columns.iter().map(|name| format!("sum(rollup_open.{name})")).collect::<Vec<_>>().join(", ");
        let sql = format!(
            "SELECT toUInt16(rollup_open.day), toString(rollup_open.dimension), rollup_open.value, {heads}, [{figures}] FROM rollup_open \
             WHERE zone = {{zone:String}} AND site = {{site:String}} AND day IN {{open:Array(Date)}} AND dimension IN {{dimensions:Array(String)}} \
             GROUP BY rollup_open.day, rollup_open.dimension, rollup_open.value"
        );
        let dimensions = Parameter::Texts(names.iter().map(ToString::to_string).collect());
        let plan = Plan { sql, parameters: self.parameters([("dimensions".to_owned(), dimensions)]) };
        let rows: Vec<(u16, String, String, u64, Vec<u64>)> = self.reader.run(&plan).await?;
        let mut of_cuts = Raws::new();
        for (day, dimension, value, heads, figures) in rows {
            let Some(dimension) = names.iter().find(|name| **name == dimension) else { continue };
            of_cuts.entry((Day(day), dimension)).or_default().push(Raw { value, heads, sums: sums(&columns, &figures) });
        }
        Ok(of_cuts)
    }

    /// What visits have. It changes when they are counted anew, and not with every event, so it is kept by itself.
    async fn visits(self, cuts: &[(&'static str, Told)]) -> Result<Arc<Raws>, Refusal> {
        let of_visits = |(name, told): &(&'static str, Told)| Some((*name, column_of(name).filter(|_| *told != Told::Events)?));
        let cuts: Vec<(&'static str, &'static str)> = cuts.iter().filter_map(of_visits).collect();
        if cuts.is_empty() {
            return Ok(Arc::default());
        }
        let key = self.key(Of::Visits(self.days.to_vec()));
        let held = self.reader.held(&["sessions"], self.days, &[]);
        self.reader.visits(&key, held, Box::pin(self.visits_read(&cuts))).await
    }

    async fn visits_read(self, cuts: &[(&'static str, &'static str)]) -> Result<Raws, Refusal> {
        let columns: Vec<&str> = cuts.iter().filter(|(name, _)| *name != ALL).map(|(_, column)| *column).collect();
        let names: Vec<&'static str> = cuts.iter().map(|(name, _)| *name).filter(|name| *name != ALL).collect();
        let figures = SUMS_OF_VISITS.iter().map(|(_, sql)| *sql).collect::<Vec<_>>().join(", ");
        let texts = columns.iter().map(|column| format!("toString(visit.{column})")).collect::<Vec<_>>().join(", ");
        let mut sets: Vec<String> = columns.iter().map(|column| format!("(visit.day, visit.{column})")).collect();
        if cuts.iter().any(|(name, _)| *name == ALL) {
            sets.push("(visit.day)".to_owned());
        }
        // Which of the columns a row is of: of the others it has no text.
        let which = columns.iter().map(|column| format!("grouping(visit.{column})")).collect::<Vec<_>>().join(", ");
        let (texts, which) = if columns.is_empty() {
            ("CAST([], 'Array(String)')".to_owned(), "CAST([], 'Array(UInt8)')".to_owned())
        } else {
            (format!("[{texts}]"), format!("[{which}]"))
        };
        let sql = format!(
            "SELECT toUInt16(visit.day), {which}, {texts}, uniqCombined64(14)(visit.visitor), [{figures}] FROM sessions AS visit \
             WHERE visit.zone = {{zone:String}} AND visit.site = {{site:String}} AND visit.day IN {{open:Array(Date)}} GROUP BY GROUPING SETS ({})",
            sets.join(", "),
        );
        let plan = Plan { sql, parameters: self.parameters([]) };
        let rows: Vec<RowOfVisits> = self.reader.run(&plan).await?;
        let sums_names: Vec<&str> = SUMS_OF_VISITS.iter().map(|(name, _)| *name).collect();
        let mut of_cuts = Raws::new();
        for (day, which, texts, heads, figures) in rows {
            // As ClickHouse has it: 0 where the row is of the column.
            let place = which.iter().position(|not| *not == 0);
            let (dimension, value) = match place {
                None => (ALL, String::new()),
                Some(place) if names[place] == HOUR => (HOUR, format!("{:0>2}", texts[place])),
                Some(place) => (names[place], texts[place].clone()),
            };
            if dimension == ALL || !value.is_empty() {
                of_cuts.entry((Day(day), dimension)).or_default().push(Raw { value, heads, sums: sums(&sums_names, &figures) });
            }
        }
        Ok(of_cuts)
    }

    /// How many visitors sent the events of small cells, together.
    async fn visitors_of_events(self, small: &[(usize, Small<'_>)]) -> Result<HashMap<usize, u64>, Refusal> {
        if small.is_empty() {
            return Ok(HashMap::new());
        }
        let mut parameters = Bound::default();
        let conditions: Vec<String> = small
            .iter()
            .map(|(_, small)| {
                let [day, dimension] = [parameters.text(&small.day.to_string()), parameters.text(small.dimension)];
                let of_values = parameters.values("rollup_open.value", small.values)?;
                Ok(format!("rollup_open.day = {{{day}:Date}} AND rollup_open.dimension = {{{dimension}:String}}{of_values}"))
            })
            .collect::<Result<_, Refusal>>()?;
        let sql = format!(
            "SELECT toUInt16(rollup_open.day), toString(rollup_open.dimension), uniqCombined64Merge(14)(rollup_open.visitors) FROM rollup_open \
             WHERE zone = {{zone:String}} AND site = {{site:String}} AND day IN {{open:Array(Date)}} AND ({}) GROUP BY rollup_open.day, rollup_open.dimension",
            conditions.join(" OR "),
        );
        let plan = Plan { sql, parameters: self.parameters(parameters.0) };
        let rows: Vec<(u16, String, u64)> = self.reader.run(&plan).await?;
        let place = |day: u16, dimension: &str| {
            small.iter().find(|(_, small)| small.day == Day(day) && small.dimension == dimension).map(|(place, _)| *place)
        };
        Ok(rows.iter().filter_map(|(day, dimension, heads)| Some((place(*day, dimension)?, *heads))).collect())
    }

    /// How many visitors have the visits of small cells, together.
    async fn visitors_of_visits(self, small: &[(usize, Small<'_>)]) -> Result<HashMap<usize, u64>, Refusal> {
        if small.is_empty() {
            return Ok(HashMap::new());
        }
        let mut parameters = Bound::default();
        let columns: Vec<String> = small
            .iter()
            .map(|(_, small)| {
                let column = format!("visit.{}", column_of(small.dimension).unwrap_or(small.dimension));
                let (day, of_values) = (parameters.text(&small.day.to_string()), parameters.values(&column, small.values)?);
                Ok(format!("uniqCombined64If(14)(visit.visitor, visit.day = {{{day}:Date}} AND {column} != ''{of_values})"))
            })
            .collect::<Result<_, Refusal>>()?;
        let sql = format!(
            "SELECT {} FROM sessions AS visit WHERE visit.zone = {{zone:String}} AND visit.site = {{site:String}} AND visit.day IN {{open:Array(Date)}}",
            columns.join(", "),
        );
        // Told again until the visits are counted anew.
        let rows = self.reader.rows(&Plan { sql, parameters: self.parameters(parameters.0) }).await?;
        let counts = rows.first().into_iter().flatten().map(|count| count.as_u64().unwrap_or(0));
        Ok(small.iter().map(|(place, _)| *place).zip(counts).collect())
    }

    fn parameters(self, more: impl IntoIterator<Item = (String, Parameter)>) -> Vec<(String, Parameter)> {
        let text = |text: &String| Parameter::Text(text.clone());
        let Facts { zone, site, .. } = self.facts;
        let own = [("zone".to_owned(), text(zone)), ("site".to_owned(), text(site)), ("open".to_owned(), texts(self.days))];
        own.into_iter().chain(more).collect()
    }
}

/// Small cells of a day and a dimension.
struct Small<'a> {
    day: Day,
    dimension: &'static str,
    values: &'a Values,
}

/// Parameters that are called by their number.
#[derive(Default)]
struct Bound(Vec<(String, Parameter)>);

impl Bound {
    fn bind(&mut self, parameter: Parameter) -> String {
        let name = format!("small{}", self.0.len());
        self.0.push((name.clone(), parameter));
        name
    }

    fn text(&mut self, text: &str) -> String {
        self.bind(Parameter::Text(text.to_owned()))
    }

    /// The condition that `column` is one of these values.
    fn values(&mut self, column: &str, values: &Values) -> Result<String, Refusal> {
        let (word, values) = match values {
            Values::These(values) => ("IN", values),
            Values::AllBut(values) if values.is_empty() => return Ok(String::new()),
            Values::AllBut(values) => ("NOT IN", values),
        };
        if values.iter().map(String::len).sum::<usize>() > QUERY_SMALL_BYTES {
            return Err(Refusal::of(Reason::TooWide));
        }
        let name = self.bind(Parameter::Texts(values.clone()));
        Ok(format!(" AND {column} {word} {{{name}:Array(String)}}"))
    }
}

/// The column of `sessions` that a dimension is cut by.
fn column_of(dimension: &str) -> Option<&'static str> {
    match dimension {
        // Of the whole site every visit is.
        ALL => Some(ALL),
        HOUR => Some(HOUR),
        _ => Dimension::named(dimension)?.of_visit,
    }
}

/// The whole site, or its hours: nothing is cut, so nothing is folded.
fn whole_site(day: Day, dimension: &str, events: &[Raw], visits: &[Raw]) -> Vec<Cell> {
    let at = |raw: &Raw| if dimension == HOUR { format!("{day}T{}", raw.value) } else { day.to_string() };
    let cell = |raw: &Raw, visitors, sums| Cell { at: at(raw).into(), name: "".into(), cut: 0, visitors, sums };
    let events = events.iter().map(|raw| cell(raw, raw.heads, raw.sums));
    events.chain(visits.iter().map(|raw| cell(raw, 0, beside_events(&raw.sums)))).collect()
}
