//! The append-only log between an answer and ClickHouse: what is answered with a 2xx is in here, synced.
//!
//! Every worker has a [`Log`] of its own, so nothing is shared on the hot path. A log keeps one open segment per (table, time zone, day). Rows are
//! encoded straight into the segment's buffer; one commit at a time takes all buffers to a thread that writes and syncs them, and completes all
//! requests in them with one wake-up. The next commit starts when the last one has ended and is a millisecond old (see [`rest`]). A segment that is old
//! or large enough is sealed and becomes a [`Sealed`], which the sink delivers and then removes.
//!
//! ```text
//! request ── append ─> buffer of the open segment ─┐            (worker thread)
//! request ── append ─> buffer of the open segment ─┤
//!                                        commit ───┴─> allocate · write · fdatasync   (its sync thread)
//! request <── wake ─────────────────────────────────── done
//!                                        seal ───────> footer · fdatasync · rename ──> Sealed ──> sink
//! ```
//!
//! The format is described in [`mod@format`]; what happens to what a crash leaves is in [`recover`]; how what is sent
//! again is recognised is in [`seen`].

mod batches;
mod counts;
mod disk;
pub mod divide;
pub mod format;
mod handover;
pub mod inspect;
mod pace;
pub mod parked;
mod receipt;
pub mod recover;
mod rest;
mod room;
pub mod sealed;
pub mod seen;
mod segment;
pub mod strip;
mod syncer;
mod writer;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::clock::{Clock, UnixMillis};
use crate::limits::{
    BATCHES_RESERVED, COMMIT_BYTES, GROWTH_MAX, GROWTH_MIN, JOURNAL_RESERVE_BYTES, LOCK_PATIENCE, ROOM_PATIENCE, SEGMENT_AGE,
    SEGMENT_BYTES, SEGMENT_ROWS, WRITE_FAILURE_SHOWN, ZEROS_AHEAD,
};
use batches::Batches;
use disk::File;
use format::Header;
pub use receipt::Receipt;
pub use rest::Rest;
use room::Room;
use sealed::Books;
pub use sealed::Sealed;
use seen::Hasher;
pub use seen::Seen;
pub use writer::{Log, Rows, Unavailable};

/// Why a spool cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process works on the same folder.
    #[error("another headcount process uses the spool in {0}")]
    InUse(PathBuf),
    /// The folder cannot be used.
    #[error("the spool in {path} cannot be opened")]
    Io {
        /// The folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The files that say who this node is are damaged; they are never guessed.
    #[error("{0} is damaged or gone; move the spool's folder away and start again, then deliver the old one with its own files")]
    Identity(PathBuf),
}

/// The bounds that a spool keeps to. Those of `limits.rs`, save in tests that must meet them soon.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    /// Bytes on disk beyond which nothing more is taken.
    bytes_max: u64,
    segment_bytes: u64,
    segment_rows: u64,
    segment_age: Duration,
    commit_bytes: usize,
    growth_min: u64,
    growth_max: u64,
    zeros_ahead: u64,
    batches_reserved: u64,
    journal_reserve_bytes: u64,
}

impl Bounds {
    const fn of(bytes_max: u64) -> Self {
        Self {
            bytes_max,
            segment_bytes: SEGMENT_BYTES,
            segment_rows: SEGMENT_ROWS as u64,
            segment_age: SEGMENT_AGE,
            commit_bytes: COMMIT_BYTES,
            growth_min: GROWTH_MIN,
            growth_max: GROWTH_MAX,
            zeros_ahead: ZEROS_AHEAD,
            batches_reserved: BATCHES_RESERVED,
            journal_reserve_bytes: JOURNAL_RESERVE_BYTES,
        }
    }
}

/// The spool of one node: its folder, who it is, and how full it is. Shared by all workers' logs.
#[derive(Debug)]
pub struct Spool {
    folder: PathBuf,
    bounds: Bounds,
    node: u64,
    hasher: Hasher,
    batches: Batches,
    books: Arc<Books>,
    /// Segments that the disk did not let recovery take over.
    left: Mutex<Vec<PathBuf>>,
    _lock: File,
}

impl Spool {
    /// Opens or makes the spool in `folder`, which may hold at most `bytes_max`. Does not look at segments yet; see [`recover`].
    pub fn open(folder: &Path, bytes_max: u64) -> Result<Self, OpenError> {
        Self::bounded(folder, Bounds::of(bytes_max))
    }

    fn bounded(folder: &Path, bounds: Bounds) -> Result<Self, OpenError> {
        let failed = |source: io::Error| OpenError::Io { path: folder.to_owned(), source };
        let known = disk::exists(&folder.join("node")).map_err(failed)?;
        if !known {
            disk::create_path(folder).map_err(failed)?;
        }
        let lock = patiently(|| disk::lock(&folder.join("lock"))).map_err(|source| match source.kind() {
            io::ErrorKind::WouldBlock => OpenError::InUse(folder.to_owned()),
            _ => failed(source),
        })?;
        let [next_batch, hash_key, node] = ["next-batch", "hash-key", "node"].map(|name| folder.join(name));
        if !known {
            batches::make([&next_batch, &hash_key, &node]).map_err(failed)?;
        }
        let damaged = |path: &Path| OpenError::Identity(path.to_owned());
        let batches = Batches::open(&next_batch, bounds.batches_reserved).map_err(failed)?.ok_or_else(|| damaged(&next_batch))?;
        let hasher = Hasher::new(&batches::known::<32>(&hash_key).map_err(failed)?.ok_or_else(|| damaged(&hash_key))?);
        let node = u64::from_le_bytes(batches::known(&node).map_err(failed)?.ok_or_else(|| damaged(&node))?);
        let seen = Seen::open(folder, node, hasher.clone(), bounds.journal_reserve_bytes).map_err(failed)?;
        let books = Arc::new(Books::new(folder, Gauge::new(bounds.bytes_max), seen));
        Ok(Self { folder: folder.to_owned(), bounds, node, hasher, batches, books, left: Mutex::default(), _lock: lock })
    }

    /// Drawn at random when the folder was made; never restored from a backup.
    pub fn node(&self) -> u64 {
        self.node
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// How full the spool is.
    pub fn gauge(&self) -> &Arc<Gauge> {
        &self.books.gauge
    }

    /// What was sent before.
    pub fn seen(&self) -> &Arc<Seen> {
        &self.books.seen
    }

    fn leave(&self, path: PathBuf) {
        self.left.lock().unwrap_or_else(PoisonError::into_inner).push(path);
    }

    /// How many segments the disk did not let recovery take over.
    pub fn left(&self) -> usize {
        self.left.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Tries once more to take over what the disk did not let recovery have, and gives what it gets to `take`. Blocking.
    pub fn take_over_left(&self, mut take: impl FnMut(Sealed)) {
        let left = std::mem::take(&mut *self.left.lock().unwrap_or_else(PoisonError::into_inner));
        for path in left {
            match recover::take_back(self, &path) {
                Ok(sealed) => sealed.into_iter().for_each(&mut take),
                Err(_) => self.leave(path),
            }
        }
    }

    /// Hash of a client's own key, under bytes that exist only in this folder; never zero.
    pub fn hash(&self, site: &str, key: &[u8]) -> u64 {
        self.hasher.hash(site, key)
    }
}

/// Asks for the lock for a moment: who was killed while it started a child may hold it until the child has become another program.
fn patiently<T>(mut lock: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let asked = Clock::monotonic();
    loop {
        match lock() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && asked.elapsed() < LOCK_PATIENCE => {
                std::thread::sleep(LOCK_PATIENCE / 20);
            }
            other => return other,
        }
    }
}

/// How full the spool is, and what waits in it. Full at its bound; takes again below nine tenths of it.
#[derive(Debug)]
pub struct Gauge {
    bytes: AtomicU64,
    bytes_max: u64,
    full: AtomicBool,
    events: AtomicU64,
    /// Events of each parked segment, by its file's name without the extension.
    parked: Mutex<BTreeMap<OsString, u64>>,
    /// Events of each segment, waiting or parked, that has lost its pseudonyms; by the same name.
    stripped: Mutex<BTreeMap<OsString, u64>>,
    /// Held by who removes or replaces a segment's file, and until that is counted: what was removed must not come back as a copy.
    files: Mutex<()>,
    discarded: AtomicU64,
    lost: AtomicU64,
    pieces: AtomicU64,
    /// When each segment that waits was begun, by batch: from its first synced row on.
    waiting: Mutex<BTreeMap<u64, UnixMillis>>,
    /// When the last commit failed, if none has succeeded since.
    failed: Mutex<Option<Instant>>,
    failing: AtomicBool,
    /// Commits that have been under way for too long.
    hanging: AtomicU64,
    room: Room,
}

impl Gauge {
    fn new(bytes_max: u64) -> Self {
        Self {
            bytes: AtomicU64::new(0),
            bytes_max,
            full: AtomicBool::new(false),
            events: AtomicU64::new(0),
            parked: Mutex::default(),
            stripped: Mutex::default(),
            files: Mutex::default(),
            discarded: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            pieces: AtomicU64::new(0),
            waiting: Mutex::default(),
            failed: Mutex::default(),
            failing: AtomicBool::new(false),
            hanging: AtomicU64::new(0),
            room: Room::new(ROOM_PATIENCE),
        }
    }

    /// Bytes on disk now.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// The bound.
    pub fn bytes_max(&self) -> u64 {
        self.bytes_max
    }

    /// Whether the spool is at its bound, so that nothing more is taken until the sink has made room.
    pub fn is_full(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }

    /// Whether more may be brought, as far as room goes: within the spool's bound and on its disk.
    fn has_room(&self) -> bool {
        !self.is_full() && !self.room.is_awaited()
    }

    /// Synced events that are neither confirmed, parked nor stripped.
    pub fn events(&self) -> u64 {
        self.events.load(Ordering::Relaxed)
    }

    /// Events in parked segments: they wait for the operator. Without those that were stripped.
    pub fn parked_events(&self) -> u64 {
        self.parked_segments().values().sum()
    }

    /// Events that the operator has given up since the process started, or just before.
    pub fn discarded_events(&self) -> u64 {
        self.discarded.load(Ordering::Relaxed)
    }

    /// Events that were synced and are known to be lost, since the process started: a sealed segment states how many rows it held, and damage left fewer.
    pub fn lost_events(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Damaged pieces that lie in quarantine.
    pub fn quarantined_pieces(&self) -> u64 {
        self.pieces.load(Ordering::Relaxed)
    }

    /// Every event that the gauge knows of, wherever it is: after recovery, what the folder held.
    pub fn known_events(&self) -> u64 {
        self.events() + self.parked_events() + self.stripped_events() + self.discarded_events() + self.lost_events()
    }

    /// Whether a commit has failed in the last [`WRITE_FAILURE_SHOWN`] and none has succeeded since, one is under way for too long, or the disk is full.
    pub fn is_failing(&self) -> bool {
        if self.hanging.load(Ordering::Relaxed) > 0 || self.room.is_awaited() {
            return true;
        }
        let failed = *self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        failed.is_some_and(|failed| Clock::monotonic().duration_since(failed) < WRITE_FAILURE_SHOWN)
    }

    /// Told after every commit; a lock is taken only when something failed.
    fn commit_ended(&self, failure: Option<&io::Error>) {
        if failure.is_none() && !self.failing.load(Ordering::Relaxed) {
            return;
        }
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        match (failure, *failed) {
            (Some(error), None) => {
                tracing::error!(kind = ?error.kind(), "the disk does not take a commit; its requests are answered with 503");
            }
            (None, Some(_)) => tracing::info!("the disk takes commits again"),
            _ => {}
        }
        if let Some(error) = failure {
            self.room.commit_failed(error, self.bytes());
        }
        *failed = failure.map(|_| Clock::monotonic());
        self.failing.store(failure.is_some(), Ordering::Relaxed);
    }

    /// When the oldest segment that waits was begun; one that is being written waits too.
    pub fn oldest_waiting(&self) -> Option<UnixMillis> {
        self.waiting().values().min().copied()
    }

    fn add(&self, bytes: u64) {
        let now = self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if now >= self.bytes_max {
            self.full.store(true, Ordering::Relaxed);
        }
    }

    fn subtract(&self, bytes: u64) {
        let left = self.bytes.fetch_sub(bytes, Ordering::Relaxed).saturating_sub(bytes);
        if left < self.bytes_max / 10 * 9 {
            self.full.store(false, Ordering::Relaxed);
        }
        self.room.left(left);
    }

    fn events_came(&self, events: u64) {
        self.events.fetch_add(events, Ordering::Relaxed);
    }

    fn events_went(&self, events: u64) {
        self.events.fetch_sub(events, Ordering::Relaxed);
    }

    fn parked(&self, path: &Path, events: u64) {
        self.parked_segments().insert(path.file_stem().unwrap_or_default().to_owned(), events);
    }

    /// Takes a segment of so many bytes out of the parked ones; returns how many events it held.
    fn parked_no_more(&self, path: &Path, bytes: u64) -> u64 {
        self.subtract(bytes);
        let parked = self.parked_segments().remove(path.file_stem().unwrap_or_default());
        parked.unwrap_or(0) + self.stripped_no_more(path)
    }

    fn discarded(&self, events: u64) {
        self.discarded.fetch_add(events, Ordering::Relaxed);
    }

    fn lost(&self, events: u64) {
        self.lost.fetch_add(events, Ordering::Relaxed);
    }

    /// Damaged pieces lie aside; they take disk like everything else.
    fn quarantined(&self, pieces: u64, bytes: u64) {
        self.pieces.fetch_add(pieces, Ordering::Relaxed);
        self.add(bytes);
    }

    fn parked_segments(&self) -> MutexGuard<'_, BTreeMap<OsString, u64>> {
        self.parked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn waits(&self, header: &Header) {
        self.waiting().insert(header.batch, header.begun);
    }

    fn waits_no_more(&self, batch: u64) {
        self.waiting().remove(&batch);
    }

    /// Touched when a segment is begun, sealed or delivered, about once a second.
    fn waiting(&self) -> MutexGuard<'_, BTreeMap<u64, UnixMillis>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
