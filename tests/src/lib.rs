//! What the whole-system tests share: the real binary on ports of its own, with a data folder of its own, the real engine, and a client that reads every
//! byte it is sent.

#![allow(clippy::disallowed_methods, reason = "tests and benchmarks wait, measure and spawn as they need")]

pub mod api;
pub mod bench;
pub mod campaign;
pub mod collector;
pub mod delivery;
pub mod engine;
pub mod fault_proxy;
pub mod figures;
pub mod frames;
pub mod http;
pub mod law;
pub mod leaky;
pub mod ledger;
pub mod lossy;
pub mod malformed;
pub mod plain_server;
pub mod programs;
pub mod rollup;
pub mod scan;
pub mod segments;
pub mod small_disk;
pub mod staged;
pub mod strace;

use std::path::PathBuf;

/// The folder in which cargo puts this build's binaries.
///
/// # Panics
///
/// When the test does not run from cargo's target folder.
pub fn binaries() -> PathBuf {
    let test = std::env::current_exe().expect("a running program knows its file");
    let mut folder = test.parent().expect("a file lies in a folder");
    if folder.ends_with("deps") {
        folder = folder.parent().expect("cargo's deps folder lies in the profile's");
    }
    folder.to_owned()
}
