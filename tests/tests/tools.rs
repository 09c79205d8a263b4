//! The operator's tools on the whole system: what is refused, what is shown, what is given back and what is given up.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::PathBuf;

use headcount::backup::{self, Backup, Source};
use headcount::clock::{Clock, UnixMillis};
use headcount::store::errors::{Class, Failure};
use headcount::store::migrate::{self, MIGRATIONS, Migration};
use headcount_tests::collector::{Collector, Setup};
use headcount_tests::engine::TestEngine;
use headcount_tests::{law, leaky, staged};

const ENGINE: &str = env!("CARGO_BIN_EXE_engine_child");
/// Visitors come without a proxy, so their own addresses count, and they are told apart.
const SITE: &str = "proxy = \"nobody\"\n[public]\nworkers = 1\n[[site]]\nid = \"example.org\"\n";

/// A configuration whose ClickHouse never answers: what is taken stays in the spool.
fn without_clickhouse() -> String {
    format!("{SITE}[clickhouse]\nurl = \"http://127.0.0.1:9\"\n")
}

/// Starts a collector that must refuse to run; what it said.
fn refusal(setup: &Setup) -> String {
    let (status, said) = setup.run(&["serve"]);
    assert_eq!(status.code(), Some(1), "{said}");
    said.lines().filter(|line| line.starts_with("headcount: ")).collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn a_data_folder_of_a_newer_version_is_refused_in_a_clear_line() {
    let setup = Setup::new("newer", &without_clickhouse());
    setup.start().kill();
    let data = setup.data();
    for (file, content, said) in [
        ("format", "2\n", format!("data_dir = {}: written by a newer Headcount, in format 2", data.display())),
        ("spool/00000000000000ff.sealed", "HCSPOOL2...", "00000000000000ff.sealed: written by a newer Headcount, in format 2".to_owned()),
    ] {
        let before = std::fs::read(data.join(file)).ok();
        std::fs::write(data.join(file), content).unwrap();
        let refusal = refusal(&setup);
        assert!(refusal.contains(&said) && refusal.ends_with("start the newer one again"), "{refusal}");
        match before {
            Some(before) => std::fs::write(data.join(file), before).unwrap(),
            None => std::fs::remove_file(data.join(file)).unwrap(),
        }
    }
    setup.start().kill();

    setup.configure(SITE);
    let collector = setup.start();
    collector.wait_until("the tables", |_| setup.run(&["sql", "SELECT count() FROM migrations"]).0.success().then_some(()));
    let newer = "INSERT INTO migrations (version, name) VALUES (1000, 'of the future')";
    setup.database().query(newer).execute().await.unwrap();
    assert!(collector.stop().success());
    let refusal = refusal(&setup);
    assert!(refusal.contains("version 1000, written by a newer Headcount") && refusal.ends_with("start the newer one again"), "{refusal}");
}

/// Runs a command that must succeed; what it said.
fn said(setup: &Setup, arguments: &[&str]) -> String {
    let (status, said) = setup.run(arguments);
    assert!(status.success(), "{arguments:?}: {said}");
    said
}

/// Runs a command that must fail; what it said.
fn refused(setup: &Setup, arguments: &[&str]) -> String {
    let (status, said) = setup.run(arguments);
    assert_eq!(status.code(), Some(1), "{arguments:?}: {said}");
    said
}

/// Batches and files of the spool's segments of events in a state, oldest first.
fn segments(setup: &Setup, state: &str) -> Vec<(String, PathBuf)> {
    let wanted = format!("{state}\tevents\t");
    let of = |line: &str| {
        let columns: Vec<&str> = line.split('\t').collect();
        (columns[4].to_owned(), PathBuf::from(columns[7]))
    };
    said(setup, &["spool", "ls"]).lines().filter(|line| line.starts_with(&wanted)).map(of).collect()
}

/// One event for each page, each in a segment of its own, and no ClickHouse to take them.
fn leave_segments(setup: &Setup, pages: &[&str]) {
    let collector = setup.start();
    for (sent, page) in pages.iter().enumerate() {
        assert_eq!(collector.beacon(&format!(r#"{{"site":"example.org","url":"https://example.org{page}"}}"#)).status, 204);
        collector.wait_until("its segment", |_| (segments(setup, "sealed").len() == sent + 1).then_some(()));
    }
    collector.kill();
}

/// Puts sealed segments where the sink puts what ClickHouse refuses.
fn park(setup: &Setup) {
    let parked = setup.data().join("spool/parked");
    std::fs::create_dir_all(&parked).unwrap();
    for (_, path) in segments(setup, "sealed") {
        std::fs::rename(&path, parked.join(path.file_name().unwrap())).unwrap();
    }
}

fn pages(setup: &Setup) -> Vec<String> {
    said(setup, &["sql", "SELECT page FROM events ORDER BY page"]).lines().skip(1).map(str::to_owned).collect()
}

fn wait_for_metric(collector: &Collector, name: &str, value: f64) {
    collector.wait_until(name, |collector| ((collector.metric(name)? - value).abs() < 0.5).then_some(()));
}

#[test]
fn parked_segments_are_shown_given_back_and_given_up_beside_a_collector_and_without_one() {
    let setup = Setup::new("parked", &without_clickhouse());
    assert_eq!(said(&setup, &["spool", "redrive", "--all"]), "Nothing is parked.\n");
    leave_segments(&setup, &["/a", "/b", "/c", "/d"]);
    let sealed = refused(&setup, &["spool", "drop", &segments(&setup, "sealed")[0].0, "--yes"]);
    assert!(sealed.contains("is sealed, not parked"), "{sealed}");
    park(&setup);
    let parked = segments(&setup, "parked");
    let listed = said(&setup, &["spool", "ls"]);
    assert!(listed.contains("\ntotal\tparked\t\t\t\t4\t"), "{listed}");

    // Without a collector: the next start delivers the one and does not have the other.
    let back = said(&setup, &["spool", "redrive", &parked[0].0]);
    assert!(back.ends_with("is back in the spool and goes to ClickHouse at the next start.\n"), "{back}");
    let gone = said(&setup, &["spool", "drop", &parked[1].0, "--yes"]);
    assert!(gone.ends_with("was given up: 1 events are in no table and never will be.\n"), "{gone}");

    setup.configure(SITE);
    let collector = setup.start();
    wait_for_metric(&collector, "headcount_spool_events", 0.0);
    law::assert_holds(&collector);
    assert_eq!(pages(&setup), ["/a"]);
    assert_eq!((collector.metric("headcount_recovered_events"), collector.metric("headcount_parked_events")), (Some(3.0), Some(2.0)));

    // Beside it: what would be lost is shown first, and lost only when that is confirmed.
    let asked = refused(&setup, &["spool", "drop", &parked[2].0]);
    assert!(asked.contains(&format!("{}\tevents\tUTC\t", parked[2].0)) && asked.contains("\texample.org\t1\n"), "{asked}");
    assert!(asked.ends_with("nothing was given up: say --yes to give up 1 events for good\n"), "{asked}");
    assert_eq!(collector.metric("headcount_parked_events"), Some(2.0));
    said(&setup, &["spool", "drop", &parked[2].0, "--yes"]);
    wait_for_metric(&collector, "headcount_discarded_events_total", 1.0);
    law::assert_holds(&collector);
    let back = said(&setup, &["spool", "redrive", "--all"]);
    assert!(back.ends_with("is back in the spool and goes to ClickHouse now.\n"), "{back}");
    collector.wait_for_events(2);
    collector.wait_for_spool();
    law::assert_holds(&collector);
    assert_eq!(pages(&setup), ["/a", "/d"]);
    collector.drained();

    let unknown = refused(&setup, &["spool", "redrive", &parked[3].0]);
    assert!(unknown.contains("is not parked: `headcount spool ls` shows what is"), "{unknown}");
    assert_eq!(said(&setup, &["spool", "redrive", "--all"]), "Nothing is parked.\n");
    assert!(collector.stop().success());
}

#[test]
fn a_segment_is_shown_as_it_is_stored_and_no_further_than_its_checksums_hold() {
    let setup = Setup::new("dump", &without_clickhouse());
    leave_segments(&setup, &["/a"]);
    let (batch, path) = segments(&setup, "sealed").remove(0);
    let path = path.to_str().unwrap();
    let json = |text: &str| -> Vec<serde_json::Value> { text.lines().map(|line| serde_json::from_str(line).unwrap()).collect() };
    let lines = json(&said(&setup, &["spool", "dump", &batch]));
    assert_eq!(lines, json(&said(&setup, &["spool", "dump", path])));
    assert_eq!(lines.len(), 2);
    assert_eq!((&lines[0]["state"], &lines[0]["rows"], &lines[0]["segment"]["table"]), (&"sealed".into(), &1.into(), &"events".into()));
    assert_eq!((&lines[1]["page"], &lines[1]["site"], &lines[1]["props"]), (&"/a".into(), &"example.org".into(), &serde_json::json!({})));
    let columns: Vec<&str> = headcount::row::EVENTS.columns.iter().map(|(name, _)| *name).collect();
    let shown: Vec<&str> = lines[1].as_object().unwrap().keys().map(String::as_str).collect();
    assert!(shown.len() == columns.len() && shown.iter().all(|name| columns.contains(name)), "{shown:?}");
    assert_eq!(json(&said(&setup, &["spool", "dump", &batch, "--limit", "0"])).len(), 1);

    let mut bytes = std::fs::read(path).unwrap();
    let place = bytes.windows(4).position(|window| window == b"FRM1").unwrap() + 40;
    bytes[place] ^= 1;
    std::fs::write(path, &bytes).unwrap();
    let lines = json(&said(&setup, &["spool", "dump", path]));
    assert_eq!((lines.len(), &lines[0]["rows"], &lines[0]["damaged_pieces"]), (1, &0.into(), &1.into()));
    let quarantine = setup.data().join("spool/quarantine");
    std::fs::create_dir(&quarantine).unwrap();
    std::fs::write(quarantine.join("0000000000000001-97.damaged"), &bytes[place - 40..]).unwrap();
    let listed = said(&setup, &["spool", "ls"]);
    let piece = listed.lines().find(|line| line.starts_with("quarantined\t")).unwrap().rsplit('\t').next().unwrap();
    let lines = json(&said(&setup, &["spool", "dump", piece]));
    assert_eq!((lines.len(), &lines[0]["state"], &lines[0]["rows"]), (1, &"quarantined".into(), &0.into()));
    for unknown in ["4711", "/nowhere/1.sealed"] {
        assert!(refused(&setup, &["spool", "dump", unknown]).contains("`headcount spool ls` shows what there is"));
    }
}

/// Every row of the finished tables, in an order of their own.
fn finished(setup: &Setup) -> String {
    said(setup, &["sql", "SELECT * FROM outcomes_daily ORDER BY ALL"])
}

/// Events of which some are stored and some are only counted, all of them in the tables; the collector still runs.
fn counted(setup: &Setup) -> Collector {
    let collector = setup.start();
    for page in 0..3 {
        let event = format!(r#"{{"site":"example.org","url":"https://example.org/page-{page}","props":{{"word":"kumquat"}}}}"#);
        assert_eq!(collector.beacon(&event).status, 204);
        collector.beacon(r#"{"site":"example.org","url":"https://example.org/","dnt":true}"#);
        collector.beacon(r#"{"site":"elsewhere.example","url":"https://elsewhere.example/"}"#);
    }
    collector.wait_for_events(3);
    collector.drained();
    collector
}

/// What a backup must not hold: the raw rows' own texts, and each number that stands for a visitor, as text and as bytes.
fn private_texts(setup: &Setup) -> Vec<String> {
    let visitors = said(setup, &["sql", "SELECT DISTINCT toString(visitor) FROM events WHERE visitor != 0"]);
    let visitors: Vec<String> = visitors.lines().skip(1).map(str::to_owned).collect();
    assert!(!visitors.is_empty(), "somebody was told apart");
    visitors.into_iter().chain(["kumquat".to_owned(), "page-1".to_owned()]).collect()
}

fn found_in(folder: &std::path::Path, texts: &[String]) -> usize {
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    headcount_tests::scan::Scanner::new(&[], &texts).tree(folder).unwrap().len()
}

#[test]
fn a_backup_is_restored_on_a_fresh_machine_with_equal_figures() {
    let setup = Setup::new("backup", SITE);
    let nothing = refused(&setup, &["backup", "/nowhere/backup"]);
    assert!(nothing.contains("there is nothing to back up"), "{nothing}");
    let collector = counted(&setup);
    let (figures, token, hidden) = (finished(&setup), collector.token().to_owned(), private_texts(&setup));
    assert!(figures.contains("dnt") && figures.contains("(unknown)"), "{figures}");

    // Beside a running collector and without one: the same.
    let (beside, without) = (setup.path().join("beside"), setup.path().join("without"));
    let told = said(&setup, &["backup", beside.to_str().unwrap()]);
    assert!(told.contains("outcomes_daily.tsv\t") && told.contains("Never in a backup: raw events"), "{told}");
    assert!(collector.stop().success());
    said(&setup, &["backup", without.to_str().unwrap()]);
    let mut names: Vec<_> = std::fs::read_dir(&beside).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, ["headcount.toml", "manifest.json", "outcomes_daily.tsv", "private.token"]);
    for name in &names[..] {
        let same = std::fs::read(beside.join(name)).unwrap() == std::fs::read(without.join(name)).unwrap();
        assert!(same || name == "manifest.json", "{name}");
    }
    assert!(refused(&setup, &["backup", beside.to_str().unwrap()]).contains("is there already"));
    assert_eq!(found_in(&beside, &hidden), 0);
    // The control: a backup with a table too many is found out.
    let leaking = setup.path().join("leaking");
    let mut command = std::process::Command::new(leaky::program());
    command.arg("--config").arg(setup.config_path()).arg("backup").arg(&leaking).env(leaky::LEAK, "backup_raw");
    assert!(command.output().unwrap().status.success());
    assert!(found_in(&leaking, &hidden) >= hidden.len());

    // A machine that has nothing but the backup. The paths in its configuration are the old machine's, so the new ones are said.
    let fresh = tempfile::tempdir().unwrap();
    let place = |name: &str| fresh.path().join(name).to_str().unwrap().to_owned();
    let (config, data, keys) = (place("etc/headcount.toml"), place("data"), place("keys"));
    let on_fresh = |arguments: &[&str]| {
        let program = headcount_tests::binaries().join("headcount");
        let mut command = std::process::Command::new(program);
        command.args(["--config", &config, "--data-dir", &data, "--key-dir", &keys]).args(arguments);
        let output = command.output().unwrap();
        let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        (output.status.code(), text)
    };
    let (status, told) = on_fresh(&["restore", beside.to_str().unwrap()]);
    assert!(status == Some(0) && told.contains("This is a new node."), "{told}");
    assert_eq!(std::fs::read_to_string(&config).unwrap(), std::fs::read_to_string(setup.config_path()).unwrap());
    assert_eq!(std::fs::read_to_string(place("data/private.token")).unwrap().trim(), token);
    assert!(!fresh.path().join("data/spool").exists() && !fresh.path().join("keys").exists(), "a new node, with keys of its own");

    let restored = Setup::new("restored", SITE);
    std::fs::rename(fresh.path().join("data"), restored.data()).unwrap();
    let collector = restored.start();
    assert_eq!(collector.token(), token);
    collector.wait_until("the tables", |_| restored.run(&["sql", "SELECT 1 FROM outcomes_daily"]).0.success().then_some(()));
    assert_eq!(finished(&restored), figures);
    assert_eq!(said(&restored, &["sql", "SELECT count() FROM events"]), "count()\n0\n");
    // And it counts.
    assert_eq!(collector.beacon(r#"{"site":"example.org","url":"https://example.org/again"}"#).status, 204);
    collector.wait_for_events(1);
    law::assert_holds(&collector);
}

#[test]
fn a_restore_is_refused_where_it_would_do_harm_and_begins_anew_where_it_was_cut_off() {
    let setup = Setup::new("restore", SITE);
    let collector = counted(&setup);
    let figures = finished(&setup);
    assert!(collector.stop().success());
    let whole = setup.path().join("whole");
    said(&setup, &["backup", whole.to_str().unwrap()]);
    let restore = |setup: &Setup, from: &std::path::Path| refused(setup, &["restore", from.to_str().unwrap()]);
    let occupied = restore(&setup, &whole);
    assert!(
        occupied.contains("holds data already (clickhouse, ") && occupied.contains("restore into a folder that is empty"),
        "{occupied}"
    );

    let copy = |name: &str| {
        let folder = setup.path().join(name);
        std::fs::create_dir(&folder).unwrap();
        for entry in std::fs::read_dir(&whole).unwrap() {
            let path = entry.unwrap().path();
            std::fs::copy(&path, folder.join(path.file_name().unwrap())).unwrap();
        }
        folder
    };
    let change = |file: &std::path::Path, from: &str, to: &str| {
        let text = std::fs::read_to_string(file).unwrap();
        assert!(text.contains(from), "{text}");
        std::fs::write(file, text.replacen(from, to, 1)).unwrap();
    };
    let fresh = Setup::new("fresh", SITE);
    let damaged = copy("damaged");
    change(&damaged.join("outcomes_daily.tsv"), "dnt", "gpc");
    let partial = copy("partial");
    std::fs::remove_file(partial.join("manifest.json")).unwrap();
    let (newer_form, newer_tables) = (copy("newer-form"), copy("newer-tables"));
    change(&newer_form.join("manifest.json"), "\"backup\": 1", "\"backup\": 2");
    change(&newer_tables.join("manifest.json"), "\"database\": 1", "\"database\": 1000");
    let stranger = copy("stranger");
    change(&stranger.join("manifest.json"), "\"private.token\"", "\"../evil.token\"");
    for (from, said) in [
        (damaged, "outcomes_daily.tsv: damaged: its content is not what manifest.json says"),
        (partial, "partial: no backup; one is whole only with its manifest.json"),
        (newer_form, "newer-form: made by Headcount 0.1.0, which is newer than this one: restore it with that version"),
        (newer_tables, "newer-tables: made by Headcount 0.1.0, which is newer"),
        (stranger, "manifest.json: damaged"),
    ] {
        let refusal = restore(&fresh, &from);
        assert!(refusal.contains(said), "{refusal}");
        assert!(!fresh.data().join("clickhouse").exists(), "{said}: nothing was begun");
    }

    // Cut off, as far as the next start can see: it is refused until the restore has run to its end.
    std::fs::create_dir_all(fresh.data().join("clickhouse")).unwrap();
    std::fs::write(fresh.data().join("clickhouse/half"), "half of something").unwrap();
    std::fs::write(fresh.data().join("restoring"), "").unwrap();
    assert!(refusal(&fresh).contains("a restore into it was not finished: run `headcount restore` again"));
    let told = said(&fresh, &["restore", whole.to_str().unwrap()]);
    assert!(told.contains("The configuration is the one that was here"), "{told}");
    let collector = fresh.start();
    collector.wait_until("the tables", |_| fresh.run(&["sql", "SELECT 1 FROM outcomes_daily"]).0.success().then_some(()));
    assert_eq!(finished(&fresh), figures);
}

#[tokio::test]
async fn a_database_is_backed_up_before_it_is_migrated_and_not_migrated_without() {
    let engine = TestEngine::shared(ENGINE).await;
    let client = engine.database("before").await;
    let folder = tempfile::tempdir().unwrap();
    let source = Source { client: client.clone(), config: None, data_dir: folder.path().to_owned() };
    let second =
        Migration { version: 2, name: "second", sql: "ALTER TABLE outcomes_daily ADD COLUMN IF NOT EXISTS more String DEFAULT 'x'" };
    let migrations = [MIGRATIONS, &[second]].concat();
    let now = UnixMillis(1_795_348_800_000);
    assert_eq!(backup::before_migration(&source, &migrations, now).await.unwrap(), None, "a new database has nothing to lose");
    migrate::migrate(&client).await.unwrap();
    client
        .query(
            "INSERT INTO outcomes_daily (day, site, reason, count) SELECT '2026-11-22', 'a\\tb\\\\\\n', 'dnt', number FROM numbers(1000)",
        )
        .execute()
        .await
        .unwrap();

    std::fs::write(folder.path().join("backups"), "in the way").unwrap();
    let refusal = backup::before_migration(&source, &migrations, now).await.unwrap_err().to_string();
    assert!(refusal.ends_with("backups: cannot be used"), "{refusal}");
    std::fs::remove_file(folder.path().join("backups")).unwrap();

    let made = backup::before_migration(&source, &migrations, now).await.unwrap().unwrap();
    assert_eq!(made, folder.path().join("backups/before-2-2026-11-22"));
    let manifest = Backup::open(&made).unwrap().manifest().clone();
    assert_eq!((manifest.database, manifest.files[0].rows), (1, Some(1000)));
    let again = backup::before_migration(&source, &migrations, now).await.unwrap();
    assert_eq!((again, std::fs::read_dir(folder.path().join("backups")).unwrap().count()), (Some(made.clone()), 1), "once a day");
    assert_eq!(migrate::migrate_to(&client, &migrations).await.unwrap().applied, 1);
    assert!(matches!(migrate::version(&client).await, Err(migrate::MigrateError::Newer { found: 2, known: 1 })), "for a version before it");

    // What was kept fits the new table: the column that it lacks has its default.
    let target = tempfile::tempdir().unwrap();
    let other = engine.database("after").await;
    let restored = backup::Folder::begin(target.path()).unwrap().fill(&Backup::open(&made).unwrap(), &other).await.unwrap();
    assert_eq!(restored, [backup::Restored { table: "outcomes_daily", rows: 1000, found: 1000 }]);
    let sums = "SELECT sum(count), uniqExact(site), any(site) = 'a\\tb\\\\\\n' FROM outcomes_daily";
    assert_eq!(other.query(sums).fetch_one::<(u64, u64, u8)>().await.unwrap(), (499_500, 1, 1));
    let occupied = backup::Folder::begin(tempfile::tempdir().unwrap().path()).unwrap().fill(&Backup::open(&made).unwrap(), &other).await;
    assert!(occupied.unwrap_err().to_string().contains("rows already"));
}

/// How often a number stands in the spool's files as it is stored.
fn stored(setup: &Setup, number: u64) -> usize {
    let files = said(setup, &["spool", "ls"]);
    let paths = files.lines().skip(1).filter(|line| !line.starts_with("total")).map(|line| line.rsplit('\t').next().unwrap());
    let bytes = number.to_le_bytes();
    paths.map(|path| std::fs::read(path).unwrap().windows(8).filter(|window| *window == bytes).count()).sum()
}

#[test]
fn after_a_week_without_clickhouse_no_pseudonym_is_left_in_the_spool() {
    let setup = Setup::new("week", &without_clickhouse());
    leave_segments(&setup, &["/a", "/b"]);
    let (batch, _) = segments(&setup, "sealed").remove(0);
    let row: serde_json::Value = serde_json::from_str(said(&setup, &["spool", "dump", &batch]).lines().last().unwrap()).unwrap();
    let visitor = row["visitor"].as_u64().unwrap();
    assert!(visitor != 0 && stored(&setup, visitor) == 2, "the same visitor on both pages");
    park(&setup);
    let in_eight_days = Clock::system().now().plus(8 * 86_400_000).0.to_string();
    let setup = setup.with_variable(staged::NOW, &in_eight_days);

    // The control: whoever forgets them is found out. What is ordered is carried out after the first look at what is old.
    let setup = setup.with_program(leaky::program()).with_variable(leaky::LEAK, "never_stripped");
    let collector = setup.start();
    said(&setup, &["spool", "redrive", &batch]);
    assert_eq!(stored(&setup, visitor), 2);
    collector.kill();

    let setup = setup.with_program(headcount_tests::binaries().join("staged")).with_variable(leaky::LEAK, "");
    let collector = setup.start();
    wait_for_metric(&collector, "headcount_stripped_events", 2.0);
    assert_eq!(stored(&setup, visitor), 0);
    law::assert_holds(&collector);
    assert_eq!(collector.readiness(), (503, "behind".to_owned()));
    collector.kill();
    setup.configure(SITE);
    let collector = setup.start();
    collector.wait_for_events(1);
    wait_for_metric(&collector, "headcount_stripped_events", 1.0);
    law::assert_holds(&collector);
    said(&setup, &["spool", "redrive", "--all"]);
    collector.wait_for_events(2);
    assert_eq!(
        (pages(&setup), said(&setup, &["sql", "SELECT max(visitor) FROM events"])),
        (vec!["/a".into(), "/b".into()], "max(visitor)\n0\n".into())
    );
}

/// The chapter of the README for when things go wrong, and the commands in it, each as it is written.
struct Chapter {
    commands: std::collections::BTreeSet<String>,
}

impl Chapter {
    fn read() -> Self {
        let readme = include_str!("../../README.md");
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
    let readme = include_str!("../../README.md");
    let table = readme.split("| error code |").nth(1).unwrap().split("\n\n").next().unwrap();
    let first_cells = table.lines().filter_map(|line| line.split('|').nth(1));
    let said: Vec<u16> =
        first_cells.flat_map(|cell| cell.split([',', ' '])).filter_map(|word| word.parse().ok()).filter(|code| *code > 0).collect();
    let known: Vec<u16> = (1..u16::MAX).filter(|code| Failure::Exception(*code).class() != Class::Unknown).collect();
    let mut sorted = said.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, known, "each once");
}
