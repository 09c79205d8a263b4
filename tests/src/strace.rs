//! System calls of a running collector that fail or take long, on order (`strace --inject`), and what was seen of them.
//!
//! The collector is attached to once it runs, so its engine, which is a child of it by then, is left alone. An order counts the calls of each thread for
//! itself; of those that write and sync there is one a worker.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::collector::{Collector, signal};

/// How long strace may take to attach or to leave.
const PATIENCE: Duration = Duration::from_secs(30);

/// Whether there is an strace that may attach; if not, says on standard error that `what` was not tried.
#[expect(clippy::print_stderr, reason = "a test that was not made must not look as if it was")]
pub fn is_there(what: &str) -> bool {
    let runs = Command::new("strace").args(["-qq", "-o", "/dev/null", "true"]).stderr(Stdio::null()).status();
    let there = runs.is_ok_and(|status| status.success());
    if !there {
        eprintln!("SKIPPED: {what}: there is no strace that may trace here (on Debian: apt-get install strace)");
    }
    there
}

/// An strace that is attached to a collector. Leaves it when dropped.
#[derive(Debug)]
pub struct Strace {
    process: Child,
    folder: TempDir,
}

impl Strace {
    /// Attaches to all threads of the collector with these orders, such as `fdatasync:error=EIO:when=3`.
    ///
    /// # Panics
    ///
    /// When strace does not attach.
    pub fn attach(collector: &Collector, orders: &[&str]) -> Self {
        let folder = tempfile::Builder::new().prefix("hc-strace-").tempdir().expect("the temporary folder can be written to");
        let mut command = Command::new("strace");
        let ordered: Vec<&str> = orders.iter().filter_map(|order| order.split(':').next()).collect();
        // Syncs and removals are told always, and what is ordered, so that it shows when it was carried out.
        command.args(["-f", "-y", "-s", "0"]).arg(format!("--trace=fsync,fdatasync,unlink,{}", ordered.join(",")));
        command.args(orders.iter().map(|order| format!("--inject={order}")));
        command.arg("-o").arg(folder.path().join("calls")).arg("-p").arg(collector.id().to_string());
        let mut process = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().expect("strace was there before");
        let said = process.stderr.take().expect("it was piped");
        let (tell, attached) = std::sync::mpsc::channel();
        // It is read to its end, whether anybody listens or not: strace names every thread that begins, and a closed pipe would be the end of it.
        std::thread::spawn(move || BufReader::new(said).lines().map_while(Result::ok).for_each(|line| drop(tell.send(line))));
        let strace = Self { process, folder };
        let deadline = Instant::now() + PATIENCE;
        loop {
            let line = attached.recv_timeout(deadline.saturating_duration_since(Instant::now())).expect("strace attaches");
            if line.contains("attached") {
                break strace;
            }
        }
    }

    /// Leaves the collector alone; returns the calls that were seen, a line each, those of one thread in order.
    pub fn leave(mut self) -> Vec<String> {
        self.end();
        let calls = std::fs::read(self.calls()).unwrap_or_default();
        String::from_utf8_lossy(&calls).lines().map(str::to_owned).collect()
    }

    /// Whether an order was carried out.
    pub fn has_hit(&self) -> bool {
        let calls = std::fs::read(self.calls()).unwrap_or_default();
        let calls = String::from_utf8_lossy(&calls);
        calls.contains("(INJECTED)") || calls.contains("(DELAYED)")
    }

    fn calls(&self) -> PathBuf {
        self.folder.path().join("calls")
    }

    fn end(&mut self) {
        // Told to end, it lets go of every thread first; killed, it would leave them stopped.
        signal(self.process.id(), "INT");
        let deadline = Instant::now() + PATIENCE;
        while matches!(self.process.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Strace {
    fn drop(&mut self) {
        if matches!(self.process.try_wait(), Ok(None)) {
            self.end();
        }
    }
}

/// The file of which a sync failed in this line, as strace prints it with `-y`: `12 fdatasync(9</path>) = -1 EIO (...) (INJECTED)`.
pub fn failed_sync(line: &str) -> Option<&str> {
    synced(line).filter(|_| line.contains("= -1 EIO"))
}

/// The file that is synced in this line, whether that succeeds or not.
pub fn synced(line: &str) -> Option<&str> {
    let (_, rest) = line.split_once("fdatasync(")?;
    let (_, rest) = rest.split_once('<')?;
    rest.split_once('>').map(|(path, _)| path)
}
