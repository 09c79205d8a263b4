//! The collector, plain or on a stage, in the build that plants leaks.

fn main() -> std::process::ExitCode {
    headcount_tests::staged::main()
}
