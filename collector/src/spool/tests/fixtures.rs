//! Segments that earlier versions have left, sound and damaged: each is taken for what it is, for as long as there are such files.
//!
//! One set for each table and schema id; `fixtures/README.md` says how each file was made. A new layout adds files and changes none.

use super::super::recover::recover;
use super::super::sealed::ReadError;
use super::{Folder, content_bytes};
use crate::row::stored::{self, layout_of};

/// A file, the number in its header, and what becomes of it.
struct Fixture {
    name: &'static str,
    bytes: &'static [u8],
    batch: u64,
    /// What a start makes of it: rows to deliver, pieces put aside, files without a row.
    found: (u64, u64, u64),
    /// What is damaged in a sealed segment is found when it is read to be sent, and its sound rows get a segment of their own then.
    reads: Reads,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Reads {
    ToItsEnd,
    ToItsDamage,
}

macro_rules! fixture {
    ($name:literal, $batch:literal, $found:expr, $reads:ident) => {
        Fixture { name: $name, bytes: include_bytes!(concat!("../fixtures/", $name)), batch: $batch, found: $found, reads: Reads::$reads }
    };
}

const FIXTURES: &[Fixture] = &[
    fixture!("events-1.sealed", 1, (6, 0, 0), ToItsEnd),
    fixture!("events-1-unsealed.open", 1, (6, 0, 0), ToItsEnd),
    fixture!("events-1-torn.open", 1, (4, 0, 0), ToItsEnd),
    fixture!("events-1-damaged.sealed", 1, (6, 0, 0), ToItsDamage),
    fixture!("events-1-footer.sealed", 1, (6, 0, 0), ToItsDamage),
    fixture!("events-1-header.sealed", 1, (0, 1, 0), ToItsEnd),
    fixture!("outcomes_daily-1.sealed", 2, (3, 0, 0), ToItsEnd),
    fixture!("nothing.open", 1, (0, 0, 1), ToItsEnd),
];

#[test]
fn what_an_earlier_version_has_left_is_taken_for_what_it_is() {
    for Fixture { name, bytes, batch, found, reads } in FIXTURES {
        let folder = Folder::new("fixture");
        let spool = folder.spool();
        let extension = name.rsplit('.').next().unwrap();
        std::fs::write(folder.0.join(format!("{batch:016x}.{extension}")), bytes).unwrap();
        let recovered = recover(&spool).unwrap();
        let rows: u64 = recovered.sealed.iter().map(|sealed| sealed.totals().rows).sum();
        assert_eq!((rows, recovered.quarantined, recovered.empty), *found, "{name}");
        for sealed in &recovered.sealed {
            let header = sealed.header();
            let layout = layout_of(&header.table, header.schema_id, &header.columns).unwrap();
            if *reads == Reads::ToItsDamage {
                let mut reader = sealed.reader().unwrap();
                let end = loop {
                    match reader.next_rows() {
                        Ok(Some(_)) => {}
                        Ok(None) => break None,
                        Err(error) => break Some(error),
                    }
                };
                assert!(matches!(end, Some(ReadError::Damaged)), "{name}");
                continue;
            }
            let bytes = content_bytes(sealed);
            let read = stored::walk(layout, &bytes).map(|row| row.unwrap().values().count()).collect::<Vec<_>>();
            assert_eq!(read, vec![layout.columns.len(); usize::try_from(rows).unwrap()], "{name}");
        }
    }
}

#[test]
fn the_rows_of_a_fixture_say_what_was_sent() {
    let folder = Folder::new("fixture-rows");
    let spool = folder.spool();
    std::fs::write(folder.0.join("0000000000000001.sealed"), FIXTURES[0].bytes).unwrap();
    let recovered = recover(&spool).unwrap();
    let header = recovered.sealed[0].header();
    assert_eq!((&*header.zone, header.batch, header.begun.0), ("Europe/Berlin", 1, 1_795_378_148_766));
    let layout = layout_of(&header.table, header.schema_id, &header.columns).unwrap();
    let bytes = content_bytes(&recovered.sealed[0]);
    let said: Vec<String> = stored::walk(layout, &bytes)
        .map(|row| {
            let wanted = |(name, value)| ["kind", "name", "page", "props", "value"].contains(&name).then(|| format!("{value}"));
            row.unwrap().values().filter_map(wanted).collect::<Vec<_>>().join(" ")
        })
        .collect();
    assert_eq!(said, ["event signup  {plan=team} 12.5000", "screen  Settings {} 0.0000"].repeat(3));
}
