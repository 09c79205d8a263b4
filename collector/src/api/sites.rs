//! `GET /v1/sites`: the sites that the asker may see, and what can be asked about each.

use std::collections::HashMap;

use clickhouse::Row;
use serde::{Deserialize, Serialize};

use super::Api;
use crate::access::Access;
use crate::clock::Day;
use crate::site::{Basis, Ceiling, Lowered, Site, Sites};
use crate::store::client::within;
use crate::store::rollup::ALL;

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
    /// The first day with events; nothing when there is none, or the tables cannot be asked.
    first_day: Option<String>,
    today: String,
    goals: Vec<&'static str>,
    funnels: Vec<&'static str>,
    pairs: Vec<(&'static str, &'static str)>,
    properties: Vec<&'static str>,
}

/// Lists them.
pub(super) async fn list(api: &Api, access: &Access) -> Listed {
    let sites: std::sync::Arc<Sites> = (api.sites)();
    let seen: Vec<&Site> = sites.iter().filter(|site| access.sees(&site.id)).collect();
    let first = first_days(api, &seen).await;
    let now = api.clock.now();
    let entry = |site: &&Site| Entry {
        id: site.id.clone(),
        timezone: sites.zone(site.zone).name().to_owned(),
        k: site.k,
        ids: has_ids(site),
        first_day: first.get(&*site.id).map(|day| Day(*day).to_string()),
        today: sites.day_of(site, now).to_string(),
        goals: Vec::new(),
        funnels: Vec::new(),
        pairs: Vec::new(),
        properties: Vec::new(),
    };
    Listed { role: access.role().label(), sites: seen.iter().map(entry).collect() }
}

/// Whether events of the site may carry a pseudonym at all.
pub(super) fn has_ids(site: &Site) -> bool {
    match site.policy.basis {
        Basis::Exempt(Ceiling::Pseudonymous) | Basis::Consent(Lowered::Drop | Lowered::Anonymous) => true,
        Basis::Exempt(Ceiling::Anonymous) => false,
    }
}

#[derive(Debug, Row, Deserialize)]
struct First {
    site: String,
    day: u16,
}

async fn first_days(api: &Api, seen: &[&Site]) -> HashMap<String, u16> {
    let sql = "SELECT toString(rollup_open.site) AS site, toUInt16(min(day)) AS day FROM rollup_open \
        WHERE dimension = {all:String} AND site IN {sites:Array(String)} GROUP BY site";
    let names: Vec<&str> = seen.iter().map(|site| &*site.id).collect();
    let asked = within(api.client.query(sql).param("all", ALL).param("sites", names).fetch_all::<First>()).await;
    asked.unwrap_or_default().into_iter().map(|first| (first.site, first.day)).collect()
}
