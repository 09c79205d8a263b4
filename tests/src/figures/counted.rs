//! A question, and what a world's events and visits answer to it: cells, folded, added up.

use std::collections::{BTreeMap, BTreeSet};

use headcount::clock::Day;

use super::{Event, OF_EVENTS, OF_VISITS, Visit, World};

/// A question about a world.
#[derive(Clone, Debug)]
pub struct Asked {
    /// By their names.
    pub metrics: Vec<&'static str>,
    /// By their names.
    pub dimensions: Vec<&'static str>,
    /// The dimension, whether the values stay, and the values.
    pub filters: Vec<(&'static str, bool, Vec<String>)>,
    /// The first day and the last.
    pub days: (Day, Day),
    /// `hour`, `day`, `week`, `month` or nothing.
    pub interval: Option<&'static str>,
}

impl Asked {
    /// Whether a metric can be told of such a cut.
    pub fn tells(&self, metric: &str) -> bool {
        let of_visits = ["visits", "bounce_rate", "visit_duration"].contains(&metric);
        let visits_know = of_visits || ["daily_visitors", "pageviews", "events"].contains(&metric);
        let any = |list: &[&str]| self.dimensions.iter().any(|name| list.contains(name));
        !(any(OF_EVENTS) && of_visits || any(OF_VISITS) && !visits_know)
    }

    fn asks_for_visits(&self) -> bool {
        ["visits", "bounce_rate", "visit_duration"].iter().any(|metric| self.metrics.contains(metric))
    }
}

#[derive(Clone, Debug, Default)]
struct Cell {
    heads: BTreeSet<u64>,
    visit_heads: BTreeSet<u64>,
    sums: BTreeMap<&'static str, u64>,
    amounts: BTreeMap<&'static str, i64>,
}

impl Cell {
    fn add(&mut self, name: &'static str, number: u64) {
        *self.sums.entry(name).or_default() += number;
    }

    fn sum(&self, name: &str) -> u64 {
        self.sums.get(name).copied().unwrap_or_default()
    }

    fn join(&mut self, other: Self) {
        self.heads.extend(other.heads);
        self.visit_heads.extend(other.visit_heads);
        other.sums.into_iter().for_each(|(name, number)| self.add(name, number));
        other.amounts.into_iter().for_each(|(currency, amount)| *self.amounts.entry(currency).or_default() += amount);
    }

    fn weight(&self, ids: bool) -> usize {
        match (ids, self.visit_heads.len()) {
            (false, _) => usize::try_from(self.sum("entries")).expect("a small number"),
            (true, 0) => self.heads.len(),
            (true, visits) => visits.min(self.heads.len()),
        }
    }
}

type Cells = BTreeMap<(Day, String, Vec<String>), Cell>;

impl World {
    /// The figures: part of the range, values (and the currency, if `value` is asked for), metrics.
    pub fn figures(&self, asked: &Asked) -> BTreeMap<Vec<String>, Vec<Option<f64>>> {
        let mut parts: BTreeMap<Vec<String>, (u64, Cell)> = BTreeMap::new();
        for ((day, hour, values), cell) in self.folded(asked, self.cells(asked)) {
            let mut key: Vec<String> = asked.interval.map(|interval| part(interval, day, &hour)).into_iter().collect();
            key.extend(values);
            let (visitors, whole) = parts.entry(key).or_default();
            *visitors += cell.heads.len() as u64;
            whole.join(cell);
        }
        let mut figures = BTreeMap::new();
        for (key, (visitors, cell)) in parts {
            let mut currencies: Vec<&str> = cell.amounts.keys().copied().collect();
            if currencies.is_empty() || !asked.metrics.contains(&"value") {
                currencies = vec![""];
            }
            for currency in currencies {
                let mut key = key.clone();
                key.extend(asked.metrics.contains(&"value").then(|| currency.to_owned()));
                let row = asked.metrics.iter().map(|metric| self.figure(asked, metric, (&key, currency), visitors, &cell)).collect();
                figures.insert(key, row);
            }
        }
        figures
    }

    fn cells(&self, asked: &Asked) -> Cells {
        let mut cells = Cells::new();
        let by_visit = |name: &&str| OF_VISITS.contains(name);
        let visits_alone = asked.dimensions.iter().any(by_visit) && !asked.dimensions.iter().any(|name| OF_EVENTS.contains(name));
        let filtered: Vec<&str> = asked.filters.iter().map(|(name, _, _)| *name).collect();
        let joins = asked.dimensions.iter().chain(&filtered).any(by_visit);
        let hours = asked.interval == Some("hour");
        let within = |day: Day| (asked.days.0..=asked.days.1).contains(&day);
        let hour_of = |event: &Event| if hours { format!("{:02}", event.hour) } else { String::new() };
        if !visits_alone {
            for event in self.events.iter().filter(|event| within(event.day) && (!joins || event.visit.is_some())) {
                let kept = |(name, stays, values): &(&str, bool, Vec<String>)| {
                    self.text_of_event(event, name).is_some_and(|text| values.contains(&text) == *stays)
                };
                let values: Option<Vec<String>> = asked.dimensions.iter().map(|name| self.text_of_event(event, name)).collect();
                let values = values.filter(|values| values.iter().all(|value| !value.is_empty()));
                if let Some(values) = values.filter(|_| asked.filters.iter().all(kept)) {
                    count_event(cells.entry((event.day, hour_of(event), values)).or_default(), event);
                }
            }
        }
        if visits_alone || (asked.asks_for_visits() && self.ids) {
            for visit in &self.visits {
                let first = &self.events[visit.events[0]];
                let (own, of_events): (Vec<_>, Vec<_>) = asked.filters.iter().partition(|(name, _, _)| !OF_EVENTS.contains(name));
                let kept = own.iter().all(|(name, stays, values)| values.contains(&self.text_of_visit(visit, name)) == *stays);
                let has = of_events.is_empty()
                    || visit.events.iter().any(|index| {
                        of_events.iter().all(|(name, stays, values)| values.contains(&self.events[*index].text(name).to_owned()) == *stays)
                    });
                let values: Vec<String> = asked.dimensions.iter().map(|name| self.text_of_visit(visit, name)).collect();
                if within(first.day) && kept && has && values.iter().all(|value| !value.is_empty()) {
                    self.count_visit(cells.entry((first.day, hour_of(first), values)).or_default(), visit, visits_alone);
                }
            }
        }
        cells
    }

    fn count_visit(&self, cell: &mut Cell, visit: &Visit, visits_alone: bool) {
        let events: Vec<&Event> = visit.events.iter().map(|index| &self.events[*index]).collect();
        let (views, custom) = (self.views(visit).len() as u64, events.iter().filter(|event| event.kind == "event").count() as u64);
        let engaged: u64 = events.iter().map(|event| u64::from(event.engaged_ms)).sum();
        cell.visit_heads.insert(events[0].visitor);
        cell.add("visits", 1);
        cell.add("bounces", u64::from(views == 1 && custom == 0 && engaged <= 10_000));
        cell.add("visit_ms", events[events.len() - 1].time.abs_diff(events[0].time));
        if visits_alone {
            cell.heads.insert(events[0].visitor);
            cell.add("pageviews", views);
            cell.add("events", custom);
        }
    }

    fn folded(&self, asked: &Asked, cells: Cells) -> Cells {
        if asked.dimensions.is_empty() && asked.filters.is_empty() {
            return cells;
        }
        let least = if self.ids { self.k } else { 2 * self.k };
        let mut days: BTreeMap<Day, Vec<(Vec<String>, Cell)>> = BTreeMap::new();
        for ((day, _, values), cell) in cells {
            days.entry(day).or_default().push((values, cell));
        }
        let mut folded = Cells::new();
        for (day, mut cells) in days {
            cells.sort_by_key(|(values, cell)| (cell.weight(self.ids), values.clone()));
            let (small, mut named): (Vec<_>, Vec<_>) = cells.into_iter().partition(|(_, cell)| cell.weight(self.ids) < least);
            let mut rest = Cell::default();
            let any = !small.is_empty();
            for (_, cell) in small {
                rest.join(cell);
            }
            if any && rest.weight(self.ids) < least && !named.is_empty() {
                rest.join(named.remove(0).1);
            }
            if any && rest.weight(self.ids) >= least {
                folded.insert((day, String::new(), vec!["(other)".to_owned(); asked.dimensions.len()]), rest);
            }
            folded.extend(named.into_iter().map(|(values, cell)| ((day, String::new(), values), cell)));
        }
        folded
    }

    #[expect(clippy::cast_precision_loss, reason = "figures of a test are small")]
    fn figure(&self, asked: &Asked, metric: &str, (key, currency): (&[String], &str), visitors: u64, cell: &Cell) -> Option<f64> {
        let sum = |name: &str| cell.sum(name) as f64;
        let per = |number: f64, of: f64| (of > 0.0).then(|| number / of);
        let days = self.days_of(asked, key);
        let distinct = |name: fn(&Day) -> String| days.iter().map(name).collect::<BTreeSet<_>>().len() as f64;
        match metric {
            "daily_visitors" => self.ids.then(|| visitors as f64 / days.len() as f64),
            "visits" => Some(if self.ids { sum("visits") } else { sum("entries") }),
            "bounce_rate" if self.ids => per(100.0 * sum("bounces"), sum("visits")),
            "visit_duration" if self.ids => per(sum("visit_ms") / 1_000.0, sum("visits")),
            "bounce_rate" | "visit_duration" => None,
            "value" => Some(cell.amounts.get(currency).copied().unwrap_or_default() as f64 / 10_000.0),
            "engaged_time" => per(sum("engaged_ms") / 1_000.0, sum("engagements")),
            "scroll_depth" => per(sum("scroll_pct"), sum("engagements")),
            "daily_actives" => per(sum("first_today"), days.len() as f64),
            "weekly_actives" => per(sum("first_this_week"), distinct(|day| part("week", *day, ""))),
            "monthly_actives" => per(sum("first_this_month"), distinct(|day| part("month", *day, ""))),
            name => Some(sum(name)),
        }
    }

    /// The days of a part of the range, from the site's first on.
    fn days_of(&self, asked: &Asked, key: &[String]) -> Vec<Day> {
        let first = self.events.iter().map(|event| event.day).min().unwrap_or(asked.days.0).max(asked.days.0);
        let all = (first.0..=asked.days.1.0).map(Day);
        match asked.interval {
            None => all.collect(),
            Some("hour") => vec![first],
            Some(interval) => all.filter(|day| part(interval, *day, "") == key[0]).collect(),
        }
    }
}

fn count_event(cell: &mut Cell, event: &Event) {
    if event.visitor != 0 {
        cell.heads.insert(event.visitor);
    }
    match event.kind {
        "pageview" => cell.add("pageviews", 1),
        "event" => cell.add("events", 1),
        _ => cell.add("engagements", 1),
    }
    cell.add("engaged_ms", event.engaged_ms.into());
    cell.add("scroll_pct", event.scroll_pct.into());
    cell.add("entries", event.entry.into());
    for (name, first) in ["first_today", "first_this_week", "first_this_month"].into_iter().zip(event.firsts) {
        cell.add(name, first.into());
    }
    if !event.amount.1.is_empty() {
        *cell.amounts.entry(event.amount.1).or_default() += event.amount.0;
    }
}

/// The name of the part of a range that a day is in.
fn part(interval: &str, day: Day, hour: &str) -> String {
    match interval {
        "hour" => format!("{day}T{hour}"),
        "day" => day.to_string(),
        // 1970-01-01 was a Thursday.
        "week" => Day(day.0 - (day.0 + 3) % 7).to_string(),
        _ => format!("{}-01", &day.to_string()[..7]),
    }
}
