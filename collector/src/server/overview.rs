//! What the first page shows: plain figures, filled by whoever can see the counters and the tables, served as `/api/overview.json`.

use serde::Serialize;

use crate::outcome::{Dropped, Refused};

/// Whether the collector should be given work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// It should.
    Ready,
    /// The oldest unsent event is older than its bound: ClickHouse takes nothing.
    Behind,
    /// ClickHouse refuses what is sent until an operator mends something.
    Refused,
    /// The spool is nearly full.
    NearlyFull,
    /// The disk has not taken the last commit.
    CannotWrite,
    /// It is shutting down.
    Stopping,
}

impl Readiness {
    /// The first line of `/readyz`.
    pub fn label(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Behind => "behind",
            Self::Refused => "refused",
            Self::NearlyFull => "nearly_full",
            Self::CannotWrite => "cannot_write",
            Self::Stopping => "stopping",
        }
    }
}

/// Everything on the first page.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Overview {
    /// Of this collector.
    pub version: &'static str,
    /// When this was read, in milliseconds since 1970.
    pub read_at_millis: i64,
    /// Hours after its start at which a day is closed; `None` before that is known.
    pub close_after_hours: Option<u16>,
    /// A proxy in front that the configuration does not trust, so that all its visitors look like one, or one that names nobody: what to do, naming no address.
    pub proxy_banner: Option<&'static str>,
    /// Whether today's totals could be read; the counters below are there all the same.
    pub store_answers: bool,
    /// Refused in the last ten minutes without a site to blame: a misspelt id shows here.
    pub unattributed: Vec<(Refused, u64)>,
    /// In the order of the configuration.
    pub sites: Vec<SiteOverview>,
}

/// One site on the first page.
#[derive(Clone, Debug, Default, Serialize)]
pub struct SiteOverview {
    /// Its id.
    pub site: String,
    /// Its time zone.
    pub timezone: String,
    /// The tag to paste into its pages; `None` for the demonstration, which has it.
    pub snippet: Option<String>,
    /// Totals of its current day: whole-site figures, exempt from the threshold. `None` when they could not be read.
    pub today: Option<Totals>,
    /// Whether its installation works.
    pub check: Check,
}

/// Whole-site totals of a day.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Totals {
    /// Page views and screens.
    pub views: u64,
    /// Distinct visitors.
    pub visitors: u64,
    /// Events with a name.
    pub events: u64,
}

/// What arrived for a site of late.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Check {
    /// Seconds since the last accepted event; `None` when there was none since the start.
    pub last_event_seconds: Option<u64>,
    /// Accepted in the last ten minutes.
    pub accepted: u64,
    /// Dropped in the last ten minutes, by reason; reasons without any are left out.
    pub dropped: Vec<(Dropped, u64)>,
    /// Refused in the last ten minutes, by reason; reasons without any are left out.
    pub refused: Vec<(Refused, u64)>,
    /// Events of the last ten minutes whose path was masked.
    pub masked_paths: u64,
}
