//! The service: one HTTP request is one statement; its answer is ClickHouse's.
//!
//! Statements run on blocking threads. Inserts have threads of their own, so that slow queries, however many, never keep an insert waiting.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body, Frame};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Request, Response, StatusCode};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::Sleep;

use crate::Engine;
use crate::exception::Exception;
use crate::limits;
use crate::request::{Asked, Form, Malformed};
use crate::statement::Statement;

/// The header of a `/ping` answer that names the process: a parent must not take an earlier child, which may still be ending, for its own.
pub const PROCESS_HEADER: &str = "x-headcount-process";

/// Answers requests with an [`Engine`]. Cheap to clone; all clones share the same bounds.
#[derive(Clone)]
pub struct Service {
    engine: Arc<Engine>,
    inserts: Arc<Semaphore>,
    queries: Arc<Semaphore>,
}

impl Service {
    /// A service on `engine`.
    pub fn new(engine: Arc<Engine>) -> Self {
        let permits = |count| Arc::new(Semaphore::new(count));
        Self { engine, inserts: permits(limits::INSERTS), queries: permits(limits::QUERIES) }
    }

    /// Answers one request. Needs a tokio runtime; never fails, as errors are answers.
    pub async fn answer<B>(&self, request: Request<B>) -> Response<Answer>
    where
        B: Body<Data = Bytes> + Send + Unpin,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let uri = request.uri();
        if uri.path() == "/ping" {
            let mut pong = whole(StatusCode::OK, "Ok.\n");
            pong.headers_mut().insert(PROCESS_HEADER, std::process::id().into());
            return pong;
        }
        if uri.path() != "/" {
            return whole(StatusCode::NOT_FOUND, "There is nothing here.\n");
        }
        match Asked::read(uri.query().unwrap_or_default()).map(Asked::form) {
            Ok(Form::Insert(statement)) => self.insert(statement, request.into_body()).await,
            Ok(Form::Sql(asked)) => self.query(asked, request).await,
            Err(malformed) => refuse(malformed),
        }
    }

    async fn insert<B: Body<Data = Bytes> + Unpin>(&self, statement: Statement, mut body: B) -> Response<Answer> {
        let permit = permit(&self.inserts).await;
        let (rows, mut pieces) = mpsc::channel::<Piece>(limits::PIECES);
        let engine = Arc::clone(&self.engine);
        let running = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            statement.insert(&engine, move || match pieces.blocking_recv() {
                Some(Piece::Rows(bytes)) => Ok(Some(bytes)),
                Some(Piece::End) => Ok(None),
                // The sender is gone before the end: the client went away. Half an insert is no insert.
                None => Err(Exception::of(210, "the rows of the insert ended early", "NETWORK_ERROR")),
            })
        });
        let complete = loop {
            match body.frame().await {
                // After a failed insert nobody takes the rows; they are read to their end all the same, or the client could not hear why.
                Some(Ok(frame)) => {
                    if let Ok(bytes) = frame.into_data() {
                        let _ = rows.send(Piece::Rows(bytes)).await;
                    }
                }
                Some(Err(_)) => break false,
                None => break true,
            }
        };
        if complete {
            let _ = rows.send(Piece::End).await;
        }
        drop(rows);
        match running.await {
            Ok(Ok(())) => whole(StatusCode::OK, ""),
            Ok(Err(exception)) => failed(&exception),
            Err(_) => failed(&Exception::unknown()),
        }
    }

    async fn query<B>(&self, asked: Asked, request: Request<B>) -> Response<Answer>
    where
        B: Body<Data = Bytes> + Send + Unpin,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (head, body) = request.into_parts();
        let body = match Limited::new(body, limits::SQL_BYTES).collect().await {
            Ok(body) => body.to_bytes().to_vec(),
            Err(error) if error.is::<LengthLimitError>() => return whole(StatusCode::PAYLOAD_TOO_LARGE, "The SQL is too long.\n"),
            Err(_) => return whole(StatusCode::BAD_REQUEST, "The request ended early.\n"),
        };
        let content_type = head.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let statement = match asked.with_body(content_type, body) {
            Ok(statement) => statement,
            Err(malformed) => return refuse(malformed),
        };

        let permit = permit(&self.queries).await;
        let engine = Arc::clone(&self.engine);
        let (start, started) = oneshot::channel();
        let (pieces, rest) = mpsc::channel(limits::PIECES);
        let tag = tag();
        let ending = tag.clone();
        tokio::task::spawn_blocking(move || {
            let _permit = permit;
            deliver(&statement, &engine, start, &pieces, &ending);
        });
        match started.await {
            Ok(Ok(first)) => {
                let mut response = Response::new(Answer { first: Some(first), rest: Some(rest), ending: Ending::Open });
                if let Ok(tag) = HeaderValue::try_from(tag) {
                    response.headers_mut().insert("x-clickhouse-exception-tag", tag);
                }
                response
            }
            Ok(Err(exception)) => failed(&exception),
            Err(_) => failed(&Exception::unknown()),
        }
    }
}

/// A part of an INSERT's body.
enum Piece {
    Rows(Bytes),
    End,
}

/// Runs a statement on this thread. The answer's head waits for its first bytes, so that most errors are met before it; what fails later
/// goes into the body, as ClickHouse does it.
fn deliver(
    statement: &Statement,
    engine: &Engine,
    start: oneshot::Sender<Result<Bytes, Exception>>,
    pieces: &mpsc::Sender<Result<Bytes, Bytes>>,
    tag: &str,
) {
    let mut start = Some(start);
    let outcome = statement.run(engine, |piece| {
        let piece = Bytes::copy_from_slice(piece);
        match start.take() {
            Some(start) => start.send(Ok(piece)).is_ok(),
            None => pieces.blocking_send(Ok(piece)).is_ok(),
        }
    });
    // A receiver that is gone means a client that is gone: then nobody wants to know.
    let _ = match (start, outcome) {
        (Some(start), outcome) => start.send(outcome.map(|()| Bytes::new())).is_ok(),
        (None, Ok(())) => true,
        (None, Err(exception)) => {
            let message = format!("{exception}\n");
            let notice = format!("\r\n__exception__\r\n{tag}\r\n{message}{} {tag}\r\n__exception__\r\n", message.len());
            pieces.blocking_send(Err(notice.into())).is_ok()
        }
    };
}

/// 16 letters nobody can guess: they mark an exception inside an answer (ClickHouse 25.11 and later), so that no data can pose as one.
fn tag() -> String {
    let number = RandomState::new().build_hasher().finish();
    (0..16).map(|nibble| char::from(b'a' + u8::try_from(number >> (nibble * 4) & 15).unwrap_or(0))).collect()
}

async fn permit(semaphore: &Arc<Semaphore>) -> Option<OwnedSemaphorePermit> {
    // It is never closed; and if it were, running unbounded beats not answering.
    Arc::clone(semaphore).acquire_owned().await.ok()
}

fn whole(status: StatusCode, text: &'static str) -> Response<Answer> {
    answer(status, Bytes::from_static(text.as_bytes()))
}

fn answer(status: StatusCode, bytes: Bytes) -> Response<Answer> {
    let mut response = Response::new(Answer { first: Some(bytes), rest: None, ending: Ending::Open });
    *response.status_mut() = status;
    response
}

fn refuse(malformed: Malformed) -> Response<Answer> {
    answer(StatusCode::BAD_REQUEST, format!("{malformed}\n").into())
}

fn failed(exception: &Exception) -> Response<Answer> {
    let mut response = answer(StatusCode::INTERNAL_SERVER_ERROR, format!("{exception}\n").into());
    if let Some(code) = exception.code() {
        response.headers_mut().insert("x-clickhouse-exception-code", code.into());
    }
    response
}

/// The body of an answer: bytes at hand, then bytes as the engine makes them. At most [`limits::PIECES`] pieces wait.
pub struct Answer {
    first: Option<Bytes>,
    /// `Err` holds the notice of an exception in the midst of the answer.
    rest: Option<mpsc::Receiver<Result<Bytes, Bytes>>>,
    ending: Ending,
}

/// How an answer ends that failed in its midst: the notice, time to send it, and then a cut connection, so that a client that knows nothing
/// of notices does not take the part for the whole. One that knows them closes the connection itself.
enum Ending {
    Open,
    Noticed(Pin<Box<Sleep>>),
}

/// A statement failed after its answer had begun.
#[derive(Debug, thiserror::Error)]
#[error("the statement failed after its answer had begun")]
pub struct CutShort;

impl Body for Answer {
    type Data = Bytes;
    type Error = CutShort;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, CutShort>>> {
        if let Some(first) = self.first.take().filter(|bytes| !bytes.is_empty()) {
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        match &mut self.ending {
            Ending::Open => {}
            // hyper sends what it holds while a body is not ready, and drops it when a body fails.
            Ending::Noticed(grace) => return grace.as_mut().poll(context).map(|()| Some(Err(CutShort))),
        }
        let Some(rest) = &mut self.rest else { return Poll::Ready(None) };
        rest.poll_recv(context).map(|piece| match piece {
            Some(Ok(bytes)) => Some(Ok(Frame::data(bytes))),
            Some(Err(notice)) => {
                self.ending = Ending::Noticed(Box::pin(tokio::time::sleep(limits::NOTICE_GRACE)));
                Some(Ok(Frame::data(notice)))
            }
            None => None,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_none() && self.first.as_ref().is_none_or(Bytes::is_empty)
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        match (&self.rest, &self.first) {
            (None, first) => hyper::body::SizeHint::with_exact(first.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            (Some(_), _) => hyper::body::SizeHint::default(),
        }
    }
}
