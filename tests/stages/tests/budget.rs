//! The instruction budget: what an event may cost in the stages of its path, and how often memory may be allocated for it.
//!
//! Instructions are counted by callgrind, on a processor that it emulates: the same build gives the same counts on a machine under load, within half a percent.
//! They are no times. The emulated processor has no SHA-NI, so the pseudonym's hash is computed in plain code here and costs many times what it does on
//! a real one; it stands in every measure from `privacy` on. What the kernel does is not counted either.
//!
//! The counts are those of the profile `budget`, which this test builds by itself (about two minutes of a machine with two cores that does nothing else,
//! once; a changed collector takes half of that). Who makes an event cheaper lowers the budget, or what was won may be lost again unseen; who has to make it
//! dearer raises it, and says why.

#![expect(clippy::unwrap_used, reason = "in a test an unwrap is a failed expectation")]
#![allow(clippy::print_stdout, reason = "it says what it found")]

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// How far a count may be above its budget. Another C library or processor, which callgrind passes on, moves it by less.
const TOLERANCE: f64 = 0.04;

/// Form, measure, instructions an event, allocations an event. A measure holds those before it, up to `encode`; `worker` is the whole of
/// [`headcount::worker`] with its log, from the arrival to the answer.
const BUDGET: &[(&str, &str, f64, f64)] = &[
    ("single", "decode", 15_530.0, 1.0),
    ("single", "consent", 15_870.0, 1.0),
    ("single", "privacy", 37_070.0, 1.0),
    ("single", "enrich", 38_290.0, 1.0),
    ("single", "encode", 41_700.0, 1.0),
    ("single", "worker", 45_190.0, 2.2),
    ("batch", "decode", 17_650.0, 0.02),
    ("batch", "consent", 17_970.0, 0.02),
    ("batch", "privacy", 33_570.0, 0.02),
    ("batch", "enrich", 35_570.0, 0.02),
    ("batch", "encode", 37_040.0, 0.02),
    ("batch", "worker", 38_190.0, 0.05),
];

/// What one measure came to, for one event.
#[derive(Debug)]
struct Count {
    form: String,
    measure: String,
    events: f64,
    allocations: f64,
}

#[test]
fn an_event_costs_no_more_instructions_than_its_budget() {
    let program = program();
    if !valgrind_runs() {
        // Not by a macro: what those print is shown for failed tests only.
        let said = "SKIPPED: valgrind is not installed (on Debian: apt-get install valgrind): no instruction is counted\n";
        return std::io::stderr().write_all(said.as_bytes()).unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    let counts = counted(
        Command::new("valgrind")
            .args([
                "--quiet",
                "--tool=callgrind",
                "--zero-before=headcount_stages::probe::begin",
                "--dump-after=headcount_stages::probe::end",
            ])
            .arg(format!("--callgrind-out-file={}", folder.path().join("out").display()))
            .arg(program),
    );
    let mut over = Vec::new();
    for (number, (count, (form, measure, budget, _))) in counts.iter().zip(BUDGET).enumerate() {
        let instructions = total(&folder.path().join(format!("out.{}", number + 1))) / count.events;
        println!("{form:<7} {measure:<8} {instructions:>8.0} instructions an event: {:.3} of the budget", instructions / budget);
        over.extend(over_budget(&format!("{form} {measure}"), instructions, *budget));
    }
    assert!(over.is_empty(), "\n{}", over.join("\n"));
}

#[test]
fn an_event_costs_no_more_allocations_than_its_budget() {
    let over = |(count, (form, measure, _, budget)): (&Count, &(&str, &str, f64, f64))| {
        let allocations = count.allocations / count.events;
        println!("{form:<7} {measure:<8} {allocations:>6.2} allocations an event, of {budget}");
        // A vector that grows once more or less, and commits that a busy machine cuts otherwise, are no regression.
        (allocations > budget + 0.15)
            .then(|| format!("{form} {measure}: {allocations:.2} allocations an event, and {budget} is the budget"))
    };
    let counts = counted(&mut Command::new(program()));
    let over: Vec<_> = counts.iter().zip(BUDGET).filter_map(over).collect();
    assert!(over.is_empty(), "\n{}", over.join("\n"));
}

#[test]
fn a_regression_of_a_twentieth_is_found() {
    assert_eq!(over_budget("all", 1_000.0, 1_000.0), None);
    assert_eq!(over_budget("all", 1_039.0, 1_000.0), None);
    assert_eq!(over_budget("all", 1_050.0, 1_000.0).unwrap(), "all: 1050 instructions an event, and 1000 is the budget");
}

fn over_budget(name: &str, instructions: f64, budget: f64) -> Option<String> {
    let over = instructions > budget * (1.0 + TOLERANCE);
    over.then(|| format!("{name}: {instructions:.0} instructions an event, and {budget:.0} is the budget"))
}

/// Runs the program, by itself or under another; reads its lines.
fn counted(command: &mut Command) -> Vec<Count> {
    let output = command.stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    let counts: Vec<Count> = text.lines().map(read).collect();
    let measured: Vec<_> = counts.iter().map(|count| (&*count.form, &*count.measure)).collect();
    assert_eq!(measured, BUDGET.iter().map(|(form, measure, ..)| (*form, *measure)).collect::<Vec<_>>());
    counts
}

fn read(line: &str) -> Count {
    let mut words = line.split(' ');
    let mut word = || words.next().unwrap().to_owned();
    Count { form: word(), measure: word(), events: word().parse().unwrap(), allocations: word().parse().unwrap() }
}

/// The instructions that callgrind has written down between two marks.
fn total(file: &Path) -> f64 {
    let text = std::fs::read_to_string(file).unwrap();
    text.lines().find_map(|line| line.strip_prefix("totals: ")).unwrap().trim().parse().unwrap()
}

fn valgrind_runs() -> bool {
    let status = Command::new("valgrind").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

/// The program of the profile `budget`, built once.
fn program() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(build).clone()
}

fn build() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    // target/debug/deps/budget-...
    let target = test.ancestors().nth(3).unwrap();
    let mut cargo = headcount_stages::cargo::command();
    cargo.current_dir(env!("CARGO_MANIFEST_DIR")).args([
        "build",
        "--quiet",
        "--locked",
        "--offline",
        "--profile",
        "budget",
        "--bin",
        "stages",
    ]);
    assert!(cargo.arg("--target-dir").arg(target).status().unwrap().success(), "the program of the profile `budget` cannot be built");
    target.join("budget/stages")
}
