//! Stub.

/// Networks of a configuration, as CIDRs.
#[derive(Clone, Debug, Default)]
pub struct Networks(Vec<ipnet::IpNet>);

/// The position of a text that is neither a network nor an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotANetwork(pub usize);

impl Networks {
    /// Reads networks (`10.0.0.0/8`) and single addresses.
    pub fn parse(texts: &[String]) -> Result<Self, NotANetwork> {
        let read = |(at, text): (usize, &String)| {
            text.parse().or_else(|_| text.parse::<std::net::IpAddr>().map(ipnet::IpNet::from)).map_err(|_| NotANetwork(at))
        };
        texts.iter().enumerate().map(read).collect::<Result<_, _>>().map(Self)
    }
}
