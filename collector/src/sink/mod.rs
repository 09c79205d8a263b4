//! From sealed segments to ClickHouse.

pub mod client;
pub mod errors;
