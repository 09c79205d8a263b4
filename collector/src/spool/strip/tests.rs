//! Segments that have waited for a week: their pseudonyms are gone from the disk, and nothing else is.

use std::fs;
use std::sync::Arc;

use super::*;
use crate::clock::{Day, Zone};
use crate::outcome::{Dropped, Outcome};
use crate::spool::Sealed;
use crate::spool::recover::recover;
use crate::spool::tests::{Folder, clock, with_log};

/// Bytes that stand nowhere else.
const VISITOR: [u8; 8] = *b"pseudony";

/// A row of an event with nothing in it but a visitor and a page.
fn row(visitor: [u8; 8], page: &str) -> Vec<u8> {
    let cell = |(name, kind): &(&str, &str)| match (*name, *kind) {
        ("visitor", _) => visitor.to_vec(),
        ("page", _) => [&[u8::try_from(page.len()).unwrap()], page.as_bytes()].concat(),
        (_, "UInt8" | "Bool" | "String" | "Map(String, String)") => vec![0],
        (_, "UInt16" | "Date") => vec![0; 2],
        (_, "UInt32") => vec![0; 4],
        _ => vec![0; 8],
    };
    EVENTS.columns.iter().flat_map(cell).collect()
}

/// A spool with one segment of three frames, begun at [`clock`].
fn waiting(name: &str) -> (Folder, Arc<Spool>, Sealed) {
    let folder = Folder::new(name);
    let spool = folder.spool();
    let mut sealed = with_log(&spool, |log| async move {
        for page in ["/first", "/second", "/third"] {
            let mut rows = log.rows().unwrap();
            let place = (&Zone::utc(), Day(20_000));
            rows.push(&EVENTS, place, 7, |out, _| out.extend_from_slice(&row(VISITOR, page))).unwrap();
            rows.push(&EVENTS, place, 0, |out, _| out.extend_from_slice(&row([0; 8], page))).unwrap();
            rows.finish().await.unwrap();
        }
    });
    (folder, spool, sealed.remove(0))
}

fn after(days: i64) -> UnixMillis {
    UnixMillis(clock().now().0 + days * 86_400_000 + 1)
}

/// Events that wait, are parked, are stripped and are lost.
fn places(spool: &Spool) -> [u64; 4] {
    let gauge = spool.gauge();
    [gauge.events(), gauge.parked_events(), gauge.stripped_events(), gauge.lost_events()]
}

/// How many pseudonyms stand in the files of the spool's folder.
fn pseudonyms(folder: &Folder) -> usize {
    let files = inspect::list(&folder.0).unwrap();
    let in_file = |path: &Path| fs::read(path).unwrap().windows(8).filter(|window| *window == VISITOR).count();
    files.iter().map(|file| in_file(&file.path)).sum()
}

fn rows(sealed: &Sealed) -> Vec<u8> {
    let mut reader = sealed.reader().unwrap();
    let mut rows = Vec::new();
    while let Some(frame) = reader.next_rows().unwrap() {
        rows.extend_from_slice(frame);
    }
    rows
}

#[test]
fn after_a_week_the_pseudonyms_are_gone_and_everything_else_is_there() {
    let (folder, spool, sealed) = waiting("week");
    let before = fs::read(sealed.path()).unwrap();
    assert_eq!((spool.strip(after(6)).unwrap(), pseudonyms(&folder), places(&spool)), (Stripped::default(), 3, [6, 0, 0, 0]));
    assert_eq!(fs::read(sealed.path()).unwrap(), before);

    assert_eq!(spool.strip(after(7)).unwrap(), Stripped { events: 6, pieces: 0 });
    assert_eq!((pseudonyms(&folder), places(&spool)), (0, [0, 0, 6, 0]));
    let pages = ["/first", "/second", "/third"].map(|page| [row([0; 8], page), row([0; 8], page)].concat()).concat();
    assert!(rows(&sealed) == pages, "whoever was about to send it sends what is there now");
    let stripped = fs::read(sealed.path()).unwrap();
    let changed = before.iter().zip(&stripped).filter(|(before, after)| before != after).count();
    assert!(before.len() == stripped.len() && changed <= 3 * (8 + 4) + 8, "pseudonyms and checksums, not hashes: {changed}");
    assert_eq!(spool.strip(after(8)).unwrap(), Stripped::default(), "once");

    sealed.confirm().unwrap();
    assert_eq!((places(&spool), spool.gauge().bytes()), ([0; 4], 0));
}

#[test]
fn a_start_finds_what_was_stripped_and_what_was_not() {
    let (folder, spool, sealed) = waiting("again");
    spool.strip(after(7)).unwrap();
    drop((spool, sealed));
    let spool = folder.spool();
    let mut recovered = recover(&spool).unwrap();
    assert_eq!(places(&spool), [6, 0, 0, 0]);
    assert_eq!(spool.strip(after(9)).unwrap().events, 6);
    assert_eq!((places(&spool), pseudonyms(&folder)), ([0, 0, 6, 0], 0));
    let parked = recovered.sealed.remove(0).park().unwrap();
    assert_eq!(places(&spool), [0, 0, 6, 0], "parked, and stripped all the same");
    parked::order(&parked, parked::Order::Drop).unwrap();
    spool.obey(|done| assert_eq!(done.events, 6)).unwrap();
    assert_eq!((places(&spool), spool.gauge().discarded_events()), ([0; 4], 6));
}

#[test]
fn a_parked_segment_is_stripped_too_and_what_cannot_be_read_of_it_is_gone() {
    let (folder, spool, sealed) = waiting("parked");
    let path = sealed.park().unwrap();
    let mut bytes = fs::read(&path).unwrap();
    let place = bytes.windows(7).position(|window| window == b"/second").unwrap();
    bytes[place] ^= 1;
    fs::write(&path, bytes).unwrap();
    assert_eq!(spool.strip(after(7)).unwrap(), Stripped { events: 6, pieces: 0 });
    assert_eq!((places(&spool), pseudonyms(&folder)), ([0, 0, 6, 0], 0));
    parked::order(&path, parked::Order::Redrive).unwrap();
    let mut back = None;
    spool.obey(|done| back = done.sealed).unwrap();
    assert_eq!((places(&spool), spool.strip(after(7)).unwrap().events, places(&spool)), ([6, 0, 0, 0], 6, [0, 0, 6, 0]));
    // The rest is the sink's to ask for and to save, as of any damaged segment.
    let saved = back.unwrap().salvage(&spool).unwrap();
    let piece = saved.piece.unwrap();
    assert_eq!((saved.lost_rows, rows(&piece).len()), (2, 2 * (row([0; 8], "/first").len() + row([0; 8], "/third").len())));
    assert_eq!((places(&spool), pseudonyms(&folder)), ([4, 0, 0, 2], 0));
    assert_eq!((spool.strip(after(7)).unwrap().events, places(&spool)), (4, [0, 0, 4, 2]), "a piece is as old as what it came from");
    let on_disk: u64 = inspect::list(&folder.0).unwrap().iter().map(|file| file.bytes).sum();
    assert_eq!(spool.gauge().bytes(), on_disk);
}

#[test]
fn a_damaged_piece_is_removed_when_it_is_a_week_old() {
    let (folder, spool, sealed) = waiting("pieces");
    let mut bytes = fs::read(sealed.path()).unwrap();
    let place = bytes.windows(7).position(|window| window == b"/second").unwrap();
    bytes[place] ^= 1;
    fs::write(sealed.path(), bytes).unwrap();
    let saved = sealed.salvage(&spool).unwrap().piece;
    drop((saved, spool));
    fs::write(folder.0.join("00000000000000ff.sealed"), [&b"no header, and "[..], &VISITOR].concat()).unwrap();
    let spool = folder.spool();
    recover(&spool).unwrap();
    assert_eq!((spool.gauge().quarantined_pieces(), pseudonyms(&folder)), (2, 4));
    // What has no header does not say when it was begun: its week begins when it is first seen.
    assert_eq!(spool.strip(after(6)).unwrap(), Stripped::default());
    assert_eq!(spool.strip(after(7)).unwrap(), Stripped { events: 4, pieces: 1 });
    assert_eq!((spool.gauge().quarantined_pieces(), pseudonyms(&folder)), (1, 1));
    assert_eq!(spool.strip(after(14)).unwrap(), Stripped { events: 0, pieces: 1 });
    let on_disk: u64 = inspect::list(&folder.0).unwrap().iter().map(|file| file.bytes).sum();
    assert_eq!((spool.gauge().quarantined_pieces(), pseudonyms(&folder), spool.gauge().bytes()), (0, 0, on_disk));
}

#[test]
fn counts_hold_nothing_of_anybody_and_stay_as_they_are() {
    let folder = Folder::new("counts");
    let spool = folder.spool();
    let sealed = with_log(&spool, |log| async move {
        log.count(("example.org", &Zone::utc()), Day(20_000), Outcome::Dropped(Dropped::DoNotTrack), 3);
        log.rows().unwrap().finish().await.unwrap();
    });
    let before = fs::read(sealed[0].path()).unwrap();
    assert_eq!(spool.strip(after(7)).unwrap(), Stripped::default());
    assert_eq!(fs::read(sealed[0].path()).unwrap(), before);
}
