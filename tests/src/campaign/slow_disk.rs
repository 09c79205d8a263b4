//! A disk that takes a tenth of what comes, and less: what it cannot take is turned away at once, and what was taken is kept.
//!
//! Turned away means 503, with when to come again, within the time that a commit may take; nobody is left without an answer, and the collector's memory
//! stays within its bound.

use std::time::{Duration, Instant};

use headcount::limits::COMMIT_PATIENCE;

use super::kills::compared;
use super::{Build, Fault, Lots, Session, under_load};
use crate::bench::process;
use crate::collector::Collector;
use crate::ledger::{Fate, Kind, Ledger, Waits};
use crate::lossy::LossyDisk;

/// As the campaign runs it.
pub const FAULT: Fault = Fault {
    name: "a disk that is too slow",
    rounds: 10,
    session: |build, seed| session(build, seed, Duration::from_mins(1)).0,
    controls: &["all_admitted"],
};

/// How often what comes must be what the disk takes.
pub const TIMES: f64 = 10.0;

/// One worker: what it knows of its disk is what everybody meets.
const CONFIG: &str = "[public]\nworkers = 1\n[engine]\nmemory_bytes = 1_073_741_824\n";

/// Batches and beacons at a time, each on a connection of its own. One of each comes first, and shows how slow the disk is.
const SENDERS: (usize, usize) = (15, 47);

/// What the disk takes, a second, and as much again and more by lot.
const BYTES_A_SECOND: u64 = 64 << 10;

/// What came before it was known how slow the disk is is written first; within this time, or nobody is ever turned away.
const SETTLED: Duration = Duration::from_secs(20);

/// What the collector may take of memory at 64 connections, as it is promised. Bodies that are being read, rows that wait for the disk and rows on their way to
/// it could be 48 MiB beside what an idle collector takes, by their own bounds; a disk that is slow never lets so many rows wait.
const PEAK_KIB: u64 = 64 * 1024;

/// What a slow disk did to the load.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// Events sent for each event that the disk took.
    pub times: f64,
    /// What the disk took of what it could.
    pub used: f64,
    /// Answers that turn away, of all.
    pub turned_away: f64,
    /// How long it took to be turned away: in half of the cases, in all but one of a hundred, at most.
    pub quick: [Duration; 3],
    /// The same for being taken.
    pub taken: [Duration; 3],
    /// The most memory that the collector has had, in KiB.
    pub peak_kib: u64,
    /// Requests without an answer.
    pub unanswered: u64,
    /// What is not as it was promised.
    pub broken: Vec<String>,
}

/// So much time on a slow disk, under load.
///
/// # Panics
///
/// When the load is too small to tell anything, or the collector does not deliver once the disk is fast again.
pub fn session(build: Build, seed: u64, time: Duration) -> (Session, Figures) {
    let mut lots = Lots::of(seed);
    let setup = build.setup("slow", CONFIG);
    let Some(disk) = LossyDisk::mount(&setup.data().join("spool"), FAULT.name) else {
        return (Session::Skipped("the disk that can be slow cannot be mounted".to_owned()), Figures::default());
    };
    let collector = setup.start();
    let ledger = Ledger::endless(collector.public());
    let rate = BYTES_A_SECOND + lots.below(3) * BYTES_A_SECOND / 2;
    disk.delay_syncs(Duration::from_millis(lots.below(20)));
    disk.throttle(Some(rate));
    let figures = under_load(&ledger, (1, 1), || {
        collector.wait_until("a batch to be taken", |_| (ledger.acknowledged(Kind::Batch) > 0).then_some(()));
        under_load(&ledger, SENDERS, || {
            let figures = slow(&disk, &ledger, (rate, time), &collector);
            disk.throttle(None);
            disk.delay_syncs(Duration::ZERO);
            figures
        })
    });
    say(&figures);
    assert!(build != Build::Product || figures.times >= TIMES, "the load was not {TIMES} times what the disk took: {figures:?}");
    let mut found = compared(&setup, &collector, &ledger, 1);
    found.wrong += figures.broken.len() as u64;
    (Session::Ran(found), figures)
}

#[expect(clippy::cast_precision_loss, reason = "shares for people")]
fn slow(disk: &LossyDisk, ledger: &Ledger, (rate, time): (u64, Duration), collector: &Collector) -> Figures {
    let (began, before) = (Instant::now(), ledger.count(Fate::TurnedAway));
    while ledger.count(Fate::TurnedAway) == before && began.elapsed() < SETTLED {
        std::thread::sleep(Duration::from_millis(20));
    }
    ledger.take_waits();
    let counts = || (ledger.events(), ledger.offered(), ledger.count(Fate::Unanswered), disk.synced_bytes());
    let (began, before) = (Instant::now(), counts());
    std::thread::sleep(time);
    let (after, took) = (counts(), began.elapsed());
    let Waits { turned_away, acknowledged, without_retry_after } = ledger.take_waits();
    let answers = turned_away.len() + acknowledged.len();
    let mut figures = Figures {
        times: (after.1 - before.1) as f64 / (after.0 - before.0).max(1) as f64,
        used: (after.3 - before.3) as f64 / (rate as f64 * took.as_secs_f64()),
        turned_away: turned_away.len() as f64 / answers.max(1) as f64,
        quick: quantiles(turned_away),
        taken: quantiles(acknowledged),
        peak_kib: process::peak_kib(collector.id()).unwrap_or(u64::MAX),
        unanswered: after.2 - before.2,
        broken: Vec::new(),
    };
    figures.judge(without_retry_after);
    figures
}

impl Figures {
    /// Notes what is not as it was promised.
    fn judge(&mut self, without_retry_after: u64) {
        let promises = [
            (self.turned_away > 0.0, "nobody was turned away"),
            (self.quick[1] < COMMIT_PATIENCE, "it took long to be turned away"),
            (without_retry_after == 0, "who was turned away was not told when to come again"),
            (self.unanswered == 0, "there was no answer"),
            (self.peak_kib <= PEAK_KIB, "the collector took more memory than its bound"),
        ];
        self.broken = promises.into_iter().filter(|(kept, _)| !kept).map(|(_, broken)| broken.to_owned()).collect();
    }
}

/// The median, what 99 of 100 do not exceed, and the longest.
fn quantiles(mut waits: Vec<Duration>) -> [Duration; 3] {
    waits.sort_unstable();
    let last = waits.len().saturating_sub(1);
    [last / 2, last * 99 / 100, last].map(|place| waits.get(place).copied().unwrap_or_default())
}

#[expect(clippy::print_stderr, reason = "figures that no table holds")]
fn say(figures: &Figures) {
    eprintln!("{figures:.2?}");
}
