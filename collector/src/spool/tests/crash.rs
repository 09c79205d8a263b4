//! The power goes before every single call that changes the disk, once each: whatever of the unsynced survives, nothing that was answered is lost, nothing
//! is there twice, and a second crash on the way back changes nothing.
//!
//! Many of these crashes leave the very same disk, with the same promises given before it: what comes of that is tried once, whichever crash it was.

use std::collections::BTreeSet;

use super::super::disk::simulated::{Call, Disk, IO_ERROR, Moment, NO_SPACE, Survivors, Unsynced};
use super::rig::{Happened, Lane, Rig, small, start};
use super::story::{Excused, batches, found, is_counted, judge};
use crate::leak;

const TODAY: Lane = Lane::Today;
const YESTERDAY: Lane = Lane::Yesterday;
const COUNTS: Lane = Lane::Counts;

/// What may be left of the unsynced.
const SURVIVORS: [(Unsynced, Unsynced); 8] = [
    (Unsynced::Lost, Unsynced::Lost),
    (Unsynced::Kept, Unsynced::Kept),
    (Unsynced::Lost, Unsynced::Kept),
    (Unsynced::Kept, Unsynced::Lost),
    (Unsynced::Torn(512), Unsynced::Some),
    (Unsynced::Torn(4_096), Unsynced::Some),
    (Unsynced::Torn(512), Unsynced::Kept),
    (Unsynced::Some, Unsynced::Some),
];

/// The same for a crash while an earlier one is recovered from.
const SURVIVORS_AGAIN: [(Unsynced, Unsynced); 3] =
    [(Unsynced::Lost, Unsynced::Lost), (Unsynced::Torn(512), Unsynced::Some), (Unsynced::Lost, Unsynced::Kept)];

/// All that a log does, from the first start on an empty disk: two tables, two days, numbers in three blocks, a segment that is full, a sync that fails
/// and the copy that takes the segment's place, a disk that is full, deliveries, a parked segment and a divided one, kill -9, and a stop.
fn work(disk: &Disk) -> Vec<Happened> {
    let mut rig = Rig::start(disk, small(), Vec::new()).unwrap();
    rig.request(&[(TODAY, 2)]);
    rig.run();
    rig.request(&[(TODAY, 1), (YESTERDAY, 2), (COUNTS, 1)]);
    rig.request(&[(TODAY, 1)]);
    rig.run();
    rig.seal();
    rig.request(&[(TODAY, 3), (YESTERDAY, 1)]);
    rig.run();
    let _ = rig.deliver();
    rig.park();
    // The second of two segments is not synced: both end, and one is copied.
    disk.order(Call::Sync, 1, IO_ERROR);
    rig.request(&[(TODAY, 1), (YESTERDAY, 1)]);
    rig.run();
    rig.request(&[(TODAY, 70)]);
    rig.run();
    rig.request(&[(TODAY, 70)]);
    rig.run();
    // One segment grows, another finds no room.
    disk.order(Call::Allocate, 0, NO_SPACE);
    rig.request(&[(COUNTS, 2), (TODAY, 1)]);
    rig.run();
    let _ = rig.deliver();
    rig.divide();
    rig.request(&[(TODAY, 1), (COUNTS, 1)]);
    rig.run();
    let story = std::mem::take(&mut rig.story);
    drop(rig);
    let mut rig = Rig::start(disk, small(), story).unwrap();
    let _ = rig.deliver();
    rig.request(&[(TODAY, 2), (YESTERDAY, 2)]);
    rig.run();
    let _ = rig.deliver();
    rig.park();
    rig.request(&[(TODAY, 1)]);
    rig.close()
}

/// What the enumeration of crashes has done, and what it found wrong.
#[derive(Debug, Default)]
struct Enumerated {
    /// A fault that is enough to stop at.
    wanted: Option<&'static str>,
    crashes: usize,
    crashes_again: usize,
    /// Disks after a crash, each with how much of the story came before: what these lead to is known.
    left: BTreeSet<(u64, usize)>,
    /// The same after a crash on the way back, from which nothing goes on.
    left_again: BTreeSet<(u64, usize)>,
    faults: Vec<String>,
}

impl Enumerated {
    fn is_enough(&self) -> bool {
        self.wanted.is_some_and(|wanted| self.faults.iter().any(|fault| fault.contains(wanted)))
    }
}

/// Lets the power go at every moment of `work`, and at every moment of every recovery from that; stops at a fault that is `wanted`.
fn enumerate(wanted: Option<&'static str>) -> Enumerated {
    let disk = Disk::new();
    disk.record();
    let story = work(&disk);
    let mut all = Enumerated { wanted, ..Enumerated::default() };
    if disk.trusted_too_far() > 0 {
        all.faults.push("a file whose sync had failed was changed or synced again".to_owned());
    }
    let mut seen = BTreeSet::new();
    for (index, moment) in disk.moments().into_iter().enumerate().filter(|(_, moment)| seen.insert(moment.fingerprint())) {
        if all.is_enough() {
            break;
        }
        let story = &story[..moment.mark];
        for (content, names) in SURVIVORS {
            let name = format!("power lost before change {index}, content {content:?}, names {names:?}");
            let disk = moment.after_crash(Survivors { content, names, seed: index as u64 });
            all.crashes += 1;
            if all.left.insert((disk.fingerprint(), moment.mark)) {
                come_back(&disk, story, &name, &mut all);
            }
        }
        all.crashes += 1;
        come_back(&moment.after_kill(), story, &format!("killed before change {index}"), &mut all);
    }
    all
}

/// Recovers, once undisturbed, and once for each moment at which the power can go again, with each kind of survivors; then goes on working.
fn come_back(disk: &Disk, story: &[Happened], name: &str, all: &mut Enumerated) {
    disk.record();
    let recovered = recover_and_judge(disk, story);
    let moments = disk.moments();
    let gone_on = recovered.and_then(|()| recover_and_judge(disk, story)).and_then(|()| go_on(disk, story));
    all.faults.extend(gone_on.err().map(|fault| format!("{name}: {fault}")));
    let mut seen = BTreeSet::new();
    for (index, moment) in moments.iter().enumerate().filter(|(_, moment)| seen.insert(moment.fingerprint())) {
        for (content, names) in SURVIVORS_AGAIN {
            all.crashes_again += 1;
            let again: Disk = Moment::after_crash(moment, Survivors { content, names, seed: index as u64 });
            if !all.left_again.insert((again.fingerprint(), story.len())) {
                continue;
            }
            let fault = recover_and_judge(&again, story).err();
            all.faults
                .extend(fault.map(|fault| format!("{name}; again before change {index}, content {content:?}, names {names:?}: {fault}")));
        }
    }
}

fn recover_and_judge(disk: &Disk, story: &[Happened]) -> Result<(), String> {
    let (spool, recovered) = start(disk, small()).map_err(|broken| format!("no start: {broken:?}"))?;
    judge(story, found(story, &recovered.sealed, disk)?, &Excused::default())?;
    let bytes: u64 =
        disk.files().iter().filter(|path| is_counted(path)).map(|path| disk.content(path).unwrap_or_default().len() as u64).sum();
    let events: u64 = recovered.sealed.iter().filter(|sealed| &*sealed.header().table == "events").map(|sealed| sealed.totals().rows).sum();
    let gauge = spool.gauge();
    if (gauge.bytes(), gauge.events()) != (bytes, events) {
        return Err(format!("the gauge says {} bytes and {} events, and there are {bytes} and {events}", gauge.bytes(), gauge.events()));
    }
    Ok(())
}

/// A log that takes over gives no number again, and what it answers is kept.
fn go_on(disk: &Disk, story: &[Happened]) -> Result<(), String> {
    let mut rig = Rig::start(disk, small(), story.to_vec()).map_err(|broken| format!("no start: {broken:?}"))?;
    let number = rig.request(&[(TODAY, 1), (YESTERDAY, 1), (COUNTS, 1)]);
    rig.run();
    let story_after = rig.story.clone();
    drop(rig);
    if let Some(again) = batches(&story_after[story.len()..]).intersection(&batches(story)).next() {
        return Err(format!("number {again} was given twice"));
    }
    if !story_after.iter().any(|happened| matches!(happened, Happened::Kept(kept) if *kept == number)) {
        return Err("a request was not kept although nothing failed".to_owned());
    }
    disk.record();
    let moment = disk.moments().pop().ok_or("no moment")?;
    recover_and_judge(&moment.after_crash(Survivors { content: Unsynced::Lost, names: Unsynced::Lost, seed: 0 }), &story_after)
}

#[test]
fn a_crash_at_any_moment_loses_nothing_that_was_answered_and_doubles_nothing() {
    let all = enumerate(None);
    let (left, left_again) = (all.left.len(), all.left_again.len());
    println!(
        "{} crashes that left {left} disks, {} more while recovering from them that left {left_again}",
        all.crashes, all.crashes_again
    );
    assert!(all.faults.is_empty(), "{} faults, first of all: {:#?}", all.faults.len(), &all.faults[..all.faults.len().min(5)]);
    assert!(all.crashes > 1_000 && all.crashes_again > 10_000, "{} and {} crashes", all.crashes, all.crashes_again);
}

/// What such starts have left may not be on the disk, and who finds it cannot tell: the power goes, and one of the names is gone.
#[test]
fn what_first_starts_that_failed_have_left_is_not_trusted() {
    let mut failed = 0;
    for number in 0..6_u32.pow(3) {
        let disk = Disk::new();
        for skipped in [number / 36, number / 6 % 6, number % 6] {
            disk.order(Call::SyncFolder, skipped, IO_ERROR);
            failed += u32::from(start(&disk, small()).is_err());
            disk.forgive();
        }
        disk.record();
        let moment = disk.moments().pop().unwrap();
        for seed in 0..16 {
            let after = moment.after_crash(Survivors { content: Unsynced::Kept, names: Unsynced::Some, seed });
            assert!(start(&after, small()).is_ok(), "syncs {number} of three starts failed, lot {seed}");
        }
    }
    assert!(failed > 200, "{failed} starts");
}

/// Each protection of the spool, taken out: the same crashes find it missing.
#[test]
fn without_any_one_of_its_protections_the_spool_breaks_its_promise_and_it_is_found() {
    for (taken_out, found) in [
        ("no_sync", "lost"),
        ("no_folder_sync", "lost"),
        ("answered_before_sync", "lost"),
        ("poisoned_synced_again", "changed or synced again"),
        ("refused_kept", "was refused"),
        ("numbers_not_reserved", "given twice"),
        ("checksum_ignored", "(0, 0)"),
        ("copy_beside_original", "2 times"),
    ] {
        let all = leak::here::with(taken_out, || enumerate(Some(found)));
        println!("{taken_out}: found at crash {}: {:?}", all.crashes, all.faults.last());
        assert!(all.is_enough(), "{taken_out} is not found; {} other faults", all.faults.len());
    }
}
