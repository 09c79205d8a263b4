//! Ranges of days: by name or by their ends, what they are compared with, and the parts that an interval divides them into.

use std::num::NonZeroU32;

use jiff::{Span, ToSpan};
use serde_json::Value;

use super::question::{Days, Interval};
use super::read::{Read, known, text};
use super::refusal::{Reason, Refusal};
use crate::clock::Day;
use crate::limits::{QUERY_DAYS, QUERY_HOURLY_DAYS};

const RANGES: &[&str] = &["today", "yesterday", "7d", "30d", "month", "12months"];

/// The days of a range. Days that have not come yet are left out.
pub(super) fn range(value: &Value, today: Day) -> Read<Days> {
    let until_today = |from: Day| Ok(Days { from, to: today });
    match value {
        Value::String(name) => match name.as_str() {
            "today" => until_today(today),
            "yesterday" => Ok(Days { from: today.previous(), to: today.previous() }),
            "7d" => until_today(back(today, 6.days())),
            "30d" => until_today(back(today, 29.days())),
            "month" => until_today(Day::of(today.date().first_of_month())),
            "12months" => until_today(back(today, 12.months()).next()),
            _ => Err(Refusal::at("range", Reason::UnknownValue).allowing(RANGES.iter().copied().chain([EXAMPLE]))),
        },
        Value::Object(_) => ends(value, "range", today),
        _ => Err(Refusal::at("range", Reason::WrongType).allowing(RANGES.iter().copied().chain([EXAMPLE]))),
    }
}

const EXAMPLE: &str = r#"{"from":"2026-11-01","to":"2026-11-22"}"#;

/// The days that `days` are compared with; `null` compares with none.
pub(super) fn compare(value: &Value, days: Days, today: Day) -> Read<Option<Days>> {
    match value {
        Value::Null => Ok(None),
        Value::String(name) if name == "previous" => {
            let to = days.from.previous();
            Ok(Some(Days { from: Day(to.0.saturating_sub(days.count() - 1)), to }))
        }
        Value::String(name) if name == "year" => Ok(Some(Days { from: back(days.from, 1.year()), to: back(days.to, 1.year()) })),
        Value::String(_) => Err(Refusal::at("compare", Reason::UnknownValue).allowing(["previous", "year", EXAMPLE])),
        Value::Object(_) => ends(value, "compare", today).map(Some),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) => {
            Err(Refusal::at("compare", Reason::WrongType).allowing(["previous", "year", EXAMPLE]))
        }
    }
}

fn ends(value: &Value, place: &str, today: Day) -> Read<Days> {
    let Some(object) = value.as_object() else { return Err(Refusal::at(place, Reason::WrongType)) };
    known(object, place, &["from", "to"])?;
    let end = |field: &str| {
        let place = format!("{place}.{field}");
        let value = object.get(field).ok_or_else(|| Refusal::at(&place, Reason::Missing))?;
        // Ten characters, so that nothing but a date is read: a time would be cut off silently.
        let text = Some(text(value, &place)?).filter(|text| text.len() == 10);
        text.and_then(|text| text.parse::<Day>().ok()).ok_or_else(|| Refusal::at(&place, Reason::WrongType).allowing(["2026-11-22"]))
    };
    let (from, to) = (end("from")?, end("to")?.min(today));
    if from > to {
        return Err(Refusal::at(place, Reason::OutOfRange).allowing([format!("from at most to, and at most {today}")]));
    }
    let days = Days { from, to };
    if days.count() > QUERY_DAYS {
        return Err(Refusal::at(place, Reason::TooWide).allowing([format!("at most {QUERY_DAYS} days")]));
    }
    Ok(days)
}

/// Hours are asked for over days, not over years.
pub(super) fn bounded_for_hours(days: Days) -> Read<()> {
    if days.count() > QUERY_HOURLY_DAYS {
        return Err(Refusal::at("range", Reason::TooWide).allowing([format!("at most {QUERY_HOURLY_DAYS} days by the hour")]));
    }
    Ok(())
}

fn back(day: Day, span: Span) -> Day {
    Day::of(day.date().saturating_sub(span))
}

impl Interval {
    /// The first day of the part that `day` is in.
    pub(super) fn first_of_part(self, day: Day) -> Day {
        match self {
            Self::Hour | Self::Day => day,
            Self::Week => week_of(day),
            Self::Month => Day::of(day.date().first_of_month()),
        }
    }
}

impl Days {
    /// How many.
    pub(super) fn count(self) -> u16 {
        self.to.0.saturating_sub(self.from.0) + 1
    }

    /// Each of them.
    pub(super) fn iter(self) -> impl Iterator<Item = Day> {
        (self.from.0..=self.to.0).map(Day)
    }

    /// Those from `first` on, at least the last one: averages are over days on which there was somebody to count.
    pub(super) fn since(self, first: Option<Day>) -> Self {
        Self { from: first.map_or(self.from, |first| self.from.max(first)).min(self.to), to: self.to }
    }

    /// How many weeks it touches.
    pub(super) fn weeks(self) -> NonZeroU32 {
        at_least_one(u32::from(week_of(self.to).0 - week_of(self.from).0) / 7 + 1)
    }

    /// How many months it touches.
    pub(super) fn months(self) -> NonZeroU32 {
        let number = |day: Day| i32::from(day.date().year()) * 12 + i32::from(day.date().month());
        at_least_one(u32::try_from(number(self.to) - number(self.from)).unwrap_or(0) + 1)
    }

    /// The names of the parts that `interval` divides it into, in their order, each with its days; of hours those up to `last_hour` of the last day.
    pub(super) fn parts(self, interval: Interval, last_hour: u8) -> Vec<(String, Self)> {
        match interval {
            Interval::Hour => self
                .iter()
                .flat_map(|day| {
                    let last = if day == self.to { last_hour } else { 23 };
                    (0..=last).map(move |hour| (format!("{day}T{hour:02}"), Self { from: day, to: day }))
                })
                .collect(),
            Interval::Day | Interval::Week | Interval::Month => self.divided(|day| interval.first_of_part(day)),
        }
    }

    fn divided(self, first_of_part: impl Fn(Day) -> Day) -> Vec<(String, Self)> {
        let mut parts: Vec<(String, Self)> = Vec::new();
        for day in self.iter() {
            let name = first_of_part(day).to_string();
            match parts.last_mut() {
                Some((last, days)) if *last == name => days.to = day,
                _ => parts.push((name, Self { from: day, to: day })),
            }
        }
        parts
    }
}

fn at_least_one(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN)
}

/// The Monday of its week.
fn week_of(day: Day) -> Day {
    // Day 0, 1970-01-01, was a Thursday.
    Day(day.0.saturating_sub((day.0 + 3) % 7))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn day(text: &str) -> Day {
        text.parse().unwrap()
    }

    fn days(from: &str, to: &str) -> Days {
        Days { from: day(from), to: day(to) }
    }

    #[test]
    fn a_range_has_a_name_or_two_ends() {
        let today = day("2026-11-23");
        for (asked, from, to) in [
            (json!("today"), "2026-11-23", "2026-11-23"),
            (json!("yesterday"), "2026-11-22", "2026-11-22"),
            (json!("7d"), "2026-11-17", "2026-11-23"),
            (json!("30d"), "2026-10-25", "2026-11-23"),
            (json!("month"), "2026-11-01", "2026-11-23"),
            (json!("12months"), "2025-11-24", "2026-11-23"),
            (json!({"from": "2026-01-01", "to": "2026-01-31"}), "2026-01-01", "2026-01-31"),
            (json!({"from": "2026-11-01", "to": "2026-12-31"}), "2026-11-01", "2026-11-23"),
        ] {
            assert_eq!(range(&asked, today), Ok(days(from, to)), "{asked}");
        }
        for (asked, field, reason) in [
            (json!("tomorrow"), "range", Reason::UnknownValue),
            (json!(7), "range", Reason::WrongType),
            (json!({"from": "2026-11-02", "to": "2026-11-01"}), "range", Reason::OutOfRange),
            (json!({"from": "2027-11-02", "to": "2027-11-03"}), "range", Reason::OutOfRange),
            (json!({"from": "2020-11-02", "to": "2026-11-01"}), "range", Reason::TooWide),
            (json!({"from": "2026-11-02T00:00", "to": "2026-11-03"}), "range.from", Reason::WrongType),
            (json!({"from": "2026-11-02", "to": 3}), "range.to", Reason::WrongType),
            (json!({"from": "2026-11-02"}), "range.to", Reason::Missing),
            (json!({"from": "2026-11-02", "to": "2026-11-03", "till": 1}), "range", Reason::UnknownField),
        ] {
            let refusal = range(&asked, today).unwrap_err();
            assert_eq!((refusal.field.as_str(), refusal.reason), (field, reason), "{asked}");
        }
    }

    #[test]
    fn a_range_is_compared_with_as_many_days_before_or_a_year_ago() {
        let today = day("2026-11-23");
        for (asked, compared, with) in [
            (days("2026-11-17", "2026-11-23"), json!("previous"), days("2026-11-10", "2026-11-16")),
            (days("2026-11-23", "2026-11-23"), json!("previous"), days("2026-11-22", "2026-11-22")),
            (days("2024-02-29", "2024-02-29"), json!("year"), days("2023-02-28", "2023-02-28")),
            (days("2026-11-01", "2026-11-23"), json!({"from": "2026-01-01", "to": "2026-01-02"}), days("2026-01-01", "2026-01-02")),
        ] {
            assert_eq!(compare(&compared, asked, today), Ok(Some(with)), "{compared}");
        }
        assert_eq!(compare(&json!(null), days("2026-11-01", "2026-11-02"), today), Ok(None));
        assert_eq!(compare(&json!("last"), days("2026-11-01", "2026-11-02"), today).unwrap_err().field, "compare");
    }

    #[test]
    fn weeks_begin_on_mondays_and_parts_are_cut_at_the_ends() {
        let asked = days("2026-10-30", "2026-11-10");
        let parts = asked.parts(Interval::Week, 23);
        let expected = [
            ("2026-10-26".to_owned(), days("2026-10-30", "2026-11-01")),
            ("2026-11-02".to_owned(), days("2026-11-02", "2026-11-08")),
            ("2026-11-09".to_owned(), days("2026-11-09", "2026-11-10")),
        ];
        assert_eq!(parts, expected);
        assert_eq!((asked.weeks().get(), asked.months().get()), (3, 2));
        let hours = days("2026-11-09", "2026-11-10").parts(Interval::Hour, 4);
        assert_eq!((hours.len(), &*hours[28].0), (29, "2026-11-10T04"));
    }
}
