//! `headcount backup` and `restore`, and the backup before a migration.

use headcount::backup::{self, Backup, Source};
use headcount::clock::UnixMillis;
use headcount::store::migrate::{self, MIGRATIONS, Migration};
use headcount_tests::engine::TestEngine;

use super::*;

const ENGINE: &str = env!("CARGO_BIN_EXE_engine_child");

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

    said(&setup, &["token", "add", "--role", "analyst", "--site", "example.org"]);
    let others = said(&setup, &["token", "ls"]);

    // Beside a running collector and without one: the same.
    let (beside, without) = (setup.path().join("beside"), setup.path().join("without"));
    let told = said(&setup, &["backup", beside.to_str().unwrap()]);
    assert!(told.contains("outcomes_daily.tsv\t") && told.contains("Never in a backup: raw events"), "{told}");
    assert!(collector.stop().success());
    said(&setup, &["backup", without.to_str().unwrap()]);
    let mut names: Vec<_> = std::fs::read_dir(&beside).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(
        names,
        ["days.tsv", "headcount.toml", "manifest.json", "outcomes_daily.tsv", "private.token", "rollup_closed.tsv", "tokens.json"]
    );
    for name in &names[..] {
        let same = std::fs::read(beside.join(name)).unwrap() == std::fs::read(without.join(name)).unwrap();
        // The visits of today may have been counted meanwhile, and then it is noted that they were.
        assert!(same || name == "manifest.json" || name == "days.tsv", "{name}");
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
    assert_eq!(said(&restored, &["token", "ls"]), others);
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
    let manifest = std::fs::read(whole.join("manifest.json")).unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    change(&newer_tables.join("manifest.json"), &format!("\"database\": {}", manifest["database"]), "\"database\": 1000");
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
    let next = Migration { version: 5, name: "next", sql: "ALTER TABLE outcomes_daily ADD COLUMN IF NOT EXISTS more String DEFAULT 'x'" };
    let migrations = [MIGRATIONS, &[next]].concat();
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
    assert_eq!(made, folder.path().join("backups/before-5-2026-11-22"));
    let manifest = Backup::open(&made).unwrap().manifest().clone();
    assert_eq!((manifest.database, manifest.files[0].rows), (4, Some(1000)));
    let again = backup::before_migration(&source, &migrations, now).await.unwrap();
    assert_eq!((again, std::fs::read_dir(folder.path().join("backups")).unwrap().count()), (Some(made.clone()), 1), "once a day");
    assert_eq!(migrate::migrate_to(&client, &migrations).await.unwrap().applied, 1);
    assert!(matches!(migrate::version(&client).await, Err(migrate::MigrateError::Newer { found: 5, known: 4 })), "for a version before it");

    // What was kept fits the new table: the column that it lacks has its default.
    let target = tempfile::tempdir().unwrap();
    let other = engine.database("after").await;
    let restored = backup::Folder::begin(target.path()).unwrap().fill(&Backup::open(&made).unwrap(), &other).await.unwrap();
    assert_eq!(restored[0], backup::Restored { table: "outcomes_daily", rows: 1000, found: 1000 });
    let sums = "SELECT sum(count), uniqExact(site), any(site) = 'a\\tb\\\\\\n' FROM outcomes_daily";
    assert_eq!(other.query(sums).fetch_one::<(u64, u64, u8)>().await.unwrap(), (499_500, 1, 1));
    let occupied = backup::Folder::begin(tempfile::tempdir().unwrap().path()).unwrap().fill(&Backup::open(&made).unwrap(), &other).await;
    assert!(occupied.unwrap_err().to_string().contains("rows already"));
}
