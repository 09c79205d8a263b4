//! A worker's log: rows go into buffers, buffers go into commits, and a commit wakes everybody who waits for it at once.
//!
//! A [`Log`] belongs to one thread. Appending is plain memory; only [`Log::run`] talks to the sync thread, with one commit under way at a time.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::mpsc::UnboundedSender;

use super::counts::Counts;
use super::format::{self, Header, Request, Seed, Totals};
use super::handover::{self, Giver};
use super::pace::Pace;
use super::receipt::{Receipt, Ticket};
use super::sealed::{Names, Sealed};
use super::seen::{Claims, Naming, Seen};
use super::syncer::{self, Commit, Completed, Syncer, Write};
use super::{Bounds, Gauge, Rest, Spool};
use crate::clock::{Clock, Day, UnixMillis, Zone};
use crate::limits::{COMMIT_PATIENCE, GATHER_TURNS, SEGMENT_AGE};
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
    rest: Arc<Rest>,
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
    /// Of the requests in the buffers.
    claims: Claims,
    spare: Vec<Vec<u8>>,
    bounds: Bounds,
    pace: Pace,
    closing: bool,
}

/// A segment as its worker sees it: rows of one table, time zone and day.
#[derive(Debug)]
struct Open {
    table: &'static str,
    zone: Box<str>,
    day: Day,
    batch: u64,
    begun: UnixMillis,
    /// The header, until the first commit takes it along.
    header: Option<Header>,
    buffer: Vec<u8>,
    /// Where the frame of the request at hand begins in the buffer.
    frame: Option<usize>,
    /// One entry for each row of that frame.
    hashes: Vec<u64>,
    /// Whether any frame in the buffer could be recognised when it is sent again.
    names: Names,
    /// What the segment holds, buffer included.
    totals: Totals,
    /// Its length in bytes, buffer included.
    bytes: u64,
    since: Instant,
}

impl Log {
    /// A log in `spool`, whose segments state when they were begun by `clock`. Nothing is committed until [`Log::run`] is polled.
    pub fn new(spool: Arc<Spool>, clock: Clock) -> Rc<Self> {
        Self::resting(spool, clock, Arc::default())
    }

    /// The same for a worker that rests between its commits.
    pub fn resting(spool: Arc<Spool>, clock: Clock, rest: Arc<Rest>) -> Rc<Self> {
        let state = State {
            open: Vec::new(),
            clock,
            ticket: Rc::new(Ticket::default()),
            pending_bytes: 0,
            counts: Counts::default(),
            claims: Claims::default(),
            spare: Vec::new(),
            bounds: spool.bounds,
            pace: Pace::new(spool.bounds.commit_bytes),
            closing: false,
        };
        Rc::new(Self { spool, rest, state: RefCell::new(state), wanted: tokio::sync::Notify::new() })
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

    /// Whether a request may bring rows now. Who asks before it is read saves the work of reading what would be turned away.
    pub fn admits(&self) -> Result<(), Unavailable> {
        let state = self.state.borrow();
        let admitted = !state.closing && self.gauge().has_room() && state.pace.admits(state.pending_bytes);
        if admitted { Ok(()) } else { Err(Unavailable) }
    }

    /// Begins one request's rows. Nothing else may touch the log until they are finished or dropped, which the borrow makes sure of.
    pub fn rows(&self) -> Result<Rows<'_>, Unavailable> {
        self.admits()?;
        let state = self.state.borrow_mut();
        Ok(Rows { log: self, state, naming: Naming::new(self.spool.seen()) })
    }

    /// Counts events of `site` that are not stored. The count goes with the next commit, within [`SEGMENT_AGE`]; who must not be answered before it is
    /// synced finishes rows, be they none, and awaits the receipt.
    pub fn count(&self, (site, zone): (&str, &Zone), day: Day, outcome: Outcome, count: u64) {
        self.state.borrow_mut().counts.add((site, zone), day, outcome, count);
    }

    /// Runs the log until [`Log::close`]: commits whenever something waits and no commit is under way, and seals what is due. Call once.
    pub async fn run(self: Rc<Self>, worker: usize, sealed: UnboundedSender<Sealed>) -> io::Result<()> {
        let (giver, taker) = handover::pair();
        let thread = syncer::start(format!("spool-{worker}"), Syncer::new(Arc::clone(&self.spool), sealed), taker, Arc::clone(&self.rest))?;
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
            self.rest.is_over().await;
            self.gather().await;
            self.commit(&mut giver).await;
        }
        // Who came just before the end and brought nothing that had to be written.
        let (waiting, result) = self.state.borrow_mut().nothing_to_commit();
        waiting.complete(result);
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

    /// Lets the worker do what is ready to be done before a commit is taken, so that one sync serves all of it. Ends when a turn of the worker has brought
    /// nothing more, and after [`GATHER_TURNS`] at the latest: who is alone does not wait.
    async fn gather(&self) {
        for _ in 0..GATHER_TURNS {
            let before = self.state.borrow().pending_bytes;
            tokio::task::yield_now().await;
            if self.state.borrow().pending_bytes == before {
                return;
            }
        }
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
        let completed = self.commit_in_time(giver, commit).await;
        let completed = completed.unwrap_or_else(|| Completed { result: Err(io::ErrorKind::BrokenPipe.into()), buffers: Vec::new() });
        let mut state = self.state.borrow_mut();
        state.spare.extend(completed.buffers);
        if completed.result.is_ok() {
            state.counts.settle();
            drop(state);
            ticket.complete(Ok(()));
        } else {
            let waiting = state.give_up(self.spool.seen());
            drop(state);
            ticket.complete(Err(Unavailable));
            waiting.complete(Err(Unavailable));
        }
    }

    /// Gives a commit away and waits for its end. One that takes too long is told, so that nobody more waits for it.
    async fn commit_in_time(&self, giver: &mut Giver<Commit, Completed>, commit: Commit) -> Option<Completed> {
        let bytes = commit.writes.iter().map(|write| write.bytes.len()).sum();
        let begun = Clock::monotonic();
        self.rest.begin();
        let mut giving = std::pin::pin!(giver.give(commit));
        let completed = match tokio::time::timeout(COMMIT_PATIENCE, &mut giving).await {
            Ok(completed) => completed,
            Err(_elapsed) => {
                self.state.borrow_mut().pace.hang();
                let _hanging = self.gauge().hanging();
                giving.await
            }
        };
        self.state.borrow_mut().pace.end(bytes, Clock::monotonic().duration_since(begun));
        completed
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
        if hash != 0 {
            open.names = Names::Some;
        }
        Ok(())
    }

    fn begin_segment(&mut self, spool: &Spool, layout: &'static TableLayout, (zone, day): (&Zone, Day)) -> io::Result<usize> {
        let batch = spool.batches.draw()?;
        let begun = self.clock.now();
        let header = Header {
            node: spool.node(),
            batch,
            begun,
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
            begun,
            bytes: header.encode().len() as u64,
            header: Some(header),
            buffer: self.spare.pop().unwrap_or_default(),
            frame: None,
            hashes: Vec::new(),
            names: Names::None,
            totals: Totals::default(),
            since: Clock::monotonic(),
        });
        Ok(self.open.len() - 1)
    }

    /// In how many frames the rows of the request at hand lie.
    fn frames(&self) -> u32 {
        let frames = self.open.iter().filter(|open| open.frame.is_some()).count();
        u32::try_from(frames).expect("tables, time zones and open days are few")
    }

    fn finish_frames(&mut self, spool: &Spool, request: Request) {
        for open in &mut self.open {
            let Some(start) = open.frame.take() else { continue };
            let row_bytes = open.buffer.len() - start - format::PREFIX - format::FRAME_FIXED;
            let seed = Seed::of(spool.node(), open.batch);
            let checksum = format::finish_frame(&mut open.buffer, start, seed, request, &open.hashes);
            open.totals.add(open.hashes.len(), row_bytes, checksum);
            open.hashes.clear();
            if request.key != 0 {
                open.names = Names::Some;
            }
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
        self.finish_frames(spool, Request { key: 0, parts: self.frames() });
        if self.closing {
            // What could not be taken now never will be: a disk that takes nothing must not keep the process from ending.
            counts.forget();
        }
        self.counts = counts;
    }

    /// Everything that waits, and the segments that are due; `None` when there is neither.
    fn take_commit(&mut self, now: Instant) -> Option<(Commit, Rc<Ticket>)> {
        let at = self.open.iter().map(|open| open.begun).min().unwrap_or(UnixMillis(0));
        let mut commit = Commit { writes: Vec::new(), seals: Vec::new(), claims: std::mem::take(&mut self.claims), at };
        let spare = &mut self.spare;
        let closing = self.closing;
        let bounds = self.bounds;
        self.open.retain_mut(|open| {
            if !open.buffer.is_empty() {
                let bytes = std::mem::replace(&mut open.buffer, spare.pop().unwrap_or_default());
                let names = std::mem::replace(&mut open.names, Names::None);
                commit.writes.push(Write { batch: open.batch, header: open.header.take(), bytes, totals: open.totals, names });
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
    fn give_up(&mut self, seen: &Seen) -> Rc<Ticket> {
        self.counts.restore();
        seen.withdraw(&std::mem::take(&mut self.claims));
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
    naming: Naming,
}

impl Rows<'_> {
    /// Names the request, before any of its rows: `key` recognises it when it is sent again. [`Unavailable`] while another with that key is under way.
    pub fn name(&mut self, key: u64) -> Result<(), Unavailable> {
        self.naming.key(key, &self.state.clock)
    }

    /// Whether a row that falls on `day` in `zone` was stored before: with its request, or as the row that `hash` recognises, unless that is zero.
    /// [`Unavailable`] while another request with such a row is under way.
    pub fn is_duplicate(&mut self, (zone, day): (&Zone, Day), hash: u64) -> Result<bool, Unavailable> {
        self.naming.is_duplicate((zone.name(), day), hash, &self.state.clock)
    }

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

    /// Completes the frames. The receipt resolves once all of it is synced.
    pub fn finish(mut self) -> Receipt {
        let (request, mut claims) = self.naming.finish(self.state.frames());
        self.state.finish_frames(&self.log.spool, request);
        self.state.claims.append(&mut claims);
        self.log.wanted.notify_one();
        Receipt::of(&self.state.ticket)
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
