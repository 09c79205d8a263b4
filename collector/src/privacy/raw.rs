//! Raw identifiers: opaque, unprintable, single-use. None of them implements Debug, Display, Clone, Copy, Serialize, Hash, Eq, Deref or AsRef.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};

/// A visitor's address. Lives inside one request's handling.
pub struct ClientIp(pub(super) IpAddr);

/// The other end of a connection. Lives as long as the connection, and is looked at once for each of its requests.
pub struct Peer(pub(super) Option<IpAddr>);

impl Peer {
    /// The other end of a TCP connection.
    pub fn tcp(address: SocketAddr) -> Self {
        Self(Some(address.ip().to_canonical()))
    }
}

/// A visitor's user agent, at most [`crate::limits::USER_AGENT_BYTES`]. Lives inside one request's handling.
pub struct RawUserAgent<'a>(pub(super) Cow<'a, [u8]>);

/// An app's own id of an install or a session. Lives inside one request's handling.
pub struct RawId<'a>(pub(super) Cow<'a, str>);

/// Whoever made a request: address (absent when a trusted proxy names none) and agent.
pub struct Visitor<'a> {
    pub(super) ip: Option<ClientIp>,
    pub(super) agent: RawUserAgent<'a>,
}

#[cfg(test)]
impl<'a> Visitor<'a> {
    /// The visitor behind an unproxied request.
    pub(crate) fn direct(peer: &Peer, headers: &'a hyper::HeaderMap) -> Self {
        let agent = headers.get("user-agent").map_or(&[] as &[u8], |agent| agent.as_bytes());
        Self { ip: peer.0.map(ClientIp), agent: RawUserAgent(Cow::Borrowed(agent)) }
    }
}
