//! Wire forms -> [`Beacon`]: what a sender said, narrowed to what may be looked at.
//!
//! A route names a protocol; a protocol turns a body into beacons and outcomes into an answer. Query strings, fragments and user information of a
//! page's address end here; so do unknown fields, which are counted and never kept.

mod address;
pub mod answer;
pub mod batch;
mod decode;
mod field;
pub mod json;
pub mod query;
mod rules;
#[cfg(test)]
pub(crate) mod samples;
#[cfg(test)]
mod schema_tests;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use crate::event::{Activity, Campaign, EventId, Kind, Money, Network, Page, ScreenClass};
use crate::outcome::Refusal;
use crate::privacy::raw::{ClientIp, RawId, RawUserAgent};
use crate::privacy::secret::SecretHash;
use crate::site::{Site, Sites};

/// By which door an event came; it decides who is taken for a bot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// `/e` and the pixel: only browsers speak here.
    Page,
    /// `/v1/events`: apps and backends speak here, through whatever HTTP library they have.
    Api,
}

/// What a decoder knows of a request besides its body.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// Every configured site.
    pub sites: &'a Sites,
    /// Hash of the secret that the request shows as its bearer token.
    pub bearer: Option<&'a SecretHash>,
    /// The door it came by.
    pub route: Route,
    /// For an event without `url` and `screen`: the page that the browser itself names in `Referer`. Only the pixel has one.
    pub page: Option<&'a str>,
}

/// One event as sent, within its bounds and free of everything raw. The raw parts travel beside it in [`Decoded`].
#[derive(Debug)]
pub struct Beacon<'a> {
    /// The site it is for.
    pub site: &'a Site,
    /// What happened.
    pub kind: Kind,
    /// The event's name; empty for page views and engagement.
    pub name: Cow<'a, str>,
    /// Where: host and unscrubbed path without query and fragment, or the screen's name.
    pub page: Page<'a>,
    /// The parameters of the page's query that the site keeps, in the order sent, unscrubbed.
    pub kept_query: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    /// Campaign tags of the page's address, unscrubbed.
    pub campaign: Campaign<'a>,
    /// The page's address carries a click id of an advertising network; which one, and its value, are not kept.
    pub paid_click: bool,
    /// The referring page's host, lower case, or empty. Android app referrers keep their package name.
    pub referrer: Cow<'a, str>,
    /// Properties, unscrubbed.
    pub props: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    /// Money.
    pub value: Option<Money>,
    /// Class of the screen's width.
    pub screen: ScreenClass,
    /// Primary language subtag, lower case, or empty.
    pub language: Cow<'a, str>,
    /// Milliseconds of visible time.
    pub engaged_millis: u32,
    /// Deepest part seen, 0 to 100.
    pub scroll_percent: u8,
    /// First page view of a visit.
    pub entry: bool,
    /// The app's version.
    pub app_version: Cow<'a, str>,
    /// Operating system and version as an app names it (`Android 15`).
    pub os: Cow<'a, str>,
    /// Device model as an app names it (`Pixel 8`).
    pub device_model: Cow<'a, str>,
    /// How the device is connected.
    pub network: Network,
    /// Milliseconds between the event and its sending.
    pub age_millis: u64,
    /// The app's own word on activity.
    pub activity: Activity,
    /// The client's id for this event, for recognising a repeat.
    pub id: Option<EventId>,
}

/// A decoded event: the beacon, the signals its payload carries, and the raw parts that only `privacy` may open.
pub struct Decoded<'a> {
    /// What was said.
    pub beacon: Beacon<'a>,
    /// What the payload says about consent.
    pub signals: crate::consent::signals::PayloadSignals,
    /// Who said it.
    pub identity: Identity<'a>,
    /// How many of its fields are not known. Nothing else of them is kept.
    pub unknown_fields: u32,
}

/// An event that was refused before it was whole. A refusal is counted under the site it is for, so that its owner sees it.
#[derive(Clone, Copy, Debug)]
pub struct Unread<'a> {
    /// The site, if it could be told.
    pub site: Option<&'a Site>,
    /// What is wrong.
    pub refusal: Refusal,
}

impl<R: Into<Refusal>> From<R> for Unread<'_> {
    fn from(refusal: R) -> Self {
        Self { site: None, refusal: refusal.into() }
    }
}

/// The raw parts of one event. Dropped unread when consent says so.
#[derive(Default)]
pub struct Identity<'a> {
    /// An app's `install_id`: used only with a granted consent.
    pub install_id: Option<RawId<'a>>,
    /// An app's in-memory `session`.
    pub session: Option<RawId<'a>>,
    /// The request shows the site's secret: its own address and agent are a backend's and say nothing about a visitor.
    pub backend: bool,
    /// `client_ip`, from a backend that has shown the site's secret.
    pub client_ip: Option<ClientIp>,
    /// `client_ua`, from a backend that has shown the site's secret.
    pub client_agent: Option<RawUserAgent<'a>>,
}
