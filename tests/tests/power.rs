//! What is acknowledged is stored exactly once although the power went: the real binary, the real engine, a disk that loses what was not synced.
#![allow(clippy::print_stdout, reason = "it says what it found")]

use headcount_tests::campaign::power::{self, Under};
use headcount_tests::campaign::{Build, Session};

/// Asserts that nothing went wrong; what was skipped has said so.
fn assert_clean(session: Session) {
    if let Session::Ran(found) = session {
        println!("{found:?}");
        assert!(found.is_clean() && found.acknowledged > 0, "{found:?}");
    }
}

#[test]
fn a_power_cut_under_the_spool_takes_nothing_that_was_acknowledged() {
    assert_clean(power::session(Build::Product, 1, 5, Under::Spool));
}

#[test]
fn a_power_cut_under_everything_takes_nothing_that_was_acknowledged() {
    assert_clean(power::session(Build::Product, 1, 5, Under::Everything));
}

#[test]
fn what_is_not_synced_is_lost() {
    for (protection, under) in [
        ("no_sync", Under::Spool),
        ("no_folder_sync", Under::Spool),
        ("no_part_sync", Under::Everything),
        ("no_name_sync", Under::Everything),
    ] {
        let Session::Ran(found) = power::session(Build::Without(protection), 1, 1, under) else { return };
        println!("{protection}: {found:?}");
        assert!(found.lost > 0, "{protection} was not found");
    }
}
