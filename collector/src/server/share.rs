//! Links to the closed days of a site, on the public listener: the application at `/share/TOKEN`, and below it the two questions that it asks.
//!
//! Whoever has the link is a stranger, so every step is bounded. Whether a token holds is found in memory, in the same time whichever it is. An answer is
//! kept for a minute and given again to whoever asks the same. What is not among those counts against its link's pace and goes, through a queue that holds
//! [`SHARE_WAITING`], to a thread that is none of the workers', which puts [`SHARE_QUERIES`] at a time to ClickHouse. A worker itself never waits for more
//! than the short lock of what is kept, and no event passes here.
//!
//! [`SHARE_QUERIES`]: crate::limits::SHARE_QUERIES

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, StatusCode};
use sha2::{Digest, Sha256};
use tokio::sync::{mpsc, oneshot};

use super::limits::Room;
use super::private::{Question, Reply};
use super::request::collect;
use super::response::{self, Answered, Fault};
use super::script::Constant;
use super::watch::{Stage, Watch};
use crate::clock::{Clock, UnixMillis};
use crate::leak;
use crate::limits::{SHARE_ANSWER_AGE, SHARE_ANSWERS_BYTES, SHARE_BURST, SHARE_PACE, SHARE_QUESTION_BYTES, SHARE_WAITING};

/// What a link opens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// What the link is called by.
    pub id: String,
    /// Whose closed days.
    pub site: Box<str>,
}

/// Says what a token opens, if it holds and its site still lets it.
pub type Judge = Box<dyn Fn(&[u8], UnixMillis) -> Option<Opened> + Send + Sync>;

/// A question that has come through a link.
#[derive(Debug)]
pub struct Asked {
    /// The site that the link is for.
    pub site: Box<str>,
    /// What is asked, as below the private listener.
    pub question: Question,
    /// Where the answer goes; closed when nobody waits for it any more.
    pub answer: oneshot::Sender<Reply>,
}

/// A file of the application beside its page.
#[derive(Clone, Debug)]
pub struct Asset {
    /// Its name.
    pub name: &'static str,
    /// Its media type.
    pub content_type: &'static str,
    /// Its bytes.
    pub body: Bytes,
}

/// What is behind `/share/`. Shared by all workers.
pub struct Door {
    prefix: String,
    judge: Judge,
    page: Bytes,
    assets: Vec<(&'static str, Constant)>,
    ask: mpsc::Sender<Asked>,
    kept: Mutex<Kept>,
}

impl fmt::Debug for Door {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Door").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

/// A request below `/share/`.
pub(super) struct Request<'a> {
    pub(super) head: &'a Parts,
    pub(super) body: &'a mut Incoming,
    /// What follows `/share/` in its path.
    pub(super) rest: &'a str,
    pub(super) room: Room,
}

impl Door {
    /// Links under `base`, as `judge` knows them, to the application made of `page` and `assets`. Questions come out of the receiver.
    pub fn new(base: &str, judge: Judge, page: Bytes, assets: Vec<Asset>) -> (Self, mpsc::Receiver<Asked>) {
        const HOUR: &str = "public, max-age=3600";
        let (ask, asked) = mpsc::channel(SHARE_WAITING);
        let assets = assets.into_iter().map(|asset| (asset.name, Constant::new(asset.body, asset.content_type, HOUR))).collect();
        (Self { prefix: format!("{base}/share/"), judge, page, assets, ask, kept: Mutex::default() }, asked)
    }

    /// What follows `/share/` in `path`, if that is what it begins with.
    pub(super) fn rest_of<'a>(&self, path: &'a str) -> Option<&'a str> {
        path.strip_prefix(&*self.prefix)
    }

    /// Answers. Nothing that goes wrong here is counted among events.
    pub(super) async fn answer(&self, request: Request<'_>, watch: &Watch, now: UnixMillis) -> Answered {
        let method = &request.head.method;
        let reads = method == Method::GET || method == Method::HEAD;
        if let Some((_, constant)) = self.assets.iter().find(|(name, _)| *name == request.rest) {
            return if reads { constant.answer(&request.head.headers) } else { closed(Fault::NotFound) };
        }
        let (token, path) = request.rest.find('/').map_or((request.rest, ""), |slash| request.rest.split_at(slash));
        let Some(opened) = (self.judge)(token.as_bytes(), now) else { return closed(Fault::NotFound) };
        match (path, method) {
            ("", _) if reads => guarded(StatusCode::OK, "text/html; charset=utf-8", self.page.clone()),
            ("/v1/sites", _) if reads => self.ask(&opened, request, watch).await,
            ("/v1/query", &Method::POST) => self.ask(&opened, request, watch).await,
            _ if path.starts_with("/v1/") && leak::planted("share_as_admin") => self.ask(&opened, request, watch).await,
            ("" | "/v1/sites" | "/v1/query", _) => {
                let methods = if path == "/v1/query" { "POST" } else { "GET, HEAD" };
                without_origins(response::allowed(StatusCode::METHOD_NOT_ALLOWED, methods))
            }
            _ => closed(Fault::NotFound),
        }
    }

    async fn ask(&self, opened: &Opened, request: Request<'_>, watch: &Watch) -> Answered {
        let Request { head, body, rest, mut room } = request;
        let body = match collect(SHARE_QUESTION_BYTES, body, watch, &mut room).await {
            Ok(body) => body,
            Err(fault) => return closed(fault),
        };
        watch.enter(Stage::Answer);
        let path = rest[rest.find('/').unwrap_or(rest.len())..].to_owned();
        let name = name_of(&opened.site, &path, &body);
        let now = Clock::monotonic();
        {
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(reply) = kept.find(&name, now) {
                return given(reply);
            }
            if !kept.may_ask(&opened.id, now) {
                return closed(Fault::RateLimited);
            }
        }
        let (answer, answered) = oneshot::channel();
        // A body may be a slice of a larger buffer: while it waits it is charged to nobody, so it is copied and the room given back.
        let body = Some(Bytes::copy_from_slice(&body));
        drop(room);
        let query = head.uri.query().filter(|_| leak::planted("share_as_admin")).unwrap_or_default().to_owned();
        let question = Question { method: head.method.clone(), path, query, body };
        if self.ask.try_send(Asked { site: opened.site.clone(), question, answer }).is_err() {
            return closed(Fault::Unavailable);
        }
        let Ok(reply) = answered.await else { return closed(Fault::Unavailable) };
        if reply.status == StatusCode::OK {
            self.kept.lock().unwrap_or_else(PoisonError::into_inner).keep(name, &reply, now);
        }
        given(reply)
    }
}

/// What tells one question from another: neither the token nor the text is kept.
fn name_of(site: &str, path: &str, body: &[u8]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in [site.as_bytes(), path.as_bytes(), body] {
        hash.update(part.len().to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

/// Answers of the last minute, and how much each link has asked lately.
#[derive(Debug, Default)]
struct Kept {
    answers: HashMap<[u8; 32], (Instant, Reply)>,
    bytes: usize,
    /// When each link will have asked for nothing, as far as its pace goes. There are no more links than [`crate::limits::TOKENS`] at a time.
    paces: HashMap<String, Instant>,
}

impl Kept {
    fn find(&mut self, name: &[u8; 32], now: Instant) -> Option<Reply> {
        let (_, reply) = self.answers.get(name).filter(|(at, _)| is_fresh(*at, now))?;
        Some(reply.clone())
    }

    fn keep(&mut self, name: [u8; 32], reply: &Reply, now: Instant) {
        if reply.body.len() > SHARE_ANSWERS_BYTES / 8 {
            return;
        }
        if self.bytes + reply.body.len() > SHARE_ANSWERS_BYTES || self.answers.len() >= SHARE_ANSWERS_BYTES / 1_024 {
            self.answers.retain(|_, (at, _)| is_fresh(*at, now));
            self.bytes = self.answers.values().map(|(_, reply)| reply.body.len()).sum();
        }
        if self.bytes + reply.body.len() > SHARE_ANSWERS_BYTES || self.answers.len() >= SHARE_ANSWERS_BYTES / 1_024 {
            self.answers.clear();
            self.bytes = 0;
        }
        let replaced = self.answers.insert(name, (now, reply.clone()));
        self.bytes = self.bytes + reply.body.len() - replaced.map_or(0, |(_, reply)| reply.body.len());
    }

    /// Whether the link may put one more question to ClickHouse; if so, it has.
    fn may_ask(&mut self, id: &str, now: Instant) -> bool {
        self.paces.retain(|_, free_at| *free_at > now);
        let free_at = self.paces.get(id).copied().unwrap_or(now) + SHARE_PACE;
        let within = free_at.duration_since(now) <= SHARE_PACE * SHARE_BURST;
        if within {
            self.paces.insert(id.to_owned(), free_at);
        }
        within
    }
}

fn is_fresh(at: Instant, now: Instant) -> bool {
    now.duration_since(at) < SHARE_ANSWER_AGE
}

fn given(reply: Reply) -> Answered {
    guarded(reply.status, reply.content_type, reply.body)
}

/// The constant answer to `fault`, for this page's own origin.
fn closed(fault: Fault) -> Answered {
    without_origins(response::fault(fault))
}

/// The token is in the address: no other origin is to read what it opens, and nobody is to be told of it.
fn without_origins(mut response: Answered) -> Answered {
    let headers = response.headers_mut();
    headers.remove(header::ACCESS_CONTROL_ALLOW_ORIGIN);
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(HeaderName::from_static("x-robots-tag"), HeaderValue::from_static("noindex, nofollow"));
    response
}

fn guarded(status: StatusCode, content_type: &'static str, body: Bytes) -> Answered {
    const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
        form-action 'none'; base-uri 'none'; frame-ancestors 'none'";
    let mut response = without_origins(response::plain(status));
    *response.body_mut() = Full::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(response::CROSS_ORIGIN_RESOURCE_POLICY, HeaderValue::from_static("same-origin"));
    response
}
