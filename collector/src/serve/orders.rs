//! What an operator has ordered about parked segments, carried out while the collector runs.

use std::sync::Arc;

use tokio::sync::mpsc::UnboundedSender;
use tokio::task::JoinHandle;

use crate::limits::ORDERS_INTERVAL;
use crate::shutdown::Stop;
use crate::spool::parked::{Done, Order};
use crate::spool::{Sealed, Spool};

/// Looks for orders until the order to stop; what goes back is given to the sink by `sealed`. Orders that come later are for the next start.
#[expect(clippy::disallowed_methods, reason = "the caller waits for the task")]
pub(super) fn start(spool: Arc<Spool>, sealed: UnboundedSender<Sealed>, mut stop: Stop) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut failed = false;
        loop {
            tokio::select! {
                () = stop.ordered() => return,
                () = tokio::time::sleep(ORDERS_INTERVAL) => {}
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
