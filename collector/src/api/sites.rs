//! `GET /v1/sites`: the sites that the asker may see, and what can be asked about each.

use serde::Serialize;

use super::plan::Identities;
use super::{Api, tables};
use crate::access::Access;
use crate::site::{Basis, Ceiling, Lowered, Site};
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
    goals: Vec<&'static str>,
    funnels: Vec<&'static str>,
    pairs: Vec<(&'static str, &'static str)>,
    properties: Vec<&'static str>,
}

/// Lists them.
pub(super) async fn list(api: &Api, access: &Access) -> Listed {
    let sites = (api.sites)();
    let seen: Vec<&Site> = sites.iter().filter(|site| access.sees(&site.id)).collect();
    let names: Vec<&str> = seen.iter().map(|site| &*site.id).collect();
    let (first, closed) = tokio::join!(tables::first_days(&api.client, &names), tables::last_closed_days(&api.client));
    let (first, closed) = (first.unwrap_or_default(), closed.unwrap_or_default());
    let now = api.clock.now();
    let entry = |site: &&Site| {
        let zone = sites.zone(site.zone).name();
        let first_day = first.get(&*site.id).copied();
        Entry {
            id: site.id.clone(),
            timezone: zone.to_owned(),
            k: site.k,
            ids: identities(site) == Identities::OfADay,
            first_day: first_day.map(|day| day.to_string()),
            open_from: closed.get(zone).map(|day| day.next()).or(first_day).map(|day| day.to_string()),
            today: sites.day_of(site, now).to_string(),
            goals: Vec::new(),
            funnels: Vec::new(),
            pairs: pairs(),
            properties: Vec::new(),
        }
    };
    Listed { role: access.role().label(), sites: seen.iter().map(entry).collect() }
}

/// Whether events of the site may carry a pseudonym at all.
pub(super) fn identities(site: &Site) -> Identities {
    match site.policy.basis {
        Basis::Exempt(Ceiling::Pseudonymous) | Basis::Consent(Lowered::Drop | Lowered::Anonymous) => Identities::OfADay,
        Basis::Exempt(Ceiling::Anonymous) => Identities::None,
    }
}
