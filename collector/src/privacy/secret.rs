//! A site's secret, as a hash: what a backend shows before it may name its users' addresses.

use sha2::{Digest, Sha256};

/// SHA-256 of a secret.
#[derive(Clone, Debug)]
pub struct SecretHash(pub(crate) [u8; 32]);

impl SecretHash {
    /// Reads the 64 hexadecimal digits of a configuration.
    pub fn from_hex(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        for (byte, at) in bytes.iter_mut().zip((0..).step_by(2)) {
            *byte = u8::from_str_radix(text.get(at..at + 2)?, 16).ok()?;
        }
        Some(Self(bytes))
    }

    /// Hashes what was shown.
    pub fn of(secret: &[u8]) -> Self {
        Self(Sha256::digest(secret).into())
    }
}
