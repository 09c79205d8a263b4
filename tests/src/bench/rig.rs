//! What every figure is measured with: servers on the first core, the load on the second, and CPU time as the operating system accounts for it.

use std::io::{self, BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::load::{Load, Outcome};
use super::process;
use crate::collector::{Collector, Setup};

/// Rounds of each figure, what is compared in turn.
pub const ROUNDS: usize = 5;
/// How long the load of one round lasts.
pub const ROUND: Duration = Duration::from_secs(4);
/// One worker: the server has one core.
///
/// The site is declared, as an owner's is: the one that is there without a configuration tells each page what became of its event.
pub const CONFIG: &str = "[public]\nworkers = 1\n[log]\nlevel = \"warn\"\n[[site]]\nid = \"localhost\"\n";
/// The same with nobody to deliver to: nothing but the collector is measured.
pub const ALONE: &str = "[public]\nworkers = 1\n[log]\nlevel = \"error\"\n[clickhouse]\nurl = \"http://127.0.0.1:1\"\n[spool]\nmax_bytes = 17179869184\n\
    [[site]]\nid = \"localhost\"\n";
/// Where servers run.
pub const SERVER_CORE: &str = "0";
/// Where the load runs.
pub const LOAD_CORE: &str = "1";

/// Where a server runs that is not under load.
pub const BOTH_CORES: &str = "0,1";

/// A server under load.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its process.
    pub process: u32,
    /// Where it listens.
    pub address: SocketAddr,
}

impl From<&Collector> for Target {
    fn from(collector: &Collector) -> Self {
        Self { process: collector.id(), address: collector.public() }
    }
}

/// Starts a collector on the servers' core; its engine follows it there.
pub fn start(setup: &Setup) -> io::Result<Collector> {
    let collector = setup.start();
    pin(SERVER_CORE, collector.id())?;
    Ok(collector)
}

/// Moves all threads of a process to these cores; new threads and processes follow their parent.
pub fn pin(cores: &str, process: u32) -> io::Result<()> {
    let moved = Command::new("taskset").args(["-acp", cores, &process.to_string()]).stdout(Stdio::null()).status()?;
    if moved.success() { Ok(()) } else { Err(io::Error::other("taskset cannot pin a process")) }
}

/// The baseline ([`super::baseline`]) in a process of its own. Killed when dropped.
pub struct Baseline {
    child: Child,
    address: SocketAddr,
}

impl Baseline {
    /// Starts it on the servers' core.
    pub fn start() -> io::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?).arg("baseline").stdout(Stdio::piped()).spawn()?;
        pin(SERVER_CORE, child.id())?;
        let mut line = String::new();
        let out = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
        BufReader::new(out).read_line(&mut line)?;
        let address = line.trim().rsplit('/').next().and_then(|address| address.parse().ok()).ok_or(io::ErrorKind::InvalidData)?;
        Ok(Self { child, address })
    }

    /// Where it is.
    pub fn target(&self) -> Target {
        Target { process: self.child.id(), address: self.address }
    }
}

impl Drop for Baseline {
    fn drop(&mut self) {
        // Gone already is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One round: the server's CPU microseconds for each answer, whatever it says.
pub fn cost_of_any(target: Target, requests: &[Vec<u8>], connections: usize) -> io::Result<(f64, Outcome)> {
    let mut load = Load::connect(target.address, requests.to_vec(), connections)?;
    let before = process::cpu_micros(target.process)?;
    let outcome = load.run(ROUND)?;
    let spent = process::cpu_micros(target.process)? - before;
    if outcome.all() == 0 {
        return Err(io::Error::other("nothing was answered"));
    }
    Ok((as_float(spent) / as_float(outcome.all()), outcome))
}

/// One round: the server's CPU microseconds for each request, all of which must have been taken.
pub fn cost(target: Target, requests: &[Vec<u8>], connections: usize) -> io::Result<(f64, Outcome)> {
    let (micros, outcome) = cost_of_any(target, requests, connections)?;
    taken(&outcome)?;
    Ok((micros, outcome))
}

/// An error unless every request was taken.
pub fn taken(outcome: &Outcome) -> io::Result<()> {
    if outcome.refused == 0 && outcome.answered > 0 {
        return Ok(());
    }
    Err(io::Error::other(format!("{} requests were refused, {} answered", outcome.refused, outcome.answered)))
}

/// Counts of one round are far below 2^52.
#[expect(clippy::cast_precision_loss, reason = "as it says above")]
pub fn as_float(count: u64) -> f64 {
    count as f64
}

/// KiB as MiB.
pub fn mebibytes(kib: u64) -> f64 {
    as_float(kib) / 1024.0
}

/// A latency in milliseconds.
pub fn millis(latency: Duration) -> f64 {
    latency.as_secs_f64() * 1e3
}
