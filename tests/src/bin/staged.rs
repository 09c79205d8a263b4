//! The collector on a stage: what time it is, and how large the spool may grow, is up to the test.

fn main() -> std::process::ExitCode {
    headcount_tests::staged::main()
}
