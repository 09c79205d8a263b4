//! A stand-in for a plain ClickHouse server: the engine over loopback TCP, behind a user and a password, taking compressed rows.
//!
//! Arguments: those of the engine (the socket's path is not used), then the port (0: any), the user and the password. It prints its port and
//! lives until its standard input ends. Checksums of compressed blocks are not compared: the tests' network loses nothing.

use std::io::{Read, Write};
use std::sync::Arc;

use bytes::Bytes;
use headcount_engine::{Answer, DataLock, Engine, Options, Service, serve};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::{Request, Response, StatusCode};
use tokio::net::TcpListener;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut arguments = std::env::args_os().skip(1);
    let options = Options::from_arguments(arguments.by_ref().take(4)).expect("the arguments of an engine");
    let mut text = || arguments.next().and_then(|text| text.into_string().ok()).expect("port, user and password");
    let (port, user, password) = (text().parse::<u16>().expect("a port"), text(), text());

    let lock = DataLock::take(&options.data_path).expect("the lock");
    let service = Service::new(Arc::new(Engine::open(&options, &lock).expect("the engine")));
    let listener = TcpListener::bind(("127.0.0.1", port)).await.expect("a port");
    writeln!(std::io::stdout(), "{}", listener.local_addr().expect("an address").port()).expect("a reader");

    let answer = move |request: Request<Incoming>| {
        let is = |name, value: &str| request.headers().get(name).is_some_and(|sent| sent == value);
        let known = is("x-clickhouse-user", &user) && is("x-clickhouse-key", &password);
        let service = service.clone();
        async move { if known { respond(&service, request).await } else { refused(&service).await } }
    };
    serve(accept(&listener), answer, parent_gone()).await;
    drop(lock);
}

#[expect(clippy::disallowed_methods, reason = "a server of tests; the addresses it meets are its own machine's")]
fn accept(listener: &TcpListener) -> impl AsyncFn() -> std::io::Result<tokio::net::TcpStream> {
    async || listener.accept().await.map(|(stream, _)| stream)
}

async fn respond(service: &Service, request: Request<Incoming>) -> Response<Answer> {
    let query = request.uri().query().unwrap_or_default();
    if !query.split('&').any(|pair| pair == "decompress=1") {
        return service.answer(request).await;
    }
    let uri = format!("/?{}", query.split('&').filter(|pair| *pair != "decompress=1").collect::<Vec<_>>().join("&"));
    let (head, body) = request.into_parts();
    let Some(rows) = body.collect().await.ok().and_then(|body| decompress(&body.to_bytes())) else {
        // Half an insert is no insert: a server says so, and never that it has it.
        let sql = "SELECT throwIf(1, 'The rows ended early', toInt16(210)) SETTINGS allow_custom_error_code_in_throwif = 1";
        return service.answer(Request::new(Full::new(Bytes::from_static(sql.as_bytes())))).await;
    };
    let mut request = Request::new(Full::new(rows));
    *request.method_mut() = head.method;
    *request.uri_mut() = uri.parse().expect("a part of a target is one");
    service.answer(request).await
}

/// The blocks of ClickHouse's compressed format: 16 bytes of checksum, 0x82 for LZ4, the compressed size with these nine bytes, the raw size.
fn decompress(mut blocks: &[u8]) -> Option<Bytes> {
    let mut rows = Vec::new();
    while !blocks.is_empty() {
        let size = |at: usize| Some(u32::from_le_bytes(blocks.get(at..at + 4)?.try_into().ok()?) as usize);
        let (compressed, raw) = (size(17)?, size(21)?);
        assert_eq!(blocks[16], 0x82, "LZ4");
        rows.extend(lz4_flex::block::decompress(blocks.get(25..16 + compressed)?, raw).ok()?);
        blocks = &blocks[16 + compressed..];
    }
    Some(rows.into())
}

/// What a server says to a wrong password.
async fn refused(service: &Service) -> Response<Answer> {
    let sql = "SELECT throwIf(1, 'Authentication failed', toInt16(516)) SETTINGS allow_custom_error_code_in_throwif = 1";
    let mut response = service.answer(Request::new(Full::new(Bytes::from_static(sql.as_bytes())))).await;
    *response.status_mut() = StatusCode::FORBIDDEN;
    response.headers_mut().insert("x-clickhouse-exception-code", 516.into());
    response
}

async fn parent_gone() {
    let (tell, gone) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        let _ = tell.send(());
    });
    let _ = gone.await;
}
