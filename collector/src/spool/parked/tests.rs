//! Orders about parked segments: carried out by a collector that runs, by one that starts and by a command, with a crash anywhere in between.

use std::fs;
use std::sync::Arc;

use super::*;
use crate::spool::disk::simulated::{Call, Disk, IO_ERROR};
use crate::spool::recover::recover;
use crate::spool::sealed::RowCount;
use crate::spool::tests::{Folder, content, with_log, write};

/// A spool with one segment, parked; where its file lies.
fn parked(name: &str, requests: &'static [&'static str]) -> (Folder, Arc<Spool>, PathBuf) {
    let folder = Folder::new(name);
    let spool = folder.spool();
    let mut sealed = with_log(&spool, |log| async move {
        for request in requests {
            write(&log, &[request]).await;
        }
    });
    let path = sealed.remove(0).park().unwrap();
    (folder, spool, path)
}

/// Events that wait, are parked, were discarded and are lost.
fn places(spool: &Spool) -> [u64; 4] {
    let gauge = spool.gauge();
    [gauge.events(), gauge.parked_events(), gauge.discarded_events(), gauge.lost_events()]
}

fn obeyed(spool: &Spool) -> Vec<Done> {
    let mut done = Vec::new();
    spool.obey(|one| done.push(one)).unwrap();
    done
}

#[test]
fn a_running_collector_takes_back_what_is_ordered_and_asks_clickhouse_first() {
    let (folder, spool, path) = parked("redrive", &["a", "b"]);
    let bytes = spool.gauge().bytes();
    assert_eq!((places(&spool), obeyed(&spool).len()), ([0, 2, 0, 0], 0), "nobody has ordered anything");
    order(&path, Order::Redrive).unwrap();
    assert_eq!(inspect::list(&folder.0).unwrap()[0].state, inspect::State::Ordered(Order::Redrive));
    let done = obeyed(&spool);
    assert_eq!((done.len(), done[0].order, done[0].events), (1, Order::Redrive, 2));
    let sealed = done[0].sealed.as_ref().unwrap();
    assert!(sealed.is_in_doubt());
    assert_eq!(content(sealed), "ab");
    assert_eq!((places(&spool), spool.gauge().bytes()), ([2, 0, 0, 0], bytes));
    assert_eq!(obeyed(&spool).len(), 0);
}

#[test]
fn what_is_given_up_is_gone_and_counted() {
    let (folder, spool, path) = parked("drop", &["a", "b", "c"]);
    order(&path, Order::Drop).unwrap();
    let done = obeyed(&spool);
    assert_eq!((done[0].order, done[0].events, done[0].sealed.is_none()), (Order::Drop, 3, true));
    assert_eq!((places(&spool), spool.gauge().bytes()), ([0, 0, 3, 0], 0));
    assert!(inspect::list(&folder.0).unwrap().is_empty());
}

#[test]
fn an_order_that_nobody_was_there_for_is_carried_out_by_the_next_start() {
    for (wanted, found) in [(Order::Redrive, [2, 0, 0, 0]), (Order::Drop, [0, 0, 2, 0])] {
        let (folder, spool, path) = parked("start", &["a", "b"]);
        drop(spool);
        order(&path, wanted).unwrap();
        let spool = folder.spool();
        let recovered = recover(&spool).unwrap();
        assert_eq!(places(&spool), found, "{wanted:?}");
        assert_eq!(recovered.sealed.iter().map(content).collect::<String>(), if wanted == Order::Redrive { "ab" } else { "" });
        assert_eq!(spool.gauge().known_events(), 2, "the law needs each of them");
    }
}

#[test]
fn a_crash_anywhere_in_an_order_leaves_the_segment_in_one_place() {
    for call in [Call::Rename, Call::SyncFolder] {
        for skipped in 0..3 {
            let disk = Disk::new();
            let folder = disk.root().join("spool");
            let spool = Arc::new(Spool::open(&folder, 1 << 30).unwrap());
            let mut sealed = with_log(&spool, |log| async move { write(&log, &["a"]).await });
            let path = sealed.remove(0).park().unwrap();
            drop(spool);
            disk.order(call, skipped, IO_ERROR);
            let failed = order(&path, Order::Redrive).and_then(|path| carry_out(&path, Order::Redrive)).is_err();
            assert_eq!(failed, !disk.is_ordered());
            // Unless it failed at the last step, somebody orders once more.
            disk.forgive();
            let files = inspect::list(&folder).unwrap();
            assert_eq!(files.len(), 1, "{call:?} {skipped}");
            if files[0].state == inspect::State::Parked {
                order(&files[0].path, Order::Redrive).unwrap();
            }
            let spool = Spool::open(&folder, 1 << 30).unwrap();
            let recovered = recover(&spool).unwrap();
            assert_eq!(recovered.sealed.iter().map(content).collect::<Vec<_>>(), ["a"], "{call:?} {skipped}");
            assert_eq!((places(&spool), inspect::list(&folder).unwrap().len()), ([1, 0, 0, 0], 1));
        }
    }
}

#[test]
fn a_damaged_segment_goes_back_as_it_is_because_only_the_sink_can_ask_what_became_of_it() {
    let (folder, spool, path) = parked("damaged", &["first", "second", "third"]);
    let mut bytes = fs::read(&path).unwrap();
    let row = bytes.windows(6).position(|window| window == b"second").unwrap();
    bytes[row] ^= 1;
    fs::write(&path, &bytes).unwrap();
    order(&path, Order::Redrive).unwrap();
    let done = obeyed(&spool);
    assert!(done[0].sealed.as_ref().unwrap().is_in_doubt());
    assert_eq!((places(&spool), spool.gauge().quarantined_pieces()), ([3, 0, 0, 0], 0));
    let on_disk: u64 = inspect::list(&folder.0).unwrap().iter().map(|file| file.bytes).sum();
    assert_eq!(spool.gauge().bytes(), on_disk);
    drop((done, spool));
    let spool = folder.spool();
    recover(&spool).unwrap();
    assert_eq!((places(&spool), spool.gauge().bytes()), ([3, 0, 0, 0], on_disk));
}

#[test]
fn of_a_damaged_sealed_segment_a_start_knows_how_many_events_it_held() {
    let folder = Folder::new("lost");
    let sealed = with_log(&folder.spool(), |log| async move {
        write(&log, &["first"]).await;
        write(&log, &["second", "second"]).await;
        write(&log, &["third"]).await;
    });
    let mut bytes = fs::read(sealed[0].path()).unwrap();
    let row = bytes.windows(6).position(|window| window == b"second").unwrap();
    bytes[row] ^= 1;
    fs::write(sealed[0].path(), &bytes).unwrap();
    let spool = folder.spool();
    assert_eq!(recover(&spool).unwrap().sealed[0].rows(), RowCount::Exactly(4));
    assert_eq!((places(&spool), spool.gauge().known_events()), ([4, 0, 0, 0], 4));
}
