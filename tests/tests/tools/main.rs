//! The operator's tools on the whole system: what is refused, what is shown, what is given back and what is given up.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod backups;
mod readme;
mod spool;

use std::path::PathBuf;

use headcount_tests::collector::{Collector, Setup};
use headcount_tests::{law, leaky, staged};

/// Visitors come without a proxy, so their own addresses count, and they are told apart.
const SITE: &str = "proxy = \"nobody\"\n[public]\nworkers = 1\n[[site]]\nid = \"example.org\"\n";

/// A configuration whose ClickHouse never answers: what is taken stays in the spool.
fn without_clickhouse() -> String {
    format!("{SITE}[clickhouse]\nurl = \"http://127.0.0.1:9\"\n")
}

/// Starts a collector that must refuse to run; what it said.
fn refusal(setup: &Setup) -> String {
    let (status, said) = setup.run(&["serve"]);
    assert_eq!(status.code(), Some(1), "{said}");
    said.lines().filter(|line| line.starts_with("headcount: ")).collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn a_data_folder_of_a_newer_version_is_refused_in_a_clear_line() {
    let setup = Setup::new("newer", &without_clickhouse());
    setup.start().kill();
    let data = setup.data();
    for (file, content, said) in [
        ("format", "2\n", format!("data_dir = {}: written by a newer Headcount, in format 2", data.display())),
        ("spool/00000000000000ff.sealed", "HCSPOOL2...", "00000000000000ff.sealed: written by a newer Headcount, in format 2".to_owned()),
    ] {
        let before = std::fs::read(data.join(file)).ok();
        std::fs::write(data.join(file), content).unwrap();
        let refusal = refusal(&setup);
        assert!(refusal.contains(&said) && refusal.ends_with("start the newer one again"), "{refusal}");
        match before {
            Some(before) => std::fs::write(data.join(file), before).unwrap(),
            None => std::fs::remove_file(data.join(file)).unwrap(),
        }
    }
    setup.start().kill();

    setup.configure(SITE);
    let collector = setup.start();
    collector.wait_until("the tables", |_| setup.run(&["sql", "SELECT count() FROM migrations"]).0.success().then_some(()));
    let newer = "INSERT INTO migrations (version, name) VALUES (1000, 'of the future')";
    setup.database().query(newer).execute().await.unwrap();
    assert!(collector.stop().success());
    let refusal = refusal(&setup);
    assert!(refusal.contains("version 1000, written by a newer Headcount") && refusal.ends_with("start the newer one again"), "{refusal}");
}

/// Runs a command that must succeed; what it said.
fn said(setup: &Setup, arguments: &[&str]) -> String {
    let (status, said) = setup.run(arguments);
    assert!(status.success(), "{arguments:?}: {said}");
    said
}

/// Runs a command that must fail; what it said.
fn refused(setup: &Setup, arguments: &[&str]) -> String {
    let (status, said) = setup.run(arguments);
    assert_eq!(status.code(), Some(1), "{arguments:?}: {said}");
    said
}

/// Batches and files of the spool's segments of events in a state, oldest first.
fn segments(setup: &Setup, state: &str) -> Vec<(String, PathBuf)> {
    let wanted = format!("{state}\tevents\t");
    let of = |line: &str| {
        let columns: Vec<&str> = line.split('\t').collect();
        (columns[4].to_owned(), PathBuf::from(columns[7]))
    };
    said(setup, &["spool", "ls"]).lines().filter(|line| line.starts_with(&wanted)).map(of).collect()
}

/// One event for each page, each in a segment of its own, and no ClickHouse to take them.
fn leave_segments(setup: &Setup, pages: &[&str]) {
    let collector = setup.start();
    for (sent, page) in pages.iter().enumerate() {
        assert_eq!(collector.beacon(&format!(r#"{{"site":"example.org","url":"https://example.org{page}"}}"#)).status, 204);
        collector.wait_until("its segment", |_| (segments(setup, "sealed").len() == sent + 1).then_some(()));
    }
    collector.kill();
}

/// Puts sealed segments where the sink puts what ClickHouse refuses.
fn park(setup: &Setup) {
    let parked = setup.data().join("spool/parked");
    std::fs::create_dir_all(&parked).unwrap();
    for (_, path) in segments(setup, "sealed") {
        std::fs::rename(&path, parked.join(path.file_name().unwrap())).unwrap();
    }
}

fn pages(setup: &Setup) -> Vec<String> {
    said(setup, &["sql", "SELECT page FROM events ORDER BY page"]).lines().skip(1).map(str::to_owned).collect()
}

fn wait_for_metric(collector: &Collector, name: &str, value: f64) {
    collector.wait_until(name, |collector| ((collector.metric(name)? - value).abs() < 0.5).then_some(()));
}
