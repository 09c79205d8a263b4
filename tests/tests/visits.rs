//! Visits as ClickHouse computes them against a plain reference, on random streams of events: in any order, in several batches, late, and after a kill.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![expect(clippy::unwrap_used, reason = "where a helper fails, its test has failed")]

use std::collections::BTreeMap;
use std::fmt::Write;

use clickhouse::Client;
use headcount::clock::UnixMillis;
use headcount::limits::VISITS_SLICE_EVENTS;
use headcount::store::days::{self, What, ZoneDay};
use headcount::store::migrate::migrate;
use headcount::store::visits;
use headcount_tests::delivery::{execute, number};
use headcount_tests::engine::{EngineChild, TestEngine, eventually};
use headcount_tests::segments::{DAY, ZONE};

const ENGINE: &str = env!("CARGO_BIN_EXE_engine_child");

fn today() -> ZoneDay {
    ZoneDay { zone: ZONE.to_owned(), day: DAY }
}

#[derive(Clone, Debug)]
struct Event {
    site: &'static str,
    visitor: u64,
    /// Milliseconds of the day.
    time: u64,
    kind: &'static str,
    name: &'static str,
    page: String,
    campaign: &'static str,
    source: &'static str,
    country: &'static str,
    engaged_ms: u64,
}

/// Numbers that look random and are the same each time.
struct Lot(u64);

impl Lot {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    fn of<'a>(&mut self, list: &[&'a str]) -> &'a str {
        list[usize::try_from(self.below(list.len() as u64)).unwrap()]
    }
}

/// Some visitors' events of a day: bursts with gaps about the bound, campaigns that come, go and come back, events of one millisecond.
fn stream(seed: u64) -> Vec<Event> {
    let mut lot = Lot(seed | 1);
    let mut events = Vec::new();
    for _ in 0..120 {
        let site = lot.of(&["a", "b"]);
        // Some have no pseudonym, and make no visit.
        let visitor = if lot.below(10) == 0 { 0 } else { lot.below(u64::MAX).max(1) };
        let country = lot.of(&["DE", "FR", "??"]);
        let mut time = lot.below(80_000_000);
        for _ in 0..=lot.below(11) {
            let kind = lot.of(&["pageview", "pageview", "screen", "event", "engagement"]);
            events.push(Event {
                site,
                visitor,
                time,
                kind,
                name: if kind == "event" { lot.of(&["buy", "sign up"]) } else { "" },
                page: format!("/{}", lot.below(6)),
                campaign: lot.of(&["", "", "", "spring", "autumn"]),
                source: lot.of(&["", "Google", "Mastodon"]),
                country,
                engaged_ms: if kind == "engagement" { lot.of(&["2000", "10000", "10001"]).parse().unwrap() } else { 0 },
            });
            time += match lot.below(6) {
                0 => 0,
                1 => 1_800_000,
                2 => 1_800_001,
                3 => lot.below(4_000_000),
                _ => lot.below(60_000),
            };
        }
    }
    events.retain(|event| event.time < 86_400_000);
    for index in (1..events.len()).rev() {
        events.swap(index, usize::try_from(lot.below(index as u64 + 1)).unwrap());
    }
    events
}

fn rank(event: &Event) -> impl Ord + use<> {
    let views = ["pageview", "screen"].contains(&event.kind);
    (event.time, !views, event.kind, event.name, event.page.clone(), event.campaign, event.source)
}

/// The visits, a line each, by the plainest means: one visitor's events in order, one after the other.
fn reference(events: &[Event]) -> Vec<String> {
    let mut visitors: BTreeMap<(&str, u64), Vec<&Event>> = BTreeMap::new();
    for event in events.iter().filter(|event| event.visitor != 0) {
        visitors.entry((event.site, event.visitor)).or_default().push(event);
    }
    let mut lines = Vec::new();
    for ((site, visitor), mut events) in visitors {
        events.sort_by_key(|event| rank(event));
        let mut visits: Vec<Vec<&Event>> = Vec::new();
        let (mut last, mut campaign) = (0, "");
        for event in events {
            if event.kind != "engagement" {
                let gap = visits.is_empty() || event.time - last > 1_800_000;
                if gap {
                    campaign = "";
                }
                if gap || (!event.campaign.is_empty() && event.campaign != campaign) {
                    visits.push(Vec::new());
                }
            }
            last = event.time;
            if !event.campaign.is_empty() {
                campaign = event.campaign;
            }
            if let Some(visit) = visits.last_mut() {
                visit.push(event);
            }
        }
        lines.extend(visits.iter().map(|visit| line(site, visitor, visit)));
    }
    lines.sort();
    lines
}

fn line(site: &str, visitor: u64, visit: &[&Event]) -> String {
    let (first, last) = (visit[0], visit[visit.len() - 1]);
    let views: Vec<&&Event> = visit.iter().filter(|event| ["pageview", "screen"].contains(&event.kind)).collect();
    let custom = visit.iter().filter(|event| event.kind == "event").count();
    let engaged: u64 = visit.iter().map(|event| event.engaged_ms).sum();
    let bounce = views.len() == 1 && custom == 0 && engaged <= 10_000;
    let page = |view: Option<&&&Event>| view.map_or(String::new(), |event| event.page.clone());
    format!(
        "{site} {visitor} {} {} {} {} {} {} {} {} {custom} {} {} {engaged}",
        first.time,
        first.time / 3_600_000,
        page(views.first()),
        page(views.last()),
        first.source,
        first.campaign,
        first.country,
        views.len(),
        u8::from(bounce),
        last.time - first.time,
    )
}

async fn insert(client: &Client, events: &[Event]) {
    let mut sql = String::from(
        "INSERT INTO events (zone, day, site, visitor, time, hour, kind, name, page, utm_campaign, source, country, engaged_ms) VALUES ",
    );
    for Event { site, visitor, time, kind, name, page, campaign, source, country, engaged_ms } in events {
        let at = u64::from(DAY.0) * 86_400_000 + time;
        let hour = time / 3_600_000;
        write!(
            sql,
            "('{ZONE}', {}, '{site}', {visitor}, fromUnixTimestamp64Milli({at}, 'UTC'), {hour}, '{kind}', '{name}', '{page}', '{campaign}', '{source}', '{country}', {engaged_ms}),",
            DAY.0
        )
        .unwrap();
    }
    client.query_raw(sql.trim_end_matches(',')).execute().await.unwrap();
}

async fn found(client: &Client) -> Vec<String> {
    let sql = format!(
        "SELECT concatWithSeparator(' ', site, toString(visitor), toString(toUnixTimestamp64Milli(start) - {}), toString(hour), entry_page, exit_page, \
         source, utm_campaign, country, toString(pageviews), toString(events), toString(bounce ? 1 : 0), toString(duration_ms), \
         toString(engaged_ms)) AS line FROM sessions WHERE zone = '{ZONE}' AND day = '{DAY}' ORDER BY line",
        u64::from(DAY.0) * 86_400_000
    );
    client.query_raw(&sql).fetch_all::<String>().await.unwrap()
}

#[tokio::test]
async fn visits_are_those_of_the_reference_in_whatever_order_and_batches_events_come() {
    let engine = TestEngine::shared(ENGINE).await;
    let client = engine.database("visits").await;
    migrate(&client).await.unwrap();
    for (seed, slices) in [(1, 1), (2, 16), (3, 3)] {
        execute(&client, "TRUNCATE TABLE events").await;
        let events = stream(seed * 0x9E37_79B9);
        let (early, late) = events.split_at(events.len() / 3);
        for (arrived, batch) in [(early, early), (&events[..], late)] {
            insert(&client, batch).await;
            let expected = reference(arrived);
            assert!(expected.len() > 30, "there are visits to compare");
            // Twice: what is computed again is the same.
            for _ in 0..2 {
                visits::count(&client, &today(), VISITS_SLICE_EVENTS * slices, &[]).await.unwrap();
                assert_eq!(found(&client).await, expected);
            }
        }
    }
    assert_eq!(number(&client, "SELECT countIf(visitor = 0) FROM sessions").await, 0);
    // A day whose last visitor is gone has no visits, though ClickHouse does not replace a partition by nothing.
    execute(&client, "TRUNCATE TABLE events").await;
    visits::count(&client, &today(), 0, &[]).await.unwrap();
    assert!(found(&client).await.is_empty());
}

#[tokio::test]
async fn a_kill_between_two_slices_leaves_the_last_visits_and_the_next_run_is_whole() {
    let mut engine = TestEngine::start(ENGINE).await;
    let client = engine.child.client();
    migrate(&client).await.unwrap();
    let events = stream(77);
    let (early, late) = events.split_at(events.len() / 2);
    insert(&client, early).await;
    visits::count(&client, &today(), 1, &[]).await.unwrap();
    insert(&client, late).await;
    // Many slices, so that the kill falls between two of them; each is a statement, and a busy machine has to come to the kill in time.
    let day = today();
    let counting = visits::count(&client, &day, VISITS_SLICE_EVENTS * 400, &[]);
    let killing = async {
        eventually(async || number(&client, "SELECT count() FROM sessions_staging").await > 20).await;
        engine.child.kill().unwrap();
    };
    let (counted, ()) = tokio::join!(counting, killing);
    assert!(counted.is_err());
    engine.child = EngineChild::spawn(ENGINE, engine.folder(), 1 << 30);
    engine.child.ready().await;
    let client = engine.child.client();
    assert_eq!(found(&client).await, reference(early), "readers see the last whole run");
    assert!(number(&client, "SELECT count() FROM sessions_staging").await > 20, "and what was cut off is left over");
    visits::count(&client, &today(), 1, &[]).await.unwrap();
    assert_eq!(found(&client).await, reference(&events));
}

#[tokio::test]
async fn visits_of_two_million_events_fit_into_the_memory_that_the_engine_has() {
    let engine = TestEngine::start(ENGINE).await;
    let client = engine.child.client();
    migrate(&client).await.unwrap();
    // The rollup is not what this is about.
    execute(&client, "DROP VIEW rollup_open_view").await;
    for piece in 0..8 {
        let fill = format!(
            "INSERT INTO events (zone, day, site, visitor, time, kind, page, country, browser) SELECT '{ZONE}', '{DAY}', 'a', \
             1 + cityHash64(number % 300000), fromUnixTimestamp64Milli({} + toInt64(cityHash64(number, 1) % 86400000), 'UTC'), 'pageview', \
             concat('/', toString(number % 500)), 'DE', 'Firefox' FROM numbers({}, 250000) SETTINGS max_block_size = 50000",
            u64::from(DAY.0) * 86_400_000,
            piece * 250_000
        );
        execute(&client, &fill).await;
    }
    let held = days::held(&client).await.unwrap();
    assert_eq!((&held[0].day, held[0].events, held.len()), (&today(), 2_000_000, 1));
    visits::count(&client, &today(), held[0].events, &[]).await.unwrap();
    assert_eq!(number(&client, "SELECT sum(pageviews) FROM sessions").await, 2_000_000);
}

#[tokio::test]
async fn the_log_of_days_says_the_last_word() {
    let engine = TestEngine::shared(ENGINE).await;
    let client = engine.database("log_of_days").await;
    migrate(&client).await.unwrap();
    assert_eq!(days::said(&client, &today(), What::Visits).await.unwrap(), None);
    for at in [7, 9, 8] {
        days::say(&client, &today(), What::Visits, UnixMillis(1_795_000_000_000 + at)).await.unwrap();
    }
    assert_eq!(days::said(&client, &today(), What::Visits).await.unwrap(), Some(UnixMillis(1_795_000_000_009)));
    assert_eq!(days::said(&client, &today(), What::Closed).await.unwrap(), None);
}
