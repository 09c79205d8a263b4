//! The fault campaign: which faults there are, what a session of each does, and what it may find.
//!
//! A session has a seed, a data folder of its own, and one or more rounds of its fault under load. It ends when everything is delivered and compared with
//! the ledger of what was acknowledged. The same sessions run short in `cargo test` and long in `make faults` ([`driver`]). Beside each fault stand the
//! protections without which it must be found to do harm: a campaign that could not find a loss would prove nothing.

pub mod calls;
pub mod clickhouse;
pub mod clock_jumps;
pub mod driver;
pub mod kills;
pub mod network;
pub mod no_room;
pub mod power;
pub mod simulated;
pub mod slow_disk;

use std::ops::AddAssign;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::collector::Setup;
use crate::leaky;
use crate::ledger::{EndsTheLoad, Judgement, Kind, Ledger};

/// What sessions found, added up. Events, unless the name says otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// Faults that were made to happen.
    pub rounds: u64,
    /// Answered with a 2xx.
    pub acknowledged: u64,
    /// Acknowledged, and neither stored nor parked.
    pub lost: u64,
    /// Stored more often than they were sent.
    pub doubled: u64,
    /// Put aside for the operator.
    pub parked: u64,
    /// Requests of which a part was stored, or rows that nobody sent, or tables that contradict each other.
    pub wrong: u64,
    /// The longest time without an acknowledgement while requests were being sent.
    pub longest_stall: Duration,
}

impl Found {
    /// What a ledger's comparison found after this many rounds.
    pub fn of(rounds: u64, judgement: &Judgement) -> Self {
        let Judgement { acknowledged, lost, doubled, wrong, longest_stall, .. } = *judgement;
        Self { rounds, acknowledged, lost, doubled, parked: 0, wrong, longest_stall }
    }

    /// Whether nothing was lost, doubled or wrong.
    pub fn is_clean(&self) -> bool {
        self.lost + self.doubled + self.wrong == 0
    }
}

impl AddAssign for Found {
    fn add_assign(&mut self, other: Self) {
        self.rounds += other.rounds;
        self.acknowledged += other.acknowledged;
        self.lost += other.lost;
        self.doubled += other.doubled;
        self.parked += other.parked;
        self.wrong += other.wrong;
        self.longest_stall = self.longest_stall.max(other.longest_stall);
    }
}

/// What a session comes to.
#[derive(Debug)]
pub enum Session {
    /// It ran to its end.
    Ran(Found),
    /// This machine lacks what it needs; the text says what.
    Skipped(String),
}

/// Which build of the collector a session runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Build {
    /// The product.
    Product,
    /// The one in which a protection can be taken out, with the name of that leak (`collector/src/leak.rs`).
    Without(&'static str),
}

impl Build {
    /// A data folder of its own for this build, with this configuration.
    pub fn setup(self, name: &str, config: &str) -> Setup {
        let setup = Setup::new(name, config);
        match self {
            Self::Product => setup,
            Self::Without(protection) => setup.with_program(leaky::program()).with_variable(leaky::LEAK, protection),
        }
    }
}

/// A fault of the campaign.
#[derive(Debug)]
pub struct Fault {
    /// Its name in the table and for `--only`.
    pub name: &'static str,
    /// How many rounds the long campaign makes.
    pub rounds: u64,
    /// One session of it.
    pub session: fn(Build, u64) -> Session,
    /// Protections without which it must do harm.
    pub controls: &'static [&'static str],
}

/// Every fault of the long campaign.
pub const FAULTS: &[Fault] = &[
    kills::FAULT,
    clock_jumps::FAULT,
    simulated::FAULT,
    power::SPOOL,
    power::EVERYTHING,
    slow_disk::FAULT,
    no_room::FAULT,
    calls::FAULT,
    network::CONNECTIONS,
    network::SILENCE,
    clickhouse::FAULT,
];

/// Numbers that look random and come again with the same seed (xorshift).
#[derive(Debug)]
pub struct Lots(u64);

impl Lots {
    /// Lots of this seed.
    pub fn of(seed: u64) -> Self {
        // Small seeds differ in few bits; zero would stay zero.
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// Does `fault` while so many senders of batches and of beacons send what the ledger says; ends the load with it, however it ends.
pub fn under_load<T>(ledger: &Ledger, (batches, beacons): (usize, usize), fault: impl FnOnce() -> T) -> T {
    std::thread::scope(|scope| {
        let _end = EndsTheLoad(ledger);
        for (kind, senders) in [(Kind::Batch, batches), (Kind::Beacon, beacons)] {
            for _ in 0..senders {
                scope.spawn(move || ledger.send(kind));
            }
        }
        fault()
    })
}

/// Says on standard error the first of what a comparison found wrong: the seed alone need not bring it back.
#[expect(clippy::print_stderr, reason = "it is for whoever reads of a failed session")]
pub fn say_examples(judgement: &Judgement) {
    for example in &judgement.examples {
        eprintln!("wrong: {example}");
    }
}

/// Runs what talks to the database.
///
/// # Panics
///
/// When the system refuses a runtime.
pub fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future)
}
