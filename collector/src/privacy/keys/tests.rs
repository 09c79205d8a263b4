//! Keys are born, used and wiped on time, whatever fails on the way.

use std::cell::Cell;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::store::log_entries;
use super::*;
use crate::beacon::samples;
use crate::site::Site;

thread_local! {
    static STEPS: Cell<usize> = const { Cell::new(0) };
    static FAIL_AT: Cell<Option<usize>> = const { Cell::new(None) };
}

/// Counts a step on disk and fails from the one on that a test has chosen: a failed disk, or a process that has died there.
pub(super) fn count_step() -> io::Result<()> {
    let step = STEPS.replace(STEPS.get() + 1);
    if FAIL_AT.get().is_some_and(|chosen| step >= chosen) { Err(io::Error::other("injected")) } else { Ok(()) }
}

fn fail_at(step: Option<usize>) {
    STEPS.set(0);
    FAIL_AT.set(step);
}

/// A folder of one test, removed with it.
pub(super) struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        Self::within(&std::env::temp_dir(), name)
    }

    pub(super) fn within(folder: &Path, name: &str) -> Self {
        let path = folder.join(format!("headcount-keys-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn folder(&self) -> PathBuf {
        self.0.join("keys")
    }

    fn store(&self) -> KeyStore {
        KeyStore::open(&self.folder(), &self.0.join("keys.log")).unwrap()
    }

    pub(super) fn open(&self, sites: &Sites, now: &str) -> (Keys, Vec<Life>) {
        let (keys, changes) = Keys::open(self.store(), sites, at(now)).unwrap();
        (keys, changes.into_iter().map(|change| change.what).collect())
    }

    pub(super) fn files(&self) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(self.folder()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// The log as `word zone day`, and whether the births and deaths of each check value are one pair at most.
    fn log(&self) -> Vec<String> {
        let text = fs::read_to_string(self.0.join("keys.log")).unwrap_or_default();
        log_entries(&text).map(|entry| format!("{} {} {}", if entry.died { "death" } else { "birth" }, entry.zone, entry.day)).collect()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub(super) fn at(text: &str) -> UnixMillis {
    UnixMillis(text.parse::<jiff::Timestamp>().unwrap().as_millisecond())
}

pub(super) fn zone(name: &str) -> Zone {
    Zone::named(name).unwrap()
}

pub(super) fn sites(zones: &[&str]) -> Sites {
    let site =
        |index| Site { index, zone: crate::site::ZoneIndex(u8::try_from(index).unwrap()), ..samples::site(&format!("s{index}.example")) };
    Sites::new((0..zones.len()).map(site).collect(), zones.iter().map(|name| zone(name)).collect())
}

fn utc() -> Sites {
    sites(&["UTC"])
}

/// What the key of that day makes of a fixed text, at `now`: the same exactly when the key is the same.
fn mark(keys: &Keys, day: &str, now: &str) -> Option<[u8; 32]> {
    let ring = keys.ring();
    let key = ring.site_key(&zone("UTC"), day.parse().unwrap(), "s0.example", at(now))?;
    Some(key.mac().finalize().into_bytes().into())
}

#[test]
fn a_key_lives_for_its_day_and_thirty_minutes() {
    let place = Place::new("life");
    let (keys, changes) = place.open(&utc(), "2026-11-21T12:00:00Z");
    assert_eq!(changes, [Life::Born]);
    let first = mark(&keys, "2026-11-21", "2026-11-21T12:00:00Z").unwrap();
    assert_eq!(keys.turn_at(), at("2026-11-22T00:00:00Z"));
    assert!(keys.turn(at("2026-11-21T23:59:59.999Z")).unwrap().is_empty());

    let born = keys.turn(at("2026-11-22T00:00:00Z")).unwrap();
    assert_eq!(born.iter().map(|change| change.what).collect::<Vec<_>>(), [Life::Born]);
    assert_eq!(mark(&keys, "2026-11-21", "2026-11-22T00:29:59.999Z"), Some(first), "the grace");
    assert_ne!(mark(&keys, "2026-11-22", "2026-11-22T00:10:00Z"), Some(first));
    assert_eq!(mark(&keys, "2026-11-21", "2026-11-22T00:30:00Z"), None, "dead even before the ring turns");
    assert_eq!(place.files(), ["UTC.2026-11-21.key", "UTC.2026-11-22.key"]);

    assert_eq!(keys.turn_at(), at("2026-11-22T00:30:00Z"));
    let died = keys.turn(at("2026-11-22T00:30:00Z")).unwrap();
    assert_eq!(died.iter().map(|change| change.what).collect::<Vec<_>>(), [Life::Died]);
    assert_eq!(mark(&keys, "2026-11-21", "2026-11-22T00:10:00Z"), None);
    assert_eq!(place.files(), ["UTC.2026-11-22.key"]);
    assert_eq!(place.log(), ["birth UTC 2026-11-21", "birth UTC 2026-11-22", "death UTC 2026-11-21"]);
}

#[test]
fn zones_turn_at_their_own_midnight() {
    let place = Place::new("zones");
    let both = sites(&["Europe/Berlin", "Pacific/Tongatapu"]);
    let (keys, _) = place.open(&both, "2026-10-25T10:59:00Z");
    assert_eq!(place.files(), ["Europe~Berlin.2026-10-25.key", "Pacific~Tongatapu.2026-10-25.key"]);
    assert_eq!(keys.turn_at(), at("2026-10-25T11:00:00Z"), "midnight in Tonga");
    keys.turn(at("2026-10-25T11:00:00Z")).unwrap();
    assert!(keys.ring().today(&zone("Europe/Berlin"), at("2026-10-25T22:59:59Z")).is_some(), "a day of 25 hours");
    assert!(keys.ring().today(&zone("Europe/Berlin"), at("2026-10-25T23:00:00Z")).is_none(), "its key is not tomorrow's");
}

#[test]
fn a_restart_finds_the_key_and_a_lost_one_splits_the_day() {
    let place = Place::new("restart");
    let (keys, _) = place.open(&utc(), "2026-11-21T12:00:00Z");
    let first = mark(&keys, "2026-11-21", "2026-11-21T12:00:00Z");
    drop(keys);
    let (keys, changes) = place.open(&utc(), "2026-11-21T13:00:00Z");
    assert_eq!((changes, mark(&keys, "2026-11-21", "2026-11-21T13:00:00Z")), (vec![Life::Found], first));
    drop(keys);
    fs::remove_dir_all(place.folder()).unwrap();
    let (keys, changes) = place.open(&utc(), "2026-11-21T14:00:00Z");
    assert_eq!(changes, [Life::Died, Life::Split]);
    assert_ne!(mark(&keys, "2026-11-21", "2026-11-21T14:00:00Z"), first);
    drop(keys);
    let (_, changes) = place.open(&utc(), "2026-11-25T14:00:00Z");
    assert_eq!(changes, [Life::Died, Life::Born], "what died while nobody ran is buried at the start");
    assert_eq!(place.files(), ["UTC.2026-11-25.key"]);
}

#[test]
fn a_clock_that_goes_back_makes_no_key_and_refuses() {
    let place = Place::new("clock");
    let (keys, _) = place.open(&utc(), "2026-11-22T12:00:00Z");
    let today = mark(&keys, "2026-11-22", "2026-11-22T12:00:00Z");
    for back in ["2026-11-21T12:00:00Z", "2026-11-21T23:59:59Z", "2020-01-01T00:00:00Z", "1970-01-01T00:00:00Z"] {
        assert!(keys.ring().today(&zone("UTC"), at(back)).is_none(), "{back}");
        let changes = keys.follow(&utc(), at(back)).unwrap();
        assert_eq!(changes.iter().map(|change| change.what).collect::<Vec<_>>(), [Life::ClockBehind]);
        assert!(keys.ring().today(&zone("UTC"), at(back)).is_none(), "{back}");
        assert_eq!(place.files(), ["UTC.2026-11-22.key"]);
    }
    keys.follow(&utc(), at("2026-11-22T13:00:00Z")).unwrap();
    assert_eq!(mark(&keys, "2026-11-22", "2026-11-22T13:00:00Z"), today, "the clock has caught up");
    // A day ahead: the key dies on time, and the way back is refused.
    keys.turn(at("2026-11-23T12:00:00Z")).unwrap();
    assert_eq!(place.files(), ["UTC.2026-11-23.key"]);
    assert!(keys.ring().today(&zone("UTC"), at("2026-11-22T13:00:00Z")).is_none());
}

#[test]
fn just_before_midnight_still_counts_just_after() {
    let place = Place::new("midnight");
    let (keys, _) = place.open(&utc(), "2026-11-21T12:00:00Z");
    keys.turn(at("2026-11-22T00:00:00.001Z")).unwrap();
    let today = keys.ring().today(&zone("UTC"), at("2026-11-21T23:59:59.999Z")).unwrap();
    assert_eq!(today.day.to_string(), "2026-11-21");
}

#[test]
fn a_failure_or_crash_at_any_step_leaves_one_valid_state() {
    fail_at(None);
    let quiet = Place::new("quiet");
    let steps = |work: &dyn Fn(&Place)| {
        STEPS.set(0);
        work(&quiet);
        STEPS.get()
    };
    let birth = |place: &Place| drop(Keys::open(place.store(), &utc(), at("2026-11-21T12:00:00Z")));
    let turn = |place: &Place| drop(Keys::open(place.store(), &utc(), at("2026-11-22T00:30:00Z")));
    let (of_birth, of_turn) = (steps(&birth), steps(&turn));
    assert!(of_birth >= 6 && of_turn >= 9, "{of_birth} {of_turn}");
    for step in 0..of_birth + of_turn {
        let place = Place::new(&format!("step-{step}"));
        fail_at((step < of_birth).then_some(step));
        let born = Keys::open(place.store(), &utc(), at("2026-11-21T12:00:00Z"));
        assert_eq!(born.is_err(), step < of_birth);
        fail_at(Some(step.saturating_sub(of_birth)));
        let turned = Keys::open(place.store(), &utc(), at("2026-11-22T00:30:00Z"));
        assert!(turned.is_err(), "{step}");
        fail_at(None);
        // The process after the crash: one key, of today, logged; nothing else on disk; every other birth has its death.
        let (keys, _) = place.open(&utc(), "2026-11-22T00:31:00Z");
        assert!(mark(&keys, "2026-11-22", "2026-11-22T00:31:00Z").is_some(), "{step}");
        assert_eq!(place.files(), ["UTC.2026-11-22.key"], "{step}");
        let log = place.log();
        let count = |what: &str| log.iter().filter(|line| line.starts_with(what)).count();
        assert_eq!(count("birth"), count("death") + 1, "{step}: {log:?}");
        let same = mark(&keys, "2026-11-22", "2026-11-22T00:31:00Z");
        drop(keys);
        let (again, changes) = place.open(&utc(), "2026-11-22T00:32:00Z");
        assert_eq!(changes, [Life::Found], "{step}: recovery is done once");
        assert_eq!(mark(&again, "2026-11-22", "2026-11-22T00:32:00Z"), same);
    }
}

#[test]
fn a_failing_disk_refuses_until_it_is_mended() {
    let place = Place::new("disk");
    let (keys, _) = place.open(&utc(), "2026-11-21T12:00:00Z");
    fail_at(Some(0));
    let midnight = "2026-11-22T00:00:00Z";
    assert!(keys.turn(at(midnight)).is_err());
    assert!(keys.ring().today(&zone("UTC"), at(midnight)).is_none(), "no key, no event");
    assert!(mark(&keys, "2026-11-21", midnight).is_some(), "what lives is still there");
    assert!(keys.turn(at("2026-11-22T00:30:00Z")).is_err());
    assert!(mark(&keys, "2026-11-21", "2026-11-22T00:10:00Z").is_none(), "memory lets go on time, whatever the disk says");
    fail_at(None);
    assert_eq!(keys.turn_at(), at("2026-11-22T00:30:01Z"), "tried again a second later");
    keys.turn(at("2026-11-22T00:30:01Z")).unwrap();
    assert!(keys.ring().today(&zone("UTC"), at("2026-11-22T00:30:01Z")).is_some());
    assert_eq!(place.files(), ["UTC.2026-11-22.key"]);
}

#[test]
fn a_damaged_file_is_no_key() {
    type Damage = fn(&mut Vec<u8>);
    let damages: [Damage; 5] =
        [|bytes| bytes.truncate(50), |bytes| bytes.clear(), |bytes| bytes.push(0), |bytes| bytes[40] ^= 1, |bytes| bytes[24] ^= 1];
    for (index, damage) in damages.iter().enumerate() {
        let place = Place::new(&format!("damage-{index}"));
        drop(place.open(&utc(), "2026-11-21T12:00:00Z"));
        let path = place.folder().join("UTC.2026-11-21.key");
        let mut bytes = fs::read(&path).unwrap();
        damage(&mut bytes);
        fs::write(&path, &bytes).unwrap();
        let (_, changes) = place.open(&utc(), "2026-11-21T12:00:01Z");
        assert_eq!(changes, [Life::Died, Life::Split], "{index}");
    }
    // A key under another day's name is no key of that day.
    let place = Place::new("renamed");
    drop(place.open(&utc(), "2026-11-21T12:00:00Z"));
    fs::rename(place.folder().join("UTC.2026-11-21.key"), place.folder().join("UTC.2026-11-22.key")).unwrap();
    assert_eq!(place.open(&utc(), "2026-11-21T12:00:01Z").1, [Life::Died, Life::Split]);
}

#[test]
fn files_are_for_this_user_alone_and_an_open_folder_is_refused() {
    let place = Place::new("modes");
    drop(place.open(&utc(), "2026-11-21T12:00:00Z"));
    let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
    assert_eq!(mode(&place.folder()), 0o700);
    assert_eq!(mode(&place.folder().join("UTC.2026-11-21.key")), 0o600);
    for open in [0o755, 0o770, 0o701] {
        fs::set_permissions(place.folder(), fs::Permissions::from_mode(open)).unwrap();
        assert!(matches!(KeyStore::open(&place.folder(), &place.0.join("log")), Err(KeyStoreError::Exposed(_))), "{open:o}");
    }
    let elsewhere = place.0.join("link");
    fs::set_permissions(place.folder(), fs::Permissions::from_mode(0o700)).unwrap();
    std::os::unix::fs::symlink(place.folder(), &elsewhere).unwrap();
    assert!(matches!(KeyStore::open(&elsewhere, &place.0.join("log")), Err(KeyStoreError::Exposed(_))), "a link may be turned");
}

#[test]
fn a_torn_line_of_the_log_is_closed_and_left_out() {
    let place = Place::new("torn");
    drop(place.open(&utc(), "2026-11-21T12:00:00Z"));
    let log = place.0.join("keys.log");
    let mut text = fs::read_to_string(&log).unwrap();
    assert!(text.starts_with("2026-11-21T12:00:00.000Z birth UTC 2026-11-21 "), "{text}");
    text.push_str("2026-11-22T00:00:00.000Z birth UT");
    fs::write(&log, text).unwrap();
    drop(place.open(&utc(), "2026-11-22T00:30:00Z"));
    assert_eq!(place.log().len(), 3);
}

#[test]
fn a_site_the_ring_does_not_know_yet_gets_the_key_it_will_have() {
    let place = Place::new("new-site");
    let (keys, _) = place.open(&utc(), "2026-11-21T12:00:00Z");
    let key = |keys: &Keys, site: &str| -> [u8; 32] {
        let ring = keys.ring();
        let key = ring.site_key(&zone("UTC"), "2026-11-21".parse().unwrap(), site, at("2026-11-21T12:00:00Z")).unwrap();
        key.mac().finalize().into_bytes().into()
    };
    let early = key(&keys, "new.example");
    let more = Sites::new(vec![samples::site("new.example"), samples::site("s0.example")], vec![zone("UTC")]);
    assert!(keys.follow(&more, at("2026-11-21T12:00:01Z")).unwrap().is_empty());
    assert_eq!(key(&keys, "new.example"), early);
    assert_ne!(key(&keys, "s0.example"), early, "sites have keys of their own");
}
