//! Attack: on the seventh day somebody takes all tables, all keys that live, and the memory of the process, to follow a visitor back through the week.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![expect(clippy::disallowed_types, reason = "these addresses are planted: nobody has them")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::os::unix::fs::FileExt;

use aho_corasick::AhoCorasick;
use headcount_tests::collector::{Collector, Setup};
use headcount_tests::http::Connection;
use headcount_tests::leaky;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Days are kept open for as long as can be: whoever has copied the tables every day has what closing takes away.
const CONFIG: &str = "close_after_hours = 168\n[public]\nworkers = 2\n[engine]\nmemory_bytes = 536870912\n[[site]]\nid = \"a.example\"\n[[site]]\nid = \"b.example\"\n";
const SITES: [&str; 2] = ["a.example", "b.example"];
/// 2026-10-12, noon.
const NOON: i64 = 1_791_806_400_000;
const DAY: i64 = 86_400_000;
const VISITORS: u8 = 6;

/// Whom the adversary is after: the first of the visitors, whose address and agent he knows.
fn address(visitor: u8) -> Ipv4Addr {
    Ipv4Addr::new(203, 0, 113, 70 + visitor)
}

fn agent(visitor: u8) -> String {
    format!("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.{visitor} Safari/537.36")
}

/// What the adversary has in the end.
struct Loot {
    /// Ends before its folder goes: fields are dropped in their order.
    collector: Collector,
    setup: Setup,
    /// The key of the first day, which he did not have when he should have: the test read it then.
    first_key: [u8; 32],
    /// The keys that live on the last day.
    keys: Vec<[u8; 32]>,
}

/// So many days on two sites.
fn days(count: i64, setup: Setup) -> Loot {
    let setup = setup.on_stage(NOON);
    let mut collector = setup.start();
    let mut first_key = None;
    for day in 0..count {
        collector.set_clock(NOON + DAY * day);
        let mut connection = Connection::open(collector.public()).unwrap();
        for (visitor, site) in (0..VISITORS).flat_map(|visitor| SITES.map(|site| (visitor, site))) {
            let headers = [
                &*format!("User-Agent: {}", agent(visitor)),
                &format!("X-Forwarded-For: {}", address(visitor)),
                "Content-Type: text/plain",
            ];
            let event = format!(r#"{{"site":"{site}","url":"https://{site}/"}}"#);
            assert_eq!(connection.send("POST", "/e", &headers, event.as_bytes()).unwrap().status, 204);
        }
        collector.wait_for_events(u64::from(VISITORS) * 2 * u64::try_from(day + 1).unwrap());
        first_key.get_or_insert_with(|| keys_on_disk(&setup)[0]);
    }
    let keys = keys_on_disk(&setup);
    Loot { first_key: first_key.unwrap(), keys, setup, collector }
}

/// The keys in the folder of keys; their place in a file is told in `privacy/keys/store.rs`.
fn keys_on_disk(setup: &Setup) -> Vec<[u8; 32]> {
    let files = std::fs::read_dir(setup.path().join("keys")).unwrap().map(|entry| std::fs::read(entry.unwrap().path()).unwrap());
    files.filter(|file| file.len() == 96).map(|file| *file[32..].first_chunk().unwrap()).collect()
}

impl Loot {
    fn rows(&self, statement: &str) -> Vec<Vec<String>> {
        let (status, text) = self.setup.run(&["sql", statement, "--form", "tsv"]);
        assert!(status.success(), "{statement}: {text}");
        text.lines().skip(1).map(|line| line.split('\t').map(str::to_owned).collect()).collect()
    }

    /// The pseudonyms of each day and site.
    fn pseudonyms(&self) -> BTreeMap<(String, String), BTreeSet<u64>> {
        let mut all: BTreeMap<_, BTreeSet<u64>> = BTreeMap::new();
        for row in self.rows("SELECT day, site, visitor FROM events") {
            all.entry((row[0].clone(), row[1].clone())).or_default().insert(row[2].parse().unwrap());
        }
        assert!(
            all.values().all(|visitors| visitors.len() == usize::from(VISITORS)),
            "visitors of one day and site are told apart: {all:?}"
        );
        all
    }

    /// How many pseudonyms stand on more than one day or site.
    fn joined(&self) -> usize {
        let mut seen: BTreeMap<u64, usize> = BTreeMap::new();
        self.pseudonyms().into_values().flatten().for_each(|pseudonym| *seen.entry(pseudonym).or_default() += 1);
        seen.into_values().filter(|places| *places > 1).count()
    }

    /// The days on which the visitor is known again, by address, agent and the keys that live.
    fn opened(&self) -> BTreeSet<String> {
        let known: BTreeSet<u64> = self.keys.iter().flat_map(|key| SITES.map(|site| pseudonym(key, site, address(0), &agent(0)))).collect();
        let opened = self.pseudonyms().into_iter().filter(|(_, visitors)| !visitors.is_disjoint(&known));
        opened.map(|((day, _), _)| day).collect()
    }
}

/// The pseudonym, made as `privacy/pseudonym.rs` describes it and by none of its code.
fn pseudonym(day: &[u8; 32], site: &str, address: Ipv4Addr, agent: &str) -> u64 {
    let mut mac = Hmac::<Sha256>::new_from_slice(&site_key(day, site)).unwrap();
    for part in [&[1][..], site.as_bytes(), b"a", &address.to_ipv6_mapped().octets(), agent.as_bytes()] {
        mac.update(&u32::try_from(part.len()).unwrap().to_le_bytes());
        mac.update(part);
    }
    u64::from_be_bytes(*mac.finalize().into_bytes().first_chunk().unwrap())
}

fn site_key(day: &[u8; 32], site: &str) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(day).unwrap();
    mac.update(b"headcount site key\x01");
    mac.update(site.as_bytes());
    mac.finalize().into_bytes().into()
}

/// Every form in which a key stands in memory while HMAC-SHA256 is worked out: as it is, as the inner and the outer pad make it, and each of these as the
/// words that the hash function loads.
fn forms(key: &[u8; 32]) -> Vec<[u8; 32]> {
    let padded = [0x00, 0x36, 0x5c].map(|pad| key.map(|byte| byte ^ pad));
    let words = padded.map(|bytes| std::array::from_fn(|index| bytes[index / 4 * 4 + 3 - index % 4]));
    padded.into_iter().chain(words).collect()
}

/// How many places in the memory of `process` hold any of `keys`, in any form.
fn in_memory(process: u32, keys: &[[u8; 32]]) -> usize {
    let forms: Vec<[u8; 32]> = keys.iter().flat_map(forms).collect();
    let automaton = AhoCorasick::new(&forms).unwrap();
    let maps = std::fs::read_to_string(format!("/proc/{process}/maps")).unwrap();
    let memory = std::fs::File::open(format!("/proc/{process}/mem")).unwrap();
    let mut found = 0;
    let (mut chunk, zeros) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    for line in maps.lines().filter(|line| line.contains(" rw")) {
        let (start, end) = line.split(' ').next().unwrap().split_once('-').unwrap();
        let (mut at, end) = (u64::from_str_radix(start, 16).unwrap(), u64::from_str_radix(end, 16).unwrap());
        while at < end {
            let length = chunk.len().min(usize::try_from(end - at).unwrap());
            if memory.read_exact_at(&mut chunk[..length], at).is_err() {
                break;
            }
            // Most of what is mapped was never written.
            if chunk[..length] != zeros[..length] {
                found += automaton.find_iter(&chunk[..length]).count();
            }
            // A key may lie across the end of a chunk; one within the overlap is counted twice, which is as bad as once.
            at += if length == chunk.len() { length as u64 - 31 } else { length as u64 };
        }
    }
    found
}

fn plain() -> Setup {
    Setup::new("days", CONFIG)
}

fn leaking(leak: &str) -> Setup {
    Setup::new("days", CONFIG).with_program(leaky::program()).with_variable(leaky::LEAK, leak)
}

#[test]
fn nothing_joins_a_visitors_days_or_sites() {
    let loot = days(7, plain());
    assert_eq!(loot.joined(), 0);
    assert_eq!(loot.opened(), BTreeSet::from(["2026-10-18".to_owned()]), "the last day's key opens the last day, and no other");
    // Nothing but the pseudonym tells one visitor from another: no other column can join what it does not.
    let distinct = loot.rows("SELECT count() FROM (SELECT DISTINCT * EXCEPT (visitor, batch) FROM events)");
    assert_eq!(distinct, [["14"]]);
    // Nor do the rollup's states, which hold hashes of pseudonyms: added up over days and sites they find nobody twice.
    let merged = loot.rows("SELECT uniqCombined64Merge(14)(visitors) FROM rollup_open WHERE dimension = 'all'");
    assert_eq!(merged, [[(u64::from(VISITORS) * 2 * 7).to_string()]]);

    // The first day's key is gone: from the folder of keys, from the data, and from memory.
    assert_eq!(loot.keys.len(), 1);
    assert!(!loot.keys.contains(&loot.first_key));
    let keys = [loot.first_key, site_key(&loot.first_key, SITES[0]), site_key(&loot.first_key, SITES[1])];
    assert!(in_memory(loot.collector.id(), &loot.keys) > 0, "the search finds a key that lives");
    assert_eq!(in_memory(loot.collector.id(), &keys), 0);
    assert_eq!(files_with(loot.setup.path(), &keys), 0);
    assert_eq!(files_with(&loot.setup.path().join("keys"), &loot.keys), 1, "the search finds a key that lives");
    assert_eq!(files_with(&loot.setup.data(), &loot.keys), 0, "and only among the keys");
}

/// How many files below `folder` hold one of `keys`.
fn files_with(folder: &std::path::Path, keys: &[[u8; 32]]) -> usize {
    let automaton = AhoCorasick::new(keys).unwrap();
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    let of = |path: std::path::PathBuf| match std::fs::symlink_metadata(&path) {
        Ok(metadata) if metadata.is_dir() => files_with(&path, keys),
        Ok(metadata) if metadata.is_file() => std::fs::read(&path).map_or(0, |content| usize::from(automaton.is_match(&content))),
        _ => 0,
    };
    entries.filter_map(Result::ok).map(|entry| of(entry.path())).sum()
}

#[test]
fn a_key_that_never_changes_joins_days() {
    // Six visitors on each of two sites, every day the same.
    assert_eq!(days(2, leaking("pseudonym_without_day_key")).joined(), 12);
}

#[test]
fn an_address_in_place_of_a_pseudonym_joins_days_and_sites() {
    assert_eq!(days(2, leaking("address_as_pseudonym")).joined(), 6);
}

#[test]
fn a_key_that_is_kept_opens_its_day_and_is_found() {
    let loot = days(3, leaking("key_kept"));
    assert_eq!(loot.opened().len(), 3);
    assert!(in_memory(loot.collector.id(), &[loot.first_key]) > 0);
    assert!(files_with(&loot.setup.path().join("keys"), &[loot.first_key]) > 0);
}
