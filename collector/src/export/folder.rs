//! The folder of an export: files that get their names when they are whole, and the note of which months they are of.
//!
//! ```text
//! README.md                                          what everything is
//! v1/figures/site=example.org/month=2026-11/figures.parquet
//! v1/outcomes/site=example.org/month=2026-11/outcomes.parquet
//! v1/days.parquet
//! v1/state.json                                      the mark of each month that is written
//! ```
//!
//! A file is written beside its place, synced, and renamed into it; then its folder is synced. The note is written after the files that it speaks of, so a
//! crash leaves a month that is written once more. Everything here may block for as long as the disk likes, and is called on threads that nobody waits for.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use hyper::body::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::Receiver;

use crate::store::export::Exported;

/// The version of the tables' columns: another would get a folder of its own.
pub(super) const VERSION: &str = "v1";

const STATE: &str = "state.json";

/// The folder that the operator has named. It is never made: where a disk is not mounted, nothing is written.
#[derive(Clone, Debug)]
pub(super) struct Folder(PathBuf);

/// Which months are written, as the tables were then.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct State {
    /// The mark of each, by its number.
    pub(super) months: BTreeMap<u32, u64>,
}

/// A piece of a file.
#[derive(Debug)]
pub(super) enum Piece {
    /// More of it.
    Bytes(Bytes),
    /// There is no more: without this, it is not whole and gets no name.
    End,
}

impl Folder {
    /// The folder at `path`; nothing is looked at yet.
    pub(super) fn at(path: &Path) -> Self {
        Self(path.to_path_buf())
    }

    /// What was noted last; nothing when there is no note that can be read, and then everything is written again.
    pub(super) fn state(&self) -> io::Result<State> {
        if !fs::metadata(&self.0)?.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        match fs::read(self.0.join(VERSION).join(STATE)) {
            Ok(text) => Ok(serde_json::from_slice(&text).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(State::default()),
            Err(error) => Err(error),
        }
    }

    /// Notes what is written.
    pub(super) fn note(&self, state: &State) -> io::Result<()> {
        self.put(&Path::new(VERSION).join(STATE), |file| Ok(serde_json::to_writer_pretty(file, state)?))
    }

    /// Writes what explains the rest, if it does not stand there already.
    pub(super) fn explain(&self, text: &str) -> io::Result<()> {
        if fs::read(self.0.join("README.md")).is_ok_and(|own| own == text.as_bytes()) {
            return Ok(());
        }
        self.put(Path::new("README.md"), |file| file.write_all(text.as_bytes()))
    }

    /// Writes a table's file from the pieces that come.
    pub(super) fn fill(&self, path: &Path, mut pieces: Receiver<Piece>) -> io::Result<()> {
        self.put(path, |file| {
            while let Some(piece) = pieces.blocking_recv() {
                match piece {
                    Piece::Bytes(bytes) => file.write_all(&bytes)?,
                    Piece::End => return Ok(()),
                }
            }
            Err(io::ErrorKind::UnexpectedEof.into())
        })
    }

    /// Removes the files of `month` that are of none of `sites`; of all, where none is named.
    pub(super) fn keep_only(&self, month: u32, sites: &[String]) -> io::Result<()> {
        for table in [Exported::Figures, Exported::Outcomes] {
            let Some(folders) = entries(&self.0.join(VERSION).join(table.name()))? else { continue };
            for folder in folders {
                let kept = sites.iter().any(|site| folder.file_name().is_some_and(|name| *name == *format!("site={site}")));
                let of_month = folder.join(month_folder(month));
                if !kept && of_month.exists() {
                    fs::remove_dir_all(&of_month)?;
                    // Stays if it has other months.
                    let _ = fs::remove_dir(&folder);
                }
            }
        }
        Ok(())
    }

    /// The months of which there are files.
    pub(super) fn months(&self) -> io::Result<Vec<u32>> {
        let mut months = Vec::new();
        for folder in entries(&self.0.join(VERSION).join(Exported::Figures.name()))?.unwrap_or_default() {
            let names = entries(&folder)?.unwrap_or_default();
            months.extend(names.iter().filter_map(|path| month_of(path.file_name()?.to_str()?)));
        }
        months.sort_unstable();
        months.dedup();
        Ok(months)
    }

    fn put(&self, path: &Path, write: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
        let place = self.0.join(path);
        let (Some(folder), Some(name)) = (place.parent(), place.file_name().and_then(|name| name.to_str())) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        self.make(path.parent().unwrap_or(Path::new("")))?;
        let draft = folder.join(format!(".{name}.new"));
        let written = File::create(&draft).and_then(|mut file| write(&mut file).and_then(|()| file.sync_all()));
        if let Err(error) = written.and_then(|()| fs::rename(&draft, &place)) {
            // What is left of it is written over by the next try.
            let _ = fs::remove_file(&draft);
            return Err(error);
        }
        File::open(folder)?.sync_all()
    }

    /// Makes the folders of `path`, each synced into the one above; the first of all must be there.
    fn make(&self, path: &Path) -> io::Result<()> {
        let mut folder = self.0.clone();
        for part in path {
            let above = folder.clone();
            folder.push(part);
            match fs::create_dir(&folder) {
                Ok(()) => File::open(&above)?.sync_all()?,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// The place of a table's file, of one site and month or whole. `None` for a site whose name is no name of a folder.
pub(super) fn place(table: Exported, part: Option<(&str, u32)>) -> Option<PathBuf> {
    let (root, name) = (Path::new(VERSION), table.name());
    let Some((site, month)) = part else { return Some(root.join(format!("{name}.parquet"))) };
    let plain = site.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte)) && !site.is_empty();
    plain.then(|| root.join(name).join(format!("site={site}")).join(month_folder(month)).join(format!("{name}.parquet")))
}

fn month_folder(month: u32) -> String {
    format!("month={}-{:02}", month / 100, month % 100)
}

fn month_of(folder: &str) -> Option<u32> {
    let (year, month) = folder.strip_prefix("month=")?.split_once('-')?;
    Some(year.parse::<u32>().ok()? * 100 + month.parse::<u32>().ok()?)
}

fn entries(folder: &Path) -> io::Result<Option<Vec<PathBuf>>> {
    match fs::read_dir(folder) {
        Ok(entries) => entries.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<_>>().map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder of its own, gone at the test's end.
    struct Place(PathBuf);

    impl Place {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("headcount-export-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn pieces(pieces: Vec<Piece>) -> Receiver<Piece> {
        let (sender, receiver) = tokio::sync::mpsc::channel(8);
        for piece in pieces {
            sender.try_send(piece).unwrap();
        }
        receiver
    }

    #[test]
    fn a_file_has_its_name_when_it_is_whole_and_never_before() {
        let place = Place::new("whole");
        let folder = Folder::at(&place.0);
        let path = super::place(Exported::Figures, Some(("a.example", 202_611))).unwrap();
        assert_eq!(path.to_str(), Some("v1/figures/site=a.example/month=2026-11/figures.parquet"));
        let bytes = |text: &'static str| Piece::Bytes(Bytes::from_static(text.as_bytes()));
        assert!(folder.fill(&path, pieces(vec![bytes("half")])).is_err());
        let listed = || entries(place.0.join(&path).parent().unwrap()).unwrap().unwrap();
        assert!(listed().is_empty(), "nothing is left of a file that broke off");
        folder.fill(&path, pieces(vec![bytes("one "), bytes("two"), Piece::End])).unwrap();
        assert_eq!((fs::read_to_string(place.0.join(&path)).unwrap().as_str(), listed().len()), ("one two", 1));
        assert!(folder.fill(&path, pieces(vec![bytes("other")])).is_err());
        assert_eq!(fs::read_to_string(place.0.join(&path)).unwrap(), "one two", "and the one before stays");
        assert_eq!(super::place(Exported::Figures, Some(("../a", 202_611))), None);
        assert_eq!(super::place(Exported::Outcomes, Some(("(unknown)", 202_611))), None);
    }

    #[test]
    fn a_folder_that_is_not_there_is_not_made() {
        let folder = Folder::at(Path::new("/nowhere/export"));
        assert!(folder.state().is_err() && folder.note(&State::default()).is_err() && !Path::new("/nowhere").exists());
    }

    #[test]
    fn what_is_noted_is_read_again_and_what_cannot_be_read_is_nothing() {
        let place = Place::new("state");
        let folder = Folder::at(&place.0);
        assert_eq!(folder.state().unwrap(), State::default());
        let state = State { months: [(202_611, u64::MAX)].into() };
        folder.note(&state).unwrap();
        assert_eq!(folder.state().unwrap(), state);
        fs::write(place.0.join("v1/state.json"), "{").unwrap();
        assert_eq!(folder.state().unwrap(), State::default());
    }

    #[test]
    fn sites_and_months_that_are_no_more_go() {
        let place = Place::new("gone");
        let folder = Folder::at(&place.0);
        for (site, month) in [("a", 202_610), ("a", 202_611), ("b", 202_610)] {
            for table in [Exported::Figures, Exported::Outcomes] {
                folder.fill(&super::place(table, Some((site, month))).unwrap(), pieces(vec![Piece::End])).unwrap();
            }
        }
        folder.keep_only(202_610, &["a".to_owned()]).unwrap();
        assert!(!place.0.join("v1/figures/site=b").exists() && !place.0.join("v1/outcomes/site=b").exists());
        assert_eq!(folder.months().unwrap(), [202_610, 202_611]);
        folder.keep_only(202_610, &[]).unwrap();
        assert_eq!(folder.months().unwrap(), [202_611]);
    }
}
