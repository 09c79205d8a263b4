//! The simulated disk does what it says of itself: a test of the spool finds no more than its disk can do.

use super::super::{self as disk};
use super::*;

const LOST: Survivors = Survivors { content: Unsynced::Lost, names: Unsynced::Lost, seed: 0 };

/// What is in the file called `name` after a crash now.
fn left(disk: &Disk, name: &str, survivors: Survivors) -> Option<Vec<u8>> {
    disk.record();
    let after = disk.moments().pop().unwrap().after_crash(survivors);
    after.content(&after.root().join(name))
}

#[test]
fn content_and_name_are_lost_unless_each_was_synced() {
    for (content, name, left_over) in
        [(false, false, None), (true, false, None), (false, true, Some(&b""[..])), (true, true, Some(b"text"))]
    {
        let disk = Disk::new();
        let file = disk::create(&disk.root().join("file")).unwrap();
        disk::write_at(&file, b"text", 0).unwrap();
        if content {
            disk::sync(&file).unwrap();
        }
        if name {
            disk::sync_folder(&disk.root()).unwrap();
        }
        assert_eq!(left(&disk, "file", LOST).as_deref(), left_over, "content {content}, name {name}");
        let kept = Survivors { content: Unsynced::Kept, names: Unsynced::Kept, seed: 0 };
        assert_eq!(left(&disk, "file", kept).as_deref(), Some(&b"text"[..]));
    }
}

#[test]
fn a_sync_that_fails_throws_away_what_the_next_takes_for_synced() {
    let disk = Disk::new();
    let file = disk::create(&disk.root().join("file")).unwrap();
    disk::sync_folder(&disk.root()).unwrap();
    disk::write_at(&file, b"text", 0).unwrap();
    disk.order(Call::Sync, 0, IO_ERROR);
    disk::sync(&file).unwrap_err();
    assert_eq!(disk.trusted_too_far(), 0);
    disk::sync(&file).unwrap();
    assert_eq!(disk.trusted_too_far(), 1);
    assert_eq!(disk.content(&disk.root().join("file")).as_deref(), Some(&b"text"[..]), "it is seen all the same");
    assert_eq!(left(&disk, "file", LOST).as_deref(), Some(&b""[..]));
}

#[test]
fn a_write_is_torn_where_blocks_end() {
    let disk = Disk::new();
    let file = disk::create(&disk.root().join("file")).unwrap();
    disk::write_at(&file, &[1; 4096], 0).unwrap();
    disk::sync(&file).unwrap();
    disk::sync_folder(&disk.root()).unwrap();
    disk::write_at(&file, &[2; 2000], 300).unwrap();
    let mut seen = BTreeSet::new();
    for seed in 0..100 {
        let content = left(&disk, "file", Survivors { content: Unsynced::Torn(512), names: Unsynced::Lost, seed }).unwrap();
        for (block, bytes) in content.chunks(512).enumerate() {
            let (from, until) = (300_usize.saturating_sub(block * 512).min(512), 2300_usize.saturating_sub(block * 512).min(512));
            let written = &bytes[from.min(until)..until];
            assert!(written.iter().all(|byte| *byte == 1) || written.iter().all(|byte| *byte == 2), "block {block} is whole");
        }
        seen.insert(content);
    }
    assert!(seen.len() > 20, "five blocks survive in many ways");
}

#[test]
fn an_open_file_outlives_its_name_and_a_renaming_is_never_half_done() {
    let disk = Disk::new();
    let (old, new) = (disk.root().join("old"), disk.root().join("new"));
    let file = disk::create(&old).unwrap();
    disk::write_at(&file, b"text", 0).unwrap();
    disk::sync(&file).unwrap();
    disk::sync_folder(&disk.root()).unwrap();
    disk::rename(&old, &new).unwrap();
    disk::remove(&new).unwrap();
    let mut buffer = [0; 4];
    assert_eq!(disk::read_at(&file, &mut buffer, 0).unwrap(), 4);
    let mut seen = BTreeSet::new();
    for seed in 0..50 {
        let survivors = Survivors { content: Unsynced::Lost, names: Unsynced::Some, seed };
        seen.insert((left(&disk, "old", survivors).is_some(), left(&disk, "new", survivors).is_some()));
    }
    // Neither change, both, the renaming alone; and the removal alone, which finds nothing to remove.
    assert_eq!(seen, BTreeSet::from([(true, false), (false, false), (false, true)]));
}

#[test]
fn a_file_that_moves_between_folders_is_in_one_of_them_at_least() {
    let disk = Disk::new();
    let folder = disk.root().join("folder");
    disk::create_folder(&folder).unwrap();
    disk.put(&disk.root().join("file"), b"text");
    disk::rename(&disk.root().join("file"), &folder.join("file")).unwrap();
    let there = |disk: &Disk, survivors| (left(disk, "file", survivors).is_some(), left(disk, "folder/file", survivors).is_some());
    let seen: BTreeSet<_> = (0..50).map(|seed| there(&disk, Survivors { content: Unsynced::Lost, names: Unsynced::Some, seed })).collect();
    assert_eq!(seen, BTreeSet::from([(true, false), (false, true)]));
    disk::sync_folder(&folder).unwrap();
    assert_eq!(there(&disk, LOST), (true, true), "the old folder does not know yet");
    disk::sync_folder(&disk.root()).unwrap();
    assert_eq!(there(&disk, LOST), (false, true));
}

#[test]
fn calls_that_are_interrupted_or_short_are_made_until_all_is_done() {
    let disk = Disk::new();
    disk.trouble(Chances { interrupted: 300, short: 600, seed: 7, ..Chances::default() });
    let file = disk::create(&disk.root().join("file")).unwrap();
    let text: Vec<u8> = (0..=255).collect();
    disk::allocate(&file, 0, 1_000).unwrap();
    disk::write_at(&file, &text, 0).unwrap();
    disk::sync(&file).unwrap();
    let mut read = vec![0; 256];
    assert_eq!(disk::read_at(&file, &mut read, 0).unwrap(), 256);
    assert_eq!((read, disk::length(&file).unwrap()), (text, 1_000));
}
