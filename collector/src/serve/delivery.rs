//! From the spool to the tables: the sink, and what the figures need to know from the tables first.

use std::sync::Arc;

use clickhouse::Client;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::task::JoinHandle;

use super::ServeError;
use crate::backup::{self, BackupError, Source};
use crate::clock::{Clock, Day, Zone};
use crate::limits::{RESTORE_INTERVAL, RESTORE_PATIENCE, SINK_WAIT_MAX};
use crate::row::Capped;
use crate::row::Table;
use crate::sink;
use crate::sink::metrics::Metrics;
use crate::spool::{Sealed, Spool};
use crate::store::database::Target;
use crate::store::errors::Failure;
use crate::store::migrate::{MIGRATIONS, MigrateError};
use crate::store::query;
use crate::worker::Shared;

/// Starts delivering `recovered` and whatever comes by `incoming`, until that is closed and empty. A database that this version must not touch is told as
/// `trouble`.
#[expect(clippy::disallowed_methods, reason = "the caller waits for the task")]
pub(super) fn start(
    target: Target,
    (spool, source): (Arc<Spool>, Source),
    (recovered, incoming): (Vec<Sealed>, UnboundedReceiver<Sealed>),
    metrics: Arc<Metrics>,
    trouble: UnboundedSender<ServeError>,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        if let Err(error) = keep_what_is_there(&target, &source).await {
            let _ = trouble.send(ServeError::Database(error));
            return;
        }
        if let Err(error) = sink::run(target, spool, recovered, incoming, metrics).await {
            // Nobody listens once the process is stopping.
            let _ = trouble.send(ServeError::Database(error));
        }
    })
}

/// Backs the database up if the migrations of this version are about to change it. Nothing is migrated before that has worked: events wait in the spool,
/// and it is tried again. The error is a database that this version must not touch.
async fn keep_what_is_there(target: &Target, source: &Source) -> Result<(), MigrateError> {
    while target.available().await.is_some() {
        match backup::before_migration(source, MIGRATIONS, Clock::system().now()).await {
            Ok(None) => return Ok(()),
            Ok(Some(path)) => {
                tracing::info!(path = %path.display(), "the database was backed up, as it is about to be migrated");
                return Ok(());
            }
            Err(BackupError::Migrate(error @ MigrateError::Newer { .. })) => return Err(error),
            Err(error) => {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                tracing::error!(%error, cause, "the database is not migrated before it is backed up; events wait in the spool");
                tokio::time::sleep(SINK_WAIT_MAX).await;
            }
        }
    }
    Ok(())
}

/// Teaches the cap on distinct values what the rollup has from before this process started, once ClickHouse answers and the spool's old segments are
/// delivered, or were waited for long enough. Until then a value that is already in the rollup may be counted again against the cap; it is let through all the same.
pub(super) async fn restore_distinct(target: Target, shared: Arc<Shared>, metrics: Arc<Metrics>, recovered: u64, days: u16) {
    let settled = || metrics.inserted_rows(Table::Events) + metrics.parked(Table::Events).1;
    let patience = Clock::monotonic() + RESTORE_PATIENCE;
    while settled() < recovered && Clock::monotonic() < patience {
        tokio::time::sleep(RESTORE_INTERVAL).await;
    }
    let sites = shared.sites.load_full();
    for zone in sites.zones() {
        let today = zone.day_of(shared.clock.now());
        for back in 0..=days {
            let day = Day(today.0.saturating_sub(back));
            while let Err(failure) = restore_day(&target.client, &shared, zone, day).await {
                tracing::debug!(%failure, "the rollup's values cannot be read yet");
                tokio::time::sleep(RESTORE_INTERVAL).await;
            }
        }
    }
    tracing::info!("the cap on distinct values knows what the rollup has");
}

async fn restore_day(client: &Client, shared: &Shared, zone: &Zone, day: Day) -> Result<(), Failure> {
    let dimensions: Vec<&str> = Capped::ALL.iter().map(|capped| capped.label()).collect();
    for found in query::distinct_values(client, zone.name(), day, &dimensions).await? {
        if let Some(dimension) = Capped::from_label(&found.dimension) {
            shared.distinct.restore(&found.site, day, dimension, &found.value);
        }
    }
    Ok(())
}
