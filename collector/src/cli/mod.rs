//! The command line: what can be asked of `headcount`, and the one place that prints an answer.

mod backup;
mod days;
mod delete;
mod demo;
mod dump;
mod keys;
mod parked;
mod share;
mod site;
mod spool;
mod sql;
mod token;

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use headcount_engine::{EngineError, Options};

use crate::access::Role;
use crate::config::{Config, ConfigError, Overrides, Surroundings};
use crate::demo::{DemoError, Plan};
use crate::limits::{DEMO_DAYS, DEMO_EVENTS, TOKEN_DAYS};
use crate::serve::{self, Running, ServeError};
use crate::{privacy, telemetry};

/// The version, and whether this build plants leaks for tests to find.
const VERSION: &str = if cfg!(feature = "leaky") {
    concat!(env!("CARGO_PKG_VERSION"), " (leaky: a test build that plants leaks; never let it see a visitor)")
} else {
    env!("CARGO_PKG_VERSION")
};

/// Headcount counts heads, not faces: a privacy-preserving analytics collector.
#[derive(Debug, Parser)]
#[command(name = "headcount", version = VERSION)]
struct Arguments {
    #[command(flatten)]
    sources: Sources,
    #[command(subcommand)]
    command: Option<Command>,
}

/// Where the configuration comes from; each wins over the file.
#[derive(Debug, Args)]
struct Sources {
    /// The configuration file [default: headcount.toml in the data folder, if it is there]
    #[arg(long, value_name = "FILE", env = "HEADCOUNT_CONFIG", global = true)]
    config: Option<PathBuf>,
    /// Where all state lives, except the keys
    #[arg(long, value_name = "DIR", env = "HEADCOUNT_DATA_DIR", global = true)]
    data_dir: Option<PathBuf>,
    /// Where the keys live: memory, not a disk
    #[arg(long, value_name = "DIR", env = "HEADCOUNT_KEY_DIR", global = true)]
    key_dir: Option<PathBuf>,
    /// Where visitors are listened to [default: 0.0.0.0:8080]
    #[arg(long, value_name = "ADDRESS:PORT", env = "HEADCOUNT_PUBLIC_LISTEN", global = true)]
    public_listen: Option<SocketAddr>,
    /// Where the operator is listened to [default: 127.0.0.1:8081]
    #[arg(long, value_name = "ADDRESS:PORT", env = "HEADCOUNT_PRIVATE_LISTEN", global = true)]
    private_listen: Option<SocketAddr>,
}

#[derive(Debug, Subcommand)]
enum Command {
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
enum SpoolCommand {
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
enum KeysCommand {
    /// Every birth and death, oldest first
    Log,
    /// The keys that live
    Status,
}

#[derive(Debug, Subcommand)]
enum SiteCommand {
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
enum TokenCommand {
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
enum ShareCommand {
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

/// Why a command failed, for the operator.
#[derive(Debug, thiserror::Error)]
enum CommandError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Site(#[from] site::SiteError),
    #[error(transparent)]
    Sql(#[from] sql::SqlError),
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error("{}: cannot be read", path.display())]
    Unreadable {
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
    #[error("not every segment of the spool is sound")]
    Unsound,
    #[error(transparent)]
    Backup(#[from] backup::CopyError),
    #[error(transparent)]
    Days(#[from] days::DaysError),
    #[error(transparent)]
    Delete(#[from] delete::DeleteError),
    #[error(transparent)]
    Demo(#[from] DemoError),
    #[error(transparent)]
    Dump(#[from] dump::DumpError),
    #[error(transparent)]
    Parked(#[from] parked::ParkedError),
    #[error(transparent)]
    Token(#[from] token::TokenError),
    #[error(transparent)]
    Share(#[from] share::ShareError),
    #[error(transparent)]
    Serve(#[from] ServeError),
    #[error("the process cannot be kept out of core dumps")]
    Seal(#[source] io::Error),
    #[error("cannot print")]
    Print(#[from] io::Error),
}

impl CommandError {
    /// The engine's parent learns from the status why it could not start.
    fn status(&self) -> ExitCode {
        match self {
            Self::Engine(error) => ExitCode::from(error.status()),
            _ => ExitCode::FAILURE,
        }
    }
}

/// Does what the process's arguments ask. Exit codes: 0 done, 1 failed, 2 not understood (clap's).
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let answer = run(arguments, &Surroundings::of_process(), &mut io::stdout());
    match answer {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads our output has had enough of it (`headcount ... | head`).
        Err(CommandError::Print(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(CommandError::Sql(sql::SqlError::Print(error)) | CommandError::Dump(dump::DumpError::Print(error)))
            if error.kind() == io::ErrorKind::BrokenPipe =>
        {
            ExitCode::SUCCESS
        }
        Err(error) => {
            // Nobody is left to tell if standard error is closed too.
            let _ = complain(&error, &mut io::stderr().lock());
            error.status()
        }
    }
}

/// Prints an error and its causes on one line.
fn complain(error: &dyn std::error::Error, out: &mut dyn Write) -> io::Result<()> {
    write!(out, "headcount: {error}")?;
    let mut cause = error.source();
    while let Some(inner) = cause {
        write!(out, ": {inner}")?;
        cause = inner.source();
    }
    writeln!(out)
}

fn run(arguments: Arguments, surroundings: &Surroundings, out: &mut (dyn Write + Send)) -> Result<(), CommandError> {
    let overrides = Overrides::from(arguments.sources);
    match arguments.command {
        None | Some(Command::Serve) => serve(&overrides, surroundings, out),
        Some(Command::CheckConfig) => check_config(&overrides, surroundings, out),
        Some(Command::Site(SiteCommand::Add { domain, timezone })) => {
            let addition = site::Addition { domain: &domain, timezone: timezone.as_deref() };
            Ok(site::add(&addition, &overrides, surroundings, out)?)
        }
        Some(Command::Sql { statement, form }) => {
            let config = Config::load(&overrides, surroundings)?;
            Ok(sql::ask(&config, &statement, form.unwrap_or_else(sql::Form::of_standard_output), out)?)
        }
        Some(Command::Spool(command)) => look_into_spool(&command, &Config::load(&overrides, surroundings)?, out),
        Some(Command::Backup { folder }) => Ok(backup::make(&Config::load(&overrides, surroundings)?, &folder, out)?),
        Some(Command::Restore { folder }) => Ok(backup::restore(&folder, &overrides, surroundings, out)?),
        Some(Command::Token(command)) => change_tokens(command, &Config::load(&overrides, surroundings)?, out),
        Some(Command::Share(command)) => change_shares(command, &Config::load(&overrides, surroundings)?, out),
        Some(Command::Demo { days, events, seed, fill_only }) => {
            privacy::keys::seal_process().map_err(CommandError::Seal)?;
            let then = if fill_only { demo::Then::End } else { demo::Then::Serve };
            Ok(demo::run(Plan { seed, days, events }, then, &overrides, surroundings, out)?)
        }
        Some(Command::Delete { site, day, dimension, value, yes, list: _ }) => {
            let config = Config::load(&overrides, surroundings)?;
            match (site, day, dimension, value) {
                (Some(site), Some(day), Some(dimension), Some(value)) => {
                    let named = delete::Named { site, day, dimension, value };
                    Ok(delete::delete(&config, named, yes.then_some(delete::Confirmed), out)?)
                }
                _ => Ok(delete::list(&config, out)?),
            }
        }
        Some(Command::Days) => Ok(days::list(&Config::load(&overrides, surroundings)?, out)?),
        Some(Command::Keys(command)) => look_at_keys(&command, &Config::load(&overrides, surroundings)?, out),
        Some(Command::Engine { library, data_path, socket, memory_bytes }) => {
            Ok(headcount_engine::run(&Options { library, data_path, socket, memory_bytes })?)
        }
    }
}

/// Serves until a signal says stop. Says where, and the way in, on standard output; everything after that is the log's.
fn serve(overrides: &Overrides, surroundings: &Surroundings, out: &mut dyn Write) -> Result<(), CommandError> {
    privacy::keys::seal_process().map_err(CommandError::Seal)?;
    let config = Config::load(overrides, surroundings)?;
    telemetry::start(config.log);
    let tell = |running: &Running| {
        writeln!(out, "headcount {VERSION}")?;
        writeln!(out, "visitors  {}", running.visitors_url())?;
        writeln!(out, "operator  {}", running.operators_link())?;
        out.flush()
    };
    Ok(serve::run(config, || Config::load(overrides, surroundings), tell)?)
}

fn look_into_spool(command: &SpoolCommand, config: &Config, out: &mut dyn Write) -> Result<(), CommandError> {
    let folder = &config.spool_dir();
    let unreadable = |cause| CommandError::Unreadable { path: folder.clone(), cause };
    match command {
        SpoolCommand::Ls => spool::list(folder, out).map_err(unreadable),
        SpoolCommand::Verify if spool::verify(folder, out).map_err(unreadable)? => Ok(()),
        SpoolCommand::Verify => Err(CommandError::Unsound),
        SpoolCommand::Dump { segment, limit } => Ok(dump::dump(folder, segment, *limit, out)?),
        SpoolCommand::Redrive { batch, .. } => Ok(parked::redrive(config, *batch, out)?),
        SpoolCommand::Drop { batch, yes } => Ok(parked::drop(config, *batch, yes.then_some(parked::Confirmed), out)?),
    }
}

fn change_tokens(command: TokenCommand, config: &Config, out: &mut dyn Write) -> Result<(), CommandError> {
    match command {
        TokenCommand::Add { role, sites, days } => Ok(token::add(token::Addition { role, sites, days }, config, out)?),
        TokenCommand::Ls => Ok(token::list(config, out)?),
        TokenCommand::Revoke { id } => Ok(token::revoke(&id, config, out)?),
    }
}

fn change_shares(command: ShareCommand, config: &Config, out: &mut dyn Write) -> Result<(), CommandError> {
    match command {
        ShareCommand::Add { site, days } => Ok(share::add(&site, days, config, out)?),
        ShareCommand::Ls => Ok(share::list(config, out)?),
        ShareCommand::Revoke { id } => Ok(share::revoke(&id, config, out)?),
    }
}

fn look_at_keys(command: &KeysCommand, config: &Config, out: &mut dyn Write) -> Result<(), CommandError> {
    let log = config.keys_log();
    let done = match command {
        KeysCommand::Log => keys::log(&log, out),
        KeysCommand::Status => keys::status(&config.key_dir, &log, out),
    };
    done.map_err(|cause| CommandError::Unreadable { path: log, cause })
}

fn check_config(overrides: &Overrides, surroundings: &Surroundings, out: &mut dyn Write) -> Result<(), CommandError> {
    let config = Config::load(overrides, surroundings)?;
    match &config.file {
        Some(file) => writeln!(out, "{}: right", file.display())?,
        None => writeln!(out, "no configuration file: every key has its default")?,
    }
    writeln!(out, "data_dir = {}\nkey_dir = {}", config.data_dir.display(), config.key_dir.display())?;
    writeln!(
        out,
        "public: {} ({})\nprivate: {} ({})",
        config.public.listen,
        config.visitors_url(),
        config.private.listen,
        config.private.url()
    )?;
    for site in config.sites.iter() {
        writeln!(out, "site {} ({})", site.id, config.sites.zone(site.zone).name())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(line: &str) -> (Result<(), CommandError>, String) {
        let arguments = Arguments::try_parse_from(line.split(' ')).unwrap();
        let mut out = Vec::new();
        let done = run(arguments, &Surroundings::default(), &mut out);
        (done, String::from_utf8(out).unwrap())
    }

    #[test]
    fn the_arguments_are_consistent() {
        use clap::CommandFactory;
        Arguments::command().debug_assert();
    }

    #[test]
    fn flags_may_stand_before_and_after_the_command() {
        for line in ["headcount --data-dir /nowhere check-config", "headcount check-config --data-dir /nowhere"] {
            let (done, told) = ask(line);
            done.unwrap();
            assert!(told.contains("every key has its default") && told.contains("data_dir = /nowhere\n"), "{told}");
        }
    }

    #[test]
    fn a_config_that_is_named_must_be_there() {
        let (done, _) = ask("headcount --config /nowhere/headcount.toml check-config");
        let mut told = Vec::new();
        complain(&done.unwrap_err(), &mut told).unwrap();
        let told = String::from_utf8(told).unwrap();
        assert_eq!(told, "headcount: /nowhere/headcount.toml: cannot be read: No such file or directory (os error 2)\n");
    }
}
