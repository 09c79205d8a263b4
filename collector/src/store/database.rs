//! The one database, whichever engine is behind it: a client, and which life of the engine answers it.
//!
//! After a failed insert it matters whether the engine that saw it is still the same process (see `sink`): its memory of tokens can be trusted
//! then. [`Incarnation`] names that process. The embedded engine's is drawn by its supervisor for each child. A server's is a row in a table
//! that lives in its memory only (`server_incarnation`, engine Memory): what is found there was written in this life of the server, so it is
//! the same for as long as the server lives, for every collector, whatever its clock does; and it is gone after a restart.

use std::time::Duration;

use clickhouse::Client;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::engine;
use crate::config::ClickHouse;
use crate::limits;
use crate::store::client;
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

/// Where segments go, and which life of ClickHouse takes them.
#[derive(Clone, Debug)]
pub struct Target {
    /// A client with the database chosen.
    pub client: Client,
    /// Which life of ClickHouse answers it; `None` while none does.
    pub incarnation: watch::Receiver<Option<Incarnation>>,
    /// How long it may take until a restart shows in `incarnation`: nothing for a child of ours, a look's interval for a server.
    pub restart_seen_within: Duration,
}

impl Target {
    /// Waits until ClickHouse answers; `None` when it never will, as it is being stopped.
    pub async fn available(&self) -> Option<Incarnation> {
        *self.incarnation.clone().wait_for(Option::is_some).await.ok()?
    }

    /// True while this life answers, as far as is known.
    pub fn is_answered_by(&self, incarnation: Incarnation) -> bool {
        *self.incarnation.borrow() == Some(incarnation)
    }
}

/// ClickHouse, as a child process of ours or as a server.
#[derive(Debug)]
pub struct Database {
    client: Client,
    /// Where the tables are.
    name: Box<str>,
    incarnation: watch::Receiver<Option<Incarnation>>,
    restart_seen_within: Duration,
    stop: watch::Sender<bool>,
    keeper: JoinSet<()>,
}

impl Database {
    /// Starts the embedded engine and keeps it running. Returns at once; needs a tokio runtime.
    pub fn embedded(start: engine::Start) -> Self {
        let client = client::embedded(&start.options.socket);
        // The database that ClickHouse makes by itself; the supervisor knows of a child's end at once.
        Self::kept((client, "default"), Duration::ZERO, |tell, stop, _| engine::supervise(start, tell, stop))
    }

    /// Uses a server, and watches it.
    ///
    /// # Errors
    /// When the system's trusted certificates cannot be read, which `https` needs.
    pub fn server(server: &ClickHouse) -> std::io::Result<Self> {
        let database = server.database.to_string();
        let seen_within = limits::DATABASE_LOOK_INTERVAL + limits::DATABASE_LOOK_DEADLINE;
        let client = (client::server(server)?, &*server.database);
        Ok(Self::kept(client, seen_within, |tell, stop, client| watch_server(client, database, tell, stop)))
    }

    fn kept<Keeper>(
        (client, name): (Client, &str),
        restart_seen_within: Duration,
        keep: impl FnOnce(watch::Sender<Option<Incarnation>>, watch::Receiver<bool>, Client) -> Keeper,
    ) -> Self
    where
        Keeper: Future<Output = ()> + Send + 'static,
    {
        let (tell, incarnation) = watch::channel(None);
        let (stop, stopped) = watch::channel(false);
        let mut keeper = JoinSet::new();
        keeper.spawn(keep(tell, stopped, client.clone()));
        Self { client, name: name.into(), incarnation, restart_seen_within, stop, keeper }
    }

    /// A client of the database that holds the tables.
    pub fn tables(&self) -> Client {
        self.client.clone().with_database(&*self.name)
    }

    /// Where the sink delivers to.
    pub fn target(&self) -> Target {
        Target { client: self.tables(), incarnation: self.incarnation(), restart_seen_within: self.restart_seen_within }
    }

    /// The client, without a database chosen.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Which life of ClickHouse answers now; `None` while none does.
    pub fn incarnation(&self) -> watch::Receiver<Option<Incarnation>> {
        self.incarnation.clone()
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

/// Looks at a server again and again and tells which life of it answers.
async fn watch_server(client: Client, database: String, tell: watch::Sender<Option<Incarnation>>, mut stop: watch::Receiver<bool>) {
    let mut told = None;
    while !*stop.borrow() {
        let looking = tokio::time::timeout(limits::DATABASE_LOOK_DEADLINE, look(&client, &database));
        let looked = tokio::select! {
            looked = looking => looked.unwrap_or(Err(clickhouse::error::Error::TimedOut)).map_err(Failure::from),
            _ = stop.wait_for(|stop| *stop) => return,
        };
        let failure = looked.err();
        if let Some(failure) = failure.filter(|failure| told != Some(*failure)) {
            tracing::error!(%failure, "the ClickHouse server cannot be used; events wait in the spool");
        }
        told = failure;
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
    // The configuration takes letters, digits and underscores for a database's name.
    let table = format!("{database}.server_incarnation");
    // The first writer's row counts, should two collectors have written.
    let read = format!("SELECT id FROM {table} ORDER BY at, id LIMIT 1");
    let known = client.query(&read).fetch_optional::<u64>().await;
    if let Ok(Some(id)) = known {
        return Ok(Some(Incarnation(id)));
    }
    client.query(&format!("CREATE DATABASE IF NOT EXISTS {database}")).execute().await?;
    client.query(&format!("CREATE TABLE IF NOT EXISTS {table} (id UInt64, at DateTime64(6)) ENGINE = Memory")).execute().await?;
    let Some(Incarnation(id)) = Incarnation::random() else { return Ok(None) };
    let write = format!("INSERT INTO {table} SELECT {{id:UInt64}}, now64(6)");
    client.query(&write).param("id", id).execute().await?;
    // Read at the next look only: another collector's earlier row may still be on its way into the table.
    Ok(None)
}
