//! Making a backup: tables, configuration and tokens into a folder that gets its name when it is whole.

use std::fs::{DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use tokio::sync::mpsc;

use super::{BackupError, CONFIG, Entry, FORMAT, MANIFEST, Manifest, Source, Sum, TOKENS, at, create, file_of, sync_folder};
use crate::clock::{UnixMillis, Zone};
use crate::limits::{BACKUPS_KEPT, SINK_PIECES_AHEAD};
use crate::store::errors::Failure;
use crate::store::finished;
use crate::store::migrate::{self, Migration};

/// Makes a backup in the folder `to`, which must not be there. Returns what it holds.
pub async fn make(source: &Source, to: &Path, now: UnixMillis) -> Result<Manifest, BackupError> {
    if to.exists() {
        return Err(BackupError::Exists(to.to_path_buf()));
    }
    let draft = draft_of(to);
    let made = fill(source, &draft, now).await.and_then(|manifest| {
        let parent = to.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        std::fs::rename(&draft, to).and_then(|()| sync_folder(parent)).map_err(at(to))?;
        Ok(manifest)
    });
    if made.is_err() {
        // Its name says what it is, should even this fail.
        let _ = std::fs::remove_dir_all(&draft);
    }
    made
}

/// Where a backup is made: beside its place, under a name that nobody else has.
fn draft_of(to: &Path) -> PathBuf {
    let mut name = to.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".partial-{:016x}", getrandom::u64().unwrap_or_default()));
    to.with_file_name(name)
}

async fn fill(source: &Source, draft: &Path, now: UnixMillis) -> Result<Manifest, BackupError> {
    let database = migrate::version(&source.client).await?;
    if database == 0 {
        return Err(BackupError::NoTables);
    }
    DirBuilder::new().recursive(true).mode(0o700).create(draft).map_err(at(draft))?;
    let present =
        finished::present(&source.client).await.map_err(|failure| BackupError::ClickHouse { what: "listing the tables", failure })?;
    let mut files = Vec::new();
    for table in present {
        files.push(copy_table(source, table, draft).await?);
    }
    let config = source.config.iter().map(|path| (path.clone(), CONFIG));
    for (from, name) in config.chain(TOKENS.map(|name| (source.data_dir.join(name), name))) {
        files.extend(copy_file(&from, name, draft).map_err(at(&from))?);
    }
    let made = jiff::Timestamp::from_millisecond(now.0).unwrap_or_default().to_string();
    let manifest = Manifest { backup: FORMAT, headcount: env!("CARGO_PKG_VERSION").to_owned(), database, made, files };
    write_manifest(&manifest, draft).map_err(at(draft))?;
    Ok(manifest)
}

/// Has ClickHouse write a table's rows, while a thread takes them to the disk.
async fn copy_table(source: &Source, table: &'static str, draft: &Path) -> Result<Entry, BackupError> {
    let failed = |error: clickhouse::error::Error| BackupError::ClickHouse { what: table, failure: Failure::from(error) };
    let name = file_of(table);
    let path = draft.join(&name);
    let (pieces, incoming) = mpsc::channel(SINK_PIECES_AHEAD);
    let file = path.clone();
    let writing = tokio::task::spawn_blocking(move || write(&file, incoming));
    // In the order of the table, so that two backups of the same rows are alike.
    let select = format!("SELECT * FROM {table} ORDER BY ALL");
    let mut rows = source.client.query(&select).fetch_bytes(finished::FORMAT).map_err(failed)?;
    while let Some(piece) = rows.next().await.map_err(failed)? {
        if pieces.send(piece).await.is_err() {
            break;
        }
    }
    drop(pieces);
    let sum = writing.await.unwrap_or_else(|_| Err(io::ErrorKind::Other.into())).map_err(at(&path))?;
    Ok(sum.entry(&name))
}

fn write(path: &Path, mut pieces: mpsc::Receiver<Bytes>) -> io::Result<Sum> {
    let mut file = create(path)?;
    let mut sum = Sum::default();
    while let Some(piece) = pieces.blocking_recv() {
        file.write_all(&piece)?;
        sum.add(&piece);
    }
    file.sync_all()?;
    Ok(sum)
}

/// Copies a small file; one that is not there is not in the backup.
fn copy_file(from: &Path, name: &str, draft: &Path) -> io::Result<Option<Entry>> {
    let content = match std::fs::read(from) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        read => read?,
    };
    write_file(&draft.join(name), &content)?;
    let mut sum = Sum::default();
    sum.add(&content);
    Ok(Some(sum.entry(name)))
}

fn write_manifest(manifest: &Manifest, draft: &Path) -> io::Result<()> {
    let mut text = serde_json::to_vec_pretty(manifest).map_err(io::Error::from)?;
    text.push(b'\n');
    write_file(&draft.join(MANIFEST), &text)?;
    sync_folder(draft)
}

fn write_file(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file: File = create(path)?;
    file.write_all(content)?;
    file.sync_all()
}

/// Backs the database up before `migrations` change it: into `backups/before-VERSION-DATE` of the data folder, of which the newest [`BACKUPS_KEPT`] stay.
/// `None` when there is nothing to migrate, or nothing that could be lost by it.
pub async fn before_migration(source: &Source, migrations: &[Migration], now: UnixMillis) -> Result<Option<PathBuf>, BackupError> {
    let (found, known) = (migrate::version(&source.client).await?, migrate::newest(migrations));
    if found == 0 || found >= known {
        return Ok(None);
    }
    let folder = source.data_dir.join("backups");
    let to = folder.join(format!("before-{known}-{}", Zone::utc().day_of(now)));
    DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(at(&folder))?;
    tidy(&folder).map_err(at(&folder))?;
    // Made by an earlier try of today, whose migration then did not end: it holds what there was before that.
    if !to.exists() {
        make(source, &to, now).await?;
        tidy(&folder).map_err(at(&folder))?;
    }
    Ok(Some(to))
}

/// Removes what an earlier try has left unfinished, and all but the newest backups that were made before a migration. Others in the folder are not ours.
fn tidy(folder: &Path) -> io::Result<()> {
    let mut ours = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let Some((version, date)) = name.strip_prefix("before-").and_then(|rest| rest.split_once('-')) else { continue };
        if date.contains(".partial-") {
            std::fs::remove_dir_all(&path)?;
        } else if let Ok(version) = version.parse::<u32>() {
            ours.push((version, date.to_owned(), path));
        }
    }
    ours.sort();
    let surplus = ours.len().saturating_sub(BACKUPS_KEPT);
    ours.iter().take(surplus).try_for_each(|(_, _, path)| std::fs::remove_dir_all(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_the_backups_before_a_migration_the_newest_stay_and_others_are_left_alone() {
        let folder = std::env::temp_dir().join(format!("headcount-tidy-{}", std::process::id()));
        let names =
            ["before-9-2026-11-01", "before-10-2026-11-02", "before-11-2026-11-03", "before-11-2026-11-04", "by-hand", "before-noon"];
        for name in names.iter().chain(&["before-12-2026-11-05.partial-00ff"]) {
            std::fs::create_dir_all(folder.join(name)).unwrap();
        }
        tidy(&folder).unwrap();
        let mut left: Vec<String> =
            std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        left.sort();
        std::fs::remove_dir_all(&folder).unwrap();
        assert_eq!(BACKUPS_KEPT, 3);
        assert_eq!(left, ["before-10-2026-11-02", "before-11-2026-11-03", "before-11-2026-11-04", "before-noon", "by-hand"]);
    }
}
