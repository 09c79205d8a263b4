//! The power goes, under load: everything that was not synced is gone, or some of it by lot, and all processes with it.
//!
//! The cut comes at a sync of a number that the lot names, before it or after it, or at any moment; sometimes once more while the next start is reading
//! what the first cut has left.

use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use super::kills::{CONFIG, compared};
use super::{Build, Fault, Found, Lots, Session, block_on, under_load};
use crate::bench::process;
use crate::collector::{Collector, Setup, signal};
use crate::ledger::Ledger;
use crate::lossy::{Loss, LossyDisk, Moment};

/// Under the spool, as the campaign runs it.
pub const SPOOL: Fault = Fault {
    name: "power cut under the spool",
    rounds: 500,
    session: |build, seed| session(build, seed, rounds(build), Under::Spool),
    controls: &["no_sync", "no_folder_sync"],
};

/// Under the whole data folder, ClickHouse's files included, as the campaign runs it.
pub const EVERYTHING: Fault = Fault {
    name: "power cut under everything",
    rounds: 500,
    session: |build, seed| session(build, seed, rounds(build), Under::Everything),
    controls: &["no_sync", "no_part_sync", "no_name_sync"],
};

/// What lies on the disk that loses what was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Under {
    /// The spool. ClickHouse is killed with the collector, and its own files stay.
    Spool,
    /// All that the collector and ClickHouse keep.
    Everything,
}

/// Cuts of a session: each session compares all its rows at the end, which costs as much as some cuts. For a control one is enough.
fn rounds(build: Build) -> u64 {
    if build == Build::Product { 25 } else { 1 }
}

/// The syncs among which the lot chooses the one at which the power goes: those of about a second.
const SYNCS: u64 = 100;
/// The same for a start that recovers.
const SYNCS_OF_A_START: u64 = 10;

/// `rounds` power cuts under load.
///
/// # Panics
///
/// When the collector does not come back, or does not deliver.
pub fn session(build: Build, seed: u64, rounds: u64, under: Under) -> Session {
    let mut lots = Lots::of(seed);
    let setup = build.setup("power", CONFIG);
    let (folder, what) = match under {
        Under::Spool => (setup.data().join("spool"), SPOOL.name),
        Under::Everything => (setup.data(), EVERYTHING.name),
    };
    let Some(mut machine) = Machine::new(&setup, &folder, what) else {
        return Session::Skipped("the disk that loses what was not synced cannot be mounted".to_owned());
    };
    let first = setup.start();
    let ledger = Ledger::endless(first.public());
    let collector = under_load(&ledger, (2, 4), || {
        let mut collector = first;
        for _ in 0..rounds {
            collector = match build {
                Build::Product => machine.cut(&mut lots, &ledger, collector),
                Build::Without(_) => machine.cut_all(&ledger, collector),
            };
            ledger.moved(collector.public());
        }
        collector
    });
    if build == Build::Product {
        return Session::Ran(compared(&setup, &collector, &ledger, rounds));
    }
    wait_for_what_can_be_delivered(&setup, &collector);
    Session::Ran(Found::of(rounds, &block_on(ledger.judge(&setup.database()))))
}

/// What was lost from within a segment leaves parked segments, and held ones if ClickHouse has more of one than the disk: nothing else is left to wait for.
fn wait_for_what_can_be_delivered(setup: &Setup, collector: &Collector) {
    collector.wait_until("all segments to be delivered, parked or held", |collector| {
        let held = collector.metric_sum("headcount_held_batches");
        u32::try_from(setup.waiting_segments()).is_ok_and(|waiting| f64::from(waiting) <= held).then_some(())
    });
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

    /// Lets the power go at a moment of the lot, once there is something to lose, and starts again.
    pub fn cut(&mut self, lots: &mut Lots, ledger: &Ledger, collector: Collector) -> Collector {
        wait_for_more(ledger, &collector);
        self.disk.cut_after(lots.below(SYNCS), moment(lots));
        self.disk.wait_for_cut(Duration::from_millis(lots.below(1_500)));
        self.lose_power(collector.id(), Loss::drawn(lots));
        collector.kill();
        while lots.below(3) == 0 {
            self.cut_a_start(lots);
        }
        self.setup.start()
    }

    /// The cut that finds the most: all is lost that was not synced since segments were begun and delivered. But who the node is outlives
    /// it also where nothing is synced: the harm to be found is that to events.
    fn cut_all(&mut self, ledger: &Ledger, collector: Collector) -> Collector {
        wait_for_more(ledger, &collector);
        self.disk.settle();
        // The first of two deliveries may have been made before, and only be told now.
        for _ in 0..2 {
            let delivered = collector.events_inserted();
            collector.wait_until("a delivery", |collector| (collector.events_inserted() > delivered).then_some(()));
        }
        wait_for_more(ledger, &collector);
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

fn wait_for_more(ledger: &Ledger, collector: &Collector) {
    let before = ledger.events();
    collector.wait_until("an acknowledgement", |_| (ledger.events() > before).then_some(()));
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
