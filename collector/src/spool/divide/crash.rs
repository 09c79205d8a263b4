//! The power goes at every moment of a division and of the recovery from it, whatever survives of what was not synced: each row is there once.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::*;
use crate::spool::disk::simulated::{Call, Disk, IO_ERROR, Moment, Survivors, Unsynced};
use crate::spool::recover::recover as recover_spool;

/// What may be left of the unsynced: of content, of names.
const SURVIVORS: [(Unsynced, Unsynced); 6] = [
    (Unsynced::Lost, Unsynced::Lost),
    (Unsynced::Kept, Unsynced::Kept),
    (Unsynced::Lost, Unsynced::Kept),
    (Unsynced::Kept, Unsynced::Lost),
    (Unsynced::Torn(512), Unsynced::Some),
    (Unsynced::Some, Unsynced::Some),
];

/// Seeds for what chance leaves.
const SEEDS: u64 = 6;

fn open(disk: &Disk) -> Arc<Spool> {
    Arc::new(Spool::open(&disk.root(), 1 << 30).unwrap())
}

/// A disk with one sealed segment of seven rows in three frames.
fn prepared() -> (Disk, Arc<Spool>, Sealed) {
    let disk = Disk::new();
    let spool = open(&disk);
    let sealed = tests::segment(&spool, &[(11, 2), (0, 1), (12, 4)]);
    disk::sync_folder(spool.folder()).unwrap();
    (disk, spool, sealed)
}

/// What is to be delivered after a start on the disk: rows, and keys of requests.
fn found(disk: &Disk) -> (Vec<u64>, Vec<u64>) {
    let spool = open(disk);
    let recovered = recover_spool(&spool).unwrap();
    let (mut rows, mut keys) = (Vec::new(), Vec::new());
    for (key, _, of_frame) in recovered.sealed.iter().flat_map(tests::frames) {
        rows.extend(of_frame.into_iter().map(|(number, _)| number));
        keys.extend((key != 0).then_some(key));
    }
    rows.sort_unstable();
    keys.sort_unstable();
    let left: Vec<PathBuf> =
        disk.files().into_iter().filter(|path| path.extension().is_some_and(|is| is == "piece" || is == "divided")).collect();
    assert!(left.is_empty(), "{left:?}");
    (rows, keys)
}

/// Lets the power go at every moment that was recorded, and at every moment of the starts that follow. Many of these crashes leave the very same disk: what comes
/// of that is tried once.
fn assert_once_whenever_the_power_goes(moments: &[Moment], rows: &[u64], keys: &[u64]) {
    let mut crashes = 0;
    let (mut left, mut left_again) = (BTreeSet::new(), BTreeSet::new());
    for (index, moment) in moments.iter().enumerate() {
        for (content, names) in SURVIVORS {
            for seed in 0..SEEDS {
                crashes += 1;
                let name = format!("before change {index}, content {content:?}, names {names:?}, seed {seed}");
                let disk = moment.after_crash(Survivors { content, names, seed });
                if !left.insert(disk.fingerprint()) {
                    continue;
                }
                disk.record();
                assert_eq!(found(&disk), (rows.to_vec(), keys.to_vec()), "{name}");
                for (again, moment) in disk.moments().iter().enumerate() {
                    for (content, names) in SURVIVORS {
                        let disk = moment.after_crash(Survivors { content, names, seed: seed + 1 });
                        if left_again.insert(disk.fingerprint()) {
                            assert_eq!(found(&disk), (rows.to_vec(), keys.to_vec()), "{name}; again before change {again}");
                        }
                    }
                }
            }
        }
    }
    assert!(crashes > 300, "{crashes}");
}

#[test]
fn a_division_loses_and_doubles_no_row_whenever_the_power_goes() {
    let (disk, spool, sealed) = prepared();
    disk.record();
    let halves = sealed.divide(&spool).unwrap();
    drop((halves, spool));
    assert_once_whenever_the_power_goes(&disk.moments(), &[0, 1, 2, 3, 4, 5, 6], &[11, 12]);
}

#[test]
fn the_sound_rows_of_a_damaged_segment_are_there_once_whenever_the_power_goes() {
    let (disk, spool, sealed) = prepared();
    let mut bytes = disk.content(&sealed.path()).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    disk.put(&sealed.path(), &bytes);
    disk.record();
    let salvaged = sealed.salvage(&spool).unwrap();
    let kept = tests::rows(std::slice::from_ref(salvaged.piece.as_ref().unwrap()));
    drop((salvaged, spool));
    // Before the decision the damaged segment is there and nothing else, after it the sound rows are.
    for (index, moment) in disk.moments().iter().enumerate() {
        for (content, names) in SURVIVORS {
            let disk = moment.after_crash(Survivors { content, names, seed: index as u64 });
            let spool = open(&disk);
            let mut recovered = recover_spool(&spool).unwrap();
            assert_eq!(recovered.sealed.len(), 1, "before change {index}, content {content:?}, names {names:?}");
            let sealed = recovered.sealed.remove(0);
            let piece = if is_sound(&sealed) { sealed } else { sealed.salvage(&spool).unwrap().piece.unwrap() };
            assert_eq!(tests::rows(&[piece]), kept, "before change {index}, content {content:?}, names {names:?}");
        }
    }
}

#[test]
fn a_call_that_fails_leaves_each_row_there_once_and_nothing_is_sent_that_may_not_be() {
    for call in [Call::Create, Call::Write, Call::Sync, Call::SyncFolder, Call::Rename, Call::Remove] {
        for skipped in 0.. {
            let (disk, spool, sealed) = prepared();
            disk.order(call, skipped, IO_ERROR);
            let divided = sealed.divide(&spool);
            if disk.is_ordered() {
                assert!(divided.is_ok() && skipped > 0, "{call:?} {skipped}");
                break;
            }
            // Whatever came back may be delivered: then the rest of the rows is what a start finds, if the power goes.
            let rows: Vec<u64> = match divided {
                Ok(halves) => halves.into_iter().flat_map(deliver).collect(),
                Err(Undivided::Later(original, _)) => deliver(*original),
                Err(Undivided::Undecided(_)) => Vec::new(),
                Err(Undivided::Indivisible(_)) => panic!("it can be divided"),
            };
            drop(spool);
            disk.record();
            let moment = disk.moments().pop().unwrap();
            for (content, names) in SURVIVORS {
                let mut all = rows.clone();
                all.extend(found(&moment.after_crash(Survivors { content, names, seed: u64::from(skipped) })).0);
                all.sort_unstable();
                assert_eq!(all, [0, 1, 2, 3, 4, 5, 6], "{call:?} {skipped}, content {content:?}, names {names:?}");
            }
        }
    }
}

/// Its rows, which the database has from here on; the file is gone, synced.
fn deliver(sealed: Sealed) -> Vec<u64> {
    let rows = tests::rows(std::slice::from_ref(&sealed));
    sealed.confirm().unwrap();
    rows
}

fn is_sound(sealed: &Sealed) -> bool {
    let mut reader = sealed.reader().unwrap();
    loop {
        match reader.next_rows() {
            Ok(Some(_)) => {}
            Ok(None) => return true,
            Err(_) => return false,
        }
    }
}
