//! What was sent before: the keyed hashes of idempotency keys and event ids that this node has on its disk.
//!
//! One [`Seen`] serves all workers of a spool. A hash lives like this:
//!
//! ```text
//! claim ──> new      ─> pending ─┬─ the commit is on the disk ──> known, and so on the disk: in its segment, later in the journal
//!                                └─ it never will be ───────────> as if it had not come
//!       ──> known    the event is on the disk: it is a duplicate, and may be acknowledged
//!       ──> pending  with another request: nobody can say yet; that sender is told to come again
//! ```
//!
//! What a request claims, its commit carries to the sync thread, which settles it before anybody is answered and before a segment can end. A request
//! that is given up withdraws its claims. So do the claims of a commit that failed, but only once its segments have ended: until then a start could
//! still find its frames, and a retry that was stored meanwhile would be there twice.
//!
//! **Parts.** The rows of a request lie in one frame for each time zone and day. A commit is kept whole or not at all, but a crash in the middle of one may
//! leave some of its frames. So a start counts the frames of each request, and a key whose frames are all there is known. Of any other it remembers the
//! frames that are there, as marks (hashes of key, zone and day, and of key and number), and a retry adds what is missing.
//!
//! Where hashes outlive their segments is the journal's matter; how they are forgotten is that of [`generations`].

mod generations;
mod journal;
mod request;

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use foldhash::fast::FixedState;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::format::{Frame, Header};
use crate::clock::{Day, UnixMillis};
use crate::leak;
use crate::limits::{CLOSE_AFTER_HOURS_DEFAULT, IDS_REMEMBERED, JOURNAL_CHUNK_HASHES, KEY_AGE, KEYS_REMEMBERED, PARTS_REMEMBERED};
use generations::{Bounds, Generations};
use journal::{Journal, Kind};
pub(super) use request::Naming;

/// Makes hashes of what clients name, under bytes that exist only in one spool's folder.
#[derive(Clone)]
pub(super) struct Hasher(Hmac<Sha256>);

impl Hasher {
    pub(super) fn new(key: &[u8]) -> Self {
        Self(Hmac::new_from_slice(key).expect("HMAC takes a key of any length"))
    }

    /// Hash of `name` within `scope`; never zero.
    pub(super) fn hash(&self, scope: &str, name: &[u8]) -> u64 {
        let mut hasher = self.0.clone();
        hasher.update(&(scope.len() as u64).to_le_bytes());
        hasher.update(scope.as_bytes());
        hasher.update(name);
        let digest = hasher.finalize().into_bytes();
        u64::from_le_bytes(digest[..8].try_into().expect("a digest has 32 bytes")).max(1)
    }
}

impl std::fmt::Debug for Hasher {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Hasher(..)")
    }
}

/// How a key or an id stands that a request brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It was not there, and is pending for this request from now on.
    New,
    /// What it names is on the disk.
    Known,
    /// Another request has brought it, and its commit has not ended.
    Pending,
}

/// What one or several requests have claimed and nobody has settled or withdrawn yet.
#[derive(Debug, Default)]
pub(super) struct Claims {
    keys: Vec<u64>,
    ids: Vec<u64>,
}

impl Claims {
    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.ids.is_empty()
    }

    /// Takes over what `other` holds.
    pub(super) fn append(&mut self, other: &mut Self) {
        self.keys.append(&mut other.keys);
        self.ids.append(&mut other.ids);
    }
}

/// A request, as far as it matters whose claim it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Claimant(u64);

/// What is remembered; see the module.
#[derive(Debug)]
pub struct Seen {
    hasher: Hasher,
    keys: Mutex<Memory>,
    ids: Mutex<Memory>,
    parts: Mutex<Generations>,
    /// Whether `parts` has any: nearly always not, and then nobody asks.
    has_parts: AtomicBool,
    journal: Mutex<Journal>,
    damaged_pieces: u64,
    /// Whether the journal has room ahead of need.
    has_room: AtomicBool,
    claimants: AtomicU64,
}

/// How much is remembered now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remembered {
    /// Idempotency keys.
    pub keys: usize,
    /// Event ids.
    pub ids: usize,
    /// Bytes of memory that this takes.
    pub bytes: usize,
    /// Damaged pieces of the journal that the start has met: what they held is forgotten.
    pub damaged_pieces: u64,
}

#[derive(Debug)]
struct Memory {
    known: Generations,
    /// Whose commit they wait for. As many as rows can wait for a commit.
    pending: HashMap<u64, Claimant, FixedState>,
}

impl Memory {
    fn of(known: Generations) -> Self {
        Self { known, pending: HashMap::default() }
    }

    fn claim(&mut self, hash: u64, claimant: Claimant, now: UnixMillis) -> Standing {
        self.known.forget_old(now);
        if self.known.contains(hash) {
            return Standing::Known;
        }
        match self.pending.get(&hash) {
            None => {
                self.pending.insert(hash, claimant);
                Standing::New
            }
            // The second of the same request shares the commit of the first.
            Some(first) if *first == claimant || leak::planted("pending_known") => Standing::Known,
            Some(_) => Standing::Pending,
        }
    }

    fn settle(&mut self, hashes: &[u64], at: UnixMillis) {
        for hash in hashes {
            self.pending.remove(hash);
            self.known.insert(*hash, at);
        }
    }

    fn withdraw(&mut self, hashes: &[u64]) {
        for hash in hashes {
            self.pending.remove(hash);
        }
    }
}

impl Seen {
    /// What the journal in `folder` holds; the segments' own frames are added by [`Seen::recall`].
    pub(super) fn open(folder: &Path, node: u64, hasher: Hasher, reserve_bytes: u64) -> io::Result<Self> {
        let key_millis = u64::try_from(KEY_AGE.as_millis()).unwrap_or(u64::MAX);
        let mut keys = Generations::new(Bounds { millis: key_millis, hashes: KEYS_REMEMBERED });
        let mut ids = Generations::new(Bounds { millis: hours(CLOSE_AFTER_HOURS_DEFAULT), hashes: IDS_REMEMBERED });
        let mut parts = Generations::new(Bounds { millis: key_millis, hashes: PARTS_REMEMBERED });
        let (journal, damaged_pieces) = Journal::open(folder.join("seen"), node, reserve_bytes, |kind, at, hashes| {
            let set = match kind {
                Kind::Keys => &mut keys,
                Kind::Ids => &mut ids,
                Kind::Parts => &mut parts,
            };
            for hash in hashes {
                set.insert(*hash, at);
            }
        })?;
        let seen = Self {
            hasher,
            has_parts: AtomicBool::new(parts.len() > 0),
            keys: Mutex::new(Memory::of(keys)),
            ids: Mutex::new(Memory::of(ids)),
            parts: Mutex::new(parts),
            journal: Mutex::new(journal),
            damaged_pieces,
            has_room: AtomicBool::new(false),
            claimants: AtomicU64::new(0),
        };
        if damaged_pieces > 0 {
            tracing::warn!(
                pieces = damaged_pieces,
                "the journal of what was sent before is damaged in places; a retry of what they held is stored again"
            );
        }
        Ok(seen)
    }

    /// Remembers event ids until every day that was open when they came is closed.
    pub fn close_days_after(&self, close_after_hours: u16) {
        lock(&self.ids).known.keep_for(hours(close_after_hours));
    }

    /// Forgets what is too old, in memory and on the disk.
    pub fn forget_old(&self, now: UnixMillis) {
        lock(&self.keys).known.forget_old(now);
        lock(&self.ids).known.forget_old(now);
        lock(&self.parts).forget_old(now);
        let oldest = self.oldest();
        lock(&self.journal).forget_before(oldest);
    }

    /// When the oldest came of all that is remembered.
    fn oldest(&self) -> UnixMillis {
        let keys = lock(&self.keys).known.oldest();
        let ids = lock(&self.ids).known.oldest();
        let parts = lock(&self.parts).oldest();
        [keys, ids, parts].into_iter().flatten().min().unwrap_or(UnixMillis(i64::MAX))
    }

    /// How much is remembered.
    pub fn remembered(&self) -> Remembered {
        let (keys, ids, parts) = (lock(&self.keys), lock(&self.ids), lock(&self.parts));
        let bytes = keys.known.bytes() + ids.known.bytes() + parts.bytes();
        Remembered { keys: keys.known.len(), ids: ids.known.len(), bytes, damaged_pieces: self.damaged_pieces }
    }

    /// Whether nothing is.
    pub(super) fn is_empty(&self) -> bool {
        self.oldest() == UnixMillis(i64::MAX)
    }

    /// A request that is about to claim.
    pub(super) fn claimant(&self) -> Claimant {
        Claimant(self.claimants.fetch_add(1, Ordering::Relaxed))
    }

    /// Claims an idempotency key.
    pub(super) fn claim_key(&self, hash: u64, claimant: Claimant, now: UnixMillis, claims: &mut Claims) -> Standing {
        let standing = lock(&self.keys).claim(hash, claimant, now);
        if standing == Standing::New {
            claims.keys.push(hash);
        }
        standing
    }

    /// Claims an event id.
    pub(super) fn claim_id(&self, hash: u64, claimant: Claimant, now: UnixMillis, claims: &mut Claims) -> Standing {
        let standing = lock(&self.ids).claim(hash, claimant, now);
        if standing == Standing::New {
            claims.ids.push(hash);
        }
        standing
    }

    /// How many frames of the request with this key are on the disk, of a request that is not there whole.
    pub(super) fn parts_of(&self, key: u64) -> u32 {
        if !self.has_parts.load(Ordering::Acquire) {
            return 0;
        }
        self.count_parts(&lock(&self.parts), key)
    }

    /// Whether that request's frame of this zone and day is.
    pub(super) fn has_part(&self, key: u64, zone: &str, day: Day) -> bool {
        self.has_parts.load(Ordering::Acquire) && lock(&self.parts).contains(self.part(key, zone, day))
    }

    /// What was claimed is on the disk, in segments the first of which was begun at `at`.
    pub(super) fn settle(&self, claims: &Claims, at: UnixMillis) {
        if claims.is_empty() {
            return;
        }
        if !self.has_room.load(Ordering::Relaxed) {
            self.make_room();
        }
        if !claims.keys.is_empty() {
            lock(&self.keys).settle(&claims.keys, at);
        }
        if !claims.ids.is_empty() {
            lock(&self.ids).settle(&claims.ids, at);
        }
    }

    /// What was claimed is nowhere, and never will be.
    pub(super) fn withdraw(&self, claims: &Claims) {
        if !claims.keys.is_empty() {
            lock(&self.keys).withdraw(&claims.keys);
        }
        if !claims.ids.is_empty() {
            lock(&self.ids).withdraw(&claims.ids);
        }
    }

    /// Remembers what a frame holds that an earlier process has left.
    pub(super) fn recall(&self, header: &Header, frame: &Frame<'_>) {
        let at = header.begun;
        if frame.ids().next().is_some() {
            let mut ids = lock(&self.ids);
            frame.ids().for_each(|id| ids.known.insert(id, at));
        }
        let (key, parts) = (frame.request.key, frame.request.parts);
        if key == 0 {
            return;
        }
        let mut keys = lock(&self.keys);
        if parts > 1 && !keys.known.contains(key) && self.recall_part(key, header) < parts {
            return;
        }
        keys.known.insert(key, at);
    }

    /// Notes one frame more of a request; returns how many there are.
    fn recall_part(&self, key: u64, header: &Header) -> u32 {
        let mut marks = lock(&self.parts);
        let found = self.count_parts(&marks, key);
        let part = self.part(key, &header.zone, header.day);
        if marks.contains(part) {
            return found;
        }
        marks.insert(part, header.begun);
        marks.insert(self.numbered(key, found + 1), header.begun);
        self.has_parts.store(true, Ordering::Release);
        found + 1
    }

    fn count_parts(&self, marks: &Generations, key: u64) -> u32 {
        let mut count = 0;
        while marks.contains(self.numbered(key, count + 1)) {
            count += 1;
        }
        count
    }

    /// The mark of a request's frame of one zone and day.
    fn part(&self, key: u64, zone: &str, day: Day) -> u64 {
        self.hasher.hash(zone, &[&key.to_le_bytes()[..], &day.0.to_le_bytes()].concat())
    }

    /// The mark of there being so many frames of a request.
    fn numbered(&self, key: u64, number: u32) -> u64 {
        self.hasher.hash("", &[&key.to_le_bytes()[..], &number.to_le_bytes()].concat())
    }

    /// Begins to write down the hashes of a segment whose file is about to go.
    pub(super) fn keep(&self) -> Keeping<'_> {
        Keeping { seen: self, journal: lock(&self.journal), buffers: Default::default() }
    }

    /// Takes disk for the journal ahead of need, and removes of it what is forgotten.
    pub(super) fn make_room(&self) {
        let oldest = self.oldest();
        let mut journal = lock(&self.journal);
        journal.forget_before(oldest);
        let made = journal.make_room();
        self.has_room.store(made.is_ok(), Ordering::Relaxed);
    }
}

/// The hashes of one segment on their way into the journal. Nothing is kept before [`Keeping::finish`].
#[derive(Debug)]
pub(super) struct Keeping<'a> {
    seen: &'a Seen,
    journal: MutexGuard<'a, Journal>,
    /// By kind.
    buffers: [Vec<u64>; Kind::ALL.len()],
}

impl Keeping<'_> {
    /// Adds what a frame holds.
    pub(super) fn add(&mut self, header: &Header, frame: &Frame<'_>) -> io::Result<()> {
        for id in frame.ids() {
            self.push(Kind::Ids, id, header.begun)?;
        }
        let key = frame.request.key;
        if key == 0 {
            return Ok(());
        }
        if frame.request.parts == 1 || lock(&self.seen.keys).known.contains(key) {
            return self.push(Kind::Keys, key, header.begun);
        }
        self.push(Kind::Parts, self.seen.part(key, &header.zone, header.day), header.begun)?;
        let found = self.seen.parts_of(key);
        (1..=found).try_for_each(|number| self.push(Kind::Parts, self.seen.numbered(key, number), header.begun))
    }

    fn push(&mut self, kind: Kind, hash: u64, at: UnixMillis) -> io::Result<()> {
        let buffer = &mut self.buffers[kind as usize];
        buffer.push(hash);
        if buffer.len() == JOURNAL_CHUNK_HASHES {
            self.journal.append(kind, at, buffer)?;
            buffer.clear();
        }
        Ok(())
    }

    /// Puts all of it on the disk itself.
    pub(super) fn finish(mut self, header: &Header) -> io::Result<()> {
        for kind in Kind::ALL {
            self.journal.append(kind, header.begun, &self.buffers[kind as usize])?;
        }
        self.journal.sync()
    }
}

fn hours(hours: u16) -> u64 {
    u64::from(hours) * 3_600_000
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
