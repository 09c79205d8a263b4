//! Which days the tables hold rows of, and the log that says when a day's visits were counted and when it was closed.

use clickhouse::query::Query;
use clickhouse::{Client, Row};
use serde::Deserialize;

use super::client::within;
use super::errors::Failure;
use crate::clock::{Day, UnixMillis};

/// A day of one time zone: what is counted, closed and dropped as a whole.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ZoneDay {
    /// The zone's name.
    pub zone: String,
    /// The calendar day there.
    pub day: Day,
}

/// A day that has rows about single events or visits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Which day.
    pub day: ZoneDay,
    /// How many events it has.
    pub events: u64,
}

/// What a line of the log says of a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// Its visits were counted.
    Visits,
    /// It was closed.
    Closed,
}

impl What {
    /// The name in the table.
    pub fn label(self) -> &'static str {
        match self {
            Self::Visits => "visits",
            Self::Closed => "closed",
        }
    }
}

/// Every day that `events`, `rollup_open`, `sessions` or `rollup_closing` hold rows of, whatever the configuration says now: a site or a zone that is no longer configured has
/// days to close too. Asked of the parts' names, so it costs the same however many rows there are.
pub async fn held(client: &Client) -> Result<Vec<Held>, Failure> {
    #[derive(Row, Deserialize)]
    struct Found {
        zone: String,
        day: String,
        events: u64,
    }
    let sql = "SELECT extractAll(partition, '[^\\'(),]+')[1] AS zone, extractAll(partition, '[^\\'(),]+')[2] AS day, \
        sumIf(rows, table = 'events') AS events FROM system.parts \
        WHERE database = currentDatabase() AND active AND rows > 0 AND table IN ('events', 'rollup_open', 'sessions', 'rollup_closing') \
        GROUP BY zone, day ORDER BY day, zone";
    let found: Vec<Found> = within(client.query_raw(sql).fetch_all()).await?;
    let read = |Found { zone, day, events }: Found| {
        let day = day.parse().map_err(|_| Failure::Unreadable)?;
        Ok(Held { day: ZoneDay { zone, day }, events })
    };
    found.into_iter().map(read).collect()
}

/// Whether a staging table is being filled. A server may outlive the collector that began it: what is still under way would be added to what the next one
/// fills in.
pub async fn is_filling(client: &Client) -> Result<bool, Failure> {
    let sql = "SELECT count() FROM system.processes WHERE query_kind = 'Insert' AND position(query, '_staging') > 0 \
        AND current_database = currentDatabase()";
    Ok(within(client.query_raw(sql).fetch_one::<u64>()).await? > 0)
}

/// When the log says `what` of the day, last.
pub async fn said(client: &Client, day: &ZoneDay, what: What) -> Result<Option<UnixMillis>, Failure> {
    let sql = "SELECT toUnixTimestamp64Milli(at) FROM days WHERE zone = {zone:String} AND day = {day:Date} AND what = {what:String} \
        ORDER BY at DESC LIMIT 1";
    let query = of(client, sql, day).param("what", what.label());
    Ok(within(query.fetch_all::<i64>()).await?.pop().map(UnixMillis))
}

/// Every day that is closed, when that was, and how many of its figures still wait for their week or month.
pub async fn closed(client: &Client) -> Result<Vec<(ZoneDay, UnixMillis, u64)>, Failure> {
    #[derive(Row, Deserialize)]
    struct Found {
        zone: String,
        day: String,
        at: i64,
        waiting: u64,
    }
    let sql = "SELECT toString(zone) AS zone, toString(day) AS day, max(closed_at) AS at, sum(cells) AS waiting FROM ( \
        SELECT zone, day, toUnixTimestamp64Milli(at) AS closed_at, toUInt64(0) AS cells FROM days WHERE what = 'closed' UNION ALL \
        SELECT zone, day, toInt64(0), count() FROM rollup_waiting WHERE currency = '' GROUP BY zone, day \
        ) GROUP BY zone, day HAVING at > 0 ORDER BY day, zone";
    let found: Vec<Found> = within(client.query_raw(sql).fetch_all()).await?;
    let read = |Found { zone, day, at, waiting }: Found| {
        let day = day.parse().map_err(|_| Failure::Unreadable)?;
        Ok((ZoneDay { zone, day }, UnixMillis(at), waiting))
    };
    found.into_iter().map(read).collect()
}

/// Writes into the log, synced before this returns.
pub async fn say(client: &Client, day: &ZoneDay, what: What, at: UnixMillis) -> Result<(), Failure> {
    let sql = "INSERT INTO days (zone, day, what, at) SELECT {zone:String}, {day:Date}, {what:String}, fromUnixTimestamp64Milli({at:Int64}, 'UTC')";
    run(of(client, sql, day).param("what", what.label()).param("at", at.0)).await
}

/// `sql` with the parameters that name a day.
pub(super) fn of(client: &Client, sql: &str, day: &ZoneDay) -> Query {
    client.query(sql).param("zone", &*day.zone).param("day", day.day.to_string())
}

/// Runs a statement that changes tables, to its end.
pub(super) async fn run(query: Query) -> Result<(), Failure> {
    Ok(within(query.with_setting("wait_end_of_query", "1").execute()).await?)
}
