//! `headcount days`: how each day stands that the tables know of. Open, over and waiting for something, or closed, and why.

use std::collections::BTreeMap;
use std::io::{self, Write};

use clickhouse::Client;

use super::sql::{self, SqlError};
use crate::clock::{Clock, UnixMillis, Zone};
use crate::config::Config;
use crate::days::Intake;
use crate::export::{self, ExportError};
use crate::serve::care;
use crate::spool::inspect;
use crate::store::days::{self, Held, ZoneDay};
use crate::store::errors::Failure;

/// Why days cannot be listed.
#[derive(Debug, thiserror::Error)]
pub(super) enum DaysError {
    #[error(transparent)]
    Reach(#[from] SqlError),
    #[error("the days cannot be listed: {0}")]
    Asked(Failure),
    #[error("the days cannot be listed")]
    Io(#[from] io::Error),
}

/// How a day stands, in the words that are printed.
struct Standing {
    state: &'static str,
    events: u64,
    why: String,
}

/// Prints every day, oldest first.
pub(super) fn list(config: &Config, out: &mut dyn Write) -> Result<(), DaysError> {
    let client = sql::client_of(config)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let days = runtime.block_on(standings(&client, config))?;
    writeln!(out, "day\tzone\tstate\tevents\twhy")?;
    for (ZoneDay { zone, day }, Standing { state, events, why }) in days.iter().map(|((_, day), standing)| (day, standing)) {
        writeln!(out, "{day}\t{zone}\t{state}\t{events}\t{why}")?;
    }
    if let Some(dir) = &config.export_dir {
        writeln!(out, "\nexport {}: {}", dir.display(), exported(runtime.block_on(export::waiting(dir, &client))))?;
    }
    Ok(())
}

fn exported(waiting: Result<Vec<u32>, ExportError>) -> String {
    match waiting {
        Ok(months) if months.is_empty() => "holds every finished figure".to_owned(),
        Ok(months) => {
            let months: Vec<String> = months.iter().map(|month| format!("{}-{:02}", month / 100, month % 100)).collect();
            format!("waits for the months {}; if it stays so, the log says why", months.join(", "))
        }
        Err(ExportError::Folder(cause)) => format!("cannot be used: {cause}"),
        Err(error) => error.to_string(),
    }
}

async fn standings(client: &Client, config: &Config) -> Result<BTreeMap<(crate::clock::Day, ZoneDay), Standing>, DaysError> {
    let mut days = BTreeMap::new();
    for (day, at, waiting) in days::closed(client).await.map_err(DaysError::Asked)? {
        let since = instant(at);
        let why = if waiting == 0 {
            format!("since {since}; nothing of it waits")
        } else {
            format!("since {since}; {waiting} figures are too small to be named and wait for its week or month")
        };
        days.insert((day.day, day), Standing { state: "closed", events: 0, why });
    }
    let (now, headers) = (Clock::system().now(), inspect::headers(&config.spool_dir())?);
    let intake = Intake::closing_after(config.close_after_hours).unwrap_or_default();
    for Held { day, events } in days::held(client).await.map_err(DaysError::Asked)? {
        if days.contains_key(&(day.day, day.clone())) {
            // Closed, and what is left of it is being erased.
            continue;
        }
        let held = headers.iter().filter(|header| care::holds(header, &day, now)).count();
        let zone = Zone::named(&day.zone).unwrap_or_else(|_| Zone::utc());
        let standing = if !care::is_over(&zone, intake, day.day, now) {
            Standing { state: "open", events, why: format!("takes events until {}", instant(intake.end_of(&zone, day.day))) }
        } else if held > 0 {
            Standing { state: "waiting", events, why: format!("{held} segments of the spool hold events of it: see `headcount spool ls`") }
        } else {
            Standing { state: "waiting", events, why: "it is over, and is closed as soon as the collector comes to it".to_owned() }
        };
        days.insert((day.day, day), standing);
    }
    Ok(days)
}

fn instant(at: UnixMillis) -> String {
    jiff::Timestamp::from_millisecond(at.0).map(|at| at.to_string()).unwrap_or_default()
}
