//! What is acknowledged is stored exactly once whatever the network does to inserts, and whoever dies meanwhile: the real binary, a plain server, and a
//! proxy between the two.
#![allow(clippy::print_stdout, reason = "it says what it found")]

use headcount_tests::campaign::{Build, Found, Session, clickhouse, network};

fn found(session: Session) -> Found {
    let Session::Ran(found) = session else { panic!("it lacks nothing") };
    println!("{found:?}");
    found
}

fn assert_clean(session: Session) {
    let found = found(session);
    assert!(found.is_clean() && found.acknowledged > 0, "{found:?}");
}

#[test]
fn connections_that_are_cut_reset_stalled_and_slowed_down_lose_and_double_nothing() {
    assert_clean(network::each_prompt_fault());
}

#[test]
fn connections_that_fall_silent_are_given_up_and_lose_and_double_nothing() {
    assert_clean(network::silence(0, 2));
}

#[test]
fn a_server_that_dies_after_an_insert_whose_answer_was_lost_has_everything_once() {
    assert_clean(network::control(Build::Product));
}

#[test]
fn whatever_is_wrong_with_clickhouse_is_told_and_delivery_goes_on_once_it_is_mended() {
    let found = found(clickhouse::each_trouble());
    assert!(found.is_clean() && found.acknowledged > 0 && found.parked > 0, "{found:?}");
}

#[test]
fn rows_whose_cells_did_not_arrive_get_them() {
    assert_clean(network::rows_without_cells(Build::Product));
}

#[test]
fn without_the_token_or_the_read_back_rows_are_doubled() {
    for protection in ["no_token", "no_read_back"] {
        let found = found(network::control(Build::Without(protection)));
        // Rows of `events`, or of the counts beside them.
        assert!(found.doubled + found.wrong > 0, "{protection} was not found: {found:?}");
    }
}

#[test]
fn without_the_marker_cells_are_missing() {
    let found = found(network::control(Build::Without("no_marker")));
    assert!(found.wrong > 0, "{found:?}");
}
