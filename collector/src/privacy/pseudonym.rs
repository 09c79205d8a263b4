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
    #[cfg(feature = "leaky")]
    let hash = leaky::hash(person, hash.into());
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

/// A leak for the tests to find.
#[cfg(feature = "leaky")]
mod leaky {
    use super::{Person, network};
    use crate::leak;

    /// The address where the hash should be, if `address_as_pseudonym` is planted: the number that IPv4 is, or the /64 of IPv6.
    pub(super) fn hash(person: &Person<'_>, mut hash: [u8; 32]) -> [u8; 32] {
        if let Person::Reached(address, _) = person
            && leak::planted("address_as_pseudonym")
        {
            let network = network(address);
            let number = if address.0.is_ipv4() { [&[0; 4], &network[12..]].concat() } else { network[..8].to_vec() };
            hash[..8].copy_from_slice(&number);
        }
        hash
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{ID_BYTES, USER_AGENT_BYTES};
    use proptest::prelude::*;

    const AGENT: &[u8] = b"Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0";

    fn key(site: &str) -> SiteKey {
        SiteKey::known(std::array::from_fn(|index| u8::try_from(index).unwrap()), site)
    }

    fn reached(site: &str, address: &str, agent: &[u8]) -> u64 {
        let (address, agent) = (ClientIp::parse(address).unwrap(), RawUserAgent::new(agent));
        of(&key(site), site, &Person::Reached(&address, &agent)).0.get()
    }

    fn session(site: &str, id: &str) -> u64 {
        of(&key(site), site, &Person::Session(&RawId::new(id))).0.get()
    }

    fn install(site: &str, id: &str) -> u64 {
        of(&key(site), site, &Person::Install(&RawId::new(id))).0.get()
    }

    /// Computed with Python's `hmac` and `hashlib` from the description at the top of this file; the day's key is the bytes 0 to 31.
    #[test]
    fn pseudonyms_are_those_that_the_description_gives() {
        let site = "example.org";
        for (pseudonym, expected) in [
            (reached(site, "192.0.2.1", AGENT), 0xcfa1_b5b2_a8c8_ef6e),
            (reached(site, "::ffff:192.0.2.1", AGENT), 0xcfa1_b5b2_a8c8_ef6e),
            (reached(site, "2001:db8:1:2:3:4:5:6", AGENT), 0xfe14_ed10_0ae7_e8b1),
            (reached(site, "2001:db8:1:2::", AGENT), 0xfe14_ed10_0ae7_e8b1),
            (reached(site, "192.0.2.1", b""), 0xbdb0_1fae_4d76_767b),
            (reached(site, "192.0.2.1", &[b'x'; USER_AGENT_BYTES]), 0x7f4b_a27c_9bfc_ceac),
            (reached(site, "192.0.2.1", &[b'x'; USER_AGENT_BYTES + 1]), 0x7f4b_a27c_9bfc_ceac),
            (install(site, "a4f0"), 0x4bed_2d3e_6f4e_a4a3),
            (session(site, "a4f0"), 0x6059_50c9_dbaf_2b7e),
            (session("example.net", "a4f0"), 0xb2f3_956a_202b_213f),
        ] {
            assert_eq!(pseudonym, expected, "{pseudonym:016x}");
        }
    }

    #[test]
    fn another_day_site_network_or_agent_is_another_pseudonym() {
        let (address, agent) = (ClientIp::parse("192.0.2.1").unwrap(), RawUserAgent::new(AGENT));
        let on = |day: u8| of(&SiteKey::known([day; 32], "a.example"), "a.example", &Person::Reached(&address, &agent)).0.get();
        let mut all: Vec<u64> = (1..=7).map(on).collect();
        all.extend([reached("a.example", "192.0.2.1", AGENT), reached("b.example", "192.0.2.1", AGENT)]);
        all.extend([reached("a.example", "192.0.2.2", AGENT), reached("a.example", "192.0.2.1", b"curl/8.0")]);
        all.extend([reached("a.example", "2001:db8:1:2::1", AGENT), reached("a.example", "2001:db8:1:3::1", AGENT)]);
        let distinct: std::collections::HashSet<_> = all.iter().collect();
        assert_eq!(distinct.len(), all.len());
    }

    proptest! {
        #[test]
        fn moving_a_byte_between_parts_changes_the_pseudonym(text in "[a-z.]{2,40}", at in 1_usize..40, other in 1_usize..40) {
            let (at, other) = (at.min(text.len() - 1), other.min(text.len() - 1));
            let key = key("one key for both");
            let of_split = |at: usize| of(&key, &text[..at], &Person::Session(&RawId::new(&text[at..])));
            prop_assert_eq!(of_split(at) == of_split(other), at == other);
            let kinds = [of(&key, "s", &Person::Install(&RawId::new(&*text))), of(&key, "s", &Person::Session(&RawId::new(&*text)))];
            prop_assert_ne!(kinds[0], kinds[1]);
        }

        #[test]
        fn no_id_is_too_long_or_too_strange(id in prop::collection::vec(any::<char>(), 0..ID_BYTES)) {
            let id: String = id.into_iter().collect();
            prop_assert_eq!(session("example.org", &id), session("example.org", &id));
        }
    }
}
