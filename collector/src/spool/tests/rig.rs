//! A log on a simulated disk, worker and sync thread alike, driven step by step on one thread; and the story of it: what was asked, what was answered,
//! and what ClickHouse got.
//!
//! Rows are as empty as their tables allow, but for a text that names their request and their place in it.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::super::Receipt;
use super::super::disk::simulated::Disk;
use super::super::divide::Undivided;
use super::super::handover::{self, Next, Taker};
use super::super::recover::{Recovered, recover};
use super::super::sealed::{ReadError, RowCount};
use super::super::syncer::{Commit, Completed, Syncer};
use super::super::{Bounds, Log, OpenError, Sealed, Spool};
use super::story::{content, inserted, put_row};
use super::{DAY, clock, zone};
use crate::clock::Day;
use crate::row::{EVENTS, OUTCOMES, TableLayout};

/// Where a request's rows of one kind go: a table and a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Lane {
    Today,
    Yesterday,
    Counts,
}

impl Lane {
    fn place(self) -> (&'static TableLayout, Day) {
        match self {
            Self::Today => (&EVENTS, DAY),
            Self::Yesterday => (&EVENTS, DAY.previous()),
            Self::Counts => (&OUTCOMES, DAY),
        }
    }
}

/// The number of a request, and a place in it.
pub(super) type Row = (u64, u64);

/// One thing that happened.
#[derive(Clone, Debug)]
pub(super) enum Happened {
    /// A request was taken: how many rows it has for which lane, and the numbers of their segments.
    Taken(u64, Vec<(Lane, u64)>, BTreeSet<u64>),
    /// It was answered with a 2xx.
    Kept(u64),
    /// It was answered with a 503.
    Refused(u64),
    /// ClickHouse has the rows of this segment.
    Inserted(u64, Vec<Row>),
    /// These segments have taken the place of another.
    Divided(u64, BTreeSet<u64>),
}

/// Bounds that a few requests meet.
pub(super) fn small() -> Bounds {
    Bounds {
        bytes_max: 1 << 20,
        segment_bytes: 8_192,
        segment_rows: 1_000,
        segment_age: Duration::from_hours(1),
        commit_bytes: 16_384,
        growth_min: 1_024,
        growth_max: 4_096,
        zeros_ahead: 2_048,
        batches_reserved: 3,
        journal_reserve_bytes: 256,
    }
}

/// Why a rig does not start.
#[derive(Debug)]
pub(super) enum Broken {
    Spool,
    Recovery,
}

/// A log that runs. Dropping it is kill -9; the disk keeps what it has.
pub(super) struct Rig<'d> {
    disk: &'d Disk,
    pub(super) spool: Arc<Spool>,
    pub(super) log: Rc<Log>,
    runtime: Runtime,
    /// The worker's half of the log, until it has ended.
    worker: Option<Pin<Box<dyn Future<Output = ()>>>>,
    taker: Taker<Commit, Completed>,
    syncer: Option<Syncer>,
    sealed: UnboundedReceiver<Sealed>,
    waiting: Vec<(u64, Receipt, Arc<Woken>)>,
    worker_woken: Arc<Woken>,
    /// Segments that wait for ClickHouse, in their order.
    pub(super) queue: Vec<Sealed>,
    pub(super) story: Vec<Happened>,
}

pub(super) fn folder(disk: &Disk) -> PathBuf {
    disk.root().join("data").join("spool")
}

/// Opens the spool and recovers it.
pub(super) fn start(disk: &Disk, bounds: Bounds) -> Result<(Arc<Spool>, Recovered), Broken> {
    let spool = match Spool::bounded(&folder(disk), bounds) {
        Ok(spool) => Arc::new(spool),
        Err(OpenError::InUse(_) | OpenError::Identity(_) | OpenError::Io { .. }) => return Err(Broken::Spool),
    };
    let recovered = recover(&spool).map_err(|_| Broken::Recovery)?;
    Ok((spool, recovered))
}

impl<'d> Rig<'d> {
    pub(super) fn start(disk: &'d Disk, bounds: Bounds, story: Vec<Happened>) -> Result<Self, Broken> {
        let (spool, mut recovered) = start(disk, bounds)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let log = Log::new(Arc::clone(&spool), clock());
        let (giver, taker) = handover::pair();
        let (sender, sealed) = unbounded_channel();
        let syncer = Some(Syncer::new(Arc::clone(&spool), sender));
        let running = Rc::clone(&log);
        let worker: Pin<Box<dyn Future<Output = ()>>> = Box::pin(async move { running.commit_until_closed(giver).await });
        let queue = std::mem::take(&mut recovered.sealed);
        let worker = Some(worker);
        Ok(Self { disk, spool, log, runtime, worker, taker, syncer, sealed, waiting: Vec::new(), worker_woken: Woken::new(), queue, story })
    }

    /// One request with so many rows for each lane; its answer comes with a commit, unless it is refused at once.
    pub(super) fn request(&mut self, parts: &[(Lane, u64)]) -> u64 {
        let number = self.story.iter().filter(|happened| matches!(happened, Happened::Taken(..))).count() as u64 + 1;
        let receipt = self.append(number, parts);
        match receipt {
            Ok((batches, receipt)) => {
                self.happened(Happened::Taken(number, parts.to_vec(), batches));
                self.waiting.push((number, receipt, Woken::new()));
            }
            Err(batches) => {
                self.happened(Happened::Taken(number, parts.to_vec(), batches));
                self.happened(Happened::Refused(number));
            }
        }
        number
    }

    fn append(&self, number: u64, parts: &[(Lane, u64)]) -> Result<(BTreeSet<u64>, Receipt), BTreeSet<u64>> {
        let mut batches = BTreeSet::new();
        let Ok(mut rows) = self.log.rows() else { return Err(batches) };
        // Its number is its key: what is recognised when it is sent again is written down when its segments go.
        if rows.name(number).is_err() {
            return Err(batches);
        }
        let mut place = 0_u64;
        for (lane, count) in parts {
            let (layout, day) = lane.place();
            for _ in 0..*count {
                let pushed = rows.push(layout, (&zone(), day), 0, |out, stamp| {
                    batches.insert(stamp.batch);
                    put_row(out, layout, stamp, (number, place));
                });
                if pushed.is_err() {
                    return Err(batches);
                }
                place += 1;
            }
        }
        Ok((batches, rows.finish()))
    }

    /// Lets worker and sync thread go on until both wait.
    pub(super) fn go(&mut self) {
        self.poll();
        while self.serve() {}
        self.gather();
    }

    /// The same; nobody is left who waits for an answer.
    pub(super) fn run(&mut self) {
        self.go();
        assert!(self.waiting.is_empty(), "everybody who waited was woken and answered");
    }

    /// The sync thread takes one commit, if there is one. Who waits is answered before anything is sealed.
    pub(super) fn serve(&mut self) -> bool {
        let Some(mut syncer) = self.syncer.take() else { return false };
        let next = self.taker.take_within(Duration::ZERO);
        let given = matches!(next, Next::Given(_));
        if let Next::Given(commit) = next {
            syncer.serve(commit, |completed| {
                self.taker.done(completed);
                self.poll();
            });
        }
        self.syncer = Some(syncer);
        given
    }

    /// Seals every segment that is open.
    pub(super) fn seal(&mut self) {
        self.log.set_segment_age(Duration::ZERO);
        if let Ok(rows) = self.log.rows() {
            drop(rows.finish());
        }
        self.run();
        self.log.set_segment_age(Duration::from_hours(1));
    }

    /// Tries again what the disk did not take: to seal segments, and to take over what recovery could not have.
    pub(super) fn again(&mut self) {
        if let Some(syncer) = &mut self.syncer {
            syncer.seal_again();
        }
        self.gather();
        let queue = &mut self.queue;
        self.spool.take_over_left(|sealed| queue.push(sealed));
    }

    /// Stops in order: everything that was taken is committed and sealed.
    pub(super) fn close(mut self) -> Vec<Happened> {
        self.log.close();
        self.run();
        if let Some(syncer) = self.syncer.take() {
            syncer.end();
        }
        self.gather();
        self.story
    }

    fn gather(&mut self) {
        while let Ok(sealed) = self.sealed.try_recv() {
            self.queue.push(sealed);
        }
    }

    /// The sink takes the oldest segment: asks ClickHouse for it, sends it if it is not there, and removes it. `None` when nothing waits.
    pub(super) fn deliver(&mut self) -> Option<Result<(), String>> {
        let sealed = (!self.queue.is_empty()).then(|| self.queue.remove(0))?;
        let batch = sealed.header().batch;
        let rows = match content(&sealed) {
            Ok(rows) => rows,
            Err(ReadError::Damaged) => return Some(self.salvage(sealed)),
            Err(ReadError::Io(_)) => {
                self.queue.push(sealed);
                return Some(Ok(()));
            }
        };
        match inserted(&self.story, batch) {
            None => self.happened(Happened::Inserted(batch, rows)),
            Some(there) if there.len() == rows.len() => {}
            Some(there) => return Some(Err(format!("segment {batch} has {} rows, and ClickHouse {}", rows.len(), there.len()))),
        }
        // What cannot be removed is asked for again at the next start.
        let _ = sealed.confirm();
        Some(Ok(()))
    }

    /// The good rows of a damaged segment go on in another, unless ClickHouse has it after all.
    fn salvage(&mut self, sealed: Sealed) -> Result<(), String> {
        let (batch, rows) = (sealed.header().batch, sealed.rows());
        let there = inserted(&self.story, batch).map(|rows| rows.len() as u64);
        match (there, rows) {
            (Some(there), RowCount::Exactly(rows)) if there == rows => drop(sealed.confirm()),
            (Some(there), RowCount::AtLeast(rows)) if there >= rows => drop(sealed.confirm()),
            (Some(there), rows) => return Err(format!("damaged segment {batch} has {rows:?} rows, and ClickHouse {there}")),
            (None, _) => {
                let pieces = sealed.salvage(&self.spool).map(|salvaged| salvaged.piece.into_iter().collect());
                self.replace(batch, pieces);
            }
        }
        Ok(())
    }

    /// Divides the oldest segment, as if ClickHouse had refused a row in it.
    pub(super) fn divide(&mut self) {
        if self.queue.is_empty() {
            return;
        }
        let sealed = self.queue.remove(0);
        // What may be there already is not divided.
        if inserted(&self.story, sealed.header().batch).is_some() {
            return self.queue.push(sealed);
        }
        let batch = sealed.header().batch;
        let pieces = sealed.divide(&self.spool).map(Vec::from);
        self.replace(batch, pieces);
    }

    fn replace(&mut self, batch: u64, pieces: Result<Vec<Sealed>, Undivided>) {
        match pieces {
            Ok(pieces) => {
                self.happened(Happened::Divided(batch, pieces.iter().map(|piece| piece.header().batch).collect()));
                self.queue.extend(pieces);
            }
            Err(Undivided::Indivisible(sealed)) => drop(sealed.park()),
            Err(Undivided::Later(sealed, _)) => self.queue.push(*sealed),
            Err(Undivided::Undecided(_)) => {}
        }
    }

    /// ClickHouse will not have the oldest segment.
    pub(super) fn park(&mut self) {
        if !self.queue.is_empty() {
            let _ = self.queue.remove(0).park();
        }
    }

    fn happened(&mut self, happened: Happened) {
        self.story.push(happened);
        self.disk.mark(self.story.len());
    }

    /// Lets whoever was woken go on until they wait again: the worker, and those who hold receipts.
    pub(super) fn poll(&mut self) {
        let _time = self.runtime.enter();
        while self.worker_woken.take() {
            let waker = Waker::from(Arc::clone(&self.worker_woken));
            let Some(worker) = &mut self.worker else { break };
            if worker.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
                self.worker = None;
            }
        }
        let mut answered = Vec::new();
        self.waiting.retain_mut(|(number, receipt, woken)| {
            let waker = Waker::from(Arc::clone(woken));
            match woken.take().then(|| Pin::new(receipt).poll(&mut Context::from_waker(&waker))) {
                Some(Poll::Ready(result)) => {
                    answered.push((*number, result));
                    false
                }
                Some(Poll::Pending) | None => true,
            }
        });
        for (number, result) in answered {
            self.happened(if result.is_ok() { Happened::Kept(number) } else { Happened::Refused(number) });
        }
    }
}

/// Whether somebody was woken and has not looked yet; everybody looks once unasked.
#[derive(Debug)]
struct Woken(AtomicBool);

impl Woken {
    fn new() -> Arc<Self> {
        Arc::new(Self(AtomicBool::new(true)))
    }

    fn take(&self) -> bool {
        self.0.swap(false, Ordering::SeqCst)
    }
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}
