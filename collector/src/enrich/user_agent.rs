//! User agent -> families, major versions, a class of device, and whether a robot speaks.
//!
//! An agent's text is borrowed, read once and forgotten. What is made of it can only hold words that the data file spells out itself (see `vocabulary.rs`), so a
//! hostile agent cannot smuggle its own text into a table. Patterns are those of uap-core; every one runs in linear time.

use std::borrow::Cow;
use std::hash::{BuildHasher, RandomState};
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use serde::Deserialize;
use ua_parser::{os, user_agent};

use super::bots::Bots;
pub use super::bots::Robot;
use super::device;
use super::vocabulary::Vocabulary;
use crate::event::DeviceClass;
use crate::limits::{AGENTS_CACHED, USER_AGENT_BYTES};

/// What an agent's text says, and all that is kept of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agent {
    /// Browser family (`Firefox`, `Mobile Safari`), or empty.
    pub browser: Arc<str>,
    /// Browser's major version, or 0.
    pub browser_major: u16,
    /// Operating system family (`Windows`, `iOS`), or empty.
    pub os: Arc<str>,
    /// Operating system's major version, or 0.
    pub os_major: u16,
    /// What kind of machine.
    pub class: DeviceClass,
    /// Whether a person's browser speaks, or what else.
    pub robot: Robot,
}

/// The data files, read and compiled once, shared by all workers.
///
/// uap-core's device patterns are left out: two thirds of all its patterns, 16 MB and 110 ms for a model name that is not stored. What kind of machine it is, a short
/// table tells as well (see `device.rs`).
pub struct Agents {
    browsers: user_agent::Extractor<'static>,
    systems: os::Extractor<'static>,
    families: Vocabulary,
    none: Arc<str>,
    bots: Bots,
    /// When the pattern file was last changed, as its file system says.
    pub patterns_changed: Option<SystemTime>,
    /// When the crawler list was last changed, as its file system says.
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
    /// Reads uap-core's `regexes.yaml` and crawler-user-agents' `crawler-user-agents.json`. Takes some 50 ms.
    pub fn load(patterns: &Path, crawlers: &Path) -> Result<Self, AgentsError> {
        let (patterns_text, patterns_changed) = read(patterns)?;
        let (crawlers_text, crawlers_changed) = read(crawlers)?;
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
        device::RENAMED.iter().for_each(|(_, ours)| families.learn("", Some(ours)));
        let pattern = |source| AgentsError::Pattern { file: file.clone(), source };
        let browsers = user_agent::Builder::new().push_all(parsed.user_agent_parsers).map_err(pattern)?;
        let systems = os::Builder::new().push_all(parsed.os_parsers).map_err(|source| pattern(source.into()))?;
        Ok(Self {
            browsers: browsers.build().map_err(|source| pattern(source.into()))?,
            systems: systems.build().map_err(|source| pattern(source.into()))?,
            families,
            none: Arc::from(""),
            bots: Bots::read(&crawlers_text).map_err(|source| AgentsError::Crawlers { file: name(crawlers), source })?,
            patterns_changed,
            crawlers_changed,
        })
    }

    /// What `agent` says. Looks at its first [`USER_AGENT_BYTES`]; bytes that are no text are read as if something unknown stood there.
    pub fn classify(&self, agent: &[u8]) -> Agent {
        let agent = readable(agent);
        let agent = agent.trim();
        let browser = self.browsers.extract(agent);
        let system = self.systems.extract(agent);
        let os = system.as_ref().map_or("", |system| device::usual_name(&system.os));
        Agent {
            browser: self.family(browser.as_ref().map_or("", |browser| &browser.family)),
            browser_major: major(browser.and_then(|browser| browser.major)),
            os: self.family(os),
            os_major: major(system.and_then(|system| system.major.map(Cow::into_owned)).as_deref()),
            class: device::class_of_agent(agent),
            robot: self.bots.judge(agent),
        }
    }

    fn family(&self, family: &str) -> Arc<str> {
        self.families.find(family).unwrap_or_else(|| Arc::clone(&self.none))
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

/// Agents that were classified lately, by a keyed hash of their text. One worker owns it; it never grows.
///
/// The hash is SipHash under a key that is drawn when the cache is made and never leaves it: neither can a sender aim at another's entry, nor can the entries be
/// traced back to a text. Entries stand in small sets ordered by last use, so that finding, refreshing and evicting touch one cache line or two and allocate nothing.
pub struct AgentCache {
    key: RandomState,
    entries: Box<[Option<Entry>]>,
}

struct Entry {
    hash: u64,
    agent: Arc<Agent>,
}

/// Entries that share a place; the one used longest ago makes room.
const WAYS: usize = 4;

impl AgentCache {
    /// An empty cache with room for [`AGENTS_CACHED`] agents.
    pub fn new() -> Self {
        Self { key: RandomState::new(), entries: (0..AGENTS_CACHED).map(|_| None).collect() }
    }

    /// What `agent` says: remembered, or read by `agents` now.
    pub fn classify(&mut self, agents: &Agents, agent: &[u8]) -> Arc<Agent> {
        let hash = self.key.hash_one(agent);
        let set = self.set(hash);
        if let Some(found) = set.iter().position(|entry| entry.as_ref().is_some_and(|entry| entry.hash == hash)) {
            set[..=found].rotate_right(1);
        } else {
            set.rotate_right(1);
            set[0] = Some(Entry { hash, agent: Arc::new(agents.classify(agent)) });
        }
        set[0].as_ref().map(|entry| Arc::clone(&entry.agent)).expect("both branches leave an entry in front")
    }

    fn set(&mut self, hash: u64) -> &mut [Option<Entry>] {
        let sets = (AGENTS_CACHED / WAYS) as u64;
        let first = usize::try_from(hash % sets).unwrap_or(0) * WAYS;
        &mut self.entries[first..first + WAYS]
    }
}

impl Default for AgentCache {
    fn default() -> Self {
        Self::new()
    }
}
