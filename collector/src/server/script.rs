//! A constant resource in its fixed set of representations: as it is and gzipped, each under a strong tag of its own.

use std::io::Write;
use std::sync::OnceLock;

use flate2::Compression;
use flate2::write::GzEncoder;
use http_body_util::Full;
use hyper::StatusCode;
use hyper::body::Bytes;
use hyper::header::{self, HeaderMap, HeaderValue};
use sha2::{Digest, Sha256};

use super::request::is_gzip;
use super::response::{Answered, CROSS_ORIGIN_RESOURCE_POLICY, plain};

/// A resource made once and served many times.
#[derive(Debug)]
pub(super) struct Constant {
    identity: Representation,
    /// Made when it is first asked for: all of them together would take a tenth of the time until the first event is accepted.
    gzip: OnceLock<Option<Representation>>,
    content_type: HeaderValue,
    cache: HeaderValue,
}

#[derive(Debug)]
struct Representation {
    body: Bytes,
    tag: HeaderValue,
}

impl Representation {
    /// The tag is a hash of the bytes: two representations never share one (RFC 9110, 8.8.3.3).
    fn of(body: Bytes) -> Self {
        let hash = Sha256::digest(&body);
        let digits = u64::from_be_bytes(hash[..8].try_into().expect("a SHA-256 has 32 bytes"));
        let tag = HeaderValue::try_from(format!("\"{digits:016x}\"")).expect("quotes and hexadecimal digits are visible ASCII");
        Self { body, tag }
    }
}

impl Constant {
    /// `body` as `content_type`, kept by caches as `cache` says. The gzipped form is left out where it is not shorter.
    pub(super) fn new(body: Bytes, content_type: &'static str, cache: &'static str) -> Self {
        Self {
            identity: Representation::of(body),
            gzip: OnceLock::new(),
            content_type: HeaderValue::from_static(content_type),
            cache: HeaderValue::from_static(cache),
        }
    }

    fn gzip(&self) -> Option<&Representation> {
        let made = self.gzip.get_or_init(|| {
            let body = &self.identity.body;
            let shorter = gzipped(body, Compression::best()).filter(|packed| packed.len() < body.len());
            shorter.map(|packed| Representation::of(packed.into()))
        });
        made.as_ref()
    }

    /// The representation that the client takes, or 304 where it has it. Ranges are not served: the whole is always allowed instead.
    pub(super) fn answer(&self, request: &HeaderMap) -> Answered {
        let (representation, packed) = match takes_gzip(request).then(|| self.gzip()).flatten() {
            Some(gzip) => (gzip, true),
            None => (&self.identity, false),
        };
        let known = is_known(request, &representation.tag);
        let mut response = plain(if known { StatusCode::NOT_MODIFIED } else { StatusCode::OK });
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, self.cache.clone());
        headers.insert(header::ETAG, representation.tag.clone());
        headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
        headers.insert(CROSS_ORIGIN_RESOURCE_POLICY, HeaderValue::from_static("cross-origin"));
        if !known {
            headers.insert(header::CONTENT_TYPE, self.content_type.clone());
            if packed {
                headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            }
            *response.body_mut() = Full::new(representation.body.clone());
        }
        response
    }
}

pub(super) fn gzipped(body: &[u8], level: Compression) -> Option<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), level);
    encoder.write_all(body).ok()?;
    encoder.finish().ok()
}

/// Whether `Accept-Encoding` names gzip with a weight above zero (RFC 9110, 12.5.3).
pub(super) fn takes_gzip(request: &HeaderMap) -> bool {
    request.get_all(header::ACCEPT_ENCODING).iter().any(|value| {
        value.as_bytes().split(|byte| *byte == b',').any(|member| {
            let mut parts = member.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
            parts.next().is_some_and(is_gzip) && !parts.any(is_zero_weight)
        })
    })
}

fn is_zero_weight(parameter: &[u8]) -> bool {
    parameter.strip_prefix(b"q=").is_some_and(|weight| weight.iter().all(|byte| matches!(byte, b'0' | b'.')))
}

/// `If-None-Match` (RFC 9110, 13.1.2): compared weakly.
fn is_known(request: &HeaderMap, tag: &HeaderValue) -> bool {
    request.get_all(header::IF_NONE_MATCH).iter().any(|value| {
        value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii).any(|member| {
            let member = member.strip_prefix(b"W/").unwrap_or(member);
            member == b"*" || member == tag.as_bytes()
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(headers: &[(header::HeaderName, &str)]) -> Answered {
        let body = Bytes::from("count(heads);".repeat(100));
        let constant = Constant::new(body, "text/javascript", "public, max-age=86400");
        let headers = headers.iter().map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap())).collect();
        constant.answer(&headers)
    }

    #[test]
    fn the_representation_follows_accept_encoding_and_nothing_else() {
        for (accepted, packed) in [
            ("gzip, deflate, br", true),
            ("br;q=1, GZIP;q=0.5", true),
            ("gzip;q=0", false),
            ("gzip; q=0.000", false),
            ("br", false),
            ("", false),
        ] {
            let response = answer(&[(header::ACCEPT_ENCODING, accepted), (header::RANGE, "bytes=0-1")]);
            assert_eq!(response.status(), StatusCode::OK);
            assert_eq!(response.headers().contains_key(header::CONTENT_ENCODING), packed, "{accepted}");
            assert_eq!(response.headers()[header::VARY], "accept-encoding");
        }
    }

    #[test]
    fn a_known_tag_is_answered_with_304_and_each_representation_has_its_own() {
        let plain = answer(&[]).headers()[header::ETAG].to_str().unwrap().to_owned();
        let packed = answer(&[(header::ACCEPT_ENCODING, "gzip")]).headers()[header::ETAG].to_str().unwrap().to_owned();
        assert_ne!(plain, packed);
        for (tags, status) in [
            (plain.clone(), StatusCode::NOT_MODIFIED),
            (format!("\"other\", W/{plain}"), StatusCode::NOT_MODIFIED),
            ("*".to_owned(), StatusCode::NOT_MODIFIED),
            (packed, StatusCode::OK),
        ] {
            assert_eq!(answer(&[(header::IF_NONE_MATCH, &tags)]).status(), status, "{tags}");
        }
    }
}
