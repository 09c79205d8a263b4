//! The care of open days: their visits are counted anew while events arrive.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use crate::clock::{Clock, UnixMillis};
use crate::limits::{DAYS_INTERVAL, VISITS_INTERVAL, VISITS_SHARE};
use crate::shutdown::Stop;
use crate::store::database::Target;
use crate::store::days::{self, Held, What, ZoneDay};
use crate::store::errors::Failure;
use crate::store::migrate::{self, MIGRATIONS};
use crate::store::visits;

/// Cares for the days until the order to stop. What is cut off by it is done again by the next start.
#[expect(clippy::disallowed_methods, reason = "the caller waits for the task")]
pub(super) fn start(target: Target, clock: Clock, mut stop: Stop) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut care = Care { target, clock, migrated: false, counted: HashMap::new(), visits_at: Clock::monotonic(), failed: false };
        let caring = async {
            loop {
                care.look().await;
                tokio::time::sleep(DAYS_INTERVAL).await;
            }
        };
        tokio::select! {
            () = stop.ordered() => {}
            () = caring => {}
        }
    })
}

struct Care {
    target: Target,
    clock: Clock,
    /// The tables are this version's: whoever delivers events has made them so.
    migrated: bool,
    /// How many events each day had when its visits were last counted by this process.
    counted: HashMap<ZoneDay, u64>,
    /// When visits are counted again.
    visits_at: Instant,
    failed: bool,
}

impl Care {
    async fn look(&mut self) {
        if self.target.available().await.is_none() {
            return;
        }
        match self.care().await {
            Ok(()) => self.failed = false,
            Err(failure) if !self.failed => {
                self.failed = true;
                tracing::warn!(%failure, "visits cannot be counted; it is tried again");
            }
            Err(_) => {}
        }
    }

    async fn care(&mut self) -> Result<(), Failure> {
        let client = &self.target.client;
        self.migrated = self.migrated || matches!(migrate::version(client).await, Ok(version) if version == migrate::newest(MIGRATIONS));
        if !self.migrated || Clock::monotonic() < self.visits_at || days::is_filling(client).await? {
            return Ok(());
        }
        let held = days::held(&self.target.client).await?;
        self.counted.retain(|known, _| held.iter().any(|held| held.day == *known));
        let begun = Clock::monotonic();
        let counted = self.count_visits(&held).await;
        if counted != Ok(false) {
            self.visits_at = Clock::monotonic() + pause_after(begun.elapsed());
        }
        counted.map(drop)
    }

    /// Counts the visits of the days that have got events since they were last counted; whether there were any.
    async fn count_visits(&mut self, held: &[Held]) -> Result<bool, Failure> {
        let mut any = false;
        for Held { day, events } in held {
            if self.counted.get(day) == Some(events) {
                continue;
            }
            let as_of: UnixMillis = self.clock.now();
            visits::count(&self.target.client, day, *events).await?;
            days::say(&self.target.client, day, What::Visits, as_of).await?;
            self.counted.insert(day.clone(), *events);
            any = true;
        }
        Ok(any)
    }
}

/// Visits are computed anew as a whole, so the pause grows with what that took: they never cost more than a share of a core.
fn pause_after(took: Duration) -> Duration {
    VISITS_INTERVAL.max(took * VISITS_SHARE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counting_visits_pauses_a_minute_or_twenty_times_as_long_as_it_took() {
        for (took, pause) in [(0, 60), (2, 60), (3, 60), (4, 80), (30, 600)] {
            assert_eq!(pause_after(Duration::from_secs(took)), Duration::from_secs(pause));
        }
    }
}
