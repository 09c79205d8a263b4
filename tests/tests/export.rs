//! Exporting finished figures from the real engine: what is in the files, when they are written, and what happens when they cannot be.

#![expect(clippy::unwrap_used, reason = "where a helper fails, its test has failed")]

use std::path::Path;

use clickhouse::Client;
use headcount::clock::{Clock, UnixMillis};
use headcount::export::{self, Export, ExportError};
use headcount::store::migrate::migrate;
use headcount_tests::delivery::execute;
use headcount_tests::engine::TestEngine;
use headcount_tests::small_disk::SmallDisk;

const ENGINE: &str = env!("CARGO_BIN_EXE_engine_child");
const NOW: UnixMillis = UnixMillis(1_795_348_800_000);
const FIGURES: &str = "v1/figures/site=a.example/month=2026-11/figures.parquet";

async fn fresh(name: &str) -> (std::sync::Arc<TestEngine>, Client) {
    let engine = TestEngine::shared(ENGINE).await;
    let client = engine.database(name).await;
    migrate(&client).await.unwrap();
    (engine, client)
}

async fn cell(client: &Client, site: &str, day: &str, (span, dimension, value): (&str, &str, &str), visitors: u64) {
    let sql = format!(
        "INSERT INTO rollup_closed (zone, day, site, span, dimension, value, visitors, pageviews) \
         VALUES ('UTC', '{day}', '{site}', '{span}', '{dimension}', '{value}', {visitors}, {visitors})"
    );
    execute(client, &sql).await;
}

async fn closed(client: &Client, day: &str) {
    cell(client, "", day, ("day", "~done", ""), 0).await;
    execute(client, &format!("INSERT INTO days (zone, day, what, at) VALUES ('UTC', '{day}', 'closed', now64(3))")).await;
}

/// The rows of a file, a line each.
async fn lines(client: &Client, folder: &Path, file: &str, columns: &str) -> Vec<String> {
    let path = folder.join(file);
    let sql = format!("SELECT concatWithSeparator(' ', {columns}) FROM file('{}', Parquet)", path.display());
    client.query_raw(&sql).fetch_all().await.unwrap()
}

fn exporting(client: &Client, folder: &Path) -> Export {
    Export::new(folder, client.clone(), Clock::standing_at(NOW))
}

#[tokio::test]
async fn finished_figures_are_written_by_site_and_month_and_again_when_they_change() {
    let (_engine, client) = fresh("exported").await;
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    for (site, day, visitors) in [("a.example", "2026-11-02", 30), ("a.example", "2026-10-31", 20), ("b.example", "2026-11-02", 10)] {
        cell(&client, site, day, ("day", "all", ""), visitors).await;
    }
    // Late: of a day that was closed before.
    cell(&client, "a.example", "2026-11-02", ("day", "all", ""), 1).await;
    cell(&client, "a.example", "2026-11-02", ("day", "page", "/"), 30).await;
    // Marks of ours are no figures.
    for mark in ["~goal", "~funnel", "~deleted"] {
        cell(&client, "a.example", "2026-11-02", ("day", mark, "Signup"), 0).await;
    }
    closed(&client, "2026-11-02").await;
    closed(&client, "2026-10-31").await;
    execute(&client, "INSERT INTO rollup_waiting (zone, day, site, span, dimension, value, visitors) VALUES ('UTC', '2026-11-02', 'a.example', 'day', 'page', '/secret', 3)").await;
    for (day, count) in [("2026-11-02", 3), ("2026-11-09", 9)] {
        let sql =
            format!("INSERT INTO outcomes_daily (zone, day, site, reason, count) VALUES ('UTC', '{day}', 'a.example', 'dnt', {count})");
        execute(&client, &sql).await;
    }

    let export = exporting(&client, folder);
    assert_eq!(export::waiting(folder, &client).await.unwrap(), [202_610, 202_611]);
    export.round().await.unwrap();
    assert!(export::waiting(folder, &client).await.unwrap().is_empty());
    let columns = "toString(day), span, dimension, value, toString(visitors), toString(pageviews)";
    assert_eq!(lines(&client, folder, FIGURES, columns).await, ["2026-11-02 day all  31 31", "2026-11-02 day page / 30 30"]);
    let outcomes = FIGURES.replace("figures", "outcomes");
    assert_eq!(lines(&client, folder, &outcomes, "toString(day), reason, toString(events)").await, ["2026-11-02 dnt 3"], "no open day");
    assert_eq!(lines(&client, folder, "v1/days.parquet", "zone, toString(day)").await, ["UTC 2026-10-31", "UTC 2026-11-02"]);
    let names: Vec<String> = client
        .query_raw(&format!("DESCRIBE file('{}', Parquet)", folder.join(FIGURES).display()))
        .fetch_all::<(String, String, String, String, String, String, String)>()
        .await
        .unwrap()
        .into_iter()
        .map(|row| row.0)
        .collect();
    // The last two are in the names of folders.
    let expected: Vec<&str> = headcount::store::export::FIGURES.iter().map(|column| column.name).chain(["month", "site"]).collect();
    assert_eq!(names, expected);
    assert!(!names.iter().any(|name| name == "visitor" || name == "weight"));
    assert!(std::fs::read_to_string(folder.join("README.md")).unwrap().contains("read_parquet('v1/figures/*/*/*.parquet'"));

    // Nothing has changed, nothing is written.
    let written = |file: &str| std::fs::metadata(folder.join(file)).unwrap().modified().unwrap();
    let october = FIGURES.replace("2026-11", "2026-10");
    let (first, of_october) = (written(FIGURES), written(&october));
    exporting(&client, folder).round().await.unwrap();
    assert_eq!((written(FIGURES), written(&october)), (first, of_october));

    // A later closing releases a cell of a week; another site has lost its figures.
    cell(&client, "a.example", "2026-11-02", ("week", "page", "/rare"), 6).await;
    execute(&client, "DELETE FROM rollup_closed WHERE site = 'b.example'").await;
    export.round().await.unwrap();
    assert_eq!(lines(&client, folder, FIGURES, columns).await.last().unwrap(), "2026-11-02 week page /rare 6 6");
    assert_eq!(written(&october), of_october);
    assert!(!folder.join(FIGURES.replace("a.example", "b.example")).exists());

    // A note that a crash has taken: everything once more, and the same.
    std::fs::remove_file(folder.join("v1/state.json")).unwrap();
    std::fs::write(folder.join("v1/figures/site=a.example/month=2026-11/.figures.parquet.new"), "half").unwrap();
    export.round().await.unwrap();
    assert_eq!(lines(&client, folder, FIGURES, columns).await.len(), 3);
    assert!(!folder.join("v1/figures/site=a.example/month=2026-11/.figures.parquet.new").exists());
}

#[tokio::test]
async fn what_a_kill_has_brought_back_is_not_exported_twice() {
    let (_engine, client) = fresh("exported_doubled").await;
    let folder = tempfile::tempdir().unwrap();
    cell(&client, "a.example", "2026-11-02", ("day", "all", ""), 30).await;
    closed(&client, "2026-11-02").await;
    closed(&client, "2026-11-02").await;
    let export = exporting(&client, folder.path());
    assert!(matches!(export.round().await, Err(ExportError::Doubled)));
    assert!(!folder.path().join(FIGURES).exists());
}

#[tokio::test]
async fn a_folder_that_is_missing_or_full_is_told_and_written_to_once_it_is_mended() {
    let (_engine, client) = fresh("exported_late").await;
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("export");
    cell(&client, "a.example", "2026-11-02", ("day", "all", ""), 30).await;
    closed(&client, "2026-11-02").await;
    let export = exporting(&client, &folder);
    assert!(matches!(export.round().await, Err(ExportError::Folder(_))));
    assert!(matches!(export::waiting(&folder, &client).await, Err(ExportError::Folder(_))));
    assert!(!folder.exists(), "it is not made");
    let Some(_disk) = SmallDisk::mount(&folder, "an export to a full disk") else { return };
    let filler = folder.join("filler");
    let _full = std::fs::write(&filler, vec![1; 17 * 1024 * 1024]);
    assert!(matches!(export.round().await, Err(ExportError::Folder(_))));
    assert!(!folder.join(FIGURES).exists());
    std::fs::remove_file(filler).unwrap();
    export.round().await.unwrap();
    assert!(folder.join(FIGURES).exists());
}

#[tokio::test]
async fn months_that_are_past_go_and_younger_ones_stay_whatever_the_tables_have_lost() {
    let (_engine, client) = fresh("exported_old").await;
    // The months are old on the stage's day. ClickHouse asks the machine, for which they may be older still, and would let them go itself.
    execute(&client, "ALTER TABLE rollup_closed REMOVE TTL").await;
    let folder = tempfile::tempdir().unwrap();
    for day in ["2024-10-31", "2024-11-01", "2026-11-02"] {
        cell(&client, "a.example", day, ("day", "all", ""), 30).await;
    }
    let export = exporting(&client, folder.path());
    export.round().await.unwrap();
    let there = |month: &str| folder.path().join(FIGURES.replace("2026-11", month)).exists();
    assert!(there("2024-10") && there("2024-11") && there("2026-11"), "the tables still have them");
    execute(&client, "TRUNCATE TABLE rollup_closed").await;
    export.round().await.unwrap();
    assert_eq!(["2024-10", "2024-11", "2026-11"].map(there), [false, true, true]);
}
