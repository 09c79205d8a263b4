//! The dashboards for Grafana: every panel's SQL is run on the real engine, with Grafana's macros expanded, and every expression for Prometheus names metrics that
//! the collector really shows.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![expect(clippy::unwrap_used, reason = "where a helper fails, its test has failed")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use clickhouse::Client;
use headcount::store::migrate::migrate;
use headcount_tests::collector::Setup;
use headcount_tests::delivery::execute;
use headcount_tests::engine::TestEngine;
use serde_json::Value;

const ENGINE: &str = env!("CARGO_BIN_EXE_engine_child");
/// What a user of Grafana may read; the README grants no more.
const FINISHED: [&str; 3] = ["rollup_closed", "outcomes_daily", "days"];

fn file(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../dashboards/grafana").join(path)).unwrap()
}

fn dashboard(name: &str) -> Value {
    serde_json::from_str(&file(&format!("dashboards/{name}.json"))).unwrap()
}

/// The texts of a field of every panel's queries, with the panel's title.
fn queries(dashboard: &Value, field: &str) -> Vec<(String, String)> {
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let all = panels.flat_map(|panel| panel["targets"].as_array().unwrap().iter().map(move |target| (&panel["title"], &target[field])));
    all.map(|(title, text)| (title.as_str().unwrap().to_owned(), text.as_str().unwrap().to_owned())).collect()
}

/// The statement with the macros of the data source and the variables of the dashboard as Grafana expands them, for 2026-11-01 to 2026-11-30; fails over one that it does not know.
fn expanded(sql: &str) -> Result<String, String> {
    let mut text =
        sql.replace("${site}", "a.example").replace("$__fromTime", "toDateTime(1793491200)").replace("$__toTime", "toDateTime(1796083199)");
    for (name, expansion) in [
        ("$__dateFilter(", "{} >= toDate('2026-11-01') AND {} <= toDate('2026-11-30')"),
        ("$__timeFilter(", "{} >= toDateTime(1793491200) AND {} <= toDateTime(1796083199)"),
    ] {
        while let Some(begin) = text.find(name) {
            let end = begin + text[begin..].find(')').ok_or("a macro that does not end")?;
            let expansion = expansion.replace("{}", &text[begin + name.len()..end]);
            text.replace_range(begin..=end, &expansion);
        }
    }
    if text.contains('$') { Err(format!("Grafana does not know what is left: {text}")) } else { Ok(text) }
}

#[test]
fn a_macro_that_grafana_does_not_know_is_seen() {
    assert_eq!(
        expanded("x = '${site}' AND $__dateFilter(day)").unwrap(),
        "x = 'a.example' AND day >= toDate('2026-11-01') AND day <= toDate('2026-11-30')"
    );
    assert!(expanded("$__timeGroup(day)").is_err() && expanded("'${sit}'").is_err());
}

/// A closed month with something in every cut.
async fn filled(client: &Client) {
    for (span, day, dimension, value, currency) in [
        ("day", "2026-11-02", "all", "", ""),
        ("day", "2026-11-02", "all", "", "EUR"),
        ("day", "2026-11-02", "hour", "09", ""),
        ("week", "2026-11-02", "page", "/", ""),
        ("day", "2026-11-03", "entry_page", "/", ""),
        ("day", "2026-11-03", "source", "Google", ""),
        ("month", "2026-11-01", "channel", "search", ""),
        ("day", "2026-11-03", "utm_campaign", "x", ""),
        ("day", "2026-11-03", "country", "DE", ""),
        ("day", "2026-11-03", "device", "phone", ""),
        ("day", "2026-11-03", "browser", "Firefox", ""),
        ("day", "2026-11-03", "event", "signup", ""),
    ] {
        let sql = format!(
            "INSERT INTO rollup_closed (zone, day, site, span, dimension, value, currency, visitors, visits, pageviews, events, amount) \
             VALUES ('UTC', '{day}', 'a.example', '{span}', '{dimension}', '{value}', '{currency}', 10, 10, 20, 5, 7)"
        );
        execute(client, &sql).await;
    }
    execute(client, "INSERT INTO days (zone, day, what, at) VALUES ('UTC', '2026-11-02', 'closed', now64(3))").await;
    execute(client, "INSERT INTO outcomes_daily (zone, day, site, reason, count) VALUES ('UTC', '2026-11-02', 'a.example', 'dnt', 3)")
        .await;
}

/// The tables that a statement reads.
fn tables(sql: &str) -> BTreeSet<&str> {
    let words: Vec<&str> = sql.split(|own: char| own.is_whitespace() || "(),".contains(own)).filter(|word| !word.is_empty()).collect();
    words.windows(2).filter(|pair| ["FROM", "JOIN"].contains(&pair[0])).map(|pair| pair[1]).collect()
}

#[tokio::test]
async fn every_panel_of_the_figures_has_an_answer_from_finished_tables() {
    let engine = TestEngine::shared(ENGINE).await;
    let client = engine.database("grafana").await;
    migrate(&client).await.unwrap();
    filled(&client).await;
    let dashboard = dashboard("figures");
    let mut all = queries(&dashboard, "rawSql");
    assert!(all.len() > 15, "the dashboard was read");
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    all.extend(variables.iter().map(|own| ("a variable".to_owned(), own["query"].as_str().unwrap().to_owned())));
    for (title, sql) in all {
        let read = tables(&sql);
        assert!(!read.is_empty() && read.iter().all(|table| FINISHED.contains(table)), "{title}: {read:?}");
        let sql = format!("SELECT count() FROM ({})", expanded(&sql).unwrap_or_else(|fault| panic!("{title}: {fault}")));
        let rows: Result<u64, _> = client.query_raw(&sql).fetch_one().await;
        assert!(rows.as_ref().is_ok_and(|rows| *rows > 0), "{title}: {rows:?}: {sql}");
    }
    let wrong = client.query_raw("SELECT sum(visitor) FROM rollup_closed").fetch_one::<u64>().await;
    assert!(wrong.is_err(), "a column that is not there is an error");
}

#[tokio::test]
async fn the_statements_of_the_readme_are_statements_and_grant_finished_tables_alone() {
    let engine = TestEngine::shared(ENGINE).await;
    let client = engine.database("grafana_user").await;
    let readme = file("README.md");
    let block = readme.split("```sql\n").nth(1).unwrap().split("```").next().unwrap();
    let statements: Vec<&str> = block.lines().map(|line| line.trim_end_matches(';')).collect();
    for statement in &statements {
        let parsed = client.query_raw(&format!("EXPLAIN AST {statement}")).fetch_all::<String>().await;
        assert!(parsed.is_ok(), "{statement}: {parsed:?}");
    }
    assert!(client.query_raw("EXPLAIN AST GRANT SELECT ON TO grafana").fetch_all::<String>().await.is_err(), "what is none is seen");
    let granted: BTreeSet<&str> =
        statements.iter().filter_map(|line| line.strip_prefix("GRANT SELECT ON headcount.")?.strip_suffix(" TO grafana")).collect();
    assert_eq!((granted, statements.len()), (FINISHED.into(), FINISHED.len() + 1));
}

/// The metrics of an expression, each with the labels that it is grouped by.
fn metrics(expression: &str) -> BTreeMap<String, Vec<String>> {
    let is_name = |own: char| own.is_ascii_alphanumeric() || own == '_';
    let by = expression.split("by (").nth(1).and_then(|rest| rest.split(')').next()).unwrap_or_default();
    let labels: Vec<String> = by.split(',').map(str::trim).filter(|label| !label.is_empty()).map(str::to_owned).collect();
    let words = expression.split(|own: char| !is_name(own)).filter(|word| word.starts_with("headcount_"));
    words.map(|word| (word.to_owned(), labels.clone())).collect()
}

#[test]
fn every_panel_of_the_collector_names_metrics_that_are_shown() {
    let folder = tempfile::tempdir().unwrap();
    let config = format!("[clickhouse]\nurl = \"http://127.0.0.1:9\"\n[export]\ndir = {:?}\n[[site]]\nid = \"a.example\"\n", folder.path());
    let setup = Setup::new("grafana", &config);
    let collector = setup.start();
    let shown = collector.operator("/metrics").text();
    let lines: Vec<&str> = shown.lines().filter(|line| !line.starts_with('#')).collect();
    let is_shown = |metric: &str, label: &str| {
        lines.iter().any(|line| {
            let labelled = line.strip_prefix(metric).is_some_and(|rest| rest.starts_with(' ') || rest.starts_with('{'));
            labelled && (label.is_empty() || line.contains(&format!("{label}=\"")))
        })
    };
    let all = queries(&dashboard("collector"), "expr");
    assert!(all.len() > 12, "the dashboard was read");
    for (title, expression) in all {
        let metrics = metrics(&expression);
        assert!(!metrics.is_empty(), "{title}");
        for (metric, labels) in metrics {
            assert!(is_shown(&metric, ""), "{title}: {metric}");
            assert!(labels.iter().all(|label| is_shown(&metric, label)), "{title}: {metric} by {labels:?}");
        }
    }
    assert!(!is_shown("headcount_event", "") && !is_shown("headcount_events_total", "outcom"));
    assert!(collector.stop().success());
}
