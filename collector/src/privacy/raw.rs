//! Raw identifiers: opaque, unprintable, single-use. None of them implements Debug, Display, Clone, Copy, Serialize, Hash, Eq, Deref or AsRef.

use std::borrow::Cow;
use std::net::IpAddr;

/// A visitor's address. Lives inside one request's handling.
pub struct ClientIp(pub(super) IpAddr);

/// A visitor's user agent, at most [`crate::limits::USER_AGENT_BYTES`]. Lives inside one request's handling.
pub struct RawUserAgent<'a>(pub(super) Cow<'a, [u8]>);

/// An app's own id of an install or a session. Lives inside one request's handling.
pub struct RawId<'a>(pub(super) Cow<'a, str>);

/// Whoever made a request: address (absent when a trusted proxy names none) and agent.
pub struct Visitor<'a> {
    pub(super) ip: Option<ClientIp>,
    pub(super) agent: RawUserAgent<'a>,
}
