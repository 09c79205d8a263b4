//! `headcount spool redrive|drop`: what becomes of a parked segment. The order is the file's name (see [`crate::spool::parked`]); without a collector that
//! would carry it out, this process does.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::clock::Clock;
use crate::config::Config;
use crate::instance::{Instance, InstanceError};
use crate::limits::{ORDER_PATIENCE, ORDERS_INTERVAL};
use crate::row::stored::{self, Value};
use crate::spool::inspect::{self, Listed, State};
use crate::spool::parked::{self, Order};

/// Why an order was not carried out.
#[derive(Debug, thiserror::Error)]
pub(super) enum ParkedError {
    #[error(
        "batch {batch} is sealed, not parked: it is delivered as soon as ClickHouse takes it, and only a parked one can be ordered about"
    )]
    Sealed { batch: u64 },
    #[error("batch {batch} is not parked: `headcount spool ls` shows what is")]
    Unknown { batch: u64 },
    #[error("nothing was given up: say --yes to give up {events} events for good")]
    Unconfirmed { events: u64 },
    #[error("the order stands, and the running collector has not carried it out yet: its log says why")]
    NotYet,
    #[error(transparent)]
    Instance(#[from] InstanceError),
    #[error("{}: cannot be used", path.display())]
    Folder {
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
    #[error("cannot print")]
    Print(#[from] io::Error),
}

/// Gives one parked segment back to be delivered, or all of them.
pub(super) fn redrive(config: &Config, batch: Option<u64>, out: &mut dyn Write) -> Result<(), ParkedError> {
    let parked = chosen(config, batch)?;
    if parked.is_empty() {
        writeln!(out, "Nothing is parked.")?;
        return Ok(());
    }
    let running = carry_out(config, &parked, Order::Redrive)?;
    for segment in &parked {
        let when = if running { "goes to ClickHouse now" } else { "goes to ClickHouse at the next start" };
        writeln!(out, "Batch {} ({} rows of {}) is back in the spool and {when}.", number(segment), segment.rows, table(segment))?;
    }
    Ok(())
}

/// Gives up one parked segment: says what it holds, and removes it if that was confirmed.
pub(super) fn drop(config: &Config, batch: u64, confirmed: Option<Confirmed>, out: &mut dyn Write) -> Result<(), ParkedError> {
    let parked = chosen(config, Some(batch))?;
    writeln!(out, "batch\ttable\tzone\tday\tsite\trows")?;
    for segment in &parked {
        for (site, rows) in rows_by_site(segment).map_err(|cause| unusable(&segment.path, cause))? {
            let (zone, day) = segment.header.as_ref().map_or(("?", "?".to_owned()), |header| (&*header.zone, header.day.to_string()));
            writeln!(out, "{}\t{}\t{zone}\t{day}\t{site}\t{rows}", number(segment), table(segment))?;
        }
    }
    let events = parked.iter().filter(|segment| table(segment) != "outcomes_daily").map(|segment| segment.rows).sum();
    let Some(Confirmed) = confirmed else { return Err(ParkedError::Unconfirmed { events }) };
    carry_out(config, &parked, Order::Drop)?;
    writeln!(out, "Batch {batch} was given up: {events} events are in no table and never will be.")?;
    Ok(())
}

/// The operator has said `--yes`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Confirmed;

/// The parked segment of that number, which must be there, or all of them.
fn chosen(config: &Config, batch: Option<u64>) -> Result<Vec<Listed>, ParkedError> {
    let folder = config.spool_dir();
    let failed = |cause| unusable(&folder, cause);
    let parked = if folder.is_dir() { parked::list(&folder).map_err(failed)? } else { Vec::new() };
    let Some(batch) = batch else { return Ok(parked) };
    let found: Vec<Listed> = parked.into_iter().filter(|segment| number(segment) == batch).collect();
    if !found.is_empty() {
        return Ok(found);
    }
    let waits = |listed: &Listed| listed.state == State::Sealed && number(listed) == batch;
    let sealed = folder.is_dir() && inspect::list(&folder).map_err(failed)?.iter().any(waits);
    Err(if sealed { ParkedError::Sealed { batch } } else { ParkedError::Unknown { batch } })
}

/// A file is called by its batch, in hexadecimal.
fn number(segment: &Listed) -> u64 {
    let name = segment.path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    segment.header.as_ref().map_or_else(|| u64::from_str_radix(name, 16).unwrap_or(0), |header| header.batch)
}

fn table(segment: &Listed) -> &str {
    segment.header.as_ref().map_or("?", |header| &header.table)
}

/// Orders it, and sees it carried out: by the collector that runs, or by this process in its place. True when one runs.
fn carry_out(config: &Config, parked: &[Listed], order: Order) -> Result<bool, ParkedError> {
    let instance = match Instance::claim(&config.data_dir) {
        Ok(instance) => Some(instance),
        Err(InstanceError::Taken { .. }) => None,
        Err(error) => return Err(error.into()),
    };
    let mut ordered = Vec::new();
    for Listed { path, .. } in parked {
        let failed = |cause| unusable(path, cause);
        let path = parked::order(path, order).map_err(failed)?;
        if instance.is_some() {
            parked::carry_out(&path, order).map_err(failed)?;
        }
        ordered.push(path);
    }
    if instance.is_none() {
        wait_for(&ordered)?;
    }
    Ok(instance.is_none())
}

/// The collector takes an order's file away when it carries the order out.
fn wait_for(ordered: &[PathBuf]) -> Result<(), ParkedError> {
    let deadline = Clock::monotonic() + ORDER_PATIENCE;
    while ordered.iter().any(|path| path.exists()) {
        if Clock::monotonic() >= deadline {
            return Err(ParkedError::NotYet);
        }
        std::thread::sleep(Duration::min(ORDERS_INTERVAL / 10, ORDER_PATIENCE));
    }
    Ok(())
}

/// How many rows the segment holds of each site, as far as it can be read.
fn rows_by_site(segment: &Listed) -> io::Result<BTreeMap<String, u64>> {
    let mut sites = BTreeMap::new();
    let layout = segment.header.as_ref().and_then(|header| stored::layout_of(&header.table, header.schema_id, &header.columns).ok());
    inspect::frames(segment, |rows| {
        let Some(layout) = layout else { return false };
        for row in stored::walk(layout, rows).map_while(Result::ok) {
            let site = row.values().find_map(|(name, value)| match value {
                Value::Text(site) if name == "site" => Some(site.into_owned()),
                _ => None,
            });
            *sites.entry(site.unwrap_or_default()).or_default() += 1;
        }
        true
    })?;
    let unread = segment.rows - sites.values().sum::<u64>().min(segment.rows);
    if unread > 0 || sites.is_empty() {
        sites.insert("?".to_owned(), unread);
    }
    Ok(sites)
}

fn unusable(path: &Path, cause: io::Error) -> ParkedError {
    ParkedError::Folder { path: path.to_path_buf(), cause }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_that_nobody_carries_out_is_not_waited_for_for_ever() {
        let order = std::env::temp_dir().join(format!("headcount-order-{}", std::process::id()));
        std::fs::write(&order, "").unwrap();
        let asked = Clock::monotonic();
        let waited = wait_for(std::slice::from_ref(&order));
        std::fs::remove_file(&order).unwrap();
        assert!(matches!(waited, Err(ParkedError::NotYet)), "{waited:?}");
        assert!(asked.elapsed() >= ORDER_PATIENCE);
        assert!(wait_for(&[order]).is_ok(), "carried out");
    }
}
