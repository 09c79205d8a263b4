//! User agent -> families, major versions, a class of device, and whether a robot speaks.
//!
//! An agent's text is borrowed, read once and forgotten. What is made of it can only hold words that the data file spells out itself (see `vocabulary.rs`), so a
//! hostile agent cannot smuggle its own text into a table. Patterns are those of uap-core; every one runs in linear time.

use std::borrow::Cow;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::path::Path;
use std::time::SystemTime;

use foldhash::fast::FixedState;
use serde::Deserialize;
use ua_parser::{os, user_agent};

use super::bots::Bots;
pub use super::bots::Robot;
use super::device;
use super::vocabulary::Vocabulary;
use crate::event::DeviceClass;
use crate::limits::{AGENTS_CACHED, USER_AGENT_BYTES};

/// What an agent's text says, and all that is kept of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Agent {
    /// Browser family (`Firefox`, `Mobile Safari`), or empty.
    pub browser: &'static str,
    /// Browser's major version, or 0.
    pub browser_major: u16,
    /// Operating system family (`Windows`, `iOS`), or empty.
    pub os: &'static str,
    /// Operating system's major version, or 0.
    pub os_major: u16,
    /// What kind of machine.
    pub class: DeviceClass,
    /// Whether a person's browser speaks, or what else.
    pub robot: Robot,
}

impl Agent {
    /// Nothing is known.
    pub const NONE: Self = Self { browser: "", browser_major: 0, os: "", os_major: 0, class: DeviceClass::Unknown, robot: Robot::Absent };
}

/// The data files, read and compiled once, shared by all workers.
///
/// uap-core's device patterns are left out: two thirds of all its patterns, 16 MB and 110 ms for a model name that is not stored. What kind of machine it is, a short
/// table tells as well (see `device.rs`).
pub struct Agents {
    browsers: user_agent::Extractor<'static>,
    systems: os::Extractor<'static>,
    families: Vocabulary,
    bots: Bots,
    /// When the pattern file was last changed, as its file system says: the age of an operator's own file. A pinned one has a fixed time; see `Assets::day`.
    pub patterns_changed: Option<SystemTime>,
    /// The same of the crawler list.
    pub crawlers_changed: Option<SystemTime>,
}

/// The parts of `regexes.yaml` that are used.
#[derive(Deserialize)]
struct Patterns {
    user_agent_parsers: Vec<user_agent::Parser<'static>>,
    os_parsers: Vec<os::Parser<'static>>,
}

/// A data file that cannot be used. The files are the operator's own, so what is wrong with them may be told.
#[derive(Debug, thiserror::Error)]
pub enum AgentsError {
    /// The file cannot be read.
    #[error("cannot read {file}")]
    Read {
        /// Which file.
        file: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The pattern file is not the YAML that uap-core publishes.
    #[error("{file} is not a pattern file of uap-core (regexes.yaml)")]
    Patterns {
        /// Which file.
        file: String,
        /// Where it stops making sense.
        #[source]
        source: serde_norway::Error,
    },
    /// A pattern of uap-core cannot be compiled.
    #[error("{file} holds a pattern that cannot be compiled")]
    Pattern {
        /// Which file.
        file: String,
        /// Which pattern, and why.
        #[source]
        source: ua_parser::Error,
    },
    /// The crawler list is not the JSON that crawler-user-agents publishes, or holds a pattern that cannot be compiled.
    #[error("{file} is not a list of crawlers (crawler-user-agents.json)")]
    Crawlers {
        /// Which file.
        file: String,
        /// Why.
        #[source]
        source: super::bots::BotsError,
    },
}

impl Agents {
    /// Reads uap-core's `regexes.yaml` and crawler-user-agents' `crawler-user-agents.json`, on two cores where there are. Takes some 60 ms of one core and 13 MB.
    pub fn load(patterns: &Path, crawlers: &Path) -> Result<Self, AgentsError> {
        std::thread::scope(|scope| {
            let bots = scope.spawn(|| {
                let (text, changed) = read(crawlers)?;
                let bots = Bots::read(&text).map_err(|source| AgentsError::Crawlers { file: name(crawlers), source })?;
                Ok((bots, changed))
            });
            Self::of(patterns, || bots.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        })
    }

    fn of(patterns: &Path, bots: impl FnOnce() -> Result<(Bots, Option<SystemTime>), AgentsError>) -> Result<Self, AgentsError> {
        let (patterns_text, patterns_changed) = read(patterns)?;
        let file = name(patterns);
        let parsed: Patterns =
            serde_norway::from_str(&patterns_text).map_err(|source| AgentsError::Patterns { file: file.clone(), source })?;
        let mut families = Vocabulary::default();
        for parser in &parsed.user_agent_parsers {
            families.learn(&parser.regex, parser.family_replacement.as_deref());
        }
        for parser in &parsed.os_parsers {
            families.learn(&parser.regex, parser.os_replacement.as_deref());
        }
        for (_, ours) in device::RENAMED {
            families.learn("", Some(ours));
        }
        let pattern = |source| AgentsError::Pattern { file: file.clone(), source };
        let browsers = user_agent::Builder::new().push_all(parsed.user_agent_parsers).map_err(pattern)?;
        let systems = os::Builder::new().push_all(parsed.os_parsers).map_err(|source| pattern(source.into()))?;
        let browsers = browsers.build().map_err(|source| pattern(source.into()))?;
        let systems = systems.build().map_err(|source| pattern(source.into()))?;
        let (bots, crawlers_changed) = bots()?;
        Ok(Self { browsers, systems, families, bots, patterns_changed, crawlers_changed })
    }

    /// What `agent` says. Looks at its first [`USER_AGENT_BYTES`]; bytes that are no text are read as if something unknown stood there.
    pub fn classify(&self, agent: &[u8]) -> Agent {
        let agent = readable(agent);
        let agent = agent.trim();
        let browser = self.browsers.extract(agent);
        let system = self.systems.extract(agent);
        let (browser, browser_major) = browser.map_or(("", 0), |browser| self.named(&browser.family, browser.major));
        let (os, os_major) = system.map_or(("", 0), |system| self.named(device::usual_name(&system.os), system.major.as_deref()));
        Agent { browser, browser_major, os, os_major, class: device::class_of_agent(agent), robot: self.bots.judge(agent) }
    }

    /// A family that may be stored, and its major version; a version without a family says nothing.
    fn named(&self, family: &str, version: Option<&str>) -> (&'static str, u16) {
        let family = self.families.find(family);
        (family, if family.is_empty() { 0 } else { major(version) })
    }
}

fn read(path: &Path) -> Result<(String, Option<SystemTime>), AgentsError> {
    let text = std::fs::read_to_string(path).map_err(|source| AgentsError::Read { file: name(path), source })?;
    let changed = std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    Ok((text, changed))
}

fn name(path: &Path) -> String {
    path.display().to_string()
}

/// The part of `agent` that is looked at, as text.
fn readable(agent: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(&agent[..agent.len().min(USER_AGENT_BYTES)])
}

/// A version's first number, or 0 for a word (`XP`) or a number that no version has.
fn major(version: Option<&str>) -> u16 {
    version.and_then(|version| version.parse().ok()).unwrap_or(0)
}

/// Agents that were classified lately, by a keyed hash of their text. One worker owns it, and its size has a bound.
///
/// The hash is SipHash under a key that is drawn when the cache is made and never leaves it: neither can a sender aim at another's entry, nor can the entries be
/// traced back to a text. Two generations stand for the order of use: half of the bound, and the half before it; what is asked for again comes along. So as many agents as
/// a half holds are all remembered, which sets of a fixed size are not: where sets of four had twice the room, one in eight of 4,000 was not.
pub struct AgentCache {
    key: RandomState,
    recent: Generation,
    earlier: Generation,
}

/// The keys are hashes that nobody can aim at: the quickest hash of them will do.
type Generation = HashMap<u64, Agent, FixedState>;

impl AgentCache {
    /// An empty cache with room for [`AGENTS_CACHED`] agents.
    pub fn new() -> Self {
        Self { key: RandomState::new(), recent: Generation::default(), earlier: Generation::default() }
    }

    /// What `agent` says: remembered, or read by `agents` now.
    pub fn classify(&mut self, agents: &Agents, agent: &[u8]) -> Agent {
        let hash = self.key.hash_one(agent);
        if let Some(known) = self.recent.get(&hash) {
            return *known;
        }
        let known = self.earlier.get(&hash).copied().unwrap_or_else(|| agents.classify(agent));
        if self.recent.len() >= AGENTS_CACHED / 2 {
            std::mem::swap(&mut self.recent, &mut self.earlier);
            self.recent.clear();
        }
        self.recent.insert(hash, known);
        known
    }
}

impl Default for AgentCache {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests;
