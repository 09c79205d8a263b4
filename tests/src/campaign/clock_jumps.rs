//! A wall clock that jumps, forth and back, by minutes and by days, under load.
//!
//! A clock behind the day it has reached makes no key, so events are turned away until it has caught up: that is asked for. What is acknowledged is stored
//! once all the same, and nothing waits for a moment that has been jumped over.

use std::time::Duration;

use super::{Build, Fault, Found, Lots, Session, kills, under_load};
use crate::ledger::Ledger;
use crate::staged::NOON;

/// As the campaign runs it. What it could break are keys and days, whose own attacks have their controls.
pub const FAULT: Fault = Fault { name: "clock jumps", rounds: 200, session, controls: &[] };

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// By how much the clock jumps.
const JUMPS: [i64; 10] = [MINUTE, -MINUTE, 31 * MINUTE, 13 * HOUR, -13 * HOUR, DAY, -DAY, 25 * HOUR, 3 * DAY, -2 * DAY];

/// How far it goes in all. No day is closed in that time: what is compared in the end are rows.
const REACH: i64 = 5 * DAY;

/// Jumps of a session.
const ROUNDS: u64 = 20;

fn session(build: Build, seed: u64) -> Session {
    Session::Ran(jumps(build, seed, ROUNDS))
}

/// So many jumps under load.
///
/// # Panics
///
/// When the collector does not go on.
pub fn jumps(build: Build, seed: u64, rounds: u64) -> Found {
    let mut lots = Lots::of(seed);
    let setup = build.setup("clock", &format!("close_after_hours = 168\n{}", kills::CONFIG)).on_stage(NOON);
    let mut collector = setup.start();
    let ledger = Ledger::endless(collector.public());
    under_load(&ledger, (1, 2), || {
        let (mut now, mut latest) = (NOON, NOON);
        for _ in 0..rounds {
            let jump = JUMPS[usize::try_from(lots.below(JUMPS.len() as u64)).expect("an index")];
            now = (now + jump).clamp(NOON, NOON + REACH);
            collector.set_clock(now);
            std::thread::sleep(Duration::from_millis(100 + lots.below(400)));
            latest = latest.max(now);
        }
        // Where time has been before, everything goes on.
        collector.set_clock(latest + MINUTE);
        let before = ledger.events();
        collector.wait_until("events to be taken again", |_| (ledger.events() > before + 1_000).then_some(()));
    });
    kills::compared(&setup, &collector, &ledger, rounds)
}
