//! When the machine itself stood still. The host of a virtual machine may stop all of its cores at once: the scheduler's trace of one run shows both, the idle one too,
//! stopped for 8 to 10 ms at the end of each tenth of a second, while a server slept and went to its disk some thousand times a second on cores that were not busy.
//! No server answers then, and whoever is timed then is timed by the host. So a thread on each core sleeps and looks at the
//! clock, and where both slept far too long at once, neither server nor load can have been the reason. It does not see all of it: in some runs without any
//! standstill the p99 was as long. What helped was a server that sleeps less often (`collector/src/spool/rest.rs`).

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::thread::{CpuSet, sched_setaffinity};

/// How long a thread sleeps between two looks.
const NAP: Duration = Duration::from_micros(500);
/// How long a nap of both cores at once is no nap any more.
const STANDSTILL: Duration = Duration::from_millis(3);

/// Watches both cores until it is ended.
pub struct Watch {
    over: Arc<AtomicBool>,
    watchers: [JoinHandle<io::Result<Vec<Range<Instant>>>>; 2],
}

impl Watch {
    /// Begins to watch.
    pub fn begin() -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let watchers = [0, 1].map(|core| {
            let over = Arc::clone(&over);
            std::thread::spawn(move || long_naps(core, &over))
        });
        Self { over, watchers }
    }

    /// When the machine stood still, in order.
    pub fn end(self) -> io::Result<Vec<Range<Instant>>> {
        self.over.store(true, Ordering::Relaxed);
        let [first, second] = self.watchers.map(|watcher| watcher.join().map_err(|_panic| io::Error::other("a core was not watched"))?);
        Ok(at_once(&first?, &second?))
    }
}

fn long_naps(core: usize, over: &AtomicBool) -> io::Result<Vec<Range<Instant>>> {
    let mut here = CpuSet::new();
    here.set(core);
    sched_setaffinity(None, &here)?;
    let mut naps = Vec::new();
    let mut before = Instant::now();
    while !over.load(Ordering::Relaxed) {
        std::thread::sleep(NAP);
        let now = Instant::now();
        if now - before >= STANDSTILL {
            naps.push(before..now);
        }
        before = now;
    }
    Ok(naps)
}

/// What the long naps of two cores have in common.
fn at_once(first: &[Range<Instant>], second: &[Range<Instant>]) -> Vec<Range<Instant>> {
    let common = |one: &Range<Instant>, other: &Range<Instant>| one.start.max(other.start)..one.end.min(other.end);
    let pairs = first.iter().flat_map(|one| second.iter().map(move |other| common(one, other)));
    pairs.filter(|common| common.end.saturating_duration_since(common.start) + NAP >= STANDSTILL).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_both_cores_slept_through_is_a_standstill() {
        let begun = Instant::now();
        let range = |from: u64, to: u64| begun + Duration::from_millis(from)..begun + Duration::from_millis(to);
        let first = [range(0, 9), range(100, 109), range(200, 204)];
        let second = [range(1, 10), range(104, 120), range(203, 208)];
        assert_eq!(at_once(&first, &second), [range(1, 9), range(104, 109)]);
    }
}
