//! The stages of an event's path, one by one and without a socket: what the instruction budget and the micro-benchmarks measure.
//!
//! A [`Stage`] is the path up to and with that stage, so what one stage costs is the difference to the one before it. [`Stages::run`] calls the collector's own
//! functions in the order of its worker. [`Stages::answer`] is that worker itself with its log, from the arrival to the answer.

#![allow(clippy::disallowed_methods, reason = "a measurement owns the one task that it starts")]

pub mod bodies;
pub mod cargo;
pub mod probe;

use std::cell::RefCell;
use std::hint::black_box;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use headcount::assets::{Asset, Assets};
use headcount::beacon::batch::{self, Coding};
use headcount::beacon::{Context, Decoded, Route, Unread, json};
use headcount::clock::{Clock, UnixMillis, Zone};
use headcount::config::{Config, Overrides, Surroundings};
use headcount::consent::{self, signals::HeaderSignals};
use headcount::days::Intake as Days;
use headcount::distinct::Distinct;
use headcount::enrich;
use headcount::enrich::user_agent::{AgentCache, Agents};
use headcount::metrics::EventCounts;
use headcount::privacy::geo::Geo;
use headcount::privacy::keys::{KeyStore, Keys};
use headcount::privacy::proxy::Trust;
use headcount::privacy::raw::Peer;
use headcount::privacy::{Door, Guards};
use headcount::row::EVENTS;
use headcount::server::limits::{BodyBudget, BodyLease, Room};
use headcount::server::{Answer, Arrival, Intake, Protocol};
use headcount::site::Sites;
use headcount::spool::{Log, Rows, Spool};
use headcount::worker::{Shared, Worker};
use hyper::HeaderMap;
use hyper::header::USER_AGENT;
use tempfile::TempDir;
use tokio::task::LocalSet;

/// 2026-11-22T12:00:00Z: the clock stands.
const NOON: UnixMillis = UnixMillis(1_795_348_800_000);
/// Bytes that the spool may take; nothing here comes near.
const SPOOL_BYTES: u64 = 1 << 32;
/// Distinct user agents: few, so that the cache has them all after the first round.
const AGENTS: usize = 40;
/// Distinct single requests.
const VARIANTS: usize = 256;
/// Distinct batches.
const BATCHES: usize = 4;
/// Requests that wait for one commit of the whole worker.
pub const AT_ONCE: usize = 64;

/// Whatever keeps a measurement from being set up.
pub type Fault = Box<dyn std::error::Error>;

/// The path of an event up to and with this stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// JSON to a beacon; of a batch the unpacking too.
    Decode,
    /// The vote.
    Consent,
    /// Country, pseudonym, agent (from the cache), masks.
    Privacy,
    /// Source and device.
    Enrich,
    /// The row and its frame with the checksum.
    Encode,
}

impl Stage {
    /// All, in their order.
    pub const ALL: [Self; 5] = [Self::Decode, Self::Consent, Self::Privacy, Self::Enrich, Self::Encode];

    /// Its name in tables.
    pub fn label(self) -> &'static str {
        match self {
            Self::Decode => "decode",
            Self::Consent => "consent",
            Self::Privacy => "privacy",
            Self::Enrich => "enrich",
            Self::Encode => "encode",
        }
    }
}

/// How events come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// One event a request, to `/e`.
    Single,
    /// [`bodies::BATCH`] events a request, gzip, to `/v1/events`.
    Batch,
}

impl Form {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Single, Self::Batch];

    /// Its name in tables.
    pub fn label(self) -> &'static str {
        match self {
            Self::Single => "single",
            Self::Batch => "batch",
        }
    }

    /// Events in one request.
    pub fn events(self) -> usize {
        match self {
            Self::Single => 1,
            Self::Batch => bodies::BATCH,
        }
    }

    fn route(self) -> Route {
        match self {
            Self::Single => Route::Page,
            Self::Batch => Route::Api,
        }
    }
}

/// One request as it stands when its body has come.
struct Request {
    headers: HeaderMap,
    body: Bytes,
}

/// What a worker has, on a clock that stands, and requests of one form.
pub struct Stages {
    form: Form,
    requests: Vec<Request>,
    shared: Arc<Shared>,
    spool: Arc<Spool>,
    lease: Rc<BodyLease>,
    memory: RefCell<AgentCache>,
    _folder: TempDir,
}

impl Stages {
    /// Reads the real data files and makes keys and a spool of its own in memory, if the machine has a file system there.
    pub fn new(form: Form) -> Result<Self, Fault> {
        let memory = Path::new("/dev/shm");
        let folder = tempfile::tempdir_in(if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() })?;
        let overrides = Overrides { data_dir: Some(folder.path().to_owned()), ..Overrides::default() };
        let config = Config::parse("", None, &overrides, &Surroundings::of_process())?;
        let store = KeyStore::open(&folder.path().join("keys"), &folder.path().join("keys.log"))?;
        let assets = Assets::locate();
        let guards = Guards {
            trust: Trust::new(config.proxy.trusted.clone(), config.proxy.header.clone()),
            geo: Geo::open(&assets.path(Asset::Countries)?)?,
            keys: Keys::open(store, &config.sites, NOON)?.0,
            intake: Days::default(),
            agents: Agents::load(&assets.path(Asset::UserAgents)?, &assets.path(Asset::Crawlers)?)?,
        };
        let sites = ArcSwap::new(Arc::clone(&config.sites));
        let shared = Shared { sites, guards, distinct: Distinct::default(), clock: Clock::standing_at(NOON), utc: Zone::utc() };
        let spool = Arc::new(Spool::open(&folder.path().join("spool"), SPOOL_BYTES)?);
        let requests = requests(form)?;
        let lease = Rc::new(BodyLease::new(BodyBudget::default()));
        Ok(Self { form, requests, shared: Arc::new(shared), spool, lease, memory: RefCell::default(), _folder: folder })
    }

    /// How its events come.
    pub fn form(&self) -> Form {
        self.form
    }

    /// A log whose rows stay in memory.
    pub fn log(&self) -> Rc<Log> {
        Log::new(Arc::clone(&self.spool), self.shared.clock.clone())
    }

    /// Takes `count` requests in turn up to and with `stage`. With [`Stage::Encode`] their rows stay in the log, which takes 16 MiB.
    ///
    /// # Panics
    /// When an event is refused: nothing would be measured.
    pub fn run(&self, stage: Stage, log: &Log, count: usize) {
        let sites = self.shared.sites.load();
        for number in 0..count {
            let request = &self.requests[number % self.requests.len()];
            let context = Context { sites: &sites, bearer: None, route: self.form.route(), page: None };
            match self.form {
                Form::Single => {
                    let events = json::events(&request.body, &context).expect("it is JSON");
                    self.request(stage, log, (&sites, request), events);
                }
                Form::Batch => {
                    let body = batch::unpack(&request.body, Coding::Gzip, |_| true).expect("it is gzip");
                    let events = batch::events(&body, &context).expect("it is a list");
                    self.request(stage, log, (&sites, request), events);
                }
            }
        }
    }

    fn request<'a>(
        &self,
        stage: Stage,
        log: &Log,
        (sites, request): (&Sites, &Request),
        events: impl Iterator<Item = Result<Decoded<'a>, Unread<'a>>>,
    ) {
        let memory = &mut *self.memory.borrow_mut();
        let visitor = self.shared.guards.trust.visitor(&peer(), &request.headers);
        let signals = HeaderSignals::read(&request.headers);
        let mut door = Door::open(&self.shared.guards, sites, memory, visitor, NOON);
        let mut rows = (stage == Stage::Encode).then(|| log.rows().expect("the log has room"));
        for decoded in events {
            let Ok(decoded) = decoded else { panic!("an event is refused") };
            self.event(stage, decoded, (signals, &mut door), rows.as_mut());
        }
        if let Some(rows) = rows {
            // Its log is never run: nobody waits.
            drop(rows.finish());
        }
    }

    fn event(&self, stage: Stage, decoded: Decoded<'_>, (signals, door): (HeaderSignals, &mut Door<'_, '_>), rows: Option<&mut Rows<'_>>) {
        if stage == Stage::Decode {
            drop(black_box(decoded));
            return;
        }
        let Ok(consented) = consent::gate(decoded, signals) else { panic!("consent is refused") };
        if stage == Stage::Consent {
            drop(black_box(consented));
            return;
        }
        let Ok(deidentified) = door.deidentify(consented) else { panic!("an event is not let in") };
        if stage == Stage::Privacy {
            drop(black_box(deidentified));
            return;
        }
        let Ok(event) = enrich::event(deidentified, self.form.route()) else { panic!("a browser is taken for a robot") };
        let Some(rows) = rows else {
            drop(black_box(event));
            return;
        };
        let sites = self.shared.sites.load();
        let zone = sites.zone(event.site.zone);
        rows.push(&EVENTS, (zone, event.day), 0, |out, stamp| event.encode(out, zone, stamp)).expect("a segment begins");
    }

    /// Runs `act` with a worker whose log commits.
    pub fn with_worker<T>(&self, act: impl AsyncFnOnce(&Worker) -> T) -> Result<T, Fault> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        LocalSet::new().block_on(&runtime, async {
            let log = self.log();
            let (sender, _sealed) = tokio::sync::mpsc::unbounded_channel();
            let running = tokio::task::spawn_local(Rc::clone(&log).run(0, sender));
            let worker = Worker::new(Arc::clone(&self.shared), Rc::clone(&log), Arc::new(EventCounts::default()));
            let result = act(&worker).await;
            log.close();
            running.await??;
            Ok(result)
        })
    }

    /// Takes request number `number` through the whole worker, to its answer.
    pub async fn answer(&self, worker: &Worker, number: usize) -> Answer {
        let request = &self.requests[number % self.requests.len()];
        let (protocol, encoding) = match self.form {
            Form::Single => (Protocol::Beacon, Coding::Identity),
            Form::Batch => (Protocol::Batch, Coding::Gzip),
        };
        let arrival = Arrival {
            protocol,
            body: request.body.clone(),
            encoding,
            query: "",
            page: None,
            signals: HeaderSignals::read(&request.headers),
            visitor: worker.visitor(&peer(), &request.headers),
            received: NOON,
            bearer: None,
            idempotency_key: None,
            room: Room::new(&self.lease),
        };
        worker.take(arrival).await
    }
}

/// The proxy, on this machine.
fn peer() -> Peer {
    Peer::tcp(([127, 0, 0, 1], 1).into())
}

/// Visitors in many networks, as a proxy names them.
fn requests(form: Form) -> Result<Vec<Request>, Fault> {
    let count = match form {
        Form::Single => VARIANTS,
        Form::Batch => BATCHES,
    };
    let request = |number: usize| {
        let (agent, body) = match form {
            Form::Single => (bodies::agent(number, AGENTS), bodies::event(number).into_bytes()),
            Form::Batch => ("okhttp/4.12.0".to_owned(), bodies::batch(number)),
        };
        let address = format!("{}.214.{}.{}", 64 + number % 128, number % 251, number % 241);
        let mut headers = HeaderMap::new();
        headers.insert("host", "localhost".parse()?);
        headers.insert(USER_AGENT, agent.parse()?);
        headers.insert("x-forwarded-for", address.parse()?);
        headers.insert("content-type", "text/plain".parse()?);
        headers.insert("content-length", body.len().into());
        Ok(Request { headers, body: body.into() })
    };
    (0..count).map(request).collect()
}
