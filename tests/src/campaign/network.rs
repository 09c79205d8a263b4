//! What a network and a server do to inserts, under load: connections that are cut, reset, stalled and slowed down before a plain server, and a server that
//! dies in between.

use std::time::{Duration, Instant};

use clickhouse::Client;
use headcount::store::migrate::migrate;
use headcount::store::rollup;
use tempfile::TempDir;

use super::{Build, Fault, Found, Lots, Session, block_on, say_examples, under_load};
use crate::bench::process;
use crate::collector::{Collector, Setup, signal};
use crate::delivery::{execute, number};
use crate::fault_proxy::{self, FaultProxy};
use crate::law;
use crate::ledger::Ledger;
use crate::plain_server::{PASSWORD, PlainServer, USER};

/// Faults whose end shows at once, and a server that is killed every now and then.
pub const CONNECTIONS: Fault = Fault {
    name: "connections to ClickHouse cut, reset, slow",
    rounds: 300,
    session: |build, seed| match build {
        Build::Product => session(build, seed, ROUNDS),
        Build::Without(_) => control(build),
    },
    controls: &["no_token", "no_read_back", "no_marker"],
};

/// Faults that only a deadline ends; in a build whose deadlines are seconds and not minutes, or a round would take five minutes.
pub const SILENCE: Fault = Fault {
    name: "connections to ClickHouse silent (deadlines of seconds)",
    rounds: 50,
    session: |_, seed| silence(seed, ROUNDS / 2),
    controls: &[],
};

/// The build for [`SILENCE`].
const IMPATIENT: Build = Build::Without("impatient");

/// Faults of a session.
const ROUNDS: u64 = 10;

/// What the collector may take of memory at most, however long it waits: its peak without any fault is about a fifth of it in a build without optimisation.
const PEAK_KIB: u64 = 512 * 1024;

/// A server, a proxy before it, and a collector that knows the proxy alone.
pub struct Scene {
    folder: TempDir,
    server: Option<PlainServer>,
    port: u16,
    proxy: FaultProxy,
}

impl Scene {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("the temporary folder can be written to");
        let server = PlainServer::start(folder.path(), 0);
        let port = server.port();
        Self { folder, server: Some(server), port, proxy: FaultProxy::before(port) }
    }

    fn config(&self) -> String {
        let url = self.proxy.url();
        format!(
            "[public]\nworkers = 1\n[clickhouse]\nurl = \"{url}\"\nuser = \"{USER}\"\npassword = \"{PASSWORD}\"\ndatabase = \"counts\"\n"
        )
    }

    /// A client that does not come by the proxy.
    pub fn database(&self) -> Client {
        Client::default()
            .with_url(format!("http://127.0.0.1:{}", self.port))
            .with_user(USER)
            .with_password(PASSWORD)
            .with_database("counts")
    }

    /// `kill -9`.
    pub fn stop(&mut self) {
        self.server = None;
    }

    /// `kill -9`, and another one on the same data and port.
    ///
    /// # Panics
    ///
    /// When it cannot be started.
    pub fn restart(&mut self) {
        self.stop();
        self.server = Some(PlainServer::start(self.folder.path(), self.port));
    }

    /// Orders a fault and waits until it has happened.
    ///
    /// # Panics
    ///
    /// When it does not happen.
    pub fn meet(&self, fault: fault_proxy::Fault) {
        let met = self.proxy.met();
        self.proxy.order(fault);
        wait_for(|| self.proxy.met() > met, fault);
    }
}

/// Waits for longer than the collector does between two tries.
///
/// # Panics
///
/// When it was in vain; `what` says what was waited for.
pub fn wait_for(happened: impl Fn() -> bool, what: impl std::fmt::Debug) {
    let began = Instant::now();
    while !happened() {
        assert!(began.elapsed() < Duration::from_mins(2), "waited in vain for {what:?}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// `rounds` faults by lot, each under load, and a server that dies after one in four of them.
///
/// # Panics
///
/// When the collector does not deliver.
pub fn session(build: Build, seed: u64, rounds: u64) -> Session {
    let mut lots = Lots::of(seed);
    through(build, rounds, |scene, _, _, round| {
        let fault = match fault_proxy::Fault::PROMPT[usize::try_from((round + seed) % 9).unwrap_or(0)] {
            fault_proxy::Fault::Cut(_) => fault_proxy::Fault::Cut(bytes(&mut lots)),
            fault_proxy::Fault::Reset(_) => fault_proxy::Fault::Reset(bytes(&mut lots)),
            fault_proxy::Fault::HalfClosed(_) => fault_proxy::Fault::HalfClosed(bytes(&mut lots)),
            fault_proxy::Fault::Refused(_) => {
                fault_proxy::Fault::Refused([202, 241, 252, 319, 999][usize::try_from(lots.below(5)).unwrap_or(0)])
            }
            other => other,
        };
        scene.meet(fault);
        if lots.below(4) == 0 {
            std::thread::sleep(Duration::from_millis(lots.below(300)));
            scene.restart();
        }
    })
}

fn bytes(lots: &mut Lots) -> usize {
    usize::try_from(100 + lots.below(12_000)).unwrap_or(100)
}

/// One fault of each kind that shows at once.
///
/// # Panics
///
/// See [`session`].
pub fn each_prompt_fault() -> Session {
    through(Build::Product, fault_proxy::Fault::PROMPT.len() as u64, |scene, _, _, round| {
        scene.meet(fault_proxy::Fault::PROMPT[usize::try_from(round).unwrap_or(0)]);
    })
}

/// `rounds` faults that only a deadline ends.
///
/// # Panics
///
/// See [`session`].
pub fn silence(seed: u64, rounds: u64) -> Session {
    through(IMPATIENT, rounds, |scene, _, _, round| {
        scene.meet(fault_proxy::Fault::SILENT[usize::from((round + seed).is_multiple_of(2))]);
    })
}

/// The fault that a protection is there for, again and again: harmless to the product, and not without it.
///
/// # Panics
///
/// See [`session`].
pub fn control(build: Build) -> Session {
    if build == Build::Without("no_marker") {
        return rows_without_cells(build);
    }
    through(build, 2, |scene, _, _, _| match build {
        // The same life is sent the same rows once more.
        Build::Without("no_token") => scene.meet(fault_proxy::Fault::CutBeforeAnswer),
        // Another life is.
        Build::Product | Build::Without(_) => {
            scene.meet(fault_proxy::Fault::CutBeforeAnswer);
            scene.restart();
        }
    })
}

/// Rows arrive and their cells do not, as when a server dies between the two; then another life is asked.
///
/// # Panics
///
/// See [`session`].
pub fn rows_without_cells(build: Build) -> Session {
    through(build, 1, |scene, _, collector, _| {
        // Nothing is confirmed while the view is away: first no insert arrives, then none is answered.
        scene.proxy.order_instead(fault_proxy::Fault::Refused(252), 1_000);
        wait_for(|| scene.proxy.met() > 1, "inserts that are refused");
        let client = scene.database();
        block_on(execute(&client, &format!("DROP TABLE {} SYNC", rollup::VIEW)));
        scene.proxy.order_instead(fault_proxy::Fault::CutBeforeAnswer, 1_000);
        let rows = async || number(&client, "SELECT count() FROM events").await;
        let before = block_on(rows());
        wait_for(|| block_on(rows()) > before, "rows without cells");
        signal(collector.id(), "STOP");
        scene.restart();
        block_on(async { migrate(&client).await.expect("the view is made again") });
        scene.proxy.order_instead(fault_proxy::Fault::CutBeforeAnswer, 0);
        signal(collector.id(), "CONT");
    })
}

/// Runs a collector under load through `rounds` of `fault`, lets it deliver everything and compares.
///
/// # Panics
///
/// When it does not deliver.
pub fn through(build: Build, rounds: u64, mut fault: impl FnMut(&mut Scene, &Setup, &Collector, u64)) -> Session {
    let mut scene = Scene::new();
    let setup = build.setup("network", &scene.config());
    let collector = setup.start();
    let ledger = Ledger::endless(collector.public());
    under_load(&ledger, (1, 2), || {
        wait_for(|| scene.proxy.inserts() > 0, "the first insert");
        for round in 0..rounds {
            fault(&mut scene, &setup, &collector, round);
        }
    });
    Session::Ran(compared(build, &scene, &collector, &ledger, rounds))
}

fn compared(build: Build, scene: &Scene, collector: &Collector, ledger: &Ledger, rounds: u64) -> Found {
    let mut contradictions = Vec::new();
    if matches!(build, Build::Product | IMPATIENT) {
        // To the last byte: counts of what was not stored are compared too, and they are no events.
        collector.drained();
        contradictions.extend(law::read(collector).1);
    } else {
        collector.wait_for_spool();
    }
    let peak = process::peak_kib(collector.id()).unwrap_or(0);
    if peak > PEAK_KIB {
        contradictions.push(format!("the collector has taken {peak} KiB"));
    }
    let mut judgement = block_on(ledger.judge(&scene.database()));
    judgement.contradicted(contradictions);
    say_examples(&judgement);
    Found::of(rounds, &judgement)
}
