//! The one database, whichever engine is behind it: a client, and which life of the engine answers it.
//!
//! After a failed insert it matters whether the engine that saw it is still the same process (see `sink`): its memory of tokens can be trusted
//! then. [`Incarnation`] names that process. The embedded engine's is drawn by its supervisor for each child. A server's is a row in a table
//! that lives in its memory only (`server_incarnation`, engine Memory): what is found there was written in this life of the server, so it is
//! the same for as long as the server lives, for every collector, whatever its clock does; and it is gone after a restart.
//!
//! What a watch knows may be old when it is used. So whoever sends takes a [`Line`]: one connection, and the life that was found at its other end after
//! it was open. Everything else that goes over the line goes to that life, because a connection does not outlive its process.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use clickhouse::Client;
use tokio::sync::{Mutex, watch};
use tokio::task::JoinSet;

use super::engine;
use crate::config::ClickHouse;
use crate::limits;
use crate::store::client::{self, Lines, within};
use crate::store::errors::Failure;

/// One life of ClickHouse's process. Never the same for two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Incarnation(pub u64);

impl Incarnation {
    /// A new one; `None` when the kernel gives no random bytes, and then nothing may be relied on.
    pub(super) fn random() -> Option<Self> {
        getrandom::u64().ok().map(Self)
    }
}

/// One connection to ClickHouse, and who is at its other end.
#[derive(Debug)]
pub struct Line {
    /// A client with the database chosen, which has this connection and no other.
    pub client: Client,
    /// The life of ClickHouse that everything reaches which is sent over it.
    pub incarnation: Incarnation,
}

/// Where segments go, and which life of ClickHouse takes them.
#[derive(Clone, Debug)]
pub struct Target {
    /// A client with the database chosen.
    pub client: Client,
    /// Held by whoever inserts into `events`, for a segment at a time, and by who must not be disturbed by that.
    pub inserting: Arc<Mutex<()>>,
    incarnation: watch::Receiver<Option<Incarnation>>,
    lines: Lines,
    database: Box<str>,
    life: Life,
}

/// How the life at the other end of a line is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    /// By the supervisor, who does not start a child before it has said that the last one is gone: whoever answers while it names one is that one.
    Supervised,
    /// By what the server says.
    Stated,
}

impl Target {
    /// The database of that name in the engine behind `socket`, whose supervisor says which life of it answers.
    pub fn embedded(socket: &Path, database: &str, incarnation: watch::Receiver<Option<Incarnation>>) -> Self {
        let client = client::embedded(socket).with_database(database);
        let inserting = Arc::default();
        Self { client, inserting, incarnation, lines: client::embedded_lines(socket), database: database.into(), life: Life::Supervised }
    }

    /// Opens a line to the life that answers now.
    ///
    /// # Errors
    /// When none answers, or it has not said yet which one it is.
    pub async fn line(&self) -> Result<Line, Failure> {
        let client = self.lines.one().with_database(&*self.database);
        let named = || *self.incarnation.borrow();
        let incarnation = match self.life {
            Life::Supervised => {
                let before = named();
                within(client.query("SELECT 1").fetch_all::<u8>()).await?;
                named().filter(|after| before == Some(*after))
            }
            Life::Stated => within(stated(&client, &self.database)).await?,
        };
        incarnation.map(|incarnation| Line { client, incarnation }).ok_or(Failure::Restarted)
    }

    /// Waits until ClickHouse answers; `None` when it never will, as it is being stopped.
    pub async fn available(&self) -> Option<Incarnation> {
        *self.incarnation.clone().wait_for(Option::is_some).await.ok()?
    }
}

/// ClickHouse, as a child process of ours or as a server.
#[derive(Debug)]
pub struct Database {
    client: Client,
    /// Where the tables are.
    name: Box<str>,
    incarnation: watch::Receiver<Option<Incarnation>>,
    lines: Lines,
    life: Life,
    trouble: watch::Receiver<Option<Failure>>,
    stop: watch::Sender<bool>,
    keeper: JoinSet<()>,
    inserting: Arc<Mutex<()>>,
}

impl Database {
    /// Starts the embedded engine and keeps it running. Returns at once; needs a tokio runtime.
    pub fn embedded(start: engine::Start) -> Self {
        let clients = (client::embedded(&start.options.socket), client::embedded_lines(&start.options.socket));
        // The database that ClickHouse makes by itself.
        Self::kept(clients, "default", Life::Supervised, |keeper| engine::supervise(start, keeper.tell, keeper.stop))
    }

    /// Uses a server, and watches it.
    ///
    /// # Errors
    /// When the system's trusted certificates cannot be read, which `https` needs.
    pub fn server(server: &ClickHouse) -> std::io::Result<Self> {
        let database = server.database.to_string();
        let clients = client::server(server)?;
        Ok(Self::kept(clients, &server.database, Life::Stated, |keeper| watch_server(keeper, database)))
    }

    fn kept<Keeping>((client, lines): (Client, Lines), name: &str, life: Life, keep: impl FnOnce(Keeper) -> Keeping) -> Self
    where
        Keeping: Future<Output = ()> + Send + 'static,
    {
        let (tell, incarnation) = watch::channel(None);
        let (tell_trouble, trouble) = watch::channel(None);
        let (stop, stopped) = watch::channel(false);
        let mut keeper = JoinSet::new();
        keeper.spawn(keep(Keeper { client: client.clone(), tell, tell_trouble, stop: stopped }));
        Self { client, name: name.into(), incarnation, lines, life, trouble, stop, keeper, inserting: Arc::default() }
    }

    /// A client of the database that holds the tables.
    pub fn tables(&self) -> Client {
        self.client.clone().with_database(&*self.name)
    }

    /// Where the sink delivers to.
    pub fn target(&self) -> Target {
        let (incarnation, lines) = (self.incarnation(), self.lines.clone());
        let inserting = Arc::clone(&self.inserting);
        Target { client: self.tables(), inserting, incarnation, lines, database: self.name.clone(), life: self.life }
    }

    /// The client, without a database chosen.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Which life of ClickHouse answers now; `None` while none does.
    pub fn incarnation(&self) -> watch::Receiver<Option<Incarnation>> {
        self.incarnation.clone()
    }

    /// Why a server cannot be used, while it cannot. The embedded engine says so in the log.
    pub fn trouble(&self) -> watch::Receiver<Option<Failure>> {
        self.trouble.clone()
    }

    /// Waits until ClickHouse answers; `None` when it never will, as it is being stopped.
    pub async fn available(&self) -> Option<Incarnation> {
        *self.incarnation.clone().wait_for(Option::is_some).await.ok()?
    }

    /// Ends the embedded engine, gently up to [`limits::ENGINE_STOP_DEADLINE`]; a server is only left alone.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        while self.keeper.join_next().await.is_some() {}
    }
}

/// What whoever keeps a database running, or watches it, has.
struct Keeper {
    client: Client,
    /// Which life answers.
    tell: watch::Sender<Option<Incarnation>>,
    /// Why none does.
    tell_trouble: watch::Sender<Option<Failure>>,
    stop: watch::Receiver<bool>,
}

/// Looks at a server again and again and tells which life of it answers.
async fn watch_server(keeper: Keeper, database: String) {
    let Keeper { client, tell, tell_trouble, mut stop } = keeper;
    while !*stop.borrow() {
        let looking = tokio::time::timeout(limits::DATABASE_LOOK_DEADLINE, look(&client, &database));
        let looked = tokio::select! {
            looked = looking => looked.unwrap_or(Err(clickhouse::error::Error::TimedOut)).map_err(Failure::from),
            _ = stop.wait_for(|stop| *stop) => return,
        };
        let failure = looked.err();
        let is_news = tell_trouble.send_if_modified(|told| std::mem::replace(told, failure) != failure);
        if let Some(failure) = failure.filter(|_| is_news) {
            tracing::error!(%failure, "the ClickHouse server cannot be used; events wait in the spool");
        }
        let seen = looked.ok().flatten();
        let changed = tell.send_if_modified(|known| std::mem::replace(known, seen) != seen);
        if changed && seen.is_some() {
            tracing::info!("the ClickHouse server answers");
        }
        let wait = if seen.is_some() { limits::DATABASE_LOOK_INTERVAL } else { Duration::from_secs(1) };
        let _ = tokio::time::timeout(wait, stop.wait_for(|stop| *stop)).await;
    }
}

/// Reads the server's incarnation, and writes one when this life of it has none yet.
async fn look(client: &Client, database: &str) -> clickhouse::error::Result<Option<Incarnation>> {
    if let Ok(Some(known)) = stated(client, database).await {
        return Ok(Some(known));
    }
    let table = incarnation_table(database);
    client.query(&format!("CREATE DATABASE IF NOT EXISTS {database}")).execute().await?;
    client.query(&format!("CREATE TABLE IF NOT EXISTS {table} (id UInt64, at DateTime64(6)) ENGINE = Memory")).execute().await?;
    let Some(Incarnation(id)) = Incarnation::random() else { return Ok(None) };
    let write = format!("INSERT INTO {table} SELECT {{id:UInt64}}, now64(6)");
    client.query(&write).param("id", id).execute().await?;
    // Read at the next look only: another collector's earlier row may still be on its way into the table.
    Ok(None)
}

/// The life that a server says it is; `None` when nobody has named this one yet.
async fn stated(client: &Client, database: &str) -> clickhouse::error::Result<Option<Incarnation>> {
    // The first writer's row counts, should two collectors have written.
    let read = format!("SELECT id FROM {} ORDER BY at, id LIMIT 1", incarnation_table(database));
    Ok(client.query(&read).fetch_all::<u64>().await?.pop().map(Incarnation))
}

/// The configuration takes letters, digits and underscores for a database's name.
fn incarnation_table(database: &str) -> String {
    format!("{database}.server_incarnation")
}
