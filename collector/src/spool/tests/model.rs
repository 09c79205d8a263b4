//! The log against a model of it, kept in memory: whatever is asked of it in whatever order, what it gives out is what it was given, in order, without a
//! gap, and it knows how much that is.

use proptest::collection::vec;
use proptest::prelude::*;

use super::super::disk::simulated::Disk;
use super::rig::{Happened, Lane, Rig, Row, folder, small};
use super::story::{Excused, batches, content, found, is_counted, judge};

/// What is asked of a log.
#[derive(Clone, Debug)]
enum Step {
    /// A request with so many rows for each lane.
    Request(u64, u64, u64),
    Commit,
    Seal,
    Confirm,
    Park,
    Divide,
    /// In order, or as kill -9 does.
    Stop,
    Kill,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..5_u64, 0..3_u64, 0..2_u64).prop_map(|(today, yesterday, counts)| Step::Request(today, yesterday, counts)),
        1 => (60..90_u64).prop_map(|rows| Step::Request(rows, 0, 0)),
        4 => Just(Step::Commit),
        2 => Just(Step::Seal),
        3 => Just(Step::Confirm),
        1 => Just(Step::Park),
        1 => Just(Step::Divide),
        1 => Just(Step::Stop),
        1 => Just(Step::Kill),
    ]
}

/// What the model knows: the rows that were kept, in order, lane by lane.
fn kept(story: &[Happened], lane: Lane) -> Vec<Row> {
    let is_kept = |number: u64| story.iter().any(|happened| matches!(happened, Happened::Kept(kept) if *kept == number));
    let mut rows = Vec::new();
    for happened in story {
        let Happened::Taken(number, parts, _) = happened else { continue };
        let mut place = 0;
        for (to, count) in parts {
            if *to == lane && is_kept(*number) {
                rows.extend((place..place + count).map(|place| (*number, place)));
            }
            place += count;
        }
    }
    rows
}

/// Compares the log with the model, and the gauge with a recount.
fn compare(rig: &Rig<'_>, disk: &Disk) -> Result<(), String> {
    judge(&rig.story, found(&rig.story, &rig.queue, disk)?, &Excused::default())?;
    let in_spool: u64 = rig.queue.iter().filter(|sealed| &*sealed.header().table == "events").map(|sealed| sealed.totals().rows).sum();
    let gauge = rig.spool.gauge();
    let on_disk: u64 =
        disk.files().iter().filter(|path| is_counted(path)).map(|path| disk.content(path).unwrap_or_default().len() as u64).sum();
    if (gauge.bytes(), gauge.events(), gauge.oldest_waiting().is_some()) != (on_disk, in_spool, !rig.queue.is_empty()) {
        return Err(format!(
            "the gauge says {} bytes and {} events, and there are {on_disk} and {in_spool}",
            gauge.bytes(),
            gauge.events()
        ));
    }
    Ok(())
}

/// Rows of a lane, wherever they are, in the order of their segments.
fn in_order(rig: &Rig<'_>, disk: &Disk, lane: Lane) -> Result<Vec<Row>, String> {
    let mut segments = Vec::new();
    for happened in &rig.story {
        if let Happened::Inserted(batch, rows) = happened {
            segments.push((*batch, rows.clone()));
        }
    }
    for sealed in &rig.queue {
        segments.push((sealed.header().batch, content(sealed).map_err(|error| error.to_string())?));
    }
    let parked = folder(disk).join("parked");
    for path in disk.files().into_iter().filter(|path| path.starts_with(&parked)) {
        let batch = path.file_stem().and_then(|stem| u64::from_str_radix(stem.to_str()?, 16).ok()).ok_or("a name without a number")?;
        let rows = super::story::frames(&disk.content(&path).unwrap_or_default()).into_iter().flat_map(|(_, rows)| rows).collect();
        segments.push((batch, rows));
    }
    segments.sort_by_cached_key(|(batch, _)| lineage(&rig.story, *batch));
    let rows = segments.into_iter().flat_map(|(_, rows)| rows);
    Ok(rows.filter(|row| super::story::lane_of(&rig.story, *row) == Some(lane)).collect())
}

/// The numbers of a segment and of those whose place it has taken, the first of them first.
fn lineage(story: &[Happened], batch: u64) -> Vec<u64> {
    let original = story.iter().find_map(|happened| match happened {
        Happened::Divided(original, pieces) if pieces.contains(&batch) => Some(*original),
        Happened::Divided(..) | Happened::Taken(..) | Happened::Kept(_) | Happened::Refused(_) | Happened::Inserted(..) => None,
    });
    let mut numbers = original.map_or_else(Vec::new, |original| lineage(story, original));
    numbers.push(batch);
    numbers
}

fn play(steps: &[Step]) -> Result<(), String> {
    let disk = Disk::new();
    let start = |story| Rig::start(&disk, small(), story).map_err(|broken| format!("no start: {broken:?}"));
    let mut rig = start(Vec::new())?;
    for step in steps {
        match step {
            Step::Request(today, yesterday, counts) => {
                let parts = [(Lane::Today, *today), (Lane::Yesterday, *yesterday), (Lane::Counts, *counts)];
                rig.request(&parts.into_iter().filter(|(_, rows)| *rows > 0).collect::<Vec<_>>());
            }
            Step::Commit => rig.run(),
            Step::Seal => rig.seal(),
            Step::Confirm => rig.deliver().transpose().map(drop)?,
            Step::Park => rig.park(),
            Step::Divide => rig.divide(),
            Step::Stop => {
                let story = rig.close();
                rig = start(story)?;
                compare(&rig, &disk)?;
            }
            Step::Kill => {
                // Whoever waits is never answered.
                rig.run();
                let story = std::mem::take(&mut rig.story);
                drop(rig);
                rig = start(story)?;
                compare(&rig, &disk)?;
            }
        }
    }
    rig.run();
    let story = rig.close();
    let rig = start(story)?;
    compare(&rig, &disk)?;
    for lane in [Lane::Today, Lane::Yesterday, Lane::Counts] {
        let (there, promised) = (in_order(&rig, &disk, lane)?, kept(&rig.story, lane));
        if there != promised {
            return Err(format!("{lane:?} reads {there:?} where {promised:?} was kept"));
        }
    }
    let taken = rig.story.iter().filter(|happened| matches!(happened, Happened::Taken(..))).count();
    if taken > 30 && batches(&rig.story).len() < 2 {
        return Err("no segment was ever full".to_owned());
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_asked_of_a_log_it_gives_out_what_it_was_given(steps in vec(step(), 1..60)) {
        play(&steps).map_err(TestCaseError::fail)?;
    }
}
