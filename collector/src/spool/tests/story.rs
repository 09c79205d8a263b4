//! What a story and the rows of its end say of each other: each request that was answered is there once, and nothing that was refused.

use std::collections::{BTreeMap, BTreeSet};

use super::super::Sealed;
use super::super::disk::simulated::Disk;
use super::super::format::{Frame, Header, PREFIX, Record, record};
use super::super::sealed::ReadError;
use super::rig::{Happened, Lane, Row, folder};
use crate::row::stored::{self, Value};
use crate::row::{Stamp, TableLayout};

/// The rows of a sealed segment, every checksum being checked, and that each row carries the segment's number.
pub(super) fn content(sealed: &Sealed) -> Result<Vec<Row>, ReadError> {
    let mut reader = sealed.reader()?;
    let mut found = Vec::new();
    while let Some(rows) = reader.next_rows()? {
        found.extend(rows_in(&sealed.header(), rows));
    }
    Ok(found)
}

pub(super) fn put_row(out: &mut Vec<u8>, layout: &TableLayout, stamp: Stamp, (number, place): Row) {
    let mut named = false;
    for (column, kind) in layout.columns {
        match (*column, *kind) {
            ("node", _) => out.extend_from_slice(&stamp.node.to_le_bytes()),
            ("batch", _) => out.extend_from_slice(&stamp.batch.to_le_bytes()),
            (_, "String") if !named => {
                named = true;
                let text = format!("{number}.{place}");
                out.push(u8::try_from(text.len()).unwrap());
                out.extend_from_slice(text.as_bytes());
            }
            (_, "UInt8" | "Bool" | "String" | "Map(String, String)") => out.push(0),
            (_, "UInt16" | "Date") => out.extend_from_slice(&[0; 2]),
            (_, "UInt32") => out.extend_from_slice(&[0; 4]),
            _ => out.extend_from_slice(&[0; 8]),
        }
    }
}

/// A row that nobody has sent stands for one that cannot be read, or that another segment should hold.
const NOBODYS: Row = (0, 0);

fn rows_in(header: &Header, bytes: &[u8]) -> Vec<Row> {
    let Ok(layout) = stored::layout_of(&header.table, header.schema_id, &header.columns) else { return vec![NOBODYS] };
    let named = |row: &stored::Row<'_>| {
        let mut values = row.values();
        let stamp = (values.next()?.1, values.next()?.1);
        let text = values.find_map(|(_, value)| if let Value::Text(text) = value { Some(text) } else { None })?;
        let (number, place) = text.split_once('.')?;
        (stamp == (Value::Number(header.node), Value::Number(header.batch))).then_some((number.parse().ok()?, place.parse().ok()?))
    };
    stored::walk(layout, bytes).map(|row| row.ok().as_ref().and_then(named).unwrap_or(NOBODYS)).collect()
}

/// Where each frame lies in a segment's file, and its rows, until one is not sound.
pub(super) fn frames(bytes: &[u8]) -> Vec<(std::ops::Range<usize>, Vec<Row>)> {
    let Some((header, mut offset)) = Header::decode(bytes) else { return Vec::new() };
    let mut found = Vec::new();
    while let Some(prefix) = bytes.get(offset..offset + PREFIX) {
        let Record::Frame { length, checksum } = record(prefix) else { break };
        let end = offset + PREFIX + length;
        let frame = bytes.get(offset + PREFIX..end).and_then(|body| Frame::decode(body, checksum, header.seed()));
        let Some(frame) = frame else { break };
        found.push((offset..end, rows_in(&header, frame.rows)));
        offset = end;
    }
    found
}

/// The rows that ClickHouse has of a segment.
pub(super) fn inserted(story: &[Happened], batch: u64) -> Option<&Vec<Row>> {
    story.iter().find_map(|happened| match happened {
        Happened::Inserted(found, rows) if *found == batch => Some(rows),
        Happened::Inserted(..) | Happened::Taken(..) | Happened::Kept(_) | Happened::Refused(_) | Happened::Divided(..) => None,
    })
}

/// Segments whose numbers were given.
pub(super) fn batches(story: &[Happened]) -> BTreeSet<u64> {
    let of = |happened: &Happened| match happened {
        Happened::Taken(_, _, batches) | Happened::Divided(_, batches) => batches.clone(),
        Happened::Kept(_) | Happened::Refused(_) | Happened::Inserted(..) => BTreeSet::new(),
    };
    story.iter().flat_map(of).collect()
}

/// How many rows of each request are where nothing is lost any more: in ClickHouse, in what waits for it, and parked.
pub(super) fn found(story: &[Happened], waiting: &[Sealed], disk: &Disk) -> Result<BTreeMap<Row, u32>, String> {
    let mut all = Vec::new();
    for happened in story {
        if let Happened::Inserted(_, rows) = happened {
            all.extend(rows.iter().copied());
        }
    }
    for sealed in waiting {
        let rows = content(sealed).map_err(|error| error.to_string())?;
        match inserted(story, sealed.header().batch) {
            None => all.extend(rows),
            Some(there) if *there == rows => {}
            Some(_) => return Err(format!("segment {} is not what ClickHouse has of it", sealed.header().batch)),
        }
    }
    let parked = folder(disk).join("parked");
    for path in disk.files().into_iter().filter(|path| path.starts_with(&parked)) {
        let bytes = disk.content(&path).unwrap_or_default();
        all.extend(frames(&bytes).into_iter().flat_map(|(_, rows)| rows));
    }
    let mut counted = BTreeMap::new();
    for row in all {
        *counted.entry(row).or_insert(0) += 1;
    }
    Ok(counted)
}

/// What need not be as it was promised.
#[derive(Debug, Default)]
pub(super) struct Excused {
    /// A disk that fails may not let what was refused be cut off.
    pub(super) refused: bool,
    /// These frames were damaged.
    pub(super) damaged: BTreeSet<(u64, Lane)>,
}

/// Compares what is found with what was promised: what was kept is there, what was refused is not, and what got no answer is there whole or not at all.
pub(super) fn judge(story: &[Happened], mut found: BTreeMap<Row, u32>, excused: &Excused) -> Result<(), String> {
    if let Some((row, times)) = found.iter().find(|(_, times)| **times > 1) {
        return Err(format!("row {row:?} is there {times} times"));
    }
    let (mut kept, mut refused) = (BTreeSet::new(), BTreeSet::new());
    for happened in story {
        match happened {
            Happened::Kept(number) => drop(kept.insert(*number)),
            Happened::Refused(number) => drop(refused.insert(*number)),
            Happened::Taken(..) | Happened::Inserted(..) | Happened::Divided(..) => {}
        }
    }
    for happened in story {
        let Happened::Taken(number, parts, _) = happened else { continue };
        let mut place = 0;
        for (lane, count) in parts {
            let there = (place..place + count).filter(|place| found.remove(&(*number, *place)).is_some()).count() as u64;
            place += count;
            match there {
                _ if excused.damaged.contains(&(*number, *lane)) => {}
                0 if kept.contains(number) => return Err(format!("request {number} was kept, and its rows of {lane:?} are lost")),
                0 => {}
                there if there < *count => return Err(format!("request {number} has {there} of {count} rows of {lane:?}")),
                _ if refused.contains(number) && !excused.refused => {
                    return Err(format!("request {number} was refused, and its rows of {lane:?} are there"));
                }
                _ => {}
            }
        }
    }
    if found.is_empty() { Ok(()) } else { Err(format!("rows that were never sent: {found:?}")) }
}

/// Where a row was to go.
pub(super) fn lane_of(story: &[Happened], (number, place): (u64, u64)) -> Option<Lane> {
    story.iter().find_map(|happened| match happened {
        Happened::Taken(taken, parts, _) if *taken == number => {
            let mut end = 0;
            parts.iter().find_map(|(lane, count)| {
                end += count;
                (place < end).then_some(*lane)
            })
        }
        Happened::Taken(..) | Happened::Kept(_) | Happened::Refused(_) | Happened::Inserted(..) | Happened::Divided(..) => None,
    })
}

/// Segments and what was put aside, as opposed to the few files that say who the node is.
pub(super) fn is_counted(path: &std::path::Path) -> bool {
    path.extension().is_some_and(|extension| extension == "sealed" || extension == "open" || extension == "damaged")
}
