//! The README for when things go wrong: each command does what it says, and every error code is there.

use headcount::store::errors::{Class, Failure};

use super::*;

/// The chapter of the README for when things go wrong, and the commands in it, each as it is written.
struct Chapter {
    commands: std::collections::BTreeSet<String>,
}

impl Chapter {
    fn read() -> Self {
        let readme = include_str!("../../../README.md");
        let chapter = readme.split("\n## ").find(|chapter| chapter.starts_with("When things go wrong")).unwrap();
        let code = chapter.split('`').skip(1).step_by(2);
        Self { commands: code.filter(|code| code.starts_with("headcount ")).map(str::to_owned).collect() }
    }

    /// Runs the command that is written so, with what stands for BATCH, NODE and DIR; whether it succeeded, and what it said.
    fn run(&mut self, setup: &Setup, written: &str, standing: &[(&str, &str)]) -> (bool, String) {
        self.commands.remove(written);
        let meant = standing.iter().fold(written.to_owned(), |text, (name, value)| text.replace(name, value));
        let (plain, quoted) = meant.strip_suffix('"').and_then(|text| text.split_once('"')).unwrap_or((&meant, ""));
        let arguments: Vec<&str> = plain.split_whitespace().skip(1).chain(Some(quoted).filter(|quoted| !quoted.is_empty())).collect();
        let (status, said) = setup.run(&arguments);
        (status.success(), said)
    }
}

#[test]
fn every_command_of_the_readme_for_when_things_go_wrong_does_what_it_says() {
    let mut chapter = Chapter::read();
    assert!(chapter.commands.len() > 8, "{:?}", chapter.commands);
    let setup = Setup::new("chapter", &without_clickhouse());
    leave_segments(&setup, &["/a", "/b", "/c"]);
    park(&setup);
    let batches = segments(&setup, "parked");
    setup.configure(SITE);
    let collector = setup.start();
    let succeeded = |(success, said): (bool, String)| {
        assert!(success, "{said}");
        said
    };
    let of = |batch: usize| [("BATCH", &*batches[batch].0)];

    assert!(succeeded(chapter.run(&setup, "headcount spool ls", &[])).contains("total\tparked"));
    assert!(succeeded(chapter.run(&setup, "headcount spool verify", &[])).contains(" sound, 0 not"));
    let head: serde_json::Value =
        serde_json::from_str(&succeeded(chapter.run(&setup, "headcount spool dump BATCH --limit 0", &of(0)))).unwrap();
    let node = head["segment"]["node"].to_string();
    assert_eq!(succeeded(chapter.run(&setup, "headcount spool dump BATCH --limit 3", &of(0))).lines().count(), 2);
    succeeded(chapter.run(&setup, "headcount spool redrive BATCH", &of(0)));
    collector.wait_for_events(1);
    let count = "headcount sql \"SELECT count() FROM events WHERE node = NODE AND batch = BATCH\"";
    assert_eq!(succeeded(chapter.run(&setup, count, &[("NODE", &node), ("BATCH", &batches[0].0)])), "count()\n1\n");
    let (dropped, said) = chapter.run(&setup, "headcount spool drop BATCH", &of(1));
    assert!(!dropped && said.contains("\texample.org\t1\n"), "{said}");
    succeeded(chapter.run(&setup, "headcount spool drop BATCH --yes", &of(1)));
    succeeded(chapter.run(&setup, "headcount spool redrive --all", &[]));
    collector.wait_for_events(2);
    collector.drained();
    law::assert_holds(&collector);
    assert!(succeeded(chapter.run(&setup, "headcount keys log", &[])).contains("\tbirth\t"));
    assert!(succeeded(chapter.run(&setup, "headcount days", &[])).starts_with("day\tzone\tstate\tevents\twhy\n"));
    assert!(succeeded(chapter.run(&setup, "headcount check-config", &[])).contains("headcount.toml: right"));
    let folder = setup.path().join("backup");
    let folder = [("DIR", folder.to_str().unwrap())];
    succeeded(chapter.run(&setup, "headcount backup DIR", &folder));
    let fresh = Setup::new("chapter-fresh", SITE);
    succeeded(chapter.run(&fresh, "headcount restore DIR", &folder));
    assert!(chapter.commands.is_empty(), "not tried: {:?}", chapter.commands);
}

#[test]
fn the_readme_knows_every_error_code_that_the_collector_knows() {
    let readme = include_str!("../../../README.md");
    let table = readme.split("| error code |").nth(1).unwrap().split("\n\n").next().unwrap();
    let first_cells = table.lines().filter_map(|line| line.split('|').nth(1));
    let said: Vec<u16> =
        first_cells.flat_map(|cell| cell.split([',', ' '])).filter_map(|word| word.parse().ok()).filter(|code| *code > 0).collect();
    let known: Vec<u16> = (1..u16::MAX).filter(|code| Failure::Exception(*code).class() != Class::Unknown).collect();
    let mut sorted = said.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, known, "each once");
}
