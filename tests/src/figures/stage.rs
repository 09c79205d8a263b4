//! The API over the real engine, with a random world on each of a few sites.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use clickhouse::Client;
use headcount::access::Access;
use headcount::api::Api;
use headcount::clock::{Clock, Day, UnixMillis, Zone};
use headcount::config::{Config, Overrides, Surroundings};
use headcount::server::private::{Analysis, Question, Reply};
use headcount::site::Sites;
use headcount::store::days::{What, ZoneDay, say};
use headcount::store::migrate::migrate;
use headcount::store::visits;
use hyper::Method;
use serde_json::{Value, json};

use super::{Asked, TEXTS, World};
use crate::engine::TestEngine;

/// 2026-11-02T10:00:00Z. In Los Angeles the clocks went back the day before; in Tonga it is 23:00, at Pitcairn 02:00.
pub const NOW: UnixMillis = UnixMillis(1_793_613_600_000);

const SITES: &str = r#"
[[site]]
id = "tonga.example"
timezone = "Pacific/Tongatapu"
[[site]]
id = "pitcairn.example"
timezone = "Pacific/Pitcairn"
[[site]]
id = "angeles.example"
timezone = "America/Los_Angeles"
[[site]]
id = "without.example"
[site.consent]
ceiling = "anonymous"
"#;

/// The same sites with the least threshold there is.
fn sites(k: u16) -> Arc<Sites> {
    let overrides = Overrides { data_dir: Some("/nowhere".into()), ..Overrides::default() };
    let text = SITES.replace("timezone", &format!("k = {k}\ntimezone"));
    Config::parse(&text, None, &overrides, &Surroundings::default()).expect("as it should be").sites
}

/// Every site.
pub const ALL: &[&str] = &["tonga.example", "pitcairn.example", "angeles.example", "without.example"];

/// Every metric that needs no declaration.
pub const METRICS: &[&str] = &[
    "daily_visitors",
    "visits",
    "pageviews",
    "events",
    "value",
    "bounce_rate",
    "visit_duration",
    "engaged_time",
    "scroll_depth",
    "daily_actives",
    "weekly_actives",
    "monthly_actives",
];

/// Days with events, today among them.
pub const DAYS: u16 = 3;

/// A database with a random world on each site, and the API over it.
pub struct Stage {
    /// With the usual threshold, until it is replaced.
    pub api: Api,
    /// Of the database.
    pub client: Client,
    /// By site.
    pub worlds: BTreeMap<&'static str, World>,
    /// Where each site is.
    pub zones: BTreeMap<&'static str, &'static str>,
    /// What day it is there.
    pub today: BTreeMap<&'static str, Day>,
}

impl Stage {
    /// Makes a world on each of these sites, with visits counted; `engine` is the path of `engine_child`.
    ///
    /// # Panics
    /// When anything goes wrong, as all of this does.
    pub async fn set(engine: &str, database: &str, of: &[&str]) -> Self {
        let engine = TestEngine::shared(engine).await;
        // The engine ends with the last that holds it.
        let engine: &'static Arc<TestEngine> = Box::leak(Box::new(engine));
        let client = engine.database(database).await;
        migrate(&client).await.expect("as it should be");
        let (mut worlds, mut zones, mut today) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        for (index, (site, zone, ids)) in [
            ("tonga.example", "Pacific/Tongatapu", true),
            ("pitcairn.example", "Pacific/Pitcairn", true),
            ("angeles.example", "America/Los_Angeles", true),
            ("without.example", "UTC", false),
        ]
        .into_iter()
        .enumerate()
        .filter(|(_, (site, _, _))| of.contains(site))
        {
            let name = zone;
            let zone = Zone::named(name).expect("as it should be");
            let world = World::random(0x9E37_79B9 * (index as u64 + 1), &zone, NOW, DAYS, ids);
            insert(&client, name, site, &world).await;
            let last = zone.day_of(NOW);
            for day in (last.0 + 1 - DAYS..=last.0).map(Day) {
                let day = ZoneDay { zone: name.to_owned(), day };
                visits::count(&client, &day, 10_000, &[]).await.expect("as it should be");
                say(&client, &day, What::Visits, NOW).await.expect("as it should be");
            }
            worlds.insert(site, world);
            zones.insert(site, name);
            today.insert(site, last);
        }
        let api = api(&client, 5);
        Self { api, client, worlds, zones, today }
    }

    /// Asks as somebody with this access does.
    pub async fn ask(&self, access: &Access, method: Method, path: &str, body: String) -> Reply {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let question = Question { method, path: path.to_owned(), query: query.to_owned(), body: Some(body.into()) };
        self.api.answer(access, question).await
    }

    /// Asks `/v1/query` as an administrator: status and answer.
    ///
    /// # Panics
    /// When the answer is not JSON.
    pub async fn query(&self, body: &Value) -> (u16, Value) {
        let reply = self.ask(&Access::Admin, Method::POST, "/v1/query", body.to_string()).await;
        (reply.status.as_u16(), serde_json::from_slice(&reply.body).expect("as it should be"))
    }
}

/// The API with a threshold.
pub fn api(client: &Client, k: u16) -> Api {
    let sites = sites(k);
    Api::new(Box::new(move || Arc::clone(&sites)), client, Clock::standing_at(NOW))
}

async fn insert(client: &Client, zone: &str, site: &str, world: &World) {
    let mut sql = format!(
        "INSERT INTO events (zone, day, site, time, hour, visitor, kind, value, currency, engaged_ms, scroll_pct, entry, first_today, \
         first_this_week, first_this_month, {}) VALUES ",
        TEXTS.join(", ")
    );
    for event in &world.events {
        let [today, week, month] = event.firsts;
        write!(
            sql,
            "('{zone}', {}, '{site}', fromUnixTimestamp64Milli({}, 'UTC'), {}, {}, '{}', {}.{:04}, '{}', {}, {}, {}, {today}, {week}, {month}, '{}'),",
            event.day.0,
            event.time,
            event.hour,
            event.visitor,
            event.kind,
            event.amount.0 / 10_000,
            event.amount.0 % 10_000,
            event.amount.1,
            event.engaged_ms,
            event.scroll_pct,
            event.entry,
            event.texts.join("', '"),
        )
        .expect("as it should be");
    }
    client.query_raw(sql.trim_end_matches(',')).execute().await.expect("as it should be");
}

/// The question as it is sent.
pub fn written(site: &str, asked: &Asked) -> Value {
    let filter =
        |(name, stays, values): &(&str, bool, Vec<String>)| json!({ "dimension": name, if *stays { "is" } else { "is_not" }: values });
    let mut body = json!({
        "site": site, "metrics": asked.metrics, "dimensions": asked.dimensions, "limit": 10_000,
        "filters": asked.filters.iter().map(filter).collect::<Vec<_>>(),
        "range": { "from": asked.days.0.to_string(), "to": asked.days.1.to_string() },
    });
    if let Some(interval) = asked.interval {
        body["interval"] = json!(interval);
    }
    body
}

/// The rows of an answer by their keys.
///
/// # Panics
/// When it is no answer.
pub fn told(answer: &Value, metrics: usize) -> BTreeMap<Vec<String>, Vec<Option<f64>>> {
    let rows = answer["rows"].as_array().expect("as it should be");
    let split = |row: &Value| {
        let row = row.as_array().expect("as it should be");
        let (keys, figures) = row.split_at(row.len() - metrics);
        (keys.iter().map(|key| key.as_str().expect("as it should be").to_owned()).collect(), figures.iter().map(Value::as_f64).collect())
    };
    rows.iter().map(split).collect()
}
