//! Time: the only file that asks the system for it, and the types that carry it.
//!
//! Everything else is given a [`Clock`], so that a test can stand on any instant, and a day is always the *site's* calendar day.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use jiff::civil::Date;
use jiff::tz::TimeZone;

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixMillis(pub i64);

impl UnixMillis {
    /// This instant moved back by `milliseconds`; saturates instead of wrapping.
    #[must_use]
    pub fn minus(self, milliseconds: u64) -> Self {
        Self(self.0.saturating_sub_unsigned(milliseconds))
    }

    /// This instant moved forward by `milliseconds`; saturates instead of wrapping.
    #[must_use]
    pub fn plus(self, milliseconds: u64) -> Self {
        Self(self.0.saturating_add_unsigned(milliseconds))
    }

    /// Milliseconds from `earlier` to this instant; zero when `earlier` is later.
    pub fn since(self, earlier: Self) -> u64 {
        u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0)
    }
}

/// A calendar day as ClickHouse's `Date` stores it: days since 1970-01-01, in the site's own time zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(pub u16);

impl Day {
    /// The day of a calendar date; the first there is for one before it.
    pub fn of(date: Date) -> Self {
        let days = (date - EPOCH).get_days();
        Self(u16::try_from(days.max(0)).unwrap_or(u16::MAX))
    }

    /// The calendar date.
    pub fn date(self) -> Date {
        EPOCH.saturating_add(jiff::Span::new().days(i64::from(self.0)))
    }

    /// The day before, or the first day there is.
    #[must_use]
    pub fn previous(self) -> Self {
        Self(self.0.saturating_sub(1))
    }

    /// The day after.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

const EPOCH: Date = jiff::civil::date(1970, 1, 1);
const DAY_SECONDS: i64 = 86_400;

impl fmt::Display for Day {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.date())
    }
}

impl std::str::FromStr for Day {
    type Err = jiff::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self::of)
    }
}

/// A time zone of the IANA database, and the rule that turns an instant into its calendar day.
#[derive(Clone, Debug)]
pub struct Zone {
    name: Box<str>,
    rules: TimeZone,
}

impl Zone {
    /// Looks `name` (for example `Europe/Berlin`) up in the system's database, else in the bundled one.
    pub fn named(name: &str) -> Result<Self, jiff::Error> {
        let rules = TimeZone::get(name)?;
        let name = rules.iana_name().unwrap_or(name).into();
        Ok(Self { name, rules })
    }

    /// Coordinated universal time, for what belongs to no site.
    pub fn utc() -> Self {
        Self { name: "UTC".into(), rules: TimeZone::UTC }
    }

    /// The IANA name as the database spells it, however the operator did.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The calendar day that `instant` falls on in this zone.
    pub fn day_of(&self, instant: UnixMillis) -> Day {
        let days = self.wall_seconds(instant).div_euclid(DAY_SECONDS);
        Day(u16::try_from(days.max(0)).unwrap_or(u16::MAX))
    }

    /// The hour of the day, 0 to 23, that `instant` falls into in this zone. An hour that a clock change repeats is one hour.
    pub fn hour_of(&self, instant: UnixMillis) -> u8 {
        let seconds = self.wall_seconds(instant).rem_euclid(DAY_SECONDS);
        u8::try_from(seconds / 3_600).unwrap_or(0)
    }

    /// What a clock on the wall shows, as seconds since its own 1970-01-01T00:00:00. Two divisions away from day and hour: a calendar is not needed for
    /// every event.
    fn wall_seconds(&self, instant: UnixMillis) -> i64 {
        let timestamp = jiff::Timestamp::from_millisecond(instant.0).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        timestamp.as_second() + i64::from(self.rules.to_offset(timestamp).seconds())
    }

    /// The first instant of `day` in this zone (the later side of a gap at midnight).
    pub fn start_of(&self, day: Day) -> UnixMillis {
        let start = day.date().to_zoned(self.rules.clone());
        UnixMillis(start.map_or(i64::from(day.0) * 86_400_000, |zoned| zoned.timestamp().as_millisecond()))
    }
}

/// Where the current time comes from: the system, or a value that a test or the demonstration moves by hand.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System,
    Set(Arc<AtomicI64>),
}

impl Clock {
    /// The system's wall clock.
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that stands at `now` until [`Clock::set`] moves it. Clones share the hand.
    pub fn standing_at(now: UnixMillis) -> Self {
        Self(Source::Set(Arc::new(AtomicI64::new(now.0))))
    }

    /// Moves a clock made by [`Clock::standing_at`]; the system's clock is left alone.
    pub fn set(&self, now: UnixMillis) {
        match &self.0 {
            Source::System => {}
            Source::Set(hand) => hand.store(now.0, Ordering::SeqCst),
        }
    }

    /// The current time.
    #[expect(clippy::disallowed_methods, reason = "this file is the one place that asks the system for the time")]
    pub fn now(&self) -> UnixMillis {
        match &self.0 {
            Source::System => {
                let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                UnixMillis(i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX))
            }
            Source::Set(hand) => UnixMillis(hand.load(Ordering::SeqCst)),
        }
    }

    /// A monotonic instant, for deadlines and durations: never for choosing a day.
    #[expect(clippy::disallowed_methods, reason = "this file is the one place that asks the system for the time")]
    pub fn monotonic() -> Instant {
        Instant::now()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_the_zones_own() {
        let midnight_utc = UnixMillis(1_793_318_400_000); // 2026-10-30T00:00:00Z
        let day = |name| Zone::named(name).unwrap().day_of(midnight_utc).to_string();
        assert_eq!(day("UTC"), "2026-10-30");
        assert_eq!(day("America/Los_Angeles"), "2026-10-29");
        assert_eq!(day("Pacific/Tongatapu"), "2026-10-30");
    }

    #[test]
    fn a_day_with_a_clock_change_is_25_hours_long() {
        let berlin = Zone::named("Europe/Berlin").unwrap();
        let day: Day = "2026-10-25".parse().unwrap();
        assert_eq!(berlin.start_of(day.next()).since(berlin.start_of(day)), 25 * 3_600_000);
    }

    #[test]
    fn an_hour_is_the_zones_own_and_a_repeated_one_is_one() {
        let hour = |zone, instant| Zone::named(zone).unwrap().hour_of(UnixMillis(instant));
        assert_eq!(hour("UTC", 1_793_318_399_999), 23);
        assert_eq!(hour("Asia/Kolkata", 1_793_318_399_999), 5);
        let summer_two_o_clock = 1_792_886_400_000; // 2026-10-25T00:00:00Z, the day Berlin's clocks go back.
        assert_eq!(hour("Europe/Berlin", summer_two_o_clock), 2);
        assert_eq!(hour("Europe/Berlin", summer_two_o_clock + 3_600_000), 2);
        assert_eq!(hour("Europe/Berlin", summer_two_o_clock + 7_200_000), 3);
    }

    #[test]
    fn a_zone_has_one_spelling() {
        assert_eq!(Zone::named("europe/berlin").unwrap().name(), "Europe/Berlin");
        assert!(Zone::named("Europe/Atlantis").is_err());
    }

    #[test]
    fn day_and_hour_are_those_of_the_calendar() {
        for name in ["UTC", "Europe/Berlin", "America/St_Johns", "Pacific/Apia", "Asia/Kathmandu"] {
            let zone = Zone::named(name).unwrap();
            // Half-hourly over more than a year around two clock changes, with instants before the full second.
            for step in 0..20_000_i64 {
                let instant = UnixMillis(1_750_000_000_000 + step * 1_800_000 - 1);
                let calendar = jiff::Timestamp::from_millisecond(instant.0).unwrap().to_zoned(zone.rules.clone());
                assert_eq!(zone.day_of(instant), Day::of(calendar.date()), "{name} {instant:?}");
                assert_eq!(i64::from(zone.hour_of(instant)), i64::from(calendar.hour()), "{name} {instant:?}");
            }
        }
    }

    #[test]
    fn a_day_survives_text() {
        for text in ["1970-01-01", "2026-11-22", "2149-06-06"] {
            assert_eq!(text.parse::<Day>().unwrap().to_string(), text);
        }
    }
}
