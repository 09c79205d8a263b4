//! `headcount backup|restore`: copies what outlives its day, beside a collector that runs and without one, and brings it to a fresh machine.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clickhouse::Client;

use super::site::replace;
use crate::backup::{self, Backup, BackupError, Folder, Manifest, Source};
use crate::clock::Clock;
use crate::config::{Config, ConfigError, Overrides, Store, Surroundings};
use crate::instance::{Instance, InstanceError};
use crate::limits::COMMAND_PATIENCE;
use crate::serve::{self, ServeError};
use crate::store::client;
use crate::store::database::Database;

/// Why nothing was backed up or restored.
#[derive(Debug, thiserror::Error)]
pub(super) enum CopyError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Backup(#[from] BackupError),
    #[error(transparent)]
    Instance(#[from] InstanceError),
    #[error(transparent)]
    Serve(#[from] ServeError),
    #[error("ClickHouse does not answer")]
    NoAnswer,
    #[error("{}: cannot be written", file.display())]
    Unwritable {
        file: PathBuf,
        #[source]
        cause: io::Error,
    },
    #[error("cannot reach out")]
    Runtime(#[source] io::Error),
    #[error("cannot print")]
    Print(#[from] io::Error),
}

/// Makes a backup in `folder`. The engine of a running collector is asked; without one, this process starts it for the time.
pub(super) fn make(config: &Config, folder: &Path, out: &mut dyn Write) -> Result<(), CopyError> {
    let manifest = runtime()?.block_on(async {
        let reached = Reached::of(config).await?;
        let source = Source { client: reached.client(config), config: config.file.clone(), data_dir: config.data_dir.clone() };
        let made = backup::make(&source, folder, Clock::system().now()).await;
        reached.leave().await;
        Ok::<Manifest, CopyError>(made?)
    })?;
    for file in &manifest.files {
        match file.rows {
            Some(rows) => writeln!(out, "{}\t{} bytes\t{rows} rows", file.name, file.bytes)?,
            None => writeln!(out, "{}\t{} bytes", file.name, file.bytes)?,
        }
    }
    writeln!(
        out,
        "{} is whole. Keep it as safe as the machine: it holds the token, and the configuration with its passwords.",
        folder.display()
    )?;
    writeln!(out, "Never in a backup: raw events and open days, the spool, the keys, the node's number.")?;
    Ok(())
}

/// The database, however it is reached.
enum Reached {
    /// The engine of a collector that runs.
    Running,
    /// One that lives and ends with this command; nobody else may start one meanwhile.
    Own(Box<Database>, Option<Instance>),
}

impl Reached {
    async fn of(config: &Config) -> Result<Self, CopyError> {
        let instance = match (&config.store, Instance::claim(&config.data_dir)) {
            (Store::Embedded(_), Err(InstanceError::Taken { .. })) => return Ok(Self::Running),
            // A server takes questions from anybody at any time.
            (Store::Server(_), Err(InstanceError::Taken { .. })) => None,
            (Store::Embedded(_) | Store::Server(_), claimed) => Some(claimed?),
        };
        Ok(Self::Own(Box::new(answering(config).await?), instance))
    }

    fn client(&self, config: &Config) -> Client {
        match self {
            Self::Running => client::embedded(&config.engine_socket()).with_database(config.database()),
            Self::Own(database, _) => database.tables(),
        }
    }

    async fn leave(self) {
        if let Self::Own(database, _instance) = self {
            database.stop().await;
        }
    }
}

async fn answering(config: &Config) -> Result<Database, CopyError> {
    let database = serve::database(config)?;
    let answer = tokio::time::timeout(COMMAND_PATIENCE, database.available()).await;
    if answer.is_ok_and(|incarnation| incarnation.is_some()) {
        return Ok(database);
    }
    database.stop().await;
    Err(CopyError::NoAnswer)
}

/// Restores the backup in `folder` into the data folder, which must hold nothing yet. The configuration is the one that is there, else the backup's.
pub(super) fn restore(folder: &Path, overrides: &Overrides, surroundings: &Surroundings, out: &mut dyn Write) -> Result<(), CopyError> {
    let backup = Backup::open(folder)?;
    let located = Config::locate(overrides, surroundings)?.file;
    let brought = if located.exists() { None } else { backup.config()? };
    let config = match (&brought, located.exists()) {
        (None, true) => Config::load(overrides, surroundings)?,
        (Some(text), _) => Config::parse(text, Some(&located), overrides, surroundings)?,
        (None, false) => Config::parse("", None, overrides, surroundings)?,
    };
    let _instance = Instance::claim(&config.data_dir)?;
    let target = Folder::begin(&config.data_dir)?;
    if let Some(text) = &brought {
        replace(&located, text).map_err(|cause| CopyError::Unwritable { file: located.clone(), cause })?;
    }
    let restored = runtime()?.block_on(async {
        let database = answering(&config).await?;
        let filled = target.fill(&backup, &database.tables()).await;
        database.stop().await;
        Ok::<_, CopyError>(filled?)
    })?;
    target.finish()?;

    for table in restored {
        let expired =
            if table.found < table.rows { format!(", of {} in the backup: the others have expired", table.rows) } else { String::new() };
        writeln!(out, "{}\t{} rows{expired}", table.table, table.found)?;
    }
    match brought {
        Some(_) => writeln!(out, "The configuration is in {}.", located.display())?,
        None => writeln!(out, "The configuration is the one that was here; the backup's was not brought.")?,
    }
    let Manifest { made, headcount, .. } = backup.manifest();
    writeln!(out, "{} holds what Headcount {headcount} backed up on {made}; `headcount serve` starts on it.", config.data_dir.display())?;
    writeln!(out, "Not restored, as no backup has it: raw events and open days, the spool, the keys. This is a new node.")?;
    Ok(())
}

fn runtime() -> Result<tokio::runtime::Runtime, CopyError> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(CopyError::Runtime)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The clock of the test goes on by itself while everybody waits for it.
    #[tokio::test(start_paused = true)]
    #[expect(clippy::disallowed_methods, reason = "what is paused is the runtime's own clock")]
    async fn a_command_does_not_wait_for_ever_for_clickhouse() {
        // Nobody listens on the discard port of this machine.
        let text = "data_dir = \"/nowhere\"\n[clickhouse]\nurl = \"http://127.0.0.1:9\"\n";
        let config = Config::parse(text, None, &Overrides::default(), &Surroundings::default()).unwrap();
        let asked = tokio::time::Instant::now();
        let answer = answering(&config).await.map(|_| ());
        assert!(matches!(answer, Err(CopyError::NoAnswer)), "{answer:?}");
        let waited = asked.elapsed();
        assert!(waited >= COMMAND_PATIENCE && waited < COMMAND_PATIENCE * 2, "{waited:?}");
    }
}
