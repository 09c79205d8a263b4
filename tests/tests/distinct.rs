//! The cap on distinct values, end to end: a script that invents pages fills one cell, and a restart does not open the gate again.

#![allow(clippy::unwrap_used, reason = "a test that cannot read its answer has failed")]

use headcount_tests::collector::{BROWSER, Collector, Setup};
use headcount_tests::http;

const CAP: usize = headcount::limits::DISTINCT_VALUES;
const BATCH: usize = 2_500;

fn visit(collector: &Collector, paths: impl Iterator<Item = String>) {
    let events: Vec<String> =
        paths.map(|path| format!(r#"{{"site":"example.test","kind":"pageview","url":"https://example.test{path}"}}"#)).collect();
    for batch in events.chunks(BATCH) {
        let body = format!("[{}]", batch.join(","));
        let answer = http::send(collector.public(), "POST", "/v1/events", &["Content-Type: application/json", BROWSER], body.as_bytes());
        assert_eq!(answer.unwrap().status, 202);
    }
    collector.wait_for_spool();
}

fn views(setup: &Setup, page: &str) -> u64 {
    let (status, told) = setup.run(&[
        "sql",
        "--form",
        "tsv",
        &format!("SELECT sum(pageviews) AS views FROM rollup_open WHERE dimension = 'page' AND value = '{page}'"),
    ]);
    assert!(status.success(), "{told}");
    told.lines().nth(1).unwrap().parse().unwrap()
}

#[test]
fn invented_pages_are_one_cell_also_after_a_restart() {
    let setup = Setup::new("distinct", "[public]\nworkers = 2\n[[site]]\nid = \"example.test\"\n");
    let collector = setup.start();
    visit(&collector, (0..CAP + 500).map(|number| format!("/page-{number}-of-a-script")));
    assert_eq!(views(&setup, "(other)"), 500);
    assert!(collector.metric("headcount_noted_total{what=\"capped_values\"}").unwrap() > 499.0);
    for file in ["countries", "user_agents", "crawlers"] {
        let age = collector.metric(&format!("headcount_data_file_age_seconds{{file=\"{file}\"}}")).unwrap();
        assert!(age > 3_600.0, "{file} is {age} s old");
    }
    assert!(collector.stop().success());

    let mut collector = setup.start();
    collector.wait_for_line("the cap on distinct values knows");
    visit(&collector, ["/a-page-nobody-has-seen", "/page-7-of-a-script"].into_iter().map(str::to_owned));
    assert_eq!(views(&setup, "(other)"), 501, "a new page finds no room");
    assert_eq!(views(&setup, "/page-7-of-a-script"), 2, "a page that had its own cell keeps it");
    assert!(collector.stop().success());
}
