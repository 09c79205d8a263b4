//! `headcount engine` for tests of the engine alone. The word `engine` may come first, as the supervisor puts it there.

use std::process::ExitCode;

use headcount_engine::Options;

fn main() -> ExitCode {
    let arguments = std::env::args_os().skip(1).skip_while(|argument| argument == "engine");
    let options = Options::from_arguments(arguments).expect("the arguments of an engine");
    match headcount_engine::run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => ExitCode::from(error.status()),
    }
}
