//! Through the door: what each event keeps of its visitor, and what it never can.

use hyper::HeaderMap;
use hyper::header::{HeaderValue, USER_AGENT};

use super::keys::store::KeyStore;
use super::proxy::{Networks, Trusted};
use super::raw::{Peer, RawId};
use super::*;
use crate::assets::{Asset, Assets};
use crate::beacon::samples;
use crate::clock::Zone;
use crate::consent::gate;
use crate::consent::signals::{HeaderSignals, PayloadSignals};
use crate::site::Site;

const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0";
const SAFARI: &str =
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Safari/605.1.15";
const DAY: u64 = 86_400_000;
/// 2026-11-22T12:00:00Z.
const NOON: UnixMillis = UnixMillis(1_795_348_800_000);

struct World {
    guards: Guards,
    sites: Sites,
    folder: std::path::PathBuf,
}

impl World {
    fn new(name: &str, trusted: Trusted, site: Site) -> Self {
        let folder = std::env::temp_dir().join(format!("headcount-door-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        let sites = Sites::new(vec![site], vec![Zone::named("UTC").unwrap()]);
        let assets = Assets::locate();
        let (keys, _) = Keys::open(KeyStore::open(&folder.join("keys"), &folder.join("log")).unwrap(), &sites, NOON).unwrap();
        let guards = Guards {
            trust: Trust::new(trusted, "x-forwarded-for".parse().unwrap()),
            geo: Geo::open(&assets.path(Asset::Countries).unwrap()).unwrap(),
            keys,
            intake: Intake::default(),
            agents: Agents::load(&assets.path(Asset::UserAgents).unwrap(), &assets.path(Asset::Crawlers).unwrap()).unwrap(),
        };
        Self { guards, sites, folder }
    }

    fn site(&self) -> &Site {
        self.sites.iter().next().unwrap()
    }

    /// Sends one event; `from` is the peer, `forwarded` the header's value.
    fn send<'a>(&'a self, from: &Sender, change: impl FnOnce(&mut Decoded<'a>)) -> Result<Deidentified<'a>, Rejection> {
        let mut headers = HeaderMap::new();
        headers.insert(USER_AGENT, HeaderValue::from_static(from.agent));
        if let Some(address) = from.forwarded {
            headers.insert("x-forwarded-for", HeaderValue::from_static(address));
        }
        let peer = Peer::tcp(std::net::SocketAddr::new(from.peer.parse().unwrap(), 1));
        let mut cache = AgentCache::new();
        let visitor = self.guards.trust.visitor(&peer, &headers);
        let mut door = Door::open(&self.guards, &self.sites, &mut cache, visitor, from.received);
        let mut decoded = Decoded {
            beacon: samples::pageview(self.site()),
            signals: PayloadSignals::default(),
            identity: Identity::default(),
            unknown_fields: 0,
        };
        change(&mut decoded);
        door.deidentify(gate(decoded, HeaderSignals::default()).map_err(Rejection::from)?)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

struct Sender {
    peer: &'static str,
    forwarded: Option<&'static str>,
    agent: &'static str,
    received: UnixMillis,
}

const GERMAN: Sender = Sender { peer: "85.214.132.117", forwarded: None, agent: FIREFOX, received: NOON };

fn world(name: &str) -> World {
    World::new(name, Trusted::Loopback, samples::site("example.org"))
}

#[test]
fn a_visitor_becomes_a_country_a_pseudonym_and_families() {
    let world = world("plain");
    let one = world.send(&GERMAN, |_| {}).unwrap();
    assert_eq!((one.country, one.agent.browser, one.day.to_string()), (Country(*b"DE"), "Firefox", "2026-11-22".into()));
    let visitor = one.visitor.unwrap();
    assert_eq!(world.send(&GERMAN, |_| {}).unwrap().visitor, Some(visitor), "the same visitor again");
    for other in [Sender { agent: SAFARI, ..GERMAN }, Sender { peer: "85.214.132.118", ..GERMAN }] {
        assert_ne!(world.send(&other, |_| {}).unwrap().visitor, Some(visitor));
    }
}

#[test]
fn an_events_day_decides_on_its_visitor() {
    let world = world("days");
    let visitor = world.send(&GERMAN, |event| event.beacon.age_millis = 12 * 3_600_000).unwrap();
    assert!(visitor.visitor.is_some() && visitor.time == NOON.minus(DAY / 2));
    let earlier = world.send(&GERMAN, |event| event.beacon.age_millis = DAY).unwrap();
    assert_eq!((earlier.visitor, earlier.day.to_string()), (None, "2026-11-21".into()));
    assert_eq!(world.send(&GERMAN, |event| event.beacon.age_millis = 2 * DAY).unwrap_err(), Refused::TooOld.into());
    // No key of the day lives: yesterday, by a clock that has gone back, and tomorrow, before the ring has turned.
    for received in [NOON.minus(DAY), NOON.plus(DAY)] {
        assert_eq!(world.send(&Sender { received, ..GERMAN }, |_| {}).unwrap_err(), Refused::NoKey.into());
    }
    let midnight = NOON.plus(DAY / 2 + 60_000);
    world.guards.keys.turn(midnight).unwrap();
    let late = world.send(&Sender { received: midnight, ..GERMAN }, |event| event.beacon.age_millis = 120_000).unwrap();
    assert!(late.visitor.is_some() && late.day.to_string() == "2026-11-22", "within the grace");
    let fresh = world.send(&Sender { received: midnight, ..GERMAN }, |_| {}).unwrap();
    assert!(fresh.visitor.is_some() && fresh.visitor != late.visitor, "another day, another pseudonym");
}

#[test]
fn an_apps_ids_come_before_its_address_and_an_install_id_needs_a_grant() {
    let world = world("ids");
    let with = |install: Option<&'static str>, session: Option<&'static str>, granted: bool| {
        let event = world.send(&GERMAN, |event| {
            event.identity.install_id = install.map(RawId::new);
            event.identity.session = session.map(RawId::new);
            if granted {
                event.signals.consent("granted");
            }
        });
        event.unwrap().visitor.unwrap()
    };
    let reached = with(None, None, false);
    let session = with(None, Some("s"), false);
    let install = with(Some("i"), Some("s"), true);
    assert!(reached != session && session != install && reached != install);
    assert_eq!(with(Some("i"), None, false), reached, "no grant: as if it were not there");
    assert_eq!(with(Some("i"), Some("s"), false), session);
    assert_eq!(with(Some("i"), None, true), install);
}

#[test]
fn without_consent_to_more_an_event_has_no_visitor() {
    let world = world("anonymous");
    let event = world.send(&GERMAN, |event| {
        event.signals.consent("advertising_denied");
        event.identity.session = Some(RawId::new("s"));
        event.identity.install_id = Some(RawId::new("i"));
    });
    assert_eq!(event.unwrap().visitor, None);
}

#[test]
fn a_backend_is_never_taken_for_its_users() {
    let world = world("backend");
    let direct = world.send(&GERMAN, |_| {}).unwrap().visitor;
    let backend = Sender { peer: "8.8.8.8", agent: "python-requests/2.32", ..GERMAN };
    let both = world.send(&backend, |event| {
        event.identity.backend = true;
        event.identity.client_ip = ClientIp::parse("85.214.132.117");
        event.identity.client_agent = Some(RawUserAgent::new(FIREFOX.as_bytes()));
    });
    let both = both.unwrap();
    assert_eq!((both.visitor, both.country, both.agent.browser), (direct, Country(*b"DE"), "Firefox"));
    let agent_alone = world.send(&backend, |event| {
        event.identity.backend = true;
        event.identity.client_agent = Some(RawUserAgent::new(FIREFOX.as_bytes()));
    });
    let agent_alone = agent_alone.unwrap();
    assert_eq!((agent_alone.visitor, agent_alone.country), (None, Country::UNKNOWN), "never the backend's own address");
    let address_alone = world.send(&backend, |event| {
        event.identity.backend = true;
        event.identity.client_ip = ClientIp::parse("85.214.132.117");
    });
    let address_alone = address_alone.unwrap();
    assert_eq!((address_alone.agent.browser, address_alone.country), ("", Country(*b"DE")), "never the backend's own agent");
    let unnamed = world.send(&backend, |event| event.identity.backend = true).unwrap();
    assert_eq!(
        (unnamed.visitor, unnamed.country, unnamed.agent.browser),
        (None, Country::UNKNOWN, ""),
        "a backend that names nobody has no visitor"
    );
}

#[test]
fn a_proxy_that_names_nobody_leaves_nobody() {
    let world = world("unnamed");
    let proxied = Sender { peer: "127.0.0.1", forwarded: Some("85.214.132.117"), ..GERMAN };
    let named = world.send(&proxied, |_| {}).unwrap();
    assert_eq!((named.visitor, named.country), (world.send(&GERMAN, |_| {}).unwrap().visitor, Country(*b"DE")));
    for forwarded in [None, Some("unknown"), Some("85.214.132.117, _hidden")] {
        let unnamed = world.send(&Sender { forwarded, ..proxied }, |_| {}).unwrap();
        assert_eq!((unnamed.visitor, unnamed.country), (None, Country::UNKNOWN), "{forwarded:?}");
    }
    // A page of this machine is looked at from this machine: a first try needs no proxy.
    let here = world.send(&Sender { forwarded: None, ..proxied }, |event| event.beacon.page.host = "localhost".into()).unwrap();
    assert!(here.visitor.is_some() && here.country == Country::UNKNOWN);
    let forged = world.send(&proxied, |event| event.beacon.page.host = "localhost".into()).unwrap();
    assert_eq!(forged.visitor, named.visitor, "a proxy's word counts for such a page too");
}

#[test]
fn a_strangers_forwarding_header_changes_nothing() {
    let world = world("forged");
    let honest = world.send(&GERMAN, |_| {}).unwrap();
    let forged = world.send(&Sender { forwarded: Some("8.8.8.8"), ..GERMAN }, |_| {}).unwrap();
    assert_eq!((forged.visitor, forged.country), (honest.visitor, Country(*b"DE")));
}

#[test]
fn the_owners_own_networks_are_left_out() {
    let office = Networks::parse(&["85.214.0.0/16"]).unwrap();
    let world = World::new("office", Trusted::Loopback, Site { ignore_from: office, ..samples::site("example.org") });
    assert_eq!(world.send(&GERMAN, |_| {}).unwrap_err(), Dropped::IgnoredNetwork.into());
    assert!(world.send(&Sender { peer: "8.8.8.8", ..GERMAN }, |_| {}).is_ok());
}

#[test]
fn seven_days_and_two_sites_give_pseudonyms_that_never_meet() {
    let sites = vec![samples::site("a.example"), Site { index: 1, ..samples::site("b.example") }];
    let mut world = world("join");
    world.sites = Sites::new(sites, vec![Zone::named("UTC").unwrap()]);
    let mut seen = std::collections::HashSet::new();
    for day in 0..7 {
        let received = NOON.plus(day * DAY);
        world.guards.keys.follow(&world.sites, received).unwrap();
        for site in world.sites.iter() {
            let event = world.send(&Sender { received, ..GERMAN }, |event| event.beacon.site = site).unwrap();
            assert!(seen.insert(event.visitor.unwrap().0), "day {day}");
        }
    }
    assert_eq!(seen.len(), 14);
}
