//! Rows decoded by their column list alone, independently of the encoder.

use std::num::NonZeroU64;

use super::*;
use crate::event::{
    Activity, Campaign, Channel, Country, Device, DeviceClass, Kind, Money, Network, Page, ScreenClass, SinceFirst, Source,
};
use crate::outcome::Refused;
use crate::privacy::pseudonym::Pseudonym;
use crate::site::{Basis, Ceiling, Hosts, Lowered, PathRules, Policy, Site, ZoneIndex};

/// A row's cells as texts, by their columns.
fn decode(layout: &'static TableLayout, row: &[u8]) -> Vec<(&'static str, String)> {
    let mut rows = stored::walk(layout, row);
    let cells = rows.next().unwrap().unwrap().values().map(|(name, value)| (name, value.to_string())).collect();
    assert!(rows.next().is_none(), "it is one row");
    cells
}

const STAMP: Stamp = Stamp { node: u64::MAX, batch: 1 };

fn site() -> Site {
    let policy = Policy {
        basis: Basis::Exempt(Ceiling::Pseudonymous),
        child_directed: false,
        on_gpc: Lowered::Drop,
        on_advertising_refused: Lowered::Drop,
    };
    Site {
        id: "example.org".into(),
        index: 0,
        hosts: Hosts::Any,
        zone: ZoneIndex(0),
        policy,
        paths: PathRules::default(),
        ignore_from: crate::privacy::proxy::Networks::default(),
        secret: None,
        debug: false,
        k: 5,
        declared: crate::site::declared::Declared::default(),
        share: false,
    }
}

fn event(site: &Site) -> Event<'_> {
    Event {
        site,
        day: "2026-11-22".parse().unwrap(),
        time: UnixMillis(1_795_383_599_999), // 2026-11-22T21:39:59.999Z
        visitor: Some(Pseudonym(NonZeroU64::MIN)),
        kind: Kind::Event,
        name: "sign up".into(),
        page: Page { host: "example.org".into(), path: "/".into() },
        source: Source { name: "Google".into(), channel: Channel::Search, referrer: "google.com".into() },
        campaign: Campaign::default(),
        device: Device {
            browser: "Firefox".into(),
            browser_major: 145,
            os: "Linux".into(),
            os_major: 0,
            class: DeviceClass::Desktop,
            screen: ScreenClass::Large,
            app_version: Cow::default(),
            model: Cow::default(),
            network: Network::Unknown,
        },
        country: Country(*b"DE"),
        language: "de".into(),
        props: vec![("plan".into(), "x".repeat(200).into())],
        value: Some(Money { ten_thousandths: -1, currency: *b"EUR" }),
        engaged_millis: u32::MAX,
        scroll_percent: 100,
        entry: true,
        activity: Activity { first_today: true, since_first: SinceFirst::Days, ..Activity::default() },
        id: None,
    }
}

#[test]
fn a_row_reads_back_by_its_column_list() {
    let site = site();
    let berlin = Zone::named("Europe/Berlin").unwrap();
    let mut row = Vec::new();
    event(&site).encode(&mut row, &berlin, STAMP);
    let cells = decode(&EVENTS, &row);
    let of = |name: &str| cells.iter().find(|(column, _)| *column == name).unwrap().1.as_str();
    for (column, expected) in [
        ("node", "18446744073709551615"),
        ("batch", "1"),
        ("zone", "Europe/Berlin"),
        ("day", "2026-11-22"),
        ("site", "example.org"),
        ("time", "2026-11-22T21:39:59.999Z"),
        ("hour", "22"),
        ("visitor", "1"),
        ("kind", "event"),
        ("name", "sign up"),
        ("channel", "search"),
        ("country", "DE"),
        ("browser_major", "145"),
        ("utm_term", ""),
        ("value", "-0.0001"),
        ("currency", "EUR"),
        ("engaged_ms", "4294967295"),
        ("scroll_pct", "100"),
        ("entry", "true"),
        ("first_today", "true"),
        ("first_this_week", "false"),
        ("since_first", "2-6d"),
    ] {
        assert_eq!(of(column), expected, "{column}");
    }
    assert_eq!(of("props"), format!("{{plan={}}}", "x".repeat(200)));
}

#[test]
fn no_visitor_and_no_money_are_stored_as_zero_and_empty() {
    let site = site();
    let mut row = Vec::new();
    let anonymous = Event { visitor: None, value: None, ..event(&site) };
    anonymous.encode(&mut row, &Zone::named("UTC").unwrap(), STAMP);
    let cells = decode(&EVENTS, &row);
    for (column, expected) in [("visitor", "0"), ("value", "0.0000"), ("currency", "")] {
        assert!(cells.contains(&(column, expected.to_owned())), "{column}");
    }
}

#[test]
fn a_count_of_outcomes_reads_back_by_its_column_list() {
    let row = OutcomeCount { site: UNKNOWN_SITE, day: Day(1), outcome: Outcome::Refused(Refused::UnknownSite), count: u64::MAX };
    let mut bytes = Vec::new();
    row.encode(&mut bytes, &Zone::named("UTC").unwrap(), STAMP);
    let cells: Vec<String> = decode(&OUTCOMES, &bytes).into_iter().map(|(_, cell)| cell).collect();
    let node = u64::MAX.to_string();
    assert_eq!(cells, [node.as_str(), "1", "UTC", "1970-01-02", "(unknown)", "unknown_site", node.as_str()]);
}

#[test]
fn encoding_into_a_large_enough_buffer_does_not_move_it() {
    let site = site();
    let zone = Zone::named("UTC").unwrap();
    let mut out = Vec::with_capacity(64 * 1024);
    let before = out.as_ptr();
    for _ in 0..50 {
        event(&site).encode(&mut out, &zone, STAMP);
    }
    assert_eq!(out.as_ptr(), before);
}

#[test]
fn other_written_into_a_capped_dimension_reaches_the_row() {
    let site = site();
    let mut event = event(&site);
    let order: Vec<usize> = event.capped_dimensions_mut().iter().map(|(dimension, _)| *dimension as usize).collect();
    assert_eq!(order, (0..Capped::COUNT).collect::<Vec<_>>(), "the list stands in the order of the enum");
    for (_, text) in event.capped_dimensions_mut() {
        *text = OTHER.into();
    }
    let mut row = Vec::new();
    event.encode(&mut row, &Zone::named("UTC").unwrap(), STAMP);
    let others = decode(&EVENTS, &row).into_iter().filter(|(_, cell)| cell == OTHER).count();
    assert_eq!(others, Capped::COUNT);
    assert!(Capped::ALL.iter().all(|dimension| Capped::from_label(dimension.label()) == Some(*dimension)));
}
