//! System calls that fail or hang: syncs, writes, renames, and new files, at any of the first calls, under load.

use super::kills::compared;
use super::{Build, Fault, Lots, Session, under_load};
use crate::collector::{BROWSER, Collector};
use crate::http;
use crate::ledger::{Fate, Kind, Ledger};
use crate::strace::{self, Strace};

/// As the campaign runs it.
pub const FAULT: Fault = Fault { name: "system calls that fail", rounds: 200, session: all_of, controls: &["failure_overlooked"] };

/// One worker, so that one thread writes and syncs.
const CONFIG: &str = "[public]\nworkers = 1\n[engine]\nmemory_bytes = 1_073_741_824\n";

/// A call that goes wrong.
#[derive(Clone, Copy, Debug)]
pub struct Order {
    /// The system call, as strace names it.
    pub call: &'static str,
    /// What becomes of it, as strace is told.
    pub result: &'static str,
    /// How many calls of a thread it hits in a row.
    pub times: u64,
    /// Who notices it.
    pub noticed: Noticed,
}

/// Who notices that a call went wrong. In each case the collector goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Noticed {
    /// Nobody: the call is made again, now or later.
    ByNobody,
    /// Who waits for it is turned away.
    ByWhoWaits,
    /// Who waits for it waits long; who comes meanwhile is turned away, and readiness says so.
    ByWhoComes,
}

impl Order {
    /// Without a protection nobody need notice: that is what it is there for.
    fn in_build(self, build: Build) -> Self {
        match build {
            Build::Product => self,
            Build::Without(_) => Self { noticed: Noticed::ByNobody, ..self },
        }
    }
}

/// All that is tried.
pub const ORDERS: &[Order] = &[
    Order { call: "fdatasync", result: "error=EIO", times: 1, noticed: Noticed::ByWhoWaits },
    Order { call: "fdatasync", result: "error=ENOSPC", times: 1, noticed: Noticed::ByWhoWaits },
    // One folder sync alone may be the journal's, which is tried again later and which nobody waits for.
    Order { call: "fsync", result: "error=EIO", times: 12, noticed: Noticed::ByWhoWaits },
    Order { call: "pwrite64", result: "error=ENOSPC", times: 1, noticed: Noticed::ByWhoWaits },
    Order { call: "pwrite64", result: "error=EIO", times: 1, noticed: Noticed::ByWhoWaits },
    Order { call: "pwrite64", result: "error=EINTR", times: 1, noticed: Noticed::ByNobody },
    Order { call: "fallocate", result: "error=ENOSPC", times: 1, noticed: Noticed::ByWhoWaits },
    Order { call: "fallocate", result: "error=EINTR", times: 1, noticed: Noticed::ByNobody },
    Order { call: "openat", result: "error=EMFILE", times: 1, noticed: Noticed::ByWhoWaits },
    Order { call: "rename", result: "error=EIO", times: 1, noticed: Noticed::ByNobody },
    Order { call: "unlink", result: "error=EIO", times: 1, noticed: Noticed::ByNobody },
    Order { call: "fdatasync", result: "delay_enter=200ms", times: 1, noticed: Noticed::ByNobody },
    // Long enough for the alarm to be seen on a machine that has much else to do.
    Order { call: "fdatasync", result: "delay_enter=10s", times: 1, noticed: Noticed::ByWhoComes },
];

/// Every order in one collector's life, each at a call of the lot's number.
fn all_of(build: Build, seed: u64) -> Session {
    let mut lots = Lots::of(seed);
    let orders: Vec<(Order, u64)> = ORDERS.iter().map(|order| (*order, 1 + lots.below(12))).collect();
    session(build, &orders)
}

/// Orders one after the other, each with the number of the call that it hits, under load. The collector lives through all of them.
///
/// # Panics
///
/// When an order that must turn somebody away does not, when readiness does not come back, or when a file is synced again after its sync failed.
pub fn session(build: Build, orders: &[(Order, u64)]) -> Session {
    if !strace::is_there(FAULT.name) {
        return Session::Skipped("there is no strace that may trace".to_owned());
    }
    let setup = build.setup("calls", CONFIG);
    let collector = setup.start();
    let ledger = Ledger::endless(collector.public());
    under_load(&ledger, (1, 3), || {
        // The engine must be a child by now, or it would be traced as well; and every thread must run, or strace could miss one that just begins.
        collector.wait_until("readiness", |collector| (collector.readiness().0 == 200).then_some(()));
        for (order, when) in orders {
            go_through(&collector, &ledger, order.in_build(build), *when);
        }
    });
    // A segment that could not be opened is held for minutes, and a file that could not be removed lies there until the next start: so it starts again.
    assert!(collector.stop().success(), "it ends in order");
    let collector = setup.start();
    Session::Ran(compared(&setup, &collector, &ledger, orders.len() as u64))
}

fn go_through(collector: &Collector, ledger: &Ledger, order: Order, when: u64) {
    let before = ledger.count(Fate::TurnedAway);
    let last = when + order.times - 1;
    let strace = Strace::attach(collector, &[&format!("{}:{}:when={when}..{last}", order.call, order.result)]);
    match order.noticed {
        Noticed::ByNobody => {
            collector.wait_until(&format!("{order:?} to be carried out"), |_| strace.has_hit().then_some(()));
        }
        Noticed::ByWhoWaits => {
            collector.wait_until(&format!("{order:?} to turn somebody away"), |_| (ledger.count(Fate::TurnedAway) > before).then_some(()));
        }
        Noticed::ByWhoComes => {
            collector.wait_until("the alarm", |collector| (collector.readiness() == (503, "cannot_write".to_owned())).then_some(()));
            let (number, body) = ledger.draw(Kind::Beacon);
            let answer = http::send(collector.public(), "POST", "/e", &["Content-Type: text/plain", BROWSER], &body).expect("an answer");
            assert_eq!((answer.status, answer.header("retry-after")), (503, Some("5")));
            ledger.note(Kind::Beacon, number, Fate::TurnedAway);
        }
    }
    let acknowledged = ledger.events();
    collector.wait_until("the load to go on", |_| (ledger.events() > acknowledged).then_some(()));
    collector.wait_until("readiness", |collector| (collector.readiness().0 == 200).then_some(()));
    assert_never_synced_again(&strace.leave());
}

/// The system may have thrown away what a failed sync should have written, so a second sync that succeeds would prove nothing.
fn assert_never_synced_again(calls: &[String]) {
    for (place, failed) in calls.iter().enumerate().filter_map(|(place, line)| Some((place, strace::failed_sync(line)?))) {
        // What is made anew under the name of a file that was removed is another file.
        let mut same = calls[place + 1..].iter().take_while(|line| !(line.contains("unlink(") && line.contains(failed)));
        let again = same.find(|line| strace::synced(line) == Some(failed));
        assert!(again.is_none(), "{} and then {again:?}", calls[place]);
    }
}
