//! One visit, from where it comes from to where it ends, as the events that a script or an app would send.

use std::fmt::Write;

use super::SITE;
use super::lot::Lot;
use super::people::{Person, Since, With};
use super::places::CRAWLERS;
use super::site_map::{Deed, Landing, Origin, PAGES, PLANS, Page, SCREENS};
use crate::clock::Day;
use crate::event::{Kind, SinceFirst};
use crate::outcome::{Dropped, Refused};

/// What must become of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Stored(Kind),
    Dropped(Dropped),
    Refused(Refused),
}

/// An event that was made up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Made {
    /// Milliseconds after the visit's first event; after the day's start, once it has its place in the day.
    pub at: u64,
    /// The event as JSON, but for its age and the brace at its end.
    pub json: String,
    pub fate: Fate,
    /// Currency and hundredths.
    pub paid: Option<(&'static str, u64)>,
}

/// What a visitor's browser or app says beside the event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    None,
    DoNotTrack,
    GlobalPrivacyControl,
    OptOut,
    ConsentDenied,
}

impl Wish {
    /// How many visits of a thousand go which way.
    pub(super) fn drawn(lot: &mut Lot) -> Self {
        match lot.below(1_000) {
            0..=13 => Self::DoNotTrack,
            14..=33 => Self::GlobalPrivacyControl,
            34..=38 => Self::OptOut,
            39..=43 => Self::ConsentDenied,
            _ => Self::None,
        }
    }

    fn field(self) -> &'static str {
        match self {
            Self::None => "",
            Self::DoNotTrack => r#","dnt":1"#,
            Self::GlobalPrivacyControl => r#","gpc":1"#,
            Self::OptOut => r#","opt_out":1"#,
            Self::ConsentDenied => r#","consent":"denied""#,
        }
    }

    fn fate(self, kind: Kind) -> Fate {
        match self {
            Self::None => Fate::Stored(kind),
            Self::DoNotTrack => Fate::Dropped(Dropped::DoNotTrack),
            Self::GlobalPrivacyControl => Fate::Dropped(Dropped::GlobalPrivacyControl),
            Self::OptOut => Fate::Dropped(Dropped::OptedOut),
            Self::ConsentDenied => Fate::Dropped(Dropped::ConsentDenied),
        }
    }
}

/// A visit that is being made up.
struct Visit<'l> {
    lot: &'l mut Lot,
    /// What every event of it begins with.
    head: String,
    /// Where it is now, as fields.
    page: String,
    wish: Wish,
    at: u64,
    events: Vec<Made>,
}

impl Visit<'_> {
    fn add(&mut self, kind: Kind, fields: &str) {
        let json = format!("{}{}{}{fields}", self.head, self.page, self.wish.field());
        self.events.push(Made { at: self.at, json, fate: self.wish.fate(kind), paid: None });
    }
}

/// A visit by browser.
pub(super) fn of_browser(person: &Person, origin: &Origin, wish: Wish, lot: &mut Lot) -> Vec<Made> {
    let head = head(person, SITE);
    let mut visit = Visit { lot, head, page: String::new(), wish, at: 0, events: Vec::new() };
    let mut page = landing(origin.landing, visit.lot);
    let mut from = origin.referrer.to_owned();
    let mut tags = origin.tags;
    // About half of all visits end on their first page, a fourth on each that follows.
    let mut ends = 470;
    loop {
        let entry = if visit.events.is_empty() { r#","entry":1"# } else { "" };
        // As the script does it: every event of a page tells its whole address, and where the page was come to from.
        visit.page = format!(r#","url":"https://{SITE}{}{tags}","referrer":"{from}""#, page.path);
        visit.add(Kind::Pageview, entry);
        let last = visit.lot.chance(ends) || visit.events.len() > 60;
        // Most of those who leave at once have not read much.
        let bounces = last && !entry.is_empty() && visit.lot.chance(800);
        let millis = if bounces { 900 + visit.lot.below(9_000) } else { visit.lot.skewed(3_000, page.seconds * 3_000) };
        let before = visit.lot.below(millis / 2 + 1);
        visit.at += before;
        if !bounces {
            visit.does(page, person.place.currency);
        }
        visit.at += millis - before;
        let (engaged, scroll) = (millis * visit.lot.skewed(550, 990) / 1_000, visit.lot.below(80) + 21);
        visit.add(Kind::Engagement, &format!(r#","kind":"engagement","engaged_ms":{engaged},"scroll_pct":{scroll}"#));
        if last {
            return visit.events;
        }
        visit.at += 400 + visit.lot.below(1_500);
        from = format!("https://{SITE}");
        let next = visit.lot.weighted(page.links, |(_, weight)| *weight).0;
        (page, tags, ends) = (page_at(next), "", 270);
    }
}

impl Visit<'_> {
    /// What a visitor does on a page, if anything.
    fn does(&mut self, page: &Page, currency: &'static str) {
        match page.deed {
            Deed::Event { per_mille, name, key, values } if self.lot.chance(per_mille) => {
                let value = values[self.lot.place(values.len())];
                self.add(Kind::Event, &format!(r#","name":"{name}","props":{{"{key}":"{value}"}}"#));
            }
            Deed::Purchase { per_mille } if self.lot.chance(per_mille) => {
                let (plan, price) = PLANS[self.lot.place(PLANS.len())];
                let fields = format!(r#","name":"purchase","props":{{"plan":"{plan}"}},"value":"{price}.00","currency":"{currency}""#);
                self.add(Kind::Event, &fields);
                if let Some(made) = self.events.last_mut().filter(|made| matches!(made.fate, Fate::Stored(_))) {
                    made.paid = Some((currency, price * 100));
                }
            }
            Deed::Read | Deed::Event { .. } | Deed::Purchase { .. } => {}
        }
    }
}

/// A visit by app: screens, and a note that is written or shared now and then.
pub(super) fn of_app(person: &Person, since: Since, version: &str, (first_day, today): (Day, Day), lot: &mut Lot) -> Vec<Made> {
    let mut head = head(person, SITE);
    let network = if lot.chance(620) { "wifi" } else { "cellular" };
    let age = SinceFirst::label(since_first(since, first_day, today));
    // Writing to a text does not fail.
    let _ = write!(
        head,
        r#","app_version":"{version}","network":"{network}","since_first":"{age}","consent":"granted","install_id":"{}""#,
        person.address
    );
    let mut visit = Visit { lot, head, page: String::new(), wish: Wish::None, at: 0, events: Vec::new() };
    for _ in 0..=visit.lot.skewed(1, 9) {
        let (screen, seconds, _) = *visit.lot.weighted(SCREENS, |(_, _, weight)| *weight);
        let firsts = if visit.events.is_empty() { firsts(since, today) } else { String::new() };
        visit.page = format!(r#","screen":"{screen}""#);
        visit.add(Kind::Screen, &firsts);
        let millis = visit.lot.skewed(1_500, seconds * 2_500);
        visit.at += millis;
        if screen == "Share" && visit.lot.chance(500) {
            visit.add(Kind::Event, r#","name":"note shared","props":{"with":"a link"}"#);
        }
        visit.add(Kind::Engagement, &format!(r#","kind":"engagement","engaged_ms":{millis}"#));
        visit.at += 300;
    }
    visit.events
}

/// What an app says of its use with its first event of a visit.
fn firsts(since: Since, today: Day) -> String {
    let [month, week, day] = match since.last {
        None => [true; 3],
        Some(last) => {
            let (then, now) = (last.date(), today.date());
            let month = (then.year(), then.month()) != (now.year(), now.month());
            // 1970-01-01 was a Thursday: three days on, weeks begin with Monday.
            [month, (last.0 + 3) / 7 != (today.0 + 3) / 7, last != today]
        }
    };
    let mut fields = String::new();
    for (name, _) in [("first_this_month", month), ("first_this_week", week), ("first_today", day)].into_iter().filter(|(_, first)| *first)
    {
        // Writing to a text does not fail.
        let _ = write!(fields, r#","{name}":1"#);
    }
    fields
}

fn since_first(since: Since, first_day: Day, today: Day) -> SinceFirst {
    let began = if since.days_before > 0 { first_day.0.saturating_sub(since.days_before) } else { since.first.unwrap_or(today).0 };
    match today.0.saturating_sub(began) {
        0 => SinceFirst::Today,
        1 => SinceFirst::OneDay,
        2..=6 => SinceFirst::Days,
        7..=13 => SinceFirst::OneWeek,
        14..=20 => SinceFirst::TwoWeeks,
        21..=29 => SinceFirst::ThreeWeeks,
        30..=59 => SinceFirst::OneMonth,
        60..=89 => SinceFirst::TwoMonths,
        _ => SinceFirst::Later,
    }
}

/// What is sent and not stored, though nobody has refused: crawlers, a copy of the pages elsewhere, a misspelt tag, a device that was offline for days.
pub(super) fn in_vain(person: &Person, lot: &mut Lot) -> Vec<Made> {
    let path = PAGES[lot.place(PAGES.len())].path;
    let ordinary = |host: &str, site: &str, more: &str| format!(r#"{},"url":"https://{host}{path}"{more}"#, head(person, site));
    let (json, fate) = match lot.below(1_000) {
        0..=40 => (ordinary("mirror.example", SITE, ""), Fate::Refused(Refused::WrongHost)),
        41..=60 => (ordinary(SITE, "demo.exmaple", ""), Fate::Refused(Refused::UnknownSite)),
        61..=100 => (ordinary(SITE, SITE, r#","scroll_pct":400"#), Fate::Refused(Refused::OutOfRange)),
        _ => {
            let agent = CRAWLERS[lot.place(CRAWLERS.len())];
            let json =
                format!(r#"{{"site":"{SITE}","client_ip":"{}","client_ua":"{agent}","url":"https://{SITE}{path}""#, person.address());
            (json, Fate::Dropped(Dropped::Crawler))
        }
    };
    vec![Made { at: 0, json, fate, paid: None }]
}

/// What every event of a person begins with.
fn head(person: &Person, site: &str) -> String {
    let (address, language) = (person.address(), person.language);
    match &person.with {
        With::Browser { machine, width } => {
            format!(r#"{{"site":"{site}","client_ip":"{address}","client_ua":"{}","lang":"{language}","width":{width}"#, machine.agent)
        }
        With::App { model, system, .. } => {
            format!(r#"{{"site":"{site}","client_ip":"{address}","lang":"{language}","os":"{system}","device_model":"{model}""#)
        }
    }
}

fn landing(landing: Landing, lot: &mut Lot) -> &'static Page {
    match landing {
        Landing::Known => lot.weighted(PAGES, |page| page.entries),
        Landing::Found => lot.weighted(PAGES, |page| page.found),
        Landing::At(path) => page_at(path),
    }
}

/// A test sees to it that every link leads somewhere.
fn page_at(path: &str) -> &'static Page {
    PAGES.iter().find(|page| page.path == path).unwrap_or(&PAGES[0])
}
