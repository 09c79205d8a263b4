//! What an export reads: the finished figures of closed days, by month and site, and what tells that a month is no longer what it was.

use clickhouse::query::BytesCursor;
use clickhouse::{Client, Row};
use serde::Deserialize;

use super::client::within;
use super::close::DONE;
use super::errors::Failure;
use crate::limits::ENGINE_SPILL_BYTES;

/// A column of an exported table: its name, how it is made, and what it is, for people.
pub struct Column {
    /// Its name.
    pub name: &'static str,
    /// What it is.
    pub meaning: &'static str,
    sql: &'static str,
}

const fn column(name: &'static str, sql: &'static str, meaning: &'static str) -> Column {
    Column { name, meaning, sql }
}

/// The finished figures. Late rows of a closed day are further rows in the table: here they are added up.
pub const FIGURES: &[Column] = &[
    column("zone", "toString(closed.zone)", "the time zone whose days these are"),
    column("day", "closed.day", "the day; of a week's cell its Monday, of a month's the first"),
    column("span", "toString(closed.span)", "`day`, `week` or `month`: with what the value was named, see below"),
    column(
        "dimension",
        "toString(closed.dimension)",
        "by what it is cut: `all` (the whole site), `hour`, `page`, `source`, `country`, ...",
    ),
    column("value", "closed.value", "the page, the country, ...; empty for `all`"),
    column("dimension2", "toString(closed.dimension2)", "of a pair, the second cut; else empty"),
    column("value2", "if(closed.dimension2 = '', '', closed.value2)", "its value"),
    column("currency", "toString(closed.currency)", "empty in rows of counts; a row with a currency has `amount` alone"),
    column("visitors", "sum(closed.visitors)", "distinct visitors of a day; of a week or month visitor-days"),
    column("visits", "sum(closed.visits)", "visits"),
    column("bounces", "sum(closed.bounces)", "visits of one page view without engagement"),
    column("visit_ms", "sum(closed.visit_ms)", "length of all visits, in milliseconds"),
    column("pageviews", "sum(closed.pageviews)", "page views and screens"),
    column("events", "sum(closed.events)", "the site's own events"),
    column("engagements", "sum(closed.engagements)", "pages that were left, and said for how long they were seen"),
    column("engaged_ms", "sum(closed.engaged_ms)", "visible time of those, in milliseconds"),
    column("scroll_pct", "sum(closed.scroll_pct)", "the sum of how much of them was seen, in percent"),
    column("entries", "sum(closed.entries)", "page views that came from outside: visits of sites without pseudonyms"),
    column("first_today", "sum(closed.first_today)", "installs whose first event of the day it was"),
    column("first_this_week", "sum(closed.first_this_week)", "of the week"),
    column("first_this_month", "sum(closed.first_this_month)", "of the month"),
    column("amount", "sum(closed.amount)", "the sum of amounts in `currency`"),
];

/// What was not counted, and what was, by reason.
pub const OUTCOMES: &[Column] = &[
    column("zone", "toString(outcome.zone)", "the time zone whose days these are"),
    column("day", "outcome.day", "the day on which the events came"),
    column("reason", "toString(outcome.reason)", "`accepted`, or why not: `dnt`, `gpc`, `bot_crawler`, ..."),
    column("events", "sum(outcome.count)", "how many events"),
];

/// The closed days.
pub const DAYS: &[Column] = &[
    column("zone", "toString(days.zone)", "the time zone"),
    column("day", "days.day", "the day"),
    column("closed_at", "max(days.at)", "when it was closed (UTC)"),
];

/// A table that is exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exported {
    /// [`FIGURES`], by site and month.
    Figures,
    /// [`OUTCOMES`], by site and month.
    Outcomes,
    /// [`DAYS`], in one piece.
    Days,
}

impl Exported {
    /// Its columns, in their order.
    pub fn columns(self) -> &'static [Column] {
        match self {
            Self::Figures => FIGURES,
            Self::Outcomes => OUTCOMES,
            Self::Days => DAYS,
        }
    }

    /// The name of its folder or file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Figures => "figures",
            Self::Outcomes => "outcomes",
            Self::Days => "days",
        }
    }

    fn source(self) -> &'static str {
        match self {
            Self::Figures => {
                "rollup_closed AS closed WHERE closed.site = {site:String} AND toYYYYMM(closed.day) = {month:UInt32} AND NOT startsWith(closed.dimension, '~')"
            }
            Self::Outcomes => {
                "outcomes_daily AS outcome WHERE outcome.site = {site:String} AND toYYYYMM(outcome.day) = {month:UInt32} \
                 AND (toString(outcome.zone), outcome.day) IN (SELECT toString(days.zone), days.day FROM days WHERE what = 'closed')"
            }
            Self::Days => "days WHERE what = 'closed' AND {site:String} = '' AND {month:UInt32} = 0",
        }
    }
}

/// A month that has finished figures, and a mark that is another once they have changed.
#[derive(Clone, Debug, PartialEq, Eq, Row, Deserialize)]
pub struct Month {
    /// As 202611.
    pub number: u32,
    /// Made of the hashes of the month's parts: it costs the same however many rows there are.
    pub mark: u64,
}

/// Every month that has finished figures, the oldest first.
pub async fn months(client: &Client) -> Result<Vec<Month>, Failure> {
    let sql = "SELECT toUInt32OrZero(extractAll(partition, '[^\\'(),]+')[2]) AS number, sum(cityHash64(partition, hash_of_all_files)) AS mark \
        FROM system.parts WHERE database = currentDatabase() AND table = 'rollup_closed' AND active AND rows > 0 GROUP BY number ORDER BY number";
    Ok(within(client.query_raw(sql).fetch_all()).await?)
}

/// Whether each stretch of the month is there once: after a kill, ClickHouse may have brought parts back that were replaced, until the next closing.
pub async fn is_whole(client: &Client, month: u32) -> Result<bool, Failure> {
    let sql = "SELECT count() - uniqExact(zone, span, day) FROM rollup_closed WHERE toYYYYMM(day) = {month:UInt32} AND site = '' AND dimension = {done:String}";
    Ok(within(client.query(sql).param("month", month).param("done", DONE).fetch_one::<i64>()).await? == 0)
}

/// The sites that have figures in the month.
pub async fn sites(client: &Client, month: u32) -> Result<Vec<String>, Failure> {
    let sql = "SELECT DISTINCT toString(closed.site) AS name FROM rollup_closed AS closed WHERE toYYYYMM(day) = {month:UInt32} AND site != '' ORDER BY name";
    Ok(within(client.query(sql).param("month", month).fetch_all()).await?)
}

/// The table as Parquet, piece by piece: of one site and month, or whole.
pub fn parquet(client: &Client, table: Exported, part: Option<(&str, u32)>) -> Result<BytesCursor, Failure> {
    let columns = table.columns().iter().map(|own| format!("{} AS `{}`", own.sql, own.name)).collect::<Vec<_>>().join(", ");
    let sql = format!("SELECT {columns} FROM {} GROUP BY ALL ORDER BY ALL", table.source());
    let (site, month) = part.unwrap_or(("", 0));
    let query = client.query(&sql).param("site", site).param("month", month);
    let query = query.with_setting("prefer_column_name_to_alias", "1").with_setting("max_threads", "1");
    let spill = ENGINE_SPILL_BYTES.to_string();
    let query =
        query.with_setting("max_bytes_before_external_group_by", spill.clone()).with_setting("max_bytes_before_external_sort", spill);
    Ok(query.fetch_bytes("Parquet")?)
}
