//! The made-up visitors: who lives where, with which machine. Each has an address of their own, drawn by lot from all there are and kept if the country
//! database says that it belongs to a country that still wants somebody; so what the pipeline finds is what was meant, and nobody is mistaken for another.

use std::collections::HashSet;

use super::lot::Lot;
use super::places::{MACHINES, Machine, PHONES, PLACES, Place};
use crate::clock::Day;
use crate::limits::{DEMO_DRAWS, DEMO_PEOPLE};
use crate::privacy::geo::Geo;

/// A made-up visitor.
#[derive(Debug)]
pub(super) struct Person {
    /// An IPv4 address.
    pub address: u32,
    pub place: &'static Place,
    pub language: &'static str,
    pub with: With,
}

/// What somebody comes with.
#[derive(Debug)]
pub(super) enum With {
    /// A browser.
    Browser { machine: &'static Machine, width: u32 },
    /// The app.
    App { model: &'static str, system: &'static str, since: Since },
}

/// What an app remembers of its own use.
#[derive(Clone, Copy, Debug)]
pub(super) struct Since {
    /// Days before the first day on which it was installed; 0 when that is the day of its first visit.
    pub days_before: u16,
    /// When it was first opened in the days that are made up.
    pub first: Option<Day>,
    /// When it was last opened.
    pub last: Option<Day>,
}

/// Everybody.
#[derive(Debug, Default)]
pub(super) struct People(pub Vec<Person>);

/// Of a thousand visitors, who have the app.
const APPS: u64 = 150;

impl People {
    /// As many as `events` events need for returning visitors to be some and not all.
    pub(super) fn settle(geo: &Geo, events: u64, lot: &mut Lot) -> Self {
        let number = usize::try_from(events / 14).unwrap_or(usize::MAX).clamp(DEMO_PEOPLE.0, DEMO_PEOPLE.1);
        let all: u64 = PLACES.iter().map(|place| place.weight).sum();
        let share = |place: &Place| usize::try_from(place.weight).unwrap_or(0) * number / usize::try_from(all).unwrap_or(1) + 1;
        let mut wanted: Vec<usize> = PLACES.iter().map(share).collect();
        let (mut people, mut taken) = (Vec::with_capacity(number), HashSet::new());
        for _ in 0..DEMO_DRAWS {
            if people.len() >= number {
                break;
            }
            let [_, _, bits @ ..] = lot.draw().to_be_bytes();
            let address = u32::from_be_bytes([bits[0], bits[1], bits[2], bits[3]]);
            let country = geo.country_of(address);
            let Some(index) = PLACES.iter().position(|place| place.code == country.0).filter(|index| wanted[*index] > 0) else { continue };
            if taken.insert(address) {
                wanted[index] -= 1;
                people.push(person(address, &PLACES[index], lot));
            }
        }
        Self(people)
    }
}

fn person(address: u32, place: &'static Place, lot: &mut Lot) -> Person {
    let language = lot.weighted(place.languages, |(_, weight)| *weight).0;
    let with = if lot.chance(APPS) {
        let (model, system) = PHONES[lot.place(PHONES.len())];
        // Some have had the app for long, the others install it on the day of their first visit.
        let days_before = if lot.chance(600) { u16::try_from(lot.below(150)).unwrap_or(0) } else { 0 };
        With::App { model, system, since: Since { days_before, first: None, last: None } }
    } else {
        let machine = lot.weighted(MACHINES, |machine| machine.weight);
        With::Browser { machine, width: machine.widths[lot.place(machine.widths.len())] }
    };
    Person { address, place, language, with }
}

impl Person {
    /// The address as a backend says it.
    pub(super) fn address(&self) -> String {
        let [a, b, c, d] = self.address.to_be_bytes();
        format!("{a}.{b}.{c}.{d}")
    }
}
