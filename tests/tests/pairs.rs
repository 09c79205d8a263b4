//! Pairs of closed days against the real engine: their counts are rounded by lot, and right on average, those of goals as well.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::ops::RangeInclusive;

use clickhouse::Client;
use headcount::clock::{Day, UnixMillis};
use headcount::limits::PAIR_CELLS;
use headcount::site::declared::{Declared, Goal, Step};
use headcount::store::close::{Closing, Thresholds};
use headcount::store::days::ZoneDay;
use headcount::store::migrate::migrate;
use headcount_tests::delivery::{execute, number};
use headcount_tests::engine::TestEngine;

const ENGINE: &str = env!("CARGO_BIN_EXE_engine_child");
const DAY: Day = Day(20_759);

/// Of each campaign so many visitors, with so many page views each, all of which reach a goal.
const VISITORS: u64 = 3;
const VIEWS: u64 = 2;

/// A closed day of two sites, `a` and `without` pseudonyms, with as many campaigns as are kept of a pair.
async fn closed(engine: &TestEngine) -> Client {
    let client = engine.database("lots").await;
    migrate(&client).await.unwrap();
    let events = PAIR_CELLS * VISITORS * VIEWS;
    for (site, visitor) in [("a", format!("1 + intDiv(number, {VIEWS})")), ("without", "0".to_owned())] {
        execute(
            &client,
            &format!(
                "INSERT INTO events (zone, day, site, visitor, time, kind, page, utm_campaign, country, entry) SELECT 'UTC', '{DAY}', '{site}', {visitor}, \
                 toDateTime64('{DAY} 12:00:00', 3, 'UTC') + number % {VIEWS}, 'pageview', '/', concat('c', toString(intDiv(number, {VIEWS}) % {PAIR_CELLS})), \
                 'DE', number % {VIEWS} = 0 FROM numbers({events})"
            ),
        )
        .await;
    }
    let declared = Declared { goals: vec![Goal { name: "any".into(), at: Step::Page("/".into()), worth: None }], ..Declared::default() };
    let thresholds = Thresholds {
        sites: vec!["a".to_owned(), "without".to_owned()],
        ks: vec![5, 5],
        without: vec!["without".to_owned()],
        declared: ["a", "without"].map(|site| (site.to_owned(), declared.clone())).to_vec(),
        ..Thresholds::default()
    };
    let day = ZoneDay { zone: "UTC".to_owned(), day: DAY };
    Closing { client: &client, day: &day, through: DAY, thresholds: &thresholds, now: UnixMillis(0) }.run().await.unwrap();
    client
}

/// Six standard deviations on either side of a sum of as many cells as are kept, each of which is `each` on average and was rounded to multiples of `to`.
#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "figures of a test are small")]
fn fair(each: u64, to: u64) -> RangeInclusive<u64> {
    let (each, to, cells) = (each as f64, to as f64, PAIR_CELLS as f64);
    // What is far below a multiple is seldom that multiple: nothing is drawn more unevenly than between none and the next one.
    let next = (each / to).ceil() * to;
    let spread = 6.0 * (cells * each * (next - each)).sqrt();
    (each * cells - spread) as u64..=(each * cells + spread) as u64
}

/// The sums that are not what they are on average.
async fn unfair(client: &Client) -> Vec<String> {
    let mut unfair = Vec::new();
    for (site, cut, count, each, to) in [
        ("a", "goal", "visitors", VISITORS, 5),
        ("a", "goal", "visits", VISITORS, 5),
        ("a", "goal", "pageviews", VISITORS * VIEWS, 10),
        ("a", "page", "visitors", VISITORS, 5),
        ("a", "page", "pageviews", VISITORS * VIEWS, 10),
        ("a", "page", "entries", VISITORS, 5),
        ("without", "goal", "visits", VISITORS * VIEWS, 10),
        ("without", "page", "pageviews", VISITORS * VIEWS, 10),
        ("without", "page", "entries", VISITORS, 10),
    ] {
        let pair = format!("FROM rollup_closed WHERE site = '{site}' AND dimension = '{cut}' AND dimension2 = 'utm_campaign'");
        let k = if site == "a" { 5 } else { 10 };
        assert_eq!(number(client, &format!("SELECT countIf({count} % {k} != 0) {pair}")).await, 0, "{site}: {cut}, {count}");
        let sum = number(client, &format!("SELECT sum({count}) {pair}")).await;
        if !fair(each, to).contains(&sum) {
            unfair.push(format!("{site}: {cut}, {count}: {sum}, not {:?}", fair(each, to)));
        }
    }
    unfair
}

#[tokio::test]
async fn every_count_of_a_pair_is_right_on_average_and_a_lot_that_is_not_is_found() {
    let engine = TestEngine::shared(ENGINE).await;
    let client = closed(&engine).await;
    assert_eq!(unfair(&client).await, Vec::<String>::new());
    // The control: of the cells that a lot has rounded up, every second should have been rounded down.
    execute(
        &client,
        "ALTER TABLE rollup_closed DELETE WHERE dimension2 = 'utm_campaign' AND cityHash64(site, dimension, value2) % 2 = 0 SETTINGS mutations_sync = 2",
    )
    .await;
    assert_eq!(unfair(&client).await.len(), 9);
}
