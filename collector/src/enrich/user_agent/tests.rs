//! Tests of user agents and robots, on the pinned data files and a table of agents as they are seen in the wild.

use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;
use crate::assets::{Asset, Assets};
use crate::beacon::Route;
use crate::outcome::Dropped;

static AGENTS: LazyLock<Agents> = LazyLock::new(|| {
    let assets = Assets::locate();
    Agents::load(&assets.path(Asset::UserAgents).unwrap(), &assets.path(Asset::Crawlers).unwrap()).unwrap()
});

/// The rows of `agents.txt`: what is expected, and the agent.
fn table() -> impl Iterator<Item = (&'static str, &'static str)> {
    let rows = include_str!("agents.txt").lines().filter(|line| !line.starts_with('#'));
    rows.map(|line| line.rsplit_once(" | ").unwrap())
}

#[test]
fn agents_of_the_wild_are_read_as_the_table_says() {
    assert!(table().count() > 100);
    for (expected, text) in table() {
        let agent = AGENTS.classify(text.as_bytes());
        let robot = format!("{:?}", agent.robot).to_lowercase();
        let told = [
            format!("{} {}", agent.browser, agent.browser_major),
            format!("{} {}", agent.os, agent.os_major),
            agent.class.label().into(),
            robot,
        ];
        assert_eq!(told.join(" | "), expected, "{text}");
    }
}

#[test]
fn a_library_is_turned_away_from_pages_and_welcome_on_the_api() {
    let mut libraries = 0;
    for (expected, text) in table() {
        let robot = AGENTS.classify(text.as_bytes()).robot;
        let (page, api) = match expected.rsplit(" | ").next().unwrap() {
            "library" => (Some(Dropped::NotABrowser), None),
            "headless" => (Some(Dropped::Headless), None),
            "crawler" => (Some(Dropped::Crawler), Some(Dropped::Crawler)),
            _ => (None, None),
        };
        libraries += usize::from(robot == Robot::Library);
        assert_eq!((robot.refused_on(Route::Page), robot.refused_on(Route::Api)), (page, api), "{text}");
    }
    assert!(libraries >= 20);
}

#[test]
fn an_empty_agent_is_turned_away_from_pages_only() {
    for text in ["", " ", "-", "\r\n"] {
        let robot = AGENTS.classify(text.as_bytes()).robot;
        assert_eq!((robot.refused_on(Route::Page), robot.refused_on(Route::Api)), (Some(Dropped::NoUserAgent), None), "{text:?}");
    }
}

#[test]
fn nothing_after_the_bound_is_read() {
    let mut agent = vec![b'a'; USER_AGENT_BYTES];
    agent.extend_from_slice(b" Googlebot/2.1");
    assert_eq!(AGENTS.classify(&agent).robot, Robot::Library);
    agent.drain(..64);
    assert_eq!(AGENTS.classify(&agent).robot, Robot::Crawler);
}

#[test]
fn an_agent_cannot_put_its_own_words_into_a_table() {
    for (text, browser) in
        [("canary4711/1 CFNetwork/1", ""), ("Mozilla/5.0 (compatible; canary4711bot/1.0)", ""), ("Mozilla/5.0 Firefox/132.0", "Firefox")]
    {
        assert_eq!(AGENTS.classify(text.as_bytes()).browser, browser, "{text}");
    }
}

#[test]
fn the_cache_remembers_and_never_grows() {
    let mut cache = AgentCache::new();
    let firefox = b"Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:132.0) Gecko/20100101 Firefox/132.0";
    for _ in 0..2 {
        assert_eq!(cache.classify(&AGENTS, firefox), AGENTS.classify(firefox));
    }
    assert_eq!((cache.recent.len(), cache.earlier.len()), (1, 0));
    for number in 0..3 * AGENTS_CACHED {
        cache.classify(&AGENTS, format!("x{number}").as_bytes());
        // What is asked for all the time stays, however many come once.
        assert!(number % 100 != 0 || cache.classify(&AGENTS, firefox).browser == "Firefox");
        assert!(number % 100 != 99 || cache.remembers(firefox), "after {number}");
    }
    assert_eq!(cache.earlier.len(), AGENTS_CACHED / 2);
    assert!(cache.recent.len() <= AGENTS_CACHED / 2);
}

#[test]
fn as_many_agents_as_half_the_cache_holds_are_all_remembered() {
    let mut cache = AgentCache::new();
    let agents: Vec<String> = (0..AGENTS_CACHED / 2).map(|number| format!("x{number}")).collect();
    for agent in &agents {
        cache.classify(&AGENTS, agent.as_bytes());
    }
    assert!(agents.iter().all(|agent| cache.remembers(agent.as_bytes())));
}

impl AgentCache {
    fn remembers(&self, agent: &[u8]) -> bool {
        let hash = self.key.hash_one(agent);
        self.recent.contains_key(&hash) || self.earlier.contains_key(&hash)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn hostile_agents_are_read_without_a_panic(text in proptest::collection::vec(any::<u8>(), 0..2_048), repeats in 1_usize..32) {
        AGENTS.classify(&text.repeat(repeats));
        AGENTS.classify(&[b"Mozilla/5.0 (Linux; Android ".as_slice(), &text].concat());
    }
}
