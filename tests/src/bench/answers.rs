//! Time as a visitor sees it: how long an answer takes while half of what the server can do is asked of it, and how soon the first event is accepted.

use std::io;
use std::time::{Duration, Instant};

use super::costs::{AGENTS, BATCH_CONNECTIONS, CONNECTIONS, drained, engine_of};
use super::load::Load;
use super::report::Figure;
use super::rig::{self, ALONE, BOTH_CORES, Baseline, CONFIG, LOAD_CORE, ROUND, ROUNDS, Target, as_float, millis};
use super::{bodies, process};
use crate::collector::Setup;

/// How long batches are sent at half of saturation.
const SUSTAINED: Duration = Duration::from_mins(5);

/// Quantiles of the answers at half of the measured saturation: of bare hyper, of the collector alone, and with the engine on the same core.
pub fn latency() -> io::Result<Vec<Figure>> {
    let bare = Baseline::start()?;
    let mut figures = quantiles("bare hyper", bare.target())?;
    drop(bare);
    for (config, what) in [(ALONE, "nothing else on its core"), (CONFIG, "its engine on the same core")] {
        let setup = Setup::new("bench", config);
        let headcount = rig::start(&setup)?;
        figures.extend(quantiles(what, Target::from(&headcount))?);
    }
    Ok(figures)
}

fn quantiles(what: &str, server: Target) -> io::Result<Vec<Figure>> {
    let mut load = Load::connect(server.address, bodies::beacons(AGENTS, false), CONNECTIONS)?;
    let [mut rates, mut costs, mut half, mut most, mut undisturbed, mut still] = [const { Vec::new() }; 6];
    for _ in 0..ROUNDS {
        let saturated = load.run(ROUND)?;
        rig::taken(&saturated)?;
        let per_second = as_float(saturated.answered) / ROUND.as_secs_f64();
        let before = process::cpu_micros(server.process)?;
        let outcome = load.paced(ROUND, per_second / 2.0)?;
        let spent = process::cpu_micros(server.process)? - before;
        rig::taken(&outcome)?;
        costs.push(as_float(spent) / as_float(outcome.answered));
        rates.push(per_second);
        half.push(millis(outcome.quantile(0.5)));
        most.push(millis(outcome.quantile(0.99)));
        undisturbed.push(millis(outcome.undisturbed_quantile(0.99)));
        still.push(outcome.stood_still().as_secs_f64() / ROUND.as_secs_f64() * 100.0);
    }
    Ok(vec![
        Figure::new(&format!("POST /e, {what}: requests per second at saturation"), rates),
        Figure::new(&format!("POST /e, {what}: CPU us per request at 50 % load"), costs),
        Figure::new(&format!("POST /e, {what}: p50 at 50 % load, ms"), half),
        Figure::new(&format!("POST /e, {what}: p99 at 50 % load, ms"), most),
        Figure::new(&format!("POST /e, {what}: the same while the machine ran, ms"), undisturbed),
        Figure::new(&format!("POST /e, {what}: % of the time that the machine stood still"), still),
    ])
}

/// From the process to the first accepted event, on an empty folder and on one that was used before. The engine is still loading then. Nothing is under load, so
/// it has both cores.
pub fn start() -> io::Result<Vec<Figure>> {
    rig::pin(BOTH_CORES, std::process::id())?;
    let figures = starts();
    rig::pin(LOAD_CORE, std::process::id())?;
    figures
}

fn starts() -> io::Result<Vec<Figure>> {
    let (mut first, mut again) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let setup = Setup::new("bench", CONFIG);
        for times in [&mut first, &mut again] {
            let begun = Instant::now();
            let headcount = setup.start();
            let answer = headcount.beacon(&bodies::event(0));
            times.push(millis(begun.elapsed()));
            if answer.status != 204 {
                return Err(io::Error::other(format!("the first event was answered with {}", answer.status)));
            }
            headcount.stop();
        }
    }
    Ok(vec![
        Figure::new("cold start to the first accepted event, ms", first),
        Figure::new("the same, in a folder that was used before, ms", again),
    ])
}

/// Batches at half of saturation for five minutes, and all they cost until they are in the tables: the engine's merges are part of it.
pub fn sustained() -> io::Result<Vec<Figure>> {
    let setup = Setup::new("bench", CONFIG);
    let headcount = rig::start(&setup)?;
    let mut load = Load::connect(headcount.public(), bodies::batches(), BATCH_CONNECTIONS)?;
    drained(&headcount);
    // What the two take in together: an event counts once it is stored.
    let begun = Instant::now();
    let full = load.run(ROUND)?;
    drained(&headcount);
    let per_second = as_float(full.answered) / begun.elapsed().as_secs_f64();
    let engine = engine_of(&headcount)?;
    let before = [process::cpu_micros(headcount.id())?, process::cpu_micros(engine)?];
    let outcome = load.paced(SUSTAINED, per_second / 2.0)?;
    drained(&headcount);
    rig::taken(&outcome)?;
    let events = as_float(outcome.answered * bodies::BATCH as u64);
    let ours = as_float(process::cpu_micros(headcount.id())? - before[0]) / events;
    let engines = as_float(process::cpu_micros(engine)? - before[1]) / events;
    let what = "batches of 500 for 5 minutes at half of what collector and engine can store";
    Ok(vec![
        Figure::new(&format!("{what}: events per second"), vec![events / SUSTAINED.as_secs_f64()]),
        Figure::new(&format!("{what}: CPU us per event, both"), vec![ours + engines]),
        Figure::new(&format!("{what}: CPU us per event, collector"), vec![ours]),
    ])
}
