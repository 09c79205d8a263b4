//! Deleting spam: everything of a site's day that has a value of a dimension.
//!
//! **An open day** has its events, so what is left is exact: the events with the value are removed, the site's cells of the open rollup are formed again from
//! the events that stay, and so are the day's visits. Nothing may be inserted into `events` meanwhile, or the cells would miss it or have it twice: whoever calls
//! this holds the sink. The proof that the rollup has a batch stays, for what is confirmed is never asked for again.
//!
//! **A closed day** has only numbers, and what is deleted there is computed from those that were published, and from nothing else. So whoever saw them before learns
//! nothing by the deletion, and no count of fewer than k visitors can be had from it by subtraction. That means:
//!
//! * A value is deleted that is named on that day. One that is not was of fewer than k visitors, or hides those that were: it stays in `(other)`, and in the
//!   weeks and months that name it.
//! * Its cell goes, and every pair that it is part of.
//! * The whole site loses what the cell had, so that `(other)` stays what it was. A visitor of the cell may have been elsewhere on the site too: the
//!   visitors that are left are counted as if nobody had, so that they are too few rather than too many. Where a cell has no visits (a page, an event), the whole site keeps them.
//! * The day's hours go: which of them were the spam's is not known any more.
//! * The other cuts of the day keep what the spam has added to them: what is known of it there is rounded, or nothing. Together they may then have more than
//!   the whole site; `(other)` is nothing there.
//! * A mark takes the cell's place (in the cut [`DELETED`]), so that weeks and months go on weighing the value as named on that day. It holds what the whole site
//!   has since, and by it a step that is repeated after a kill knows what it has done.
//! * What came after the day was closed has lines of its own in the whole site, of which nothing is named. They stay.

use clickhouse::Client;
use clickhouse::query::Query;

use super::client::within;
use super::close::{DELETED, DONE, is_doubled};
use super::closing::SUMS;
use super::days::{self, What, ZoneDay, of, run};
use super::errors::Failure;
use super::rollup::{self, ALL, BATCH, DIMENSIONS, Dimension};
use super::visits;
use crate::clock::UnixMillis;
use crate::leak;
use crate::limits::ENGINE_SPILL_BYTES;
use crate::site::declared::Declared;

/// The dimensions that can be deleted by, by their names: what an event has, and nothing that every event has.
pub fn dimensions() -> impl Iterator<Item = &'static Dimension> {
    DIMENSIONS.iter().filter(|dimension| ![ALL, "hour", BATCH].contains(&dimension.name))
}

/// What is to go.
#[derive(Clone, Copy, Debug)]
pub struct Deletion<'a> {
    /// The database.
    pub client: &'a Client,
    /// The day.
    pub day: &'a ZoneDay,
    /// The site.
    pub site: &'a str,
    /// One of [`dimensions`].
    pub dimension: &'static Dimension,
    /// The value.
    pub value: &'a str,
    /// The order's id, which the mark of a closed day bears.
    pub id: &'a str,
    /// What sites have declared, for the visits that are counted anew.
    pub declared: &'a [(String, Declared)],
}

/// What there is of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Views, events and reports of engagement.
    pub events: u64,
    /// Visitors, or half of the entries where nobody has a pseudonym.
    pub visitors: u64,
}

/// A step of a deletion from an open day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The events go.
    Events,
    /// The site's cells go.
    Clear,
    /// They are formed again.
    Refill,
    /// So are the visits.
    Visits,
}

impl Step {
    /// Every step, in order.
    pub const ALL: [Self; 4] = [Self::Events, Self::Clear, Self::Refill, Self::Visits];
}

impl Deletion<'_> {
    /// Whether the day's figures are finished.
    pub async fn is_closed(&self) -> Result<bool, Failure> {
        let sql = "SELECT count() FROM rollup_closed WHERE zone = {zone:String} AND day = {day:Date} AND span = 'day' AND site = '' AND dimension = {done:String}";
        let marks: u64 = within(of(self.client, sql, self.day).param("done", DONE).fetch_one()).await?;
        Ok(marks > 0 || days::said(self.client, self.day, What::Closed).await?.is_some())
    }

    /// What an open day has of it.
    pub async fn found_open(&self) -> Result<Found, Failure> {
        let visitors = "if(countIf(visitor != 0) = 0, intDiv(countIf(entry), 2), uniqExactIf(visitor, visitor != 0))";
        let sql = format!("SELECT count(), {visitors} FROM events WHERE {}", self.matching());
        self.found(&sql).await
    }

    /// What a closed day names of it.
    pub async fn found_closed(&self) -> Result<Found, Failure> {
        let sql = "SELECT sum(pageviews) + sum(events) + sum(engagements), greatest(sum(visitors), intDiv(sum(entries), 2)) FROM rollup_closed \
            WHERE zone = {zone:String} AND day = {day:Date} AND span = 'day' AND site = {site:String} AND dimension = {dimension:String} \
            AND value = {value:String} AND dimension2 = '' AND currency = ''";
        self.found(sql).await
    }

    async fn found(&self, sql: &str) -> Result<Found, Failure> {
        let (events, visitors) = within(self.ask(sql).fetch_one::<(u64, u64)>()).await?;
        Ok(Found { events, visitors })
    }

    /// How many events the day has of these batches of `node`.
    pub async fn events_of(&self, node: u64, batches: &[u64]) -> Result<u64, Failure> {
        let sql = "SELECT count() FROM events WHERE zone = {zone:String} AND day = {day:Date} AND node = {node:UInt64} AND batch IN {batches:Array(UInt64)}";
        Ok(within(self.ask(sql).param("node", node).param("batches", batches).fetch_one()).await?)
    }

    /// Removes it from an open day. The visits are as of `now`.
    pub async fn from_open(&self, now: UnixMillis) -> Result<(), Failure> {
        self.step(Step::Events).await?;
        self.form_again(now).await
    }

    /// Forms the figures of the open day again, its events being removed.
    pub async fn form_again(&self, now: UnixMillis) -> Result<(), Failure> {
        for step in [Step::Clear, Step::Refill, Step::Visits] {
            self.step(step).await?;
        }
        days::say(self.client, self.day, What::Visits, now).await
    }

    /// Takes one step of that.
    pub async fn step(&self, step: Step) -> Result<(), Failure> {
        match step {
            Step::Events => self.mutate("events", &self.matching()).await,
            Step::Clear if leak::planted("cells_left") => Ok(()),
            Step::Clear => self.mutate("rollup_open", "site = {site:String}").await,
            Step::Refill => {
                let rows = "(SELECT * FROM events WHERE zone = {zone:String} AND day = {day:Date} AND site = {site:String})";
                let sql = format!("INSERT INTO rollup_open SELECT * FROM ({}) WHERE dimension != '{BATCH}'", rollup::select(rows));
                // What a run before a kill has filled in was cleared, and is not to be remembered.
                run(self.ask(&sql).with_setting("insert_deduplicate", "0")).await
            }
            Step::Visits => {
                let sql = "SELECT count() FROM events WHERE zone = {zone:String} AND day = {day:Date}";
                let events = within(self.ask(sql).fetch_one()).await?;
                visits::count(self.client, self.day, events, self.declared).await
            }
        }
    }

    /// Removes rows of the day's partition, to the end.
    async fn mutate(&self, table: &str, condition: &str) -> Result<(), Failure> {
        let sql = format!("ALTER TABLE {table} DELETE IN PARTITION tuple({{zone:String}}, {{day:Date}}) WHERE {condition}");
        run(self.ask(&sql).with_setting("mutations_sync", "2")).await
    }

    /// Removes it from a closed day.
    pub async fn from_closed(&self) -> Result<(), Failure> {
        let (done, doubled) = (self.is_marked().await?, is_doubled(self.client, self.day, &self.day.day.to_string()).await?);
        if done && !doubled || !done && self.found_closed().await? == Found::default() {
            return Ok(());
        }
        let once = if doubled { "DISTINCT" } else { "" };
        self.clear_staging().await?;
        let alone = if leak::planted("cells_left") { "AND dimension2 = ''" } else { "" };
        let copy = format!(
            "INSERT INTO rollup_closed_staging SELECT {once} * FROM rollup_closed WHERE zone = {{zone:String}} AND toYYYYMM(day) = toYYYYMM({{day:Date}}) \
             AND NOT (site = {{site:String}} AND span = 'day' AND day = {{day:Date}} AND dimension != '{DELETED}' \
             AND ((dimension = {{dimension:String}} AND value = {{value:String}} {alone}) OR (dimension2 = {{dimension:String}} AND value2 = {{value:String}}) \
             OR dimension = 'hour' OR (dimension = 'all' AND value2 = '')))"
        );
        run(self.ask(&copy)).await?;
        if done {
            run(self.ask(&whole_site_of_the_mark())).await?;
        } else {
            run(self.ask(&whole_site_without_it(once))).await?;
            run(self.ask(&mark())).await?;
        }
        run(self.ask("ALTER TABLE rollup_closed REPLACE PARTITION tuple({zone:String}, toYYYYMM({day:Date})) FROM rollup_closed_staging"))
            .await?;
        self.clear_staging().await
    }

    /// Whether nothing is left that a kill of ClickHouse could bring back.
    pub async fn is_settled(&self) -> Result<bool, Failure> {
        let sql = "SELECT count() FROM system.parts WHERE database = currentDatabase() AND table = 'rollup_closed' AND NOT active";
        Ok(within(self.client.query_raw(sql).fetch_one::<u64>()).await? == 0)
    }

    async fn clear_staging(&self) -> Result<(), Failure> {
        run(self.ask("ALTER TABLE rollup_closed_staging DROP PARTITION tuple({zone:String}, toYYYYMM({day:Date}))")).await
    }

    /// Whether the finished cells of the day are those after the deletion.
    async fn is_marked(&self) -> Result<bool, Failure> {
        let sql = format!("SELECT count() FROM rollup_closed WHERE {OF_DAY} AND dimension = '{DELETED}' AND value2 = {{id:String}}");
        Ok(within(self.ask(&sql).fetch_one::<u64>()).await? > 0)
    }

    /// The condition of an event that goes.
    fn matching(&self) -> String {
        let text = self.dimension.text.trim_start_matches("source.");
        format!("zone = {{zone:String}} AND day = {{day:Date}} AND site = {{site:String}} AND {text} = {{value:String}}")
    }

    fn ask(&self, sql: &str) -> Query {
        let query =
            of(self.client, sql, self.day).param("site", self.site).param("dimension", self.dimension.name).param("value", self.value);
        let query = query.param("id", self.id).with_setting("max_threads", "1");
        query.with_setting("max_bytes_before_external_group_by", ENGINE_SPILL_BYTES.to_string())
    }
}

/// The whole site's row of each currency, less what the cell has.
fn whole_site_without_it(once: &str) -> String {
    let less = |name: &str| {
        format!(
            "toUInt64(greatest(toInt64(0), toInt64(sumIf(cell.{name}, cell.dimension = 'all')) - toInt64(sumIf(cell.{name}, cell.dimension != 'all'))))"
        )
    };
    let sums = SUMS.iter().map(|name| less(name)).collect::<Vec<_>>().join(", ");
    format!(
        "INSERT INTO rollup_closed_staging SELECT {{zone:String}}, {{day:Date}}, {{site:String}}, 'day', 'all', '', '', '', cell.currency, \
         {}, {sums}, \
         sumIf(cell.amount, cell.dimension = 'all') - sumIf(cell.amount, cell.dimension != 'all') \
         FROM (SELECT {once} * FROM rollup_closed WHERE {OF_DAY} AND dimension2 = '' \
         AND ((dimension = 'all' AND value2 = '') OR (dimension = {{dimension:String}} AND value = {{value:String}}))) AS cell \
         GROUP BY cell.currency HAVING countIf(cell.dimension = 'all') > 0",
        less("visitors")
    )
}

fn mark() -> String {
    let sums = SUMS.join(", ");
    format!(
        "INSERT INTO rollup_closed_staging SELECT zone, day, site, span, '{DELETED}', {{value:String}}, {{dimension:String}}, {{id:String}}, currency, \
         visitors, {sums}, amount FROM rollup_closed_staging WHERE {OF_DAY} AND dimension = 'all' AND value2 = ''"
    )
}

fn whole_site_of_the_mark() -> String {
    let sums = SUMS.join(", ");
    format!(
        "INSERT INTO rollup_closed_staging SELECT DISTINCT zone, day, site, span, 'all', '', '', '', currency, visitors, {sums}, amount \
         FROM rollup_closed WHERE {OF_DAY} AND dimension = '{DELETED}' AND value2 = {{id:String}}"
    )
}

/// The finished cells of the site's day.
const OF_DAY: &str = "zone = {zone:String} AND day = {day:Date} AND span = 'day' AND site = {site:String}";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_deleted_by_is_a_column_of_an_event() {
        let names: Vec<&str> = dimensions().map(|dimension| dimension.name).collect();
        assert!(["page", "source", "country", "event", "utm_campaign"].iter().all(|name| names.contains(name)));
        assert!(
            dimensions().all(|dimension| dimension
                .text
                .trim_start_matches("source.")
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte == b'_'))
        );
    }
}
