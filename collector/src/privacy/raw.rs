//! Raw identifiers: opaque, unprintable, single-use. None of them implements Debug, Display, Clone, Copy, Serialize, Hash, Eq, Deref or `AsRef`.
//!
//! Anybody may make one, only `privacy` can open it. Each of these must not compile; its twin, which differs in one line, must:
//!
//! ```compile_fail,E0277
//! let address = headcount::privacy::raw::ClientIp::parse("192.0.2.1").unwrap();
//! println!("{address:?}");
//! ```
//! ```
//! let address = headcount::privacy::raw::ClientIp::parse("192.0.2.1").unwrap();
//! drop(address);
//! ```
//!
//! ```compile_fail,E0616
//! let agent = headcount::privacy::raw::RawUserAgent::new(b"Mozilla/5.0");
//! let text = agent.0;
//! ```
//! ```
//! let agent = headcount::privacy::raw::RawUserAgent::new(b"Mozilla/5.0");
//! let text = agent;
//! ```
//!
//! ```compile_fail,E0599
//! let id = headcount::privacy::raw::RawId::new("a4f0");
//! let copy = id.clone();
//! ```
//! ```
//! let id = headcount::privacy::raw::RawId::new("a4f0");
//! let moved = id;
//! ```
//!
//! ```compile_fail,E0382
//! fn deidentify(visitor: headcount::privacy::raw::Visitor<'_>) {}
//! fn twice(visitor: headcount::privacy::raw::Visitor<'_>) {
//!     deidentify(visitor);
//!     deidentify(visitor);
//! }
//! ```
//! ```
//! fn deidentify(visitor: headcount::privacy::raw::Visitor<'_>) {}
//! fn twice(visitor: headcount::privacy::raw::Visitor<'_>) {
//!     deidentify(visitor);
//! }
//! ```

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};

use super::proxy::Forwarding;
use crate::limits::USER_AGENT_BYTES;

/// A visitor's address. Lives inside one request's handling.
pub struct ClientIp(pub(super) IpAddr);

impl ClientIp {
    /// An address as a backend writes it into `client_ip`: dotted or IPv6, nothing else. `None` when it is neither.
    pub fn parse(text: &str) -> Option<Self> {
        text.parse::<IpAddr>().ok().map(|address| Self(address.to_canonical()))
    }
}

/// The other end of a connection. Lives as long as the connection, and is looked at once for each of its requests.
pub struct Peer(pub(super) Option<IpAddr>);

impl Peer {
    /// The other end of a TCP connection.
    pub fn tcp(address: SocketAddr) -> Self {
        Self(Some(address.ip().to_canonical()))
    }

    /// The other end of a Unix socket: always a process on this machine.
    pub fn unix() -> Self {
        Self(None)
    }
}

/// A visitor's user agent, at most [`USER_AGENT_BYTES`]. Lives inside one request's handling.
pub struct RawUserAgent<'a>(pub(super) Cow<'a, [u8]>);

impl<'a> RawUserAgent<'a> {
    /// An agent as sent; what is over the bound is cut off.
    pub fn new(agent: impl Into<Cow<'a, [u8]>>) -> Self {
        match agent.into() {
            Cow::Borrowed(bytes) => Self(Cow::Borrowed(&bytes[..bytes.len().min(USER_AGENT_BYTES)])),
            Cow::Owned(mut bytes) => {
                bytes.truncate(USER_AGENT_BYTES);
                Self(Cow::Owned(bytes))
            }
        }
    }

    /// No agent at all.
    pub fn absent() -> Self {
        Self(Cow::Borrowed(&[]))
    }
}

/// An app's own id of an install or a session. Lives inside one request's handling.
pub struct RawId<'a>(pub(super) Cow<'a, str>);

impl<'a> RawId<'a> {
    /// An id as sent. Its bound is the decoder's to judge.
    pub fn new(id: impl Into<Cow<'a, str>>) -> Self {
        Self(id.into())
    }
}

/// Whoever made a request: address (absent when a trusted proxy names none) and agent. Made by [`super::proxy::Trust::visitor`].
pub struct Visitor<'a> {
    pub(super) address: Address,
    pub(super) agent: RawUserAgent<'a>,
    pub(super) forwarding: Forwarding,
}

/// What is known about where a request came from.
pub(super) enum Address {
    /// The visitor's own.
    Known(ClientIp),
    /// A trusted proxy names nobody.
    Nobody,
    /// A process on this machine names nobody: a proxy that was not told to, or the owner's own browser looking at a page of this machine.
    ThisMachine,
}

impl Visitor<'_> {
    /// How the address was come by: for the count, the one warning and the banner.
    pub fn forwarding(&self) -> Forwarding {
        self.forwarding
    }
}

#[cfg(test)]
impl<'a> Visitor<'a> {
    /// The visitor behind an unproxied request.
    pub(crate) fn direct(peer: &Peer, headers: &'a hyper::HeaderMap) -> Self {
        super::proxy::Trust::new(super::proxy::Trusted::Nobody, hyper::header::FORWARDED).visitor(peer, headers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails to compile when `$type` implements `$bound`: then two implementations of `Forbidden` fit, and the call is ambiguous.
    macro_rules! implements_none {
        ($type:ty: $($bound:path),+ $(,)?) => {
            $(const _: fn() = || {
                trait Forbidden<Marker> { fn touch() {} }
                impl<T: ?Sized> Forbidden<()> for T {}
                struct Implemented;
                impl<T: ?Sized + $bound> Forbidden<Implemented> for T {}
                let _ = <$type as Forbidden<_>>::touch;
            };)+
        };
    }

    macro_rules! opaque {
        ($($type:ty),+ $(,)?) => {
            $(implements_none!($type: std::fmt::Debug, std::fmt::Display, Clone, Copy, std::hash::Hash, PartialEq, Eq, PartialOrd,
                std::ops::Deref, AsRef<[u8]>, AsRef<str>, std::borrow::Borrow<str>, Into<IpAddr>, Into<String>, Into<Vec<u8>>, serde::Serialize);)+
        };
    }

    opaque!(ClientIp, Peer, RawUserAgent<'static>, RawId<'static>, Visitor<'static>, Address);
    opaque!(crate::beacon::Identity<'static>, crate::beacon::Decoded<'static>);
    opaque!(crate::privacy::keys::DayKey, crate::privacy::keys::SiteKey, crate::privacy::Door<'static, 'static>);

    #[test]
    fn an_agent_is_cut_to_its_bound() {
        let long = vec![b'a'; USER_AGENT_BYTES + 1];
        assert_eq!(RawUserAgent::new(&long[..]).0.len(), USER_AGENT_BYTES);
        assert_eq!(RawUserAgent::new(long).0.len(), USER_AGENT_BYTES);
    }

    #[test]
    fn client_ip_is_an_address_and_nothing_else() {
        for (text, good) in [
            ("192.0.2.1", true),
            ("2001:db8::1", true),
            ("::ffff:192.0.2.1", true),
            ("192.0.2.1:80", false),
            ("[2001:db8::1]", false),
            ("fe80::1%eth0", false),
            ("192.0.2", false),
            ("", false),
            ("localhost", false),
        ] {
            assert_eq!(ClientIp::parse(text).is_some(), good, "{text}");
        }
    }
}
