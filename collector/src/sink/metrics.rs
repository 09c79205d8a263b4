//! What the sink counts. Numbers and closed lists only; the names under which they are scraped are in `metrics.rs`.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::row::Table;
use crate::store::errors::{Class, Failure};

/// Counters and states of the sink, shared with whoever reads them.
#[derive(Debug, Default)]
pub struct Metrics {
    tables: [OfTable; Table::ALL.len()],
    parked_unknown: AtomicU64,
    failures: [AtomicU64; Class::ALL.len()],
    read_backs: AtomicU64,
    repairs: AtomicU64,
    deleted: AtomicU64,
}

/// What is kept of each table's segments.
#[derive(Debug, Default)]
struct OfTable {
    rows: AtomicU64,
    batches: AtomicU64,
    parked: AtomicU64,
    parked_rows: AtomicU64,
    held: AtomicU64,
    /// The class and the code of the last failure; 0 for none since the last success.
    failure: AtomicU32,
}

impl Metrics {
    /// Rows that ClickHouse has confirmed, or was found to have.
    pub fn inserted_rows(&self, table: Table) -> u64 {
        self.of(table).rows.load(Ordering::Relaxed)
    }

    /// Segments confirmed and removed.
    pub fn confirmed_batches(&self, table: Table) -> u64 {
        self.of(table).batches.load(Ordering::Relaxed)
    }

    /// Segments put aside since the start because ClickHouse will not take them, and their rows.
    pub fn parked(&self, table: Table) -> (u64, u64) {
        let of = self.of(table);
        (of.parked.load(Ordering::Relaxed), of.parked_rows.load(Ordering::Relaxed))
    }

    /// Segments put aside since the start because their table is unknown.
    pub fn parked_unknown(&self) -> u64 {
        self.parked_unknown.load(Ordering::Relaxed)
    }

    /// Segments that are held now because the database shows what cannot be explained, or because their file cannot be read. More than zero is an alarm.
    pub fn held(&self, table: Table) -> u64 {
        self.of(table).held.load(Ordering::Relaxed)
    }

    /// Exchanges with ClickHouse that failed, by what is done about it.
    pub fn failures(&self, class: Class) -> u64 {
        self.failures[class as usize].load(Ordering::Relaxed)
    }

    /// The last failure of a table's segments, its class and ClickHouse's code (0 where it gave none); `None` before the first, and after a success.
    pub fn last_failure(&self, table: Table) -> Option<(Class, u16)> {
        let packed = self.of(table).failure.load(Ordering::Relaxed);
        let class = Class::ALL.get((packed >> 16).checked_sub(1)? as usize)?;
        Some((*class, u16::try_from(packed & 0xFFFF).unwrap_or(u16::MAX)))
    }

    /// How often the database was asked whether it has a batch, because an earlier attempt is in doubt.
    pub fn read_backs(&self) -> u64 {
        self.read_backs.load(Ordering::Relaxed)
    }

    /// Batches whose rows were there and whose rollup was not, and was filled again.
    pub fn repairs(&self) -> u64 {
        self.repairs.load(Ordering::Relaxed)
    }

    /// Events that the operator has deleted from `events` since the start.
    pub fn deleted(&self) -> u64 {
        self.deleted.load(Ordering::Relaxed)
    }

    /// Counts events as deleted.
    pub fn count_deleted(&self, events: u64) {
        self.deleted.fetch_add(events, Ordering::Relaxed);
    }

    fn of(&self, table: Table) -> &OfTable {
        &self.tables[table as usize]
    }

    pub(super) fn count_confirmed(&self, table: Table, rows: u64) {
        self.of(table).rows.fetch_add(rows, Ordering::Relaxed);
        self.of(table).batches.fetch_add(1, Ordering::Relaxed);
        self.of(table).failure.store(0, Ordering::Relaxed);
    }

    pub(super) fn count_parked_unknown(&self) {
        self.parked_unknown.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_parked(&self, table: Table, rows: u64) {
        self.of(table).parked.fetch_add(1, Ordering::Relaxed);
        self.of(table).parked_rows.fetch_add(rows, Ordering::Relaxed);
    }

    pub(super) fn set_held(&self, table: Table, segments: usize) {
        self.of(table).held.store(segments as u64, Ordering::Relaxed);
    }

    pub(super) fn count_failure(&self, table: Table, failure: Failure) {
        let class = failure.class();
        self.failures[class as usize].fetch_add(1, Ordering::Relaxed);
        self.of(table).failure.store((class as u32 + 1) << 16 | u32::from(failure.code()), Ordering::Relaxed);
    }

    pub(super) fn count_read_back(&self) {
        self.read_backs.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_repair(&self) {
        self.repairs.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_failure_is_kept_until_a_success() {
        let metrics = Metrics::default();
        let last = |table| metrics.last_failure(table);
        assert_eq!(last(Table::Events), None);
        for failure in [Failure::Exception(252), Failure::Network, Failure::Exception(u16::MAX)] {
            metrics.count_failure(Table::Events, failure);
            assert_eq!(last(Table::Events), Some((failure.class(), failure.code())));
        }
        metrics.count_confirmed(Table::Outcomes, 1);
        assert!(last(Table::Events).is_some(), "one lane's success is none of the other's");
        metrics.count_confirmed(Table::Events, 1);
        assert_eq!(last(Table::Events), None);
        assert_eq!(metrics.failures(Class::Retry), 2);
    }
}
