//! The visits of open days: computed from the events by ClickHouse, again and again while events arrive, so that any node may take any event and a late one
//! finds its place.
//!
//! What a visit is stands in `schema/visits.sql`. A day is computed in slices of its visitors, so that memory is bounded by the slice and not by the day,
//! into a staging table; then its partition replaces the day's in one step. A run that was cut off leaves rows in the staging table, which the next one
//! removes first: readers see the visits of the last whole run and never a part of one.

use clickhouse::Client;

use super::client::within;
use super::days::{self, ZoneDay};
use super::errors::Failure;
use crate::limits::{BOUNCE_ENGAGED, VISIT_GAP, VISITS_SLICE_EVENTS};

const CLEAR: &str = "ALTER TABLE sessions_staging DROP PARTITION tuple({zone:String}, {day:Date})";

/// Computes the day's visits anew; it holds about `events` events.
///
/// # Errors
/// ClickHouse's. The visits of the last run are there still.
pub async fn count(client: &Client, day: &ZoneDay, events: u64) -> Result<(), Failure> {
    days::run(days::of(client, CLEAR, day)).await?;
    let slices = events.div_ceil(VISITS_SLICE_EVENTS).max(1);
    let insert = format!("INSERT INTO sessions_staging {}", select());
    for slice in 0..slices {
        let filling = days::of(client, &insert, day).param("slices", slices).param("slice", slice);
        let filling = filling.param("gap_ms", millis(VISIT_GAP)).param("bounce_ms", millis(BOUNCE_ENGAGED));
        // One core is left to the events that arrive meanwhile.
        days::run(filling.with_setting("max_threads", "1").with_setting("async_insert", "0")).await?;
    }
    swap(client, day).await
}

/// Puts the staging table's day in the place of the one that readers see.
async fn swap(client: &Client, day: &ZoneDay) -> Result<(), Failure> {
    let filled = "SELECT count() FROM sessions_staging WHERE zone = {zone:String} AND day = {day:Date}";
    let visits: u64 = within(days::of(client, filled, day).fetch_one()).await?;
    // ClickHouse refuses to replace a partition by nothing. A day without a visitor has no visits.
    let swap = if visits == 0 {
        "ALTER TABLE sessions DROP PARTITION tuple({zone:String}, {day:Date})"
    } else {
        "ALTER TABLE sessions REPLACE PARTITION tuple({zone:String}, {day:Date}) FROM sessions_staging"
    };
    days::run(days::of(client, swap, day)).await?;
    days::run(days::of(client, CLEAR, day)).await
}

/// The select of `schema/visits.sql`.
fn select() -> String {
    super::migrate::without_comments(include_str!("../../../schema/visits.sql"))
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
