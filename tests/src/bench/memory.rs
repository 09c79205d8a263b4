//! Memory of the collector, its engine apart: at saturation, for each connection, and while nobody takes what it delivers.

use std::io;
use std::time::Duration;

use super::costs::{AGENTS, BATCH_CONNECTIONS, CONNECTIONS};
use super::load::Load;
use super::report::Figure;
use super::rig::{self, ALONE, CONFIG, as_float, mebibytes};
use super::{bodies, process};
use crate::collector::Setup;

/// How long saturation lasts.
const SATURATION: Duration = Duration::from_mins(1);
/// Connections before and after the further ones.
const FEW: usize = 1_000;
const MANY: usize = 8_000;
/// The outage, and when its memory is looked at first: buffers have grown to their size by then.
const OUTAGE: Duration = Duration::from_mins(10);
const SETTLED: Duration = Duration::from_mins(1);
/// Events per second in the outage.
const OUTAGE_RATE: f64 = 20_000.0;

/// The most memory in a minute of saturation, by connections, and what each further connection takes.
pub fn memory() -> io::Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for connections in [CONNECTIONS, 1_000] {
        let setup = Setup::new("bench", CONFIG);
        let headcount = rig::start(&setup)?;
        let mut load = Load::connect(headcount.public(), bodies::beacons(AGENTS, false), connections)?;
        rig::taken(&load.run(SATURATION)?)?;
        let peak = mebibytes(process::peak_kib(headcount.id())?);
        figures.push(Figure::new(
            &format!("most memory in {} s of saturation, {connections} connections, MiB", SATURATION.as_secs()),
            vec![peak],
        ));
    }
    figures.push(connection()?);
    Ok(figures)
}

/// Connections that have sent an event and wait for their next: what each has of the collector's memory.
fn connection() -> io::Result<Figure> {
    let setup = Setup::new("bench", ALONE);
    let headcount = rig::start(&setup)?;
    let few = Load::connect(headcount.public(), bodies::beacons(AGENTS, false), FEW)?;
    let before = process::resident_kib(headcount.id())?;
    let many = Load::connect(headcount.public(), bodies::beacons(AGENTS, false), MANY)?;
    let after = process::resident_kib(headcount.id())?;
    drop((few, many));
    Ok(Figure::new("memory of a further connection, KiB", vec![(as_float(after) - as_float(before)) / as_float(MANY as u64)]))
}

/// Ten minutes without ClickHouse.
pub fn outage() -> io::Result<Vec<Figure>> {
    let setup = Setup::new("bench", ALONE);
    let headcount = rig::start(&setup)?;
    let mut load = Load::connect(headcount.public(), bodies::batches(), BATCH_CONNECTIONS)?;
    let per_second = OUTAGE_RATE / as_float(bodies::BATCH as u64);
    rig::taken(&load.paced(SETTLED, per_second)?)?;
    let settled = mebibytes(process::resident_kib(headcount.id())?);
    rig::taken(&load.paced(OUTAGE.saturating_sub(SETTLED), per_second)?)?;
    let grown = mebibytes(process::resident_kib(headcount.id())?);
    let what = "ClickHouse away, 20,000 events/s";
    Ok(vec![
        Figure::new(&format!("{what}: memory after 1 minute, MiB"), vec![settled]),
        Figure::new(&format!("{what}: memory after 10 minutes, MiB"), vec![grown]),
    ])
}
