//! `kill -9` of the collector, of its engine and of both, at any moment, under load.

use std::time::Duration;

use super::{Build, Fault, Found, Lots, Session, block_on, under_load};
use crate::collector::{Collector, Setup, signal};
use crate::law;
use crate::ledger::Ledger;

/// As the campaign runs it.
pub const FAULT: Fault = Fault { name: "kill -9", rounds: 1_000, session, controls: &["no_read_back"] };

/// Two workers, so that a retry may come to another one than the first try.
pub const CONFIG: &str = "[public]\nworkers = 2\n[engine]\nmemory_bytes = 1_073_741_824\n";

/// Kills of a session: each session compares all its rows at the end, which costs as much as some kills.
const KILLS: u64 = 25;

/// Whom a kill hits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Victim {
    /// The collector; its engine sees that its parent is gone.
    Collector,
    /// The engine; the collector starts another.
    Engine,
    /// First the engine, then the collector.
    Both,
}

impl Victim {
    /// The victim of this number, in turn.
    pub fn numbered(number: u64) -> Self {
        match number % 3 {
            0 => Self::Collector,
            1 => Self::Engine,
            _ => Self::Both,
        }
    }

    /// Kills, and starts what does not start by itself again.
    pub fn hit(self, setup: &Setup, ledger: &Ledger, collector: Collector) -> Collector {
        if self != Self::Collector
            && let Some(engine) = collector.engine()
        {
            signal(engine, "KILL");
        }
        if self == Self::Engine {
            return collector;
        }
        collector.kill();
        let collector = setup.start();
        ledger.moved(collector.public());
        collector
    }
}

fn session(build: Build, seed: u64) -> Session {
    let mut lots = Lots::of(seed);
    let setup = build.setup("kills", CONFIG);
    let first = setup.start();
    let ledger = Ledger::endless(first.public());
    let collector = under_load(&ledger, (2, 4), || {
        let mut collector = first;
        for number in 0..KILLS {
            std::thread::sleep(Duration::from_millis(lots.below(2_000)));
            collector = Victim::numbered(number + seed).hit(&setup, &ledger, collector);
        }
        collector
    });
    Session::Ran(compared(&setup, &collector, &ledger, KILLS))
}

/// Waits until everything is delivered, then reads the law and compares the tables with the ledger.
pub fn compared(setup: &Setup, collector: &Collector, ledger: &Ledger, rounds: u64) -> Found {
    // What lies in quarantine stays, and counts as bytes of the spool: a power cut may leave pieces of what nobody was promised.
    collector.wait_until("the spool to drain", |collector| {
        let events = collector.metric("headcount_spool_events")?;
        (events < 0.5 && setup.waiting_segments() == 0).then_some(())
    });
    let mut judgement = block_on(ledger.judge(&setup.database()));
    judgement.contradicted(law::read(collector).1);
    super::say_examples(&judgement);
    Found { parked: parked(collector), ..Found::of(rounds, &judgement) }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a metric that counts")]
fn parked(collector: &Collector) -> u64 {
    collector.metric("headcount_parked_events").unwrap_or_default() as u64
}
