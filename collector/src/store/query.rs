//! Every question that Headcount asks its tables, as templates with server-side parameters: no text of anybody's is ever put into SQL.

use clickhouse::query::Query;
use clickhouse::{Client, Row, RowOwned, RowRead};
use serde::Deserialize;

use super::rollup::{ALL, BATCH, batch_value};
use crate::clock::Day;
use crate::row::Table;
use crate::spool::format::Header;
use crate::store::client::within;
use crate::store::errors::Failure;

/// One site's whole day. Carries no attribute, so no threshold applies to it.
#[derive(Clone, Debug, PartialEq, Eq, Row, Deserialize)]
pub struct SiteTotals {
    /// The site's id.
    pub site: String,
    /// Page views and screens.
    pub pageviews: u64,
    /// Distinct visitors with a pseudonym.
    pub visitors: u64,
    /// Events of the site's own.
    pub events: u64,
}

/// The whole-site figures of an open day, of every site that lives in `zone` and had events.
pub async fn totals(client: &Client, zone: &str, day: Day) -> Result<Vec<SiteTotals>, Failure> {
    let sql = "SELECT toString(rollup_open.site) AS site, sum(pageviews) AS pageviews, uniqCombined64Merge(14)(visitors) AS visitors, \
        sum(events) AS events FROM rollup_open \
        WHERE zone = {zone:String} AND day = {day:Date} AND dimension = {dimension:String} GROUP BY site";
    Ok(within(of_day(client, sql, zone, day).param("dimension", ALL).fetch_all()).await?)
}

/// One value that a dimension has on a site's day.
#[derive(Clone, Debug, PartialEq, Eq, Row, Deserialize)]
pub struct Value {
    /// The site.
    pub site: String,
    /// The dimension's name.
    pub dimension: String,
    /// The value.
    pub value: String,
}

/// The distinct values that an open day has so far in `dimensions`, of all sites of the zone: what the cap on distinct values starts from.
pub async fn distinct_values(client: &Client, zone: &str, day: Day, dimensions: &[&str]) -> Result<Vec<Value>, Failure> {
    let sql = "SELECT DISTINCT toString(site) AS site, toString(dimension) AS dimension, value FROM rollup_open \
        WHERE zone = {zone:String} AND day = {day:Date} AND dimension IN {dimensions:Array(String)}";
    Ok(within(of_day(client, sql, zone, day).param("dimensions", dimensions).fetch_all()).await?)
}

/// How many rows of a batch its table has.
pub(crate) async fn rows_of_batch(client: &Client, table: Table, header: &Header) -> Result<u64, Failure> {
    let sql = match table {
        Table::Events => {
            "SELECT count() FROM events WHERE zone = {zone:String} AND day = {day:Date} AND node = {node:UInt64} AND batch = {batch:UInt64}"
        }
        Table::Outcomes => {
            "SELECT count() FROM outcomes_daily WHERE zone = {zone:String} AND day = {day:Date} AND node = {node:UInt64} AND batch = {batch:UInt64}"
        }
    };
    one(of_batch(client, sql, header)).await
}

/// How many events of a batch went into the rollup, by its proof.
pub(crate) async fn rolled_up_of_batch(client: &Client, header: &Header) -> Result<u64, Failure> {
    let sql = "SELECT sum(pageviews + events + engagements) FROM rollup_open \
        WHERE zone = {zone:String} AND day = {day:Date} AND site = '' AND dimension = {dimension:String} AND value = {value:String}";
    let query = of_day(client, sql, &header.zone, header.day);
    one(query.param("dimension", BATCH).param("value", batch_value(header.node, header.batch))).await
}

/// Whether an insert whose token begins with `token` is running.
pub(crate) async fn is_arriving(client: &Client, token: &str) -> Result<bool, Failure> {
    let sql = "SELECT count() FROM system.processes WHERE query_kind = 'Insert' AND position(query, {token:String}) > 0";
    Ok(one::<u64>(client.query(sql).param("token", token)).await? > 0)
}

/// `sql` with the parameters that name a batch.
pub(crate) fn of_batch(client: &Client, sql: &str, header: &Header) -> Query {
    of_day(client, sql, &header.zone, header.day).param("node", header.node).param("batch", header.batch)
}

fn of_day(client: &Client, sql: &str, zone: &str, day: Day) -> Query {
    client.query(sql).param("zone", zone).param("day", day.to_string())
}

/// Reads the answer to its end, so that its connection is free for the next statement.
pub(super) async fn one<T: RowOwned + RowRead>(query: Query) -> Result<T, Failure> {
    within(query.fetch_all()).await?.pop().ok_or(Failure::Unreadable)
}
