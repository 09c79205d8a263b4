//! Beacon -> [`Event`](crate::event::Event): with what, from where, and whether a person at all.

pub mod bots;
mod device;
pub mod user_agent;
mod vocabulary;
