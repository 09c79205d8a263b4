//! Headcount counts heads, not faces: it takes page views and device events over HTTP, answers once they are on disk, and brings them into ClickHouse
//! without ever writing down who somebody is.
//!
//! This page follows one event from the socket to the table. Read it once, then open the file whose step you came for.
//!
//! # The path of an event
//!
//! A browser posts a few hundred bytes of JSON to `/e`. [`server`] reads the head and the body within their bounds and reduces the request to an
//! [`server::Arrival`]: body, query, what the headers say about consent, and the visitor. The visitor is opaque from the first moment: address and agent
//! are in types ([`privacy::raw`]) that cannot be printed, copied, compared or serialised, so a careless line does not compile.
//!
//! [`worker`] takes the arrival. Everything of a request is done on one thread, in one go:
//!
//! 1. [`beacon`] decodes the body into [`beacon::Beacon`]s, strictly: every bound is in [`limits`], what is unknown is counted and forgotten, and of the
//!    page's address only what may be stored is left.
//! 2. [`consent::gate`] takes every vote, of the headers, the payload and the site's policy, and the lowest wins. Whatever comes behind it takes a
//!    [`consent::Consented`], which only the gate can make. A refused event's visitor is dropped without having been looked at.
//! 3. [`privacy`] opens the visitor, once a request: the address becomes a country ([`privacy::geo`]), address and agent become a pseudonym under the key
//!    of the day ([`privacy::pseudonym`], [`privacy::keys`]), texts pass the masks ([`privacy::scrub`]), and [`days`] says whether the event's day still
//!    takes it. Behind this door there is no address any more.
//! 4. [`enrich`] adds what the agent and the referrer mean, and turns robots away. Its result, [`event::Event`], is the first type that may be stored.
//! 5. [`distinct`] writes `(other)` where a dimension has no room for one more value.
//! 6. [`row`] lays the event out as the bytes that ClickHouse will read, straight into the buffer of a [`spool`] segment.
//!
//! Steps 1 to 4 are [`pipeline::collect`] and what feeds it: plain functions, without a clock, a log or a disk. Then the request waits. One commit a time
//! takes all buffers of the worker to its sync thread, and when that has synced them, all requests in them are answered together. That is the
//! promise: **a 2xx means that it is on disk.** What is not stored is counted by reason ([`outcome`], [`tally`], [`metrics`]), and those counts go the
//! same way.
//!
//! On the other side of the disk, a segment that is a second old is sealed: one table, one time zone, one day, one INSERT, never changed again.
//! [`sink`] sends it under a token that names it, and asks the tables themselves whenever it cannot know what became of an attempt. When ClickHouse has it,
//! the file goes. ClickHouse is a child process of ours ([`store::engine`]) or a server ([`store::database`]); a materialised view turns each row into cells
//! of the rollup that figures are read from.
//!
//! # Around it
//!
//! [`serve`] starts and stops all of this in order. [`config`] reads the operator's file, and refuses what would collect more than promised. [`cli`] is the
//! command line. [`deletion`] is what an operator takes out of the figures again. [`demo`] makes traffic up, for who wants to see before having any. [`backup`] copies what outlives its day, [`export`] gives it to other tools. [`api`] answers analysts, each within what [`access`] allows. [`insight`], [`exposition`] and [`pages`] are what the operator sees. [`clock`] is the only file that knows what time it is.
//!
//! # Promises, in rank order
//!
//! Private, lossless, simple, fast, complete. Where two of them pull apart the earlier one wins; the README says what each means to whom.

pub mod access;
pub mod api;
pub mod assets;
pub mod backup;
pub mod beacon;
pub mod cli;
pub mod clock;
pub mod config;
pub mod consent;
pub mod days;
pub mod deletion;
pub mod demo;
pub mod distinct;
pub mod enrich;
pub mod event;
pub mod export;
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
