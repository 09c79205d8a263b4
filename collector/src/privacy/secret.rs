//! A site's secret, as a hash: what a backend shows before it may name its users' addresses.

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// SHA-256 of a secret. The secret itself has at least 128 random bits, so a slow hash would add cost and no safety.
#[derive(Clone)]
pub struct SecretHash([u8; 32]);

impl SecretHash {
    /// The hash of a secret as a backend shows it.
    pub fn of(secret: &[u8]) -> Self {
        Self(Sha256::digest(secret).into())
    }

    /// A hash as the configuration holds it: 64 hexadecimal digits. `None` when it is not that.
    pub fn from_hex(text: &str) -> Option<Self> {
        let digits = text.as_bytes();
        let mut hash = [0; 32];
        if digits.len() != 64 {
            return None;
        }
        for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
            let (high, low) = (char::from(pair[0]).to_digit(16)?, char::from(pair[1]).to_digit(16)?);
            *byte = u8::try_from(high << 4 | low).ok()?;
        }
        Some(Self(hash))
    }

    /// The text of the configuration.
    pub fn to_hex(&self) -> String {
        self.0.iter().fold(String::with_capacity(64), |mut text, byte| {
            for nibble in [byte >> 4, byte & 15] {
                text.extend(char::from_digit(u32::from(nibble), 16));
            }
            text
        })
    }

    /// Whether both are hashes of one secret; takes the same time whatever they hold.
    pub fn matches(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl std::fmt::Debug for SecretHash {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("SecretHash")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_matches_its_own_hash_alone() {
        // printf s3cret | sha256sum
        let stored = SecretHash::from_hex("1ec1c26b50d5d3c58d9583181af8076655fe00756bf7285940ba3670f99fcba0").unwrap();
        assert!(stored.matches(&SecretHash::of(b"s3cret")));
        for wrong in [&b"s3cre"[..], b"s3crets", b"", b"S3cret"] {
            assert!(!stored.matches(&SecretHash::of(wrong)));
        }
    }

    #[test]
    fn hexadecimal_is_read_back_and_anything_else_is_not() {
        let hash = SecretHash::of(b"x");
        assert!(SecretHash::from_hex(&hash.to_hex()).unwrap().matches(&hash));
        for wrong in ["", "ab", &"g".repeat(64), &"a".repeat(63), &"a".repeat(65), &"é".repeat(32)] {
            assert!(SecretHash::from_hex(wrong).is_none(), "{wrong}");
        }
        assert_eq!(format!("{hash:?}"), "SecretHash");
    }
}
