//! `headcount spool`: what is shown, given back and given up, and what a week of waiting leaves of it.

use headcount::clock::Clock;

use super::*;

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

/// How often a number stands in the spool's files as it is stored.
fn stored(setup: &Setup, number: u64) -> usize {
    let files = said(setup, &["spool", "ls"]);
    let paths = files.lines().skip(1).filter(|line| !line.starts_with("total")).map(|line| line.rsplit('\t').next().unwrap());
    let bytes = number.to_le_bytes();
    paths.map(|path| std::fs::read(path).unwrap().windows(8).filter(|window| *window == bytes).count()).sum()
}

#[test]
fn after_a_week_without_clickhouse_no_pseudonym_is_left_in_the_spool() {
    let setup = Setup::new("week", &without_clickhouse());
    leave_segments(&setup, &["/a", "/b"]);
    let (batch, _) = segments(&setup, "sealed").remove(0);
    let row: serde_json::Value = serde_json::from_str(said(&setup, &["spool", "dump", &batch]).lines().last().unwrap()).unwrap();
    let visitor = row["visitor"].as_u64().unwrap();
    assert!(visitor != 0 && stored(&setup, visitor) == 2, "the same visitor on both pages");
    park(&setup);
    let in_eight_days = Clock::system().now().plus(8 * 86_400_000).0.to_string();
    let setup = setup.with_variable(staged::NOW, &in_eight_days);

    // The control: whoever forgets them is found out. What is ordered is carried out after the first look at what is old.
    let setup = setup.with_program(leaky::program()).with_variable(leaky::LEAK, "never_stripped");
    let collector = setup.start();
    said(&setup, &["spool", "redrive", &batch]);
    assert_eq!(stored(&setup, visitor), 2);
    collector.kill();

    let setup = setup.with_program(headcount_tests::binaries().join("staged")).with_variable(leaky::LEAK, "");
    let collector = setup.start();
    wait_for_metric(&collector, "headcount_stripped_events", 2.0);
    assert_eq!(stored(&setup, visitor), 0);
    law::assert_holds(&collector);
    assert_eq!(collector.readiness(), (503, "behind".to_owned()));
    collector.kill();
    setup.configure(SITE);
    let collector = setup.start();
    collector.wait_for_events(1);
    wait_for_metric(&collector, "headcount_stripped_events", 1.0);
    law::assert_holds(&collector);
    said(&setup, &["spool", "redrive", "--all"]);
    collector.wait_for_events(2);
    assert_eq!(
        (pages(&setup), said(&setup, &["sql", "SELECT max(visitor) FROM events"])),
        (vec!["/a".into(), "/b".into()], "max(visitor)\n0\n".into())
    );
}
