//! The answers of the API against a plain reference on random events: every metric, dimension and filter, on sites far from UTC, on a day of a clock change,
//! and on a site without ids; and what it must not answer.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;
use std::fmt::Write;

use headcount::access::Access;
use headcount::clock::{Day, UnixMillis};
use headcount::store::days::{What, ZoneDay, say};
use headcount::store::visits;
use headcount_tests::figures::stage::{ALL, METRICS, NOW, Stage, api, told, written};
use headcount_tests::figures::{Asked, Lot, dimensions};
use hyper::Method;
use serde_json::{Value, json};

const ENGINE: &str = env!("CARGO_BIN_EXE_engine_child");

fn assert_alike(answer: &Value, expected: &BTreeMap<Vec<String>, Vec<Option<f64>>>, asked: &Asked) {
    let mut told = told(answer, asked.metrics.len());
    if asked.dimensions.is_empty() && asked.filters.is_empty() {
        // Parts of the range in which nothing was are rows too.
        told.retain(|key, figures| expected.contains_key(key) || figures.iter().any(|figure| figure.is_some_and(|figure| figure != 0.0)));
    }
    assert_eq!(told.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>(), "{asked:?}\n{answer}");
    for (key, figures) in expected {
        for ((expected, told), metric) in figures.iter().zip(&told[key]).zip(&asked.metrics) {
            let alike = match (expected, told) {
                (Some(expected), Some(told)) => (expected - told).abs() <= 1e-9 * expected.abs().max(1.0),
                (expected, told) => expected == told,
            };
            assert!(alike, "{metric} of {key:?}: {told:?} and not {expected:?}: {asked:?}");
        }
    }
}

/// Questions about every dimension with every metric that it tells, alone and filtered, and about pairs, at random.
fn questions(lot: &mut Lot, today: Day) -> Vec<Asked> {
    let all = dimensions();
    let mut questions = Vec::new();
    let filter = |lot: &mut Lot| {
        let name = lot.of(&all);
        let text = match name {
            "event" => "name",
            "entry_page" | "exit_page" => "page",
            other => other,
        };
        let values: Vec<String> = ["a", "b", "c"].iter().take(lot.of(&[1, 2])).map(|value| format!("{text} {value}")).collect();
        (name, lot.below(3) > 0, values)
    };
    for (index, name) in all.iter().enumerate() {
        let days = if index % 3 == 0 { (today, today) } else { (Day(today.0 - 2), today) };
        let filters = (0..lot.below(2)).map(|_| filter(lot)).collect();
        questions.push(Asked { metrics: METRICS.to_vec(), dimensions: vec![name], filters, days, interval: None });
    }
    for _ in 0..8 {
        let one = lot.of(&all);
        let others: Vec<&str> = all.iter().copied().filter(|other| *other != one).collect();
        let filters = (0..lot.below(3)).map(|_| filter(lot)).collect();
        let days = (Day(today.0 - 1), today);
        let interval = lot.of(&[None, Some("day"), Some("week"), Some("month")]);
        questions.push(Asked { metrics: METRICS.to_vec(), dimensions: vec![one, lot.of(&others)], filters, days, interval });
    }
    for interval in [None, Some("hour"), Some("day"), Some("week"), Some("month")] {
        let days = (Day(today.0 - 2), today);
        questions.push(Asked { metrics: METRICS.to_vec(), dimensions: Vec::new(), filters: Vec::new(), days, interval });
        if interval != Some("hour") {
            questions.push(Asked { metrics: METRICS.to_vec(), dimensions: Vec::new(), filters: vec![filter(lot)], days, interval });
        }
    }
    questions
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_figure_of_open_days_is_the_references() {
    let stage = Stage::set(ENGINE, "figures", ALL).await;
    let mut lot = Lot(77);
    let (mut compared, mut folded) = (0, 0);
    for (place, (site, world)) in stage.worlds.iter().enumerate() {
        for (index, mut asked) in questions(&mut lot, stage.today[site]).into_iter().enumerate() {
            // What has no money in it is summed up by the collector, the rest by ClickHouse.
            let with_money = (place + index) % 2 == 0;
            let wanted = |metric: &&str| asked.tells(metric) && (with_money || *metric != "value");
            asked.metrics = METRICS.iter().copied().filter(wanted).collect();
            let (status, answer) = stage.query(&written(site, &asked)).await;
            assert_eq!(status, 200, "{asked:?}: {answer}");
            let expected = world.figures(&asked);
            assert_alike(&answer, &expected, &asked);
            compared += expected.len();
            folded += usize::from(answer["folded"] == json!(true));
            let totals = Asked { dimensions: Vec::new(), interval: None, ..asked.clone() };
            assert_totals(&answer, &world.figures(&totals), &asked.metrics);
        }
    }
    assert!(compared > 700 && folded > 80, "{compared} rows, {folded} answers with an (other)");
}

fn assert_totals(answer: &Value, expected: &BTreeMap<Vec<String>, Vec<Option<f64>>>, metrics: &[&str]) {
    let told: Vec<Option<f64>> = answer["totals"].as_array().unwrap().iter().map(Value::as_f64).collect();
    for (index, metric) in metrics.iter().enumerate() {
        let expected = expected.values().next().and_then(|row| row[index]);
        // Amounts of several currencies have no sum.
        if *metric != "value" {
            let near = |told: f64| (told - expected.unwrap_or(f64::NAN)).abs() <= 1e-9 * told.abs().max(1.0);
            assert!(told[index] == expected || told[index].is_some_and(near), "{metric}: {:?} and not {expected:?}", told[index]);
        }
    }
}

/// Counts of visitors or visits below 5 in the answers to questions about one day with an attribute.
async fn small_counts(stage: &Stage) -> usize {
    let mut small = 0;
    for (site, least) in [("tonga.example", 5.0), ("without.example", 10.0)] {
        let metrics = if site == "without.example" { json!(["visits"]) } else { json!(["daily_visitors", "visits"]) };
        let one: Vec<Value> = dimensions().into_iter().filter(|name| !["page", "event"].contains(name)).map(|name| json!([name])).collect();
        for dimensions in one.into_iter().chain([json!(["country", "os"]), json!(["entry_page", "source"]), json!([])]) {
            let name = dimensions[0].as_str().unwrap_or_default();
            // What only events have tells no visits.
            if ["device_model", "network", "since_first"].contains(&name) {
                continue;
            }
            let filters = if name.is_empty() { json!([{ "dimension": "language", "is": ["language 7"] }]) } else { json!([]) };
            let body = json!({ "site": site, "metrics": metrics, "dimensions": dimensions, "filters": filters, "range": "today", "limit": 10_000 });
            let (status, answer) = stage.query(&body).await;
            assert_eq!(status, 200, "{body}: {answer}");
            let figures = told(&answer, metrics.as_array().unwrap().len());
            small += figures.values().flatten().filter(|figure| figure.is_some_and(|figure| figure < least)).count();
        }
    }
    small
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_answer_holds_a_count_of_fewer_than_k_visitors() {
    let mut stage = Stage::set(ENGINE, "small", &["tonga.example", "without.example"]).await;
    assert_eq!(small_counts(&stage).await, 0);
    // The control: with a threshold of 2 there are such counts, and they are found.
    stage.api = api(&stage.client, 2);
    assert!(small_counts(&stage).await > 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_analyst_asks_about_the_sites_of_the_token_and_no_other() {
    let stage = Stage::set(ENGINE, "others", &["tonga.example"]).await;
    let analyst = Access::Analyst(vec!["tonga.example".into()]);
    for (site, expected) in [("tonga.example", 200), ("angeles.example", 403), ("nobody.example", 403), ("' OR 1=1", 403)] {
        let body = json!({ "site": site, "metrics": ["visits"], "range": "7d" }).to_string();
        let encoded = site.replace(' ', "%20").replace('\'', "%27");
        for (method, path, body) in [
            (Method::POST, "/v1/query".to_owned(), body),
            (Method::GET, format!("/v1/realtime?site={encoded}"), String::new()),
            (Method::GET, format!("/v1/outcomes?site={encoded}&from=2026-11-01&to=2026-11-02"), String::new()),
        ] {
            let reply = stage.ask(&analyst, method, &path, body).await;
            assert_eq!(reply.status.as_u16(), expected, "{path} {site}");
            let told = String::from_utf8(reply.body.to_vec()).unwrap();
            assert!(expected == 200 || (told.contains("not_your_site") && !told.contains("example") && !told.contains("1=1")), "{told}");
        }
    }
    let listed = stage.ask(&analyst, Method::GET, "/v1/sites", String::new()).await;
    let listed: Value = serde_json::from_slice(&listed.body).unwrap();
    assert_eq!(listed["sites"].as_array().unwrap().len(), 1);
    assert_eq!(listed["sites"][0]["first_day"], json!("2026-10-31"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn texts_that_look_like_sql_are_values_like_any_other() {
    let stage = Stage::set(ENGINE, "hostile", &["tonga.example"]).await;
    let events = || async { stage.client.query("SELECT count() FROM events").fetch_one::<u64>().await.unwrap() };
    let before = events().await;
    for text in ["'; DROP TABLE events; --", "\\", "'", "a' OR ''='", "{site:String}", "?", "\u{1}", "\t\n", "🦀", "NULL", "])"] {
        for dimension in ["page", "entry_page", "country"] {
            let filters = json!([{ "dimension": dimension, "is_not": [text, "x"] }, { "dimension": "page", "is": [text] }]);
            let body =
                json!({ "site": "tonga.example", "metrics": ["pageviews"], "dimensions": ["page"], "filters": filters, "range": "7d" });
            let (status, answer) = stage.query(&body).await;
            assert_eq!((status, &answer["rows"]), (200, &json!([])), "{text}: {answer}");
        }
    }
    let long: Vec<String> = (0..100).map(|number| format!("{}{number}", "x".repeat(600))).collect();
    let body =
        json!({ "site": "tonga.example", "metrics": ["pageviews"], "filters": [{ "dimension": "page", "is": long }], "range": "7d" });
    assert_eq!(stage.query(&body).await.0, 200);
    assert_eq!(events().await, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_come_in_pages_and_in_three_forms() {
    let stage = Stage::set(ENGINE, "forms", &["angeles.example"]).await;
    let asked = |more: Value| {
        let mut body = json!({ "site": "angeles.example", "metrics": ["pageviews", "value"], "dimensions": ["page"], "range": "7d" });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let (_, whole) = stage.query(&asked(json!({ "order": { "by": "page" } }))).await;
    let rows = whole["rows"].as_array().unwrap();
    assert!(rows.len() > 4 && whole["next_offset"].is_null(), "{whole}");
    assert_eq!(
        whole["columns"].as_array().unwrap().iter().map(|column| column["name"].as_str().unwrap()).collect::<Vec<_>>(),
        ["page", "currency", "pageviews", "value"]
    );
    let (mut paged, mut offset) = (Vec::new(), json!(0));
    while !offset.is_null() {
        let (_, page) = stage.query(&asked(json!({ "order": { "by": "page" }, "limit": 3, "offset": offset }))).await;
        paged.extend(page["rows"].as_array().unwrap().clone());
        offset = page["next_offset"].clone();
    }
    assert_eq!(&paged, rows);
    let form = async |form: &str| stage.ask(&Access::Admin, Method::POST, "/v1/query", asked(json!({ "format": form })).to_string()).await;
    let csv = form("csv").await;
    let text = String::from_utf8(csv.body.to_vec()).unwrap();
    assert!(text.starts_with("\"page\",\"currency\",\"pageviews\",\"value\"\n") && text.lines().count() == rows.len() + 1, "{text}");
    assert_eq!(csv.content_type, "text/csv; charset=utf-8");
    let parquet = form("parquet").await;
    assert!(parquet.body.starts_with(b"PAR1") && parquet.body.ends_with(b"PAR1"));
    let (_, compared) = stage.query(&asked(json!({ "range": "today", "compare": "previous", "metrics": ["pageviews"] }))).await;
    let (_, yesterday) = stage.query(&asked(json!({ "range": "yesterday", "metrics": ["pageviews"] }))).await;
    assert_eq!((&compared["comparison"]["rows"], &compared["comparison"]["totals"]), (&yesterday["rows"], &yesterday["totals"]));
    assert_eq!(compared["visits_as_of"], json!(NOW.0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_half_hour_is_told_by_the_minute() {
    let stage = Stage::set(ENGINE, "live", &["pitcairn.example", "without.example"]).await;
    for (site, world) in &stage.worlds {
        let recent: Vec<_> = world.events.iter().filter(|event| NOW.0 - event.time < 1_800_000).collect();
        let views = recent.iter().filter(|event| event.kind == "pageview").count();
        let visitors: std::collections::BTreeSet<u64> = recent.iter().map(|event| event.visitor).filter(|visitor| *visitor != 0).collect();
        let reply = stage.ask(&Access::Admin, Method::GET, &format!("/v1/realtime?site={site}"), String::new()).await;
        let told: Value = serde_json::from_slice(&reply.body).unwrap();
        assert_eq!((&told["pageviews"], &told["visitors"]), (&json!(views), &json!(visitors.len())), "{told}");
        let minutes: Vec<u64> = serde_json::from_value(told["minutes"].clone()).unwrap();
        let of = |minute: i64| {
            recent.iter().filter(|event| event.kind == "pageview" && 29 - (NOW.0 - event.time) / 60_000 == minute).count() as u64
        };
        assert_eq!(minutes, (0..30).map(of).collect::<Vec<_>>());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closed_days_are_read_from_their_finished_cells_beside_open_ones() {
    let stage = Stage::set(ENGINE, "closed", &["tonga.example"]).await;
    let zone = "Pacific/Tongatapu";
    let day = |day: &str| day.parse::<Day>().unwrap();
    for closed in ["2026-10-26", "2026-10-27", "2026-10-28", "2026-10-29", "2026-10-30", "2026-10-31", "2026-11-01"] {
        say(&stage.client, &ZoneDay { zone: zone.to_owned(), day: day(closed) }, What::Closed, NOW).await.unwrap();
    }
    // Cells of two days, of their week, and one of a week that the range cuts; a pair; the whole site.
    let mut sql = String::from(
        "INSERT INTO rollup_closed (zone, site, day, span, dimension, value, dimension2, value2, visitors, pageviews) VALUES ",
    );
    for (first, span, dimension, value, dimension2, value2, visitors) in [
        ("2026-10-30", "day", "page", "/a", "", "", 10),
        ("2026-10-31", "day", "page", "/a", "", "", 20),
        ("2026-10-26", "week", "page", "/b", "", "", 7),
        ("2026-10-19", "week", "page", "/c", "", "", 9),
        ("2026-10-30", "day", "page", "/a", "country", "DE", 5),
        ("2026-10-30", "day", "all", "", "", "", 40),
        ("2026-10-31", "day", "all", "", "", "", 25),
    ] {
        write!(sql, "('{zone}', 'tonga.example', '{first}', '{span}', '{dimension}', '{value}', '{dimension2}', '{value2}', {visitors}, {visitors} * 10),").unwrap();
    }
    stage.client.query_raw(sql.trim_end_matches(',')).execute().await.unwrap();
    let asked = |dimensions: Value, from: &str, to: &str| json!({ "site": "tonga.example", "metrics": ["pageviews", "daily_visitors"], "dimensions": dimensions, "range": { "from": from, "to": to } });
    // Averages are over the three days since the site's first.
    let rows = async |body: Value| stage.query(&body).await.1["rows"].clone();
    // The whole site has 400 and 250 views: what the named cells do not have is the rest, whose visitors nobody can tell.
    let named = json!([["/a", 300, 10], ["(other)", 280, null], ["/b", 70, 7.0 / 3.0]]);
    assert_eq!(rows(asked(json!(["page"]), "2026-10-26", "2026-11-01")).await, named);
    assert_eq!(rows(asked(json!(["page"]), "2026-10-31", "2026-11-01")).await, json!([["/a", 200, 10], ["(other)", 50, null]]));
    assert_eq!(rows(asked(json!(["country", "page"]), "2026-10-30", "2026-10-30")).await, json!([["DE", "/a", 50, 5]]));
    assert_eq!(rows(asked(json!([]), "2026-10-30", "2026-10-30")).await, json!([[400, 40]]));
    // What was said to be closed is closed, though its events are still there: they do not count twice.
    let (_, open) = stage.query(&asked(json!([]), "2026-11-02", "2026-11-02")).await;
    let (_, both) = stage.query(&asked(json!([]), "2026-10-30", "2026-11-02")).await;
    assert_eq!(both["rows"][0][0].as_u64().unwrap(), open["rows"][0][0].as_u64().unwrap() + 650);
    let (status, refused) = stage.query(&asked(json!(["page", "os"]), "2026-10-30", "2026-11-02")).await;
    assert_eq!((status, &refused["error"]), (400, &json!("not_stored")));
}

/// A line of CSV as ClickHouse writes it, as the values of a row of JSON.
fn values(line: &str) -> Vec<Value> {
    let (mut values, mut quoted) = (vec![String::new()], false);
    for character in line.chars() {
        match character {
            '"' => quoted = !quoted,
            ',' if !quoted => values.push(String::new()),
            _ => values.last_mut().unwrap().push(character),
        }
    }
    let value = |text: String| if text == "\\N" { Value::Null } else { text.parse::<f64>().map_or(json!(text), |number| json!(number)) };
    values.into_iter().map(value).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_summed_up_here_is_what_clickhouse_sums_up_for_a_file() {
    let stage = Stage::set(ENGINE, "summed", &["angeles.example", "without.example"]).await;
    let mut lot = Lot(5);
    for (site, today) in &stage.today {
        for (index, mut asked) in questions(&mut lot, *today).into_iter().enumerate() {
            asked.metrics = METRICS.iter().copied().filter(|metric| asked.tells(metric) && *metric != "value").collect();
            let mut body = written(site, &asked);
            body["order"] = json!({ "by": asked.metrics[index % asked.metrics.len()], "descending": index % 2 == 0 });
            (body["limit"], body["offset"]) = (json!(7), json!(index % 3));
            let (status, answer) = stage.query(&body).await;
            body["format"] = json!("csv");
            let file = stage.ask(&Access::Admin, Method::POST, "/v1/query", body.to_string()).await;
            assert_eq!(file.status, status, "{body}");
            if status == 200 {
                let file: Vec<Vec<Value>> = String::from_utf8_lossy(&file.body).lines().skip(1).map(values).collect();
                let rows: Vec<Vec<Value>> =
                    answer["rows"].as_array().unwrap().iter().map(|row| told_alike(row.as_array().unwrap())).collect();
                assert_eq!(rows, file, "{body}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_folded_here_is_what_clickhouse_folds_for_a_file() {
    let site = "angeles.example";
    let mut stage = Stage::set(ENGINE, "folded", &[site]).await;
    let (zone, today) = (stage.zones[site], stage.today[site]);
    // Some values have most visitors and most have few; one device has three visitors, and two have many.
    let arrive = async |day: Day, from: u32, to: u32| {
        let sql = format!(
            "INSERT INTO events (zone, day, site, time, hour, visitor, kind, name, page, channel, source, country, device, entry) \
             WITH number % 1500 + 1 AS who, cityHash64(number) AS lot \
             SELECT '{zone}', {}, '{site}', fromUnixTimestamp64Milli({} + toInt64(lot % 3000000), 'UTC'), 1, who, if(lot % 5 = 0, 'event', 'pageview'), \
             if(lot % 5 = 0, concat('e', toString(toUInt32(pow(40, lot % 997 / 997)))), ''), concat('/', toString(toUInt32(pow(900, lot % 1009 / 1009)))), \
             ['direct', 'search', 'internal'][1 + lot % 3], concat('s', toString(toUInt32(pow(300, who % 499 / 499)))), \
             if(lot % 7 = 0, '', char(65 + toUInt32(pow(26, who % 251 / 251)))), multiIf(who < 4, 'watch', who % 2 = 0, 'phone', 'desktop'), lot % 4 = 0 \
             FROM numbers({from}, {})",
            day.0,
            (i64::from(day.0) * 24 + 9) * 3_600_000,
            to - from,
        );
        stage.client.query_raw(&sql).execute().await.unwrap();
    };
    for day in [today, today.previous()] {
        arrive(day, 0, 4_000).await;
        visits::count(&stage.client, &ZoneDay { zone: zone.to_owned(), day }, 10_000, &[]).await.unwrap();
        // Of these nobody knows the visits yet.
        arrive(day, 4_000, 5_000).await;
    }
    let mut compared = 0;
    for k in [2, 5, 60, 700, 1_000] {
        stage.api = api(&stage.client, k);
        for range in ["today", "7d"] {
            for (dimension, metrics) in [
                ("page", ["daily_visitors", "pageviews"]),
                ("channel", ["daily_visitors", "visits"]),
                ("country", ["daily_visitors", "visits"]),
                ("country", ["daily_visitors", "pageviews"]),
                ("device", ["visits", "bounce_rate"]),
                ("event", ["daily_visitors", "events"]),
                ("source", ["daily_visitors", "visits"]),
                ("entry_page", ["daily_visitors", "visits"]),
                ("exit_page", ["visits", "pageviews"]),
            ] {
                for interval in [None, Some("day")] {
                    let mut body = json!({ "site": site, "metrics": metrics, "dimensions": [dimension], "range": range, "limit": 10_000 });
                    if let Some(interval) = interval {
                        body["interval"] = json!(interval);
                    }
                    let (status, answer) = stage.query(&body).await;
                    assert_eq!(status, 200, "{body}: {answer}");
                    body["format"] = json!("csv");
                    let file = stage.ask(&Access::Admin, Method::POST, "/v1/query", body.to_string()).await;
                    let file: Vec<Vec<Value>> = String::from_utf8_lossy(&file.body).lines().skip(1).map(values).collect();
                    let rows: Vec<_> = answer["rows"].as_array().unwrap().iter().map(|row| told_alike(row.as_array().unwrap())).collect();
                    assert_eq!(rows, file, "k = {k}: {body}");
                    compared += rows.len();
                }
            }
        }
    }
    assert!(compared > 5_000, "{compared}");
}

/// The values of a row, numbers as a file has them.
fn told_alike(row: &[Value]) -> Vec<Value> {
    let alike = |value: &Value| match value {
        Value::String(text) => text.parse::<f64>().map_or_else(|_| value.clone(), |number| json!(number)),
        Value::Number(number) => json!(number.as_f64()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => value.clone(),
    };
    row.iter().map(alike).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_is_asked_anew_as_soon_as_the_tables_hold_something_else() {
    let stage = Stage::set(ENGINE, "anew", &["tonga.example"]).await;
    let asked = json!({ "site": "tonga.example", "metrics": ["pageviews", "visits"], "range": "30d" });
    let told = async || {
        let (_, first) = stage.query(&asked).await;
        let (_, again) = stage.query(&asked).await;
        assert_eq!(first, again, "what did not change is told again");
        [&first["rows"][0][0], &first["rows"][0][1], &first["visits_as_of"]].map(|figure| figure.as_i64().unwrap())
    };
    let [views, visits, as_of] = told().await;
    let (zone, day) = ("Pacific/Tongatapu", stage.today["tonga.example"]);
    let today = ZoneDay { zone: zone.to_owned(), day };
    let later = UnixMillis(as_of + 1);
    let run = async |sql: String| stage.client.query_raw(&sql).execute().await.unwrap();
    let event = format!(
        "INSERT INTO events (zone, day, site, time, kind, visitor) \
         VALUES ('{zone}', '{day}', 'tonga.example', fromUnixTimestamp64Milli({}, 'UTC'), 'pageview', 7)",
        NOW.0
    );
    run(event).await;
    assert_eq!(told().await, [views + 1, visits, as_of], "an event arrived");
    visits::count(&stage.client, &today, 10_000, &[]).await.unwrap();
    assert_eq!(told().await, [views + 1, visits + 1, as_of], "its visit was counted");
    for day in (0..3).map(|back| Day(day.0 - back)) {
        say(&stage.client, &ZoneDay { zone: zone.to_owned(), day }, What::Visits, later).await.unwrap();
    }
    assert_eq!(told().await, [views + 1, visits + 1, later.0], "the log has another line");
    run("OPTIMIZE TABLE rollup_open FINAL".to_owned()).await;
    assert_eq!(told().await, [views + 1, visits + 1, later.0], "parts were merged");
    run("ALTER TABLE rollup_open DELETE WHERE dimension = 'all' SETTINGS mutations_sync = 2".to_owned()).await;
    assert_eq!(told().await, [0, visits + 1, later.0], "rows were deleted");
}
