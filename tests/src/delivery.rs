//! The sink alone: a database with tables, a spool, and segments that a test makes and delivers.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clickhouse::Client;
use headcount::row::{EVENTS, Stamp};
use headcount::sink;
use headcount::sink::metrics::Metrics;
use headcount::spool::{Sealed, Spool};
use headcount::store::database::{Incarnation, Target};
use headcount::store::migrate::migrate;
use headcount::store::rollup;
use tempfile::TempDir;
use tokio::sync::mpsc::unbounded_channel;
use tokio::sync::watch;

use crate::engine::EngineChild;
use crate::segments::{Request, encode, pageview, sealed, site, spool};

/// Runs a statement.
///
/// # Panics
/// When it fails.
pub async fn execute(client: &Client, sql: &str) {
    client.query_raw(sql).execute().await.unwrap_or_else(|error| panic!("{sql}: {error}"));
}

/// Asks for a number.
///
/// # Panics
/// When there is no answer.
pub async fn number(client: &Client, sql: &str) -> u64 {
    client.query_raw(sql).fetch_one().await.unwrap_or_else(|error| panic!("{sql}: {error}"))
}

/// A database with tables, a spool, and a sink whose knowledge of the engine's lives is the test's to change.
pub struct Bench {
    /// A client of the database.
    pub client: Client,
    socket: PathBuf,
    database: &'static str,
    /// Which life of the engine the sink believes to be there.
    pub incarnation: watch::Sender<Option<Incarnation>>,
    /// What the sink has counted.
    pub metrics: Arc<Metrics>,
    /// The spool.
    pub spool: Arc<Spool>,
    _folder: TempDir,
}

impl Bench {
    /// With a fresh database of that name.
    ///
    /// # Panics
    /// When it cannot be made.
    pub async fn new(engine: &EngineChild, database: &'static str) -> Self {
        execute(&engine.client(), &format!("CREATE DATABASE {database}")).await;
        let client = engine.client().with_database(database);
        migrate(&client).await.expect("it works");
        let folder = tempfile::tempdir().expect("it works");
        let spool = spool(folder.path());
        let (socket, incarnation) = (engine.socket().to_owned(), watch::Sender::new(Some(Incarnation(1))));
        Self { client, socket, database, incarnation, metrics: Arc::default(), spool, _folder: folder }
    }

    /// Another life of the engine, reached by `client`.
    pub fn reborn(&mut self, client: Client) {
        self.client = client;
        let next = self.incarnation.borrow().map_or(1, |Incarnation(number)| number + 1);
        self.incarnation.send_replace(Some(Incarnation(next)));
    }

    /// Runs the sink on segments until all are delivered, parked or held.
    ///
    /// # Panics
    /// When the database is not for this version.
    pub async fn deliver(&self, recovered: Vec<Sealed>, fresh: Vec<Sealed>) {
        let (sender, incoming) = unbounded_channel();
        for segment in fresh {
            sender.send(segment).expect("it works");
        }
        drop(sender);
        sink::run(self.target(), Arc::clone(&self.spool), recovered, incoming, Arc::clone(&self.metrics)).await.expect("it works");
    }

    /// Where the sink delivers to.
    pub fn target(&self) -> Target {
        Target::embedded(&self.socket, self.database, self.incarnation.subscribe())
    }

    /// One segment of page views: every tenth visitor is another one, every hundredth page too.
    ///
    /// # Panics
    /// When it becomes more than one.
    pub async fn pageviews(&self, rows: u64) -> Sealed {
        self.pages(&[rows], |number| format!("/page/{}", number / 100)).await
    }

    /// One segment of page views in requests of so many rows, each of the page that `page` says for its number.
    ///
    /// # Panics
    /// When it becomes more than one.
    pub async fn pages(&self, requests: &[u64], page: impl Fn(u64) -> String) -> Sealed {
        let site = site("example.org");
        let next = std::cell::Cell::new(0);
        let row = |_: u64, out: &mut Vec<u8>, stamp: Stamp| {
            let number = next.replace(next.get() + 1);
            let mut event = pageview(&site);
            event.page.path = page(number).into();
            encode(&event, number / 10, out, stamp);
        };
        let requests: Vec<Request<'_>> = requests.iter().map(|rows| Request { layout: &EVENTS, rows: *rows, encode: &row }).collect();
        let mut segments = sealed(&self.spool, &requests).await.expect("it works");
        assert_eq!(segments.len(), 1);
        segments.remove(0)
    }

    /// Rows of the segment in the table, and in the rollup by its proof.
    pub async fn counts(&self) -> (u64, u64) {
        let rolled_up = format!("SELECT sum(pageviews) FROM rollup_open WHERE dimension = '{}'", rollup::ALL);
        (number(&self.client, "SELECT count() FROM events").await, number(&self.client, &rolled_up).await)
    }
}

/// Inserts what a segment holds as an earlier process would have, cut to its first `rows`.
///
/// # Panics
/// When the database does not take it.
pub async fn insert_by_hand(client: &Client, segment: &Sealed, token: &str) {
    let mut reader = segment.reader().expect("it works");
    let columns = &segment.header().columns;
    let sql = format!(
        "INSERT INTO events ({columns}) SETTINGS async_insert = 0, insert_deduplicate = 1, \
         deduplicate_blocks_in_dependent_materialized_views = 1, insert_deduplication_token = '{token}' FORMAT RowBinary"
    );
    let mut insert = client.insert_formatted_with(sql);
    while let Some(rows) = reader.next_rows().expect("it works") {
        insert.send(bytes::Bytes::copy_from_slice(rows)).await.expect("it works");
    }
    insert.end().await.expect("it works");
}

/// How many segments lie in this folder of the spool.
///
/// # Panics
/// When it cannot be read.
pub fn files(spool: &Spool, folder: &str) -> usize {
    let path = spool.folder().join(folder);
    let is_segment = |path: &Path| path.extension().is_some_and(|extension| extension == "sealed");
    std::fs::read_dir(path).map_or(0, |entries| entries.filter(|entry| is_segment(&entry.as_ref().expect("it works").path())).count())
}
