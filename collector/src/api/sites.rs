//! `GET /v1/sites`: the sites that the asker may see, and what can be asked about each.

use std::collections::HashMap;

use serde::Serialize;

use super::answer::{k_of, public_threshold};
use super::plan::{Audience, Identities};
use super::refusal::Refusal;
use super::{Api, tables};
use crate::access::Access;
use crate::site::Site;
use crate::site::declared::{Declared, Funnel};
use crate::store::closing::pairs;

/// The answer.
#[derive(Debug, Serialize)]
pub(super) struct Listed {
    role: &'static str,
    sites: Vec<Entry>,
}

#[derive(Debug, Serialize)]
struct Entry {
    id: Box<str>,
    timezone: String,
    k: u16,
    /// Whether its visitors have ids: without them it counts visits by entries and no visitors.
    ids: bool,
    /// The first day with figures; nothing when there is none, or the tables cannot be asked.
    first_day: Option<String>,
    /// The first day that is not closed: from here on any filter can be asked for.
    open_from: Option<String>,
    today: String,
    goals: Vec<String>,
    funnels: Vec<Way>,
    pairs: Vec<(&'static str, &'static str)>,
    properties: Vec<Box<str>>,
}

/// A funnel.
#[derive(Debug, Serialize)]
struct Way {
    name: Box<str>,
    /// The page or the event of each step.
    steps: Vec<String>,
}

/// Lists them: for everybody only what closed days can tell, as if the last of them were today.
///
/// An analyst learns of the sites also while the tables cannot be asked.
pub(super) async fn list(api: &Api, access: &Access) -> Result<Listed, Refusal> {
    let audience = Audience::of(access);
    let sites = (api.sites)();
    let seen: Vec<&Site> = sites.iter().filter(|site| access.sees(&site.id)).collect();
    let reader = tables::Reader::of(api).await;
    let names: Vec<&str> = seen.iter().map(|site| &*site.id).collect();
    let first_days = async {
        match (audience, &*seen) {
            (Audience::Public, [site]) => {
                let first = tables::first_public_day(&reader, &site.id, public_threshold(site)).await?;
                Ok(first.map(|day| (site.id.to_string(), day)).into_iter().collect())
            }
            (Audience::Public, _) => Ok(HashMap::new()),
            (Audience::Analysts, _) => Ok(tables::first_days(&reader, &names).await.unwrap_or_default()),
        }
    };
    let (first, closed) = tokio::join!(first_days, tables::last_closed_days(&reader));
    let (first, closed) = match audience {
        Audience::Analysts => (first?, closed.unwrap_or_default()),
        Audience::Public => (first?, closed?),
    };
    let now = api.clock.now();
    let nothing = Declared::default();
    let entry = |site: &&Site| {
        let zone = sites.zone(site.zone).name();
        let first_day = first.get(&*site.id).copied();
        // What cannot be added up is not for everybody: it could not be folded once more.
        let declared = match audience {
            Audience::Analysts => &site.declared,
            Audience::Public => &nothing,
        };
        Entry {
            id: site.id.clone(),
            timezone: zone.to_owned(),
            k: k_of(site, audience),
            ids: identities(site) == Identities::OfADay,
            first_day: first_day.map(|day| day.to_string()),
            open_from: closed.get(zone).map(|day| day.next()).or(first_day).map(|day| day.to_string()),
            today: match audience {
                Audience::Analysts => sites.day_of(site, now),
                Audience::Public => closed.get(zone).copied().unwrap_or_else(|| sites.day_of(site, now).previous()),
            }
            .to_string(),
            goals: declared.goal_names().map(str::to_owned).collect(),
            funnels: declared.funnels.iter().map(way).collect(),
            pairs: match audience {
                Audience::Analysts => pairs(declared),
                Audience::Public => Vec::new(),
            },
            properties: declared.properties.clone(),
        }
    };
    Ok(Listed { role: access.role().label(), sites: seen.iter().map(entry).collect() })
}

fn way(funnel: &Funnel) -> Way {
    Way { name: funnel.name.clone(), steps: funnel.steps.iter().map(|step| step.text().to_owned()).collect() }
}

/// Whether its visitors have ids.
pub(super) fn identities(site: &Site) -> Identities {
    if site.has_ids() { Identities::OfADay } else { Identities::None }
}
