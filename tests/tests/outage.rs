//! ClickHouse stands still, is gone, or the spool has no room: events wait or are turned away, and nothing that was taken is lost.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a test that cannot go on fails; it waits, measures and says what it found"
)]

use std::path::{Path, PathBuf};
use std::process::Command;

use headcount_tests::collector::{Collector, Setup, signal};
use headcount_tests::law;
use headcount_tests::ledger::{EndsTheLoad, Fate, Kind, Ledger};

fn config(spool: &str) -> String {
    format!("[public]\nworkers = 1\n[engine]\nmemory_bytes = 1_073_741_824\n[spool]\n{spool}\n")
}

/// Waits until the tables are there, then stops the engine as a machine that swaps does.
fn stand_still(setup: &Setup, collector: &Collector) -> u32 {
    let engine = collector.wait_until("the engine to be used", |collector| {
        let (status, _) = setup.run(&["sql", "SELECT count() FROM rollup_open"]);
        collector.engine().filter(|_| status.success())
    });
    signal(engine, "STOP");
    engine
}

#[tokio::test]
async fn events_are_taken_while_the_engine_stands_still_and_arrive_once_when_it_is_replaced() {
    let setup = Setup::new("outage", &config("behind_after_seconds = 1"));
    let collector = setup.start();
    let engine = stand_still(&setup, &collector);
    let ledger = Ledger::new(collector.public(), 4, 200);
    ledger.send(Kind::Batch);
    ledger.send(Kind::Beacon);
    assert_eq!(ledger.count(Fate::Acknowledged), 204);
    collector.wait_until("the alarm", |collector| (collector.readiness() == (503, "behind".to_owned())).then_some(()));
    assert!((law::assert_holds(&collector) - 2_200.0).abs() < 0.5, "all of it waits");
    signal(engine, "KILL");
    collector.drained();
    assert!(law::assert_holds(&collector) < 0.5);
    assert_eq!(collector.readiness(), (200, "ready".to_owned()));
    assert_eq!(ledger.assert_kept(&setup.database()).await, 2_200);
}

#[tokio::test]
async fn a_full_spool_turns_events_away_and_takes_them_again_by_itself() {
    let setup = Setup::new("full", &config("max_bytes = 67_108_864"));
    assert_turned_away_then_kept(&setup, (14, 25), "nearly_full").await;
}

#[tokio::test]
async fn a_full_disk_turns_events_away_and_takes_them_again_by_itself() {
    let setup = Setup::new("disk", &config(""));
    let Some(_disk) = SmallDisk::mount(&setup.data().join("spool")) else {
        println!("SKIPPED: a small file system cannot be mounted here (it takes CAP_SYS_ADMIN), so a full disk was not tried");
        return;
    };
    assert_turned_away_then_kept(&setup, (20, 5), "cannot_write").await;
}

/// Large batches until the spool takes no more, then the engine goes on.
async fn assert_turned_away_then_kept(setup: &Setup, (batches, padding): (u64, usize), word: &str) {
    let collector = setup.start();
    let engine = stand_still(setup, &collector);
    let ledger = Ledger::new(collector.public(), batches, 5).padded(padding);
    std::thread::scope(|scope| {
        let _end = EndsTheLoad(&ledger);
        scope.spawn(|| ledger.send(Kind::Batch));
        collector.wait_until("the spool to be full", |_| (ledger.count(Fate::TurnedAway) > 0).then_some(()));
        collector.wait_until("the alarm", |collector| (collector.readiness() == (503, word.to_owned())).then_some(()));
        let (number, body) = ledger.draw(Kind::Batch);
        let headers = ["User-Agent: okhttp/4.12.0", "Content-Type: application/json", "Content-Encoding: gzip"];
        let answer = headcount_tests::http::send(collector.public(), "POST", "/v1/events", &headers, &body).unwrap();
        assert_eq!((answer.status, answer.header("retry-after")), (503, Some("5")));
        ledger.note(Kind::Batch, number, Fate::TurnedAway);
        signal(engine, "CONT");
        collector.wait_until("the rest of the load", |_| (ledger.acknowledged(Kind::Batch) >= batches).then_some(()));
    });
    ledger.send(Kind::Beacon);
    collector.drained();
    assert!(law::assert_holds(&collector) < 0.5);
    collector.wait_until("readiness", |collector| (collector.readiness().0 == 200).then_some(()));
    assert_eq!(ledger.assert_kept(&setup.database()).await, ledger.events());
    println!("{} requests were turned away", ledger.count(Fate::TurnedAway));
}

/// A file system of 16 MiB in memory. Unmounted when dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: &Path) -> Option<Self> {
        std::fs::create_dir_all(at).unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=16m,mode=0700", "none"]).arg(at).status();
        mounted.is_ok_and(|status| status.success()).then(|| Self(at.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}
