//! What happens to a ClickHouse server and its tables, under load: it is away, takes no more parts, is set read-only, loses a column or a table, has no
//! memory, or refuses single rows. Each is mended after a while, and the collector goes on by itself.

use std::time::Duration;

use super::network::{Scene, through, wait_for};
use super::{Build, Fault, Lots, Session, block_on};
use crate::collector::{Collector, Setup};
use crate::delivery::execute;
use crate::fault_proxy;

/// As the campaign runs it.
pub const FAULT: Fault = Fault {
    name: "ClickHouse away, full, read-only, changed, poisoned",
    rounds: 100,
    session: |build, seed| {
        let mut lots = Lots::of(seed);
        session(build, 7, |_| TROUBLES[usize::try_from(lots.below(7)).unwrap_or(0)])
    },
    controls: &[],
};

/// What is wrong with ClickHouse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    /// Its process is gone for a while.
    Away,
    /// A statement makes the trouble, another mends it; this is the code that inserts meet meanwhile, and whether only an operator can mend it.
    Table { make: &'static str, mend: &'static str, code: u16, holds: bool },
    /// The server says so itself, for some inserts.
    Refuses(u16),
    /// Somebody's rule refuses one row of each batch.
    Poison,
}

const TROUBLES: [Trouble; 7] = [
    Trouble::Away,
    Trouble::Table {
        make: "ALTER TABLE events MODIFY SETTING parts_to_throw_insert = 1, parts_to_delay_insert = 1",
        mend: "ALTER TABLE events RESET SETTING parts_to_throw_insert, parts_to_delay_insert",
        code: 252,
        holds: false,
    },
    Trouble::Table {
        make: "ALTER TABLE events MODIFY SETTING table_readonly = 1",
        mend: "ALTER TABLE events MODIFY SETTING table_readonly = 0",
        code: 774,
        holds: true,
    },
    Trouble::Table {
        make: "ALTER TABLE events DROP COLUMN host",
        mend: "ALTER TABLE events ADD COLUMN host String AFTER name",
        code: 16,
        holds: true,
    },
    Trouble::Table { make: "RENAME TABLE events TO elsewhere", mend: "RENAME TABLE elsewhere TO events", code: 60, holds: true },
    Trouble::Refuses(241),
    Trouble::Poison,
];

/// One of each.
///
/// # Panics
///
/// See [`session`].
pub fn each_trouble() -> Session {
    session(Build::Product, TROUBLES.len() as u64, |round| TROUBLES[usize::try_from(round).unwrap_or(0)])
}

/// `rounds` troubles, each made, seen by the operator, and mended.
///
/// # Panics
///
/// When the collector does not say what is wrong, or does not go on once it is mended.
fn session(build: Build, rounds: u64, mut trouble: impl FnMut(u64) -> Trouble) -> Session {
    let mut parked = 0;
    let session = through(build, rounds, |scene, setup, collector, round| {
        match trouble(round) {
            Trouble::Away => {
                scene.stop();
                std::thread::sleep(Duration::from_secs(1));
                scene.restart();
            }
            Trouble::Table { make, mend, code, holds } => changed(scene, collector, (make, mend), (code, holds)),
            Trouble::Refuses(code) => scene.meet(fault_proxy::Fault::Refused(code)),
            Trouble::Poison => parked += poisoned(scene, setup, collector),
        }
        goes_on(collector);
    });
    match session {
        Session::Ran(found) => Session::Ran(super::Found { parked, ..found }),
        skipped @ Session::Skipped(_) => skipped,
    }
}

fn changed(scene: &Scene, collector: &Collector, (make, mend): (&str, &str), (code, holds): (u16, bool)) {
    let client = scene.database();
    // One part is there whatever is merged meanwhile, so one more is too many.
    block_on(execute(&client, make));
    collector.wait_until("the code", |collector| {
        let shown = collector.metric("headcount_clickhouse_last_error_code")?;
        ((shown - f64::from(code)).abs() < 0.5).then_some(())
    });
    if holds {
        collector.wait_until("the alarm", |collector| (collector.readiness() == (503, "refused".to_owned())).then_some(()));
    }
    block_on(execute(&client, mend));
}

/// One row of each batch breaks a rule until some were parked; they are given back once the rule is gone. Returns how many were parked.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a metric that counts")]
fn poisoned(scene: &Scene, setup: &Setup, collector: &Collector) -> u64 {
    let client = scene.database();
    block_on(execute(&client, "ALTER TABLE events ADD CONSTRAINT rule CHECK props['n'] != '137'"));
    let parked = |collector: &Collector| collector.metric("headcount_parked_events").filter(|events| *events > 0.5);
    collector.wait_until("a poison row alone", parked);
    block_on(execute(&client, "ALTER TABLE events DROP CONSTRAINT rule"));
    // What is being divided is delivered first, so that nothing is parked any more after this.
    goes_on(collector);
    let events = parked(collector).unwrap_or_default() as u64;
    let (status, said) = setup.run(&["spool", "redrive", "--all"]);
    assert!(status.success(), "{said}");
    collector.wait_until("the parked ones to go back", |collector| parked(collector).is_none().then_some(()));
    events
}

/// Waits until events are delivered again.
fn goes_on(collector: &Collector) {
    let before = collector.events_inserted();
    wait_for(|| collector.events_inserted() > before, "delivery to go on");
}
