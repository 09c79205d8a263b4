//! Backups: what outlives its day, and nothing else.
//!
//! A backup is a folder:
//!
//! ```text
//! manifest.json        format, versions, when it was made; of each other file its name, length, rows and SHA-256
//! outcomes_daily.tsv   one file for each table of finished figures (store/finished.rs), a line of names, a line of types, then a line a row
//! headcount.toml       the configuration, if there is a file of it; it may hold a password
//! private.token        the operator's token
//! tokens.json          the hashes of the others'
//! shares.json          the hashes of links to sites' closed days
//! ```
//!
//! Never in it: raw rows, the rollup of open days, the spool, the keys and the node's number. A node that came back under an old number would give batch
//! numbers twice, and what is lost with a spool was never in a table.
//!
//! ClickHouse writes and reads the rows itself, over the same client as everything else, so an embedded engine and a server are alike. A backup is made
//! under another name, synced, and then renamed: one that was not finished is never taken for one. A restore begins with a mark in the data folder and
//! ends with taking it away: while it is there, the collector does not start, and a restore may begin anew.

mod make;
mod restore;

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use clickhouse::Client;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub use make::{before_migration, make};
pub use restore::{Backup, Folder, Restored, is_unfinished};

use crate::store::errors::Failure;
use crate::store::finished;
use crate::store::migrate::{MigrateError, hex};

/// The version of a backup's layout that this program writes, and the newest that it reads.
const FORMAT: u32 = 1;
const MANIFEST: &str = "manifest.json";
/// The configuration's name in a backup, and in a data folder.
const CONFIG: &str = crate::config::FILE_NAME;
/// The files of the data folder by which people are known again: the operator's token, and the hashes of the others' and of links.
const TOKENS: [&str; 3] = [crate::server::private::TOKEN_FILE, crate::access::FILE_NAME, crate::access::SHARES_FILE_NAME];

/// Why a backup was not made or not restored. Nothing that ClickHouse quotes is in it.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// There is something where the backup should be.
    #[error("{}: is there already; name a folder that is not", .0.display())]
    Exists(PathBuf),
    /// The database was never used.
    #[error("there is nothing to back up: the database has no tables yet")]
    NoTables,
    /// A file or folder cannot be used.
    #[error("{}: cannot be used", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system says.
        #[source]
        cause: io::Error,
    },
    /// ClickHouse refused, or could not be reached.
    #[error("{what}: {failure}")]
    ClickHouse {
        /// What was being done, or with which table.
        what: &'static str,
        /// How it failed.
        failure: Failure,
    },
    /// The database is of a newer version, or cannot be migrated.
    #[error(transparent)]
    Migrate(#[from] MigrateError),
    /// The folder holds no backup, or not all of one.
    #[error("{}: no backup; one is whole only with its {MANIFEST}", .0.display())]
    NoBackup(PathBuf),
    /// A file of the backup is not what the manifest says.
    #[error("{}: damaged: its content is not what {MANIFEST} says", .0.display())]
    Damaged(PathBuf),
    /// A newer Headcount made the backup.
    #[error("{}: made by Headcount {version}, which is newer than this one: restore it with that version", path.display())]
    Newer {
        /// The backup.
        path: PathBuf,
        /// The program's version.
        version: String,
    },
    /// The data folder is in use.
    #[error("data_dir = {}: holds data already ({found}); restore into a folder that is empty or not there", data_dir.display())]
    Occupied {
        /// The folder.
        data_dir: PathBuf,
        /// What was found in it.
        found: String,
    },
    /// The server's database is in use.
    #[error("the database holds {rows} rows already; restore into one that is empty or not there")]
    DatabaseOccupied {
        /// How many.
        rows: u64,
    },
}

/// Where a backup is made from.
#[derive(Clone, Debug)]
pub struct Source {
    /// A client of the database that holds the tables.
    pub client: Client,
    /// The configuration's file, if there is one.
    pub config: Option<PathBuf>,
    /// The folder with the tokens.
    pub data_dir: PathBuf,
}

/// What a backup says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The version of the backup's layout.
    pub backup: u32,
    /// The program that made it.
    pub headcount: String,
    /// The database's version: the number of its last migration.
    pub database: u32,
    /// When it was made.
    pub made: String,
    /// What it holds.
    pub files: Vec<Entry>,
}

/// One file of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// Rows of a table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    /// SHA-256 of its content, in hexadecimal.
    pub sha256: String,
}

/// The file of a table.
fn file_of(table: &str) -> String {
    format!("{table}.tsv")
}

/// The table whose rows a file of this name holds.
fn table_of(name: &str) -> Option<&'static str> {
    finished::tables().into_iter().find(|table| file_of(table) == name)
}

/// What passes through a file of a backup, counted and summed.
#[derive(Default)]
struct Sum {
    bytes: u64,
    lines: u64,
    digest: Sha256,
}

impl Sum {
    fn add(&mut self, piece: &[u8]) {
        self.bytes += piece.len() as u64;
        self.lines += piece.split(|byte| *byte == b'\n').count() as u64 - 1;
        self.digest.update(piece);
    }

    fn entry(self, name: &str) -> Entry {
        let rows = table_of(name).map(|_| self.lines.saturating_sub(finished::HEAD_LINES));
        Entry { name: name.to_owned(), bytes: self.bytes, rows, sha256: hex(&self.digest.finalize()) }
    }
}

/// A new file that only its owner may read.
fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> BackupError + use<> {
    let path = path.to_path_buf();
    |cause| BackupError::Io { path, cause }
}
