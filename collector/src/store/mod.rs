//! The tables in ClickHouse: their migrations, their rollup, and every question that Headcount asks them.

pub mod migrate;
pub mod query;
pub mod rollup;
