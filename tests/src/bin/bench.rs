//! `make bench`: prints what Headcount costs beside bare hyper, and writes the same figures as JSON to the file named as the only argument.
//! `make bench-backlog` is this with the argument `backlog`, and how many gigabytes the largest is to have.

use std::io::{self, BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use headcount_tests::bench::report::{self, Figure};
use headcount_tests::bench::{backlog, baseline, bodies, load, process};
use headcount_tests::campaign::Build;
use headcount_tests::collector::{Collector, Setup};

/// Rounds of each figure, Headcount and the baseline in turn.
const ROUNDS: usize = 5;
/// How long the load of one round lasts.
const ROUND: Duration = Duration::from_secs(4);
/// Connections of the single-event figures.
const CONNECTIONS: usize = 64;
/// One worker: the server has one core.
const CONFIG: &str = "[public]\nworkers = 1\n[log]\nlevel = \"warn\"\n";
/// Connections of the batch figures.
const BATCH_CONNECTIONS: usize = 4;

fn main() -> ExitCode {
    let argument = std::env::args().nth(1);
    let done = match argument.as_deref() {
        Some("baseline") => baseline::serve(),
        Some("backlog") => backlog(std::env::args().nth(2)),
        file => run(file),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tell(&format!("bench: {error}"));
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stdout, reason = "the table is this program's purpose")]
fn tell(text: &str) {
    println!("{text}");
}

fn backlog(gigabytes: Option<String>) -> io::Result<()> {
    let gigabytes = gigabytes.map_or(Ok(5), |gigabytes| gigabytes.parse()).map_err(io::Error::other)?;
    tell(&report::table(&backlog::figures(gigabytes)?));
    Ok(())
}

fn run(file: Option<&str>) -> io::Result<()> {
    tell(&format!("{ROUNDS} rounds of {} s each, in turn; server on core 0, load on core 1", ROUND.as_secs()));
    pin("1", std::process::id())?;
    let bare = Baseline::start()?;
    let setup = Setup::new("bench", CONFIG);
    let headcount = setup.start();
    pin("0", headcount.id())?;
    let mut figures = durability()?;
    figures.extend(beside(&bare, &headcount, "POST /e, 64 connections", 40, false)?);
    figures.extend(beside(&bare, &headcount, "the same, X-Forwarded-For of a trusted proxy", 40, true)?);
    figures.extend(batches(&headcount)?);
    figures.push(Figure::new("peak memory of the collector, MiB", vec![mebibytes(process::peak_kib(headcount.id())?)]));
    for engine in process::children(headcount.id())? {
        figures.push(Figure::new("peak memory of the embedded engine, MiB", vec![mebibytes(process::peak_kib(engine)?)]));
    }
    tell(&report::table(&figures));
    if let Some(file) = file {
        std::fs::write(file, report::json(&figures))?;
    }
    headcount.stop();
    Ok(())
}

fn mebibytes(kib: u64) -> f64 {
    as_float(kib) / 1024.0
}

/// Moves all threads of a process to one core; new threads follow their parent.
fn pin(core: &str, pid: u32) -> io::Result<()> {
    let moved = Command::new("taskset").args(["-acp", core, &pid.to_string()]).stdout(Stdio::null()).status()?;
    if moved.success() { Ok(()) } else { Err(io::Error::other("taskset cannot pin the server")) }
}

struct Baseline {
    child: Child,
    address: SocketAddr,
}

impl Baseline {
    fn start() -> io::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?).arg("baseline").stdout(Stdio::piped()).spawn()?;
        pin("0", child.id())?;
        let mut line = String::new();
        let out = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
        BufReader::new(out).read_line(&mut line)?;
        let address = line.trim().rsplit('/').next().and_then(|address| address.parse().ok()).ok_or(io::ErrorKind::InvalidData)?;
        Ok(Self { child, address })
    }
}

impl Drop for Baseline {
    fn drop(&mut self) {
        // Gone already is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// CPU per request of `/e` and of bare hyper with the same requests, and their ratio.
fn beside(bare: &Baseline, headcount: &Collector, what: &str, agents: usize, forwarded: bool) -> io::Result<Vec<Figure>> {
    let requests = bodies::beacons(agents, forwarded);
    let (mut bare_costs, mut our_costs, mut ratios, mut late) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let (baseline_micros, _) = cost(bare.child.id(), bare.address, &requests, CONNECTIONS)?;
        let (our_micros, outcome) = cost(headcount.id(), headcount.public(), &requests, CONNECTIONS)?;
        bare_costs.push(baseline_micros);
        our_costs.push(our_micros);
        ratios.push(our_micros / baseline_micros);
        late.push(outcome.quantile(0.99).as_secs_f64() * 1e3);
    }
    Ok(vec![
        Figure::new(&format!("{what}: CPU us per request, bare hyper"), bare_costs),
        Figure::new(&format!("{what}: CPU us per request, durable"), our_costs),
        Figure::new(&format!("{what}: ratio"), ratios),
        Figure::new(&format!("{what}: p99 of the answer at saturation, ms"), late),
    ])
}

/// What the syncs cost: the same build twice, once with fdatasync replaced by nothing, in turn.
fn durability() -> io::Result<Vec<Figure>> {
    let requests = bodies::beacons(40, false);
    // A leak of no effect, so that looking one up costs the same in both.
    let setups = ["in_sync", "no_sync"].map(|leak| Build::Without(leak).setup("bench", CONFIG));
    let [durable, volatile] = setups.each_ref().map(Setup::start);
    for collector in [&durable, &volatile] {
        pin("0", collector.id())?;
    }
    let (mut kept, mut unkept, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let (with, _) = cost(durable.id(), durable.public(), &requests, CONNECTIONS)?;
        let (without, _) = cost(volatile.id(), volatile.public(), &requests, CONNECTIONS)?;
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

/// One round of load: the server's CPU microseconds per answered request.
fn cost(pid: u32, address: SocketAddr, requests: &[Vec<u8>], connections: usize) -> io::Result<(f64, load::Outcome)> {
    let before = process::cpu_micros(pid)?;
    let outcome = load::run(address, requests.to_vec(), connections, ROUND)?;
    let spent = process::cpu_micros(pid)? - before;
    if outcome.refused > 0 || outcome.answered == 0 {
        return Err(io::Error::other(format!("{} requests were refused, {} answered", outcome.refused, outcome.answered)));
    }
    Ok((as_float(spent) / as_float(outcome.answered), outcome))
}

/// CPU per event of the batch path: the collector alone, and the engine behind it once it has caught up.
fn batches(headcount: &Collector) -> io::Result<Vec<Figure>> {
    let requests = bodies::batches();
    let engine = process::children(headcount.id())?.first().copied().ok_or(io::ErrorKind::NotFound)?;
    let (mut ours, mut engine_costs, mut rates) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        drained(headcount);
        let engine_before = process::cpu_micros(engine)?;
        let (per_request, outcome) = cost(headcount.id(), headcount.public(), &requests, BATCH_CONNECTIONS)?;
        drained(headcount);
        let engine_spent = process::cpu_micros(engine)? - engine_before;
        let events = as_float(outcome.answered * bodies::BATCH as u64);
        ours.push(per_request * as_float(outcome.answered) / events);
        engine_costs.push(as_float(engine_spent) / events);
        rates.push(events / ROUND.as_secs_f64());
    }
    Ok(vec![
        Figure::new("POST /v1/events, gzip, 500 events: CPU us per event, collector", ours),
        Figure::new("the same: CPU us per event, embedded engine, rollups included", engine_costs),
        Figure::new("the same: events per second", rates),
    ])
}

#[expect(clippy::cast_precision_loss, reason = "counts of one round are far below 2^52")]
fn as_float(count: u64) -> f64 {
    count as f64
}

/// Waits until everything acknowledged is in ClickHouse.
fn drained(headcount: &Collector) {
    headcount.wait_until("the spool to drain", |headcount| (headcount.metric("headcount_spool_events")? < 0.5).then_some(()));
}
