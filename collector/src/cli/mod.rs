//! The command line: what can be asked of `headcount`, and the one place that prints an answer.

mod arguments;
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
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use headcount_engine::{EngineError, Options};

use crate::config::{Config, ConfigError, Overrides, Surroundings};
use crate::demo::{DemoError, Plan};
use crate::serve::{self, Running, ServeError};
use crate::{privacy, telemetry};
use arguments::{Arguments, Command, KeysCommand, ShareCommand, SiteCommand, SpoolCommand, TokenCommand, VERSION};

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
