//! The care of days: the visits of open ones are counted anew while events arrive, and those that are over are closed.
//!
//! A day is closed by [`crate::store::close`] once it takes no more events and no segment of the spool holds one of it, whether it waits or is parked. What has
//! waited for a week has no pseudonyms any more, and no day waits for it. What cannot be closed keeps the days after it open no longer; only the weeks and
//! months that it is part of wait for it. Nor does a day wait for a deletion that ClickHouse refuses (see [`super::deletions`]).

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use super::deletions::Deletions;
use crate::clock::{Clock, Day, UnixMillis, Zone};
use crate::days::Intake;
use crate::limits::{CLOSE_INTERVAL, CLOSE_MARGIN, DAYS_INTERVAL, RETENTION_INTERVAL, STRIP_AFTER, VISITS_INTERVAL, VISITS_SHARE};
use crate::row::EVENTS;
use crate::shutdown::Stop;
use crate::site::Sites;
use crate::site::declared::Declared;
use crate::spool::format::Header;
use crate::spool::inspect;
use crate::store::close::{Closing, Thresholds};
use crate::store::database::Target;
use crate::store::days::{self, Held, What, ZoneDay};
use crate::store::errors::Failure;
use crate::store::migrate::{self, MIGRATIONS};
use crate::store::{retention, visits};
use crate::worker::Shared;

/// Cares for the days until the order to stop. What is cut off by it is done again by the next start.
#[expect(clippy::disallowed_methods, reason = "the caller waits for the task")]
pub(super) fn start(deletions: Deletions, mut stop: Stop) -> JoinHandle<()> {
    tokio::spawn(async move {
        let at = Clock::monotonic();
        let mut care = Care {
            target: deletions.target.clone(),
            shared: Arc::clone(&deletions.shared),
            spool: deletions.spool.clone(),
            deletions,
            migrated: false,
            counted: HashMap::new(),
            declared: Vec::new(),
            visits_at: at,
            expire_at: at,
            tried: HashMap::new(),
            failed: false,
        };
        let caring = async {
            loop {
                care.look().await;
                tokio::time::sleep(DAYS_INTERVAL).await;
            }
        };
        tokio::select! {
            () = stop.ordered() => {}
            () = caring => {}
        }
    })
}

struct Care {
    target: Target,
    shared: Arc<Shared>,
    spool: PathBuf,
    deletions: Deletions,
    /// The tables are this version's: whoever delivers events has made them so.
    migrated: bool,
    /// How many events each day had when its visits were last counted by this process.
    counted: HashMap<ZoneDay, u64>,
    /// What sites declared then.
    declared: Vec<(String, Declared)>,
    /// When visits are counted again.
    visits_at: Instant,
    /// When figures that are too old are looked for again.
    expire_at: Instant,
    /// When a day was last tried to be closed, and whether it is.
    tried: HashMap<ZoneDay, Tried>,
    failed: bool,
}

/// A try to close a day.
struct Tried {
    at: Instant,
    on: UnixMillis,
    closed: bool,
}

impl Tried {
    /// Whether it is too early for another: by both clocks, so that one which is moved by hand need not be waited for.
    fn is_recent(&self, now: UnixMillis) -> bool {
        self.at.elapsed() < CLOSE_INTERVAL && u128::from(now.since(self.on)) < CLOSE_INTERVAL.as_millis()
    }
}

impl Care {
    async fn look(&mut self) {
        if self.target.available().await.is_none() {
            return;
        }
        match self.care().await {
            Ok(()) => self.failed = false,
            Err(failure) if !self.failed => {
                self.failed = true;
                tracing::warn!(%failure, "visits cannot be counted, or a day not closed; it is tried again");
            }
            Err(_) => {}
        }
    }

    async fn care(&mut self) -> Result<(), Failure> {
        let client = self.target.client.clone();
        self.migrated = self.migrated || matches!(migrate::version(&client).await, Ok(version) if version == migrate::newest(MIGRATIONS));
        if !self.migrated || days::is_filling(&client).await? {
            return Ok(());
        }
        let deleted = self.deletions.carry_out().await;
        let held = days::held(&client).await?;
        self.counted.retain(|known, _| held.iter().any(|held| held.day == *known));
        self.tried.retain(|known, _| held.iter().any(|held| held.day == *known));
        let (open, closed) = self.close_what_is_over(&held).await;
        if Clock::monotonic() >= self.visits_at {
            let begun = Clock::monotonic();
            let counted = self.count_visits(&open).await;
            if counted != Ok(false) {
                self.visits_at = Clock::monotonic() + pause_after(begun.elapsed());
            }
            counted?;
        }
        if Clock::monotonic() >= self.expire_at {
            self.expire_at = Clock::monotonic() + RETENTION_INTERVAL;
            retention::expire(&client, Zone::utc().day_of(self.shared.clock.now())).await?;
        }
        closed.and(deleted)
    }

    /// Closes the days that are over, the oldest first; gives those that stay open. One that cannot be closed does not keep the others open.
    async fn close_what_is_over(&mut self, held: &[Held]) -> (Vec<Held>, Result<(), Failure>) {
        let (mut open, mut outcome) = (Vec::new(), Ok(()));
        for one in held {
            match self.close(one, held).await {
                Ok(true) => {}
                Ok(false) => open.push(one.clone()),
                Err(failure) => outcome = Err(failure),
            }
        }
        (open, outcome)
    }

    /// Closes the day if it is over and nothing of it is still to come; whether it is closed then.
    async fn close(&mut self, held: &Held, all: &[Held]) -> Result<bool, Failure> {
        let now = self.shared.clock.now();
        let intake = self.shared.guards.intake;
        let Some(zone) = Zone::named(&held.day.zone).ok().filter(|zone| is_over(zone, intake, held.day.day, now)) else { return Ok(false) };
        if let Some(tried) = self.tried.get(&held.day).filter(|tried| tried.is_recent(now)) {
            return Ok(tried.closed);
        }
        self.tried.insert(held.day.clone(), Tried { at: Clock::monotonic(), on: now, closed: false });
        let spool = self.spool.clone();
        let headers = tokio::task::spawn_blocking(move || inspect::headers(&spool)).await;
        let Ok(Ok(headers)) = headers else {
            tracing::warn!(zone = held.day.zone, day = %held.day.day, "a day is over, and the spool cannot be looked through just now: it is tried again in a minute");
            return Ok(false);
        };
        if headers.iter().any(|header| holds(header, &held.day, now)) {
            tracing::warn!(zone = held.day.zone, day = %held.day.day, "a day is over, and the spool still holds events of it: it is closed after them");
            return Ok(false);
        }
        let Ok(anew) = self.deletions.half_done(&held.day) else {
            tracing::warn!(zone = held.day.zone, day = %held.day.day, "a day is over, and it cannot be read whether a deletion from it has begun: it is tried again in a minute");
            return Ok(false);
        };
        let thresholds = Thresholds { anew, ..thresholds(&self.shared.sites.load()) };
        let through = through(&zone, intake, now, all.iter().filter(|other| other.day != held.day).map(|other| &other.day));
        Closing { client: &self.target.client, day: &held.day, through, thresholds: &thresholds, now }.run().await?;
        self.tried.insert(held.day.clone(), Tried { at: Clock::monotonic(), on: now, closed: true });
        tracing::info!(zone = held.day.zone, day = %held.day.day, "a day is closed: what is left of it are numbers");
        Ok(true)
    }

    /// Counts the visits of the days that have got events since they were last counted; whether there were any.
    async fn count_visits(&mut self, open: &[Held]) -> Result<bool, Failure> {
        let mut any = false;
        let Thresholds { declared, .. } = thresholds(&self.shared.sites.load());
        if declared != self.declared {
            // What is declared now is looked for in all days that are open.
            self.counted.clear();
            self.declared.clone_from(&declared);
        }
        for Held { day, events } in open {
            if self.counted.get(day) == Some(events) {
                continue;
            }
            let as_of = self.shared.clock.now();
            visits::count(&self.target.client, day, *events, &declared).await?;
            days::say(&self.target.client, day, What::Visits, as_of).await?;
            self.counted.insert(day.clone(), *events);
            any = true;
        }
        Ok(any)
    }
}

/// Whether the day takes no more events, and has not for a moment.
pub(crate) fn is_over(zone: &Zone, intake: Intake, day: Day, now: UnixMillis) -> bool {
    let margin = u64::try_from(CLOSE_MARGIN.as_millis()).unwrap_or(u64::MAX);
    now >= intake.end_of(zone, day).plus(margin)
}

/// Whether a segment keeps the day open: it holds events of it that may still have their pseudonyms.
pub(crate) fn holds(header: &Header, day: &ZoneDay, now: UnixMillis) -> bool {
    // What has waited for longer is stripped within a minute.
    let stripped = u64::try_from((STRIP_AFTER + 2 * CLOSE_MARGIN).as_millis()).unwrap_or(u64::MAX);
    *header.table == *EVENTS.table && *header.zone == *day.zone && header.day == day.day && now.since(header.begun) < stripped
}

/// The last day on which, and before which, every day of the zone is over and closed, but for the one that is being closed now.
fn through<'a>(zone: &Zone, intake: Intake, now: UnixMillis, others: impl Iterator<Item = &'a ZoneDay>) -> Day {
    let mut last = zone.day_of(now);
    while last > Day(0) && !is_over(zone, intake, last, now) {
        last = last.previous();
    }
    let open = others.filter(|other| other.zone == zone.name()).map(|other| other.day.previous());
    open.fold(last, Day::min)
}

/// What the sites have to do with closing.
pub(super) fn thresholds(sites: &Sites) -> Thresholds {
    let mut thresholds = Thresholds::default();
    for site in sites.iter() {
        thresholds.sites.push(site.id.to_string());
        thresholds.ks.push(site.k.into());
        if site.declared != Declared::default() {
            thresholds.declared.push((site.id.to_string(), site.declared.clone()));
        }
        if !site.has_ids() {
            thresholds.without.push(site.id.to_string());
        }
    }
    thresholds
}

/// Visits are computed anew as a whole, so the pause grows with what that took: they never cost more than a share of a core.
fn pause_after(took: Duration) -> Duration {
    VISITS_INTERVAL.max(took * VISITS_SHARE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counting_visits_pauses_a_minute_or_twenty_times_as_long_as_it_took() {
        for (took, pause) in [(0, 60), (2, 60), (3, 60), (4, 80), (30, 600)] {
            assert_eq!(pause_after(Duration::from_secs(took)), Duration::from_secs(pause));
        }
    }

    #[test]
    fn weeks_and_months_are_over_up_to_the_first_day_that_is_not_closed() {
        let (zone, intake) = (Zone::utc(), Intake::default());
        let day = |text: &str| text.parse::<Day>().unwrap();
        let held = |zone: &str, text: &str| ZoneDay { zone: zone.to_owned(), day: day(text) };
        let now = zone.start_of(day("2026-11-22")).plus(22 * 3_600_000 + 2 * 60_000);
        assert_eq!(through(&zone, intake, now, [].iter()), day("2026-11-21"));
        assert_eq!(through(&zone, intake, now.minus(1), [].iter()), day("2026-11-20"));
        let others = [held("UTC", "2026-11-22"), held("UTC", "2026-11-18"), held("Europe/Berlin", "2026-11-01")];
        assert_eq!(through(&zone, intake, now, others.iter()), day("2026-11-17"));
    }
}
