//! A segment and what takes its place: the same rows, once, whenever the power goes.

use std::os::unix::fs::FileExt;

use std::sync::Arc;

use super::*;
use crate::clock::Day;
use crate::outcome::{Dropped, Outcome};
use crate::row::{OUTCOMES, OutcomeCount};
use crate::spool::recover::recover as recover_spool;
use crate::spool::tests::{Folder, with_log, zone};

const DAY: Day = Day(20_000);

/// A row as it is known again: which one it is, and its hash.
pub(super) type Known = (u64, u64);

/// One segment of requests with these keys and as many rows as stated. Rows are numbered in order; each one's hash is its number and a thousand.
pub(super) fn segment(spool: &Arc<Spool>, requests: &[(u64, u64)]) -> Sealed {
    let requests = requests.to_vec();
    let mut segments = with_log(spool, |log| async move {
        let mut number = 0;
        for (key, count) in requests {
            let mut rows = log.rows().unwrap();
            rows.name(key).unwrap();
            for _ in 0..count {
                let row = OutcomeCount { site: "example.org", day: DAY, outcome: Outcome::Dropped(Dropped::DoNotTrack), count: number };
                rows.push(&OUTCOMES, (&zone(), DAY), number + 1_000, |out, stamp| row.encode(out, &zone(), stamp)).unwrap();
                number += 1;
            }
            rows.finish().await.unwrap();
        }
    });
    assert_eq!(segments.len(), 1);
    segments.remove(0)
}

/// The segment's frames: each one's key, number of parts, and rows. Every row must bear the segment's own stamp.
pub(super) fn frames(sealed: &Sealed) -> Vec<(u64, u32, Vec<Known>)> {
    let mut reader = sealed.reader().unwrap();
    let mut frames = Vec::new();
    while let Some(frame) = reader.next_frame().unwrap() {
        let rows = Rows::of(&OUTCOMES, &frame).unwrap();
        let known = rows.rows.iter().zip(&rows.hashes).map(|(row, hash)| {
            let values: std::collections::HashMap<_, _> = row.values().collect();
            assert_eq!(values["node"], stored::Value::Number(sealed.header().node));
            assert_eq!(values["batch"], stored::Value::Number(sealed.header().batch));
            let stored::Value::Number(number) = values["count"] else { panic!("a count is a number") };
            (number, *hash)
        });
        frames.push((frame.request.key, frame.request.parts, known.collect()));
    }
    frames
}

pub(super) fn rows(sealed: &[Sealed]) -> Vec<u64> {
    sealed.iter().flat_map(frames).flat_map(|(_, _, rows)| rows).map(|(number, _)| number).collect()
}

#[test]
fn the_halves_hold_the_rows_in_order_with_their_hashes_under_new_numbers() {
    let folder = Folder::new("halves");
    let spool = folder.spool();
    let original = segment(&spool, &[(11, 3), (0, 1), (12, 4)]);
    let (header, path) = (original.header(), original.path());
    let bytes = spool.gauge().bytes();
    let [first, second] = original.divide(&spool).unwrap();
    let known = |numbers: std::ops::Range<u64>| numbers.map(|number| (number, number + 1_000)).collect::<Vec<_>>();
    assert_eq!(frames(&first), [(11, 1, known(0..3)), (0, 1, known(3..4))]);
    assert_eq!(frames(&second), [(12, 1, known(4..8))]);
    let batches = [first.header().batch, second.header().batch];
    assert!(batches[0] != batches[1] && !batches.contains(&header.batch));
    assert_eq!(first.header(), Header { batch: batches[0], ..header.clone() });
    assert_eq!(second.header(), Header { batch: batches[1], ..header });
    assert!(!path.exists());
    assert_eq!(folder.files("sealed"), [first.path(), second.path()]);
    assert!(folder.files("piece").is_empty() && folder.files("divided").is_empty());
    let grown = spool.gauge().bytes() - bytes;
    assert!(grown < 500, "a header and a footer more: {grown}");
    first.confirm().unwrap();
    second.confirm().unwrap();
    assert_eq!(spool.gauge().bytes(), 0);
}

#[test]
fn a_frame_that_is_divided_leaves_its_key_with_the_first_of_its_rows() {
    let folder = Folder::new("key");
    let spool = folder.spool();
    let [first, second] = segment(&spool, &[(11, 5)]).divide(&spool).unwrap();
    assert_eq!(frames(&first), [(11, 1, vec![(0, 1_000), (1, 1_001)])]);
    assert_eq!(frames(&second), [(0, 1, vec![(2, 1_002), (3, 1_003), (4, 1_004)])]);
}

#[test]
fn a_segment_is_divided_until_each_row_stands_alone() {
    let folder = Folder::new("alone");
    let spool = folder.spool();
    let mut whole = vec![segment(&spool, &[(1, 5), (2, 7), (3, 1)])];
    let mut alone = Vec::new();
    while let Some(sealed) = whole.pop() {
        match sealed.divide(&spool) {
            Ok(halves) => whole.extend(halves),
            Err(Undivided::Indivisible(row)) => alone.push(*row),
            Err(other) => panic!("{other:?}"),
        }
    }
    alone.sort_by_key(|sealed| rows(std::slice::from_ref(sealed)));
    assert_eq!(rows(&alone), (0..13).collect::<Vec<_>>());
    assert_eq!(folder.files("sealed").len(), 13);
}

#[test]
fn a_segment_whose_rows_cannot_be_told_apart_stays_whole() {
    let folder = Folder::new("whole");
    let spool = folder.spool();
    let mut segments = with_log(&spool, |log| async move {
        let mut rows = log.rows().unwrap();
        for _ in 0..4 {
            rows.push(&OUTCOMES, (&zone(), DAY), 0, |out, _| out.extend_from_slice(b"no row")).unwrap();
        }
        rows.finish().await.unwrap();
    });
    let before = std::fs::read(segments[0].path()).unwrap();
    let Err(Undivided::Indivisible(whole)) = segments.remove(0).divide(&spool) else { panic!("it cannot be divided") };
    assert_eq!(std::fs::read(whole.path()).unwrap(), before);
    assert!(folder.files("piece").is_empty());
}

#[test]
fn the_good_rows_of_a_damaged_segment_go_on_without_the_rest() {
    let folder = Folder::new("salvage");
    let spool = folder.spool();
    let original = segment(&spool, &[(1, 2), (2, 3), (3, 4)]);
    let batch = original.header().batch;
    // A bit of the second frame: two rows of the first stand before it.
    let length = original.bytes();
    let file = std::fs::OpenOptions::new().read(true).write(true).open(original.path()).unwrap();
    let mut bit = [0];
    file.read_exact_at(&mut bit, length / 2).unwrap();
    file.write_all_at(&[bit[0] ^ 1], length / 2).unwrap();
    let salvaged = original.salvage(&spool).unwrap();
    let piece = salvaged.piece.unwrap();
    assert_eq!((rows(std::slice::from_ref(&piece)), salvaged.lost_rows), (vec![0, 1, 5, 6, 7, 8], 3));
    assert_ne!(piece.header().batch, batch);
    assert_eq!(spool.gauge().quarantined_pieces(), 1);
    assert_eq!(std::fs::read_dir(folder.0.join("quarantine")).unwrap().count(), 1);
    assert_eq!(folder.files("sealed"), [piece.path()]);
}

#[test]
fn a_disk_that_takes_no_pieces_leaves_the_segment_as_it_was() {
    let folder = Folder::new("later");
    let spool = folder.spool();
    let original = segment(&spool, &[(1, 6)]);
    let path = original.path();
    // Where the first piece would be there is something already.
    let taken = piece_path(&folder.0, original.header().batch + 1);
    std::fs::write(&taken, b"in the way").unwrap();
    let Err(Undivided::Later(original, _)) = original.divide(&spool) else { panic!("it must be tried later") };
    assert_eq!(original.path(), path);
    assert_eq!(rows(&original.divide(&spool).unwrap()), [0, 1, 2, 3, 4, 5]);
    drop(spool);
    recover_spool(&folder.spool()).unwrap();
    assert!(!taken.exists(), "the next start removes what nobody names");
}
