//! Leaks that are planted on purpose, so that each privacy test can show that it would find one. Nothing of it exists without the feature `leaky`.
//!
//! A build with the feature plants the leaks whose names stand in `HEADCOUNT_LEAK`, separated by commas. The names:
//!
//! | name | what leaks |
//! |---|---|
//! | `gpc_ignored` | a refusal by `Sec-GPC` or `gpc` is overlooked |
//! | `forwarded_trusted` | every peer is believed when it forwards an address |
//! | `pseudonym_without_day_key` | pseudonyms are made with a key that never changes |
//! | `key_kept` | a day's key stays in memory and on disk after its death |

/// Whether the leak of that name is planted in this process.
#[cfg(feature = "leaky")]
pub fn planted(name: &str) -> bool {
    static PLANTED: std::sync::LazyLock<String> = std::sync::LazyLock::new(|| std::env::var("HEADCOUNT_LEAK").unwrap_or_default());
    PLANTED.split(',').any(|planted| planted == name)
}

/// Whether the leak of that name is planted in this process: never, in a build without the feature.
#[cfg(not(feature = "leaky"))]
#[inline]
pub const fn planted(_name: &str) -> bool {
    false
}
