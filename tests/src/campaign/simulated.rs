//! The crate's own sessions on a disk in memory that fails at any call, by seed: the long run of one of its tests. What it counts are requests.

use super::{Fault, Found, Session};
use crate::binaries;

/// As the campaign runs it. Its controls are the crate's own: five protections are taken out there, one by one, in every `cargo test`.
pub const FAULT: Fault =
    Fault { name: "any call of a disk in memory (requests)", rounds: 10_000, session: |_, seed| session(seed), controls: &[] };

/// Seeds of a session.
const SEEDS: u64 = 1_000;

/// # Panics
///
/// When a promise is broken, with what the test said.
fn session(seed: u64) -> Session {
    let target = binaries().parent().expect("a profile's folder lies in the target folder").to_owned();
    let output = headcount_stages::cargo::command()
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["test", "--quiet", "--locked", "--offline", "-p", "headcount", "--lib", "--target-dir"])
        .arg(target)
        .args(["spool::tests::random::a_disk_that_fails", "--", "--nocapture"])
        .env("HEADCOUNT_SEEDS", SEEDS.to_string())
        .env("HEADCOUNT_SEED", (seed * SEEDS).to_string())
        .output()
        .expect("cargo runs this program's tests");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    let count = |name: &str| -> u64 {
        let rest = said.split_once(&format!(" {name}: ")).expect("the test says what it found").1;
        rest.split(|letter: char| !letter.is_ascii_digit()).next().and_then(|digits| digits.parse().ok()).expect("a count")
    };
    let found = Found { rounds: SEEDS, acknowledged: count("acknowledged"), ..Found::default() };
    Session::Ran(Found { lost: count("lost"), doubled: count("doubled"), ..found })
}
