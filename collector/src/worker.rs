//! One worker: takes what its listener receives through the pipeline into its log, and answers once the log has synced it.
//!
//! Everything here belongs to one thread. A request's events are judged in one go, without waiting; then the request waits for one commit.
//!
//! # Where a request's time goes
//! With 64 connections a request makes two system calls, as it does with bare hyper (`recvfrom`, `writev`); the rest (`epoll_wait`, the sync thread's) comes to 0.2 for each.
//! The process runs through 40,000 instructions for it, bare hyper through 10,500: 22,000 judge it, and 6,000 more are in hyper and tokio (the second wait, the
//! watch). Where they stand costs at least as much: nearly each runs once, so that a request misses a first-level cache of 32 KiB for 2,000 lines of code, half
//! of them in judging; bare hyper for 550. All by callgrind, whose SHA-256 in software is taken out. Tried, and left out (times on a machine with other work, so that a
//! few hundredths would not have shown):
//! * link-time optimisation of everything in one unit: 4 % fewer instructions, 7 % fewer misses, no difference in time;
//! * with that, this crate optimised for size: another 5 % fewer misses, but 18 % more instructions; time not measured;
//! * the functions that a request passes through laid side by side by the linker, in place of all over three megabytes: no difference in time;
//! * a waker of our own around hyper, which wakes its connection once more when a handler takes the last of a body, though nothing is left to do: two polls for a request in
//!   place of three, 1,300 instructions fewer, no difference in time with 64 or 1,000 connections (0.98 and 1.00 times, 20 rounds in turn);
//! * mimalloc and jemalloc in place of the system's allocator: no difference in time;
//! * requests of a turn judged together, the first of them for all, so that reading and judging do not push each other out: 8 % fewer misses, 2 % more instructions, no
//!   difference in time. Judging alone is larger than the cache; it would have to go stage by stage over all of them.

use std::borrow::Cow;
use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use arc_swap::ArcSwap;
use hyper::HeaderMap;

use crate::beacon::answer::{self, Verdict};
use crate::beacon::batch;
use crate::beacon::{self, Decoded, Route, Unread, json, query};
use crate::clock::{Clock, Day, UnixMillis, Zone};
use crate::consent::signals::HeaderSignals;
use crate::distinct::{Distinct, Seen};
use crate::enrich::user_agent::AgentCache;
use crate::event::Event;
use crate::leak;
use crate::metrics::{EventCounts, Noted};
use crate::outcome::{Accepted, Outcome, Refused, Rejection};
use crate::pipeline;
use crate::privacy::raw::{Peer, Visitor};
use crate::privacy::{Door, Guards};
use crate::row::{EVENTS, OTHER, UNKNOWN_SITE};
use crate::server::{Answer, Arrival, Intake, Protocol};
use crate::site::Sites;
use crate::spool::{Log, Receipt, Unavailable};
use crate::tally::Tally;
use crate::telemetry::log_key_changes;

/// What all workers share: read on every request, written by others once a day or less.
pub struct Shared {
    /// The sites; replaced when the configuration is read again.
    pub sites: ArcSwap<Sites>,
    /// What stands between a visitor and a row.
    pub guards: Guards,
    /// Which values may stand in their own name.
    pub distinct: Distinct,
    /// The time.
    pub clock: Clock,
    /// Whose days count for events that belong to no site.
    pub utc: Zone,
}

impl Shared {
    /// Makes and buries keys if the time has come; costs one comparison if it has not.
    pub fn turn_keys(&self, now: UnixMillis) {
        if now >= self.guards.keys.turn_at() {
            log_key_changes(self.guards.keys.turn(now));
        }
    }

    /// Forgets the distinct values of days that take no events any more, anywhere on Earth.
    pub fn forget_closed_days(&self, close_after_days: u16) {
        let today = self.utc.day_of(self.clock.now());
        self.distinct.forget_before(Day(today.0.saturating_sub(close_after_days + 2)));
    }

    /// Takes over the sites of a configuration that was read again. Their keys come first: a site without one would be refused.
    pub fn follow(&self, sites: Arc<Sites>) {
        log_key_changes(self.guards.keys.follow(&sites, self.clock.now()));
        self.sites.store(sites);
    }
}

/// One worker's end of the pipeline.
pub struct Worker {
    shared: Arc<Shared>,
    log: Rc<Log>,
    counts: Arc<EventCounts>,
    memory: RefCell<Memory>,
}

/// What a worker remembers between requests; nothing in it is a visitor's.
#[derive(Default)]
struct Memory {
    agents: AgentCache,
    seen: Seen,
}

/// A request whose events have all been judged.
struct Judged {
    tally: Tally,
    answer: Answer,
    /// Resolves when what is kept is synced; `None` when the sender need not wait for anything.
    receipt: Option<Receipt>,
}

/// What a request's events have in common.
struct Request<'a> {
    protocol: Protocol,
    signals: HeaderSignals,
    visitor: Visitor<'a>,
    received: UnixMillis,
    key: Option<&'a [u8]>,
}

impl Worker {
    /// A worker that writes to `log` and counts in `counts`.
    pub fn new(shared: Arc<Shared>, log: Rc<Log>, counts: Arc<EventCounts>) -> Self {
        Self { shared, log, counts, memory: RefCell::default() }
    }

    fn judge(&self, sites: &Sites, arrival: Arrival<'_>) -> Result<Judged, Refused> {
        // A disk that is slow is met with many who come again: they cost no more than their bytes.
        self.log.admits().map_err(|Unavailable| Refused::Unavailable)?;
        let Arrival { protocol, body, encoding, query, page, signals, visitor, received, bearer, idempotency_key, mut room } = arrival;
        let request = Request { protocol, signals, visitor, received, key: idempotency_key };
        let route = match protocol {
            Protocol::Beacon | Protocol::Pixel => Route::Page,
            Protocol::Batch => Route::Api,
        };
        let context = beacon::Context { sites, bearer: bearer.as_ref(), route, page };
        let judged = match protocol {
            Protocol::Beacon => self.judge_each(sites, request, route, json::events(&body, &context)?),
            Protocol::Pixel => self.judge_each(sites, request, route, std::iter::once(query::event(query, &context))),
            Protocol::Batch => {
                let unpacked = batch::unpack(&body, encoding, |bytes| room.grow(bytes))?;
                assert!(!leak::stumbles(&unpacked), "cannot take {}", String::from_utf8_lossy(&unpacked));
                self.judge_each(sites, request, route, batch::events(&unpacked, &context)?)
            }
        };
        drop(room);
        judged.map_err(|Unavailable| Refused::Unavailable)
    }

    fn judge_each<'a>(
        &self,
        sites: &Sites,
        request: Request<'_>,
        route: Route,
        events: impl Iterator<Item = Result<Decoded<'a>, Unread<'a>>>,
    ) -> Result<Judged, Unavailable> {
        let mut rows = self.log.rows()?;
        let memory = &mut *self.memory.borrow_mut();
        let mut door = Door::open(&self.shared.guards, sites, &mut memory.agents, request.visitor, request.received);
        let mut tally = Tally::default();
        let mut draft = Draft::new(request.protocol);
        let mut unnamed = request.key;
        for decoded in events {
            let site = decoded.as_ref().map_or_else(|unread| unread.site, |decoded| Some(decoded.beacon.site));
            // The first site that is named, whatever becomes of the event: a retry may find another event to be the first that is kept.
            if let Some((key, site)) = unnamed.zip(site) {
                rows.name(self.log.hash(&site.id, key))?;
                unnamed = None;
            }
            self.counts.note(Noted::UnknownFields, decoded.as_ref().map_or(0, |decoded| u64::from(decoded.unknown_fields)));
            let collected = decoded
                .map_err(|unread| Rejection::Refused(unread.refusal))
                .and_then(|decoded| pipeline::collect(decoded, request.signals, &mut door, route));
            let verdict = match collected {
                Ok(mut collected) => {
                    let zone = sites.zone(collected.event.site.zone);
                    let id = self.hash_of_id(&collected.event);
                    if rows.is_duplicate((zone, collected.event.day), id)? {
                        Verdict::Duplicate
                    } else {
                        self.cap(&mut memory.seen, &mut collected.event);
                        let event = &collected.event;
                        if collected.masked {
                            tally.mask(event.site);
                        }
                        let pushed = rows.push(&EVENTS, (zone, event.day), id, |out, stamp| event.encode(out, zone, stamp));
                        pushed.map_err(|_| Unavailable)?;
                        Verdict::Accepted(event.visitor.map_or(Accepted::Anonymous, |_| Accepted::Pseudonymous))
                    }
                }
                Err(rejection) => Verdict::Rejected(rejection),
            };
            tally.add(site, verdict.outcome());
            draft.add(verdict, site.is_some_and(|site| site.debug));
        }
        drop(door);
        let receipt = rows.finish();
        self.count_unstored(sites, &tally, request.received);
        let receipt = tally.took_any().then_some(receipt);
        Ok(Judged { answer: draft.finish(&tally), tally, receipt })
    }

    /// What an event is recognised by when it is sent again; zero if it has no id.
    fn hash_of_id(&self, event: &Event<'_>) -> u64 {
        event.id.as_ref().map_or(0, |id| self.log.hash(&event.site.id, id.0.as_bytes()))
    }

    /// Writes `(other)` where a dimension has no room for one more value.
    fn cap(&self, seen: &mut Seen, event: &mut Event<'_>) {
        let place = (&*event.site.id, event.day);
        let mut capped = 0;
        for (dimension, value) in event.capped_dimensions_mut() {
            if !value.is_empty() && !self.shared.distinct.admits(seen, place, dimension, value) {
                *value = Cow::Borrowed(OTHER);
                capped += 1;
            }
        }
        self.counts.note(Noted::Capped, capped);
    }

    /// Hands the counts of what is not stored to the log; they go with the commit at hand.
    fn count_unstored(&self, sites: &Sites, tally: &Tally, received: UnixMillis) {
        for entry in tally.entries().iter().filter(|entry| !matches!(entry.outcome, Outcome::Accepted(_))) {
            let (site, zone) = entry.site(sites).map_or((UNKNOWN_SITE, &self.shared.utc), |site| (&*site.id, sites.zone(site.zone)));
            self.log.count((site, zone), zone.day_of(received), entry.outcome, entry.count);
        }
    }

    /// Counts a request none of whose events could be read: as one event.
    fn count_unread(&self, sites: &Sites, reason: Refused) {
        let mut tally = Tally::default();
        tally.add(None, Outcome::Refused(reason));
        let now = self.shared.clock.now();
        if reason != Refused::Unavailable {
            self.count_unstored(sites, &tally, now);
        }
        self.counts.count(&tally, sites, now);
    }
}

impl Intake for Worker {
    fn visitor<'a>(&self, peer: &Peer, headers: &'a HeaderMap) -> Visitor<'a> {
        let visitor = self.shared.guards.trust.visitor(peer, headers);
        self.counts.note_forwarding(visitor.forwarding());
        visitor
    }

    fn take(&self, arrival: Arrival<'_>) -> impl Future<Output = Answer> + use<> {
        let received = arrival.received;
        self.shared.turn_keys(received);
        let sites = self.shared.sites.load_full();
        let (answer, awaited) = match self.judge(&sites, arrival) {
            Ok(Judged { tally, answer, receipt }) => {
                let account = Account { tally, sites, received, counts: Arc::clone(&self.counts) };
                if let Some(receipt) = receipt {
                    (answer, Some(Awaited(Some((receipt, account)))))
                } else {
                    account.close(Ok(()));
                    (answer, None)
                }
            }
            Err(reason) => {
                self.count_unread(&sites, reason);
                (if reason == Refused::Unavailable { Answer::Unavailable } else { Answer::Refused(reason) }, None)
            }
        };
        async move {
            match awaited {
                Some(awaited) => awaited.await.map_or(Answer::Unavailable, |()| answer),
                None => answer,
            }
        }
    }

    fn refuse(&self, reason: Refused) {
        self.count_unread(&self.shared.sites.load(), reason);
    }
}

/// What a request's events came to, until its commit has ended: then it is counted.
struct Account {
    tally: Tally,
    sites: Arc<Sites>,
    received: UnixMillis,
    counts: Arc<EventCounts>,
}

impl Account {
    fn close(mut self, kept: Result<(), Unavailable>) {
        if kept.is_err() {
            self.tally.undo_accepted();
        }
        self.counts.count(&self.tally, &self.sites, self.received);
    }
}

/// Waits for a request's commit, then closes its account. A sender that goes away meanwhile takes nothing back: what it sent is stored, so it is counted
/// all the same.
struct Awaited(Option<(Receipt, Account)>);

impl Future for Awaited {
    type Output = Result<(), Unavailable>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some((receipt, _)) = &mut self.0 else { return Poll::Pending };
        let kept = ready!(Pin::new(receipt).poll(context));
        if let Some((_, account)) = self.0.take() {
            account.close(kept);
        }
        Poll::Ready(kept)
    }
}

impl Drop for Awaited {
    fn drop(&mut self) {
        if let Some((receipt, account)) = self.0.take() {
            receipt.afterwards(|kept| account.close(kept));
        }
    }
}

/// The answer, while events are judged.
enum Draft {
    /// A beacon or a pixel: one of its events speaks for all.
    Beacon { debugged: Option<Outcome>, refused: Option<Refused> },
    /// A batch: every event is answered for.
    Batch(answer::Answer),
}

impl Draft {
    fn new(protocol: Protocol) -> Self {
        match protocol {
            Protocol::Beacon | Protocol::Pixel => Self::Beacon { debugged: None, refused: None },
            Protocol::Batch => Self::Batch(answer::Answer::default()),
        }
    }

    fn add(&mut self, verdict: Verdict, debug: bool) {
        match self {
            Self::Batch(answer) => answer.add(verdict),
            Self::Beacon { debugged, refused } => {
                if debug {
                    debugged.get_or_insert(verdict.outcome());
                }
                if let Verdict::Rejected(Rejection::Refused(refusal)) = verdict {
                    refused.get_or_insert(refusal.reason);
                }
            }
        }
    }

    fn finish(self, tally: &Tally) -> Answer {
        match self {
            _ if tally.waits_for_a_key() => Answer::Unavailable,
            Self::Batch(answer) => Answer::Judged(answer.to_json().into()),
            Self::Beacon { refused: Some(reason), .. } if !tally.took_any() => Answer::Refused(reason),
            Self::Beacon { debugged, .. } => Answer::Taken(debugged),
        }
    }
}

#[cfg(test)]
mod tests;
