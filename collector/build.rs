//! Says what to do where the dashboard has not been built: it is embedded as files (`src/pages.rs`), and the compiler's own words would not help.

use std::path::Path;

fn main() {
    let built = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../dashboards/web/dist/.built"));
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={}", built.display());
    if !built.exists() {
        println!("cargo::error=the dashboard is not built: run `make dashboard` once (it needs Node and npm), then this again");
    }
}
