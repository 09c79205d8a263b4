//! `headcount keys log|status`: when the keys of the days were born and died, and which live now. A key itself is never read here.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;

use crate::clock::Day;
use crate::privacy::keys::store::{LogEntry, log_entries};

/// Prints every birth and death, oldest first.
pub(super) fn log(log: &Path, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "time\twhat\tzone\tday\tcheck")?;
    for LogEntry { time, died, zone, day, check } in log_entries(&read(log)?) {
        let what = if died { "death" } else { "birth" };
        writeln!(out, "{time}\t{what}\t{zone}\t{day}\t{check}")?;
    }
    Ok(())
}

/// Prints every key that was born and has not died: whether its file is in `folder`, or was lost, as with a reboot.
pub(super) fn status(folder: &Path, log: &Path, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "zone\tday\tcheck\tborn\tfile")?;
    let text = read(log)?;
    let mut alive: BTreeMap<(&str, Day), LogEntry<'_>> = BTreeMap::new();
    for entry in log_entries(&text) {
        let key = (entry.zone, entry.day);
        if entry.died {
            alive.remove(&key)
        } else {
            alive.insert(key, entry)
        };
    }
    for LogEntry { time, zone, day, check, .. } in alive.into_values() {
        let is_there = folder.join(format!("{}.{day}.key", zone.replace('/', "~"))).try_exists()?;
        writeln!(out, "{zone}\t{day}\t{check}\t{time}\t{}", if is_there { "there" } else { "lost" })?;
    }
    Ok(())
}

/// A log that was never begun is an empty one.
fn read(log: &Path) -> io::Result<String> {
    match std::fs::read_to_string(log) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        read => read,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{UnixMillis, Zone};
    use crate::config::{Config, Overrides, Surroundings};
    use crate::privacy::keys::Keys;
    use crate::privacy::keys::store::KeyStore;

    fn printed(print: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Vec<String> {
        let mut out = Vec::new();
        print(&mut out).unwrap();
        String::from_utf8(out).unwrap().lines().map(str::to_owned).collect()
    }

    #[test]
    fn births_and_deaths_are_listed_and_the_living_are_told_apart_from_the_lost() {
        let folder = std::env::temp_dir().join(format!("headcount-keys-status-{}", std::process::id()));
        let (keys, journal) = (folder.join("keys"), folder.join("keys.log"));
        let overrides = Overrides { data_dir: Some(folder.clone()), ..Overrides::default() };
        let text = "[[site]]\nid = \"a\"\ntimezone = \"Europe/Berlin\"";
        let config = Config::parse(text, None, &overrides, &Surroundings::default()).unwrap();
        let noon = |day: &str| {
            let start = Zone::named("Europe/Berlin").unwrap().start_of(day.parse().unwrap());
            UnixMillis(start.0 + 12 * 3_600_000)
        };
        for day in ["2026-11-21", "2026-11-22"] {
            drop(Keys::open(KeyStore::open(&keys, &journal).unwrap(), &config.sites, noon(day)).unwrap());
        }
        let logged = printed(|out| log(&journal, out));
        let living = printed(|out| status(&keys, &journal, out));
        std::fs::remove_dir_all(&keys).unwrap();
        let lost = printed(|out| status(&keys, &journal, out));
        std::fs::remove_dir_all(&folder).unwrap();

        // The demonstration lives in a zone of its own, with keys of its own.
        let of_the_site = |lines: &[String]| lines.iter().filter(|line| line.contains("Europe/Berlin")).cloned().collect::<Vec<_>>();
        let (logged, living, lost) = (of_the_site(&logged), of_the_site(&living), of_the_site(&lost));
        let what: Vec<&str> = logged.iter().filter_map(|line| line.split('\t').nth(1)).collect();
        assert_eq!(what, ["birth", "death", "birth"]);
        assert!(living.len() == 1 && living[0].starts_with("Europe/Berlin\t2026-11-22\t") && living[0].ends_with("\tthere"), "{living:?}");
        assert!(lost[0].ends_with("\tlost"), "{lost:?}");
    }

    #[test]
    fn a_log_that_was_never_begun_is_empty() {
        assert_eq!(printed(|out| log(Path::new("/nowhere/keys.log"), out)), ["time\twhat\tzone\tday\tcheck"]);
    }
}
