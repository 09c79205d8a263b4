//! What is counted about events, worker by worker, and what the last ten minutes of each site looked like.
//!
//! A worker writes to counters of its own, so counting touches no memory of another core; whoever reads adds the workers up. Numbers and closed lists
//! only: no site's visitor, page or address is in here. The names under which all of this is scraped are in `exposition.rs`.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use foldhash::fast::FixedState;

use crate::clock::UnixMillis;
use crate::outcome::Outcome;
use crate::privacy::proxy::Forwarding;
use crate::row::UNKNOWN_SITE;
use crate::site::Sites;
use crate::tally::Tally;

/// Minutes that [`Recent`] looks back.
const RECENT_MINUTES: usize = 10;
const MINUTES: i64 = 10;

/// The counters of one worker's events.
#[derive(Debug)]
#[repr(align(128))]
pub struct EventCounts {
    outcomes: [AtomicU64; Outcome::COUNT],
    noted: [AtomicU64; Noted::ALL.len()],
    recent: Mutex<HashMap<Box<str>, Recent, FixedState>>,
}

macro_rules! noted {
    ($($(#[$doc:meta])* $variant:ident => $label:literal,)*) => {
        /// Something about requests and events that is counted besides their outcome.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Noted { $($(#[$doc])* $variant,)* }

        impl Noted {
            /// Everything that is noted, in the order of the list.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name in metrics.
            pub fn label(self) -> &'static str {
                match self { $(Self::$variant => $label,)* }
            }
        }
    };
}

noted! {
    /// Fields that the wire form does not know; they are ignored.
    UnknownFields => "unknown_fields",
    /// Events in which the masks replaced something.
    Masked => "masked",
    /// Values written as `(other)` because their dimension has no room.
    Capped => "capped_values",
    /// Requests of a trusted proxy that names no visitor.
    ForwardingUnnamed => "forwarding_unnamed",
    /// Requests with a forwarding header from a private peer that is not trusted: most likely the operator's own proxy.
    ForwardingIgnoredPrivate => "forwarding_ignored_private",
    /// Requests with a forwarding header from a stranger.
    ForwardingIgnoredPublic => "forwarding_ignored_public",
}

impl Default for EventCounts {
    fn default() -> Self {
        Self {
            outcomes: std::array::from_fn(|_| AtomicU64::new(0)),
            noted: std::array::from_fn(|_| AtomicU64::new(0)),
            recent: Mutex::default(),
        }
    }
}

impl EventCounts {
    /// Counts a request's events, once what became of them is certain.
    pub fn count(&self, tally: &Tally, sites: &Sites, now: UnixMillis) {
        // Only the page that shows it ever takes this lock besides this worker.
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        for entry in tally.entries() {
            self.outcomes[entry.outcome.index()].fetch_add(entry.count, Ordering::Relaxed);
            let site = entry.site(sites).map_or(UNKNOWN_SITE, |site| &site.id);
            of_site(&mut recent, site).add(entry.outcome, entry.count, now);
        }
        for (site, count) in tally.masked(sites) {
            of_site(&mut recent, &site.id).add_masked(count, now);
            self.note(Noted::Masked, count);
        }
    }

    /// Adds to something noted.
    pub fn note(&self, noted: Noted, count: u64) {
        if count > 0 {
            self.noted[noted as usize].fetch_add(count, Ordering::Relaxed);
        }
    }

    /// Notes how a request's address was come by, unless it is nothing to speak of.
    pub fn note_forwarding(&self, forwarding: Forwarding) {
        match forwarding {
            Forwarding::Direct | Forwarding::Named => {}
            Forwarding::Unnamed => self.note(Noted::ForwardingUnnamed, 1),
            Forwarding::IgnoredFromPrivatePeer => self.note(Noted::ForwardingIgnoredPrivate, 1),
            Forwarding::IgnoredFromPublicPeer => self.note(Noted::ForwardingIgnoredPublic, 1),
        }
    }

    /// How many events met `outcome`.
    pub fn of(&self, outcome: Outcome) -> u64 {
        self.outcomes[outcome.index()].load(Ordering::Relaxed)
    }

    /// How often something was noted.
    pub fn noted(&self, noted: Noted) -> u64 {
        self.noted[noted as usize].load(Ordering::Relaxed)
    }

    /// Adds what this worker saw of `site` to `sum`.
    pub fn add_recent(&self, site: &str, now: UnixMillis, sum: &mut RecentSum) {
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(recent) = recent.get(site) {
            recent.add_to(sum, now);
        }
    }
}

/// Looks the site up before it is inserted: a site that was seen before costs no copy of its name.
fn of_site<'m>(sites: &'m mut HashMap<Box<str>, Recent, FixedState>, id: &str) -> &'m mut Recent {
    if !sites.contains_key(id) {
        sites.insert(id.into(), Recent::default());
    }
    sites.get_mut(id).expect("it was inserted above, if it was not there")
}

/// The counters of all workers.
#[derive(Debug, Clone)]
pub struct AllEventCounts(Vec<Arc<EventCounts>>);

impl AllEventCounts {
    /// Counters for so many workers.
    pub fn new(workers: usize) -> Self {
        Self((0..workers).map(|_| Arc::default()).collect())
    }

    /// The counters of one worker.
    pub fn worker(&self, index: usize) -> Arc<EventCounts> {
        Arc::clone(&self.0[index])
    }

    /// Events that met `outcome`, over all workers.
    pub fn of(&self, outcome: Outcome) -> u64 {
        self.0.iter().map(|counts| counts.of(outcome)).sum()
    }

    /// Something noted, over all workers.
    pub fn noted(&self, noted: Noted) -> u64 {
        self.0.iter().map(|counts| counts.noted(noted)).sum()
    }

    /// The last minutes of `site`, over all workers.
    pub fn recent(&self, site: &str, now: UnixMillis) -> RecentSum {
        let mut sum = RecentSum::default();
        for counts in &self.0 {
            counts.add_recent(site, now, &mut sum);
        }
        sum
    }
}

/// The last minutes of one site, as one worker saw them. Its size does not depend on the traffic.
#[derive(Debug)]
struct Recent {
    last: Option<UnixMillis>,
    minutes: [Minute; RECENT_MINUTES],
}

#[derive(Clone, Copy, Debug)]
struct Minute {
    number: i64,
    outcomes: [u32; Outcome::COUNT],
    masked: u32,
}

impl Minute {
    fn empty(number: i64) -> Self {
        Self { number, outcomes: [0; Outcome::COUNT], masked: 0 }
    }
}

/// The last minutes of one site.
#[derive(Debug, PartialEq, Eq)]
pub struct RecentSum {
    /// When the last event was accepted.
    pub last: Option<UnixMillis>,
    /// Events in which the masks replaced something.
    pub masked: u64,
    outcomes: [u64; Outcome::COUNT],
}

impl Default for RecentSum {
    fn default() -> Self {
        Self { last: None, masked: 0, outcomes: [0; Outcome::COUNT] }
    }
}

impl RecentSum {
    /// Events of the last minutes that met `outcome`.
    pub fn of(&self, outcome: Outcome) -> u64 {
        self.outcomes[outcome.index()]
    }
}

impl Default for Recent {
    fn default() -> Self {
        Self { last: None, minutes: [Minute::empty(i64::MIN); RECENT_MINUTES] }
    }
}

impl Recent {
    fn add(&mut self, outcome: Outcome, count: u64, now: UnixMillis) {
        if matches!(outcome, Outcome::Accepted(_)) {
            self.last = self.last.max(Some(now));
        }
        let cell = &mut self.minute(now).outcomes[outcome.index()];
        *cell = cell.saturating_add(u32::try_from(count).unwrap_or(u32::MAX));
    }

    fn add_masked(&mut self, count: u64, now: UnixMillis) {
        let cell = &mut self.minute(now).masked;
        *cell = cell.saturating_add(u32::try_from(count).unwrap_or(u32::MAX));
    }

    fn minute(&mut self, now: UnixMillis) -> &mut Minute {
        let number = minute_of(now);
        let minute = &mut self.minutes[place_of(number)];
        if minute.number != number {
            *minute = Minute::empty(number);
        }
        minute
    }

    fn add_to(&self, sum: &mut RecentSum, now: UnixMillis) {
        sum.last = sum.last.max(self.last);
        let newest = minute_of(now);
        let span = newest - MINUTES + 1..=newest;
        for minute in self.minutes.iter().filter(|minute| span.contains(&minute.number)) {
            sum.masked += u64::from(minute.masked);
            for (total, count) in sum.outcomes.iter_mut().zip(minute.outcomes) {
                *total += u64::from(count);
            }
        }
    }
}

fn minute_of(now: UnixMillis) -> i64 {
    now.0.div_euclid(60_000)
}

fn place_of(minute: i64) -> usize {
    usize::try_from(minute.rem_euclid(MINUTES)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::{Accepted, Dropped};

    const ACCEPTED: Outcome = Outcome::Accepted(Accepted::Anonymous);

    #[test]
    fn the_last_ten_minutes_move_along() {
        let mut recent = Recent::default();
        let minute = |number: i64| UnixMillis(number * 60_000);
        for number in 0..20 {
            recent.add(ACCEPTED, 1, minute(number));
        }
        let sum_at = |number| {
            let mut sum = RecentSum::default();
            recent.add_to(&mut sum, minute(number));
            sum.of(ACCEPTED)
        };
        assert_eq!((sum_at(19), sum_at(24), sum_at(100)), (10, 5, 0));
    }

    #[test]
    fn workers_are_added_up() {
        let all = AllEventCounts::new(2);
        let mut tally = Tally::default();
        tally.add(None, ACCEPTED);
        tally.add(None, Outcome::Dropped(Dropped::Child));
        for worker in 0..2 {
            all.worker(worker).count(&tally, &Sites::default(), UnixMillis(0));
            all.worker(worker).note(Noted::Masked, 3);
        }
        assert_eq!((all.of(ACCEPTED), all.noted(Noted::Masked)), (2, 6));
    }
}
