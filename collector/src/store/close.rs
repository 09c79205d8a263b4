//! Closing a day: finished numbers stay, everything about single events, visits and visitors goes.
//!
//! ```text
//! Count     the visits, once more                                          sessions
//! Cells     every cell of the day, finished, not folded yet                rollup_closing
//! Wait      those that are too small to be named                           rollup_waiting
//! Publish   the others, and the pairs, rounded by lot                      rollup_closed
//! Weeks     of weeks that are over: what is large enough by now            rollup_waiting -> rollup_closed
//! Months    of months that are over: the last chance; then they are gone   rollup_waiting -> rollup_closed
//! Say       the day is closed, synced                                      days
//! Erase     its events, visits and open rollup are dropped
//! ```
//!
//! Every step may be repeated, and a closing that was cut off is repeated from the start, until the log of days says that the day is closed; from then on only
//! the last step is. What analysts read changes in one step: the month's partition is copied into a staging table, the new cells are added to the copy, and
//! it replaces the partition. With them goes a mark (a cell of no site, in the cut [`DONE`]): the pairs' lots are drawn once, so what bears its mark is not
//! computed again. ClickHouse may bring parts back that were replaced just before it was killed. Then marks are there twice, and the partition is replaced by
//! a copy of which each line is there once.
//!
//! A segment that has waited so long that it was stripped of its pseudonyms may come after its day was closed. Its events are added to the whole site's counts, so
//! that they are in `(other)`, and nothing else is told of them: a step `Late`, then `Erase`. In the same statement goes the proof of each batch that is
//! added, as in the open rollup (a cell of no site, in the cut [`BATCH`]): a batch whose proof stands there is not added again. Each of its lines says which batch
//! it is of, where a pair has its second value: so no two lines are alike, and of those that a kill brings back one stays.
//!
//! Which cells are named is settled in `schema/closing/`, and is this:
//!
//! * A cell of k visitors or more is named with its day. The others wait. What the whole site has beyond the named cells is `(other)`, and is known to anybody
//!   who can subtract; so where all that is too small is of fewer than k visitors together, the smallest large cell joins it, for good.
//! * When the week is over, what waits is named if it has k visitor-days in it, unless that would leave unnamed what is of fewer than k: then the whole cut
//!   waits for the month. When the month is over, the rest is named by the same rule, and the smallest cell stays behind where too little would be left.
//! * Goals, steps of funnels and the values of one property cannot be added up with the others of their dimension: each is a whole by itself, and a goal's cell
//!   is as small as the fewer of those who reached it and those who did not. A mark for each goal and step says that it was looked for on that day.
//! * A week or month is over when all its days are closed; of a month, also the days of the week that reaches beyond it.

use clickhouse::query::Query;
use clickhouse::{Client, Row};
use serde::Deserialize;

use super::client::within;
use super::closing::{self, FUNNEL, GOAL, Of, Span, mark_of, pairs};
use super::days::{self, What, ZoneDay, of, run};
use super::errors::Failure;
use super::reached::Reached;
use super::rollup::{self, BATCH};
use super::visits;
use crate::clock::{Day, UnixMillis};
use crate::leak;
use crate::limits::{DISTINCT_VALUES, ENGINE_SPILL_BYTES, PAIR_CELLS, PAIRS_EVENTS, SITE_K};
use crate::site::declared::Declared;

/// The cut of a mark: what bears one is in the table whole.
pub const DONE: &str = "~done";

/// The cut of another mark: it stands where a named value was deleted from a closed day (see [`super::delete`]).
pub const DELETED: &str = "~deleted";

/// What sites have to do with closing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Thresholds {
    /// Sites, and ...
    pub sites: Vec<String>,
    /// ... the k of each.
    pub ks: Vec<u64>,
    /// Sites without pseudonyms: twice as many entries count instead of visitors.
    pub without: Vec<String>,
    /// What sites declare, of those that declare anything.
    pub declared: Vec<(String, Declared)>,
    /// Sites whose open rollup is not whole, because a deletion from the day has begun and not ended: their cells are formed from the events.
    pub anew: Vec<String>,
}

/// One step of closing a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Counts the visits of all events.
    Count,
    /// Finishes every cell.
    Cells,
    /// Puts aside what waits.
    Wait,
    /// Publishes the day.
    Publish,
    /// Publishes weeks that are over.
    Weeks,
    /// Publishes months that are over.
    Months,
    /// Writes down that the day is closed.
    Say,
    /// Drops what is about single events and visits.
    Erase,
    /// Adds what came after the day was closed to the whole site's counts.
    Late,
}

impl Step {
    /// The steps that close a day, in order.
    pub const ALL: [Self; 8] = [Self::Count, Self::Cells, Self::Wait, Self::Publish, Self::Weeks, Self::Months, Self::Say, Self::Erase];

    /// The steps of a day that is closed and has got events since.
    pub const LATE: [Self; 2] = [Self::Late, Self::Erase];
}

/// A day to close.
#[derive(Clone, Debug)]
pub struct Closing<'a> {
    /// The database.
    pub client: &'a Client,
    /// Which day.
    pub day: &'a ZoneDay,
    /// The last day before which, and on which, every other day of the zone is closed.
    pub through: Day,
    /// What the sites have to do with it.
    pub thresholds: &'a Thresholds,
    /// When it is.
    pub now: UnixMillis,
}

/// A stretch of days, by its ends.
#[derive(Clone, Debug, Row, Deserialize)]
struct Stretch {
    first: String,
    last: String,
}

impl Closing<'_> {
    /// Closes the day, or goes on with it.
    pub async fn run(&self) -> Result<(), Failure> {
        let closed = days::said(self.client, self.day, What::Closed).await?.is_some();
        // An erasing that was cut off has left this table, which goes last.
        let erasing = self.number("SELECT count() FROM rollup_closing WHERE zone = {zone:String} AND day = {day:Date}").await? > 0;
        let steps: &[Step] = match (closed, erasing) {
            (false, _) => &Step::ALL,
            (true, true) => &[Step::Erase],
            (true, false) => &Step::LATE,
        };
        for step in steps {
            self.step(*step).await?;
        }
        Ok(())
    }

    async fn add_late(&self) -> Result<(), Failure> {
        let unproven = format!(
            "SELECT node, batch, count() AS events FROM events WHERE zone = {{zone:String}} AND day = {{day:Date}} AND concat(toString(node), '/', toString(batch)) NOT IN \
             (SELECT value FROM rollup_closed WHERE zone = {{zone:String}} AND day = {{day:Date}} AND site = '' AND dimension = '{BATCH}') \
             GROUP BY node, batch ORDER BY node, batch"
        );
        let unproven: Vec<(u64, u64, u64)> = within(self.about(&unproven).fetch_all()).await?;
        for (node, batch, events) in unproven {
            tracing::warn!(zone = self.day.zone, day = %self.day.day, events, "events came after their day was closed: they count for the whole site alone");
            self.add_late_batch(node, batch).await?;
        }
        Ok(())
    }

    async fn add_late_batch(&self, node: u64, batch: u64) -> Result<(), Failure> {
        let events =
            "(SELECT * FROM events WHERE zone = {zone:String} AND day = {day:Date} AND node = {node:UInt64} AND batch = {batch:UInt64})";
        let sums = ["pageviews", "events", "engagements", "engaged_ms", "scroll_pct", "entries"];
        let added = sums.map(|sum| format!("sumIf(late.{sum}, late.dimension != '{BATCH}')")).join(", ");
        let sql = format!(
            "INSERT INTO rollup_closed (zone, day, site, span, dimension, value, value2, {}) \
             SELECT toString(late.zone), late.day, toString(late.site), 'day', toString(late.dimension), late.value, {{of_batch:String}}, {added} FROM ({}) AS late \
             WHERE late.dimension IN ('all', 'hour', '{BATCH}') GROUP BY late.zone, late.day, late.site, late.dimension, late.value",
            sums.join(", "),
            rollup::select(events)
        );
        run(self.about(&sql).param("node", node).param("batch", batch).param("of_batch", rollup::batch_value(node, batch))).await
    }

    /// Takes one step.
    pub async fn step(&self, step: Step) -> Result<(), Failure> {
        match step {
            Step::Count => {
                let events = self.number("SELECT count() FROM events WHERE zone = {zone:String} AND day = {day:Date}").await?;
                visits::count(self.client, self.day, events, &self.thresholds.declared).await
            }
            Step::Cells => {
                self.refill("rollup_closing", &[closing::cells(&self.open_cells()), closing::reached(), closing::properties()]).await
            }
            Step::Wait => self.refill("rollup_waiting", &[closing::waiting()]).await,
            Step::Publish => {
                let day = self.day.day.to_string();
                self.publish(Span::Day, &Stretch { first: day.clone(), last: day }).await
            }
            Step::Weeks => self.publish_all(Span::Week).await,
            Step::Months => self.months().await,
            Step::Say => days::say(self.client, self.day, What::Closed, self.now).await,
            Step::Erase => self.erase().await,
            Step::Late => self.add_late().await,
        }
    }

    /// Fills the day's partition of `table` anew, unless the day's cells are published: then what was there has done its part.
    async fn refill(&self, table: &str, selects: &[String]) -> Result<(), Failure> {
        if self.is_done(Span::Day, &self.day.day.to_string()).await? {
            return Ok(());
        }
        self.drop_day(table).await?;
        for select in selects {
            run(self.with_thresholds(&format!("INSERT INTO {table} {select}"))).await?;
        }
        if table == "rollup_closing" {
            for (site, reached) in self.reached_by_events() {
                let sql = format!("INSERT INTO {table} {}", closing::reached_by_events(&reached));
                run(reached.bound(self.with_thresholds(&sql)).param("site", site)).await?;
            }
        }
        Ok(())
    }

    fn open_cells(&self) -> String {
        closing::open_cells(&self.thresholds.anew)
    }

    /// The sites without pseudonyms that declare goals: there the events count that reach them.
    fn reached_by_events(&self) -> impl Iterator<Item = (&str, Reached)> {
        let declared =
            self.thresholds.declared.iter().filter(|(site, own)| self.thresholds.without.contains(site) && !own.goals.is_empty());
        declared.map(|(site, own)| (&**site, Reached::of(own)))
    }

    async fn publish_all(&self, span: Span) -> Result<(), Failure> {
        let sql = match span {
            Span::Day | Span::Week => {
                "SELECT DISTINCT toString(toMonday(day)) AS first, toString(toMonday(day) + 6) AS last FROM rollup_waiting \
                WHERE zone = {zone:String} AND toMonday(day) + 6 <= {through:Date} ORDER BY first"
            }
            Span::Month => {
                "SELECT DISTINCT toString(toStartOfMonth(day)) AS first, toString(toLastDayOfMonth(day)) AS last FROM rollup_waiting \
                WHERE zone = {zone:String} AND toMonday(toLastDayOfMonth(day)) + 6 <= {through:Date} ORDER BY first"
            }
        };
        let over: Vec<Stretch> = within(self.about(sql).param("through", self.through.to_string()).fetch_all()).await?;
        for stretch in over {
            self.publish(span, &stretch).await?;
        }
        Ok(())
    }

    /// Publishes months that are over; what waited for them is named or never will be.
    async fn months(&self) -> Result<(), Failure> {
        self.publish_all(Span::Month).await?;
        let sql = "SELECT DISTINCT toString(day) FROM rollup_waiting \
            WHERE zone = {zone:String} AND toMonday(toLastDayOfMonth(day)) + 6 <= {through:Date}";
        let past: Vec<String> = within(self.about(sql).param("through", self.through.to_string()).fetch_all()).await?;
        for day in past {
            let sql = "ALTER TABLE rollup_waiting DROP PARTITION tuple({zone:String}, {past:Date})";
            run(self.about(sql).param("past", day)).await?;
        }
        Ok(())
    }

    /// Adds a stretch's cells to what analysts read, once.
    async fn publish(&self, span: Span, stretch: &Stretch) -> Result<(), Failure> {
        let (done, doubled) = (self.is_done(span, &stretch.first).await?, is_doubled(self.client, self.day, &stretch.first).await?);
        if done && !doubled {
            return Ok(());
        }
        let month = |sql: &str| self.about(sql).param("first", &*stretch.first);
        run(month("ALTER TABLE rollup_closed_staging DROP PARTITION tuple({zone:String}, toYYYYMM({first:Date}))")).await?;
        // What stands there twice was brought back by a kill. To look at every cell for that would cost more than all the rest.
        let once = if doubled { "DISTINCT" } else { "" };
        let copy = format!(
            "INSERT INTO rollup_closed_staging SELECT {once} * FROM rollup_closed \
             WHERE zone = {{zone:String}} AND toYYYYMM(day) = toYYYYMM({{first:Date}})"
        );
        run(month(&copy).with_setting("max_threads", "1")).await?;
        if !done {
            self.add(span, stretch).await?;
        }
        let swap = "ALTER TABLE rollup_closed REPLACE PARTITION tuple({zone:String}, toYYYYMM({first:Date})) FROM rollup_closed_staging";
        run(month(swap)).await?;
        run(month("ALTER TABLE rollup_closed_staging DROP PARTITION tuple({zone:String}, toYYYYMM({first:Date}))")).await
    }

    /// Adds a stretch's cells, and then its mark, to the staging table.
    async fn add(&self, span: Span, stretch: &Stretch) -> Result<(), Failure> {
        let fill = |select: &str| {
            let filling = self.with_thresholds(&format!("INSERT INTO rollup_closed_staging {select}"));
            filling.param("first", &*stretch.first).param("last", &*stretch.last).param("span", span.label())
        };
        match span {
            Span::Day => {
                run(fill(&closing::named(&self.open_cells()))).await?;
                // A statement costs as much as some ten thousand events, and a cut of a day as much memory as the day has values.
                let events = self.number("SELECT count() FROM events WHERE zone = {zone:String} AND day = {day:Date}").await?;
                let at_once = usize::try_from(PAIRS_EVENTS / events.max(1)).unwrap_or(usize::MAX).max(1);
                let kept = closing::kept_pairs(&self.thresholds.declared);
                for some in kept.chunk_by(|one, next| one.of == next.of).flat_map(|alike| alike.chunks(at_once)) {
                    let (Of::These(whose) | Of::AllBut(whose)) = &some[0].of;
                    let selects: Vec<String> = some.iter().map(|pair| format!("SELECT * FROM ({})", closing::pair(pair))).collect();
                    run(fill(&selects.join(" UNION ALL ")).param("cells", PAIR_CELLS).param("whose", whose)).await?;
                }
                self.add_goals(&fill).await?;
            }
            Span::Week | Span::Month => run(fill(&closing::span(span))).await?,
        }
        let mark = "(zone, day, span, dimension) SELECT {zone:String}, {first:Date}, {span:String}, {done:String}";
        run(fill(mark).param("done", DONE)).await
    }

    /// Adds the pairs of goals of sites without visits, and the marks of what was looked for.
    async fn add_goals(&self, fill: impl Fn(&str) -> Query) -> Result<(), Failure> {
        let declared = &self.thresholds.declared;
        for (site, reached) in self.reached_by_events() {
            let pairs = declared.iter().filter(|(own, _)| own == site).flat_map(|(_, own)| pairs(own));
            for (_, with) in pairs.filter(|(one, _)| *one == GOAL) {
                let filling = reached.bound(fill(&closing::pair_of_goals(&reached, with)));
                run(filling.param("site", site).param("cells", PAIR_CELLS)).await?;
            }
        }
        for (site, own) in declared {
            let goals = own.goal_names().map(|name| (GOAL, name.to_owned()));
            let looked_for: Vec<(&str, String)> = goals.chain(own.step_names().map(|step| (FUNNEL, step))).collect();
            let (cuts, values): (Vec<String>, Vec<String>) = looked_for.into_iter().map(|(cut, value)| (mark_of(cut), value)).unzip();
            let marks = "(zone, day, site, span, dimension, value) SELECT {zone:String}, {day:Date}, site, 'day', mark.1, mark.2 \
                FROM rollup_closing ARRAY JOIN arrayZip({marks:Array(String)}, {looked_for:Array(String)}) AS mark \
                WHERE zone = {zone:String} AND day = {day:Date} AND site = {site:String} AND dimension = 'all' AND currency = ''";
            if !cuts.is_empty() {
                run(fill(marks).param("marks", &cuts).param("looked_for", &values).param("site", &**site)).await?;
            }
        }
        Ok(())
    }

    async fn is_done(&self, span: Span, first: &str) -> Result<bool, Failure> {
        let sql = "SELECT count() FROM rollup_closed \
            WHERE zone = {zone:String} AND day = {first:Date} AND span = {span:String} AND site = '' AND dimension = {done:String}";
        let marks = self.about(sql).param("first", first).param("span", span.label()).param("done", DONE);
        Ok(within(marks.fetch_one::<u64>()).await? > 0)
    }

    async fn erase(&self) -> Result<(), Failure> {
        for table in ["events", "sessions", "sessions_staging", "rollup_open", "rollup_closing"] {
            if !(leak::planted("never_erased") && table == "sessions") {
                self.drop_day(table).await?;
            }
        }
        Ok(())
    }

    async fn drop_day(&self, table: &str) -> Result<(), Failure> {
        run(self.about(&format!("ALTER TABLE {table} DROP PARTITION tuple({{zone:String}}, {{day:Date}})"))).await
    }

    async fn number(&self, sql: &str) -> Result<u64, Failure> {
        Ok(within(self.about(sql).fetch_one()).await?)
    }

    fn about(&self, sql: &str) -> Query {
        of(self.client, sql, self.day)
    }

    /// `sql` with the parameters that decide what is named. It spills to the disk rather than fill the engine's memory.
    fn with_thresholds(&self, sql: &str) -> Query {
        let Thresholds { sites, ks, without, anew, .. } = self.thresholds;
        let query = self
            .about(sql)
            .param("sites", sites)
            .param("ks", ks)
            .param("without", without)
            .param("anew", anew)
            .param("k", u64::from(SITE_K.1));
        let keys = |(site, own): &(String, Declared)| own.properties.iter().map(|key| format!("{site}/{key}")).collect::<Vec<_>>();
        let opted: Vec<String> = self.thresholds.declared.iter().flat_map(keys).collect();
        let query = query.param("opted", &opted).param("values", DISTINCT_VALUES as u64);
        // Each statement is run once a day: to compile it would take longer than to run it.
        let query = query.with_setting("compile_expressions", "0").with_setting("compile_aggregate_expressions", "0");
        query.with_setting("max_threads", "1").with_setting("max_bytes_before_external_group_by", ENGINE_SPILL_BYTES.to_string())
    }
}

/// Whether ClickHouse has brought back, after a kill, what was replaced just before it: then the marks of days, weeks and months that have `first` in their month are
/// there twice, or the proofs of what came late.
pub(super) async fn is_doubled(client: &Client, day: &ZoneDay, first: &str) -> Result<bool, Failure> {
    let sql = "SELECT count() - uniqExact(span, day, dimension, value) FROM rollup_closed \
        WHERE zone = {zone:String} AND toYYYYMM(day) = toYYYYMM({first:Date}) AND site = '' AND dimension IN {marks:Array(String)}";
    Ok(within(of(client, sql, day).param("first", first).param("marks", &[DONE, BATCH][..]).fetch_one::<i64>()).await? > 0)
}
