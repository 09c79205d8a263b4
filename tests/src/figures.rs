//! What analysts should be told, by the plainest means: a world of events, the visits in them, and every figure counted one after the other.
//!
//! Nothing here is shared with the collector but the calendar: cells are sets of visitors, folding is a loop, sums are additions.

mod counted;
pub mod stage;

use std::collections::BTreeMap;

use headcount::clock::{Day, UnixMillis, Zone};

pub use counted::Asked;

/// Texts that events have, by the names of their columns; a dimension of the same name cuts by it, and `event` by `name`.
pub const TEXTS: &[&str] = &[
    "page",
    "source",
    "channel",
    "referrer",
    "utm_source",
    "utm_medium",
    "utm_campaign",
    "utm_content",
    "utm_term",
    "country",
    "browser",
    "os",
    "device",
    "screen",
    "language",
    "app_version",
    "device_model",
    "network",
    "since_first",
    "name",
];

/// What only events have.
const OF_EVENTS: &[&str] = &["page", "device_model", "network", "since_first", "event"];
/// What only visits have.
const OF_VISITS: &[&str] = &["entry_page", "exit_page"];

/// Every dimension that can be asked for.
pub fn dimensions() -> Vec<&'static str> {
    TEXTS.iter().map(|text| if *text == "name" { "event" } else { text }).chain(OF_VISITS.iter().copied()).collect()
}

/// An event as stored.
#[derive(Clone, Debug)]
pub struct Event {
    /// Its day.
    pub day: Day,
    /// Its hour.
    pub hour: u8,
    /// Milliseconds since 1970; no two of a visitor are the same.
    pub time: i64,
    /// 0 for none.
    pub visitor: u64,
    /// `pageview`, `event` or `engagement`.
    pub kind: &'static str,
    /// In the order of [`TEXTS`].
    pub texts: Vec<String>,
    /// Ten-thousandths, and the currency.
    pub amount: (i64, &'static str),
    /// Engagement.
    pub engaged_ms: u32,
    /// Engagement.
    pub scroll_pct: u8,
    /// Begins a visit, by the page's word.
    pub entry: bool,
    /// First of the day, the week, the month, by the app's word.
    pub firsts: [bool; 3],
    /// Which of the world's visits it is of.
    visit: Option<usize>,
}

impl Event {
    fn text(&self, name: &str) -> &str {
        let column = if name == "event" { "name" } else { name };
        &self.texts[TEXTS.iter().position(|text| *text == column).expect("a text of events")]
    }
}

/// A visit, as a reader of its events would see it.
#[derive(Clone, Debug)]
struct Visit {
    events: Vec<usize>,
}

/// Everything that happened on a site.
#[derive(Clone, Debug)]
pub struct World {
    /// Whether visitors have ids.
    pub ids: bool,
    /// The threshold.
    pub k: usize,
    /// All events.
    pub events: Vec<Event>,
    visits: Vec<Visit>,
}

/// Numbers that look random and are the same each time.
#[derive(Clone, Debug)]
pub struct Lot(pub u64);

impl Lot {
    /// A number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    /// One of a list.
    pub fn of<T: Clone>(&mut self, list: &[T]) -> T {
        list[usize::try_from(self.below(list.len() as u64)).expect("below a length")].clone()
    }

    /// A text of a few that are frequent and some that are rare; empty now and then.
    fn text(&mut self, name: &str) -> String {
        match self.below(20) {
            0..4 if name.starts_with("utm") => String::new(),
            0 => String::new(),
            1..10 => format!("{name} a"),
            10..16 => format!("{name} b"),
            16..19 => format!("{name} c"),
            _ => format!("{name} {}", self.below(12)),
        }
    }
}

impl World {
    /// Some visitors' events of the `days` days that end with the one of `now`, in `zone`.
    pub fn random(seed: u64, zone: &Zone, now: UnixMillis, days: u16, ids: bool) -> Self {
        let mut lot = Lot(seed | 1);
        let today = zone.day_of(now);
        let mut events = Vec::new();
        for day in (today.0 + 1 - days..=today.0).map(Day) {
            let (start, end) = (zone.start_of(day).0, zone.start_of(day.next()).0.min(now.0));
            let length = u64::try_from(end - start).expect("a day is longer than nothing");
            for _ in 0..70 {
                let visitor = if !ids || lot.below(9) == 0 { 0 } else { lot.below(u64::MAX).max(1) };
                let person: Vec<String> = TEXTS.iter().map(|name| lot.text(name)).collect();
                let mut time = start + i64::try_from(lot.below(length)).expect("within a day");
                for step in 0..=lot.below(7) {
                    events.push(event(&mut lot, (day, zone.hour_of(UnixMillis(time))), (time, visitor, step == 0), &person));
                    let step = match lot.below(5) {
                        0 => 1_800_001 + lot.below(5_000_000),
                        _ => 1 + lot.below(200_000),
                    };
                    time += i64::try_from(step).expect("a step");
                    if time >= end {
                        break;
                    }
                }
            }
        }
        let mut world = Self { ids, k: 5, events, visits: Vec::new() };
        world.find_visits();
        world
    }

    fn find_visits(&mut self) {
        let mut by_visitor: BTreeMap<(Day, u64), Vec<usize>> = BTreeMap::new();
        for (index, event) in self.events.iter().enumerate().filter(|(_, event)| event.visitor != 0) {
            by_visitor.entry((event.day, event.visitor)).or_default().push(index);
        }
        for mut own in by_visitor.into_values() {
            own.sort_by_key(|index| self.events[*index].time);
            let (mut last, mut campaign, mut current) = (i64::MIN / 2, String::new(), None);
            for index in own {
                let event = &self.events[index];
                let tags = ["utm_source", "utm_medium", "utm_campaign"].map(|tag| event.text(tag));
                let told = if tags.concat().is_empty() { String::new() } else { tags.join("\0") };
                if event.kind != "engagement" {
                    let gap = current.is_none() || event.time - last > 1_800_000;
                    if gap {
                        campaign.clear();
                    }
                    if gap || (!told.is_empty() && told != campaign) {
                        current = Some(self.visits.len());
                        self.visits.push(Visit { events: Vec::new() });
                    }
                }
                last = event.time;
                if !told.is_empty() {
                    campaign = told;
                }
                if let Some(visit) = current {
                    self.visits[visit].events.push(index);
                    self.events[index].visit = Some(visit);
                }
            }
        }
    }

    fn views(&self, visit: &Visit) -> Vec<&Event> {
        visit.events.iter().map(|index| &self.events[*index]).filter(|event| event.kind == "pageview").collect()
    }

    fn text_of_visit(&self, visit: &Visit, name: &str) -> String {
        let page = |event: Option<&&Event>| event.map_or(String::new(), |event| event.text("page").to_owned());
        let views = self.views(visit);
        match name {
            "entry_page" => page(views.first()),
            "exit_page" => page(views.last()),
            _ => self.events[visit.events[0]].text(name).to_owned(),
        }
    }

    fn text_of_event(&self, event: &Event, name: &str) -> Option<String> {
        if !OF_VISITS.contains(&name) {
            return Some(event.text(name).to_owned());
        }
        event.visit.map(|visit| self.text_of_visit(&self.visits[visit], name))
    }
}

fn event(lot: &mut Lot, (day, hour): (Day, u8), (time, visitor, first): (i64, u64, bool), person: &[String]) -> Event {
    let kind = lot.of(&["pageview", "pageview", "pageview", "event", "engagement"]);
    let mut texts = person.to_vec();
    for (text, name) in texts.iter_mut().zip(TEXTS) {
        // Pages and names are of the event, campaigns change now and then, the rest is the visitor's.
        if *name == "page" || (name.starts_with("utm") && lot.below(10) == 0) {
            *text = lot.text(name);
        }
        if *name == "name" {
            *text = if kind == "event" { lot.text(name) } else { String::new() };
        }
    }
    let amount = if kind == "event" && lot.below(2) == 0 {
        (i64::try_from(lot.below(1_000_000)).expect("below a million"), lot.of(&["EUR", "EUR", "USD"]))
    } else {
        (0, "")
    };
    let engages = kind == "engagement";
    Event {
        day,
        hour,
        time,
        visitor,
        kind,
        texts,
        amount,
        engaged_ms: if engages { lot.of(&[500, 9_000, 12_000]) } else { 0 },
        scroll_pct: if engages { lot.of(&[10, 60, 100]) } else { 0 },
        entry: first,
        firsts: [first && lot.below(2) == 0, first && lot.below(3) == 0, first && lot.below(4) == 0],
        visit: None,
    }
}
