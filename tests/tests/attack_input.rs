//! Attack: input that nobody expects, a database that refuses, a disk that is full, a panic; and then somebody reads the answers and the log.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeSet;

use headcount::outcome::{Dropped, Refused};
use headcount::store::client;
use headcount_tests::collector::{BROWSER, Collector, Setup};
use headcount_tests::http::{self, Answer, Connection};
use headcount_tests::malformed::{CANARY, Random, request};
use headcount_tests::scan::{Hit, Scanner};
use headcount_tests::{leaky, staged};

const CONFIG: &str = "[log]\nlevel = \"trace\"\n[public]\nworkers = 2\n[engine]\nmemory_bytes = 536870912\n[[site]]\nid = \"a.example\"\n";
const REQUESTS: usize = 10_000;

/// Every body that may be answered, but for the list of a batch. A change of this list is a change of what the world is told.
const BODIES: &[&str] = &[
    "",
    r#"{"error":"bad_request"}"#,
    r#"{"error":"unreadable"}"#,
    r#"{"error":"aborted"}"#,
    r#"{"error":"missing"}"#,
    r#"{"error":"wrong_type"}"#,
    r#"{"error":"too_long"}"#,
    r#"{"error":"out_of_range"}"#,
    r#"{"error":"invalid"}"#,
    r#"{"error":"repeated"}"#,
    r#"{"error":"unknown_site"}"#,
    r#"{"error":"wrong_host"}"#,
    r#"{"error":"too_old"}"#,
    r#"{"error":"secret_required"}"#,
    r#"{"error":"not_found"}"#,
    r#"{"error":"body_late"}"#,
    r#"{"error":"too_large"}"#,
    r#"{"error":"target_too_long"}"#,
    r#"{"error":"unsupported_type"}"#,
    r#"{"error":"rate_limited"}"#,
    r#"{"error":"internal"}"#,
    r#"{"error":"unavailable"}"#,
];

/// Headers whose value may differ from answer to answer.
const VARYING: &[&str] = &["date", "content-length"];
/// How many different heads there are at most, the varying headers aside.
const HEADS: usize = 25;

fn scanner() -> Scanner {
    Scanner::new(&[], &[CANARY])
}

/// What was answered, with what must not be in it.
struct Answers {
    scanner: Scanner,
    script: Vec<u8>,
    heads: BTreeSet<String>,
    hits: BTreeSet<Hit>,
}

impl Answers {
    fn of(collector: &Collector) -> Self {
        let script = http::send(collector.public(), "GET", "/h.js", &[], b"").unwrap().body;
        Self { scanner: scanner(), script, heads: BTreeSet::new(), hits: BTreeSet::new() }
    }

    fn judge(&mut self, answer: &Answer) {
        let lines =
            answer.head.lines().filter(|line| !VARYING.iter().any(|name| line.to_ascii_lowercase().starts_with(&format!("{name}:"))));
        self.heads.insert(lines.collect::<Vec<_>>().join("\n"));
        self.hits.extend(self.scanner.bytes("an answer's head", answer.head.as_bytes()));
        self.hits.extend(self.scanner.bytes("an answer", &answer.body));
        let known = match answer.status {
            202 => is_list(&answer.text()),
            200 => answer.body == self.script || answer.body.starts_with(b"GIF89a") && answer.body.len() == 43,
            _ => BODIES.contains(&&*answer.text()),
        };
        assert!(known, "{} {}", answer.status, answer.text());
    }
}

/// Whether it is the list that a batch is answered with: numbers, and words of our own.
fn is_list(text: &str) -> bool {
    let schema: serde_json::Value = serde_json::from_str(include_str!("../../schema/events.schema.json")).unwrap();
    let schema = schema.to_string();
    let is_field = |word: &serde_json::Value| word.is_null() || schema.contains(&format!("{word}:"));
    let is_reason = |word: &serde_json::Value| Refused::ALL.iter().any(|reason| reason.label() == word);
    let list: serde_json::Value = serde_json::from_str(text).unwrap();
    list.as_object().unwrap().iter().all(|(key, value)| match key.as_str() {
        "accepted" | "duplicates" | "unlisted" => value.is_u64(),
        "duplicate" => value.as_bool() == Some(true),
        "dropped" => value.as_object().unwrap().keys().all(|key| Dropped::ALL.iter().any(|reason| reason.label() == key)),
        "rejected" => value.as_array().unwrap().iter().all(|entry| {
            let entry = entry.as_object().unwrap();
            entry.keys().all(|key| ["index", "field", "reason"].contains(&key.as_str()))
                && is_field(entry.get("field").unwrap_or(&serde_json::Value::Null))
                && is_reason(&entry["reason"])
        }),
        _ => false,
    })
}

/// Sends malformed requests, on one connection for as long as it is kept.
fn send_malformed(collector: &Collector, requests: usize) -> Answers {
    let mut answers = Answers::of(collector);
    let mut random = Random::new(0x6865_6164_636f_756e);
    let mut connection = None;
    let mut answered = 0;
    for _ in 0..requests {
        let request = request(&mut random);
        let mut open = connection.take().unwrap_or_else(|| Connection::open(collector.public()).unwrap());
        // A connection that is closed without a word says nothing, which is as constant as an answer can be.
        let Ok(answer) = open.raw(&request) else { continue };
        answered += 1;
        answers.judge(&answer);
        if answer.header("connection") != Some("close") {
            connection = Some(open);
        }
    }
    assert!(answered > requests * 9 / 10, "only {answered} of {requests} were answered");
    answers
}

/// What the operator saw of it, to the last line of the log.
fn of_the_operator(collector: Collector) -> BTreeSet<Hit> {
    let pages = ["/", "/metrics"].map(|page| (page, collector.operator(page).text()));
    // An orderly end would wait for a database that refuses.
    collector.signal("KILL");
    let texts = pages.into_iter().chain([("the log", collector.last_words())]);
    texts.flat_map(|(place, text)| scanner().bytes(place, text.as_bytes())).collect()
}

#[test]
fn ten_thousand_malformed_requests_are_answered_with_constants() {
    let setup = Setup::new("input", CONFIG);
    let collector = setup.start();
    let answers = send_malformed(&collector, REQUESTS);
    assert_eq!(answers.hits, BTreeSet::new());
    assert!(answers.heads.len() <= HEADS, "{:#?}", answers.heads);
    let (status, errors) = setup.run(&["sql", "SELECT name, last_error_message FROM system.errors", "--form", "tsv"]);
    assert!(status.success() && errors.contains("last_error_message"), "{errors}");
    assert_eq!(scanner().bytes("ClickHouse's errors", errors.as_bytes()), Vec::new());
    assert_eq!(of_the_operator(collector), BTreeSet::new());
}

#[test]
fn an_answer_that_repeats_its_request_is_found() {
    let setup = Setup::new("echo", CONFIG).with_program(leaky::program()).with_variable(leaky::LEAK, "target_in_answer");
    let collector = setup.start();
    let answers = send_malformed(&collector, 300);
    assert!(answers.hits.iter().any(|hit| hit.place == "an answer's head"), "{:?}", answers.hits);
}

const BATCH: &[&str] = &["Content-Type: application/json", BROWSER];

/// Makes ClickHouse refuse a row whose page holds the canary, and say so with the row in its words; then kills it.
fn database_error(setup: &Setup) -> BTreeSet<Hit> {
    let collector = setup.start();
    collector.wait_until("the tables", |collector| (collector.operator("/readyz").status == 200).then_some(()));
    let socket = setup.data().join("engine/socket");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let made = || {
        let constraint = format!("ALTER TABLE events ADD CONSTRAINT forced CHECK position(page, '{CANARY}') = 0");
        runtime.block_on(client::embedded(&socket).query(&constraint).execute()).ok()
    };
    collector.wait_until("the constraint", |_| made());
    let event = format!(r#"{{"site":"a.example","url":"https://a.example/{CANARY}"}}"#);
    assert_eq!(collector.beacon(&event).status, 204);
    collector.wait_until("a refusal", |collector| (collector.metric_sum("headcount_clickhouse_failures_total") > 0.0).then_some(()));

    let process = runtime.block_on(client::Pinger::new(&socket).process()).unwrap();
    assert!(std::process::Command::new("kill").args(["-9", &process.to_string()]).status().unwrap().success());
    assert_eq!(collector.beacon(&event).status, 204, "what ClickHouse does is no matter of the visitor's");
    collector
        .wait_until("another engine", |_| runtime.block_on(client::Pinger::new(&socket).process()).filter(|another| *another != process));
    of_the_operator(collector)
}

#[test]
fn what_the_database_says_of_a_row_is_not_repeated() {
    assert_eq!(database_error(&Setup::new("refused", CONFIG)), BTreeSet::new());
    let control = Setup::new("refused", CONFIG).with_program(leaky::program()).with_variable(leaky::LEAK, "database_error_text");
    let hits = database_error(&control);
    assert!(hits.iter().any(|hit| hit.place == "the log"), "ClickHouse did not quote the row, or nobody saw it: {hits:?}");
}

#[test]
fn a_full_disk_is_told_by_a_constant() {
    // A server that is not there, so that nothing leaves the spool again.
    let config = CONFIG.replace("[engine]\nmemory_bytes = 536870912\n", "[clickhouse]\nurl = \"http://127.0.0.1:1\"\n");
    let setup = Setup::new("full", &config).on_stage(staged::NOON).with_variable(staged::SPOOL_BYTES, "1");
    let collector = setup.start();
    let mut answers = Answers::of(&collector);
    let event = format!(r#"{{"site":"a.example","url":"https://a.example/{CANARY}"}}"#);
    for (target, headers, body) in
        [("/e", &["Content-Type: text/plain", BROWSER][..], event.clone()), ("/v1/events", BATCH, format!("[{event}]"))]
    {
        let refused = collector.wait_until("a refusal", |collector| {
            let answer = http::send(collector.public(), "POST", target, headers, body.as_bytes()).unwrap();
            answers.judge(&answer);
            (answer.status == 503).then_some(answer)
        });
        assert_eq!(refused.text(), r#"{"error":"unavailable"}"#, "{target}");
    }
    assert_eq!(answers.hits, BTreeSet::new());
    assert_eq!(of_the_operator(collector), BTreeSet::new());
}

/// Lets a worker panic over a batch with the canary in it.
fn panic(leaks: &str) -> BTreeSet<Hit> {
    let setup = Setup::new("panic", CONFIG).with_program(leaky::program()).with_variable(leaky::LEAK, leaks);
    let collector = setup.start();
    let mut answers = Answers::of(&collector);
    let batch = format!(r#"[{{"site":"a.example","url":"https://a.example/{CANARY}","props":{{"say":"stumble over this"}}}}]"#);
    let answer = http::send(collector.public(), "POST", "/v1/events", BATCH, batch.as_bytes()).unwrap();
    assert_eq!((answer.status, &*answer.text()), (500, r#"{"error":"internal"}"#));
    answers.judge(&answer);
    assert_eq!(answers.hits, BTreeSet::new());
    collector.signal("TERM");
    let log = collector.last_words();
    assert!(log.contains("panicked"), "the panic is told: {log}");
    scanner().bytes("the log", log.as_bytes()).into_iter().collect()
}

#[test]
fn a_panic_tells_nothing_of_what_it_stumbled_over() {
    assert_eq!(panic("panic"), BTreeSet::new());
    assert!(panic("panic,panic_text").iter().any(|hit| hit.place == "the log"), "the control finds nothing");
}
