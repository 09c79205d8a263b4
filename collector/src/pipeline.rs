//! The path of one event, from what was decoded to what may be stored. Each stage takes the last one's type by value; none waits, logs, counts or reads
//! a clock.

use crate::beacon::{Decoded, Route};
use crate::consent::{self, signals::HeaderSignals};
use crate::enrich;
use crate::event::Event;
use crate::outcome::Rejection;
use crate::privacy::Door;

/// An event that may be stored.
#[derive(Debug)]
pub struct Collected<'a> {
    /// The event.
    pub event: Event<'a>,
    /// Whether the masks replaced something in it.
    pub masked: bool,
}

/// Takes one decoded event through consent, privacy and enrichment.
pub fn collect<'a>(
    decoded: Decoded<'a>,
    headers: HeaderSignals,
    door: &mut Door<'_, '_>,
    route: Route,
) -> Result<Collected<'a>, Rejection> {
    let consented = consent::gate(decoded, headers)?;
    let deidentified = door.deidentify(consented)?;
    let masked = deidentified.masked;
    let event = enrich::event(deidentified, route)?;
    Ok(Collected { event, masked })
}
