//! What was sent, by the sender's own count: what the tables must hold in the end. It stays in the folder as `demonstration.json`, which is also what tells a
//! demonstration's folder from any other.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::visit::{Fate, Made};
use crate::event::Kind;

/// The file in the data folder.
const FILE: &str = "demonstration.json";

/// What was sent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    /// Whether all of it was.
    pub finished: bool,
    /// What it was drawn from.
    pub seed: u64,
    /// The site's time zone.
    pub timezone: String,
    /// Events sent, whatever became of them.
    pub sent: u64,
    /// Events that are stored.
    pub accepted: u64,
    /// Events left out for the visitor's sake or because there is no visitor, by reason.
    pub dropped: BTreeMap<String, u64>,
    /// Events refused, by reason.
    pub refused: BTreeMap<String, u64>,
    /// What is stored, by day.
    pub days: BTreeMap<String, Day>,
}

/// What is stored of a day.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Day {
    /// Made-up visitors that came.
    pub visitors: u64,
    /// Their visits.
    pub visits: u64,
    /// Views of pages and screens.
    pub pageviews: u64,
    /// Custom events.
    pub events: u64,
    /// Reports of engagement.
    pub engagements: u64,
    /// Money, in hundredths, by currency.
    pub cents: BTreeMap<String, u64>,
}

impl Ledger {
    /// Notes that the event was sent, and that what had to become of it did.
    pub(super) fn note(&mut self, day: &str, made: &Made) {
        self.sent += 1;
        match made.fate {
            Fate::Dropped(reason) => *self.dropped.entry(reason.label().to_owned()).or_default() += 1,
            Fate::Refused(reason) => *self.refused.entry(reason.label().to_owned()).or_default() += 1,
            Fate::Stored(kind) => {
                self.accepted += 1;
                let stored = self.days.entry(day.to_owned()).or_default();
                match kind {
                    Kind::Pageview | Kind::Screen => stored.pageviews += 1,
                    Kind::Event => stored.events += 1,
                    Kind::Engagement => stored.engagements += 1,
                }
                if let Some((currency, cents)) = made.paid {
                    *stored.cents.entry(currency.to_owned()).or_default() += cents;
                }
            }
        }
    }

    /// The ledger of the demonstration in `folder`, if there is one.
    ///
    /// # Errors
    /// When there is one, and it cannot be read.
    pub fn read(folder: &Path) -> io::Result<Option<Self>> {
        match std::fs::read(path(folder)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            read => Ok(Some(serde_json::from_slice(&read?)?)),
        }
    }

    /// Writes it into `folder`.
    pub(super) fn write(&self, folder: &Path) -> io::Result<()> {
        let mut text = serde_json::to_string_pretty(self)?;
        text.push('\n');
        std::fs::write(path(folder), text)
    }
}

fn path(folder: &Path) -> PathBuf {
    folder.join(FILE)
}
