//! A plain ClickHouse server for tests: `bin/plain_server.rs` as a child process on loopback TCP, with a user and a password.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use headcount::assets::{Asset, Assets};
use headcount_engine::Options;

use crate::binaries;

/// The server's one user.
pub const USER: &str = "ada";
/// And the password.
pub const PASSWORD: &str = "secret";

/// A running server. Killed when dropped.
#[derive(Debug)]
pub struct PlainServer {
    child: Child,
    port: u16,
}

impl PlainServer {
    /// Starts one whose tables are in `folder`, on `port` (0: any), and waits until it listens.
    ///
    /// # Panics
    ///
    /// When it cannot be started.
    pub fn start(folder: &Path, port: u16) -> Self {
        let library = Assets::locate().path(Asset::Engine).expect("libchdb");
        let options = Options { library, data_path: folder.join("server"), socket: folder.join("server.sock"), memory_bytes: 1 << 30 };
        let mut child = Command::new(binaries().join("plain_server"))
            .args(options.to_arguments())
            .args([port.to_string().as_str(), USER, PASSWORD])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the binary was built before the tests");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("it was piped")).read_line(&mut line).expect("the server says its port");
        Self { child, port: line.trim().parse().expect("a port") }
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its address.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

impl Drop for PlainServer {
    fn drop(&mut self) {
        // Already gone is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
