//! Headcount counts heads, not faces.

pub mod assets;
pub mod beacon;
pub mod cli;
pub mod clock;
pub mod config;
pub mod consent;
pub mod days;
pub mod distinct;
pub mod enrich;
pub mod event;
pub mod instance;
pub mod leak;
pub mod limits;
pub mod metrics;
pub mod outcome;
pub mod pages;
#[expect(clippy::disallowed_types, reason = "the one place where an address may be opened")]
pub mod privacy;
pub mod row;
pub mod server;
pub mod shutdown;
pub mod sink;
pub mod site;
pub mod spool;
pub mod store;
pub mod tally;
pub mod telemetry;
