//! ClickHouse in a child process, for one machine.
//!
//! The collector starts `headcount engine` as its child. The child loads libchdb (ClickHouse as a library), opens the data folder and
//! answers on a Unix socket what the `clickhouse` crate sends, so that the collector has one client for this and for a server:
//!
//! ```text
//! socket ── hyper ── request ──> Statement ── ffi ──> libchdb ── blocks ──> Answer
//! ```
//!
//! A child, because ClickHouse may crash or run out of memory, and that must cost the collector time and never an event. The rules of its
//! life, in the order in which [`run`] keeps them:
//!
//! 1. It lives as long as its standard input is open. The parent holds the other end, so however the parent dies, the child follows.
//! 2. It takes a lock on the data folder before ClickHouse opens it, and waits for it: after `kill -9` of the collector an earlier child may
//!    still be finishing an INSERT. Whoever is answered on the socket may rely on no other engine being at work.
//! 3. It opens the engine, then the socket, in a folder that only its user may enter.
//! 4. At the end it stops accepting, lets statements finish until a deadline, closes ClickHouse and leaves with `_exit`.
//!
//! Where cores are scarce it stands behind the collector, by [`limits::NICENESS`]: an event is acknowledged first, and counted when there is time.
//!
//! ClickHouse inside a process has no users and no grants: whoever reaches the socket may do everything. So the socket is private, and SQL
//! written by a person comes with `readonly=1`.

mod exception;
mod ffi;
mod format;
pub mod limits;
mod names;
mod request;
mod serve;
mod service;
mod statement;

use std::ffi::{CString, NulError, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use exception::Exception;
use ffi::{Connection, Library, Parameters};

pub use serve::{run, serve};
pub use service::{Answer, CutShort, PROCESS_HEADER, Service};

/// What the engine is started with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The file `libchdb.so`.
    pub library: PathBuf,
    /// The folder of ClickHouse's data; made when missing, readable by its owner only.
    pub data_path: PathBuf,
    /// The Unix socket to answer on. Its folder is made when missing and closed to everybody else.
    pub socket: PathBuf,
    /// Memory that ClickHouse may use for everything it does.
    pub memory_bytes: u64,
}

impl Options {
    /// The options as arguments of `headcount engine`, in the order of the fields.
    pub fn to_arguments(&self) -> [OsString; 4] {
        let memory_bytes = self.memory_bytes.to_string();
        [self.library.clone().into(), self.data_path.clone().into(), self.socket.clone().into(), memory_bytes.into()]
    }

    /// Reads what [`Options::to_arguments`] wrote; `None` for anything else.
    pub fn from_arguments(arguments: impl IntoIterator<Item = OsString>) -> Option<Self> {
        let mut arguments = arguments.into_iter();
        let mut next = || arguments.next();
        let (library, data_path, socket) = (next()?.into(), next()?.into(), next()?.into());
        let memory_bytes = next()?.to_str()?.parse().ok()?;
        next().is_none().then_some(Self { library, data_path, socket, memory_bytes })
    }
}

/// Why the engine cannot start. The texts name the operator's own paths and nothing else.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The library is missing, damaged or of another version.
    #[error("cannot load ClickHouse from {path}")]
    Library {
        /// The file named in [`Options::library`].
        path: PathBuf,
        /// What the loader said.
        #[source]
        source: libloading::Error,
    },
    /// The data folder or the socket's folder cannot be used.
    #[error("cannot use {path}")]
    Path {
        /// The folder or socket.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The socket's path does not fit into the system's address structure.
    #[error(
        "the socket's path {path} is {length} bytes long, and the system takes at most {}: choose a shorter data folder",
        limits::SOCKET_PATH_BYTES
    )]
    SocketPath {
        /// The path.
        path: PathBuf,
        /// Its bytes.
        length: usize,
    },
    /// The memory cap leaves ClickHouse no room.
    #[error("{memory_bytes} bytes of memory are too few for ClickHouse: at least {} are needed", limits::MEMORY_BYTES_MIN)]
    Memory {
        /// The cap as configured.
        memory_bytes: u64,
    },
    /// A path holds a NUL byte.
    #[error("a path holds a NUL byte")]
    Nul(#[from] NulError),
    /// ClickHouse did not open its data; it does not say why.
    #[error("ClickHouse cannot open its data in {path}")]
    Open {
        /// The data folder.
        path: PathBuf,
    },
    /// The runtime or the accept loop failed.
    #[error("the engine's service failed")]
    Service(#[source] io::Error),
}

impl EngineError {
    /// The status that the child ends with, so that its parent knows why without reading what it wrote.
    pub fn status(&self) -> u8 {
        match self {
            Self::Library { .. } => 10,
            Self::Path { .. } => 11,
            Self::SocketPath { .. } => 12,
            Self::Memory { .. } => 13,
            Self::Nul(_) => 14,
            Self::Open { .. } => 15,
            Self::Service(_) => 16,
        }
    }

    /// What a child's status says, in words for the operator; `None` for one that is not of [`EngineError::status`].
    pub fn explain(status: i32) -> Option<&'static str> {
        Some(match status {
            10 => "the ClickHouse library cannot be loaded: run `make assets`",
            11 => "the data folder or the socket's folder cannot be used",
            12 => "the path of the data folder is too long for a socket",
            13 => "the engine's memory is set too low",
            14 => "a path holds a NUL byte",
            15 => "ClickHouse cannot open its data folder",
            16 => "the engine's service failed",
            _ => return None,
        })
    }

    fn path(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Path { path, source }
    }
}

/// The lock on a data folder. Held as long as this lives.
#[derive(Debug)]
pub struct DataLock {
    _folder: OwnedFd,
}

impl DataLock {
    /// Makes the folder when it is missing and waits until no other engine uses it. Blocks.
    pub fn take(data_path: &Path) -> Result<Self, EngineError> {
        private_folder(data_path)?;
        names::sync_above(data_path).map_err(EngineError::path(data_path))?;
        let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC;
        let folder = rustix::fs::open(data_path, flags, rustix::fs::Mode::empty()).map_err(io::Error::from);
        let folder = folder.map_err(EngineError::path(data_path))?;
        rustix::fs::flock(&folder, rustix::fs::FlockOperation::LockExclusive)
            .map_err(io::Error::from)
            .map_err(EngineError::path(data_path))?;
        Ok(Self { _folder: folder })
    }
}

/// Makes `path` a folder that only its owner may enter.
fn private_folder(path: &Path) -> Result<(), EngineError> {
    use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(EngineError::path(path))?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700)).map_err(EngineError::path(path))
}

/// ClickHouse, open in this process. There can be one in a process, and one for a data folder.
///
/// Dropping it closes ClickHouse. ClickHouse does not start a second time in one process reliably, so end the process then.
pub struct Engine {
    /// Keeps ClickHouse open between statements.
    keeper: std::sync::Mutex<Connection<'static>>,
    library: &'static Library,
    path: CString,
    data_path: PathBuf,
}

impl Engine {
    /// Loads the library and opens the data, whose lock the caller holds.
    pub fn open(options: &Options, _lock: &DataLock) -> Result<Self, EngineError> {
        if options.memory_bytes < limits::MEMORY_BYTES_MIN {
            return Err(EngineError::Memory { memory_bytes: options.memory_bytes });
        }
        let library = Library::load(&options.library).map_err(|source| EngineError::Library { path: options.library.clone(), source })?;
        // Loaded once a process and never unloaded, so it is as static as code.
        let library: &'static Library = Box::leak(Box::new(library));
        let mut argument = OsString::from("--path=");
        argument.push(&options.data_path);
        let path = CString::new(argument.into_encoded_bytes())?;
        let boot = [
            c"clickhouse".to_owned(),
            path.clone(),
            CString::new(format!("--max_server_memory_usage={}", options.memory_bytes))?,
            // The default of 5 GB would count against the cap above.
            CString::new(format!("--mark_cache_size={}", options.memory_bytes / 16))?,
        ];
        let keeper = library.connect(&boot).ok_or_else(|| EngineError::Open { path: options.data_path.clone() })?;
        Ok(Self { keeper: std::sync::Mutex::new(keeper), library, path, data_path: options.data_path.clone() })
    }

    /// ClickHouse's version as the library states it.
    pub fn version(&self) -> String {
        self.library.version()
    }

    /// True when ClickHouse answers a statement on the connection that keeps it open.
    pub fn answers(&self) -> bool {
        let mut keeper = self.keeper.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        keeper.query("SELECT 1", "TSV", &Parameters::default()).is_ok_and(|result| result.bytes() == b"1\n")
    }

    fn connect(&self) -> Result<Connection<'_>, Exception> {
        let arguments = [c"clickhouse".to_owned(), self.path.clone()];
        self.library.connect(&arguments).ok_or_else(Exception::unknown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_survive_the_command_line() {
        let options = Options { library: "/a b".into(), data_path: "/c".into(), socket: "d".into(), memory_bytes: u64::MAX };
        assert_eq!(Options::from_arguments(options.to_arguments()), Some(options.clone()));
        assert_eq!(Options::from_arguments(options.to_arguments().into_iter().skip(1)), None);
        assert_eq!(Options::from_arguments(options.to_arguments().into_iter().chain(["more".into()])), None);
    }
}
