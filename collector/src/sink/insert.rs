//! One segment, one INSERT: its SQL with every setting that matters, and its rows streamed from the disk, each frame checked.

use bytes::Bytes;
use clickhouse::Client;
use tokio::sync::mpsc;

use crate::leak;
use crate::limits::{SINK_PIECE_BYTES, SINK_PIECES_AHEAD};
use crate::spool::Sealed;
use crate::spool::format::Header;
use crate::spool::sealed::{ReadError, Reader};
use crate::store::client;
use crate::store::database::Incarnation;
use crate::store::errors::Failure;

/// The settings of every insert; defaults have changed between versions, so none is trusted.
///
/// * The insert is awaited, and its token is remembered for the table and for the rollup behind the view.
/// * One segment is one block, so one part a table, and a part is there whole or not at all: a block is cut by neither rows nor bytes (the spool bounds
///   both), and what the view makes of it is neither cut nor spread over threads.
/// * A failing view fails the insert.
const SETTINGS: &str = "async_insert = 0, insert_deduplicate = 1, deduplicate_blocks_in_dependent_materialized_views = 1, \
    input_format_connection_handling = 0, input_format_parallel_parsing = 0, max_insert_threads = 1, parallel_view_processing = 0, \
    materialized_views_ignore_errors = 0, max_insert_block_size = 1048576, min_insert_block_size_rows = 1048576, \
    min_insert_block_size_bytes = 1099511627776, min_insert_block_size_rows_for_materialized_views = 1099511627776, \
    min_insert_block_size_bytes_for_materialized_views = 1099511627776";

/// Why a segment did not arrive.
#[derive(Debug)]
pub(super) enum InsertError {
    /// ClickHouse refused it, or may have it and did not say so.
    ClickHouse(Failure),
    /// Its file cannot be read now.
    Unreadable,
    /// Its file does not match its checksums.
    Damaged,
}

impl From<ReadError> for InsertError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Io(_) => Self::Unreadable,
            ReadError::Damaged => Self::Damaged,
        }
    }
}

/// The token of a batch's insert for as long as this life of the engine lasts.
pub(super) fn token(header: &Header, incarnation: Incarnation) -> String {
    if leak::planted("no_token") {
        return format!("{}{:016x}", token_prefix(header), getrandom::u64().unwrap_or_default());
    }
    format!("{}{:016x}", token_prefix(header), incarnation.0)
}

/// What every token of the batch begins with, whichever life of the engine it is for.
pub(super) fn token_prefix(header: &Header) -> String {
    format!("{:016x}/{}/", header.node, header.batch)
}

/// The settings of an insert under `token`, which is ours: hexadecimal numbers and strokes.
pub(super) fn settings(token: &str) -> String {
    format!("{SETTINGS}, insert_deduplication_token = '{token}'")
}

/// True when the column list is one: the segment is ours and checksummed, and still nothing but names goes into SQL.
pub(super) fn is_column_list(columns: &str) -> bool {
    columns.split(',').all(|name| {
        let name = name.trim();
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
    })
}

/// Sends the segment's rows and waits until ClickHouse has them in `table`, synced.
pub(super) async fn insert(client: &Client, table: &str, sealed: &Sealed, token: &str) -> Result<(), InsertError> {
    let reader = sealed.reader()?;
    let sql = format!("INSERT INTO {table} ({}) SETTINGS {} FORMAT RowBinary", sealed.header().columns, settings(token));
    let mut insert = client::insert(client, sql).with_setting("wait_end_of_query", "1");
    let (pieces, mut ahead) = mpsc::channel(SINK_PIECES_AHEAD);
    let reading = tokio::task::spawn_blocking(move || read(reader, &pieces));
    while let Some(piece) = ahead.recv().await {
        insert.send(piece).await.map_err(failed)?;
    }
    // Everything was read and agreed with the footer, or the insert is dropped unfinished, which ClickHouse takes for an error.
    reading.await.map_err(|_| InsertError::Unreadable)??;
    insert.end().await.map_err(failed)
}

fn failed(error: clickhouse::error::Error) -> InsertError {
    InsertError::ClickHouse(error.into())
}

/// Reads frame by frame and gives rows in pieces; ends early when nobody takes them.
fn read(mut reader: Reader, pieces: &mpsc::Sender<Bytes>) -> Result<(), ReadError> {
    let mut piece = Vec::with_capacity(SINK_PIECE_BYTES);
    while let Some(rows) = reader.next_rows()? {
        if !piece.is_empty() && piece.len() + rows.len() > SINK_PIECE_BYTES {
            let full = std::mem::replace(&mut piece, Vec::with_capacity(SINK_PIECE_BYTES));
            if pieces.blocking_send(full.into()).is_err() {
                return Ok(());
            }
        }
        piece.extend_from_slice(rows);
    }
    // When nobody takes the last piece either, the insert has failed and says so itself.
    let _ = pieces.blocking_send(piece.into());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_pass_for_a_column_list() {
        assert!(is_column_list(&crate::row::EVENTS.column_list()));
        for bad in ["", "a,,b", "a) SELECT 1 --", "a;b", "`a`", "A"] {
            assert!(!is_column_list(bad), "{bad}");
        }
    }
}
