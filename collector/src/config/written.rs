//! The configuration as an operator writes it: every key optional, unknown keys refused, nothing judged yet.
//!
//! `headcount.example.toml` shows each key with its default; a test reads it into these types.

use std::path::PathBuf;

use serde::Deserialize;

use super::fault::{Fault, Promise, key_at};

/// The whole file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Written {
    pub(super) data_dir: Option<PathBuf>,
    pub(super) key_dir: Option<PathBuf>,
    pub(super) geo: Option<String>,
    pub(super) user_agents: Option<PathBuf>,
    pub(super) crawlers: Option<PathBuf>,
    pub(super) close_after_hours: Option<i64>,
    #[serde(default)]
    pub(super) public: Public,
    #[serde(default)]
    pub(super) private: Private,
    pub(super) proxy: Option<Proxy>,
    #[serde(default)]
    pub(super) engine: Engine,
    pub(super) clickhouse: Option<ClickHouse>,
    #[serde(default)]
    pub(super) spool: Spool,
    #[serde(default)]
    pub(super) log: Log,
    pub(super) export: Option<Export>,
    #[serde(default)]
    pub(super) site: Vec<Site>,
}

/// `[public]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Public {
    pub(super) listen: Option<String>,
    pub(super) url: Option<String>,
    pub(super) base_path: Option<String>,
    pub(super) script_path: Option<String>,
    pub(super) event_path: Option<String>,
    pub(super) workers: Option<i64>,
}

/// `[private]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Private {
    pub(super) listen: Option<String>,
    pub(super) public_url: Option<String>,
    #[serde(default)]
    pub(super) insecure: bool,
}

/// `proxy`: the name of a preset, networks, or either with the header's name.
#[derive(Debug, Deserialize)]
#[serde(
    untagged,
    expecting = "expected a preset (\"loopback\", \"docker\", \"cloudflare\", \"nobody\"), a list of networks, or { trust = ..., header = ... }"
)]
pub(super) enum Proxy {
    Trust(Trust),
    WithHeader(ProxyHeader),
}

/// `proxy = { trust = ..., header = ... }`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ProxyHeader {
    pub(super) trust: Option<Trust>,
    pub(super) header: Option<String>,
}

/// A preset's name, or networks.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Trust {
    Preset(String),
    Networks(Vec<String>),
}

/// `[engine]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Engine {
    pub(super) library: Option<PathBuf>,
    pub(super) memory_bytes: Option<i64>,
}

/// `[clickhouse]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ClickHouse {
    pub(super) url: Option<String>,
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
    pub(super) password_file: Option<PathBuf>,
    pub(super) database: Option<String>,
    #[serde(default)]
    pub(super) plaintext: bool,
}

/// `[spool]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Spool {
    pub(super) max_bytes: Option<i64>,
    pub(super) behind_after_seconds: Option<i64>,
}

/// `[log]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Log {
    pub(super) level: Option<String>,
    pub(super) format: Option<String>,
}

/// `[export]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Export {
    pub(super) dir: Option<PathBuf>,
}

/// One `[[site]]`.
#[expect(clippy::struct_excessive_bools, reason = "each is a key of the file, and nothing is decided by them here")]
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Site {
    pub(super) id: Option<String>,
    pub(super) timezone: Option<String>,
    #[serde(default)]
    pub(super) hosts: Vec<String>,
    #[serde(default)]
    pub(super) any_host: bool,
    #[serde(default)]
    pub(super) consent: Consent,
    pub(super) gpc: Option<String>,
    pub(super) advertising: Option<String>,
    #[serde(default)]
    pub(super) child_directed: bool,
    #[serde(default)]
    pub(super) routes: Vec<String>,
    #[serde(default)]
    pub(super) path_keep: Vec<String>,
    #[serde(default)]
    pub(super) query_keep: Vec<String>,
    #[serde(default)]
    pub(super) ignore_from: Vec<String>,
    #[serde(default)]
    pub(super) debug: bool,
    pub(super) k: Option<i64>,
    #[serde(default)]
    pub(super) share: bool,
    pub(super) secret_sha256: Option<String>,
    #[serde(default)]
    pub(super) properties: Vec<String>,
    #[serde(default)]
    pub(super) cubes: Vec<Vec<String>>,
    pub(super) detail: Option<String>,
    #[serde(default)]
    pub(super) goal: Vec<Goal>,
    #[serde(default)]
    pub(super) funnel: Vec<Funnel>,
}

/// `[[site.goal]]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Goal {
    pub(super) name: Option<String>,
    pub(super) page: Option<String>,
    pub(super) event: Option<String>,
    pub(super) value: Option<String>,
}

/// `[[site.funnel]]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Funnel {
    pub(super) name: Option<String>,
    #[serde(default)]
    pub(super) steps: Vec<Step>,
}

/// One of a funnel's `steps`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Step {
    pub(super) page: Option<String>,
    pub(super) event: Option<String>,
}

/// `[site.consent]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Consent {
    pub(super) mode: Option<String>,
    pub(super) ceiling: Option<String>,
    pub(super) without: Option<String>,
}

/// Reads a file's text.
pub(super) fn read(text: &str) -> Result<Written, Fault> {
    toml::from_str(text).map_err(|error| {
        let span = error.span();
        let key = span.as_ref().map(|span| key_at(text, span)).unwrap_or_default();
        let refusal = Fault::unread(&key, error.message().replace("expected i64", "expected a whole number"), span.clone());
        match span.and_then(|span| text.get(span)).and_then(never) {
            Some(promise) => refusal.breaking(promise),
            None => refusal,
        }
    })
}

/// Keys that ask for what Headcount never does. They are unknown like any other; the refusal says why they will stay so.
fn never(key: &str) -> Option<Promise> {
    const RAW: &[&str] = &[
        "body",
        "bodies",
        "request",
        "requests",
        "header",
        "headers",
        "agent",
        "agents",
        "address",
        "addresses",
        "ip",
        "ips",
        "cookie",
        "cookies",
    ];
    const PLACES: &[&str] = &["city", "cities", "region", "regions", "postcode", "coordinates", "asn", "isp"];
    let names = |list: &[&str]| {
        let mut words = key.split(|character: char| !character.is_ascii_alphanumeric());
        words.any(|word| list.contains(&word.to_ascii_lowercase().as_str()))
    };
    if names(RAW) {
        Some(Promise::NothingRaw)
    } else if names(PLACES) {
        Some(Promise::CountryOnly)
    } else {
        None
    }
}
