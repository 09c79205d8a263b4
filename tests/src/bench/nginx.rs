//! What is nearest to it among what people have: nginx that writes the bodies of beacons into its log, beside Headcount and bare hyper.
//!
//! nginx has a request's body for its log only when something has read it: a mirrored subrequest, or a server that it is passed to. In both ways the answer says that the
//! line lies in a buffer, which is written within five seconds; nothing is synced, and nothing is judged.

use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::bodies;
use super::costs::{AGENTS, CONNECTIONS};
use super::report::Figure;
use super::rig::{self, ALONE, Baseline, ROUNDS, SERVER_CORE, Target, cost};
use crate::collector::Setup;
use crate::programs;

/// How the body comes to be read.
#[derive(Clone, Copy, Debug)]
enum Way {
    Mirrored,
    PassedOn,
}

impl Way {
    const ALL: [Self; 2] = [Self::Mirrored, Self::PassedOn];

    fn label(self) -> &'static str {
        match self {
            Self::Mirrored => "nginx, body logged beside a mirrored subrequest",
            Self::PassedOn => "nginx, body logged and passed to a server of its own",
        }
    }

    fn locations(self, address: SocketAddr) -> String {
        match self {
            // A file that takes no POST: its 405 becomes the answer, after the mirror has had the body read.
            Self::Mirrored => "location = /e { mirror /mirrored; access_log off; error_page 405 = @taken; }\n\
                 location = /mirrored { internal; access_log off; return 204; }\n\
                 location @taken { return 202; }\n"
                .to_owned(),
            Self::PassedOn => format!(
                "location = /e {{ proxy_pass http://itself/taken; proxy_http_version 1.1; proxy_set_header Connection \"\"; }}\n\
                 location = /taken {{ access_log off; return 202; }}\n\
                 }}\nupstream itself {{ server {address}; keepalive {CONNECTIONS};\n"
            ),
        }
    }
}

/// CPU per request of nginx in both ways, of Headcount and of bare hyper, in turn.
///
/// # Errors
/// Also when nginx is not there, or has not logged every body.
pub fn comparison() -> io::Result<Vec<Figure>> {
    let program = programs::find("nginx", "-v").ok_or_else(|| io::Error::other("nginx is not there; `tests/deps.sh test` fetches it"))?;
    let requests = bodies::beacons(AGENTS, false);
    let bare = Baseline::start()?;
    let setup = Setup::new("bench", ALONE);
    let headcount = rig::start(&setup)?;
    let servers = Way::ALL.map(|way| Nginx::start(&program, way)).into_iter().collect::<io::Result<Vec<_>>>()?;
    let mut targets = vec![("bare hyper", bare.target()), ("Headcount, durable", Target::from(&headcount))];
    targets.extend(servers.iter().map(|nginx| (nginx.way.label(), nginx.target())));
    let mut rounds = vec![Vec::new(); targets.len()];
    let mut sent = vec![0; targets.len()];
    for _ in 0..ROUNDS {
        for (place, (_, target)) in targets.iter().enumerate() {
            let (micros, outcome) = cost(*target, &requests, CONNECTIONS)?;
            rounds[place].push(micros);
            sent[place] += outcome.answered;
        }
    }
    for (nginx, sent) in servers.iter().zip(&sent[2..]) {
        nginx.has_logged(*sent)?;
    }
    Ok(targets
        .iter()
        .zip(rounds)
        .map(|((who, _), rounds)| Figure::new(&format!("POST /e, 64 connections: CPU us per request, {who}"), rounds))
        .collect())
}

/// One worker on the servers' core. Killed when dropped.
struct Nginx {
    way: Way,
    child: Child,
    address: SocketAddr,
    folder: tempfile::TempDir,
}

impl Nginx {
    fn start(program: &Path, way: Way) -> io::Result<Self> {
        let folder = tempfile::Builder::new().prefix("hc-nginx-").tempdir()?;
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        std::fs::write(folder.path().join("e"), "")?;
        std::fs::write(folder.path().join("configuration"), configuration(way, address, folder.path()))?;
        let mut command = Command::new(program);
        command
            .arg("-p")
            .arg(folder.path())
            .arg("-e")
            .arg(folder.path().join("error.log"))
            .arg("-c")
            .arg(folder.path().join("configuration"));
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let mut nginx = Self { way, child, address, folder };
        let deadline = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(address).is_err() {
            if nginx.child.try_wait()?.is_some() || Instant::now() > deadline {
                let said = std::fs::read_to_string(nginx.folder.path().join("error.log")).unwrap_or_default();
                return Err(io::Error::other(format!("nginx does not listen: {said}")));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        rig::pin(SERVER_CORE, nginx.child.id())?;
        Ok(nginx)
    }

    fn target(&self) -> Target {
        Target { process: self.child.id(), address: self.address }
    }

    /// What costs less because it is not done is no comparison. The load has warmed up before each round, so there are more lines than were counted.
    fn has_logged(&self, sent: u64) -> io::Result<()> {
        let deadline = Instant::now() + Duration::from_secs(20);
        let mut lines = 0;
        while Instant::now() < deadline {
            let log = BufReader::new(std::fs::File::open(self.folder.path().join("bodies.log"))?);
            lines = log.lines().map_while(Result::ok).filter(|line| line.contains("how-to-count-heads")).count() as u64;
            if lines >= sent {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(500));
        }
        Err(io::Error::other(format!("{}: {lines} bodies of {sent} in the log", self.way.label())))
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // Gone already is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One process, which is master and worker, so that its account is the whole.
fn configuration(way: Way, address: SocketAddr, folder: &Path) -> String {
    let folder = folder.display();
    let mut text = format!(
        "daemon off;\nmaster_process off;\npid {folder}/pid;\nerror_log {folder}/error.log crit;\nevents {{ worker_connections 4096; }}\nhttp {{\n"
    );
    for name in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
        writeln!(text, "{name}_temp_path {folder}/{name};").expect("a String takes any text");
    }
    let locations = way.locations(address);
    write!(
        text,
        "log_format body escape=json '$msec $request_body';\naccess_log {folder}/bodies.log body buffer=64k flush=5s;\n\
         open_file_cache max=8;\nkeepalive_requests 1000000000;\nclient_body_buffer_size 64k;\ntcp_nodelay on;\n\
         server {{\nlisten {address} backlog=4096;\nroot {folder};\n{locations}}}\n}}\n"
    )
    .expect("a String takes any text");
    text
}
