//! Brings a database to this version's tables: numbered migrations, each applied once, and the rollup's view as this version states it.
//!
//! ClickHouse has no transactions over tables, so every statement of a migration may run again, and its number is written last: a start that dies
//! in between repeats it. Migrations only add: tables, and columns with a DEFAULT. A segment names its columns, so one written by an earlier
//! version still inserts.

use clickhouse::Client;
use sha2::{Digest, Sha256};

use super::rollup;
use crate::leak;
use crate::store::client::within;
use crate::store::errors::Failure;

/// One numbered file of `schema/`.
#[derive(Clone, Copy, Debug)]
pub struct Migration {
    /// Its number: one more than that of the one before.
    pub version: u32,
    /// What it is called in the register.
    pub name: &'static str,
    /// Its statements.
    pub sql: &'static str,
}

/// Every migration of this version, in order.
pub const MIGRATIONS: &[Migration] = &[
    Migration { version: 1, name: "first_tables", sql: include_str!("../../../schema/0001_first_tables.sql") },
    Migration { version: 2, name: "visits_and_closed_days", sql: include_str!("../../../schema/0002_visits_and_closed_days.sql") },
    Migration { version: 3, name: "cells_of_a_closing", sql: include_str!("../../../schema/0003_cells_of_a_closing.sql") },
    Migration { version: 4, name: "goals_and_funnels", sql: include_str!("../../../schema/0004_goals_and_funnels.sql") },
];

/// Made before the first migration: which ones this database has.
const REGISTER: &str = "CREATE TABLE IF NOT EXISTS migrations (version UInt32, name String, applied DateTime('UTC') DEFAULT now()) \
    ENGINE = MergeTree ORDER BY version SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1";

/// Why a database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// A newer Headcount has written it: this one would not know what its columns mean.
    #[error(
        "this database is at version {found}, written by a newer Headcount; this one knows versions up to {known}: start the newer one again"
    )]
    Newer {
        /// The database's version.
        found: u32,
        /// The newest version that this program knows.
        known: u32,
    },
    /// ClickHouse refused a statement, or could not be asked.
    #[error("{step} did not succeed: {failure}")]
    Statement {
        /// What was being done: a migration's name, or a step of our own.
        step: &'static str,
        /// How it failed; the text of ClickHouse's answer is not kept.
        failure: Failure,
    },
}

/// What a start has changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Migrated {
    /// The version that the database has now.
    pub version: u32,
    /// How many migrations were applied.
    pub applied: u32,
    /// The view's select was replaced.
    pub view_replaced: bool,
}

/// The version of a database that has all of `migrations`.
pub fn newest(migrations: &[Migration]) -> u32 {
    migrations.last().map_or(0, |migration| migration.version)
}

/// The version of the client's database; 0 before its first migration. Changes nothing.
///
/// # Errors
/// Also when it is newer than this program.
pub async fn version(client: &Client) -> Result<u32, MigrateError> {
    const STEP: &str = "reading the version";
    let tables = "SELECT count() FROM system.tables WHERE database = currentDatabase() AND name = 'migrations'";
    if fetch::<u64>(client, STEP, tables).await? == 0 {
        return Ok(0);
    }
    let found: u32 = fetch(client, STEP, "SELECT max(version) FROM migrations").await?;
    let known = newest(MIGRATIONS);
    if found > known { Err(MigrateError::Newer { found, known }) } else { Ok(found) }
}

/// Applies what is missing in the client's database, which must exist. Runs before anything is inserted.
pub async fn migrate(client: &Client) -> Result<Migrated, MigrateError> {
    migrate_to(client, MIGRATIONS).await
}

/// Applies what is missing of `migrations`.
pub async fn migrate_to(client: &Client, migrations: &[Migration]) -> Result<Migrated, MigrateError> {
    execute(client, "making the table of migrations", REGISTER).await?;
    let found: u32 = fetch(client, "reading the version", "SELECT max(version) FROM migrations").await?;
    let known = newest(migrations);
    if found > known {
        return Err(MigrateError::Newer { found, known });
    }
    let mut migrated = Migrated { version: known, ..Migrated::default() };
    for migration in migrations.iter().filter(|migration| migration.version > found) {
        apply(client, migration).await?;
        migrated.applied += 1;
    }
    migrated.view_replaced = refresh_view(client).await?;
    Ok(migrated)
}

async fn apply(client: &Client, migration: &Migration) -> Result<(), MigrateError> {
    let sql = without_comments(migration.sql);
    let sql = if leak::planted("no_part_sync") { sql.replace("fsync_after_insert = 1, fsync_part_directory = 1, ", "") } else { sql };
    for statement in statements(&sql) {
        execute(client, migration.name, statement).await?;
    }
    let record = format!("INSERT INTO migrations (version, name) VALUES ({}, '{}')", migration.version, migration.name);
    execute(client, migration.name, &record).await
}

/// Makes the rollup's view, or gives it this version's select. Its comment holds the hash of the select that it runs.
async fn refresh_view(client: &Client) -> Result<bool, MigrateError> {
    const STEP: &str = "making the rollup's view";
    let select = rollup::select("events");
    let hash = hex(&Sha256::digest(&select));
    let view = rollup::VIEW;
    execute(client, STEP, &format!("CREATE MATERIALIZED VIEW IF NOT EXISTS {view} TO rollup_open AS {select} COMMENT '{hash}'")).await?;
    let live: String =
        fetch(client, STEP, &format!("SELECT comment FROM system.tables WHERE database = currentDatabase() AND name = '{view}'")).await?;
    if live == hash {
        return Ok(false);
    }
    // The comment follows the select: a start that dies in between replaces the select once more.
    execute(client, STEP, &format!("ALTER TABLE {view} MODIFY QUERY {select}")).await?;
    execute(client, STEP, &format!("ALTER TABLE {view} MODIFY COMMENT '{hash}'")).await?;
    Ok(true)
}

async fn execute(client: &Client, step: &'static str, sql: &str) -> Result<(), MigrateError> {
    // `query_raw`: our SQL has no parameters here, and a question mark in it is a question mark.
    within(client.query_raw(sql).execute()).await.map_err(|error| MigrateError::Statement { step, failure: error.into() })
}

async fn fetch<T>(client: &Client, step: &'static str, sql: &str) -> Result<T, MigrateError>
where
    T: clickhouse::RowOwned + clickhouse::RowRead,
{
    let answer = within(client.query_raw(sql).fetch_one::<T>()).await;
    answer.map_err(|error| MigrateError::Statement { step, failure: error.into() })
}

/// `sql` without the lines that are comments.
pub(super) fn without_comments(sql: &str) -> String {
    sql.lines().filter(|line| !line.trim_start().starts_with("--")).collect::<Vec<_>>().join("\n")
}

/// The statements of a migration. No text in one holds a semicolon.
fn statements(sql: &str) -> impl Iterator<Item = &str> {
    sql.split(';').map(str::trim).filter(|statement| !statement.is_empty())
}

/// Bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_numbered_without_a_gap() {
        let versions: Vec<u32> = MIGRATIONS.iter().map(|migration| migration.version).collect();
        assert_eq!(versions, (1..=u32::try_from(versions.len()).unwrap()).collect::<Vec<_>>());
    }

    #[test]
    fn every_statement_may_run_again() {
        for migration in MIGRATIONS {
            for statement in statements(&without_comments(migration.sql)) {
                let repeatable = statement.starts_with("CREATE TABLE IF NOT EXISTS")
                    || (statement.starts_with("ALTER TABLE")
                        && statement.contains("ADD COLUMN IF NOT EXISTS")
                        && statement.contains("DEFAULT"));
                assert!(repeatable, "{}: {statement}", migration.name);
            }
        }
    }
}
