//! The files that Headcount reads and does not build: where each pinned package lies on this machine.
//!
//! `assets.json` holds the pins; `assets.mjs` (`make assets`) fetches them into a folder that all clones share:
//! `$HEADCOUNT_ASSETS`, else `$XDG_CACHE_HOME/headcount`, else `~/.cache/headcount`. A package's folder appears there complete or not at all.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use serde::Deserialize;

use crate::clock::Day;

/// A file that Headcount reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asset {
    /// ClickHouse as a library, for the embedded engine.
    Engine,
    /// The country of an address: the default database (CC0).
    Countries,
    /// A second country database with another record layout; tests only.
    OtherCountries,
    /// uap-core's patterns of browsers, systems and devices.
    UserAgents,
    /// The list of crawlers.
    Crawlers,
}

impl Asset {
    /// All of them, in the order of `assets.json`.
    pub const ALL: [Self; 5] = [Self::Engine, Self::Countries, Self::UserAgents, Self::Crawlers, Self::OtherCountries];

    /// The label in `assets.json` and in metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::Engine => "engine",
            Self::Countries => "geo",
            Self::OtherCountries => "geo_other",
            Self::UserAgents => "user_agents",
            Self::Crawlers => "crawlers",
        }
    }
}

/// Why a file was not found.
#[derive(Debug, thiserror::Error)]
pub enum AssetError {
    /// It has not been fetched.
    #[error("{path} is missing: run `make assets`, or name a file of your own in the configuration")]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// No package is pinned for this kind of machine.
    #[error("there is no embedded ClickHouse for this kind of machine: set `url` under [clickhouse] to use a server")]
    NotForThisMachine,
    /// Neither `HEADCOUNT_ASSETS` nor `XDG_CACHE_HOME` nor `HOME` is set.
    #[error("no folder for downloaded files: set HEADCOUNT_ASSETS or HOME")]
    NoFolder,
}

/// The folder that the pinned packages lie in.
#[derive(Clone, Debug)]
pub struct Assets {
    folder: Option<PathBuf>,
}

impl Assets {
    /// The folder that the environment names.
    pub fn locate() -> Self {
        Self::from_variables(|name| std::env::var_os(name))
    }

    /// As [`Assets::locate`], with the variables given by `variable`.
    fn from_variables(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let set = |name| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let cache = || set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")));
        Self { folder: set("HEADCOUNT_ASSETS").or_else(|| cache().map(|cache| cache.join("headcount"))) }
    }

    /// Packages in `folder`, wherever the environment points.
    pub fn in_folder(folder: &Path) -> Self {
        Self { folder: Some(folder.to_owned()) }
    }

    /// The file of `asset`, which exists.
    pub fn path(&self, asset: Asset) -> Result<PathBuf, AssetError> {
        let pin = Pin::of(asset).ok_or(AssetError::NotForThisMachine)?;
        let folder = self.folder.as_ref().ok_or(AssetError::NoFolder)?;
        let path = folder.join(format!("{}-{}", pin.name.replace('/', "-"), pin.version)).join(&pin.files[0]);
        if path.is_file() { Ok(path) } else { Err(AssetError::Missing { path }) }
    }

    /// The day that the pinned data is from, for the metric of its age. Files carry no time of their own: packages are built with a fixed one.
    pub fn day(asset: Asset) -> Option<Day> {
        Pin::of(asset).and_then(|pin| pin.date.parse().ok())
    }
}

/// One entry of `assets.json`, as far as it matters here.
#[derive(Debug, Deserialize)]
struct Pin {
    asset: String,
    name: String,
    version: String,
    date: String,
    files: Vec<String>,
    platform: Option<String>,
}

#[derive(Deserialize)]
struct Pins {
    assets: Vec<Pin>,
}

static PINS: LazyLock<Vec<Pin>> = LazyLock::new(|| {
    let pins: Pins = serde_json::from_str(include_str!("../assets.json")).expect("assets.json is part of the build, and a test reads it");
    pins.assets
});

impl Pin {
    fn of(asset: Asset) -> Option<&'static Self> {
        // Names as Node gives them (process.platform, process.arch), which the fetcher compares with.
        let machine = match std::env::consts::ARCH {
            "x86_64" => "linux-x64",
            "aarch64" => "linux-arm64",
            _ => "other",
        };
        PINS.iter().find(|pin| pin.asset == asset.label() && pin.platform.as_deref().is_none_or(|platform| platform == machine))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_asset_has_a_pin_with_a_file_and_a_day() {
        for asset in Asset::ALL {
            let pin = PINS.iter().find(|pin| pin.asset == asset.label()).unwrap();
            assert_eq!(pin.files.len(), 1, "{}", pin.name);
            assert!(pin.date.parse::<Day>().is_ok(), "{}", pin.name);
        }
    }

    #[test]
    fn the_folder_follows_the_environment() {
        let folder = |variables: &[(&str, &str)]| {
            let find = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into());
            Assets::from_variables(find).folder
        };
        assert_eq!(folder(&[("HEADCOUNT_ASSETS", "/a"), ("XDG_CACHE_HOME", "/b"), ("HOME", "/c")]), Some("/a".into()));
        assert_eq!(folder(&[("HEADCOUNT_ASSETS", ""), ("XDG_CACHE_HOME", "/b"), ("HOME", "/c")]), Some("/b/headcount".into()));
        assert_eq!(folder(&[("HOME", "/c")]), Some("/c/.cache/headcount".into()));
        assert_eq!(folder(&[]), None);
    }

    #[test]
    fn a_missing_file_says_what_to_run() {
        let error = Assets::in_folder(Path::new("/nowhere")).path(Asset::UserAgents).unwrap_err().to_string();
        assert_eq!(
            error,
            "/nowhere/uap-core-0.18.0/regexes.yaml is missing: run `make assets`, or name a file of your own in the configuration"
        );
    }
}
