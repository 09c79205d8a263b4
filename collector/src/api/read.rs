//! From JSON to a [`Query`]: strictly, and with a refusal that names the field and what may stand in it. No text of the question gets into a refusal.

use serde_json::{Map, Value};

use super::period;
use super::plan::Identities;
use super::question::{By, Dimension, Direction, Filter, Form, Interval, Keeps, Metric, Order, Query, Values};
use super::reach;
use super::refusal::{Reason, Refusal};
use crate::clock::Day;
use crate::limits::{QUERY_FILTER_VALUES, QUERY_FILTERS, QUERY_OFFSET, QUERY_ROWS, URL_BYTES};
use crate::store::closing::{FUNNEL, GOAL};

pub(super) type Read<T> = Result<T, Refusal>;

const FIELDS: &[&str] = &["site", "metrics", "dimensions", "filters", "range", "compare", "interval", "order", "limit", "offset", "format"];

/// The object of a question, and the site it names; the rest is read once the site is known, as its days are the site's.
pub(super) fn object(body: &[u8]) -> Read<(Map<String, Value>, String)> {
    let Ok(Value::Object(object)) = serde_json::from_slice(body) else { return Err(Refusal::of(Reason::Unreadable)) };
    known(&object, "", FIELDS)?;
    let site = text(required(&object, "site")?, "site")?.to_owned();
    Ok((object, site))
}

/// The question about a site where it is `today`, and whose visitors have such `ids`.
pub(super) fn query(object: &Map<String, Value>, today: Day, ids: Identities) -> Read<Query> {
    let metrics = metrics(required(object, "metrics")?)?;
    let dimensions = dimensions(object.get("dimensions"))?;
    let filters = filters(object.get("filters"))?;
    let interval = choice(object.get("interval"), "interval", Interval::ALL)?;
    let days = period::range(required(object, "range")?, today)?;
    let query = Query {
        compare: object.get("compare").map(|compare| period::compare(compare, days, today)).transpose()?.flatten(),
        order: order(object.get("order"), &metrics, &dimensions, interval)?,
        limit: number(object.get("limit"), "limit", (1, 100, QUERY_ROWS))?,
        offset: number(object.get("offset"), "offset", (0, 0, QUERY_OFFSET))?,
        form: choice(object.get("format"), "format", Form::ALL)?.unwrap_or(Form::Json),
        metrics,
        dimensions,
        filters,
        days,
        interval,
    };
    about_reached(&query, ids)?;
    if ids == Identities::OfADay && reach::dimension(&query).is_none() {
        told_together(&query)?;
    }
    fits(&query).map(|()| query)
}

/// What visits reached is told of visits, or of them and one more thing that a visit has; of a site without ids, of events.
fn about_reached(query: &Query, ids: Identities) -> Read<()> {
    let refused = |field: &str, allowed: Vec<&'static str>| Err(Refusal::at(field, Reason::NotStored).allowing(allowed));
    let of_metrics = |tells: &dyn Fn(Metric) -> bool| {
        let wrong = query.metrics.iter().position(|metric| !tells(*metric));
        let allowed = || Metric::ALL.iter().filter(|metric| tells(**metric)).map(|metric| metric.name()).collect();
        wrong.map_or(Ok(()), |index| refused(&format!("metrics[{index}]"), allowed()))
    };
    let filter = query.filters.iter().position(|filter| filter.dimension.is_reached() && !query.dimensions.contains(&filter.dimension));
    if let Some(index) = filter.filter(|_| ids == Identities::None) {
        return refused(&format!("filters[{index}]"), vec![]);
    }
    if let Some((place, own)) = reach::dimension(query) {
        if own.name == FUNNEL && ids == Identities::None {
            return refused(&format!("dimensions[{place}]"), vec![GOAL]);
        }
        let fits = |other: &Dimension| {
            let is_known = if ids == Identities::OfADay { other.of_visit.is_some() } else { other.is_of_rollup() };
            *other == own || (other.values == Values::One && is_known)
        };
        if let Some(index) = query.dimensions.iter().position(|other| !fits(other)) {
            return refused(&format!("dimensions[{index}]"), Dimension::all().filter(fits).map(|other| other.name).collect());
        }
        return of_metrics(&|metric| reach::tells(own, metric));
    }
    if filter.is_some() {
        return of_metrics(&|metric| ![Metric::ConversionRate, Metric::Value].contains(&metric));
    }
    of_metrics(&|metric| !metric.is_of_reached())
}

/// Visits know what they began with, and events what they are about. A site without ids has entries in the place of visits, and every event tells those.
fn told_together(query: &Query) -> Read<()> {
    for (index, metric) in query.metrics.iter().enumerate() {
        if let Some(dimension) = query.dimensions.iter().find(|dimension| !dimension.tells(*metric)) {
            let tells = |other: &&Metric| dimension.tells(**other);
            let allowed = Metric::ALL.iter().filter(tells).map(|metric| metric.name());
            return Err(Refusal::at(&format!("metrics[{index}]"), Reason::NotStored).allowing(allowed));
        }
    }
    // A cut by what only events have is a cut of events: they cannot say which visit was the first's.
    let of_events = query.dimensions.iter().any(|dimension| dimension.of_visit.is_none());
    if of_events && query.asks_for_visits() {
        return Err(Refusal::at("metrics", Reason::NotStored));
    }
    Ok(())
}

/// What no day can answer, whatever is stored.
fn fits(query: &Query) -> Read<()> {
    if query.interval == Some(Interval::Hour) {
        if !query.dimensions.is_empty() || !query.filters.is_empty() {
            return Err(Refusal::at("interval", Reason::NotTogether).allowing(["day", "week", "month"]));
        }
        period::bounded_for_hours(query.days)?;
    }
    if query.form != Form::Json && query.compare.is_some() {
        return Err(Refusal::at("compare", Reason::NotTogether));
    }
    Ok(())
}

/// Refuses what is not in `fields`, without repeating its name.
pub(super) fn known(object: &Map<String, Value>, place: &str, fields: &[&'static str]) -> Read<()> {
    match object.keys().find(|key| !fields.contains(&key.as_str())) {
        Some(_) => Err(Refusal::at(place, Reason::UnknownField).allowing(fields.iter().copied())),
        None => Ok(()),
    }
}

fn required<'a>(object: &'a Map<String, Value>, field: &'static str) -> Read<&'a Value> {
    object.get(field).ok_or_else(|| Refusal::at(field, Reason::Missing))
}

pub(super) fn text<'a>(value: &'a Value, place: &str) -> Read<&'a str> {
    value.as_str().ok_or_else(|| Refusal::at(place, Reason::WrongType).allowing(["a text"]))
}

fn list<'a>(value: &'a Value, place: &str, most: usize) -> Read<&'a [Value]> {
    let list = value.as_array().ok_or_else(|| Refusal::at(place, Reason::WrongType).allowing(["a list"]))?;
    if list.len() > most {
        return Err(Refusal::at(place, Reason::TooMany).allowing([format!("at most {most}")]));
    }
    Ok(list)
}

fn metrics(value: &Value) -> Read<Vec<Metric>> {
    let mut read = Vec::new();
    for (index, value) in list(value, "metrics", Metric::ALL.len())?.iter().enumerate() {
        let place = format!("metrics[{index}]");
        let name = text(value, &place)?;
        let metric = Metric::ALL.iter().copied().find(|metric| metric.name() == name);
        let names = || Metric::ALL.iter().map(|metric| metric.name());
        let metric = metric.ok_or_else(|| Refusal::at(&place, Reason::UnknownMetric).allowing(names()))?;
        if read.contains(&metric) {
            return Err(Refusal::at(&place, Reason::Repeated));
        }
        read.push(metric);
    }
    if read.is_empty() { Err(Refusal::at("metrics", Reason::Missing)) } else { Ok(read) }
}

fn dimension(value: &Value, place: &str) -> Read<Dimension> {
    let name = text(value, place)?;
    let names = || Dimension::all().map(|dimension| dimension.name);
    Dimension::named(name).ok_or_else(|| Refusal::at(place, Reason::UnknownDimension).allowing(names()))
}

fn dimensions(value: Option<&Value>) -> Read<Vec<Dimension>> {
    let mut read = Vec::new();
    let Some(value) = value else { return Ok(read) };
    for (index, value) in list(value, "dimensions", 2)?.iter().enumerate() {
        let place = format!("dimensions[{index}]");
        let dimension = dimension(value, &place)?;
        if read.contains(&dimension) {
            return Err(Refusal::at(&place, Reason::Repeated));
        }
        read.push(dimension);
    }
    Ok(read)
}

fn filters(value: Option<&Value>) -> Read<Vec<Filter>> {
    let Some(value) = value else { return Ok(Vec::new()) };
    list(value, "filters", QUERY_FILTERS)?.iter().enumerate().map(|(index, value)| filter(value, index)).collect()
}

fn filter(value: &Value, index: usize) -> Read<Filter> {
    let place = format!("filters[{index}]");
    let inner = |field: &str| format!("{place}.{field}");
    let object = value.as_object().ok_or_else(|| Refusal::at(&place, Reason::WrongType).allowing(["an object"]))?;
    known(object, &place, &["dimension", "is", "is_not"])?;
    let missing = |field: &str| Refusal::at(&inner(field), Reason::Missing);
    let dimension = dimension(object.get("dimension").ok_or_else(|| missing("dimension"))?, &inner("dimension"))?;
    let (keeps, field, values) = match (object.get("is"), object.get("is_not")) {
        (Some(values), None) => (Keeps::These, "is", values),
        (None, Some(values)) => (Keeps::AllButThese, "is_not", values),
        (Some(_), Some(_)) => return Err(Refusal::at(&inner("is_not"), Reason::NotTogether)),
        (None, None) => return Err(missing("is")),
    };
    let mut texts = Vec::new();
    for (position, value) in list(values, &inner(field), QUERY_FILTER_VALUES)?.iter().enumerate() {
        let place = format!("{}[{position}]", inner(field));
        let text = text(value, &place)?;
        if text.len() > URL_BYTES || text.contains('\0') {
            return Err(Refusal::at(&place, Reason::OutOfRange).allowing([format!("at most {URL_BYTES} bytes, none of them zero")]));
        }
        texts.push(text.to_owned());
    }
    if texts.is_empty() { Err(missing(field)) } else { Ok(Filter { dimension, keeps, values: texts }) }
}

fn order(value: Option<&Value>, metrics: &[Metric], dimensions: &[Dimension], interval: Option<Interval>) -> Read<Option<Order>> {
    let Some(value) = value else { return Ok(None) };
    let object = value.as_object().ok_or_else(|| Refusal::at("order", Reason::WrongType).allowing(["an object"]))?;
    known(object, "order", &["by", "descending"])?;
    let name = text(object.get("by").ok_or_else(|| Refusal::at("order.by", Reason::Missing))?, "order.by")?;
    let metric = metrics.iter().position(|metric| metric.name() == name).map(By::Metric);
    let dimension = || dimensions.iter().position(|dimension| dimension.name == name).map(By::Dimension);
    let time = || (interval.is_some() && name == "time").then_some(By::Time);
    let names = || {
        let names = metrics.iter().map(|metric| metric.name()).chain(dimensions.iter().map(|dimension| dimension.name));
        names.chain(interval.map(|_| "time"))
    };
    let by = metric.or_else(dimension).or_else(time);
    let by = by.ok_or_else(|| Refusal::at("order.by", Reason::UnknownValue).allowing(names()))?;
    let direction = match object.get("descending") {
        None | Some(Value::Bool(false)) => Direction::Ascending,
        Some(Value::Bool(true)) => Direction::Descending,
        Some(_) => return Err(Refusal::at("order.descending", Reason::WrongType).allowing(["true", "false"])),
    };
    Ok(Some(Order { by, direction }))
}

pub(super) fn choice<T: Copy>(value: Option<&Value>, field: &'static str, choices: &[(&'static str, T)]) -> Read<Option<T>> {
    let Some(value) = value else { return Ok(None) };
    let name = text(value, field)?;
    let found = choices.iter().find(|(own, _)| *own == name).map(|(_, choice)| *choice);
    let names = || choices.iter().map(|(own, _)| *own);
    found.map(Some).ok_or_else(|| Refusal::at(field, Reason::UnknownValue).allowing(names()))
}

fn number(value: Option<&Value>, field: &'static str, (least, default, most): (u32, u32, u32)) -> Read<u32> {
    let Some(value) = value else { return Ok(default) };
    let allowed = || [format!("{least} to {most}")];
    let Some(number) = value.as_u64() else { return Err(Refusal::at(field, Reason::WrongType).allowing(allowed())) };
    let number = u32::try_from(number).ok().filter(|number| (least..=most).contains(number));
    number.ok_or_else(|| Refusal::at(field, Reason::OutOfRange).allowing(allowed()))
}
