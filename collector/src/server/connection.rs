//! One connection: hyper on a socket that tells its [`Watch`] what passes through it.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::watch::{Stage, Watch, Watched};
use crate::limits::HEAD_BYTES;

/// Drives the connection until the client closes it, an answer is its last, or its watch says that it is late.
pub(super) async fn drive<F>(stream: TcpStream, watched: Watched, handle: impl Fn(Request<Incoming>) -> F)
where
    F: Future<Output = Result<Response<Full<Bytes>>, Infallible>>,
{
    let socket = Socket { stream, watch: Rc::clone(&watched), write_closed: false, read_closed: false };
    let mut connection = std::pin::pin!(
        http1::Builder::new()
            // The client may close its half as soon as it has asked; it also spares a read for each answer that is waited for.
            .half_close(true)
            .max_buf_size(HEAD_BYTES)
            // Answers are small: one buffer costs the kernel less than a list of them.
            .writev(false)
            .serve_connection(TokioIo::new(socket), service_fn(handle))
    );
    std::future::poll_fn(|context| {
        watched.remember(context);
        // A late body is the handler's to answer; everything else that is late is cut off.
        if watched.overdue() && watched.stage() != Stage::Body {
            return Poll::Ready(());
        }
        // hyper's error may quote the request and says nothing that the counters do not.
        connection.as_mut().poll(context).map(|_error| ())
    })
    .await;
}

/// A socket that tells its watch when bytes come and when answers have gone, and closes without cutting its last answer off.
struct Socket {
    stream: TcpStream,
    watch: Rc<Watch>,
    write_closed: bool,
    read_closed: bool,
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        match &buffer.filled()[before..] {
            [] => self.read_closed = true,
            bytes => self.watch.heard(bytes),
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.watch.wrote();
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, context: &mut Context<'_>, slices: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        self.watch.wrote();
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// hyper flushes when it has written all it had.
    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.watch.flushed();
        Poll::Ready(Ok(()))
    }

    /// Closes the writing half, then reads on until the client closes: a socket closed over unread bytes is reset, and the reset may overtake
    /// the answer (RFC 9112, 9.6).
    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.write_closed {
            ready!(Pin::new(&mut self.stream).poll_shutdown(context))?;
            self.write_closed = true;
            self.watch.enter(Stage::Linger);
        }
        let mut ignored = [std::mem::MaybeUninit::uninit(); 2_048];
        while !self.read_closed {
            let mut buffer = ReadBuf::uninit(&mut ignored);
            ready!(Pin::new(&mut self.stream).poll_read(context, &mut buffer))?;
            self.read_closed = buffer.filled().is_empty();
        }
        Poll::Ready(Ok(()))
    }
}
