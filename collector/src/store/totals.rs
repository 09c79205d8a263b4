//! Whole-site totals of one day, as the open rollup has them. They carry no attribute, so no threshold applies.

use clickhouse::{Client, Row};
use serde::Deserialize;

use crate::clock::Day;

/// Whole-site totals of a day.
#[derive(Clone, Debug, PartialEq, Eq, Row, Deserialize)]
pub struct SiteTotals {
    /// The site's id.
    pub site: String,
    /// Page views and screens.
    pub pageviews: u64,
    /// Distinct visitors.
    pub visitors: u64,
    /// Events with a name.
    pub events: u64,
}

const TOTALS: &str = "
    SELECT site, sum(pageviews) AS pageviews, uniqCombined64Merge(14)(visitors) AS visitors, sum(events) AS events
    FROM rollup_open
    WHERE zone = {zone:String} AND day = toDate({day:UInt16}) AND dimension = 'all'
    GROUP BY site";

/// The totals of every site that lives in `zone` and had events on `day`.
pub async fn of_day(client: &Client, zone: &str, day: Day) -> clickhouse::error::Result<Vec<SiteTotals>> {
    client.query(TOTALS).param("zone", zone).param("day", day.0).fetch_all().await
}
