//! From sealed segments to ClickHouse: each exactly once, whatever dies in between.
//!
//! ```text
//! recovered, then freshly sealed ──> lane of `events`         ──> insert ─> confirmed ─> file removed
//!                                └─> lane of `outcomes_daily` ──┘   └─ in doubt ─> reconcile ─> send, repair or confirm
//! ```
//!
//! A lane takes one segment after the other, and for each attempt a line of its own: one connection, at whose other end one life of ClickHouse is. An
//! attempt bears a token made of node, batch and that life: so an attempt is repeated under the same token for as long as the process lives that saw it
//! and remembers, and never under one that a dead process may have half remembered. What an earlier process, of ClickHouse or of ours, may have seen is
//! looked up first ([`reconcile`]). What follows from what is in [`progress`], as decisions without any doing.
//!
//! A segment that comes back from among the parked ones is in doubt too, and comes by the same way as a fresh one.
//!
//! Failures are of four classes ([`crate::store::errors::Class`]). What passes and what an operator has to mend holds the lane: every segment of it would
//! meet the same. What is one segment's own fault does not: the segment is divided until the rows stand alone that ClickHouse refuses
//! ([`crate::spool::divide`]), those are parked, and all others delivered. Nothing is ever dropped: a segment leaves the spool when ClickHouse has it, or
//! is parked beside it, visible and counted.

mod insert;
mod lane;
pub mod metrics;
mod progress;
mod reconcile;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::row::Table;
use crate::spool::{Sealed, Spool};
use crate::store::database::Target;
use crate::store::migrate::{MigrateError, migrate};
use lane::{Backoff, Lane, Segment};
use metrics::Metrics;

/// Brings the database up to date, then delivers `recovered` (segments that an earlier process left) and whatever comes by `incoming`, until that is
/// closed and everything is delivered or parked. Dropping the future at any moment loses nothing: what is not confirmed stays in the spool.
///
/// # Errors
/// When a newer Headcount has written the database. Anything else is waited for.
pub async fn run(
    target: Target,
    spool: Arc<Spool>,
    recovered: Vec<Sealed>,
    mut incoming: UnboundedReceiver<Sealed>,
    metrics: Arc<Metrics>,
) -> Result<(), MigrateError> {
    if !prepare(&target, &metrics).await? {
        return Ok(());
    }
    let (events_queue, events_lane) = start(&target, &spool, Table::Events, &metrics);
    let (outcomes_queue, outcomes_lane) = start(&target, &spool, Table::Outcomes, &metrics);
    let queues = [events_queue, outcomes_queue];
    let hand_out = async move {
        for sealed in recovered {
            enqueue(&queues, sealed.found(), &metrics);
        }
        while let Some(sealed) = incoming.recv().await {
            enqueue(&queues, sealed, &metrics);
        }
    };
    tokio::join!(hand_out, events_lane, outcomes_lane);
    Ok(())
}

fn start(
    target: &Target,
    spool: &Arc<Spool>,
    table: Table,
    metrics: &Arc<Metrics>,
) -> (UnboundedSender<Sealed>, impl Future<Output = ()> + use<>) {
    let (queue, segments) = unbounded_channel();
    let lane = Lane::new(target.clone(), Arc::clone(spool), table, Arc::clone(metrics));
    (queue, lane.run(segments))
}

fn enqueue(queues: &[UnboundedSender<Sealed>], sealed: Sealed, metrics: &Metrics) {
    match Table::named(sealed.table()) {
        Some(table) => {
            // A lane ends before its queue only when ClickHouse is being stopped; the segment waits in the spool then.
            let _ = queues[table as usize].send(sealed);
        }
        None => Segment::of(sealed).park_unknown(metrics),
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
                metrics.count_failure(Table::Events, failure);
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
