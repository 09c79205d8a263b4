//! `make bench-scaling`: what a request costs as connections, cores, bytes and the backlog grow. Headcount and bare hyper take turns at each point; each series is printed, and drawn.

use std::io;
use std::path::Path;

use super::backlog::{self, Shape};
use super::costs::{AGENTS, CONNECTIONS};
use super::report::Figure;
use super::rig::{self, ALONE, Baseline, Target, cost};
use super::{bodies, plot};
use crate::collector::{Collector, Setup};

/// Rounds of each point.
const ROUNDS: usize = 5;

/// One thing that grows, and what a request costs at each of its sizes.
pub struct Series {
    /// The name of its drawing's file.
    pub file: &'static str,
    /// What grows, with its unit.
    pub axis: &'static str,
    /// In the order in which it grows.
    pub points: Vec<Point>,
}

/// One size.
pub struct Point {
    /// As it is written on the axis.
    pub label: String,
    /// CPU microseconds per request of bare hyper, a value per round. Empty where it has nothing that grows.
    pub bare: Vec<f64>,
    /// The same of Headcount.
    pub ours: Vec<f64>,
}

impl Point {
    fn named(label: impl Into<String>) -> Self {
        Self { label: label.into(), bare: Vec::new(), ours: Vec::new() }
    }

    /// Bare hyper and Headcount in turn.
    fn beside(mut self, bare: &Baseline, headcount: &Collector, requests: &[Vec<u8>], connections: usize) -> io::Result<Self> {
        for _ in 0..ROUNDS {
            self.bare.push(cost(bare.target(), requests, connections)?.0);
            self.ours.push(cost(Target::from(headcount), requests, connections)?.0);
        }
        Ok(self)
    }

    fn figures(&self, axis: &str) -> Vec<Figure> {
        let label = &self.label;
        let figure =
            |who: &str, rounds: &[f64]| Figure::new(&format!("POST /e, {axis} {label}: CPU us per request, {who}"), rounds.to_vec());
        let all = [figure("bare hyper", &self.bare), figure("durable", &self.ours)];
        all.into_iter().filter(|figure| !figure.rounds.is_empty()).collect()
    }
}

/// Every series, told figure by figure as soon as it is whole and drawn into `folder`.
pub fn measure(folder: &Path, tell: impl Fn(&str)) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    for series in [connections, sizes, cores, waiting] {
        let series = series()?;
        for figure in series.points.iter().flat_map(|point| point.figures(series.axis)) {
            tell(&figure.to_string());
        }
        plot::draw(&series, &folder.join(series.file))?;
    }
    Ok(())
}

/// From a few connections to ten thousand.
fn connections() -> io::Result<Series> {
    let (bare, setup) = (Baseline::start()?, Setup::new("bench", ALONE));
    let (headcount, requests) = (rig::start(&setup)?, bodies::beacons(AGENTS, false));
    let point = |connections: usize| Point::named(connections.to_string()).beside(&bare, &headcount, &requests, connections);
    let points = [64, 256, 1_000, 4_000, 10_000].map(point).into_iter().collect::<io::Result<_>>()?;
    Ok(Series { file: "connections.svg", axis: "connections", points })
}

/// From a small event to one of 4 KB.
fn sizes() -> io::Result<Series> {
    let (bare, setup) = (Baseline::start()?, Setup::new("bench", ALONE));
    let headcount = rig::start(&setup)?;
    let point = |bytes: usize| Point::named(bytes.to_string()).beside(&bare, &headcount, &bodies::beacons_of(bytes), CONNECTIONS);
    let points = [250, 500, 1_000, 2_000, 4_000].map(point).into_iter().collect::<io::Result<_>>()?;
    Ok(Series { file: "sizes.svg", axis: "bytes of an event", points })
}

/// One worker on one core, and two on two with twice the connections. What a request costs is all that can be told where the load has no core of its own: if that
/// stays, two cores take twice as many.
fn cores() -> io::Result<Series> {
    let mut servers = Vec::new();
    for (workers, cores) in [(1, rig::SERVER_CORE), (2, rig::BOTH_CORES)] {
        let setup = Setup::new("bench", &ALONE.replacen("workers = 1", &format!("workers = {workers}"), 1));
        let headcount = rig::start(&setup)?;
        rig::pin(cores, headcount.id())?;
        servers.push(Server { label: workers.to_string(), headcount, connections: CONNECTIONS * workers, _setup: setup });
    }
    Ok(Series { file: "cores.svg", axis: "cores", points: in_turn(&servers)? })
}

/// A spool that holds gigabytes already, with nobody to deliver them to.
fn waiting() -> io::Result<Series> {
    let mut servers = Vec::new();
    for gigabytes in [0, 1, 2, 5] {
        let setup = Setup::new("bench", ALONE);
        if gigabytes > 0 {
            backlog::write(&setup.data().join("spool"), Shape::Large, gigabytes * 1_000_000_000)?;
        }
        servers.push(Server { label: gigabytes.to_string(), headcount: rig::start(&setup)?, connections: CONNECTIONS, _setup: setup });
    }
    Ok(Series { file: "backlog.svg", axis: "GB in the spool", points: in_turn(&servers)? })
}

/// Headcount at one point of a series for which bare hyper has nothing that grows.
struct Server {
    label: String,
    headcount: Collector,
    connections: usize,
    /// Its folder is there as long as this is.
    _setup: Setup,
}

/// A point for each, all of them in turn: what the machine does meanwhile falls on each alike.
fn in_turn(servers: &[Server]) -> io::Result<Vec<Point>> {
    let requests = bodies::beacons(AGENTS, false);
    let mut points: Vec<Point> = servers.iter().map(|server| Point::named(server.label.clone())).collect();
    for _ in 0..ROUNDS {
        for (point, server) in points.iter_mut().zip(servers) {
            point.ours.push(cost(Target::from(&server.headcount), &requests, server.connections)?.0);
        }
    }
    Ok(points)
}
