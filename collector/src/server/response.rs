//! The answers. All of them are constants but for two: the list that a batch gets, and the rendered pages. None repeats anything of its request.

use std::sync::LazyLock;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};

use super::request::Protocol;
use crate::limits::RETRY_AFTER_SECONDS;
use crate::outcome::{Outcome, Refused};

/// An answer of the public listener.
pub(super) type Answered = Response<Full<Bytes>>;

/// What the pipeline says about an arrival.
#[derive(Debug)]
pub enum Answer {
    /// A beacon or a pixel was taken: kept, dropped for the visitor's sake, or seen before. All look alike, unless the site is in debug mode: then the
    /// outcome is told in a header.
    Taken(Option<Outcome>),
    /// A batch was judged event by event: the JSON that lists the refused ones.
    Judged(Bytes),
    /// Nothing of it was taken; the body names the reason.
    Refused(Refused),
    /// It cannot be kept now; the sender may try again.
    Unavailable,
}

/// A 1 x 1 transparent GIF, 43 bytes.
const PIXEL: &[u8; 43] = b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff!\xf9\x04\x01\x00\x00\x00\x00,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;";

macro_rules! faults {
    ($($(#[$doc:meta])* $variant:ident => $status:ident, $body:literal,)*) => {
        /// Why a request was not handed to the pipeline, or what a refusal by the pipeline looks like from outside.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Fault { $($(#[$doc])* $variant,)* }

        impl Fault {
            #[cfg(test)]
            pub(super) const ALL: &'static [Self] = &[$(Self::$variant,)*];

            pub(super) fn status(self) -> StatusCode {
                match self { $(Self::$variant => StatusCode::$status,)* }
            }

            /// The whole body of the answer: JSON, so that an SDK can read it.
            fn body(self) -> &'static [u8] {
                match self { $(Self::$variant => concat!("{\"error\":\"", $body, "\"}").as_bytes(),)* }
            }
        }
    };
}

faults! {
    /// A head or a target that cannot be taken.
    BadRequest => BAD_REQUEST, "bad_request",
    /// The body as a whole cannot be read.
    Unreadable => BAD_REQUEST, "unreadable",
    /// The body broke off, or its framing did.
    Aborted => BAD_REQUEST, "aborted",
    /// A field that must be there is not.
    Missing => BAD_REQUEST, "missing",
    /// A field of the wrong type.
    WrongType => BAD_REQUEST, "wrong_type",
    /// A field over its bound.
    TooLong => BAD_REQUEST, "too_long",
    /// A number outside its bounds.
    OutOfRange => BAD_REQUEST, "out_of_range",
    /// A text that is not one of those allowed.
    Invalid => BAD_REQUEST, "invalid",
    /// A key that stands twice.
    Repeated => BAD_REQUEST, "repeated",
    /// No such site.
    UnknownSite => BAD_REQUEST, "unknown_site",
    /// The page is on another site's host.
    WrongHost => BAD_REQUEST, "wrong_host",
    /// The event's day is closed.
    TooOld => BAD_REQUEST, "too_old",
    /// A field that needs the site's secret.
    SecretRequired => BAD_REQUEST, "secret_required",
    /// No such path.
    NotFound => NOT_FOUND, "not_found",
    /// The body did not arrive in time.
    BodyLate => REQUEST_TIMEOUT, "body_late",
    /// The body is over its limit.
    TooLarge => PAYLOAD_TOO_LARGE, "too_large",
    /// The target is over its limit.
    TargetTooLong => URI_TOO_LONG, "target_too_long",
    /// A type or an encoding that this route does not take.
    UnsupportedType => UNSUPPORTED_MEDIA_TYPE, "unsupported_type",
    /// Over a rate limit.
    RateLimited => TOO_MANY_REQUESTS, "rate_limited",
    /// Our own mistake.
    Broken => INTERNAL_SERVER_ERROR, "internal",
    /// It cannot be kept now.
    Unavailable => SERVICE_UNAVAILABLE, "unavailable",
}

impl Fault {
    /// Under which reason the pipeline counts what never reached it; `None` when the request cannot have carried an event.
    pub(super) fn refused(self) -> Option<Refused> {
        match self {
            Self::Aborted | Self::BodyLate => Some(Refused::Aborted),
            Self::TooLarge => Some(Refused::TooLarge),
            Self::UnsupportedType => Some(Refused::Unreadable),
            Self::Unavailable => Some(Refused::Unavailable),
            _ => None,
        }
    }

    /// Whether the rest of the request cannot be trusted or is not worth reading.
    pub(super) fn closes(self) -> bool {
        matches!(self, Self::BadRequest | Self::Aborted | Self::BodyLate | Self::TooLarge | Self::TargetTooLong | Self::Broken)
    }
}

impl From<Refused> for Fault {
    fn from(reason: Refused) -> Self {
        match reason {
            Refused::Unreadable => Self::Unreadable,
            Refused::TooLarge => Self::TooLarge,
            Refused::Aborted => Self::Aborted,
            Refused::Missing => Self::Missing,
            Refused::WrongType => Self::WrongType,
            Refused::TooLong => Self::TooLong,
            Refused::OutOfRange => Self::OutOfRange,
            Refused::Invalid => Self::Invalid,
            Refused::Repeated => Self::Repeated,
            Refused::UnknownSite => Self::UnknownSite,
            Refused::WrongHost => Self::WrongHost,
            Refused::TooOld => Self::TooOld,
            Refused::SecretRequired => Self::SecretRequired,
            Refused::NoKey | Refused::Unavailable => Self::Unavailable,
            Refused::RateLimited => Self::RateLimited,
        }
    }
}

/// The pipeline's answer in the form of `protocol`.
pub(super) fn answer(protocol: Protocol, answer: Answer) -> Answered {
    match answer {
        Answer::Taken(told) => {
            let mut response = taken(protocol);
            if let Some(outcome) = told {
                tell(response.headers_mut(), outcome);
            }
            response
        }
        Answer::Judged(list) => json(StatusCode::ACCEPTED, list),
        Answer::Refused(reason) => fault(reason.into()),
        Answer::Unavailable => fault(Fault::Unavailable),
    }
}

fn taken(protocol: Protocol) -> Answered {
    match protocol {
        Protocol::Beacon | Protocol::Batch => with_headers(StatusCode::NO_CONTENT, &TAKEN),
        Protocol::Pixel => {
            let mut response = plain(StatusCode::OK);
            *response.body_mut() = Full::new(Bytes::from_static(PIXEL));
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("image/gif"));
            response.headers_mut().insert(CROSS_ORIGIN_RESOURCE_POLICY, HeaderValue::from_static("cross-origin"));
            response
        }
    }
}

/// Tells the outcome of an event to the page that sent it: for a site in debug mode only.
fn tell(headers: &mut HeaderMap, outcome: Outcome) {
    headers.insert(HeaderName::from_static("headcount-outcome"), HeaderValue::from_static(outcome.label()));
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("headcount-outcome"));
}

pub(super) const CROSS_ORIGIN_RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// The only header of the answer to a beacon that was taken. The answer to a POST is not stored unless it says for how long (RFC 9111, section 3), and where there is no
/// body there is no type to guess.
static TAKEN: LazyLock<HeaderMap> = LazyLock::new(|| {
    let mut headers = HeaderMap::with_capacity(1);
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers
});

/// The headers that every other public answer has: open to any origin, never with credentials, not stored. Copied, they need not be hashed again.
static EVERYWHERE: LazyLock<HeaderMap> = LazyLock::new(|| {
    let mut headers = HeaderMap::with_capacity(6);
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers
});

/// An answer without a body.
pub(super) fn plain(status: StatusCode) -> Answered {
    with_headers(status, &EVERYWHERE)
}

fn with_headers(status: StatusCode, headers: &HeaderMap) -> Answered {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response.headers_mut().clone_from(headers);
    response
}

fn json(status: StatusCode, body: Bytes) -> Answered {
    let mut response = plain(status);
    *response.body_mut() = Full::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// The constant answer to `fault`.
pub(super) fn fault(fault: Fault) -> Answered {
    let mut response = json(fault.status(), Bytes::from_static(fault.body()));
    let headers = response.headers_mut();
    if matches!(fault, Fault::RateLimited | Fault::Unavailable) {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER_SECONDS));
    }
    if fault.closes() {
        close(headers);
    }
    response
}

/// Makes an answer the connection's last.
pub(super) fn close(headers: &mut HeaderMap) {
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
}

/// 405, or the answer to `OPTIONS`: what may be done instead.
pub(super) fn allowed(status: StatusCode, methods: &'static str) -> Answered {
    let mut response = plain(status);
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(methods));
    response
}

/// The answer to a preflight. Credentials and private networks are not granted (Fetch standard, 3.2.3; Private Network Access).
pub(super) fn preflight(methods: &'static str, headers_allowed: &'static str) -> Answered {
    let mut response = allowed(StatusCode::NO_CONTENT, methods);
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(methods));
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(headers_allowed));
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("86400"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_has_a_constant_answer_that_names_its_reason_or_a_wider_one() {
        for reason in Refused::ALL {
            let fault = Fault::from(*reason);
            assert!(fault.status().is_client_error() || fault.status() == StatusCode::SERVICE_UNAVAILABLE);
            let named = String::from_utf8_lossy(fault.body()).contains(reason.label());
            assert!(named || *reason == Refused::NoKey, "{reason:?}");
        }
    }

    #[test]
    fn every_status_has_a_counter() {
        for fault in Fault::ALL {
            assert!(crate::server::metrics::STATUSES.contains(&fault.status().as_u16()), "{fault:?}");
        }
    }
}
