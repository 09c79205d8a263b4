//! The real engine for a test: a child process with data of its own, and clients for it.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Weak};
use std::time::Duration;

use clickhouse::Client;
use headcount::assets::{Asset, Assets};
use headcount::store::client;
use tempfile::TempDir;

/// How long anything that has to happen may take before a test fails.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// An engine process. Dropping it ends the process by closing its standard input.
#[derive(Debug)]
pub struct EngineChild {
    child: Child,
    input: Option<ChildStdin>,
    socket: PathBuf,
}

impl EngineChild {
    /// Starts `executable` (the path of `engine_child`) on `folder`, without waiting for anything.
    ///
    /// # Panics
    /// When it cannot be started, or libchdb has not been fetched.
    pub fn spawn(executable: &str, folder: &Path, memory_bytes: u64) -> Self {
        let library = Assets::locate().path(Asset::Engine).expect("libchdb");
        let socket = folder.join("run/engine.sock");
        let mut child = Command::new(executable)
            .args([library.as_os_str(), folder.join("clickhouse").as_os_str(), socket.as_os_str()])
            .arg(memory_bytes.to_string())
            .stdin(Stdio::piped())
            .spawn()
            .expect("the engine starts");
        let input = child.stdin.take();
        Self { child, input, socket }
    }

    /// The process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The socket that it answers on.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Waits until this process, and no other, answers.
    pub async fn ready(&self) {
        let pinger = client::Pinger::new(&self.socket);
        eventually(async || pinger.process().await == Some(self.id())).await;
    }

    /// True while the process runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Kills the process without notice.
    pub fn kill(&mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait().map(drop)
    }

    /// Closes its standard input, as the end of its parent does.
    pub fn close_input(&mut self) {
        self.input = None;
    }

    /// Waits for its end and gives its status.
    pub async fn ended(&mut self) -> Option<i32> {
        eventually(async || !self.is_running()).await;
        self.child.wait().ok().and_then(|status| status.code())
    }

    /// A client of the collector's own kind.
    pub fn client(&self) -> Client {
        client::embedded(&self.socket)
    }
}

impl Drop for EngineChild {
    fn drop(&mut self) {
        self.input = None;
        let _ = self.child.wait();
    }
}

/// An engine with a folder of its own, ready to be asked.
#[derive(Debug)]
pub struct TestEngine {
    /// The process.
    pub child: EngineChild,
    folder: TempDir,
}

impl TestEngine {
    /// Starts one with 1 GiB of memory and waits until it answers.
    ///
    /// # Panics
    /// As [`EngineChild::spawn`].
    pub async fn start(executable: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("hc").tempdir().expect("a temporary folder");
        let child = EngineChild::spawn(executable, folder.path(), 1 << 30);
        child.ready().await;
        Self { child, folder }
    }

    /// The engine that the tests of one binary share while any of them runs; each makes a database of its own.
    pub async fn shared(executable: &str) -> Arc<Self> {
        static SHARED: tokio::sync::Mutex<Weak<TestEngine>> = tokio::sync::Mutex::const_new(Weak::new());
        let mut shared = SHARED.lock().await;
        if let Some(engine) = shared.upgrade() {
            return engine;
        }
        let engine = Arc::new(Self::start(executable).await);
        *shared = Arc::downgrade(&engine);
        engine
    }

    /// The folder with data and socket.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A client of a fresh database `name`.
    ///
    /// # Panics
    /// When the database cannot be made.
    pub async fn database(&self, name: &str) -> Client {
        let client = self.child.client();
        client.query(&format!("CREATE DATABASE {name}")).execute().await.expect("a database");
        client.with_database(name)
    }
}

/// Waits until `holds`.
///
/// # Panics
/// When it does not within [`PATIENCE`].
pub async fn eventually(mut holds: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("it holds in time");
}
