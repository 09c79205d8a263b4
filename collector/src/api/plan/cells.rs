//! The statements that make cells. A day's cells are made of that day alone, and those of closed days never change again: so whatever is summed up by this program
//! ([`summed`](crate::api::summed)) and is no page's ([`cells`](crate::api::cells)) is asked for in pieces, and each is remembered by itself: closed days, open ones that are past, and today, of which something arrives every second.

use super::{Audience, Facts, Identities, Parameter, Plan, Planning, template};
use crate::api::question::{Days, Form, HOUR, Metric, Query};
use crate::api::reach;
use crate::api::refusal::Refusal;
use crate::api::template::{Amounts, Hours, Needed};
use crate::clock::Day;
use crate::store::closing::SUMS;
use crate::store::rollup::ALL;

/// Which days a statement is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Of {
    OpenDays,
    ClosedDays,
}

/// The statements that make the cells of `query` over `days`, if they are summed up here: as JSON, by one dimension at most. Money is summed up by ClickHouse, as is
/// what cannot be added up.
pub(crate) fn cells(query: &Query, days: Days, facts: &Facts) -> Result<Option<Vec<Plan>>, Refusal> {
    let of_one = query.dimensions.len() <= 1 && reach::dimension(query).is_none() && !query.metrics.contains(&Metric::ConversionRate);
    let mut planning = Planning::new(query, days, facts);
    let here = query.form == Form::Json && facts.audience == Audience::Analysts && planning.money() == Amounts::None;
    if !(of_one && here) {
        return Ok(None);
    }
    let (closed, open) = planning.days_by_state();
    let statements = planning.cells(&closed, &open)?;
    let (today, earlier): (Vec<Day>, Vec<Day>) = open.iter().partition(|day| **day == facts.today);
    let mut plans = Vec::new();
    for (of, sql) in statements {
        let names = |(name, _): &&(String, Parameter)| sql.contains(&format!("{{{name}:"));
        let parameters: Vec<_> = planning.parameters.iter().filter(names).cloned().collect();
        match of {
            Of::ClosedDays => plans.push(Plan { sql, parameters }),
            Of::OpenDays => plans.extend([&earlier, &today].into_iter().filter(|days| !days.is_empty()).map(|days| {
                let own = |(name, value): &(String, Parameter)| {
                    let value = if name == "open" { texts(days) } else { value.clone() };
                    (name.clone(), value)
                };
                Plan { sql: sql.clone(), parameters: parameters.iter().map(own).collect() }
            })),
        }
    }
    Ok(Some(plans))
}

/// Days as a parameter.
pub(in crate::api) fn texts(days: &[Day]) -> Parameter {
    Parameter::Texts(days.iter().map(Day::to_string).collect())
}

impl Planning<'_> {
    /// The days that are closed, and those that are open.
    pub(super) fn days_by_state(&self) -> (Vec<Day>, Vec<Day>) {
        self.days.iter().partition(|day| self.facts.closed.contains(day))
    }

    /// The statements, with their parameters bound.
    pub(super) fn cells(&mut self, closed: &[Day], open: &[Day]) -> Result<Vec<(Of, String)>, Refusal> {
        self.text("zone", &self.facts.zone);
        self.text("site", &self.facts.site);
        let mut parts = Vec::new();
        let reached = reach::dimension(self.query);
        if self.facts.audience == Audience::Public {
            self.bind("closed", texts(closed));
            return Ok(vec![(Of::ClosedDays, self.public()?)]);
        }
        if !open.is_empty() {
            self.bind("open", texts(open));
            match reached {
                Some(own) => parts.push((Of::OpenDays, self.reached_of_open(own))),
                None if self.is_whole_site() => parts.extend(self.whole_site().into_iter().map(|sql| (Of::OpenDays, sql))),
                None => parts.push((Of::OpenDays, self.open())),
            }
        }
        if !closed.is_empty() {
            self.bind("closed", texts(closed));
            match reached {
                Some(own) => parts.extend(self.reached_of_closed(own)?.into_iter().map(|sql| (Of::ClosedDays, sql))),
                None => parts.push((Of::ClosedDays, self.closed()?)),
            }
        }
        Ok(parts)
    }

    /// What the figures are made of, and what decides which cells are shown.
    pub(in crate::api) fn needed(&self) -> Needed {
        let ids = self.facts.ids == Identities::OfADay;
        let reached = reach::dimension(self.query).is_some();
        // All that a page asks of the whole site is one question.
        let told_in_full = self.facts.audience == Audience::Analysts && self.is_whole_site();
        let of_page = told_in_full && self.query.metrics.iter().all(|metric| Metric::OF_A_PAGE.contains(metric));
        let metrics = if of_page { Metric::OF_A_PAGE } else { &*self.query.metrics };
        let figures = metrics.iter().flat_map(|metric| metric.sums(ids)).copied();
        let weight = (!ids).then_some("entries");
        let wanted: Vec<&str> = figures.chain(weight).chain(reached.then_some("visits")).collect();
        Needed { sums: SUMS.iter().copied().filter(|sum| wanted.contains(sum)).collect(), money: self.money() }
    }

    /// The whole site's open days.
    fn whole_site(&mut self) -> Vec<String> {
        self.text("dimension", if self.hours() == Hours::Each { HOUR } else { ALL });
        template::whole_site(self.hours(), self.tells_visits(), &self.needed())
    }
}
