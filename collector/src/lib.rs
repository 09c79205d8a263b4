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
pub mod exposition;
pub mod insight;
pub mod instance;
pub mod leak;
pub mod limits;
pub mod metrics;
pub mod outcome;
pub mod pages;
pub mod pipeline;
#[expect(clippy::disallowed_types, reason = "the one place where an address may be opened")]
pub mod privacy;
pub mod row;
pub mod serve;
pub mod server;
pub mod shutdown;
pub mod sink;
pub mod site;
pub mod spool;
pub mod statement;
pub mod store;
pub mod tally;
pub mod telemetry;
pub mod worker;
