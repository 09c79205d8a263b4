//! What an operator can see of a spool without stopping anything: which segments there are, and whether their bytes are sound.

use std::io;
use std::path::{Path, PathBuf};

use super::disk::{self, File};
use super::format::{self, Frame, Header, PREFIX, Record, Seed};
use super::parked::{self, Order};
use super::recover::{Scan, scan};
use super::sealed::{read_header, read_start};
use super::segment::Range;

/// The folder of damaged pieces within the spool's.
pub(super) const QUARANTINE: &str = "quarantine";

/// What a file in the spool's folder is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Being written, or left by a crash.
    Open,
    /// Waits for ClickHouse.
    Sealed,
    /// Refused by ClickHouse; waits for an operator.
    Parked,
    /// Parked, and the operator has ordered what is to become of it.
    Ordered(Order),
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
            Self::Ordered(order) => order.label(),
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
    /// The format's version, when a newer Headcount has written it; nothing else is known of it then.
    pub newer: Option<char>,
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
    for folder in [folder.to_owned(), folder.join(parked::FOLDER), folder.join(QUARANTINE)] {
        for path in disk::list(&folder)? {
            let Some(state) = state_of(&path) else { continue };
            // A segment may be delivered and removed while the list is made.
            match inspect(path, state) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                other => listed.push(other?),
            }
        }
    }
    Ok(listed)
}

/// The headers of every segment that is in the spool in `folder`, open, sealed or parked; of one whose header is damaged nobody knows the day. Reads nothing
/// but headers, changes nothing and takes no lock.
pub fn headers(folder: &Path) -> io::Result<Vec<Header>> {
    let mut headers = Vec::new();
    for folder in [folder.to_owned(), folder.join(parked::FOLDER)] {
        for path in disk::list(&folder)?.into_iter().filter(|path| state_of(path).is_some()) {
            match disk::open(&path).and_then(|file| read_header(&file)) {
                // It was delivered meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                read => headers.extend(read?.map(|(header, _)| header)),
            }
        }
    }
    Ok(headers)
}

/// Reads the one file at `path`, which is what its name and its folder say.
pub fn file(path: &Path) -> io::Result<Listed> {
    inspect(path.to_path_buf(), state_of(path).ok_or(io::ErrorKind::InvalidInput)?)
}

/// What the file at `path` is; `None` when it is no segment and no piece of one.
pub(super) fn state_of(path: &Path) -> Option<State> {
    let folder = path.parent().and_then(Path::file_name).unwrap_or_default();
    match path.extension()?.to_str()? {
        _ if folder == QUARANTINE => Some(State::Quarantined),
        "sealed" if folder == parked::FOLDER => Some(State::Parked),
        order if folder == parked::FOLDER => Order::named(order).map(State::Ordered),
        "open" => Some(State::Open),
        "sealed" => Some(State::Sealed),
        _ => None,
    }
}

/// Gives the rows of each frame of `listed` whose checksum holds to `take`, until it answers false. Of a file without a header, and of what lies in
/// quarantine, there are none: nobody knows what they were rows of.
pub fn frames(listed: &Listed, mut take: impl FnMut(&[u8]) -> bool) -> io::Result<()> {
    let file = disk::open(&listed.path)?;
    let Some((header, start)) = read_header(&file)?.filter(|_| listed.state != State::Quarantined) else { return Ok(()) };
    let scan = scan(&file, header.seed(), start as u64..disk::length(&file)?)?;
    good_frames(&file, header.seed(), &scan.good, |_, frame| take(frame.rows))
}

/// Gives each frame that lies in the pieces `good` of a segment to `take`, with where it begins, until that answers false.
pub(super) fn good_frames(file: &File, seed: Seed, good: &[Range], mut take: impl FnMut(u64, Frame<'_>) -> bool) -> io::Result<()> {
    let mut body = Vec::new();
    for good in good {
        let mut offset = good.offset;
        while offset < good.offset + good.length {
            let mut prefix = [0; PREFIX];
            disk::read_at(file, &mut prefix, offset)?;
            let Record::Frame { length, checksum } = format::record(&prefix) else { return Ok(()) };
            body.resize(length, 0);
            disk::read_at(file, &mut body, offset + PREFIX as u64)?;
            // It was sound a moment ago; a disk that has changed its mind since ends the list.
            let Some(frame) = Frame::decode(&body, checksum, seed) else { return Ok(()) };
            if !take(offset, frame) {
                return Ok(());
            }
            offset += (PREFIX + length) as u64;
        }
    }
    Ok(())
}

/// Reads one file.
pub(super) fn inspect(path: PathBuf, state: State) -> io::Result<Listed> {
    let file = disk::open(&path)?;
    let bytes = disk::length(&file)?;
    let start = read_start(&file)?;
    let newer = format::newer_version(&start);
    let (header, scan) = match Header::decode(&start) {
        Some((header, start)) => {
            let scan = scan(&file, header.seed(), start as u64..bytes)?;
            (Some(header), scan)
        }
        None => (None, Scan::default()),
    };
    let complete = scan.is_complete();
    Ok(Listed { path, state, header, newer, rows: scan.totals.rows, damaged: scan.damaged.len(), complete, bytes })
}
