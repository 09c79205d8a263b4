//! The only door: raw address, agent and ids go in, a country, a pseudonym and the agent's families come out.
//!
//! Nothing behind this module can hold an address. A request's visitor is opened here once, by value, and dies here.

pub mod geo;
pub mod keys;
pub mod proxy;
pub mod pseudonym;
pub mod raw;
pub mod scrub;
pub mod secret;

use crate::beacon::Beacon;
use crate::clock::{Day, UnixMillis};
use crate::enrich::user_agent::Agent;
use crate::event::Country;
use pseudonym::Pseudonym;

/// One event with nobody in it: the address, the agent's text and every id are gone, and its texts are scrubbed.
pub struct Deidentified<'a> {
    /// What was said; paths, properties, campaign tags and the device's model are scrubbed, and the page's path carries the kept query.
    pub beacon: Beacon<'a>,
    /// What the user agent says.
    pub agent: Agent,
    /// Who, for the length of that day, on that site.
    pub visitor: Option<Pseudonym>,
    /// Where, as fine as it is ever told.
    pub country: Country,
    /// The calendar day it falls on, where the site lives.
    pub day: Day,
    /// When it happened.
    pub time: UnixMillis,
    /// Whether something in it was masked: the owner is shown a count.
    pub masked: bool,
}
