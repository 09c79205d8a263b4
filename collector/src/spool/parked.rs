//! Parked segments, and what an operator orders about them: to be given back for delivery, or given up.
//!
//! The order is the file's name. In the folder `parked`, `B.sealed` waits for an operator; `B.redrive` is to go back, `B.drop` is to be removed. Whoever
//! orders renames the file, once; whoever owns the spool carries the order out: a collector that runs looks for orders about each second, one that starts
//! looks for them first, and without any the command does it itself, under the collector's own lock. So a segment is in one place at every moment, a crash
//! between two steps loses neither it nor the order, and an order may be carried out again.
//!
//! Only parked segments can be ordered about. A sealed one is still to be delivered: the sink may be sending it at this moment, and what ClickHouse will
//! not take it parks by itself.

use std::io;
use std::path::{Path, PathBuf};

use super::Spool;
use super::disk;
use super::format::Header;
use super::inspect::{self, Listed};
use super::recover;
use super::sealed::Sealed;

/// The folder of parked segments within the spool's.
pub(super) const FOLDER: &str = "parked";

/// What is to become of a parked segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// It goes back into the spool, to be delivered; whether ClickHouse has it after all is asked first.
    Redrive,
    /// It is removed. Its events are in no table, and never will be.
    Drop,
}

impl Order {
    /// The word for it, which is the extension of the file's name.
    pub fn label(self) -> &'static str {
        match self {
            Self::Redrive => "redrive",
            Self::Drop => "drop",
        }
    }

    /// The order of that name.
    pub(super) fn named(label: &str) -> Option<Self> {
        [Self::Redrive, Self::Drop].into_iter().find(|order| order.label() == label)
    }
}

/// The parked segments of the spool in `folder`, ordered about or not.
pub fn list(folder: &Path) -> io::Result<Vec<Listed>> {
    let parked = |listed: &Listed| matches!(listed.state, inspect::State::Parked | inspect::State::Ordered(_));
    Ok(inspect::list(folder)?.into_iter().filter(parked).collect())
}

/// Orders something about the parked segment at `path`; one rename, synced. Returns where the file lies then.
pub fn order(path: &Path, order: Order) -> io::Result<PathBuf> {
    let ordered = path.with_extension(order.label());
    disk::rename(path, &ordered)?;
    disk::sync_folder(ordered.parent().unwrap_or(Path::new(".")))?;
    Ok(ordered)
}

/// The orders that are to be carried out in the spool in `folder`.
pub fn orders(folder: &Path) -> io::Result<Vec<(PathBuf, Order)>> {
    let parked = folder.join(FOLDER);
    let order_of = |path: &Path| Order::named(path.extension()?.to_str()?);
    Ok(disk::list(&parked)?.into_iter().filter_map(|path| order_of(&path).map(|order| (path, order))).collect())
}

/// Carries out an order on the file at `path`, where nobody else works on the spool's folder. Repeating it does no harm.
pub fn carry_out(path: &Path, order: Order) -> io::Result<()> {
    let parked = path.parent().unwrap_or(Path::new("."));
    match order {
        Order::Redrive => {
            disk::rename(path, &back_path(path))?;
            // First where it is now, then where it no longer is: a power cut leaves it in one place or in both, never in none.
            disk::sync_folder(parked.parent().unwrap_or(Path::new(".")))?;
        }
        Order::Drop => disk::remove(path)?,
    }
    disk::sync_folder(parked)
}

/// Where a parked segment lies once it has gone back.
pub(super) fn back_path(path: &Path) -> PathBuf {
    let folder = path.parent().and_then(Path::parent).unwrap_or(Path::new("."));
    folder.join(path.file_name().unwrap_or_default()).with_extension("sealed")
}

/// What an order has come to.
#[derive(Debug)]
pub struct Done {
    /// The segment's header, unless that was damaged.
    pub header: Option<Header>,
    /// What was ordered.
    pub order: Order,
    /// How many events it was about.
    pub events: u64,
    /// The segment to deliver, in doubt: none was dropped, and none of damaged bytes alone.
    pub sealed: Option<Sealed>,
}

impl Spool {
    /// Carries out every order, in the spool of a collector that runs, and tells of each: what goes back is checked as at a start, and counted where it is
    /// from now on.
    /// Blocking. After an error the order stands and is tried again, or the segment lies in the spool for the next start.
    pub fn obey(&self, mut tell: impl FnMut(Done)) -> io::Result<()> {
        for (path, order) in orders(self.folder())? {
            let Listed { header, bytes, .. } = inspect::inspect(path.clone(), inspect::State::Ordered(order))?;
            carry_out(&path, order)?;
            let taken = match order {
                Order::Drop => None,
                Order::Redrive => Some(recover::take_back(self, &back_path(&path))?),
            };
            let events = self.gauge().parked_no_more(&path, bytes);
            let sealed = match taken {
                None => {
                    self.gauge().discarded(events);
                    None
                }
                Some(sealed) => {
                    // What its frames no longer hold was counted as parked, and is lost to damage.
                    self.gauge().lost(events.saturating_sub(sealed.as_ref().map_or(0, Sealed::events)));
                    sealed
                }
            };
            tell(Done { header, order, events, sealed });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
