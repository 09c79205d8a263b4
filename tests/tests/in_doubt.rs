//! In doubt, by name: what the tables show of a batch whose attempt nobody answered, and who else dies before that is settled.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use headcount::row::Table;
use headcount::spool::Sealed;
use headcount::store::database::Incarnation;
use headcount::store::migrate::migrate;
use headcount::store::rollup;
use headcount_tests::delivery::{Bench, execute, files, insert_by_hand, number};
use headcount_tests::engine::{EngineChild, TestEngine, eventually};
use headcount_tests::rollup::assert_equals_events;

const ENGINE: &str = env!("CARGO_BIN_EXE_engine_child");

const ROWS: u64 = 1_000;

/// Puts rows into the table and no cells into the rollup, as a process does that dies between the two.
async fn insert_rows_alone(bench: &Bench, segment: &Sealed) {
    execute(&bench.client, &format!("DROP TABLE {} SYNC", rollup::VIEW)).await;
    insert_by_hand(&bench.client, segment, "earlier").await;
    migrate(&bench.client).await.unwrap();
    assert_eq!(bench.counts().await, (ROWS, 0));
}

/// What each state of the tables leads to, by its name: rows in `events` and in the rollup's proof, of so many that the batch has.
#[tokio::test]
async fn each_state_of_the_tables_has_its_end() {
    let engine = TestEngine::shared(ENGINE).await;
    let delete = |table: &str, filter: &str| format!("DELETE FROM {table} WHERE {filter} SETTINGS lightweight_deletes_sync = 2");
    for (state, database, counts, held, repairs) in [
        ("0/0", "none", (ROWS, ROWS), 0, 0),
        ("1/0", "rows", (ROWS, ROWS), 0, 1),
        ("1/1", "both", (ROWS, ROWS), 0, 0),
        ("a part/0", "part", (300, 0), 1, 0),
        ("0/1", "cells", (0, ROWS), 1, 0),
        ("2/2", "twice", (2 * ROWS, 2 * ROWS), 1, 0),
    ] {
        let bench = Bench::new(&engine.child, database).await;
        let segment = bench.pageviews(ROWS).await;
        match database {
            "rows" => insert_rows_alone(&bench, &segment).await,
            "both" => insert_by_hand(&bench.client, &segment, "earlier").await,
            "part" => {
                insert_rows_alone(&bench, &segment).await;
                execute(&bench.client, &delete("events", "page >= '/page/3'")).await;
            }
            "cells" => {
                insert_by_hand(&bench.client, &segment, "earlier").await;
                execute(&bench.client, "TRUNCATE TABLE events").await;
            }
            "twice" => {
                insert_by_hand(&bench.client, &segment, "earlier").await;
                insert_by_hand(&bench.client, &segment, "earlier still").await;
            }
            _ => {}
        }
        bench.deliver(vec![segment], vec![]).await;
        assert_eq!(bench.counts().await, counts, "{state}");
        assert_eq!((bench.metrics.held(Table::Events), bench.metrics.repairs()), (held, repairs), "{state}");
        assert_eq!(files(&bench.spool, "") as u64, held, "{state}: what is held stays in the spool");
        assert_eq!(bench.metrics.read_backs(), 1, "{state}");
    }
}

/// An engine that can be killed and started again on the same tables.
struct Engine {
    folder: tempfile::TempDir,
    child: EngineChild,
}

impl Engine {
    async fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("hc").tempdir().unwrap();
        let child = EngineChild::spawn(ENGINE, folder.path(), 1 << 30);
        child.ready().await;
        Self { folder, child }
    }

    /// `kill -9`, and another life that the sink is told of.
    async fn reborn(&mut self, bench: &Bench, life: u64) {
        bench.incarnation.send_replace(None);
        self.child.kill().unwrap();
        self.child = EngineChild::spawn(ENGINE, self.folder.path(), 1 << 30);
        self.child.ready().await;
        bench.incarnation.send_replace(Some(Incarnation(life)));
    }
}

#[tokio::test]
async fn two_kills_in_a_row_lose_and_double_nothing() {
    let mut engine = Engine::start().await;
    let bench = Bench::new(&engine.child, "two_kills").await;
    for round in 0..3 {
        let segment = bench.pageviews(50_000).await;
        let delivery = bench.deliver(vec![], vec![segment]);
        let kills = async {
            // The first while the rows are on their way; the second while the next life is asked, or is being sent them again.
            tokio::time::sleep(std::time::Duration::from_millis(40 + round * 70)).await;
            engine.reborn(&bench, round * 10 + 2).await;
            tokio::time::sleep(std::time::Duration::from_millis(round * 45)).await;
            engine.reborn(&bench, round * 10 + 3).await;
        };
        tokio::join!(delivery, kills);
        assert_eq!(bench.counts().await, ((round + 1) * 50_000, (round + 1) * 50_000), "round {round}");
    }
    assert_equals_events(&bench.client).await;
    assert_eq!(bench.metrics.held(Table::Events), 0);
}

#[tokio::test]
async fn a_kill_during_the_repair_loses_and_doubles_nothing() {
    let mut engine = Engine::start().await;
    let bench = Bench::new(&engine.child, "kill_in_repair").await;
    let segment = bench.pageviews(ROWS).await;
    insert_rows_alone(&bench, &segment).await;
    // The repair takes some seconds as long as this stands in its way, and then fails.
    execute(&bench.client, "ALTER TABLE rollup_open ADD CONSTRAINT slow CHECK sleepEachRow(0.02) = 0").await;
    let delivery = bench.deliver(vec![segment], vec![]);
    let kill = async {
        let repairing = "SELECT count() FROM system.processes WHERE query LIKE 'INSERT INTO rollup_open%'";
        eventually(async || number(&bench.client, repairing).await > 0).await;
        engine.reborn(&bench, 2).await;
        execute(&bench.client, "ALTER TABLE rollup_open DROP CONSTRAINT slow").await;
    };
    tokio::join!(delivery, kill);
    assert_eq!(bench.counts().await, (ROWS, ROWS));
    assert_eq!(bench.metrics.repairs(), 1);
    assert!(bench.metrics.read_backs() > 1, "the next life was asked again");
    assert_equals_events(&bench.client).await;
}

#[tokio::test]
async fn a_kill_after_a_repair_that_was_not_answered_is_found_to_be_complete() {
    let mut engine = Engine::start().await;
    let bench = Bench::new(&engine.child, "kill_after_repair").await;
    let segment = bench.pageviews(ROWS).await;
    insert_rows_alone(&bench, &segment).await;
    // What the last life did before it died: the repair, whole, whose answer nobody heard.
    let rows = "(SELECT * FROM events)";
    execute(&bench.client, &format!("INSERT INTO rollup_open SELECT * FROM ({})", rollup::select(rows))).await;
    engine.reborn(&bench, 2).await;
    bench.deliver(vec![segment], vec![]).await;
    assert_eq!(bench.counts().await, (ROWS, ROWS));
    assert_eq!((bench.metrics.repairs(), bench.metrics.confirmed_batches(Table::Events)), (0, 1));
    assert_equals_events(&bench.client).await;
}
