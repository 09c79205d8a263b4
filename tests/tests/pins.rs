//! What Headcount relies on in ClickHouse, each as a test of the shipped engine: when an upgrade changes one of these, the design has to
//! change, not the expectation.

use bytes::Bytes;
use clickhouse::Client;
use headcount::store::client;
use headcount_tests::engine::TestEngine;

const ENGINE: &str = env!("CARGO_BIN_EXE_engine_child");

/// What is sent with every insert.
const INSERT_SETTINGS: [(&str, &str); 5] = [
    ("async_insert", "0"),
    ("insert_deduplicate", "1"),
    ("deduplicate_blocks_in_dependent_materialized_views", "1"),
    ("input_format_connection_handling", "0"),
    ("wait_end_of_query", "1"),
];
const SINGLE_NODE: &str = "non_replicated_deduplication_window = 1000, fsync_after_insert = 1, fsync_part_directory = 1";

async fn execute(client: &Client, sql: &str) {
    client.query(sql).execute().await.unwrap_or_else(|error| panic!("{sql}: {error}"));
}

async fn number(client: &Client, sql: &str) -> u64 {
    client.query(sql).fetch_one().await.unwrap_or_else(|error| panic!("{sql}: {error}"))
}

/// Tables as the collector's: raw rows, and a rollup of states that one view feeds. `window` holds the rollup's settings.
async fn tables(client: &Client, window: &str) {
    for sql in [
        format!("CREATE TABLE events (day Date, n UInt64) ENGINE = MergeTree PARTITION BY day ORDER BY n SETTINGS {SINGLE_NODE}"),
        format!(
            "CREATE TABLE rollup (day Date, views SimpleAggregateFunction(sum, UInt64)) ENGINE = AggregatingMergeTree PARTITION BY day ORDER BY day SETTINGS {window}"
        ),
        "CREATE MATERIALIZED VIEW feed TO rollup AS SELECT day, count() AS views FROM events GROUP BY day".to_owned(),
    ] {
        execute(client, &sql).await;
    }
}

async fn insert(client: &Client, token: &str, numbers: std::ops::Range<u64>) -> Result<(), clickhouse::error::Error> {
    let rows: Bytes = numbers.flat_map(|number| [&20_000_u16.to_le_bytes()[..], &number.to_le_bytes()].concat()).collect();
    let mut insert = client::insert(client, "INSERT INTO events (day, n) FORMAT RowBinary");
    for (name, value) in INSERT_SETTINGS {
        insert = insert.with_setting(name, value);
    }
    insert = insert.with_setting("insert_deduplication_token", token);
    insert.send(rows).await?;
    insert.end().await
}

async fn counts(client: &Client) -> (u64, u64) {
    (number(client, "SELECT count() FROM events").await, number(client, "SELECT sum(views) FROM rollup").await)
}

#[tokio::test]
async fn a_token_makes_retries_count_once_in_table_and_rollup() {
    let engine = TestEngine::shared(ENGINE).await;
    let client = engine.database("token").await;
    tables(&client, SINGLE_NODE).await;
    for _ in 0..3 {
        insert(&client, "a/1", 0..1000).await.unwrap();
    }
    assert_eq!(counts(&client).await, (1000, 1000));
    // Another token with the same rows counts; the same token with other rows is dropped in silence: so a token never repeats.
    insert(&client, "a/2", 0..1000).await.unwrap();
    insert(&client, "a/2", 0..500).await.unwrap();
    assert_eq!(counts(&client).await, (2000, 2000));
}

#[tokio::test]
async fn without_a_window_on_the_rollup_retries_multiply_there() {
    let engine = TestEngine::shared(ENGINE).await;
    let client = engine.database("windowless").await;
    tables(&client, "fsync_after_insert = 1").await;
    for _ in 0..3 {
        insert(&client, "a/1", 0..1000).await.unwrap();
    }
    assert_eq!(counts(&client).await, (1000, 3000));
}

#[tokio::test]
async fn a_window_outlives_the_process() {
    let mut engine = TestEngine::start(ENGINE).await;
    let client = engine.database("outlives").await;
    tables(&client, SINGLE_NODE).await;
    insert(&client, "a/1", 0..1000).await.unwrap();
    engine.child.close_input();
    engine.child.ended().await;
    let next = headcount_tests::engine::EngineChild::spawn(ENGINE, engine.folder(), 1 << 30);
    next.ready().await;
    let client = next.client().with_database("outlives");
    insert(&client, "a/1", 0..1000).await.unwrap();
    assert_eq!(counts(&client).await, (1000, 1000));
}

#[tokio::test]
async fn the_table_commits_before_the_rollup_so_the_rollup_never_has_a_batch_that_the_table_lacks() {
    let engine = TestEngine::shared(ENGINE).await;
    let client = engine.database("ordered").await;
    tables(&client, SINGLE_NODE).await;
    // The table fails: neither has it.
    execute(&client, "ALTER TABLE events ADD CONSTRAINT small CHECK n < 5000").await;
    assert!(insert(&client, "a/1", 4990..5010).await.is_err());
    assert_eq!(counts(&client).await, (0, 0));
    // The view fails: the rollup lacks it, and the table has it.
    execute(&client, "DROP TABLE feed").await;
    execute(
        &client,
        "CREATE MATERIALIZED VIEW feed TO rollup AS SELECT day, toUInt64(throwIf(max(n) = 4000)) + count() AS views FROM events GROUP BY day",
    )
    .await;
    assert!(insert(&client, "a/2", 4000..4001).await.is_err());
    assert_eq!(counts(&client).await, (1, 0));
}

#[tokio::test]
async fn every_setting_is_known() {
    let engine = TestEngine::shared(ENGINE).await;
    let client = engine.database("known").await;
    for (name, _) in INSERT_SETTINGS.into_iter().chain([("insert_deduplication_token", ""), ("max_execution_time", "")]) {
        // A parameter of the HTTP interface, not a setting.
        if name == "wait_end_of_query" {
            continue;
        }
        assert_eq!(number(&client, &format!("SELECT count() FROM system.settings WHERE name = '{name}'")).await, 1, "{name}");
    }
    for name in ["non_replicated_deduplication_window", "fsync_after_insert", "fsync_part_directory"] {
        assert_eq!(number(&client, &format!("SELECT count() FROM system.merge_tree_settings WHERE name = '{name}'")).await, 1, "{name}");
    }
}

#[tokio::test]
async fn an_insert_of_a_whole_segment_is_one_part() {
    let engine = TestEngine::shared(ENGINE).await;
    let client = engine.database("parts").await;
    tables(&client, SINGLE_NODE).await;
    execute(&client, "SYSTEM STOP MERGES events").await;
    insert(&client, "a/1", 0..u64::from(headcount::limits::SEGMENT_ROWS)).await.unwrap();
    let parts = "SELECT count() FROM system.parts WHERE database = 'parts' AND active AND table = ";
    assert_eq!(number(&client, &format!("{parts}'events'")).await, 1);
    assert_eq!(number(&client, &format!("{parts}'rollup'")).await, 1);
}

#[tokio::test]
async fn visitor_zero_is_counted_only_without_if() {
    let engine = TestEngine::shared(ENGINE).await;
    let client = engine.database("uniques").await;
    assert_eq!(number(&client, "SELECT uniqCombined64(14)(toUInt64(0))").await, 1);
    assert_eq!(number(&client, "SELECT uniqCombined64If(14)(v, v != 0) FROM (SELECT arrayJoin([0, 0]::Array(UInt64)) AS v)").await, 0);
    let merged = "SELECT uniqCombined64IfMerge(14)(s) FROM (SELECT uniqCombined64IfState(14)(v, v != 0) AS s \
                  FROM (SELECT arrayJoin([0, 1, 2]::Array(UInt64)) AS v) UNION ALL SELECT uniqCombined64IfState(14)(2::UInt64, true))";
    assert_eq!(number(&client, merged).await, 2);
}

#[tokio::test]
async fn there_are_no_system_logs() {
    let engine = TestEngine::shared(ENGINE).await;
    let client = engine.database("logs").await;
    execute(&client, "SELECT 1").await;
    assert_eq!(number(&client, "SELECT count() FROM system.tables WHERE database = 'system' AND name LIKE '%\\_log'").await, 0);
}

#[tokio::test]
async fn select_from_input_is_refused_so_a_segment_cannot_be_replayed_into_the_rollup_alone() {
    let engine = TestEngine::shared(ENGINE).await;
    let client = engine.database("input").await;
    tables(&client, SINGLE_NODE).await;
    let sql = "INSERT INTO rollup SELECT day, count() FROM input('day Date, n UInt64') GROUP BY day FORMAT RowBinary";
    let mut insert = client::insert(&client, sql);
    insert.send(Bytes::from_static(&[0; 10])).await.unwrap();
    assert!(insert.end().await.is_err());
}
