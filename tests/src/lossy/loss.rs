//! What a power cut takes: everything that was not synced, or by lot some of it.

use super::bytes::{PAGE, SECTOR};
use crate::campaign::Lots;

/// What a power cut takes of what was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// All of it.
    Everything,
    /// Some of it, by lot: pieces of files of `tear_bytes` (512 or 4096), lengths of files, and names in folders, in no order, as disks and file systems
    /// with caches write them.
    Some {
        /// The same seed loses the same.
        seed: u64,
        /// What is written whole or not at all.
        tear_bytes: usize,
    },
    /// Some of it, by lot, but names as a journal keeps them: if one change of a name is there, all that came before it are.
    Journaled {
        /// The same seed loses the same.
        seed: u64,
        /// What is written whole or not at all.
        tear_bytes: usize,
    },
}

impl Loss {
    /// One of all kinds, by lot.
    pub fn drawn(lots: &mut Lots) -> Self {
        let seed = lots.below(u64::MAX);
        let tear_bytes = [SECTOR, PAGE][usize::from(lots.below(2) == 1)];
        match lots.below(3) {
            0 => Self::Everything,
            1 => Self::Some { seed, tear_bytes },
            _ => Self::Journaled { seed, tear_bytes },
        }
    }
}

/// Says of each thing that was not synced whether it survives.
#[derive(Debug)]
pub(super) struct Survivors {
    loss: Loss,
    lots: Lots,
}

impl Survivors {
    pub(super) fn of(loss: Loss) -> Self {
        let (Loss::Some { seed, .. } | Loss::Journaled { seed, .. }) = loss else { return Self { loss, lots: Lots::of(0) } };
        Self { loss, lots: Lots::of(seed) }
    }

    /// Which of `count` changes of names survive, the oldest first.
    pub(super) fn keep_names(&mut self, count: usize) -> Vec<bool> {
        match self.loss {
            Loss::Everything => vec![false; count],
            Loss::Some { .. } => (0..count).map(|_| self.lots.below(2) == 1).collect(),
            Loss::Journaled { .. } => {
                let kept = self.lots.below(count as u64 + 1);
                (0..count as u64).map(|number| number < kept).collect()
            }
        }
    }

    /// Whether a file keeps the length that was not synced.
    pub(super) fn keep_length(&mut self) -> bool {
        match self.loss {
            Loss::Everything => false,
            Loss::Some { .. } | Loss::Journaled { .. } => self.lots.below(2) == 1,
        }
    }

    /// Calls `keep` with each sector of a page that survives.
    pub(super) fn keep_sectors(&mut self, mut keep: impl FnMut(usize)) {
        let (Loss::Some { tear_bytes, .. } | Loss::Journaled { tear_bytes, .. }) = self.loss else { return };
        let together = tear_bytes / SECTOR;
        for first in (0..PAGE / SECTOR).step_by(together) {
            if self.lots.below(2) == 1 {
                (first..first + together).for_each(&mut keep);
            }
        }
    }
}
