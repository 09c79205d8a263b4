//! What ClickHouse refuses and what the disk has damaged: the rows that are to blame are put aside, visible and counted, and everything else arrives once.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use headcount::row::{EVENTS, Stamp, Table, TableLayout};
use headcount::spool::recover::recover;
use headcount::store::database::Incarnation;
use headcount::store::errors::Class;
use headcount_tests::delivery::{Bench, execute, files, insert_by_hand, number};
use headcount_tests::engine::{TestEngine, eventually};
use headcount_tests::rollup::assert_equals_events;
use headcount_tests::segments::{Request, encode, pageview, sealed, site};

const ENGINE: &str = env!("CARGO_BIN_EXE_engine_child");

/// An operator's rule that pages of this name break.
const RULE: &str = "ALTER TABLE events ADD CONSTRAINT rule CHECK page NOT LIKE '/poison%'";

#[tokio::test]
async fn one_poison_row_is_parked_alone_and_ten_thousand_good_ones_arrive() {
    let engine = TestEngine::shared(ENGINE).await;
    let bench = Bench::new(&engine.child, "one_poison_row").await;
    execute(&bench.client, RULE).await;
    let page = |number: u64| if number == 6_789 { "/poison".to_owned() } else { format!("/{}", number % 50) };
    let segments = vec![bench.pages(&[3_000, 5_000, 2_001], page).await, bench.pageviews(1_000).await];
    bench.deliver(vec![], segments).await;
    assert_eq!(bench.counts().await, (11_000, 11_000));
    assert_eq!(bench.metrics.parked(Table::Events), (1, 1));
    assert_eq!((files(&bench.spool, ""), files(&bench.spool, "parked")), (0, 1));
    assert_equals_events(&bench.client).await;
    assert_eq!(bench.spool.gauge().events(), 0);
}

#[tokio::test]
async fn several_poison_rows_are_each_found() {
    let engine = TestEngine::shared(ENGINE).await;
    let bench = Bench::new(&engine.child, "several_poison_rows").await;
    execute(&bench.client, RULE).await;
    let poison = [0, 1, 499, 500, 999];
    let page = |number: u64| if poison.contains(&number) { format!("/poison/{number}") } else { "/".to_owned() };
    let segment = bench.pages(&[1_000], page).await;
    bench.deliver(vec![], vec![segment]).await;
    assert_eq!(bench.counts().await, (995, 995));
    assert_eq!((bench.metrics.parked(Table::Events), files(&bench.spool, "parked")), ((5, 5), 5));
    // What is parked comes back once the rule is gone.
    execute(&bench.client, "ALTER TABLE events DROP CONSTRAINT rule").await;
    let parked = std::fs::read_dir(bench.spool.folder().join("parked")).unwrap();
    for entry in parked.map(Result::unwrap) {
        std::fs::rename(entry.path(), bench.spool.folder().join(entry.file_name())).unwrap();
    }
    bench.deliver(recover(&bench.spool).unwrap().sealed, vec![]).await;
    assert_eq!(bench.counts().await, (1_000, 1_000));
    assert_equals_events(&bench.client).await;
}

#[tokio::test]
async fn a_segment_whose_rows_cannot_be_told_apart_is_parked_whole_and_does_not_block_the_next() {
    let engine = TestEngine::shared(ENGINE).await;
    let bench = Bench::new(&engine.child, "poison").await;
    let cut_short = |number: u64, out: &mut Vec<u8>, stamp: Stamp| {
        let site = site("example.org");
        encode(&pageview(&site), 1, out, stamp);
        out.truncate(out.len() - if number == 1 { 3 } else { 0 });
    };
    let mut segments = sealed(&bench.spool, &[Request { layout: &EVENTS, rows: 2, encode: &cut_short }]).await.unwrap();
    segments.push(bench.pageviews(1_000).await);
    bench.deliver(vec![], segments).await;
    assert_eq!(bench.counts().await, (1_000, 1_000));
    assert_eq!((bench.metrics.parked(Table::Events), bench.metrics.failures(Class::Park)), ((1, 2), 3));
    assert_eq!((files(&bench.spool, ""), files(&bench.spool, "parked")), (0, 1));
}

#[tokio::test]
async fn a_view_of_somebody_elses_that_stumbles_over_a_row_costs_no_row() {
    let engine = TestEngine::shared(ENGINE).await;
    let bench = Bench::new(&engine.child, "others_view").await;
    execute(&bench.client, "CREATE TABLE others (number UInt64) ENGINE = MergeTree ORDER BY number").await;
    let view = "CREATE MATERIALIZED VIEW others_view TO others AS SELECT toUInt64(if(page = '/poison', 'x', '1')) AS number FROM events";
    execute(&bench.client, view).await;
    let page = |number: u64| if number == 7 { "/poison".to_owned() } else { "/".to_owned() };
    let segment = bench.pages(&[1_000], page).await;
    bench.deliver(vec![], vec![segment]).await;
    assert_eq!(bench.counts().await, (1_000, 1_000), "the table and our own rollup had it all the same");
    assert_eq!((bench.metrics.parked(Table::Events).0, bench.metrics.failures(Class::Park)), (0, 3));
}

#[tokio::test]
async fn a_rollup_that_refuses_a_batch_whose_rows_are_there_holds_it_and_the_next_one_arrives() {
    let engine = TestEngine::shared(ENGINE).await;
    let bench = Bench::new(&engine.child, "rollup_refuses").await;
    execute(&bench.client, "ALTER TABLE rollup_open ADD CONSTRAINT rule CHECK value != '/poison'").await;
    let page = |number: u64| if number == 7 { "/poison".to_owned() } else { "/".to_owned() };
    let segments = vec![bench.pages(&[100], page).await, bench.pageviews(1_000).await];
    bench.deliver(vec![], segments).await;
    assert_eq!(bench.counts().await, (1_100, 1_000));
    assert_eq!((bench.metrics.held(Table::Events), bench.metrics.parked(Table::Events).0, files(&bench.spool, "")), (1, 0, 1));
    // Mended, the next start fills the rollup from the rows.
    execute(&bench.client, "ALTER TABLE rollup_open DROP CONSTRAINT rule").await;
    bench.deliver(recover(&bench.spool).unwrap().sealed, vec![]).await;
    assert_eq!(bench.counts().await, (1_100, 1_100));
    assert_equals_events(&bench.client).await;
}

#[tokio::test]
async fn a_code_that_nobody_knows_puts_a_segment_aside_and_the_next_one_arrives() {
    let engine = TestEngine::shared(ENGINE).await;
    let bench = Bench::new(&engine.child, "strange").await;
    // A page that is no regular expression fails this rule with a code of its own.
    execute(&bench.client, "ALTER TABLE events ADD CONSTRAINT rule CHECK match('/page', page) >= 0").await;
    let segments = vec![bench.pages(&[10], |_| "/(".to_owned()).await, bench.pageviews(1_000).await];
    bench.deliver(vec![], segments).await;
    assert_eq!(bench.counts().await, (1_000, 1_000));
    assert_eq!((bench.metrics.failures(Class::Unknown), bench.metrics.held(Table::Events)), (3, 1));
    assert_eq!((files(&bench.spool, ""), files(&bench.spool, "parked")), (1, 0));
}

#[tokio::test]
async fn a_table_that_changed_under_us_holds_its_own_segments_until_it_is_mended() {
    let engine = TestEngine::shared(ENGINE).await;
    for (database, break_it, mend_it, code) in [
        ("no_column", "ALTER TABLE events DROP COLUMN host", "ALTER TABLE events ADD COLUMN host String AFTER name", 16),
        ("no_table", "RENAME TABLE events TO elsewhere", "RENAME TABLE elsewhere TO events", 60),
        ("read_only", "ALTER TABLE events MODIFY SETTING table_readonly = 1", "ALTER TABLE events MODIFY SETTING table_readonly = 0", 774),
    ] {
        let bench = Bench::new(&engine.child, database).await;
        execute(&bench.client, break_it).await;
        let segment = bench.pageviews(1_000).await;
        let delivery = bench.deliver(vec![], vec![segment, bench.pageviews(500).await]);
        let mend = async {
            eventually(async || bench.metrics.failures(Class::Hold) >= 2).await;
            assert_eq!(bench.metrics.last_failure(Table::Events), Some((Class::Hold, code)), "{database}");
            assert_eq!(bench.metrics.last_failure(Table::Outcomes), None, "{database}: the other lane is not concerned");
            execute(&bench.client, mend_it).await;
        };
        tokio::join!(delivery, mend);
        assert_eq!(bench.counts().await, (1_500, 1_500), "{database}");
        assert_eq!(bench.metrics.last_failure(Table::Events), None, "{database}");
        assert_eq!(bench.metrics.parked(Table::Events).0, 0, "{database}");
        assert_equals_events(&bench.client).await;
    }
}

#[tokio::test]
async fn a_rollup_that_would_miss_what_is_inserted_holds_it_until_it_is_whole_again() {
    let engine = TestEngine::shared(ENGINE).await;
    let entries = |after: &str| format!("ALTER TABLE rollup_open MODIFY COLUMN entries SimpleAggregateFunction(sum, UInt64) AFTER {after}");
    let (elsewhere, in_its_place) = (entries("first_today"), entries("scroll_pct"));
    let column = "ALTER TABLE rollup_open ADD COLUMN scroll_pct SimpleAggregateFunction(sum, UInt64) AFTER engaged_ms";
    for (database, break_it, mend_it, code) in [
        ("no_view", "DETACH TABLE rollup_open_view", "ATTACH TABLE rollup_open_view", 60),
        ("no_cells", "ALTER TABLE rollup_open DROP COLUMN scroll_pct", column, 16),
        ("another_place", &*elsewhere, &*in_its_place, 16),
    ] {
        let bench = Bench::new(&engine.child, database).await;
        let (first, second) = (bench.pageviews(100).await, bench.pageviews(50).await);
        let (queue, segments) = tokio::sync::mpsc::unbounded_channel();
        let delivery = headcount::sink::run(bench.target(), bench.spool.clone(), vec![], segments, bench.metrics.clone());
        let breaking = async {
            queue.send(first).unwrap();
            eventually(async || bench.counts().await == (100, 100)).await;
            execute(&bench.client, break_it).await;
            // Nobody else would say so: ClickHouse takes a row, though it is in no figure, or not in all of them.
            execute(&bench.client, "INSERT INTO events (zone, day, site, kind) VALUES ('UTC', '2020-01-01', 'unseen', 'pageview')").await;
            execute(&bench.client, "ALTER TABLE events DELETE WHERE site = 'unseen' SETTINGS mutations_sync = 2").await;
            execute(&bench.client, "ALTER TABLE rollup_open DELETE WHERE day = '2020-01-01' SETTINGS mutations_sync = 2").await;
            // It looks in every life of ClickHouse, and every few seconds besides.
            bench.incarnation.send_modify(|life| *life = life.map(|life| Incarnation(life.0 + 1)));
            queue.send(second).unwrap();
            eventually(async || bench.metrics.failures(Class::Hold) >= 2).await;
            assert_eq!(bench.metrics.last_failure(Table::Events), Some((Class::Hold, code)), "{database}");
            assert_eq!(number(&bench.client, "SELECT count() FROM events").await, 100, "{database}: it waits in the spool");
            execute(&bench.client, mend_it).await;
            drop(queue);
        };
        let (delivered, ()) = tokio::join!(delivery, breaking);
        delivered.unwrap();
        assert_eq!(bench.counts().await, (150, 150), "{database}");
        assert_equals_events(&bench.client).await;
    }
}

#[tokio::test]
async fn too_many_parts_are_waited_out() {
    let engine = TestEngine::shared(ENGINE).await;
    let bench = Bench::new(&engine.child, "many_parts").await;
    execute(&bench.client, "SYSTEM STOP MERGES events").await;
    execute(&bench.client, "ALTER TABLE events MODIFY SETTING parts_to_throw_insert = 1, parts_to_delay_insert = 1").await;
    let segments = vec![bench.pageviews(100).await, bench.pageviews(200).await];
    let delivery = bench.deliver(vec![], segments);
    let mend = async {
        eventually(async || bench.metrics.failures(Class::Retry) >= 2).await;
        assert_eq!(bench.metrics.last_failure(Table::Events), Some((Class::Retry, 252)));
        execute(&bench.client, "ALTER TABLE events RESET SETTING parts_to_throw_insert, parts_to_delay_insert").await;
    };
    tokio::join!(delivery, mend);
    assert_eq!(bench.counts().await, (300, 300));
    assert_eq!(bench.metrics.parked(Table::Events).0, 0);
}

#[tokio::test]
async fn a_segment_whose_file_cannot_be_read_is_held_and_does_not_block_the_next() {
    let engine = TestEngine::shared(ENGINE).await;
    let bench = Bench::new(&engine.child, "unreadable").await;
    let segments = vec![bench.pageviews(1_000).await, bench.pageviews(500).await];
    std::fs::remove_file(segments[0].path()).unwrap();
    bench.deliver(vec![], segments).await;
    assert_eq!(bench.counts().await, (500, 500));
    assert_eq!((bench.metrics.held(Table::Events), bench.metrics.confirmed_batches(Table::Events)), (1, 1));
}

/// Flips a bit this far from the end of a segment's file.
fn damage(segment: &headcount::spool::Sealed, from_end: usize) {
    let mut bytes = std::fs::read(segment.path()).unwrap();
    let place = bytes.len() - from_end;
    bytes[place] ^= 1;
    std::fs::write(segment.path(), bytes).unwrap();
}

#[tokio::test]
async fn what_is_sound_of_a_segment_that_was_damaged_while_it_waited_arrives() {
    let engine = TestEngine::shared(ENGINE).await;
    let bench = Bench::new(&engine.child, "damaged").await;
    let segment = bench.pages(&[1_000, 2_000, 10], |number| format!("/{}", number % 20)).await;
    // The third request's ten rows and the footer take less than this, the second's two thousand more.
    damage(&segment, 20_000);
    bench.deliver(vec![], vec![segment]).await;
    assert_eq!(bench.counts().await, (1_010, 1_010));
    assert_eq!((bench.spool.gauge().lost_events(), bench.spool.gauge().quarantined_pieces()), (2_000, 1));
    assert_eq!((files(&bench.spool, ""), files(&bench.spool, "parked"), bench.spool.gauge().events()), (0, 0, 0));
    assert_equals_events(&bench.client).await;
}

#[tokio::test]
async fn a_segment_that_was_damaged_after_it_had_arrived_is_confirmed_and_nothing_of_it_comes_twice() {
    let engine = TestEngine::shared(ENGINE).await;
    // In its rows, and in its footer: then not even its length is known.
    for (database, from_end) in [("damaged_rows", 5_000), ("damaged_end", 20)] {
        let bench = Bench::new(&engine.child, database).await;
        let segment = bench.pages(&[1_000, 1_000], |number| format!("/{}", number % 20)).await;
        insert_by_hand(&bench.client, &segment, "earlier").await;
        damage(&segment, from_end);
        drop(segment);
        bench.deliver(recover(&bench.spool).unwrap().sealed, vec![]).await;
        assert_eq!(bench.counts().await, (2_000, 2_000), "{database}");
        assert_eq!((bench.metrics.confirmed_batches(Table::Events), bench.metrics.held(Table::Events)), (1, 0), "{database}");
        assert_eq!(files(&bench.spool, ""), 0, "{database}");
    }
}

#[tokio::test]
async fn a_damaged_segment_of_which_nothing_had_arrived_gives_its_sound_rows_after_a_restart() {
    let engine = TestEngine::shared(ENGINE).await;
    // Where only the footer is damaged, every row is sound.
    for (database, from_end, arrive) in [("left_rows", 5_000, 1_000), ("left_end", 20, 2_000)] {
        let bench = Bench::new(&engine.child, database).await;
        let segment = bench.pages(&[1_000, 1_000], |number| format!("/{}", number % 20)).await;
        damage(&segment, from_end);
        drop(segment);
        bench.deliver(recover(&bench.spool).unwrap().sealed, vec![]).await;
        assert_eq!(bench.counts().await, (arrive, arrive), "{database}");
        assert_eq!((files(&bench.spool, ""), bench.spool.gauge().quarantined_pieces()), (0, 1), "{database}");
    }
}

#[tokio::test]
async fn a_segment_for_a_table_of_another_version_is_parked_and_counted() {
    static SESSIONS: TableLayout = TableLayout { table: "sessions", ..EVENTS };
    let engine = TestEngine::shared(ENGINE).await;
    let bench = Bench::new(&engine.child, "another_version").await;
    let row = |_: u64, out: &mut Vec<u8>, stamp: Stamp| encode(&pageview(&site("example.org")), 1, out, stamp);
    let segments = sealed(&bench.spool, &[Request { layout: &SESSIONS, rows: 3, encode: &row }]).await.unwrap();
    bench.deliver(vec![], segments).await;
    assert_eq!((bench.metrics.parked_unknown(), files(&bench.spool, ""), files(&bench.spool, "parked")), (1, 0, 1));
    assert_eq!(number(&bench.client, "SELECT count() FROM events").await, 0);
}
