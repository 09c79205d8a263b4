//! There is no room, on the disk or within the spool's own bound: the engine stands still under load until somebody is turned away, and goes on.
//!
//! Whoever is turned away is told when to come again and finds nothing of his stored; once the engine goes on, events are taken again by themselves.

use std::time::Duration;

use super::kills::compared;
use super::{Build, Fault, Lots, Session, under_load};
use crate::collector::{Collector, Setup, signal};
use crate::ledger::{Fate, Kind, Ledger};
use crate::small_disk::SmallDisk;

/// As the campaign runs it.
pub const FAULT: Fault = Fault { name: "no room", rounds: 100, session: by_seed, controls: &["failure_overlooked"] };

/// Times that the room runs out in a session.
const ROUNDS: u64 = 10;

/// Senders of batches, which fill what room there is, and of beacons, which find the last of it.
const SENDERS: (usize, usize) = (2, 4);

/// What runs out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// The file system says that it is full.
    OnDisk,
    /// The spool may not be larger.
    InSpool,
}

impl Room {
    /// A data folder whose spool is soon full, and the disk that it lies on if that is another. `None` where such a disk cannot be mounted.
    pub fn setup(self, build: Build, name: &str) -> Option<(Setup, Option<SmallDisk>)> {
        let bound = match self {
            Self::OnDisk => "",
            Self::InSpool => "[spool]\nmax_bytes = 67_108_864\n",
        };
        let setup = build.setup(name, &format!("[public]\nworkers = 1\n[engine]\nmemory_bytes = 1_073_741_824\n{bound}"));
        let disk = match self {
            Self::OnDisk => Some(SmallDisk::mount(&setup.data().join("spool"), "a full disk")?),
            Self::InSpool => None,
        };
        Some((setup, disk))
    }

    /// How many properties of an event only take room: a dozen batches take all of it.
    pub fn padding(self) -> usize {
        match self {
            Self::OnDisk => 5,
            Self::InSpool => 25,
        }
    }

    /// What readiness says while nothing is taken. Single beacons may still fit where a batch does not: then it comes and goes.
    pub fn alarm(self) -> &'static str {
        match self {
            Self::OnDisk => "cannot_write",
            Self::InSpool => "nearly_full",
        }
    }
}

/// Waits until somebody is turned away.
pub fn runs_out(collector: &Collector, ledger: &Ledger) {
    let before = ledger.count(Fate::TurnedAway);
    collector.wait_until("somebody to be turned away", |_| (ledger.count(Fate::TurnedAway) > before).then_some(()));
}

/// Waits until the tables are there, then stops the engine as a machine that swaps does; returns its process.
pub fn stand_still(setup: &Setup, collector: &Collector) -> u32 {
    let engine = collector.wait_until("the engine to be used", |collector| {
        let (status, _) = setup.run(&["sql", "SELECT count() FROM rollup_open"]);
        collector.engine().filter(|_| status.success())
    });
    signal(engine, "STOP");
    engine
}

/// Seeds in turn fill the disk and the spool.
fn by_seed(build: Build, seed: u64) -> Session {
    let room = if seed.is_multiple_of(2) { Room::InSpool } else { Room::OnDisk };
    session(build, seed, room, ROUNDS)
}

/// So many times without this room, under load.
///
/// # Panics
///
/// When nobody is turned away although there is no room, or nobody is taken again although there is.
pub fn session(build: Build, seed: u64, room: Room, rounds: u64) -> Session {
    let mut lots = Lots::of(seed);
    let Some((setup, _disk)) = room.setup(build, "room") else {
        return Session::Skipped("a small disk cannot be mounted".to_owned());
    };
    let collector = setup.start();
    let ledger = Ledger::endless(collector.public()).padded(room.padding());
    under_load(&ledger, SENDERS, || {
        for _ in 0..rounds {
            std::thread::sleep(Duration::from_millis(lots.below(1_000)));
            let engine = stand_still(&setup, &collector);
            runs_out(&collector, &ledger);
            std::thread::sleep(Duration::from_millis(lots.below(1_000)));
            signal(engine, "CONT");
            taken_again(&collector, &ledger);
        }
    });
    let untold = ledger.take_waits().without_retry_after;
    let mut found = compared(&setup, &collector, &ledger, rounds);
    found.wrong += untold;
    Session::Ran(found)
}

/// Waits until more batches are taken than could have been on their way already, and nothing is left to tell the operator.
fn taken_again(collector: &Collector, ledger: &Ledger) {
    let enough = ledger.acknowledged(Kind::Batch) + SENDERS.0 as u64 + 1;
    collector.wait_until("batches to be taken again", |_| (ledger.acknowledged(Kind::Batch) >= enough).then_some(()));
    collector.wait_until("readiness", |collector| (collector.readiness().0 == 200).then_some(()));
}
