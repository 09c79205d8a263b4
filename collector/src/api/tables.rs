//! Asking ClickHouse: plans of the API, and the few fixed questions beside them.

use std::collections::{BTreeSet, HashMap};
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use clickhouse::query::Query;
use clickhouse::{Client, Row, RowOwned, RowRead};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Api;
use super::cells::kept::{Kept, Key, Turn};
use super::cells::open::{self, Raws};
use super::cells::{self, Cells};
use super::plan::{Parameter, Plan};
use super::question::{Days, Form};
use super::refusal::{Reason, Refusal};
use super::remembered::{Held, PARTS, Parts};
use crate::clock::{Day, UnixMillis};
use crate::limits::{ANSWER_BYTES, CELLS_BYTES, QUERY_DEADLINE, SHARE_DEADLINE, SHARE_MEMORY_BYTES};
use crate::store::rollup::ALL;

/// A client that only reads, gives up in time, and writes figures as numbers.
pub(super) fn reader(client: &Client) -> Client {
    [
        // As strict as can be said together with other settings: no table is changed.
        ("readonly", "2"),
        ("max_execution_time", &QUERY_DEADLINE.as_secs().to_string()),
        ("output_format_json_quote_64bit_integers", "0"),
        ("output_format_json_quote_decimals", "0"),
        // `sum(visits) AS visits` is made of the column, wherever it stands.
        ("prefer_column_name_to_alias", "1"),
    ]
    .into_iter()
    .fold(client.clone(), |client, (name, value)| client.with_setting(name, value))
}

/// The same with what a stranger's question may cost.
pub(super) fn bounded(client: Client) -> Client {
    [
        ("max_execution_time", SHARE_DEADLINE.as_secs().to_string()),
        ("max_memory_usage", SHARE_MEMORY_BYTES.to_string()),
        ("max_threads", "1".to_owned()),
    ]
    .into_iter()
    .fold(client, |client, (name, value)| client.with_setting(name, value))
}

/// The rows of an answer, each a list of values.
pub(super) type Rows = Vec<Vec<Value>>;

/// What is read if it is not kept.
type Reading<'a, Value> = Pin<Box<dyn Future<Output = Result<Value, Refusal>> + Send + 'a>>;

/// The tables, for one question.
pub(super) struct Reader<'a> {
    api: &'a Api,
    /// When it was asked.
    asked: Turn,
    /// What they held when it was asked. Without that nothing is remembered.
    parts: Option<Parts>,
}

impl<'a> Reader<'a> {
    /// The tables as they are from now on.
    pub(super) async fn of(api: &'a Api) -> Self {
        let unread = Self { api, asked: api.next_turn(), parts: None };
        let parts = unread.read(PARTS.to_owned(), &[]).await.ok().map(Parts::of);
        Self { parts, ..unread }
    }

    /// The rows of a plan.
    pub(super) async fn rows(&self, plan: &Plan) -> Result<Rows, Refusal> {
        parsed(&self.answer(plan).await?)
    }

    /// The days of a zone that hold anything and are not dropped yet; nothing if that cannot be told.
    pub(super) fn open_days(&self, zone: &str) -> Option<BTreeSet<Day>> {
        self.parts.as_ref().map(|parts| parts.open_days(zone))
    }

    /// What these tables hold, those of open days of `days` alone; with whatever else an answer hangs on.
    pub(super) fn held(&self, tables: &[&str], days: &[Day], besides: &[u8]) -> Option<Held> {
        let days: Vec<String> = days.iter().map(Day::to_string).collect();
        self.parts.as_ref().map(|parts| parts.held(|table| tables.contains(&table), Some(&days), besides))
    }

    /// The cells of `key`, which hang on what is `held`: as they are kept, or as they are `read` now.
    pub(super) async fn cells(&self, key: &Key, held: Option<Held>, read: Reading<'_, Cells>) -> Result<Arc<Cells>, Refusal> {
        self.kept((&self.api.cells, key, held), read, |cells| cells::kept_of(cells, CELLS_BYTES)).await
    }

    /// The visits of `key`, in the same way.
    pub(super) async fn visits(&self, key: &Key, held: Option<Held>, read: Reading<'_, Raws>) -> Result<Arc<Raws>, Refusal> {
        self.kept((&self.api.visits, key, held), read, |raws| Some((Arc::clone(raws), open::bytes(raws)))).await
    }

    async fn kept<Value>(
        &self,
        (kept, key, held): (&Kept<Value>, &Key, Option<Held>),
        read: Reading<'_, Value>,
        worth_keeping: impl Fn(&Arc<Value>) -> Option<(Arc<Value>, usize)>,
    ) -> Result<Arc<Value>, Refusal> {
        let reading = kept.reading(key);
        let _reading = reading.lock().await;
        if let Some(known) = kept.find(key, held.as_ref(), self.asked) {
            return Ok(known);
        }
        let begun = self.api.next_turn();
        let value = Arc::new(read.await?);
        if let Some((worth, bytes)) = worth_keeping(&value) {
            kept.keep(key, (held, begun), &worth, bytes);
        }
        Ok(value)
    }

    /// The rows of a plan, each read as a `T`, from a run of its own.
    pub(super) async fn run<T: DeserializeOwned>(&self, plan: &Plan) -> Result<Vec<T>, Refusal> {
        parsed(&bytes(&self.api.client, plan, "JSONCompactEachRow").await?)
    }

    async fn answer(&self, plan: &Plan) -> Result<Bytes, Refusal> {
        let Self { api, parts, .. } = self;
        if let Some(known) = parts.as_ref().and_then(|parts| api.remembered.answer(plan, parts)) {
            return Ok(known);
        }
        let ask = || async { bytes(&api.client, plan, "JSONCompactEachRow").await.map(Bytes::from) };
        let answer = api.together.answer(plan, ask).await?;
        if let Some(parts) = parts {
            api.remembered.keep(plan, parts, answer.clone());
        }
        Ok(answer)
    }

    /// The rows of a fixed question, each read as a `T`.
    async fn read<T: DeserializeOwned>(&self, sql: String, parameters: &[(&str, Parameter)]) -> Result<Vec<T>, Refusal> {
        let parameters = parameters.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        parsed(&self.answer(&Plan { sql, parameters }).await?)
    }
}

fn parsed<T: DeserializeOwned>(answer: &[u8]) -> Result<Vec<T>, Refusal> {
    let lines = answer.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_slice(line).map_err(|_| unavailable())).collect()
}

fn text(text: &(impl ToString + ?Sized)) -> Parameter {
    Parameter::Text(text.to_string())
}

/// The answer of a plan as ClickHouse writes it.
pub(super) async fn document(client: &Client, plan: &Plan, form: Form) -> Result<Vec<u8>, Refusal> {
    let format = match form {
        Form::Json => "JSONCompactEachRow",
        Form::Csv => "CSVWithNames",
        Form::Parquet => "Parquet",
    };
    bytes(client, plan, format).await
}

async fn bytes(client: &Client, plan: &Plan, format: &'static str) -> Result<Vec<u8>, Refusal> {
    let bind = |query: Query, (name, value): &(String, Parameter)| match value {
        Parameter::Text(text) => query.param(name, text),
        Parameter::Texts(texts) => query.param(name, texts),
        Parameter::Number(number) => query.param(name, number),
        Parameter::Numbers(numbers) => query.param(name, numbers),
    };
    let query = plan.parameters.iter().fold(client.query(&plan.sql), bind);
    let read = async {
        let mut answer = query.fetch_bytes(format).map_err(told)?;
        let mut whole = Vec::new();
        while let Some(piece) = answer.next().await.map_err(told)? {
            if whole.len() + piece.len() > ANSWER_BYTES {
                return Err(Refusal::at("limit", Reason::TooWide));
            }
            whole.extend_from_slice(&piece);
        }
        Ok(whole)
    };
    tokio::time::timeout(QUERY_DEADLINE, read).await.unwrap_or_else(|_late| Err(unavailable()))
}

/// What ClickHouse says may quote what was asked: its code is enough for the log, and nothing is for the asker.
fn told(error: clickhouse::error::Error) -> Refusal {
    let failure = crate::store::errors::Failure::from(error);
    tracing::warn!(%failure, "a question of an analyst was not answered");
    unavailable()
}

fn unavailable() -> Refusal {
    Refusal::of(Reason::Unavailable)
}

async fn all<T: RowOwned + RowRead>(query: Query) -> Result<Vec<T>, Refusal> {
    let asked = tokio::time::timeout(QUERY_DEADLINE, query.fetch_all()).await;
    asked.map_err(|_late| unavailable())?.map_err(told)
}

fn by_name(rows: Vec<(String, u16)>) -> HashMap<String, Day> {
    rows.into_iter().map(|(name, day)| (name, Day(day))).collect()
}

/// The first day with figures, of each site that has one.
pub(super) async fn first_days(reader: &Reader<'_>, sites: &[&str]) -> Result<HashMap<String, Day>, Refusal> {
    let of = |table: &str, condition: &str| {
        format!(
            "SELECT toString({table}.site), toUInt16(min({table}.day)) FROM {table} WHERE dimension = {{all:String}}{condition} GROUP BY {table}.site"
        )
    };
    let mut days = reader.read(of("rollup_closed", " AND span = 'day'"), &[("all", text(ALL))]).await.map(by_name)?;
    // What arrives changes nothing of it where an earlier day is closed.
    let first_open = reader.parts.as_ref().and_then(Parts::first_open_day);
    let is_earlier = |site: &&&str| days.get(**site).is_none_or(|day| reader.parts.is_none() || first_open.is_some_and(|open| open < *day));
    let open: Vec<&str> = sites.iter().filter(is_earlier).copied().collect();
    if !open.is_empty() {
        let sites = Parameter::Texts(open.iter().map(ToString::to_string).collect());
        let condition = " AND site IN {sites:Array(String)}";
        for (site, day) in reader.read(of("rollup_open", condition), &[("all", text(ALL)), ("sites", sites)]).await.map(by_name)? {
            days.entry(site).and_modify(|first| *first = day.min(*first)).or_insert(day);
        }
    }
    Ok(days)
}

/// The first closed day on which the whole site has as many visitors as `threshold`, or, without ids, entries.
pub(super) async fn first_public_day(reader: &Reader<'_>, site: &str, (threshold, weight): (u64, &str)) -> Result<Option<Day>, Refusal> {
    let sql = format!(
        "SELECT toUInt16(closed.day) AS day FROM rollup_closed AS closed WHERE site = {{site:String}} AND dimension = {{all:String}} \
         AND span = 'day' GROUP BY day HAVING sum(closed.{weight}) >= {{threshold:UInt64}} ORDER BY day LIMIT 1"
    );
    let parameters = [("site", text(site)), ("all", text(ALL)), ("threshold", Parameter::Number(threshold))];
    let days: Vec<(u16,)> = reader.read(sql, &parameters).await?;
    Ok(days.first().map(|(day,)| Day(*day)))
}

/// The last closed day of each zone that has one.
pub(super) async fn last_closed_days(reader: &Reader<'_>) -> Result<HashMap<String, Day>, Refusal> {
    let sql = "SELECT toString(zone) AS name, toUInt16(max(day)) AS day FROM days WHERE what = 'closed' GROUP BY name";
    reader.read(sql.to_owned(), &[]).await.map(by_name)
}

/// What is known of days: which are closed, and since when the visits of an open one are known.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    pub(super) closed: Vec<Day>,
    /// The time of the least recent count of visits among the days that are not closed.
    pub(super) visits_as_of: Option<UnixMillis>,
}

/// What is known of the zone's days from the first of `ranges` to the last.
pub(super) async fn known(reader: &Reader<'_>, zone: &str, ranges: &[Days]) -> Result<Known, Refusal> {
    let sql = "SELECT toUInt16(day) AS day, max(what = 'closed') = 1 AS closed, \
        toUnixTimestamp64Milli(maxIf(at, what = 'visits')) AS visits_at FROM days \
        WHERE zone = {zone:String} GROUP BY day ORDER BY day";
    let (from, to) = (ranges.iter().map(|days| days.from).min(), ranges.iter().map(|days| days.to).max());
    let (Some(from), Some(to)) = (from, to) else { return Ok(Known::default()) };
    // All of the zone's days, which are never many: so that every question of a page asks for the same.
    let mut noted: Vec<(u16, u8, i64)> = reader.read(sql.to_owned(), &[("zone", text(zone))]).await?;
    noted.retain(|(day, ..)| (from..=to).contains(&Day(*day)));
    let visits = noted.iter().filter(|(_, closed, visits_at)| *closed == 0 && *visits_at > 0).map(|(.., at)| UnixMillis(*at)).min();
    let closed = noted.iter().filter(|(_, closed, _)| *closed == 1).map(|(day, ..)| Day(*day)).collect();
    Ok(Known { closed, visits_as_of: visits })
}

/// The last half hour of a site.
#[derive(Clone, Debug, Default, Row, Deserialize)]
pub(super) struct HalfHour {
    pub(super) visitors: u64,
    pub(super) pageviews: u64,
    pub(super) minutes: Vec<u32>,
}

/// The half hour before `at`, by the minute, the oldest first; whole-site figures, so without a threshold.
pub(super) async fn half_hour(client: &Client, zone: &str, site: &str, (at, today): (UnixMillis, Day)) -> Result<HalfHour, Refusal> {
    let sql = "SELECT uniqExactIf(visitor, visitor != 0) AS visitors, countIf(kind IN ('pageview', 'screen')) AS pageviews, \
        arrayMap(minute -> toUInt32(countEqual(groupArrayIf(29 - intDiv({at:Int64} - toUnixTimestamp64Milli(time), 60000), \
        kind IN ('pageview', 'screen')), minute)), range(30)) AS minutes FROM events \
        WHERE zone = {zone:String} AND day IN {days:Array(Date)} AND site = {site:String} \
        AND toUnixTimestamp64Milli(time) BETWEEN {at:Int64} - 1799999 AND {at:Int64}";
    let query = client.query(sql).param("zone", zone).param("site", site).param("at", at.0);
    let days = [today.previous().to_string(), today.to_string()];
    Ok(all(query.param("days", &days[..])).await?.pop().unwrap_or_default())
}

/// How many events met which outcome, but for those of `without`.
pub(super) async fn outcomes(
    reader: &Reader<'_>,
    (zone, site): (&str, &str),
    days: Days,
    without: &[&str],
) -> Result<Vec<(String, u64)>, Refusal> {
    let sql = "SELECT toString(outcomes_daily.reason) AS reason, sum(outcomes_daily.count) AS events FROM outcomes_daily \
        WHERE zone = {zone:String} AND site = {site:String} AND day BETWEEN {from:Date} AND {to:Date} \
        AND reason NOT IN {without:Array(String)} GROUP BY reason ORDER BY events DESC, reason";
    let without = Parameter::Texts(without.iter().map(ToString::to_string).collect());
    let parameters = [("zone", text(zone)), ("site", text(site)), ("without", without), ("from", text(&days.from)), ("to", text(&days.to))];
    reader.read(sql.to_owned(), &parameters).await
}
