//! Attack: somebody compares what is stored of a day with the same day without those who did not want to be counted. Nothing may differ but how many they were.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::path::Path;

use headcount_tests::collector::{BROWSER, Collector, Setup};
use headcount_tests::http::{Answer, Connection};
use headcount_tests::leaky;
use headcount_tests::staged::NOON;

/// 2026-10-12, noon.
const SITES: &str = "[public]\nworkers = 1\n[[site]]\nid = \"a.example\"\n[[site]]\nid = \"asks.example\"\n[site.consent]\nmode = \"consent\"\n\
    [[site]]\nid = \"children.example\"\nchild_directed = true\n";
/// An engine; or a server that is not there, so that everything stays in the spool.
const ENGINE: &str = "[engine]\nmemory_bytes = 536870912\n";
const NOBODY: &str = "[clickhouse]\nurl = \"http://127.0.0.1:1\"\n";

/// Headers that refuse, in every form that they can take.
const HEADERS: &[&str] = &[
    "DNT: 1",
    "dnt:1",
    "DNT: 0, 1",
    "DNT: 1\r\nDNT: 0",
    "DNT: yes",
    "DNT: \"1\"",
    "DNT:",
    "Sec-GPC: 1",
    "Sec-GPC: 0,1",
    "Sec-GPC: 0\r\nSec-GPC: 1",
    "Sec-GPC: ?1",
    "Sec-GPC: true",
    "DNT: 1\r\nSec-GPC: 0",
];
/// Fields that refuse: what stands in JSON, and the same in a query string.
const FIELDS: &[(&str, &str)] = &[
    (r#""dnt":1"#, "dnt=1"),
    (r#""dnt":true"#, "dnt=true"),
    (r#""dnt":"1""#, "dnt=yes"),
    (r#""dnt":[1]"#, "dnt="),
    (r#""gpc":1"#, "gpc=1"),
    (r#""gpc":true"#, "gpc=true"),
    (r#""gpc":"maybe""#, "gpc=maybe"),
    (r#""opt_out":true"#, "opt_out=1"),
    (r#""opt_out":{}"#, "opt_out=x"),
    (r#""consent":"denied""#, "consent=denied"),
    (r#""consent":"analytics_denied""#, "consent=analytics_denied"),
    (r#""consent":"Granted ""#, "consent=perhaps"),
    (r#""child":true"#, "child=1"),
    (r#""child":"no""#, "child=no"),
    (r#""consent":"granted","dnt":1"#, "consent=granted&dnt=1"),
    (r#""consent":"granted","opt_out":1"#, "consent=granted&opt_out=1"),
];
/// Sites at which silence refuses, or everything does.
const SILENT: &[&str] = &["asks.example", "children.example"];

/// Who comes: everybody, or only those who did not refuse.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Who {
    Everybody,
    Willing,
}

/// A day's visitors, in their order.
struct Crowd {
    connection: Connection,
    who: Who,
    visits: u32,
}

impl Crowd {
    fn send(&mut self, method: &str, target: &str, headers: &[&str], body: &str) -> Answer {
        let address = format!("X-Forwarded-For: 203.0.113.{}", 1 + self.visits % 200);
        self.visits += 1;
        let headers = [headers, &[&address, BROWSER]].concat();
        self.connection.send(method, target, &headers, body.as_bytes()).unwrap()
    }

    /// Somebody who has nothing against being counted.
    fn willing(&mut self) {
        let event = self.event("a.example", "willing", "");
        assert_eq!(self.send("POST", "/e", &["Content-Type: text/plain"], &event).status, 204);
    }

    /// An event whose page nobody else has seen.
    fn event(&self, site: &str, who: &str, field: &str) -> String {
        let comma = if field.is_empty() { "" } else { "," };
        format!(r#"{{"site":"{site}","url":"https://{site}/{who}/{}","props":{{"who":"{who}"}}{comma}{field}}}"#, self.visits)
    }

    /// Somebody who refuses comes alone. The answer is nobody's business, so it is the one that everybody gets.
    fn refusing(&mut self, method: &str, target: &str, header: &str, body: &str) {
        if self.who == Who::Willing {
            self.visits += 1;
            return;
        }
        let answer = self.send(method, target, &["Content-Type: text/plain", header], body);
        assert!(matches!(answer.status, 200 | 202 | 204), "{} {header} {body}", answer.status);
    }

    /// Some of a batch's events refuse; the others are kept.
    fn mixed(&mut self, target: &str, refusing: &[String]) {
        let (first, last) = (self.event("a.example", "willing", ""), self.event("a.example", "willing-too", ""));
        let mut events = vec![first];
        if self.who == Who::Everybody {
            events.extend_from_slice(refusing);
        }
        events.push(last);
        let answer = self.send("POST", target, &["Content-Type: application/json"], &format!("[{}]", events.join(",")));
        assert!(matches!(answer.status, 202 | 204), "{}", answer.text());
    }

    /// Everybody comes.
    fn come(&mut self) {
        self.willing();
        for header in HEADERS {
            let event = self.event("a.example", "refusing", "");
            self.refusing("POST", "/e", header, &event);
            self.refusing("POST", "/v1/events", header, &format!("[{event},{event}]"));
            self.refusing("GET", "/e.gif?site=a.example&url=https%3A%2F%2Fa.example%2Frefusing", header, "");
            self.willing();
        }
        for (field, query) in FIELDS {
            let event = self.event("a.example", "refusing", field);
            self.refusing("POST", "/e", "X-Nothing: 0", &event);
            self.refusing("GET", &format!("/e.gif?site=a.example&url=https%3A%2F%2Fa.example%2Frefusing&{query}"), "X-Nothing: 0", "");
            self.willing();
        }
        for site in SILENT {
            let event = self.event(site, "refusing", "");
            self.refusing("POST", "/e", "X-Nothing: 0", &event);
        }
        let mut all: Vec<String> = FIELDS.iter().map(|(field, _)| self.event("a.example", "refusing", field)).collect();
        all.extend(SILENT.iter().map(|site| self.event(site, "refusing", "")));
        self.mixed("/v1/events", &all);
        self.mixed("/e", &all);
        self.willing();
    }
}

/// Folders to begin from, so that two runs have the same keys, the same node and the same clock.
fn beginning() -> Setup {
    let setup = Setup::new("wishes", &format!("{ENGINE}{SITES}")).on_stage(NOON);
    setup.start().kill();
    setup
}

/// A collector that goes on from `beginning`.
fn from(beginning: &Setup, config: &str) -> Setup {
    let setup = Setup::new("wishes", &format!("{config}{SITES}")).on_stage(NOON);
    for folder in ["keys", "data/spool"] {
        copy(&beginning.path().join(folder), &setup.path().join(folder));
    }
    setup
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    fs::set_permissions(to, fs::metadata(from).unwrap().permissions()).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() { copy(&entry.path(), &to) } else { fs::copy(entry.path(), &to).map(drop).unwrap() }
    }
}

fn visited(collector: &Collector, who: Who) -> u32 {
    let mut crowd = Crowd { connection: Connection::open(collector.public()).unwrap(), who, visits: 0 };
    crowd.come();
    crowd.visits
}

/// Every row of the tables, but for the counts of outcomes and the number of the batch that a row came with.
fn tables(setup: &Setup, who: Who) -> Vec<String> {
    let collector = setup.start();
    visited(&collector, who);
    collector.wait_for_spool();
    let rollup = "SELECT zone, day, site, dimension, value, currency, sum(pageviews), sum(events), sum(engagements), sum(entries), \
        uniqCombined64Merge(14)(visitors) FROM rollup_open WHERE dimension != '~batch' GROUP BY ALL ORDER BY ALL";
    let statements = ["SELECT * EXCEPT (batch) FROM events ORDER BY ALL", rollup, "SELECT DISTINCT site, day FROM events ORDER BY ALL"];
    let answers = statements.map(|statement| {
        let (status, text) = setup.run(&["sql", statement, "--form", "tsv"]);
        assert!(status.success(), "{text}");
        text
    });
    answers.join("\n").lines().map(str::to_owned).collect()
}

/// The frames of all events in the spool, in their order, but for the number of the batch in each row.
fn spool(setup: &Setup, who: Who) -> Vec<Vec<u8>> {
    let collector = setup.start();
    visited(&collector, who);
    let folder = setup.data().join("spool");
    let named = |extension: &str| {
        let mut paths: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.retain(|path| path.extension().is_some_and(|found| found == extension));
        paths.sort();
        paths
    };
    collector.wait_until("the segments to be sealed", |_| named("open").is_empty().then_some(()));
    collector.kill();
    let segments = named("sealed").into_iter().map(|path| fs::read(path).unwrap());
    segments
        .filter(|segment| segment.windows(6).any(|part| part == b"events") && !segment.windows(8).any(|part| part == b"outcomes"))
        .flat_map(|segment| frames(&segment))
        .collect()
}

/// The bodies of a segment's frames; the format is told in `spool/format.rs`.
fn frames(segment: &[u8]) -> Vec<Vec<u8>> {
    let number = |at: usize| u32::from_le_bytes(*segment[at..].first_chunk().unwrap()) as usize;
    let stamp = &segment[16..32];
    let mut at = 16 + number(8);
    let mut frames = Vec::new();
    while segment[at..].starts_with(b"FRM1") {
        let mut body = segment[at + 12..at + 12 + number(at + 4)].to_vec();
        at += 12 + number(at + 4);
        let stamps: Vec<usize> = (0..body.len().saturating_sub(15)).filter(|at| body[*at..].starts_with(stamp)).collect();
        for at in stamps {
            body[at..at + 16].fill(0);
        }
        frames.push(body);
    }
    assert!(segment[at..].starts_with(b"SEAL"), "a frame that is not understood");
    frames
}

/// Whether the word of those who refused stands in any file.
fn is_anywhere(word: &str, folder: &Path) -> bool {
    let scanner = headcount_tests::scan::Scanner::new(&[], &[word]);
    !scanner.tree(folder).unwrap().is_empty()
}

fn leaking(setup: Setup) -> Setup {
    setup.with_program(leaky::program()).with_variable(leaky::LEAK, "wishes_ignored")
}

#[test]
fn the_tables_are_those_of_a_day_without_who_refused() {
    let beginning = beginning();
    let (all, willing) = (from(&beginning, ENGINE), from(&beginning, ENGINE));
    let without = tables(&willing, Who::Willing);
    assert!(without.len() > 50, "{without:?}");
    assert_eq!(tables(&all, Who::Everybody), without);
    assert!(is_anywhere("willing-too", &all.data()), "the search finds what is there");
    assert!(!is_anywhere("refusing", &all.data()));

    let control = leaking(from(&beginning, ENGINE));
    assert_ne!(tables(&control, Who::Everybody), without, "the control stores nobody");
    assert!(is_anywhere("refusing", &control.data()));
}

#[test]
fn the_spool_is_that_of_a_day_without_who_refused() {
    let beginning = beginning();
    let (all, willing) = (from(&beginning, NOBODY), from(&beginning, NOBODY));
    let without = spool(&willing, Who::Willing);
    assert!(without.len() > 30);
    assert_eq!(spool(&all, Who::Everybody), without);
    assert!(is_anywhere("willing-too", &all.data()), "the search finds what is there");
    assert!(!is_anywhere("refusing", &all.data()));

    let control = leaking(from(&beginning, NOBODY));
    assert_ne!(spool(&control, Who::Everybody), without, "the control stores nobody");
    assert!(is_anywhere("refusing", &control.data()));
}
