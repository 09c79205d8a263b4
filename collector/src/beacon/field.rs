//! The fields of an event by their names in every wire form, and the box in which one event's fields are collected before any is looked at.
//!
//! They are collected first because one field rules over others wherever it stands: `site` says which hosts, parameters and secrets are good.

use std::borrow::Cow;

use super::rules;
use crate::limits;
use crate::outcome::{Field, Refusal, Refused};

macro_rules! names {
    ($($(#[$doc:meta])* $variant:ident => $label:literal,)*) => {
        /// A field that is known, by what it holds.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Known { $($(#[$doc])* $variant,)* }

        impl Known {
            /// Every field, in the order of the list.
            pub(super) const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name that senders use.
            pub(super) fn label(self) -> Field {
                match self { $(Self::$variant => $label,)* }
            }

            /// The field of exactly that name.
            pub(super) fn find(name: &str) -> Option<Self> {
                match name { $($label => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

names! {
    Site => "site",
    Kind => "kind",
    Name => "name",
    Url => "url",
    Screen => "screen",
    Referrer => "referrer",
    Props => "props",
    Value => "value",
    Currency => "currency",
    Width => "width",
    Language => "lang",
    EngagedMillis => "engaged_ms",
    ScrollPercent => "scroll_pct",
    Entry => "entry",
    AppVersion => "app_version",
    Os => "os",
    DeviceModel => "device_model",
    Network => "network",
    Session => "session",
    InstallId => "install_id",
    ClientIp => "client_ip",
    ClientAgent => "client_ua",
    AgeMillis => "age_ms",
    FirstToday => "first_today",
    FirstThisWeek => "first_this_week",
    FirstThisMonth => "first_this_month",
    SinceFirst => "since_first",
    Id => "id",
    /// The answer to a question for consent.
    Consent => "consent",
    DoNotTrack => "dnt",
    GlobalPrivacyControl => "gpc",
    Child => "child",
    OptOut => "opt_out",
    /// Limit ad tracking.
    LimitAdTracking => "lat",
    /// The status of App Tracking Transparency.
    AppTracking => "att",
    /// Looked at only for being all zeros.
    AdvertisingId => "ad_id",
}

/// A value as it was sent.
#[derive(Debug)]
pub(super) enum Sent<'a> {
    /// JSON's `null`: the same as not sent, but for privacy signals.
    Null,
    /// A JSON number, `true` or `false`, as written.
    Literal(&'a str),
    /// A JSON string.
    Text(Cow<'a, str>),
    /// A parameter of a query string, which stands for a text, a number or a flag as its field needs.
    Word(Cow<'a, str>),
    /// A JSON object or array: no known field but `props` is one, and that is read by itself.
    Nested,
    /// A text that is none: a lone surrogate, or escaped bytes that are not UTF-8.
    Damaged,
}

/// The fields of one event as they were sent.
pub(super) struct Fields<'a> {
    values: [Option<Sent<'a>>; Known::ALL.len()],
    props: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    seen: usize,
    unknown: u32,
}

impl<'a> Fields<'a> {
    /// No field yet.
    pub(super) fn none() -> Self {
        Self { values: [const { None }; Known::ALL.len()], props: Vec::new(), seen: 0, unknown: 0 }
    }

    /// Adds a field. A known one may stand there once.
    pub(super) fn put(&mut self, name: Known, value: Sent<'a>) -> Result<(), Refusal> {
        self.count_one()?;
        let slot = &mut self.values[name as usize];
        if slot.is_some() {
            return Err(Refusal::of(name.label(), Refused::Repeated));
        }
        *slot = Some(value);
        Ok(())
    }

    /// Counts a field that is not known; nothing of it is kept.
    pub(super) fn put_unknown(&mut self) -> Result<(), Refusal> {
        self.unknown += 1;
        self.count_one()
    }

    /// Adds a property; `null` adds none. `key` and `value` are judged here.
    pub(super) fn put_prop(&mut self, key: Cow<'a, str>, value: Sent<'a>) -> Result<(), Refusal> {
        let refused = |reason| Refusal::of(Known::Props.label(), reason);
        let key = rules::bounded(key, limits::PROP_KEY_BYTES).map_err(refused)?;
        if key.is_empty() {
            return Err(refused(Refused::Invalid));
        }
        if self.props.iter().any(|(earlier, _)| *earlier == key) {
            return Err(refused(Refused::Repeated));
        }
        let value = match value {
            Sent::Null => return Ok(()),
            Sent::Literal(text) => Cow::Borrowed(text),
            Sent::Text(text) | Sent::Word(text) => text,
            Sent::Nested => return Err(refused(Refused::WrongType)),
            Sent::Damaged => return Err(refused(Refused::Invalid)),
        };
        if self.props.len() == limits::PROPS {
            return Err(refused(Refused::OutOfRange));
        }
        self.props.push((key, rules::bounded(value, limits::PROP_VALUE_BYTES).map_err(refused)?));
        Ok(())
    }

    /// Takes a field out; `None` when it was not sent, or sent as `null`.
    pub(super) fn take(&mut self, name: Known) -> Option<Sent<'a>> {
        self.take_signal(name).filter(|value| !matches!(value, Sent::Null))
    }

    /// Takes a privacy signal out; one sent as `null` is there, and cannot be read.
    pub(super) fn take_signal(&mut self, name: Known) -> Option<Sent<'a>> {
        self.values[name as usize].take()
    }

    /// Takes the properties out, in the order sent.
    pub(super) fn take_props(&mut self) -> Vec<(Cow<'a, str>, Cow<'a, str>)> {
        std::mem::take(&mut self.props)
    }

    /// How many fields were not known.
    pub(super) fn unknown(&self) -> u32 {
        self.unknown
    }

    fn count_one(&mut self) -> Result<(), Refusal> {
        self.seen += 1;
        if self.seen > limits::EVENT_FIELDS { Err(Refused::OutOfRange.into()) } else { Ok(()) }
    }
}
