//! `headcount engine` for tests of the engine alone: the library, the data folder, the socket and the bytes of memory are its arguments.

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let mut next = || arguments.next().expect("four arguments");
    let options = headcount_engine::Options {
        library: next().into(),
        data_path: next().into(),
        socket: next().into(),
        memory_bytes: next().to_str().and_then(|bytes| bytes.parse().ok()).expect("a number of bytes"),
    };
    match headcount_engine::run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => ExitCode::from(error.status()),
    }
}
