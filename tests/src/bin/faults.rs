//! The long fault campaign: `faults [--seed N] [--rounds N] [--at-once N] [--only NAME]... [--fresh] FINDINGS`. Ends with 1 when anything was lost, doubled or wrong.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it is run for what it prints")]

use std::process::ExitCode;

use headcount_tests::campaign::FAULTS;
use headcount_tests::campaign::driver::{self, Plan};

fn main() -> ExitCode {
    let Some(plan) = plan(std::env::args().skip(1)) else {
        let names: Vec<&str> = FAULTS.iter().map(|fault| fault.name).collect();
        eprintln!("usage: faults [--seed N] [--rounds N] [--at-once N] [--only NAME]... [--fresh] FINDINGS\nnames: {}", names.join(", "));
        return ExitCode::from(2);
    };
    match driver::run(&plan) {
        Ok((table, held)) => {
            println!("{table}");
            if held { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("the campaign with its findings in {} cannot go on: {error}", plan.findings.display());
            ExitCode::FAILURE
        }
    }
}

/// `None` when the arguments are not understood.
fn plan(mut arguments: impl Iterator<Item = String>) -> Option<Plan> {
    let mut plan = Plan { seed: 1, only: Vec::new(), rounds: None, at_once: 1, findings: std::path::PathBuf::new() };
    let mut fresh = false;
    while let Some(argument) = arguments.next() {
        match &*argument {
            "--seed" => plan.seed = arguments.next()?.parse().ok()?,
            "--rounds" => plan.rounds = Some(arguments.next()?.parse().ok()?),
            "--at-once" => plan.at_once = arguments.next()?.parse().ok().filter(|sessions| *sessions > 0)?,
            "--only" => plan.only.push(arguments.next().filter(|name| FAULTS.iter().any(|fault| fault.name == *name))?),
            "--fresh" => fresh = true,
            _ if argument.starts_with('-') => return None,
            _ => plan.findings = argument.into(),
        }
    }
    if fresh {
        // What is not there need not be removed; what cannot be is told when the first findings are kept.
        let _ = std::fs::remove_file(&plan.findings);
    }
    plan.findings.file_name().is_some().then_some(plan)
}
