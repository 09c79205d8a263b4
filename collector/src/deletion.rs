//! What an operator has ordered to be deleted, and the log of what was.
//!
//! An order is a file in the folder `deletions` of the data folder, made by `headcount delete` under another name, synced, and renamed; so it is there whole or not
//! at all, and outlives whatever is killed. The collector that runs looks for orders, carries each out and takes its file away at the very end: every step may
//! be repeated. What the order will take is counted first and written into the file, because after a kill there may be nothing left to count.
//!
//! The log is `deletions.log` beside it: one JSON object a line, appended and synced before the order goes, and never twice for one order. It is the operator's own
//! record: no page, no export and no backup has it. Of fewer than k visitors it does not say how many events there were, for it outlives their day.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::clock::UnixMillis;

const FOLDER: &str = "deletions";
const LOG: &str = "deletions.log";
const ORDER: &str = "order";
const GIVEN_UP: &str = "given-up";

/// What is to go: everything of a site's day that has a value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    /// The site's id.
    pub site: String,
    /// Its time zone.
    pub zone: String,
    /// The day, as `2026-11-22`.
    pub day: String,
    /// The name of the dimension.
    pub dimension: String,
    /// The value.
    pub value: String,
}

/// What there is of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    /// Whether the day is closed, and the value a finished figure.
    pub closed: bool,
    /// Views, events and reports of engagement.
    pub events: u64,
    /// Visitors; on a site without ids, half of the entries.
    pub visitors: u64,
}

/// An order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Another for each.
    pub id: String,
    /// What is to go.
    pub wanted: Wanted,
    /// What there was of it when it was begun.
    pub counted: Option<Counted>,
    /// The events of an open day are removed: what is left to do is to form its figures again.
    #[serde(default)]
    pub removed: bool,
}

/// A line of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// The order's.
    pub id: String,
    /// When it was done, in milliseconds since 1970.
    pub at_millis: i64,
    /// What went.
    pub wanted: Wanted,
    /// Whether the day was closed.
    pub closed: bool,
    /// How many events; nothing when they were of fewer visitors than are ever named.
    pub events: Option<u64>,
}

impl Order {
    /// An order given at `now`.
    pub fn new(wanted: Wanted, now: UnixMillis, lot: u64) -> Self {
        Self { id: format!("{:013}-{lot:016x}", now.0), wanted, counted: None, removed: false }
    }

    /// Whether an open day may have lost something by it already.
    pub fn is_begun(&self) -> bool {
        self.counted.is_some_and(|counted| !counted.closed)
    }

    /// Puts the order into the data folder, or puts what has become of it in its place. Synced.
    pub fn place(&self, data_dir: &Path) -> io::Result<()> {
        let folder = data_dir.join(FOLDER);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        let new = folder.join(format!("{}.new", self.id));
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(&serde_json::to_vec(self)?)?;
        file.sync_all()?;
        fs::rename(&new, self.path(data_dir, ORDER))?;
        File::open(&folder)?.sync_all()?;
        File::open(data_dir)?.sync_all()
    }

    /// Writes into the log that the order was carried out, unless it says so.
    pub fn log(&self, data_dir: &Path, now: UnixMillis, k: u64) -> io::Result<()> {
        if log(data_dir)?.iter().any(|line| line.id == self.id) {
            return Ok(());
        }
        let Counted { closed, events, visitors } = self.counted.unwrap_or_default();
        let events = (visitors >= k).then_some(events);
        let line = Line { id: self.id.clone(), at_millis: now.0, wanted: self.wanted.clone(), closed, events };
        let mut text = serde_json::to_vec(&line)?;
        // A line that was cut off by a kill ends here.
        text.insert(0, b'\n');
        text.push(b'\n');
        let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(data_dir.join(LOG))?;
        file.write_all(&text)?;
        file.sync_all()
    }

    /// Takes the order away: it is done.
    pub fn remove(&self, data_dir: &Path) -> io::Result<()> {
        fs::remove_file(self.path(data_dir, ORDER))?;
        File::open(data_dir.join(FOLDER))?.sync_all()
    }

    /// Puts the order aside: it cannot be carried out.
    pub fn give_up(&self, data_dir: &Path) -> io::Result<()> {
        fs::rename(self.path(data_dir, ORDER), self.path(data_dir, GIVEN_UP))?;
        File::open(data_dir.join(FOLDER))?.sync_all()
    }

    /// Whether it was put aside.
    pub fn is_given_up(&self, data_dir: &Path) -> bool {
        self.path(data_dir, GIVEN_UP).exists()
    }

    fn path(&self, data_dir: &Path, extension: &str) -> PathBuf {
        data_dir.join(FOLDER).join(format!("{}.{extension}", self.id))
    }
}

/// The orders that wait or are under way, the oldest first.
pub fn pending(data_dir: &Path) -> io::Result<Vec<Order>> {
    let entries = match fs::read_dir(data_dir.join(FOLDER)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == ORDER));
    paths.sort();
    paths.iter().map(|path| Ok(serde_json::from_slice(&fs::read(path)?)?)).collect()
}

/// The log, the oldest first.
pub fn log(data_dir: &Path) -> io::Result<Vec<Line>> {
    match fs::read_to_string(data_dir.join(LOG)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        // What cannot be read is a line that a kill has cut off; its order is carried out again, and has another.
        text => Ok(text?.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(value: &str) -> Order {
        let texts = ["example.org", "UTC", "2026-11-22", "source", value].map(str::to_owned);
        let [site, zone, day, dimension, value] = texts;
        Order::new(Wanted { site, zone, day, dimension, value }, UnixMillis(1_795_348_800_000), 7)
    }

    #[test]
    fn an_order_is_there_until_it_is_done_and_logged_once() {
        let folder = std::env::temp_dir().join(format!("headcount-deletions-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        assert!(pending(&folder).unwrap().is_empty() && log(&folder).unwrap().is_empty());
        let mut order = order("spam\twith \"quotes\"");
        order.place(&folder).unwrap();
        order.counted = Some(Counted { closed: false, events: 12, visitors: 9 });
        order.place(&folder).unwrap();
        assert!(order.is_begun());
        assert_eq!(pending(&folder).unwrap(), [order.clone()]);
        // A kill has cut the line off the first time.
        fs::write(folder.join(LOG), b"{\"id\":\"17953").unwrap();
        for _ in 0..2 {
            order.log(&folder, UnixMillis(5), 5).unwrap();
        }
        order.remove(&folder).unwrap();
        assert!(pending(&folder).unwrap().is_empty());
        let logged = log(&folder).unwrap();
        assert_eq!((logged.len(), logged[0].events, &logged[0].wanted), (1, Some(12), &order.wanted));
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn the_log_does_not_say_how_many_events_too_few_visitors_had() {
        let folder = std::env::temp_dir().join(format!("headcount-few-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let order = Order { counted: Some(Counted { closed: false, events: 900, visitors: 4 }), ..order("x") };
        order.place(&folder).unwrap();
        order.log(&folder, UnixMillis(5), 5).unwrap();
        assert_eq!(log(&folder).unwrap()[0].events, None);
        order.give_up(&folder).unwrap();
        assert!(order.is_given_up(&folder) && pending(&folder).unwrap().is_empty());
        fs::remove_dir_all(&folder).unwrap();
    }
}
