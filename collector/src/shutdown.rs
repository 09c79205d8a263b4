//! The order to stop, and the signals that give it.
//!
//! SIGTERM and SIGINT stop the process in order: stop accepting, finish requests, seal the spool, flush the sink, exit. SIGHUP reads the
//! configuration again. Everything that runs long holds a [`Stop`] and ends when it is ordered; whoever started it waits for it.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// What the operator wants of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// End, in order.
    Stop,
    /// Read the configuration again.
    Reload,
}

/// The signals of this process. From its making on, SIGHUP no longer ends the process.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    /// Takes the signals over. Needs a running runtime.
    pub fn take() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for the next order.
    pub async fn next(&mut self) -> Order {
        tokio::select! {
            _ = self.terminate.recv() => Order::Stop,
            _ = self.interrupt.recv() => Order::Stop,
            _ = self.hang_up.recv() => Order::Reload,
        }
    }
}

/// The end that orders the stop. Dropping it orders it too, so that an owner that fails takes its tasks with it.
#[derive(Debug)]
pub struct Stopper(watch::Sender<bool>);

/// The end that waits for the order; every task has one.
#[derive(Clone, Debug)]
pub struct Stop(watch::Receiver<bool>);

/// A new order that nobody has given yet.
pub fn pair() -> (Stopper, Stop) {
    let (order, ordered) = watch::channel(false);
    (Stopper(order), Stop(ordered))
}

impl Stopper {
    /// Gives the order.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
}

impl Stop {
    /// Waits until the order is given; returns at once ever after.
    pub async fn ordered(&mut self) {
        // An error is a dropped `Stopper`, which is an order.
        let _ = self.0.wait_for(|ordered| *ordered).await;
    }

    /// Whether the order was given.
    pub fn is_ordered(&self) -> bool {
        *self.0.borrow() || self.0.has_changed().is_err()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_order_reaches_every_holder_once_and_for_all() {
        let (stopper, mut stop) = pair();
        let mut other = stop.clone();
        assert!(!stop.is_ordered());
        stopper.stop();
        stop.ordered().await;
        stop.ordered().await;
        other.ordered().await;
        assert!(stop.is_ordered());
    }

    #[tokio::test]
    async fn an_owner_that_is_gone_has_ordered_the_stop() {
        let (stopper, mut stop) = pair();
        drop(stopper);
        assert!(stop.is_ordered());
        stop.ordered().await;
    }

    #[tokio::test]
    async fn signals_are_orders() {
        let mut signals = Signals::take().unwrap();
        let own = rustix::process::getpid();
        for (sent, order) in [
            (rustix::process::Signal::HUP, Order::Reload),
            (rustix::process::Signal::TERM, Order::Stop),
            (rustix::process::Signal::INT, Order::Stop),
        ] {
            rustix::process::kill_process(own, sent).unwrap();
            assert_eq!(signals.next().await, order);
        }
    }
}
