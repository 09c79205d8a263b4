//! An order to stop costs no event: requests in flight are answered, and what was answered is kept.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a test that cannot go on fails; it waits, measures and says what it found"
)]

use std::net::TcpStream;
use std::time::{Duration, Instant};

use headcount::limits::{ENGINE_STOP_DEADLINE, SHUTDOWN_DEADLINE};
use headcount_tests::collector::{BROWSER, Setup};
use headcount_tests::http::Connection;
use headcount_tests::ledger::{Fate, Kind, Ledger};

const CONFIG: &str = "[public]\nworkers = 2\n[engine]\nmemory_bytes = 1_073_741_824\n";

#[tokio::test]
async fn a_collector_told_to_stop_answers_what_is_in_flight_and_keeps_what_it_answered() {
    for signal in ["TERM", "INT"] {
        let setup = Setup::new("drain", CONFIG);
        let collector = setup.start();
        let address = collector.public();
        let ledger = Ledger::new(address, 1_000_000, 1_000_000);
        let mut held: Vec<_> = (0..4).map(|_| begin(&ledger, address)).collect();
        let (status, took) = std::thread::scope(|scope| {
            for kind in [Kind::Batch, Kind::Beacon, Kind::Beacon, Kind::Beacon] {
                let ledger = &ledger;
                scope.spawn(move || ledger.send(kind));
            }
            collector.wait_until("the load", |_| (ledger.events() > 3_000 && ledger.acknowledged(Kind::Beacon) > 200).then_some(()));
            let ordered = Instant::now();
            collector.signal(signal);
            collector.wait_until("the listener to close", |_| TcpStream::connect(address).is_err().then_some(()));
            assert_eq!(collector.readiness(), (503, "stopping".to_owned()), "{signal}: the operator can watch to the end");
            for (connection, number, body) in &mut held {
                let answer = connection.raw(body).unwrap();
                assert_eq!(answer.status, 204, "{signal}: in flight when the order came");
                ledger.note(Kind::Beacon, *number, Fate::Acknowledged);
            }
            let status = collector.ended();
            ledger.end();
            (status, ordered.elapsed())
        });
        assert_eq!(status.code(), Some(0), "{signal}");
        assert!(took < SHUTDOWN_DEADLINE + ENGINE_STOP_DEADLINE + Duration::from_secs(5), "{signal}: {took:?}");

        let collector = setup.start();
        collector.drained();
        // Not one request was stored and then cut off without its answer.
        assert_eq!(ledger.assert_kept(&setup.database()).await, ledger.events(), "{signal}");
        println!(
            "{signal}: {} events acknowledged, {} requests unanswered, ended in {took:.1?}",
            ledger.events(),
            ledger.count(Fate::Unanswered)
        );
    }
}

/// A request whose head the collector has read and whose body it waits for: it says so with `100 Continue`.
fn begin(ledger: &Ledger, address: std::net::SocketAddr) -> (Connection, u64, Vec<u8>) {
    let (number, body) = ledger.draw(Kind::Beacon);
    let mut connection = Connection::open(address).unwrap();
    let head = format!(
        "POST /e HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\n{BROWSER}\r\nContent-Length: {}\r\nExpect: 100-continue\r\n\r\n",
        body.len()
    );
    assert_eq!(connection.raw(head.as_bytes()).unwrap().status, 100);
    (connection, number, body)
}
