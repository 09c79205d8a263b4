//! Stub.

/// Networks of a configuration, as CIDRs.
#[derive(Clone, Debug, Default)]
pub struct Networks(Vec<ipnet::IpNet>);
