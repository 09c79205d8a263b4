//! What every connection is doing and since when, and the sweep that ends those which do it for too long.
//!
//! A request arms no timer: it writes a stage and the tick of the last sweep into its connection's [`Watch`], and the worker's one sweep compares.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::limits::Limits;
use super::metrics::{Counts, Ended};

/// What a connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Accepted or reading a head.
    Head,
    /// Reading a body.
    Body,
    /// Having its request handled, or taking the answer.
    Answer,
    /// Kept alive between two requests.
    Idle,
    /// Answered for the last time; waits for the client to close.
    Linger,
}

/// How far the lines of a head have been looked at.
#[derive(Clone, Copy, Debug)]
struct HeadLines {
    /// The two bytes before those to come.
    before: [u8; 2],
    /// Which part of the message they are in.
    part: Part,
    /// A line ended without a carriage return.
    bare: bool,
}

impl Default for HeadLines {
    /// The start of a head is the start of a line.
    fn default() -> Self {
        Self { before: *b"\n\n", part: Part::Before, bare: false }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    /// Empty lines before a head belong to none (RFC 9112, 2.2).
    #[default]
    Before,
    Head,
    Body,
}

impl HeadLines {
    /// Looks at more of the head, and at whatever came with it. Once the head is complete its request is handled, and nothing more is looked at.
    fn after(mut self, bytes: &[u8]) -> Self {
        // Most of what comes has no bare line feed anywhere, not even in a body: that is seen without looking at each line.
        if self.meets_bare_line_feed(bytes) {
            self.look_at_lines(bytes);
        } else if bytes.iter().any(|byte| !matches!(byte, b'\r' | b'\n')) {
            self.part = self.part.max(Part::Head);
        }
        self.before = [self.byte(bytes, bytes.len(), 2), self.byte(bytes, bytes.len(), 1)];
        self
    }

    /// Written without an early exit, so that it compiles to vector instructions.
    fn meets_bare_line_feed(self, bytes: &[u8]) -> bool {
        let first = bytes.first() == Some(&b'\n') && self.before[1] != b'\r';
        let bare = |(before, byte): (&u8, &u8)| u8::from(*byte == b'\n') & u8::from(*before != b'\r');
        first || bytes.iter().zip(bytes.get(1..).unwrap_or_default()).map(bare).fold(0, |some, bare| some | bare) != 0
    }

    fn look_at_lines(&mut self, bytes: &[u8]) {
        for (end, _) in bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n') {
            let returned = self.byte(bytes, end, 1) == b'\r';
            let empty = self.byte(bytes, end, if returned { 2 } else { 1 }) == b'\n';
            self.part = match self.part {
                Part::Before if empty => Part::Before,
                Part::Head if empty => Part::Body,
                Part::Before | Part::Head => Part::Head,
                Part::Body => return,
            };
            self.bare |= !returned;
        }
    }

    /// The byte one or two before `position`, wherever it is.
    fn byte(self, bytes: &[u8], position: usize, back: usize) -> u8 {
        position.checked_sub(back).map_or_else(|| self.before[position + 2 - back], |position| bytes[position])
    }
}

/// One connection's stage. Shared by its socket, its handler and the sweep, all on one thread.
pub(super) struct Watch {
    table: Rc<Connections>,
    position: Cell<usize>,
    stage: Cell<Stage>,
    since: Cell<u64>,
    spoken: Cell<bool>,
    written: Cell<bool>,
    requests: Cell<u32>,
    lines: Cell<HeadLines>,
    overdue: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Watch {
    pub(super) fn stage(&self) -> Stage {
        self.stage.get()
    }

    pub(super) fn enter(&self, stage: Stage) {
        self.stage.set(stage);
        self.written.set(false);
        self.since.set(self.table.now.get());
    }

    /// Bytes arrived: between two requests they begin a head.
    pub(super) fn heard(&self, bytes: &[u8]) {
        self.spoken.set(true);
        if self.stage.get() == Stage::Idle {
            self.enter(Stage::Head);
            self.lines.set(HeadLines::default());
        }
        if self.stage.get() == Stage::Head {
            self.lines.set(self.lines.get().after(bytes));
        }
    }

    /// Whether a line of the head ended in a bare line feed, which hyper would forgive and a proxy in front may read otherwise. Heads that arrive together with
    /// the end of the request before are not looked at.
    pub(super) fn bare_line_feed(&self) -> bool {
        self.lines.get().bare
    }

    /// Bytes left for the kernel.
    pub(super) fn wrote(&self) {
        self.written.set(true);
    }

    /// Nothing is left to write. Said by hyper also while an answer is still being made.
    pub(super) fn flushed(&self) {
        if self.stage.get() == Stage::Answer && self.written.get() {
            self.enter(Stage::Idle);
        }
    }

    /// A head is complete.
    pub(super) fn begin_request(&self) {
        self.requests.set(self.requests.get() + 1);
        self.enter(Stage::Body);
    }

    /// Whether the answer to the current request must be the connection's last.
    pub(super) fn is_last(&self) -> bool {
        self.requests.get() >= self.table.limits.requests || self.table.draining.get()
    }

    /// Whether the sweep has found the connection too late.
    pub(super) fn overdue(&self) -> bool {
        self.overdue.get()
    }

    /// A late body becomes an answer, which has a deadline of its own.
    pub(super) fn forgive(&self) {
        self.overdue.set(false);
    }

    /// Remembers whom to wake when the connection becomes overdue.
    pub(super) fn remember(&self, context: &Context<'_>) {
        let mut waker = self.waker.borrow_mut();
        if waker.as_ref().is_none_or(|known| !known.will_wake(context.waker())) {
            *waker = Some(context.waker().clone());
        }
    }

    fn end(&self, why: Ended) {
        if !self.overdue.replace(true) {
            self.table.counts.ended(why);
            if let Some(waker) = &*self.waker.borrow() {
                waker.wake_by_ref();
            }
        }
    }

    fn awaits_request(&self) -> bool {
        matches!(self.stage.get(), Stage::Idle | Stage::Head | Stage::Linger) && !self.overdue.get()
    }
}

/// A [`Watch`] that leaves the table when its connection is dropped, however that comes about.
pub(super) struct Watched(Rc<Watch>);

impl std::ops::Deref for Watched {
    type Target = Rc<Watch>;

    fn deref(&self) -> &Rc<Watch> {
        &self.0
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.0.table.remove(&self.0);
    }
}

/// Every connection of one worker.
pub(super) struct Connections {
    limits: Limits,
    counts: Arc<Counts>,
    watches: RefCell<Vec<Rc<Watch>>>,
    started: OnceCell<Instant>,
    now: Cell<u64>,
    draining: Cell<bool>,
    emptied: Notify,
}

impl Connections {
    pub(super) fn new(limits: Limits, counts: Arc<Counts>) -> Rc<Self> {
        Rc::new(Self {
            limits,
            counts,
            watches: RefCell::default(),
            started: OnceCell::new(),
            now: Cell::new(0),
            draining: Cell::new(false),
            emptied: Notify::new(),
        })
    }

    /// Adds a connection; at the cap it makes room first. `None` when every other connection has a request in hand.
    pub(super) fn admit(self: &Rc<Self>) -> Option<Watched> {
        if self.watches.borrow().len() >= self.limits.connections && !self.evict_oldest() {
            self.counts.ended(Ended::TurnedAway);
            return None;
        }
        let mut watches = self.watches.borrow_mut();
        let watch = Rc::new(Watch {
            table: Rc::clone(self),
            position: Cell::new(watches.len()),
            stage: Cell::new(Stage::Head),
            since: Cell::new(self.now.get()),
            spoken: Cell::new(false),
            written: Cell::new(false),
            requests: Cell::new(0),
            lines: Cell::default(),
            overdue: Cell::new(false),
            waker: RefCell::new(None),
        });
        watches.push(Rc::clone(&watch));
        self.counts.opened();
        Some(Watched(watch))
    }

    fn remove(&self, watch: &Watch) {
        let mut watches = self.watches.borrow_mut();
        let position = watch.position.get();
        watches.swap_remove(position);
        if let Some(moved) = watches.get(position) {
            moved.position.set(position);
        }
        self.counts.closed();
        if watches.is_empty() {
            self.emptied.notify_waiters();
        }
    }

    /// Ends the connections that have waited longest without a request: one in a hundred, so that a flood does not pay a scan for each of its
    /// connections. `false` when there is none to end.
    pub(super) fn evict_oldest(&self) -> bool {
        let watches = self.watches.borrow();
        let mut waiting: Vec<&Rc<Watch>> = watches.iter().filter(|watch| watch.awaits_request()).collect();
        let evicted = waiting.len().div_ceil(100);
        if evicted == 0 {
            return false;
        }
        // Of two that wait, the one between two requests goes first: the other may be a visitor's first word.
        waiting.select_nth_unstable_by_key(evicted - 1, |watch| (watch.stage.get() != Stage::Idle, watch.since.get()));
        for watch in &waiting[..evicted] {
            watch.end(Ended::Evicted);
        }
        true
    }

    /// Looks at every connection at each interval, for as long as it is polled.
    pub(super) async fn sweep(&self) {
        let mut ticks = interval(self.limits.sweep);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let tick = ticks.tick().await;
            self.sweep_once(tick);
        }
    }

    fn sweep_once(&self, tick: Instant) {
        let since_start = tick.duration_since(*self.started.get_or_init(|| tick));
        let now = u64::try_from(since_start.as_millis()).unwrap_or(u64::MAX);
        self.now.set(now);
        for watch in &*self.watches.borrow() {
            let (limit, why) = self.deadline(watch);
            // `since` may be older than the stage by up to one sweep: nobody is ended early for it.
            if now.saturating_sub(watch.since.get()) > u64::try_from((limit + self.limits.sweep).as_millis()).unwrap_or(u64::MAX) {
                watch.end(why);
            }
        }
    }

    fn deadline(&self, watch: &Watch) -> (Duration, Ended) {
        let limits = &self.limits;
        match watch.stage.get() {
            Stage::Head if self.draining.get() && !watch.spoken.get() => (limits.drain_silence, Ended::Drained),
            Stage::Head => (limits.head, Ended::HeadLate),
            Stage::Body => (limits.body, Ended::BodyLate),
            Stage::Answer => (limits.answer, Ended::AnswerNotTaken),
            Stage::Idle => (limits.idle, Ended::IdleTooLong),
            Stage::Linger => (limits.linger, Ended::Lingered),
        }
    }

    /// From now on every answer is its connection's last, and connections between two requests are closed.
    pub(super) fn begin_drain(&self) {
        self.draining.set(true);
        for watch in &*self.watches.borrow() {
            if watch.stage.get() == Stage::Idle {
                watch.end(Ended::Drained);
            }
        }
    }

    /// Ends every connection, whatever it is doing.
    pub(super) fn end_all(&self) {
        for watch in &*self.watches.borrow() {
            watch.enter(Stage::Linger);
            watch.end(Ended::Drained);
        }
    }

    /// Resolves once no connection is left.
    pub(super) async fn empty(&self) {
        while !self.watches.borrow().is_empty() {
            self.emptied.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_line_feed_is_seen_in_a_head_however_it_is_cut_and_not_in_a_body() {
        for (bytes, bare) in [
            ("POST /e HTTP/1.1\r\nHost: a\r\n\r\nline\nline\n\n", false),
            ("\r\n\r\nPOST /e HTTP/1.1\r\nHost: a\r\n\r\n\n", false),
            ("POST /e HTTP/1.1\nHost: a\r\n\r\n", true),
            ("POST /e HTTP/1.1\r\nHost: a\n\r\n", true),
            ("POST /e HTTP/1.1\r\nHost: a\r\n\n", true),
        ] {
            assert_eq!(HeadLines::default().after(bytes.as_bytes()).bare, bare, "{bytes:?}");
            // Once its head is complete, a request is handled, and no more of it is looked at.
            let head_bytes = bytes.find("a\r\n\r\n").map_or(bytes.len(), |end| end + 5);
            for cut in 1..head_bytes {
                let (head, rest) = bytes.as_bytes().split_at(cut);
                assert_eq!(HeadLines::default().after(head).after(rest).bare, bare, "{bytes:?} cut at {cut}");
            }
            let by_byte = bytes.as_bytes()[..head_bytes].chunks(1).fold(HeadLines::default(), HeadLines::after);
            assert_eq!(by_byte.bare, bare, "{bytes:?} byte by byte");
        }
    }
}
