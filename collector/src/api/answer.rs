//! `POST /v1/query`: one question, from the body to the answer.

use hyper::StatusCode;
use serde_json::{Value, json};

use super::cells::{Group, closed, open};
use super::plan::{Audience, Facts, Identities, Plan, cells, of_totals, plan};
use super::question::{Days, Dimension, Form, Interval, Metric, Query, Values};
use super::reach;
use super::refusal::{Reason, Refusal};
use super::sites::identities;
use super::summed::Summing;
use super::{Api, read, tables};
use crate::access::Access;
use crate::clock::Day;
use crate::limits::SHARE_K;
use crate::server::private::Reply;
use crate::site::{Site, Sites};
use crate::store::closing::pairs;

/// Answers the question in `body`.
pub(super) async fn query(api: &Api, access: &Access, body: &[u8]) -> Result<Reply, Refusal> {
    let (object, name) = read::object(body)?;
    let sites = (api.sites)();
    let site = allowed(&sites, access, &name)?;
    let (now, ids) = (api.clock.now(), identities(site));
    let zone = sites.zone(site.zone);
    let audience = Audience::of(access);
    let reader = tables::Reader::of(api).await;
    let today = match audience {
        Audience::Analysts => sites.day_of(site, now),
        // What ends with today ends for everybody with the last day that is closed.
        Audience::Public => {
            tables::last_closed_days(&reader).await?.get(zone.name()).copied().unwrap_or_else(|| sites.day_of(site, now).previous())
        }
    };
    let query = read::query(&object, today, ids)?;
    let ranges: Vec<Days> = [Some(query.days), query.compare].into_iter().flatten().collect();
    let names = [&*site.id];
    let (known, first) = tokio::try_join!(tables::known(&reader, zone.name(), &ranges), async {
        match audience {
            Audience::Analysts => tables::first_days(&reader, &names).await.map(|days| days.get(&*site.id).copied()),
            Audience::Public => tables::first_public_day(&reader, &site.id, public_threshold(site)).await,
        }
    })?;
    let facts = Facts {
        zone: zone.name().to_owned(),
        site: site.id.to_string(),
        k: k_of(site, audience),
        audience,
        ids,
        pairs: pairs(&site.declared),
        declared: site.declared.clone(),
        closed: known.closed,
        first_day: first,
        hour: zone.hour_of(now),
        today,
    };
    let asked = Asked { reader: &reader, query: &query, facts: &facts };
    if query.form != Form::Json {
        let document = tables::document(&api.client, &plan(&query, query.days, &facts)?, query.form).await?;
        return Ok(Reply { status: StatusCode::OK, content_type: media_type(query.form), body: document.into() });
    }
    let (own, compared) = tokio::try_join!(asked.figures(query.days), async {
        match query.compare {
            Some(days) => asked.figures(days).await.map(Some),
            None => Ok(None),
        }
    })?;
    let visits_as_of = known.visits_as_of.filter(|_| asked.is_open()).map(|at| at.0);
    let notes = asked.notes(&own, visits_as_of);
    let next = query.offset + query.limit;
    Ok(super::json(&json!({
        "site": site.id, "timezone": zone.name(), "from": query.days.from.to_string(), "to": query.days.to.to_string(), "k": facts.k,
        "visits_as_of": visits_as_of,
        "columns": columns(&query),
        "rows": own.rows, "totals": own.totals,
        "comparison": query.compare.zip(compared).map(|(days, figures)| json!({
            "from": days.from.to_string(), "to": days.to.to_string(), "rows": figures.rows, "totals": figures.totals,
        })),
        "folded": own.folded, "next_offset": own.has_more.then_some(next), "notes": notes,
    })))
}

/// The site of that name, if the token allows it. Whoever may not see it does not learn whether it exists.
pub(super) fn allowed<'a>(sites: &'a Sites, access: &Access, name: &str) -> Result<&'a Site, Refusal> {
    if !access.sees(name) {
        return Err(Refusal::at("site", Reason::NotYourSite));
    }
    let names = || sites.iter().filter(|site| access.sees(&site.id)).map(|site| site.id.to_string());
    sites.find(name).ok_or_else(|| Refusal::at("site", Reason::UnknownSite).allowing(names()))
}

/// The threshold that figures of the site have for `audience`.
pub(super) fn k_of(site: &Site, audience: Audience) -> u16 {
    match audience {
        Audience::Analysts => site.k,
        Audience::Public => site.k.max(SHARE_K),
    }
}

/// What the whole site must have on a day for everybody to see it, and what that is counted in.
pub(super) fn public_threshold(site: &Site) -> (u64, &'static str) {
    let k = u64::from(k_of(site, Audience::Public));
    match identities(site) {
        Identities::OfADay => (k, "visitors"),
        Identities::None => (2 * k, "entries"),
    }
}

fn media_type(form: Form) -> &'static str {
    match form {
        Form::Json => "application/json",
        Form::Csv => "text/csv; charset=utf-8",
        Form::Parquet => "application/vnd.apache.parquet",
    }
}

fn columns(query: &Query) -> Vec<Value> {
    let dimension = |name: &str| json!({ "name": name, "kind": "dimension" });
    let metric = |metric: &Metric| json!({ "name": metric.name(), "kind": "metric", "unit": metric.unit(), "counted": metric.counted() });
    let time = query.interval.map(|_| dimension("time"));
    let currency = query.metrics.contains(&Metric::Value).then(|| dimension("currency"));
    let dimensions = query.dimensions.iter().map(|own: &Dimension| dimension(own.name));
    time.into_iter().chain(dimensions).chain(currency).chain(query.metrics.iter().map(metric)).collect()
}

struct Asked<'a> {
    reader: &'a tables::Reader<'a>,
    query: &'a Query,
    facts: &'a Facts,
}

/// How a question is answered: from cells that are read for more than it, by statements that make its own, or by one that tells all.
#[derive(Clone, Debug)]
enum Planned {
    Group(Group, &'static str),
    Cells(Vec<Plan>),
    Whole(Plan),
}

impl Planned {
    fn of(query: &Query, days: Days, facts: &Facts) -> Result<Self, Refusal> {
        if let Some((group, name)) = Group::of(query, facts) {
            return Ok(Self::Group(group, name));
        }
        Self::by_itself(query, days, facts)
    }

    fn by_itself(query: &Query, days: Days, facts: &Facts) -> Result<Self, Refusal> {
        Ok(match cells(query, days, facts)? {
            Some(plans) => Self::Cells(plans),
            None => Self::Whole(plan(query, days, facts)?),
        })
    }
}

/// The figures of one range.
struct Figures {
    rows: Vec<Vec<Value>>,
    totals: Vec<Value>,
    folded: bool,
    has_more: bool,
    /// Whether everything together could be told.
    summed: bool,
}

impl Asked<'_> {
    async fn figures(&self, days: Days) -> Result<Figures, Refusal> {
        let totals = of_totals(self.query);
        // Who has reached two goals is in both: they have no sum.
        let adds_up = reach::dimension(self.query).is_none();
        let of_totals = if adds_up { Planned::of(&totals, days, self.facts) } else { Err(Refusal::of(Reason::NotStored)) };
        let own = Planned::of(self.query, days, self.facts)?;
        let (mut rows, sums) = tokio::try_join!(self.rows(own, self.query, days), async {
            match of_totals.clone() {
                Ok(planned) => self.rows(planned, &totals, days).await,
                Err(_) => Ok(Vec::new()),
            }
        })?;
        let limit = usize::try_from(self.query.limit).unwrap_or(usize::MAX);
        let has_more = rows.len() > limit;
        rows.truncate(limit);
        let mut folded = false;
        for row in &mut rows {
            folded |= row.pop() == Some(json!(1));
        }
        Ok(Figures { rows, totals: self.totals(sums, &totals.metrics), folded, has_more, summed: of_totals.is_ok() })
    }

    /// The rows of `query`, which is this question or the one about its totals.
    async fn rows(&self, planned: Planned, query: &Query, days: Days) -> Result<tables::Rows, Refusal> {
        let unreadable = || Refusal::of(Reason::Unavailable);
        match planned {
            Planned::Group(group, name) => match Box::pin(self.of_group((group, name), query, days)).await {
                // More than is folded here: ClickHouse does it.
                Err(refusal) if refusal.reason == Reason::TooWide => {
                    Box::pin(self.rows(Planned::by_itself(query, days, self.facts)?, query, days)).await
                }
                rows => rows,
            },
            Planned::Whole(plan) => self.reader.rows(&plan).await,
            Planned::Cells(plans) => {
                let mut summing = Summing::new(query, days, self.facts);
                // One after the other: delivery finds room however many questions there are.
                for plan in &plans {
                    let cells = self.reader.rows(plan).await?;
                    summing.add_rows(cells).ok_or_else(unreadable)?;
                }
                Ok(summing.rows())
            }
        }
    }

    /// The rows of `query` from cells that are read for all who want any of them: of closed days, of open ones that are past, and of today, side by side.
    async fn of_group(&self, (group, name): (Group, &'static str), query: &Query, days: Days) -> Result<tables::Rows, Refusal> {
        let (reader, facts) = (self.reader, self.facts);
        let (closed, mut open): (Vec<Day>, Vec<Day>) = days.iter().partition(|day| facts.closed.contains(day));
        // Most days of a young site hold nothing.
        if let Some(held) = reader.open_days(&facts.zone) {
            open.retain(|day| held.contains(day));
        }
        let (today, earlier): (Vec<Day>, Vec<Day>) = open.into_iter().partition(|day| *day == facts.today);
        let (closed, earlier, today) = tokio::try_join!(
            closed::cells(reader, (query, facts), (group, name), (days, &closed)),
            open::cells(reader, facts, (group, name), &earlier),
            open::cells(reader, facts, (group, name), &today),
        )?;
        let mut summing = Summing::new(query, days, facts);
        for cells in [closed, earlier, today] {
            summing.add(&cells).ok_or_else(|| Refusal::of(Reason::Unavailable))?;
        }
        Ok(summing.rows())
    }

    /// One row of metrics, from rows of those that are `told`. Amounts of several currencies have no sum; what is too small to be shown, or not stored, is null.
    fn totals(&self, mut rows: Vec<Vec<Value>>, told: &[Metric]) -> Vec<Value> {
        let metrics = &self.query.metrics;
        let currencies = rows.len();
        let Some(mut row) = (!rows.is_empty()).then(|| rows.swap_remove(0)) else { return vec![Value::Null; metrics.len()] };
        if let Some(value) = told.iter().position(|metric| *metric == Metric::Value) {
            row.remove(0);
            if currencies > 1 {
                row[value] = Value::Null;
            }
        }
        let of = |metric: &Metric| told.iter().position(|told| told == metric).and_then(|index| row.get(index).cloned());
        metrics.iter().map(|metric| of(metric).unwrap_or_default()).collect()
    }

    fn is_open(&self) -> bool {
        self.facts.audience == Audience::Analysts && self.query.days.iter().any(|day| !self.facts.closed.contains(&day))
    }

    /// What a reader has to know of the figures, by names of a closed list.
    fn notes(&self, own: &Figures, visits_as_of: Option<i64>) -> Vec<&'static str> {
        let query = self.query;
        let closed = query.days.iter().any(|day| self.facts.closed.contains(&day));
        let mut attributes: Vec<&str> =
            query.dimensions.iter().chain(query.filters.iter().map(|filter| &filter.dimension)).map(|own| own.name).collect();
        attributes.sort_unstable();
        attributes.dedup();
        let without_ids = self.facts.ids == Identities::None;
        let asked_by = || query.dimensions.iter().chain(query.filters.iter().map(|filter| &filter.dimension));
        let reached = asked_by().any(|own| own.is_reached());
        [
            ("folded", own.folded),
            ("open_days", self.is_open()),
            ("visits_pending", self.is_open() && query.asks_for_visits() && !without_ids && visits_as_of.is_none()),
            ("without_ids", without_ids),
            ("rounded_pairs", closed && attributes.len() == 2),
            ("hours_are_of_the_whole_site", query.interval == Some(Interval::Hour)),
            ("totals_not_stored", !own.summed),
            ("small_days_left_out", self.facts.audience == Audience::Public),
            ("counts_since_declared", reached),
            ("conversions_are_events", reached && without_ids),
            ("small_left_out", query.dimensions.iter().any(|own| own.values == Values::Many)),
        ]
        .into_iter()
        .filter(|(_, holds)| *holds)
        .map(|(note, _)| note)
        .collect()
    }
}
