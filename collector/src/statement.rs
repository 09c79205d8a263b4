//! `GET /privacy.json`: what this collector keeps and for how long, rendered from the configuration it runs with.
//!
//! It names no site: a collector may serve many, and who they are is theirs to say.

use serde_json::{Value, json};

use crate::config::{Config, Store};
use crate::limits;

/// The statement's text, for people and machines.
pub fn render(config: &Config) -> String {
    let statement = json!({
        "collector": { "name": "headcount", "version": env!("CARGO_PKG_VERSION") },
        "address": {
            "stored": false,
            "used_for": if config.geo.is_some() { json!(["country", "pseudonym"]) } else { json!(["pseudonym"]) },
        },
        "place": { "finest": if config.geo.is_some() { "country" } else { "none" } },
        "user_agent": { "stored": false, "reduced_to": ["browser family and major version", "operating system family and major version", "device class"] },
        "cookies": false,
        "pseudonym": {
            "what": "64 bits of a keyed hash, under a random key of one day; it differs on every site and every day",
            "hours_max": config.close_after_hours,
            "hours_max_while_the_database_cannot_be_reached": u32::from(config.close_after_hours) + 7 * 24,
            "erasure": "when the day is closed: its rows, visits and pseudonyms are dropped, and only counts are left",
        },
        "key": { "what": "32 random bytes, drawn fresh for every day", "hours_max": 25.5, "destroyed": true, "in_backups": false },
        "signals": {
            "obeyed": ["DNT", "Sec-GPC", "consent denied", "opt-out", "child"],
            "stored": false,
        },
        "never_stored": [
            "address", "user agent", "cookie", "fragment", "query parameters except campaign tags and those that a site names", "advertising or device id",
            "place finer than a country", "e-mail, phone, card or identity number in paths and properties",
        ],
        "where": match &config.store { Store::Embedded(_) => "this machine", Store::Server(_) => "a ClickHouse server of the operator" },
        "bounds": { "properties": limits::PROPS, "property_bytes": limits::PROP_VALUE_BYTES },
    });
    let mut text = serde_json::to_string_pretty::<Value>(&statement).unwrap_or_default();
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Overrides, Surroundings};

    fn statement(config: &str) -> Value {
        let overrides = Overrides { data_dir: Some("/nowhere".into()), ..Overrides::default() };
        let config = Config::parse(config, None, &overrides, &Surroundings::default()).unwrap();
        serde_json::from_str(&render(&config)).unwrap()
    }

    #[test]
    fn the_statement_says_what_is_configured() {
        let plain = statement("");
        assert_eq!(plain["place"]["finest"], "country");
        assert_eq!(plain["pseudonym"]["hours_max"], 48);
        let strict = statement("geo = \"off\"\nclose_after_hours = 30\n");
        assert_eq!(strict["place"]["finest"], "none");
        assert_eq!(strict["pseudonym"]["hours_max"], 30);
    }

    #[test]
    fn the_statement_names_no_site() {
        let text = statement("[[site]]\nid = \"secret-project.example\"\n").to_string();
        assert!(!text.contains("secret-project"));
    }
}
