//! The public listener on a real port with a fake pipeline behind it: bytes in, bytes out.

mod bounds;
mod share;

use std::cell::{Cell, RefCell};
use std::net::Ipv4Addr;

use hyper::body::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot;
use tokio::task::LocalSet;

use super::*;
use crate::clock::UnixMillis;

/// A pipeline that remembers what it was handed. A body that says `panic` makes it panic.
#[derive(Default)]
struct Fake {
    bodies: RefCell<Vec<Vec<u8>>>,
    queries: RefCell<Vec<String>>,
    pages: RefCell<Vec<Option<String>>>,
    refused: RefCell<Vec<Refused>>,
    stuck: Cell<bool>,
}

impl Intake for Fake {
    fn visitor<'a>(&self, peer: &Peer, headers: &'a HeaderMap) -> Visitor<'a> {
        Visitor::direct(peer, headers)
    }

    fn take(&self, arrival: Arrival<'_>) -> impl Future<Output = Answer> + use<> {
        assert!(&arrival.body[..] != b"panic", "the test asked for it");
        self.bodies.borrow_mut().push(arrival.body.to_vec());
        self.queries.borrow_mut().push(arrival.query.to_owned());
        self.pages.borrow_mut().push(arrival.page.map(str::to_owned));
        let answer = match arrival.protocol {
            Protocol::Beacon | Protocol::Pixel if &arrival.body[..] == b"unknown" => Answer::Refused(Refused::UnknownSite),
            Protocol::Beacon | Protocol::Pixel if &arrival.body[..] == b"full" => Answer::Unavailable,
            Protocol::Beacon | Protocol::Pixel => Answer::Taken(None),
            Protocol::Batch => Answer::Judged(Bytes::from_static(b"{\"accepted\":1}")),
        };
        let is_stuck = self.stuck.get();
        async move { if is_stuck { std::future::pending().await } else { answer } }
    }

    fn refuse(&self, reason: Refused) {
        self.refused.borrow_mut().push(reason);
    }
}

struct Server {
    address: SocketAddr,
    fake: Rc<Fake>,
    counts: Arc<Counts>,
    stop: oneshot::Sender<()>,
    served: tokio::task::JoinHandle<io::Result<()>>,
}

impl Server {
    fn start(limits: Limits) -> Self {
        Self::with_budget(limits, BodyBudget::default())
    }

    fn with_budget(limits: Limits, budget: BodyBudget) -> Self {
        Self::with_pages(limits, budget, Pages::new(Paths::default(), "count(heads);".repeat(50), "{\"kept\":[]}"))
    }

    fn with_pages(limits: Limits, budget: BodyBudget, pages: Pages) -> Self {
        let listener = bind((Ipv4Addr::LOCALHOST, 0).into(), 1).unwrap().remove(0);
        let address = listener.local_addr().unwrap();
        let (fake, counts) = (Rc::new(Fake::default()), Arc::new(Counts::default()));
        let (stop, stopped) = oneshot::channel::<()>();
        let public = Public {
            intake: Rc::clone(&fake),
            pages: Arc::new(pages),
            budget,
            limits,
            counts: Arc::clone(&counts),
            clock: Clock::standing_at(UnixMillis(1_793_318_400_000)),
        };
        let served = tokio::task::spawn_local(serve_public(public, listener, async { drop(stopped.await) }));
        Self { address, fake, counts, stop, served }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends `bytes`, and after the first answer one request more: it is answered if the connection was kept. No clock decides.
    async fn exchange(&self, bytes: &[u8]) -> Exchange {
        let mut stream = self.connect().await;
        // A server that has already answered and closed may refuse the rest.
        let _refused = stream.write_all(bytes).await;
        let mut answer = vec![0; 64 * 1024];
        let first = stream.read(&mut answer).await.unwrap();
        answer.truncate(first);
        let _refused = stream.write_all(PROBE.as_bytes()).await;
        stream.read_to_end(&mut answer).await.unwrap();
        let mut answer = String::from_utf8_lossy(&answer).into_owned();
        let kept = answer.ends_with(PROBED);
        if kept {
            answer.truncate(answer.rfind("HTTP/1.1 200").unwrap());
        }
        Exchange { answer, closed: !kept }
    }

    fn ended(&self, why: Ended) -> u64 {
        self.counts.connections_ended().find(|(ended, _)| *ended == why).unwrap().1
    }
}

const PROBE: &str = "GET /.well-known/gpc.json HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
const PROBED: &str = "{\"gpc\":true,\"lastUpdate\":\"2026-01-01\"}";

struct Exchange {
    answer: String,
    closed: bool,
}

impl Exchange {
    fn statuses(&self) -> Vec<u16> {
        self.answer.split("HTTP/1.1 ").skip(1).map(|rest| rest[..3].parse().unwrap()).collect()
    }
}

fn limits() -> Limits {
    Limits::for_one_of(1)
}

/// Limits for paused time: everything is long but what a test shortens.
fn patient() -> Limits {
    let hour = Duration::from_hours(1);
    Limits { head: hour, body: hour, idle: hour, answer: hour, linger: Duration::from_secs(1), ..limits() }
}

async fn run(test: impl Future<Output = ()>) {
    LocalSet::new().run_until(test).await;
}

const POST: &str = "POST /e HTTP/1.1\r\nHost: a.example\r\nContent-Type: text/plain\r\n";

enum Then {
    Kept,
    Closed,
}
use Then::{Closed, Kept};

#[tokio::test]
async fn each_request_gets_its_answer_and_its_connection_is_kept_or_closed() {
    let post = |rest: &str| format!("{POST}{rest}");
    let many_headers = "X: y\r\n".repeat(101);
    let cases: Vec<(&str, String, &[u16], Then)> = vec![
        ("1 text/plain", post("Content-Length: 2\r\n\r\n{}"), &[204], Kept),
        ("2 json", "POST /e HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}".into(), &[204], Kept),
        ("3 preflight", "OPTIONS /e HTTP/1.1\r\nHost: a\r\nOrigin: https://b\r\n\r\n".into(), &[204], Kept),
        ("5 GET", "GET /e HTTP/1.1\r\nHost: a\r\n\r\n".into(), &[405], Kept),
        ("5 TRACE", "TRACE /e HTTP/1.1\r\nHost: a\r\n\r\n".into(), &[405], Kept),
        ("6 CONNECT", "CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n".into(), &[400], Closed),
        ("6 absolute", "GET http://b/h.js HTTP/1.1\r\nHost: b\r\n\r\n".into(), &[400], Closed),
        ("7 unknown", "GET /admin HTTP/1.1\r\nHost: a\r\n\r\n".into(), &[404], Kept),
        ("7 dots", "GET /e/../h.js HTTP/1.1\r\nHost: a\r\n\r\n".into(), &[404], Kept),
        ("7 encoded", "GET /%68.js HTTP/1.1\r\nHost: a\r\n\r\n".into(), &[404], Kept),
        ("7 double", "GET //h.js HTTP/1.1\r\nHost: a\r\n\r\n".into(), &[404], Kept),
        ("8 no host", "GET /h.js HTTP/1.1\r\n\r\n".into(), &[400], Closed),
        ("8 two hosts", "GET /h.js HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n".into(), &[400], Closed),
        ("8 host path", "GET /h.js HTTP/1.1\r\nHost: a/b\r\n\r\n".into(), &[400], Closed),
        ("9 0.9", "GET /h.js\r\n\r\n".into(), &[400], Closed),
        ("9 1.0 TE", "POST /e HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".into(), &[400], Closed),
        ("9 3.0", "GET /h.js HTTP/3.0\r\nHost: a\r\n\r\n".into(), &[400], Closed),
        (
            "10 CL TE",
            post("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /h.js HTTP/1.1\r\nHost: a\r\n\r\n"),
            &[204],
            Closed,
        ),
        (
            "11 TE CL",
            post("Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\nGET /h.js HTTP/1.1\r\nHost: a\r\n\r\n"),
            &[204],
            Closed,
        ),
        ("12 identity", post("Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n"), &[400], Closed),
        ("12 xchunked", post("Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"), &[400], Closed),
        ("12 tab", post("Transfer-Encoding: chunked\u{b}\r\n\r\n0\r\n\r\n"), &[400], Closed),
        ("12 fold", post("Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n"), &[400], Closed),
        ("13 two", post("Content-Length: 2\r\nContent-Length: 3\r\n\r\n{} "), &[400], Closed),
        ("13 plus", post("Content-Length: +2\r\n\r\n{}"), &[400], Closed),
        ("13 hex", post("Content-Length: 0x2\r\n\r\n{}"), &[400], Closed),
        ("13 list", post("Content-Length: 2,2\r\n\r\n{}"), &[400], Closed),
        ("13 negative", post("Content-Length: -2\r\n\r\n{}"), &[400], Closed),
        ("13 2^64", post("Content-Length: 18446744073709551616\r\n\r\n{}"), &[400], Closed),
        ("14 bare LF", POST.replace("\r\n", "\n") + "Content-Length: 2\n\n{}", &[400], Closed),
        ("14 bare CR", "GET /h.js HTTP/1.1\rHost: a\r\r".into(), &[400], Closed),
        ("14 NUL", "GET /h.js HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n".into(), &[400], Closed),
        ("14 space", "GET /h.js HTTP/1.1\r\nHost : a\r\n\r\n".into(), &[400], Closed),
        ("14 leading", "GET /h.js HTTP/1.1\r\n Host: a\r\n\r\n".into(), &[400], Closed),
        ("15 size", post("Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFF\r\n"), &[400], Closed),
        ("15 huge", post("Transfer-Encoding: chunked\r\n\r\n7FFFFFFFFFFFFFF0\r\n") + &"x".repeat(70_000), &[413], Closed),
        ("15 CRLF", post("Transfer-Encoding: chunked\r\n\r\n2\r\n{}xx0\r\n\r\n"), &[400], Closed),
        ("15 extension", post(&format!("Transfer-Encoding: chunked\r\n\r\n2;{}\r\n{{}}\r\n0\r\n\r\n", "x".repeat(20_000))), &[400], Closed),
        ("17 count", format!("GET /h.js HTTP/1.1\r\nHost: a\r\n{many_headers}\r\n"), &[431], Closed),
        ("17 size", format!("GET /h.js HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(16_384)), &[431], Closed),
        ("18 target", format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(9_000)), &[414], Closed),
        ("19 oversize", post("Content-Length: 65537\r\n\r\n"), &[413], Closed),
        ("20 chunked", post("Transfer-Encoding: chunked\r\n\r\n11000\r\n") + &"x".repeat(0x11000), &[413], Closed),
        ("21 expect", post("Expect: 100-continue\r\nContent-Length: 65537\r\n\r\n"), &[413], Closed),
        ("36 gzip", post("Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}"), &[415], Closed),
        (
            "37 twice",
            "POST /v1/events HTTP/1.1\r\nHost: a\r\nContent-Encoding: gzip, gzip\r\nContent-Length: 2\r\n\r\n{}".into(),
            &[415],
            Closed,
        ),
        ("type", "POST /e HTTP/1.1\r\nHost: a\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\n{}".into(), &[415], Closed),
        ("batch", "POST /v1/events HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n[]".into(), &[202], Kept),
        (
            "key",
            format!("POST /v1/events HTTP/1.1\r\nHost: a\r\nIdempotency-Key: {}\r\nContent-Length: 2\r\n\r\n[]", "k".repeat(129)),
            &[400],
            Closed,
        ),
        ("pixel", "GET /e.gif?site=a HTTP/1.1\r\nHost: a\r\n\r\n".into(), &[200], Kept),
        ("script", "GET /h.js HTTP/1.1\r\nHost: a\r\n\r\n".into(), &[200], Kept),
        ("script head", "HEAD /h.js HTTP/1.1\r\nHost: a\r\n\r\n".into(), &[200], Kept),
        ("gpc", "GET /.well-known/gpc.json HTTP/1.1\r\nHost: a\r\n\r\n".into(), &[200], Kept),
        ("privacy", "GET /privacy.json HTTP/1.1\r\nHost: a\r\n\r\n".into(), &[200], Kept),
        ("62 metrics", "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n".into(), &[404], Kept),
        ("62 health", "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n".into(), &[404], Kept),
        ("refused", post("Content-Length: 7\r\n\r\nunknown"), &[400], Kept),
        ("unavailable", post("Content-Length: 4\r\n\r\nfull"), &[503], Kept),
        ("68 panic", post("Content-Length: 5\r\n\r\npanic"), &[500], Closed),
        ("close", post("Connection: close\r\nContent-Length: 2\r\n\r\n{}"), &[204], Closed),
    ];
    run(async {
        let server = Server::start(limits());
        let mut wrong = Vec::new();
        for (name, bytes, statuses, then) in &cases {
            let exchange = server.exchange(bytes.as_bytes()).await;
            if exchange.statuses() != *statuses || exchange.closed != matches!(then, Closed) {
                wrong.push(format!("{name}: {:?}, closed: {}", exchange.statuses(), exchange.closed));
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
    })
    .await;
}

#[tokio::test]
async fn an_accepted_beacon_is_answered_bare_and_open_to_any_origin() {
    run(async {
        let server = Server::start(limits());
        let exchange =
            server.exchange(format!("{POST}Origin: https://b\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{{}}").as_bytes()).await;
        let lower = exchange.answer.to_lowercase();
        assert!(lower.contains("access-control-allow-origin: *"));
        for header in ["set-cookie", "cache-control", "content-", "allow-credentials", "private-network", "server:"] {
            assert!(!lower.contains(header), "{header}");
        }
        assert!(lower.ends_with("\r\n\r\n"));
        assert_eq!(*server.fake.bodies.borrow(), [b"{}"]);
    })
    .await;
}

#[tokio::test]
async fn a_preflight_grants_neither_credentials_nor_private_networks() {
    run(async {
        let server = Server::start(limits());
        let request = "OPTIONS /e HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAccess-Control-Request-Private-Network: true\r\n\r\n";
        let lower = server.exchange(request.as_bytes()).await.answer.to_lowercase();
        assert!(lower.contains("access-control-allow-methods: post"));
        assert!(lower.contains("access-control-allow-headers: content-type"));
        assert!(lower.contains("access-control-max-age: "));
        assert!(!lower.contains("credentials") && !lower.contains("private-network"));
    })
    .await;
}

#[tokio::test]
async fn nothing_of_a_request_appears_in_its_answer() {
    run(async {
        let server = Server::start(limits());
        let canary = "k4n4ry7f3a";
        for request in [
            format!("GET /{canary}?{canary} HTTP/1.1\r\nHost: {canary}\r\n\r\n"),
            format!("TRACE /e HTTP/1.1\r\nHost: {canary}\r\nX-{canary}: {canary}\r\n\r\n"),
            format!("{canary} /e HTTP/1.1\r\nHost: a\r\n\r\n"),
            format!("OPTIONS /e HTTP/1.1\r\nHost: a\r\nOrigin: https://{canary}\r\nAccess-Control-Request-Headers: {canary}\r\n\r\n"),
            format!("GET /h.js?{canary} HTTP/1.1\r\nHost: {canary}\r\nIf-None-Match: \"{canary}\"\r\nAccept-Encoding: {canary}\r\n\r\n"),
            format!("GET /e.gif?{canary} HTTP/1.1\r\nHost: a\r\nCookie: {canary}\r\nUser-Agent: {canary}\r\n\r\n"),
            format!("{POST}Content-Length: 10\r\n\r\n{canary}"),
            format!("{POST}Content-Encoding: {canary}\r\nContent-Length: 10\r\n\r\n{canary}"),
            format!("{POST}Content-Length: {canary}\r\n\r\n"),
            format!("{POST}X {canary}: a\r\n\r\n"),
            format!("GET /e HTTP/{canary}\r\n\r\n"),
            format!(
                "POST /v1/events HTTP/1.1\r\nHost: a\r\nAuthorization: {canary}\r\nIdempotency-Key: {canary}\r\nContent-Length: 2\r\n\r\n[]"
            ),
        ] {
            let exchange = server.exchange(request.as_bytes()).await;
            assert!(!exchange.answer.is_empty() && !exchange.answer.contains(canary), "{request}");
        }
    })
    .await;
}

#[tokio::test]
async fn the_page_in_referer_is_read_for_a_pixel_alone() {
    run(async {
        let server = Server::start(limits());
        let referer = "Referer: https://example.org/a?b";
        for (request, page) in [
            (format!("GET /e.gif?site=a HTTP/1.1\r\nHost: a\r\n{referer}\r\n\r\n"), Some("https://example.org/a?b")),
            (format!("GET /e.gif?site=a HTTP/1.1\r\nHost: a\r\n{referer}\r\n{referer}\r\n\r\n"), None),
            ("GET /e.gif?site=a HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), None),
            (format!("{POST}{referer}\r\nContent-Length: 2\r\n\r\n{{}}"), None),
        ] {
            server.exchange(request.as_bytes()).await;
            assert_eq!(server.fake.pages.borrow().last().unwrap().as_deref(), page, "{request}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_body_that_breaks_off_is_counted_and_not_taken() {
    run(async {
        let server = Server::start(limits());
        let mut stream = server.connect().await;
        stream.write_all(format!("{POST}Transfer-Encoding: chunked\r\n\r\n2\r\n{{}}\r\n").as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        stream.read_to_end(&mut Vec::new()).await.unwrap();
        assert!(server.fake.bodies.borrow().is_empty());
        assert_eq!(*server.fake.refused.borrow(), [Refused::Aborted]);
    })
    .await;
}

#[tokio::test]
async fn a_thousand_pipelined_requests_are_answered_in_order() {
    run(async {
        let server = Server::start(limits());
        let requests: Vec<String> = (0..1_000).map(|number| format!("{POST}Content-Length: 4\r\n\r\n{number:04}")).collect();
        let requests = requests.concat();
        let (mut reading, mut writing) = server.connect().await.into_split();
        let written = tokio::task::spawn_local(async move {
            writing.write_all(requests.as_bytes()).await.unwrap();
            writing.shutdown().await.unwrap();
        });
        let mut answers = String::new();
        reading.read_to_string(&mut answers).await.unwrap();
        written.await.unwrap();
        assert_eq!(answers.matches("HTTP/1.1 204").count(), 1_000);
        let bodies = server.fake.bodies.borrow();
        assert!(bodies.iter().enumerate().all(|(number, body)| *body == format!("{number:04}").as_bytes()));
    })
    .await;
}

#[test]
fn all_workers_share_a_port_and_a_second_process_is_told() {
    let listeners = bind((Ipv4Addr::LOCALHOST, 0).into(), 3).unwrap();
    let address = listeners[0].local_addr().unwrap();
    assert!(listeners.iter().all(|listener| listener.local_addr().unwrap() == address));
    assert_eq!(bind(address, 1).unwrap_err().kind(), io::ErrorKind::AddrInUse);
}
