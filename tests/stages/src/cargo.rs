//! Cargo, asked by a test for another build.

use std::process::Command;

/// Cargo without the variables that `cargo test` sets about the package whose tests it runs. Build scripts of dependencies read some of them, so cargo would
/// build those again whenever they are not what they were, with everything that stands upon them.
pub fn command() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    let about_a_package = |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(about_a_package) {
            cargo.env_remove(name);
        }
    }
    cargo
}
