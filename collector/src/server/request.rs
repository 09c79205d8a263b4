//! Where a request ends: its head and body go in, an [`Arrival`] comes out. Nothing behind this file sees a URI or a header.

use std::borrow::Cow;

use http_body_util::BodyExt;
use hyper::body::{Body, Bytes, Incoming};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Uri, Version};

use super::limits::Room;
use super::response::Fault;
use super::watch::{Stage, Watch};
use crate::beacon::batch::Coding;
use crate::clock::UnixMillis;
use crate::consent::signals::HeaderSignals;
use crate::limits;
use crate::privacy::raw::Visitor;
use crate::privacy::secret::SecretHash;

/// In which form events arrive, and so in which form the answer is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// `POST /e`: one event or a few.
    Beacon,
    /// `GET /e.gif`: one event in the query string.
    Pixel,
    /// `POST /v1/events`: a batch.
    Batch,
}

impl Protocol {
    /// The most bytes of a body, as it arrives.
    pub(super) fn body_bytes_max(self) -> usize {
        match self {
            Self::Beacon => limits::BEACON_BODY_BYTES,
            Self::Pixel => 0,
            Self::Batch => limits::BATCH_BODY_BYTES,
        }
    }

    fn speaks(self, media_type: &[u8]) -> bool {
        let known: &[&[u8]] = match self {
            Self::Beacon | Self::Pixel => &[b"text/plain", b"application/json"],
            Self::Batch => &[b"application/json", b"application/x-ndjson", b"application/ndjson", b"text/plain"],
        };
        known.iter().any(|known| media_type.eq_ignore_ascii_case(known))
    }
}

/// One request, reduced to what the pipeline may know of it. Borrows the request's head.
pub struct Arrival<'a> {
    /// In which form events arrive.
    pub protocol: Protocol,
    /// The body as it arrived; empty for a pixel.
    pub body: Bytes,
    /// How the body is packed.
    pub encoding: Coding,
    /// The query string, still percent-encoded, without its question mark; only a pixel has one.
    pub query: &'a str,
    /// `Referer`: the page that holds the pixel, as far as the browser names it; only a pixel has one.
    pub page: Option<&'a str>,
    /// What the headers say about consent.
    pub signals: HeaderSignals,
    /// Who sent it.
    pub visitor: Visitor<'a>,
    /// When the body was complete.
    pub received: UnixMillis,
    /// Hash of the bearer token; only batches carry one.
    pub bearer: Option<SecretHash>,
    /// `Idempotency-Key`, at most [`limits::ID_BYTES`] long; only batches carry one.
    pub idempotency_key: Option<&'a [u8]>,
    /// The room that the body takes; whoever unpacks it grows it first.
    pub room: Room,
}

/// The parts of a batch's head that other routes do not have.
pub(super) struct BatchHead<'a> {
    pub(super) encoding: Coding,
    pub(super) bearer: Option<SecretHash>,
    pub(super) idempotency_key: Option<&'a [u8]>,
}

impl BatchHead<'_> {
    pub(super) const NONE: Self = Self { encoding: Coding::Identity, bearer: None, idempotency_key: None };
}

/// Refuses a head that no route would take: a target that is no plain path, or a missing, repeated or malformed `Host` (RFC 9112, 3.2).
pub(super) fn check_head(head: &Parts) -> Result<(), Fault> {
    let uri: &Uri = &head.uri;
    if uri.scheme().is_some() || uri.authority().is_some() {
        return Err(Fault::BadRequest);
    }
    if uri.path_and_query().map_or(0, |target| target.as_str().len()) > limits::TARGET_BYTES {
        return Err(Fault::TargetTooLong);
    }
    let mut hosts = head.headers.get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) if is_host(host.as_bytes()) => Ok(()),
        (None, None) if head.version == Version::HTTP_10 => Ok(()),
        _ => Err(Fault::BadRequest),
    }
}

/// The characters of a host and port: enough to tell a host from a path, a user or a list.
fn is_host(value: &[u8]) -> bool {
    value.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b':' | b'[' | b']' | b'_' | b'~' | b'%'))
}

/// The page that a pixel is on, as its browser names it. What is repeated or no text is none.
pub(super) fn referring_page(headers: &HeaderMap) -> Option<&str> {
    single(headers, &header::REFERER).ok().flatten()?.to_str().ok()
}

/// Judges type and encoding of a body before any of it is read.
pub(super) fn check_content(protocol: Protocol, headers: &HeaderMap) -> Result<Coding, Fault> {
    let media_type = single(headers, &header::CONTENT_TYPE).map_err(|_| Fault::UnsupportedType)?;
    // A beacon made of raw bytes has no type; its content decides.
    if media_type.is_some_and(|value| !protocol.speaks(essence(value))) {
        return Err(Fault::UnsupportedType);
    }
    match single(headers, &header::CONTENT_ENCODING).map_err(|_| Fault::UnsupportedType)? {
        None => Ok(Coding::Identity),
        Some(value) if value.as_bytes().eq_ignore_ascii_case(b"identity") => Ok(Coding::Identity),
        Some(value) if protocol == Protocol::Batch && is_gzip(value.as_bytes()) => Ok(Coding::Gzip),
        Some(_) => Err(Fault::UnsupportedType),
    }
}

pub(super) fn is_gzip(coding: &[u8]) -> bool {
    coding.eq_ignore_ascii_case(b"gzip") || coding.eq_ignore_ascii_case(b"x-gzip")
}

/// A media type without its parameters.
fn essence(value: &HeaderValue) -> &[u8] {
    value.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii()
}

/// A header that may stand once.
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a HeaderValue>, Repeated> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (value, None) => Ok(value),
        _ => Err(Repeated),
    }
}

struct Repeated;

/// Reads what only a batch's head carries.
pub(super) fn batch_head(encoding: Coding, headers: &HeaderMap) -> Result<BatchHead<'_>, Fault> {
    let bearer = match single(headers, &header::AUTHORIZATION).map_err(|_| Fault::BadRequest)? {
        Some(value) => Some(SecretHash::of(bearer_token(value.as_bytes()).ok_or(Fault::BadRequest)?)),
        None => None,
    };
    let key = single(headers, &HeaderName::from_static("idempotency-key")).map_err(|_| Fault::BadRequest)?;
    let idempotency_key = key.map(HeaderValue::as_bytes);
    if idempotency_key.is_some_and(|key| key.is_empty() || key.len() > limits::ID_BYTES) {
        return Err(Fault::BadRequest);
    }
    Ok(BatchHead { encoding, bearer, idempotency_key })
}

/// The token of `Bearer <token>` (RFC 6750, 2.1).
pub(super) fn bearer_token(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked(b"Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| token.trim_ascii()).filter(|token| !token.is_empty())
}

/// Collects a body, never holding more than `cap` bytes nor more than all bodies together may.
pub(super) async fn collect(cap: usize, body: &mut Incoming, watch: &Watch, room: &mut Room) -> Result<Bytes, Fault> {
    if body.size_hint().lower() > cap as u64 {
        return Err(Fault::TooLarge);
    }
    // A small body comes whole, as a slice of the read buffer, and is not copied.
    let mut whole = Cow::Borrowed(&[] as &[u8]);
    let mut only = Bytes::new();
    while let Some(frame) = next_frame(body, watch).await? {
        let Ok(part) = frame.into_data() else { continue };
        if only.len() + whole.len() + part.len() > cap {
            return Err(Fault::TooLarge);
        }
        if !room.grow(part.len()) {
            return Err(Fault::Unavailable);
        }
        if only.is_empty() && whole.is_empty() {
            only = part;
        } else {
            let joined = whole.to_mut();
            joined.extend_from_slice(&std::mem::take(&mut only));
            joined.extend_from_slice(&part);
        }
    }
    Ok(match whole {
        Cow::Borrowed(_) => only,
        Cow::Owned(joined) => joined.into(),
    })
}

async fn next_frame(body: &mut Incoming, watch: &Watch) -> Result<Option<hyper::body::Frame<Bytes>>, Fault> {
    let mut frame = body.frame();
    let frame = std::future::poll_fn(|context| {
        if watch.overdue() {
            watch.forgive();
            watch.enter(Stage::Answer);
            return std::task::Poll::Ready(Err(Fault::BodyLate));
        }
        std::pin::Pin::new(&mut frame).poll(context).map(Ok)
    });
    // hyper's error may quote what arrived; that the body broke off is all there is to know.
    frame.await?.transpose().map_err(|_| Fault::Aborted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_told_from_a_path_a_user_and_a_list() {
        for (host, valid) in [
            ("example.org", true),
            ("example.org:8080", true),
            ("[2001:db8::1]:80", true),
            ("", true),
            ("example.org/e", false),
            ("a@example.org", false),
            ("a.example, b.example", false),
            ("a.example b.example", false),
        ] {
            assert_eq!(is_host(host.as_bytes()), valid, "{host}");
        }
    }

    #[test]
    fn types_and_encodings_are_judged_by_route() {
        use Coding::{Gzip, Identity};
        use Protocol::{Batch, Beacon};
        for (protocol, content_type, encoding, expected) in [
            (Beacon, Some("text/plain;charset=UTF-8"), None, Some(Identity)),
            (Beacon, Some("Application/JSON"), Some("identity"), Some(Identity)),
            (Beacon, None, None, Some(Identity)),
            (Beacon, Some("text/html"), None, None),
            (Beacon, Some("application/x-ndjson"), None, None),
            (Beacon, Some("text/plain"), Some("gzip"), None),
            (Batch, Some("application/x-ndjson"), Some("GZIP"), Some(Gzip)),
            (Batch, Some("application/json"), Some("gzip, gzip"), None),
            (Batch, Some("application/json"), Some("br"), None),
            (Batch, Some("multipart/form-data"), None, None),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in [(header::CONTENT_TYPE, content_type), (header::CONTENT_ENCODING, encoding)] {
                if let Some(value) = value {
                    headers.insert(name, HeaderValue::from_static(value));
                }
            }
            assert_eq!(check_content(protocol, &headers).ok(), expected, "{content_type:?} {encoding:?}");
        }
    }

    #[test]
    fn a_bearer_token_is_what_follows_its_scheme() {
        for (value, token) in
            [("Bearer secret", Some("secret")), ("bearer  secret", Some("secret")), ("Bearer ", None), ("Basic secret", None), ("", None)]
        {
            assert_eq!(bearer_token(value.as_bytes()), token.map(str::as_bytes), "{value}");
        }
    }
}
