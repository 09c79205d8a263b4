//! ClickHouse stands still, is gone, or the spool has no room: events wait or are turned away, and nothing that was taken is lost.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a test that cannot go on fails; it waits, measures and says what it found"
)]

use headcount_tests::campaign::Build;
use headcount_tests::campaign::no_room::{Room, runs_out, stand_still};
use headcount_tests::collector::{Setup, signal};
use headcount_tests::law;
use headcount_tests::ledger::{EndsTheLoad, Fate, Kind, Ledger};

#[tokio::test]
async fn events_are_taken_while_the_engine_stands_still_and_arrive_once_when_it_is_replaced() {
    let config = "[public]\nworkers = 1\n[engine]\nmemory_bytes = 1_073_741_824\n[spool]\nbehind_after_seconds = 1\n";
    let setup = Setup::new("outage", config);
    let collector = setup.start();
    let engine = stand_still(&setup, &collector);
    let ledger = Ledger::new(collector.public(), 4, 200);
    ledger.send(Kind::Batch);
    ledger.send(Kind::Beacon);
    assert_eq!(ledger.count(Fate::Acknowledged), 204);
    collector.wait_until("the alarm", |collector| (collector.readiness() == (503, "behind".to_owned())).then_some(()));
    assert!((law::assert_holds(&collector) - 2_200.0).abs() < 0.5, "all of it waits");
    signal(engine, "KILL");
    collector.drained();
    assert!(law::assert_holds(&collector) < 0.5);
    assert_eq!(collector.readiness(), (200, "ready".to_owned()));
    assert_eq!(ledger.assert_kept(&setup.database()).await, 2_200);
}

#[tokio::test]
async fn a_full_spool_turns_events_away_and_takes_them_again_by_itself() {
    assert_turned_away_then_kept(Room::InSpool, 14).await;
}

#[tokio::test]
async fn a_full_disk_turns_events_away_and_takes_them_again_by_itself() {
    assert_turned_away_then_kept(Room::OnDisk, 20).await;
}

/// Large batches until there is no room for more, then the engine goes on.
async fn assert_turned_away_then_kept(room: Room, batches: u64) {
    let Some((setup, _disk)) = room.setup(Build::Product, "outage") else { return };
    let collector = setup.start();
    let engine = stand_still(&setup, &collector);
    let ledger = Ledger::new(collector.public(), batches, 5).padded(room.padding());
    std::thread::scope(|scope| {
        let _end = EndsTheLoad(&ledger);
        scope.spawn(|| ledger.send(Kind::Batch));
        runs_out(&collector, &ledger);
        let alarm = (503, room.alarm().to_owned());
        collector.wait_until("the alarm", |collector| (collector.readiness() == alarm).then_some(()));
        let (number, body) = ledger.draw(Kind::Batch);
        let headers = ["User-Agent: okhttp/4.12.0", "Content-Type: application/json", "Content-Encoding: gzip"];
        let answer = headcount_tests::http::send(collector.public(), "POST", "/v1/events", &headers, &body).unwrap();
        assert_eq!((answer.status, answer.header("retry-after")), (503, Some("5")));
        ledger.note(Kind::Batch, number, Fate::TurnedAway);
        signal(engine, "CONT");
        collector.wait_until("the rest of the load", |_| (ledger.acknowledged(Kind::Batch) >= batches).then_some(()));
    });
    ledger.send(Kind::Beacon);
    collector.drained();
    assert!(law::assert_holds(&collector) < 0.5);
    collector.wait_until("readiness", |collector| (collector.readiness().0 == 200).then_some(()));
    assert_eq!(ledger.assert_kept(&setup.database()).await, ledger.events());
    println!("{} requests were turned away", ledger.count(Fate::TurnedAway));
}
