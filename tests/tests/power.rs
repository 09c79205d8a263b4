//! What is acknowledged is stored exactly once although the power went: the real binary, the real engine, a disk that loses what was not synced.
#![allow(clippy::print_stdout, reason = "it says what it found")]

use headcount_tests::campaign::{Build, Session, power};

/// Asserts that nothing went wrong; what was skipped has said so.
fn assert_clean(session: Session) {
    if let Session::Ran(found) = session {
        println!("{found:?}");
        assert!(found.is_clean() && found.acknowledged > 0, "{found:?}");
    }
}

#[test]
fn a_power_cut_under_the_spool_takes_nothing_that_was_acknowledged() {
    assert_clean(power::session(Build::Product, 1, 5));
}

#[test]
fn a_spool_that_does_not_sync_loses_events() {
    for protection in ["no_sync", "no_folder_sync"] {
        let found = match power::session(Build::Without(protection), 1, 1) {
            Session::Ran(found) => found,
            Session::Skipped(_) => return,
        };
        println!("{protection}: {found:?}");
        assert!(found.lost > 0, "{protection} was not found");
    }
}
