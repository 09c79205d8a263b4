//! A worker's log: rows go into buffers, buffers go into commits, and a commit wakes everybody who waits for it at once.
//!
//! A [`Log`] belongs to one thread. Appending is plain memory; only [`Log::run`] talks to the sync thread, with one commit under way at a time.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use tokio::sync::mpsc::UnboundedSender;

use super::counts::Counts;
use super::format::{self, Header, Request, Seed, Totals};
use super::handover::{self, Giver};
use super::sealed::Sealed;
use super::syncer::{self, Commit, Completed, Syncer, Write};
use super::{Bounds, Gauge, Spool};
use crate::clock::{Clock, Day, Zone};
use crate::limits::SEGMENT_AGE;
use crate::outcome::Outcome;
use crate::row::{OUTCOMES, Stamp, TableLayout};

/// The spool cannot take it now: answer 503 and let the sender come again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the spool cannot take more now")]
pub struct Unavailable;

/// One worker's log. Not `Send`: it lives and dies on its worker's thread.
#[derive(Debug)]
pub struct Log {
    spool: Arc<Spool>,
    state: RefCell<State>,
    wanted: tokio::sync::Notify,
}

#[derive(Debug)]
struct State {
    /// One for each table, time zone and day that rows come for: few, so they are searched in a line.
    open: Vec<Open>,
    clock: Clock,
    /// The ticket of the commit that will take what is in the buffers now.
    ticket: Rc<Ticket>,
    pending_bytes: usize,
    counts: Counts,
    spare: Vec<Vec<u8>>,
    bounds: Bounds,
    closing: bool,
}

/// A segment as its worker sees it: rows of one table, time zone and day.
#[derive(Debug)]
struct Open {
    table: &'static str,
    zone: Box<str>,
    day: Day,
    batch: u64,
    /// The header, until the first commit takes it along.
    header: Option<Header>,
    buffer: Vec<u8>,
    /// Where the frame of the request at hand begins in the buffer.
    frame: Option<usize>,
    /// One entry for each row of that frame.
    hashes: Vec<u64>,
    /// What the segment holds, buffer included.
    totals: Totals,
    /// Its length in bytes, buffer included.
    bytes: u64,
    since: Instant,
}

impl Log {
    /// A log in `spool`, whose segments state when they were begun by `clock`. Nothing is committed until [`Log::run`] is polled.
    pub fn new(spool: Arc<Spool>, clock: Clock) -> Rc<Self> {
        let state = State {
            open: Vec::new(),
            clock,
            ticket: Rc::new(Ticket::default()),
            pending_bytes: 0,
            counts: Counts::default(),
            spare: Vec::new(),
            bounds: spool.bounds,
            closing: false,
        };
        Rc::new(Self { spool, state: RefCell::new(state), wanted: tokio::sync::Notify::new() })
    }

    /// How full the spool is.
    pub fn gauge(&self) -> &Gauge {
        self.spool.gauge()
    }

    /// Hash of a client's own key; see [`Spool::hash`].
    pub fn hash(&self, site: &str, key: &[u8]) -> u64 {
        self.spool.hash(site, key)
    }

    #[cfg(test)]
    pub(super) fn spool_folder(&self) -> &std::path::Path {
        self.spool.folder()
    }

    /// From here on every segment is due, or none but the large ones.
    #[cfg(test)]
    pub(super) fn set_segment_age(&self, age: std::time::Duration) {
        self.state.borrow_mut().bounds.segment_age = age;
    }

    /// Begins one request's rows. Nothing else may touch the log until they are finished or dropped, which the borrow makes sure of.
    pub fn rows(&self) -> Result<Rows<'_>, Unavailable> {
        let state = self.state.borrow_mut();
        if state.closing || self.gauge().is_full() || state.pending_bytes >= state.bounds.commit_bytes {
            return Err(Unavailable);
        }
        Ok(Rows { log: self, state })
    }

    /// Counts events of `site` that are not stored. The count goes with the next commit, within [`SEGMENT_AGE`]; who must not be answered before it is
    /// synced finishes rows, be they none, and awaits the receipt.
    pub fn count(&self, (site, zone): (&str, &Zone), day: Day, outcome: Outcome, count: u64) {
        self.state.borrow_mut().counts.add((site, zone), day, outcome, count);
    }

    /// Runs the log until [`Log::close`]: commits whenever something waits and no commit is under way, and seals what is due. Call once.
    pub async fn run(self: Rc<Self>, worker: usize, sealed: UnboundedSender<Sealed>) -> io::Result<()> {
        let (giver, taker) = handover::pair();
        let thread = syncer::start(format!("spool-{worker}"), Syncer::new(Arc::clone(&self.spool), sealed), taker)?;
        self.commit_until_closed(giver).await;
        // The thread ends by itself once nobody gives it anything any more and the last segment is sealed.
        tokio::task::spawn_blocking(move || thread.join()).await.ok();
        Ok(())
    }

    /// The worker's half of [`Log::run`].
    pub(super) async fn commit_until_closed(&self, mut giver: Giver<Commit, Completed>) {
        let mut tick = tokio::time::interval(SEGMENT_AGE / 4);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        while !self.is_drained() {
            tokio::select! {
                biased;
                () = self.wanted.notified() => {}
                _ = tick.tick() => {}
            }
            self.commit(&mut giver).await;
        }
    }

    /// Takes no more rows; what was taken is committed and sealed, and [`Log::run`] returns.
    pub fn close(&self) {
        self.state.borrow_mut().closing = true;
        self.wanted.notify_one();
    }

    fn is_drained(&self) -> bool {
        let state = self.state.borrow();
        state.closing && state.pending_bytes == 0 && !state.counts.is_pending() && state.open.is_empty()
    }

    async fn commit(&self, giver: &mut Giver<Commit, Completed>) {
        let taken = {
            let mut state = self.state.borrow_mut();
            state.frame_counts(&self.spool);
            state.take_commit(Clock::monotonic()).ok_or_else(|| state.nothing_to_commit())
        };
        let (commit, ticket) = match taken {
            Ok(taken) => taken,
            Err((waiting, result)) => return waiting.complete(result),
        };
        let completed = giver.give(commit).await;
        let completed = completed.unwrap_or_else(|| Completed { result: Err(io::ErrorKind::BrokenPipe.into()), buffers: Vec::new() });
        let mut state = self.state.borrow_mut();
        state.spare.extend(completed.buffers);
        if completed.result.is_ok() {
            state.counts.settle();
            drop(state);
            ticket.complete(Ok(()));
        } else {
            let waiting = state.give_up();
            drop(state);
            ticket.complete(Err(Unavailable));
            waiting.complete(Err(Unavailable));
        }
    }
}

impl State {
    fn push(
        &mut self,
        spool: &Spool,
        layout: &'static TableLayout,
        (zone, day): (&Zone, Day),
        hash: u64,
        encode: impl FnOnce(&mut Vec<u8>, Stamp),
    ) -> io::Result<()> {
        let found = self.open.iter().position(|open| open.day == day && open.table == layout.table && *open.zone == *zone.name());
        let position = match found {
            Some(position) => position,
            None => self.begin_segment(spool, layout, (zone, day))?,
        };
        let open = &mut self.open[position];
        if open.frame.is_none() {
            open.frame = Some(format::begin_frame(&mut open.buffer));
        }
        encode(&mut open.buffer, Stamp { node: spool.node(), batch: open.batch });
        open.hashes.push(hash);
        Ok(())
    }

    fn begin_segment(&mut self, spool: &Spool, layout: &'static TableLayout, (zone, day): (&Zone, Day)) -> io::Result<usize> {
        let batch = spool.batches.draw()?;
        let header = Header {
            node: spool.node(),
            batch,
            begun: self.clock.now(),
            day,
            schema_id: layout.schema_id,
            zone: zone.name().into(),
            table: layout.table.into(),
            columns: layout.column_list().into(),
        };
        self.open.push(Open {
            table: layout.table,
            zone: zone.name().into(),
            day,
            batch,
            bytes: header.encode().len() as u64,
            header: Some(header),
            buffer: self.spare.pop().unwrap_or_default(),
            frame: None,
            hashes: Vec::new(),
            totals: Totals::default(),
            since: Clock::monotonic(),
        });
        Ok(self.open.len() - 1)
    }

    fn finish_frames(&mut self, spool: &Spool, key: u64) {
        let parts = self.open.iter().filter(|open| open.frame.is_some()).count();
        let request = Request { key, parts: u32::try_from(parts).expect("tables, time zones and open days are few") };
        for open in &mut self.open {
            let Some(start) = open.frame.take() else { continue };
            let row_bytes = open.buffer.len() - start - format::PREFIX - format::FRAME_FIXED;
            let seed = Seed::of(spool.node(), open.batch);
            let checksum = format::finish_frame(&mut open.buffer, start, seed, request, &open.hashes);
            open.totals.add(open.hashes.len(), row_bytes, checksum);
            open.hashes.clear();
            let frame_bytes = open.buffer.len() - start;
            open.bytes += frame_bytes as u64;
            self.pending_bytes += frame_bytes;
        }
    }

    /// Turns what was counted into rows of the commit that is about to be taken.
    fn frame_counts(&mut self, spool: &Spool) {
        if !self.counts.is_pending() {
            return;
        }
        let mut counts = std::mem::take(&mut self.counts);
        counts.take(|zone, count| self.push(spool, &OUTCOMES, (zone, count.day), 0, |out, stamp| count.encode(out, zone, stamp)).is_ok());
        self.finish_frames(spool, 0);
        if self.closing {
            // What could not be taken now never will be: a disk that takes nothing must not keep the process from ending.
            counts.forget();
        }
        self.counts = counts;
    }

    /// Everything that waits, and the segments that are due; `None` when there is neither.
    fn take_commit(&mut self, now: Instant) -> Option<(Commit, Rc<Ticket>)> {
        let mut commit = Commit { writes: Vec::new(), seals: Vec::new() };
        let spare = &mut self.spare;
        let closing = self.closing;
        let bounds = self.bounds;
        self.open.retain_mut(|open| {
            if !open.buffer.is_empty() {
                let bytes = std::mem::replace(&mut open.buffer, spare.pop().unwrap_or_default());
                commit.writes.push(Write { batch: open.batch, header: open.header.take(), bytes, totals: open.totals });
            }
            let due = closing || open.is_due(now, &bounds);
            if due {
                commit.seals.push(open.batch);
                spare.push(std::mem::take(&mut open.buffer));
            }
            !due
        });
        if commit.writes.is_empty() && commit.seals.is_empty() {
            return None;
        }
        self.pending_bytes = 0;
        Some((commit, std::mem::take(&mut self.ticket)))
    }

    /// Who waits although there is nothing to write, and what they are told: all is well, unless counts could not be made into rows.
    fn nothing_to_commit(&mut self) -> (Rc<Ticket>, Result<(), Unavailable>) {
        let result = if self.counts.is_pending() { Err(Unavailable) } else { Ok(()) };
        (std::mem::take(&mut self.ticket), result)
    }

    /// After a failed commit: the rows in the buffers carry the numbers of segments that end now, so they go too. Returns who waits for them. Counts
    /// were not promised to anybody, and are true all the same: they wait for the next commit.
    fn give_up(&mut self) -> Rc<Ticket> {
        self.counts.restore();
        self.open.clear();
        self.pending_bytes = 0;
        std::mem::take(&mut self.ticket)
    }
}

impl Open {
    /// Due by age, or at half of its bounds: one more commit and one request's rows can still come before the next look.
    fn is_due(&self, now: Instant, bounds: &Bounds) -> bool {
        let large = self.bytes >= bounds.segment_bytes / 2 || self.totals.rows >= bounds.segment_rows / 2;
        large || now.duration_since(self.since) >= bounds.segment_age
    }
}

/// One request's rows, on their way into the buffers. Dropping it takes them out again; [`Rows::finish`] keeps them.
#[derive(Debug)]
pub struct Rows<'a> {
    log: &'a Log,
    state: std::cell::RefMut<'a, State>,
}

impl Rows<'_> {
    /// Adds a row that falls on `day` in `zone`. `hash` recognises the row when it is sent again, or is zero. `encode` appends its `RowBinary`.
    pub fn push(
        &mut self,
        layout: &'static TableLayout,
        (zone, day): (&Zone, Day),
        hash: u64,
        encode: impl FnOnce(&mut Vec<u8>, Stamp),
    ) -> io::Result<()> {
        self.state.push(&self.log.spool, layout, (zone, day), hash, encode)
    }

    /// Completes the frames; `key` recognises the request when it is sent again, or is zero. The receipt resolves once all of it is synced.
    pub fn finish(mut self, key: u64) -> Receipt {
        self.state.finish_frames(&self.log.spool, key);
        self.log.wanted.notify_one();
        Receipt { ticket: Rc::clone(&self.state.ticket), place: None }
    }
}

impl Drop for Rows<'_> {
    fn drop(&mut self) {
        for open in &mut self.state.open {
            if let Some(start) = open.frame.take() {
                open.buffer.truncate(start);
                open.hashes.clear();
            }
        }
    }
}

/// Resolves when what it stands for is synced, or cannot be. All receipts of a commit are woken together, on their own thread.
#[derive(Debug)]
#[must_use = "nothing may be promised before the receipt has resolved"]
pub struct Receipt {
    ticket: Rc<Ticket>,
    /// Where the waker stands in the ticket's list.
    place: Option<usize>,
}

#[derive(Default)]
struct Ticket {
    result: Cell<Option<Result<(), Unavailable>>>,
    waiting: RefCell<Vec<Waker>>,
    afterwards: RefCell<Vec<Afterwards>>,
}

type Afterwards = Box<dyn FnOnce(Result<(), Unavailable>)>;

impl Ticket {
    fn complete(&self, result: Result<(), Unavailable>) {
        self.result.set(Some(result));
        for waker in self.waiting.take() {
            waker.wake();
        }
        for act in self.afterwards.take() {
            act(result);
        }
    }
}

impl std::fmt::Debug for Ticket {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Ticket").field("result", &self.result).finish_non_exhaustive()
    }
}

impl Receipt {
    /// For who cannot wait: `act` is called with the result, now or as soon as it is known. Not at all when the log is dropped before.
    pub fn afterwards(self, act: impl FnOnce(Result<(), Unavailable>) + 'static) {
        match self.ticket.result.get() {
            Some(result) => act(result),
            None => self.ticket.afterwards.borrow_mut().push(Box::new(act)),
        }
    }
}

impl Future for Receipt {
    type Output = Result<(), Unavailable>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(result) = self.ticket.result.get() {
            return Poll::Ready(result);
        }
        let ticket = Rc::clone(&self.ticket);
        let mut waiting = ticket.waiting.borrow_mut();
        if let Some(place) = self.place {
            waiting[place].clone_from(context.waker());
        } else {
            self.place = Some(waiting.len());
            waiting.push(context.waker().clone());
        }
        Poll::Pending
    }
}
