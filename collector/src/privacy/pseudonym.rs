//! The pseudonym: a keyed hash of who made an event, good for one site and one day.
//!
//! HMAC-SHA256 under the site's key of the day, over parts, each preceded by its length as four bytes, little-endian:
//!
//! | part | bytes |
//! |---|---|
//! | version | 1, the value [`VERSION`] |
//! | site id | as configured |
//! | kind | 1: `a` address and agent, `i` install id, `s` session id |
//! | address | 16, kind `a` only: IPv4 mapped into IPv6, IPv6 with its last eight bytes zero |
//! | agent or id | the agent's first 512 bytes, or the id |
//!
//! The first eight bytes of the result, big-endian, are the pseudonym; zero, which means "none", becomes one.

use std::net::IpAddr;
use std::num::NonZeroU64;

use hmac::Mac;

use super::keys::SiteKey;
use super::raw::{ClientIp, RawId, RawUserAgent};

/// Version of the construction, hashed with it: a change of any rule above is a new version.
pub const VERSION: u8 = 1;

/// A visitor for one day on one site: the first 64 bits of a keyed hash, never zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pseudonym(pub(crate) NonZeroU64);

/// Whom a pseudonym stands for.
pub(super) enum Person<'a> {
    /// Whoever has this address and this agent.
    Reached(&'a ClientIp, &'a RawUserAgent<'a>),
    /// An app's install; only with a granted consent.
    Install(&'a RawId<'a>),
    /// An app's session.
    Session(&'a RawId<'a>),
}

/// The pseudonym of `person` on `site`, under that site's key of the day.
pub(super) fn of(key: &SiteKey, site: &str, person: &Person<'_>) -> Pseudonym {
    let mut mac = key.mac();
    let mut part = |bytes: &[u8]| {
        let length = u32::try_from(bytes.len()).expect("every part is far below 4 GiB: ids, agents and site ids have bounds");
        mac.update(&length.to_le_bytes());
        mac.update(bytes);
    };
    part(&[VERSION]);
    part(site.as_bytes());
    match person {
        Person::Reached(address, agent) => {
            part(b"a");
            part(&network(address));
            part(&agent.0);
        }
        Person::Install(id) => {
            part(b"i");
            part(id.0.as_bytes());
        }
        Person::Session(id) => {
            part(b"s");
            part(id.0.as_bytes());
        }
    }
    let hash = mac.finalize().into_bytes();
    let first = hash.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
    Pseudonym(NonZeroU64::new(first).unwrap_or(NonZeroU64::MIN))
}

/// An IPv4 address mapped into IPv6; an IPv6 address cut to its /64, which is what a household gets.
fn network(address: &ClientIp) -> [u8; 16] {
    match address.0.to_canonical() {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => {
            let mut octets = address.octets();
            octets[8..].fill(0);
            octets
        }
    }
}
