//! The private listener on a real port: who gets what.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::access::Role;
use crate::clock::UnixMillis;

struct Fake;

impl Insight for Fake {
    fn readiness(&self) -> Readiness {
        Readiness::Behind
    }

    fn oldest_unsent(&self) -> Duration {
        Duration::from_millis(321_999)
    }

    fn metrics(&self) -> String {
        "headcount_up 1\n".into()
    }

    async fn overview(&self) -> Overview {
        Overview { sites: vec![SiteOverview { site: "example.org".into(), ..SiteOverview::default() }], ..Overview::default() }
    }
}

/// Says who asked for what.
impl Analysis for Fake {
    async fn answer(&self, access: &Access, question: Question) -> Reply {
        let body = question.body.map_or("too much".into(), |body| String::from_utf8(body.to_vec()).unwrap());
        let said = format!("{access:?} {} {} {} {body}", question.method, question.path, question.query);
        Reply { status: StatusCode::ACCEPTED, content_type: "text/plain", body: said.into() }
    }
}

struct Server {
    address: std::net::SocketAddr,
    served: JoinSet<io::Result<()>>,
}

impl Server {
    fn start() -> Self {
        Self::with(Tokens::of(std::path::Path::new("/nowhere")))
    }

    fn with(tokens: Tokens) -> Self {
        let page = |path, guard| Page { path, content_type: "text/html", body: path.into(), guard, speaks_to: None };
        let private = Private {
            insight: Fake,
            analysis: Fake,
            token: crate::server::token::tests::token(),
            tokens,
            pages: vec![page("/", Guard::Operator), page("/demo", Guard::Open)],
            secure: false,
            clock: Clock::standing_at(UnixMillis(1_793_318_400_000)),
        };
        let listener = crate::server::bind(([127, 0, 0, 1], 0).into(), 1).unwrap().remove(0);
        let address = listener.local_addr().unwrap();
        let mut served = JoinSet::new();
        served.spawn(serve_private(private, listener, std::future::pending()));
        Self { address, served }
    }

    async fn ask(&self, start: &str, rest: &str) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let request = format!("{start} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{rest}\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }
}

fn status(answer: &str) -> u16 {
    answer[9..12].parse().unwrap()
}

#[tokio::test]
async fn figures_need_the_token_and_health_does_not() {
    let mut server = Server::start();
    let token = format!("Authorization: Bearer {}\r\n", "5eed".repeat(16));
    for (start, rest, expected) in [
        ("GET /healthz", "", 200),
        ("GET /readyz", "", 503),
        ("GET /metrics", "", 401),
        ("GET /metrics", "Authorization: Bearer 5eed\r\n", 401),
        ("GET /metrics", &token, 200),
        ("GET /api/overview.json", "", 401),
        ("GET /api/overview.json", "Cookie: headcount=\r\n", 401),
        ("GET /api/overview.json", &token, 200),
        ("GET /", "", 401),
        ("GET /", &token, 200),
        ("GET /demo", "", 200),
        ("POST /demo", "", 405),
        ("GET /e", "", 404),
        ("GET /private.token", &token, 404),
    ] {
        assert_eq!(status(&server.ask(start, rest).await), expected, "{start} {rest}");
    }
    let readiness = server.ask("GET /readyz", "").await;
    assert!(readiness.ends_with("\r\n\r\nbehind\n321\n"), "a word, and how many seconds the oldest event has waited: {readiness}");
    server.served.abort_all();
}

#[tokio::test]
async fn an_analyst_asks_for_figures_and_sees_nothing_of_the_process() {
    let folder = std::env::temp_dir().join(format!("headcount-private-{}", std::process::id()));
    let tokens = Tokens::of(&folder);
    let token = tokens.add(Role::Analyst, vec!["a".into()], UnixMillis(0), None).unwrap();
    let server = Server::with(tokens);
    let bearer = format!("Authorization: Bearer {token}\r\n");
    for (start, status_expected) in [("GET /metrics", 403), ("GET /api/overview.json", 403), ("GET /", 200), ("GET /v1/x?y=z", 202)] {
        assert_eq!(status(&server.ask(start, &bearer).await), status_expected, "{start}");
    }
    let answer = server.ask("POST /v1/query?a=b", &format!("{bearer}Content-Length: 2\r\n\r\nhi")).await;
    assert!(answer.ends_with("Analyst([\"a\"]) POST /v1/query a=b hi"), "{answer}");
    assert_eq!(status(&server.ask("GET /v1/x", "").await), 401);
    std::fs::remove_dir_all(&folder).unwrap();
}

#[tokio::test]
async fn a_question_has_a_bound() {
    let server = Server::start();
    let long = "a".repeat(QUESTION_BYTES + 1);
    let rest = format!("Authorization: Bearer {}\r\nContent-Length: {}\r\n\r\n{long}", "5eed".repeat(16), long.len());
    assert!(server.ask("POST /v1/query", &rest).await.ends_with(" too much"));
}

#[tokio::test]
async fn the_link_opens_a_login_whose_cookie_is_not_the_token() {
    let server = Server::start();
    let token = "5eed".repeat(16);
    let answer = server.ask(&format!("GET /?token={token}"), "").await;
    assert_eq!(status(&answer), 303);
    assert!(answer.contains("HttpOnly; SameSite=Strict") && answer.contains("location: /\r\n") && !answer.contains(&token));
    let cookie = answer.split("set-cookie: ").nth(1).unwrap().split(';').next().unwrap();
    assert_eq!(status(&server.ask("GET /", &format!("Cookie: other=1; {cookie}\r\n")).await), 200);
    assert!(server.ask("GET /api/overview.json", &format!("Cookie: {cookie}\r\n")).await.contains("example.org"));
    let form = format!("Content-Length: {}\r\n\r\ntoken={token}", token.len() + 6);
    assert_eq!(status(&server.ask("POST /login", &form).await), 303);
}

#[tokio::test]
async fn a_login_leads_to_where_one_was_and_nowhere_else() {
    let server = Server::start();
    let form = |token: &str| format!("Content-Length: {}\r\n\r\ntoken={token}", token.len() + 6);
    let right = form(&"5eed".repeat(16));
    for (target, status_expected, location) in [
        ("/?is.country=DE&range=7d", 303, Some("/?is.country=DE&range=7d")),
        ("/", 303, Some("/")),
        ("/login", 303, Some("/")),
        ("/login?next=https://evil.example", 303, Some("/")),
        ("/?token=5eee&range=7d", 303, Some("/")),
        ("/?next=//evil.example", 303, Some("/?next=//evil.example")),
        ("//evil.example/", 404, None),
        ("//evil.example", 404, None),
        ("/\\evil.example", 404, None),
        ("http://evil.example/?a", 303, Some("/?a")),
        ("/demo", 405, None),
    ] {
        let answer = server.ask(&format!("POST {target}"), &right).await;
        let led = answer.lines().find_map(|line| line.strip_prefix("location: "));
        assert_eq!((status(&answer), led), (status_expected, location), "{target}");
    }
    let answer = server.ask("POST /?range=7d", &form("wrong")).await;
    assert!(status(&answer) == 401 && !answer.contains("set-cookie") && answer.contains("<form"), "{answer}");
}

#[tokio::test]
async fn what_is_long_is_packed_for_who_takes_it() {
    let server = Server::start();
    let bearer = format!("Authorization: Bearer {}\r\n", "5eed".repeat(16));
    let ask = async |said: usize, accepts: &str| {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let body = "a".repeat(said);
        let request =
            format!("POST /v1/x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{bearer}{accepts}Content-Length: {said}\r\n\r\n{body}");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        let end = answer.windows(4).position(|part| part == b"\r\n\r\n").unwrap() + 4;
        (String::from_utf8(answer[..end].to_vec()).unwrap(), answer[end..].to_vec())
    };
    for (said, accepts, is_packed) in
        [(4_000, "Accept-Encoding: br, gzip\r\n", true), (4_000, "", false), (10, "Accept-Encoding: gzip\r\n", false)]
    {
        let (head, body) = ask(said, accepts).await;
        assert!(head.contains("vary: accept-encoding"));
        assert_eq!(head.contains("content-encoding: gzip"), is_packed, "{said} {accepts}");
        let mut text = String::new();
        if is_packed {
            assert!(body.len() < said / 10);
            std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(&*body), &mut text).unwrap();
        } else {
            text = String::from_utf8(body).unwrap();
        }
        assert!(text.ends_with(&"a".repeat(said)));
    }
}

#[tokio::test]
async fn guesses_run_into_a_limit() {
    let server = Server::start();
    for _ in 0..crate::limits::LOGIN_ATTEMPTS {
        assert_eq!(status(&server.ask("GET /?token=5eee", "").await), 401);
    }
    assert_eq!(status(&server.ask("GET /?token=5eee", "").await), 429);
}

#[tokio::test]
async fn every_page_is_locked_to_its_own_origin_and_kept_nowhere() {
    let server = Server::start();
    for path in ["GET /", "GET /demo", "GET /healthz", "GET /nothing"] {
        let answer = server.ask(path, "").await;
        for header in ["content-security-policy: default-src 'none'", "cache-control: no-store", "referrer-policy: no-referrer", "nosniff"]
        {
            assert!(answer.contains(header), "{path} {header}");
        }
        assert!(!answer.contains("access-control-allow"), "{path}");
    }
}
