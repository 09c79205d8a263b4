//! The tables in ClickHouse: the engine that keeps them, their migrations, their rollup, which of them are finished, and every question that Headcount asks them.

pub mod client;
pub mod close;
pub mod closing;
pub mod database;
pub mod days;
pub mod delete;
pub mod drift;
pub mod engine;
pub mod errors;
pub mod export;
pub mod finished;
pub mod migrate;
pub mod query;
pub mod reached;
pub mod retention;
pub mod rollup;
pub mod visits;
