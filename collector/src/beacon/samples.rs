//! A site and a page view for tests: the plainest there are, for a test to change what it is about.

use super::Beacon;
use crate::event::{Activity, Campaign, Kind, Network, Page, ScreenClass};
use crate::privacy::proxy::Networks;
use crate::site::{Basis, Ceiling, Hosts, Lowered, PathRules, Policy, Site, ZoneIndex};

/// A site with every default, in the first zone.
pub(crate) fn site(id: &str) -> Site {
    Site {
        id: id.into(),
        index: 0,
        hosts: Hosts::Listed(vec![id.into()]),
        zone: ZoneIndex(0),
        policy: Policy {
            basis: Basis::Exempt(Ceiling::Pseudonymous),
            child_directed: false,
            on_gpc: Lowered::Drop,
            on_advertising_refused: Lowered::Anonymous,
        },
        paths: PathRules::default(),
        ignore_from: Networks::default(),
        secret: None,
        debug: false,
        k: 5,
        declared: crate::site::declared::Declared::default(),
        share: false,
    }
}

/// A view of the first page of `site`, just now.
pub(crate) fn pageview(site: &Site) -> Beacon<'_> {
    Beacon {
        site,
        kind: Kind::Pageview,
        name: "".into(),
        page: Page { host: (&*site.id).into(), path: "/".into() },
        kept_query: Vec::new(),
        campaign: Campaign::default(),
        paid_click: false,
        referrer: "".into(),
        props: Vec::new(),
        value: None,
        screen: ScreenClass::Unknown,
        language: "".into(),
        engaged_millis: 0,
        scroll_percent: 0,
        entry: false,
        app_version: "".into(),
        os: "".into(),
        device_model: "".into(),
        network: Network::Unknown,
        age_millis: 0,
        activity: Activity::default(),
        id: None,
    }
}
