//! What is recognised when it is sent again: at once, after a crash, after delivery, and in part.

#![expect(clippy::disallowed_methods, reason = "each test waits for the tasks that it starts")]

use std::fs;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::mpsc::unbounded_channel;

use super::super::disk;
use super::super::disk::simulated::{Call, Disk, IO_ERROR};
use super::super::recover::recover;
use super::super::tests::{DAY, Folder, clock, content, run, with_log, zone};
use super::super::{Log, Sealed, Spool, Unavailable};
use super::*;
use crate::row::EVENTS;

/// Sends events (day, id, text) under a key; says of each whether it was a duplicate, once all of it is on the disk.
async fn send(log: &Log, key: u64, events: &[(Day, u64, &str)]) -> Result<Vec<bool>, Unavailable> {
    let mut rows = log.rows()?;
    rows.name(key)?;
    let mut duplicates = Vec::new();
    for (day, id, text) in events {
        let duplicate = rows.is_duplicate((&zone(), *day), *id)?;
        if !duplicate {
            rows.push(&EVENTS, (&zone(), *day), *id, |out, _| out.extend_from_slice(text.as_bytes())).unwrap();
        }
        duplicates.push(duplicate);
    }
    rows.finish().await?;
    Ok(duplicates)
}

/// Sends one request to a spool that was just started; returns what [`send`] said, and every text that a start finds in it afterwards.
fn send_after_start(folder: &Folder, key: u64, events: &[(Day, u64, &str)]) -> (Vec<bool>, String) {
    let spool = folder.spool();
    let mut found: Vec<Sealed> = recover(&spool).unwrap().sealed;
    let mut said = Vec::new();
    found.extend(with_log(&spool, async |log| said = send(&log, key, events).await.unwrap()));
    (said, found.iter().map(content).collect())
}

fn with_log_in(folder: &Folder, key: u64, events: &[(Day, u64, &str)]) -> Vec<Sealed> {
    let events = events.to_vec();
    with_log(&folder.spool(), |log| async move { drop(send(&log, key, &events).await.unwrap()) })
}

const TWO_DAYS: &[(Day, u64, &str)] = &[(DAY, 0, "a"), (Day(DAY.0 - 1), 0, "b"), (DAY, 0, "c")];

#[test]
fn a_key_or_an_id_that_is_on_the_disk_is_a_duplicate() {
    let folder = Folder::new("seen-known");
    let sealed = with_log(&folder.spool(), |log| async move {
        let one = (DAY, 5, "one");
        for (key, events, duplicates) in [
            (0, &[one, (DAY, 6, "two"), one][..], &[false, false, true][..]),
            (0, &[one, (DAY, 0, "three")], &[true, false]),
            (1, &[(DAY, 0, "four")], &[false]),
            (1, &[(DAY, 0, "four"), (DAY.next(), 0, "other")], &[true, true]),
            (2, &[one, (DAY, 7, "five")], &[true, false]),
            (2, &[(DAY, 8, "never")], &[true]),
            (0, &[(DAY, 8, "six")], &[false]),
            (0, &[(DAY, 0, "four")], &[false]),
        ] {
            assert_eq!(send(&log, key, events).await.unwrap(), duplicates, "{key} {events:?}");
        }
    });
    assert_eq!(content(&sealed[0]), "onetwothreefourfivesixfour");
}

#[test]
fn nobody_is_told_anything_of_what_another_request_is_storing() {
    let folder = Folder::new("seen-pending");
    let sealed = with_log(&folder.spool(), |log| async move {
        let mut rows = log.rows().unwrap();
        rows.name(1).unwrap();
        assert!(!rows.is_duplicate((&zone(), DAY), 5).unwrap());
        rows.push(&EVENTS, (&zone(), DAY), 5, |out, _| out.push(b'x')).unwrap();
        let receipt = rows.finish();
        // The commit has not begun: neither the key nor the id may be acknowledged, or stored again.
        assert_eq!(log.rows().unwrap().name(1), Err(Unavailable));
        assert_eq!(log.rows().unwrap().is_duplicate((&zone(), DAY), 5), Err(Unavailable));
        receipt.await.unwrap();
        assert_eq!(send(&log, 1, &[(DAY, 5, "x")]).await, Ok(vec![true]));
        assert_eq!(send(&log, 2, &[(DAY, 5, "x")]).await, Ok(vec![true]));
    });
    assert_eq!(content(&sealed[0]), "x");
}

#[test]
fn what_is_not_stored_is_not_known() {
    let folder = Folder::new("seen-withdrawn");
    let sealed = with_log(&folder.spool(), |log| async move {
        assert_eq!(send(&log, 0, &[(DAY.next(), 0, "first")]).await, Ok(vec![false]));
        // Given up by its worker; without anything to store; and refused by the disk.
        let mut rows = log.rows().unwrap();
        rows.name(1).unwrap();
        assert!(!rows.is_duplicate((&zone(), DAY), 5).unwrap());
        drop(rows);
        assert_eq!(send(&log, 1, &[]).await, Ok(vec![]));
        let moved = log.spool_folder().with_extension("moved");
        fs::rename(log.spool_folder(), &moved).unwrap();
        assert_eq!(send(&log, 1, &[(DAY, 5, "lost")]).await, Err(Unavailable));
        fs::rename(&moved, log.spool_folder()).unwrap();
        loop {
            // Its claims are withdrawn behind its back, a moment later.
            match send(&log, 1, &[(DAY, 5, "kept")]).await {
                Ok(said) => break assert_eq!(said, [false]),
                Err(Unavailable) => tokio::task::yield_now().await,
            }
        }
    });
    assert_eq!(sealed.iter().map(content).collect::<Vec<_>>(), ["first", "kept"]);
}

#[test]
fn a_start_finds_what_lies_in_segments() {
    for parked in [false, true] {
        let folder = Folder::new("seen-recalled");
        for sealed in with_log_in(&folder, 1, &[(DAY, 5, "a"), (Day(DAY.0 - 1), 6, "b")]) {
            if parked {
                sealed.park().unwrap();
            }
        }
        fs::remove_dir_all(folder.0.join("seen")).unwrap();
        let stored = if parked { "d" } else { "abd" };
        assert_eq!(send_after_start(&folder, 2, &[(DAY, 5, "a"), (DAY, 6, "c"), (DAY, 7, "d")]), (vec![true, true, false], stored.into()));
        assert_eq!(send_after_start(&folder, 1, &[(DAY, 9, "a")]).0, [true]);
    }
}

#[test]
fn a_start_finds_what_was_delivered_and_removed() {
    let folder = Folder::new("seen-removed");
    for sealed in with_log_in(&folder, 1, &[(DAY, 5, "a"), (Day(DAY.0 - 1), 6, "b")]) {
        sealed.confirm().unwrap();
    }
    assert!(folder.files("sealed").is_empty());
    for _ in 0..2 {
        assert_eq!(send_after_start(&folder, 1, &[(DAY, 0, "a")]), (vec![true], String::new()));
        assert_eq!(send_after_start(&folder, 0, &[(DAY, 5, "a"), (DAY, 6, "b")]), (vec![true, true], String::new()));
    }
}

#[test]
fn a_segment_is_removed_only_once_its_names_are_written_down() {
    let disk = Disk::new();
    let folder = disk.root().join("spool");
    let spool = Arc::new(Spool::open(&folder, 1 << 30).unwrap());
    let sealed = with_log(&spool, |log| async move { drop(send(&log, 1, &[(DAY, 5, "a")]).await.unwrap()) }).remove(0);
    let path = sealed.path();
    disk.order(Call::Sync, 0, IO_ERROR);
    let unremoved = sealed.confirm().unwrap_err();
    assert!(disk::exists(&path).unwrap() && spool.gauge().events() == 1, "it waits as before");
    unremoved.sealed.confirm().unwrap();
    assert!(!disk::exists(&path).unwrap());
    assert_eq!((spool.gauge().events(), spool.gauge().bytes()), (0, 0));
    drop(spool);
    let spool = Arc::new(Spool::open(&folder, 1 << 30).unwrap());
    recover(&spool).unwrap();
    with_log(&spool, |log| async move { assert_eq!(send(&log, 1, &[(DAY, 5, "a")]).await, Ok(vec![true])) });
}

#[test]
fn who_names_nothing_pays_nothing() {
    let folder = Folder::new("seen-unnamed");
    for sealed in with_log_in(&folder, 0, TWO_DAYS) {
        sealed.confirm().unwrap();
    }
    assert!(!folder.0.join("seen").exists(), "no file was made, none was synced");
    assert_eq!(send_after_start(&folder, 0, TWO_DAYS), (vec![false; 3], "acb".into()));
    let spool = folder.spool();
    recover(&spool).unwrap().sealed.into_iter().for_each(|sealed| sealed.confirm().unwrap());
    assert!(!folder.0.join("seen").exists());
    assert_eq!(spool.seen().remembered(), Remembered { keys: 0, ids: 0, bytes: 0, damaged_pieces: 0 });
}

/// A request of two days of which a crash has left the segment of one.
fn left_in_part(name: &str, left: Day) -> Folder {
    let folder = Folder::new(name);
    for sealed in with_log_in(&folder, 1, TWO_DAYS) {
        if sealed.header().day != left {
            fs::remove_file(sealed.path()).unwrap();
        }
    }
    fs::remove_dir_all(folder.0.join("seen")).unwrap();
    folder
}

#[test]
fn of_a_request_that_a_crash_left_in_part_a_retry_adds_what_is_missing() {
    for (left, said, stored) in [(DAY, [true, false, true], "acb"), (Day(DAY.0 - 1), [false, true, false], "bac")] {
        let folder = left_in_part("seen-part", left);
        assert_eq!(send_after_start(&folder, 1, TWO_DAYS), (said.to_vec(), stored.into()));
        // Now it is there whole, at whatever day its events fall.
        for _ in 0..2 {
            let (said, found) = send_after_start(&folder, 1, &[(DAY.next(), 0, "a"), (DAY, 0, "b")]);
            assert_eq!((said, found.len()), (vec![true, true], 3));
        }
    }
}

#[test]
fn what_is_left_in_part_stays_so_when_it_is_delivered_and_through_crashes_of_its_retries() {
    let folder = left_in_part("seen-parts", DAY);
    let three_days = [TWO_DAYS, &[(DAY.next(), 0, "d")]].concat();
    // What is there is delivered and gone; only marks are left of it.
    recover(&folder.spool()).unwrap().sealed.into_iter().for_each(|sealed| sealed.confirm().unwrap());
    assert!(folder.files("sealed").is_empty());
    // The retry has three days now, and a crash leaves one of the two that it adds.
    let spool = folder.spool();
    recover(&spool).unwrap();
    let retry = three_days.clone();
    for sealed in with_log(&spool, |log| async move { assert_eq!(send(&log, 1, &retry).await.unwrap(), [true, false, true, false]) }) {
        if sealed.header().day == DAY.next() {
            fs::remove_file(sealed.path()).unwrap();
        }
    }
    drop(spool);
    for said in [[true, true, true, false], [true; 4]] {
        assert_eq!(send_after_start(&folder, 1, &three_days).0, said);
    }
    assert_eq!(recover(&folder.spool()).unwrap().sealed.iter().map(content).collect::<String>(), "bd");
}

#[test]
fn a_whole_request_of_several_days_is_known_although_only_one_of_its_segments_is_left() {
    let folder = Folder::new("seen-whole");
    for sealed in with_log_in(&folder, 1, TWO_DAYS) {
        if sealed.header().day == DAY {
            sealed.confirm().unwrap();
        }
    }
    assert_eq!(send_after_start(&folder, 1, TWO_DAYS), (vec![true; 3], "b".into()));
}

/// Kills a log as the system would: nothing of it is sealed, and its folder is left as it stands.
fn killed(folder: &Folder, key: u64, events: &[(Day, u64, &str)]) -> PathBuf {
    let spool = folder.spool();
    run(async {
        let (sender, _receiver) = unbounded_channel();
        let log = Log::new(Arc::clone(&spool), clock());
        let runner = tokio::task::spawn_local(Rc::clone(&log).run(0, sender));
        send(&log, key, events).await.unwrap();
        let open = folder.files("open").pop().unwrap();
        let copy = fs::read(&open).unwrap();
        log.close();
        runner.await.unwrap().unwrap();
        folder.files("sealed").into_iter().for_each(|sealed| fs::remove_file(sealed).unwrap());
        fs::write(&open, copy).unwrap();
        open
    })
}

#[test]
fn a_start_finds_what_a_crash_left_in_an_open_segment_but_nothing_that_was_torn() {
    let folder = Folder::new("seen-open");
    let open = killed(&folder, 1, &[(DAY, 5, "whole")]);
    let bytes = fs::read(&open).unwrap();
    assert_eq!(send_after_start(&folder, 1, &[(DAY, 0, "again")]), (vec![true], "whole".into()));
    drop(folder);
    let folder = Folder::new("seen-torn");
    let open = killed(&folder, 1, &[(DAY, 5, "whole")]);
    assert_eq!(fs::read(&open).unwrap().len(), bytes.len());
    let end = fs::read(&open).unwrap().windows(5).position(|window| window == b"whole").unwrap() + 9;
    fs::OpenOptions::new().write(true).open(&open).unwrap().set_len(end as u64).unwrap();
    fs::remove_dir_all(folder.0.join("seen")).unwrap();
    assert_eq!(send_after_start(&folder, 1, &[(DAY, 5, "again")]), (vec![false], "again".into()));
}

#[test]
fn old_names_are_forgotten_in_memory_and_on_the_disk() {
    let folder = Folder::new("seen-old");
    let spool = folder.spool();
    let seen = Arc::clone(spool.seen());
    for sealed in with_log(&spool, |log| async move { drop(send(&log, 1, &[(DAY, 5, "a")]).await.unwrap()) }) {
        sealed.confirm().unwrap();
    }
    let now = clock().now();
    let hour = 3_600_000;
    seen.close_days_after(72);
    for (hours, keys, ids, files) in [(47, 1, 1, 1), (71, 0, 1, 1), (73, 0, 0, 0)] {
        seen.forget_old(now.plus(hours * hour));
        let remembered = seen.remembered();
        assert_eq!((remembered.keys, remembered.ids), (keys, ids), "after {hours} hours");
        assert_eq!(fs::read_dir(folder.0.join("seen")).unwrap().count(), files, "after {hours} hours");
    }
}
