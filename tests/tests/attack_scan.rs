//! Attack: somebody has the whole disk, the log at its finest level, the metrics and the operator's pages, and looks for a visitor's address, agent and ids.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![expect(clippy::disallowed_types, reason = "these addresses are planted: nobody has them")]

use std::collections::BTreeSet;
use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};

use headcount_tests::collector::{Collector, Setup};
use headcount_tests::http::Connection;
use headcount_tests::leaky;
use headcount_tests::scan::{Form, Hit, Scanner};
use sha2::{Digest, Sha256};

/// Visitors: where each is, and the agent that nobody else has.
const VISITORS: [(&str, &str); 4] = [
    ("203.0.113.77", "Zorilla/7.31"),
    ("198.51.100.23", "Kakapo/8.42"),
    ("2001:db8:4b1d:77a0:8a2e:370:7334:9f1c", "Hoatzin/9.53"),
    ("2001:db8:c0de:51f3:1b2c:9a8b:7c6d:5e4f", "Shoebill/6.64"),
];
/// A secret of the site's backend.
const SECRET: &str = "secret-of-the-backend-pangolin-2718";
/// What is sent besides, each in its place.
const INSTALL: &str = "install-quokka-8b7a6c";
const SESSION: &str = "session-numbat-1d2e3f";
const EVENT_ID: &str = "event-id-wombat-4a5b6c";
const REPEAT_KEY: &str = "repeat-key-dugong-7d8e9f";
const COOKIE: &str = "cookie-okapi-314159";
const QUERY: &str = "query-axolotl-265358";
const FRAGMENT: &str = "fragment-tapir-979323";
const USER: &str = "userinfo-gharial-846264";
const UNKNOWN: &str = "unknown-field-saola-338327";
const HEADER: &str = "header-aye-aye-950288";
/// Shapes that are masked in what is stored.
const EMAIL: &str = "wallaby.lemur@mail.example.net";
const UUID: &str = "3f2504e0-4f89-41d3-9a0c-0305e82c3301";
const PHONE: &str = "+4915112345678";

/// Requests of each visitor in one load.
const ROUNDS: usize = 12;

fn config() -> String {
    let hash = Sha256::digest(SECRET).iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    });
    format!(
        "[log]\nlevel = \"trace\"\n[public]\nworkers = 2\n[engine]\nmemory_bytes = 536870912\n[[site]]\nid = \"a.example\"\ndebug = true\nsecret_sha256 = \"{hash}\"\n"
    )
}

fn scanner() -> Scanner {
    let addresses: Vec<IpAddr> = VISITORS.iter().map(|(address, _)| address.parse().unwrap()).collect();
    let mut texts: Vec<&str> = VISITORS.iter().map(|(_, agent)| *agent).collect();
    texts.extend([SECRET, INSTALL, SESSION, EVENT_ID, REPEAT_KEY, COOKIE, QUERY, FRAGMENT, USER, UNKNOWN, HEADER, EMAIL, UUID, PHONE]);
    Scanner::new(&addresses, &texts)
}

fn browser(agent: &str) -> String {
    format!("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36 {agent}")
}

/// One page view with everything that may come with one, through the operator's proxy; and one event that a backend forwards. True when both were taken.
fn visit(connection: &mut Connection, (address, agent): (&str, &str)) -> std::io::Result<bool> {
    static VISITS: AtomicUsize = AtomicUsize::new(0);
    // What is sent again under its id or key would not be stored.
    let number = VISITS.fetch_add(1, Ordering::SeqCst);
    let agent = browser(agent);
    let page = format!(
        r#"{{"site":"a.example","url":"https://{USER}@a.example/user/{UUID}/{EMAIL}?q={QUERY}#{FRAGMENT}","referrer":"https://b.example/?q={QUERY}",
        "id":"{EVENT_ID}-{number}","session":"{SESSION}","title":"{UNKNOWN}","props":{{"mail":"{EMAIL}","call":"{PHONE}","{UUID}":"x"}}}}"#
    );
    let headers = [
        "Content-Type: text/plain",
        &format!("User-Agent: {agent}"),
        &format!("X-Forwarded-For: {address}"),
        &format!("Forwarded: for=\"{address}\""),
        &format!("Cookie: id={COOKIE}"),
        &format!("Referer: https://a.example/?q={QUERY}"),
        &format!("X-Anything: {HEADER}"),
    ];
    let viewed = connection.send("POST", &format!("/e?q={QUERY}"), &headers, page.as_bytes())?;
    let event = format!(
        r#"[{{"site":"a.example","kind":"screen","screen":"start","client_ip":"{address}","client_ua":"{agent}","install_id":"{INSTALL}","consent":"granted",
        "device_model":"{UUID}","app_version":"1.0"}},
        {{"site":"a.example","kind":"screen","screen":"start","client_ip":"{address}","client_ua":"{agent}"}}]"#
    );
    let headers = [
        "Content-Type: application/json",
        &format!("Authorization: Bearer {SECRET}"),
        &format!("Idempotency-Key: {REPEAT_KEY}-{number}"),
        &format!("Cookie: id={COOKIE}"),
    ];
    let forwarded = connection.send("POST", "/v1/events", &headers, event.as_bytes())?;
    let kept = viewed.header("headcount-outcome") == Some("pseudonymous");
    Ok(kept && forwarded.status == 202 && forwarded.text().contains("\"accepted\":2"))
}

/// How many events one taken visit is.
const EVENTS_A_VISIT: usize = 3;

/// Lets every visitor come again and again until done, or until nobody answers; counts the visits that were taken.
fn load(public: SocketAddr, taken: &AtomicUsize) {
    let Ok(mut connection) = Connection::open(public) else { return };
    for _ in 0..ROUNDS {
        for visitor in VISITORS {
            match visit(&mut connection, visitor) {
                Ok(all) => assert!(all, "what is planted must be taken, or nothing is shown"),
                Err(_) => return,
            }
            taken.fetch_add(1, Ordering::SeqCst);
        }
    }
}

struct Search {
    scanner: Scanner,
    setup: Setup,
    hits: BTreeSet<Hit>,
}

impl Search {
    /// Everything on disk: data, keys, configuration and temporary files.
    fn disk(&mut self) {
        self.hits.extend(self.scanner.tree(self.setup.path()).unwrap());
    }

    fn text(&mut self, place: &str, text: &str) {
        self.hits.extend(self.scanner.bytes(place, text.as_bytes()));
    }

    /// Everything that a running collector shows.
    fn running(&mut self, collector: &Collector) {
        self.disk();
        for page in ["/", "/metrics", "/healthz", "/readyz"] {
            let answer = collector.operator(page);
            assert_eq!(answer.status, 200, "{page}");
            self.text(page, &answer.head);
            self.text(page, &answer.text());
        }
        for table in self.sql("SELECT name FROM system.tables WHERE database = currentDatabase()").lines().skip(1) {
            let rows = self.sql(&format!("SELECT * FROM `{table}`"));
            self.text(table, &rows);
        }
        let errors = self.sql("SELECT name, last_error_message FROM system.errors");
        self.text("ClickHouse's errors", &errors);
    }

    fn sql(&self, statement: &str) -> String {
        let (status, text) = self.setup.run(&["sql", statement, "--form", "tsv"]);
        assert!(status.success(), "{statement}: {text}");
        text
    }
}

/// Loads a collector, kills it, starts it again, and looks everywhere all the while.
fn attack(setup: Setup) -> BTreeSet<Hit> {
    let temporary = setup.path().join("tmp");
    std::fs::create_dir_all(&temporary).unwrap();
    let setup = setup.with_variable("TMPDIR", &temporary.display().to_string());
    let mut search = Search { scanner: scanner(), setup, hits: BTreeSet::new() };
    let taken = AtomicUsize::new(0);

    let collector = search.setup.start();
    let public = collector.public();
    std::thread::scope(|scope| {
        let loading = scope.spawn(|| load(public, &taken));
        while !loading.is_finished() {
            search.disk();
        }
    });
    assert_eq!(taken.load(Ordering::SeqCst), ROUNDS * VISITORS.len());
    collector.wait_for_events((ROUNDS * VISITORS.len() * EVENTS_A_VISIT) as u64);
    search.running(&collector);

    std::thread::scope(|scope| {
        let before = taken.load(Ordering::SeqCst);
        scope.spawn(|| load(public, &taken));
        while taken.load(Ordering::SeqCst) < before + VISITORS.len() {
            std::thread::yield_now();
        }
        collector.signal("KILL");
    });
    search.disk();
    search.text("the log", &collector.last_words());

    let collector = search.setup.start();
    collector.wait_for_spool();
    search.running(&collector);
    collector.signal("TERM");
    search.text("the log", &collector.last_words());
    search.disk();
    search.hits
}

#[test]
fn no_address_agent_or_id_is_anywhere() {
    let hits = attack(Setup::new("scan", &config()));
    assert!(hits.is_empty(), "{hits:#?}");
}

#[test]
fn each_planted_leak_is_found() {
    let found = |leak: &str| attack(Setup::new("scan", &config()).with_program(leaky::program()).with_variable(leaky::LEAK, leak));
    for (leak, secrets, form, place) in [
        ("address_in_log", &[VISITORS[0].0, VISITORS[2].0][..], Form::Text, "the log"),
        ("address_as_pseudonym", &[VISITORS[0].0, VISITORS[1].0], Form::Decimal, "events"),
        ("agent_in_row", &[VISITORS[0].1, VISITORS[3].1], Form::Text, "events"),
        ("id_in_metric", &[INSTALL], Form::Text, "/metrics"),
        ("unmasked", &[EMAIL, PHONE], Form::Text, "events"),
    ] {
        let hits = found(leak);
        for secret in secrets {
            let hit = Hit { secret: (*secret).to_owned(), form, place: place.to_owned() };
            assert!(hits.contains(&hit), "{leak}: {hit:?} is not among {hits:#?}");
        }
        if !matches!(leak, "address_in_log" | "id_in_metric") {
            assert!(hits.iter().any(|hit| hit.place.contains("/data/")), "{leak}: it is on the disk: {hits:#?}");
        }
    }
}
