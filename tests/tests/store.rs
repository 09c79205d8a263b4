//! The tables against the real engine: migrations, the register of columns, rows as they come back, the rollup against the raw events.

#![expect(clippy::unwrap_used, reason = "where a helper fails, its test has failed")]

use std::collections::BTreeMap;

use clickhouse::{Client, Row};
use headcount::clock::Day;
use headcount::row;
use headcount::store::migrate::{MigrateError, Migrated, migrate};
use headcount::store::totals::{self, SiteTotals};
use headcount_tests::engine::TestEngine;
use serde::Deserialize;

const ENGINE: &str = env!("CARGO_BIN_EXE_engine_child");

/// A fresh database with this version's tables.
async fn migrated(name: &str) -> (std::sync::Arc<TestEngine>, Client) {
    let engine = TestEngine::shared(ENGINE).await;
    let client = engine.database(name).await;
    migrate(&client).await.unwrap();
    (engine, client)
}

async fn execute(client: &Client, sql: &str) {
    client.query(sql).execute().await.unwrap_or_else(|error| panic!("{sql}: {error}"));
}

#[tokio::test]
async fn an_empty_database_is_migrated_once() {
    let engine = TestEngine::shared(ENGINE).await;
    let client = engine.database("empty").await;
    assert_eq!(migrate(&client).await.unwrap(), Migrated { version: 1, applied: 1, view_replaced: false });
    assert_eq!(migrate(&client).await.unwrap(), Migrated { version: 1, applied: 0, view_replaced: false });
}

#[tokio::test]
async fn a_start_that_died_within_a_migration_repeats_it() {
    let (_engine, client) = migrated("died").await;
    execute(&client, "TRUNCATE TABLE migrations").await;
    execute(&client, "DROP TABLE outcomes_daily").await;
    assert_eq!(migrate(&client).await.unwrap().applied, 1);
    execute(&client, "SELECT count() FROM outcomes_daily").await;
}

#[tokio::test]
async fn a_database_of_a_newer_version_is_refused_in_a_clear_line() {
    let (_engine, client) = migrated("newer").await;
    execute(&client, "INSERT INTO migrations (version, name) VALUES (1000, 'of the future')").await;
    let error = migrate(&client).await.unwrap_err();
    assert!(matches!(error, MigrateError::Newer { found: 1000, known: 1 }));
    assert!(error.to_string().contains("version 1000"), "{error}");
}

#[tokio::test]
async fn a_view_with_another_select_is_replaced() {
    let (_engine, client) = migrated("view").await;
    execute(&client, "ALTER TABLE rollup_open_view MODIFY COMMENT 'of an earlier version'").await;
    assert!(migrate(&client).await.unwrap().view_replaced);
    assert!(!migrate(&client).await.unwrap().view_replaced);
}

/// One column in `schema/columns.toml`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Registered {
    r#type: String,
    purpose: String,
    lifetime: String,
    sensitivity: String,
}

fn register() -> BTreeMap<String, BTreeMap<String, Registered>> {
    toml::from_str(include_str!("../../schema/columns.toml")).unwrap()
}

#[derive(Row, Deserialize)]
struct Column {
    table: String,
    name: String,
    r#type: String,
}

#[tokio::test]
async fn the_register_names_exactly_the_columns_that_are_written_and_that_live() {
    let (_engine, client) = migrated("register").await;
    let live = "SELECT table, name, type FROM system.columns \
        WHERE database = currentDatabase() AND table IN (SELECT name FROM system.tables WHERE database = currentDatabase() AND engine LIKE '%MergeTree')";
    let columns: Vec<Column> = client.query(live).fetch_all().await.unwrap();
    let register = register();
    let registered: Vec<(&str, &str, &str)> = register
        .iter()
        .flat_map(|(table, columns)| columns.iter().map(move |(name, column)| (table.as_str(), name.as_str(), column.r#type.as_str())))
        .collect();
    let mut lives: Vec<(&str, &str, &str)> =
        columns.iter().map(|column| (column.table.as_str(), column.name.as_str(), column.r#type.as_str())).collect();
    lives.sort_unstable();
    assert_eq!(registered, lives);

    for layout in [row::EVENTS, row::OUTCOMES] {
        let live: Vec<&str> = columns.iter().filter(|column| column.table == layout.table).map(|column| column.name.as_str()).collect();
        let written: Vec<&str> = layout.columns.iter().map(|(name, _)| *name).collect();
        assert_eq!(written, live, "{}", layout.table);
        for (name, written) in layout.columns {
            let column = &register[layout.table][*name].r#type;
            // On the wire a dictionary is what it is a dictionary of.
            let wire = column.strip_prefix("LowCardinality(").and_then(|inner| inner.strip_suffix(')')).unwrap_or(column);
            assert_eq!(*written, wire, "{}.{name}", layout.table);
        }
    }
    for (table, columns) in &register {
        for (name, column) in columns {
            assert!(column.purpose.len() > 10 && column.purpose.ends_with(['.']), "{table}.{name}: purpose");
            assert!(["day", "25m", "kept"].contains(&&*column.lifetime), "{table}.{name}: lifetime");
            assert!(["none", "event", "visitor", "free"].contains(&&*column.sensitivity), "{table}.{name}: sensitivity");
        }
    }
}

#[tokio::test]
async fn every_table_remembers_tokens_and_syncs_its_parts() {
    let (_engine, client) = migrated("settings").await;
    let tables: Vec<(String, String)> = client
        .query("SELECT name, create_table_query FROM system.tables WHERE database = currentDatabase() AND engine LIKE '%MergeTree'")
        .fetch_all()
        .await
        .unwrap();
    assert_eq!(tables.len(), 4);
    for (table, sql) in tables {
        let mut settings = vec!["fsync_after_insert = 1", "fsync_part_directory = 1", "min_rows_to_fsync_after_merge = 1"];
        if table != "migrations" {
            settings.push("non_replicated_deduplication_window = 1000");
        }
        for setting in settings {
            assert!(sql.contains(setting), "{table}: {setting}");
        }
    }
}

#[tokio::test]
async fn the_totals_of_a_day_are_those_of_its_zone_and_count_a_visitor_once() {
    let (_engine, client) = migrated("totals").await;
    let insert = "INSERT INTO events (zone, day, site, kind, name, visitor, value, currency) VALUES
        ('UTC', '2026-01-02', 'one', 'pageview', '', 7, 0, ''), ('UTC', '2026-01-02', 'one', 'pageview', '', 7, 0, ''),
        ('UTC', '2026-01-02', 'one', 'event', 'purchase', 7, 12, 'EUR'), ('UTC', '2026-01-02', 'one', 'screen', '', 8, 0, ''),
        ('UTC', '2026-01-02', 'one', 'pageview', '', 0, 0, ''), ('UTC', '2026-01-02', 'one', 'engagement', '', 7, 0, ''),
        ('UTC', '2026-01-02', 'two', 'event', 'signup', 0, 0, ''),
        ('UTC', '2026-01-01', 'one', 'pageview', '', 9, 0, ''), ('Europe/Berlin', '2026-01-02', 'three', 'pageview', '', 9, 0, '')";
    execute(&client, insert).await;
    let mut found = totals::of_day(&client, "UTC", Day(20_455)).await.unwrap();
    found.sort_by(|one, other| one.site.cmp(&other.site));
    let totals = |site: &str, pageviews, visitors, events| SiteTotals { site: site.to_owned(), pageviews, visitors, events };
    assert_eq!(found, [totals("one", 4, 2, 1), totals("two", 0, 0, 1)]);
}
