//! The event as it is stored: the first type on the path that may touch a disk.
//!
//! Everything in it is either a closed set, a number, or a text that has passed its bound and its mask. Where the row's bytes are laid out is `row.rs`.

use std::borrow::Cow;

use crate::clock::{Day, UnixMillis};
use crate::privacy::pseudonym::Pseudonym;
use crate::site::Site;

/// One event, ready to be stored. Borrows the request it came with.
#[derive(Debug)]
pub struct Event<'a> {
    /// Whose event it is.
    pub site: &'a Site,
    /// The calendar day it falls on, where the site lives.
    pub day: Day,
    /// When it happened: never after it was received.
    pub time: UnixMillis,
    /// Who did it, for the length of that day, on that site; `None` is stored as 0 and never counted as a visitor.
    pub visitor: Option<Pseudonym>,
    /// What happened.
    pub kind: Kind,
    /// The event's name; empty for page views and engagement.
    pub name: Cow<'a, str>,
    /// Where.
    pub page: Page<'a>,
    /// Where the visitor came from.
    pub source: Source<'a>,
    /// The campaign tags of the page's address.
    pub campaign: Campaign<'a>,
    /// With what.
    pub device: Device<'a>,
    /// The finest place that is ever stored.
    pub country: Country,
    /// Primary language subtag, lower case (`de`), or empty.
    pub language: Cow<'a, str>,
    /// Properties, in the order sent; keys are distinct.
    pub props: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    /// Money.
    pub value: Option<Money>,
    /// Milliseconds of visible time; engagement events only.
    pub engaged_millis: u32,
    /// Deepest part of the page that was seen, 0 to 100.
    pub scroll_percent: u8,
    /// The first page view of a visit, as the page itself can tell without an id.
    pub entry: bool,
    /// The app's own, id-free word on activity.
    pub activity: Activity,
    /// The client's own id of the event, for recognising a repeated one. It is no column: only its keyed hash goes into the frame.
    pub id: Option<EventId>,
}

/// A client's own id for an event. It is hashed when the event is framed, and never stored or printed as it is.
pub struct EventId(pub(crate) Box<str>);

impl std::fmt::Debug for EventId {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("EventId(..)")
    }
}

macro_rules! labels {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident => $label:literal,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$doc])* $variant,)* }

        impl $name {
            /// Every value, in the order of the list.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The text that is sent, stored and shown.
            pub fn label(self) -> &'static str {
                match self { $(Self::$variant => $label,)* }
            }

            /// The value whose label is exactly `text`.
            pub fn from_label(text: &str) -> Option<Self> {
                match text { $($label => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

labels! {
    /// What kind of thing happened.
    Kind {
        /// A page of a website was seen.
        Pageview => "pageview",
        /// A screen of an app was seen.
        Screen => "screen",
        /// Something named by the site's owner.
        Event => "event",
        /// How long and how far a page was looked at, sent when it is left.
        Engagement => "engagement",
    }
}

/// Where an event happened.
#[derive(Debug, Default)]
pub struct Page<'a> {
    /// The page's host, lower case, without a port; empty for apps.
    pub host: Cow<'a, str>,
    /// The scrubbed path with the kept query, or the screen's name.
    pub path: Cow<'a, str>,
}

/// Where the visitor came from.
#[derive(Debug)]
pub struct Source<'a> {
    /// The name that is shown: `Google`, `Mastodon`, a campaign's source or the referring host; empty when direct or internal.
    pub name: Cow<'a, str>,
    /// The kind of source.
    pub channel: Channel,
    /// The referring host, lower case, or empty.
    pub referrer: Cow<'a, str>,
}

labels! {
    /// The kind of source.
    Channel {
        /// No referrer and no campaign.
        Direct => "direct",
        /// A page of the same site.
        Internal => "internal",
        /// A search engine.
        Search => "search",
        /// A social network.
        Social => "social",
        /// An AI assistant.
        Assistant => "ai_assistant",
        /// A mail program or a newsletter.
        Email => "email",
        /// An advertisement: by its campaign tags or a click id.
        Paid => "paid",
        /// Another site.
        Referral => "referral",
    }
}

/// Campaign tags, masked and cut to their bound; empty where absent.
#[derive(Debug, Default)]
pub struct Campaign<'a> {
    /// `utm_source`, else `source` or `ref`.
    pub source: Cow<'a, str>,
    /// `utm_medium`.
    pub medium: Cow<'a, str>,
    /// `utm_campaign`.
    pub name: Cow<'a, str>,
    /// `utm_content`.
    pub content: Cow<'a, str>,
    /// `utm_term`.
    pub term: Cow<'a, str>,
}

/// What the visitor used.
#[derive(Debug)]
pub struct Device<'a> {
    /// Browser family, or empty.
    pub browser: Cow<'a, str>,
    /// Browser's major version, or 0.
    pub browser_major: u16,
    /// Operating system family, or empty.
    pub os: Cow<'a, str>,
    /// Operating system's major version, or 0.
    pub os_major: u16,
    /// What kind of machine.
    pub class: DeviceClass,
    /// How wide its screen is.
    pub screen: ScreenClass,
    /// The app's version, or empty.
    pub app_version: Cow<'a, str>,
    /// The device's model as an app names it, or empty.
    pub model: Cow<'a, str>,
    /// How it is connected.
    pub network: Network,
}

labels! {
    /// What kind of machine.
    DeviceClass {
        /// Nothing tells.
        Unknown => "",
        /// A desktop or laptop computer.
        Desktop => "desktop",
        /// A phone.
        Mobile => "mobile",
        /// A tablet.
        Tablet => "tablet",
        /// A television.
        Television => "tv",
        /// A game console.
        Console => "console",
        /// A watch, a car, a reader.
        Other => "other",
    }
}

labels! {
    /// How wide a screen is, in CSS pixels.
    ScreenClass {
        /// Nothing tells.
        Unknown => "",
        /// Below 576.
        ExtraSmall => "xs",
        /// Below 768.
        Small => "s",
        /// Below 992.
        Medium => "m",
        /// Below 1440.
        Large => "l",
        /// 1440 and more.
        ExtraLarge => "xl",
    }
}

impl ScreenClass {
    /// The class of a screen `width` CSS pixels wide.
    pub fn of_width(width: u32) -> Self {
        match width {
            0 => Self::Unknown,
            1..576 => Self::ExtraSmall,
            576..768 => Self::Small,
            768..992 => Self::Medium,
            992..1_440 => Self::Large,
            _ => Self::ExtraLarge,
        }
    }
}

labels! {
    /// How a device is connected.
    Network {
        /// Nothing tells.
        Unknown => "",
        /// Wireless local network.
        Wifi => "wifi",
        /// A mobile operator's network.
        Cellular => "cellular",
        /// Anything else.
        Other => "other",
    }
}

labels! {
    /// Days, weeks or months since the app was first opened: coarse on purpose.
    SinceFirst {
        /// Nothing tells.
        Unknown => "",
        /// The first day.
        Today => "0d",
        /// The second day.
        OneDay => "1d",
        /// Three to seven days in.
        Days => "2-6d",
        /// The second week.
        OneWeek => "1w",
        /// The third week.
        TwoWeeks => "2w",
        /// The fourth week.
        ThreeWeeks => "3w",
        /// The second month.
        OneMonth => "1m",
        /// The third month.
        TwoMonths => "2m",
        /// Later.
        Later => "3m+",
    }
}

/// What an app knows about its own use without an id: whether this is its first event today, this week, this month.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Activity {
    /// First event of the day.
    pub first_today: bool,
    /// First event of the week.
    pub first_this_week: bool,
    /// First event of the month.
    pub first_this_month: bool,
    /// Time since the first use.
    pub since_first: SinceFirst,
}

impl Default for Activity {
    fn default() -> Self {
        Self { first_today: false, first_this_week: false, first_this_month: false, since_first: SinceFirst::Unknown }
    }
}

/// An amount of money.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Money {
    /// Ten-thousandths of a unit of the currency: ClickHouse's `Decimal64(4)`.
    pub ten_thousandths: i64,
    /// ISO 4217 code, upper case.
    pub currency: [u8; 3],
}

/// An ISO 3166 country code in upper case, or `ZZ`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Country(pub [u8; 2]);

impl Country {
    /// No country could be told.
    pub const UNKNOWN: Self = Self(*b"ZZ");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn screen_classes_meet_at_their_bounds() {
        for (width, class) in
            [(0, ""), (1, "xs"), (575, "xs"), (576, "s"), (767, "s"), (768, "m"), (991, "m"), (992, "l"), (1_439, "l"), (1_440, "xl")]
        {
            assert_eq!(ScreenClass::of_width(width).label(), class, "{width}");
        }
    }
}
