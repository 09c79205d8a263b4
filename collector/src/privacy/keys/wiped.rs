//! Attack: somebody reads the whole memory of the process after a key has died.

use std::fs::File;
use std::os::unix::fs::FileExt;

use zeroize::Zeroize;

use super::*;
use crate::beacon::samples;

/// Hides what is searched for, so that the search does not find itself.
const VEIL: u8 = 0x5a;
const CHUNK: usize = 1 << 14;

/// Every form in which 32 secret bytes stand in memory while HMAC-SHA256 is worked out, veiled: as they are, as the inner and outer pad make them, and each of these as
/// the words that the hash function loads.
fn forms(secret: &[u8; 32]) -> Vec<[u8; 32]> {
    let mut forms = Vec::with_capacity(6);
    for pad in [0x00, 0x36, 0x5c] {
        forms.push(std::array::from_fn(|index| secret[index] ^ pad ^ VEIL));
        forms.push(std::array::from_fn(|index| secret[index / 4 * 4 + 3 - index % 4] ^ pad ^ VEIL));
    }
    forms
}

/// How often any of `forms` stands in this process's writable memory.
fn found(forms: &[[u8; 32]]) -> usize {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let memory = File::open("/proc/self/mem").unwrap();
    let mut buffer = vec![0_u8; CHUNK + 32];
    let nothing = vec![0_u8; CHUNK + 32];
    let mut count = 0;
    for line in maps.lines().filter(|line| line.contains(" rw")) {
        let (start, end) = line.split(' ').next().unwrap().split_once('-').unwrap();
        let (mut at, end) = (u64::from_str_radix(start, 16).unwrap(), u64::from_str_radix(end, 16).unwrap());
        while at < end {
            let length = buffer.len().min(usize::try_from(end - at).unwrap());
            // The buffer is wiped before each read: it must not be found in itself.
            buffer[..].zeroize();
            if memory.read_exact_at(&mut buffer[..length], at).is_err() {
                break;
            }
            // Most of what is mapped was never written. Comparing whole chunks with nothing is quick even in a build that is not optimised.
            if buffer != nothing {
                count += occurrences(&buffer[..length], forms);
            }
            at += CHUNK as u64;
        }
    }
    buffer[..].zeroize();
    count
}

fn occurrences(memory: &[u8], forms: &[[u8; 32]]) -> usize {
    let mut begins = [false; 256];
    for form in forms {
        begins[usize::from(form[0] ^ VEIL)] = true;
    }
    let is = |at: usize, form: &[u8; 32]| memory[at..].iter().zip(form).all(|(byte, veiled)| byte ^ VEIL == *veiled);
    let starts = memory.iter().enumerate().filter(|(at, byte)| begins[usize::from(**byte)] && at + 32 <= memory.len());
    starts.map(|(at, _)| forms.iter().filter(|form| is(at, form)).count()).sum()
}

#[test]
fn a_dead_key_is_nowhere_in_memory() {
    let folder = std::env::temp_dir().join(format!("headcount-wiped-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    let zone = Zone::named("UTC").unwrap();
    let sites = Sites::new(vec![samples::site("example.org")], vec![zone.clone()]);
    let noon = UnixMillis(1_795_348_800_000);
    let day = zone.day_of(noon);
    let store = KeyStore::open(&folder.join("keys"), &folder.join("log")).unwrap();
    let (keys, _) = Keys::open(store, &sites, noon).unwrap();

    let (day_forms, site_forms) = {
        let ring = keys.ring();
        let epoch = ring.zones[0].living(day, noon).unwrap();
        (forms(&epoch.key.0), forms(&derive(&epoch.key.0, b"headcount site key\x01", b"example.org")))
    };
    for site in ["example.org", "not yet in the ring"] {
        let ring = keys.ring();
        let key = ring.site_key(&zone, day, site, noon).unwrap();
        let mut mac = key.mac();
        mac.update(b"a visitor");
        std::hint::black_box(mac.finalize());
    }
    assert!(found(&day_forms) > 0, "the search finds a key that lives");

    keys.turn(keys.turn_at()).unwrap();
    keys.turn(keys.turn_at()).unwrap();
    wipe_stack();
    assert_eq!(found(&day_forms), 0, "the key of the day");
    assert_eq!(found(&site_forms), 0, "the key of a site");
    let names: Vec<_> = std::fs::read_dir(folder.join("keys")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(names.iter().all(|name| !name.to_string_lossy().contains(&day.to_string())), "nor on disk");
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn a_sealed_process_leaves_no_core() {
    // In a child, for the limits are the whole process's. The child is this same test, told so by its environment.
    if std::env::var_os("HEADCOUNT_TEST_SEAL").is_some() {
        seal_process().unwrap();
        let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
        let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
        assert_eq!(core.split_whitespace().nth(4), Some("0"));
        assert!(matches!(rustix::process::dumpable_behavior(), Ok(rustix::process::DumpableBehavior::NotDumpable)));
        return;
    }
    let test = "privacy::keys::wiped::a_sealed_process_leaves_no_core";
    let child =
        std::process::Command::new(std::env::current_exe().unwrap()).args([test, "--exact"]).env("HEADCOUNT_TEST_SEAL", "1").output();
    assert!(child.unwrap().status.success());
}
