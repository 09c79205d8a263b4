//! The page's address, narrowed to what may be looked at: host, path, campaign tags, the parameters that the site keeps. And the referrer's host.
//!
//! Scheme, port, user information and fragment end here, and so does every other parameter of the query. Browsers send addresses as the WHATWG URL
//! standard writes them, so nothing is normalised but the host's case; what does not look like that is refused rather than guessed at.

use std::borrow::Cow;

use super::rules;
use crate::event::{Campaign, Page};
use crate::limits;
use crate::outcome::Refused;
use crate::site::Site;

/// What is left of a page's address.
#[derive(Debug, Default)]
pub(super) struct Narrowed<'a> {
    pub(super) page: Page<'a>,
    pub(super) kept_query: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    pub(super) campaign: Campaign<'a>,
    pub(super) paid_click: bool,
}

/// Click ids that advertising networks add to the links of advertisements, and to nothing else, by their own documentation: Google Ads (`gclid`, and
/// `gbraid`/`wbraid` for iOS), Campaign Manager (`dclid`), Microsoft Advertising, `TikTok`, X, `LinkedIn`, Yandex Direct, Reddit, Snapchat, Outbrain,
/// Taboola, Quora. `fbclid` and `srsltid` are left out on purpose: Facebook and Google Shopping add them to unpaid links too.
const PAID_CLICK_IDS: [&str; 15] = [
    "gclid",
    "gbraid",
    "wbraid",
    "dclid",
    "msclkid",
    "ttclid",
    "twclid",
    "li_fat_id",
    "yclid",
    "rdt_cid",
    "ScCid",
    "obclid",
    "dicbo",
    "tblci",
    "qclid",
];

/// Narrows the address of a page of `site`. `text` has passed the rules of a text.
pub(super) fn narrow<'a>(text: Cow<'a, str>, site: &Site) -> Result<Narrowed<'a>, Refused> {
    match text {
        Cow::Borrowed(text) => parse(text, site),
        Cow::Owned(text) => parse(&text, site).map(Narrowed::into_owned),
    }
}

fn parse<'a>(text: &'a str, site: &Site) -> Result<Narrowed<'a>, Refused> {
    let rest = web(text).ok_or(Refused::Invalid)?;
    let (authority, rest) = split_authority(rest);
    let host = host(authority).ok_or(Refused::Invalid)?;
    if !site.hosts.admit(&host) {
        return Err(Refused::WrongHost);
    }
    let rest = rest.split('#').next().unwrap_or_default();
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    let mut address = Narrowed { page: Page { host, path: if path.is_empty() { "/" } else { path }.into() }, ..Narrowed::default() };
    for parameter in query.split('&') {
        if let Some((name, value)) = decoded(parameter) {
            address.parameter(name, value, site);
        }
    }
    Ok(address)
}

/// One parameter of a query (WHATWG URL, application/x-www-form-urlencoded); `None` between two `&`. Most have nothing to decode.
fn decoded(parameter: &str) -> Option<(Cow<'_, str>, Cow<'_, str>)> {
    if parameter.bytes().any(|byte| matches!(byte, b'%' | b'+')) {
        return form_urlencoded::parse(parameter.as_bytes()).next();
    }
    let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
    (!parameter.is_empty()).then_some((name.into(), value.into()))
}

impl<'a> Narrowed<'a> {
    /// Looks at one parameter of the query. Anybody can write a link, so a strange parameter is passed over; it never costs the page view.
    fn parameter(&mut self, name: Cow<'a, str>, value: Cow<'a, str>, site: &Site) {
        if PAID_CLICK_IDS.contains(&&*name) {
            self.paid_click = true;
        }
        if rules::has_control(&value) {
            return;
        }
        let campaign = &mut self.campaign;
        let tag = match &*name {
            // The full name wins over the short ones wherever it stands.
            "utm_source" => {
                campaign.source = cut(value);
                return;
            }
            "source" | "ref" => Some(&mut campaign.source),
            "utm_medium" => Some(&mut campaign.medium),
            "utm_campaign" => Some(&mut campaign.name),
            "utm_content" => Some(&mut campaign.content),
            "utm_term" => Some(&mut campaign.term),
            _ => None,
        };
        if let Some(tag) = tag.filter(|tag| tag.is_empty()) {
            *tag = cut(value.clone());
        }
        if site.paths.query.iter().any(|kept| **kept == *name) && self.kept_query.len() < limits::KEPT_QUERY {
            self.kept_query.push((name, value));
        }
    }

    fn into_owned(self) -> Narrowed<'static> {
        let Page { host, path } = self.page;
        let Campaign { source, medium, name, content, term } = self.campaign;
        Narrowed {
            page: Page { host: owned(host), path: owned(path) },
            kept_query: self.kept_query.into_iter().map(|(name, value)| (owned(name), owned(value))).collect(),
            campaign: Campaign {
                source: owned(source),
                medium: owned(medium),
                name: owned(name),
                content: owned(content),
                term: owned(term),
            },
            paid_click: self.paid_click,
        }
    }
}

/// The referrer's host; of an Android app's referrer (`android-app://PACKAGE/...`) the package; else empty. A referrer that cannot be read is none: it is the
/// doing of another page, not of the sender.
pub(super) fn referrer(text: Cow<'_, str>) -> Cow<'_, str> {
    match text {
        Cow::Borrowed(text) => referring_host(text),
        Cow::Owned(text) => Cow::Owned(referring_host(&text).into_owned()),
    }
}

fn referring_host(text: &str) -> Cow<'_, str> {
    if let Some(rest) = strip_scheme(text, "android-app://") {
        return rest.split(['/', '?', '#']).next().and_then(host).unwrap_or_default();
    }
    web(text).and_then(|rest| host(split_authority(rest).0)).unwrap_or_default()
}

/// The authority that `text` begins with, and what follows it.
fn split_authority(text: &str) -> (&str, &str) {
    text.split_at(text.bytes().position(|byte| matches!(byte, b'/' | b'\\' | b'?' | b'#')).unwrap_or(text.len()))
}

/// What follows `http://` or `https://`.
fn web(text: &str) -> Option<&str> {
    strip_scheme(text, "https://").or_else(|| strip_scheme(text, "http://"))
}

fn strip_scheme<'a>(text: &'a str, scheme: &str) -> Option<&'a str> {
    let (start, rest) = text.split_at_checked(scheme.len())?;
    start.eq_ignore_ascii_case(scheme).then_some(rest)
}

/// The host of an authority (RFC 3986, section 3.2) in lower case: without user information, port and the root's dot. International names are expected
/// as browsers send them, in their ASCII form.
fn host(authority: &str) -> Option<Cow<'_, str>> {
    let server = authority.rsplit_once('@').map_or(authority, |(_, server)| server);
    let end = if server.starts_with('[') { server.find(']')? + 1 } else { server.find(':').unwrap_or(server.len()) };
    let (host, port) = server.split_at(end);
    let digits = port.strip_prefix(':').unwrap_or(port);
    let port_is_good =
        digits.is_empty() || (port.starts_with(':') && digits.len() <= 5 && digits.bytes().all(|byte| byte.is_ascii_digit()));
    let host = if host.starts_with('[') { host } else { host.strip_suffix('.').unwrap_or(host) };
    let spelled = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(v6) => !v6.is_empty() && v6.bytes().all(|byte| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.')),
        None => !host.is_empty() && host.bytes().all(is_host_byte),
    };
    (port_is_good && spelled && host.len() <= limits::SITE_BYTES).then(|| rules::lower(Cow::Borrowed(host)))
}

fn is_host_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_')
}

/// The trimmed text, cut to the bound of a campaign tag.
fn cut(text: Cow<'_, str>) -> Cow<'_, str> {
    fn shorter(text: &str) -> &str {
        let text = text.trim();
        &text[..text.floor_char_boundary(limits::CAMPAIGN_BYTES)]
    }
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(shorter(text)),
        Cow::Owned(text) => Cow::Owned(shorter(&text).to_owned()),
    }
}

fn owned(text: Cow<'_, str>) -> Cow<'static, str> {
    Cow::Owned(text.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::beacon::samples;
    use crate::site::Hosts;

    fn page(url: &str) -> Result<(String, String), Refused> {
        let site = samples::site("example.org");
        narrow(url.into(), &site).map(|address| (address.page.host.into_owned(), address.page.path.into_owned()))
    }

    #[test]
    fn of_an_address_host_and_path_are_left() {
        for (url, host, path) in [
            ("https://example.org", "example.org", "/"),
            ("HTTP://WWW.Example.ORG/A", "www.example.org", "/A"),
            ("https://example.org?q=1", "example.org", "/"),
            ("https://example.org/a#b?c", "example.org", "/a"),
            ("https://example.org/a?b#c", "example.org", "/a"),
            ("https://user:password@example.org:8443/a", "example.org", "/a"),
            ("https://evil.net@example.org/a", "example.org", "/a"),
            ("https://example.org./a", "example.org", "/a"),
            ("https://xn--bcher-kva.example.org/a", "xn--bcher-kva.example.org", "/a"),
            ("https://example.org:/a", "example.org", "/a"),
        ] {
            assert_eq!(page(url), Ok((host.to_owned(), path.to_owned())), "{url}");
        }
    }

    #[test]
    fn an_address_that_is_not_of_the_web_is_refused() {
        for url in [
            "javascript:alert(1)",
            "data:text/html,x",
            "file:///etc/passwd",
            "//example.org/a",
            "/a",
            "example.org/a",
            "https://",
            "https:///a",
            "https://?a",
            "https://example.org:80a/",
            "https://example.org:123456/",
            "https://exa mple.org/",
            "https://example.org%2f/",
            "https://b\u{fc}cher.example.org/",
            "https://[::1/",
            "https://[]/",
            "https://[::g]/",
            "https://user@/",
            "https://.",
            "htt",
            "https:/\u{20ac}",
        ] {
            assert_eq!(page(url), Err(Refused::Invalid), "{url}");
        }
    }

    #[test]
    fn a_host_that_is_not_the_sites_is_told_apart() {
        for url in [
            "https://evil.net/",
            "https://example.org@evil.net/",
            "https://example.org.evil.net/",
            "https://evil.net\\@example.org/",
            "https://127.0.0.1/",
            "https://[::1]:8080/",
        ] {
            assert_eq!(page(url), Err(Refused::WrongHost), "{url}");
        }
        let mut site = samples::site("example.org");
        site.hosts = Hosts::Any;
        assert_eq!(narrow("https://[::1]:8080/x".into(), &site).unwrap().page.host, "[::1]");
    }

    #[test]
    fn of_the_query_tags_and_kept_parameters_are_left() {
        let mut site = samples::site("example.org");
        site.paths.query = vec!["q".into(), "page".into()];
        let url = "https://example.org/s?ref=a&q=caf%C3%A9&utm_source=News+Letter&utm_medium=email&utm_medium=x&token=secret\
                   &utm_campaign=spring&page=2&utm_term=%00&utm_content=%FF&gclid=AbC";
        for text in [Cow::Borrowed(url), Cow::Owned(url.to_owned())] {
            let address = narrow(text, &site).unwrap();
            assert_eq!(address.kept_query, [("q".into(), "caf\u{e9}".into()), ("page".into(), "2".into())] as [(Cow<str>, Cow<str>); 2]);
            let Campaign { source, medium, name, content, term } = address.campaign;
            assert_eq!([source, medium, name, content, term], ["News Letter", "email", "spring", "\u{fffd}", ""]);
            assert!(address.paid_click);
            assert!(!format!("{:?}", address.page).contains("secret"));
        }
    }

    #[test]
    fn kept_parameters_and_tags_hold_their_bounds() {
        let mut site = samples::site("example.org");
        site.paths.query = vec!["q".into()];
        let many = format!("https://example.org/?{}", "q=1&".repeat(limits::KEPT_QUERY + 1));
        assert_eq!(narrow(many.into(), &site).unwrap().kept_query.len(), limits::KEPT_QUERY);
        let long = format!("https://example.org/?utm_source={}", "\u{e9}".repeat(limits::CAMPAIGN_BYTES));
        let source = narrow(long.into(), &site).unwrap().campaign.source;
        assert_eq!(source.len(), limits::CAMPAIGN_BYTES);
    }

    #[test]
    fn a_click_id_is_seen_only_as_paid() {
        let site = samples::site("example.org");
        for (query, paid) in [("gclid=x", true), ("msclkid=x", true), ("fbclid=x", false), ("srsltid=x", false), ("xgclid=x", false)] {
            let address = narrow(format!("https://example.org/?{query}").into(), &site).unwrap();
            assert_eq!(address.paid_click, paid, "{query}");
            assert_eq!(address.page.path, "/");
        }
    }

    #[test]
    fn of_a_referrer_the_host_is_left() {
        for (text, host) in [
            ("https://www.Google.com/search?q=secret", "www.google.com"),
            ("http://user:pw@news.example:81/a", "news.example"),
            ("android-app://com.google.android.gm/x", "com.google.android.gm"),
            ("android-app://", ""),
            ("android-app://a b", ""),
            ("", ""),
            ("about:blank", ""),
            ("javascript:alert(1)", ""),
            ("https://", ""),
            ("https://b\u{fc}cher.example/", ""),
        ] {
            assert_eq!(referrer(text.into()), host, "{text}");
            assert_eq!(referrer(Cow::Owned(text.to_owned())), host, "{text}");
        }
    }
}
