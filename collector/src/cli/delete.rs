//! `headcount delete`: removes spam from a day's figures. Says what would go, and orders it if that was confirmed; the running collector carries the order out.

use std::io::{self, Write};
use std::time::Duration;

use super::sql::{self, SqlError};
use crate::clock::Clock;
use crate::config::Config;
use crate::deletion::{self, Order, Wanted};
use crate::instance::{Instance, InstanceError};
use crate::limits::{DELETION_PATIENCE, ORDERS_INTERVAL};
use crate::store::days::ZoneDay;
use crate::store::delete::{self, Deletion, Found};
use crate::store::errors::Failure;
use crate::store::rollup::Dimension;

/// Why nothing was deleted.
#[derive(Debug, thiserror::Error)]
pub(super) enum DeleteError {
    #[error(transparent)]
    Reach(#[from] SqlError),
    #[error("the day cannot be looked at: {0}")]
    Asked(Failure),
    #[error("no site `{0}` is configured")]
    UnknownSite(String),
    #[error("`{given}` is no day: write it as 2026-11-22")]
    NoDay { given: String },
    #[error("`{given}` is no dimension that can be deleted by: {allowed}")]
    NoDimension { given: String, allowed: String },
    #[error("nothing was deleted: say --yes to delete it for good")]
    Unconfirmed,
    #[error("no collector runs on {data_dir}: start it, for it is the one that deletes")]
    NotRunning { data_dir: String },
    #[error(
        "the order stands, and the running collector has not carried it out yet: its log says why, and `headcount delete --list` when it has"
    )]
    NotYet,
    #[error("the running collector cannot carry it out, and has put it aside: its log says why")]
    GivenUp,
    #[error(transparent)]
    Instance(#[from] InstanceError),
    #[error("the order cannot be written")]
    Io(#[from] io::Error),
    #[error("the system gives no random bytes")]
    NoRandomness,
}

/// What the command line names.
#[derive(Clone, Debug)]
pub(super) struct Named {
    pub(super) site: String,
    pub(super) day: String,
    pub(super) dimension: String,
    pub(super) value: String,
}

/// The operator has said `--yes`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Confirmed;

/// Says what would go, and sees it go if that was confirmed.
pub(super) fn delete(config: &Config, named: Named, confirmed: Option<Confirmed>, out: &mut dyn Write) -> Result<(), DeleteError> {
    let (wanted, dimension, day) = judge(config, named)?;
    let client = sql::client_of(config)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let deletion = Deletion { client: &client, day: &day, site: &wanted.site, dimension, value: &wanted.value, id: "", declared: &[] };
    let (closed, found) = runtime.block_on(look(&deletion)).map_err(DeleteError::Asked)?;
    let Wanted { site, value, .. } = &wanted;
    let what = format!("{} = {value} on {} of {site}", dimension.name, day.day);
    let Found { events, visitors } = found;
    if events == 0 {
        let why = if closed {
            "the day is closed and does not name it: it had fewer visitors than are named, or none"
        } else {
            "the day has no such event"
        };
        writeln!(out, "Nothing to delete of {what}: {why}.")?;
        return Ok(());
    }
    if closed {
        writeln!(
            out,
            "{what}: {events} views and events of {visitors} visitors. The day is closed. Its figure and its pairs go, the whole site loses as much, and the day loses its hours; the day's other figures keep what is in them."
        )?;
    } else {
        writeln!(out, "{what}: {events} views and events of {visitors} visitors. The day is open: they go from all its figures.")?;
    }
    let Some(Confirmed) = confirmed else { return Err(DeleteError::Unconfirmed) };
    order(config, wanted, out)
}

fn judge(config: &Config, named: Named) -> Result<(Wanted, &'static Dimension, ZoneDay), DeleteError> {
    let Named { site, day: given, dimension, value } = named;
    let zone = config.sites.find(&site).map(|site| config.sites.zone(site.zone).name().to_owned());
    let zone = zone.ok_or_else(|| DeleteError::UnknownSite(site.clone()))?;
    let day: crate::clock::Day = given.parse().map_err(|_| DeleteError::NoDay { given })?;
    let Some(known) = delete::dimensions().find(|known| known.name == dimension) else {
        let allowed = delete::dimensions().map(|known| known.name).collect::<Vec<_>>().join(", ");
        return Err(DeleteError::NoDimension { given: dimension, allowed });
    };
    let wanted = Wanted { site, zone: zone.clone(), day: day.to_string(), dimension, value };
    Ok((wanted, known, ZoneDay { zone, day }))
}

async fn look(deletion: &Deletion<'_>) -> Result<(bool, Found), Failure> {
    let closed = deletion.is_closed().await?;
    Ok((closed, if closed { deletion.found_closed().await? } else { deletion.found_open().await? }))
}

/// Gives the order to the running collector, and waits until the log says that it is carried out.
fn order(config: &Config, wanted: Wanted, out: &mut dyn Write) -> Result<(), DeleteError> {
    match Instance::claim(&config.data_dir) {
        Err(InstanceError::Taken { .. }) => {}
        Err(error) => return Err(error.into()),
        Ok(_nobody) => return Err(DeleteError::NotRunning { data_dir: config.data_dir.display().to_string() }),
    }
    let lot = getrandom::u64().map_err(|_| DeleteError::NoRandomness)?;
    let order = Order::new(wanted, Clock::system().now(), lot);
    order.place(&config.data_dir)?;
    let deadline = Clock::monotonic() + DELETION_PATIENCE;
    while Clock::monotonic() < deadline {
        if let Some(line) = deletion::log(&config.data_dir)?.into_iter().find(|line| line.id == order.id) {
            let events = line.events.map_or("a few".to_owned(), |events| events.to_string());
            writeln!(out, "Deleted: {events} events.")?;
            return Ok(());
        }
        if order.is_given_up(&config.data_dir) {
            return Err(DeleteError::GivenUp);
        }
        std::thread::sleep(Duration::min(ORDERS_INTERVAL / 10, DELETION_PATIENCE));
    }
    Err(DeleteError::NotYet)
}

/// Prints every deletion, the oldest first, and those that are not carried out yet.
pub(super) fn list(config: &Config, out: &mut dyn Write) -> Result<(), DeleteError> {
    writeln!(out, "at\tsite\tday\tdimension\tvalue\tday was\tevents")?;
    for line in deletion::log(&config.data_dir)? {
        let at = jiff::Timestamp::from_millisecond(line.at_millis).map(|at| at.to_string()).unwrap_or_default();
        let state = if line.closed { "closed" } else { "open" };
        let events = line.events.map_or("few".to_owned(), |events| events.to_string());
        writeln!(out, "{at}\t{}\t{state}\t{events}", columns(&line.wanted))?;
    }
    let done: Vec<String> = deletion::log(&config.data_dir)?.into_iter().map(|line| line.id).collect();
    for order in deletion::pending(&config.data_dir)?.iter().filter(|order| !done.contains(&order.id)) {
        writeln!(out, "-\t{}\twaits\t-", columns(&order.wanted))?;
    }
    Ok(())
}

fn columns(wanted: &Wanted) -> String {
    format!("{}\t{}\t{}\t{}", wanted.site, wanted.day, wanted.dimension, wanted.value)
}
