//! What the disk is told to do wrong: at which sync the power goes, which syncs fail, how slow it is and when it is full.

use std::time::{Duration, Instant};

/// At which moment of a sync the power goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Before anything of it is on the disk.
    Before,
    /// When all of it is, and nobody was told.
    After,
}

/// Everything that is ordered. By default nothing is.
#[derive(Debug, Default)]
pub(super) struct Orders {
    /// Syncs of files and folders so far.
    pub(super) syncs: u64,
    /// The power goes at the sync of this number.
    pub(super) cut_at: Option<(u64, Moment)>,
    /// These syncs fail.
    pub(super) fail_from: Option<(u64, u64)>,
    /// Every sync takes this long.
    pub(super) delay: Duration,
    /// Bytes a second that syncs can put on the disk, and until when it is busy with what it has.
    pub(super) rate: Option<u64>,
    pub(super) busy_until: Option<Instant>,
    /// Bytes that syncs have put on the disk.
    pub(super) synced_bytes: u64,
    /// Bytes that all files may have.
    pub(super) capacity: Option<u64>,
}

/// What is to happen to one sync.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Do,
    Fail,
    Cut(Moment),
}

impl Orders {
    /// Counts a sync and says what is to happen to it.
    pub(super) fn next_sync(&mut self) -> Order {
        self.syncs += 1;
        match (self.cut_at, self.fail_from) {
            (Some((at, moment)), _) if at == self.syncs => Order::Cut(moment),
            (_, Some((first, end))) if (first..end).contains(&self.syncs) => Order::Fail,
            _ => Order::Do,
        }
    }

    /// When a sync of `bytes` that is asked for now is done.
    pub(super) fn done_at(&mut self, bytes: u64) -> Option<Instant> {
        let now = Instant::now();
        let delayed = (!self.delay.is_zero()).then(|| now + self.delay);
        let Some(rate) = self.rate else { return delayed };
        let begun = self.busy_until.map_or(now, |busy| busy.max(now));
        let done = begun + Duration::from_nanos(bytes.saturating_mul(1_000_000_000) / rate.max(1));
        self.busy_until = Some(done);
        delayed.max(Some(done))
    }
}
