//! A disk takes a tenth of what comes: the rest is turned away at once, memory stays within its bound, and everything that was taken arrives once.
#![allow(clippy::print_stdout, reason = "it says what it found")]

use std::time::Duration;

use headcount_tests::campaign::slow_disk::{self, Figures};
use headcount_tests::campaign::{Build, Session};

const TIME: Duration = Duration::from_secs(7);

#[test]
fn what_a_slow_disk_cannot_take_is_turned_away_at_once_and_what_it_took_is_kept() {
    let (Session::Ran(found), Figures { broken, .. }) = slow_disk::session(Build::Product, 1, TIME) else { return };
    println!("{found:?}");
    assert!(found.is_clean() && found.acknowledged > 0, "{found:?} {broken:?}");
}

#[test]
fn where_nobody_is_turned_away_all_wait_for_the_slow_disk() {
    let (Session::Ran(found), Figures { broken, taken, .. }) = slow_disk::session(Build::Without("all_admitted"), 1, TIME) else { return };
    println!("{found:?} {broken:?}");
    assert!(found.lost == 0 && broken.iter().any(|promise| promise == "nobody was turned away"), "{found:?} {taken:?}");
}
