//! The collector as an operator runs it: the binary, a configuration file, signals, and what it prints.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::bench::process;
use crate::binaries;
use crate::http::{self, Answer};

/// An agent of a real browser, for requests that are to be counted.
pub const BROWSER: &str =
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36";

/// How long any wait lasts before the test fails.
const PATIENCE: Duration = Duration::from_mins(3);

/// What a collector is started with.
#[derive(Debug)]
pub struct Setup {
    path: PathBuf,
    /// Goes with it, unless the folder is to be kept.
    _folder: Option<TempDir>,
    program: PathBuf,
    environment: Vec<(String, String)>,
}

impl Setup {
    /// A data folder of its own, and this configuration; the paths and listeners are added to it.
    ///
    /// # Panics
    ///
    /// When the folder cannot be written to.
    pub fn new(name: &str, config: &str) -> Self {
        let folder = tempfile::Builder::new().prefix(&format!("hc-{name}-")).tempdir().expect("the temporary folder can be written to");
        let path = folder.path().to_owned();
        let setup = Self { path, _folder: Some(folder), program: binaries().join("headcount"), environment: Vec::new() };
        setup.configure(config);
        setup
    }

    /// The same in a folder that stays, with what is in it.
    ///
    /// # Panics
    ///
    /// When the folder cannot be written to.
    pub fn kept_in(path: &Path, config: &str) -> Self {
        std::fs::create_dir_all(path).expect("the folder can be made");
        let setup = Self { path: path.to_owned(), _folder: None, program: binaries().join("headcount"), environment: Vec::new() };
        setup.configure(config);
        setup
    }

    /// Writes another configuration, for the next start or reload.
    ///
    /// # Panics
    ///
    /// When the folder cannot be written to.
    pub fn configure(&self, config: &str) {
        let folder = self.path().display();
        let text = format!("data_dir = \"{folder}/data\"\nkey_dir = \"{folder}/keys\"\n{config}");
        std::fs::write(self.config_path(), text).expect("the test's own folder can be written to");
    }

    /// The configuration file.
    pub fn config_path(&self) -> PathBuf {
        self.path().join("headcount.toml")
    }

    /// Runs another build of the binary.
    #[must_use]
    pub fn with_program(mut self, program: PathBuf) -> Self {
        self.program = program;
        self
    }

    /// Runs it with a clock that stands until it is moved, at `now` in milliseconds since 1970: what a test says of days must not hang on the hour at
    /// which it is run. A build with a leak has a stage of its own, and keeps it.
    #[must_use]
    pub fn on_stage(self, now: i64) -> Self {
        let setup = if self.program == binaries().join("headcount") { self.with_program(binaries().join("staged")) } else { self };
        setup.with_variable(crate::staged::NOW, &now.to_string())
    }

    /// How many segments lie in the spool, those that are held among them; none in `parked/` or `quarantine/`.
    pub fn waiting_segments(&self) -> usize {
        let names = std::fs::read_dir(self.data().join("spool")).into_iter().flatten().map_while(Result::ok).map(|entry| entry.path());
        names.filter(|path| path.extension().is_some_and(|extension| extension == "open" || extension == "sealed")).count()
    }

    /// Sets a variable of the process.
    #[must_use]
    pub fn with_variable(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The folder of everything.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder of the collector's state.
    pub fn data(&self) -> PathBuf {
        self.path().join("data")
    }

    /// A client of the embedded engine's tables.
    pub fn database(&self) -> clickhouse::Client {
        headcount::store::client::embedded(&self.data().join("engine/socket"))
    }

    /// A command of the binary with this setup, such as `spool ls`.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--config").arg(self.config_path()).args(arguments);
        command.args(["--public-listen", "127.0.0.1:0", "--private-listen", "127.0.0.1:0"]);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Runs a command to its end; returns its output, both streams.
    ///
    /// # Panics
    ///
    /// When the binary cannot be run.
    pub fn run(&self, arguments: &[&str]) -> (ExitStatus, String) {
        let output = self.command(arguments).output().expect("the binary was built before the tests");
        (output.status, format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)))
    }

    /// Starts the collector and waits until it says where it listens.
    ///
    /// # Panics
    ///
    /// When it ends instead, with what it said.
    pub fn start(&self) -> Collector {
        let mut child = self
            .command(&["serve"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary was built before the tests");
        let said = listen(&mut child);
        let input = child.stdin.take();
        let mut collector = Collector { child, input, said, seen: Vec::new(), public: None, private: None, token: None };
        collector.wait_for_addresses();
        collector
    }
}

/// Reads both streams of a child for as long as it lives, so that it never waits for its reader.
fn listen(child: &mut Child) -> mpsc::Receiver<String> {
    let (sender, said) = mpsc::channel();
    let out = child.stdout.take().expect("it was piped");
    let err = child.stderr.take().expect("it was piped");
    let other = sender.clone();
    std::thread::spawn(move || BufReader::new(out).lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
    std::thread::spawn(move || BufReader::new(err).lines().map_while(Result::ok).try_for_each(|line| other.send(line)));
    said
}

/// A running collector. Killed when dropped.
#[derive(Debug)]
pub struct Collector {
    child: Child,
    input: Option<ChildStdin>,
    said: mpsc::Receiver<String>,
    seen: Vec<String>,
    public: Option<SocketAddr>,
    private: Option<SocketAddr>,
    token: Option<String>,
}

impl Collector {
    fn wait_for_addresses(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        while self.public.is_none() || self.private.is_none() {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(line) = self.said.recv_timeout(left) else {
                panic!("the collector does not listen; it said:\n{}", self.seen.join("\n"));
            };
            self.note_address(&line);
            self.seen.push(line);
        }
    }

    /// The two lines that a start prints: `visitors  http://...` and `operator  http://.../?token=...`.
    fn note_address(&mut self, line: &str) {
        let mut words = line.split_whitespace();
        let (Some(listener), Some(url)) = (words.next(), words.next()) else { return };
        // The printed links are for people: `localhost` reads better than a number.
        let address = url.strip_prefix("http://").and_then(|rest| rest.split('/').next()?.replace("localhost", "127.0.0.1").parse().ok());
        match listener {
            "visitors" => self.public = address,
            "operator" => {
                self.private = address;
                self.token = url.split_once("token=").map(|(_, token)| token.to_owned());
            }
            _ => {}
        }
    }

    /// Where visitors are listened to.
    ///
    /// # Panics
    ///
    /// Never: a collector that was returned has said it.
    pub fn public(&self) -> SocketAddr {
        self.public.expect("a started collector has said where it listens")
    }

    /// Where the operator is listened to.
    ///
    /// # Panics
    ///
    /// Never: a collector that was returned has said it.
    pub fn private(&self) -> SocketAddr {
        self.private.expect("a started collector has said where it listens")
    }

    /// The token of the printed link.
    ///
    /// # Panics
    ///
    /// When the start printed none.
    pub fn token(&self) -> &str {
        self.token.as_deref().expect("the start prints the link with its token")
    }

    /// The process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends one event to `/e` as a browser does.
    ///
    /// # Panics
    ///
    /// When there is no answer.
    pub fn beacon(&self, json: &str) -> Answer {
        http::send(self.public(), "POST", "/e", &["Content-Type: text/plain", BROWSER], json.as_bytes()).expect("the collector answers")
    }

    /// Reads a page of the private listener with the operator's token.
    ///
    /// # Panics
    ///
    /// When there is no answer.
    pub fn operator(&self, target: &str) -> Answer {
        let authorization = format!("Authorization: Bearer {}", self.token());
        http::send(self.private(), "GET", target, &[&authorization], b"").expect("the collector answers")
    }

    /// The value of a metric by its whole name, labels included; `None` when it is not there.
    pub fn metric(&self, name: &str) -> Option<f64> {
        let metrics = self.operator("/metrics").text();
        metrics.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
    }

    /// The sum of a metric over all its labels.
    pub fn metric_sum(&self, name: &str) -> f64 {
        let metrics = self.operator("/metrics").text();
        let labelled = format!("{name}{{");
        metrics.lines().filter(|line| line.starts_with(&labelled)).filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }

    /// How many events ClickHouse has from this process.
    pub fn events_inserted(&self) -> u64 {
        let metrics = self.operator("/metrics").text();
        let count = metrics.lines().find_map(|line| line.strip_prefix("headcount_inserted_rows_total{table=\"events\"} "));
        count.and_then(|count| count.parse().ok()).unwrap_or(0)
    }

    /// Waits until ClickHouse has `count` events from this process.
    pub fn wait_for_events(&self, count: u64) {
        self.wait_until("all events in the table", |collector| (collector.events_inserted() == count).then_some(()));
    }

    /// Waits until ClickHouse has every event that was answered, also those of the process before.
    pub fn wait_for_spool(&self) {
        self.wait_until("the spool to be empty", |collector| (collector.metric("headcount_spool_events")? < 0.5).then_some(()));
    }

    /// Asks `ready` again and again until it gives something.
    ///
    /// # Panics
    ///
    /// When it gives nothing within three minutes; `what` says what was waited for.
    pub fn wait_until<T>(&self, what: &str, mut ready: impl FnMut(&Self) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = ready(self) {
                return found;
            }
            assert!(
                Instant::now() < deadline,
                "waited in vain for {what}; it said:\n{}",
                self.seen.iter().cloned().chain(self.said.try_iter()).collect::<Vec<_>>().join("\n")
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends it as SIGTERM does; returns how it ended.
    ///
    /// # Panics
    ///
    /// When it does not end within three minutes.
    pub fn stop(self) -> ExitStatus {
        self.signal("TERM");
        self.ended()
    }

    /// Waits for its end, which somebody has ordered; returns how it ended.
    ///
    /// # Panics
    ///
    /// When it does not end within three minutes.
    pub fn ended(mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
                return status;
            }
            assert!(Instant::now() < deadline, "the collector does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Ends it as a power cut ends a process.
    ///
    /// # Panics
    ///
    /// When the system refuses.
    pub fn kill(mut self) {
        self.child.kill().expect("a child can be killed");
        self.child.wait().expect("a child can be waited for");
    }

    /// Sends a signal by its name, such as `HUP`.
    ///
    /// # Panics
    ///
    /// When there is no `kill`.
    pub fn signal(&self, name: &str) {
        signal(self.id(), name);
    }

    /// The process of its embedded engine, while one lives.
    pub fn engine(&self) -> Option<u32> {
        process::children(self.id()).ok()?.first().copied()
    }

    /// Waits until nothing is in the spool, not even an empty segment.
    ///
    /// # Panics
    ///
    /// When it does not drain within three minutes.
    pub fn drained(&self) {
        self.wait_until("the spool to drain", |collector| (collector.metric("headcount_spool_bytes")? < 0.5).then_some(()));
    }

    /// What `/readyz` says: the status and the word, which is its first line.
    ///
    /// # Panics
    ///
    /// When there is no answer.
    pub fn readiness(&self) -> (u16, String) {
        let answer = http::send(self.private(), "GET", "/readyz", &[], b"").expect("the collector answers");
        (answer.status, answer.text().lines().next().unwrap_or_default().to_owned())
    }

    /// Moves the clock of a collector on a stage ([`crate::staged`]), and waits until it stands.
    ///
    /// # Panics
    ///
    /// When it is not on a stage.
    pub fn set_clock(&mut self, now: i64) {
        let input = self.input.as_mut().expect("its standard input was piped");
        writeln!(input, "{now}").expect("it listens");
        let told = crate::staged::told(now);
        let deadline = Instant::now() + PATIENCE;
        while !self.seen.contains(&told) {
            let left = deadline.saturating_duration_since(Instant::now());
            self.seen.push(self.said.recv_timeout(left).expect("it says that the clock stands"));
        }
    }

    /// Waits for its end, which somebody has ordered; returns everything that it ever said.
    ///
    /// # Panics
    ///
    /// When it does not end within three minutes.
    pub fn last_words(mut self) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.said.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => self.seen.push(line),
                Err(mpsc::RecvTimeoutError::Disconnected) => return self.seen.join("\n"),
                Err(mpsc::RecvTimeoutError::Timeout) => panic!("its output is still open"),
            }
        }
    }

    /// Waits until it has said a line with `text` in it.
    ///
    /// # Panics
    ///
    /// When it has not within three minutes.
    pub fn wait_for_line(&mut self, text: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.log().iter().any(|line| line.contains(text)) {
            assert!(Instant::now() < deadline, "it never said {text:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Everything it has said so far, a line each.
    pub fn log(&mut self) -> &[String] {
        self.seen.extend(self.said.try_iter());
        &self.seen
    }
}

/// Sends a signal to any process by its name, such as `STOP`.
///
/// # Panics
///
/// When there is no `kill`.
pub fn signal(process: u32, name: &str) {
    Command::new("kill").arg(format!("-{name}")).arg(process.to_string()).status().expect("`kill` is there");
}

impl Drop for Collector {
    fn drop(&mut self) {
        // Already gone is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
