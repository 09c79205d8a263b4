//! System calls that fail or hang: who waits for one is turned away, the collector lives on, and nothing that was acknowledged is lost.
#![allow(clippy::print_stdout, reason = "it says what it found")]

use headcount_tests::campaign::calls::{self, Noticed, ORDERS};
use headcount_tests::campaign::{Build, Session};

#[test]
fn a_call_that_fails_turns_away_who_waits_for_it_and_nobody_else() {
    let orders: Vec<_> = ORDERS.iter().map(|order| (*order, 2)).collect();
    if let Session::Ran(found) = calls::session(Build::Product, &orders) {
        println!("{found:?}");
        assert!(found.is_clean() && found.acknowledged > 0, "{found:?}");
    }
}

#[test]
fn where_failures_are_overlooked_what_was_acknowledged_is_lost() {
    let failing = ORDERS.iter().find(|order| order.noticed == Noticed::ByWhoWaits).expect("most are");
    if let Session::Ran(found) = calls::session(Build::Without("failure_overlooked"), &[(*failing, 2)]) {
        println!("{found:?}");
        assert!(found.lost > 0, "{found:?}");
    }
}
