//! Closing a day against the real engine: what is left, what is named, what subtraction finds, and what a kill between any two steps changes.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![expect(clippy::unwrap_used, reason = "where a helper fails, its test has failed")]

use clickhouse::Client;
use headcount::clock::{Day, UnixMillis};
use headcount::site::declared::{Declared, Detail, Funnel, Goal, Step};
use headcount::store::close::{Closing, Step as ClosingStep, Thresholds};
use headcount::store::days::{self, What, ZoneDay};
use headcount::store::migrate::migrate;
use headcount_tests::delivery::{execute, number};
use headcount_tests::engine::{EngineChild, TestEngine};

const ENGINE: &str = env!("CARGO_BIN_EXE_engine_child");
const NOW: UnixMillis = UnixMillis(1_795_348_800_000);

/// A Monday: 2026-11-02.
const MONDAY: Day = Day(20_759);

fn utc(day: Day) -> ZoneDay {
    ZoneDay { zone: "UTC".to_owned(), day }
}

fn thresholds(k: u64) -> Thresholds {
    let goal = |name: &str, page: &str| Goal { name: name.into(), at: Step::Page(page.into()), worth: None };
    let steps = ["/", "/b"].map(|page| Step::Page(page.into())).to_vec();
    let declared = Declared {
        goals: vec![goal("b", "/b"), goal("any", "/*")],
        funnels: vec![Funnel { name: "way".into(), steps }],
        properties: vec!["plan".into()],
        ..Declared::default()
    };
    Thresholds {
        sites: vec!["a".to_owned(), "anonymous".to_owned()],
        ks: vec![k, k],
        without: vec!["anonymous".to_owned()],
        declared: vec![("a".to_owned(), declared)],
        ..Thresholds::default()
    }
}

/// Events of a day: of each (page, country, source), so many visitors with one page view each; their pseudonyms begin at `first`.
async fn arrive(client: &Client, site: &str, day: Day, first: u64, cells: &[(&str, &str, &str, u64)]) {
    let mut next = first;
    for (page, country, source, visitors) in cells {
        let sql = format!(
            "INSERT INTO events (zone, day, site, visitor, time, hour, kind, page, country, source, device, entry) SELECT 'UTC', '{day}', '{site}', \
             if('{site}' = 'anonymous', 0, {next} + number), toDateTime64('{day} 12:00:00', 3, 'UTC') + number, 12, 'pageview', '{page}', '{country}', \
             '{source}', 'desktop', true FROM numbers({visitors})"
        );
        execute(client, &sql).await;
        next += visitors;
    }
}

async fn close(client: &Client, day: Day, through: Day, k: u64) {
    let (day, thresholds) = (utc(day), thresholds(k));
    Closing { client, day: &day, through, thresholds: &thresholds, now: NOW }.run().await.unwrap();
}

/// The cells of a cut, a line each.
async fn cells(client: &Client, site: &str, dimension: &str) -> Vec<String> {
    let sql = format!(
        "SELECT concatWithSeparator(' ', toString(span), toString(day), value, toString(visitors), toString(visits), toString(pageviews)) AS line \
         FROM rollup_closed WHERE site = '{site}' AND dimension = '{dimension}' AND dimension2 = '' AND currency = '' ORDER BY line"
    );
    client.query_raw(&sql).fetch_all().await.unwrap()
}

async fn fresh(name: &str) -> (std::sync::Arc<TestEngine>, Client) {
    let engine = TestEngine::shared(ENGINE).await;
    let client = engine.database(name).await;
    migrate(&client).await.unwrap();
    (engine, client)
}

#[tokio::test]
async fn a_closed_day_keeps_what_is_large_enough_and_no_row_of_anybody() {
    let (_engine, client) = fresh("closed").await;
    arrive(
        &client,
        "a",
        MONDAY,
        100,
        &[("/", "DE", "Google", 20), ("/b", "FR", "Google", 7), ("/c", "IT", "", 3), ("/d", "AT", "Mastodon", 3)],
    )
    .await;
    arrive(&client, "anonymous", MONDAY, 0, &[("/", "DE", "Google", 10), ("/few", "FR", "", 9), ("/more", "FR", "", 3)]).await;
    close(&client, MONDAY, MONDAY, 5).await;

    // Two of three visitors each wait: six together are enough, so nothing else has to hide them.
    assert_eq!(cells(&client, "a", "country").await, ["day 2026-11-02 DE 20 20 20", "day 2026-11-02 FR 7 7 7"]);
    // One of three visitors waits alone: the smallest of the large ones joins it.
    assert_eq!(cells(&client, "a", "source").await, Vec::<String>::new());
    assert_eq!(cells(&client, "a", "all").await, ["day 2026-11-02  33 33 33"]);
    assert_eq!(cells(&client, "a", "hour").await, ["day 2026-11-02 12 33 33 33"]);
    assert_eq!(cells(&client, "a", "page").await, ["day 2026-11-02 / 20 0 20", "day 2026-11-02 /b 7 0 7"]);
    assert_eq!(cells(&client, "a", "entry_page").await, ["day 2026-11-02 / 20 20 20", "day 2026-11-02 /b 7 7 7"]);
    // Without pseudonyms, twice as many entries: of 12 and 10, and of 9 and 3 together.
    assert_eq!(cells(&client, "anonymous", "country").await, ["day 2026-11-02 DE 0 0 10", "day 2026-11-02 FR 0 0 12"]);
    assert_eq!(cells(&client, "anonymous", "page").await, ["day 2026-11-02 / 0 0 10"]);

    for table in ["events", "sessions", "sessions_staging", "rollup_open", "rollup_closing", "rollup_closed_staging"] {
        assert_eq!(number(&client, &format!("SELECT count() FROM {table}")).await, 0, "{table}");
    }
    assert_eq!(number(&client, "SELECT max(weight) FROM rollup_waiting").await, 4);
    assert!(days::said(&client, &utc(MONDAY), What::Closed).await.unwrap().is_some());
    assert!(days::held(&client).await.unwrap().is_empty());
}

#[tokio::test]
async fn what_waits_is_named_with_its_week_then_with_its_month() {
    let (_engine, client) = fresh("spans").await;
    // IT has 2 a day in the first week; AT has 4 on two days, which would tell each day's; PT has one day of 4 in each of two weeks.
    for (index, small) in [[2, 4, 0], [2, 0, 0], [2, 4, 4], [2, 0, 0], [2, 0, 0], [2, 0, 0], [2, 0, 0]].iter().enumerate() {
        let day = Day(MONDAY.0 + u16::try_from(index).unwrap());
        let [it, at, pt] = *small;
        let other = 9;
        arrive(
            &client,
            "a",
            day,
            1_000,
            &[("/", "DE", "", 30), ("/", "IT", "", it), ("/", "AT", "", at), ("/", "PT", "", pt), ("/", "CH", "", 4)],
        )
        .await;
        arrive(&client, "a", day, 5_000, &[("/", "LI", "", if index < 4 { 3 } else { 0 }), ("/", "FR", "", other)]).await;
        close(&client, day, day, 5).await;
    }
    let named = cells(&client, "a", "country").await;
    let of_week: Vec<&String> = named.iter().filter(|line| line.starts_with("week")).collect();
    // CH has four on each of seven days: whoever knows the rule would know each. LI and IT have not, AT neither: 8 on seven days.
    assert_eq!(of_week, ["week 2026-11-02 AT 8 8 8", "week 2026-11-02 IT 14 14 14", "week 2026-11-02 LI 12 12 12"]);
    assert!(number(&client, "SELECT count() FROM rollup_waiting").await > 0);

    // The month is over with the week that reaches beyond it: 2026-12-06.
    let second = Day(MONDAY.0 + 9);
    arrive(&client, "a", second, 1_000, &[("/", "DE", "", 30), ("/", "PT", "", 4), ("/", "SE", "", 3)]).await;
    close(&client, second, second, 5).await;
    let last = Day(MONDAY.0 + 28);
    arrive(&client, "a", last, 1_000, &[("/", "DE", "", 30)]).await;
    close(&client, last, last, 5).await;
    assert!(!cells(&client, "a", "country").await.iter().any(|line| line.starts_with("month")), "the month's last week is not over");
    let beyond = Day(MONDAY.0 + 36);
    arrive(&client, "a", beyond, 1_000, &[("/", "DE", "", 30)]).await;
    close(&client, beyond, beyond, 5).await;
    let of_month: Vec<String> = cells(&client, "a", "country").await.into_iter().filter(|line| line.starts_with("month")).collect();
    // PT: 4 and 4, in two weeks. CH: 28 on seven of nine days. SE never: three.
    assert_eq!(of_month, ["month 2026-11-01 CH 28 28 28"]);
    assert_eq!(number(&client, "SELECT count() FROM rollup_waiting").await, 0, "what no month names is forgotten");
    let all = number(&client, "SELECT sum(pageviews) FROM rollup_closed WHERE dimension = 'all'").await;
    assert_eq!(all, 7 * (30 + 2 + 4 + 9) + 8 + 4 + 12 + 37 + 30 + 30, "the whole site has lost nothing");
}

#[tokio::test]
async fn pairs_are_rounded_by_lot_to_multiples_of_k_and_right_on_average() {
    let (_engine, client) = fresh("pairs").await;
    // Three hundred pages of three visitors each.
    execute(
        &client,
        "INSERT INTO events (zone, day, site, visitor, time, kind, page, country, source, device) SELECT 'UTC', '2026-11-02', 'a', 1 + number, \
         toDateTime64('2026-11-02 12:00:00', 3, 'UTC'), 'pageview', concat('/', toString(number % 300)), 'DE', 'Google', 'phone' FROM numbers(900)",
    )
    .await;
    close(&client, MONDAY, MONDAY, 5).await;
    let pair = "FROM rollup_closed WHERE dimension = 'page' AND dimension2 = 'country'";
    assert_eq!(number(&client, &format!("SELECT countIf(visitors % 5 OR visits % 5 OR pageviews % 5 OR entries % 5) {pair}")).await, 0);
    let (visitors, named) =
        (number(&client, &format!("SELECT sum(visitors) {pair}")).await, number(&client, &format!("SELECT count() {pair}")).await);
    // 900 visitors; of 300 cells each is kept with three chances in five. Eight standard deviations on either side.
    assert!((560..=1240).contains(&visitors) && (112..=248).contains(&named), "{visitors} visitors in {named} cells");
    // Of both kinds, events and visits, and of the visit's first page.
    assert_eq!(number(&client, "SELECT sum(visits) FROM rollup_closed WHERE dimension = 'source' AND dimension2 = 'country'").await, 900);
    // Visitors are estimated from about a thousand on, within two in a hundred.
    let visitors = number(&client, "SELECT sum(visitors) FROM rollup_closed WHERE dimension = 'country' AND dimension2 = 'device'").await;
    assert!((880..=920).contains(&visitors), "{visitors}");
    let entered = "SELECT countIf(value != value2) FROM rollup_closed WHERE dimension = 'page' AND dimension2 = 'entry_page'";
    assert_eq!(number(&client, entered).await, 0);
    assert!(number(&client, "SELECT count() FROM rollup_closed WHERE dimension = 'source' AND dimension2 = 'entry_page'").await > 0);
}

#[tokio::test]
async fn of_a_pair_the_thousand_largest_cells_are_kept() {
    let (_engine, client) = fresh("many_pairs").await;
    execute(
        &client,
        "INSERT INTO events (zone, day, site, visitor, time, kind, page, country) SELECT 'UTC', '2026-11-02', 'a', 1 + number, \
         toDateTime64('2026-11-02 12:00:00', 3, 'UTC'), 'pageview', concat('/', toString(number % 1500)), 'DE' FROM numbers(15000)",
    )
    .await;
    close(&client, MONDAY, MONDAY, 5).await;
    let kept = "SELECT count() FROM rollup_closed WHERE dimension = 'page' AND dimension2 = 'country'";
    assert_eq!(number(&client, kept).await, headcount::limits::PAIR_CELLS);
}

#[tokio::test]
async fn a_site_keeps_the_pairs_that_it_declares_beside_the_usual_ones_or_in_their_place() {
    let (_engine, client) = fresh("declared_pairs").await;
    for (index, site) in ["a", "more", "fewer"].into_iter().enumerate() {
        arrive(&client, site, MONDAY, 1_000 * (index as u64 + 1), &[("/", "DE", "Google", 20), ("/b", "FR", "Google", 30)]).await;
    }
    let more = Declared { cubes: vec![("page", "exit_page"), ("source", "page")], ..Declared::default() };
    let fewer = Declared { detail: Detail::Totals, cubes: vec![("country", "exit_page")], ..Declared::default() };
    let thresholds = Thresholds { declared: vec![("more".to_owned(), more), ("fewer".to_owned(), fewer)], ..thresholds(5) };
    let day = utc(MONDAY);
    Closing { client: &client, day: &day, through: MONDAY, thresholds: &thresholds, now: NOW }.run().await.unwrap();
    let pairs = |site: &'static str| {
        let sql = format!(
            "SELECT DISTINCT concat(dimension, ' ', dimension2) AS pair FROM rollup_closed WHERE site = '{site}' AND dimension2 != '' ORDER BY pair"
        );
        let client = client.clone();
        async move { client.query_raw(&sql).fetch_all::<String>().await.unwrap() }
    };
    assert_eq!(pairs("fewer").await, ["country exit_page"]);
    let (mut usual, more) = (pairs("a").await, pairs("more").await);
    assert!(usual.contains(&"page country".to_owned()) && !usual.contains(&"page exit_page".to_owned()), "{usual:?}");
    usual.push("page exit_page".to_owned());
    usual.sort();
    assert_eq!(more, usual);
    let kept = "SELECT concat(site, ' ', value, ' ', value2, ' ', toString(visitors), ' ', toString(pageviews)) AS line FROM rollup_closed \
        WHERE dimension2 = 'exit_page' AND site IN ('more', 'fewer') ORDER BY line";
    let kept: Vec<String> = client.query_raw(kept).fetch_all().await.unwrap();
    assert_eq!(kept, ["fewer DE / 20 20", "fewer FR /b 30 30", "more / / 20 20", "more /b /b 30 30"]);
}

/// Everything that a closing leaves, but for the lots.
async fn left(client: &Client) -> Vec<String> {
    let of = |table: &str, filter: &str| format!("SELECT concat('{table} ', toString(tuple(*))) AS line FROM {table} {filter}");
    let sql =
        format!("SELECT line FROM ({} UNION ALL {}) ORDER BY line", of("rollup_closed", "WHERE dimension2 = ''"), of("rollup_waiting", ""));
    client.query_raw(&sql).fetch_all().await.unwrap()
}

/// A Saturday that is closed, and a Sunday that is not.
async fn a_week_but_a_day(client: &Client) {
    for back in 5..7_u16 {
        let day = Day(MONDAY.0 + back);
        arrive(client, "a", day, 1_000, &[("/", "DE", "x", 30), ("/b", "IT", "y", 3), ("/c", "AT", "y", 3), ("/d", "FR", "", 2)]).await;
        arrive(client, "a", day, 2_000, &[("/e", if back == 5 { "PT" } else { "ES" }, "", 3)]).await;
        if back < 6 {
            close(client, day, day, 5).await;
        }
    }
}

#[tokio::test]
async fn a_kill_between_any_two_steps_changes_nothing() {
    let sunday = Day(MONDAY.0 + 6);
    let (_engine, undisturbed) = fresh("undisturbed").await;
    a_week_but_a_day(&undisturbed).await;
    close(&undisturbed, sunday, sunday, 5).await;
    let expected = left(&undisturbed).await;
    for declared in ["'goal','b'", "'~goal','b'", "'funnel','way/1'"] {
        assert!(expected.iter().any(|line| line.contains(declared)), "{declared} is among what must stay");
    }
    assert!(expected.iter().any(|line| line.contains("'week'")) && expected.iter().any(|line| line.starts_with("rollup_waiting")));

    let mut engine = TestEngine::start(ENGINE).await;
    let (day, thresholds) = (utc(sunday), thresholds(5));
    for steps in 1..=ClosingStep::ALL.len() {
        let name = format!("killed_after_{steps}");
        let client = engine.database(&name).await;
        migrate(&client).await.unwrap();
        a_week_but_a_day(&client).await;
        let closing = Closing { client: &client, day: &day, through: sunday, thresholds: &thresholds, now: NOW };
        for step in &ClosingStep::ALL[..steps] {
            closing.step(*step).await.unwrap();
        }
        let lots = "SELECT toString(groupArray(tuple(*))) FROM (SELECT * FROM rollup_closed WHERE dimension2 != '' ORDER BY ALL)";
        let drawn: String = client.query_raw(lots).fetch_one().await.unwrap();
        engine.child.kill().unwrap();
        engine.child = EngineChild::spawn(ENGINE, engine.folder(), 1 << 30);
        engine.child.ready().await;
        let client = engine.child.client().with_database(&name);
        let closing = Closing { client: &client, ..closing };
        closing.run().await.unwrap();
        assert_eq!(left(&client).await, expected, "killed after {steps} steps");
        if steps >= 4 {
            assert_eq!(client.query_raw(lots).fetch_one::<String>().await.unwrap(), drawn, "lots are drawn once");
        }
        assert!(days::held(&client).await.unwrap().is_empty());
        // And again, though it is closed.
        closing.run().await.unwrap();
        assert_eq!(left(&client).await, expected);
        execute(&client, &format!("DROP DATABASE {name} SYNC")).await;
    }
}

/// Events that come after their day was closed, as a segment that was stripped of its pseudonyms.
async fn arrive_late(client: &Client, day: Day, batch: u64, views: u64) {
    let sql = format!(
        "INSERT INTO events (node, batch, zone, day, site, time, hour, kind, page) SELECT 7, {batch}, 'UTC', '{day}', 'a', \
         toDateTime64('{day} 12:00:00', 3, 'UTC') + number, 12, 'pageview', '/late' FROM numbers({views})"
    );
    execute(client, &sql).await;
}

#[tokio::test]
async fn what_comes_after_its_day_was_closed_counts_once_for_the_whole_site_wherever_a_kill_comes() {
    let mut engine = TestEngine::start(ENGINE).await;
    let (day, thresholds) = (utc(MONDAY), thresholds(5));
    let views = |dimension: &str| {
        format!("SELECT sum(pageviews) FROM rollup_closed WHERE site = 'a' AND dimension = '{dimension}' AND dimension2 = ''")
    };
    for (killed, steps) in [&[][..], &ClosingStep::LATE[..1], &ClosingStep::LATE].into_iter().enumerate() {
        let name = format!("late_{killed}");
        let client = engine.database(&name).await;
        migrate(&client).await.unwrap();
        arrive(&client, "a", MONDAY, 100, &[("/", "DE", "Google", 20)]).await;
        close(&client, MONDAY, MONDAY, 5).await;
        arrive_late(&client, MONDAY, 1, 3).await;
        let closing = Closing { client: &client, day: &day, through: MONDAY, thresholds: &thresholds, now: NOW };
        for step in steps {
            closing.step(*step).await.unwrap();
        }
        engine.child.kill().unwrap();
        engine.child = EngineChild::spawn(ENGINE, engine.folder(), 1 << 30);
        engine.child.ready().await;
        let client = engine.child.client().with_database(&name);
        let closing = Closing { client: &client, ..closing };
        // Another segment comes before anybody goes on, and the first is there no less.
        arrive_late(&client, MONDAY, 2, 4).await;
        for _ in 0..2 {
            closing.run().await.unwrap();
            assert_eq!(number(&client, &views("all")).await, 27, "killed after {steps:?}");
            assert_eq!(number(&client, &views("hour")).await, 27, "killed after {steps:?}");
            assert_eq!(number(&client, &views("page")).await, 20, "nothing else is told of them");
            assert_eq!(number(&client, "SELECT count() FROM rollup_closed WHERE dimension = '~batch' AND pageviews = 0").await, 2);
            assert!(days::held(&client).await.unwrap().is_empty());
        }
        execute(&client, &format!("DROP DATABASE {name} SYNC")).await;
    }
}

#[tokio::test]
async fn batches_that_come_late_and_are_alike_count_both_also_where_a_kill_has_brought_one_back() {
    let (_engine, client) = fresh("late_alike").await;
    arrive(&client, "a", MONDAY, 100, &[("/", "DE", "Google", 20)]).await;
    close(&client, MONDAY, MONDAY, 5).await;
    // One alone, two that come together, and one alone.
    for batches in [&[1][..], &[2, 3], &[4]] {
        for batch in batches {
            arrive_late(&client, MONDAY, *batch, 3).await;
        }
        close(&client, MONDAY, MONDAY, 5).await;
    }
    // One of the parts that the month was made of is there again, and the mark of the day is in another.
    let next = Day(MONDAY.0 + 1);
    for brought_back in ["value2 = '7/4'", "true"] {
        execute(&client, &format!("INSERT INTO rollup_closed SELECT * FROM rollup_closed WHERE {brought_back}")).await;
        arrive(&client, "a", next, 100, &[("/", "DE", "Google", 20)]).await;
        let (day, thresholds) = (utc(next), thresholds(5));
        let closing = Closing { client: &client, day: &day, through: next, thresholds: &thresholds, now: NOW };
        for step in &ClosingStep::ALL[..4] {
            closing.step(*step).await.unwrap();
        }
        for cut in ["all", "hour"] {
            let views = format!("SELECT sum(pageviews) FROM rollup_closed WHERE site = 'a' AND dimension = '{cut}' AND day = '2026-11-02'");
            assert_eq!(number(&client, &views).await, 20 + 4 * 3, "{cut}, where {brought_back}");
        }
    }
}

#[tokio::test]
async fn what_a_kill_brings_back_is_found_and_goes() {
    let (_engine, client) = fresh("brought_back").await;
    let sunday = Day(MONDAY.0 + 6);
    a_week_but_a_day(&client).await;
    let (day, thresholds) = (utc(sunday), thresholds(5));
    let closing = Closing { client: &client, day: &day, through: sunday, thresholds: &thresholds, now: NOW };
    for step in &ClosingStep::ALL[..4] {
        closing.step(*step).await.unwrap();
    }
    let whole = left(&client).await;
    // The partition that was replaced is there once more, as after a kill that came before its files were removed.
    execute(&client, "INSERT INTO rollup_closed SELECT * FROM rollup_closed WHERE day < '2026-11-08'").await;
    assert_ne!(left(&client).await, whole);
    closing.step(ClosingStep::Publish).await.unwrap();
    assert_eq!(left(&client).await, whole);
}

#[tokio::test]
async fn a_site_whose_open_rollup_is_not_whole_has_its_cells_from_its_events() {
    let mut closed = Vec::new();
    // Whole; gone; the half of it; gone, and nobody has said so.
    for (name, kept, anew) in
        [("whole", "1", vec![]), ("gone", "0", vec!["a"]), ("half", "dimension != 'page'", vec!["a"]), ("unsaid", "0", vec![])]
    {
        let (_engine, client) = fresh(&format!("rollup_{name}")).await;
        arrive(
            &client,
            "a",
            MONDAY,
            100,
            &[("/", "DE", "Google", 20), ("/b", "FR", "Google", 7), ("/c", "IT", "", 3), ("/d", "AT", "x", 3)],
        )
        .await;
        arrive(&client, "anonymous", MONDAY, 0, &[("/", "DE", "Google", 10), ("/few", "FR", "", 9)]).await;
        execute(&client, &format!("ALTER TABLE rollup_open DELETE WHERE site = 'a' AND NOT ({kept}) SETTINGS mutations_sync = 2")).await;
        let thresholds = Thresholds { anew: anew.into_iter().map(str::to_owned).collect(), ..thresholds(5) };
        let day = utc(MONDAY);
        Closing { client: &client, day: &day, through: MONDAY, thresholds: &thresholds, now: NOW }.run().await.unwrap();
        closed.push(left(&client).await);
    }
    assert_eq!(closed[1], closed[0]);
    assert_eq!(closed[2], closed[0]);
    assert_ne!(closed[3], closed[0], "what is missing is seen");
}

/// What subtraction finds of a cut: for each day, and each week or month that is over, what the whole site has beyond the named cells, in page views. Each of
/// these visitors has one, so it is a number of visitors.
async fn remainders(client: &Client, dimension: &str) -> Vec<u64> {
    let of_span = |span: &str, part: &str| {
        format!(
            "SELECT toUInt64(sumIf(pageviews, dimension = 'all') - sumIf(pageviews, dimension = '{dimension}')) AS beyond FROM rollup_closed \
             WHERE site = 'a' AND currency = '' AND dimension2 = '' AND dimension IN ('all', '{dimension}') AND span IN ({span}) \
             GROUP BY {part} HAVING countIf(dimension = 'all') > 0"
        )
    };
    let sql = [of_span("'day'", "day"), of_span("'day', 'week'", "toMonday(day)")].join(" UNION ALL ");
    client.query_raw(&sql).fetch_all().await.unwrap()
}

#[tokio::test]
async fn subtraction_finds_no_number_of_fewer_than_k_visitors() {
    let (_engine, client) = fresh("differencing").await;
    let countries = ["DE", "FR", "IT", "AT", "CH", "PT"];
    let mut lot = 88_172_645_463_325_252_u64;
    let mut below = |bound: u64| {
        lot ^= lot << 13;
        lot ^= lot >> 7;
        lot ^= lot << 17;
        lot % bound
    };
    let mut small = 0;
    for back in 0..7_u16 {
        let day = Day(MONDAY.0 + back);
        let cells: Vec<(&str, &str, &str, u64)> =
            countries.iter().map(|country| ("/", *country, "", [0, 1, 2, 4, 9, 30][usize::try_from(below(6)).unwrap()])).collect();
        small += cells.iter().filter(|cell| (1..5).contains(&cell.3)).count();
        arrive(&client, "a", day, 1_000, &cells).await;
        close(&client, day, day, 5).await;
    }
    assert!(small > 5, "there is something to find");
    let found = remainders(&client, "country").await;
    assert!(found.len() >= 7 && found.iter().all(|beyond| *beyond == 0 || *beyond >= 5), "{found:?}");

    // The control: named without a care for what is left, one cell of three is found by subtraction.
    let (_engine, careless) = fresh("careless").await;
    arrive(&careless, "a", MONDAY, 1_000, &[("/", "DE", "", 30), ("/", "FR", "", 3)]).await;
    close(&careless, MONDAY, MONDAY, 5).await;
    assert_eq!(remainders(&careless, "country").await, [33, 33]);
    execute(
        &careless,
        "INSERT INTO rollup_closed (zone, day, site, span, dimension, value, pageviews, visitors) VALUES ('UTC', '2026-11-02', 'a', 'day', 'country', 'DE', 30, 30)",
    )
    .await;
    assert_eq!(remainders(&careless, "country").await, [3, 3]);
}
