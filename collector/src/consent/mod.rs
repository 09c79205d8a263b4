//! May this event be kept, and with a pseudonym or without? The lowest vote wins; only the outcome goes further.

pub mod signals;

use crate::beacon::Decoded;
use crate::leak;
use crate::outcome::Dropped;
use crate::site::{Basis, Ceiling, Lowered, Policy};
use signals::{HeaderSignals, Signal, Signals};

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

/// Takes every vote about `decoded`; the lowest wins. Headers and payload count alike, and nothing that agrees cancels a refusal.
pub fn gate(decoded: Decoded<'_>, headers: HeaderSignals) -> Result<Consented<Decoded<'_>>, Dropped> {
    let signals = headers.signals().and(decoded.signals.signals());
    let signals = if leak::planted("wishes_ignored") { Signals::default() } else { signals };
    let level = lowest_vote(decoded.beacon.site.policy, signals)?;
    Ok(Consented { value: decoded, level, granted: signals.has(Signal::Granted) })
}

/// A vote is a level, or a reason to drop. Among several reasons to drop the first in this list is the one that is counted.
fn lowest_vote(policy: Policy, signals: Signals) -> Result<Level, Dropped> {
    let lowered = |to: Lowered, reason: Dropped| match to {
        Lowered::Drop => Err(reason),
        Lowered::Anonymous => Ok(Level::Anonymous),
    };
    let mut level = Level::Pseudonymous;
    if policy.child_directed || signals.has(Signal::Child) {
        return Err(Dropped::Child);
    }
    if signals.has(Signal::DoNotTrack) {
        return Err(Dropped::DoNotTrack);
    }
    if signals.has(Signal::OptedOut) {
        return Err(Dropped::OptedOut);
    }
    if signals.has(Signal::ConsentDenied) || signals.has(Signal::AnalyticsRefused) {
        return Err(Dropped::ConsentDenied);
    }
    if signals.has(Signal::Unreadable) {
        return Err(Dropped::UnreadableSignal);
    }
    if signals.has(Signal::GlobalPrivacyControl) && !leak::planted("gpc_ignored") {
        level = level.min(lowered(policy.on_gpc, Dropped::GlobalPrivacyControl)?);
    }
    if signals.has(Signal::AdvertisingRefused) {
        level = level.min(lowered(policy.on_advertising_refused, Dropped::AdvertisingRefused)?);
    }
    Ok(level.min(match policy.basis {
        Basis::Exempt(Ceiling::Pseudonymous) => Level::Pseudonymous,
        Basis::Exempt(Ceiling::Anonymous) => Level::Anonymous,
        Basis::Consent(_) if signals.has(Signal::Granted) => Level::Pseudonymous,
        Basis::Consent(without) => lowered(without, Dropped::ConsentMissing)?,
    }))
}

#[cfg(test)]
mod tests;
