//! One table's segments, one after the other: attempt, wait, ask, repair, confirm, park or hold.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedReceiver;

use super::insert::{self, InsertError};
use super::jittered;
use super::metrics::Metrics;
use super::reconcile::{self, Found};
use crate::clock::Clock;
use crate::limits::{SINK_HELD_INTERVAL, SINK_PARK_TRIES, SINK_WAIT_MAX, SINK_WAIT_MIN};
use crate::row::Table;
use crate::spool::Sealed;
use crate::spool::format::Header;
use crate::store::database::{Incarnation, Target};
use crate::store::errors::{Class, Failure};

/// A segment and what is known of the attempts to deliver it.
#[derive(Debug)]
pub(super) struct Segment {
    sealed: Sealed,
    attempt: Attempt,
}

/// The last attempt, as far as an engine may have seen it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Attempt {
    /// None was made.
    None,
    /// An earlier process of ours may have made one.
    Unknown,
    /// The segment was sent to this life of the engine.
    Sent(Incarnation),
    /// The rollup is being filled from rows that an earlier life has; this life was asked to.
    Repairing(Incarnation),
}

impl Segment {
    /// One that this process has sealed, or has found in the meantime.
    pub(super) fn of(sealed: Sealed) -> Self {
        if sealed.is_in_doubt() { Self::left_behind(sealed) } else { Self { sealed, attempt: Attempt::None } }
    }

    /// One that an earlier process has left.
    pub(super) fn left_behind(sealed: Sealed) -> Self {
        Self { sealed, attempt: Attempt::Unknown }
    }

    pub(super) fn header(&self) -> &Header {
        self.sealed.header()
    }

    /// Puts a segment aside whose table this version does not know.
    pub(super) fn park_unknown(self) {
        let batch = self.header().batch;
        tracing::error!(batch, "a segment is for a table that this version does not know; it is parked");
        if let Err(error) = self.sealed.park() {
            tracing::error!(batch, kind = %error.kind(), "the segment cannot be parked; it stays in the spool");
        }
    }

    fn rows(&self) -> u64 {
        self.sealed.totals().rows
    }
}

/// What to do next with a segment.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// Try again after a pause.
    Again,
    /// ClickHouse has it.
    Confirm,
    /// ClickHouse has none of it and will not take it.
    Park,
    /// Nobody knows what became of it, or its file cannot be read: look again later and go on with others.
    Hold,
}

/// Where a table's segments queue.
#[derive(Debug)]
pub(super) struct Lane {
    target: Target,
    table: Table,
    metrics: Arc<Metrics>,
    /// Segments that the database shows what cannot be explained of, or that cannot be read, and when to look again.
    held: VecDeque<(Segment, Instant)>,
}

impl Lane {
    pub(super) fn new(target: Target, table: Table, metrics: Arc<Metrics>) -> Self {
        Self { target, table, metrics, held: VecDeque::new() }
    }

    /// Delivers what comes, until the queue is closed and empty. Held segments stay in the spool then.
    pub(super) async fn run(mut self, mut segments: UnboundedReceiver<Segment>) {
        loop {
            let due = self.held.front().map(|(_, due)| due.saturating_duration_since(Clock::monotonic()));
            let segment = tokio::select! {
                biased;
                () = tokio::time::sleep(due.unwrap_or_default()), if due.is_some() => self.held.pop_front().map(|(segment, _)| segment),
                segment = segments.recv() => segment,
            };
            let Some(segment) = segment else { return };
            self.metrics.set_held(self.table, self.held.len());
            if self.deliver(segment).await.is_none() {
                return;
            }
        }
    }

    /// Brings one segment to its end; `None` when ClickHouse is being stopped.
    async fn deliver(&mut self, mut segment: Segment) -> Option<()> {
        let mut backoff = Backoff::default();
        let mut refused = 0;
        loop {
            let incarnation = self.target.available().await?;
            match self.advance(&mut segment, incarnation, &mut refused).await {
                // Whoever died meanwhile must show before the same token is sent again.
                Verdict::Again => tokio::join!(backoff.pause(), tokio::time::sleep(self.target.restart_seen_within)).0,
                Verdict::Confirm => break self.confirm(segment),
                Verdict::Park => break self.park(segment),
                Verdict::Hold => break self.hold(segment),
            }
        }
        Some(())
    }

    /// Does the next thing for a segment: asks the database when an attempt is in doubt, else sends it, or repeats its repair.
    async fn advance(&self, segment: &mut Segment, incarnation: Incarnation, refused: &mut u32) -> Verdict {
        match segment.attempt {
            Attempt::None => self.send(segment, incarnation, refused).await,
            Attempt::Sent(seen) if seen == incarnation => self.send(segment, incarnation, refused).await,
            Attempt::Repairing(seen) if seen == incarnation => self.repair(segment, incarnation).await,
            Attempt::Unknown | Attempt::Sent(_) | Attempt::Repairing(_) => match self.read_back(segment).await {
                Ok(Found::Nothing) => self.send(segment, incarnation, refused).await,
                Ok(Found::RowsOnly) => self.repair(segment, incarnation).await,
                Ok(Found::Everything) => Verdict::Confirm,
                Ok(Found::StillArriving) => Verdict::Again,
                Ok(Found::Unexplained { rows, rolled_up }) => self.unexplained(segment, rows, rolled_up),
                Err(failure) => self.failed(segment, failure),
            },
        }
    }

    async fn send(&self, segment: &mut Segment, incarnation: Incarnation, refused: &mut u32) -> Verdict {
        if !insert::is_column_list(&segment.header().columns) {
            return Verdict::Park;
        }
        segment.attempt = Attempt::Sent(incarnation);
        let token = insert::token(segment.header(), incarnation);
        match insert::insert(&self.target.client, self.table.name(), &segment.sealed, &token).await {
            Ok(()) if self.target.is_answered_by(incarnation) => Verdict::Confirm,
            // It may be another life that has taken, or dropped, rows under this one's token: ask.
            Ok(()) => Verdict::Again,
            Err(InsertError::ClickHouse(failure)) if failure.class() == Class::Park => {
                *refused += 1;
                let verdict = self.failed(segment, failure);
                if *refused < SINK_PARK_TRIES { verdict } else { self.park_if_absent(segment).await }
            }
            Err(InsertError::ClickHouse(failure)) => self.failed(segment, failure),
            Err(InsertError::Unreadable) => {
                tracing::error!(batch = segment.header().batch, "a segment cannot be read from the disk; it is held");
                Verdict::Hold
            }
            Err(InsertError::Damaged) => {
                tracing::error!(batch = segment.header().batch, "a segment is damaged");
                self.park_if_absent(segment).await
            }
        }
    }

    /// A segment is parked only when the database has nothing of it.
    async fn park_if_absent(&self, segment: &Segment) -> Verdict {
        match self.read_back(segment).await {
            Ok(Found::Nothing) => Verdict::Park,
            Ok(Found::Everything) => Verdict::Confirm,
            Ok(Found::RowsOnly | Found::StillArriving) => Verdict::Again,
            Ok(Found::Unexplained { rows, rolled_up }) => self.unexplained(segment, rows, rolled_up),
            Err(failure) => self.failed(segment, failure),
        }
    }

    async fn read_back(&self, segment: &Segment) -> Result<Found, Failure> {
        self.metrics.count_read_back();
        reconcile::read_back(&self.target.client, self.table, segment.header(), segment.rows()).await
    }

    async fn repair(&self, segment: &mut Segment, incarnation: Incarnation) -> Verdict {
        segment.attempt = Attempt::Repairing(incarnation);
        let token = insert::token(segment.header(), incarnation);
        match reconcile::repair(&self.target.client, segment.header(), &token).await {
            Ok(()) => {
                self.metrics.count_repair();
                tracing::info!(batch = segment.header().batch, "the rollup lacked a batch and was filled from its rows");
                Verdict::Confirm
            }
            Err(failure) => self.failed(segment, failure),
        }
    }

    fn failed(&self, segment: &Segment, failure: Failure) -> Verdict {
        self.metrics.count_failure(failure);
        let (batch, table) = (segment.header().batch, self.table.name());
        match failure.class() {
            Class::Retry => tracing::warn!(batch, table, %failure, "a segment was not delivered; it is tried again"),
            Class::Hold => tracing::error!(batch, table, %failure, "ClickHouse does not take segments until an operator mends this"),
            Class::Park => tracing::error!(batch, table, %failure, "ClickHouse refuses a segment"),
        }
        Verdict::Again
    }

    fn unexplained(&self, segment: &Segment, rows: u64, rolled_up: u64) -> Verdict {
        let batch = segment.header().batch;
        tracing::error!(
            batch,
            table = self.table.name(),
            expected = segment.rows(),
            rows,
            rolled_up,
            "the database has a batch in part; it is held"
        );
        Verdict::Hold
    }

    fn confirm(&self, segment: Segment) {
        let (rows, batch) = (segment.rows(), segment.header().batch);
        self.metrics.count_confirmed(self.table, rows);
        if let Err(error) = segment.sealed.confirm() {
            // The next start finds it, asks the database, and confirms it then.
            tracing::error!(batch, kind = %error.kind(), "a delivered segment cannot be removed");
        }
    }

    fn park(&self, segment: Segment) {
        let (rows, batch) = (segment.rows(), segment.header().batch);
        match segment.sealed.park() {
            Ok(path) => {
                self.metrics.count_parked(self.table, rows);
                tracing::error!(batch, rows, path = %path.display(), "a segment was parked; nothing of it is in the database");
            }
            Err(error) => tracing::error!(batch, kind = %error.kind(), "a segment cannot be parked; it stays in the spool"),
        }
    }

    fn hold(&mut self, mut segment: Segment) {
        segment.attempt = Attempt::Unknown;
        self.held.push_back((segment, Clock::monotonic() + SINK_HELD_INTERVAL));
        self.metrics.set_held(self.table, self.held.len());
    }
}

/// Waits that double from [`SINK_WAIT_MIN`] to [`SINK_WAIT_MAX`].
#[derive(Debug)]
pub(super) struct Backoff(Duration);

impl Default for Backoff {
    fn default() -> Self {
        Self(SINK_WAIT_MIN)
    }
}

impl Backoff {
    pub(super) async fn pause(&mut self) {
        tokio::time::sleep(self.next()).await;
    }

    fn next(&mut self) -> Duration {
        let wait = jittered(self.0);
        self.0 = (self.0 * 2).min(SINK_WAIT_MAX);
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_their_bound_and_are_drawn_by_lot() {
        let mut backoff = Backoff::default();
        let waits: Vec<Duration> = (0..40).map(|_| backoff.next()).collect();
        assert!(waits[0] >= SINK_WAIT_MIN / 2 && waits[0] <= SINK_WAIT_MIN);
        assert!(waits[12..].iter().all(|wait| *wait >= SINK_WAIT_MAX / 2 && *wait <= SINK_WAIT_MAX));
        assert!(waits[12..].windows(2).any(|pair| pair[0] != pair[1]));
    }
}
