//! Runs the long campaign: all sessions of all faults, resumable, with progress and a table at the end.
//!
//! What was found is kept in a file after every session, so that a campaign that is interrupted goes on where it was. A session that panics, or that is
//! not clean, is a failure of the campaign and is told with its seed: the same seed makes it again, as far as processes can be repeated.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::{Build, FAULTS, Fault, Found, Session};
use crate::leaky;

/// After so many failed sessions a fault is left: what is to be learned from it is known.
const FAILURES: usize = 3;

/// A control must be found within so many sessions.
const CONTROL_SESSIONS: u64 = 5;

/// What is to be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The first session of each fault has this seed, the next one the next.
    pub seed: u64,
    /// Only these faults, by name; all when empty.
    pub only: Vec<String>,
    /// So many rounds of each fault instead of its own number.
    pub rounds: Option<u64>,
    /// So many sessions of a fault at a time: most of a session is waiting.
    pub at_once: u64,
    /// Where the findings are kept.
    pub findings: PathBuf,
}

/// What has been found of each fault so far.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Findings(BTreeMap<String, Finding>);

#[derive(Debug, Default, Serialize, Deserialize)]
struct Finding {
    sessions: u64,
    found: Found,
    seconds: u64,
    /// Seeds of sessions that ended in a panic or were not clean.
    failed: Vec<u64>,
    skipped: Option<String>,
    /// Protections that were taken out, and what that did: harm, as it must, or none.
    controls: BTreeMap<String, bool>,
}

/// Runs the plan; says on standard error how far it is. Returns the table, and whether everything held and every control was found.
///
/// # Errors
///
/// When the findings cannot be kept, or the build for the controls cannot be made.
pub fn run(plan: &Plan) -> std::io::Result<(String, bool)> {
    let mut findings = Findings::read(&plan.findings);
    let chosen: Vec<&Fault> =
        FAULTS.iter().filter(|fault| plan.only.is_empty() || plan.only.iter().any(|name| name == fault.name)).collect();
    for fault in &chosen {
        let rounds = plan.rounds.unwrap_or(fault.rounds);
        findings.of(fault).skipped = None;
        while findings.of(fault).wants(rounds) {
            let finding = findings.of(fault);
            finding.sessions(fault, plan.seed, plan.at_once);
            say(&format!("{}: {}", fault.name, finding.progress(rounds)));
            findings.keep(&plan.findings)?;
        }
        for protection in fault.controls {
            if findings.of(fault).skipped.is_some() || findings.of(fault).controls.contains_key(*protection) {
                continue;
            }
            // A build that fails shows nothing about any protection, so it does not fail within a session.
            leaky::built().map_err(std::io::Error::other)?;
            let harm = does_harm(fault, protection, plan.seed);
            say(&format!("{} with {protection}: {}", fault.name, if harm { "harm was found, as it must" } else { "NO HARM WAS FOUND" }));
            findings.of(fault).controls.insert((*protection).to_owned(), harm);
            findings.keep(&plan.findings)?;
        }
    }
    let held = chosen.iter().all(|fault| findings.of(fault).held());
    Ok((findings.table(&chosen), held))
}

/// Whether a session comes to its end and finds something, once the protection is taken out. One that panics or waits in vain has compared nothing.
fn does_harm(fault: &Fault, protection: &'static str, seed: u64) -> bool {
    (0..CONTROL_SESSIONS).any(|session| match caught(fault, Build::Without(protection), seed + session) {
        Some(Session::Ran(found)) => !found.is_clean(),
        Some(Session::Skipped(_)) | None => false,
    })
}

/// One session; `None` when it panicked, which has been said on standard error.
fn caught(fault: &Fault, build: Build, seed: u64) -> Option<Session> {
    catch_unwind(AssertUnwindSafe(|| (fault.session)(build, seed))).ok()
}

impl Finding {
    fn wants(&self, rounds: u64) -> bool {
        self.found.rounds < rounds && self.skipped.is_none() && self.failed.len() < FAILURES
    }

    /// The next sessions, side by side.
    fn sessions(&mut self, fault: &Fault, first: u64, at_once: u64) {
        let began = Instant::now();
        let seeds = (0..at_once).map(|session| first + self.sessions + session);
        let sessions: Vec<(u64, Option<Session>)> = std::thread::scope(|scope| {
            let running: Vec<_> = seeds.map(|seed| (seed, scope.spawn(move || caught(fault, Build::Product, seed)))).collect();
            // A session's own panic is caught in it.
            running.into_iter().map(|(seed, session)| (seed, session.join().ok().flatten())).collect()
        });
        for (seed, session) in sessions {
            self.take(seed, session);
        }
        self.seconds += began.elapsed().as_secs();
    }

    fn take(&mut self, seed: u64, session: Option<Session>) {
        match session {
            Some(Session::Ran(found)) => {
                if !found.is_clean() {
                    self.failed.push(seed);
                }
                self.found += found;
            }
            Some(Session::Skipped(why)) => self.skipped = Some(why),
            None => self.failed.push(seed),
        }
        self.sessions += 1;
    }

    fn progress(&self, rounds: u64) -> String {
        if let Some(why) = &self.skipped {
            return format!("SKIPPED: {why}");
        }
        let Found { rounds: done, acknowledged, lost, doubled, wrong, .. } = self.found;
        let failed = if self.failed.is_empty() { String::new() } else { format!("; FAILED with seeds {:?}", self.failed) };
        format!(
            "{done} of {rounds} rounds, {acknowledged} events, {lost} lost, {doubled} doubled, {wrong} wrong, {} s{failed}",
            self.seconds
        )
    }

    /// Whether nothing went wrong; what was skipped has not been shown to go wrong, and says so in the table.
    fn held(&self) -> bool {
        self.found.is_clean() && self.failed.is_empty() && self.controls.values().all(|harm| *harm)
    }
}

impl Findings {
    /// What an earlier run has left, or nothing.
    fn read(path: &Path) -> Self {
        std::fs::read(path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
    }

    fn keep(&self, path: &Path) -> std::io::Result<()> {
        let fresh = path.with_extension("fresh");
        std::fs::write(&fresh, serde_json::to_vec_pretty(self)?)?;
        std::fs::rename(fresh, path)
    }

    fn of(&mut self, fault: &Fault) -> &mut Finding {
        self.0.entry(fault.name.to_owned()).or_default()
    }

    fn table(&mut self, faults: &[&Fault]) -> String {
        let mut table = String::from(
            "| fault | rounds | acknowledged | lost | doubled | parked | longest stall | taken out, and found to do harm |\n|---|---|---|---|---|---|---|---|\n",
        );
        for fault in faults {
            let finding = self.of(fault);
            // Writing into a String does not fail.
            let _ = match &finding.skipped {
                Some(why) => writeln!(table, "| {} | skipped: {why} | | | | | | |", fault.name),
                None => writeln!(table, "| {} |", finding.cells(fault.name)),
            };
        }
        table
    }
}

impl Finding {
    fn cells(&self, name: &str) -> String {
        let Found { rounds, acknowledged, lost, doubled, parked, wrong, longest_stall } = self.found;
        let controls: Vec<String> = self
            .controls
            .iter()
            .map(|(protection, harm)| if *harm { protection.clone() } else { format!("{protection}: NOT FOUND") })
            .collect();
        let failed = if self.failed.is_empty() { String::new() } else { format!(" (FAILED: seeds {:?}, {wrong} wrong)", self.failed) };
        let stall = Duration::as_secs_f64(&longest_stall);
        format!(
            "{name}{failed} | {rounds} | {acknowledged} | {lost} | {doubled} | {parked} | {stall:.1} s | {}",
            if controls.is_empty() { "-".to_owned() } else { controls.join(", ") }
        )
    }
}

#[expect(clippy::print_stderr, reason = "the progress of a long run")]
fn say(text: &str) {
    eprintln!("{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLEAN: Fault = Fault { name: "clean", rounds: 4, session: |_, _| ran(0), controls: &[] };
    const LOSING: Fault = Fault { name: "losing", rounds: 4, session: |_, seed| ran(u64::from(seed == 8)), controls: &[] };
    const CONTROLLED: Fault = Fault { name: "controlled", rounds: 1, session: of_build, controls: &["sync", "nothing", "stumbling"] };

    fn ran(lost: u64) -> Session {
        Session::Ran(Found { rounds: 2, acknowledged: 10, lost, ..Found::default() })
    }

    fn of_build(build: Build, _: u64) -> Session {
        match build {
            Build::Without("sync") => ran(3),
            Build::Without("stumbling") => panic!("a test that cannot go on"),
            Build::Without(_) | Build::Product => ran(0),
        }
    }

    fn finding(fault: &Fault) -> Finding {
        let mut finding = Finding::default();
        while finding.wants(fault.rounds) {
            finding.sessions(fault, 7, 2);
        }
        for protection in fault.controls {
            finding.controls.insert((*protection).to_owned(), does_harm(fault, protection, 7));
        }
        finding
    }

    #[test]
    fn a_campaign_holds_when_every_session_is_clean_and_every_control_is_found() {
        assert!(finding(&CLEAN).held());
        let losing = finding(&LOSING);
        assert_eq!((losing.held(), losing.failed.clone(), losing.found.lost), (false, vec![8], 1));
        assert!(losing.cells("losing").contains("FAILED: seeds [8]"));
    }

    #[test]
    fn a_control_is_found_when_its_session_finds_something_and_not_when_it_cannot_go_on() {
        let controlled = finding(&CONTROLLED);
        assert_eq!(
            controlled.controls,
            [("nothing", false), ("stumbling", false), ("sync", true)].map(|(name, harm)| (name.to_owned(), harm)).into()
        );
        let cells = controlled.cells("controlled");
        assert!(!controlled.held() && cells.contains("nothing: NOT FOUND, stumbling: NOT FOUND, sync"), "{cells}");
    }
}
