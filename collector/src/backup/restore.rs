//! Restoring a backup into a data folder that holds nothing yet: everything is checked first, and a restore that was cut off may begin anew.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use clickhouse::Client;
use tokio::sync::mpsc;

use super::{BackupError, CONFIG, Entry, FORMAT, MANIFEST, Manifest, Sum, TOKENS, at, create, sync_folder, table_of};
use crate::limits::{BACKUP_MANIFEST_BYTES, SINK_PIECE_BYTES, SINK_PIECES_AHEAD};
use crate::store::errors::Failure;
use crate::store::migrate::{self, MIGRATIONS};
use crate::store::{client, finished};

/// A backup whose every byte is what its manifest says, and that this version can read.
#[derive(Debug)]
pub struct Backup {
    folder: PathBuf,
    manifest: Manifest,
}

impl Backup {
    /// Reads the manifest and checks every file against it. Blocking.
    pub fn open(folder: &Path) -> Result<Self, BackupError> {
        let no_backup = || BackupError::NoBackup(folder.to_path_buf());
        let mut text = Vec::new();
        let file = std::fs::File::open(folder.join(MANIFEST)).map_err(|_| no_backup())?;
        file.take(BACKUP_MANIFEST_BYTES).read_to_end(&mut text).map_err(at(folder))?;
        // What a newer version says may have another form: its version is looked at before the rest.
        let said: serde_json::Value = serde_json::from_slice(&text).map_err(|_| BackupError::Damaged(folder.join(MANIFEST)))?;
        let above = |name: &str, known: u32| said[name].as_u64().is_none_or(|found| found > u64::from(known));
        if above("backup", FORMAT) || above("database", migrate::newest(MIGRATIONS)) {
            let version = said["headcount"].as_str().unwrap_or("of an unknown version").to_owned();
            return Err(BackupError::Newer { path: folder.to_path_buf(), version });
        }
        let manifest: Manifest = serde_json::from_value(said).map_err(|_| BackupError::Damaged(folder.join(MANIFEST)))?;
        for entry in &manifest.files {
            check(folder, entry)?;
        }
        Ok(Self { folder: folder.to_path_buf(), manifest })
    }

    /// What it says of itself.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The configuration in it.
    pub fn config(&self) -> Result<Option<String>, BackupError> {
        let text = self.file(CONFIG)?;
        text.map(|bytes| String::from_utf8(bytes).map_err(|_| BackupError::Damaged(self.folder.join(CONFIG)))).transpose()
    }

    fn file(&self, name: &str) -> Result<Option<Vec<u8>>, BackupError> {
        let path = self.folder.join(name);
        let is_there = self.manifest.files.iter().any(|entry| entry.name == name);
        is_there.then(|| std::fs::read(&path).map_err(at(&path))).transpose()
    }
}

fn check(folder: &Path, entry: &Entry) -> Result<(), BackupError> {
    let known = entry.name == CONFIG || TOKENS.contains(&&*entry.name) || table_of(&entry.name).is_some();
    let path = folder.join(if known { &*entry.name } else { MANIFEST });
    let sum = sum_of(&path).map_err(at(&path))?;
    if known && sum.entry(&entry.name) == *entry { Ok(()) } else { Err(BackupError::Damaged(path)) }
}

fn sum_of(path: &Path) -> io::Result<Sum> {
    let mut file = std::fs::File::open(path)?;
    let mut sum = Sum::default();
    let mut piece = vec![0; SINK_PIECE_BYTES];
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(sum),
            read => sum.add(&piece[..read]),
        }
    }
}

/// In the data folder while a restore is under way.
const MARK: &str = "restoring";

/// What a data folder may hold before it is restored to: a configuration, and what claiming the folder makes.
const HARMLESS: [&str; 4] = [crate::config::FILE_NAME, "headcount.lock", "format", MARK];

/// Whether a restore into the folder was begun and has not ended.
pub fn is_unfinished(data_dir: &Path) -> bool {
    data_dir.join(MARK).exists()
}

/// A data folder that is being restored to. Whoever has it has claimed the folder.
#[derive(Debug)]
pub struct Folder {
    data_dir: PathBuf,
    /// An earlier restore was cut off: what it has put into the tables goes.
    again: bool,
}

/// A table that was restored.
#[derive(Debug, PartialEq, Eq)]
pub struct Restored {
    /// The table.
    pub table: &'static str,
    /// Rows in the backup.
    pub rows: u64,
    /// Rows in the table now: fewer when some have expired since the backup was made.
    pub found: u64,
}

impl Folder {
    /// Refuses a folder that holds data, and marks one that does not; from here on the collector does not start on it until [`Folder::finish`].
    pub fn begin(data_dir: &Path) -> Result<Self, BackupError> {
        let again = is_unfinished(data_dir);
        let mut found = Vec::new();
        for entry in std::fs::read_dir(data_dir).map_err(at(data_dir))? {
            let name = entry.map_err(at(data_dir))?.file_name().to_string_lossy().into_owned();
            if !HARMLESS.contains(&&*name) {
                found.push(name);
            }
        }
        found.sort();
        if again {
            // Only what a restore makes: it began in an empty folder, and the collector has not started since.
            for name in ["clickhouse", "engine"] {
                let path = data_dir.join(name);
                if path.exists() {
                    std::fs::remove_dir_all(&path).map_err(at(&path))?;
                }
            }
            for token in TOKENS.map(|name| data_dir.join(name)).iter().filter(|path| path.exists()) {
                std::fs::remove_file(token).map_err(at(token))?;
            }
        } else if !found.is_empty() {
            return Err(BackupError::Occupied { data_dir: data_dir.to_path_buf(), found: found.join(", ") });
        } else {
            let mark = data_dir.join(MARK);
            create(&mark).and_then(|file| file.sync_all()).and_then(|()| sync_folder(data_dir)).map_err(at(&mark))?;
        }
        Ok(Self { data_dir: data_dir.to_path_buf(), again })
    }

    /// Brings the database to this version and fills its tables, then puts the tokens where they were.
    pub async fn fill(&self, backup: &Backup, client: &Client) -> Result<Vec<Restored>, BackupError> {
        let asking = |failure| BackupError::ClickHouse { what: "looking at the database", failure };
        let rows = finished::rows_of_all(client).await.map_err(asking)?;
        if rows > 0 && !self.again {
            self.unmark()?;
            return Err(BackupError::DatabaseOccupied { rows });
        }
        migrate::migrate(client).await?;
        let mut restored = Vec::new();
        for entry in &backup.manifest.files {
            if let Some(table) = table_of(&entry.name) {
                restored.push(fill_table(client, table, entry, &backup.folder).await?);
            }
        }
        for name in TOKENS {
            let Some(tokens) = backup.file(name)? else { continue };
            let path = self.data_dir.join(name);
            create(&path).and_then(|mut file| file.write_all(&tokens).and_then(|()| file.sync_all())).map_err(at(&path))?;
        }
        Ok(restored)
    }

    /// Everything is where it belongs: the collector may start.
    pub fn finish(self) -> Result<(), BackupError> {
        sync_folder(&self.data_dir).map_err(at(&self.data_dir))?;
        self.unmark()
    }

    fn unmark(&self) -> Result<(), BackupError> {
        let mark = self.data_dir.join(MARK);
        std::fs::remove_file(&mark).and_then(|()| sync_folder(&self.data_dir)).map_err(at(&mark))
    }
}

async fn fill_table(client: &Client, table: &'static str, entry: &Entry, folder: &Path) -> Result<Restored, BackupError> {
    let failing = |failure| BackupError::ClickHouse { what: table, failure };
    let failed = |error: clickhouse::error::Error| failing(Failure::from(error));
    finished::empty(client, table).await.map_err(failing)?;
    let rows = entry.rows.unwrap_or(0);
    if rows > 0 {
        // No two blocks of it are one insert sent twice, whatever they hold; and there are as many partitions as there are months.
        let sql = format!(
            "INSERT INTO {table} SETTINGS async_insert = 0, insert_deduplicate = 0, max_partitions_per_insert_block = 0 FORMAT {}",
            finished::FORMAT
        );
        let mut insert = client::insert(client, sql).with_setting("wait_end_of_query", "1");
        let (pieces, mut ahead) = mpsc::channel(SINK_PIECES_AHEAD);
        let path = folder.join(&entry.name);
        let file = path.clone();
        let reading = tokio::task::spawn_blocking(move || read(&file, &pieces));
        while let Some(piece) = ahead.recv().await {
            insert.send(piece).await.map_err(failed)?;
        }
        reading.await.unwrap_or_else(|_| Err(io::ErrorKind::Other.into())).map_err(at(&path))?;
        insert.end().await.map_err(failed)?;
    }
    Ok(Restored { table, rows, found: finished::rows(client, table).await.map_err(failing)? })
}

fn read(path: &Path, pieces: &mpsc::Sender<Bytes>) -> io::Result<()> {
    let mut file = std::fs::File::open(path)?;
    loop {
        let mut piece = vec![0; SINK_PIECE_BYTES];
        let read = file.read(&mut piece)?;
        piece.truncate(read);
        // Nobody takes it when the insert has failed, which says so itself.
        if read == 0 || pieces.blocking_send(piece.into()).is_err() {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_of_a_manifest_is_read_than_one_can_have() {
        let folder = std::env::temp_dir().join(format!("headcount-manifest-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let manifest = Manifest { backup: FORMAT, headcount: "1.0.0".into(), database: 1, made: "2026-11-22".into(), files: Vec::new() };
        let text = serde_json::to_string(&manifest).unwrap();
        let bound = usize::try_from(BACKUP_MANIFEST_BYTES).unwrap();
        // Blanks before it: what is cut off at the bound is then its last brace.
        let opened = [bound, bound + 1].map(|length| {
            std::fs::write(folder.join(MANIFEST), " ".repeat(length - text.len()) + &text).unwrap();
            Backup::open(&folder).map(|backup| backup.manifest)
        });
        std::fs::remove_dir_all(&folder).unwrap();
        let [whole, cut] = opened;
        assert_eq!(whole.unwrap(), manifest);
        assert!(matches!(cut, Err(BackupError::Damaged(_))), "{cut:?}");
    }
}
