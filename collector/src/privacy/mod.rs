//! The only door: raw address, agent and ids go in, a country, a pseudonym and the agent's families come out.
//!
//! Nothing behind this module can hold an address. A request's visitor is opened here once, by value, and dies here: the events of a batch borrow what the
//! [`Door`] holds, and address and agent are looked at only once an event is there that consent lets through.

pub mod geo;
pub mod keys;
pub mod proxy;
pub mod pseudonym;
pub mod raw;
pub mod scrub;
pub mod secret;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use crate::beacon::{Beacon, Decoded, Identity};
use crate::clock::{Day, UnixMillis};
use crate::consent::{Consented, Level};
use crate::days::{Intake, Standing};
use crate::enrich::user_agent::{Agent, AgentCache, Agents};
use crate::event::Country;
use crate::leak;
use crate::outcome::{Dropped, Refused, Rejection};
use crate::site::Sites;
use geo::Geo;
use keys::{Keys, Ring};
use proxy::Trust;
use pseudonym::{Person, Pseudonym};
use raw::{Address, ClientIp, RawUserAgent, Visitor};

/// What the door needs and the whole process shares.
pub struct Guards {
    /// Whose address a request has.
    pub trust: Trust,
    /// Countries.
    pub geo: Geo,
    /// The keys of the day.
    pub keys: Keys,
    /// How long a day takes events.
    pub intake: Intake,
    /// Patterns of user agents.
    pub agents: Agents,
}

/// An event without anybody in it: what may be enriched and stored.
#[derive(Debug)]
pub struct Deidentified<'a> {
    /// What was said, every text masked; the kept query is part of the path.
    pub beacon: Beacon<'a>,
    /// What the visitor's agent says.
    pub agent: Agent,
    /// Who, for that day on that site, if that may be known.
    pub visitor: Option<Pseudonym>,
    /// Where from.
    pub country: Country,
    /// The calendar day, where the site lives.
    pub day: Day,
    /// When.
    pub time: UnixMillis,
    /// Whether the path was masked: owners are shown how often.
    pub masked: bool,
}

/// One request's visitor, and what the request's events have already learned of it.
pub struct Door<'d, 'v> {
    guards: &'d Guards,
    sites: &'d Sites,
    agents: &'d mut AgentCache,
    ring: arc_swap::Guard<Arc<Ring>>,
    visitor: Visitor<'v>,
    received: UnixMillis,
    agent: Option<Agent>,
    country: Option<Country>,
}

/// Everything that is raw about one event: the request's own visitor, or the one that a backend names.
struct Reached<'r> {
    address: Option<&'r ClientIp>,
    agent: &'r RawUserAgent<'r>,
}

/// The address of a visitor whose page and proxy are both on this machine.
const THIS_MACHINE: ClientIp = ClientIp(IpAddr::V4(Ipv4Addr::LOCALHOST));

impl<'d, 'v> Door<'d, 'v> {
    /// Takes a request's `visitor`, who came at `received`. `agents` is the worker's own memory of agents.
    pub fn open(guards: &'d Guards, sites: &'d Sites, agents: &'d mut AgentCache, visitor: Visitor<'v>, received: UnixMillis) -> Self {
        Self { guards, sites, agents, ring: guards.keys.ring(), visitor, received, agent: None, country: None }
    }

    /// Turns an event that consent lets through into one without anybody in it.
    pub fn deidentify<'a>(&mut self, event: Consented<Decoded<'a>>) -> Result<Deidentified<'a>, Rejection> {
        let (level, granted) = (event.level(), event.granted());
        let Decoded { mut beacon, identity, .. } = event.into_inner();
        let site = beacon.site;
        let zone = self.sites.zone(site.zone);
        let today = self.ring.today(zone, self.received).ok_or(Refused::NoKey)?;
        let place = today.place(zone, self.guards.intake, self.received, beacon.age_millis);
        if place.standing == Standing::Closed {
            return Err(Refused::TooOld.into());
        }
        let nobody = RawUserAgent::absent();
        let reached = if identity.backend { Reached::named_by(&identity, &nobody) } else { Reached::connected(&self.visitor, &beacon) };
        if reached.address.is_some_and(|address| site.ignore_from.hold(address)) {
            return Err(Dropped::IgnoredNetwork.into());
        }
        let visitor = match (level, place.standing) {
            (Level::Pseudonymous, Standing::Today | Standing::Yesterday) => {
                let person = reached.person(&identity, granted);
                let key = self.ring.site_key(zone, place.day, &site.id, self.received);
                person.zip(key).map(|(person, key)| pseudonym::of(&key, &site.id, &person))
            }
            (Level::Anonymous, _) | (_, Standing::Earlier | Standing::Closed) => None,
        };
        let country = |address: Option<&ClientIp>| address.map_or(Country::UNKNOWN, |address| self.guards.geo.country(address));
        let (agent, country) = if identity.backend {
            (self.agents.classify(&self.guards.agents, &reached.agent.0), country(reached.address))
        } else {
            let agent = self.agent.get_or_insert_with(|| self.agents.classify(&self.guards.agents, &reached.agent.0));
            (*agent, *self.country.get_or_insert_with(|| country(reached.address)))
        };
        let masked = !leak::planted("unmasked") && scrub::beacon(&mut beacon);
        #[cfg(feature = "leaky")]
        reached.leak(&identity, &mut beacon);
        Ok(Deidentified { beacon, agent, visitor, country, day: place.day, time: place.time, masked })
    }
}

impl<'r> Reached<'r> {
    /// Whom a backend names: the backend's own address and agent say nothing about its visitors.
    fn named_by(identity: &'r Identity<'_>, nobody: &'r RawUserAgent<'r>) -> Self {
        Self { address: identity.client_ip.as_ref(), agent: identity.client_agent.as_ref().unwrap_or(nobody) }
    }

    /// Who made the request. A process on this machine that names nobody is a proxy, or the browser of somebody who looks at a page of this machine.
    fn connected(visitor: &'r Visitor<'_>, beacon: &Beacon<'_>) -> Self {
        let address = match &visitor.address {
            Address::Known(address) => Some(address),
            Address::ThisMachine if on_this_machine(&beacon.page.host) => Some(&THIS_MACHINE),
            Address::ThisMachine | Address::Nobody => None,
        };
        Self { address, agent: &visitor.agent }
    }

    /// Whom the pseudonym stands for: the app's own word first, for it tells people behind one address apart.
    fn person(&self, identity: &'r Identity<'_>, granted: bool) -> Option<Person<'r>> {
        match (&identity.install_id, &identity.session, self.address) {
            (Some(install), _, _) if granted => Some(Person::Install(install)),
            (_, Some(session), _) => Some(Person::Session(session)),
            (_, None, Some(address)) => Some(Person::Reached(address, self.agent)),
            (_, None, None) => None,
        }
    }

    /// Lets out whatever is planted.
    #[cfg(feature = "leaky")]
    fn leak(&self, identity: &Identity<'_>, beacon: &mut Beacon<'_>) {
        if let Some(address) = self.address {
            leak::log("address_in_log", &address.0);
        }
        if let Some(id) = &identity.install_id {
            leak::label(&id.0);
        }
        if leak::planted("agent_in_row") {
            beacon.app_version = String::from_utf8_lossy(&self.agent.0).into_owned().into();
        }
    }
}

fn on_this_machine(host: &str) -> bool {
    matches!(host, "localhost" | "127.0.0.1" | "[::1]" | "::1") || host.ends_with(".localhost")
}

#[cfg(test)]
mod tests;
