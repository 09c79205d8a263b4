//! CPU time: of a request beside bare hyper, of an event in a batch, of durability, of what is refused.

use std::io;

use super::load::Load;
use super::report::Figure;
use super::rig::{self, ALONE, Baseline, CONFIG, ROUND, ROUNDS, Target, as_float, cost, cost_of_any, millis};
use super::{bodies, process};
use crate::campaign::Build;
use crate::collector::{Collector, Setup};

/// Connections of the figures that do not speak of connections.
pub const CONNECTIONS: usize = 64;
/// Connections of the batch figures.
pub const BATCH_CONNECTIONS: usize = 4;
/// Distinct user agents of the figures that do not speak of agents.
pub const AGENTS: usize = 40;

/// `/e` with 64 connections.
pub fn requests() -> io::Result<Vec<Figure>> {
    beside("POST /e, 64 connections", &bodies::beacons(AGENTS, false), CONNECTIONS)
}

/// `/e` with 1,000 connections.
pub fn connections() -> io::Result<Vec<Figure>> {
    beside("POST /e, 1,000 connections", &bodies::beacons(AGENTS, false), 1_000)
}

/// `/e` as a proxy passes it on.
pub fn forwarded() -> io::Result<Vec<Figure>> {
    beside("POST /e, X-Forwarded-For of a trusted proxy", &bodies::beacons(AGENTS, true), CONNECTIONS)
}

/// `/e` with thousands of user agents.
pub fn agents() -> io::Result<Vec<Figure>> {
    beside("POST /e, 4,000 user agents", &bodies::beacons(4_000, false), CONNECTIONS)
}

/// `/e` while what came is delivered: the engine works on the same core, which costs the collector its caches.
pub fn delivering() -> io::Result<Vec<Figure>> {
    beside_hyper("POST /e, its engine on the same core", CONFIG, &bodies::beacons(AGENTS, false), CONNECTIONS)
}

/// The collector alone on its core, up to the answer.
fn beside(what: &str, requests: &[Vec<u8>], connections: usize) -> io::Result<Vec<Figure>> {
    beside_hyper(what, ALONE, requests, connections)
}

/// CPU per request of `/e` and of bare hyper with the same requests, and their ratio.
fn beside_hyper(what: &str, config: &str, requests: &[Vec<u8>], connections: usize) -> io::Result<Vec<Figure>> {
    let bare = Baseline::start()?;
    let setup = Setup::new("bench", config);
    let headcount = rig::start(&setup)?;
    let (mut bare_costs, mut our_costs, mut ratios, mut late) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let (baseline_micros, _) = cost(bare.target(), requests, connections)?;
        let (our_micros, outcome) = cost(Target::from(&headcount), requests, connections)?;
        bare_costs.push(baseline_micros);
        our_costs.push(our_micros);
        ratios.push(our_micros / baseline_micros);
        late.push(millis(outcome.quantile(0.99)));
    }
    Ok(vec![
        Figure::new(&format!("{what}: CPU us per request, bare hyper"), bare_costs),
        Figure::new(&format!("{what}: CPU us per request, durable"), our_costs),
        Figure::new(&format!("{what}: ratio"), ratios),
        Figure::new(&format!("{what}: p99 of the answer at saturation, ms"), late),
    ])
}

/// What the syncs cost: the same build twice, once with fdatasync replaced by nothing, in turn.
pub fn durability() -> io::Result<Vec<Figure>> {
    let requests = bodies::beacons(AGENTS, false);
    // A leak of no effect, so that looking one up costs the same in both.
    let setups = ["in_sync", "no_sync"].map(|leak| Build::Without(leak).setup("bench", ALONE));
    let (durable, volatile) = (rig::start(&setups[0])?, rig::start(&setups[1])?);
    let (mut kept, mut unkept, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let (with, _) = cost(Target::from(&durable), &requests, CONNECTIONS)?;
        let (without, _) = cost(Target::from(&volatile), &requests, CONNECTIONS)?;
        kept.push(with);
        unkept.push(without);
        ratios.push(with / without);
    }
    Ok(vec![
        Figure::new("POST /e, 64 connections: CPU us per request, fdatasync left out", unkept),
        Figure::new("the same, synced", kept),
        Figure::new("the same: ratio, which is the cost of durability", ratios),
    ])
}

/// CPU per event of the batch path: the collector alone, and the engine behind it once it has caught up.
pub fn batches() -> io::Result<Vec<Figure>> {
    let setup = Setup::new("bench", CONFIG);
    let headcount = rig::start(&setup)?;
    let requests = bodies::batches();
    let (mut ours, mut engine_costs, mut rates) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        drained(&headcount);
        let engine = engine_of(&headcount)?;
        let mut load = Load::connect(headcount.public(), requests.clone(), BATCH_CONNECTIONS)?;
        drained(&headcount);
        let before = [process::cpu_micros(headcount.id())?, process::cpu_micros(engine)?];
        let outcome = load.run(ROUND)?;
        let answered = process::cpu_micros(headcount.id())? - before[0];
        drained(&headcount);
        let stored = process::cpu_micros(engine)? - before[1];
        rig::taken(&outcome)?;
        let events = as_float(outcome.answered * bodies::BATCH as u64);
        ours.push(as_float(answered) / events);
        engine_costs.push(as_float(stored) / events);
        rates.push(events / ROUND.as_secs_f64());
    }
    Ok(vec![
        Figure::new("POST /v1/events, gzip, 500 events: CPU us per event, collector", ours),
        Figure::new("the same: CPU us per event, embedded engine, rollups included", engine_costs),
        Figure::new("the same: events per second", rates),
    ])
}

/// What is refused, beside what is taken: nobody may buy more of the server's time with bad input than with good.
pub fn refusals() -> io::Result<Vec<Figure>> {
    let setup = Setup::new("bench", ALONE);
    let headcount = rig::start(&setup)?;
    let target = Target::from(&headcount);
    let good = bodies::beacons(AGENTS, false);
    let brief = bodies::on_connections_of_their_own(&good);
    // A refusal that ends the connection is compared with an event that does.
    let kinds = [
        ("400, JSON that breaks off", bodies::broken(), &good),
        ("400, an unknown site", bodies::of_unknown_site(), &good),
        ("a bot", bodies::by_bots(), &good),
        ("an opt-out (DNT)", bodies::opted_out(&good), &good),
        ("413, a length beyond the bound", bodies::too_large(), &brief),
    ];
    let mut figures = Vec::new();
    for (what, bad, taken) in kinds {
        let mut ratios = Vec::new();
        for _ in 0..ROUNDS {
            let (good_micros, _) = cost(target, taken, CONNECTIONS)?;
            let (bad_micros, _) = cost_of_any(target, &bad, CONNECTIONS)?;
            ratios.push(bad_micros / good_micros);
        }
        figures.push(Figure::new(&format!("CPU of {what}, against an accepted event: ratio"), ratios));
    }
    Ok(figures)
}

/// The process of a collector's engine, once there is one.
pub fn engine_of(headcount: &Collector) -> io::Result<u32> {
    process::children(headcount.id())?.first().copied().ok_or_else(|| io::ErrorKind::NotFound.into())
}

/// Waits until everything acknowledged is in ClickHouse.
pub fn drained(headcount: &Collector) {
    headcount.wait_until("the spool to drain", |headcount| (headcount.metric("headcount_spool_events")? < 0.5).then_some(()));
}
