//! From sealed segments to ClickHouse: each exactly once, whatever dies in between.
//!
//! ```text
//! recovered, then freshly sealed ──> lane of `events`         ──> insert ─> confirmed ─> file removed
//!                                └─> lane of `outcomes_daily` ──┘   └─ in doubt ─> reconcile ─> send, repair or confirm
//! ```
//!
//! A lane takes one segment after the other. An attempt bears a token made of node, batch and the engine's incarnation: so an attempt is repeated
//! under the same token for as long as the process lives that saw it and remembers, and never under one that a dead process may have half
//! remembered. What an earlier process, of the engine or of ours, may have seen is looked up first ([`reconcile`]).
//!
//! Failures are of three classes ([`errors::Class`]). Nothing is ever dropped: a segment leaves the spool when ClickHouse has it, or is parked beside
//! it, visible and counted.

pub mod client;
pub mod errors;
mod insert;
mod lane;
pub mod metrics;
mod reconcile;

use std::sync::Arc;
use std::time::Duration;

use clickhouse::Client;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::watch;

use crate::row::{EVENTS, OUTCOMES, TableLayout};
use crate::spool::Sealed;
use crate::store::database::Incarnation;
use crate::store::migrate::{MigrateError, migrate};
use lane::{Backoff, Lane};
use metrics::Metrics;

/// A table that segments are written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Table {
    /// `events`, and through its view `rollup_open`.
    Events,
    /// `outcomes_daily`.
    Outcomes,
}

impl Table {
    /// Every table, in the order of `as usize`.
    pub const ALL: [Self; 2] = [Self::Events, Self::Outcomes];

    /// How its rows are laid out now; a segment states the columns it was written with.
    pub fn layout(self) -> TableLayout {
        match self {
            Self::Events => EVENTS,
            Self::Outcomes => OUTCOMES,
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        self.layout().table
    }

    /// The table of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|table| table.name() == name)
    }
}

/// Where segments go.
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
    async fn available(&self) -> Option<Incarnation> {
        *self.incarnation.clone().wait_for(Option::is_some).await.ok()?
    }

    /// True while this life answers, as far as is known.
    fn is_answered_by(&self, incarnation: Incarnation) -> bool {
        *self.incarnation.borrow() == Some(incarnation)
    }
}

/// Brings the database up to date, then delivers `recovered` (segments that an earlier process left) and whatever comes by `incoming`, until that is
/// closed and everything is delivered or parked. Dropping the future at any moment loses nothing: what is not confirmed stays in the spool.
///
/// # Errors
/// When a newer Headcount has written the database. Anything else is waited for.
pub async fn run(
    target: Target,
    recovered: Vec<Sealed>,
    mut incoming: UnboundedReceiver<Sealed>,
    metrics: Arc<Metrics>,
) -> Result<(), MigrateError> {
    if !prepare(&target, &metrics).await? {
        return Ok(());
    }
    let (events_queue, events_lane) = start(&target, Table::Events, &metrics);
    let (outcomes_queue, outcomes_lane) = start(&target, Table::Outcomes, &metrics);
    let queues = [events_queue, outcomes_queue];
    let hand_out = async move {
        for sealed in recovered {
            enqueue(&queues, lane::Segment::left_behind(sealed));
        }
        while let Some(sealed) = incoming.recv().await {
            enqueue(&queues, lane::Segment::fresh(sealed));
        }
    };
    tokio::join!(hand_out, events_lane, outcomes_lane);
    Ok(())
}

fn start(target: &Target, table: Table, metrics: &Arc<Metrics>) -> (UnboundedSender<lane::Segment>, impl Future<Output = ()> + use<>) {
    let (queue, segments) = unbounded_channel();
    let lane = Lane::new(target.clone(), table, Arc::clone(metrics));
    (queue, lane.run(segments))
}

fn enqueue(queues: &[UnboundedSender<lane::Segment>], segment: lane::Segment) {
    match Table::named(&segment.header().table) {
        Some(table) => {
            // A lane ends before its queue only when ClickHouse is being stopped; the segment waits in the spool then.
            let _ = queues[table as usize].send(segment);
        }
        None => segment.park_unknown(),
    }
}

/// Migrates until it has worked; false when ClickHouse is being stopped.
async fn prepare(target: &Target, metrics: &Metrics) -> Result<bool, MigrateError> {
    let mut backoff = Backoff::default();
    while target.available().await.is_some() {
        match migrate(&target.client).await {
            Ok(migrated) => {
                tracing::info!(version = migrated.version, applied = migrated.applied, "the database is up to date");
                return Ok(true);
            }
            Err(error @ MigrateError::Newer { .. }) => return Err(error),
            Err(MigrateError::Statement { step, failure }) => {
                metrics.count_failure(failure);
                tracing::warn!(step, %failure, "the database is not ready");
                backoff.pause().await;
            }
        }
    }
    Ok(false)
}

/// The wait before the next of several tries. Half of it is drawn by lot, so that several collectors do not return together.
fn jittered(wait: Duration) -> Duration {
    let lot = getrandom::u32().unwrap_or(u32::MAX);
    wait / 2 + wait.mul_f64(f64::from(lot) / f64::from(u32::MAX) / 2.0)
}
