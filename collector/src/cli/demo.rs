//! `headcount demo`: a folder full of made-up traffic, and then the collector on it, as `headcount` would be started there.

use std::io::{self, IsTerminal, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::clock::Clock;
use crate::config::{Overrides, Surroundings};
use crate::demo::{self, DemoError, Demonstration, Ledger, Plan, Progress};

/// What is done once the folder is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// The collector is started on it.
    Serve,
    /// Nothing.
    End,
}

/// Fills the folder, unless it is full already, and says how far it is. Returns only if nothing is to be served, or cannot be.
pub(super) fn run(
    plan: Plan,
    then: Then,
    overrides: &Overrides,
    surroundings: &Surroundings,
    out: &mut (dyn Write + Send),
) -> Result<(), DemoError> {
    let demonstration = demo::of(overrides, surroundings)?;
    let folder = demonstration.data_dir().to_owned();
    match &demonstration.ledger {
        Some(ledger) => {
            let last = ledger.days.keys().next_back().map_or("", String::as_str);
            writeln!(out, "{} is full already, with {} events up to {last}. Remove it for others.", folder.display(), ledger.accepted)?;
        }
        None => fill(&demonstration, plan, &folder, out)?,
    }
    out.flush()?;
    match then {
        Then::End => Ok(()),
        Then::Serve => Err(serve(&demonstration.overrides(overrides)).into()),
    }
}

fn fill(demonstration: &Demonstration, plan: Plan, folder: &Path, out: &mut (dyn Write + Send)) -> Result<(), DemoError> {
    let begun = Clock::monotonic();
    writeln!(out, "{} days of made-up traffic go through the collector, into {} ...", plan.days, folder.display())?;
    let mut bar = Bar { plan, in_place: io::stdout().is_terminal(), told: String::new() };
    let ledger = demo::fill(demonstration, plan, &mut |progress| {
        // Who does not listen any more gets the figures all the same.
        let _ = bar.tell(progress, out);
    })?;
    writeln!(out, "{}", summary(&ledger, begun.elapsed()))?;
    Ok(())
}

fn summary(ledger: &Ledger, took: Duration) -> String {
    let sum = |of: &std::collections::BTreeMap<String, u64>| of.values().sum::<u64>();
    let visits: u64 = ledger.days.values().map(|day| day.visits).sum();
    format!(
        "{} events were sent in {} s: {} stored, of {visits} visits; {} not counted; {} refused.",
        ledger.sent,
        took.as_secs().max(1),
        ledger.accepted,
        sum(&ledger.dropped),
        sum(&ledger.refused)
    )
}

/// How far it is, in one line that is written over where there is a terminal, else in one for each tenth.
struct Bar {
    plan: Plan,
    in_place: bool,
    told: String,
}

impl Bar {
    fn tell(&mut self, progress: Progress, out: &mut dyn Write) -> io::Result<()> {
        let text = match progress {
            Progress::Sent { days, events } if self.in_place || days.is_multiple_of((self.plan.days / 10).max(1)) => {
                format!("day {days} of {}, {events} events", self.plan.days)
            }
            Progress::Sent { .. } => return Ok(()),
            Progress::Closing { days: 0 } => "every day that is over is closed".to_owned(),
            Progress::Closing { days } => format!("{days} days are being closed"),
        };
        if text == self.told || !self.in_place && matches!(progress, Progress::Closing { days: 1.. }) {
            return Ok(());
        }
        let ends = if matches!(progress, Progress::Closing { days: 0 }) || !self.in_place { "\n" } else { "" };
        let back = if self.in_place { "\r\u{1b}[K" } else { "" };
        write!(out, "{back}  {text}{ends}")?;
        self.told = text;
        out.flush()
    }
}

/// Becomes the collector on the folder. Gives why it could not.
fn serve(overrides: &Overrides) -> io::Error {
    let Overrides { data_dir, key_dir, public_listen, private_listen, .. } = overrides;
    let executable = match std::env::current_exe() {
        Ok(executable) => executable,
        Err(error) => return error,
    };
    let mut command = Command::new(executable);
    for (flag, folder) in [("--data-dir", data_dir), ("--key-dir", key_dir)] {
        if let Some(folder) = folder {
            command.arg(flag).arg(folder);
        }
    }
    for (flag, address) in [("--public-listen", public_listen), ("--private-listen", private_listen)] {
        if let Some(address) = address {
            command.arg(flag).arg(address.to_string());
        }
    }
    command.arg("serve").exec()
}
