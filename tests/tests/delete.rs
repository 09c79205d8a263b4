//! Deleting spam against the real engine and the real collector: what is left of open and closed days, what a kill changes, and what the operator is told.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![expect(clippy::unwrap_used, reason = "where a helper fails, its test has failed")]

use clickhouse::Client;
use headcount::clock::{Day, UnixMillis};
use headcount::store::close::{Closing, Thresholds};
use headcount::store::days::ZoneDay;
use headcount::store::delete::{self, Deletion, Found, Step};
use headcount::store::migrate::migrate;
use headcount_tests::collector::{Collector, Setup};
use headcount_tests::delivery::{execute, number};
use headcount_tests::engine::{EngineChild, TestEngine};
use headcount_tests::http::Connection;
use headcount_tests::staged::NOON;
use headcount_tests::{law, leaky};

const ENGINE: &str = env!("CARGO_BIN_EXE_engine_child");
const NOW: UnixMillis = UnixMillis(1_795_348_800_000);

/// A Monday: 2026-11-02.
const MONDAY: Day = Day(20_759);

fn utc(day: Day) -> ZoneDay {
    ZoneDay { zone: "UTC".to_owned(), day }
}

async fn fresh(engine: &TestEngine, name: &str) -> Client {
    let client = engine.database(name).await;
    migrate(&client).await.unwrap();
    client
}

fn deletion<'a>(client: &'a Client, day: &'a ZoneDay, dimension: &str, value: &'a str) -> Deletion<'a> {
    let dimension = delete::dimensions().find(|known| known.name == dimension).unwrap();
    Deletion { client, day, site: "a", dimension, value, id: "order", declared: &[] }
}

/// Random events of two sites, the same for the same seed, but for those that `but_not` says.
async fn arrive(client: &Client, seed: u64, but_not: &str) {
    let draw = |of: u64, salt: u64| format!("(cityHash64(number, {seed}, {salt}) % {of})");
    let sql = format!(
        "INSERT INTO events (node, batch, zone, day, site, visitor, time, hour, kind, name, page, source, channel, country, device, language, entry, engaged_ms, value, currency) \
         SELECT * FROM (SELECT 1 AS node, 7 AS batch, 'UTC' AS zone, toDate('{MONDAY}') AS day, if({} = 0, 'b', 'a') AS site, {} AS visitor, \
         toDateTime64('{MONDAY} 00:00:00', 3, 'UTC') + {} AS time, toHour(time) AS hour, ['pageview', 'pageview', 'event', 'engagement'][{} + 1] AS kind, \
         if(kind = 'event', ['signup', 'purchase'][{} + 1], '') AS name, concat('/', toString({})) AS page, ['', 'Google', 'spam.example'][{} + 1] AS source, \
         if(source = '', 'direct', 'referral') AS channel, ['DE', 'FR', 'RU', 'IT'][{} + 1] AS country, ['desktop', 'mobile'][{} + 1] AS device, \
         ['de', ''][{} + 1] AS language, {} = 0 AS entry, if(kind = 'engagement', {}, 0) AS engaged_ms, \
         toDecimal64(if(name = 'purchase', {}, 0), 4) AS value, if(name = 'purchase', ['EUR', 'USD'][{} + 1], '') AS currency FROM numbers(4000)) WHERE NOT ({but_not})",
        draw(5, 1),
        draw(90, 2),
        draw(86_400, 3),
        draw(4, 4),
        draw(2, 5),
        draw(6, 6),
        draw(3, 7),
        draw(4, 8),
        draw(2, 9),
        draw(2, 10),
        draw(3, 11),
        draw(30_000, 12),
        draw(100, 13),
        draw(2, 14)
    );
    execute(client, &sql).await;
}

/// Everything that figures of the open day are read from, a line each.
async fn open_figures(client: &Client) -> Vec<String> {
    let sql = "SELECT line FROM ( \
        SELECT concat('rollup ', toString((site, dimension, value, currency, sum(pageviews), sum(events), sum(engagements), sum(engaged_ms), sum(entries), sum(amount), \
            uniqCombined64Merge(14)(visitors)))) AS line FROM rollup_open WHERE dimension != '~batch' GROUP BY site, dimension, value, currency \
        UNION ALL SELECT concat('visit ', toString(tuple(* EXCEPT zone))) FROM sessions \
        UNION ALL SELECT concat('event ', toString(tuple(* EXCEPT zone))) FROM events) ORDER BY line";
    client.query_raw(sql).fetch_all().await.unwrap()
}

#[tokio::test]
async fn after_a_deletion_an_open_day_has_the_figures_of_a_day_without_those_events() {
    let engine = TestEngine::shared(ENGINE).await;
    let day = utc(MONDAY);
    for (seed, (dimension, value, matching)) in [
        ("source", "spam.example", "source = 'spam.example'"),
        ("page", "/3", "page = '/3'"),
        ("event", "purchase", "name = 'purchase'"),
        ("country", "RU", "country = 'RU'"),
        ("page", "/nowhere", "false"),
    ]
    .into_iter()
    .enumerate()
    {
        let seed = u64::try_from(seed).unwrap();
        let (deleted, never) = (fresh(&engine, &format!("deleted_{seed}")).await, fresh(&engine, &format!("never_{seed}")).await);
        arrive(&deleted, seed, "false").await;
        arrive(&never, seed, &format!("site = 'a' AND {matching}")).await;
        headcount::store::visits::count(&never, &day, 4_000, &[]).await.unwrap();
        let deletion = deletion(&deleted, &day, dimension, value);
        let expected = number(&deleted, &format!("SELECT count() FROM events WHERE site = 'a' AND {matching}")).await;
        assert_eq!(deletion.found_open().await.unwrap().events, expected);
        assert!(expected > 100 || dimension == "page", "there is something to delete");
        deletion.from_open(NOW).await.unwrap();
        assert_eq!(open_figures(&deleted).await, open_figures(&never).await, "{dimension} = {value}");
        assert_eq!(deletion.found_open().await.unwrap(), Found::default());
        let proof = "SELECT sum(pageviews + events + engagements) FROM rollup_open WHERE dimension = '~batch'";
        assert_eq!(number(&deleted, proof).await, 4_000, "the proof of the batch stays");
    }
}

#[tokio::test]
async fn a_kill_between_any_two_steps_of_a_deletion_changes_nothing() {
    let mut engine = TestEngine::start(ENGINE).await;
    let day = utc(MONDAY);
    let never = fresh(&engine, "never").await;
    arrive(&never, 9, "site = 'a' AND source = 'spam.example'").await;
    headcount::store::visits::count(&never, &day, 4_000, &[]).await.unwrap();
    let expected = open_figures(&never).await;
    for steps in 0..Step::ALL.len() {
        let name = format!("killed_{steps}");
        let client = fresh(&engine, &name).await;
        arrive(&client, 9, "false").await;
        let deletion = deletion(&client, &day, "source", "spam.example");
        for step in &Step::ALL[..=steps] {
            deletion.step(*step).await.unwrap();
        }
        engine.child.kill().unwrap();
        engine.child = EngineChild::spawn(ENGINE, engine.folder(), 1 << 30);
        engine.child.ready().await;
        let client = engine.child.client().with_database(&name);
        Deletion { client: &client, ..deletion }.from_open(NOW).await.unwrap();
        assert_eq!(open_figures(&client).await, expected, "killed after {} steps", steps + 1);
    }
}

/// Events of a day: of each (page, country, source), so many visitors with one page view each.
async fn visitors(client: &Client, day: Day, cells: &[(&str, &str, &str, u64)]) {
    let mut next = 1;
    for (page, country, source, visitors) in cells {
        let sql = format!(
            "INSERT INTO events (zone, day, site, visitor, time, hour, kind, page, country, source, device, entry) SELECT 'UTC', '{day}', 'a', {next} + number, \
             toDateTime64('{day} 12:00:00', 3, 'UTC') + number, 12, 'pageview', '{page}', '{country}', '{source}', 'desktop', true FROM numbers({visitors})"
        );
        execute(client, &sql).await;
        next += visitors;
    }
}

async fn close(client: &Client, day: Day) {
    let thresholds = Thresholds { sites: vec!["a".to_owned()], ks: vec![5], ..Thresholds::default() };
    Closing { client, day: &utc(day), through: day, thresholds: &thresholds, now: NOW }.run().await.unwrap();
}

/// The cells of a cut, a line each.
async fn cells(client: &Client, dimension: &str) -> Vec<String> {
    let sql = format!(
        "SELECT concatWithSeparator(' ', toString(span), value, toString(visitors), toString(visits), toString(pageviews)) AS line \
         FROM rollup_closed WHERE site = 'a' AND dimension = '{dimension}' AND dimension2 = '' AND currency = '' ORDER BY line"
    );
    client.query_raw(&sql).fetch_all().await.unwrap()
}

const SPAMMED: &[(&str, &str, &str, u64)] = &[
    ("/", "DE", "Google", 20),
    ("/", "RU", "spam.example", 40),
    ("/b", "FR", "Google", 7),
    ("/c", "IT", "", 3),
    ("/d", "AT", "few.example", 3),
];

#[tokio::test]
async fn of_a_closed_day_the_figure_goes_and_the_whole_site_loses_as_much() {
    let engine = TestEngine::shared(ENGINE).await;
    let client = fresh(&engine, "closed_spam").await;
    let day = utc(MONDAY);
    visitors(&client, MONDAY, SPAMMED).await;
    close(&client, MONDAY).await;
    assert_eq!(cells(&client, "all").await, ["day  73 73 73"]);
    let sources = cells(&client, "source").await;
    assert!(sources.contains(&"day spam.example 40 40 40".to_owned()), "{sources:?}");
    let spam = deletion(&client, &day, "source", "spam.example");
    assert!(spam.is_closed().await.unwrap());
    assert_eq!(spam.found_closed().await.unwrap(), Found { events: 40, visitors: 40 });
    for _ in 0..2 {
        spam.from_closed().await.unwrap();
        assert_eq!(cells(&client, "all").await, ["day  33 33 33"]);
        assert_eq!(cells(&client, "source").await, sources.iter().filter(|cell| !cell.contains("spam")).cloned().collect::<Vec<_>>());
        assert_eq!(cells(&client, "country").await, ["day DE 20 20 20", "day FR 7 7 7", "day RU 40 40 40"], "other cuts are left alone");
        assert_eq!(cells(&client, "hour").await, Vec::<String>::new());
        let pairs = "SELECT count() FROM rollup_closed WHERE (value = 'spam.example' OR value2 = 'spam.example')";
        assert_eq!(number(&client, &format!("{pairs} AND dimension != '~deleted'")).await, 0, "the mark alone has it");
    }
    // What is not named cannot be deleted, for its number would be told: nothing changes.
    let before = cells(&client, "all").await;
    for (dimension, value) in [("source", "few.example"), ("country", "IT"), ("page", "/nowhere")] {
        let unnamed = Deletion { id: "another", ..deletion(&client, &day, dimension, value) };
        assert_eq!(unnamed.found_closed().await.unwrap(), Found::default());
        unnamed.from_closed().await.unwrap();
    }
    assert_eq!(cells(&client, "all").await, before);
    let country = Deletion { id: "country", ..deletion(&client, &day, "country", "RU") };
    country.from_closed().await.unwrap();
    assert_eq!(cells(&client, "country").await, ["day DE 20 20 20", "day FR 7 7 7"]);
}

#[tokio::test]
async fn a_kill_in_a_deletion_from_a_closed_day_changes_nothing() {
    let mut engine = TestEngine::start(ENGINE).await;
    let client = fresh(&engine, "closed_killed").await;
    let day = utc(MONDAY);
    visitors(&client, MONDAY, SPAMMED).await;
    close(&client, MONDAY).await;
    let everything = "SELECT toString(groupArray(tuple(*))) FROM (SELECT * FROM rollup_closed ORDER BY ALL)";
    let before = "closed_before";
    execute(&client, &format!("CREATE TABLE {before} AS rollup_closed ENGINE = MergeTree ORDER BY day")).await;
    execute(&client, &format!("INSERT INTO {before} SELECT * FROM rollup_closed")).await;
    deletion(&client, &day, "source", "spam.example").from_closed().await.unwrap();
    let after: String = client.query_raw(everything).fetch_one().await.unwrap();

    // ClickHouse was killed right after the swap, and has brought back what was there before.
    execute(&client, &format!("INSERT INTO rollup_closed SELECT * FROM {before}")).await;
    engine.child.kill().unwrap();
    engine.child = EngineChild::spawn(ENGINE, engine.folder(), 1 << 30);
    engine.child.ready().await;
    let client = engine.child.client().with_database("closed_killed");
    assert_ne!(client.query_raw(everything).fetch_one::<String>().await.unwrap(), after);
    deletion(&client, &day, "source", "spam.example").from_closed().await.unwrap();
    assert_eq!(client.query_raw(everything).fetch_one::<String>().await.unwrap(), after);

    // It was killed before the swap: what was begun in the staging table is in nobody's way.
    execute(&client, "TRUNCATE TABLE rollup_closed").await;
    execute(&client, &format!("INSERT INTO rollup_closed SELECT * FROM {before}")).await;
    execute(&client, &format!("INSERT INTO rollup_closed_staging SELECT * FROM {before} WHERE dimension = 'page'")).await;
    deletion(&client, &day, "source", "spam.example").from_closed().await.unwrap();
    assert_eq!(client.query_raw(everything).fetch_one::<String>().await.unwrap(), after);
}

#[tokio::test]
async fn what_came_late_stays_when_something_is_deleted_and_each_line_of_it_once_after_a_kill() {
    let engine = TestEngine::shared(ENGINE).await;
    let client = fresh(&engine, "closed_late").await;
    let day = utc(MONDAY);
    visitors(&client, MONDAY, SPAMMED).await;
    close(&client, MONDAY).await;
    let late = |batch: u64| {
        let sql = format!(
            "INSERT INTO events (node, batch, zone, day, site, time, hour, kind) SELECT 7, {batch}, 'UTC', '{MONDAY}', 'a', \
             toDateTime64('{MONDAY} 12:00:00', 3, 'UTC'), 12, 'pageview' FROM numbers(3)"
        );
        let client = client.clone();
        async move {
            execute(&client, &sql).await;
            close(&client, MONDAY).await;
        }
    };
    late(1).await;
    late(2).await;
    let views = "SELECT sum(pageviews) FROM rollup_closed WHERE site = 'a' AND dimension = 'all' AND dimension2 = ''";
    assert_eq!(number(&client, views).await, 73 + 3 + 3);
    let spam = deletion(&client, &day, "source", "spam.example");
    spam.from_closed().await.unwrap();
    assert_eq!(number(&client, views).await, 33 + 3 + 3);
    late(3).await;
    execute(&client, "INSERT INTO rollup_closed SELECT * FROM rollup_closed").await;
    spam.from_closed().await.unwrap();
    assert_eq!(number(&client, views).await, 33 + 3 + 3 + 3);
}

#[tokio::test]
async fn a_deleted_figure_does_not_make_its_week_tell_what_it_would_not_have_told() {
    let engine = TestEngine::shared(ENGINE).await;
    for delete in [false, true] {
        let client = fresh(&engine, &format!("week_{delete}")).await;
        // On six days x has four visitors: whoever knows the rule would know each, so the week does not name it. On the first day it is named.
        for back in 0..7_u16 {
            let (day, many) = (Day(MONDAY.0 + back), if back == 0 { 40 } else { 4 });
            visitors(&client, day, &[("/", "DE", "Google", 30), ("/", "DE", "x.example", many), ("/", "DE", "y.example", 4)]).await;
            close(&client, day).await;
            if delete && back == 0 {
                deletion(&client, &utc(MONDAY), "source", "x.example").from_closed().await.unwrap();
            }
        }
        let named = cells(&client, "source").await;
        assert!(!named.iter().any(|cell| cell.starts_with("week")), "{named:?}");
        assert_eq!(named.iter().any(|cell| cell.contains("x.example")), !delete);
    }
}

#[test]
fn the_operator_sees_what_would_go_and_the_running_collector_deletes_it_and_logs_it() {
    let setup = Setup::new("delete", "[[site]]\nid = \"a.example\"\n[public]\nworkers = 1\n");
    let today =
        |setup: &Setup| setup.run(&["sql", "SELECT toString(max(day)) FROM events", "--form", "tsv"]).1.lines().last().unwrap().to_owned();
    let collector = setup.start();
    for (number, page) in ["/", "/spam", "/spam", "/b"].into_iter().enumerate() {
        let event = format!(r#"{{"site":"a.example","url":"https://a.example{page}","props":{{"n":"{number}"}}}}"#);
        assert_eq!(collector.beacon(&event).status, 204);
    }
    collector.wait_for_events(4);
    let day = today(&setup);
    let named = ["delete", "--site", "a.example", "--day", &day, "--dimension", "page", "--value"];
    let ask = |setup: &Setup, more: &[&str]| setup.run(&[&named[..], more].concat());

    let (status, said) = ask(&setup, &["/spam"]);
    assert!(!status.success() && said.contains("2 views and events of 0 visitors") && said.contains("say --yes"), "{said}");
    assert_eq!(number_of(&setup), 4);
    let (status, said) = ask(&setup, &["/spam", "--yes"]);
    assert!(status.success() && said.contains("Deleted: a few events."), "{said}");
    assert_eq!(number_of(&setup), 2);
    law::assert_holds(&collector);
    let (inserted, deleted) = (collector.events_inserted(), collector.metric("headcount_deleted_events_total").unwrap());
    assert_eq!((inserted, deleted.to_string().as_str()), (4, "2"), "what was inserted is in the table, or was deleted");
    let (status, said) = ask(&setup, &["/spam"]);
    assert!(status.success() && said.contains("Nothing to delete"), "{said}");
    let (_, said) = setup.run(&["delete", "--list"]);
    assert!(said.contains(&format!("a.example\t{day}\tpage\t/spam\topen\tfew")), "{said}");
    for (wrong, why) in [
        (["delete", "--site", "b.example", "--day", &day, "--dimension", "page", "--value", "/"], "no site `b.example`"),
        (["delete", "--site", "a.example", "--day", "today", "--dimension", "page", "--value", "/"], "is no day"),
        (
            ["delete", "--site", "a.example", "--day", &day, "--dimension", "hour", "--value", "12"],
            "no dimension that can be deleted by: page",
        ),
    ] {
        let (status, said) = setup.run(&wrong);
        assert!(!status.success() && said.contains(why), "{said}");
    }
    // Events that come later are delivered as ever.
    assert_eq!(collector.beacon(r#"{"site":"a.example","url":"https://a.example/spam"}"#).status, 204);
    collector.wait_for_events(5);
    assert!(collector.stop().success());
    let (status, said) = ask(&setup, &["/spam", "--yes"]);
    assert!(!status.success() && said.contains("no engine answers"), "{said}");
}

fn number_of(setup: &Setup) -> u64 {
    setup.run(&["sql", "SELECT count() FROM events", "--form", "tsv"]).1.lines().last().unwrap().parse().unwrap()
}

#[test]
fn an_order_that_a_kill_has_cut_off_is_carried_out_before_anything_is_inserted_again() {
    let setup = Setup::new("delete_killed", "[[site]]\nid = \"a.example\"\n[public]\nworkers = 1\n");
    let collector = setup.start();
    for page in ["/", "/spam", "/spam"] {
        assert_eq!(collector.beacon(&format!(r#"{{"site":"a.example","url":"https://a.example{page}"}}"#)).status, 204);
    }
    collector.wait_for_events(3);
    let day = setup.run(&["sql", "SELECT toString(max(day)) FROM events", "--form", "tsv"]).1.lines().last().unwrap().to_owned();
    collector.kill();
    // As a run leaves it that was killed after it has counted.
    let wanted = headcount::deletion::Wanted {
        site: "a.example".to_owned(),
        zone: "UTC".to_owned(),
        day: day.clone(),
        dimension: "page".to_owned(),
        value: "/spam".to_owned(),
    };
    let mut order = headcount::deletion::Order::new(wanted, NOW, 1);
    order.counted = Some(headcount::deletion::Counted { closed: false, events: 2, visitors: 9 });
    order.place(&setup.data()).unwrap();
    let collector = setup.start();
    assert_eq!(collector.beacon(r#"{"site":"a.example","url":"https://a.example/spam"}"#).status, 204);
    collector.wait_until("the deletion", |_| headcount::deletion::pending(&setup.data()).unwrap().is_empty().then_some(()));
    collector.wait_for_spool();
    assert_eq!(number_of(&setup), 2, "the view that came later stays");
    assert!(setup.run(&["delete", "--list"]).1.contains("\topen\t2"));
    assert!(collector.stop().success());
}

const VISITORS: u64 = 12;

/// Twelve visitors read a page.
fn read(collector: &Collector, page: &str) {
    for visitor in 0..VISITORS {
        let agent = format!(
            "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.{visitor} Safari/537.36"
        );
        let headers = [&*agent, &format!("X-Forwarded-For: 203.0.113.{}", 70 + visitor), "Content-Type: text/plain"];
        let event = format!(r#"{{"site":"a.example","url":"https://a.example{page}"}}"#);
        assert_eq!(Connection::open(collector.public()).unwrap().send("POST", "/e", &headers, event.as_bytes()).unwrap().status, 204);
    }
}

/// Orders that `/spam` goes from the day of [`NOON`].
fn order_spam_to_go(setup: &Setup, number: u64) {
    let [site, zone, day, dimension, value] = ["a.example", "UTC", "2026-11-22", "page", "/spam"].map(str::to_owned);
    let wanted = headcount::deletion::Wanted { site, zone, day, dimension, value };
    headcount::deletion::Order::new(wanted, NOW, number).place(&setup.data()).unwrap();
}

/// ClickHouse refuses what a deletion writes into `table`, until the rule is dropped: it has the cell of the page `/`.
async fn refuse(client: &Client, table: &str) {
    execute(client, &format!("ALTER TABLE {table} ADD CONSTRAINT refused CHECK NOT (dimension = 'page' AND value = '/')")).await;
}

/// ClickHouse refuses to remove events: it does while more removals wait than it is told, and this one waits for ever.
async fn refuse_removals(client: &Client) {
    execute(client, "ALTER TABLE events MODIFY SETTING number_of_mutations_to_throw = 1").await;
    execute(client, "ALTER TABLE events DELETE WHERE throwIf(page = '/spam') = 1 SETTINGS mutations_sync = 0").await;
}

async fn take_again(client: &Client, table: &str) {
    execute(client, &format!("ALTER TABLE {table} DROP CONSTRAINT refused")).await;
}

/// Lets `/spam` be deleted from an open day, and again once it is closed; ClickHouse refuses to go on with either at first. Gives the cells in which it is left.
async fn left_of_spam(setup: &Setup) -> Vec<String> {
    let mut collector = setup.start();
    let client = setup.database();
    read(&collector, "/");
    read(&collector, "/spam");
    collector.wait_for_events(2 * VISITORS);
    collector.drained();

    refuse(&client, "rollup_open").await;
    order_spam_to_go(setup, 1);
    collector.wait_for_line("ClickHouse refuses to go on with a deletion");
    assert!(setup.run(&["delete", "--list"]).1.contains("\t/spam\twaits\t"), "who looks sees that it is under way");
    assert_eq!(number(&client, "SELECT count() FROM events WHERE page = '/spam'").await, 0, "it is refused halfway");
    read(&collector, "/b");
    collector.wait_for_events(3 * VISITORS);
    take_again(&client, "rollup_open").await;
    collector.wait_until("the deletion", |_| headcount::deletion::pending(&setup.data()).unwrap().is_empty().then_some(()));
    collector.drained();
    law::assert_holds(&collector);
    let of_open = "SELECT concat('open ', dimension) AS cell FROM rollup_open WHERE value = '/spam' \
        UNION ALL SELECT 'open visit' FROM sessions WHERE entry_page = '/spam'";
    let mut left: Vec<String> = client.query_raw(of_open).fetch_all().await.unwrap();

    read(&collector, "/spam");
    collector.wait_for_events(4 * VISITORS);
    collector.drained();
    collector.set_clock(NOON + 34 * 3_600_000 + 120_000);
    collector.wait_until("the day to be closed", |_| setup.run(&["days"]).1.contains("\tclosed\t").then_some(()));
    let of_closed = "SELECT concat('closed ', dimension, ' ', dimension2) AS cell FROM rollup_closed \
        WHERE (dimension = 'page' AND value = '/spam') OR (dimension2 = 'page' AND value2 = '/spam') ORDER BY cell";
    let named: Vec<String> = client.query_raw(of_closed).fetch_all().await.unwrap();
    assert!(named.contains(&"closed page ".to_owned()) && named.contains(&"closed page channel".to_owned()), "{named:?}");

    refuse(&client, "rollup_closed_staging").await;
    order_spam_to_go(setup, 2);
    collector.wait_for_line("ClickHouse refuses to delete from a closed day");
    assert!(setup.run(&["delete", "--list"]).1.contains("\t/spam\twaits\t"));
    assert_eq!(client.query_raw(of_closed).fetch_all::<String>().await.unwrap(), named, "all of it or nothing");
    take_again(&client, "rollup_closed_staging").await;
    collector.wait_until("the log of it", |_| (headcount::deletion::log(&setup.data()).unwrap().len() == 2).then_some(()));
    left.extend(client.query_raw(of_closed).fetch_all::<String>().await.unwrap());
    assert!(collector.stop().success());
    left
}

/// A collector of one site, with a test's memory for ClickHouse.
fn small(name: &str) -> Setup {
    Setup::new(name, "[public]\nworkers = 1\n[engine]\nmemory_bytes = 1073741824\n[[site]]\nid = \"a.example\"\n")
}

#[tokio::test]
async fn a_deletion_that_is_refused_halfway_is_tried_again_until_no_cell_is_left() {
    let setup = small("delete_refused").on_stage(NOON);
    assert_eq!(left_of_spam(&setup).await, Vec::<String>::new());
    let (_, said) = setup.run(&["delete", "--list"]);
    assert_eq!(said.matches("\t/spam\topen\t12").count() + said.matches("\t/spam\tclosed\t").count(), 2, "{said}");
}

/// A day that is due while ClickHouse refuses a deletion from it, which has removed its events or not. Gives the day's cells, and how the log puts the deletion.
async fn due_while_refused(half_done: bool) -> (Vec<String>, String) {
    let setup = small(&format!("delete_due_{half_done}")).on_stage(NOON);
    let mut collector = setup.start();
    let client = setup.database();
    read(&collector, "/");
    read(&collector, "/spam");
    collector.wait_for_events(2 * VISITORS);
    collector.drained();
    if half_done {
        refuse(&client, "rollup_open").await;
    } else {
        refuse_removals(&client).await;
    }
    order_spam_to_go(&setup, 1);
    collector.wait_for_line("ClickHouse refuses to go on with a deletion");
    read(&collector, "/b");
    collector.set_clock(NOON + 34 * 3_600_000 + 120_000);
    // What has waited for the deletion goes its way once the day is due; then the day is looked at again, which it is every minute.
    collector.wait_for_events(3 * VISITORS);
    collector.drained();
    collector.set_clock(NOON + 34 * 3_600_000 + 240_000);
    collector.wait_until("the day to be closed", |_| setup.run(&["days"]).1.contains("2026-11-22\tUTC\tclosed\t").then_some(()));
    collector.wait_until("the log of it", |_| (headcount::deletion::log(&setup.data()).unwrap().len() == 1).then_some(()));
    law::assert_holds(&collector);
    let cells = "SELECT concat(dimension, ' ', value, ' ', toString(visitors), ' ', toString(visits), ' ', toString(pageviews)) AS cell FROM rollup_closed \
        WHERE dimension IN ('all', 'page', 'entry_page') AND dimension2 = '' AND span = 'day' ORDER BY cell";
    let cells = client.query_raw(cells).fetch_all().await.unwrap();
    assert!(collector.stop().success());
    (cells, setup.run(&["delete", "--list"]).1)
}

#[tokio::test]
async fn a_day_is_closed_in_time_though_the_figures_that_a_deletion_has_taken_apart_cannot_be_formed_again() {
    let (cells, said) = due_while_refused(true).await;
    assert_eq!(cells, ["all  12 12 24", "entry_page / 12 12 24", "page / 12 0 12", "page /b 12 0 12"]);
    assert!(said.contains("\t/spam\topen\t12"), "{said}");
}

#[tokio::test]
async fn a_day_is_closed_in_time_though_a_deletion_cannot_remove_its_events_and_loses_their_figure_then() {
    let (cells, said) = due_while_refused(false).await;
    assert_eq!(cells, ["all  0 12 24", "entry_page / 12 12 36", "page / 12 0 12", "page /b 12 0 12"]);
    assert!(said.contains("\t/spam\tclosed\t12"), "{said}");
}

#[tokio::test]
async fn cells_that_a_deletion_leaves_are_found() {
    let setup = small("delete_left").with_program(leaky::program()).with_variable(leaky::LEAK, "cells_left").on_stage(NOON);
    let left = left_of_spam(&setup).await;
    assert!(left.contains(&"open page".to_owned()) && left.iter().any(|cell| cell == "closed page channel"), "{left:?}");
}
