//! What is acknowledged is stored exactly once, whatever is killed: the real binary, the real engine, `kill -9`.
//!
//! `cargo test` makes a short run. `HEADCOUNT_FAULTS=full` makes it 200,000 events in batches and 20,000 beacons (`make test`);
//! `HEADCOUNT_SEED` repeats the moments of an earlier run as far as two processes can be repeated.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a test that cannot go on fails; it waits, measures and says what it found"
)]

use std::path::Path;
use std::time::{Duration, Instant};

use headcount_tests::campaign::Lots;
use headcount_tests::campaign::kills::{CONFIG, Victim};
use headcount_tests::collector::Setup;
use headcount_tests::law;
use headcount_tests::ledger::{BATCH, EndsTheLoad, Fate, Kind, Ledger};

struct Plan {
    batches: u64,
    beacons: u64,
    kills: u64,
}

fn plan() -> Plan {
    if std::env::var("HEADCOUNT_FAULTS").is_ok_and(|faults| faults == "full") {
        Plan { batches: 200_000 / BATCH, beacons: 20_000, kills: 20 }
    } else {
        Plan { batches: 20_000 / BATCH, beacons: 2_000, kills: 6 }
    }
}

#[tokio::test]
async fn what_is_acknowledged_is_stored_once_whatever_is_killed() {
    let Plan { batches, beacons, kills } = plan();
    let seed = std::env::var("HEADCOUNT_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20_000);
    let mut lots = Lots::of(seed);
    let setup = Setup::new("durability", CONFIG);
    let first = setup.start();
    let ledger = Ledger::new(first.public(), batches, beacons);
    let began = Instant::now();
    let mut killed = [0; 3];
    let collector = std::thread::scope(|scope| {
        let mut collector = first;
        let _end = EndsTheLoad(&ledger);
        for kind in [Kind::Batch, Kind::Batch, Kind::Beacon, Kind::Beacon, Kind::Beacon, Kind::Beacon] {
            let ledger = &ledger;
            scope.spawn(move || ledger.send(kind));
        }
        for number in 1..=kills {
            let reached = number * 900 / kills;
            collector.wait_until("the load to go on", |_| (ledger.progress() >= reached).then_some(()));
            std::thread::sleep(Duration::from_millis(lots.below(200)));
            // The first three hit each once, whatever the lot.
            let victim = Victim::numbered(if number <= 3 { number } else { lots.below(3) });
            killed[victim as usize] += 1;
            collector = victim.hit(&setup, &ledger, collector);
        }
        collector.wait_until("the rest of the load", |_| (ledger.progress() >= 1_000).then_some(()));
        collector
    });
    let sent = began.elapsed();
    collector.drained();
    assert!(law::assert_holds(&collector) < 0.5);
    let rows = ledger.assert_kept(&setup.database()).await;
    assert!(ledger.count(Fate::Unanswered) > 0, "the kills hit something");
    println!(
        "seed {seed}: killed collector {} times, engine {}, both {}; {batches} batches and {beacons} beacons acknowledged, {} unanswered, {} turned away; \
         {rows} rows; sent in {sent:.1?}, delivered and compared after {:.1?}",
        killed[0],
        killed[1],
        killed[2],
        ledger.count(Fate::Unanswered),
        ledger.count(Fate::TurnedAway),
        began.elapsed(),
    );
    assert!(collector.stop().success());
}

fn files(folder: &Path, extension: &str) -> Vec<std::path::PathBuf> {
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    paths.filter(|path| path.extension().is_some_and(|found| found == extension)).collect()
}

#[tokio::test]
async fn a_delivered_segment_that_comes_back_after_a_power_cut_is_not_delivered_again() {
    // An engine that cannot start keeps everything in the spool.
    let setup = Setup::new("reborn", "[public]\nworkers = 1\n[engine]\nlibrary = \"/nonexistent/libchdb.so\"\n");
    let collector = setup.start();
    let ledger = Ledger::new(collector.public(), 3, 10);
    ledger.send(Kind::Batch);
    ledger.send(Kind::Beacon);
    collector.wait_until("the segments to be sealed", |_| files(&setup.data().join("spool"), "open").is_empty().then_some(()));
    assert!((law::assert_holds(&collector) - 1_510.0).abs() < 0.5);
    collector.kill();
    let copies: Vec<_> =
        files(&setup.data().join("spool"), "sealed").into_iter().map(|path| (std::fs::read(&path).unwrap(), path)).collect();
    assert!(!copies.is_empty());

    setup.configure(CONFIG);
    let collector = setup.start();
    collector.drained();
    ledger.assert_kept(&setup.database()).await;
    collector.kill();
    for (bytes, path) in copies {
        std::fs::write(path, bytes).unwrap();
    }
    let collector = setup.start();
    collector.drained();
    assert!(collector.metric("headcount_read_backs_total").unwrap() > 0.5);
    law::assert_holds(&collector);
    assert_eq!(ledger.assert_kept(&setup.database()).await, 1_510);
}
