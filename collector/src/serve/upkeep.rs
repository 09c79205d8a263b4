//! What is done once in a while beside the requests: keys turn at midnight, old days are forgotten, and the operator is warned once of what would
//! silently spoil every figure.

use std::sync::Arc;
use std::time::Duration;

use crate::metrics::{AllEventCounts, Noted};
use crate::shutdown::Stop;
use crate::spool::Seen;
use crate::worker::Shared;

/// How often anything is looked at. Midnight itself waits for nobody: a worker that meets it first turns the keys.
const INTERVAL: Duration = Duration::from_secs(1);

/// Runs until the order to stop.
pub(super) async fn run(shared: Arc<Shared>, events: AllEventCounts, close_after_hours: u16, seen: Arc<Seen>, mut stop: Stop) {
    let mut warned = false;
    loop {
        tokio::select! {
            () = stop.ordered() => return,
            () = tokio::time::sleep(INTERVAL) => {}
        }
        shared.turn_keys(shared.clock.now());
        seen.forget_old(shared.clock.now());
        shared.forget_closed_days(close_after_hours.div_ceil(24));
        if !warned && events.noted(Noted::ForwardingIgnoredPrivate) > 0 {
            warned = true;
            tracing::warn!(
                "a peer in a private network sends a forwarding header and is not trusted: all its visitors count as one; if it is your proxy, set `proxy`"
            );
        }
    }
}
