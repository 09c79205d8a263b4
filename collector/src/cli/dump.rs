//! `headcount spool dump`: what is stored in a segment, as JSON lines: the segment first, then its rows. Nothing but what is on the disk is shown, and only
//! what its checksums vouch for.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::row::stored::{self, Unreadable};
use crate::spool::inspect::{self, Listed};

/// Why a segment cannot be shown.
#[derive(Debug, thiserror::Error)]
pub(super) enum DumpError {
    #[error("{asked}: no file and no batch of the spool; `headcount spool ls` shows what there is")]
    Unknown { asked: String },
    #[error("{}: cannot be read", path.display())]
    Unreadable {
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
    #[error("{}", path.display())]
    Rows {
        path: PathBuf,
        #[source]
        cause: Unreadable,
    },
    #[error("cannot print")]
    Print(#[from] io::Error),
}

/// The first line: what a segment says of itself, and what its checksums say of it.
#[derive(Serialize)]
struct Head<'a> {
    file: &'a Path,
    state: &'static str,
    bytes: u64,
    /// Rows in frames whose checksums hold.
    rows: u64,
    damaged_pieces: usize,
    /// Written by a newer Headcount, in this format.
    #[serde(skip_serializing_if = "Option::is_none")]
    newer_format: Option<char>,
    #[serde(skip_serializing_if = "Option::is_none")]
    segment: Option<Segment<'a>>,
}

#[derive(Serialize)]
struct Segment<'a> {
    node: u64,
    batch: u64,
    table: &'a str,
    zone: &'a str,
    day: String,
    begun: String,
    schema_id: u32,
}

/// Prints the segment that `asked` names, by its file or by its batch, and at most `limit` of its rows.
pub(super) fn dump(folder: &Path, asked: &str, limit: Option<u64>, out: &mut dyn Write) -> Result<(), DumpError> {
    let listed = find(folder, asked)?;
    let unreadable = |cause| DumpError::Unreadable { path: listed.path.clone(), cause };
    print(&head(&listed), out)?;
    let Some(header) = &listed.header else { return Ok(()) };
    let unknown = |cause| DumpError::Rows { path: listed.path.clone(), cause };
    let layout = stored::layout_of(&header.table, header.schema_id, &header.columns).map_err(unknown)?;
    let mut left = limit.unwrap_or(u64::MAX);
    let mut printed = Ok(());
    inspect::frames(&listed, |rows| {
        for row in stored::walk(layout, rows) {
            if left == 0 {
                return false;
            }
            left -= 1;
            printed = row.map_err(unknown).and_then(|row| Ok(print(&row, out)?));
            if printed.is_err() {
                return false;
            }
        }
        true
    })
    .map_err(unreadable)?;
    printed
}

fn find(folder: &Path, asked: &str) -> Result<Listed, DumpError> {
    let path = Path::new(asked);
    if path.is_file() {
        return inspect::file(path).map_err(|cause| DumpError::Unreadable { path: path.to_path_buf(), cause });
    }
    let unknown = || DumpError::Unknown { asked: asked.to_owned() };
    let batch: u64 = asked.parse().map_err(|_| unknown())?;
    let unreadable = |cause| DumpError::Unreadable { path: folder.to_path_buf(), cause };
    let files = if folder.is_dir() { inspect::list(folder).map_err(unreadable)? } else { Vec::new() };
    files.into_iter().find(|listed| listed.header.as_ref().is_some_and(|header| header.batch == batch)).ok_or_else(unknown)
}

fn head(listed: &Listed) -> Head<'_> {
    let segment = listed.header.as_ref().map(|header| Segment {
        node: header.node,
        batch: header.batch,
        table: &header.table,
        zone: &header.zone,
        day: header.day.to_string(),
        begun: stored::Value::Instant(header.begun).to_string(),
        schema_id: header.schema_id,
    });
    Head {
        file: &listed.path,
        state: listed.state.label(),
        bytes: listed.bytes,
        rows: listed.rows,
        damaged_pieces: listed.damaged,
        newer_format: listed.newer,
        segment,
    }
}

fn print(line: &impl Serialize, out: &mut dyn Write) -> io::Result<()> {
    serde_json::to_writer(&mut *out, line).map_err(io::Error::from)?;
    writeln!(out)
}
