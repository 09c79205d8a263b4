//! What becomes of segments that nobody is sending: what an operator has ordered about parked ones, what a week has made of any, and what the disk did not
//! let recovery have.

use std::sync::Arc;

use tokio::sync::mpsc::UnboundedSender;
use tokio::task::JoinHandle;

use crate::clock::{Clock, UnixMillis};
use crate::limits::{LEFT_AGAIN_INTERVAL, ORDERS_INTERVAL, STRIP_INTERVAL};
use crate::shutdown::Stop;
use crate::spool::parked::{Done, Order};
use crate::spool::strip::Stripped;
use crate::spool::{Sealed, Spool};

/// Looks for orders, and for what has waited too long, until the order to stop; what goes back is given to the sink by `sealed`. What comes later is for the
/// next start.
#[expect(clippy::disallowed_methods, reason = "the caller waits for the task")]
pub(super) fn start(spool: Arc<Spool>, clock: Clock, sealed: UnboundedSender<Sealed>, mut stop: Stop) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut failed = false;
        let mut strip_at = Clock::monotonic();
        let mut again = Clock::monotonic() + LEFT_AGAIN_INTERVAL;
        loop {
            if Clock::monotonic() >= strip_at {
                strip_at += STRIP_INTERVAL;
                let (spool, now) = (Arc::clone(&spool), clock.now());
                let stripping = tokio::task::spawn_blocking(move || strip(&spool, now));
                // Nothing but a panic in it ends it early, and that is in the log.
                let _ = stripping.await;
            }
            tokio::select! {
                () = stop.ordered() => return,
                () = tokio::time::sleep(ORDERS_INTERVAL) => {}
            }
            if spool.left() > 0 && Clock::monotonic() >= again {
                let (spool, sealed) = (Arc::clone(&spool), sealed.clone());
                // Without a sink it waits in the spool for the next start.
                let _ = tokio::task::spawn_blocking(move || spool.take_over_left(|segment| drop(sealed.send(segment)))).await;
                again = Clock::monotonic() + LEFT_AGAIN_INTERVAL;
            }
            let (spool, sealed) = (Arc::clone(&spool), sealed.clone());
            match tokio::task::spawn_blocking(move || spool.obey(|done| follow(done, &sealed))).await {
                Ok(Ok(())) => failed = false,
                Ok(Err(error)) if !failed => {
                    failed = true;
                    tracing::error!(kind = ?error.kind(), "an order about a parked segment cannot be carried out; it is tried again");
                }
                Ok(Err(_)) | Err(_) => {}
            }
        }
    })
}

fn strip(spool: &Spool, now: UnixMillis) {
    match spool.strip(now) {
        Ok(Stripped { events: 0, pieces: 0 }) => {}
        Ok(Stripped { events, pieces }) => {
            tracing::error!(
                events,
                pieces,
                "events have waited for a week: they go on without their pseudonyms, and damaged pieces that old are gone"
            );
        }
        Err(error) => {
            tracing::error!(kind = ?error.kind(), "what has waited for a week cannot be stripped of its pseudonyms; it is tried again");
        }
    }
}

fn follow(Done { header, order, events, sealed: segment }: Done, sealed: &UnboundedSender<Sealed>) {
    let batch = header.map(|header| header.batch);
    match order {
        Order::Redrive => tracing::info!(batch, events, "a parked segment was given back by the operator"),
        Order::Drop => tracing::warn!(batch, events, "a parked segment was given up by the operator"),
    }
    if let Some(segment) = segment {
        // Without a sink it waits in the spool for the next start.
        let _ = sealed.send(segment);
    }
}
