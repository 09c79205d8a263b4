//! The only door: raw address, agent and ids go in, a country, a pseudonym and the agent's families come out.
//!
//! Nothing behind this module can hold an address. A request's visitor is opened here once, by value, and dies here.

pub mod geo;
pub mod keys;
pub mod proxy;
pub mod pseudonym;
pub mod raw;
pub mod scrub;
pub mod secret;
