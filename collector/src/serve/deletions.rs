//! Carrying out what an operator has ordered to be deleted: one order after the other, by the care of days, so that no visits are counted and no day is closed
//! meanwhile.
//!
//! A deletion from an open day holds the sink: nothing is inserted into `events` until the rollup is formed again, and events wait in the spool. A start that finds an
//! order about an open day lets nothing be inserted before it is carried out, so that what a killed run has counted is what is there. A batch that the day has
//! and the spool still holds is in doubt: the sink is going to ask whether the day has all of it, so nothing is removed until it has asked.
//!
//! What ClickHouse refuses is tried again every few seconds, and no day waits for it: that a day's rows are gone in time ranks before its figures.
//!
//! * Once the events are removed, which the order's file says, the sink is let go between two tries. What arrives in between is added to cells that the next try clears,
//!   and forms again from all events.
//! * Before that the sink is held, or what arrives and goes with the others would not be counted. It is let go when a day is over and the spool holds events of it.
//! * A day that is closed while its cells may be gone gets those of the deletion's site from its events (see [`crate::store::close::Thresholds::anew`]). If the deletion
//!   did not come as far as removing events, it is one from a closed day from then on.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::OwnedMutexGuard;

use super::care;
use crate::clock::Zone;
use crate::deletion::{self, Counted, Order, Wanted};
use crate::limits::DELETION_HOLD_PATIENCE;
use crate::row::EVENTS;
use crate::sink::metrics::Metrics;
use crate::spool::format::Header;
use crate::spool::inspect;
use crate::store::database::Target;
use crate::store::days::ZoneDay;
use crate::store::delete::{self, Deletion, Found, Step};
use crate::store::errors::{Class, Failure};
use crate::worker::Shared;

/// What carries orders out.
pub(super) struct Deletions {
    pub(super) target: Target,
    pub(super) shared: Arc<Shared>,
    pub(super) data_dir: PathBuf,
    pub(super) spool: PathBuf,
    pub(super) metrics: Arc<Metrics>,
    /// The sink, while it is held.
    pub(super) hold: Option<OwnedMutexGuard<()>>,
    /// Orders of which the log says already that ClickHouse refuses to go on with them.
    pub(super) refused: BTreeSet<String>,
}

/// How far an order is.
enum Carried {
    /// Done and logged; what is left of it is to be looked at again.
    Lingering,
    Done,
    /// Something else has to be over first.
    Later,
    /// It cannot be understood.
    Never,
}

impl Deletions {
    /// Holds the sink from the start on if an order about an open day has been begun.
    pub(super) fn hold_from_the_start(data_dir: &std::path::Path, target: &Target) -> Option<OwnedMutexGuard<()>> {
        let orders = deletion::pending(data_dir).unwrap_or_default();
        let begun = orders.iter().any(Order::is_begun);
        begun.then(|| Arc::clone(&target.inserting).try_lock_owned().ok()).flatten()
    }

    /// Carries out what was ordered.
    pub(super) async fn carry_out(&mut self) -> Result<(), Failure> {
        let Ok(orders) = deletion::pending(&self.data_dir) else { return Ok(()) };
        let (mut outcome, mut counts_on_the_hold) = (Ok(()), false);
        for mut order in orders {
            let carried = match self.one(&mut order).await {
                Ok(carried) => carried,
                Err(failure) if failure.class() == Class::Retry => {
                    outcome = Err(failure);
                    counts_on_the_hold |= order.is_begun() && !order.removed;
                    Carried::Later
                }
                Err(failure) if order.counted.is_some() => {
                    counts_on_the_hold |= order.is_begun() && !order.removed;
                    self.tell_refused(&order, failure);
                    Carried::Later
                }
                Err(failure) => {
                    tracing::error!(%failure, "ClickHouse refuses a deletion");
                    Carried::Never
                }
            };
            let filed = match carried {
                Carried::Done => order.remove(&self.data_dir),
                Carried::Never => order.give_up(&self.data_dir),
                Carried::Later | Carried::Lingering => Ok(()),
            };
            if let Err(error) = filed {
                tracing::error!(kind = %error.kind(), "a deletion cannot be taken off the list; it is done again");
            }
        }
        if !counts_on_the_hold || self.keeps_a_day_open().await {
            self.hold = None;
        }
        outcome
    }

    /// The sites whose cells of the day are not whole.
    pub(super) fn half_done(&self, day: &ZoneDay) -> std::io::Result<Vec<String>> {
        let orders = deletion::pending(&self.data_dir)?;
        let of_day = |wanted: &Wanted| wanted.zone == day.zone && wanted.day == day.day.to_string();
        Ok(orders.into_iter().filter(|order| order.is_begun() && of_day(&order.wanted)).map(|order| order.wanted.site).collect())
    }

    /// Whether the spool holds events of a day that is over, which is not closed before they are delivered.
    async fn keeps_a_day_open(&self) -> bool {
        let (now, intake) = (self.shared.clock.now(), self.shared.guards.intake);
        let is_over = |zone: &str, day| Zone::named(zone).is_ok_and(|zone| care::is_over(&zone, intake, day, now));
        let headers = self.headers().await;
        headers.is_none_or(|headers| headers.iter().any(|header| *header.table == *EVENTS.table && is_over(&header.zone, header.day)))
    }

    /// What the spool holds, if that can be read.
    async fn headers(&self) -> Option<Vec<Header>> {
        let spool = self.spool.clone();
        tokio::task::spawn_blocking(move || inspect::headers(&spool)).await.ok()?.ok()
    }

    async fn one(&mut self, order: &mut Order) -> Result<Carried, Failure> {
        let wanted = order.wanted.clone();
        let dimension = delete::dimensions().find(|dimension| dimension.name == wanted.dimension);
        let (Some(dimension), Ok(day)) = (dimension, wanted.day.parse()) else { return Ok(Carried::Never) };
        let (client, day) = (self.target.client.clone(), ZoneDay { zone: wanted.zone.clone(), day });
        let id = order.id.clone();
        let declared = care::thresholds(&self.shared.sites.load()).declared;
        let deletion =
            Deletion { client: &client, day: &day, site: &wanted.site, dimension, value: &wanted.value, id: &id, declared: &declared };
        let closed = deletion.is_closed().await?;
        let may = closed || self.holds_the_sink().await && self.nothing_is_in_doubt(&deletion).await?;
        if !may {
            return Ok(Carried::Later);
        }
        if !order.removed && order.counted.is_none_or(|counted| counted.closed != closed) {
            let Found { events, visitors } = if closed { deletion.found_closed().await? } else { deletion.found_open().await? };
            order.counted = Some(Counted { closed, events, visitors });
            if order.place(&self.data_dir).is_err() {
                return Ok(Carried::Later);
            }
        }
        match (closed, order.removed) {
            // The day was closed without those events.
            (true, true) => {}
            (true, false) => deletion.from_closed().await?,
            (false, false) => {
                deletion.step(Step::Events).await?;
                order.removed = true;
                if order.place(&self.data_dir).is_err() {
                    order.removed = false;
                    return Err(Failure::Restarted);
                }
                deletion.form_again(self.shared.clock.now()).await?;
            }
            (false, true) => deletion.form_again(self.shared.clock.now()).await?,
        }
        self.tell(order)?;
        let settled = !closed || order.removed || deletion.is_settled().await?;
        Ok(if settled { Carried::Done } else { Carried::Lingering })
    }

    /// Logs it, once.
    fn tell(&self, order: &Order) -> Result<(), Failure> {
        let site = self.shared.sites.load().find(&order.wanted.site).map_or(crate::limits::SITE_K.1, |site| site.k);
        let before = deletion::log(&self.data_dir).is_ok_and(|log| log.iter().any(|line| line.id == order.id));
        if before {
            return Ok(());
        }
        if let Err(error) = order.log(&self.data_dir, self.shared.clock.now(), site.into()) {
            tracing::error!(kind = %error.kind(), "a deletion cannot be logged; it is done again");
            return Err(Failure::Restarted);
        }
        let Counted { closed, events, .. } = order.counted.unwrap_or_default();
        if !closed {
            self.metrics.count_deleted(events);
        }
        // Not how many: they may have been of fewer than k visitors.
        tracing::info!(site = order.wanted.site, day = order.wanted.day, closed, "the operator has deleted figures");
        Ok(())
    }

    /// Says it once: it is tried again every few seconds. What is closed is replaced at once or not at all, so nothing waits for that.
    fn tell_refused(&mut self, order: &Order, failure: Failure) {
        if !self.refused.insert(order.id.clone()) {
            return;
        }
        if order.is_begun() {
            tracing::error!(%failure, "ClickHouse refuses to go on with a deletion; it is tried again, for figures of its day may be gone; days are closed meanwhile");
        } else {
            tracing::error!(%failure, "ClickHouse refuses to delete from a closed day; it is tried again");
        }
    }

    /// Waits for the segment that is being delivered, but not for long.
    async fn holds_the_sink(&mut self) -> bool {
        if self.hold.is_none() {
            let lock = Arc::clone(&self.target.inserting).lock_owned();
            self.hold = tokio::time::timeout(DELETION_HOLD_PATIENCE, lock).await.ok();
        }
        self.hold.is_some()
    }

    /// Whether no batch of the day is both in ClickHouse and in the spool.
    async fn nothing_is_in_doubt(&self, deletion: &Deletion<'_>) -> Result<bool, Failure> {
        let Some(headers) = self.headers().await else { return Ok(false) };
        let of_day =
            |header: &&Header| *header.table == *EVENTS.table && *header.zone == *deletion.day.zone && header.day == deletion.day.day;
        let mut batches = std::collections::BTreeMap::<u64, Vec<u64>>::new();
        for header in headers.iter().filter(of_day) {
            batches.entry(header.node).or_default().push(header.batch);
        }
        for (node, batches) in batches {
            if deletion.events_of(node, &batches).await? > 0 {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
