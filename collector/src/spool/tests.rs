//! The spool as its users see it: what a resolved receipt promises, and what is found after a crash.

#![expect(clippy::disallowed_methods, reason = "each test waits for the tasks that it starts")]

mod crash;
mod fixtures;
mod gather;
mod model;
mod random;
mod recovery;
mod rig;
mod schedules;
mod story;

use std::fs;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::LocalSet;

use super::recover::recover;
use super::{Log, OpenError, Sealed, Spool, inspect};
use crate::clock::{Clock, Day, UnixMillis, Zone};
use crate::limits::GROWTH_MIN;
use crate::outcome::{Dropped, Outcome, Refused};
use crate::row::{EVENTS, OUTCOMES};

pub(super) const DAY: Day = Day(20_000);

pub(super) struct Folder(pub(super) PathBuf);

impl Folder {
    pub(super) fn new(name: &str) -> Self {
        // Two tests may have thought of the same name.
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("headcount-spool-{name}-{}-{number}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        Self(path)
    }

    /// A child that another test starts has this process's locks until it has become another program: on a busy machine for longer than a start waits.
    pub(super) fn spool(&self) -> Arc<Spool> {
        let asked = Clock::monotonic();
        loop {
            match Spool::open(&self.0, 1 << 30) {
                Err(OpenError::InUse(_)) if asked.elapsed() < Duration::from_mins(1) => {}
                opened => return Arc::new(opened.unwrap()),
            }
        }
    }

    pub(super) fn files(&self, extension: &str) -> Vec<PathBuf> {
        let mut paths: Vec<_> = fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.retain(|path| path.extension().is_some_and(|found| found == extension));
        paths.sort();
        paths
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub(super) fn clock() -> Clock {
    Clock::standing_at(UnixMillis(1_728_000_000_000))
}

pub(super) fn zone() -> Zone {
    Zone::named("UTC").unwrap()
}

pub(super) fn run<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, future)
}

/// Runs `work` against a log, then closes it; returns what was sealed.
pub(super) fn with_log<F: Future<Output = ()>>(spool: &Arc<Spool>, work: impl FnOnce(Rc<Log>) -> F) -> Vec<Sealed> {
    run(async {
        let (sender, mut receiver): (_, UnboundedReceiver<Sealed>) = unbounded_channel();
        let log = Log::new(Arc::clone(spool), clock());
        let runner = tokio::task::spawn_local(Rc::clone(&log).run(0, sender));
        work(Rc::clone(&log)).await;
        log.close();
        runner.await.unwrap().unwrap();
        let mut sealed = Vec::new();
        while let Ok(segment) = receiver.try_recv() {
            sealed.push(segment);
        }
        sealed
    })
}

pub(super) async fn write(log: &Log, texts: &[&str]) {
    let mut rows = log.rows().unwrap();
    for text in texts {
        rows.push(&EVENTS, (&zone(), DAY), 0, |out, _| out.extend_from_slice(text.as_bytes())).unwrap();
    }
    rows.finish().await.unwrap();
}

pub(super) fn content(sealed: &Sealed) -> String {
    String::from_utf8(content_bytes(sealed)).unwrap()
}

fn content_bytes(sealed: &Sealed) -> Vec<u8> {
    let mut reader = sealed.reader().unwrap();
    let mut bytes = Vec::new();
    while let Some(rows) = reader.next_rows().unwrap() {
        bytes.extend_from_slice(rows);
    }
    bytes
}

#[test]
fn what_is_acknowledged_is_in_a_sealed_segment_in_order() {
    let folder = Folder::new("order");
    let sealed = with_log(&folder.spool(), |log| async move {
        write(&log, &["a", "b"]).await;
        write(&log, &["c"]).await;
    });
    assert_eq!(sealed.len(), 1);
    assert_eq!(content(&sealed[0]), "abc");
    assert_eq!((sealed[0].totals().rows, sealed[0].totals().frames), (3, 2));
    assert_eq!(sealed[0].header().columns.as_ref(), EVENTS.column_list());
}

#[test]
fn a_request_over_two_days_and_tables_fills_a_segment_for_each() {
    let folder = Folder::new("lanes");
    let sealed = with_log(&folder.spool(), |log| async move {
        let mut rows = log.rows().unwrap();
        for (layout, day, text) in [(&EVENTS, DAY, "a"), (&EVENTS, DAY.previous(), "b"), (&OUTCOMES, DAY, "c"), (&EVENTS, DAY, "d")] {
            rows.push(layout, (&zone(), day), 0, |out, _| out.extend_from_slice(text.as_bytes())).unwrap();
        }
        rows.finish().await.unwrap();
    });
    let mut found: Vec<_> = sealed.iter().map(|one| (one.header().table.to_string(), one.header().day.0, content(one))).collect();
    found.sort();
    assert_eq!(
        found,
        [("events".into(), 19_999, "b".into()), ("events".into(), 20_000, "ad".into()), ("outcomes_daily".into(), 20_000, "c".into())]
    );
}

#[test]
fn rows_that_are_not_finished_leave_nothing() {
    let folder = Folder::new("dropped");
    let sealed = with_log(&folder.spool(), |log| async move {
        write(&log, &["a"]).await;
        let mut rows = log.rows().unwrap();
        rows.push(&EVENTS, (&zone(), DAY), 0, |out, _| out.extend_from_slice(b"never")).unwrap();
        drop(rows);
        write(&log, &["b"]).await;
    });
    assert_eq!(content(&sealed[0]), "ab");
}

#[test]
fn many_requests_share_one_commit() {
    let folder = Folder::new("shared");
    let sealed = with_log(&folder.spool(), |log| async move {
        let writers: Vec<_> = (0..100)
            .map(|_| {
                let log = Rc::clone(&log);
                tokio::task::spawn_local(async move { write(&log, &["x"]).await })
            })
            .collect();
        for writer in writers {
            writer.await.unwrap();
        }
    });
    assert_eq!(content(&sealed[0]), "x".repeat(100));
}

#[test]
fn a_second_process_on_the_folder_is_refused() {
    let folder = Folder::new("lock");
    let _first = folder.spool();
    let command = Spool::open(&folder.0, 1 << 30);
    assert!(matches!(command, Err(OpenError::InUse(_))));
}

#[test]
fn batch_numbers_never_come_twice() {
    let folder = Folder::new("batches");
    let mut last = 0;
    for _ in 0..3 {
        let spool = folder.spool();
        for _ in 0..5_000 {
            let batch = spool.batches.draw().unwrap();
            assert!(batch > last);
            last = batch;
        }
    }
}

#[test]
fn node_and_hash_key_stay_and_a_damaged_one_is_refused() {
    let folder = Folder::new("identity");
    let (node, hash) = {
        let spool = folder.spool();
        (spool.node(), spool.hash("site", b"key"))
    };
    let again = folder.spool();
    assert_eq!((again.node(), again.hash("site", b"key")), (node, hash));
    assert_ne!(again.hash("sit", b"ekey"), hash);
    drop(again);
    let next_batch = fs::read(folder.0.join("next-batch")).unwrap();
    fs::remove_file(folder.0.join("next-batch")).unwrap();
    assert!(matches!(Spool::open(&folder.0, 1 << 30), Err(OpenError::Identity(_))), "numbers that were given would be given again");
    fs::write(folder.0.join("next-batch"), next_batch).unwrap();
    fs::write(folder.0.join("node"), b"short").unwrap();
    assert!(matches!(Spool::open(&folder.0, 1 << 30), Err(OpenError::Identity(_))));
}

#[test]
fn a_full_spool_takes_nothing_until_it_has_room_again() {
    let folder = Folder::new("full");
    let spool = Arc::new(Spool::open(&folder.0, GROWTH_MIN).unwrap());
    let sealed = with_log(&spool, |log| async move {
        write(&log, &["a"]).await;
        assert!(log.rows().is_err(), "the first piece of disk fills this small spool");
    });
    assert!(!spool.gauge().is_full(), "sealing gave the preallocated rest back");
    assert_eq!(spool.gauge().bytes(), sealed[0].bytes());
    assert_eq!((spool.gauge().events(), spool.gauge().oldest_waiting()), (1, Some(clock().now())));
    for segment in sealed {
        segment.confirm().unwrap();
    }
    assert_eq!((spool.gauge().bytes(), spool.gauge().events(), spool.gauge().oldest_waiting()), (0, 0, None));
}

#[test]
fn a_commit_that_finds_no_space_is_refused_and_the_next_one_is_not() {
    let folder = Folder::new("nospace");
    let spool = folder.spool();
    let sealed = with_log(&spool, |log| async move {
        write(&log, &["a"]).await;
        // The folder is gone for a moment: the segment of another day cannot be made.
        let moved = log.spool_folder().with_extension("moved");
        fs::rename(log.spool_folder(), &moved).unwrap();
        let mut rows = log.rows().unwrap();
        rows.push(&EVENTS, (&zone(), DAY.next()), 0, |out, _| out.extend_from_slice(b"lost")).unwrap();
        assert!(rows.finish().await.is_err());
        fs::rename(&moved, log.spool_folder()).unwrap();
        write(&log, &["b"]).await;
    });
    let mut texts: Vec<_> = sealed.iter().map(content).collect();
    texts.sort();
    assert_eq!(texts, ["a", "b"]);
}

#[test]
fn counts_of_a_commit_that_failed_go_with_the_next() {
    let folder = Folder::new("recount");
    let sealed = with_log(&folder.spool(), |log| async move {
        let moved = log.spool_folder().with_extension("moved");
        fs::rename(log.spool_folder(), &moved).unwrap();
        log.count(("site", &zone()), DAY, Outcome::Dropped(Dropped::DoNotTrack), 2);
        assert!(log.rows().unwrap().finish().await.is_err());
        fs::rename(&moved, log.spool_folder()).unwrap();
        log.count(("site", &zone()), DAY, Outcome::Dropped(Dropped::DoNotTrack), 3);
    });
    assert_eq!(sealed.len(), 1);
    let rows = sealed[0].reader().unwrap().next_rows().unwrap().unwrap().to_vec();
    assert_eq!(rows[rows.len() - 8..], 5_u64.to_le_bytes());
}

#[test]
fn a_log_ends_although_its_disk_takes_nothing_any_more() {
    let folder = Folder::new("ends");
    let sealed = with_log(&folder.spool(), |log| async move {
        fs::rename(log.spool_folder(), log.spool_folder().with_extension("moved")).unwrap();
        log.count(("site", &zone()), DAY, Outcome::Dropped(Dropped::DoNotTrack), 2);
        assert!(log.rows().unwrap().finish().await.is_err());
    });
    assert!(sealed.is_empty());
    fs::remove_dir_all(folder.0.with_extension("moved")).unwrap();
}

#[test]
fn counts_go_with_the_next_commit_added_up() {
    let folder = Folder::new("counts");
    let sealed = with_log(&folder.spool(), |log| async move {
        for _ in 0..3 {
            log.count(("site", &zone()), DAY, Outcome::Dropped(Dropped::DoNotTrack), 2);
        }
        log.count(("site", &zone()), DAY, Outcome::Refused(Refused::TooOld), 1);
        log.rows().unwrap().finish().await.unwrap();
        log.count(("site", &zone()), DAY, Outcome::Dropped(Dropped::DoNotTrack), 1);
    });
    assert_eq!(sealed.iter().map(|one| (one.table(), one.totals().rows)).collect::<Vec<_>>(), [("outcomes_daily", 3)]);
    let rows = sealed[0].reader().unwrap().next_rows().unwrap().unwrap().to_vec();
    let count_of = |label: &[u8]| {
        let at = rows.windows(label.len()).position(|window| window == label).unwrap() + label.len();
        u64::from_le_bytes(rows[at..at + 8].try_into().unwrap())
    };
    assert_eq!((count_of(b"dnt"), count_of(b"too_old")), (6, 1));
}

#[test]
fn counts_of_a_site_that_moves_to_another_zone_stand_in_the_zone_of_their_day() {
    let folder = Folder::new("moved-site");
    let sealed = with_log(&folder.spool(), |log| async move {
        let berlin = Zone::named("Europe/Berlin").unwrap();
        for (zone, count) in [(&zone(), 2), (&berlin, 3), (&zone(), 1)] {
            log.count(("site", zone), DAY, Outcome::Dropped(Dropped::DoNotTrack), count);
            log.rows().unwrap().finish().await.unwrap();
        }
    });
    let zones: Vec<_> = sealed.iter().map(|one| (one.header().zone.to_string(), one.totals().rows)).collect();
    assert_eq!(zones, [("UTC".to_owned(), 2), ("Europe/Berlin".to_owned(), 1)]);
}

#[test]
fn what_is_synced_and_not_sealed_waits_too() {
    let folder = Folder::new("waits");
    let spool = folder.spool();
    let sealed = with_log(&spool, |log| async move {
        assert_eq!(log.gauge().oldest_waiting(), None);
        write(&log, &["a"]).await;
        assert_eq!(log.gauge().oldest_waiting(), Some(clock().now()), "also when its segment could not be sealed for hours");
    });
    assert_eq!(spool.gauge().oldest_waiting(), Some(clock().now()));
    for sealed in sealed {
        sealed.confirm().unwrap();
    }
    assert_eq!(spool.gauge().oldest_waiting(), None);
}
