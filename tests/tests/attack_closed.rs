//! Attack: once a day is closed, somebody has the whole disk and looks for anything about one visit of it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeSet;

use headcount::clock::Clock;
use headcount_tests::collector::{Collector, Setup};
use headcount_tests::http::Connection;
use headcount_tests::leaky;
use headcount_tests::scan::{Hit, Scanner};
use headcount_tests::staged::NOON;

const CONFIG: &str = "[public]\nworkers = 1\n[engine]\nmemory_bytes = 1073741824\n[[site]]\nid = \"a.example\"\n";
const HOUR: i64 = 3_600_000;
const VISITORS: u8 = 12;

fn visit(collector: &Collector, visitor: u8) {
    let headers = [
        &*format!(
            "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.{visitor} Safari/537.36"
        ),
        &format!("X-Forwarded-For: 203.0.113.{}", 70 + visitor),
        "Content-Type: text/plain",
    ];
    let page = if visitor < 9 { "/read-by-many" } else { "/read-by-few" };
    let event = format!(r#"{{"site":"a.example","url":"https://a.example{page}"}}"#);
    let mut connection = Connection::open(collector.public()).unwrap();
    assert_eq!(connection.send("POST", "/e", &headers, event.as_bytes()).unwrap().status, 204);
}

fn sql(setup: &Setup, statement: &str) -> Vec<String> {
    let (status, text) = setup.run(&["sql", statement, "--form", "tsv"]);
    assert!(status.success(), "{statement}: {text}");
    text.lines().skip(1).map(str::to_owned).collect()
}

/// Lets a day pass and be closed; gives what is found of its pseudonyms then.
fn closed(setup: &Setup) -> BTreeSet<Hit> {
    let mut collector = setup.start();
    for visitor in 0..VISITORS {
        visit(&collector, visitor);
    }
    collector.wait_for_events(VISITORS.into());
    collector.drained();
    let pseudonyms: Vec<u64> =
        sql(setup, "SELECT DISTINCT visitor FROM events WHERE visitor != 0").iter().map(|line| line.parse().unwrap()).collect();
    assert_eq!(pseudonyms.len(), usize::from(VISITORS));
    let scanner = Scanner::of_numbers(&pseudonyms);
    let hits = || scanner.tree(&setup.data()).unwrap();
    assert!(hits().iter().any(|hit| hit.place.contains("/data/")), "they are on the disk while the day is open");
    let before = sql(setup, "SELECT sum(pageviews), uniqCombined64Merge(14)(visitors) FROM rollup_open WHERE dimension = 'all'");
    let listed = setup.run(&["days"]).1;
    // The command asks the machine what time it is: whether the day is over there, nobody here knows. It is not closed.
    let standing = listed.lines().find(|line| line.starts_with("2026-11-22\tUTC\t")).map(|line| line.split('\t').collect::<Vec<_>>());
    assert!(standing.is_some_and(|words| ["open", "waiting"].contains(&words[2]) && words[3] == "12"), "{listed}");

    collector.set_clock(NOON + 34 * HOUR + 120_000);
    collector.wait_until("the day to be closed", |_| (sql(setup, "SELECT count() FROM days WHERE what = 'closed'") == ["1"]).then_some(()));
    collector.wait_until("its rows to go", |_| (sql(setup, "SELECT count() FROM events") == ["0"]).then_some(()));
    let after = sql(setup, "SELECT pageviews, visitors FROM rollup_closed WHERE dimension = 'all' AND span = 'day'");
    assert_eq!(after, before, "the figures of the whole site are what they were");
    // The smallest of the large cells hides the three.
    assert!(sql(setup, "SELECT value FROM rollup_closed WHERE dimension = 'page' AND dimension2 = ''").is_empty());
    let listed = setup.run(&["days"]).1;
    assert!(listed.contains("2026-11-22\tUTC\tclosed\t0\tsince 2026-11-23T22:02:00Z; "), "{listed}");
    // What ClickHouse drops, it removes a moment later.
    let mut found = hits();
    let patience = Clock::monotonic() + std::time::Duration::from_secs(20);
    while !found.is_empty() && Clock::monotonic() < patience {
        std::thread::sleep(std::time::Duration::from_millis(500));
        found = hits();
    }
    assert!(collector.stop().success());
    found.extend(hits());
    found.into_iter().collect()
}

#[test]
fn of_a_closed_day_no_pseudonym_is_anywhere() {
    let hits = closed(&Setup::new("closed", CONFIG).on_stage(NOON));
    assert!(hits.is_empty(), "{hits:#?}");
}

#[test]
fn visits_that_are_not_erased_are_found() {
    let setup = Setup::new("closed", CONFIG).with_program(leaky::program()).with_variable(leaky::LEAK, "never_erased").on_stage(NOON);
    let hits = closed(&setup);
    assert!(hits.iter().any(|hit| hit.place.contains("/clickhouse/")), "{hits:#?}");
}
