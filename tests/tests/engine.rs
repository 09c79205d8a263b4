//! The embedded engine as the collector uses it: its life, its socket, its bounds.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use bytes::Bytes;
use clickhouse::Client;
use clickhouse::error::Error;
use headcount::store::client;
use headcount_tests::engine::{EngineChild, TestEngine, eventually};

const ENGINE: &str = env!("CARGO_BIN_EXE_engine_child");
const MEMORY_BYTES: u64 = 1 << 30;

async fn engine() -> Arc<TestEngine> {
    TestEngine::shared(ENGINE).await
}

async fn execute(client: &Client, sql: &str) {
    client.query(sql).execute().await.unwrap_or_else(|error| panic!("{sql}: {error}"));
}

async fn number(client: &Client, sql: &str) -> u64 {
    client.query(sql).fetch_one().await.unwrap_or_else(|error| panic!("{sql}: {error}"))
}

/// What ClickHouse said against `outcome`.
fn refusal<T>(outcome: Result<T, Error>) -> String {
    match outcome {
        Err(Error::BadResponse(text)) => text,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it was allowed"),
    }
}

/// `rows` little-endian numbers from zero: RowBinary of one `UInt64` column.
fn numbers(rows: u64) -> Bytes {
    (0..rows).flat_map(u64::to_le_bytes).collect()
}

#[tokio::test]
async fn it_ends_with_its_parent_and_keeps_its_folders_closed() {
    let mut engine = TestEngine::start(ENGINE).await;
    let mode = |path: &str| std::fs::metadata(engine.folder().join(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("run"), mode("clickhouse")), (0o700, 0o700));
    engine.child.close_input();
    assert_eq!(engine.child.ended().await, Some(0));
    assert!(!engine.folder().join("run/engine.sock").exists());
}

#[tokio::test]
async fn it_stands_behind_the_collector_where_cores_are_scarce() {
    let engine = TestEngine::start(ENGINE).await;
    let niceness = |process: &str| -> i32 {
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
        // The name, in parentheses, is the second field, and how nice it is the nineteenth.
        stat.rsplit_once(") ").unwrap().1.split(' ').nth(16).unwrap().parse().unwrap()
    };
    assert_eq!(niceness(&engine.child.id().to_string()), (niceness("self") + headcount_engine::limits::NICENESS).min(19));
}

#[tokio::test]
async fn a_killed_engine_leaves_its_data_to_the_next() {
    let mut engine = TestEngine::start(ENGINE).await;
    let client = engine.database("kept").await;
    execute(&client, "CREATE TABLE t (n UInt64) ENGINE = MergeTree ORDER BY n").await;
    execute(&client, "INSERT INTO t SELECT number FROM numbers(1000)").await;
    engine.child.kill().unwrap();
    let next = EngineChild::spawn(ENGINE, engine.folder(), MEMORY_BYTES);
    next.ready().await;
    assert_eq!(number(&next.client(), "SELECT count() FROM kept.t").await, 1000);
}

#[tokio::test]
async fn a_second_engine_waits_for_the_first_to_end() {
    let mut engine = TestEngine::start(ENGINE).await;
    let mut second = EngineChild::spawn(ENGINE, engine.folder(), MEMORY_BYTES);
    let waits_for_lock = async || {
        std::fs::read_to_string("/proc/locks").is_ok_and(|locks| {
            locks.lines().any(|line| line.contains("->") && line.split_ascii_whitespace().any(|word| word == second.id().to_string()))
        })
    };
    eventually(waits_for_lock).await;
    assert_eq!(client::Pinger::new(engine.child.socket()).process().await, Some(engine.child.id()));
    engine.child.close_input();
    second.ready().await;
    assert_eq!(number(&second.client(), "SELECT 1::UInt64").await, 1);

    // One that still waits ends with its parent too.
    let mut third = EngineChild::spawn(ENGINE, engine.folder(), MEMORY_BYTES);
    third.close_input();
    assert_eq!(third.ended().await, Some(0));
    assert!(second.is_running());
}

#[tokio::test]
async fn what_cannot_start_says_why_by_its_status() {
    let folder = tempfile::tempdir().unwrap();
    for (deep, memory_bytes, status) in [("", 1, 13), ("d".repeat(100).as_str(), MEMORY_BYTES, 12)] {
        let mut child = EngineChild::spawn(ENGINE, &folder.path().join(deep), memory_bytes);
        assert_eq!(child.ended().await, Some(status));
        assert!(headcount_engine::EngineError::explain(status).is_some());
    }
}

#[tokio::test]
async fn binary_rows_of_any_bytes_arrive_as_they_were() {
    let engine = engine().await;
    let client = engine.database("bytes").await;
    execute(&client, "CREATE TABLE t (i UInt16, s String) ENGINE = MergeTree ORDER BY i").await;
    let values: Vec<Vec<u8>> = (0..=255_u8).map(|byte| vec![byte, b';', 0, b'\n', byte]).collect();
    let mut rows = Vec::new();
    for (index, value) in (0_u16..).zip(&values) {
        rows.extend(index.to_le_bytes());
        rows.push(5);
        rows.extend(value);
    }
    let mut insert = client::insert(&client, "INSERT INTO t (i, s) FORMAT RowBinary");
    for piece in rows.chunks(100) {
        insert.send(Bytes::copy_from_slice(piece)).await.unwrap();
    }
    insert.end().await.unwrap();
    assert_eq!(number(&client, "SELECT countIf(s = char(i, 59, 0, 10, i)) FROM t").await, 256);
}

#[tokio::test]
async fn an_insert_that_is_broken_off_leaves_nothing() {
    let engine = engine().await;
    let client = engine.database("aborted").await;
    execute(&client, "CREATE TABLE t (n UInt64) ENGINE = MergeTree ORDER BY n").await;
    let rows = numbers(400_000);
    for length in [0, 8, 8 * 1000 + 3, rows.len()] {
        let mut insert = client::insert(&client, "INSERT INTO t (n) FORMAT RowBinary");
        for piece in rows.slice(..length).chunks(256 * 1024) {
            insert.send(Bytes::copy_from_slice(piece)).await.unwrap();
        }
        insert.send(Bytes::from_static(b"")).await.unwrap();
        drop(insert);
        let running = "SELECT count() FROM system.processes WHERE current_database = 'aborted' AND query_kind = 'Insert'";
        eventually(async || number(&client, running).await == 0).await;
        assert_eq!(number(&client, "SELECT count() FROM t").await, 0, "after {length} bytes");
    }
    // The control: the same rows, ended properly, are there.
    let mut insert = client::insert(&client, "INSERT INTO t (n) FORMAT RowBinary");
    insert.send(rows).await.unwrap();
    insert.end().await.unwrap();
    assert_eq!(number(&client, "SELECT count() FROM t").await, 400_000);
}

#[tokio::test]
async fn slow_queries_do_not_delay_an_insert() {
    let engine = engine().await;
    let client = engine.database("slow").await;
    execute(&client, "CREATE TABLE t (n UInt64) ENGINE = MergeTree ORDER BY n").await;
    let mut slow = tokio::task::JoinSet::new();
    for _ in 0..headcount_engine::limits::QUERIES - 1 {
        let query = client.query("SELECT sum(sleepEachRow(1)) FROM numbers(60) SETTINGS max_block_size = 1, max_execution_time = 3");
        slow.spawn(query.execute());
    }
    let running = "SELECT count() FROM system.processes WHERE query LIKE 'SELECT sum(sleepEachRow%'";
    eventually(async || number(&client, running).await == headcount_engine::limits::QUERIES as u64 - 1).await;
    // One place is left; take it too, and every further query would wait.
    slow.spawn(client.query("SELECT sleep(3)").execute());
    let mut insert = client::insert(&client, "INSERT INTO t (n) FORMAT RowBinary");
    insert.send(numbers(1000)).await.unwrap();
    insert.end().await.unwrap();
    assert!(slow.try_join_next().is_none(), "the insert waited for a query");
    while slow.join_next().await.is_some() {}
    assert_eq!(number(&client, "SELECT count() FROM t").await, 1000);
}

#[tokio::test]
async fn parameters_reach_the_statement_as_values() {
    let engine = engine().await;
    let client = engine.database("parameters").await;
    let text = "it's; a `\\ \n\t{x:String} \u{1F600}";
    let query = client.query("SELECT {s:String}, {n:UInt64}, length({a:Array(String)}), {d:Date} = toDate('2026-11-22')");
    let row: (String, u64, u64, u8) =
        query.param("s", text).param("n", u64::MAX).param("a", vec!["a", "b"]).param("d", "2026-11-22").fetch_one().await.unwrap();
    assert_eq!(row, (text.to_owned(), u64::MAX, 2, 1));
}

#[tokio::test]
async fn settings_hold_for_their_statement_only() {
    let engine = engine().await;
    let client = engine.database("settings").await;
    let threads = "SELECT toUInt64(getSetting('max_threads'))";
    let set: u64 = client.query(threads).with_setting("max_threads", "7").fetch_one().await.unwrap();
    assert_eq!(set, 7);
    assert_ne!(number(&client, threads).await, 7);
    let unknown = refusal(client.query("SELECT 1").with_setting("no_such_setting", "1").execute().await);
    assert!(unknown.starts_with("Code: 115."), "{unknown}");
}

#[tokio::test]
async fn errors_are_clickhouses_own_with_their_codes() {
    let engine = engine().await;
    let client = engine.database("errors").await;
    execute(&client, "CREATE TABLE t (n UInt64) ENGINE = MergeTree ORDER BY n").await;
    for (sql, code) in [
        ("SELECT * FROM nowhere", "Code: 60."),
        ("SELECT missing FROM t", "Code: 47."),
        ("CREATE TABEL t", "Code: 62."),
        ("SELECT 1; SELECT 2", "Code: 62."),
        ("CREATE TABLE t (n UInt64) ENGINE = MergeTree ORDER BY n", "Code: 57."),
    ] {
        let text = refusal(client.query(sql).fetch_one::<u64>().await);
        assert!(text.starts_with(code), "{sql}: {text}");
    }
    let mut insert = client::insert(&client, "INSERT INTO t (n) FORMAT RowBinary");
    insert.send(Bytes::from_static(b"123")).await.unwrap();
    let half_a_row = refusal(insert.end().await);
    assert!(half_a_row.starts_with("Code: 33."), "{half_a_row}");
    let mut insert = client::insert(&client, "INSERT INTO nowhere (n) FORMAT RowBinary");
    for _ in 0..64 {
        // Sending may fail as soon as the answer is known.
        if insert.send(Bytes::from(vec![0; 1 << 20])).await.is_err() {
            break;
        }
    }
    let no_table = refusal(insert.end().await);
    assert!(no_table.starts_with("Code: 60."), "{no_table}");
    assert_eq!(number(&client, "SELECT count() FROM t").await, 0);
}

#[tokio::test]
async fn an_error_in_the_midst_of_an_answer_is_seen() {
    let engine = engine().await;
    let client = engine.database("midst").await;
    let mut cursor = client.query("SELECT throwIf(number = 1500000) FROM numbers(3000000)").fetch::<u8>().unwrap();
    let mut rows = 0_u64;
    let error = loop {
        match cursor.next().await {
            Ok(Some(_)) => rows += 1,
            Ok(None) => panic!("a part was taken for the whole"),
            Err(error) => break error.to_string(),
        }
    };
    assert!(rows > 0 && error.contains("Code: 395."), "{rows}: {error}");
}

#[tokio::test]
async fn answers_stream_and_memory_stays_flat() {
    let engine = TestEngine::start(ENGINE).await;
    let client = engine.database("flat").await;
    let peak_kib = || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", engine.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap().to_owned();
        line.split_ascii_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
    };
    let sum_of = async |rows: u64| {
        let mut cursor = client.query("SELECT number FROM numbers({rows:UInt64})").param("rows", rows).fetch::<u64>().unwrap();
        let mut sum = 0_u64;
        while let Some(number) = cursor.next().await.unwrap() {
            sum += number;
        }
        sum
    };
    assert_eq!(sum_of(1_000_000).await, 499_999_500_000);
    let before = peak_kib();
    assert_eq!(sum_of(20_000_000).await, 199_999_990_000_000);
    assert!(peak_kib() < before + 100 * 1024, "160 MB of rows took {} KiB more", peak_kib() - before);
}

#[tokio::test]
async fn the_memory_cap_stops_the_statement_and_not_the_engine() {
    let engine = engine().await;
    let client = engine.database("memory").await;
    let text = refusal(client.query("SELECT length(groupArray(number)) FROM numbers(1000000000)").fetch_one::<u64>().await);
    assert!(text.starts_with("Code: 241."), "{text}");
    assert_eq!(number(&client, "SELECT 1::UInt64").await, 1);
}

#[tokio::test]
async fn read_only_statements_read_tables_and_nothing_else() {
    let engine = engine().await;
    let client = engine.database("readonly").await;
    execute(&client, "CREATE TABLE t (n UInt64) ENGINE = MergeTree ORDER BY n").await;
    let reader = client::read_only(&client);
    assert_eq!(number(&reader, "SELECT count() FROM t").await, 0);
    let written = std::env::temp_dir().join(format!("headcount-outfile-{}", std::process::id()));
    let outfile = format!("SELECT 1 INTO outfile '{}'", written.display());
    for sql in [
        "INSERT INTO t VALUES (1)",
        "INSERT INTO t SELECT 1",
        "DROP TABLE t",
        "SELECT * FROM file('/etc/hostname', 'LineAsString')",
        "SELECT * FROM url('http://127.0.0.1:1/', 'LineAsString')",
        "SELECT count() FROM t SETTINGS readonly = 0",
        "SET readonly = 0",
        "SYSTEM SHUTDOWN",
        outfile.as_str(),
    ] {
        let text = refusal(reader.query(sql).execute().await);
        assert!(text.starts_with("Code: 164."), "{sql}: {text}");
    }
    let two = refusal(reader.query("SET readonly = 0; INSERT INTO t VALUES (1)").execute().await);
    assert!(two.contains("Multi-statements are not allowed"), "{two}");
    let mut insert = client::insert(&reader, "INSERT INTO t (n) FORMAT RowBinary");
    insert.send(numbers(1)).await.unwrap();
    let streamed = refusal(insert.end().await);
    assert!(streamed.starts_with("Code: 164."), "{streamed}");
    assert_eq!(number(&client, "SELECT count() FROM t").await, 0);
    // The control: without `readonly` the engine would have written the file.
    execute(&client, &outfile).await;
    assert!(std::fs::remove_file(written).is_ok());
}
