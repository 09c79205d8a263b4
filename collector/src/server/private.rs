//! The private listener: health, metrics, the pages and their figures, for the operator and for whom the operator gave a token. Nothing here is on the hot path.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use flate2::Compression;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

pub use super::overview::{Check, Overview, Readiness, SiteOverview, Totals};
use super::request::bearer_token;
use super::script::{gzipped, takes_gzip};
pub use super::token::{FILE_NAME as TOKEN_FILE, Token};
use super::token::{Login, Logins};
use crate::access::{Access, Tokens};
use crate::clock::Clock;
use crate::limits::{ANSWER_DEADLINE, GZIP_BYTES_MIN, HEAD_BYTES, HEAD_DEADLINE, LOGIN_AGE, PRIVATE_CONNECTIONS, QUESTION_BYTES};

/// Where the private pages get what they show.
pub trait Insight: Send + Sync + 'static {
    /// Whether the collector should be given work.
    fn readiness(&self) -> Readiness;

    /// How long the oldest event that is not in the database has waited; nothing when none waits.
    fn oldest_unsent(&self) -> Duration;

    /// All metrics in the text format of Prometheus.
    fn metrics(&self) -> String;

    /// What the first page shows.
    fn overview(&self) -> impl Future<Output = Overview> + Send;
}

/// What answers the questions of analysts: everything below `/v1/`, for whoever has shown a token.
pub trait Analysis: Send + Sync + 'static {
    /// Answers, within what `access` allows.
    fn answer(&self, access: &Access, question: Question) -> impl Future<Output = Reply> + Send;
}

/// A request below `/v1/`, without its headers.
#[derive(Clone, Debug)]
pub struct Question {
    /// Its method.
    pub method: Method,
    /// Its path.
    pub path: String,
    /// What follows the question mark; empty when nothing does.
    pub query: String,
    /// Its body; `None` when it broke off or is over [`QUESTION_BYTES`].
    pub body: Option<Bytes>,
}

/// An answer to a [`Question`].
#[derive(Clone, Debug)]
pub struct Reply {
    /// Its status.
    pub status: StatusCode,
    /// Its media type.
    pub content_type: &'static str,
    /// Its bytes.
    pub body: Bytes,
}

/// Who may open a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guard {
    /// Anybody who can reach the listener.
    Open,
    /// Whoever has shown a token.
    Operator,
}

/// One embedded file. The one at `/` is the first page.
#[derive(Clone, Debug)]
pub struct Page {
    /// Its whole path.
    pub path: &'static str,
    /// Its media type.
    pub content_type: &'static str,
    /// Its bytes.
    pub body: Bytes,
    /// Who may open it.
    pub guard: Guard,
    /// Another origin that its scripts come from and speak to: the public listener, for the demonstration. `None` allows this one alone.
    pub speaks_to: Option<String>,
}

/// What the private listener is made of.
pub struct Private<I, A> {
    /// Where the figures of the process come from.
    pub insight: I,
    /// Where the figures of the sites come from.
    pub analysis: A,
    /// The operator's own token.
    pub token: Token,
    /// Those that the operator has given away.
    pub tokens: Tokens,
    /// What is served besides.
    pub pages: Vec<Page>,
    /// Whether the operator's browser comes over HTTPS, so that the cookie may say so.
    pub secure: bool,
    /// The time.
    pub clock: Clock,
}

struct Office<I, A> {
    insight: I,
    analysis: A,
    logins: Logins,
    pages: Vec<Page>,
    secure: bool,
    clock: Clock,
}

/// Serves the private listener until `shutdown` resolves; then drops what is open.
#[expect(clippy::disallowed_methods, reason = "the operator's address is dropped unread")]
pub async fn serve_private<I: Insight, A: Analysis>(
    private: Private<I, A>,
    listener: std::net::TcpListener,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let Private { insight, analysis, token, tokens, pages, secure, clock } = private;
    let office = Arc::new(Office { insight, analysis, logins: Logins::new(token, tokens), pages, secure, clock });
    let places = Arc::new(Semaphore::new(PRIVATE_CONNECTIONS));
    let mut connections = JoinSet::new();
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_ended) = connections.join_next() => continue,
            () = &mut shutdown => return Ok(()),
        };
        match accepted {
            Ok((stream, _)) => {
                if let Ok(place) = Arc::clone(&places).try_acquire_owned() {
                    let office = Arc::clone(&office);
                    connections.spawn(async move {
                        serve(office, stream).await;
                        drop(place);
                    });
                }
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn serve<I: Insight, A: Analysis>(office: Arc<Office<I, A>>, stream: TcpStream) {
    let service = service_fn(|request: Request<Incoming>| {
        let office = Arc::clone(&office);
        async move {
            let packs = takes_gzip(request.headers());
            let answered = timeout(ANSWER_DEADLINE, office.answer(request)).await;
            let answered = answered.unwrap_or_else(|_late| text(StatusCode::SERVICE_UNAVAILABLE, "late\n"));
            Ok::<_, std::convert::Infallible>(if packs { packed(answered).await } else { answered })
        }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_DEADLINE).max_buf_size(HEAD_BYTES);
    // What goes wrong on a connection is its client's to see.
    let _error = http.serve_connection(TokioIo::new(stream), service).await;
}

type Answered = Response<Full<Bytes>>;

impl<I: Insight, A: Analysis> Office<I, A> {
    async fn answer(&self, request: Request<Incoming>) -> Answered {
        let (head, body) = request.into_parts();
        let reads = head.method == Method::GET || head.method == Method::HEAD;
        match (head.uri.path(), reads) {
            ("/login", false) if head.method == Method::POST => self.login_by_form(body, "/").await,
            // The form is posted to where it stands, so that whoever was sent to a page is there after the login.
            (path, false) if head.method == Method::POST && self.is_locked(path) => self.login_by_form(body, &back_to(&head)).await,
            ("/healthz", true) => text(StatusCode::OK, "ok\n"),
            ("/readyz", true) => readiness(self.insight.readiness(), self.insight.oldest_unsent()),
            ("/metrics" | "/api/overview.json", true) => match self.admits(&head) {
                Some(Access::Admin) if head.uri.path() == "/metrics" => typed(PROMETHEUS, self.insight.metrics().into()),
                Some(Access::Admin) => overview(&self.insight.overview().await),
                Some(Access::Analyst(_) | Access::Public(_)) => text(StatusCode::FORBIDDEN, "for an admin\n"),
                None => challenge(),
            },
            (path, _) if path.starts_with("/v1/") => match self.admits(&head) {
                Some(access) => self.ask(&access, head, body).await,
                None => challenge(),
            },
            ("/", true) if head.uri.query().is_some_and(|query| query.starts_with("token=")) => {
                self.login(head.uri.query().and_then(|query| query.strip_prefix("token=")).unwrap_or_default().as_bytes(), "/")
            }
            (path, reads) => match self.pages.iter().find(|page| page.path == path) {
                None => text(StatusCode::NOT_FOUND, "not found\n"),
                Some(_) if !reads => with(text(StatusCode::METHOD_NOT_ALLOWED, "method not allowed\n"), header::ALLOW, "GET, HEAD"),
                Some(page) if page.guard == Guard::Open || self.admits(&head).is_some() => shown(page),
                Some(_) => login_page(),
            },
        }
    }

    fn is_locked(&self, path: &str) -> bool {
        self.pages.iter().any(|page| page.path == path && page.guard == Guard::Operator)
    }

    /// By the cookie of a login, or by a token itself as a bearer token.
    fn admits(&self, head: &Parts) -> Option<Access> {
        let now = self.clock.now();
        let bearer = || head.headers.get(header::AUTHORIZATION).and_then(|value| bearer_token(value.as_bytes()));
        cookie(&head.headers).and_then(|id| self.logins.know(id, now)).or_else(|| self.logins.bears(bearer()?, now))
    }

    async fn ask(&self, access: &Access, head: Parts, body: Incoming) -> Answered {
        let body = Limited::new(body, QUESTION_BYTES).collect().await.ok().map(http_body_util::Collected::to_bytes);
        let (path, query) = (head.uri.path().to_owned(), head.uri.query().unwrap_or_default().to_owned());
        let Reply { status, content_type, body } = self.analysis.answer(access, Question { method: head.method, path, query, body }).await;
        let mut response = typed(content_type, body);
        *response.status_mut() = status;
        response
    }

    async fn login_by_form(&self, body: Incoming, back: &str) -> Answered {
        let Ok(form) = Limited::new(body, 1_024).collect().await else { return text(StatusCode::BAD_REQUEST, "bad request\n") };
        let form = form.to_bytes();
        self.login(form.strip_prefix(b"token=").unwrap_or_default().trim_ascii(), back)
    }

    /// The token leaves the address bar at once, for a cookie that holds something else. `back` is a path of ours, with its query.
    fn login(&self, token: &[u8], back: &str) -> Answered {
        match self.logins.open(token, self.clock.now()) {
            Login::Opened(id) => {
                let secure = if self.secure { "; Secure" } else { "" };
                let cookie = format!("{COOKIE}{id}; Path=/; HttpOnly; SameSite=Strict; Max-Age={}{secure}", LOGIN_AGE.as_secs());
                let mut response = text(StatusCode::SEE_OTHER, "");
                let back = HeaderValue::try_from(back).unwrap_or(HeaderValue::from_static("/"));
                response.headers_mut().insert(header::LOCATION, back);
                let cookie = HeaderValue::try_from(cookie).expect("the id is hexadecimal and the rest is visible ASCII");
                response.headers_mut().insert(header::SET_COOKIE, cookie);
                response
            }
            Login::Wrong => login_page(),
            Login::TooMany => with(text(StatusCode::TOO_MANY_REQUESTS, "too many attempts\n"), header::RETRY_AFTER, "60"),
        }
    }
}

const COOKIE: &str = "headcount=";
const TEXT: &str = "text/plain; charset=utf-8";
const PARQUET: &str = "application/vnd.apache.parquet";
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

fn cookie(headers: &HeaderMap) -> Option<&[u8]> {
    let cookies = headers.get_all(header::COOKIE).into_iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b';'));
    cookies.map(<[u8]>::trim_ascii).find_map(|cookie| cookie.strip_prefix(COOKIE.as_bytes()))
}

/// The page that was asked for, which is one of ours, and its query. A token that was not taken is left behind.
fn back_to(head: &Parts) -> String {
    let path = head.uri.path();
    head.uri.query().filter(|query| !query.starts_with("token=")).map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"))
}

/// The answer gzipped, if that makes it shorter. What is large is packed on a thread of its own, so that nothing waits for it meanwhile.
async fn packed(answer: Answered) -> Answered {
    let (mut head, body) = answer.into_parts();
    let Ok(body) = body.collect().await.map(http_body_util::Collected::to_bytes);
    // Parquet is packed already.
    let worthwhile = body.len() >= GZIP_BYTES_MIN && head.headers.get(header::CONTENT_TYPE).is_some_and(|own| own != PARQUET);
    let shorter = if worthwhile {
        let body = body.clone();
        let packing = tokio::task::spawn_blocking(move || gzipped(&body, Compression::fast()).filter(|packed| packed.len() < body.len()));
        packing.await.ok().flatten()
    } else {
        None
    };
    let Some(packed) = shorter else { return Response::from_parts(head, Full::new(body)) };
    head.headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    Response::from_parts(head, Full::new(packed.into()))
}

/// Two lines: a word, and the age of the oldest unsent event in whole seconds.
fn readiness(readiness: Readiness, oldest_unsent: Duration) -> Answered {
    let mut response = typed(TEXT, format!("{}\n{}\n", readiness.label(), oldest_unsent.as_secs()).into());
    if readiness != Readiness::Ready {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    response
}

fn overview(overview: &Overview) -> Answered {
    match serde_json::to_vec(overview) {
        Ok(json) => typed("application/json", json.into()),
        Err(_) => text(StatusCode::INTERNAL_SERVER_ERROR, "internal\n"),
    }
}

fn challenge() -> Answered {
    with(text(StatusCode::UNAUTHORIZED, "unauthorized\n"), header::WWW_AUTHENTICATE, "Bearer")
}

/// The form stands in the place of every page that needs a login.
fn login_page() -> Answered {
    const PAGE: &str = include_str!("../../../dashboards/web/login.html");
    let mut response = typed("text/html; charset=utf-8", Bytes::from_static(PAGE.as_bytes()));
    *response.status_mut() = StatusCode::UNAUTHORIZED;
    response
}

fn shown(page: &Page) -> Answered {
    let mut response = typed(page.content_type, page.body.clone());
    if let Some(policy) = page.speaks_to.as_deref().and_then(|origin| HeaderValue::try_from(policy(origin)).ok()) {
        response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    response
}

/// Everything from `source` alone, nothing inline, in no frame.
fn policy(source: &str) -> String {
    format!(
        "default-src 'none'; script-src 'self' {source}; style-src 'self'; img-src 'self' data: {source}; connect-src 'self' {source}; \
         form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )
}

fn text(status: StatusCode, body: &'static str) -> Answered {
    let mut response = typed(TEXT, Bytes::from_static(body.as_bytes()));
    *response.status_mut() = status;
    response
}

fn typed(content_type: &'static str, body: Bytes) -> Answered {
    const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
        form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
    let mut response = Response::new(Full::new(body));
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, content_type),
        (header::CACHE_CONTROL, "no-store"),
        (header::VARY, "accept-encoding"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

fn with(mut response: Answered, name: HeaderName, value: &'static str) -> Answered {
    response.headers_mut().insert(name, HeaderValue::from_static(value));
    response
}

#[cfg(test)]
#[path = "private_tests.rs"]
mod tests;
