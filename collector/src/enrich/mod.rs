//! Beacon -> [`Event`]: with what, from where, and whether a person at all.
//!
//! [`event`] is pure: everything that needs a file was read at start, and everything that needs a visitor has happened behind the privacy door, where a borrowed user
//! agent became an [`Agent`].

pub mod bots;
mod device;
mod known_sources;
mod source;
pub mod user_agent;
mod vocabulary;

use std::borrow::Cow;
use std::mem::take;

use crate::beacon::{Beacon, Route};
use crate::event::{Channel, Device, DeviceClass, Event};
use crate::outcome::Dropped;
use crate::privacy::Deidentified;
use bots::Robot;
use device::System;
use user_agent::Agent;

/// The event as it will be stored, or why it is left out.
pub fn event(deidentified: Deidentified<'_>, route: Route) -> Result<Event<'_>, Dropped> {
    let Deidentified { mut beacon, agent, visitor, country, day, time, masked: _ } = deidentified;
    if let Some(reason) = agent.robot.refused_on(route) {
        return Err(reason);
    }
    let device = device_of(&mut beacon, &agent, route);
    let source = source::source(beacon.site, &beacon.page.host, beacon.referrer, &beacon.campaign, beacon.paid_click);
    // The page knows its own host only; the site knows them all, and a step from one to another is no arrival.
    let entry = beacon.entry && source.channel != Channel::Internal;
    Ok(Event {
        site: beacon.site,
        day,
        time,
        visitor,
        kind: beacon.kind,
        name: beacon.name,
        page: beacon.page,
        source,
        campaign: beacon.campaign,
        device,
        country,
        language: beacon.language,
        props: beacon.props,
        value: beacon.value,
        engaged_millis: beacon.engaged_millis,
        scroll_percent: beacon.scroll_percent,
        entry,
        activity: beacon.activity,
        id: beacon.id,
    })
}

/// With what. A page's agent is its browser's. An app names its own system and model; what it leaves out is taken from the agent where a browser's stands there, which
/// is so for a web view and for a backend that forwards its visitors' agents, but never from the agent of an HTTP library, which may well tell of a server.
fn device_of<'a>(beacon: &mut Beacon<'a>, agent: &Agent, route: Route) -> Device<'a> {
    let browser = if route == Route::Page || agent.robot == Robot::No { *agent } else { Agent::NONE };
    let app = match route {
        Route::Page => System::default(),
        Route::Api => device::system(&beacon.os),
    };
    let app_class = match route {
        Route::Page => DeviceClass::Unknown,
        Route::Api => device::class_of_app(&app.name, &beacon.device_model),
    };
    let system = if app.name.is_empty() { System { name: Cow::Borrowed(browser.os), major: browser.os_major } } else { app };
    Device {
        browser: Cow::Borrowed(browser.browser),
        browser_major: browser.browser_major,
        os: system.name,
        os_major: system.major,
        class: if app_class == DeviceClass::Unknown { browser.class } else { app_class },
        screen: beacon.screen,
        app_version: take(&mut beacon.app_version),
        model: take(&mut beacon.device_model),
        network: beacon.network,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Activity, Campaign, Kind, Network, Page, ScreenClass};
    use crate::site::{Basis, Ceiling, Hosts, Lowered, PathRules, Policy, Site, ZoneIndex};

    const BROWSER: Agent =
        Agent { browser: "Chrome", browser_major: 131, os: "Windows", os_major: 10, class: DeviceClass::Desktop, robot: Robot::No };
    const LIBRARY: Agent =
        Agent { browser: "okhttp", browser_major: 4, os: "Linux", os_major: 6, class: DeviceClass::Desktop, robot: Robot::Library };

    fn site() -> Site {
        Site {
            id: "example.org".into(),
            index: 0,
            hosts: Hosts::Listed(vec!["example.org".into()]),
            zone: ZoneIndex(0),
            policy: Policy {
                basis: Basis::Exempt(Ceiling::Pseudonymous),
                child_directed: false,
                on_gpc: Lowered::Drop,
                on_advertising_refused: Lowered::Anonymous,
            },
            paths: PathRules::default(),
            ignore_from: crate::privacy::proxy::Networks::default(),
            secret: None,
            debug: false,
            k: 5,
            declared: crate::site::declared::Declared::default(),
            share: false,
        }
    }

    fn beacon<'a>(site: &'a Site, os: &'a str, model: &'a str) -> Beacon<'a> {
        Beacon {
            site,
            kind: Kind::Pageview,
            name: "".into(),
            page: Page { host: "example.org".into(), path: "/".into() },
            kept_query: Vec::new(),
            campaign: Campaign::default(),
            paid_click: false,
            referrer: "www.google.de".into(),
            props: Vec::new(),
            value: None,
            screen: ScreenClass::Large,
            language: "de".into(),
            engaged_millis: 0,
            scroll_percent: 0,
            entry: true,
            app_version: "".into(),
            os: os.into(),
            device_model: model.into(),
            network: Network::Unknown,
            age_millis: 0,
            activity: Activity::default(),
            id: None,
        }
    }

    fn deidentified(beacon: Beacon<'_>, agent: Agent) -> Deidentified<'_> {
        Deidentified {
            beacon,
            agent,
            visitor: None,
            country: crate::event::Country::UNKNOWN,
            day: crate::clock::Day(20_000),
            time: crate::clock::UnixMillis(0),
            masked: false,
        }
    }

    fn enrich(site: &Site, agent: Agent, route: Route, os: &str, model: &str) -> Result<(String, String, u16, &'static str), Dropped> {
        let event = event(deidentified(beacon(site, os, model), agent), route)?;
        assert_eq!((&*event.source.name, event.source.channel.label()), ("Google", "search"));
        Ok((event.device.browser.into_owned(), event.device.os.into_owned(), event.device.os_major, event.device.class.label()))
    }

    #[test]
    fn a_page_is_told_by_its_agent_and_an_app_by_itself() {
        let site = site();
        for (agent, route, os, model, told) in [
            (BROWSER, Route::Page, "", "", ("Chrome", "Windows", 10, "desktop")),
            (BROWSER, Route::Page, "iOS 18.1", "iPhone15,2", ("Chrome", "Windows", 10, "desktop")),
            (LIBRARY, Route::Api, "Android 15", "Pixel 8", ("", "Android", 15, "mobile")),
            (LIBRARY, Route::Api, "iOS 18.1", "iPad13,4", ("", "iOS", 18, "tablet")),
            (LIBRARY, Route::Api, "", "", ("", "", 0, "")),
            (BROWSER, Route::Api, "", "", ("Chrome", "Windows", 10, "desktop")),
            (BROWSER, Route::Api, "Android 15", "", ("Chrome", "Android", 15, "mobile")),
        ] {
            let (browser, system, major, class) = enrich(&site, agent, route, os, model).unwrap();
            assert_eq!((&*browser, &*system, major, class), told, "{route:?} {os} {model}");
        }
    }

    #[test]
    fn a_step_between_two_hosts_of_a_site_is_no_entry_whatever_the_page_says() {
        let site = site();
        for (referrer, said, entry) in [
            ("", true, true),
            ("www.google.de", true, true),
            ("www.google.de", false, false),
            ("blog.example.org", true, false),
            ("example.org", true, false),
            ("example.org.evil.net", true, true),
        ] {
            let beacon = Beacon { referrer: referrer.into(), entry: said, ..beacon(&site, "", "") };
            let event = event(deidentified(beacon, BROWSER), Route::Page).unwrap();
            assert_eq!(event.entry, entry, "{referrer}");
        }
    }

    #[test]
    fn a_robot_makes_no_event_where_it_is_turned_away() {
        let site = site();
        let crawler = Agent { robot: Robot::Crawler, ..BROWSER };
        assert_eq!(enrich(&site, LIBRARY, Route::Page, "", "").unwrap_err(), Dropped::NotABrowser);
        assert_eq!(enrich(&site, crawler, Route::Api, "", "").unwrap_err(), Dropped::Crawler);
    }
}
