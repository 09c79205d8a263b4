//! From a sealed segment to the tables, each row exactly once: whatever was in doubt, and whoever died in between.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::sync::Arc;

use headcount::limits::{ENGINE_MEMORY_BYTES, SEGMENT_BYTES, SEGMENT_ROWS};
use headcount::outcome::{Dropped, Outcome};
use headcount::row::Table;
use headcount::row::{EVENTS, OUTCOMES, OutcomeCount, Stamp};
use headcount::sink;
use headcount::spool::Sealed;
use headcount::store::database::Incarnation;
use headcount::store::errors::Class;
use headcount::store::migrate::migrate;
use headcount::store::rollup;
use headcount_tests::delivery::{Bench, execute, files, insert_by_hand, number};
use headcount_tests::engine::{EngineChild, TestEngine, eventually};
use headcount_tests::rollup::assert_equals_events;
use headcount_tests::segments::{DAY, Request, encode, pageview, sealed, site, zone};
use tokio::sync::mpsc::unbounded_channel;

const ENGINE: &str = env!("CARGO_BIN_EXE_engine_child");

#[tokio::test]
async fn segments_of_both_tables_arrive_and_leave_the_spool() {
    let engine = TestEngine::shared(ENGINE).await;
    let bench = Bench::new(&engine.child, "arrive").await;
    let outcome = |_: u64, out: &mut Vec<u8>, stamp: Stamp| {
        let count = OutcomeCount { site: "example.org", day: DAY, outcome: Outcome::Dropped(Dropped::DoNotTrack), count: 7 };
        count.encode(out, &zone(), stamp);
    };
    let events = bench.pageviews(1_000).await;
    let mut fresh = sealed(&bench.spool, &[Request { layout: &OUTCOMES, rows: 2, encode: &outcome }]).await.unwrap();
    fresh.push(events);
    assert_eq!(files(&bench.spool, ""), 2);
    bench.deliver(vec![], fresh).await;
    assert_eq!(bench.counts().await, (1_000, 1_000));
    assert_eq!(number(&bench.client, "SELECT sum(count) FROM outcomes_daily WHERE reason = 'dnt' AND site = 'example.org'").await, 14);
    assert_eq!(files(&bench.spool, ""), 0);
    assert_eq!((bench.metrics.inserted_rows(Table::Events), bench.metrics.inserted_rows(Table::Outcomes)), (1_000, 2));
    assert_eq!((bench.metrics.confirmed_batches(Table::Events), bench.metrics.read_backs()), (1, 0));
}

#[tokio::test]
async fn a_segment_is_one_part_in_each_table_however_many_cells_it_makes() {
    let engine = TestEngine::shared(ENGINE).await;
    let bench = Bench::new(&engine.child, "one_part").await;
    execute(&bench.client, "SYSTEM STOP MERGES events").await;
    execute(&bench.client, "SYSTEM STOP MERGES rollup_open").await;
    let site = site("example.org");
    // 150,000 pages are more cells than one block of an aggregation holds.
    let row = |number: u64, out: &mut Vec<u8>, stamp: Stamp| {
        let mut event = pageview(&site);
        event.page.path = format!("/{number}").into();
        event.source.referrer = format!("host-{number}.example").into();
        encode(&event, number, out, stamp);
    };
    let segments = sealed(&bench.spool, &[Request { layout: &EVENTS, rows: 150_000, encode: &row }]).await.unwrap();
    bench.deliver(vec![], segments).await;
    let parts = "SELECT count() FROM system.parts WHERE database = currentDatabase() AND active AND table = ";
    assert_eq!(number(&bench.client, &format!("{parts}'events'")).await, 1);
    assert_eq!(number(&bench.client, &format!("{parts}'rollup_open'")).await, 1);
    assert_eq!(number(&bench.client, "SELECT uniqExact(value) FROM rollup_open WHERE dimension = 'page'").await, 150_000);
}

#[tokio::test]
async fn an_attempt_that_the_living_engine_has_seen_is_repeated_under_its_token() {
    let engine = TestEngine::shared(ENGINE).await;
    let bench = Bench::new(&engine.child, "living").await;
    // The rollup is gone, so the rows may be there and the cells are not; then an operator mends it.
    execute(&bench.client, "RENAME TABLE rollup_open TO elsewhere").await;
    let fresh = vec![bench.pageviews(1_000).await];
    let delivery = bench.deliver(vec![], fresh);
    let mend = async {
        eventually(async || bench.metrics.failures(Class::Hold) >= 2).await;
        execute(&bench.client, "RENAME TABLE elsewhere TO rollup_open").await;
    };
    tokio::join!(delivery, mend);
    assert_eq!(bench.counts().await, (1_000, 1_000));
    assert_eq!(bench.metrics.read_backs(), 0);
}

#[tokio::test]
async fn in_doubt_and_neither_table_has_it_then_it_is_sent_under_a_new_token() {
    let mut engine = TestEngine::start(ENGINE).await;
    let mut bench = Bench::new(&engine.child, "neither").await;
    engine.child.kill().unwrap();
    let segment = bench.pageviews(1_000).await;
    let next = EngineChild::spawn(ENGINE, engine.folder(), 1 << 30);
    // The sink believes that the killed engine answers: this attempt may have been seen by it, for all that the sink knows.
    let (sender, incoming) = unbounded_channel();
    sender.send(segment).unwrap();
    let attempts = sink::run(bench.target(), Arc::clone(&bench.spool), vec![], incoming, Arc::clone(&bench.metrics));
    let rebirth = async {
        next.ready().await;
        eventually(async || bench.metrics.failures(Class::Retry) >= 1 || bench.metrics.confirmed_batches(Table::Events) == 1).await;
        bench.incarnation.send_replace(Some(Incarnation(2)));
        drop(sender);
    };
    let (ran, ()) = tokio::join!(attempts, rebirth);
    ran.unwrap();
    bench.reborn(next.client().with_database("neither"));
    assert_eq!(bench.counts().await, (1_000, 1_000));
}

/// What the four answers of a read-back lead to, with an engine that was killed after the first attempt.
async fn after_a_kill(name: &'static str, first: impl AsyncFnOnce(&Bench, &Sealed)) -> (Bench, EngineChild, TestEngine) {
    let mut engine = TestEngine::start(ENGINE).await;
    let mut bench = Bench::new(&engine.child, name).await;
    let segment = bench.pageviews(1_000).await;
    first(&bench, &segment).await;
    engine.child.kill().unwrap();
    let next = EngineChild::spawn(ENGINE, engine.folder(), 1 << 30);
    next.ready().await;
    bench.reborn(next.client().with_database(name));
    bench.deliver(vec![segment], vec![]).await;
    (bench, next, engine)
}

#[tokio::test]
async fn a_recovered_segment_of_which_nothing_arrived_is_sent() {
    let (bench, _child, _engine) = after_a_kill("nothing", async |_, _| {}).await;
    assert_eq!(bench.counts().await, (1_000, 1_000));
    assert_eq!((bench.metrics.read_backs(), bench.metrics.repairs()), (1, 0));
    assert_eq!(files(&bench.spool, ""), 0);
}

#[tokio::test]
async fn a_recovered_segment_of_which_only_the_rows_arrived_has_its_rollup_filled() {
    let (bench, _child, _engine) = after_a_kill("rows_only", async |bench, segment| {
        execute(&bench.client, &format!("DROP TABLE {} SYNC", rollup::VIEW)).await;
        insert_by_hand(&bench.client, segment, "earlier").await;
        assert_eq!(bench.counts().await, (1_000, 0));
    })
    .await;
    assert_eq!(bench.counts().await, (1_000, 1_000));
    assert_eq!((bench.metrics.read_backs(), bench.metrics.repairs()), (1, 1));
    assert_equals_events(&bench.client).await;
    assert_eq!(files(&bench.spool, ""), 0);
}

#[tokio::test]
async fn a_recovered_segment_that_arrived_is_confirmed() {
    let (bench, _child, _engine) =
        after_a_kill("arrived", async |bench, segment| insert_by_hand(&bench.client, segment, "earlier").await).await;
    assert_eq!(bench.counts().await, (1_000, 1_000));
    assert_eq!((bench.metrics.read_backs(), bench.metrics.repairs(), bench.metrics.confirmed_batches(Table::Events)), (1, 0, 1));
    assert_eq!(files(&bench.spool, ""), 0);
}

#[tokio::test]
async fn a_recovered_segment_that_is_there_twice_is_held_and_the_next_one_delivered() {
    let (bench, _child, _engine) = after_a_kill("twice", async |bench, segment| {
        insert_by_hand(&bench.client, segment, "earlier").await;
        insert_by_hand(&bench.client, segment, "earlier still").await;
    })
    .await;
    assert_eq!(bench.counts().await, (2_000, 2_000));
    assert_eq!((bench.metrics.held(Table::Events), bench.metrics.confirmed_batches(Table::Events)), (1, 0));
    assert_eq!(files(&bench.spool, ""), 1, "it stays in the spool");
    let fresh = vec![bench.pageviews(1_000).await];
    bench.deliver(vec![], fresh).await;
    assert_eq!(bench.counts().await, (3_000, 3_000));
}

#[tokio::test]
async fn a_repair_that_is_repeated_counts_once() {
    let engine = TestEngine::shared(ENGINE).await;
    let bench = Bench::new(&engine.child, "repaired").await;
    let segment = bench.pageviews(1_000).await;
    execute(&bench.client, &format!("DROP TABLE {}", rollup::VIEW)).await;
    insert_by_hand(&bench.client, &segment, "earlier").await;
    migrate(&bench.client).await.unwrap();
    // The repair fails as long as the rollup is elsewhere; how far each try came does not matter.
    execute(&bench.client, "RENAME TABLE rollup_open TO elsewhere").await;
    let delivery = bench.deliver(vec![segment], vec![]);
    let mend = async {
        eventually(async || bench.metrics.failures(Class::Hold) >= 2).await;
        execute(&bench.client, "RENAME TABLE elsewhere TO rollup_open").await;
    };
    tokio::join!(delivery, mend);
    assert_eq!(bench.counts().await, (1_000, 1_000));
    assert_equals_events(&bench.client).await;
}

/// Kills the engine at another moment of each insert; in the end every row is there once.
#[tokio::test]
async fn an_engine_killed_in_the_midst_of_inserts_loses_and_doubles_nothing() {
    const ROUNDS: u64 = 8;
    const ROWS: u64 = 50_000;
    let engine = TestEngine::start(ENGINE).await;
    let mut bench = Bench::new(&engine.child, "killed").await;
    let folder = engine.folder().to_owned();
    let mut child = EngineChild::spawn(ENGINE, &folder, 1 << 30);
    let mut first = engine;
    first.child.kill().unwrap();
    child.ready().await;
    bench.reborn(child.client().with_database("killed"));
    for round in 0..ROUNDS {
        let segment = bench.pageviews(ROWS).await;
        let delivery = bench.deliver(vec![], vec![segment]);
        let kill = async {
            // A sweep of moments, from before the first byte to after the answer; the outcome is the same at each.
            tokio::time::sleep(std::time::Duration::from_millis(round * 60)).await;
            bench.incarnation.send_replace(None);
            child.kill().unwrap();
            let next = EngineChild::spawn(ENGINE, &folder, 1 << 30);
            next.ready().await;
            bench.incarnation.send_replace(Some(Incarnation(round + 100)));
            next
        };
        let ((), next) = tokio::join!(delivery, kill);
        child = next;
        assert_eq!(bench.counts().await, ((round + 1) * ROWS, (round + 1) * ROWS), "round {round}");
    }
    assert_equals_events(&bench.client).await;
    assert!(bench.metrics.read_backs() > 0, "some kill came while an insert was under way");
}

#[tokio::test]
async fn the_largest_segment_fits_into_the_least_memory_that_the_engine_may_have() {
    let folder = tempfile::tempdir().unwrap();
    let child = EngineChild::spawn(ENGINE, folder.path(), ENGINE_MEMORY_BYTES.0);
    child.ready().await;
    let bench = Bench::new(&child, "least").await;
    let site = site("example.org");
    let row = |number: u64, out: &mut Vec<u8>, stamp: Stamp| {
        let mut event = pageview(&site);
        // As many pages as the cap on distinct values lets through, and a visitor an event: the most that a segment of one site can ask for.
        event.page.path = format!("/{}", number % 10_000).into();
        event.source.referrer = format!("{}.example", number / 7 % 10_000).into();
        encode(&event, number + 1, out, stamp);
    };
    let rows = u64::from(SEGMENT_ROWS) - 1;
    let segments = sealed(&bench.spool, &[Request { layout: &EVENTS, rows, encode: &row }]).await.unwrap();
    assert!(segments[0].bytes() > SEGMENT_BYTES, "it is even larger than a segment may be");
    bench.deliver(vec![], segments).await;
    assert_eq!(bench.counts().await, (rows, rows));
    // Not the number of tries: on a machine that is slow enough, an insert is given up and made again for want of time.
    let wanting = "SELECT sum(value) FROM system.errors WHERE name = 'MEMORY_LIMIT_EXCEEDED'";
    let wanting: u64 = bench.client.query(wanting).fetch_one().await.unwrap();
    assert_eq!(wanting, 0, "memory sufficed at the first try");
}
