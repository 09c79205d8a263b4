//! The public listener of the real binary: every sample through every door, every described answer, and everything that can be wrong with what is sent.
//!
//! ClickHouse is out of reach in these tests, and the collector is killed at their end: what stands behind a 2xx is read from the spool.

#![expect(clippy::unwrap_used, reason = "in a test an unwrap is a failed expectation")]

mod described;
mod samples;

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use headcount_tests::api::Api;
use headcount_tests::collector::{BROWSER, Collector, Setup};
use headcount_tests::frames;
use headcount_tests::http::{self, Answer, Connection};
use headcount_tests::staged::NOON;
use serde_json::{Value, json};

/// The hash is that of [`SECRET`].
const CONFIG: &str = r#"
[public]
workers = 1
[clickhouse]
url = "http://127.0.0.1:9"
[[site]]
id = "example.org"
share = true
secret_sha256 = "9f9f5111f7b27a781f1f1ddde5ebc2dd2b796bfc7365c9c28b548e564176929f"
[[site]]
id = "debug.org"
debug = true
"#;
const SECRET: &str = "0123456789abcdef";
const TEXT: &str = "Content-Type: text/plain";
const JSON: &str = "Content-Type: application/json";
const LINES: &str = "Content-Type: application/x-ndjson";
const GZIP: &str = "Content-Encoding: gzip";
const VIEW: &str = r#"{"site":"example.org","url":"https://example.org/a"}"#;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn post(collector: &Collector, path: &str, headers: &[&str], body: &[u8]) -> Answer {
    let answer = http::send(collector.public(), "POST", path, &[headers, &[BROWSER]].concat(), body).unwrap();
    assert!(answer.header("set-cookie").is_none(), "no cookie is ever set");
    answer
}

fn get(collector: &Collector, target: &str, headers: &[&str]) -> Answer {
    let answer = http::send(collector.public(), "GET", target, &[headers, &[BROWSER]].concat(), b"").unwrap();
    assert!(answer.header("set-cookie").is_none(), "no cookie is ever set");
    answer
}

fn refused(collector: &Collector, reason: &str) -> u64 {
    count(collector, &format!("headcount_events_total{{outcome=\"refused\",reason=\"{reason}\"}}"))
}

fn count(collector: &Collector, metric: &str) -> u64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts of a test are small")]
    collector.metric(metric).map_or(0, |count| count as u64)
}

/// A collector whose file system takes no file above some kilobytes: no segment can be begun.
fn full() -> Setup {
    let setup = Setup::new("full", CONFIG);
    let wrapper = setup.path().join("on-a-full-disk");
    let program = headcount_tests::binaries().join("headcount");
    let script = format!("#!/bin/sh\ntrap '' XFSZ\nulimit -f 16\nexec {} \"$@\"\n", program.display());
    std::fs::write(&wrapper, script).unwrap();
    std::fs::set_permissions(&wrapper, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    setup.with_program(wrapper)
}

/// Announces a body and sends none of it.
fn announced(collector: &Collector, target: &str, bytes: usize) -> Answer {
    let head = format!("POST {target} HTTP/1.1\r\nHost: a\r\n{JSON}\r\nContent-Length: {bytes}\r\n\r\n");
    Connection::open(collector.public()).unwrap().raw(head.as_bytes()).unwrap()
}

#[test]
fn bad_input_is_refused_with_a_constant_body_counted_by_reason_and_nothing_of_it_is_kept() {
    const CANARY: &str = "k4n4ry7f3a";
    let setup = Setup::new("bad", CONFIG);
    let mut collector = setup.start();
    let member = |member: &str| format!(r#"{{"site":"example.org","name":"{CANARY}",{member}}}"#).into_bytes();
    let deep = format!("\"x\":{}1{}", "[".repeat(100), "]".repeat(100));
    let long = format!("\"lang\":\"{}\"", "a".repeat(5_000));
    for (bytes, reason) in [
        (format!("{{\"{CANARY}").into_bytes(), "unreadable"),
        (member("\"width\":NaN"), "unreadable"),
        (member("\"width\":Infinity"), "unreadable"),
        (member(&deep), "unreadable"),
        ([&member("\"lang\":\"")[..], b"\xff\xfe\"}"].concat(), "unreadable"),
        (member("\"width\":\"wide\""), "wrong_type"),
        (member("\"props\":7"), "wrong_type"),
        (member("\"width\":1e999"), "out_of_range"),
        (member(&long), "too_long"),
        (member("\"width\":1,\"width\":2"), "repeated"),
        (format!(r#"{{"site":"{CANARY}","name":"x"}}"#).into_bytes(), "unknown_site"),
        (format!(r#"{{"site":"example.org","url":"https://{CANARY}.net/"}}"#).into_bytes(), "wrong_host"),
        (member("\"client_ip\":\"192.0.2.1\""), "secret_required"),
    ] {
        let before = refused(&collector, reason);
        let answer = post(&collector, "/e", &[TEXT], &bytes);
        assert_eq!((answer.status, answer.text()), (400, format!(r#"{{"error":"{reason}"}}"#)));
        let answer = post(&collector, "/v1/events", &[LINES], &[&bytes[..], b"\n", VIEW.as_bytes()].concat());
        let told: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!((answer.status, &told["accepted"], &told["rejected"][0]["reason"]), (202, &json!(1), &json!(reason)));
        assert!(!answer.text().contains(CANARY));
        assert_eq!(refused(&collector, reason), before + 2, "{reason}");
    }
    for (body, coding) in [(&b"[1"[..], None), (b"", None), (b"7", None), (b"not gzip", Some(GZIP)), (b"\xff", None), (b"[]", None)] {
        let answer = post(&collector, "/v1/events", &[&[JSON][..], coding.as_slice()].concat(), body);
        assert_eq!((answer.status, answer.text()), (400, r#"{"error":"unreadable"}"#.to_owned()), "{body:?}");
    }
    for (method, target, status) in [
        ("GET", format!("/{CANARY}"), 404),
        ("PUT", format!("/e?{CANARY}"), 405),
        ("DELETE", "/v1/events".to_owned(), 405),
        ("POST", "/e.gif".to_owned(), 405),
    ] {
        let answer = http::send(collector.public(), method, &target, &[BROWSER], b"").unwrap();
        assert_eq!((answer.status, answer.text().contains(CANARY)), (status, false), "{method} {target}");
    }
    for path in ["/e", "/v1/events"] {
        assert_eq!(post(&collector, path, &["Content-Type: text/html"], b"{}").status, 415, "{path}");
        assert_eq!(announced(&collector, path, 2 << 20).status, 413, "{path}: before any of the body is sent");
    }
    assert_eq!((refused(&collector, "too_large"), refused(&collector, "missing")), (2, 0));
    let metrics = collector.operator("/metrics").text();
    let said = collector.log().join("\n");
    assert!(!metrics.contains(CANARY) && !said.contains(CANARY));
    collector.kill();
    let rows = frames::events(&setup.data().join("spool"));
    assert_eq!(rows.len(), 13, "the good event of each batch, and nothing else");
    assert!(rows.iter().all(|row| row["page"] == "/a"));
    assert!(files_with(setup.path(), CANARY).is_empty());
    // The search can find something: the page of the good events is there.
    assert!(!files_with(setup.path(), "example.org").is_empty());
}

fn files_with(folder: &std::path::Path, text: &str) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_with(&path, text));
        } else if std::fs::read(&path).is_ok_and(|bytes| bytes.windows(text.len()).any(|window| window == text.as_bytes())) {
            found.push(path);
        }
    }
    found
}

#[test]
fn any_origin_may_send_and_none_may_send_credentials() {
    let setup = Setup::new("cors", CONFIG);
    let collector = setup.start();
    let origin = "Origin: https://shop.example";
    for (method, target, headers, allowed) in [
        ("POST", "/e", vec![TEXT], None),
        ("POST", "/e", vec!["Content-Type: text/html"], None),
        ("GET", "/e.gif?site=nobody", vec![], None),
        ("GET", "/h.js", vec![], None),
        ("GET", "/nothing", vec![], None),
        ("OPTIONS", "/e", vec!["Access-Control-Request-Method: POST"], Some("content-type")),
        (
            "OPTIONS",
            "/v1/events",
            vec!["Access-Control-Request-Method: POST"],
            Some("content-type, content-encoding, authorization, idempotency-key"),
        ),
    ] {
        let headers = [&headers[..], &[origin, "Cookie: a=b", BROWSER]].concat();
        let answer = http::send(collector.public(), method, target, &headers, VIEW.as_bytes()).unwrap();
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"), "{method} {target}");
        assert_eq!(answer.header("access-control-allow-headers"), allowed, "{method} {target}");
        for never in ["access-control-allow-credentials", "access-control-allow-private-network", "set-cookie"] {
            assert_eq!(answer.header(never), None, "{method} {target}");
        }
    }
}

#[test]
fn unknown_fields_are_counted_and_kept_nowhere() {
    let setup = Setup::new("unknown", CONFIG);
    let collector = setup.start();
    let event = r#"{"site":"example.org","name":"x","k4n4ry7f3a":"k4n4ry7f3b","other":[1]}"#;
    assert_eq!(post(&collector, "/e", &[TEXT], event.as_bytes()).status, 204);
    assert_eq!(count(&collector, "headcount_noted_total{what=\"unknown_fields\"}"), 2);
    assert!(!collector.operator("/metrics").text().contains("k4n4ry"));
    collector.kill();
    assert_eq!(frames::events(&setup.data().join("spool")).len(), 1);
    assert!(files_with(setup.path(), "k4n4ry").is_empty());
}

#[test]
fn the_outcome_is_told_to_a_site_in_debug_mode_alone() {
    let setup = Setup::new("debug", CONFIG);
    let collector = setup.start();
    for (site, member, told) in [
        ("debug.org", "\"lang\":\"de\"", Some("pseudonymous")),
        ("debug.org", "\"dnt\":1", Some("dnt")),
        ("example.org", "\"lang\":\"de\"", None),
        ("example.org", "\"dnt\":1", None),
    ] {
        let event = format!(r#"{{"site":"{site}","name":"x",{member}}}"#);
        let answer = post(&collector, "/e", &[TEXT, "X-Forwarded-For: 85.214.132.117"], event.as_bytes());
        assert_eq!((answer.status, answer.header("headcount-outcome")), (204, told), "{site} {member}");
    }
}

#[test]
fn a_pixel_without_a_page_is_on_the_page_its_browser_names() {
    let setup = Setup::new("referer", CONFIG);
    let collector = setup.start();
    let secret = "Referer: https://www.example.org/pricing?k4n4ry=1#k4n4ry";
    assert_eq!(get(&collector, "/e.gif?site=example.org", &[secret]).status, 200);
    assert_eq!(get(&collector, "/e.gif?site=example.org", &["Referer: https://elsewhere.net/"]).status, 400);
    assert_eq!(get(&collector, "/e.gif?site=example.org", &[]).status, 400);
    collector.kill();
    let rows = frames::events(&setup.data().join("spool"));
    assert_eq!((rows.len(), &*rows[0]["host"], &*rows[0]["page"]), (1, "www.example.org", "/pricing"));
    assert!(files_with(setup.path(), "k4n4ry").is_empty());
}

#[test]
fn an_idempotency_key_stands_in_its_frame_as_a_hash() {
    let setup = Setup::new("keys", CONFIG).on_stage(NOON);
    let collector = setup.start();
    // The last two are repeated ones, of a batch and of an event.
    let keys = [Some("Idempotency-Key: k4n4ry-1"), Some("Idempotency-Key: k4n4ry-2"), None, Some("Idempotency-Key: k4n4ry-1"), None];
    for (key, id) in keys.into_iter().zip(["a", "b", "c", "d", "a"]) {
        let event = format!(r#"{{"site":"example.org","name":"x","id":"k4n4ry-{id}"}}"#);
        assert_eq!(post(&collector, "/v1/events", &[&[JSON][..], key.as_slice()].concat(), event.as_bytes()).status, 202);
    }
    let two_days = r#"[{"site":"example.org","name":"x"},{"site":"example.org","name":"y","age_ms":86400000}]"#;
    assert_eq!(post(&collector, "/v1/events", &[JSON, "Idempotency-Key: k4n4ry-3"], two_days.as_bytes()).status, 202);
    collector.kill();
    let frames = frames::of(&setup.data().join("spool"), "events");
    let (of_two_days, frames): (Vec<_>, Vec<_>) = frames.into_iter().partition(|frame| frame.parts != 1);
    assert!(of_two_days.iter().map(|frame| (frame.parts, frame.rows.len())).eq([(2, 1), (2, 1)]), "{of_two_days:?}");
    assert_eq!(of_two_days[0].key, of_two_days[1].key);
    let keys: Vec<u64> = frames.iter().map(|frame| frame.key).collect();
    let [first, second, none] = keys[..] else { panic!("three batches: {keys:?}") };
    assert!(first != 0 && second != 0 && first != second && none == 0, "{keys:?}");
    let mut ids: Vec<u64> = frames.iter().flat_map(|frame| frame.ids.clone()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert!(ids.len() == 3 && ids[0] != 0, "{ids:?}");
    assert!(files_with(setup.path(), "k4n4ry").is_empty());
}

#[test]
fn a_backend_with_the_secret_speaks_for_its_users() {
    let setup = Setup::new("backend", CONFIG);
    let collector = setup.start();
    let right = format!("Authorization: Bearer {SECRET}");
    let event = r#"{"site":"example.org","name":"x","client_ip":"85.214.132.117","client_ua":"Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0"}"#;
    for (headers, accepted, field) in [
        (vec![JSON, &right], 1, Value::Null),
        (vec![JSON, "Authorization: Bearer guess"], 0, json!("client_ip")),
        (vec![JSON], 0, json!("client_ip")),
    ] {
        let answer: Value = serde_json::from_slice(&post(&collector, "/v1/events", &headers, event.as_bytes()).body).unwrap();
        assert_eq!((&answer["accepted"], &answer["rejected"][0]["field"]), (&json!(accepted), &field), "{headers:?}");
    }
    let plain = r#"{"site":"example.org","name":"y"}"#;
    assert_eq!(post(&collector, "/v1/events", &[JSON, &right], plain.as_bytes()).status, 202);
    collector.kill();
    let rows = frames::events(&setup.data().join("spool"));
    let seen: Vec<_> = rows.iter().map(|row| (&*row["name"], &*row["country"], &*row["browser"])).collect();
    assert_eq!(seen, [("x", "DE", "Firefox"), ("y", "ZZ", "")], "the backend is not taken for its user");
}
