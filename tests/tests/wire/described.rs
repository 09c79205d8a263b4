//! Every answer that `schema/openapi.yaml` describes, given and compared with its description.

use super::*;

const QUERY: &str = r#"{"site":"example.org","metrics":["daily_visitors","pageviews"],"range":"7d","compare":"previous"}"#;
const OTHERS_QUERY: &str = r#"{"site":"demo","metrics":["visits"],"range":"today"}"#;

/// A range may end after today.
fn tomorrow() -> String {
    use headcount::clock::{Clock, Zone};
    Zone::utc().day_of(Clock::system().now()).next().to_string()
}

#[test]
fn every_described_answer_is_given_as_described() {
    let setup = Setup::new("described", CONFIG);
    let collector = setup.start();
    let mut api = Api::published();
    let long = "a".repeat(9_000);
    let large = vec![b' '; 1_100_000];
    for (method, target, headers, body) in [
        ("POST", "/e", vec![TEXT], VIEW.as_bytes()),
        ("POST", "/e", vec![TEXT], b"{"),
        ("PUT", "/e", vec![TEXT], b"{}"),
        ("POST", "/e", vec![TEXT], &large[..70_000]),
        ("POST", "/e", vec!["Content-Type: text/html"], b"{}"),
        ("OPTIONS", "/e", vec!["Origin: https://example.org"], b""),
        ("GET", "/e.gif?site=example.org&url=https://example.org/", vec![], b""),
        ("GET", "/e.gif?site=nobody", vec![], b""),
        ("POST", "/e.gif", vec![], b""),
        ("GET", &format!("/e.gif?{long}"), vec![], b""),
        ("GET", "/h.js", vec![], b""),
        ("GET", "/h.js", vec!["If-None-Match: *"], b""),
        ("POST", "/h.js", vec![], b""),
        ("GET", "/privacy.json", vec![], b""),
        ("POST", "/privacy.json", vec![], b""),
        ("GET", "/.well-known/gpc.json", vec![], b""),
        ("DELETE", "/.well-known/gpc.json", vec![], b""),
        ("POST", "/v1/events", vec![JSON], format!("[{VIEW},{{}},{{\"site\":\"example.org\",\"name\":\"x\",\"dnt\":1}}]").as_bytes()),
        ("POST", "/v1/events", vec![JSON], b"[]"),
        ("GET", "/v1/events", vec![], b""),
        ("POST", "/v1/events", vec![JSON], &large),
        ("POST", "/v1/events", vec![JSON, "Content-Encoding: br"], b"x"),
        ("OPTIONS", "/v1/events", vec!["Origin: https://example.org"], b""),
    ] {
        let answer = if body.len() > 60_000 {
            announced(&collector, target, body.len())
        } else {
            http::send(collector.public(), method, target, &[&headers[..], &[BROWSER]].concat(), body).unwrap()
        };
        api.check(method, target.split('?').next().unwrap(), &answer);
    }
    check_links(&mut api, &collector, &setup);
    let operator = format!("Authorization: Bearer {}", collector.token());
    let right = format!("token={}", collector.token());
    let (_, made) = setup.run(&["token", "add", "--role", "analyst", "--site", "example.org"]);
    let analyst = format!("Authorization: Bearer {}", made.lines().next().unwrap());
    for (method, target, headers, body) in [
        ("GET", "/healthz", vec![], ""),
        ("GET", "/readyz", vec![], ""),
        ("GET", "/metrics", vec![], ""),
        ("GET", "/metrics", vec![&*operator], ""),
        ("GET", "/api/overview.json", vec![], ""),
        ("GET", "/api/overview.json", vec![&*operator], ""),
        ("GET", "/metrics", vec![&*analyst], ""),
        ("GET", "/api/overview.json", vec![&*analyst], ""),
        ("GET", "/v1/sites", vec![], ""),
        ("GET", "/v1/sites", vec![&*analyst], ""),
        ("PUT", "/v1/sites", vec![&*analyst], ""),
        ("POST", "/v1/query", vec![], QUERY),
        ("POST", "/v1/query", vec![&*analyst], "{"),
        ("GET", "/v1/query", vec![&*analyst], ""),
        ("POST", "/v1/query", vec![&*analyst], OTHERS_QUERY),
        ("GET", "/v1/realtime", vec![], ""),
        ("GET", "/v1/realtime", vec![&*analyst], ""),
        ("GET", "/v1/realtime?site=demo", vec![&*analyst], ""),
        ("POST", "/v1/realtime", vec![&*analyst], ""),
        ("GET", "/v1/outcomes", vec![], ""),
        ("GET", "/v1/outcomes", vec![&*analyst], ""),
        ("GET", "/v1/outcomes?site=demo&from=2026-01-01&to=2026-01-02", vec![&*analyst], ""),
        ("POST", "/v1/outcomes", vec![&*analyst], ""),
        ("POST", "/login", vec![], &right),
        ("POST", "/login", vec![], "token=wrong"),
        ("POST", "/login", vec![], &long),
    ] {
        let answer = http::send(collector.private(), method, target, &headers, body.as_bytes()).unwrap();
        api.check(method, target.split('?').next().unwrap(), &answer);
    }
    check_questions(&mut api, &collector, &operator);
    let overview: Value = serde_json::from_slice(&collector.operator("/api/overview.json").body).unwrap();
    let shape = serde_json::from_str(include_str!("../../../dashboards/web/overview.schema.json")).unwrap();
    assert!(jsonschema::validator_for(&shape).unwrap().is_valid(&overview), "{overview}");
    for _ in 0..30 {
        let answer = http::send(collector.private(), "POST", "/login", &[], b"token=wrong").unwrap();
        api.check("POST", "/login", &answer);
    }
    let full = full();
    let collector = full.start();
    for (method, target, body) in
        [("POST", "/e", VIEW), ("GET", "/e.gif?site=example.org&url=https://example.org/", ""), ("POST", "/v1/events", VIEW)]
    {
        let answer = http::send(collector.public(), method, target, &[BROWSER], body.as_bytes()).unwrap();
        assert_eq!(answer.header("retry-after"), Some("5"), "{target}");
        api.check(method, target.split('?').next().unwrap(), &answer);
    }
    assert_eq!(refused(&collector, "unavailable"), 3);
    // Both take longer than a test may: they are seen with short deadlines in the listener's own tests and in those of the private page.
    let unseen: Vec<String> = api.unseen().into_iter().map(|(path, _, status)| format!("{status} {path}")).collect();
    assert_eq!(unseen, ["408 /e", "503 /readyz", "408 /v1/events"]);
}

/// What comes by a link to closed days.
fn check_links(api: &mut Api, collector: &Collector, setup: &Setup) {
    let (_, made) = setup.run(&["share", "add", "--site", "example.org"]);
    let address = made.lines().next().unwrap();
    let link = &address[address.find("/share/").unwrap()..];
    let not_known = format!("/share/{}", "5eed".repeat(16));
    let ask = |method: &str, target: &str, body: &str| http::send(collector.public(), method, target, &[], body.as_bytes()).unwrap();
    for (method, below) in [("GET", ""), ("GET", "/v1/sites"), ("POST", "/v1/query")] {
        let path = format!("/share/{{token}}{below}");
        api.check(method, &path, &ask(method, &format!("{link}{below}"), "{"));
        api.check(method, &path, &ask(method, &format!("{not_known}{below}"), ""));
        api.check(method, &path, &ask("PUT", &format!("{link}{below}"), ""));
    }
    for body in [QUERY, OTHERS_QUERY] {
        api.check("POST", "/share/{token}/v1/query", &ask("POST", &format!("{link}/v1/query"), body));
    }
    api.check("POST", "/share/{token}/v1/query", &announced(collector, &format!("{link}/v1/query"), 70_000));
    // Each question is another: none is answered from what is kept.
    let slowed = (0..200).map(|number| ask("POST", &format!("{link}/v1/query"), &number.to_string())).find(|answer| answer.status == 429);
    api.check("POST", "/share/{token}/v1/query", &slowed.unwrap());
    api.check("GET", "/share/{token}/v1/sites", &ask("GET", &format!("{link}/v1/sites?another"), ""));
}

/// Questions of analysts: to `without`, which has no ClickHouse, and to a collector that has one.
fn check_questions(api: &mut Api, without: &Collector, operator: &str) {
    let outcomes = format!("/v1/outcomes?site=example.org&from=2026-01-01&to={}", tomorrow());
    let questions = [("POST", "/v1/query", QUERY), ("GET", "/v1/realtime?site=example.org", ""), ("GET", &outcomes, "")];
    let ask = |collector: &Collector, (method, target, body): (&str, &str, &str), bearer: &str| {
        http::send(collector.private(), method, target, &[bearer], body.as_bytes()).unwrap()
    };
    let setup = Setup::new("asked", "[[site]]\nid = \"example.org\"\nshare = true\n");
    let collector = setup.start();
    let (_, made) = setup.run(&["share", "add", "--site", "example.org"]);
    let link = &made.lines().next().unwrap()[made.find("/share/").unwrap()..];
    for (method, below, body) in [("GET", "/v1/sites", ""), ("POST", "/v1/query", QUERY)] {
        let answer = collector.wait_until("the tables to be asked", |collector| {
            let answer = http::send(collector.public(), method, &format!("{link}{below}"), &[], body.as_bytes()).unwrap();
            (answer.status == 200).then_some(answer)
        });
        api.check(method, &format!("/share/{{token}}{below}"), &answer);
    }
    assert_eq!(collector.beacon(VIEW).status, 204);
    assert_eq!(collector.beacon(r#"{"site":"example.org","url":"https://example.org/a","dnt":1}"#).status, 204);
    let bearer = format!("Authorization: Bearer {}", collector.token());
    for question in questions {
        let answer = collector.wait_until("the events to be told", |collector| {
            let answer = ask(collector, question, &bearer);
            let told = answer.text();
            // A proxy that names nobody stands before this visitor, who is therefore none.
            let is_told = [r#""rows":[[0,1]]"#, r#""pageviews":1"#, r#"["dnt",1]"#].iter().any(|part| told.contains(part));
            (answer.status == 200 && is_told).then_some(answer)
        });
        let path = question.1.split('?').next().unwrap();
        api.check(question.0, path, &answer);
        api.check(question.0, path, &ask(without, question, operator));
    }
}
