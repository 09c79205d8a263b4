//! Every bound of the engine, named in one place.

use std::time::Duration;

/// Inserts that run at one time.
pub const INSERTS: usize = 4;
/// Other statements that run at one time.
pub const QUERIES: usize = 8;
/// Connections that are open at one time; more wait to be accepted.
pub const CONNECTIONS: usize = 128;
/// Bytes of a statement with its parameters.
pub const SQL_BYTES: usize = 4 * 1024 * 1024;
/// Pieces of a request's or an answer's body that wait between the socket and the engine.
pub const PIECES: usize = 4;
/// Bytes of a Unix socket's path: `sun_path` of unix(7) holds 108 with the closing NUL.
pub const SOCKET_PATH_BYTES: usize = 107;
/// From the end of the parent to the end of this process; a statement that still runs then is cut off, as by a kill.
pub const STOP_DEADLINE: Duration = Duration::from_secs(10);
/// For a client to take the notice that its answer failed midway, before the connection is cut.
pub const NOTICE_GRACE: Duration = Duration::from_secs(5);
/// Smallest memory cap ClickHouse is started with: below it the engine cannot even open its tables.
pub const MEMORY_BYTES_MIN: u64 = 256 * 1024 * 1024;
/// How far the process stands behind others on the same cores, see nice(2): a tenth of a core is still its own where the collector could fill all of it, enough
/// to store 30,000 events a second.
pub const NICENESS: i32 = 10;
