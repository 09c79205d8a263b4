//! Which formats can be answered block by block, and how their blocks are joined.
//!
//! libchdb formats every block of a streamed result as a document of its own. For formats without a head those are joined as they are; for
//! those with the column names first, the head of all blocks but the first is left out. Every other format (JSON, Parquet, ...) is made in
//! one piece by the engine, under its memory cap.

/// How the blocks of a format become one answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Joint {
    /// Rows and nothing else.
    Plain,
    /// RowBinary: a count, that many names and that many types, then rows.
    BinaryHead,
    /// This many lines first; a line end inside double quotes belongs to a name.
    HeadLines(usize),
}

impl Joint {
    /// The rule for `format`; `None` when its blocks cannot be joined.
    pub(crate) fn of(format: &str) -> Option<Self> {
        Some(match format {
            "RowBinary" | "TabSeparated" | "TSV" | "TabSeparatedRaw" | "TSVRaw" | "CSV" | "JSONEachRow" | "JSONLines" | "NDJSON"
            | "JSONCompactEachRow" | "LineAsString" | "RawBLOB" => Self::Plain,
            "RowBinaryWithNamesAndTypes" => Self::BinaryHead,
            "TabSeparatedWithNames" | "TSVWithNames" | "CSVWithNames" => Self::HeadLines(1),
            "TabSeparatedWithNamesAndTypes" | "TSVWithNamesAndTypes" | "CSVWithNamesAndTypes" => Self::HeadLines(2),
            _ => return None,
        })
    }

    /// What of a block that is not the first belongs into the answer.
    pub(crate) fn rows_of(self, block: &[u8]) -> &[u8] {
        let head = match self {
            Self::Plain => Some(0),
            Self::BinaryHead => binary_head(block),
            Self::HeadLines(lines) => head_lines(block, lines),
        };
        block.get(head.unwrap_or(block.len())..).unwrap_or_default()
    }
}

/// Bytes of the head of a `RowBinaryWithNamesAndTypes` document.
fn binary_head(block: &[u8]) -> Option<usize> {
    let (columns, mut at) = varint(block, 0)?;
    for _ in 0..columns.checked_mul(2)? {
        let (length, start) = varint(block, at)?;
        at = start.checked_add(length)?;
    }
    Some(at)
}

/// The LEB128 number at `at`, and where the bytes after it start.
fn varint(bytes: &[u8], mut at: usize) -> Option<(usize, usize)> {
    let mut number = 0_usize;
    for shift in (0..usize::BITS).step_by(7) {
        let byte = *bytes.get(at)?;
        at += 1;
        number |= usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some((number, at));
        }
    }
    None
}

/// Bytes of the first `lines` lines.
fn head_lines(block: &[u8], lines: usize) -> Option<usize> {
    let mut left = lines;
    let mut quoted = false;
    for (at, byte) in block.iter().enumerate() {
        match byte {
            b'"' => quoted = !quoted,
            b'\n' if !quoted => left -= 1,
            _ => {}
        }
        if left == 0 {
            return Some(at + 1);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_blocks_give_their_rows_only() {
        let cases: [(&str, &[u8], &[u8]); 6] = [
            ("TSV", b"1\n2\n", b"1\n2\n"),
            ("RowBinary", b"\x01\x02", b"\x01\x02"),
            ("CSVWithNames", b"\"n\"\n1\n", b"1\n"),
            ("CSVWithNames", b"\"a\nb\",\"c\"\"d\"\n1,2\n", b"1,2\n"),
            ("TSVWithNamesAndTypes", b"n\nUInt8\n7\n", b"7\n"),
            ("RowBinaryWithNamesAndTypes", b"\x02\x01a\x01b\x05UInt8\x05UInt8\x07\x08", b"\x07\x08"),
        ];
        for (format, block, rows) in cases {
            assert_eq!(Joint::of(format).unwrap().rows_of(block), rows, "{format}");
        }
    }

    #[test]
    fn a_damaged_head_gives_no_rows() {
        for block in [&b""[..], b"\x02\x01a", b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", b"\x01\x7fa"] {
            assert_eq!(Joint::BinaryHead.rows_of(block), b"");
        }
        assert_eq!(Joint::HeadLines(1).rows_of(b"no end"), b"");
    }

    #[test]
    fn documents_cannot_be_joined() {
        for format in ["JSON", "Parquet", "PrettyCompact", "Native", "XML"] {
            assert_eq!(Joint::of(format), None);
        }
    }
}
