//! Which tables hold finished figures: counts that say nothing of any visitor, and outlive their day. They are what a backup may hold, and all that it holds
//! of the database; what is about an open day (`events`, `rollup_open`, `sessions`) would carry pseudonyms beyond it.
//!
//! `rollup_waiting` is not among them, though it holds no pseudonym either: its numbers are about fewer visitors than are ever shown, and a backup goes to
//! places that nobody watches. A restore without it loses no count: what waited stays in `(other)`, which is what the totals have beyond the named cells.

use clickhouse::Client;

use super::client::within;
use super::errors::Failure;
use crate::leak;

/// The tables, each by its name. A table of finished figures that a migration adds is added here.
const TABLES: &[&str] = &["outcomes_daily", "rollup_closed", "days"];

/// The format that their rows are kept in outside of ClickHouse: one line a row, after a line of names and one of types. People and other programs can read
/// it, lines can be counted, and every type of a finished figure comes back as it was.
pub const FORMAT: &str = "TabSeparatedWithNamesAndTypes";

/// Lines of [`FORMAT`] that are no row.
pub const HEAD_LINES: u64 = 2;

/// The names of the tables.
pub fn tables() -> Vec<&'static str> {
    let mut tables = TABLES.to_vec();
    if leak::planted("backup_raw") {
        tables.push("events");
    }
    tables
}

/// Those of the tables that the client's database has: one of an earlier version may lack some.
pub async fn present(client: &Client) -> Result<Vec<&'static str>, Failure> {
    let sql = "SELECT name FROM system.tables WHERE database = currentDatabase()";
    let names: Vec<String> = within(client.query(sql).fetch_all()).await?;
    Ok(tables().into_iter().filter(|table| names.iter().any(|name| name == table)).collect())
}

/// How many rows the table has.
pub async fn rows(client: &Client, table: &'static str) -> Result<u64, Failure> {
    Ok(within(client.query(&format!("SELECT count() FROM {table}")).fetch_one()).await?)
}

/// Empties the table.
pub async fn empty(client: &Client, table: &'static str) -> Result<(), Failure> {
    Ok(within(client.query(&format!("TRUNCATE TABLE {table}")).execute()).await?)
}

/// How many rows the client's database has in any table.
pub async fn rows_of_all(client: &Client) -> Result<u64, Failure> {
    let sql = "SELECT sum(ifNull(total_rows, 0)) FROM system.tables WHERE database = currentDatabase() AND name != 'server_incarnation'";
    Ok(within(client.query(sql).fetch_one()).await?)
}
