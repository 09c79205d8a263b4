//! A log on a simulated disk, worker and sync thread alike, driven step by step on one thread; and the story of it: what was asked, what was answered,
//! and what ClickHouse got.
//!
//! Rows are 16 bytes: the number of their request and their place in it.

use std::collections::{BTreeMap, BTreeSet};
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
use super::super::format::{Frame, Header, PREFIX, Record, record};
use super::super::handover::{self, Next, Taker};
use super::super::recover::{Recovered, recover};
use super::super::sealed::ReadError;
use super::super::syncer::{Commit, Completed, Syncer};
use super::super::{Bounds, Log, OpenError, Sealed, Spool};
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
}

/// Bounds that a few requests meet.
pub(super) fn small() -> Bounds {
    Bounds {
        bytes_max: 1 << 20,
        segment_bytes: 4_096,
        segment_rows: 1_000,
        segment_age: Duration::from_hours(1),
        commit_bytes: 4_096,
        growth_min: 1_024,
        growth_max: 2_048,
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
    pub(super) log: Rc<Log>,
    runtime: Runtime,
    /// The worker's half of the log, until it has ended.
    worker: Option<Pin<Box<dyn Future<Output = ()>>>>,
    taker: Taker<Commit, Completed>,
    syncer: Option<Syncer>,
    sealed: UnboundedReceiver<Sealed>,
    waiting: Vec<(u64, Receipt)>,
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
        Ok(Self { disk, log, runtime, worker, taker, syncer, sealed, waiting: Vec::new(), queue, story })
    }

    /// One request with so many rows for each lane; its answer comes with a commit, unless it is refused at once.
    pub(super) fn request(&mut self, parts: &[(Lane, u64)]) -> u64 {
        let number = self.story.iter().filter(|happened| matches!(happened, Happened::Taken(..))).count() as u64 + 1;
        let receipt = self.append(number, parts);
        match receipt {
            Ok((batches, receipt)) => {
                self.happened(Happened::Taken(number, parts.to_vec(), batches));
                self.waiting.push((number, receipt));
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
                    out.extend_from_slice(&number.to_le_bytes());
                    out.extend_from_slice(&place.to_le_bytes());
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
    pub(super) fn run(&mut self) {
        self.poll();
        while let Some(mut syncer) = self.syncer.take() {
            let Next::Given(commit) = self.taker.take_within(Duration::ZERO) else {
                self.syncer = Some(syncer);
                break;
            };
            // Who waits is answered before anything is sealed.
            syncer.serve(commit, |completed| {
                self.taker.done(completed);
                self.poll();
            });
            self.syncer = Some(syncer);
        }
        self.gather();
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
            Err(error) => return Some(Err(format!("segment {batch}: {error}"))),
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

    /// Lets the worker go on until it waits, and hears what receipts say.
    fn poll(&mut self) {
        let woken = Arc::new(Woken(AtomicBool::new(true)));
        let waker = Waker::from(Arc::clone(&woken));
        let mut context = Context::from_waker(&waker);
        let _time = self.runtime.enter();
        // A worker that only lets others go first is woken at once.
        while woken.0.swap(false, Ordering::Relaxed) {
            if self.worker.as_mut().is_some_and(|worker| worker.as_mut().poll(&mut context).is_ready()) {
                self.worker = None;
            }
        }
        let mut answered = Vec::new();
        self.waiting.retain_mut(|(number, receipt)| match Pin::new(receipt).poll(&mut context) {
            Poll::Ready(result) => {
                answered.push((*number, result));
                false
            }
            Poll::Pending => true,
        });
        for (number, result) in answered {
            self.happened(if result.is_ok() { Happened::Kept(number) } else { Happened::Refused(number) });
        }
    }
}

/// Remembers that it was woken.
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The rows of a sealed segment, every checksum being checked.
pub(super) fn content(sealed: &Sealed) -> Result<Vec<Row>, String> {
    let said = |error: ReadError| error.to_string();
    let mut reader = sealed.reader().map_err(said)?;
    let mut found = Vec::new();
    while let Some(rows) = reader.next_rows().map_err(said)? {
        found.extend(rows_in(rows)?);
    }
    Ok(found)
}

fn rows_in(bytes: &[u8]) -> Result<Vec<Row>, String> {
    let (rows, rest) = bytes.as_chunks::<16>();
    let number = |bytes: &[u8]| bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte));
    if rest.is_empty() { Ok(rows.iter().map(|row| (number(&row[..8]), number(&row[8..]))).collect()) } else { Err("torn rows".to_owned()) }
}

/// What lies at each place of a segment's file: offset and length of each frame, and its rows. Nothing is checked.
pub(super) fn frames(bytes: &[u8]) -> Vec<(std::ops::Range<usize>, Vec<Row>)> {
    let Some((header, mut offset)) = Header::decode(bytes) else { return Vec::new() };
    let mut found = Vec::new();
    while let Some(prefix) = bytes.get(offset..offset + PREFIX) {
        let Record::Frame { length, checksum } = record(prefix) else { break };
        let end = offset + PREFIX + length;
        let frame = bytes.get(offset + PREFIX..end).and_then(|body| Frame::decode(body, checksum, header.seed()));
        let Some(frame) = frame else { break };
        found.push((offset..end, rows_in(frame.rows).unwrap_or_default()));
        offset = end;
    }
    found
}

/// The rows that ClickHouse has of a segment.
pub(super) fn inserted(story: &[Happened], batch: u64) -> Option<&Vec<Row>> {
    story.iter().find_map(|happened| match happened {
        Happened::Inserted(found, rows) if *found == batch => Some(rows),
        Happened::Inserted(..) | Happened::Taken(..) | Happened::Kept(_) | Happened::Refused(_) => None,
    })
}

/// Segments whose numbers were given.
pub(super) fn batches(story: &[Happened]) -> BTreeSet<u64> {
    let of = |happened: &Happened| match happened {
        Happened::Taken(_, _, batches) => batches.clone(),
        Happened::Kept(_) | Happened::Refused(_) | Happened::Inserted(..) => BTreeSet::new(),
    };
    story.iter().flat_map(of).collect()
}

/// How many rows of each request are where nothing is lost any more: in ClickHouse, in what waits for it, and parked.
pub(super) fn found(story: &[Happened], waiting: &[Sealed], disk: &Disk) -> Result<BTreeMap<Row, u32>, String> {
    let mut all = Vec::new();
    for happened in story {
        if let Happened::Inserted(_, rows) = happened {
            all.extend(rows.iter().copied());
        }
    }
    for sealed in waiting {
        let rows = content(sealed)?;
        match inserted(story, sealed.header().batch) {
            None => all.extend(rows),
            Some(there) if *there == rows => {}
            Some(_) => return Err(format!("segment {} is not what ClickHouse has of it", sealed.header().batch)),
        }
    }
    let parked = folder(disk).join("parked");
    for path in disk.files().into_iter().filter(|path| path.starts_with(&parked)) {
        let bytes = disk.content(&path).unwrap_or_default();
        all.extend(frames(&bytes).into_iter().flat_map(|(_, rows)| rows));
    }
    let mut counted = BTreeMap::new();
    for row in all {
        *counted.entry(row).or_insert(0) += 1;
    }
    Ok(counted)
}

/// Compares what is found with what was promised: what was kept is there, what was refused is not, and what got no answer is there whole or not at all.
pub(super) fn judge(story: &[Happened], mut found: BTreeMap<Row, u32>) -> Result<(), String> {
    if let Some((row, times)) = found.iter().find(|(_, times)| **times > 1) {
        return Err(format!("row {row:?} is there {times} times"));
    }
    let (mut kept, mut refused) = (BTreeSet::new(), BTreeSet::new());
    for happened in story {
        match happened {
            Happened::Kept(number) => drop(kept.insert(*number)),
            Happened::Refused(number) => drop(refused.insert(*number)),
            Happened::Taken(..) | Happened::Inserted(..) => {}
        }
    }
    for happened in story {
        let Happened::Taken(number, parts, _) = happened else { continue };
        let mut place = 0;
        for (lane, count) in parts {
            let there = (place..place + count).filter(|place| found.remove(&(*number, *place)).is_some()).count() as u64;
            place += count;
            match there {
                0 if kept.contains(number) => return Err(format!("request {number} was kept, and its rows of {lane:?} are lost")),
                0 => {}
                there if there < *count => return Err(format!("request {number} has {there} of {count} rows of {lane:?}")),
                _ if refused.contains(number) => return Err(format!("request {number} was refused, and its rows of {lane:?} are there")),
                _ => {}
            }
        }
    }
    if found.is_empty() { Ok(()) } else { Err(format!("rows that were never sent: {found:?}")) }
}
