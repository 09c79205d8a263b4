//! Goals, funnels and properties of events against a plain reference on random streams: while the day is open, and the same after it is closed.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![expect(clippy::unwrap_used, reason = "where a helper fails, its test has failed")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::sync::Arc;

use clickhouse::Client;
use headcount::access::Access;
use headcount::api::Api;
use headcount::clock::{Clock, Day, UnixMillis};
use headcount::config::{Config, Overrides, Surroundings};
use headcount::server::private::{Analysis, Question};
use headcount::site::Sites;
use headcount::store::close::{Closing, Thresholds};
use headcount::store::days::{What, ZoneDay, say};
use headcount::store::migrate::migrate;
use headcount::store::visits;
use headcount_tests::engine::TestEngine;
use headcount_tests::figures::Lot;
use hyper::Method;
use serde_json::{Value, json};

const ENGINE: &str = env!("CARGO_BIN_EXE_engine_child");
/// 2026-11-02, noon.
const NOW: UnixMillis = UnixMillis(1_793_620_800_000);
const DAY: Day = Day(20_759);

const SITES: &str = r#"
[[site]]
id = "a"
properties = ["plan", "seats"]
[[site.goal]]
name = "Bought"
event = "buy"
[[site.goal]]
name = "Read"
page = "/news/*"
value = "0.25 EUR"
[[site.goal]]
name = "Everybody"
page = "/"
[[site.goal]]
name = "Nobody"
page = "/nowhere"
[[site.funnel]]
name = "Buying"
steps = [{ page = "/" }, { page = "/cart" }, { event = "buy" }]
[[site.funnel]]
name = "Twice"
steps = [{ page = "/cart" }, { page = "/cart" }]

[[site]]
id = "without"
consent = { ceiling = "anonymous" }
[[site.goal]]
name = "Bought"
event = "buy"
[[site.goal]]
name = "Read"
page = "/news/*"
value = "0.25 EUR"

[[site]]
id = "silent"
"#;

fn sites() -> Arc<Sites> {
    let overrides = Overrides { data_dir: Some("/nowhere".into()), ..Overrides::default() };
    Config::parse(SITES, None, &overrides, &Surroundings::default()).unwrap().sites
}

fn thresholds(sites: &Sites) -> Thresholds {
    Thresholds {
        sites: sites.iter().map(|site| site.id.to_string()).collect(),
        ks: sites.iter().map(|site| site.k.into()).collect(),
        without: vec!["without".to_owned()],
        declared: sites.iter().map(|site| (site.id.to_string(), site.declared.clone())).collect(),
        ..Thresholds::default()
    }
}

#[derive(Clone, Debug)]
struct Event {
    visitor: u64,
    /// Milliseconds of the day.
    time: i64,
    kind: &'static str,
    name: &'static str,
    page: &'static str,
    country: &'static str,
    device: &'static str,
    props: Vec<(&'static str, &'static str)>,
    /// In ten-thousandths.
    paid: (i64, &'static str),
    entry: bool,
}

/// Visits of some people: each has one, within half an hour, so that a visit is a person.
fn stream(lot: &mut Lot, ids: bool) -> Vec<Event> {
    let mut events = Vec::new();
    for visitor in 1..=150 {
        let (country, device) = (lot.of(&["DE", "DE", "DE", "FR", "FR", "IT"]), lot.of(&["phone", "desktop"]));
        let begin = 1_000_000 + i64::try_from(lot.below(30_000_000)).unwrap();
        for step in 0..=lot.below(7) {
            let page = if step == 0 && lot.below(30) > 0 {
                "/"
            } else {
                lot.of(&["/", "/cart", "/cart?page=2", "/news/a", "/news/b/c", "/news/", "/about"])
            };
            let kind = if step == 0 { "pageview" } else { lot.of(&["pageview", "pageview", "event"]) };
            let buys = kind == "event" && lot.below(3) == 0;
            let plan = lot.of(&["small", "large", "rare"]);
            let props = match lot.below(if plan == "rare" { 60 } else { 3 }) {
                0 => vec![("plan", plan), ("secret", "x")],
                1 => vec![("seats", "3"), ("plan", "large")],
                _ => Vec::new(),
            };
            events.push(Event {
                visitor: if ids { visitor } else { 0 },
                time: begin + i64::try_from(step).unwrap() * 60_000,
                kind,
                name: if buys {
                    "buy"
                } else if kind == "event" {
                    "other"
                } else {
                    ""
                },
                page,
                country,
                device,
                props,
                paid: if buys { (i64::try_from(lot.below(1_000_000)).unwrap(), lot.of(&["EUR", "USD"])) } else { (0, "") },
                entry: step == 0,
            });
        }
    }
    events
}

async fn insert(client: &Client, site: &str, events: &[Event]) {
    let mut sql = String::from(
        "INSERT INTO events (zone, day, site, visitor, time, kind, name, page, country, device, props, value, currency, entry) VALUES ",
    );
    for event in events {
        let at = i64::from(DAY.0) * 86_400_000 + event.time;
        let props = event.props.iter().map(|(key, text)| format!("'{key}', '{text}'")).collect::<Vec<_>>().join(", ");
        let Event { visitor, kind, name, page, country, device, paid: (amount, currency), entry, .. } = event;
        let (units, parts) = (amount / 10_000, amount % 10_000);
        write!(
            sql,
            "('UTC', {}, '{site}', {visitor}, fromUnixTimestamp64Milli({at}, 'UTC'), '{kind}', '{name}', '{page}', '{country}', '{device}', \
             map({props}), {units}.{parts:04}, '{currency}', {entry}),",
            DAY.0
        )
        .unwrap();
    }
    let sql = sql.replace("map()", "CAST(map(), 'Map(String, String)')");
    client.query_raw(sql.trim_end_matches(',')).execute().await.unwrap();
}

fn does(step: &str, event: &Event) -> bool {
    let path = event.page.split('?').next().unwrap();
    match step {
        "buy" => event.kind == "event" && event.name == "buy",
        "/news/*" => event.kind == "pageview" && path.starts_with("/news/") && path.len() > "/news/".len(),
        page => event.kind == "pageview" && path == page,
    }
}

const GOALS: [(&str, &str); 4] = [("Bought", "buy"), ("Read", "/news/*"), ("Everybody", "/"), ("Nobody", "/nowhere")];
const FUNNELS: [(&str, &[&str]); 2] = [("Buying", &["/", "/cart", "buy"]), ("Twice", &["/cart", "/cart"])];

/// How far a visit went: one event after the other, each does the next step or none.
fn far(steps: &[&str], visit: &[&Event]) -> usize {
    visit.iter().fold(0, |far, event| far + usize::from(far < steps.len() && does(steps[far], event)))
}

/// What each visit reached, goals and steps.
fn reached(visit: &[&Event]) -> Vec<(&'static str, String)> {
    let goals = GOALS.iter().filter(|(_, step)| visit.iter().any(|event| does(step, event))).map(|(name, _)| ("goal", (*name).to_owned()));
    let steps = FUNNELS.iter().flat_map(|(name, steps)| (1..=far(steps, visit)).map(move |step| ("funnel", format!("{name}/{step}"))));
    goals.chain(steps).collect()
}

/// Conversions and their rate, by what is reached and another cut, as far as they may be named.
fn reference(events: &[Event], cut: &str, other: impl Fn(&Event) -> &'static str) -> BTreeMap<(String, String), (usize, f64)> {
    let mut visits: BTreeMap<u64, Vec<&Event>> = BTreeMap::new();
    for event in events {
        visits.entry(event.visitor).or_default().push(event);
    }
    let mut could: BTreeMap<String, usize> = BTreeMap::new();
    let mut did: BTreeMap<(String, String), usize> = BTreeMap::new();
    for visit in visits.values() {
        let other = other(visit[0]).to_owned();
        *could.entry(other.clone()).or_default() += 1;
        for (_, value) in reached(visit).into_iter().filter(|(own, _)| *own == cut) {
            *did.entry((value, other.clone())).or_default() += 1;
        }
    }
    let mut named = BTreeMap::new();
    for ((value, other), number) in &did {
        // Everyone has one visit. Between a step and the one before it may be nobody, or at least five.
        let before = |step: usize| match step {
            1 => could[other],
            _ => did[&(format!("{}/{}", value.split('/').next().unwrap(), step - 1), other.clone())],
        };
        let steps = value.split_once('/').map_or(1, |(_, step)| step.parse().unwrap());
        let of = |step: usize| {
            if value.contains('/') { did[&(format!("{}/{step}", value.split('/').next().unwrap()), other.clone())] } else { *number }
        };
        let enough = (1..=steps).all(|step| of(step) >= 5 && (before(step) == of(step) || before(step) - of(step) >= 5));
        if enough {
            #[expect(clippy::cast_precision_loss, reason = "figures of a test are small")]
            let rate = 100.0 * *number as f64 / could[other] as f64;
            named.insert((value.clone(), other.clone()), (*number, rate));
        }
    }
    named
}

struct Stage {
    client: Client,
    api: Api,
    sites: Arc<Sites>,
}

impl Stage {
    async fn set(name: &str) -> Self {
        let engine = TestEngine::shared(ENGINE).await;
        // The engine ends with the last that holds it.
        let engine: &'static Arc<TestEngine> = Box::leak(Box::new(engine));
        let client = engine.database(name).await;
        migrate(&client).await.unwrap();
        let sites = sites();
        let now = Arc::clone(&sites);
        let api = Api::new(Box::new(move || Arc::clone(&now)), &client, Clock::standing_at(NOW));
        Self { client, api, sites }
    }

    async fn count(&self) {
        let day = day();
        visits::count(&self.client, &day, 1_000, &thresholds(&self.sites).declared).await.unwrap();
        say(&self.client, &day, What::Visits, NOW).await.unwrap();
    }

    async fn close(&self) {
        let (day, thresholds) = (day(), thresholds(&self.sites));
        Closing { client: &self.client, day: &day, through: DAY, thresholds: &thresholds, now: NOW }.run().await.unwrap();
    }

    /// The status and the answer.
    async fn ask(&self, site: &str, change: Value) -> (u16, Value) {
        let mut body = json!({ "site": site, "range": "today", "limit": 1000 });
        let Value::Object(change) = change else { panic!("an object") };
        body.as_object_mut().unwrap().extend(change);
        let question =
            Question { method: Method::POST, path: "/v1/query".to_owned(), query: String::new(), body: Some(body.to_string().into()) };
        let reply = self.api.answer(&Access::Admin, question).await;
        (reply.status.as_u16(), serde_json::from_slice(&reply.body).unwrap())
    }

    async fn rows(&self, site: &str, change: Value) -> BTreeMap<Vec<String>, Vec<f64>> {
        let (status, answer) = self.ask(site, change).await;
        assert_eq!(status, 200, "{answer}");
        let dimensions = answer["columns"].as_array().unwrap().iter().filter(|column| column["kind"] == "dimension").count();
        let rows = answer["rows"].as_array().unwrap().iter().map(|row| row.as_array().unwrap().split_at(dimensions));
        let keys = |keys: &[Value]| keys.iter().map(|key| key.as_str().unwrap().to_owned()).collect();
        rows.map(|(key, figures)| (keys(key), figures.iter().map(|figure| figure.as_f64().unwrap_or(-1.0)).collect())).collect()
    }
}

fn day() -> ZoneDay {
    ZoneDay { zone: "UTC".to_owned(), day: DAY }
}

#[expect(clippy::cast_precision_loss, reason = "figures of a test are small")]
fn assert_is(told: &BTreeMap<Vec<String>, Vec<f64>>, expected: &BTreeMap<(String, String), (usize, f64)>) {
    let keys: BTreeSet<Vec<String>> =
        expected.keys().map(|(one, two)| [one, two].iter().filter(|text| !text.is_empty()).map(|text| (*text).clone()).collect()).collect();
    assert_eq!(told.keys().cloned().collect::<BTreeSet<_>>(), keys);
    for ((one, two), (number, rate)) in expected {
        let key: Vec<String> = [one, two].iter().filter(|text| !text.is_empty()).map(|text| (*text).clone()).collect();
        assert!(
            (told[&key][0] - *number as f64).abs() < 1e-9 && (told[&key][1] - rate).abs() < 1e-9,
            "{key:?}: {:?}, not {number} {rate}",
            told[&key]
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn goals_and_funnels_are_those_of_the_reference_before_and_after_closing() {
    let stage = Stage::set("reached").await;
    let events = stream(&mut Lot(41), true);
    insert(&stage.client, "a", &events).await;
    insert(&stage.client, "silent", &events).await;
    stage.count().await;
    let asked = |dimensions: Value| json!({ "metrics": ["conversions", "conversion_rate"], "dimensions": dimensions });
    let whole = |cut: &str| reference(&events, cut, |_| "");
    assert!(whole("goal").len() == 2, "all but the one that nearly all reach, and the one that nobody does: {:?}", whole("goal"));
    let amounts = json!({ "metrics": ["value"], "dimensions": ["goal"] });
    let mut before = Vec::new();
    for round in ["open", "closed"] {
        if round == "closed" {
            stage.close().await;
        }
        for cut in ["goal", "funnel"] {
            assert_is(&stage.rows("a", asked(json!([cut]))).await, &whole(cut));
        }
        assert!(stage.rows("silent", asked(json!(["goal"]))).await.is_empty(), "it has declared nothing");
        before.push(stage.rows("a", amounts.clone()).await);
        let filtered = json!({ "metrics": ["visits", "conversions"], "filters": [{ "dimension": "goal", "is": ["Bought"] }] });
        let bought = whole("goal")[&("Bought".to_owned(), String::new())].0;
        let told = stage.rows("a", filtered).await;
        #[expect(clippy::cast_precision_loss, reason = "figures of a test are small")]
        let bought = bought as f64;
        assert_eq!(told[&Vec::new()], [bought, bought], "{round}");
        if round == "open" {
            let by_country = |event: &Event| event.country;
            assert_is(&stage.rows("a", asked(json!(["goal", "country"]))).await, &reference(&events, "goal", by_country));
            assert_is(&stage.rows("a", asked(json!(["funnel", "device"]))).await, &reference(&events, "funnel", |event| event.device));
        }
    }
    assert_eq!(before[0], before[1], "amounts are the same before and after");
    let mut paid: BTreeMap<Vec<String>, i64> = BTreeMap::new();
    for event in events.iter().filter(|event| !event.paid.1.is_empty()) {
        *paid.entry(vec!["Bought".to_owned(), event.paid.1.to_owned()]).or_default() += event.paid.0;
    }
    let read = whole("goal")[&("Read".to_owned(), String::new())].0;
    paid.insert(vec!["Read".to_owned(), "EUR".to_owned()], i64::try_from(read).unwrap() * 2_500);
    #[expect(clippy::cast_precision_loss, reason = "figures of a test are small")]
    let paid: BTreeMap<Vec<String>, Vec<f64>> = paid.into_iter().map(|(key, amount)| (key, vec![amount as f64 / 10_000.0])).collect();
    assert_eq!(before[0], paid);
    // Pairs of closed days are rounded to multiples of k, and a rate is of the visits of the other cut.
    let told = stage.rows("a", asked(json!(["goal", "country"]))).await;
    assert!(!told.is_empty() && told.values().all(|row| row[0] % 5.0 == 0.0 && row[1] <= 100.0), "{told:?}");
    let (_, answer) = stage.ask("a", asked(json!(["goal"]))).await;
    assert_eq!(answer["notes"], json!(["totals_not_stored", "counts_since_declared", "small_left_out"]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_site_without_ids_counts_the_events_that_reach_a_goal_against_entries() {
    let stage = Stage::set("reached_without").await;
    let events = stream(&mut Lot(43), false);
    insert(&stage.client, "without", &events).await;
    stage.count().await;
    let entries = events.iter().filter(|event| event.entry).count();
    #[expect(clippy::cast_precision_loss, reason = "figures of a test are small")]
    let expected: BTreeMap<(String, String), (usize, f64)> = GOALS[..2]
        .iter()
        .map(|(name, step)| {
            let number = events.iter().filter(|event| does(step, event)).count();
            (((*name).to_owned(), String::new()), (number, 100.0 * number as f64 / entries as f64))
        })
        .collect();
    let question = json!({ "metrics": ["conversions", "conversion_rate"], "dimensions": ["goal"] });
    for round in ["open", "closed"] {
        if round == "closed" {
            stage.close().await;
        }
        assert_is(&stage.rows("without", question.clone()).await, &expected);
        let (_, answer) = stage.ask("without", question.clone()).await;
        let notes = answer["notes"].as_array().unwrap();
        assert!(notes.contains(&json!("conversions_are_events")) && notes.contains(&json!("without_ids")), "{notes:?}");
    }
    let by_country = stage.rows("without", json!({ "metrics": ["conversions"], "dimensions": ["country", "goal"] })).await;
    assert!(!by_country.is_empty() && by_country.values().all(|row| row[0] % 10.0 == 0.0), "{by_country:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_are_cut_by_the_properties_that_the_site_names_and_by_no_other() {
    let stage = Stage::set("properties").await;
    let events = stream(&mut Lot(47), true);
    insert(&stage.client, "a", &events).await;
    insert(&stage.client, "silent", &events).await;
    stage.count().await;
    let mut cells: BTreeMap<String, (BTreeSet<u64>, usize)> = BTreeMap::new();
    for event in &events {
        for (key, text) in event.props.iter().filter(|(key, _)| *key != "secret") {
            let cell = cells.entry(format!("{key}={text}")).or_default();
            cell.0.insert(event.visitor);
            cell.1 += usize::from(event.kind == "event");
        }
    }
    assert!((1..5).contains(&cells["plan=rare"].0.len()), "one is too small: {:?}", cells["plan=rare"]);
    cells.remove("plan=rare");
    // What is too small alone takes the smallest other value of its property with it, and none of another.
    cells.remove("plan=small");
    #[expect(clippy::cast_precision_loss, reason = "figures of a test are small")]
    let expected: BTreeMap<Vec<String>, Vec<f64>> =
        cells.into_iter().map(|(value, (visitors, number))| (vec![value], vec![visitors.len() as f64, number as f64])).collect();
    let question = json!({ "metrics": ["daily_visitors", "events"], "dimensions": ["event_property"] });
    for round in ["open", "closed"] {
        if round == "closed" {
            stage.close().await;
        }
        assert_eq!(stage.rows("a", question.clone()).await, expected, "{round}");
        assert!(stage.rows("silent", question.clone()).await.is_empty());
        let secret = json!({ "metrics": ["events"], "filters": [{ "dimension": "event_property", "is": ["secret=x"] }] });
        let (status, answer) = stage.ask("a", secret).await;
        assert!(status == 200 && answer["rows"] == json!([]), "{answer}");
        let large = json!({ "metrics": ["events"], "filters": [{ "dimension": "event_property", "is": ["plan=large"] }] });
        assert_eq!(stage.rows("a", large).await[&Vec::new()], expected[&vec!["plan=large".to_owned()]][1..]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_told_of_goals_is_refused_with_what_can() {
    let stage = Stage::set("reached_refused").await;
    for (site, change, field) in [
        ("a", json!({ "metrics": ["conversions"] }), "metrics[0]"),
        ("a", json!({ "metrics": ["conversions"], "dimensions": ["country"] }), "metrics[0]"),
        ("a", json!({ "metrics": ["bounce_rate"], "dimensions": ["goal"] }), "metrics[0]"),
        ("a", json!({ "metrics": ["value"], "dimensions": ["funnel"] }), "metrics[0]"),
        ("a", json!({ "metrics": ["conversions"], "dimensions": ["goal", "page"] }), "dimensions[1]"),
        ("a", json!({ "metrics": ["conversions"], "dimensions": ["goal", "funnel"] }), "dimensions[1]"),
        ("a", json!({ "metrics": ["conversion_rate"], "filters": [{ "dimension": "goal", "is": ["Bought"] }] }), "metrics[0]"),
        ("a", json!({ "metrics": ["value"], "filters": [{ "dimension": "goal", "is": ["Bought"] }] }), "metrics[0]"),
        ("without", json!({ "metrics": ["events"], "filters": [{ "dimension": "goal", "is": ["Bought"] }] }), "filters[0]"),
        ("without", json!({ "metrics": ["conversions"], "dimensions": ["goal", "entry_page"] }), "dimensions[1]"),
        ("without", json!({ "metrics": ["conversions"], "dimensions": ["funnel"] }), "dimensions[0]"),
    ] {
        let (status, answer) = stage.ask(site, change.clone()).await;
        assert_eq!((status, &answer["error"], &answer["field"]), (400, &json!("not_stored"), &json!(field)), "{change}: {answer}");
    }
}
