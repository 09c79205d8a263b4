//! `[clickhouse] url`: a plain server behind a user and a password takes the place of the embedded engine.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test that cannot go on fails; it waits and measures as it needs")]

use clickhouse::Client;
use headcount_tests::collector::Setup;
use headcount_tests::law;
use headcount_tests::ledger::{Kind, Ledger};
use headcount_tests::plain_server::{PASSWORD, PlainServer, USER};

fn config(server: &PlainServer, password: &str) -> String {
    let url = server.url();
    format!(
        "[public]\nworkers = 1\n[spool]\nbehind_after_seconds = 1\n[clickhouse]\nurl = \"{url}\"\nuser = \"{USER}\"\npassword = \"{password}\"\ndatabase = \"counts\"\n"
    )
}

fn database(server: &PlainServer) -> Client {
    Client::default().with_url(server.url()).with_user(USER).with_password(PASSWORD).with_database("counts")
}

#[tokio::test]
async fn a_server_that_restarts_under_load_has_everything_once() {
    let folder = tempfile::tempdir().unwrap();
    let first = PlainServer::start(folder.path(), 0);
    let setup = Setup::new("plain", &config(&first, PASSWORD));
    let collector = setup.start();
    let ledger = Ledger::new(collector.public(), 20, 1_000);
    let server = std::thread::scope(|scope| {
        for kind in [Kind::Batch, Kind::Beacon, Kind::Beacon] {
            let ledger = &ledger;
            scope.spawn(move || ledger.send(kind));
        }
        collector.wait_until("something to be delivered", |collector| {
            (collector.metric("headcount_inserted_rows_total{table=\"events\"}")? > 0.5).then_some(())
        });
        let port = first.port();
        drop(first);
        PlainServer::start(folder.path(), port)
    });
    collector.drained();
    assert_eq!(ledger.assert_kept(&database(&server)).await, ledger.events());
    assert!(law::assert_holds(&collector) < 0.5);
    assert!(collector.stop().success());
}

#[tokio::test]
async fn with_a_wrong_password_events_wait_and_the_operator_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let server = PlainServer::start(folder.path(), 0);
    let setup = Setup::new("refused", &config(&server, "wrong"));
    let mut collector = setup.start();
    let ledger = Ledger::new(collector.public(), 2, 20);
    ledger.send(Kind::Batch);
    ledger.send(Kind::Beacon);
    collector.wait_until("the alarm", |collector| (collector.readiness() == (503, "refused".to_owned())).then_some(()));
    assert_eq!(collector.metric("headcount_clickhouse_last_error_code"), Some(516.0));
    assert_eq!(collector.metric("headcount_delivery_stopped{table=\"events\"}"), Some(1.0));
    assert!((law::assert_holds(&collector) - 1_020.0).abs() < 0.5);
    let said = collector.log().join("\n");
    assert!(said.contains("the ClickHouse server cannot be used"), "{said}");
    assert!(!said.contains("wrong"), "the password is in no line");
    assert!(collector.stop().success());

    setup.configure(&config(&server, PASSWORD));
    let collector = setup.start();
    collector.drained();
    assert_eq!(ledger.assert_kept(&database(&server)).await, 1_020);
}
