//! The `headcount` binary: hands over to the library.

fn main() -> std::process::ExitCode {
    headcount::cli::main()
}
