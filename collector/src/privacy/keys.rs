//! The keys of the day: the whole defence of the pseudonyms, so they are few, short-lived and never derived from anything that can be known.
//!
//! One key of 32 random bytes per (zone, day) is born at the zone's midnight and dies 30 minutes after the next. Sites have keys of their own, derived from
//! it. Workers read the [`Ring`] without a lock; one task calls [`Keys::turn`] as time goes on. A birth is on disk and in the log before the key is used;
//! whatever goes wrong, the answer is fewer keys: without a key of the day that lives there is no pseudonym, and the event is refused.

pub mod store;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use foldhash::fast::FixedState;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::{Zeroize, Zeroizing};

use crate::clock::{Day, UnixMillis, Zone};
use crate::days::{GRACE_MILLIS, Today};
use crate::leak;
use crate::site::Sites;
pub use store::{KeyStore, KeyStoreError};

/// How long a failed turn waits before it is tried again, in milliseconds.
const RETRY_MILLIS: u64 = 1_000;

/// The key of one (zone, day). Its bytes have one place in memory from birth to death, and are wiped there.
pub struct DayKey([u8; 32]);

impl DayKey {
    /// A key of zeros in the place where the real one is then written.
    fn fill(write: impl FnOnce(&mut [u8; 32]) -> Result<(), KeyStoreError>) -> Result<Arc<Self>, KeyStoreError> {
        let mut key = Arc::new(Self([0; 32]));
        write(&mut Arc::get_mut(&mut key).expect("nobody else has seen it yet").0)?;
        Ok(key)
    }

    fn random() -> Result<Arc<Self>, KeyStoreError> {
        Self::fill(|bytes| getrandom::fill(bytes).map_err(|_| KeyStoreError::NoRandomness))
    }

    /// Eight hexadecimal digits by which the log tells keys apart: they follow from the key, and nothing follows from them.
    fn check(&self) -> String {
        let tag = derive(&self.0, b"headcount key check\x01", b"");
        format!("{:02x}{:02x}{:02x}{:02x}", tag[0], tag[1], tag[2], tag[3])
    }
}

impl Drop for DayKey {
    fn drop(&mut self) {
        if leak::planted("key_kept") {
            std::mem::forget(Box::new(self.0));
        }
        self.0.zeroize();
    }
}

/// A site's key of one day, ready for hashing. Wiped when dropped.
pub struct SiteKey(Box<Hmac<Sha256>>);

impl SiteKey {
    fn of(day: &DayKey, site: &str) -> Self {
        let root = if leak::planted("pseudonym_without_day_key") { &[0; 32] } else { &day.0 };
        let key = derive(root, b"headcount site key\x01", site.as_bytes());
        let ready = Self(Box::new(keyed(&key)));
        drop(key);
        wipe_stack();
        ready
    }

    /// The site's key on a day whose key is `day`: for known answers.
    #[cfg(test)]
    pub(super) fn known(day: [u8; 32], site: &str) -> Self {
        Self::of(&DayKey(day), site)
    }

    pub(super) fn mac(&self) -> Hmac<Sha256> {
        (*self.0).clone()
    }
}

fn derive(key: &[u8; 32], purpose: &[u8], name: &[u8]) -> Zeroizing<[u8; 32]> {
    let mut mac = keyed(key);
    mac.update(purpose);
    mac.update(name);
    Zeroizing::new(mac.finalize().into_bytes().into())
}

fn keyed(key: &[u8; 32]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes keys of any length")
}

/// One (zone, day): its key, and the keys of the sites that live in the zone.
struct Epoch {
    day: Day,
    dies: UnixMillis,
    key: Arc<DayKey>,
    sites: HashMap<Box<str>, SiteKey, FixedState>,
}

impl Epoch {
    fn new(day: Day, dies: UnixMillis, key: Arc<DayKey>, sites: &[Box<str>]) -> Self {
        let mut keys = HashMap::with_capacity_and_hasher(sites.len(), FixedState::default());
        keys.extend(sites.iter().map(|site| (site.clone(), SiteKey::of(&key, site))));
        Self { day, dies, key, sites: keys }
    }
}

/// Overwrites the part of the stack where the functions just called have held keys: a value that moves leaves its bytes behind.
#[inline(never)]
fn wipe_stack() {
    let mut dead = [0xa5_u8; 16 * 1024];
    dead.zeroize();
    std::hint::black_box(&dead);
}

/// A zone's place in the ring.
struct ZoneKeys {
    zone: Zone,
    today: Today,
    sites: Arc<[Box<str>]>,
    /// Every key of the zone that lives, of any day: today's, yesterday's within the grace, and that of a day which the clock has gone back behind.
    living: Vec<Arc<Epoch>>,
}

impl ZoneKeys {
    fn living(&self, day: Day, now: UnixMillis) -> Option<&Epoch> {
        let lives = |epoch: &Epoch| now < epoch.dies || leak::planted("dead_key_used");
        self.living.iter().find(|epoch| epoch.day == day && lives(epoch)).map(|epoch| &**epoch)
    }
}

/// What workers read: every key that lives, and each zone's today. Replaced as a whole.
pub struct Ring {
    zones: Vec<ZoneKeys>,
    turn_at: UnixMillis,
}

/// A site's key: the one made ahead, or one made now for a site that the ring does not know yet.
pub(super) enum FoundKey<'r> {
    Ready(&'r SiteKey),
    Made(SiteKey),
}

impl std::ops::Deref for FoundKey<'_> {
    type Target = SiteKey;

    fn deref(&self) -> &SiteKey {
        match self {
            Self::Ready(key) => key,
            Self::Made(key) => key,
        }
    }
}

impl Ring {
    /// The day it is in `zone` at `received`, provided that the day's key lives: otherwise the clock, or the ring, is not to be believed.
    pub(super) fn today(&self, zone: &Zone, received: UnixMillis) -> Option<Today> {
        let keys = self.zone(zone)?;
        let today = if keys.today.covers(received) { keys.today } else { Today::at(zone, received) };
        keys.living(today.day, received).map(|_| today)
    }

    /// The key of `site` on `day`, if it lives at `received`.
    pub(super) fn site_key(&self, zone: &Zone, day: Day, site: &str, received: UnixMillis) -> Option<FoundKey<'_>> {
        let epoch = self.zone(zone)?.living(day, received)?;
        Some(epoch.sites.get(site).map_or_else(|| FoundKey::Made(SiteKey::of(&epoch.key, site)), FoundKey::Ready))
    }

    fn zone(&self, zone: &Zone) -> Option<&ZoneKeys> {
        self.zones.iter().find(|keys| keys.zone.name() == zone.name())
    }
}

/// Something that happened to a key; for the log of the operator and for metrics. Holds no key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The zone's name.
    pub zone: Box<str>,
    /// The day.
    pub day: Day,
    /// What happened.
    pub what: Life,
}

/// What can happen to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// It was made, and is used from now on.
    Born,
    /// It was made although the day had a key before, which is lost: visitors of before and after are counted twice.
    Split,
    /// It was found where the process before had left it.
    Found,
    /// It is wiped from disk, and from memory as soon as no request in flight reads it.
    Died,
    /// It was not made, because a key of a later day lives: the clock has gone back. Events are refused until it has caught up.
    ClockBehind,
}

/// All keys of the process.
pub struct Keys {
    ring: ArcSwap<Ring>,
    store: Mutex<KeyStore>,
}

impl Keys {
    /// Takes over the keys that live in `store`, buries those that do not, and makes what `sites` need at `now`.
    pub fn open(store: KeyStore, sites: &Sites, now: UnixMillis) -> Result<(Self, Vec<Change>), KeyStoreError> {
        let keys = Self { ring: ArcSwap::from_pointee(Ring { zones: Vec::new(), turn_at: now }), store: Mutex::new(store) };
        let changes = keys.follow(sites, now)?;
        Ok((keys, changes))
    }

    /// What workers read; a load is lock-free and holds no key longer than one request.
    pub fn ring(&self) -> arc_swap::Guard<Arc<Ring>> {
        self.ring.load()
    }

    /// When [`Keys::turn`] is next of use: the next birth or death of a key.
    pub fn turn_at(&self) -> UnixMillis {
        self.ring.load().turn_at
    }

    /// Makes and buries keys as `now` demands. Cheap when nothing is due, so a worker that meets midnight before the owning task does may call it too.
    pub fn turn(&self, now: UnixMillis) -> Result<Vec<Change>, KeyStoreError> {
        if now < self.turn_at() {
            return Ok(Vec::new());
        }
        self.begin_turn(now).map_or_else(|| Ok(Vec::new()), Turning::finish)
    }

    /// Looks again, under the lock: another worker may have turned them meanwhile, or a new configuration may have brought zones.
    fn begin_turn(&self, now: UnixMillis) -> Option<Turning<'_>> {
        let store = self.lock();
        let ring = self.ring.load_full();
        if now < ring.turn_at {
            return None;
        }
        let zones = ring.zones.iter().map(|keys| (keys.zone.clone(), Arc::clone(&keys.sites))).collect();
        drop(ring);
        Some(self.prepare(store, zones, now))
    }

    /// Follows a changed configuration: new zones get their key, new sites theirs.
    pub fn follow(&self, sites: &Sites, now: UnixMillis) -> Result<Vec<Change>, KeyStoreError> {
        self.begin_follow(sites, now).finish()
    }

    fn begin_follow(&self, sites: &Sites, now: UnixMillis) -> Turning<'_> {
        self.prepare(self.lock(), zones_of(sites), now)
    }

    /// Whoever replaces the ring holds this from before it looks at the old one until the new one is published.
    fn lock(&self) -> MutexGuard<'_, KeyStore> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes and buries keys, and the ring of those that live then. When the store fails, those that still live stay and a retry is due soon.
    fn prepare<'k>(&'k self, mut store: MutexGuard<'k, KeyStore>, zones: Vec<(Zone, Arc<[Box<str>]>)>, now: UnixMillis) -> Turning<'k> {
        let before = self.ring.load_full();
        let mut changes = Vec::new();
        let mut result = store.bury(now, &mut changes);
        let mut ring = Ring { zones: Vec::with_capacity(zones.len()), turn_at: UnixMillis(i64::MAX) };
        for (zone, sites) in zones {
            let today = Today::at(&zone, now);
            if result.is_ok() {
                result = store.ensure(&zone, today, now, &mut changes);
            }
            let living = store.living(&zone, now).map(|stored| {
                let known = before.zone(&zone).filter(|known| known.sites == sites);
                let known = known.and_then(|known| known.living.iter().find(|epoch| Arc::ptr_eq(&epoch.key, &stored.key)));
                known.cloned().unwrap_or_else(|| Arc::new(Epoch::new(stored.day, stored.dies, Arc::clone(&stored.key), &sites)))
            });
            let living: Vec<_> = living.collect();
            ring.turn_at = ring.turn_at.min(today.end);
            ring.zones.push(ZoneKeys { zone, today, sites, living });
        }
        ring.turn_at = store.next_death().map_or(ring.turn_at, |death| ring.turn_at.min(death));
        if result.is_err() {
            ring.turn_at = now.plus(RETRY_MILLIS);
        }
        let store = (!leak::planted("keys_unlocked")).then_some(store);
        Turning { keys: self, ring, result: result.map(|()| changes), _store: store }
    }
}

/// A ring that is about to take the place of the one that workers read.
struct Turning<'k> {
    keys: &'k Keys,
    ring: Ring,
    result: Result<Vec<Change>, KeyStoreError>,
    _store: Option<MutexGuard<'k, KeyStore>>,
}

impl Turning<'_> {
    /// Publishes it. The keys that died leave memory with the old one, or with the last request that reads that.
    fn finish(self) -> Result<Vec<Change>, KeyStoreError> {
        self.keys.ring.store(Arc::new(self.ring));
        wipe_stack();
        self.result
    }
}

fn zones_of(sites: &Sites) -> Vec<(Zone, Arc<[Box<str>]>)> {
    let living_in = |name: &str| sites.iter().filter(|site| sites.zone(site.zone).name() == name).map(|site| site.id.clone()).collect();
    sites.zones().iter().map(|zone| (zone.clone(), living_in(zone.name()))).collect()
}

/// When the key of `today` dies.
fn death_of(today: Today) -> UnixMillis {
    today.end.plus(GRACE_MILLIS)
}

/// Keeps the process's memory out of core dumps and away from debuggers of the same user. Called once, first thing in `main`.
pub fn seal_process() -> std::io::Result<()> {
    use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    Ok(())
}

#[cfg(test)]
mod orders;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod wiped;
