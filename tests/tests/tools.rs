//! The operator's tools on the whole system: what is refused, what is shown, what is given back and what is given up.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::PathBuf;

use headcount_tests::collector::{Collector, Setup};
use headcount_tests::law;

const SITE: &str = "[public]\nworkers = 1\n[[site]]\nid = \"example.org\"\n";

/// A configuration whose ClickHouse never answers: what is taken stays in the spool.
fn without_clickhouse() -> String {
    format!("[clickhouse]\nurl = \"http://127.0.0.1:9\"\n{SITE}")
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

#[test]
fn parked_segments_are_shown_given_back_and_given_up_beside_a_collector_and_without_one() {
    let setup = Setup::new("parked", &without_clickhouse());
    assert_eq!(said(&setup, &["spool", "redrive", "--all"]), "Nothing is parked.\n");
    leave_segments(&setup, &["/a", "/b", "/c", "/d"]);
    let sealed = refused(&setup, &["spool", "drop", &segments(&setup, "sealed")[0].0, "--yes"]);
    assert!(sealed.contains("is sealed, not parked"), "{sealed}");
    park(&setup);
    let parked = segments(&setup, "parked");
    let listed = said(&setup, &["spool", "ls"]);
    assert!(listed.contains("\ntotal\tparked\t\t\t\t4\t"), "{listed}");

    // Without a collector: the next start delivers the one and does not have the other.
    let back = said(&setup, &["spool", "redrive", &parked[0].0]);
    assert!(back.ends_with("is back in the spool and goes to ClickHouse at the next start.\n"), "{back}");
    let gone = said(&setup, &["spool", "drop", &parked[1].0, "--yes"]);
    assert!(gone.ends_with("was given up: 1 events are in no table and never will be.\n"), "{gone}");

    setup.configure(SITE);
    let collector = setup.start();
    wait_for_metric(&collector, "headcount_spool_events", 0.0);
    law::assert_holds(&collector);
    assert_eq!(pages(&setup), ["/a"]);
    assert_eq!((collector.metric("headcount_recovered_events"), collector.metric("headcount_parked_events")), (Some(3.0), Some(2.0)));

    // Beside it: what would be lost is shown first, and lost only when that is confirmed.
    let asked = refused(&setup, &["spool", "drop", &parked[2].0]);
    assert!(asked.contains(&format!("{}\tevents\tUTC\t", parked[2].0)) && asked.contains("\texample.org\t1\n"), "{asked}");
    assert!(asked.ends_with("nothing was given up: say --yes to give up 1 events for good\n"), "{asked}");
    assert_eq!(collector.metric("headcount_parked_events"), Some(2.0));
    said(&setup, &["spool", "drop", &parked[2].0, "--yes"]);
    wait_for_metric(&collector, "headcount_discarded_events_total", 1.0);
    law::assert_holds(&collector);
    let back = said(&setup, &["spool", "redrive", "--all"]);
    assert!(back.ends_with("is back in the spool and goes to ClickHouse now.\n"), "{back}");
    collector.wait_for_events(2);
    collector.wait_for_spool();
    law::assert_holds(&collector);
    assert_eq!(pages(&setup), ["/a", "/d"]);
    collector.drained();

    let unknown = refused(&setup, &["spool", "redrive", &parked[3].0]);
    assert!(unknown.contains("is not parked: `headcount spool ls` shows what is"), "{unknown}");
    assert_eq!(said(&setup, &["spool", "redrive", "--all"]), "Nothing is parked.\n");
    assert!(collector.stop().success());
}

#[test]
fn a_segment_is_shown_as_it_is_stored_and_no_further_than_its_checksums_hold() {
    let setup = Setup::new("dump", &without_clickhouse());
    leave_segments(&setup, &["/a"]);
    let (batch, path) = segments(&setup, "sealed").remove(0);
    let path = path.to_str().unwrap();
    let json = |text: &str| -> Vec<serde_json::Value> { text.lines().map(|line| serde_json::from_str(line).unwrap()).collect() };
    let lines = json(&said(&setup, &["spool", "dump", &batch]));
    assert_eq!(lines, json(&said(&setup, &["spool", "dump", path])));
    assert_eq!(lines.len(), 2);
    assert_eq!((&lines[0]["state"], &lines[0]["rows"], &lines[0]["segment"]["table"]), (&"sealed".into(), &1.into(), &"events".into()));
    assert_eq!((&lines[1]["page"], &lines[1]["site"], &lines[1]["props"]), (&"/a".into(), &"example.org".into(), &serde_json::json!({})));
    let columns: Vec<&str> = headcount::row::EVENTS.columns.iter().map(|(name, _)| *name).collect();
    let shown: Vec<&str> = lines[1].as_object().unwrap().keys().map(String::as_str).collect();
    assert!(shown.len() == columns.len() && shown.iter().all(|name| columns.contains(name)), "{shown:?}");
    assert_eq!(json(&said(&setup, &["spool", "dump", &batch, "--limit", "0"])).len(), 1);

    let mut bytes = std::fs::read(path).unwrap();
    let place = bytes.windows(4).position(|window| window == b"FRM1").unwrap() + 40;
    bytes[place] ^= 1;
    std::fs::write(path, &bytes).unwrap();
    let lines = json(&said(&setup, &["spool", "dump", path]));
    assert_eq!((lines.len(), &lines[0]["rows"], &lines[0]["damaged_pieces"]), (1, &0.into(), &1.into()));
    let quarantine = setup.data().join("spool/quarantine");
    std::fs::create_dir(&quarantine).unwrap();
    std::fs::write(quarantine.join("0000000000000001-97.damaged"), &bytes[place - 40..]).unwrap();
    let listed = said(&setup, &["spool", "ls"]);
    let piece = listed.lines().find(|line| line.starts_with("quarantined\t")).unwrap().rsplit('\t').next().unwrap();
    let lines = json(&said(&setup, &["spool", "dump", piece]));
    assert_eq!((lines.len(), &lines[0]["state"], &lines[0]["rows"]), (1, &"quarantined".into(), &0.into()));
    for unknown in ["4711", "/nowhere/1.sealed"] {
        assert!(refused(&setup, &["spool", "dump", unknown]).contains("`headcount spool ls` shows what there is"));
    }
}
