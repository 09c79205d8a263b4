//! `headcount demo`: days of made-up traffic, through everything that real traffic goes through.
//!
//! The library's own start runs the collector in this process, with a clock that this module sets. Batches go over HTTP to its public listener on a loopback
//! port that the kernel chose, with the address and the agent of each made-up visitor, as a backend of the site would send them; so decoding, consent, countries,
//! pseudonyms, the spool, the sink, visits and the closing of days are those of every day, and the answers are compared with what was meant. The clock goes
//! through each day with its events. Keys turn at its midnights, and the care of days closes what is over while later days still arrive. Nothing is written
//! straight into a table.
//!
//! It fills a folder of its own, which [`ledger`] marks with what was sent, and touches no other: see [`folder::of`]. The folder is an ordinary data folder
//! afterwards, with a configuration in which the listeners are on loopback addresses.

mod folder;
mod ledger;
mod lot;
mod people;
mod places;
mod sender;
mod site_map;
mod traffic;
mod visit;

use std::io;
use std::path::PathBuf;

use clickhouse::Client;

use crate::assets::Assets;
use crate::clock::{Clock, UnixMillis, Zone};
use crate::config::{Config, ConfigError};
use crate::days::Intake;
use crate::limits::{DEMO_BATCH_EVENTS, DEMO_LOOK_INTERVAL, DEMO_PATIENCE};
use crate::row::EVENTS;
use crate::serve::care::is_over;
use crate::serve::{self, DataFileError, Running, ServeError};
use crate::spool::inspect;
use crate::store::client;
use crate::store::days::{self, Held};
use crate::store::errors::Failure;
pub use folder::{Demonstration, of};
pub use ledger::Ledger;
use lot::Lot;
use people::People;
use sender::Sender;
pub use traffic::Plan;
use traffic::Traffic;

/// The site that is made up.
pub const SITE: &str = "demo.example";

/// Its time zone.
const ZONE: &str = "Europe/Berlin";

/// No batch reaches further than a sixth of a day, so that the clock does not either: keys turn, and days close, when it is about time.
const STRETCH_MILLIS: u64 = 4 * 3_600_000;

/// Why there is no demonstration.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The folder is somebody's.
    #[error(
        "{}: there is something in it already, and the demonstration fills a folder of its own: name one that is not there with --data-dir", .0.display()
    )]
    Taken(PathBuf),
    /// An earlier run was cut off.
    #[error("{}: a demonstration was begun there and not finished: remove the folder and say it again", .0.display())]
    Unfinished(PathBuf),
    /// A configuration was named.
    #[error("the demonstration has a configuration of its own: leave --config and HEADCOUNT_CONFIG away")]
    Configured,
    /// The configuration that it writes is not understood.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The collector does not start or stop.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// The countries cannot be told.
    #[error(transparent)]
    Countries(#[from] DataFileError),
    /// The collector takes no batch.
    #[error("the collector turns batches away with {0}")]
    TurnedAway(u16),
    /// The collector takes a made-up event for another than it is meant to be.
    #[error("the collector has judged a batch otherwise than it must: {did} in place of {must}")]
    Misjudged {
        /// What was meant.
        must: String,
        /// What it said.
        did: String,
    },
    /// The days do not close.
    #[error("{0} days are over and do not close: the log says why")]
    StillOpen(usize),
    /// ClickHouse does not answer.
    #[error("the days cannot be looked at: {0}")]
    Asked(Failure),
    /// The kernel gives no random bytes.
    #[error("the system gives no random bytes")]
    NoRandomness,
    /// A file or a connection fails.
    #[error("the demonstration cannot go on")]
    Io(#[from] io::Error),
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// So many days were sent, and so many events.
    Sent {
        /// Days.
        days: u16,
        /// Events.
        events: u64,
    },
    /// Everything is sent; so many days are over and not closed yet.
    Closing {
        /// Days.
        days: usize,
    },
}

/// Fills the folder, telling how far it is. The days end with now.
///
/// # Errors
/// When something of it fails. The folder is of no use then.
pub fn fill(demonstration: &Demonstration, plan: Plan, tell: &mut (dyn FnMut(Progress) + Send)) -> Result<Ledger, DemoError> {
    let secret = getrandom::u64().and_then(|one| Ok([one, getrandom::u64()?])).map_err(|_| DemoError::NoRandomness)?;
    let secret = format!("{:016x}{:016x}", secret[0], secret[1]);
    let config = demonstration.begin(&secret)?;
    let (zone, now) = (Zone::named(ZONE).unwrap_or_else(|_| Zone::utc()), Clock::system().now());
    let geo = serve::countries(&config, &Assets::locate())?;
    let mut lot = Lot::of(plan.seed, 0);
    let people = People::settle(&geo, plan.events, &mut lot);
    let traffic = Traffic::new(plan, zone.clone(), now, people);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let ledger = runtime.block_on(async {
        let clock = Clock::standing_at(zone.start_of(traffic.day_of(0)));
        let running = Running::start(config.clone(), clock.clone())?;
        let sender = Sender::to(running.public_address(), secret)?;
        let sending = Sending { traffic, plan, zone, now, clock, sender, spool: config.spool_dir(), ledger: Ledger::default() };
        let ended = tell_while(sending, &config, tell).await;
        let stopped = running.stop().await;
        let ledger = ended?;
        stopped?;
        Ok::<_, DemoError>(ledger)
    })?;
    demonstration.finish(&ledger)?;
    Ok(ledger)
}

/// Sends on a thread of its own while this one carries the collector, then waits for the days to close.
async fn tell_while(sending: Sending, config: &Config, tell: &mut (dyn FnMut(Progress) + Send)) -> Result<Ledger, DemoError> {
    let (told, mut progress) = tokio::sync::mpsc::unbounded_channel();
    let (now, clock) = (sending.now, sending.clock.clone());
    let work = tokio::task::spawn_blocking(move || {
        // Nobody listens once the collector has failed.
        sending.run(|step| {
            let _ = told.send(step);
        })
    });
    while let Some(step) = progress.recv().await {
        tell(step);
    }
    let ledger = work.await.map_err(|_| io::Error::other("the sender ended by itself"))??;
    clock.set(now);
    let client = client::embedded(&config.engine_socket()).with_database(config.database());
    let deadline = Clock::monotonic() + DEMO_PATIENCE;
    loop {
        let days = over(&client, config, now).await?;
        tell(Progress::Closing { days });
        if days == 0 {
            return Ok(ledger);
        }
        if Clock::monotonic() >= deadline {
            return Err(DemoError::StillOpen(days));
        }
        tokio::time::sleep(DEMO_LOOK_INTERVAL).await;
    }
}

/// How many days are over and still have rows about single events.
async fn over(client: &Client, config: &Config, now: UnixMillis) -> Result<usize, DemoError> {
    let intake = Intake::closing_after(config.close_after_hours).unwrap_or_default();
    let held = days::held(client).await.map_err(DemoError::Asked)?;
    let over = |Held { day, .. }: &&Held| Zone::named(&day.zone).is_ok_and(|zone| is_over(&zone, intake, day.day, now));
    Ok(held.iter().filter(over).count())
}

/// What the sending thread has.
struct Sending {
    traffic: Traffic,
    plan: Plan,
    zone: Zone,
    now: UnixMillis,
    clock: Clock,
    sender: Sender,
    spool: PathBuf,
    ledger: Ledger,
}

impl Sending {
    fn run(mut self, tell: impl Fn(Progress)) -> Result<Ledger, DemoError> {
        (self.ledger.seed, self.ledger.timezone) = (self.plan.seed, self.zone.name().to_owned());
        for index in 0..self.plan.days {
            let day = self.traffic.day_of(index);
            let (name, start, made) = (day.to_string(), self.zone.start_of(day), self.traffic.day(index));
            let stretches = made.events.chunk_by(|one, next| one.at / STRETCH_MILLIS == next.at / STRETCH_MILLIS);
            for events in stretches.flat_map(|stretch| stretch.chunks(DEMO_BATCH_EVENTS)) {
                let at = events.last().map_or(0, |last| last.at);
                self.clock.set(start.plus(at));
                self.sender.send(events, at)?;
                for event in events {
                    self.ledger.note(&name, event);
                }
            }
            let stored = self.ledger.days.entry(name).or_default();
            (stored.visits, stored.visitors) = (made.visits, made.visitors);
            tell(Progress::Sent { days: index + 1, events: self.ledger.sent });
            if index + 2 >= self.plan.days {
                // What is over from here on is closed at the first look, for nothing of it waits.
                self.wait_for_delivery()?;
            }
        }
        self.ledger.finished = true;
        Ok(self.ledger)
    }

    fn wait_for_delivery(&self) -> Result<(), DemoError> {
        let deadline = Clock::monotonic() + DEMO_PATIENCE;
        while inspect::headers(&self.spool)?.iter().any(|header| *header.table == *EVENTS.table) {
            if Clock::monotonic() >= deadline {
                return Err(DemoError::TurnedAway(503));
            }
            std::thread::sleep(DEMO_LOOK_INTERVAL);
        }
        Ok(())
    }
}
