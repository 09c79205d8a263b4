//! What is sent again is stored once: the real binary, its workers, kills before the answer, delivery and removal, and what a crash leaves in part.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a test that cannot go on fails; it waits and says what it found"
)]

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

use headcount_tests::campaign::Lots;
use headcount_tests::collector::{BROWSER, Collector, Setup};
use headcount_tests::http::{self, Answer, Connection};
use headcount_tests::staged::NOON;
use headcount_tests::{frames, law, leaky};

/// Nothing is delivered: what stands behind an answer is read from the spool.
const UNDELIVERED: &str = r#"
[public]
workers = 2
[clickhouse]
url = "http://127.0.0.1:9"
[[site]]
id = "example.org"
[[site]]
id = "debug.org"
debug = true
"#;

/// The embedded engine takes everything.
const DELIVERED: &str = "[public]\nworkers = 2\n[[site]]\nid = \"example.org\"\n";

const JSON: &str = "Content-Type: application/json";
const HOURS_24: u64 = 86_400_000;

/// One event of `example.org`, this long ago.
fn event(name: &str, age_millis: u64) -> String {
    format!(r#"{{"site":"example.org","name":"{name}","age_ms":{age_millis}}}"#)
}

fn with_id(site: &str, name: &str, id: &str) -> String {
    format!(r#"{{"site":"{site}","name":"{name}","id":"{id}"}}"#)
}

fn list(events: &[String]) -> String {
    format!("[{}]", events.join(","))
}

/// Sends a batch under a key, or under none if that is empty.
fn post(collector: &Collector, key: &str, body: &str) -> Answer {
    post_to(collector.public(), key, body)
}

fn post_to(address: SocketAddr, key: &str, body: &str) -> Answer {
    let key = format!("Idempotency-Key: {key}");
    let headers = [JSON, BROWSER, &key];
    let headers = if key.ends_with(": ") { &headers[..2] } else { &headers };
    http::send(address, "POST", "/v1/events", headers, body.as_bytes()).unwrap()
}

/// Sends it again until it is taken: whoever sends at the same time may be told to come later.
fn insist(collector: &Collector, key: &str, body: &str) -> String {
    collector.wait_until("the batch to be taken", |collector| {
        let answer = post(collector, key, body);
        assert!(matches!(answer.status, 202 | 503), "{} {}", answer.status, answer.text());
        (answer.status == 202).then(|| answer.text())
    })
}

fn accepted(accepted: u32, duplicates: u32) -> String {
    let duplicate = if duplicates == accepted { r#""duplicate":true,"# } else { "" };
    let duplicates = if duplicates > 0 { format!(r#"{duplicate}"duplicates":{duplicates},"#) } else { String::new() };
    format!(r#"{{"accepted":{accepted},{duplicates}"dropped":{{}},"rejected":[]}}"#)
}

/// How often each event is stored, by its name.
fn stored(setup: &Setup) -> BTreeMap<String, usize> {
    let mut names = BTreeMap::new();
    for row in frames::events(&setup.data().join("spool")) {
        *names.entry(row["name"].clone()).or_default() += 1;
    }
    names
}

fn once(names: &[&str]) -> BTreeMap<String, usize> {
    names.iter().map(|name| ((*name).to_owned(), 1)).collect()
}

#[test]
fn a_batch_that_comes_again_is_answered_as_before_and_stored_once() {
    let setup = Setup::new("again", UNDELIVERED).on_stage(NOON);
    let mut collector = setup.start();
    let two_days = list(&[event("a", 0), event("b", HOURS_24)]);
    let mixed = r#"[{"site":"nobody.example","name":"x"},{"site":"example.org","name":"c","dnt":true},{"site":"debug.org","name":"d"},{"site":"example.org","name":"e"}]"#;
    let told = r#""dropped":{"dnt":1},"rejected":[{"index":0,"field":"site","reason":"unknown_site"}]}"#;
    for start in 0..3 {
        let again = start > 0;
        assert_eq!(post(&collector, "k1", &two_days).text(), accepted(2, if again { 2 } else { 0 }));
        let duplicate = if again { r#","duplicate":true,"duplicates":2"# } else { "" };
        assert_eq!(post(&collector, "k2", mixed).text(), format!(r#"{{"accepted":2{duplicate},{told}"#));
        for _ in 0..4 {
            // On other connections, which may be another worker's.
            assert_eq!(post(&collector, "k1", &two_days).text(), accepted(2, 2));
            assert_eq!(post(&collector, "k2", mixed).text(), format!(r#"{{"accepted":2,"duplicate":true,"duplicates":2,{told}"#));
        }
        let duplicates = 16 + if again { 4 } else { 0 };
        let counted = collector.metric("headcount_events_total{outcome=\"duplicate\",reason=\"duplicate\"}");
        assert_eq!(counted, Some(f64::from(duplicates)), "start {start}");
        law::assert_holds(&collector);
        collector.kill();
        assert_eq!(stored(&setup), once(&["a", "b", "d", "e"]), "start {start}");
        collector = setup.start();
    }
    // The key is one of its site alone, and of the first that the batch names.
    assert_eq!(post(&collector, "k1", r#"{"site":"debug.org","name":"f"}"#).text(), accepted(1, 0));
    assert_eq!(post(&collector, "", &two_days).text(), accepted(2, 0), "without a key it is another batch");
    assert_eq!(post(&collector, "k3", mixed).text(), format!(r#"{{"accepted":2,{told}"#));
}

#[test]
fn an_event_that_comes_again_under_its_id_is_stored_once_whatever_door_it_takes() {
    let setup = Setup::new("ids", UNDELIVERED);
    let collector = setup.start();
    let beacon = |json: &str| collector.beacon(json);
    let first = beacon(&with_id("debug.org", "a", "1"));
    assert_eq!((first.status, first.header("headcount-outcome")), (204, Some("anonymous")));
    let second = beacon(&with_id("debug.org", "a", "1"));
    assert_eq!((second.status, second.header("headcount-outcome")), (204, Some("duplicate")));
    assert_eq!(beacon(&list(&[with_id("debug.org", "a", "1"), with_id("debug.org", "b", "2")])).status, 204);
    let pixel = http::send(collector.public(), "GET", "/e.gif?site=debug.org&name=b&id=2", &[BROWSER], b"").unwrap();
    assert_eq!((pixel.status, pixel.header("headcount-outcome")), (200, Some("duplicate")));
    let mixed = list(&[
        with_id("debug.org", "a", "1"),
        with_id("example.org", "c", "1"),
        with_id("debug.org", "d", "3"),
        with_id("debug.org", "d", "3"),
        with_id("debug.org", "e", ""),
    ]);
    let answer = post(&collector, "", &mixed).text();
    assert!(answer.starts_with(r#"{"accepted":4,"duplicates":2,"dropped":{},"rejected":[{"index":4,"#), "{answer}");
    // Under a key that is new, and then under the key alone.
    let keyed = list(&[with_id("debug.org", "d", "3"), with_id("debug.org", "f", "4")]);
    assert_eq!(post(&collector, "k", &keyed).text(), accepted(2, 1));
    assert_eq!(post(&collector, "k", &keyed).text(), accepted(2, 2));
    law::assert_holds(&collector);
    collector.kill();
    assert_eq!(stored(&setup), once(&["a", "b", "c", "d", "f"]));
}

#[test]
fn senders_of_one_batch_at_one_time_store_it_once() {
    let setup = Setup::new("concurrent", UNDELIVERED).on_stage(NOON);
    let collector = setup.start();
    let mut names = Vec::new();
    let (mut answered, mut turned_away) = (0, 0);
    for round in 0..20 {
        let (key, id) = (format!("k{round}"), format!("i{round}"));
        let body = list(&[event(&key, 0), event(&key, HOURS_24), with_id("example.org", &id, &id)]);
        let answers: Vec<Answer> = std::thread::scope(|scope| {
            let address = collector.public();
            let (key, body) = (&key, &body);
            let senders: Vec<_> = (0..8).map(|_| scope.spawn(move || post_to(address, key, body))).collect();
            senders.into_iter().map(|sender| sender.join().unwrap()).collect()
        });
        for answer in answers {
            match answer.status {
                202 => answered += u32::from(answer.text() == accepted(3, 0)),
                503 => turned_away += u32::from(answer.header("retry-after").is_some()),
                other => panic!("{other}: {}", answer.text()),
            }
        }
        assert!(insist(&collector, &key, &body).contains("\"duplicate\":true"));
        names.extend([key.clone(), key, id]);
    }
    assert_eq!(answered, 20, "one of each was the first");
    println!("{turned_away} of 160 were told to come again");
    law::assert_holds(&collector);
    collector.kill();
    let mut expected = BTreeMap::new();
    for name in names {
        *expected.entry(name).or_default() += 1;
    }
    assert_eq!(stored(&setup), expected);
}

/// Sends a request and does not read its answer.
fn send_and_forget(collector: &Collector, key: &str, body: &str) -> TcpStream {
    let mut stream = TcpStream::connect(collector.public()).unwrap();
    let head = format!(
        "POST /v1/events HTTP/1.1\r\nHost: localhost\r\n{JSON}\r\n{BROWSER}\r\nIdempotency-Key: {key}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    // A collector that is gone by now has read nothing.
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes()));
    stream
}

#[tokio::test]
async fn a_batch_whose_answer_was_lost_in_a_crash_is_stored_once_however_often_it_is_killed() {
    let rounds = 12;
    let mut lots = Lots::of(7);
    let setup = Setup::new("lost", DELIVERED).on_stage(NOON);
    let mut collector = setup.start();
    let (mut survived, mut expected) = (0, BTreeMap::new());
    for round in 0..rounds {
        let key = format!("k{round}");
        let body = list(&[event(&key, 0), event(&key, HOURS_24), with_id("example.org", &format!("i{round}"), &key)]);
        // Killed while it is being stored, and sometimes again while the retry is.
        for _ in 0..=lots.below(2) {
            let _answer = send_and_forget(&collector, &key, &body);
            std::thread::sleep(Duration::from_micros(lots.below(6_000)));
            collector.kill();
            collector = setup.start();
        }
        let said = insist(&collector, &key, &body);
        survived += u32::from(said.contains("\"duplicate\":true"));
        if round % 6 == 5 {
            // Now and then what was stored is delivered, and its segment removed, before the next crash.
            collector.drained();
        }
        assert!(insist(&collector, &key, &body).contains("\"duplicate\":true"), "{key}");
        expected.extend([(key, 2), (format!("i{round}"), 1)]);
    }
    collector.drained();
    law::assert_holds(&collector);
    let rows: Vec<(String, u64)> = setup.database().query("SELECT name, count() FROM events GROUP BY name").fetch_all().await.unwrap();
    let found: BTreeMap<String, u64> = rows.into_iter().collect();
    assert_eq!(found, expected);
    println!("{rounds} rounds: of what was killed before its answer, {survived} batches were on the disk");
    assert!(survived > 0 && survived < rounds, "the kills came both before and after the commit: {survived} of {rounds}");
}

fn journals(setup: &Setup) -> Vec<PathBuf> {
    std::fs::read_dir(setup.data().join("spool/seen")).unwrap().map(|entry| entry.unwrap().path()).collect()
}

/// Has a batch delivered and its segment removed, kills, lets `damage` happen, starts, and sends the batch again.
fn retry_after_removal(setup: &Setup, damage: impl FnOnce()) -> String {
    let body = list(&[event("a", 0), event("b", HOURS_24), with_id("example.org", "c", "1")]);
    let collector = setup.start();
    assert_eq!(post(&collector, "k", &body).text(), accepted(3, 0));
    collector.wait_for_events(3);
    collector.drained();
    collector.kill();
    damage();
    let collector = setup.start();
    let said = post(&collector, "k", &body).text();
    collector.drained();
    said
}

#[test]
fn a_batch_whose_segment_is_delivered_and_gone_is_known_after_a_crash() {
    let setup = Setup::new("removed", DELIVERED).on_stage(NOON);
    assert_eq!(retry_after_removal(&setup, || {}), accepted(3, 3));
    // A write that a crash has torn follows what was synced.
    let torn = Setup::new("torn", DELIVERED).on_stage(NOON);
    let tear = || {
        for path in journals(&torn) {
            let mut bytes = std::fs::read(&path).unwrap();
            let end = bytes.iter().rposition(|byte| *byte != 0).unwrap() / 8 * 8 + 8;
            bytes.resize(bytes.len().max(end + 24), 0);
            bytes.splice(end..end + 12, *b"SEN1abcd\x01\0\0\0");
            std::fs::write(path, bytes).unwrap();
        }
    };
    assert_eq!(retry_after_removal(&torn, tear), accepted(3, 3));
}

#[test]
fn the_operator_sees_how_much_is_remembered_and_that_damage_of_the_journal_has_taken_some_of_it() {
    let setup = Setup::new("journal-damaged", DELIVERED);
    let figures = |collector: &Collector| {
        let names = ["headcount_remembered{of=\"keys\"}", "headcount_remembered{of=\"ids\"}", "headcount_journal_damaged_pieces"];
        format!("{:?}", names.map(|name| collector.metric(name).unwrap()))
    };
    let collector = setup.start();
    assert_eq!(figures(&collector), "[0.0, 0.0, 0.0]");
    assert_eq!(post(&collector, "k", &list(&[with_id("example.org", "a", "1")])).text(), accepted(1, 0));
    assert_eq!(figures(&collector), "[1.0, 1.0, 0.0]");
    assert!(collector.metric("headcount_remembered_bytes").is_some());
    collector.wait_for_events(1);
    collector.drained();
    collector.kill();
    // The first chunk is that of the keys; its first hash stands at byte 24.
    let [journal] = &journals(&setup)[..] else { panic!("one journal") };
    let mut bytes = std::fs::read(journal).unwrap();
    bytes[24] ^= 1;
    std::fs::write(journal, bytes).unwrap();
    assert_eq!(figures(&setup.start()), "[0.0, 1.0, 1.0]");
}

#[test]
fn without_its_journal_a_delivered_batch_would_be_stored_again() {
    let leaky = Setup::new("leaky-removed", DELIVERED).with_program(leaky::program()).on_stage(NOON);
    let leaking = leaky.with_variable(leaky::LEAK, "names_lost_with_segment");
    assert_eq!(retry_after_removal(&leaking, || {}), accepted(3, 0));
}

#[test]
fn of_a_batch_that_a_crash_left_in_part_a_retry_adds_what_is_missing() {
    let setup = Setup::new("part", UNDELIVERED).on_stage(NOON);
    let body = list(&[event("a", 0), event("b", HOURS_24), event("c", 0)]);
    let collector = setup.start();
    assert_eq!(post(&collector, "k", &body).text(), accepted(3, 0));
    collector.kill();
    // The power went between the syncs of the two segments.
    let spool = setup.data().join("spool");
    let holds = |path: &PathBuf, name: &str| std::fs::read(path).unwrap().windows(name.len()).any(|window| window == name.as_bytes());
    let paths: Vec<PathBuf> = std::fs::read_dir(&spool).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file()).collect();
    let of_yesterday: Vec<_> =
        paths.iter().filter(|path| path.extension().is_some() && holds(path, "\x01b") && !holds(path, "\x01a")).collect();
    assert_eq!(of_yesterday.len(), 1, "{paths:?}");
    std::fs::remove_file(of_yesterday[0]).unwrap();
    assert_eq!(stored(&setup), once(&["a", "c"]));
    let collector = setup.start();
    assert_eq!(post(&collector, "k", &body).text(), accepted(3, 2));
    assert_eq!(post(&collector, "k", &body).text(), accepted(3, 3));
    law::assert_holds(&collector);
    collector.kill();
    assert_eq!(stored(&setup), once(&["a", "b", "c"]));
    let collector = setup.start();
    let mut connection = Connection::open(collector.public()).unwrap();
    let answer = connection.send("POST", "/v1/events", &[JSON, BROWSER, "Idempotency-Key: k"], body.as_bytes()).unwrap();
    assert_eq!(answer.text(), accepted(3, 3));
}
