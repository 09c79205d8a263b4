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

#[cfg(all(test, feature = "leaky"))]
mod tests {
    /// Each leak, and a test of this crate that must find it.
    const FOUND_BY: &[(&str, &str)] = &[
        ("gpc_ignored", "consent::tests::the_lowest_vote_wins_for_every_pair_of_signals_under_every_policy"),
        ("forwarded_trusted", "privacy::tests::a_strangers_forwarding_header_changes_nothing"),
        ("pseudonym_without_day_key", "privacy::tests::seven_days_and_two_sites_give_pseudonyms_that_never_meet"),
        ("key_kept", "privacy::keys::wiped::a_dead_key_is_nowhere_in_memory"),
    ];

    #[test]
    fn every_planted_leak_is_found_and_none_is_found_without() {
        for (leak, test) in FOUND_BY {
            let run = |planted: &str| {
                let this = std::env::current_exe().unwrap();
                let output = std::process::Command::new(this).args([*test, "--exact"]).env("HEADCOUNT_LEAK", planted).output().unwrap();
                assert!(String::from_utf8_lossy(&output.stdout).contains("running 1 test"), "{test} exists");
                output.status.success()
            };
            assert!(run(""), "{test} passes when nothing leaks");
            assert!(!run(leak), "{test} must find {leak}");
        }
    }
}
