//! The client of ClickHouse: one kind for the embedded engine (a Unix socket) and for a server (a URL).
//!
//! Every way to wait has a bound: connecting here, inserts by [`insert`], other statements by [`within`] and, on ClickHouse's side, by
//! `max_execution_time`. Errors of the `clickhouse` crate may quote data: turn them into closed enums where they are met.

use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use clickhouse::insert_formatted::InsertFormatted;
use clickhouse::{Client, Compression};
use http_body_util::Empty;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::{Request, Uri};
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::client::legacy::{Builder, Client as HttpClient};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::UnixStream;

use crate::config::ClickHouse;
use crate::{leak, limits};

/// What stands for the engine in a URL; the socket decides who is reached.
const ENGINE_URL: &str = "http://engine/";

/// A client of the engine behind `socket`. Its rows are not compressed: they stay in this machine's memory.
pub fn embedded(socket: &Path) -> Client {
    of_engine(Client::with_http_client(pool().build(UnixConnector { socket: socket.into() })))
}

/// Lines to the engine behind `socket`.
pub fn embedded_lines(socket: &Path) -> Lines {
    let connector = UnixConnector { socket: socket.into() };
    Lines::new(move || of_engine(Client::with_http_client(pool().build(One::of(connector.clone())))))
}

fn of_engine(client: Client) -> Client {
    configured(client).with_url(ENGINE_URL).with_compression(Compression::None)
}

/// A client of the server that the configuration names, and lines to it. Rows are compressed with LZ4; the database need not exist yet.
///
/// # Errors
/// When the system's trusted certificates cannot be read, which `https` needs.
pub fn server(server: &ClickHouse) -> io::Result<(Client, Lines)> {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(limits::DATABASE_CONNECT_DEADLINE));
    tcp.set_keepalive(Some(limits::DATABASE_CONNECT_DEADLINE));
    let config = server.clone();
    let at_server = move |client| {
        let client = configured(client).with_url(&*config.url).with_user(&*config.user).with_password(config.password.reveal());
        client.with_compression(Compression::Lz4)
    };
    if server.url.starts_with("https:") {
        let tls = hyper_rustls::HttpsConnectorBuilder::new().with_native_roots()?.https_only().enable_http1().wrap_connector(tcp);
        let pooled = at_server(Client::with_http_client(pool().build(tls.clone())));
        return Ok((pooled, Lines::new(move || at_server(Client::with_http_client(pool().build(One::of(tls.clone())))))));
    }
    let pooled = at_server(Client::with_http_client(pool().build(tcp.clone())));
    Ok((pooled, Lines::new(move || at_server(Client::with_http_client(pool().build(One::of(tcp.clone())))))))
}

/// Makes clients that open one connection each and no other: what is sent over it reaches the process at its other end, or nobody. A process that
/// dies takes its connections along, so whoever has asked it who it is knows who is told everything that follows.
#[derive(Clone)]
pub struct Lines(Arc<dyn Fn() -> Client + Send + Sync>);

impl Lines {
    fn new(make: impl Fn() -> Client + Send + Sync + 'static) -> Self {
        Self(Arc::new(make))
    }

    /// A client whose connection is not open yet.
    pub fn one(&self) -> Client {
        (self.0)()
    }
}

impl std::fmt::Debug for Lines {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Lines")
    }
}

/// `client` for SQL that a person wrote: it reads tables, and changes nothing.
#[must_use]
pub fn read_only(client: &Client) -> Client {
    client.clone().with_setting("readonly", "1")
}

/// An INSERT of rows that are already encoded; `sql` ends with `FORMAT RowBinary`. Its settings are the caller's.
pub fn insert(client: &Client, sql: impl Into<String>) -> InsertFormatted {
    let (send, end) = if leak::planted("impatient") {
        (Duration::from_secs(1), Duration::from_secs(2))
    } else {
        (limits::INSERT_SEND_DEADLINE, limits::INSERT_END_DEADLINE)
    };
    client.insert_formatted_with(sql).with_timeouts(Some(send), Some(end))
}

/// Waits for a statement, at most [`limits::STATEMENT_DEADLINE`].
///
/// # Errors
/// The statement's own, or [`clickhouse::error::Error::TimedOut`].
pub async fn within<T>(statement: impl Future<Output = clickhouse::error::Result<T>>) -> clickhouse::error::Result<T> {
    // A little longer than ClickHouse gives itself, so that its own answer is heard.
    let deadline = limits::STATEMENT_DEADLINE + limits::DATABASE_CONNECT_DEADLINE;
    tokio::time::timeout(deadline, statement).await.unwrap_or(Err(clickhouse::error::Error::TimedOut))
}

fn configured(client: Client) -> Client {
    client
        .with_product_info("headcount", env!("CARGO_PKG_VERSION"))
        .with_setting("max_execution_time", limits::STATEMENT_DEADLINE.as_secs().to_string())
}

fn pool() -> Builder {
    let mut builder = HttpClient::builder(TokioExecutor::new());
    builder
        .pool_timer(TokioTimer::new())
        // Shorter than the three seconds after which a server closes an idle connection by default: it is never used while it is closed.
        .pool_idle_timeout(Duration::from_secs(2))
        .pool_max_idle_per_host(limits::DATABASE_IDLE_CONNECTIONS);
    builder
}

/// Asks the engine whether it answers, and who it is.
#[derive(Clone, Debug)]
pub struct Pinger {
    client: HttpClient<UnixConnector, Empty<Bytes>>,
}

impl Pinger {
    /// A pinger for the engine behind `socket`.
    pub fn new(socket: &Path) -> Self {
        Self { client: pool().pool_max_idle_per_host(0).build(UnixConnector { socket: socket.into() }) }
    }

    /// The process that answers; `None` when none does.
    pub async fn process(&self) -> Option<u32> {
        let request = Request::get(format!("{ENGINE_URL}ping")).body(Empty::new()).ok()?;
        let response = tokio::time::timeout(limits::DATABASE_CONNECT_DEADLINE, self.client.request(request)).await.ok()?.ok()?;
        response.headers().get(headcount_engine::PROCESS_HEADER)?.to_str().ok()?.parse().ok()
    }
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Connects once. A client that asks for a second connection waits a moment, in which the first may become free again, and then fails.
#[derive(Clone)]
struct One<C> {
    connector: C,
    opened: Arc<AtomicBool>,
}

impl<C> One<C> {
    fn of(connector: C) -> Self {
        Self { connector, opened: Arc::default() }
    }
}

impl<C> tower_service::Service<Uri> for One<C>
where
    C: tower_service::Service<Uri>,
    C::Error: Into<BoxError>,
    C::Future: Send + 'static,
{
    type Response = C::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<C::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.connector.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        if self.opened.swap(true, Ordering::Relaxed) {
            return Box::pin(async {
                tokio::time::sleep(limits::DATABASE_LINE_GONE_AFTER).await;
                Err("the connection is gone".into())
            });
        }
        let connecting = self.connector.call(uri);
        Box::pin(async { connecting.await.map_err(Into::into) })
    }
}

/// Connects to one Unix socket, whatever the URL says.
#[derive(Clone, Debug)]
struct UnixConnector {
    socket: Arc<Path>,
}

impl tower_service::Service<Uri> for UnixConnector {
    type Response = UnixConnection;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<UnixConnection>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let socket: PathBuf = self.socket.to_path_buf();
        Box::pin(async move {
            let connecting = tokio::time::timeout(limits::DATABASE_CONNECT_DEADLINE, UnixStream::connect(socket));
            Ok(UnixConnection(TokioIo::new(connecting.await??)))
        })
    }
}

/// A connection to the engine; the type only tells hyper-util that there is nothing to tell.
struct UnixConnection(TokioIo<UnixStream>);

impl Connection for UnixConnection {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl Read for UnixConnection {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl Write for UnixConnection {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, context: &mut Context<'_>, parts: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(context, parts)
    }
}
