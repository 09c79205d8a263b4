//! Segments of the spool, read by the description of their format alone and not by the code that writes them (`headcount::spool::format`).

use std::collections::BTreeMap;
use std::path::Path;

use headcount::row::{EVENTS, OUTCOMES, TableLayout};

/// A stored row: each cell as text, by its column.
pub type Row = BTreeMap<&'static str, String>;

/// One request's rows.
#[derive(Debug)]
pub struct Frame {
    /// Keyed hash of the idempotency key, or zero.
    pub key: u64,
    /// In how many frames the request's rows lie.
    pub parts: u64,
    /// The rows.
    pub rows: Vec<Row>,
    /// Keyed hash of each row's event id, or zero.
    pub ids: Vec<u64>,
}

/// All frames of `table` in the segments of `folder`, sealed or not, in the order of the files' names.
///
/// # Panics
///
/// When a file is no segment of this version.
pub fn of(folder: &Path, table: &str) -> Vec<Frame> {
    let mut paths: Vec<_> =
        std::fs::read_dir(folder).expect("the spool is there").map(|entry| entry.expect("it can be read").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "sealed" || extension == "open"));
    paths.sort();
    paths.iter().flat_map(|path| segment(&std::fs::read(path).expect("it can be read"), table)).collect()
}

/// All stored events of the sealed segments of `folder`.
pub fn events(folder: &Path) -> Vec<Row> {
    of(folder, "events").into_iter().flat_map(|frame| frame.rows).collect()
}

fn segment(bytes: &[u8], table: &str) -> Vec<Frame> {
    let mut rest = bytes;
    // A collector that was killed leaves a segment that was allocated and not yet begun.
    if bytes.iter().all(|byte| *byte == 0) {
        return Vec::new();
    }
    assert_eq!(take(&mut rest, 8), b"HCSPOOL1");
    let length = number(&mut rest, 4);
    let _checksum = take(&mut rest, 4);
    let mut header = take(&mut rest, size(length));
    // Node, batch, begun, day, schema id; then the time zone.
    take(&mut header, 8 + 8 + 8 + 2 + 4);
    let zone = number(&mut header, 2);
    take(&mut header, size(zone));
    let named = number(&mut header, 2);
    if take(&mut header, size(named)) != table.as_bytes() {
        return Vec::new();
    }
    let layout = [EVENTS, OUTCOMES].into_iter().find(|layout| layout.table == table).expect("a table of ours");
    std::iter::from_fn(|| frame(&mut rest, &layout)).collect()
}

fn frame(rest: &mut &[u8], layout: &TableLayout) -> Option<Frame> {
    // What follows the last frame is a footer, or the zeros and the end of a file that is being written.
    if !rest.starts_with(b"FRM1") {
        return None;
    }
    take(rest, 4);
    let length = number(rest, 4);
    let _checksum = take(rest, 4);
    let mut body = take(rest, size(length));
    let count = number(&mut body, 4);
    let key = number(&mut body, 8);
    let parts = number(&mut body, 4);
    let rows = (0..count).map(|_| row(&mut body, layout)).collect();
    let ids = (0..count).map(|_| number(&mut body, 8)).collect();
    assert!(body.is_empty(), "a frame is its rows and their hashes");
    Some(Frame { key, parts, rows, ids })
}

fn row(rest: &mut &[u8], layout: &TableLayout) -> Row {
    layout.columns.iter().map(|(name, kind)| (*name, cell(rest, kind))).collect()
}

fn cell(rest: &mut &[u8], kind: &str) -> String {
    match kind {
        "UInt8" | "Bool" => number(rest, 1).to_string(),
        "UInt16" | "Date" => number(rest, 2).to_string(),
        "UInt32" => number(rest, 4).to_string(),
        "UInt64" => number(rest, 8).to_string(),
        "DateTime64(3, 'UTC')" | "Decimal(18, 4)" => number(rest, 8).cast_signed().to_string(),
        "String" => text(rest),
        "Map(String, String)" => (0..length(rest)).map(|_| [text(rest), "=".to_owned(), text(rest), ";".to_owned()].concat()).collect(),
        other => panic!("no reader for {other}"),
    }
}

fn text(rest: &mut &[u8]) -> String {
    let length = length(rest);
    String::from_utf8_lossy(take(rest, size(length))).into_owned()
}

/// An unsigned LEB128 number.
fn length(rest: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..).step_by(7) {
        let byte = number(rest, 1);
        value |= (byte & 0x7F) << shift;
        if byte < 0x80 {
            break;
        }
    }
    value
}

/// A little-endian number of so many bytes.
fn number(rest: &mut &[u8], bytes: usize) -> u64 {
    take(rest, bytes).iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn size(number: u64) -> usize {
    usize::try_from(number).expect("files of tests are small")
}

fn take<'b>(rest: &mut &'b [u8], count: usize) -> &'b [u8] {
    let (head, tail) = rest.split_at(count);
    *rest = tail;
    head
}
