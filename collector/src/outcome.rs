//! The one list of what can become of an event. Each outcome has a label; each event is counted under exactly one, in exactly one place.
//!
//! The conservation law is stated over this list: received = refused (by reason) + dropped (by reason) + duplicate + accepted.

use serde::Serialize;

/// What became of one event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// On disk, on its way to ClickHouse.
    Accepted(Accepted),
    /// Not stored, and the sender has done nothing wrong: the answer is the same as for an accepted one.
    Dropped(Dropped),
    /// Not stored, and the sender can mend it.
    Refused(Refused),
    /// Already stored under the same idempotency key or event id.
    Duplicate,
}

/// How an accepted event is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Accepted {
    /// With a one-day, one-site pseudonym.
    Pseudonymous,
    /// Without any visitor id.
    Anonymous,
}

macro_rules! reasons {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident => $label:literal,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        pub enum $name { $($(#[$doc])* #[serde(rename = $label)] $variant,)* }

        impl $name {
            /// Every reason, in the order of the list.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name in metrics, tables, answers and pages.
            pub fn label(self) -> &'static str {
                match self { $(Self::$variant => $label,)* }
            }
        }
    };
}

reasons! {
    /// Why an event was left out although it was well-formed: the visitor's wish, or not a visitor at all.
    Dropped {
        /// `DNT: 1`, or `dnt` in the payload.
        DoNotTrack => "dnt",
        /// `Sec-GPC: 1`, or `gpc` in the payload.
        GlobalPrivacyControl => "gpc",
        /// The visitor has opted out on this site or in this app.
        OptedOut => "opted_out",
        /// Consent was denied, or analytics refused.
        ConsentDenied => "consent_denied",
        /// The site asks for consent and the event carries none.
        ConsentMissing => "consent_missing",
        /// Only advertising was refused, and the site drops such events.
        AdvertisingRefused => "advertising_refused",
        /// A child-directed site, or the event's child flag.
        Child => "child",
        /// A privacy signal is there and cannot be read.
        UnreadableSignal => "unreadable_signal",
        /// The user agent is on the list of declared crawlers.
        Crawler => "bot_crawler",
        /// A headless or driven browser.
        Headless => "bot_headless",
        /// A program that is no browser, on a route where only browsers speak.
        NotABrowser => "bot_not_a_browser",
        /// No user agent at all, on a route where only browsers speak.
        NoUserAgent => "bot_no_user_agent",
        /// The address is in the site's `ignore_from`.
        IgnoredNetwork => "ignored_network",
    }
}

reasons! {
    /// Why an event was refused: something that the sender or the operator can mend.
    Refused {
        /// The body as a whole cannot be read: not JSON, not UTF-8, too deep, damaged gzip, empty.
        Unreadable => "unreadable",
        /// The body is over its limit, or holds too many events.
        TooLarge => "too_large",
        /// The body stopped arriving.
        Aborted => "aborted",
        /// A field that must be there is not.
        Missing => "missing",
        /// A field has another type than it should.
        WrongType => "wrong_type",
        /// A field is longer than its bound.
        TooLong => "too_long",
        /// A number, or a count of things, is outside its bounds.
        OutOfRange => "out_of_range",
        /// A field's text is not one of those allowed, or not of the form it should have.
        Invalid => "invalid",
        /// A key stands twice in one object.
        Repeated => "repeated",
        /// No site of that id is configured.
        UnknownSite => "unknown_site",
        /// The page's host does not belong to the site.
        WrongHost => "wrong_host",
        /// The event's day is closed.
        TooOld => "too_old",
        /// `client_ip` or `client_ua` without the site's secret.
        SecretRequired => "secret_required",
        /// No valid key of the day lives, so no pseudonym can be made.
        NoKey => "no_key",
        /// Over a rate limit.
        RateLimited => "rate_limited",
        /// The spool cannot take it now.
        Unavailable => "unavailable",
    }
}

impl Outcome {
    /// Every outcome, in the order of their index.
    pub fn all() -> impl Iterator<Item = Self> {
        [Self::Accepted(Accepted::Pseudonymous), Self::Accepted(Accepted::Anonymous), Self::Duplicate]
            .into_iter()
            .chain(Dropped::ALL.iter().copied().map(Self::Dropped))
            .chain(Refused::ALL.iter().copied().map(Self::Refused))
    }

    /// How many outcomes there are.
    pub const COUNT: usize = 3 + Dropped::ALL.len() + Refused::ALL.len();

    /// A dense index below [`Outcome::COUNT`], for arrays of counters.
    pub fn index(self) -> usize {
        match self {
            Self::Accepted(Accepted::Pseudonymous) => 0,
            Self::Accepted(Accepted::Anonymous) => 1,
            Self::Duplicate => 2,
            Self::Dropped(reason) => 3 + reason as usize,
            Self::Refused(reason) => 3 + Dropped::ALL.len() + reason as usize,
        }
    }

    /// The family: `accepted`, `dropped`, `refused` or `duplicate`.
    pub fn family(self) -> &'static str {
        match self {
            Self::Accepted(_) => "accepted",
            Self::Dropped(_) => "dropped",
            Self::Refused(_) => "refused",
            Self::Duplicate => "duplicate",
        }
    }

    /// The name in metrics, tables, answers and pages; unique within all outcomes.
    pub fn label(self) -> &'static str {
        match self {
            Self::Accepted(Accepted::Pseudonymous) => "pseudonymous",
            Self::Accepted(Accepted::Anonymous) => "anonymous",
            Self::Dropped(reason) => reason.label(),
            Self::Refused(reason) => reason.label(),
            Self::Duplicate => "duplicate",
        }
    }
}

/// A field of the wire form, by the name a sender knows it under. Answers name fields from this list and never from the input.
pub type Field = &'static str;

/// An event that was refused, and the field it was refused for, if it was one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Refusal {
    /// The field, by its name in the wire form.
    pub field: Option<Field>,
    /// What is wrong with it.
    pub reason: Refused,
}

impl Refusal {
    /// A refusal for what `field` holds.
    pub fn of(field: Field, reason: Refused) -> Self {
        Self { field: Some(field), reason }
    }
}

impl From<Refused> for Refusal {
    fn from(reason: Refused) -> Self {
        Self { field: None, reason }
    }
}

/// An event that goes no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// Dropped for the visitor's sake, or because there is no visitor.
    Dropped(Dropped),
    /// Refused, for the sender to mend.
    Refused(Refusal),
}

impl Rejection {
    /// The outcome to count.
    pub fn outcome(self) -> Outcome {
        match self {
            Self::Dropped(reason) => Outcome::Dropped(reason),
            Self::Refused(refusal) => Outcome::Refused(refusal.reason),
        }
    }
}

impl From<Dropped> for Rejection {
    fn from(reason: Dropped) -> Self {
        Self::Dropped(reason)
    }
}

impl From<Refusal> for Rejection {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Refused> for Rejection {
    fn from(reason: Refused) -> Self {
        Self::Refused(reason.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indices_are_dense_and_labels_unique() {
        let all: Vec<Outcome> = Outcome::all().collect();
        assert_eq!(all.len(), Outcome::COUNT);
        assert!(all.iter().enumerate().all(|(position, outcome)| outcome.index() == position));
        let labels: std::collections::HashSet<_> = all.iter().map(|outcome| outcome.label()).collect();
        assert_eq!(labels.len(), Outcome::COUNT);
    }
}
