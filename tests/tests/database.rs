//! The database as the collector holds it: the engine's supervisor, and a plain server through the same client.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use bytes::Bytes;
use headcount::assets::{Asset, Assets};
use headcount::config::{ClickHouse, Password};
use headcount::store::client;
use headcount::store::database::{Database, Incarnation};
use headcount::store::engine::Start;
use headcount_engine::Options;
use headcount_tests::engine::eventually;

fn options(folder: &Path) -> Options {
    let library = Assets::locate().path(Asset::Engine).expect("libchdb");
    Options { library, data_path: folder.join("clickhouse"), socket: folder.join("run/engine.sock"), memory_bytes: 1 << 30 }
}

fn embedded(folder: &Path) -> Database {
    Database::embedded(Start { executable: env!("CARGO_BIN_EXE_engine_child").into(), options: options(folder) })
}

async fn process(folder: &Path) -> u32 {
    client::Pinger::new(&options(folder).socket).process().await.unwrap()
}

fn kill(process: u32) {
    assert!(Command::new("kill").args(["-9", &process.to_string()]).status().unwrap().success());
}

async fn another(database: &Database, before: Incarnation) -> Incarnation {
    eventually(async || database.available().await.is_some_and(|now| now != before)).await;
    database.available().await.unwrap()
}

#[tokio::test]
async fn an_engine_that_dies_is_started_again_as_another_incarnation() {
    let folder = tempfile::tempdir().unwrap();
    let database = embedded(folder.path());
    let first = database.available().await.unwrap();
    database.client().query("CREATE TABLE default.t (n UInt64) ENGINE = MergeTree ORDER BY n").execute().await.unwrap();
    database.client().query("INSERT INTO default.t SELECT number FROM numbers(10)").execute().await.unwrap();

    let first_process = process(folder.path()).await;
    kill(first_process);
    another(&database, first).await;
    assert_ne!(process(folder.path()).await, first_process);
    let rows: u64 = database.client().query("SELECT count() FROM default.t").fetch_one().await.unwrap();
    assert_eq!(rows, 10);

    let mut incarnation = database.incarnation();
    database.stop().await;
    assert_eq!(*incarnation.borrow_and_update(), None);
    assert!(!options(folder.path()).socket.exists(), "the engine ended gently");
}

#[tokio::test]
async fn stopping_does_not_wait_for_an_engine_that_cannot_start() {
    let folder = tempfile::tempdir().unwrap();
    let start = Start { executable: folder.path().join("missing"), options: options(folder.path()) };
    let database = Database::embedded(start);
    database.stop().await;
}

#[tokio::test]
async fn an_engine_ends_with_the_database_that_was_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let database = embedded(folder.path());
    database.available().await.unwrap();
    let child = process(folder.path()).await;
    drop(database);
    eventually(async || !Path::new(&format!("/proc/{child}/exe")).exists()).await;
}

struct PlainServer {
    child: Child,
    port: u16,
}

impl PlainServer {
    fn start(folder: &Path, port: u16) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_plain_server"))
            .args(options(folder).to_arguments())
            .args([port.to_string().as_str(), "ada", "secret"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port = line.trim().parse().unwrap();
        Self { child, port }
    }

    fn address(&self, password: &str) -> ClickHouse {
        ClickHouse {
            url: format!("http://127.0.0.1:{}", self.port).into(),
            user: "ada".into(),
            password: Password::from(password),
            database: "counts".into(),
        }
    }
}

impl Drop for PlainServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn a_server_takes_compressed_rows_and_its_restart_is_seen() {
    let folder = tempfile::tempdir().unwrap();
    let server = PlainServer::start(folder.path(), 0);
    let database = Database::server(&server.address("secret")).unwrap();
    let first = database.available().await.unwrap();
    // Another collector, or this one after a restart, sees the same life of the server.
    let other = Database::server(&server.address("secret")).unwrap();
    assert_eq!(other.available().await, Some(first));

    let client = database.client().clone().with_database("counts");
    client.query("CREATE TABLE t (n UInt64) ENGINE = MergeTree ORDER BY n").execute().await.unwrap();
    let mut insert = client::insert(&client, "INSERT INTO t (n) FORMAT RowBinary");
    for numbers in [0..100_000_u64, 100_000..200_000] {
        insert.send(numbers.flat_map(u64::to_le_bytes).collect::<Bytes>()).await.unwrap();
    }
    insert.end().await.unwrap();
    let sum: u64 = client.query("SELECT sum(n) FROM t").fetch_one().await.unwrap();
    assert_eq!(sum, 199_999 * 100_000);

    let port = server.port;
    drop(server);
    let server = PlainServer::start(folder.path(), port);
    let second = another(&database, first).await;
    assert_eq!(another(&other, first).await, second);
    drop(server);
    database.stop().await;
}

#[tokio::test]
async fn a_wrong_password_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let server = PlainServer::start(folder.path(), 0);
    for (password, allowed) in [("secret", true), ("wrong", false)] {
        let (client, _) = client::server(&server.address(password)).unwrap();
        assert_eq!(client.query("SELECT 1").execute().await.is_ok(), allowed, "{password}");
    }
}
