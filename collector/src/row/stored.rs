//! Stored rows read back: where each begins and ends, and what stands in its columns. By the layout's column types alone, and not by the code that
//! writes rows, so that the one can be held against the other.

use std::borrow::Cow;
use std::fmt;

use serde::ser::{Serialize, SerializeMap, Serializer};

use super::{EVENTS, OUTCOMES, Stamp, TableLayout};
use crate::clock::{Day, UnixMillis};

/// Every layout that rows were ever written in: a spool may hold rows of an earlier version.
const WRITTEN: &[&TableLayout] = &[&EVENTS, &OUTCOMES];

/// Node and batch, with which every row begins.
const STAMP_BYTES: usize = 16;

/// Why stored bytes cannot be read as rows. Nothing of them is quoted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// Nobody has written such rows up to this version.
    #[error("this version knows no rows of that table and schema")]
    UnknownSchema,
    /// They end within a row, or hold what no column of the schema can.
    #[error("the bytes are not rows of their schema")]
    Malformed,
}

/// The layout that a segment's rows were written in, by what its header says of them.
///
/// # Errors
/// [`Unreadable::UnknownSchema`] when this version knows none by that table, number and column list.
pub fn layout_of(table: &str, schema_id: u32, column_list: &str) -> Result<&'static TableLayout, Unreadable> {
    let is_meant = |layout: &&&TableLayout| (layout.table, layout.schema_id) == (table, schema_id) && layout.column_list() == column_list;
    WRITTEN.iter().find(is_meant).copied().ok_or(Unreadable::UnknownSchema)
}

/// The rows that `bytes` hold, one after the other, which must be whole rows of `layout`. After an error there is nothing more.
pub fn walk<'a>(layout: &'static TableLayout, bytes: &'a [u8]) -> Rows<'a> {
    Rows { layout, rest: bytes }
}

/// See [`walk`].
#[derive(Clone, Debug)]
pub struct Rows<'a> {
    layout: &'static TableLayout,
    rest: &'a [u8],
}

impl<'a> Iterator for Rows<'a> {
    type Item = Result<Row<'a>, Unreadable>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let start = std::mem::take(&mut self.rest);
        let mut rest = start;
        if self.layout.columns.iter().any(|(_, kind)| value(kind, &mut rest).is_none()) {
            return Some(Err(Unreadable::Malformed));
        }
        self.rest = rest;
        Some(Ok(Row { layout: self.layout, bytes: &start[..start.len() - rest.len()] }))
    }
}

/// One stored row.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    layout: &'static TableLayout,
    bytes: &'a [u8],
}

impl<'a> Row<'a> {
    /// Its bytes.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Appends the row as it stands in another segment: node and batch are that one's, everything else is as it was.
    pub fn put_restamped(&self, out: &mut Vec<u8>, stamp: Stamp) {
        out.extend_from_slice(&stamp.node.to_le_bytes());
        out.extend_from_slice(&stamp.batch.to_le_bytes());
        out.extend_from_slice(&self.bytes[STAMP_BYTES..]);
    }

    /// Appends the row with nothing in its column `visitor`: whose it is cannot be told any more. Everything else is as it was, its length too.
    pub fn put_stripped(&self, out: &mut Vec<u8>) {
        let mut rest = self.bytes;
        for (name, kind) in self.layout.columns {
            let before = rest;
            // Every column was read once when the row was found.
            let Some(_) = value(kind, &mut rest) else { return };
            let cell = &before[..before.len() - rest.len()];
            if *name == "visitor" {
                out.resize(out.len() + cell.len(), 0);
            } else {
                out.extend_from_slice(cell);
            }
        }
    }

    /// Name and value of each column, in the layout's order.
    pub fn values(&self) -> impl Iterator<Item = (&'static str, Value<'a>)> + use<'a> {
        let mut rest = self.bytes;
        // Every column was read once when the row was found.
        self.layout.columns.iter().map_while(move |(name, kind)| Some((*name, value(kind, &mut rest)?)))
    }
}

/// As a map from column names to values, in the layout's order.
impl Serialize for Row<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.values())
    }
}

/// What stands in one column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// A whole number.
    Number(u64),
    /// A yes or no.
    Flag(bool),
    /// A calendar day.
    Day(Day),
    /// An instant.
    Instant(UnixMillis),
    /// Ten-thousandths of a currency's unit.
    Amount(i64),
    /// A text. What is not UTF-8 in it stands as replacement characters.
    Text(Cow<'a, str>),
    /// Texts by their names, in the order in which they stand.
    Texts(Vec<(Cow<'a, str>, Cow<'a, str>)>),
}

/// For people, in one line unless a text holds several: `7`, `true`, `2026-11-22`, `2026-11-22T21:39:59.999Z`, `-0.0001`, the text itself,
/// `{plan=small, seats=2}`.
impl fmt::Display for Value<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(formatter),
            Self::Flag(flag) => flag.fmt(formatter),
            Self::Day(day) => day.fmt(formatter),
            Self::Instant(time) => match jiff::Timestamp::from_millisecond(time.0) {
                Ok(instant) => instant.fmt(formatter),
                Err(_) => time.0.fmt(formatter),
            },
            Self::Amount(amount) => {
                let sign = if *amount < 0 { "-" } else { "" };
                write!(formatter, "{sign}{}.{:04}", amount.unsigned_abs() / 10_000, amount.unsigned_abs() % 10_000)
            }
            Self::Text(text) => text.fmt(formatter),
            Self::Texts(texts) => {
                let pairs: Vec<String> = texts.iter().map(|(name, text)| format!("{name}={text}")).collect();
                write!(formatter, "{{{}}}", pairs.join(", "))
            }
        }
    }
}

/// Numbers and flags as such, texts as a map, everything else as its text.
impl Serialize for Value<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Number(number) => serializer.serialize_u64(*number),
            Self::Flag(flag) => serializer.serialize_bool(*flag),
            Self::Text(text) => serializer.serialize_str(text),
            Self::Texts(texts) => {
                let mut map = serializer.serialize_map(Some(texts.len()))?;
                texts.iter().try_for_each(|(name, text)| map.serialize_entry(name, text))?;
                map.end()
            }
            Self::Day(_) | Self::Instant(_) | Self::Amount(_) => serializer.collect_str(self),
        }
    }
}

/// Takes a column's value from the start of `rest`; `None` when it is not there.
fn value<'a>(kind: &str, rest: &mut &'a [u8]) -> Option<Value<'a>> {
    Some(match kind {
        "UInt8" => Value::Number(number::<1>(rest)?),
        "UInt16" => Value::Number(number::<2>(rest)?),
        "UInt32" => Value::Number(number::<4>(rest)?),
        "UInt64" => Value::Number(number::<8>(rest)?),
        "Bool" => Value::Flag(number::<1>(rest)? != 0),
        "Date" => Value::Day(Day(u16::try_from(number::<2>(rest)?).ok()?)),
        "DateTime64(3, 'UTC')" => Value::Instant(UnixMillis(number::<8>(rest)?.cast_signed())),
        "Decimal(18, 4)" => Value::Amount(number::<8>(rest)?.cast_signed()),
        "String" => Value::Text(text(rest)?),
        "Map(String, String)" => {
            let count = length(rest)?;
            // Not made in advance for the stated number, which may be anything: each pair takes bytes, so it ends with them.
            let mut texts = Vec::new();
            for _ in 0..count {
                texts.push((text(rest)?, text(rest)?));
            }
            Value::Texts(texts)
        }
        _ => return None,
    })
}

/// A little-endian number of so many bytes.
fn number<const BYTES: usize>(rest: &mut &[u8]) -> Option<u64> {
    let (bytes, tail) = rest.split_first_chunk::<BYTES>()?;
    *rest = tail;
    Some(bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

fn text<'a>(rest: &mut &'a [u8]) -> Option<Cow<'a, str>> {
    let length = usize::try_from(length(rest)?).ok()?;
    let (bytes, tail) = rest.split_at_checked(length)?;
    *rest = tail;
    Some(String::from_utf8_lossy(bytes))
}

/// An unsigned LEB128 number of at most 63 bits.
fn length(rest: &mut &[u8]) -> Option<u64> {
    let mut length = 0;
    for shift in (0..63).step_by(7) {
        let byte = number::<1>(rest)?;
        length |= (byte & 0x7F) << shift;
        if byte < 0x80 {
            return Some(length);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::outcome::{Dropped, Outcome};
    use crate::row::{OutcomeCount, Table};

    const STAMP: Stamp = Stamp { node: 7, batch: 9 };

    fn count(site: &str) -> Vec<u8> {
        let count = OutcomeCount { site, day: Day(20_779), outcome: Outcome::Dropped(Dropped::DoNotTrack), count: 300 };
        let mut row = Vec::new();
        count.encode(&mut row, &crate::clock::Zone::utc(), STAMP);
        row
    }

    #[test]
    fn rows_are_found_one_after_the_other_whatever_their_length() {
        let sites = ["a.example".to_owned(), String::new(), "b".repeat(300)];
        let bytes: Vec<u8> = sites.iter().flat_map(|site| count(site)).collect();
        let rows: Vec<Row<'_>> = walk(&OUTCOMES, &bytes).collect::<Result<_, _>>().unwrap();
        assert_eq!(rows.iter().map(|row| row.bytes().len()).sum::<usize>(), bytes.len());
        for (row, site) in rows.iter().zip(&sites) {
            assert_eq!(row.bytes(), count(site));
            assert!(row.values().any(|found| found == ("site", Value::Text(site.into()))));
        }
        assert!(walk(&OUTCOMES, &[]).next().is_none());
    }

    #[test]
    fn a_row_is_shown_as_json_in_the_order_of_its_columns() {
        let bytes = count("a \"quoted\" site");
        let row = walk(&OUTCOMES, &bytes).next().unwrap().unwrap();
        let json = r#"{"node":7,"batch":9,"zone":"UTC","day":"2026-11-22","site":"a \"quoted\" site","reason":"dnt","count":300}"#;
        assert_eq!(serde_json::to_string(&row).unwrap(), json);
    }

    #[test]
    fn every_kind_of_value_has_a_form_for_people_and_one_for_programs() {
        let pair = |name: &'static str, text: &'static str| (name.into(), text.into());
        for (value, text, json) in [
            (Value::Number(u64::MAX), "18446744073709551615", "18446744073709551615"),
            (Value::Flag(true), "true", "true"),
            (Value::Day(Day(1)), "1970-01-02", "\"1970-01-02\""),
            (Value::Instant(UnixMillis(1_795_383_599_999)), "2026-11-22T21:39:59.999Z", "\"2026-11-22T21:39:59.999Z\""),
            (Value::Instant(UnixMillis(i64::MAX)), "9223372036854775807", "\"9223372036854775807\""),
            (Value::Amount(-1), "-0.0001", "\"-0.0001\""),
            (Value::Amount(12_345_600), "1234.5600", "\"1234.5600\""),
            (Value::Text("a\tb".into()), "a\tb", "\"a\\tb\""),
            (Value::Texts(vec![pair("a", "1"), pair("b", "2")]), "{a=1, b=2}", "{\"a\":\"1\",\"b\":\"2\"}"),
        ] {
            assert_eq!((value.to_string().as_str(), serde_json::to_string(&value).unwrap().as_str()), (text, json));
        }
    }

    #[test]
    fn a_row_in_another_segment_differs_in_its_stamp_alone() {
        for table in Table::ALL {
            let first: Vec<&str> = table.layout().columns.iter().map(|(name, _)| *name).take(2).collect();
            assert_eq!(first, ["node", "batch"], "{}", table.name());
        }
        let bytes = count("a.example");
        let mut moved = Vec::new();
        walk(&OUTCOMES, &bytes).next().unwrap().unwrap().put_restamped(&mut moved, Stamp { node: 1, batch: 2 });
        assert_eq!(moved[..16], [1_u64.to_le_bytes(), 2_u64.to_le_bytes()].concat());
        assert_eq!(moved[16..], bytes[16..]);
    }

    #[test]
    fn rows_of_another_schema_are_not_guessed_at() {
        for table in Table::ALL {
            let layout = table.layout();
            let columns = layout.column_list();
            assert_eq!(layout_of(layout.table, layout.schema_id, &columns), Ok(WRITTEN[table as usize]));
            for (table, schema_id, columns) in [
                ("sessions", layout.schema_id, columns.as_str()),
                (layout.table, layout.schema_id + 1, &columns),
                (layout.table, layout.schema_id, "node, batch"),
            ] {
                assert_eq!(layout_of(table, schema_id, columns), Err(Unreadable::UnknownSchema));
            }
        }
    }

    #[test]
    fn bytes_that_are_no_rows_are_refused() {
        let whole = count("a.example");
        let mut endless_length = whole[..16].to_vec();
        endless_length.extend_from_slice(&[0xFF; 12]);
        let mut length_of_everything = whole[..16].to_vec();
        length_of_everything.extend_from_slice(&[0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F]);
        for (what, bytes) in
            [("cut short", whole[..whole.len() - 1].to_vec()), ("endless", endless_length), ("too long", length_of_everything)]
        {
            let mut rows = walk(&OUTCOMES, &bytes);
            assert_eq!(rows.next().unwrap().err(), Some(Unreadable::Malformed), "{what}");
            assert!(rows.next().is_none(), "{what}: there is nothing more");
        }
    }

    proptest! {
        #[test]
        fn whatever_the_bytes_are_the_walk_ends(bytes in proptest::collection::vec(any::<u8>(), 0..2_000)) {
            for table in Table::ALL {
                let taken: usize = walk(WRITTEN[table as usize], &bytes).map_while(Result::ok).map(|row| row.bytes().len()).sum();
                prop_assert!(taken <= bytes.len());
            }
        }
    }
}
