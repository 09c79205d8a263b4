//! What the README tells to put in front: its own blocks, run by the real nginx and the real Caddy before the real collector.
//!
//! The blocks are read from README.md. Changed in them is only what a test cannot have: port 443, certificates, and the collector's usual port.

#![expect(clippy::unwrap_used, reason = "in a test an unwrap is a failed expectation")]
#![expect(clippy::disallowed_methods, reason = "a test waits and spawns as it needs")]
#![expect(clippy::disallowed_types, reason = "the clients' own addresses, all of this machine")]

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use headcount_tests::collector::{self, BROWSER, Setup};
use headcount_tests::http::Connection;
use headcount_tests::{frames, programs, scan};
use tempfile::TempDir;

const README: &str = include_str!("../../README.md");

/// Two visitors. The proxy sees that they come from here.
const CLIENTS: [Ipv4Addr; 2] = [Ipv4Addr::new(127, 91, 7, 1), Ipv4Addr::new(127, 91, 8, 2)];

/// What the visitors say about themselves: addresses that every database knows a country of.
const FORGED: &[&str] = &["1.1.1.1", "85.214.132.117, 127.0.0.1", "133.11.0.1\r\nX-Forwarded-For: 200.160.2.3"];

/// The visitor whom Cloudflare saw.
const BEHIND_THE_EDGE: &str = "85.214.132.117";

/// What Cloudflare sends about a visitor in Germany: what the visitor says, the visitor, and in the second case its own edge (there is one more then).
const FROM_CLOUDFLARE: &[&str] = &["133.11.0.1, 85.214.132.117", "85.214.132.117, 173.245.48.9"];

#[derive(Clone, Copy, Debug)]
enum Program {
    Nginx,
    Caddy,
}

impl Program {
    /// Where it is, if it is here and runs; says so where everybody sees it if not.
    fn find(self) -> Option<PathBuf> {
        let (name, version) = match self {
            Self::Nginx => ("nginx", "-v"),
            Self::Caddy => ("caddy", "version"),
        };
        let found = programs::find(name, version);
        if found.is_none() {
            let said = format!("SKIPPED: {name} is not installed (`tests/deps.sh test` fetches it): its block in README.md is not tried\n");
            // Not by a macro: what those print is shown for failed tests only.
            std::io::stderr().write_all(said.as_bytes()).unwrap();
        }
        found
    }

    /// The block with the port and the collector's address in it, and what an operator's main configuration stands for: logs that are on.
    fn configuration(self, block: &str, port: u16, upstream: SocketAddr, folder: &Path) -> String {
        let block = replaced(block, "127.0.0.1:8080", &upstream.to_string());
        match self {
            Self::Nginx => {
                let block = replaced(&block, "listen 443 ssl;", &format!("listen 127.0.0.1:{port};"));
                let block: Vec<&str> = block.lines().filter(|line| !line.trim_start().starts_with("ssl_certificate")).collect();
                let folder = folder.display();
                let temporary =
                    ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(|name| format!("{name}_temp_path {folder}/{name};\n"));
                format!(
                    "daemon off;\nmaster_process off;\npid {folder}/pid;\nerror_log {folder}/error.log info;\nevents {{}}\n\
                     http {{\naccess_log {folder}/access.log;\n{}{}\n}}\n",
                    temporary.concat(),
                    block.join("\n")
                )
            }
            Self::Caddy => {
                let block = replaced(&block, "stats.example.org", &format!("http://localhost:{port}"));
                block.replacen("{\n", "{\n\tadmin off\n\tdefault_bind 127.0.0.1\n", 1)
            }
        }
    }

    fn command(self, program: &Path, folder: &Path) -> Command {
        let mut command = Command::new(program);
        match self {
            Self::Nginx => {
                command.arg("-p").arg(folder).arg("-e").arg(folder.join("error.log")).arg("-c").arg(folder.join("configuration"))
            }
            Self::Caddy => command.args(["run", "--adapter", "caddyfile", "--config"]).arg(folder.join("configuration")),
        };
        command.env("HOME", folder).env_remove("XDG_CONFIG_HOME").env_remove("XDG_DATA_HOME");
        command
    }
}

/// `text` with the one thing in it replaced that must be there.
fn replaced(text: &str, from: &str, to: &str) -> String {
    assert_eq!(text.matches(from).count(), 1, "{from:?} in\n{text}");
    text.replace(from, to)
}

/// The README's `number`th block of code below a heading.
fn block(heading: &str, number: usize) -> String {
    let (_, section) = README.split_once(&format!("\n### {heading}\n")).unwrap();
    let section = section.split("\n##").next().unwrap();
    let fenced = section.split("```").skip(1).step_by(2).nth(number).unwrap();
    fenced.split_once('\n').unwrap().1.to_owned()
}

/// nginx's block as it is to be behind Cloudflare.
fn nginx_behind_cloudflare() -> String {
    replaced(&block("nginx", 0), "proxy_set_header X-Forwarded-For $remote_addr;", block("Cloudflare", 0).trim())
}

/// Caddy's block as it is to be behind Cloudflare, which here reaches it from this machine.
fn caddy_behind_cloudflare() -> String {
    let passing = block("Cloudflare", 1);
    let (ranges, _) = passing.split_once("trusted_proxies ").unwrap().1.split_once('\n').unwrap();
    replaced(&block("Caddy", 0), "reverse_proxy 127.0.0.1:8080\n", &replaced(&passing, ranges, "127.0.0.0/8"))
}

/// A proxy that runs. Killed when dropped.
struct Proxy {
    child: Child,
    address: SocketAddr,
    folder: TempDir,
}

impl Proxy {
    fn start(program: Program, path: &Path, block: &str, upstream: SocketAddr) -> Self {
        let folder = tempfile::Builder::new().prefix("hc-proxy-").tempdir().unwrap();
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let configuration = program.configuration(block, address.port(), upstream, folder.path());
        std::fs::write(folder.path().join("configuration"), configuration).unwrap();
        let said = File::create(folder.path().join("said")).unwrap();
        let mut command = program.command(path, folder.path());
        let child = command.stdin(Stdio::null()).stdout(said.try_clone().unwrap()).stderr(said).spawn().unwrap();
        let mut proxy = Self { child, address, folder };
        let deadline = Instant::now() + Duration::from_mins(1);
        while TcpStream::connect(address).is_err() {
            let lives = proxy.child.try_wait().unwrap().is_none() && Instant::now() < deadline;
            let said = || std::fs::read_to_string(proxy.folder.path().join("said")).unwrap();
            assert!(lives, "{program:?} does not listen; it said:\n{}", said());
            std::thread::sleep(Duration::from_millis(20));
        }
        proxy
    }

    /// A visitor's view of a page; the status of the answer.
    fn view(&self, from: Ipv4Addr, forwarded: &str) -> u16 {
        let headers = [BROWSER, "Content-Type: text/plain", &format!("X-Forwarded-For: {forwarded}")];
        let event = br#"{"site":"example.org","url":"https://example.org/"}"#;
        Connection::open_from(from, self.address).unwrap().send("POST", "/e", &headers, event).unwrap().status
    }

    /// Ends it; returns what it has written about its visitors.
    fn written(mut self) -> Vec<scan::Hit> {
        collector::signal(self.child.id(), "TERM");
        self.child.wait().unwrap();
        let [one, other] = CLIENTS.map(IpAddr::V4);
        scan::Scanner::new(&[one, other, BEHIND_THE_EDGE.parse().unwrap()], &[]).tree(self.folder.path()).unwrap()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // Already gone is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What was made of the visitors.
struct Outcome {
    visitors: usize,
    countries: BTreeSet<String>,
    written: Vec<scan::Hit>,
}

/// Both clients come with every header: while the collector runs, and after it is gone, which a proxy likes to write about.
fn run(program: Program, path: &Path, block: &str, (trust, headers): (&str, &[&str])) -> Outcome {
    let config =
        format!("proxy = \"{trust}\"\n[public]\nworkers = 1\n[clickhouse]\nurl = \"http://127.0.0.1:9\"\n[[site]]\nid = \"example.org\"\n");
    let setup = Setup::new("proxies", &config);
    let collector = setup.start();
    let proxy = Proxy::start(program, path, block, collector.public());
    let views = || headers.iter().flat_map(|header| CLIENTS.map(|client| proxy.view(client, header)));
    assert!(views().all(|status| status == 204), "{program:?}");
    collector.kill();
    assert!(views().all(|status| status == 502), "{program:?}");
    let rows = frames::events(&setup.data().join("spool"));
    assert_eq!(rows.len(), headers.len() * CLIENTS.len());
    let distinct = |column: &str| rows.iter().map(|row| row[column].clone()).collect::<BTreeSet<_>>();
    Outcome { visitors: distinct("visitor").len(), countries: distinct("country"), written: proxy.written() }
}

const STRAIGHT: (&str, &[&str]) = ("loopback", FORGED);
const BEHIND_CLOUDFLARE: (&str, &[&str]) = ("cloudflare", FROM_CLOUDFLARE);

/// A loopback address has no country, and each of the two clients is one visitor whatever it says.
fn assert_counts_whom_the_proxy_saw(outcome: &Outcome) {
    assert_eq!((outcome.visitors, &outcome.countries), (2, &BTreeSet::from(["ZZ".to_owned()])));
    assert_eq!(outcome.written, []);
}

/// All come from the one address that Cloudflare saw.
fn assert_counts_whom_cloudflare_saw(outcome: &Outcome) {
    assert_eq!((outcome.visitors, &outcome.countries), (1, &BTreeSet::from(["DE".to_owned()])));
    assert_eq!(outcome.written, []);
}

#[test]
fn behind_nginx_the_address_that_it_saw_counts_and_is_written_nowhere() {
    let Some(path) = Program::Nginx.find() else { return };
    assert_counts_whom_the_proxy_saw(&run(Program::Nginx, &path, &block("nginx", 0), STRAIGHT));
}

#[test]
fn behind_cloudflare_and_nginx_the_address_that_cloudflare_saw_counts() {
    let Some(path) = Program::Nginx.find() else { return };
    assert_counts_whom_cloudflare_saw(&run(Program::Nginx, &path, &nginx_behind_cloudflare(), BEHIND_CLOUDFLARE));
}

#[test]
fn an_nginx_that_is_set_up_otherwise_is_found_out() {
    let Some(path) = Program::Nginx.find() else { return };
    let good = block("nginx", 0);
    for log in ["access_log off;", "error_log /dev/null emerg;"] {
        let outcome = run(Program::Nginx, &path, &replaced(&good, log, ""), STRAIGHT);
        assert_ne!(outcome.written, [], "without {log}");
    }
    let believing = replaced(&good, "X-Forwarded-For $remote_addr", "X-Forwarded-For $http_x_forwarded_for");
    assert!(run(Program::Nginx, &path, &believing, STRAIGHT).countries.len() > 1);
    // A list that is begun anew ends at Cloudflare's edge.
    assert!(!run(Program::Nginx, &path, &good, BEHIND_CLOUDFLARE).countries.contains("DE"));
}

#[test]
fn behind_caddy_the_address_that_it_saw_counts_and_is_written_nowhere() {
    let Some(path) = Program::Caddy.find() else { return };
    assert_counts_whom_the_proxy_saw(&run(Program::Caddy, &path, &block("Caddy", 0), STRAIGHT));
}

#[test]
fn behind_cloudflare_and_caddy_the_address_that_cloudflare_saw_counts() {
    let Some(path) = Program::Caddy.find() else { return };
    assert_counts_whom_cloudflare_saw(&run(Program::Caddy, &path, &caddy_behind_cloudflare(), BEHIND_CLOUDFLARE));
}

#[test]
fn a_caddy_that_is_set_up_otherwise_is_found_out() {
    let Some(path) = Program::Caddy.find() else { return };
    let good = block("Caddy", 0);
    let access = replaced(&replaced(&good, "exclude http\n", "exclude http.log.error\n"), "\treverse_proxy", "\tlog\n\treverse_proxy");
    for logging in [access, replaced(&good, "exclude http\n", "\n")] {
        assert_ne!(run(Program::Caddy, &path, &logging, STRAIGHT).written, [], "{logging}");
    }
    let believing = replaced(&good, "reverse_proxy 127.0.0.1:8080", "reverse_proxy 127.0.0.1:8080 {\n\t\ttrusted_proxies 127.0.0.0/8\n\t}");
    assert!(run(Program::Caddy, &path, &believing, STRAIGHT).countries.len() > 1);
    assert!(!run(Program::Caddy, &path, &good, BEHIND_CLOUDFLARE).countries.contains("DE"));
}
