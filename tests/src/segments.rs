//! Events and sealed segments for a test, made by the collector's own code.

use std::io;
use std::path::Path;
use std::sync::Arc;

use headcount::clock::{Clock, Day, UnixMillis, Zone};
use headcount::event::{Activity, Campaign, Channel, Country, Device, DeviceClass, Event, Kind, Network, Page, ScreenClass, Source};
use headcount::privacy::proxy::Networks;
use headcount::row::{Stamp, TableLayout};
use headcount::site::{Basis, Ceiling, Hosts, Lowered, PathRules, Policy, Site, ZoneIndex};
use headcount::spool::{Log, Sealed, Spool};
use tokio::sync::mpsc::unbounded_channel;

/// The zone of every test's segments.
pub const ZONE: &str = "Europe/Berlin";

/// The day of every test's segments: 2026-11-22.
pub const DAY: Day = Day(20_779);

/// [`ZONE`], looked up.
///
/// # Panics
/// Never: the zone is bundled.
pub fn zone() -> Zone {
    Zone::named(ZONE).expect("it is bundled")
}

/// A site in [`ZONE`].
pub fn site(id: &str) -> Site {
    let policy = Policy {
        basis: Basis::Exempt(Ceiling::Pseudonymous),
        child_directed: false,
        on_gpc: Lowered::Drop,
        on_advertising_refused: Lowered::Drop,
    };
    Site {
        id: id.into(),
        index: 0,
        hosts: Hosts::Any,
        zone: ZoneIndex(0),
        policy,
        paths: PathRules::default(),
        ignore_from: Networks::default(),
        secret: None,
        debug: false,
        k: 5,
        declared: headcount::site::declared::Declared::default(),
        share: false,
    }
}

/// A page view at noon, with most texts empty.
pub fn pageview(site: &Site) -> Event<'_> {
    Event {
        site,
        day: DAY,
        time: UnixMillis(i64::from(DAY.0) * 86_400_000 + 43_200_000),
        visitor: None,
        kind: Kind::Pageview,
        name: "".into(),
        page: Page { host: "example.org".into(), path: "/".into() },
        source: Source { name: "".into(), channel: Channel::Direct, referrer: "".into() },
        campaign: Campaign::default(),
        device: Device {
            browser: "Firefox".into(),
            browser_major: 145,
            os: "Linux".into(),
            os_major: 0,
            class: DeviceClass::Desktop,
            screen: ScreenClass::Large,
            app_version: "".into(),
            model: "".into(),
            network: Network::Unknown,
        },
        country: Country(*b"DE"),
        language: "de".into(),
        props: Vec::new(),
        value: None,
        engaged_millis: 0,
        scroll_percent: 0,
        entry: false,
        activity: Activity::default(),
        id: None,
    }
}

/// The event's row with `visitor` in it. Only the collector's door makes pseudonyms, so the number is written over the row's zero.
pub fn encode(event: &Event<'_>, visitor: u64, out: &mut Vec<u8>, stamp: Stamp) {
    let start = out.len();
    event.encode(out, &zone(), stamp);
    // node, batch, zone, day, site, time, hour; the texts are shorter than 128 bytes, so their lengths are one byte.
    let offset = start + 8 + 8 + (1 + ZONE.len()) + 2 + (1 + event.site.id.len()) + 8 + 1;
    out[offset..offset + 8].copy_from_slice(&visitor.to_le_bytes());
}

/// One request's rows: the table, how many, and how each is written.
pub struct Request<'a> {
    /// The table.
    pub layout: &'static TableLayout,
    /// How many rows.
    pub rows: u64,
    /// Writes the row of that number.
    pub encode: &'a dyn Fn(u64, &mut Vec<u8>, Stamp),
}

/// The spool of a test, in `folder`.
///
/// # Panics
/// When it cannot be opened.
pub fn spool(folder: &Path) -> Arc<Spool> {
    Arc::new(Spool::open(folder, 1 << 30).expect("a spool"))
}

/// Writes the requests through a log and gives its sealed segments: one a table, unless they grow too large.
pub async fn sealed(spool: &Arc<Spool>, requests: &[Request<'_>]) -> io::Result<Vec<Sealed>> {
    let log = Log::new(Arc::clone(spool), Clock::system());
    let (sender, mut segments) = unbounded_channel();
    let write = async {
        let mut outcome = Ok(());
        for request in requests {
            let mut rows = log.rows().map_err(|_| io::ErrorKind::StorageFull)?;
            for row in 0..request.rows {
                outcome = outcome.and(rows.push(request.layout, (&zone(), DAY), 0, |out, stamp| (request.encode)(row, out, stamp)));
            }
            rows.finish().await.map_err(|_| io::ErrorKind::Other)?;
        }
        log.close();
        outcome
    };
    let (ran, written) = tokio::join!(std::rc::Rc::clone(&log).run(0, sender), write);
    ran.and(written)?;
    let mut sealed = Vec::new();
    while let Some(segment) = segments.recv().await {
        sealed.push(segment);
    }
    Ok(sealed)
}
