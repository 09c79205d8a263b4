//! In doubt: an attempt may have arrived, and the engine that saw it is gone. Ask the database, and do what the answer calls for.
//!
//! A segment is one part a table, a part is atomic, and the rollup never has a batch that `events` lacks. So there are four answers:
//!
//! | rows in `events` | events in the rollup's proof | then |
//! |---|---|---|
//! | none | none | nothing arrived: send, under a token that no engine has seen |
//! | all | none | only the rows arrived: fill the rollup from them |
//! | all | all | everything arrived: confirm |
//! | anything else | | nobody knows: hold, and raise the alarm |

use clickhouse::Client;

use super::insert;
use crate::leak;
use crate::row::Table;
use crate::spool::format::Header;
use crate::spool::sealed::RowCount;
use crate::store::client::within;
use crate::store::errors::Failure;
use crate::store::{query, rollup};

/// What the database has of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Nothing.
    Nothing,
    /// Its rows, and not their share of the rollup.
    RowsOnly,
    /// All of it.
    Everything,
    /// An insert of it is still running there: whatever is found now may change.
    StillArriving,
    /// Something that none of this explains.
    Unexplained {
        /// Rows found.
        rows: u64,
        /// Events of it in the rollup.
        rolled_up: u64,
    },
}

/// Asks what the database has of the batch, which held `rows` when it was sealed.
pub(super) async fn read_back(client: &Client, table: Table, header: &Header, rows: RowCount) -> Result<Found, Failure> {
    // A server may outlive the collector that was sending: its insert must have ended before the counts mean anything.
    if query::is_arriving(client, &insert::token_prefix(header)).await? {
        return Ok(Found::StillArriving);
    }
    let stored = query::rows_of_batch(client, table, header).await?;
    let rolled_up = match table {
        Table::Events if leak::planted("no_marker") => stored,
        Table::Events => query::rolled_up_of_batch(client, header).await?,
        Table::Outcomes => stored,
    };
    Ok(judge(rows, stored, rolled_up))
}

fn judge(rows: RowCount, stored: u64, rolled_up: u64) -> Found {
    // A part is there whole or not at all, so where the segment's own end is lost, what is there says how many it had.
    let rows = match rows {
        RowCount::Exactly(rows) => rows,
        RowCount::AtLeast(rows) => rows.max(stored),
    };
    match (stored, rolled_up) {
        (0, 0) => Found::Nothing,
        (stored, 0) if stored == rows => Found::RowsOnly,
        (stored, rolled_up) if stored == rows && rolled_up == rows => Found::Everything,
        (rows, rolled_up) => Found::Unexplained { rows, rolled_up },
    }
}

/// Fills the rollup from the batch's rows with the view's own select. `token` is that of the batch's insert in this life of the engine.
pub(super) async fn repair(client: &Client, header: &Header, token: &str) -> Result<(), Failure> {
    let rows = "(SELECT * FROM events WHERE zone = {zone:String} AND day = {day:Date} AND node = {node:UInt64} AND batch = {batch:UInt64})";
    let sql = format!(
        "INSERT INTO rollup_open SELECT * FROM ({}) ORDER BY site, dimension, value, currency SETTINGS {}",
        rollup::select(rows),
        insert::settings(token)
    );
    within(query::of_batch(client, &sql, header).with_setting("wait_end_of_query", "1").execute()).await.map_err(Failure::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_batches_are_explained() {
        for (stored, rolled_up, found) in [
            (0, 0, Found::Nothing),
            (7, 0, Found::RowsOnly),
            (7, 7, Found::Everything),
            (0, 7, Found::Unexplained { rows: 0, rolled_up: 7 }),
            (3, 0, Found::Unexplained { rows: 3, rolled_up: 0 }),
            (7, 3, Found::Unexplained { rows: 7, rolled_up: 3 }),
            (14, 14, Found::Unexplained { rows: 14, rolled_up: 14 }),
            (14, 7, Found::Unexplained { rows: 14, rolled_up: 7 }),
        ] {
            assert_eq!(judge(RowCount::Exactly(7), stored, rolled_up), found, "{stored}/{rolled_up}");
        }
    }

    #[test]
    fn a_batch_whose_end_is_lost_is_there_when_table_and_rollup_agree() {
        for (stored, rolled_up, found) in [
            (0, 0, Found::Nothing),
            (9, 0, Found::RowsOnly),
            (9, 9, Found::Everything),
            (9, 4, Found::Unexplained { rows: 9, rolled_up: 4 }),
            (3, 3, Found::Unexplained { rows: 3, rolled_up: 3 }),
        ] {
            assert_eq!(judge(RowCount::AtLeast(7), stored, rolled_up), found, "{stored}/{rolled_up}");
        }
    }
}
