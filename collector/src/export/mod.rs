//! The finished tables as Parquet files in a folder of the operator's, for other tools: written anew whenever closing a day has changed them.
//!
//! Nothing is told to the export. It looks at which months of the tables are other than the note in its folder says, and writes those; so it may be
//! killed at any moment, begin late or fail for days, and closing never waits for it. [`folder`] says what lies where, [`crate::store::export`] what is read.
//! Only finished figures are: cells of k visitors or more, no pseudonym, nothing of an open day.

mod explained;
mod folder;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use clickhouse::Client;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::clock::{Clock, Day, UnixMillis, Zone};
use crate::limits::{EXPORT_AGAIN_INTERVAL, EXPORT_INTERVAL, EXPORT_PIECES_AHEAD};
use crate::shutdown::Stop;
use crate::store::database::Target;
use crate::store::errors::Failure;
use crate::store::export::{self, Exported, Month};
use crate::store::retention;
use folder::{Folder, Piece, State};

/// Why an export could not be made. It is tried again.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// ClickHouse does not give the tables.
    #[error("ClickHouse does not give the tables: {0}")]
    Asked(Failure),
    /// The folder is missing or full, or may not be written to.
    #[error("the folder cannot be written to")]
    Folder(#[from] io::Error),
    /// ClickHouse has brought back what was replaced; the next closing mends it.
    #[error("a month is there twice until the next day is closed")]
    Doubled,
}

impl From<Failure> for ExportError {
    fn from(failure: Failure) -> Self {
        Self::Asked(failure)
    }
}

/// What the exports of this process have come to.
#[derive(Debug, Default)]
pub struct Progress {
    failures: AtomicU64,
    files: AtomicU64,
    /// Since when months wait to be written, in milliseconds since 1970; 0 when none does.
    behind_since: AtomicI64,
}

impl Progress {
    /// How often one failed.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// How many files were written.
    pub fn files(&self) -> u64 {
        self.files.load(Ordering::Relaxed)
    }

    /// For how many milliseconds finished figures have waited to be written.
    pub fn behind_millis(&self, now: UnixMillis) -> u64 {
        match self.behind_since.load(Ordering::Relaxed) {
            0 => 0,
            since => now.since(UnixMillis(since)),
        }
    }
}

/// Exports into `path` until the order to stop. What that cuts off is done again by the next start.
#[expect(clippy::disallowed_methods, reason = "the caller waits for the task")]
pub fn start(path: &Path, target: Target, clock: Clock, progress: Arc<Progress>, mut stop: Stop) -> JoinHandle<()> {
    let export = Export { folder: Folder::at(path), client: target.client.clone(), clock, progress };
    tokio::spawn(async move {
        let exporting = async {
            let mut failed = false;
            loop {
                let pause = match target.available().await {
                    None => EXPORT_INTERVAL,
                    Some(_) => match export.round().await {
                        Ok(()) => {
                            failed = false;
                            EXPORT_INTERVAL
                        }
                        Err(error) => {
                            export.progress.failures.fetch_add(1, Ordering::Relaxed);
                            if !failed {
                                tracing::warn!(error = %Chain(&error), "finished figures cannot be exported; it is tried again");
                            }
                            failed = true;
                            EXPORT_AGAIN_INTERVAL
                        }
                    },
                };
                tokio::time::sleep(pause).await;
            }
        };
        tokio::select! {
            () = stop.ordered() => {}
            () = exporting => {}
        }
    })
}

/// An error and what caused it.
struct Chain<'a>(&'a ExportError);

impl std::fmt::Display for Chain<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            ExportError::Folder(cause) => write!(formatter, "{}: {cause}", self.0),
            ExportError::Asked(_) | ExportError::Doubled => write!(formatter, "{}", self.0),
        }
    }
}

/// Months whose files are not what the tables are now, as the note in the folder has it.
pub async fn waiting(path: &Path, client: &Client) -> Result<Vec<u32>, ExportError> {
    let state = Folder::at(path).state()?;
    Ok(changed(&export::months(client).await?, &state).into_iter().map(|month| month.number).collect())
}

fn changed(months: &[Month], state: &State) -> Vec<Month> {
    months.iter().filter(|month| state.months.get(&month.number) != Some(&month.mark)).cloned().collect()
}

/// One export into one folder.
pub struct Export {
    folder: Folder,
    client: Client,
    clock: Clock,
    progress: Arc<Progress>,
}

impl Export {
    /// An export of the tables of `client` into `path`.
    pub fn new(path: &Path, client: Client, clock: Clock) -> Self {
        Self { folder: Folder::at(path), client, clock, progress: Arc::default() }
    }

    /// Writes whatever has changed since the last time, and removes what is too old.
    pub async fn round(&self) -> Result<(), ExportError> {
        let months = export::months(&self.client).await?;
        let folder = self.folder.clone();
        let looked = apart(move || Ok((folder.state()?, folder.months()?))).await;
        let (mut state, there) = looked.inspect_err(|_| self.is_behind(true))?;
        let pending = changed(&months, &state);
        self.is_behind(!pending.is_empty());
        for month in &pending {
            self.write(month).await?;
            state.months.insert(month.number, month.mark);
            let (folder, noted) = (self.folder.clone(), state.clone());
            apart(move || folder.note(&noted)).await?;
        }
        self.is_behind(false);
        self.expire(state, &there, &months).await
    }

    /// Writes a month: a file of each table and site, what is of the whole, and removes what its sites have no more.
    async fn write(&self, month: &Month) -> Result<(), ExportError> {
        if !export::is_whole(&self.client, month.number).await? {
            return Err(ExportError::Doubled);
        }
        let sites = export::sites(&self.client, month.number).await?;
        for site in &sites {
            for table in [Exported::Figures, Exported::Outcomes] {
                self.file(table, Some((site, month.number))).await?;
            }
        }
        self.file(Exported::Days, None).await?;
        let (folder, number) = (self.folder.clone(), month.number);
        apart(move || {
            folder.keep_only(number, &sites)?;
            folder.explain(&explained::text())
        })
        .await
    }

    async fn file(&self, table: Exported, part: Option<(&str, u32)>) -> Result<(), ExportError> {
        let Some(path) = folder::place(table, part) else { return Ok(()) };
        let mut read = export::parquet(&self.client, table, part)?;
        let (pieces, incoming) = mpsc::channel(EXPORT_PIECES_AHEAD);
        let folder = self.folder.clone();
        // It ends with the channel's one sender: whatever breaks off gets no name.
        let reading = async move {
            while let Some(bytes) = read.next().await.map_err(Failure::from)? {
                // The other end is gone when it could not write: it says why.
                if pieces.send(Piece::Bytes(bytes)).await.is_err() {
                    return Ok(());
                }
            }
            let _ = pieces.send(Piece::End).await;
            Ok::<(), Failure>(())
        };
        let (read, written) = tokio::join!(reading, apart(move || folder.fill(&path, incoming)));
        read?;
        written?;
        self.progress.files.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Removes the files of months that are as old as the tables let none become. What is younger stays, also if the tables have lost it.
    async fn expire(&self, mut state: State, there: &[u32], months: &[Month]) -> Result<(), ExportError> {
        let today = Zone::utc().day_of(self.clock.now());
        let old: Vec<u32> = there.iter().copied().filter(|month| is_over(*month, today, months)).collect();
        if old.is_empty() {
            return Ok(());
        }
        let folder = self.folder.clone();
        apart(move || {
            for month in old {
                folder.keep_only(month, &[])?;
                state.months.remove(&month);
            }
            folder.note(&state)
        })
        .await
    }

    fn is_behind(&self, behind: bool) {
        let now = if behind { self.clock.now().0 } else { 0 };
        let since = &self.progress.behind_since;
        if !behind || since.load(Ordering::Relaxed) == 0 {
            since.store(now, Ordering::Relaxed);
        }
    }
}

fn is_over(month: u32, today: Day, months: &[Month]) -> bool {
    retention::is_expired(month, today) && months.iter().all(|known| known.number != month)
}

/// Does what may block for as long as a disk likes, on a thread of its own that nobody has to wait for.
async fn apart<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> Result<T, ExportError> {
    let (done, told) = oneshot::channel();
    std::thread::Builder::new().name("export".into()).spawn(move || {
        // Nobody listens when the collector is stopping.
        let _ = done.send(work());
    })?;
    Ok(told.await.map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))??)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_is_written_when_it_is_not_what_was_noted() {
        let months = [Month { number: 202_610, mark: 1 }, Month { number: 202_611, mark: 2 }];
        let state = State { months: [(202_610, 1), (202_611, 1)].into() };
        assert_eq!(changed(&months, &state), months[1..]);
        assert_eq!(changed(&months, &State::default()), months);
    }

    #[test]
    fn files_go_when_their_month_is_past_and_out_of_the_tables_and_not_before() {
        let today = "2026-11-23".parse().unwrap();
        for (month, over) in [(202_410, true), (202_411, false), (202_611, false)] {
            assert_eq!(is_over(month, today, &[]), over, "{month}");
        }
        assert!(!is_over(202_410, today, &[Month { number: 202_410, mark: 1 }]));
    }
}
