//! Which day an event belongs to, and whether that day still takes it: the table of days as a pure function.
//!
//! | the event's day is | standing |
//! |---|---|
//! | today | [`Standing::Today`]: today's key |
//! | yesterday, and it is at most 30 minutes past midnight | [`Standing::Yesterday`]: yesterday's key |
//! | an earlier day that still takes events | [`Standing::Earlier`]: no key |
//! | any other | [`Standing::Closed`]: refused |

use crate::clock::{Day, UnixMillis, Zone};
use crate::limits::CLOSE_AFTER_HOURS;

/// How long into a day yesterday's key lives, in milliseconds.
pub const GRACE_MILLIS: u64 = 30 * 60_000;

const HOUR_MILLIS: u64 = 3_600_000;

/// How long a day takes events: the operator's `close_after_hours`, less the two hours that closing needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Intake {
    open_millis: u64,
}

impl Intake {
    /// Intake for days that are closed `hours` after their start; `None` outside [`CLOSE_AFTER_HOURS`].
    pub fn closing_after(hours: u16) -> Option<Self> {
        CLOSE_AFTER_HOURS.contains(&hours).then(|| Self { open_millis: u64::from(hours - 2) * HOUR_MILLIS })
    }

    /// From when on `day` takes no more events.
    pub fn end_of(self, zone: &Zone, day: Day) -> UnixMillis {
        zone.start_of(day).plus(self.open_millis)
    }
}

impl Default for Intake {
    fn default() -> Self {
        Self { open_millis: 46 * HOUR_MILLIS }
    }
}

/// How an event's day stands at the time the event is received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The day it is now.
    Today,
    /// The day before, within the grace.
    Yesterday,
    /// A day that has no key any more and still takes events.
    Earlier,
    /// A day that takes nothing more.
    Closed,
}

/// An event's place in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// When it happened; never after it was received.
    pub time: UnixMillis,
    /// The calendar day of that, where the site lives.
    pub day: Day,
    /// How that day stands.
    pub standing: Standing,
}

/// One zone's today: worked out once a day, so that an event of today costs two comparisons.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Today {
    /// The calendar day.
    pub day: Day,
    /// Its first instant.
    pub start: UnixMillis,
    /// The first instant after it.
    pub end: UnixMillis,
    /// The calendar day before: not always the date before, for zones have skipped dates.
    pub yesterday: Day,
}

impl Today {
    /// The day that `now` falls on in `zone`.
    pub fn at(zone: &Zone, now: UnixMillis) -> Self {
        let day = zone.day_of(now);
        let start = zone.start_of(day);
        Self { day, start, end: zone.start_of(day.next()), yesterday: zone.day_of(start.minus(1)) }
    }

    /// Whether `instant` falls on this day.
    pub fn covers(&self, instant: UnixMillis) -> bool {
        self.start <= instant && instant < self.end
    }

    /// Places an event that was received at `received`, on this day, `age_millis` after it happened.
    pub fn place(&self, zone: &Zone, intake: Intake, received: UnixMillis, age_millis: u64) -> Place {
        let time = received.minus(age_millis);
        if self.covers(time) {
            return Place { time, day: self.day, standing: Standing::Today };
        }
        let day = zone.day_of(time);
        let standing = if day == self.yesterday && received.since(self.start) <= GRACE_MILLIS {
            Standing::Yesterday
        } else if time.0 >= 0 && received < intake.end_of(zone, day) {
            Standing::Earlier
        } else {
            Standing::Closed
        };
        Place { time, day, standing }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Standing::{Closed, Earlier, Today as Now, Yesterday};

    fn instant(text: &str) -> UnixMillis {
        UnixMillis(text.parse::<jiff::Timestamp>().unwrap().as_millisecond())
    }

    const MINUTE: u64 = 60_000;

    #[test]
    fn an_events_day_stands_as_the_table_says() {
        let table: &[(&str, &str, u64, &str, Standing)] = &[
            // zone, received, age, day, standing
            ("UTC", "2026-11-22T12:00:00Z", 0, "2026-11-22", Now),
            ("UTC", "2026-11-22T12:00:00Z", 720 * MINUTE, "2026-11-22", Now),
            ("UTC", "2026-11-22T12:00:00Z", 720 * MINUTE + 1, "2026-11-21", Earlier),
            ("UTC", "2026-11-22T00:00:00Z", 0, "2026-11-22", Now),
            ("UTC", "2026-11-22T00:00:00Z", 1, "2026-11-21", Yesterday),
            ("UTC", "2026-11-22T00:30:00Z", 31 * MINUTE, "2026-11-21", Yesterday),
            ("UTC", "2026-11-22T00:30:00.001Z", 31 * MINUTE, "2026-11-21", Earlier),
            ("UTC", "2026-11-22T00:10:00Z", 25 * 60 * MINUTE, "2026-11-20", Closed),
            // A day is closed 48 hours after its start, and takes nothing in the two hours before.
            ("UTC", "2026-11-22T21:59:59.999Z", 24 * 60 * MINUTE, "2026-11-21", Earlier),
            ("UTC", "2026-11-22T22:00:00Z", 24 * 60 * MINUTE, "2026-11-21", Closed),
            ("UTC", "2026-11-22T12:00:00Z", 400 * 24 * 60 * MINUTE, "2025-10-18", Closed),
            ("UTC", "2026-11-22T12:00:00Z", u64::MAX, "1970-01-01", Closed),
            // East of the date line's west: it is tomorrow there.
            ("Pacific/Tongatapu", "2026-11-22T12:00:00Z", 0, "2026-11-23", Now),
            ("Pacific/Tongatapu", "2026-11-22T11:00:00Z", 0, "2026-11-23", Now),
            ("Pacific/Tongatapu", "2026-11-22T11:00:00Z", 1, "2026-11-22", Yesterday),
            ("Pacific/Tongatapu", "2026-11-22T11:31:00Z", 32 * MINUTE, "2026-11-22", Earlier),
            ("America/Los_Angeles", "2026-11-22T07:59:59Z", 0, "2026-11-21", Now),
            // 25 hours: the clock goes back in Berlin on 2026-10-25, whose day begins at 22:00Z and ends at 23:00Z.
            ("Europe/Berlin", "2026-10-25T22:59:59.999Z", 25 * 60 * MINUTE - 1, "2026-10-25", Now),
            ("Europe/Berlin", "2026-10-25T22:59:59.999Z", 25 * 60 * MINUTE, "2026-10-24", Closed),
            ("Europe/Berlin", "2026-10-25T23:30:00Z", 31 * MINUTE, "2026-10-25", Yesterday),
            // 23 hours: it goes forward on 2026-03-29, whose day begins at 23:00Z and ends at 22:00Z.
            ("Europe/Berlin", "2026-03-29T21:59:59.999Z", 23 * 60 * MINUTE - 1, "2026-03-29", Now),
            ("Europe/Berlin", "2026-03-29T22:00:00Z", 0, "2026-03-30", Now),
            ("Europe/Berlin", "2026-03-30T20:59:59Z", 24 * 60 * MINUTE, "2026-03-29", Earlier),
            ("Europe/Berlin", "2026-03-30T21:00:00Z", 24 * 60 * MINUTE, "2026-03-29", Closed),
            // Samoa had no 30 December 2011: the 29th is the day before the 31st.
            ("Pacific/Apia", "2011-12-30T10:10:00Z", 11 * MINUTE, "2011-12-29", Yesterday),
        ];
        for (zone, received, age, day, standing) in table {
            let (zone, received) = (Zone::named(zone).unwrap(), instant(received));
            let place = Today::at(&zone, received).place(&zone, Intake::default(), received, *age);
            let expected = Place { time: received.minus(*age), day: day.parse().unwrap(), standing: *standing };
            assert_eq!(place, expected, "{} {received:?} {age}", zone.name());
        }
    }

    #[test]
    fn a_day_takes_events_until_two_hours_before_it_is_closed() {
        let (zone, day) = (Zone::named("UTC").unwrap(), "2026-11-20".parse().unwrap());
        for (hours, end) in [(30, "2026-11-21T04:00:00Z"), (48, "2026-11-21T22:00:00Z"), (168, "2026-11-26T22:00:00Z")] {
            assert_eq!(Intake::closing_after(hours).unwrap().end_of(&zone, day), instant(end));
        }
        assert_eq!(Intake::closing_after(48), Some(Intake::default()));
        assert!(Intake::closing_after(29).is_none() && Intake::closing_after(169).is_none());
    }
}
