//! The configuration: where it comes from, what it says when it is wrong, and the [`Config`] that the rest of the collector uses.
//!
//! Two sets of types: [`written`] is the file as an operator writes it, with every key optional and unknown keys refused; [`Config`] is the same as
//! used, complete and valid. Nothing but this module reads the environment or the file. A key wins over its default, a variable over the key, and a
//! flag over the variable. What would collect more than Headcount promises is refused here, and the refusal names the promise.

mod build;
mod declared;
mod fault;
mod places;
mod sites;
mod written;

use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hyper::Uri;
use hyper::header::HeaderName;

pub use fault::{ConfigError, Fault, Promise};
pub use places::Surroundings;

use crate::privacy::proxy::Trusted;
use crate::site::Sites;

/// The name of the configuration file in `data_dir`, read when no other is named.
pub const FILE_NAME: &str = "headcount.toml";

/// The database that holds the tables, unless a server's operator names another.
pub const DATABASE: &str = "headcount";

/// Everything that can be configured, complete and valid.
#[derive(Debug, Clone)]
pub struct Config {
    /// The file this was read from; `None` when everything is a default.
    pub file: Option<PathBuf>,
    /// Where all state lives, except the keys.
    pub data_dir: PathBuf,
    /// Where the keys of the days live: memory, not a disk, unless the operator says otherwise.
    pub key_dir: PathBuf,
    /// The listener for visitors.
    pub public: Public,
    /// The listener for the operator.
    pub private: Private,
    /// Whose forwarding header is believed.
    pub proxy: Proxy,
    /// The country database; `None` stores `ZZ` for everybody.
    pub geo: Option<DataFile>,
    /// Which ClickHouse keeps the events.
    pub store: Store,
    /// Hours after its start at which a day is closed: 30 to 168.
    pub close_after_hours: u16,
    /// The spool's bounds.
    pub spool: Spool,
    /// Patterns of user agents (uap-core's `regexes.yaml`).
    pub user_agents: DataFile,
    /// Declared crawlers (`crawler-user-agents.json`).
    pub crawlers: DataFile,
    /// What is logged, and how.
    pub log: Log,
    /// Where finished figures are written for other tools.
    pub export_dir: Option<PathBuf>,
    /// The sites, and the time zones they live in.
    pub sites: Arc<Sites>,
}

/// The listener for visitors.
#[derive(Debug, Clone)]
pub struct Public {
    /// Where it listens.
    pub listen: SocketAddr,
    /// How visitors reach it (`https://stats.example.org`), without a slash at the end; `None` while the operator has not said.
    pub url: Option<Box<str>>,
    /// Put before every path: empty, or `/hc`.
    pub base_path: Box<str>,
    /// Where the script is, below `base_path`.
    pub script_path: Box<str>,
    /// Where events are sent, below `base_path`; the pixel is at this path with `.gif` at its end.
    pub event_path: Box<str>,
    /// Threads that serve visitors.
    pub workers: NonZeroUsize,
}

/// The listener for the operator.
#[derive(Debug, Clone)]
pub struct Private {
    /// Where it listens: a loopback address, unless `insecure` was said.
    pub listen: SocketAddr,
    /// How the operator reaches it, without a slash at the end.
    pub public_url: Option<Box<str>>,
}

impl Private {
    /// How the operator reaches it: what they said, else its address.
    pub fn url(&self) -> String {
        self.public_url.as_deref().map_or_else(|| format!("http://{}", self.listen), str::to_owned)
    }

    /// The host in [`Private::url`], in lower case.
    pub fn host(&self) -> String {
        self.url().parse::<Uri>().ok().and_then(|url| url.host().map(str::to_ascii_lowercase)).unwrap_or_default()
    }
}

/// Whose forwarding header is believed, and which header that is.
#[derive(Debug, Clone)]
pub struct Proxy {
    /// The peers that may name a visitor's address.
    pub trusted: Trusted,
    /// The header that they name it in.
    pub header: HeaderName,
}

/// A data file that the collector reads at its start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DataFile {
    /// The one that this release was pinned to and tested with.
    Pinned,
    /// One that the operator keeps.
    Named(PathBuf),
}

/// Which ClickHouse keeps the events.
#[derive(Debug, Clone)]
pub enum Store {
    /// A child process of this one, on this machine.
    Embedded(Engine),
    /// A server that somebody else runs.
    Server(ClickHouse),
}

/// The embedded engine.
#[derive(Debug, Clone)]
pub struct Engine {
    /// `libchdb.so`.
    pub library: DataFile,
    /// The most memory that its queries may take together.
    pub memory_bytes: u64,
}

/// A ClickHouse server.
#[derive(Debug, Clone)]
pub struct ClickHouse {
    /// `http://` or `https://`, host and port, without a path.
    pub url: Box<str>,
    /// Who the collector is there.
    pub user: Box<str>,
    /// The password, which prints as nothing.
    pub password: Password,
    /// The database that holds the tables.
    pub database: Box<str>,
}

/// A password: it has no form that can be printed.
#[derive(Clone)]
pub struct Password(Box<str>);

impl Password {
    /// The password itself, for the one header it is sent in.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Password {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Password(..)")
    }
}

/// The spool's bounds.
#[derive(Debug, Clone, Copy)]
pub struct Spool {
    /// The most that it takes of the disk; over it, events are refused with 503.
    pub max_bytes: u64,
    /// How old the oldest event that waits for ClickHouse may be before the collector says that it is behind.
    pub behind_after: Duration,
}

/// What is logged, and how.
#[derive(Debug, Clone, Copy)]
pub struct Log {
    /// The finest level that is written.
    pub level: tracing::Level,
    /// The form of a line.
    pub format: LogFormat,
}

/// The form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line, for machines.
    Json,
}

/// What the command line and the variables say; both win over the file.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// `--config` or `HEADCOUNT_CONFIG`.
    pub config: Option<PathBuf>,
    /// `--data-dir` or `HEADCOUNT_DATA_DIR`.
    pub data_dir: Option<PathBuf>,
    /// `--key-dir` or `HEADCOUNT_KEY_DIR`.
    pub key_dir: Option<PathBuf>,
    /// `--public-listen` or `HEADCOUNT_PUBLIC_LISTEN`.
    pub public_listen: Option<SocketAddr>,
    /// `--private-listen` or `HEADCOUNT_PRIVATE_LISTEN`.
    pub private_listen: Option<SocketAddr>,
}

impl Config {
    /// Reads the configuration: the file that `overrides` names, else `headcount.toml` in the data folder if there is one, else nothing but defaults.
    pub fn load(overrides: &Overrides, surroundings: &Surroundings) -> Result<Self, ConfigError> {
        match Self::locate(overrides, surroundings)? {
            Located { file, exists: true } => {
                let text = std::fs::read_to_string(&file).map_err(|cause| ConfigError::Unreadable { file: file.clone(), cause })?;
                Self::parse(&text, Some(&file), overrides, surroundings)
            }
            Located { exists: false, .. } => Self::parse("", None, overrides, surroundings),
        }
    }

    /// Reads the configuration from `text`; errors call it `file`.
    pub fn parse(text: &str, file: Option<&Path>, overrides: &Overrides, surroundings: &Surroundings) -> Result<Self, ConfigError> {
        let name = file.unwrap_or(Path::new(FILE_NAME));
        let written = written::read(text).map_err(|fault| fault.located(name, text, overrides))?;
        build::build(written, overrides, surroundings)
            .map(|config| Self { file: file.map(Path::to_path_buf), ..config })
            .map_err(|fault| fault.located(name, text, overrides))
    }

    /// Which file is read, or would be read if it existed.
    pub fn locate(overrides: &Overrides, surroundings: &Surroundings) -> Result<Located, ConfigError> {
        if let Some(file) = &overrides.config {
            return Ok(Located { file: file.clone(), exists: true });
        }
        let data_dir = overrides.data_dir.clone().or_else(|| surroundings.data_dir()).ok_or(ConfigError::NoDataDir)?;
        let file = data_dir.join(FILE_NAME);
        let exists = file.is_file();
        Ok(Located { file, exists })
    }

    /// Where the spool's segments lie.
    pub fn spool_dir(&self) -> PathBuf {
        self.data_dir.join("spool")
    }

    /// Where births and deaths of keys are written down; it holds no key.
    pub fn keys_log(&self) -> PathBuf {
        self.data_dir.join("keys.log")
    }

    /// Where the embedded ClickHouse keeps its tables.
    pub fn engine_dir(&self) -> PathBuf {
        self.data_dir.join("clickhouse")
    }

    /// Where the embedded ClickHouse answers, in a folder that only its user may enter.
    pub fn engine_socket(&self) -> PathBuf {
        self.data_dir.join("engine").join("socket")
    }

    /// The database that holds the tables.
    pub fn database(&self) -> &str {
        match &self.store {
            // The database that ClickHouse makes by itself.
            Store::Embedded(_) => "default",
            Store::Server(server) => &server.database,
        }
    }

    /// How visitors reach this collector, `base_path` included: what the operator said, else the listening port on this machine.
    pub fn visitors_url(&self) -> String {
        let Public { url, listen, base_path, .. } = &self.public;
        match url {
            Some(url) => format!("{url}{base_path}"),
            None if listen.ip().is_unspecified() || listen.ip().is_loopback() => format!("http://localhost:{}{base_path}", listen.port()),
            None => format!("http://{listen}{base_path}"),
        }
    }

    /// The tag that a page of `site` carries.
    pub fn script_tag(&self, site: &str) -> String {
        format!(r#"<script defer src="{}{}" data-site="{site}"></script>"#, self.visitors_url(), self.public.script_path)
    }
}

/// Where the configuration file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located {
    /// The file.
    pub file: PathBuf,
    /// Whether to read it: a file that was named must be there, the one in the data folder need not.
    pub exists: bool,
}

#[cfg(test)]
mod tests;
