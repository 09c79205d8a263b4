//! The data files that the collector reads at its start: countries, user agents, crawlers. Each is the pinned one or the operator's own.

use std::path::PathBuf;
use std::time::SystemTime;

use crate::assets::{Asset, AssetError, Assets};
use crate::clock::{UnixMillis, Zone};
use crate::config::{Config, DataFile};
use crate::enrich::user_agent::{Agents, AgentsError};
use crate::privacy::Guards;
use crate::privacy::geo::{Geo, GeoError};

/// Why a data file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataFileError {
    /// A pinned file is not there.
    #[error(transparent)]
    Missing(#[from] AssetError),
    /// The country database cannot be used.
    #[error("{path}")]
    Geo {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: GeoError,
    },
    /// The patterns of user agents or crawlers cannot be used.
    #[error("the patterns of user agents cannot be used")]
    Agents(#[from] AgentsError),
}

/// Where a data file is.
pub(super) fn path(file: &DataFile, asset: Asset, assets: &Assets) -> Result<PathBuf, DataFileError> {
    match file {
        DataFile::Pinned => Ok(assets.path(asset)?),
        DataFile::Named(path) => Ok(path.clone()),
    }
}

/// Opens the country database, unless the operator switched countries off.
pub(crate) fn geo(config: &Config, assets: &Assets) -> Result<Geo, DataFileError> {
    let Some(file) = &config.geo else { return Ok(Geo::off()) };
    let path = path(file, Asset::Countries, assets)?;
    Geo::open(&path).map_err(|source| DataFileError::Geo { path, source })
}

/// What every event is looked up in. Side by side: nothing else takes as long before the first event is accepted.
pub(super) fn load(config: &Config) -> Result<(Geo, Agents), DataFileError> {
    let assets = Assets::locate();
    std::thread::scope(|scope| {
        let geo = scope.spawn(|| geo(config, &assets));
        let agents = agents(config, &assets);
        Ok((geo.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?, agents?))
    })
}

/// Loads the patterns of user agents and crawlers.
fn agents(config: &Config, assets: &Assets) -> Result<Agents, DataFileError> {
    let patterns = path(&config.user_agents, Asset::UserAgents, assets)?;
    let crawlers = path(&config.crawlers, Asset::Crawlers, assets)?;
    Ok(Agents::load(&patterns, &crawlers)?)
}

/// When the content of each data file was made, in milliseconds since 1970; what cannot be told is left out.
pub(super) fn made(config: &Config, guards: &Guards) -> Vec<(&'static str, UnixMillis)> {
    let changed = |file: &DataFile, asset: Asset, changed: Option<SystemTime>| match file {
        DataFile::Pinned => Assets::day(asset).map(|day| Zone::utc().start_of(day)),
        DataFile::Named(_) => changed.and_then(millis),
    };
    let countries = guards.geo.built().map(|seconds| UnixMillis(i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1_000)));
    let agents = changed(&config.user_agents, Asset::UserAgents, guards.agents.patterns_changed);
    let crawlers = changed(&config.crawlers, Asset::Crawlers, guards.agents.crawlers_changed);
    [("countries", countries), ("user_agents", agents), ("crawlers", crawlers)]
        .into_iter()
        .filter_map(|(name, made)| Some((name, made?)))
        .collect()
}

fn millis(time: SystemTime) -> Option<UnixMillis> {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    i64::try_from(since.as_millis()).ok().map(UnixMillis)
}
