//! What the made-up days are like.

use super::super::people::Person;
use super::super::places::{MACHINES, PLACES};
use super::*;

/// Monday, 2026-11-23, at noon in Berlin.
const NOON: UnixMillis = UnixMillis(1_795_431_600_000);

fn people(number: u32) -> People {
    let of = |index: u32| {
        let place = &PLACES[usize::try_from(index).unwrap() % PLACES.len()];
        let since = Since { days_before: u16::try_from(index % 2).unwrap() * 40, first: None, last: None };
        let app = With::App { model: "Pixel 9", system: "Android 16", since };
        let with = if index.is_multiple_of(6) { app } else { With::Browser { machine: &MACHINES[0], width: 1_440 } };
        Person { address: index, place, language: place.languages[0].0, with }
    };
    People((0..number).map(of).collect())
}

fn days(seed: u64, days: u16, events: u64) -> Vec<DayOfTraffic> {
    let plan = Plan { seed, days, events };
    let mut traffic = Traffic::new(plan, Zone::named("Europe/Berlin").unwrap(), NOON, people(3_000));
    (0..days).map(|index| traffic.day(index)).collect()
}

#[test]
fn a_seed_makes_the_same_days_and_another_makes_others() {
    let texts = |seed| days(seed, 5, 3_000).into_iter().flat_map(|day| day.events).map(|made| (made.at, made.json)).collect::<Vec<_>>();
    assert_eq!(texts(1), texts(1));
    assert_ne!(texts(1), texts(2));
}

#[test]
fn there_are_as_many_events_as_were_asked_for_about_and_none_after_now() {
    let days = days(1, 30, 40_000);
    let events: usize = days.iter().map(|day| day.events.len()).sum();
    assert!((39_000..42_000).contains(&events), "{events}");
    assert!(days.iter().all(|day| day.events.is_sorted_by_key(|event| event.at)));
    assert!(days[29].events.iter().all(|event| event.at < 12 * HOUR_MILLIS), "today ends now");
    assert!(days[28].events.last().unwrap().at > 23 * HOUR_MILLIS);
}

#[test]
fn weekends_are_quiet_months_grow_and_launches_show() {
    let days = days(1, 60, 120_000);
    let of = |index: usize| days[index].events.len();
    // The last day is a Monday: the days before it are Sunday and Saturday.
    assert!(of(58) * 5 < of(54) * 4 && of(57) * 5 < of(53) * 4, "{} {} {} {}", of(58), of(54), of(57), of(53));
    assert!(of(33) * 10 > of(5) * 11, "{} {}", of(33), of(5));
    let campaign = |index: usize| days[index].events.iter().filter(|made| made.json.contains("utm_campaign=team-plan")).count();
    assert!(campaign(41) > 30 && campaign(35) == 0 && campaign(59) == 0, "{} {}", campaign(41), campaign(35));
}

#[test]
fn one_visitors_visits_are_apart() {
    let plan = Plan { seed: 3, days: 1, events: 4_000 };
    let midnight = UnixMillis(NOON.0 + 12 * 3_600_000 - 1);
    let mut traffic = Traffic::new(plan, Zone::named("Europe/Berlin").unwrap(), midnight, people(60));
    let day = traffic.day(0);
    assert!(day.visits > day.visitors && day.visitors <= 60, "{} {}", day.visits, day.visitors);
    let mut last = HashMap::<&str, u64>::new();
    let mut visits = 0;
    for made in day.events.iter().filter(|made| matches!(made.fate, Fate::Stored(_))) {
        let who = made.json.split('"').nth(7).unwrap();
        let before = last.insert(who, made.at);
        visits += u64::from(before.is_none_or(|before| made.at - before > 30 * 60_000));
    }
    assert_eq!(visits, day.visits);
}
