//! One table's segments, one after the other: open a line, do what [`progress`](super::progress) says is next, and bring the segment to its end.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedReceiver;

use super::insert::{self, InsertError};
use super::jittered;
use super::metrics::Metrics;
use super::progress::{Blame, Happened, Others, Progress, Step, Verdict};
use super::reconcile::{self, Found};
use crate::clock::Clock;
use crate::leak;
use crate::limits::{SINK_DIVISIONS, SINK_DRIFT_INTERVAL, SINK_HELD_INTERVAL, SINK_WAIT_MAX, SINK_WAIT_MIN};
use crate::row::Table;
use crate::spool::divide::Undivided;
use crate::spool::format::Header;
use crate::spool::{Sealed, Spool};
use crate::store::database::{Incarnation, Line, Target};
use crate::store::drift;
use crate::store::errors::{Class, Failure};

/// A segment and what is known of the attempts to deliver it.
#[derive(Debug)]
pub(super) struct Segment {
    sealed: Sealed,
    progress: Progress,
    origin: Origin,
    /// Why it was last refused: a log line about its end says so.
    failure: Option<Failure>,
}

/// What a segment has in common with the others that it was divided into.
#[derive(Clone, Debug)]
struct Origin {
    /// How often any of them may still be divided.
    divisions_left: Arc<AtomicU32>,
    /// How many segments the lane had delivered when the first of them was first tried.
    delivered_before: Option<u64>,
}

impl Segment {
    /// One whose turn has come.
    pub(super) fn of(sealed: Sealed) -> Self {
        let progress = if sealed.is_in_doubt() { Progress::left_behind() } else { Progress::fresh() };
        Self::with(sealed, progress)
    }

    /// One that an earlier process has left.
    pub(super) fn left_behind(sealed: Sealed) -> Self {
        Self::with(sealed, Progress::left_behind())
    }

    fn with(sealed: Sealed, progress: Progress) -> Self {
        let origin = Origin { divisions_left: Arc::new(SINK_DIVISIONS.into()), delivered_before: None };
        Self { sealed, progress, origin, failure: None }
    }

    fn header(&self) -> Header {
        self.sealed.header()
    }

    /// Puts a segment aside whose table this version does not know.
    pub(super) fn park_unknown(self, metrics: &Metrics) {
        let (batch, rows) = (self.header().batch, self.rows());
        match self.sealed.park() {
            Ok(path) => {
                metrics.count_parked_unknown();
                tracing::error!(batch, rows, path = %path.display(), "a segment is for a table that this version does not know; it was parked");
            }
            Err(error) => {
                tracing::error!(batch, kind = %error.kind(), "a segment is for a table that this version does not know; it stays in the spool");
            }
        }
    }

    fn rows(&self) -> u64 {
        self.sealed.totals().rows
    }

    /// Whether the segment may be divided once more; takes it from what all of its origin may.
    fn may_divide(&self) -> bool {
        self.origin.divisions_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
    }
}

/// Where a table's segments queue.
#[derive(Debug)]
pub(super) struct Lane {
    target: Target,
    spool: Arc<Spool>,
    table: Table,
    metrics: Arc<Metrics>,
    backoff: Backoff,
    /// How many were given up since one was last delivered.
    refused_in_a_row: u32,
    /// What segments were divided into.
    pieces: VecDeque<Segment>,
    /// Segments that would hold up the others, and when to look again.
    held: VecDeque<(Segment, Instant)>,
    /// In which life of ClickHouse, and when, the open rollup was last found to be what it should be.
    whole: Option<(Incarnation, Instant)>,
}

impl Lane {
    pub(super) fn new(target: Target, spool: Arc<Spool>, table: Table, metrics: Arc<Metrics>) -> Self {
        let backoff = Backoff::default();
        Self { target, spool, table, metrics, backoff, refused_in_a_row: 0, pieces: VecDeque::new(), held: VecDeque::new(), whole: None }
    }

    /// Delivers what comes, until the queue is closed and empty. Held segments stay in the spool then.
    pub(super) async fn run(mut self, mut segments: UnboundedReceiver<Sealed>) {
        loop {
            let due = self.held.front().map(|(_, due)| due.saturating_duration_since(Clock::monotonic()));
            let segment = tokio::select! {
                biased;
                () = tokio::time::sleep(due.unwrap_or_default()), if due.is_some() => self.held.pop_front().map(|(segment, _)| segment),
                piece = std::future::ready(self.pieces.pop_front()), if !self.pieces.is_empty() => piece,
                sealed = segments.recv() => sealed.map(Segment::of),
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
        // Whoever deletes from `events` is waited for here, where no attempt of ours is under way.
        let inserting = Arc::clone(&self.target.inserting);
        let _inserting = match self.table {
            Table::Events => Some(inserting.lock().await),
            Table::Outcomes => None,
        };
        let delivered = self.metrics.confirmed_batches(self.table);
        segment.origin.delivered_before.get_or_insert(delivered);
        loop {
            self.target.available().await?;
            let verdict = match self.target.line().await {
                Ok(line) => match self.look(&line).await {
                    Ok(()) => self.advance(&mut segment, &line).await,
                    Err(failure) => {
                        self.failed(&mut segment, failure);
                        Verdict::Again
                    }
                },
                Err(failure) => {
                    self.failed(&mut segment, failure);
                    Verdict::Again
                }
            };
            match verdict {
                Verdict::Then(_) | Verdict::Again => self.backoff.pause().await,
                Verdict::Confirm => break self.confirm(segment),
                Verdict::TakeApart(Blame::Rows) => break self.divide(segment).await,
                Verdict::TakeApart(Blame::Disk) => break self.salvage(segment).await,
                Verdict::PutAside => break self.put_aside(segment),
            }
        }
        Some(())
    }

    /// Looks whether what is inserted will be counted, in every life of ClickHouse and now and then.
    async fn look(&mut self, line: &Line) -> Result<(), Failure> {
        let now = Clock::monotonic();
        let is_known = self.whole.is_some_and(|(life, at)| life == line.incarnation && now.duration_since(at) < SINK_DRIFT_INTERVAL);
        match self.table {
            Table::Events if !is_known => drift::look(&line.client).await.inspect(|()| self.whole = Some((line.incarnation, now))),
            Table::Events | Table::Outcomes => Ok(()),
        }
    }

    /// Takes one step after the other over the line, until a pause is due or the segment's end.
    async fn advance(&self, segment: &mut Segment, line: &Line) -> Verdict {
        let mut step = segment.progress.step(line.incarnation);
        loop {
            segment.progress.begins(step, line.incarnation);
            let happened = match step {
                Step::Ask => self.ask(segment, line).await,
                Step::Send => self.send(segment, line).await,
                Step::Repair => self.repair(segment, line).await,
            };
            let others = self.others(segment);
            match segment.progress.came(step, happened, others) {
                Verdict::Then(next) => step = next,
                verdict => return verdict,
            }
        }
    }

    fn others(&self, segment: &Segment) -> Others {
        let delivered = segment.origin.delivered_before.is_some_and(|before| self.metrics.confirmed_batches(self.table) > before);
        Others { delivered, refused_in_a_row: self.refused_in_a_row }
    }

    async fn ask(&self, segment: &mut Segment, line: &Line) -> Happened {
        if leak::planted("no_read_back") {
            return Happened::Found(Found::Nothing);
        }
        self.metrics.count_read_back();
        let found = reconcile::read_back(&line.client, self.table, &segment.header(), segment.sealed.rows()).await;
        match found {
            Ok(found) => {
                if let Found::Unexplained { rows, rolled_up } = found {
                    let (batch, table, expected) = (segment.header().batch, self.table.name(), segment.rows());
                    tracing::error!(batch, table, expected, rows, rolled_up, "the database has a batch in part, or twice; it is held");
                }
                Happened::Found(found)
            }
            Err(failure) => self.failed(segment, failure),
        }
    }

    async fn send(&self, segment: &mut Segment, line: &Line) -> Happened {
        if !insert::is_column_list(&segment.header().columns) {
            return Happened::Damaged;
        }
        let token = insert::token(&segment.header(), line.incarnation);
        match insert::insert(&line.client, self.table.name(), &segment.sealed, &token).await {
            Ok(()) => Happened::Taken,
            Err(InsertError::ClickHouse(failure)) => self.failed(segment, failure),
            Err(InsertError::Unreadable) => {
                tracing::error!(batch = segment.header().batch, "a segment cannot be read from the disk; it is held");
                Happened::Unreadable
            }
            Err(InsertError::Damaged) => {
                tracing::error!(batch = segment.header().batch, "a segment is damaged");
                Happened::Damaged
            }
        }
    }

    async fn repair(&self, segment: &mut Segment, line: &Line) -> Happened {
        let token = insert::token(&segment.header(), line.incarnation);
        match reconcile::repair(&line.client, &segment.header(), &token).await {
            Ok(()) => {
                self.metrics.count_repair();
                tracing::info!(batch = segment.header().batch, "the rollup lacked a batch and was filled from its rows");
                Happened::Taken
            }
            Err(failure) => self.failed(segment, failure),
        }
    }

    fn failed(&self, segment: &mut Segment, failure: Failure) -> Happened {
        let class = failure.class();
        self.metrics.count_failure(self.table, failure);
        segment.failure = Some(failure);
        let (batch, table) = (segment.header().batch, self.table.name());
        match class {
            Class::Retry => tracing::warn!(batch, table, %failure, "a segment was not delivered; it is tried again"),
            Class::Hold => tracing::error!(batch, table, %failure, "ClickHouse does not take segments until an operator mends this"),
            Class::Park | Class::Unknown => tracing::error!(batch, table, %failure, "ClickHouse refuses a segment"),
        }
        Happened::Failed(class)
    }

    /// In one go, without waiting: whoever reads the figures sees the segment in the spool or in ClickHouse, never in neither.
    fn confirm(&mut self, segment: Segment) {
        let (rows, batch) = (segment.rows(), segment.header().batch);
        self.backoff = Backoff::default();
        self.refused_in_a_row = 0;
        match segment.sealed.confirm() {
            Ok(()) => self.metrics.count_confirmed(self.table, rows),
            Err(unremoved) => {
                // Whenever it is looked at again, here or after a start, the database is asked, and has it.
                tracing::error!(batch, kind = %unremoved.source.kind(), "a delivered segment cannot be removed; it is held");
                self.put_aside(Segment::left_behind(unremoved.sealed));
            }
        }
    }

    /// Looks for the rows that are refused in one half and the other; what cannot be divided any more is parked.
    async fn divide(&mut self, segment: Segment) {
        if segment.rows() < 2 || !segment.may_divide() {
            return self.park(segment);
        }
        let Segment { sealed, origin, failure, .. } = segment;
        let batch = sealed.header().batch;
        let spool = Arc::clone(&self.spool);
        match blocking(move || sealed.divide(&spool)).await {
            Some(Ok(halves)) => {
                tracing::info!(batch, into = ?halves.each_ref().map(|half| half.header().batch), "a segment was divided in search of the rows that are refused");
                let half = |sealed| Segment { sealed, progress: Progress::suspect(), origin: origin.clone(), failure };
                for half in halves.map(half).into_iter().rev() {
                    self.pieces.push_front(half);
                }
            }
            Some(Err(Undivided::Indivisible(sealed))) => {
                self.park(Segment { sealed: *sealed, progress: Progress::suspect(), origin, failure });
            }
            Some(Err(undivided)) => self.undivided(batch, undivided),
            None => {}
        }
    }

    /// Takes the good rows out of a damaged segment; what is not good was put aside.
    async fn salvage(&mut self, segment: Segment) {
        let Segment { sealed, origin, failure, .. } = segment;
        let batch = sealed.header().batch;
        let spool = Arc::clone(&self.spool);
        match blocking(move || sealed.salvage(&spool)).await {
            Some(Ok(salvaged)) => {
                let kept = salvaged.piece.as_ref().map_or(0, |piece| piece.totals().rows);
                tracing::error!(
                    batch,
                    kept,
                    lost = salvaged.lost_rows,
                    "what is damaged of a segment lies in the spool's folder `quarantine`"
                );
                self.pieces.extend(salvaged.piece.map(Segment::of));
            }
            Some(Err(Undivided::Indivisible(sealed))) => {
                self.park(Segment { sealed: *sealed, progress: Progress::suspect(), origin, failure });
            }
            Some(Err(undivided)) => self.undivided(batch, undivided),
            None => {}
        }
    }

    fn undivided(&mut self, batch: u64, undivided: Undivided) {
        match undivided {
            Undivided::Indivisible(sealed) | Undivided::Later(sealed, _) => {
                tracing::error!(batch, "the disk does not take the parts of a segment; it is held");
                self.put_aside(Segment::left_behind(*sealed));
            }
            Undivided::Undecided(error) => {
                tracing::error!(batch, kind = %error.kind(), "the disk failed while a segment was divided; it is left until the next start");
            }
        }
    }

    fn park(&mut self, segment: Segment) {
        let (rows, batch, failure) = (segment.rows(), segment.header().batch, segment.failure);
        self.refused_in_a_row += 1;
        match segment.sealed.park() {
            Ok(path) => {
                self.metrics.count_parked(self.table, rows);
                let code = failure.map_or(0, Failure::code);
                tracing::error!(batch, rows, code, path = %path.display(), "a segment was parked; nothing of it is in the database");
            }
            Err(error) => tracing::error!(batch, kind = %error.kind(), "a segment cannot be parked; it stays in the spool"),
        }
    }

    fn put_aside(&mut self, segment: Segment) {
        self.held.push_back((segment, Clock::monotonic() + SINK_HELD_INTERVAL));
        self.metrics.set_held(self.table, self.held.len());
    }
}

/// Work on the disk that takes longer than a moment; `None` when the process is ending.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    tokio::task::spawn_blocking(work).await.ok()
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
