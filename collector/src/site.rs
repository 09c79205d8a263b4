//! A site: who may send for it, what its visitors' signals mean, and which day it is there.

pub mod declared;

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::FixedState;

use crate::clock::{Day, UnixMillis, Zone};
use crate::privacy::proxy::Networks;
use crate::privacy::secret::SecretHash;
use declared::Declared;

/// The id of the demonstration's site: there without being configured, for the pages of the private listener.
pub const DEMONSTRATION: &str = "demo";

/// One site as configured. `id` is its first host; subdomains belong to a host.
#[derive(Debug)]
pub struct Site {
    /// The name that events carry in `site`, and the value of every table's `site` column.
    pub id: Box<str>,
    /// Position in [`Sites`]; stable only within one [`Sites`].
    pub index: usize,
    /// Whose pages may send events; an event's page must be on one of them.
    pub hosts: Hosts,
    /// Position of its time zone in [`Sites::zones`].
    pub zone: ZoneIndex,
    /// What its visitors' signals mean.
    pub policy: Policy,
    /// How its paths are scrubbed.
    pub paths: PathRules,
    /// The owner's own networks, whose events are dropped.
    pub ignore_from: Networks,
    /// Hash of the secret with which a backend may name its users' address and agent.
    pub secret: Option<SecretHash>,
    /// Whether `/e` tells the outcome in a response header.
    pub debug: bool,
    /// How many visitors of a day a figure with an attribute must have to be shown: 2 or more.
    pub k: u16,
    /// What its owner wants to know beyond what is counted for everybody.
    pub declared: Declared,
    /// Whether links to its closed days may be given to everybody.
    pub share: bool,
}

impl Site {
    /// Whether events of the site may carry a pseudonym at all: without one there are no visitors and no visits.
    pub fn has_ids(&self) -> bool {
        match self.policy.basis {
            Basis::Exempt(Ceiling::Pseudonymous) | Basis::Consent(Lowered::Drop | Lowered::Anonymous) => true,
            Basis::Exempt(Ceiling::Anonymous) => false,
        }
    }
}

/// Position of a zone in [`Sites::zones`]: at most [`crate::limits::ZONES`] zones are configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ZoneIndex(pub u8);

/// Whose pages may send events for a site.
#[derive(Debug)]
pub enum Hosts {
    /// The page's host is not looked at.
    Any,
    /// These hosts and their subdomains, in lower case.
    Listed(Vec<Box<str>>),
}

impl Hosts {
    /// Whether `host` (lower case, no port) is one of the site's.
    pub fn admit(&self, host: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Listed(hosts) => hosts.iter().any(|own| belongs(host, own)),
        }
    }
}

fn belongs(host: &str, own: &str) -> bool {
    host.strip_suffix(own).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// How a site's events may be stored, and what the signals of its visitors mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The most that an event without any refusal may get.
    pub basis: Basis,
    /// Every visitor is taken for a child: everything is dropped.
    pub child_directed: bool,
    /// `Sec-GPC: 1`: dropped, or stored without a visitor id.
    pub on_gpc: Lowered,
    /// Only advertising was refused: stored without a visitor id, or dropped.
    pub on_advertising_refused: Lowered,
}

/// On which basis the site counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Basis {
    /// Counts without asking (the exemption for audience measurement), at most at this level.
    Exempt(Ceiling),
    /// Asks first. An event without an answer is lowered to this.
    Consent(Lowered),
}

/// The most that an exempt site stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ceiling {
    /// A one-day, one-site pseudonym.
    Pseudonymous,
    /// No visitor id at all.
    Anonymous,
}

/// What a refusing signal lowers an event to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lowered {
    /// Nothing but a count by reason.
    Drop,
    /// A row without a visitor id.
    Anonymous,
}

/// How a site's paths and queries are cleaned before they are stored; see `privacy::scrub`.
#[derive(Debug, Default)]
pub struct PathRules {
    /// Patterns such as `/user/*`: a path that matches is stored as the pattern.
    pub routes: Vec<Box<str>>,
    /// Patterns whose numbers are public and are not masked.
    pub keep: Vec<Box<str>>,
    /// Query parameters that are part of the page; their values pass the same masks.
    pub query: Vec<Box<str>>,
}

/// Every configured site. Replaced as a whole when the configuration is read again.
#[derive(Debug, Default)]
pub struct Sites {
    all: Vec<Arc<Site>>,
    by_id: HashMap<Box<str>, usize, FixedState>,
    zones: Vec<Zone>,
}

impl Sites {
    /// Sites in the order of their `index`, and the zones they name by position.
    pub fn new(sites: Vec<Site>, zones: Vec<Zone>) -> Self {
        let by_id = sites.iter().enumerate().map(|(index, site)| (site.id.clone(), index)).collect();
        Self { all: sites.into_iter().map(Arc::new).collect(), by_id, zones }
    }

    /// The site of that id.
    pub fn find(&self, id: &str) -> Option<&Site> {
        self.by_id.get(id).map(|index| &*self.all[*index])
    }

    /// The site at an index of this set.
    pub fn at(&self, index: usize) -> Option<&Site> {
        self.all.get(index).map(|site| &**site)
    }

    /// Every site, in the order of the configuration.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Site> {
        self.all.iter().map(|site| &**site)
    }

    /// Every time zone that a site lives in.
    pub fn zones(&self) -> &[Zone] {
        &self.zones
    }

    /// The zone at `index`.
    pub fn zone(&self, index: ZoneIndex) -> &Zone {
        &self.zones[usize::from(index.0)]
    }

    /// The calendar day of `instant` where `site` lives.
    pub fn day_of(&self, site: &Site, instant: UnixMillis) -> Day {
        self.zone(site.zone).day_of(instant)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subdomains_belong_and_lookalikes_do_not() {
        let hosts = Hosts::Listed(vec!["example.org".into()]);
        for (host, admitted) in [
            ("example.org", true),
            ("www.example.org", true),
            ("a.b.example.org", true),
            ("badexample.org", false),
            ("example.org.evil.net", false),
            ("", false),
        ] {
            assert_eq!(hosts.admit(host), admitted, "{host}");
        }
    }
}
