//! The child's main and its accept loop.

use std::convert::Infallible;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::{Answer, DataLock, Engine, EngineError, Options, Service, ffi, limits, private_folder};

/// The main of `headcount engine`. Returns only when the engine could not start; else it ends the process when its standard input ends.
pub fn run(options: &Options) -> Result<(), EngineError> {
    check_socket_path(&options.socket)?;
    stay_out_of_core_dumps();
    stand_behind_the_collector();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(limits::INSERTS + limits::QUERIES + 2)
        .build()
        .map_err(EngineError::Service)?;
    let failed = runtime.block_on(live(options));
    let Err(error) = failed else { ffi::exit_now(0) };
    // A thread may still wait for the lock; it ends with the process.
    runtime.shutdown_background();
    Err(error)
}

async fn live(options: &Options) -> Result<(), EngineError> {
    let parent = Parent::watch();
    let data_path = options.data_path.clone();
    let lock = tokio::select! {
        lock = tokio::task::spawn_blocking(move || DataLock::take(&data_path)) => lock.map_err(io::Error::other).map_err(EngineError::Service)??,
        () = parent.gone() => return Ok(()),
    };
    let engine = Arc::new(Engine::open(options, &lock)?);
    let listener = listen(&options.socket)?;
    tracing::info!(version = engine.version(), "the engine is open");

    let service = Service::new(Arc::clone(&engine));
    let answer = move |request| {
        let service = service.clone();
        async move { service.answer(request).await }
    };
    serve(async || listener.accept().await.map(|(stream, _)| stream), answer, parent.gone()).await;

    // The lock outlives the socket: whoever finds the socket gone waits for the lock.
    let _ = std::fs::remove_file(&options.socket);
    close(engine).await;
    drop(lock);
    Ok(())
}

/// Closes ClickHouse, if its statements have ended; one that has not is cut off by the end of the process.
async fn close(engine: Arc<Engine>) {
    if let Some(engine) = Arc::into_inner(engine) {
        let closing = tokio::task::spawn_blocking(move || drop(engine));
        let _ = tokio::time::timeout(limits::STOP_DEADLINE, closing).await;
    }
}

/// The parent, as far as its end of our standard input shows.
struct Parent {
    gone: watch::Receiver<bool>,
}

impl Parent {
    /// Starts a thread that reads standard input until it ends. What is read means nothing.
    fn watch() -> Self {
        let (tell, gone) = watch::channel(false);
        std::thread::spawn(move || {
            let mut ignored = [0; 64];
            let mut input = io::stdin().lock();
            loop {
                match input.read(&mut ignored) {
                    Ok(1..) => {}
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Ok(0) | Err(_) => break,
                }
            }
            let _ = tell.send(true);
            // Whatever the rest of the process is caught in, it ends: twice the deadline, as finishing and closing each have one.
            std::thread::sleep(limits::STOP_DEADLINE * 2 + Duration::from_secs(1));
            ffi::exit_now(0);
        });
        Self { gone }
    }

    async fn gone(&self) {
        // An error means that the thread is gone, which it is only after the parent.
        let _ = self.gone.clone().wait_for(|gone| *gone).await;
    }
}

/// Accepts connections with `accept` and answers their requests with `answer` until `stop`; then lets requests finish until the deadline.
///
/// Bounded: at most [`limits::CONNECTIONS`] are open.
pub async fn serve<Stream, Handler, Reply>(accept: impl AsyncFn() -> io::Result<Stream>, answer: Handler, stop: impl Future<Output = ()>)
where
    Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    Handler: Fn(Request<Incoming>) -> Reply + Clone + Send + 'static,
    Reply: Future<Output = Response<Answer>> + Send + 'static,
{
    let mut stop = std::pin::pin!(stop);
    let (tell, stopping) = watch::channel(false);
    let mut open = JoinSet::new();
    loop {
        let room = open.len() < limits::CONNECTIONS;
        tokio::select! {
            () = &mut stop => break,
            Some(_) = open.join_next() => {}
            accepted = accept(), if room => match accepted {
                Ok(stream) => drop(open.spawn(connection(stream, answer.clone(), stopping.clone()))),
                // Out of descriptors, most likely: no reason to end, and none to spin.
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            },
        }
    }
    drop(answer);
    let _ = tell.send(true);
    let finish = async { while open.join_next().await.is_some() {} };
    if tokio::time::timeout(limits::STOP_DEADLINE, finish).await.is_err() {
        open.shutdown().await;
    }
}

/// Pause after an accept that failed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

async fn connection<Stream, Handler, Reply>(stream: Stream, answer: Handler, mut stopping: watch::Receiver<bool>)
where
    Stream: AsyncRead + AsyncWrite + Unpin + 'static,
    Handler: Fn(Request<Incoming>) -> Reply,
    Reply: Future<Output = Response<Answer>>,
{
    let service = service_fn(move |request| {
        let reply = answer(request);
        async { Ok::<_, Infallible>(reply.await) }
    });
    let mut connection = std::pin::pin!(http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service));
    tokio::select! {
        // How a connection ended is known to the client; the collector reports it from there.
        _ = connection.as_mut() => return,
        _ = stopping.wait_for(|stopping| *stopping) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = connection.await;
}

fn check_socket_path(socket: &Path) -> Result<(), EngineError> {
    let length = socket.as_os_str().as_bytes().len();
    if length > limits::SOCKET_PATH_BYTES {
        return Err(EngineError::SocketPath { path: socket.to_owned(), length });
    }
    Ok(())
}

/// Opens the socket. The lock on the data is held, so a socket file that lies there belongs to an engine that is gone.
fn listen(socket: &Path) -> Result<UnixListener, EngineError> {
    if let Some(folder) = socket.parent() {
        private_folder(folder)?;
    }
    match std::fs::symlink_metadata(socket) {
        Ok(found) if found.file_type().is_socket() => std::fs::remove_file(socket).map_err(EngineError::path(socket))?,
        Ok(_) | Err(_) => {}
    }
    UnixListener::bind(socket).map_err(EngineError::path(socket))
}

/// Rows pass through this memory: neither a core file nor another process of the user may hold them. A system that refuses has its reasons.
fn stay_out_of_core_dumps() {
    use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
}

/// Where cores are scarce an event is acknowledged first: what is counted a little later waits on the disk meanwhile. Threads inherit it. It is a wish.
fn stand_behind_the_collector() {
    let _ = rustix::process::nice(limits::NICENESS);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_path_that_does_not_fit_is_refused_before_anything_starts() {
        let path = |length| std::path::PathBuf::from("/".to_owned() + &"s".repeat(length - 1));
        assert!(check_socket_path(&path(limits::SOCKET_PATH_BYTES)).is_ok());
        let options = Options {
            library: "missing".into(),
            data_path: "/nowhere".into(),
            socket: path(limits::SOCKET_PATH_BYTES + 1),
            memory_bytes: 0,
        };
        let error = run(&options).unwrap_err().to_string();
        assert!(error.contains("108 bytes long") && error.contains("at most 107"), "{error}");
    }
}
