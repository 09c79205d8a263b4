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
use super::reached::Reached;
use crate::limits::{BOUNCE_ENGAGED, VISIT_GAP, VISITS_SLICE_EVENTS};
use crate::site::declared::Declared;

const CLEAR: &str = "ALTER TABLE sessions_staging DROP PARTITION tuple({zone:String}, {day:Date})";

/// Computes the day's visits anew; it holds about `events` events. What visits reach is told of the sites that declare something.
///
/// # Errors
/// ClickHouse's. The visits of the last run are there still.
pub async fn count(client: &Client, day: &ZoneDay, events: u64, declared: &[(String, Declared)]) -> Result<(), Failure> {
    days::run(days::of(client, CLEAR, day)).await?;
    let reaching: Vec<&(String, Declared)> = declared.iter().filter(|(_, own)| !(own.goals.is_empty() && own.funnels.is_empty())).collect();
    let names: Vec<&str> = reaching.iter().map(|(site, _)| &**site).collect();
    let others = Part { reached: Reached::default(), whose: "NOT has({whose:Array(String)}, site)", sites: &names };
    others.fill(client, day, events).await?;
    // Each by itself: its goals are looked for in its own events and in no others.
    for (index, (_, own)) in reaching.iter().enumerate() {
        let sites = &names[index..=index];
        let events = "SELECT count() FROM events WHERE zone = {zone:String} AND day = {day:Date} AND site IN {whose:Array(String)}";
        let events: u64 = within(days::of(client, events, day).param("whose", sites).fetch_one()).await?;
        if events > 0 {
            let part = Part { reached: Reached::of(own), whose: "site IN {whose:Array(String)}", sites };
            part.fill(client, day, events).await?;
        }
    }
    swap(client, day).await
}

/// Some sites' visits of a day.
struct Part<'a> {
    reached: Reached,
    whose: &'static str,
    sites: &'a [&'a str],
}

impl Part<'_> {
    /// Adds them to the staging table, in slices of about as many events as memory allows.
    async fn fill(&self, client: &Client, day: &ZoneDay, events: u64) -> Result<(), Failure> {
        let slices = events.div_ceil(VISITS_SLICE_EVENTS).max(1);
        let insert = format!("INSERT INTO sessions_staging {}", select(&self.reached, self.whose));
        for slice in 0..slices {
            let filling = days::of(client, &insert, day).param("slices", slices).param("slice", slice);
            let filling = filling.param("gap_ms", millis(VISIT_GAP)).param("bounce_ms", millis(BOUNCE_ENGAGED)).param("whose", self.sites);
            // One core is left to the events that arrive meanwhile.
            let filling = self.reached.bound(filling).with_setting("max_threads", "1");
            days::run(filling.with_setting("async_insert", "0")).await?;
        }
        Ok(())
    }
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

/// The select of `schema/visits.sql`, of the sites that `whose` says.
fn select(reached: &Reached, whose: &str) -> String {
    super::migrate::without_comments(include_str!("../../../schema/visits.sql"))
        .replace("{goals_of_visit}", &reached.goals())
        .replace("{steps_of_visit}", &reached.steps())
        .replace("{amounts_of_visit}", &reached.amounts())
        .replace("{whose}", whose)
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
