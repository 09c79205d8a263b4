//! What an operator can see of a spool without stopping anything: which segments there are, and whether their bytes are sound.

use std::io;
use std::path::{Path, PathBuf};

use super::disk;
use super::format::Header;
use super::recover::{Scan, scan};
use super::sealed::read_header;

/// What a file in the spool's folder is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Being written, or left by a crash.
    Open,
    /// Waits for ClickHouse.
    Sealed,
    /// Refused by ClickHouse; waits for an operator.
    Parked,
    /// Damaged bytes that were put aside.
    Quarantined,
}

impl State {
    /// The word that is printed.
    pub fn label(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Sealed => "sealed",
            Self::Parked => "parked",
            Self::Quarantined => "quarantined",
        }
    }
}

/// One file of a spool.
#[derive(Debug)]
pub struct Listed {
    /// Where it lies.
    pub path: PathBuf,
    /// What it is.
    pub state: State,
    /// Its header, unless that is damaged.
    pub header: Option<Header>,
    /// Rows in frames whose checksums hold.
    pub rows: u64,
    /// Pieces whose checksums do not hold and that have something good behind them.
    pub damaged: usize,
    /// Whether it ends as a sealed segment must.
    pub complete: bool,
    /// Its length on disk.
    pub bytes: u64,
}

impl Listed {
    /// Whether nothing is wrong with it. A segment that is being written has no end yet.
    pub fn is_sound(&self) -> bool {
        let ended = self.complete || self.state == State::Open;
        self.header.is_some() && self.damaged == 0 && ended
    }
}

/// Reads every file of the spool in `folder`, checking all checksums. Changes nothing and takes no lock.
pub fn list(folder: &Path) -> io::Result<Vec<Listed>> {
    let mut listed = Vec::new();
    for (folder, parked) in [(folder.to_owned(), false), (folder.join("parked"), true), (folder.join("quarantine"), false)] {
        if !folder.is_dir() {
            continue;
        }
        for path in disk::list(&folder)? {
            let state = match path.extension().and_then(|extension| extension.to_str()) {
                _ if folder.ends_with("quarantine") => State::Quarantined,
                Some("open") => State::Open,
                Some("sealed") if parked => State::Parked,
                Some("sealed") => State::Sealed,
                _ => continue,
            };
            // A segment may be delivered and removed while the list is made.
            match inspect(path, state) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                other => listed.push(other?),
            }
        }
    }
    Ok(listed)
}

fn inspect(path: PathBuf, state: State) -> io::Result<Listed> {
    let file = disk::open(&path)?;
    let bytes = disk::length(&file)?;
    let (header, scan) = match read_header(&file)? {
        Some((header, start)) => {
            let scan = scan(&file, header.seed(), start as u64..bytes)?;
            (Some(header), scan)
        }
        None => (None, Scan::default()),
    };
    let complete = scan.footer_end.is_some();
    Ok(Listed { path, state, header, rows: scan.totals.rows, damaged: scan.damaged.len(), complete, bytes })
}
