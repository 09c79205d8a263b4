//! `make bench`: what Headcount costs beside bare hyper, and how it behaves under load. Each figure is printed as soon as it is measured.
//!
//! ```text
//! bench [NAME ...] [FILE]      measures what is named, or everything, and writes it as JSON to the file (whatever ends in `.json`)
//! bench compare OLD NEW        two such files, figure by figure
//! bench backlog [GIGABYTES]    `make bench-backlog`
//! bench queries [MILLIONS]     `make bench-query`
//! bench scaling FOLDER         `make bench-scaling`: the drawings are written into the folder
//! ```

use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use headcount_tests::bench::report::{self, Figure};
use headcount_tests::bench::rig::{self, LOAD_CORE, ROUND, ROUNDS};
use headcount_tests::bench::{answers, backlog, baseline, costs, memory, nginx, queries, scaling};
use headcount_tests::leaky;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Figures that are measured together.
struct Suite {
    name: &'static str,
    about: &'static str,
    measure: fn() -> io::Result<Vec<Figure>>,
}

/// Everything, in the order of the table.
const SUITES: &[Suite] = &[
    Suite { name: "requests", about: "CPU per request of /e beside bare hyper, 64 connections", measure: costs::requests },
    Suite { name: "connections", about: "the same with 1,000 connections", measure: costs::connections },
    Suite { name: "forwarded", about: "the same behind a trusted proxy's header", measure: costs::forwarded },
    Suite { name: "agents", about: "the same with 4,000 distinct user agents", measure: costs::agents },
    Suite { name: "delivering", about: "the same as the first, with the engine on the same core", measure: costs::delivering },
    Suite { name: "batches", about: "CPU per event of batches, collector and engine", measure: costs::batches },
    Suite { name: "latency", about: "the answer's p99 at half of saturation", measure: answers::latency },
    Suite { name: "start", about: "cold start to the first accepted event", measure: answers::start },
    Suite {
        name: "nginx",
        about: "CPU per request of nginx that logs the bodies, in both ways (1 GB of the temporary folder)",
        measure: nginx::comparison,
    },
    Suite { name: "refusals", about: "CPU of bad input against an accepted event", measure: costs::refusals },
    Suite { name: "memory", about: "memory at saturation, and for each connection (3 minutes)", measure: memory::memory },
    Suite { name: "durability", about: "what the syncs cost: the same build without them", measure: costs::durability },
    Suite { name: "sustained", about: "batches at half of saturation, until they are stored (6 minutes)", measure: answers::sustained },
    Suite { name: "outage", about: "memory while ClickHouse is away (10 minutes, 5 GB of the temporary folder)", measure: memory::outage },
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words[..] {
        ["baseline"] => baseline::serve(),
        ["backlog", ref gigabytes @ ..] => alone(gigabytes.first().copied(), 5, backlog::figures),
        ["queries", ref millions @ ..] => alone(millions.first().copied(), 100, queries::figures),
        ["scaling", folder] => scale(Path::new(folder)),
        ["compare", old, new] => compare(old, new),
        ref names => run(names),
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

/// Measures what takes so much room or time that it is asked for by name, at the size that is given.
fn alone(size: Option<&str>, usual: u64, figures: fn(u64) -> io::Result<Vec<Figure>>) -> io::Result<()> {
    let size = size.map_or(Ok(usual), str::parse).map_err(io::Error::other)?;
    tell(&report::table(&figures(size)?));
    Ok(())
}

fn compare(old: &str, new: &str) -> io::Result<()> {
    let read = |file: &str| report::parse(&std::fs::read_to_string(file)?).map_err(io::Error::other);
    tell(&report::compare(&read(old)?, &read(new)?));
    Ok(())
}

fn scale(folder: &Path) -> io::Result<()> {
    rig::pin(LOAD_CORE, std::process::id())?;
    open_files()?;
    tell(&report::heading());
    scaling::measure(folder, tell)
}

fn run(arguments: &[&str]) -> io::Result<()> {
    let is_file = |word: &&&str| Path::new(word).extension() == Some(OsStr::new("json"));
    let file = arguments.iter().find(is_file);
    let names: Vec<&str> = arguments.iter().filter(|word| !is_file(word)).copied().collect();
    if let Some(unknown) = names.iter().find(|name| SUITES.iter().all(|suite| suite.name != **name)) {
        let known: Vec<String> = SUITES.iter().map(|suite| format!("  {:<12} {}", suite.name, suite.about)).collect();
        return Err(io::Error::other(format!("there is no figure {unknown:?}; there are:\n{}", known.join("\n"))));
    }
    let chosen: Vec<&Suite> = SUITES.iter().filter(|suite| names.is_empty() || names.contains(&suite.name)).collect();
    if chosen.iter().any(|suite| suite.name == "durability") {
        tell("building the collector whose syncs can be left out, if it is not there yet ...");
        leaky::built().map_err(io::Error::other)?;
    }
    // Only now: a build belongs on every core.
    rig::pin(LOAD_CORE, std::process::id())?;
    open_files()?;
    tell(&format!("{ROUNDS} rounds of {} s each, in turn; server on core 0, load on core 1\n{}", ROUND.as_secs(), report::heading()));
    let mut figures = Vec::new();
    for suite in chosen {
        let measured = (suite.measure)()?;
        for figure in &measured {
            tell(&figure.to_string());
        }
        figures.extend(measured);
        // After each: who ends a long run early has what was measured.
        if let Some(file) = file {
            std::fs::write(file, report::json(&figures))?;
        }
    }
    Ok(())
}

/// Thousands of connections need as many open files, here and in the servers, which inherit the limit.
fn open_files() -> io::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    Ok(setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?)
}
