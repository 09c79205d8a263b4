//! A site's secret, as a hash: what a backend shows before it may name its users' addresses.

/// SHA-256 of a secret.
#[derive(Clone, Debug)]
pub struct SecretHash(pub(crate) [u8; 32]);
