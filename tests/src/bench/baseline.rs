//! The baseline: a bare hyper server on one current-thread runtime that reads the body and answers 202. Nothing that keeps a promise can cost less.

use std::convert::Infallible;
use std::io;

use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

/// Serves for ever; prints its address first.
pub fn serve() -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        announce(&listener)?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            tokio::task::spawn_local(async move {
                // A client that goes away ends its connection; that is all there is to it.
                let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer)).await;
            });
        }
    })
}

#[expect(clippy::print_stdout, reason = "the benchmark reads the address from this line")]
fn announce(listener: &TcpListener) -> io::Result<()> {
    println!("visitors http://{}", listener.local_addr()?);
    Ok(())
}

async fn answer(request: Request<Incoming>) -> Result<Response<Empty<Bytes>>, Infallible> {
    let body = request.into_body().collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let status = if body.is_empty() { StatusCode::BAD_REQUEST } else { StatusCode::ACCEPTED };
    let mut response = Response::new(Empty::new());
    *response.status_mut() = status;
    Ok(response)
}
