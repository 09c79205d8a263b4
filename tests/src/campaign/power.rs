//! The power goes, under load: everything that was not synced is gone, or some of it by lot, and all processes with it.
//!
//! The cut comes at a sync of a number that the lot names, before it or after it, or at any moment; sometimes once more while the next start is reading
//! what the first cut has left.

use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use headcount::limits::SEGMENT_AGE;

use super::kills::{CONFIG, compared};
use super::{Build, Fault, Found, Lots, Session, block_on};
use crate::bench::process;
use crate::collector::{Collector, Setup, signal};
use crate::ledger::{EndsTheLoad, Kind, Ledger};
use crate::lossy::{Loss, LossyDisk, Moment};

/// Under the spool, as the campaign runs it.
pub const SPOOL: Fault = Fault {
    name: "power cut under the spool",
    rounds: 500,
    session: |build, seed| session(build, seed, if build == Build::Product { ROUNDS } else { 1 }),
    controls: &["no_sync", "no_folder_sync"],
};

/// Cuts of a session: each session compares all its rows at the end, which costs as much as some cuts.
const ROUNDS: u64 = 25;

/// The syncs among which the lot chooses the one at which the power goes: those of about a second.
const SYNCS: u64 = 60;
/// The same for a start that recovers.
const SYNCS_OF_A_START: u64 = 10;

/// `rounds` power cuts under load, with the spool on the disk that loses what was not synced. ClickHouse is killed with the collector; its own files stay.
///
/// # Panics
///
/// When the collector does not come back, does not deliver, or its metrics contradict each other.
pub fn session(build: Build, seed: u64, rounds: u64) -> Session {
    let mut lots = Lots::of(seed);
    let setup = build.setup("power", CONFIG);
    let Some(mut machine) = Machine::new(&setup, &setup.data().join("spool"), "a power cut under the spool") else {
        return Session::Skipped("the disk that loses what was not synced cannot be mounted".to_owned());
    };
    let first = setup.start();
    let ledger = Ledger::endless(first.public());
    let collector = std::thread::scope(|scope| {
        let _end = EndsTheLoad(&ledger);
        for kind in [Kind::Batch, Kind::Batch, Kind::Beacon, Kind::Beacon, Kind::Beacon, Kind::Beacon] {
            let ledger = &ledger;
            scope.spawn(move || ledger.send(kind));
        }
        let mut collector = first;
        for _ in 0..rounds {
            collector = match build {
                Build::Product => machine.cut(&mut lots, collector),
                Build::Without(_) => machine.cut_all(&ledger, collector),
            };
            ledger.moved(collector.public());
        }
        collector
    });
    if build == Build::Product {
        return Session::Ran(compared(&setup, &collector, &ledger, rounds));
    }
    // What was lost from within a segment leaves damaged frames and parked segments, which take room for good.
    collector.wait_for_spool();
    Session::Ran(Found::of(rounds, &block_on(ledger.judge(&setup.database()))))
}

/// A collector's data folder on a disk whose power goes.
pub struct Machine<'a> {
    setup: &'a Setup,
    /// The disk.
    pub disk: LossyDisk,
}

impl<'a> Machine<'a> {
    /// Mounts the disk at `folder`; `None` where that cannot be done, which has been said then.
    pub fn new(setup: &'a Setup, folder: &Path, what: &str) -> Option<Self> {
        Some(Self { setup, disk: LossyDisk::mount(folder, what)? })
    }

    /// Lets the power go at a moment of the lot, and starts again.
    pub fn cut(&mut self, lots: &mut Lots, collector: Collector) -> Collector {
        self.disk.cut_after(lots.below(SYNCS), moment(lots));
        self.disk.wait_for_cut(Duration::from_millis(lots.below(1_500)));
        self.lose_power(collector.id(), Loss::drawn(lots));
        collector.kill();
        while lots.below(3) == 0 {
            self.cut_a_start(lots);
        }
        self.setup.start()
    }

    /// The cut that finds the most: all is lost that was not synced since about a second, in which new segments were begun. But who the node is outlives
    /// it also where nothing is synced: the harm to be found is that to events.
    fn cut_all(&mut self, ledger: &Ledger, collector: Collector) -> Collector {
        let before = ledger.events();
        collector.wait_until("an acknowledgement", |_| (ledger.events() > before).then_some(()));
        self.disk.settle();
        self.disk.wait_for_cut(SEGMENT_AGE * 3 / 2);
        self.lose_power(collector.id(), Loss::Everything);
        collector.kill();
        self.setup.start()
    }

    /// Lets the power go while the collector is starting, most likely before it listens.
    fn cut_a_start(&mut self, lots: &mut Lots) {
        self.disk.cut_after(lots.below(SYNCS_OF_A_START), moment(lots));
        let mut command = self.setup.command(&["serve"]);
        let started = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let mut started = Reaped(started.expect("the binary was built before the tests"));
        self.disk.wait_for_cut(Duration::from_millis(lots.below(400)));
        self.lose_power(started.0.id(), Loss::drawn(lots));
        started.0.wait().expect("a child can be waited for");
    }

    /// Kills a collector and its engine and takes what the cut takes.
    pub fn lose_power(&mut self, collector: u32, loss: Loss) {
        self.disk.cut();
        let engines = process::children(collector).unwrap_or_default();
        for process in engines.into_iter().chain([collector]) {
            signal(process, "KILL");
        }
        self.disk.restore(loss);
    }
}

/// Killed when dropped, so that a test that fails leaves nothing running.
struct Reaped(Child);

impl Drop for Reaped {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn moment(lots: &mut Lots) -> Moment {
    if lots.below(2) == 0 { Moment::Before } else { Moment::After }
}
