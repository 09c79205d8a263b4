//! What a visitor's browser or app says about being counted, read from headers and payloads into one closed list.
//!
//! A signal is only ever added: nothing that is said later, or elsewhere, takes one away. What is present but cannot be read is a signal of its own.

use hyper::HeaderMap;
use hyper::header::{DNT, HeaderName};

/// `Sec-GPC`: Global Privacy Control, <https://w3c.github.io/gpc/>.
const SEC_GPC: HeaderName = HeaderName::from_static("sec-gpc");

/// Something that was said about being counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// The visitor is a child.
    Child,
    /// Do Not Track.
    DoNotTrack,
    /// Global Privacy Control.
    GlobalPrivacyControl,
    /// The visitor has opted out on this site or in this app.
    OptedOut,
    /// Consent was asked for and denied.
    ConsentDenied,
    /// Analytics was refused.
    AnalyticsRefused,
    /// Advertising was refused, and nothing was said about analytics.
    AdvertisingRefused,
    /// A signal is present and cannot be read.
    Unreadable,
    /// Consent was asked for and granted. The only positive signal; it cancels nothing.
    Granted,
}

/// Any number of signals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Signals(u16);

impl Signals {
    /// These signals and `signal`.
    #[must_use]
    pub fn with(self, signal: Signal) -> Self {
        Self(self.0 | 1 << signal as u16)
    }

    /// The signals of both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether `signal` was given.
    pub fn has(self, signal: Signal) -> bool {
        self.0 & 1 << signal as u16 != 0
    }
}

/// What a request's headers say; read once a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeaderSignals(Signals);

impl HeaderSignals {
    /// Reads `DNT` and `Sec-GPC`, each of which may be repeated or joined by commas.
    pub fn read(headers: &HeaderMap) -> Self {
        let signals = header(headers, &DNT, Signal::DoNotTrack);
        Self(signals.and(header(headers, &SEC_GPC, Signal::GlobalPrivacyControl)))
    }

    /// What was said.
    pub fn signals(self) -> Signals {
        self.0
    }
}

fn header(headers: &HeaderMap, name: &HeaderName, refusal: Signal) -> Signals {
    let mut signals = Signals::default();
    for value in headers.get_all(name) {
        for member in members(value.as_bytes()) {
            signals = match member {
                b"0" => signals,
                b"1" => signals.with(refusal),
                _ => signals.with(Signal::Unreadable),
            };
        }
    }
    signals
}

/// The members of a comma-joined value without the empty ones (RFC 9110, section 5.6.1); a value that is empty altogether is one empty member.
fn members(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let all = value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    let blank = value.iter().all(|byte| matches!(byte, b',' | b' ' | b'\t'));
    all.filter(|member| !member.is_empty()).chain(blank.then_some(&b""[..]))
}

/// What an event's payload says. The decoder hands each field's text to the method of that field; none of it is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PayloadSignals(Signals);

impl PayloadSignals {
    /// Adds a signal that the decoder has made out by itself.
    pub fn add(&mut self, signal: Signal) {
        self.0 = self.0.with(signal);
    }

    /// A field that raises `signal` when it is true: `dnt`, `gpc`, `child`, `opt_out`, `lat` (limit ad tracking).
    /// `text` is the JSON literal or the query parameter: `true` and `1` raise it, `false` and `0` do not, anything else cannot be read.
    pub fn flag(&mut self, signal: Signal, text: &str) {
        match text {
            "1" | "true" => self.add(signal),
            "0" | "false" => {}
            _ => self.add(Signal::Unreadable),
        }
    }

    /// The field `consent`: `granted`, `denied`, `analytics_denied` or `advertising_denied`.
    pub fn consent(&mut self, text: &str) {
        self.add(match text {
            "granted" => Signal::Granted,
            "denied" => Signal::ConsentDenied,
            "analytics_denied" => Signal::AnalyticsRefused,
            "advertising_denied" => Signal::AdvertisingRefused,
            _ => Signal::Unreadable,
        });
    }

    /// The field `att`: the status of Apple's App Tracking Transparency, by its name in the SDK. Not to have asked is not to be allowed.
    pub fn app_tracking(&mut self, text: &str) {
        match text {
            "authorized" => {}
            "denied" | "restricted" | "not_determined" | "notDetermined" => self.add(Signal::AdvertisingRefused),
            _ => self.add(Signal::Unreadable),
        }
    }

    /// The field `ad_id`: only whether it is all zeros, as it is when the visitor limits ad tracking. It is never kept.
    pub fn advertising_id(&mut self, text: &str) {
        let mut digits = text.bytes().filter(|byte| *byte != b'-').peekable();
        if digits.peek().is_some() && digits.all(|byte| byte == b'0') {
            self.add(Signal::AdvertisingRefused);
        }
    }

    /// What was said.
    pub fn signals(self) -> Signals {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;

    const DNT_ONLY: &[Signal] = &[Signal::DoNotTrack];
    const UNREADABLE: &[Signal] = &[Signal::Unreadable];

    fn set(signals: &[Signal]) -> Signals {
        signals.iter().fold(Signals::default(), |set, signal| set.with(*signal))
    }

    #[test]
    fn a_header_is_read_in_every_form_it_can_take() {
        let both = &[Signal::DoNotTrack, Signal::Unreadable];
        let table: &[(&[&[u8]], &[Signal])] = &[
            (&[], &[]),
            (&[b"1"], DNT_ONLY),
            (&[b"0"], &[]),
            (&[b" 1 "], DNT_ONLY),
            (&[b"0, 1"], DNT_ONLY),
            (&[b"0,0"], &[]),
            (&[b"1,,"], DNT_ONLY),
            (&[b"0", b"1"], DNT_ONLY),
            (&[b"1", b"0"], DNT_ONLY),
            (&[b"1", b"yes"], both),
            (&[b"1, yes"], both),
            (&[b""], UNREADABLE),
            (&[b" , ,"], UNREADABLE),
            (&[b"0", b""], UNREADABLE),
            (&[b"true"], UNREADABLE),
            (&[b"?1"], UNREADABLE),
            (&[b"01"], UNREADABLE),
            (&[b"1;q=0"], UNREADABLE),
            (&[b"\"1\""], UNREADABLE),
            (&[b"\xff\xfe"], UNREADABLE),
            (&[b"\xef\xbc\x91"], UNREADABLE), // a full-width 1
        ];
        for (values, expected) in table {
            let mut headers = HeaderMap::new();
            for value in *values {
                headers.append(DNT, HeaderValue::from_bytes(value).unwrap());
            }
            assert_eq!(HeaderSignals::read(&headers).signals(), set(expected), "{values:?}");
        }
    }

    #[test]
    fn payload_fields_are_read_in_every_form_they_can_take() {
        type Read = fn(&mut PayloadSignals, &str);
        let dnt: Read = |signals, text| signals.flag(Signal::DoNotTrack, text);
        let ads = &[Signal::AdvertisingRefused];
        let table: &[(Read, &str, &[Signal])] = &[
            (dnt, "1", DNT_ONLY),
            (dnt, "true", DNT_ONLY),
            (dnt, "0", &[]),
            (dnt, "false", &[]),
            (dnt, "", UNREADABLE),
            (dnt, "yes", UNREADABLE),
            (dnt, "1.0", UNREADABLE),
            (PayloadSignals::consent, "granted", &[Signal::Granted]),
            (PayloadSignals::consent, "denied", &[Signal::ConsentDenied]),
            (PayloadSignals::consent, "analytics_denied", &[Signal::AnalyticsRefused]),
            (PayloadSignals::consent, "advertising_denied", ads),
            (PayloadSignals::consent, "Granted", UNREADABLE),
            (PayloadSignals::consent, " granted", UNREADABLE),
            (PayloadSignals::consent, "", UNREADABLE),
            (PayloadSignals::app_tracking, "authorized", &[]),
            (PayloadSignals::app_tracking, "denied", ads),
            (PayloadSignals::app_tracking, "restricted", ads),
            (PayloadSignals::app_tracking, "not_determined", ads),
            (PayloadSignals::app_tracking, "3", UNREADABLE),
            (PayloadSignals::advertising_id, "00000000-0000-0000-0000-000000000000", ads),
            (PayloadSignals::advertising_id, "0", ads),
            (PayloadSignals::advertising_id, "", &[]),
            (PayloadSignals::advertising_id, "--", &[]),
            (PayloadSignals::advertising_id, "38400000-8cf0-11bd-b23e-10b96e40000d", &[]),
        ];
        for (read, text, expected) in table {
            let mut signals = PayloadSignals::default();
            read(&mut signals, text);
            assert_eq!(signals.signals(), set(expected), "{text:?}");
        }
    }
}
