//! Whose address a request has: the peer's, or what trusted proxies say about it.
//!
//! One header is believed, and only from a trusted peer. Its entries are walked from the right, each written by the hop before: as long as an entry is
//! itself a trusted proxy the walk goes on, and the first that is not is the visitor. An entry that is no address ends the walk with nobody named.

use std::net::IpAddr;

use hyper::HeaderMap;
use hyper::header::{FORWARDED, HeaderName, USER_AGENT};
use ipnet::IpNet;

use super::raw::{Address, ClientIp, Peer, RawUserAgent, Visitor};
use crate::leak;
use crate::limits::FORWARDED_HOPS;

/// This machine.
const LOOPBACK: &[&str] = &["127.0.0.0/8", "::1/128"];

/// The address pools that Docker takes its networks from. A port that Docker publishes reaches the container from its gateway, which lies in them.
const DOCKER: &[&str] = &["172.16.0.0/12", "192.168.0.0/16", "fc00::/7"];

/// Cloudflare's edge, <https://www.cloudflare.com/ips/>, as of 2025-09. Pinned: a list that is fetched can be forged.
const CLOUDFLARE: &[&str] = &[
    "173.245.48.0/20",
    "103.21.244.0/22",
    "103.22.200.0/22",
    "103.31.4.0/22",
    "141.101.64.0/18",
    "108.162.192.0/18",
    "190.93.240.0/20",
    "188.114.96.0/20",
    "197.234.240.0/22",
    "198.41.128.0/17",
    "162.158.0.0/15",
    "104.16.0.0/13",
    "104.24.0.0/14",
    "172.64.0.0/13",
    "131.0.72.0/22",
    "2400:cb00::/32",
    "2606:4700::/32",
    "2803:f800::/32",
    "2405:b500::/32",
    "2405:8100::/32",
    "2a06:98c0::/29",
    "2c0f:f248::/32",
];

/// Networks of a configuration, as CIDRs.
#[derive(Clone, Debug, Default)]
pub struct Networks(Vec<IpNet>);

/// The position of a text that is neither a network nor an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotANetwork(pub usize);

impl Networks {
    /// Reads networks (`10.0.0.0/8`) and single addresses.
    pub fn parse<T: AsRef<str>>(texts: &[T]) -> Result<Self, NotANetwork> {
        let read = |(at, text): (usize, &T)| network(text.as_ref()).ok_or(NotANetwork(at));
        texts.iter().enumerate().map(read).collect::<Result<_, _>>().map(Self)
    }

    fn preset(lists: &[&[&str]]) -> Self {
        Self(lists.iter().copied().flatten().filter_map(|text| network(text)).collect())
    }

    /// Whether no network is listed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn hold(&self, address: &ClientIp) -> bool {
        self.contain(address.0)
    }

    fn contain(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }
}

fn network(text: &str) -> Option<IpNet> {
    text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}

/// The peers that may name a visitor's address.
#[derive(Clone, Debug)]
pub enum Trusted {
    /// Nobody: the socket's address counts.
    Nobody,
    /// A proxy on this machine.
    Loopback,
    /// A proxy on this machine or in a container network.
    Docker,
    /// Cloudflare's published ranges, and a proxy on this machine.
    Cloudflare,
    /// These networks.
    Networks(Networks),
}

/// Which peers are believed when they name another's address, and in which header.
#[derive(Debug)]
pub struct Trust {
    proxies: Networks,
    /// Whether the other end of a Unix socket is believed; who may open one, the file system says.
    unix: bool,
    header: HeaderName,
}

impl Trust {
    /// Believes `trusted` peers when they name a visitor in `header`.
    pub fn new(trusted: Trusted, header: HeaderName) -> Self {
        let unix = !matches!(trusted, Trusted::Nobody);
        let proxies = match trusted {
            Trusted::Nobody => Networks::default(),
            Trusted::Loopback => Networks::preset(&[LOOPBACK]),
            Trusted::Docker => Networks::preset(&[LOOPBACK, DOCKER]),
            Trusted::Cloudflare => Networks::preset(&[LOOPBACK, CLOUDFLARE]),
            Trusted::Networks(networks) => networks,
        };
        Self { proxies, unix, header }
    }

    /// Who made a request that came from `peer` with `headers`.
    pub fn visitor<'h>(&self, peer: &Peer, headers: &'h HeaderMap) -> Visitor<'h> {
        let agent = headers.get(USER_AGENT).map_or_else(RawUserAgent::absent, |agent| RawUserAgent::new(agent.as_bytes()));
        let (address, forwarding) = self.locate(peer, headers);
        Visitor { address, agent, forwarding }
    }

    fn locate(&self, peer: &Peer, headers: &HeaderMap) -> (Address, Forwarding) {
        let forwards = headers.contains_key(&self.header);
        let trusted = peer.0.map_or(self.unix, |peer| self.proxies.contain(peer)) || leak::planted("forwarded_trusted");
        match peer.0 {
            _ if trusted && forwards => match self.walk(headers) {
                Some(address) => (Address::Known(ClientIp(address)), Forwarding::Named),
                None => (Address::Nobody, Forwarding::Unnamed),
            },
            None if trusted => (Address::ThisMachine, Forwarding::Unnamed),
            Some(peer) if trusted && peer.is_loopback() => (Address::ThisMachine, Forwarding::Unnamed),
            Some(_) if trusted => (Address::Nobody, Forwarding::Unnamed),
            Some(peer) => {
                let forwarding = match (forwards, is_private(peer)) {
                    (false, _) => Forwarding::Direct,
                    (true, true) => Forwarding::IgnoredFromPrivatePeer,
                    (true, false) => Forwarding::IgnoredFromPublicPeer,
                };
                (Address::Known(ClientIp(peer)), forwarding)
            }
            None if forwards => (Address::ThisMachine, Forwarding::IgnoredFromPrivatePeer),
            None => (Address::ThisMachine, Forwarding::Direct),
        }
    }

    /// The first entry from the right that is no trusted proxy; the leftmost when all are (a visitor inside the proxies' own network).
    fn walk(&self, headers: &HeaderMap) -> Option<IpAddr> {
        let mut last = None;
        let mut hops = 0;
        for value in headers.get_all(&self.header).iter().rev() {
            let value = value.to_str().ok()?;
            let entries = if self.header == FORWARDED { forwarded(value)? } else { listed(value) };
            for entry in entries.iter().rev() {
                hops += 1;
                let address = entry.filter(|_| hops <= FORWARDED_HOPS)?;
                if !self.proxies.contain(address) {
                    return Some(address);
                }
                last = Some(address);
            }
        }
        last
    }
}

/// How a visitor's address was come by. A closed list, for counting: it says nothing about anybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Forwarding {
    /// The peer itself, and no header that says otherwise.
    Direct,
    /// A trusted proxy names the visitor.
    Named,
    /// A trusted proxy names nobody: no address, no country, no pseudonym from an address.
    Unnamed,
    /// A forwarding header came from a peer in a private network that is not trusted: most likely the operator's own proxy. Deserves the warning and the banner.
    IgnoredFromPrivatePeer,
    /// A forwarding header came from a stranger: a forgery, or a visitor's own proxy.
    IgnoredFromPublicPeer,
}

impl Forwarding {
    /// Every value, in the order of their index.
    pub const ALL: [Self; 5] = [Self::Direct, Self::Named, Self::Unnamed, Self::IgnoredFromPrivatePeer, Self::IgnoredFromPublicPeer];

    /// The name in metrics and pages.
    pub fn label(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Named => "named",
            Self::Unnamed => "unnamed",
            Self::IgnoredFromPrivatePeer => "ignored_from_private_peer",
            Self::IgnoredFromPublicPeer => "ignored_from_public_peer",
        }
    }
}

/// Whether an address is of this machine or of a network that is nowhere in particular (RFC 1918, 4193, 6598, link-local).
pub(super) fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            v4.is_private() || v4.is_loopback() || v4.is_link_local() || (v4.octets()[0] == 100 && v4.octets()[1] & 0xc0 == 64)
        }
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local(),
    }
}

/// The entries of a plain list (`X-Forwarded-For`, and headers with one address); `None` in it is an entry that names nobody.
fn listed(value: &str) -> Vec<Option<IpAddr>> {
    value.split(',').map(|entry| entry.trim_matches([' ', '\t'])).filter(|entry| !entry.is_empty()).map(node).collect()
}

/// The `for` of each element of a `Forwarded` value (RFC 7239, section 4). `None` when any part of it is malformed: there is no reading half of it.
fn forwarded(value: &str) -> Option<Vec<Option<IpAddr>>> {
    let mut elements = Vec::new();
    let mut rest = value;
    loop {
        let (mut seen, mut names) = (false, None);
        rest = blank(rest);
        if !rest.is_empty() && !rest.starts_with(',') {
            loop {
                let (name, after) = token(rest)?;
                let (text, after) = token_or_quoted(after.strip_prefix('=')?)?;
                if name.eq_ignore_ascii_case("for") {
                    if std::mem::replace(&mut seen, true) {
                        return None;
                    }
                    names = node(&text);
                }
                rest = after;
                let Some(next) = after.strip_prefix(';') else { break };
                rest = next;
            }
            elements.push(names);
            rest = blank(rest);
        }
        match rest.strip_prefix(',') {
            Some(next) => rest = next,
            None => return rest.is_empty().then_some(elements),
        }
    }
}

fn blank(text: &str) -> &str {
    text.trim_start_matches([' ', '\t'])
}

/// A token of RFC 9110, section 5.6.2, and what follows it.
fn token(text: &str) -> Option<(&str, &str)> {
    let end = text.bytes().position(|byte| !(byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))).unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

fn token_or_quoted(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        return token(text).map(|(token, rest)| (token.into(), rest));
    };
    let (mut content, mut characters) = (String::new(), quoted.char_indices());
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((content, &quoted[at + 1..])),
            '\\' => content.push(characters.next()?.1),
            other => content.push(other),
        }
    }
    None
}

/// An address with or without port, brackets and zone. `unknown`, obfuscated names and anything else name nobody.
fn node(text: &str) -> Option<IpAddr> {
    let address = if let Some(bracketed) = text.strip_prefix('[') {
        let (inside, after) = bracketed.split_once(']')?;
        if !after.is_empty() && !is_port(after.strip_prefix(':')?) {
            return None;
        }
        IpAddr::V6(unzoned(inside).parse().ok()?)
    } else if let Some((host, port)) = text.split_once(':').filter(|(_, port)| !port.contains(':')) {
        if !is_port(port) {
            return None;
        }
        IpAddr::V4(host.parse().ok()?)
    } else {
        unzoned(text).parse().ok()?
    };
    Some(address.to_canonical()).filter(|address| !address.is_unspecified())
}

/// A port of RFC 7239, section 6.2: digits, or an obfuscated name.
fn is_port(text: &str) -> bool {
    match text.strip_prefix('_') {
        Some(name) => !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte)),
        None => (1..=5).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit()),
    }
}

fn unzoned(text: &str) -> &str {
    text.split_once('%').map_or(text, |(address, _)| address)
}

#[cfg(test)]
mod tests;
