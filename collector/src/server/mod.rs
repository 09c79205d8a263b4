//! The listeners. The public one takes events; the private one shows the operator what has become of them.
//!
//! Every worker thread has a public listener of its own on the same port (`SO_REUSEPORT`), a runtime of its own, and connections that never leave it. A request
//! touches no lock and no memory of another core, arms no timer and starts no task: deadlines are stages that one sweep a worker compares ([`watch`]), bodies
//! are charged to a lease ([`limits`]), and the answer is awaited from the worker itself ([`Intake`]).

mod connection;
pub mod limits;
pub mod metrics;
mod overview;
pub mod private;
mod request;
mod response;
mod route;
mod script;
pub mod share;
#[cfg(test)]
#[expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "tests connect from addresses of their own, and own the tasks they start"
)]
mod tests;
mod token;
mod watch;

use std::io;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use hyper::HeaderMap;
use hyper::body::Incoming;
use socket2::{Domain, Protocol as Transport, Socket, Type};
use tokio::net::{TcpListener, TcpStream};

pub use request::{Arrival, Protocol};
pub use response::Answer;
pub use route::{Pages, Paths};

use crate::clock::Clock;
use crate::limits::BACKLOG;
use crate::outcome::Refused;
use crate::privacy::raw::{Peer, Visitor};
use limits::{BodyBudget, BodyLease, Limits};
use metrics::{Counts, Ended};
use response::{Answered, Fault};
use watch::{Connections, Stage, Watched};

/// Who takes what the public listener receives: a worker's end of the pipeline. Lives on the worker's thread.
pub trait Intake: 'static {
    /// The visitor behind a request: the peer, or whom a trusted proxy names.
    fn visitor<'a>(&self, peer: &Peer, headers: &'a HeaderMap) -> Visitor<'a>;

    /// Takes an arrival through the pipeline, at once. What it returns holds nothing of the arrival, and resolves when whatever of it is to be kept is synced to
    /// disk. Never dropped before, unless the connection is past its deadline.
    fn take(&self, arrival: Arrival<'_>) -> impl Future<Output = Answer> + use<Self>;

    /// Counts a request that carried events and could not be read to its end.
    fn refuse(&self, reason: Refused);
}

/// What one worker's listener is made of.
pub struct Public<I> {
    /// Where arrivals go.
    pub intake: Rc<I>,
    /// What is served besides; the same for all workers.
    pub pages: Arc<Pages>,
    /// Bytes of bodies; the same for all workers.
    pub budget: BodyBudget,
    /// This worker's bounds.
    pub limits: Limits,
    /// This worker's counters.
    pub counts: Arc<Counts>,
    /// The time.
    pub clock: Clock,
}

struct Shared<I> {
    intake: Rc<I>,
    pages: Arc<Pages>,
    lease: Rc<BodyLease>,
    counts: Arc<Counts>,
    clock: Clock,
}

/// After a failure to accept, for want of file descriptors for example.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// One listener a worker, all on the same address. With port 0 the first decides and the others follow.
///
/// Fails with [`io::ErrorKind::AddrInUse`] if another process listens there, which `SO_REUSEPORT` alone would not tell.
pub fn bind(address: SocketAddr, workers: usize) -> io::Result<Vec<std::net::TcpListener>> {
    let probe = socket(address)?;
    probe.bind(&address.into())?;
    drop(probe);
    let mut address = address;
    let mut listeners = Vec::with_capacity(workers);
    for _ in 0..workers {
        let socket = socket(address)?;
        socket.set_reuse_port(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        let listener = std::net::TcpListener::from(socket);
        address = listener.local_addr()?;
        listeners.push(listener);
    }
    Ok(listeners)
}

fn socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Transport::TCP))?;
    // A restart must not wait for connections of the process before.
    socket.set_reuse_address(true)?;
    Ok(socket)
}

/// Serves a worker's public listener until `shutdown` resolves, then answers what has been asked and returns once every connection has ended, at the
/// latest after [`Limits::drain`]. Must run inside a [`tokio::task::LocalSet`].
pub async fn serve_public<I: Intake>(
    public: Public<I>,
    listener: std::net::TcpListener,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let limits = public.limits;
    let connections = Connections::new(limits, Arc::clone(&public.counts));
    let shared = Rc::new(Shared {
        intake: public.intake,
        pages: public.pages,
        lease: Rc::new(BodyLease::new(public.budget)),
        counts: public.counts,
        clock: public.clock,
    });
    tokio::select! {
        () = accept(&shared, &connections, &listener) => {}
        () = connections.sweep() => {}
        () = shutdown => {}
    }
    connections.begin_drain();
    accept_queued(&shared, &connections, listener).await;
    tokio::select! {
        () = connections.empty() => return Ok(()),
        () = connections.sweep() => {}
        () = tokio::time::sleep(limits.drain) => {}
    }
    connections.end_all();
    connections.empty().await;
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "this is the accept loop that turns addresses into raw types")]
async fn accept<I: Intake>(shared: &Rc<Shared<I>>, connections: &Rc<Connections>, listener: &TcpListener) {
    loop {
        match listener.accept().await {
            Ok((stream, address)) => open(shared, connections, stream, address),
            Err(error) if is_of_one_connection(&error) => {}
            Err(_) => {
                // Most likely out of file descriptors: the oldest idle connections give theirs back, and no loop spins meanwhile.
                shared.counts.accept_failed();
                connections.evict_oldest();
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// The kernel has shaken hands with whoever is in the queue: closing the listener over them would reset them.
async fn accept_queued<I: Intake>(shared: &Rc<Shared<I>>, connections: &Rc<Connections>, listener: TcpListener) {
    let mut accepted = std::pin::pin!(accept(shared, connections, &listener));
    // One poll accepts until the queue is empty; the second, after the runtime has looked at its sockets, takes who came in between.
    for _ in 0..2 {
        std::future::poll_fn(|context| {
            let _waiting = accepted.as_mut().poll(context);
            Poll::Ready(())
        })
        .await;
        tokio::task::yield_now().await;
    }
}

/// Errors of a connection that was gone before it was accepted; the listener is well.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused)
}

#[expect(clippy::disallowed_methods, reason = "the table of connections owns the task: `serve_public` waits until it is empty")]
fn open<I: Intake>(shared: &Rc<Shared<I>>, connections: &Rc<Connections>, stream: TcpStream, address: SocketAddr) {
    let peer = Peer::tcp(address);
    let Some(watched) = connections.admit() else { return };
    // Answers are small and complete: waiting to fill a packet would only delay them. A socket that refuses is already gone.
    let _gone = stream.set_nodelay(true);
    tokio::task::spawn_local(serve_connection(Rc::clone(shared), stream, watched, Rc::new(peer)));
}

async fn serve_connection<I: Intake>(shared: Rc<Shared<I>>, stream: TcpStream, watched: Watched, peer: Rc<Peer>) {
    let watch = Rc::clone(&watched);
    let handle = |request: hyper::Request<Incoming>| {
        let (shared, peer, watch) = (Rc::clone(&shared), Rc::clone(&peer), Rc::clone(&watch));
        async move {
            let handler = std::pin::pin!(route::handle(&shared, &peer, &watch, request));
            Ok(unwinding(handler).await.unwrap_or_else(|Panicked| {
                shared.counts.ended(Ended::Panicked);
                shared.counts.answered(Fault::Broken.status());
                watch.enter(Stage::Answer);
                response::fault(Fault::Broken)
            }))
        }
    };
    connection::drive(stream, watched, handle).await;
}

struct Panicked;

/// A panic in a handler ends its request and its connection, nothing else: a handler shares with others only what it leaves whole at each step.
async fn unwinding(mut handler: Pin<&mut impl Future<Output = Answered>>) -> Result<Answered, Panicked> {
    std::future::poll_fn(|context| match std::panic::catch_unwind(AssertUnwindSafe(|| handler.as_mut().poll(context))) {
        Ok(poll) => poll.map(Ok),
        Err(_panic) => Poll::Ready(Err(Panicked)),
    })
    .await
}
