//! Attack: a stranger has a link to a site's closed days, and looks for more than it is meant to show.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeSet;

use headcount_tests::collector::{Collector, Setup};
use headcount_tests::http::{self, Answer, Connection};
use headcount_tests::leaky;
use headcount_tests::staged::NOON;
use serde_json::{Value, json};

const CONFIG: &str = "[public]\nworkers = 1\n[engine]\nmemory_bytes = 1073741824\n\
    [[site]]\nid = \"a.example\"\nshare = true\n[[site]]\nid = \"b.example\"\nhosts = [\"c.example\"]\n";
const HOUR: i64 = 3_600_000;
/// Both closed days are over.
const LATER: i64 = NOON + 58 * HOUR + 120_000;
const CLOSED: &str = "SELECT count() FROM days WHERE what = 'closed'";
/// Three days: one with four pages, of which two are for analysts alone; one on which hardly anybody came; and one that is open.
const BUSY: &str = "2026-11-22";
const QUIET: &str = "2026-11-23";
const OPEN: &str = "2026-11-24";

fn visit(connection: &mut Connection, visitor: u8, site: &str, page: &str) {
    let headers = [
        &*format!(
            "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.{visitor} Safari/537.36"
        ),
        &format!("X-Forwarded-For: 203.0.113.{}", 70 + visitor),
        "Content-Type: text/plain",
    ];
    let event = format!(r#"{{"site":"{site}","url":"https://{site}{page}"}}"#);
    assert_eq!(connection.send("POST", "/e", &headers, event.as_bytes()).unwrap().status, 204);
}

/// Two closed days and an open one.
fn prepared(setup: &Setup) -> Collector {
    let mut collector = setup.start();
    let mut visitors = 0;
    let mut day = |collector: &Collector, site: &str, pages: &[(&str, u8)]| {
        let mut connection = Connection::open(collector.public()).unwrap();
        let each = pages.iter().flat_map(|(page, count)| (0..*count).map(move |_| *page));
        for (visitor, page) in (0..).zip(each) {
            // Six of forty have no campaign.
            let campaign = if visitor < 34 { "?utm_source=letter" } else { "" };
            visit(&mut connection, visitor, site, &format!("{page}{campaign}"));
            visitors += 1;
        }
        collector.wait_for_events(visitors);
    };
    day(&collector, "a.example", &[("/many", 15), ("/more", 12), ("/some", 7), ("/fair", 6)]);
    day(&collector, "b.example", &[("/elsewhere", 20)]);
    collector.set_clock(NOON + 24 * HOUR);
    day(&collector, "a.example", &[("/quiet", 7)]);
    collector.drained();
    collector.set_clock(LATER);
    day(&collector, "a.example", &[("/open", 30)]);
    collector.drained();
    collector.wait_until("two days to be closed", |_| setup.run(&["sql", CLOSED, "--form", "tsv"]).1.ends_with("\n2\n").then_some(()));
    collector
}

/// The path of a link that the command line has made.
fn link(setup: &Setup) -> String {
    let (status, told) = setup.run(&["share", "add", "--site", "a.example"]);
    assert!(status.success(), "{told}");
    let address = told.lines().next().unwrap();
    address[address.find("/share/").unwrap()..].to_owned()
}

fn asked(collector: &Collector, link: &str, change: Value) -> Answer {
    let mut question = json!({ "site": "a.example", "metrics": ["pageviews"], "range": "30d" });
    let Value::Object(change) = change else { panic!("an object") };
    question.as_object_mut().unwrap().extend(change);
    http::send(
        collector.public(),
        "POST",
        &format!("{link}/v1/query"),
        &["Content-Type: application/json"],
        question.to_string().as_bytes(),
    )
    .unwrap()
}

fn rows(answer: &Answer) -> Vec<Vec<Value>> {
    assert_eq!(answer.status, 200, "{}", answer.text());
    serde_json::from_value(serde_json::from_slice::<Value>(&answer.body).unwrap()["rows"].take()).unwrap()
}

/// What was found through the link that it must not show, by its kind.
fn found(collector: &Collector, link: &str) -> BTreeSet<&'static str> {
    let mut found = BTreeSet::new();
    let mut note = |kind: &'static str, is_found: bool| {
        if is_found {
            found.insert(kind);
        }
    };
    let by_day = |day: &str| json!({ "from": day, "to": day });
    for dimension in ["page", "entry_page", "utm_source", "device", "event"] {
        for day in [BUSY, QUIET] {
            let told = rows(&asked(
                collector,
                link,
                json!({ "range": by_day(day), "dimensions": [dimension], "metrics": ["daily_visitors", "pageviews"], "limit": 100 }),
            ));
            let whole = rows(&asked(collector, link, json!({ "range": by_day(day) })))[0][0].as_u64().unwrap();
            note("a small count", told.iter().any(|row| row[1].as_f64().is_some_and(|visitors| visitors > 0.0 && visitors < 10.0)));
            // Everybody has seen one page: what is left of the views is a number of visitors.
            let named: u64 = told.iter().filter(|row| row[0] != "(other)").map(|row| row[2].as_u64().unwrap()).sum();
            note("a small count", (1..10).contains(&(whole - named)) || (1..10).contains(&whole));
        }
        let question = json!({ "dimensions": [dimension], "limit": 1000 });
        for form in ["json", "csv"] {
            let mut question = question.clone();
            question["format"] = form.into();
            let text = asked(collector, link, question).text();
            note("an open day", text.contains("/open"));
            note("a small count", ["/some", "/fair", "/quiet"].iter().any(|page| text.contains(page)));
        }
    }
    for range in [
        json!("today"),
        json!("yesterday"),
        json!("7d"),
        json!("month"),
        json!("12months"),
        json!({ "from": "2026-11-01", "to": "2026-12-01" }),
    ] {
        let views = rows(&asked(collector, link, json!({ "range": range })))[0][0].as_u64().unwrap();
        note("an open day", views > 40 + 7);
        note("a small count", !views.is_multiple_of(10));
    }
    let open = asked(collector, link, json!({ "range": by_day(OPEN), "interval": "day" }));
    note("an open day", open.status == 200 && rows(&open).iter().any(|row| row[0] == OPEN));
    note("hours", asked(collector, link, json!({ "range": by_day(BUSY), "interval": "hour" })).status == 200);
    note("a pair", asked(collector, link, json!({ "range": by_day(BUSY), "dimensions": ["page", "channel"] })).status == 200);
    note("another site", asked(collector, link, json!({ "site": "b.example" })).status == 200);
    let get = |path: &str| http::send(collector.public(), "GET", &format!("{link}{path}"), &[], b"").unwrap();
    note("another site", get("/v1/sites").text().contains("b.example"));
    note("a private endpoint", get("/v1/realtime?site=a.example").status == 200);
    note("a private endpoint", get(&format!("/v1/outcomes?site=a.example&from={BUSY}&to={BUSY}")).status == 200);
    for path in ["/metrics", "/api/overview.json", "/../metrics", "/readyz", "/v1/query/", "/v1", "/"] {
        note("a private endpoint", get(path).status == 200);
    }
    found
}

#[test]
fn a_link_shows_closed_days_of_ten_visitors_and_no_more_until_it_is_revoked() {
    let setup = Setup::new("share", CONFIG).on_stage(NOON);
    let collector = prepared(&setup);
    let link = link(&setup);
    assert_eq!(found(&collector, &link), BTreeSet::new());
    shows_what_it_is_for(&collector, &link);
    is_guarded(&collector, &link);
    ends(&setup, &collector, &link);
    assert!(collector.stop().success());

    // The control: without its bounds, what a link would show is found.
    let mut setup = setup.with_program(leaky::program()).on_stage(LATER);
    for (leak, kinds) in [
        ("small_counts_shared", &["a small count"][..]),
        ("share_as_admin", &["a pair", "a private endpoint", "a small count", "an open day", "another site", "hours"]),
    ] {
        setup = setup.with_variable(leaky::LEAK, leak);
        let collector = setup.start();
        collector.wait_until("the tables", |_| setup.run(&["sql", CLOSED, "--form", "tsv"]).1.ends_with("\n2\n").then_some(()));
        let link = self::link(&setup);
        assert_eq!(found(&collector, &link), kinds.iter().copied().collect(), "{leak}");
        assert!(collector.stop().success());
    }
}

fn get(collector: &Collector, path: &str) -> Answer {
    http::send(collector.public(), "GET", path, &["Accept-Encoding: gzip"], b"").unwrap()
}

fn shows_what_it_is_for(collector: &Collector, link: &str) {
    let busy = json!({ "from": BUSY, "to": BUSY });
    let pages = asked(collector, link, json!({ "range": busy, "dimensions": ["page"], "metrics": ["daily_visitors", "pageviews"] }));
    let told = [[json!("/many"), json!(15), json!(15)], [json!("/more"), json!(12), json!(12)], [json!("(other)"), Value::Null, json!(13)]];
    assert_eq!(rows(&pages), told.map(Vec::from));
    let told: Value = serde_json::from_slice(&pages.body).unwrap();
    assert_eq!((&told["k"], &told["totals"], &told["visits_as_of"]), (&json!(10), &json!([40, 40]), &Value::Null));
    let one = |page: &str| rows(&asked(collector, link, json!({ "range": busy, "filters": [{ "dimension": "page", "is": [page] }] })));
    assert_eq!((one("/many"), one("/some")), (vec![vec![json!(15)]], Vec::new()));
    let by_itself =
        asked(collector, link, json!({ "range": busy, "dimensions": ["page"], "filters": [{ "dimension": "page", "is": ["/many"] }] }));
    assert!(by_itself.text().contains("\"notes\":[\"small_days_left_out\"]"), "one cut is no pair: {}", by_itself.text());
    let sites: Value = serde_json::from_slice(&get(collector, &format!("{link}/v1/sites")).body).unwrap();
    let site = &sites["sites"][0];
    assert_eq!((&sites["role"], &site["k"], &site["first_day"], &site["pairs"]), (&json!("public"), &json!(10), &json!(BUSY), &json!([])));
    assert_eq!((&site["today"], &site["open_from"]), (&json!(QUIET), &json!(OPEN)), "the last closed day is today");
}

fn is_guarded(collector: &Collector, link: &str) {
    for answer in [get(collector, link), get(collector, &format!("{link}/v1/sites"))] {
        assert_eq!(answer.status, 200);
        for (header, value) in [
            ("referrer-policy", Some("no-referrer")),
            ("x-robots-tag", Some("noindex, nofollow")),
            ("cache-control", Some("no-store")),
            ("x-content-type-options", Some("nosniff")),
            ("access-control-allow-origin", None),
        ] {
            assert_eq!(answer.header(header), value, "{header}");
        }
        assert!(answer.header("content-security-policy").unwrap().starts_with("default-src 'none'; script-src 'self'; style-src 'self'; "));
    }
    let script = get(collector, "/share/app.js");
    assert_eq!((script.status, script.header("content-encoding")), (200, Some("gzip")));
    assert_eq!(http::send(collector.public(), "DELETE", link, &[], b"").unwrap().status, 405);
}

/// It ends with the site's word and with its own, and was nobody else's.
fn ends(setup: &Setup, collector: &Collector, link: &str) {
    let refused = |what: &str, link: &str| {
        for path in [link.to_owned(), format!("{link}/v1/sites")] {
            let answer = get(collector, &path);
            assert_eq!((answer.status, answer.text()), (404, "{\"error\":\"not_found\"}".to_owned()), "{what}");
        }
        assert_eq!(asked(collector, link, json!({})).status, 404, "{what}");
    };
    refused("a token that nobody made", &format!("/share/{}", "5eed".repeat(16)));
    refused("the operator's token", &format!("/share/{}", collector.token()));
    let bearer = format!("Authorization: Bearer {}", &link[7..]);
    assert_eq!(http::send(collector.private(), "GET", "/v1/sites", &[&bearer], b"").unwrap().status, 401, "and it is no token");
    // As soon as the site allows links no more, it is over, and as soon as it does again it is not: the page, the sites and the figures.
    for (allowed, status) in [("false", 404), ("true", 200)] {
        setup.configure(&CONFIG.replace("share = true", &format!("share = {allowed}")));
        collector.signal("HUP");
        collector.wait_until("the new configuration", |collector| (get(collector, link).status == status).then_some(()));
        assert_eq!((get(collector, &format!("{link}/v1/sites")).status, asked(collector, link, json!({})).status), (status, status));
        if status == 404 {
            refused("a link of a site that allows none", link);
        }
    }
    let id = setup.run(&["share", "ls"]).1.lines().nth(1).unwrap().split('\t').next().unwrap().to_owned();
    assert!(setup.run(&["share", "revoke", &id]).0.success());
    refused("a link that was revoked", link);
}
