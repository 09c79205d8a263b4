//! The source tree keeps its shape: what may import what, how a file begins, how long it is, and what must not stand in it.
//!
//! Each rule is a function from a text to its faults, so that it can be shown to find one.

#![allow(clippy::unwrap_used, reason = "a test that cannot read the tree has failed")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Lines of a file: about 400 is calm, more is two files. A table of test cases may be longer.
const LINES: usize = 450;
const LINES_OF_TESTS: usize = 600;

/// What every module may import: the shared types. They import each other and what `EDGES` adds.
const GROUND: &[&str] = &["clock", "event", "leak", "limits", "outcome", "site"];

/// Who may import what besides the ground. A module, or one file of it; `*` is everything. A new edge is a decision: it is made here, in sight.
const EDGES: &[(&str, &[&str])] = &[
    ("event", &["privacy::pseudonym"]),
    ("site", &["privacy::proxy", "privacy::secret"]),
    ("days", &[]),
    ("tally", &[]),
    ("row", &[]),
    // Which cuts a site may name is what closing can keep.
    ("config", &["privacy::proxy", "privacy::secret", "store::closing"]),
    ("telemetry", &["config", "privacy::keys"]),
    ("shutdown", &[]),
    ("instance", &[]),
    ("assets", &[]),
    // The path of an event, in its order.
    ("beacon", &["consent::signals", "privacy::proxy", "privacy::raw", "privacy::secret"]),
    ("consent", &["beacon"]),
    ("privacy", &["beacon", "consent", "days", "enrich::bots", "enrich::user_agent"]),
    ("enrich", &["beacon", "privacy"]),
    ("distinct", &["row"]),
    ("spool", &["row"]),
    ("pipeline", &["beacon", "consent", "enrich", "privacy"]),
    (
        "worker",
        &[
            "beacon",
            "consent::signals",
            "distinct",
            "enrich::user_agent",
            "metrics",
            "pipeline",
            "privacy",
            "row",
            "server",
            "spool",
            "tally",
            "telemetry",
        ],
    ),
    (
        "server",
        &[
            "access",
            "beacon",
            "config",
            "consent::signals",
            "metrics",
            "pipeline",
            "privacy::proxy",
            "privacy::raw",
            "privacy::secret",
            "shutdown",
        ],
    ),
    ("pages", &["server"]),
    // The other side of the disk.
    ("sink", &["config", "metrics", "row", "shutdown", "spool", "store"]),
    ("store", &["config", "row", "spool::format"]),
    ("metrics", &["privacy::proxy", "row", "tally"]),
    // What is shown.
    ("exposition", &["metrics"]),
    ("pages", &["server"]),
    ("statement", &["config"]),
    ("access", &["privacy::secret"]),
    ("api", &["access", "server::private", "store"]),
    ("export", &["shutdown", "store"]),
    ("backup", &["access", "config", "server::private", "store"]),
    ("deletion", &[]),
    ("demo", &["assets", "config", "days", "privacy::geo", "privacy::secret", "row", "serve", "spool::inspect", "store"]),
    // What puts it all together.
    ("insight", &["*"]),
    ("serve", &["*"]),
    ("cli", &["*"]),
];

/// Types that hold something raw, and what they must never be able to do: it would let them be printed, kept, compared or opened.
const RAW_TYPES: &[&str] = &["ClientIp", "RawUserAgent", "RawId", "Visitor", "Identity", "Peer", "Address", "DayKey", "SiteKey"];
const FORBIDDEN_TRAITS: &[&str] =
    &["Debug", "Display", "Clone", "Copy", "Serialize", "Hash", "PartialEq", "Eq", "Deref", "AsRef", "ToString", "Borrow"];

/// Texts that no file may hold, in pieces so that this one does not. Marks of unfinished work are for Rust files.
const UNFINISHED: &[&str] = &[concat!("todo", "!("), concat!("unimplemented", "!("), concat!("dbg", "!("), concat!("#[", "ignore")];
const FOREIGN: &[&str] = &[
    concat!("registry.", "npmjs.org"),
    concat!("registry.", "yarnpkg.com"),
    concat!("index.", "crates.io"),
    concat!("static.", "crates.io"),
    concat!("files.", "pythonhosted.org"),
    concat!("deb.", "debian.org"),
    concat!("proxy.", "golang.org"),
    concat!("/ro", "ot/"),
    concat!("/wo", "rk/"),
    concat!("/Use", "rs/"),
];

#[test]
fn every_file_opens_with_what_it_is_for() {
    assert_none(
        sources().iter().filter(|(_, text)| !opens_well(text)).map(|(path, _)| format!("{path}: the first line must begin with `//! `")),
    );
    assert!(opens_well("//! What this is for.\n"));
    assert!(!opens_well("use std::fmt;\n//! Too late.\n"));
}

fn opens_well(text: &str) -> bool {
    text.strip_prefix("//! ").is_some_and(|rest| rest.lines().next().is_some_and(|line| !line.is_empty()))
}

#[test]
fn no_file_is_long() {
    let long = |(path, text): &(String, String)| {
        let lines = text.lines().count();
        let most = if is_test(path) { LINES_OF_TESTS } else { LINES };
        (lines > most).then(|| format!("{path}: {lines} lines, more than {most}: two files"))
    };
    assert_none(sources().iter().filter_map(long));
}

#[test]
fn nothing_is_left_unfinished() {
    assert_none(sources().iter().flat_map(|(path, text)| holding(path, text, UNFINISHED)));
    let planted = format!("fn main() {{\n    {}) }}", UNFINISHED[0]);
    assert_eq!(holding("a.rs", &planted, UNFINISHED).len(), 1);
}

#[test]
fn no_text_names_a_registry_host_or_a_place_on_one_machine() {
    let texts = texts();
    assert!(texts.len() > 40, "the tree was not read");
    assert_none(texts.iter().flat_map(|(path, text)| holding(path, text, FOREIGN)));
    assert_eq!(holding("a.md", &format!("see\n{}a", FOREIGN[8]), FOREIGN), [format!("a.md:2: holds {:?}", FOREIGN[8])]);
}

fn holding(path: &str, text: &str, needles: &[&str]) -> Vec<String> {
    let found = |(number, line): (usize, &str)| {
        let needle = needles.iter().find(|needle| line.contains(**needle))?;
        Some(format!("{path}:{}: holds {needle:?}", number + 1))
    };
    text.lines().enumerate().filter_map(found).collect()
}

#[test]
fn imports_run_one_way() {
    let of_the_collector = |path: &str| path.strip_prefix("collector/src/").map(str::to_owned);
    let faults = sources().into_iter().filter_map(|(path, text)| Some((of_the_collector(&path)?, text)));
    assert_none(faults.filter(|(path, _)| !is_test(path)).flat_map(|(path, text)| new_edges(&path, &text)));
}

#[test]
fn a_new_edge_is_seen_however_it_is_written() {
    for (path, text, edges) in [
        ("spool/writer.rs", "use crate::server::request;", &["spool -> server::request"][..]),
        (
            "spool/writer.rs",
            "use crate::{\n    clock::Clock,\n    sink::{client, errors},\n};",
            &["spool -> sink::client", "spool -> sink::errors"],
        ),
        ("spool/writer.rs", "fn f() { crate::pipeline::collect() }", &["spool -> pipeline::collect"]),
        ("spool/writer.rs", "use super::super::server;", &["spool -> super::super"]),
        ("privacy/mod.rs", "use crate::enrich::source;", &["privacy -> enrich::source"]),
        ("unheard_of.rs", "use crate::limits;", &["unheard_of -> (a module that EDGES does not know)"]),
        ("privacy/mod.rs", "use crate::enrich::bots;\nuse crate::limits::ZONES;", &[]),
        ("spool/mod.rs", "//! See [`crate::server`].\nuse crate::row::{Row, table};", &[]),
        ("spool/mod.rs", "mod writer;\n#[cfg(test)]\nmod tests {\n    use crate::server::request;\n}", &[]),
    ] {
        assert_eq!(new_edges(path, text), edges, "{text}");
    }
}

/// The edges from the file at `path` (below `collector/src`) that the tables do not allow.
fn new_edges(path: &str, text: &str) -> Vec<String> {
    let module = path.split(['/', '.']).next().unwrap_or_default();
    if matches!(module, "lib" | "main") {
        return Vec::new();
    }
    let beyond_ground = EDGES.iter().find(|(from, _)| *from == module).map(|(_, allowed)| *allowed);
    if beyond_ground.is_none() && !GROUND.contains(&module) {
        return vec![format!("{module} -> (a module that EDGES does not know)")];
    }
    let beyond_ground = beyond_ground.unwrap_or_default();
    let allowed = |target: &String| {
        let of = |rule: &&str| *rule == "*" || target == rule || target.strip_prefix(rule).is_some_and(|rest| rest.starts_with("::"));
        of(&module) || GROUND.iter().any(of) || beyond_ground.iter().any(of)
    };
    imports(&code(text)).into_iter().filter(|target| !allowed(target)).map(|target| format!("{module} -> {target}")).collect()
}

/// The text without comments and without its tests at the end.
fn code(text: &str) -> String {
    let body = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    body.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// What the code names below `crate::`, two segments deep.
fn imports(code: &str) -> BTreeSet<String> {
    let two_deep = |path: String| path.split("::").take(2).collect::<Vec<_>>().join("::");
    let mut found: BTreeSet<String> = code.split("crate::").skip(1).flat_map(|rest| paths(rest).0).map(two_deep).collect();
    if code.contains("super::super::") {
        found.insert("super::super".to_owned());
    }
    found
}

/// The paths of one `use` tree (`a::{b, c::d}`) at the start of `text`, and what follows it.
fn paths(text: &str) -> (Vec<String>, &str) {
    let text = text.trim_start();
    if let Some(inside) = text.strip_prefix('{') {
        let (mut found, mut rest) = (Vec::new(), inside.trim_start());
        while !rest.is_empty() && !rest.starts_with('}') {
            let (inner, after) = paths(rest);
            found.extend(inner);
            let end = after.find([',', '}']).unwrap_or(after.len());
            rest = after[end..].trim_start_matches([',', ' ', '\n']);
        }
        return (found, rest.strip_prefix('}').unwrap_or(rest));
    }
    let end = text.find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_').unwrap_or(text.len());
    let (name, after) = text.split_at(end);
    match after.strip_prefix("::") {
        None => (vec![name.to_owned()], after),
        Some(rest) => {
            let (inner, after) = paths(rest);
            (inner.into_iter().map(|path| format!("{name}::{path}")).collect(), after)
        }
    }
}

#[test]
fn raw_types_gain_no_trait_that_could_leak_them() {
    assert_none(sources().iter().filter(|(path, _)| !is_test(path)).flat_map(|(path, text)| leaky_traits(path, text)));
    for planted in [
        "#[derive(Debug)]\npub struct ClientIp(IpAddr);",
        "#[derive(Default, serde::Serialize)]\n/// Who.\npub struct Visitor<'a> {",
        "impl std::fmt::Display for RawId<'_> {",
        "impl<'a> Clone for RawUserAgent<'a> {",
    ] {
        assert_eq!(leaky_traits("raw.rs", planted).len(), 1, "{planted}");
    }
    assert!(
        leaky_traits("raw.rs", "#[derive(Debug)]\npub struct Country;\npub struct ClientIp(IpAddr);\nimpl Drop for ClientIp {").is_empty()
    );
}

fn leaky_traits(path: &str, text: &str) -> Vec<String> {
    let is_word =
        |text: &str, word: &str| text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_').any(|part| part == word);
    let mut derives = String::new();
    let mut faults = Vec::new();
    for line in text.lines().map(str::trim_start) {
        let subject = match line.split_once("struct ").or_else(|| line.split_once("enum ")) {
            Some((before, rest)) if !before.contains("//") => {
                rest.split(|letter: char| !letter.is_ascii_alphanumeric()).next().unwrap_or_default()
            }
            _ => "",
        };
        let implemented = line.strip_prefix("impl").and_then(|rest| rest.split_once(" for ")).unwrap_or_default();
        for raw in RAW_TYPES {
            let gained = if subject == *raw {
                derives.as_str()
            } else if is_word(implemented.1, raw) {
                implemented.0
            } else {
                continue;
            };
            let forbidden = FORBIDDEN_TRAITS.iter().filter(|name| is_word(gained, name));
            faults.extend(forbidden.map(|name| format!("{path}: {raw} must not be {name}")));
        }
        if line.starts_with("#[derive(") {
            derives.push_str(line);
        } else if !line.starts_with("//") && !line.starts_with("#[") {
            derives.clear();
        }
    }
    faults
}

fn assert_none(faults: impl IntoIterator<Item = String>) {
    let faults: Vec<String> = faults.into_iter().collect();
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

fn is_test(path: &str) -> bool {
    path.starts_with("tests/") || path.strip_suffix("/tests.rs").is_some() || path.contains("/tests/")
}

/// Every Rust file, with its path from the root of the repository.
fn sources() -> Vec<(String, String)> {
    let sources: Vec<_> = texts().into_iter().filter(|(path, _)| path.strip_suffix(".rs").is_some()).collect();
    assert!(sources.len() > 30, "the tree was not read");
    sources
}

/// Every text file but the lock files, whose content other tools write.
fn texts() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut files = Vec::new();
    walk(root, &mut files);
    let named = |file: PathBuf| {
        let path = file.strip_prefix(root).unwrap().to_string_lossy().into_owned();
        let text = String::from_utf8(fs::read(&file).unwrap()).ok()?;
        Some((path, text))
    };
    files.into_iter().filter_map(named).collect()
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        match name.as_str() {
            "target" | "node_modules" | "dist" | "data" | ".git" | "Cargo.lock" => {}
            _ if path.is_dir() => walk(&path, files),
            _ => files.push(path),
        }
    }
}
