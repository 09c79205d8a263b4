//! The tables against the real engine: migrations, the register of columns, rows as they come back, the rollup against the raw events.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![expect(clippy::unwrap_used, reason = "where a helper fails, its test has failed")]

use std::collections::BTreeMap;

use clickhouse::{Client, Row};
use headcount::clock::{Day, UnixMillis};
use headcount::event::{
    Activity, Campaign, Channel, Country, DeviceClass, Event, Kind, Money, Network, Page, ScreenClass, SinceFirst, Source,
};
use headcount::outcome::Outcome;
use headcount::row::{self, EVENTS, OUTCOMES, OutcomeCount, Stamp};
use headcount::site::Site;
use headcount::store::migrate::{MigrateError, Migrated, migrate};
use headcount::store::query::{self, SiteTotals};
use headcount_tests::engine::TestEngine;
use headcount_tests::rollup::{assert_equals_events, equals_events};
use headcount_tests::segments::{DAY, ZONE, encode, pageview, site, zone};
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
    assert_eq!(migrate(&client).await.unwrap(), Migrated { version: 4, applied: 4, view_replaced: false });
    assert_eq!(migrate(&client).await.unwrap(), Migrated { version: 4, applied: 0, view_replaced: false });
}

#[tokio::test]
async fn a_start_that_died_within_a_migration_repeats_it() {
    let (_engine, client) = migrated("died").await;
    execute(&client, "TRUNCATE TABLE migrations").await;
    execute(&client, "DROP TABLE outcomes_daily").await;
    assert_eq!(migrate(&client).await.unwrap().applied, 4);
    execute(&client, "SELECT count() FROM outcomes_daily").await;
}

#[tokio::test]
async fn a_database_of_a_newer_version_is_refused_in_a_clear_line() {
    let (_engine, client) = migrated("newer").await;
    execute(&client, "INSERT INTO migrations (version, name) VALUES (1000, 'of the future')").await;
    let error = migrate(&client).await.unwrap_err();
    assert!(matches!(error, MigrateError::Newer { found: 1000, known: 4 }));
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
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Registered {
    r#type: String,
    purpose: String,
    lifetime: String,
    sensitivity: String,
}

/// The whole register: columns by table. A table that is the same as another has its columns.
fn register() -> BTreeMap<String, BTreeMap<String, Registered>> {
    #[derive(Deserialize)]
    struct Register {
        same_as: BTreeMap<String, String>,
        #[serde(flatten)]
        tables: BTreeMap<String, BTreeMap<String, Registered>>,
    }
    let Register { same_as, mut tables } = toml::from_str(include_str!("../../schema/columns.toml")).unwrap();
    for (table, other) in same_as {
        let columns = tables[&other].clone();
        assert!(tables.insert(table, columns).is_none());
    }
    tables
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
            assert!(["day", "month", "25m", "kept"].contains(&&*column.lifetime), "{table}.{name}: lifetime");
            assert!(["none", "event", "visitor", "few", "free"].contains(&&*column.sensitivity), "{table}.{name}: sensitivity");
        }
    }
}

#[tokio::test]
async fn every_table_syncs_its_parts_and_those_that_the_spool_delivers_into_remember_tokens() {
    let (_engine, client) = migrated("settings").await;
    let tables: Vec<(String, String)> = client
        .query("SELECT name, create_table_query FROM system.tables WHERE database = currentDatabase() AND engine LIKE '%MergeTree'")
        .fetch_all()
        .await
        .unwrap();
    assert_eq!(tables.len(), 11);
    for (table, sql) in tables {
        let mut settings = vec!["fsync_after_insert = 1", "fsync_part_directory = 1", "min_rows_to_fsync_after_merge = 1"];
        if ["events", "rollup_open", "outcomes_daily"].contains(&&*table) {
            settings.push("non_replicated_deduplication_window = 1000");
        } else {
            assert!(!sql.contains("deduplication_window"), "{table}: a select that is repeated must not be dropped");
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
    let mut found = query::totals(&client, "UTC", Day(20_455)).await.unwrap();
    found.sort_by(|one, other| one.site.cmp(&other.site));
    let totals = |site: &str, pageviews, visitors, events| SiteTotals { site: site.to_owned(), pageviews, visitors, events };
    assert_eq!(found, [totals("one", 4, 2, 1), totals("two", 0, 0, 1)]);
}

const STAMP: Stamp = Stamp { node: u64::MAX, batch: 1 };

/// Inserts rows as they are encoded.
async fn insert(client: &Client, layout: &row::TableLayout, rows: Vec<u8>) {
    let sql = format!("INSERT INTO {} ({}) SETTINGS async_insert = 0 FORMAT RowBinary", layout.table, layout.column_list());
    let mut insert = client.insert_formatted_with(sql);
    insert.send(rows.into()).await.unwrap();
    insert.end().await.unwrap();
}

/// Every text as long as it may be or longer, every number at its end, every label the last of its list.
fn extreme(site: &Site) -> Event<'_> {
    let text = |name: &str| std::borrow::Cow::Owned(format!("{name} \u{10FFFF}\0\t\n'\\`\"{{}}; -- \\N =cmd|").repeat(300));
    let mut event = pageview(site);
    event.time = UnixMillis(i64::from(DAY.0) * 86_400_000 + 86_399_999 - 3_600_000);
    event.kind = Kind::Engagement;
    event.name = text("name");
    event.page = Page { host: text("host"), path: text("page") };
    event.source = Source { name: text("source"), channel: Channel::Referral, referrer: text("referrer") };
    event.campaign = Campaign {
        source: text("utm_source"),
        medium: text("utm_medium"),
        name: text("utm_campaign"),
        content: text("utm_content"),
        term: text("utm_term"),
    };
    event.country = Country::UNKNOWN;
    event.device.browser = text("browser");
    event.device.browser_major = u16::MAX;
    event.device.os = text("os");
    event.device.os_major = u16::MAX;
    event.device.class = DeviceClass::Other;
    event.device.screen = ScreenClass::ExtraLarge;
    event.device.app_version = text("app_version");
    event.device.model = text("device_model");
    event.device.network = Network::Other;
    event.language = text("language");
    event.props = (0..30).map(|number| (format!("key {number}").into(), text("prop"))).collect();
    event.value = Some(Money { ten_thousandths: i64::MIN / 2, currency: *b"EUR" });
    event.engaged_millis = u32::MAX;
    event.scroll_percent = u8::MAX;
    event.entry = true;
    event.activity = Activity { first_today: true, first_this_week: true, first_this_month: true, since_first: SinceFirst::Later };
    event
}

#[tokio::test]
async fn every_column_comes_back_as_it_was_written() {
    let (_engine, client) = migrated("round_trip").await;
    let site = site("example.org");
    let plain = Event { time: UnixMillis(0), ..pageview(&site) };
    let mut sent = Vec::new();
    for (event, visitor) in [(&extreme(&site), u64::MAX), (&plain, 0)] {
        let mut row = Vec::new();
        encode(event, visitor, &mut row, STAMP);
        sent.push(row);
    }
    insert(&client, &EVENTS, sent.concat()).await;
    // What ClickHouse writes in the same format has to be the same bytes.
    for (row, visitor) in sent.iter().zip([u64::MAX, 0]) {
        let select = format!("SELECT {} FROM events WHERE visitor = {visitor}", EVENTS.column_list());
        let back = client.query_raw(&select).fetch_bytes("RowBinary").unwrap().collect().await.unwrap();
        assert!(back == row[..], "visitor {visitor}");
    }
    let texts: (String, String, u64) =
        client.query_raw("SELECT toString(time), toString(value), length(props) FROM events WHERE visitor != 0").fetch_one().await.unwrap();
    assert_eq!(texts, ("2026-11-22 22:59:59.999".to_owned(), "-461168601842738.7904".to_owned(), 30));
}

#[tokio::test]
async fn every_outcome_comes_back_as_it_was_written() {
    let (_engine, client) = migrated("outcomes").await;
    let mut rows = Vec::new();
    for outcome in Outcome::all() {
        OutcomeCount { site: row::UNKNOWN_SITE, day: DAY, outcome, count: u64::MAX }.encode(&mut rows, &zone(), STAMP);
    }
    insert(&client, &OUTCOMES, rows).await;
    let back: Vec<(String, u64)> =
        client.query("SELECT toString(reason), count FROM outcomes_daily ORDER BY reason").fetch_all().await.unwrap();
    let mut expected: Vec<(String, u64)> = Outcome::all().map(|outcome| (outcome.label().to_owned(), u64::MAX)).collect();
    expected.sort_unstable();
    assert_eq!(back, expected);
}

/// Four hundred events of three sites, in which every column varies.
fn varied(sites: &[Site]) -> Vec<(Event<'_>, u64)> {
    let nth = |list: &[&'static str], number: usize| std::borrow::Cow::Borrowed(list[number % list.len()]);
    let event = |number: usize| {
        let mut event = pageview(&sites[number % sites.len()]);
        event.time = UnixMillis(event.time.0 + i64::try_from(number).unwrap() * 60_000);
        event.kind = Kind::ALL[number / 2 % Kind::ALL.len()];
        event.name = if event.kind == Kind::Event { nth(&["sign up", "buy"], number / 8) } else { "".into() };
        event.page.path = nth(&["/", "/a", "/b"], number / 3);
        event.source = Source {
            name: nth(&["", "Google"], number / 5),
            channel: Channel::ALL[number % 8],
            referrer: nth(&["", "google.com"], number / 5),
        };
        event.campaign.source = nth(&["", "letter"], number / 7);
        event.campaign.term = nth(&["", "shoes", "hats"], number / 11);
        event.country = Country([b'A' + u8::try_from(number % 7).unwrap(), b'Z']);
        event.device.browser = nth(&["", "Firefox", "Chrome"], number / 2);
        event.device.class = DeviceClass::ALL[number % DeviceClass::ALL.len()];
        event.device.screen = ScreenClass::ALL[number % ScreenClass::ALL.len()];
        event.device.network = Network::ALL[number % Network::ALL.len()];
        event.device.app_version = nth(&["", "1.0", "2.0"], number / 13);
        event.device.model = nth(&["", "Pixel 8"], number / 17);
        event.value = number
            .is_multiple_of(9)
            .then_some(Money { ten_thousandths: 12_345, currency: if number.is_multiple_of(2) { *b"EUR" } else { *b"USD" } });
        event.engaged_millis = u32::try_from(number).unwrap() * 1_000;
        event.scroll_percent = u8::try_from(number % 101).unwrap();
        event.entry = number.is_multiple_of(4);
        let since_first = SinceFirst::ALL[number % SinceFirst::ALL.len()];
        event.activity = Activity {
            first_today: number.is_multiple_of(2),
            first_this_week: number.is_multiple_of(3),
            first_this_month: number.is_multiple_of(5),
            since_first,
        };
        (event, u64::try_from(number % 40).unwrap())
    };
    (0..400).map(event).collect()
}

#[tokio::test]
async fn the_rollup_is_what_the_raw_rows_add_up_to() {
    let (_engine, client) = migrated("adds_up").await;
    let sites = ["a.example", "b.example", "c.example"].map(site);
    for (batch, part) in (1..).zip(varied(&sites).chunks(130)) {
        let mut rows = Vec::new();
        for (event, visitor) in part {
            encode(event, *visitor, &mut rows, Stamp { node: 7, batch });
        }
        insert(&client, &EVENTS, rows).await;
    }
    assert_equals_events(&client).await;
    // The control: a row that the view did not see is noticed.
    client.query_raw("INSERT INTO rollup_open SELECT * FROM rollup_open WHERE dimension = 'page' LIMIT 1").execute().await.unwrap();
    assert!(!equals_events(&client).await);
}

#[tokio::test]
async fn the_distinct_values_are_those_of_the_dimensions_asked_for() {
    let (_engine, client) = migrated("distinct").await;
    let sites = ["a.example", "b.example", "c.example"].map(site);
    let mut rows = Vec::new();
    for (event, visitor) in &varied(&sites) {
        encode(event, *visitor, &mut rows, STAMP);
    }
    insert(&client, &EVENTS, rows).await;
    let values = query::distinct_values(&client, ZONE, DAY, &["page", "event"]).await.unwrap();
    let mut pages: Vec<&str> =
        values.iter().filter(|value| value.site == "c.example" && value.dimension == "page").map(|value| value.value.as_str()).collect();
    pages.sort_unstable();
    assert_eq!(pages, ["/", "/a", "/b"]);
    assert!(values.iter().all(|value| ["page", "event"].contains(&&*value.dimension)));
    for (zone, day) in [(ZONE, DAY.next()), ("UTC", DAY), ("' OR '1'='1", DAY)] {
        assert!(query::distinct_values(&client, zone, day, &["page"]).await.unwrap().is_empty(), "{zone}");
    }
}
