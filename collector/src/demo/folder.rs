//! The demonstration's own folder: where it is, whether it may be filled, and the configuration in it.
//!
//! Without a word it is beside the ordinary data folder, under the same name with `-demo`; a folder that is named must be empty, not there yet, or a
//! demonstration's. The keys of made-up days never lie with those of real ones: their folder has the same `-demo`.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::ledger::Ledger;
use super::{DemoError, SITE, ZONE};
use crate::config::{Config, FILE_NAME, Overrides, Surroundings};
use crate::privacy::secret::SecretHash;

const SUFFIX: &str = "-demo";

/// What the site wants to know of its visits.
const DECLARED: &str = r#"properties = ["plan", "system", "billing"]

[[site.goal]]
name = "Signed up"
event = "signup"

[[site.goal]]
name = "Bought"
event = "purchase"

[[site.goal]]
name = "Downloaded"
event = "download"

[[site.funnel]]
name = "Buying"
steps = [{ page = "/pricing" }, { page = "/signup" }, { event = "purchase" }]
"#;

/// A folder that is, or may become, a demonstration's.
#[derive(Clone, Debug)]
pub struct Demonstration {
    data_dir: PathBuf,
    key_dir: PathBuf,
    /// What was sent into it, if it is full.
    pub ledger: Option<Ledger>,
    surroundings: Surroundings,
}

/// The folder that `overrides` name, or the one beside the ordinary data folder.
///
/// # Errors
/// When it is anybody else's, or was left half full.
pub fn of(overrides: &Overrides, surroundings: &Surroundings) -> Result<Demonstration, DemoError> {
    if overrides.config.is_some() {
        return Err(DemoError::Configured);
    }
    // Nothing of the ordinary configuration is wanted but where its folders would be.
    let usual = Config::parse("", None, overrides, surroundings)?;
    let data_dir = overrides.data_dir.clone().unwrap_or_else(|| beside(&usual.data_dir));
    let ledger = Ledger::read(&data_dir)?;
    match &ledger {
        Some(Ledger { finished: true, .. }) => {}
        Some(_) => return Err(DemoError::Unfinished(data_dir)),
        None if is_empty(&data_dir)? => {}
        None => return Err(DemoError::Taken(data_dir)),
    }
    Ok(Demonstration { data_dir, key_dir: beside(&usual.key_dir), ledger, surroundings: surroundings.clone() })
}

impl Demonstration {
    /// How the collector is started on it, with `overrides` of where it listens.
    pub fn overrides(&self, overrides: &Overrides) -> Overrides {
        let Overrides { public_listen, private_listen, .. } = *overrides;
        let (data_dir, key_dir) = (Some(self.data_dir.clone()), Some(self.key_dir.clone()));
        Overrides { config: None, data_dir, key_dir, public_listen, private_listen }
    }

    /// The folder.
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// Makes the folder, marks it and writes its configuration; gives that by which it is filled, whose site knows `secret`.
    pub(super) fn begin(&self, secret: &str) -> Result<Config, DemoError> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.data_dir)?;
        Ledger::default().write(&self.data_dir)?;
        let file = self.data_dir.join(FILE_NAME);
        std::fs::write(&file, text(None))?;
        let anywhere = Some(([127, 0, 0, 1], 0).into());
        let overrides = self.overrides(&Overrides { public_listen: anywhere, private_listen: anywhere, ..Overrides::default() });
        Ok(Config::parse(&text(Some(secret)), Some(&file), &overrides, &self.surroundings)?)
    }

    /// Marks the folder as full.
    pub(super) fn finish(&self, ledger: &Ledger) -> io::Result<()> {
        ledger.write(&self.data_dir)
    }
}

/// The configuration. Only while it is filled, somebody may say whose event it is: who knows the secret.
fn text(secret: Option<&str>) -> String {
    let secret = secret.map_or_else(String::new, |secret| format!("secret_sha256 = \"{}\"\n", SecretHash::of(secret.as_bytes()).to_hex()));
    // One thread brings larger segments, which the engine takes with less work.
    let workers = if secret.is_empty() { "" } else { "workers = 1\n" };
    let level = if secret.is_empty() { "info" } else { "error" };
    format!(
        "# Made by `headcount demo`: the visitors of this site do not exist.\n\n\
         [public]\nlisten = \"127.0.0.1:8080\"\n{workers}\n[log]\nlevel = \"{level}\"\n\n\
         [[site]]\nid = \"{SITE}\"\ntimezone = \"{ZONE}\"\n{secret}{DECLARED}"
    )
}

fn beside(folder: &Path) -> PathBuf {
    let mut name = folder.file_name().unwrap_or_default().to_os_string();
    name.push(SUFFIX);
    folder.with_file_name(name)
}

fn is_empty(folder: &Path) -> io::Result<bool> {
    match std::fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        entries => Ok(entries?.next().is_none()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_that_is_written_is_understood() {
        let surroundings = Surroundings { home: Some("/home/ada".into()), ..Surroundings::default() };
        for secret in [None, Some("s3cret")] {
            let config = Config::parse(&text(secret), None, &Overrides::default(), &surroundings).unwrap();
            assert!(config.public.listen.ip().is_loopback() && config.private.listen.ip().is_loopback());
            assert_eq!(config.sites.find(SITE).unwrap().secret.is_some(), secret.is_some());
        }
    }

    #[test]
    fn it_has_folders_of_its_own() {
        let surroundings = Surroundings { home: Some("/home/ada".into()), user: 7, ..Surroundings::default() };
        let overrides = of(&Overrides::default(), &surroundings).unwrap().overrides(&Overrides::default());
        assert_eq!(overrides.data_dir, Some("/home/ada/.local/share/headcount-demo".into()));
        assert_eq!(overrides.key_dir, Some("/dev/shm/headcount-7-demo".into()));
        let named = Overrides { data_dir: Some("/nowhere/at/all".into()), key_dir: Some("/run/keys".into()), ..Overrides::default() };
        let overrides = of(&named, &surroundings).unwrap().overrides(&Overrides::default());
        assert_eq!((overrides.data_dir, overrides.key_dir), (Some("/nowhere/at/all".into()), Some("/run/keys-demo".into())));
        let config = Overrides { config: Some("/etc/headcount.toml".into()), ..Overrides::default() };
        assert!(matches!(of(&config, &surroundings), Err(DemoError::Configured)));
    }
}
