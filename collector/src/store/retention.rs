//! Finished figures are kept for 25 months at most. Their tables are partitioned by month, and a month is dropped whole once its first day is that old: so they
//! are kept for 24 months at least.

use clickhouse::Client;

use super::client::within;
use super::errors::Failure;
use crate::clock::Day;

/// Whether a month, such as 202611, is older than 25 months on `today`.
pub fn is_expired(month: u32, today: Day) -> bool {
    let today = (u32::from(today.date().year().unsigned_abs()), u32::from(today.date().month().unsigned_abs()));
    (today.0 * 12 + today.1).saturating_sub(month / 100 * 12 + month % 100) >= 25
}

/// Drops every month that is older than 25 months on `today`.
pub async fn expire(client: &Client, today: Day) -> Result<(), Failure> {
    for (table, by_zone) in [("rollup_closed", "zone"), ("outcomes_daily", "''"), ("days", "''")] {
        let sql = format!(
            "SELECT DISTINCT toString({by_zone}), toYYYYMM(day) FROM {table} \
             WHERE day <= addMonths({{today:Date}}, -24) AND addMonths(toStartOfMonth(day), 25) <= {{today:Date}}"
        );
        let old: Vec<(String, u32)> = within(client.query(&sql).param("today", today.to_string()).fetch_all()).await?;
        for (zone, month) in old {
            let partition = if by_zone == "zone" { "tuple({zone:String}, {month:UInt32})" } else { "{month:UInt32}" };
            let drop = client.query(&format!("ALTER TABLE {table} DROP PARTITION {partition}")).param("zone", zone).param("month", month);
            within(drop.with_setting("wait_end_of_query", "1").execute()).await?;
            tracing::info!(table, month, "figures that are 25 months old are gone");
        }
    }
    Ok(())
}
