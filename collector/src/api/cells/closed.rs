//! Cells of closed days: finished figures, added up over each part of the range by ClickHouse; and what the whole site has beyond them, which is found here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::folding::add;
use super::kept::{Key, Of};
use super::{Cell, Cells, Group, Sums, Told, place, sums};
use crate::api::plan::{Facts, Parameter, Plan, Planning, texts};
use crate::api::question::{Days, HOUR, Interval, Query};
use crate::api::refusal::{Reason, Refusal};
use crate::api::tables::Reader;
use crate::api::template::{BEYOND, OTHER};
use crate::clock::Day;
use crate::store::closing::SUMS;
use crate::store::rollup::ALL;

/// The cells of `query`, of which `group` has those of `name`, on `closed` days: those of `days` that are.
pub(in crate::api) async fn cells(
    reader: &Reader<'_>,
    (query, facts): (&Query, &Facts),
    (group, name): (Group, &'static str),
    (days, closed): (Days, &[Day]),
) -> Result<Vec<Cell>, Refusal> {
    if closed.is_empty() {
        return Ok(Vec::new());
    }
    match name {
        ALL => Ok(whole_site(reader, facts, closed).await?),
        HOUR => {
            let cells = of_group(reader, (query, facts), Group::One(HOUR, Told::Both), (days, closed)).await?;
            let hour = |cell: &Cell| Cell { at: format!("{}T{}", cell.at, cell.name).into(), name: "".into(), ..cell.clone() };
            Ok(cells.get(HOUR).into_iter().flatten().map(hour).collect())
        }
        _ => {
            // A page is not asked for in parts: all of its cells in each of them would be many.
            let group = if query.interval.is_some() { Group::One(name, Told::Both) } else { group };
            let (cells, whole) =
                tokio::try_join!(of_value(reader, (query, facts), (group, name), (days, closed)), whole_site(reader, facts, closed))?;
            let mut cells = cells;
            let beyond = beyond(&cells, &whole, |day| part(query.interval, day));
            cells.extend(beyond);
            Ok(cells)
        }
    }
}

/// Those of `name` in a group; by themselves if they are too many to be read or kept with the others.
async fn of_value(
    reader: &Reader<'_>,
    asked: (&Query, &Facts),
    (group, name): (Group, &'static str),
    days: (Days, &[Day]),
) -> Result<Vec<Cell>, Refusal> {
    let cells = match of_group(reader, asked, group, days).await {
        Ok(cells) => cells.get(name).cloned(),
        Err(refusal) if refusal.reason == Reason::TooWide => None,
        Err(refusal) => return Err(refusal),
    };
    match cells {
        Some(cells) => Ok(cells),
        None => of_group(reader, asked, Group::One(name, Told::Both), days).await.map(|cells| cells.get(name).cloned().unwrap_or_default()),
    }
}

/// The part of the range that a closed day is in, as ClickHouse is asked to write it.
fn part(interval: Option<Interval>, day: &str) -> String {
    match (interval, day.parse::<Day>()) {
        (Some(interval), Ok(day)) => interval.first_of_part(day).to_string(),
        (None, _) | (_, Err(_)) => String::new(),
    }
}

/// What the whole site has beyond the cells in each part of the range. Closing writes none of that down: cells that were too small for their day may be named with
/// their week or month. Events without a value are in it. Nobody can tell its visitors: they may be in named cells too.
fn beyond(cells: &[Cell], whole: &[Cell], part: impl Fn(&str) -> String) -> Vec<Cell> {
    let mut parts: BTreeMap<String, (Sums, Sums)> = BTreeMap::new();
    for day in whole {
        add(&mut parts.entry(part(&day.at)).or_default().0, &day.sums);
    }
    for cell in cells {
        add(&mut parts.entry(cell.at.to_string()).or_default().1, &cell.sums);
    }
    let deciding = ["pageviews", "events", "visits", "entries"];
    let is_any = |(whole, named): &(Sums, Sums)| deciding.iter().filter_map(|name| place(name)).any(|place| whole[place] > named[place]);
    let left = parts.into_iter().filter(|(_, sums)| is_any(sums));
    left.map(|(at, (whole, named))| {
        let sums = std::array::from_fn(|place| whole[place].saturating_sub(named[place]));
        Cell { at: at.into(), name: OTHER.into(), cut: BEYOND, visitors: 0, sums }
    })
    .collect()
}

/// The whole site on these closed days: what is kept has all days that it ever had, for whatever range is asked for next.
async fn whole_site(reader: &Reader<'_>, facts: &Facts, closed: &[Day]) -> Result<Vec<Cell>, Refusal> {
    let key = key(facts, Of::WholeSite, Group::One(ALL, Told::Both));
    let held = reader.held(&["rollup_closed"], &[], &[]);
    let read = async {
        let sql = format!(
            "SELECT toString(closed.day), sum(closed.visitors), [{}] FROM rollup_closed AS closed WHERE zone = {{zone:String}} AND site = {{site:String}} \
                 AND dimension = '{ALL}' AND dimension2 = '' AND span = 'day' GROUP BY closed.day",
            columns(SUMS),
        );
        let rows: Vec<(String, u64, Vec<u64>)> = reader.run(&Plan { sql, parameters: of_site(facts) }).await?;
        let cell = |(day, visitors, figures): (String, u64, Vec<u64>)| Cell {
            at: day.into(),
            name: "".into(),
            cut: 0,
            visitors,
            sums: sums(SUMS, &figures),
        };
        Ok(Cells::from([(ALL, rows.into_iter().map(cell).collect())]))
    };
    let cells = reader.cells(&key, held, Box::pin(read)).await?;
    let closed: BTreeSet<String> = closed.iter().map(Day::to_string).collect();
    Ok(cells.get(ALL).into_iter().flatten().filter(|cell| closed.contains(&*cell.at)).cloned().collect())
}

/// The cells of a group, in each part of the range.
async fn of_group(
    reader: &Reader<'_>,
    (query, facts): (&Query, &Facts),
    group: Group,
    (days, closed): (Days, &[Day]),
) -> Result<Arc<Cells>, Refusal> {
    let key = key(facts, Of::ClosedDays(days, query.interval), group);
    let numbers: Vec<u8> = closed.iter().flat_map(|day| day.0.to_le_bytes()).collect();
    let held = reader.held(&["rollup_closed"], &[], &numbers);
    let read = async {
        let columns_read = group.sums(SUMS);
        let names = group.cuts(facts.ids).into_iter().map(|(name, _)| name);
        let names: Vec<&'static str> = names.filter(|name| group != Group::Page || ![ALL, HOUR].contains(name)).collect();
        let planning = Planning::new(query, days, facts);
        let is_hourly = names == [HOUR];
        let part = if is_hourly { "toString(closed.day)".to_owned() } else { planning.bucket().replace("part.", "closed.") };
        let spans = if is_hourly { "span = 'day' AND day IN {closed:Array(Date)}" } else { planning.spans() };
        let mut parameters = of_site(facts);
        parameters.push(("closed".to_owned(), texts(closed)));
        parameters.push(("dimensions".to_owned(), Parameter::Texts(names.iter().map(ToString::to_string).collect())));
        if spans.contains("{from:") {
            parameters.push(("from".to_owned(), Parameter::Text(days.from.to_string())));
            parameters.push(("to".to_owned(), Parameter::Text(days.to.to_string())));
        }
        let sql = format!(
            "SELECT toString(closed.dimension), closed.value, {part} AS part, sum(closed.visitors), [{}] FROM rollup_closed AS closed \
             WHERE zone = {{zone:String}} AND site = {{site:String}} AND dimension IN {{dimensions:Array(String)}} AND dimension2 = '' AND ({spans}) \
             GROUP BY closed.dimension, closed.value, part",
            columns(&columns_read),
        );
        let rows: Vec<(String, String, String, u64, Vec<u64>)> = reader.run(&Plan { sql, parameters }).await?;
        let mut cells: Cells = names.iter().map(|name| (*name, Vec::new())).collect();
        for (dimension, name, at, visitors, figures) in rows {
            let Some(dimension) = names.iter().find(|name| **name == dimension) else { continue };
            let cut = u8::from(name == OTHER);
            let cell = Cell { at: at.into(), name: name.into(), cut, visitors, sums: sums(&columns_read, &figures) };
            cells.entry(dimension).or_default().push(cell);
        }
        Ok(cells)
    };
    reader.cells(&key, held, Box::pin(read)).await
}

/// What is finished is the same whatever the threshold is now.
fn key(facts: &Facts, of: Of, group: Group) -> Key {
    Key { zone: facts.zone.clone(), site: facts.site.clone(), threshold: 0, of, group }
}

fn of_site(facts: &Facts) -> Vec<(String, Parameter)> {
    vec![("zone".to_owned(), Parameter::Text(facts.zone.clone())), ("site".to_owned(), Parameter::Text(facts.site.clone()))]
}

fn columns(names: &[&str]) -> String {
    names.iter().map(|name| format!("sum(closed.{name})")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(at: &str, name: &str, pageviews: u64, engagements: u64) -> Cell {
        let sums = sums(&["pageviews", "engagements"], &[pageviews, engagements]);
        Cell { at: at.into(), name: name.into(), cut: 0, visitors: 5, sums }
    }

    #[test]
    fn what_a_part_has_beyond_its_cells_is_one_more_whose_visitors_nobody_can_tell() {
        let whole = [cell("2026-11-16", "", 10, 1), cell("2026-11-17", "", 10, 1), cell("2026-11-23", "", 7, 3)];
        let cells = [cell("2026-11-16", "/a", 12, 2), cell("2026-11-16", "/b", 3, 9), cell("2026-11-23", "/a", 7, 1)];
        let left = beyond(&cells, &whole, |day| part(Some(Interval::Week), day));
        let expected = Cell { cut: BEYOND, visitors: 0, ..cell("2026-11-16", OTHER, 5, 0) };
        assert_eq!(left, [expected], "the second week has nothing beyond but engagements, which decide nothing");
        let left = beyond(&[], &whole, |day| part(None, day));
        assert_eq!(left, [Cell { cut: BEYOND, visitors: 0, ..cell("", OTHER, 27, 5) }]);
    }
}
