//! `make bench`: what a request costs, as a ratio against bare hyper in the same run.
//!
//! Machines are shared and noisy, so no figure stands alone: Headcount and the baseline take turns, CPU time is the operating system's own account of
//! the server's process, and the medians and spreads of several rounds are printed. The server runs on one core, the load on another.

pub mod answers;
pub mod backlog;
pub mod baseline;
pub mod costs;
pub mod load;
pub mod memory;
pub mod nginx;
pub mod plot;
pub mod process;
pub mod queries;
pub mod report;
pub mod rig;
pub mod scaling;
pub mod standstill;

pub use headcount_stages::bodies;
