//! The worker threads: each has a runtime, a listener and a log of its own, and nothing that it would have to ask another thread for.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::sync::mpsc::UnboundedSender;
use tokio::task::LocalSet;

use super::ServeError;
use crate::metrics::AllEventCounts;
use crate::server::limits::{BodyBudget, Limits};
use crate::server::metrics::Counts;
use crate::server::{self, Pages, Public};
use crate::shutdown::Stop;
use crate::spool::{Log, Rest, Sealed, Spool};
use crate::worker::{Shared, Worker};

/// What every worker is given.
pub(super) struct Kit {
    pub(super) shared: Arc<Shared>,
    pub(super) spool: Arc<Spool>,
    pub(super) pages: Arc<Pages>,
    pub(super) budget: BodyBudget,
    pub(super) sealed: UnboundedSender<Sealed>,
    pub(super) events: AllEventCounts,
    pub(super) connections: Vec<Arc<Counts>>,
    pub(super) stop: Stop,
    /// Told when a worker ends, which it should not unless it was told to.
    pub(super) trouble: UnboundedSender<ServeError>,
}

/// Starts a thread for each listener. A thread ends once it was told to stop, has answered what was asked and has sealed its log.
pub(super) fn start(kit: Kit, listeners: Vec<std::net::TcpListener>) -> io::Result<Vec<JoinHandle<io::Result<()>>>> {
    let kit = Arc::new(kit);
    let workers = listeners.len();
    let thread = |(index, listener)| {
        let kit = Arc::clone(&kit);
        std::thread::Builder::new().name(format!("worker-{index}")).spawn(move || {
            let _telling = Telling(kit.trouble.clone());
            work(&kit, index, workers, listener)
        })
    };
    listeners.into_iter().enumerate().map(thread).collect()
}

/// Says that its thread has ended, however it ends.
struct Telling(UnboundedSender<ServeError>);

impl Drop for Telling {
    fn drop(&mut self) {
        // Nobody listens once the process is stopping.
        let _ = self.0.send(ServeError::WorkerEnded);
    }
}

fn work(kit: &Kit, index: usize, workers: usize, listener: std::net::TcpListener) -> io::Result<()> {
    let (runtime, rest) = Rest::runtime()?;
    LocalSet::new().block_on(&runtime, async {
        let log = Log::resting(Arc::clone(&kit.spool), kit.shared.clock.clone(), rest);
        let worker = Worker::new(Arc::clone(&kit.shared), Rc::clone(&log), kit.events.worker(index));
        let public = Public {
            intake: Rc::new(worker),
            pages: Arc::clone(&kit.pages),
            budget: kit.budget.clone(),
            limits: Limits::for_one_of(workers),
            counts: Arc::clone(&kit.connections[index]),
            clock: kit.shared.clock.clone(),
        };
        let mut stop = kit.stop.clone();
        let serving = async {
            let served = server::serve_public(public, listener, stop.ordered()).await;
            log.close();
            served
        };
        let mut logging = std::pin::pin!(Rc::clone(&log).run(index, kit.sealed.clone()));
        tokio::select! {
            // Without its log a worker would take events and never answer them.
            logged = &mut logging => logged.and(Err(io::ErrorKind::BrokenPipe.into())),
            served = serving => served.and(logging.await),
        }
    })
}
