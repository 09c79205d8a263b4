//! Starting, running and stopping the collector: who owns what, and in which order it comes and goes.
//!
//! ```text
//! start   bind · spool (recover what a crash left) · keys · data files · workers · private listener · ClickHouse · sink · care of the days
//! stop    workers (stop accepting, finish requests, seal) · sink (deliver, with a deadline) · ClickHouse · private listener
//! ```
//!
//! Workers accept events as soon as they run; ClickHouse may take its time or be away.

pub(crate) mod care;
mod data_files;
mod deletions;
mod delivery;
mod orders;
mod share;
mod upkeep;
mod workers;

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;

use arc_swap::ArcSwap;
use headcount_engine::Options;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::access::Tokens;
use crate::api::Api;
use crate::assets::{Asset, Assets};
use crate::backup;
use crate::clock::{Clock, Zone};
use crate::config::{Config, ConfigError, Store};
use crate::days::Intake;
use crate::distinct::Distinct;
use crate::export::{self, Progress};
use crate::insight::Sources;
use crate::instance::{Instance, InstanceError};
use crate::limits::{BODIES_IN_FLIGHT_BYTES, SHUTDOWN_DEADLINE};
use crate::metrics::AllEventCounts;
use crate::pages;
use crate::privacy::Guards;
use crate::privacy::keys::{KeyStore, KeyStoreError, Keys};
use crate::privacy::proxy::Trust;
use crate::server::limits::BodyBudget;
use crate::server::metrics::Counts;
use crate::server::private::{Private, Token, serve_private};
use crate::server::share::Door;
use crate::server::{self, Pages, Paths};
use crate::shutdown::{self, Order, Signals, Stop, Stopper};
use crate::sink::metrics::Metrics;
use crate::spool::recover::{RecoverError, recover};
use crate::spool::{OpenError, Spool};
use crate::statement;
use crate::store::database::Database;
use crate::store::engine;
use crate::store::migrate::MigrateError;
use crate::telemetry::log_key_changes;
use crate::worker::Shared;

use deletions::Deletions;

pub use data_files::DataFileError;
pub(crate) use data_files::geo as countries;

/// Why the collector cannot start, or why it ended without being told to.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Another collector has the data folder.
    #[error(transparent)]
    Instance(#[from] InstanceError),
    /// An address cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The spool cannot be used.
    #[error(transparent)]
    Spool(#[from] OpenError),
    /// What lies in the spool cannot be taken over.
    #[error(transparent)]
    Recover(#[from] RecoverError),
    /// The keys cannot be kept.
    #[error(transparent)]
    Keys(#[from] KeyStoreError),
    /// A data file is missing or not what it should be.
    #[error(transparent)]
    DataFile(#[from] DataFileError),
    /// The client of a ClickHouse server cannot be made.
    #[error("the ClickHouse client cannot be made")]
    Client(#[source] io::Error),
    /// The system refuses a thread, a signal or a runtime.
    #[error("the system refuses what is needed to run")]
    System(#[from] io::Error),
    /// The database must not be touched.
    #[error(transparent)]
    Database(MigrateError),
    /// A restore has begun and not ended: what is in the folder is not all of it.
    #[error("data_dir = {}: a restore into it was not finished: run `headcount restore` again", .0.display())]
    HalfRestored(PathBuf),
    /// A worker ended by itself.
    #[error("a worker ended by itself; the collector stops rather than run without it")]
    WorkerEnded,
}

/// A collector that runs. Must be stopped by [`Running::stop`]; dropping it stops workers but waits for nothing.
pub struct Running {
    shared: Arc<Shared>,
    config: Config,
    token: Token,
    stopper: Stopper,
    private_stopper: Stopper,
    trouble: UnboundedReceiver<ServeError>,
    workers: Vec<JoinHandle<io::Result<()>>>,
    upkeep: tokio::task::JoinHandle<()>,
    orders: tokio::task::JoinHandle<()>,
    days: tokio::task::JoinHandle<()>,
    private: tokio::task::JoinHandle<io::Result<()>>,
    strangers: tokio::task::JoinHandle<()>,
    exporting: Option<tokio::task::JoinHandle<()>>,
    delivery: tokio::task::JoinHandle<()>,
    restoring: tokio::task::JoinHandle<()>,
    database: Database,
    _instance: Instance,
}

/// Runs until a signal says stop. `tell` is called once, when visitors are listened to; `reload` reads the configuration again.
pub fn run(
    config: Config,
    reload: impl Fn() -> Result<Config, ConfigError>,
    tell: impl FnOnce(&Running) -> io::Result<()>,
) -> Result<(), ServeError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut signals = Signals::take()?;
        let mut running = Running::start(config, Clock::system())?;
        tell(&running)?;
        loop {
            let order = tokio::select! {
                order = signals.next() => order,
                trouble = running.trouble.recv() => {
                    let stopped = running.stop().await;
                    return trouble.map_or(stopped, Err);
                }
            };
            match order {
                Order::Stop => return running.stop().await,
                Order::Reload => match reload() {
                    Ok(config) => running.follow(&config),
                    Err(error) => tracing::error!(%error, "the configuration is not read again; the old one stays"),
                },
            }
        }
    })
}

impl Running {
    #[expect(clippy::disallowed_methods, reason = "`stop` waits for every task that is started here")]
    /// Starts everything. Needs a running runtime, which carries the delivery to ClickHouse, the private listener and the upkeep.
    pub fn start(mut config: Config, clock: Clock) -> Result<Self, ServeError> {
        let instance = Instance::claim(&config.data_dir)?;
        if backup::is_unfinished(&config.data_dir) {
            return Err(ServeError::HalfRestored(config.data_dir));
        }
        let listeners = listen(config.public.listen, |address| server::bind(address, config.public.workers.get()))?;
        let private = listen(config.private.listen, bind_private)?;
        // Port 0 is a question; from here on the configuration has the answer.
        config.public.listen = listeners[0].local_addr()?;
        config.private.listen = private.local_addr()?;
        let spool = Arc::new(Spool::open(&config.spool_dir(), config.spool.max_bytes)?);
        spool.seen().close_days_after(config.close_after_hours);
        let recovered = recover(&spool)?;
        if recovered.quarantined > 0 {
            tracing::error!(pieces = recovered.quarantined, "the spool was damaged; what cannot be read lies in its folder `quarantine`");
        }
        let token = Token::of(&config.data_dir)?;
        let shared = Arc::new(shared(&config, clock)?);
        let (stopper, stop) = shutdown::pair();
        let (private_stopper, private_stop) = shutdown::pair();
        let (sealed, incoming) = unbounded_channel();
        let (tell_trouble, trouble) = unbounded_channel();
        let events = AllEventCounts::new(listeners.len());
        let connections: Vec<Arc<Counts>> = listeners.iter().map(|_| Arc::default()).collect();
        let (recovered_events, waiting_events) = (spool.gauge().known_events(), spool.gauge().events());
        let orders = orders::start(Arc::clone(&spool), shared.clock.clone(), sealed.clone(), stop.clone());
        let (door, asked) = share::door(&config, &shared);
        let kit = workers::Kit {
            shared: Arc::clone(&shared),
            spool: Arc::clone(&spool),
            pages: Arc::new(public_pages(&config, door)),
            budget: BodyBudget::of(BODIES_IN_FLIGHT_BYTES),
            sealed,
            events: events.clone(),
            connections: connections.clone(),
            stop: stop.clone(),
            trouble: tell_trouble.clone(),
        };
        let workers = workers::start(kit, listeners)?;
        let seen = Arc::clone(spool.seen());
        let upkeep = tokio::spawn(upkeep::run(Arc::clone(&shared), events.clone(), config.close_after_hours, seen, stop.clone()));
        let database = database(&config)?;
        let strangers = tokio::spawn(share::answer(asked, Arc::clone(&shared), database.tables()));
        let delivered = Arc::new(Metrics::default());
        let target = database.target();
        let hold = Deletions::hold_from_the_start(&config.data_dir, &target);
        let segments = (recovered.sealed, incoming);
        let source = backup::Source { client: database.tables(), config: config.file.clone(), data_dir: config.data_dir.clone() };
        let source = (Arc::clone(&spool), source);
        let delivery = delivery::start(target.clone(), source, segments, Arc::clone(&delivered), tell_trouble);
        let back = config.close_after_hours.div_ceil(24);
        let restoring = delivery::restore_distinct(database.target(), Arc::clone(&shared), Arc::clone(&delivered), waiting_events, back);
        let restoring = tokio::spawn(restoring);
        let (data_dir, spool_dir, metrics) = (config.data_dir.clone(), config.spool_dir(), Arc::clone(&delivered));
        let days = care::start(
            Deletions { target, shared: Arc::clone(&shared), data_dir, spool: spool_dir, metrics, hold, refused: BTreeSet::new() },
            stop.clone(),
        );
        let exported = config.export_dir.is_some().then(Arc::<Progress>::default);
        let exporting = config.export_dir.as_deref().zip(exported.clone());
        let exporting =
            exporting.map(|(dir, progress)| export::start(dir, database.target(), shared.clock.clone(), progress, stop.clone()));
        let insight = Sources {
            config: config.clone(),
            shared: Arc::clone(&shared),
            events,
            connections,
            spool,
            recovered_events,
            sink: delivered,
            trouble: database.trouble(),
            exported,
            client: database.tables(),
            data_files: data_files::made(&config, &shared.guards),
            stop: stop.clone(),
        };
        let private = tokio::spawn(serve_private(private_parts(&config, token.clone(), insight), private, stopping(private_stop)));
        Ok(Self {
            shared,
            config,
            token,
            stopper,
            private_stopper,
            trouble,
            workers,
            upkeep,
            orders,
            days,
            private,
            strangers,
            exporting,
            delivery,
            restoring,
            database,
            _instance: instance,
        })
    }

    /// Where visitors are listened to.
    pub fn public_address(&self) -> SocketAddr {
        self.config.public.listen
    }

    /// How visitors reach it.
    pub fn visitors_url(&self) -> String {
        self.config.visitors_url()
    }

    /// The link that logs the operator in.
    pub fn operators_link(&self) -> String {
        self.token.link(&self.config.private.url())
    }

    /// Takes over the sites of a configuration that was read again. Listeners, folders and the database stay what they are until a restart.
    pub fn follow(&self, config: &Config) {
        self.shared.follow(Arc::clone(&config.sites));
        tracing::info!(sites = config.sites.iter().len(), "the sites were read again");
    }

    /// Stops in order: everything that was answered with a 2xx is sealed before this returns, and delivered if ClickHouse takes it in time.
    pub async fn stop(self) -> Result<(), ServeError> {
        let ordered = Clock::monotonic();
        self.stopper.stop();
        let workers = self.workers;
        let ended = tokio::task::spawn_blocking(move || workers.into_iter().map(JoinHandle::join).collect::<Vec<_>>()).await;
        let ended = ended.map_err(|_| ServeError::WorkerEnded)?;
        self.restoring.abort();
        if let Some(exporting) = self.exporting {
            let _ = exporting.await;
        }
        // The workers' door was the only way in.
        let _ = self.strangers.await;
        let _ = self.orders.await;
        let _ = self.days.await;
        // The workers and the orders held the only senders: the sink ends once it has delivered what they sealed.
        let mut answering = self.database.incarnation();
        let left = SHUTDOWN_DEADLINE.saturating_sub(Clock::monotonic().duration_since(ordered));
        let delivered = tokio::select! {
            ended = tokio::time::timeout(left, self.delivery) => ended.is_ok(),
            // With nobody to deliver to there is nothing to wait for.
            _ = answering.wait_for(Option::is_none) => false,
        };
        if !delivered {
            tracing::warn!("ClickHouse did not take everything in time; the rest waits in the spool for the next start");
        }
        self.database.stop().await;
        // Until here the operator could watch. What these two say at their end changes nothing any more.
        self.private_stopper.stop();
        let _ = self.upkeep.await;
        let _ = self.private.await;
        if ended.into_iter().all(|worker| matches!(worker, Ok(Ok(())))) { Ok(()) } else { Err(ServeError::WorkerEnded) }
    }
}

fn shared(config: &Config, clock: Clock) -> Result<Shared, ServeError> {
    let store = KeyStore::open(&config.key_dir, &config.keys_log())?;
    if !store.in_memory() {
        tracing::warn!("key_dir is not in memory: a copy of the disk may hold a key that was destroyed");
    }
    let (keys, changes) = Keys::open(store, &config.sites, clock.now())?;
    log_key_changes(Ok(changes));
    let (geo, agents) = data_files::load(config)?;
    let guards = Guards {
        trust: Trust::new(config.proxy.trusted.clone(), config.proxy.header.clone()),
        geo,
        keys,
        intake: Intake::closing_after(config.close_after_hours).unwrap_or_default(),
        agents,
    };
    Ok(Shared { sites: ArcSwap::new(Arc::clone(&config.sites)), guards, distinct: Distinct::default(), clock, utc: Zone::utc() })
}

fn listen<T>(address: SocketAddr, bind: impl FnOnce(SocketAddr) -> io::Result<T>) -> Result<T, ServeError> {
    bind(address).map_err(|source| ServeError::Listen { address, source })
}

fn bind_private(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

fn public_pages(config: &Config, door: Door) -> Pages {
    let public = &config.public;
    let paths = Paths::under(&public.base_path, &public.script_path, &public.event_path);
    Pages::new(paths, pages::script(&public.script_path, &public.event_path), statement::render(config)).with_share(door)
}

fn private_parts(config: &Config, token: Token, insight: Sources) -> Private<Sources, Api> {
    let (shared, client) = (Arc::clone(&insight.shared), insight.client.clone());
    let sites = Box::new(move || shared.sites.load_full());
    Private {
        token,
        tokens: Tokens::of(&config.data_dir),
        analysis: Api::new(sites, &client, insight.shared.clock.clone()),
        pages: pages::private(&config.visitors_url(), &config.public.script_path),
        secure: config.private.url().starts_with("https://"),
        clock: insight.shared.clock.clone(),
        insight,
    }
}

async fn stopping(mut stop: Stop) {
    stop.ordered().await;
}

/// The database that events go to: the engine of this machine as a child of this process, or a server.
pub fn database(config: &Config) -> Result<Database, ServeError> {
    match &config.store {
        Store::Server(server) => Database::server(server).map_err(ServeError::Client),
        Store::Embedded(embedded) => {
            let library = data_files::path(&embedded.library, Asset::Engine, &Assets::locate())?;
            let data_path = config.engine_dir();
            let socket = config.engine_socket();
            let options = Options { library, data_path, socket, memory_bytes: embedded.memory_bytes };
            Ok(Database::embedded(engine::Start { executable: std::env::current_exe()?, options }))
        }
    }
}
