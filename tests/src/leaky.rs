//! The build that plants leaks: the positive control of every attack. It is built by the first test that asks for it.

use std::path::PathBuf;
use std::sync::OnceLock;

use crate::binaries;

/// The variable that names the leaks to plant, separated by commas; see `collector/src/leak.rs`.
pub const LEAK: &str = "HEADCOUNT_LEAK";

/// The collector with leaks to plant, on a stage if one is set ([`crate::staged`]).
///
/// # Panics
///
/// When it cannot be built.
pub fn program() -> PathBuf {
    built().unwrap_or_else(|error| panic!("{error}"))
}

/// The same, for who has to tell a build that failed from everything else.
///
/// # Errors
///
/// When it cannot be built.
pub fn built() -> Result<PathBuf, &'static str> {
    static BUILT: OnceLock<Option<PathBuf>> = OnceLock::new();
    BUILT.get_or_init(build).clone().ok_or("the collector with leaks to plant cannot be built")
}

/// All dependencies are those of the build at hand, in which tests are built with their features: only the collector itself is compiled again.
fn build() -> Option<PathBuf> {
    let folder = binaries();
    let target = folder.parent().expect("a profile's folder lies in the target folder");
    let mut cargo = headcount_stages::cargo::command();
    cargo.current_dir(env!("CARGO_MANIFEST_DIR")).args(["build", "--quiet", "--locked", "--offline", "--bin", "leaky"]);
    cargo.arg("--target-dir").arg(target);
    if folder.ends_with("release") {
        cargo.args(["--release", "--features", "leaky"]);
    } else {
        cargo.args(["--features", "leaky,tested"]);
    }
    cargo.status().is_ok_and(|status| status.success()).then(|| folder.join("leaky"))
}
