//! Leaks that are planted on purpose, so that each privacy or fault test can show that it would find one. Nothing of it exists without the feature `leaky`.
//!
//! A build with the feature plants the leaks whose names stand in `HEADCOUNT_LEAK`, separated by commas. The names:
//!
//! | name | what leaks |
//! |---|---|
//! | `gpc_ignored` | a refusal by `Sec-GPC` or `gpc` is overlooked |
//! | `wishes_ignored` | every signal of a visitor is overlooked |
//! | `forwarded_trusted` | every peer is believed when it forwards an address |
//! | `pseudonym_without_day_key` | pseudonyms are made with a key that never changes |
//! | `address_as_pseudonym` | the address itself stands where the pseudonym should |
//! | `key_kept` | a day's key stays in memory and on disk after its death |
//! | `dead_key_used` | a request that comes after a key's death is still given the key, while it is in memory |
//! | `keys_unlocked` | the ring of keys is replaced by two at a time |
//! | `address_in_log` | the address is logged, at the finest level |
//! | `agent_in_row` | the user agent is stored as the app's version |
//! | `id_in_metric` | an install id is the label of a metric |
//! | `unmasked` | properties and paths are stored as they were sent |
//! | `target_in_answer` | an answer repeats the path that was asked for |
//! | `panic_text` | the text of a panic is logged |
//! | `city_accepted` | a database that knows cities is opened |
//! | `database_error_text` | what ClickHouse says of a batch that it does not take is logged |
//! | `never_stripped` | a segment that has waited for a week keeps its pseudonyms |
//! | `never_erased` | the visits of a closed day stay, with their pseudonyms |
//! | `cells_left` | a deletion leaves cells of the open rollup, and pairs of a closed day |
//! | `backup_raw` | a backup holds the raw events as well |
//! | `small_counts_shown` | an answer of the API names values however few visitors share them |
//! | `small_counts_shared` | a link to a site's closed days names values however few visitors share them |
//! | `parts_overlooked` | an answer of the API is told again though the tables hold something else |
//! | `share_as_admin` | who has a link may ask what an admin may ask |
//! | `widening_accepted` | a configuration that would collect more than is promised is taken |
//!
//! Protections of the spool and the sink that are taken out in the same way, so that each fault test can show that it would find a loss:
//!
//! | name | what is taken out |
//! |---|---|
//! | `no_sync` | what is written to a segment is not synced |
//! | `no_folder_sync` | names in the spool's folder are not synced |
//! | `no_part_sync` | ClickHouse does not sync what an insert brings |
//! | `no_name_sync` | the folders in which ClickHouse's tables and parts have their names are not synced |
//! | `answered_before_sync` | a commit is answered before it is synced |
//! | `poisoned_synced_again` | a segment whose sync failed is written and synced again |
//! | `refused_kept` | what was refused stays in its segment until after the answer |
//! | `failure_overlooked` | a commit that failed is answered as if it were kept |
//! | `numbers_not_reserved` | numbers of segments are given before they are reserved on the disk |
//! | `checksum_ignored` | a frame is taken for good whatever its checksum says |
//! | `no_token` | each attempt of an insert has a token of its own |
//! | `no_read_back` | what became of an attempt is not asked: nothing, it is taken |
//! | `no_marker` | the rollup's proof of a batch is not asked for: it is taken to have what the table has |
//! | `copy_beside_original` | a segment and the copy that took its place both count |
//! | `wakeup_lost` | the sync thread does not wake the worker whose commit is done |
//! | `names_not_recalled` | a start does not look which keys and ids the segments hold that it finds |
//! | `names_lost_with_segment` | a delivered segment is removed without its keys and ids being written down |
//! | `all_admitted` | nobody is turned away from a disk that is slow or hangs |
//! | `pending_known` | a key or id whose commit has not ended counts as stored |
//!
//! And one fault that no visitor can cause: `panic` panics over a batch that holds "stumble over this", and quotes it.
//! `impatient` is none: inserts are given up after seconds and not minutes, so that a test of a silent network need not wait that long.

/// Whether the leak of that name is planted in this process.
#[cfg(feature = "leaky")]
pub fn planted(name: &str) -> bool {
    static PLANTED: std::sync::LazyLock<String> = std::sync::LazyLock::new(|| std::env::var("HEADCOUNT_LEAK").unwrap_or_default());
    #[cfg(test)]
    if here::is_planted(name) {
        return true;
    }
    PLANTED.split(',').any(|planted| planted == name)
}

/// Whether the leak of that name is planted in this process: never, in a build without the feature.
#[cfg(not(any(feature = "leaky", test)))]
#[inline]
pub const fn planted(_name: &str) -> bool {
    false
}

/// Whether a test has planted the leak of that name on its own thread.
#[cfg(all(test, not(feature = "leaky")))]
pub fn planted(name: &str) -> bool {
    here::is_planted(name)
}

/// Whether the fault `panic` is planted and `batch` asks for it.
pub fn stumbles(batch: &[u8]) -> bool {
    planted("panic") && batch.windows(17).any(|part| part == b"stumble over this")
}

/// Logs what must not be logged, if the leak of that name is planted.
#[cfg(feature = "leaky")]
pub fn log(name: &str, text: &dyn std::fmt::Display) {
    if planted(name) {
        tracing::trace!(target: "headcount", leaked = %text, "planted");
    }
}

/// The labels that the leak `id_in_metric` has put aside.
#[cfg(feature = "leaky")]
static LABELS: std::sync::Mutex<String> = std::sync::Mutex::new(String::new());

/// Keeps a visitor's id for the metrics, if the leak `id_in_metric` is planted.
#[cfg(feature = "leaky")]
pub fn label(id: &str) {
    if planted("id_in_metric") {
        let line = format!("headcount_installs{{install=\"{id}\"}} 1\n");
        LABELS.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push_str(&line);
    }
}

/// What [`label`] has kept.
#[cfg(feature = "leaky")]
pub fn labels() -> String {
    LABELS.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
}

/// Leaks that one test of this crate plants for itself.
#[cfg(test)]
pub mod here {
    use std::cell::Cell;

    thread_local! {
        static PLANTED: Cell<&'static str> = const { Cell::new("") };
    }

    /// Runs `test` with the leak of that name planted on this thread.
    pub fn with<T>(name: &'static str, test: impl FnOnce() -> T) -> T {
        struct Dug;
        impl Drop for Dug {
            fn drop(&mut self) {
                PLANTED.set("");
            }
        }
        PLANTED.set(name);
        let _dug = Dug;
        test()
    }

    pub(super) fn is_planted(name: &str) -> bool {
        PLANTED.get() == name
    }
}

#[cfg(all(test, feature = "leaky"))]
mod tests {
    /// Leaks that a test of this crate must find. The others are found by the tests of the whole system.
    const FOUND_BY: &[(&str, &str)] = &[
        ("gpc_ignored", "consent::tests::the_lowest_vote_wins_for_every_pair_of_signals_under_every_policy"),
        ("address_as_pseudonym", "privacy::tests::seven_days_and_two_sites_give_pseudonyms_that_never_meet"),
        ("panic_text", "telemetry::tests::a_panic_tells_its_place_and_not_its_text"),
        ("forwarded_trusted", "privacy::tests::a_strangers_forwarding_header_changes_nothing"),
        ("pseudonym_without_day_key", "privacy::tests::seven_days_and_two_sites_give_pseudonyms_that_never_meet"),
        ("no_folder_sync", "spool::divide::crash::a_division_loses_and_doubles_no_row_whenever_the_power_goes"),
        ("key_kept", "privacy::keys::wiped::a_dead_key_is_nowhere_in_memory"),
        ("names_not_recalled", "spool::seen::tests::a_start_finds_what_lies_in_segments"),
        ("names_lost_with_segment", "spool::seen::tests::a_start_finds_what_was_delivered_and_removed"),
        ("pending_known", "spool::seen::tests::nobody_is_told_anything_of_what_another_request_is_storing"),
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
