//! Stored rows as tests read them: by their column list alone, independently of the encoder.

use super::TableLayout;

/// Reads a row back by its column list alone: each cell as text.
pub(crate) fn decode(layout: &TableLayout, row: &[u8]) -> Vec<(&'static str, String)> {
    let mut rest = row;
    let cells = next(layout, &mut rest);
    assert!(rest.is_empty(), "{} bytes after the last column", rest.len());
    cells
}

/// Takes the next of several rows.
pub(crate) fn next(layout: &TableLayout, rest: &mut &[u8]) -> Vec<(&'static str, String)> {
    layout.columns.iter().map(|(name, kind)| (*name, cell(kind, rest))).collect()
}

fn cell(kind: &str, rest: &mut &[u8]) -> String {
    match kind {
        "UInt8" | "Bool" => take(rest, 1)[0].to_string(),
        "UInt16" | "Date" => u16::from_le_bytes(take(rest, 2).try_into().unwrap()).to_string(),
        "UInt32" => u32::from_le_bytes(take(rest, 4).try_into().unwrap()).to_string(),
        "UInt64" => u64::from_le_bytes(take(rest, 8).try_into().unwrap()).to_string(),
        "DateTime64(3, 'UTC')" | "Decimal(18, 4)" => i64::from_le_bytes(take(rest, 8).try_into().unwrap()).to_string(),
        "String" => text(rest),
        "Map(String, String)" => {
            let pairs = length(rest);
            (0..pairs).map(|_| [text(rest), "=".into(), text(rest), ";".into()].concat()).collect()
        }
        other => panic!("no decoder for {other}"),
    }
}

fn take<'r>(rest: &mut &'r [u8], count: usize) -> &'r [u8] {
    let (head, tail) = rest.split_at(count);
    *rest = tail;
    head
}

fn length(rest: &mut &[u8]) -> usize {
    let mut value = 0;
    for shift in (0..).step_by(7) {
        let byte = take(rest, 1)[0];
        value |= usize::from(byte & 0x7F) << shift;
        if byte < 0x80 {
            break;
        }
    }
    value
}

fn text(rest: &mut &[u8]) -> String {
    let count = length(rest);
    String::from_utf8(take(rest, count).to_vec()).unwrap()
}
