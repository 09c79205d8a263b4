//! The days: how many visits each has, at which hours, by whom and from where.
//!
//! A day's share of all events grows slowly from the first to the last, is smaller at the weekend, and larger while a campaign is young. The last day is today: it
//! ends now. All is drawn from the seed, so the same seed makes the same days, as long as they are the same days.

use std::collections::HashMap;

use super::lot::Lot;
use super::people::{People, Since, With};
use super::site_map::{ORIGINS, Origin, VERSIONS};
use super::visit::{self, Fate, Made, Wish};
use crate::clock::{Day, UnixMillis, Zone};
use crate::limits::VISIT_GAP;

/// What is to be made up.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// The same seed makes the same traffic.
    pub seed: u64,
    /// How many days, today included.
    pub days: u16,
    /// How many events, about.
    pub events: u64,
}

/// How busy the hours of a day are, in thousandths of the busiest.
const HOURS: [u64; 24] =
    [190, 120, 80, 60, 60, 90, 190, 380, 640, 860, 960, 980, 900, 920, 1_000, 980, 920, 840, 780, 800, 830, 760, 560, 340];

/// Monday to Sunday, in thousandths of a middling day.
const WEEK: [u64; 7] = [1_060, 1_100, 1_080, 1_050, 950, 640, 700];

/// How much more there is on the last day than on the first, in thousandths.
const GROWTH: u64 = 650;

/// After so many days nobody speaks of a campaign any more.
const LAUNCH_DAYS: u64 = 9;

/// Of a thousand visits, how many are none: crawlers and such.
const IN_VAIN: u64 = 130;

const HOUR_MILLIS: u64 = 3_600_000;

/// A day that was made up.
#[derive(Debug, Default)]
pub(super) struct DayOfTraffic {
    /// Its events in the order of time, which is that since the day's start.
    pub events: Vec<Made>,
    pub visits: u64,
    pub visitors: u64,
}

/// All days, one after the other.
pub(super) struct Traffic {
    plan: Plan,
    zone: Zone,
    now: UnixMillis,
    people: People,
    /// The events of each day.
    shares: Vec<u64>,
}

impl Traffic {
    pub(super) fn new(plan: Plan, zone: Zone, now: UnixMillis, people: People) -> Self {
        let mut traffic = Self { plan, zone, now, people, shares: Vec::new() };
        let volumes: Vec<u64> = (0..plan.days).map(|index| traffic.volume(index)).collect();
        let all: u64 = volumes.iter().sum();
        traffic.shares = volumes.iter().map(|volume| plan.events * volume / all.max(1)).collect();
        traffic
    }

    /// The calendar day of that index.
    pub(super) fn day_of(&self, index: u16) -> Day {
        Day(self.zone.day_of(self.now).0.saturating_sub(self.plan.days - 1 - index))
    }

    /// From the start of the day on, how many milliseconds of it there are: fewer of today.
    fn length(&self, day: Day) -> u64 {
        let start = self.zone.start_of(day);
        self.zone.start_of(day.next()).min(self.now).since(start)
    }

    /// How much there is on a day, compared with others.
    fn volume(&self, index: u16) -> u64 {
        let day = self.day_of(index);
        let mut lot = Lot::of(self.plan.seed, u64::from(day.0));
        // 1970-01-01 was a Thursday.
        let weekday = WEEK[usize::from((day.0 + 3) % 7)];
        let grown = 1_000 + GROWTH * u64::from(index) / u64::from(self.plan.days);
        let launched: u64 = ORIGINS.iter().map(|origin| self.launched(origin, index)).sum();
        let noise = 930 + lot.below(140);
        let passed: u64 = HOURS.iter().zip(0..).map(|(busy, hour)| busy * passed(self.length(day), hour) / HOUR_MILLIS).sum();
        grown * weekday / 1_000 * (1_000 + launched) / 1_000 * noise / 1_000 * passed / HOURS.iter().sum::<u64>()
    }

    /// What the launch of a campaign adds to a day, in thousandths of an ordinary day's visits.
    fn launched(&self, origin: &Origin, index: u16) -> u64 {
        let Some((at, visits)) = origin.launch else { return 0 };
        let Some(since) = u64::from(index).checked_sub(at * u64::from(self.plan.days) / 1_000) else { return 0 };
        (0..since.min(LAUNCH_DAYS)).fold(if since > LAUNCH_DAYS { 0 } else { visits }, |visits, _| visits * 2 / 3)
    }

    /// The day of that index; to be asked in order, for the app remembers.
    pub(super) fn day(&mut self, index: u16) -> DayOfTraffic {
        let (day, mut lot) = (self.day_of(index), Lot::of(self.plan.seed, 1_000_000 + u64::from(self.day_of(index).0)));
        let length = self.length(day);
        let (mut made, mut spans) = (DayOfTraffic::default(), HashMap::<usize, Vec<(u64, u64)>>::new());
        let wanted = usize::try_from(self.shares[usize::from(index)]).unwrap_or(usize::MAX);
        // Somebody who is here already may be drawn again and again where there are few.
        for _ in 0..wanted.saturating_mul(2) {
            if made.events.len() >= wanted || self.people.0.is_empty() {
                break;
            }
            let who = lot.place(self.people.0.len());
            let (events, counted) = self.visit(who, index, &mut lot);
            let lasts = events.last().map_or(0, |last| last.at);
            let Some(start) = self.start(who, lasts, length, &mut lot) else { continue };
            if counted {
                let span = (start, start + lasts);
                let known = spans.entry(who).or_default();
                if known.iter().any(|known| !are_apart(*known, span)) {
                    continue;
                }
                made.visitors += u64::from(known.is_empty());
                made.visits += 1;
                known.push(span);
                self.remember(who, day);
            }
            made.events.extend(events.into_iter().map(|event| Made { at: start + event.at, ..event }));
        }
        made.events.sort_by_key(|event| event.at);
        made
    }

    /// A visit of `who`, and whether it counts as one.
    fn visit(&self, who: usize, index: u16, lot: &mut Lot) -> (Vec<Made>, bool) {
        let person = &self.people.0[who];
        if lot.chance(IN_VAIN) {
            return (visit::in_vain(person, lot), false);
        }
        let events = match &person.with {
            With::App { since, .. } => {
                // A version goes out for each part of the days; a fifth of all are a version behind.
                let newest = usize::from(index) * VERSIONS.len() / usize::from(self.plan.days);
                let version = VERSIONS[newest.saturating_sub(usize::from(lot.chance(200)))];
                visit::of_app(person, *since, version, (self.day_of(0), self.day_of(index)), lot)
            }
            With::Browser { .. } => {
                let origin = lot.weighted(ORIGINS, |origin| origin.weight + self.launched(origin, index));
                let wish = Wish::drawn(lot);
                visit::of_browser(person, origin, wish, lot)
            }
        };
        let counted = matches!(events.first(), Some(Made { fate: Fate::Stored(_), .. }));
        (events, counted)
    }

    /// When a visit that lasts so long begins, in milliseconds since the day's start, if there is still room for it.
    fn start(&self, who: usize, lasts: u64, length: u64, lot: &mut Lot) -> Option<u64> {
        let room = length.checked_sub(lasts + 1)?;
        let ahead = self.people.0[who].place.hours_ahead;
        for _ in 0..24 {
            let theirs = lot.weighted(&HOUR_NAMES, |hour| HOURS[usize::from(*hour)]);
            let hour = u64::try_from((i64::from(*theirs) - ahead).rem_euclid(24)).unwrap_or(0);
            let start = hour * HOUR_MILLIS + lot.below(HOUR_MILLIS);
            if start <= room {
                return Some(start);
            }
        }
        Some(lot.below(room + 1))
    }

    /// An app knows when it was used.
    fn remember(&mut self, who: usize, day: Day) {
        if let With::App { since, .. } = &mut self.people.0[who].with {
            *since = Since { first: since.first.or(Some(day)), last: Some(day), ..*since };
        }
    }
}

const HOUR_NAMES: [u8; 24] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23];

/// How much of the hour has passed when `length` of the day has.
fn passed(length: u64, hour: u64) -> u64 {
    length.saturating_sub(hour * HOUR_MILLIS).min(HOUR_MILLIS)
}

/// Whether two stretches of one visitor are two visits.
fn are_apart(one: (u64, u64), other: (u64, u64)) -> bool {
    let gap = u64::try_from(VISIT_GAP.as_millis()).unwrap_or(u64::MAX);
    one.1 + gap < other.0 || other.1 + gap < one.0
}

#[cfg(test)]
mod tests;
