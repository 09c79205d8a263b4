//! What can be asked of `headcount`: commands, flags, and what each is for.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use super::sql;
use crate::access::Role;
use crate::config::Overrides;
use crate::limits::{DEMO_DAYS, DEMO_EVENTS, TOKEN_DAYS};

/// The version, and whether this build plants leaks for tests to find.
pub(super) const VERSION: &str = if cfg!(feature = "leaky") {
    concat!(env!("CARGO_PKG_VERSION"), " (leaky: a test build that plants leaks; never let it see a visitor)")
} else {
    env!("CARGO_PKG_VERSION")
};

/// Headcount counts heads, not faces: a privacy-preserving analytics collector.
#[derive(Debug, Parser)]
#[command(name = "headcount", version = VERSION)]
pub(super) struct Arguments {
    #[command(flatten)]
    pub(super) sources: Sources,
    #[command(subcommand)]
    pub(super) command: Option<Command>,
}

/// Where the configuration comes from; each wins over the file.
#[derive(Debug, Args)]
pub(super) struct Sources {
    /// The configuration file [default: headcount.toml in the data folder, if it is there]
    #[arg(long, value_name = "FILE", env = "HEADCOUNT_CONFIG", global = true)]
    pub(super) config: Option<PathBuf>,
    /// Where all state lives, except the keys
    #[arg(long, value_name = "DIR", env = "HEADCOUNT_DATA_DIR", global = true)]
    pub(super) data_dir: Option<PathBuf>,
    /// Where the keys live: memory, not a disk
    #[arg(long, value_name = "DIR", env = "HEADCOUNT_KEY_DIR", global = true)]
    pub(super) key_dir: Option<PathBuf>,
    /// Where visitors are listened to [default: 0.0.0.0:8080]
    #[arg(long, value_name = "ADDRESS:PORT", env = "HEADCOUNT_PUBLIC_LISTEN", global = true)]
    pub(super) public_listen: Option<SocketAddr>,
    /// Where the operator is listened to [default: 127.0.0.1:8081]
    #[arg(long, value_name = "ADDRESS:PORT", env = "HEADCOUNT_PRIVATE_LISTEN", global = true)]
    pub(super) private_listen: Option<SocketAddr>,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Count: take events, and show the operator what became of them; the default
    Serve,
    /// The embedded ClickHouse; `serve` starts it
    #[command(hide = true)]
    Engine { library: PathBuf, data_path: PathBuf, socket: PathBuf, memory_bytes: u64 },
    /// Ask ClickHouse; reads only
    Sql {
        /// The statement
        statement: String,
        /// The form of the answer [default: pretty on a terminal, else tsv]
        #[arg(long, value_enum)]
        form: Option<sql::Form>,
    },
    /// Look at Headcount before there are visitors: fills a folder of its own with made-up traffic, and serves the figures
    Demo {
        /// How many days, today included
        #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u16).range(DEMO_DAYS))]
        days: u16,
        /// How many events, about
        #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(DEMO_EVENTS))]
        events: u64,
        /// The same number makes the same traffic
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// End when the folder is full, and serve nothing
        #[arg(long)]
        fill_only: bool,
    },
    /// List the days: which are open, which wait and for what, which are closed
    Days,
    /// Delete spam from a day's figures: everything of a site's day that has a value
    Delete {
        /// The site's id
        #[arg(long, value_name = "DOMAIN", required_unless_present = "list")]
        site: Option<String>,
        /// The day, such as 2026-11-22
        #[arg(long, required_unless_present = "list")]
        day: Option<String>,
        /// What the value is of: page, source, referrer, country, event, ...
        #[arg(long, required_unless_present = "list")]
        dimension: Option<String>,
        /// The value
        #[arg(long, required_unless_present = "list")]
        value: Option<String>,
        /// Without it, what would go is only shown
        #[arg(long)]
        yes: bool,
        /// List what was deleted
        #[arg(long, conflicts_with_all = ["site", "day", "dimension", "value", "yes"])]
        list: bool,
    },
    /// See when the keys of the days were born and died
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Look into what waits on the disk for ClickHouse, and decide about what was parked
    #[command(subcommand)]
    Spool(SpoolCommand),
    /// Copy what outlives its day into a new folder: finished tables, configuration, token
    Backup {
        /// The folder; it must not be there
        folder: PathBuf,
    },
    /// Bring a backup into a data folder that holds nothing yet
    Restore {
        /// The backup's folder
        folder: PathBuf,
    },
    /// Say whether the configuration is right, and if not, where it is wrong
    CheckConfig,
    /// Change the sites of the configuration
    #[command(subcommand)]
    Site(SiteCommand),
    /// Let others look: make tokens, list them, revoke them
    #[command(subcommand)]
    Token(TokenCommand),
    /// Let everybody look at a site's closed days: make links, list them, revoke them
    #[command(subcommand)]
    Share(ShareCommand),
}

#[derive(Debug, Subcommand)]
pub(super) enum SpoolCommand {
    /// List its files
    Ls,
    /// Check every checksum; fails if one does not hold
    Verify,
    /// Show what is stored in a segment, as JSON lines: the segment, then its rows
    Dump {
        /// Its file, or the number of its batch
        #[arg(value_name = "FILE|BATCH")]
        segment: String,
        /// How many rows at most
        #[arg(long, value_name = "ROWS")]
        limit: Option<u64>,
    },
    /// Give a parked segment back, to be delivered
    Redrive {
        /// The number of its batch
        #[arg(required_unless_present = "all", conflicts_with = "all")]
        batch: Option<u64>,
        /// All that are parked
        #[arg(long)]
        all: bool,
    },
    /// Give up a parked segment: its events are lost
    Drop {
        /// The number of its batch
        batch: u64,
        /// Without it, what would be lost is only shown
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum KeysCommand {
    /// Every birth and death, oldest first
    Log,
    /// The keys that live
    Status,
}

#[derive(Debug, Subcommand)]
pub(super) enum SiteCommand {
    /// Add a site, tell the running collector, and print the tag for its pages
    Add {
        /// The site's domain; its subdomains belong to it
        domain: String,
        /// Whose midnight ends the site's day, such as Europe/Berlin [default: UTC]
        #[arg(long, value_name = "ZONE")]
        timezone: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum TokenCommand {
    /// Make a token and print it, once
    Add {
        /// What it is for: an analyst sees the figures of some sites, an admin everything
        #[arg(long, value_enum)]
        role: Role,
        /// A site that an analyst sees; once for each
        #[arg(long = "site", value_name = "DOMAIN")]
        sites: Vec<String>,
        /// After how many days it ends [default: when it is revoked]
        #[arg(long, value_parser = clap::value_parser!(u32).range(1..=i64::from(TOKEN_DAYS)))]
        days: Option<u32>,
    },
    /// List the tokens
    Ls,
    /// End a token, and every login that it opened
    Revoke {
        /// As `ls` calls it
        id: String,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum ShareCommand {
    /// Make a link and print it, once
    Add {
        /// The site, which must have `share = true`
        #[arg(long, value_name = "DOMAIN")]
        site: String,
        /// After how many days it ends [default: when it is revoked]
        #[arg(long, value_parser = clap::value_parser!(u32).range(1..=i64::from(TOKEN_DAYS)))]
        days: Option<u32>,
    },
    /// List the links
    Ls,
    /// End a link: whoever comes by it finds nothing
    Revoke {
        /// As `ls` calls it
        id: String,
    },
}

impl From<Sources> for Overrides {
    fn from(sources: Sources) -> Self {
        let Sources { config, data_dir, key_dir, public_listen, private_listen } = sources;
        Self { config, data_dir, key_dir, public_listen, private_listen }
    }
}
