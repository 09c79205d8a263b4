//! Masks for what visitors' names, numbers and ids look like, in paths, properties and every other free text that is stored.
//!
//! | mask | what it covers |
//! |---|---|
//! | `[email]` | an e-mail address |
//! | `[token]` | a JSON web token; 20 and more letters and digits that mix upper case, lower case and digits |
//! | `[uuid]` | a UUID |
//! | `[ip]` | an IPv4 or IPv6 address |
//! | `[hex]` | 16 and more hexadecimal digits; a hardware address |
//! | `[place]` | a pair of coordinates with three or more decimals |
//! | `[number]` | 7 and more digits in a row, or after a `+`; 9 and more in groups: phone, card, account and id numbers |
//!
//! Ordinary pages survive: a year, a date (`2026-11-22`), a price, a version, an article's number of up to 6 digits. What is longer and public, the owner names
//! in `path_keep`. All patterns run in linear time; a text in which nothing is masked is handed back as it came.

use std::borrow::Cow;
use std::net::Ipv6Addr;
use std::sync::LazyLock;

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use regex::{Captures, Regex};

use crate::beacon::Beacon;
use crate::limits::PATH_BYTES;
use crate::site::PathRules;

/// What a pattern's group is replaced by. The order is that of the groups' names in [`SHAPES`].
const MASKS: &[(&str, &str)] = &[
    ("email", "[email]"),
    ("token", "[token]"),
    ("uuid", "[uuid]"),
    ("ip", "[ip]"),
    ("hardware", "[hex]"),
    ("place", "[place]"),
    ("hex", "[hex]"),
    ("number", "[number]"),
];

/// Every shape as one pattern; the first that fits at a position wins. `colons`, `date` and `word` are only candidates: see [`mask_of`].
static SHAPES: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r#"(?x)
        (?P<email> [^\s/?&=,;:<>"'()\[\]|@]+ @ [^\s/?&=,;:<>"'()\[\]|@]+ \. [^\s/?&=,;:<>"'()\[\]|@.]{2,} )
        | (?P<token> eyJ[\w-]{8,} (?:\.[\w-]*){1,2} )
        | (?P<uuid> [0-9a-fA-F]{8} - (?:[0-9a-fA-F]{4} -){3} [0-9a-fA-F]{12} )
        | (?P<hardware> \b [0-9a-fA-F]{2} (?: [:-] [0-9a-fA-F]{2}){5} \b )
        | (?P<colons> [0-9a-fA-F]{0,4} : [0-9a-fA-F:]* : (?:[0-9a-fA-F.]*) )
        | (?P<ip> \b (?:[0-9]{1,3} \.){3} [0-9]{1,3} \b )
        | (?P<place> -? [0-9]{1,3} \. [0-9]{3,} (?:\s|,|;)+ -? [0-9]{1,3} \. [0-9]{3,} )
        | (?P<hex> [0-9a-fA-F]{16,} )
        | (?P<date> \b (?:19|20)[0-9]{2} - [0-9]{2} - [0-9]{2} \b )
        | (?P<number> \d{7,} | \+ \(? \d (?: [\ ()./-]{0,2} \d ){6,} | \d (?: [\ ().-]{0,2} \d ){8,} )
        | (?P<word> [A-Za-z0-9_]{20,} )
        "#,
    )
    .expect("the pattern is a constant, and every test of this file uses it")
});

/// A device's own serial number or advertising name rather than its model.
static SERIAL: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?i)['’]s\s|\b[a-z0-9]{11,}\b|[0-9a-f]{12,}").expect("the pattern is a constant, and every test of this file uses it")
});

/// Which numbers of a text are public.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Public {
    Nothing,
    Numbers,
    /// Numbers, and what looks like an address: `10.0.19.45` is a version.
    Versions,
}

/// Masks every free text of `beacon` and folds its kept query into its path. Says whether the path was masked: owners are shown how often.
pub(super) fn beacon(beacon: &mut Beacon<'_>) -> bool {
    let rules = &beacon.site.paths;
    let (mut path, mut masked) = path(rules, std::mem::take(&mut beacon.page.path));
    for (at, (key, value)) in std::mem::take(&mut beacon.kept_query).into_iter().enumerate() {
        let (value, changed) = mask(value, Public::Nothing);
        masked |= changed;
        let text = path.to_mut();
        text.push(if at == 0 { '?' } else { '&' });
        text.extend(utf8_percent_encode(&key, QUERY));
        text.push('=');
        text.extend(utf8_percent_encode(&value, QUERY));
    }
    beacon.page.path = cut(path, PATH_BYTES);
    let campaign = &mut beacon.campaign;
    for text in
        [&mut beacon.name, &mut campaign.source, &mut campaign.medium, &mut campaign.name, &mut campaign.content, &mut campaign.term]
    {
        *text = mask(std::mem::take(text), Public::Nothing).0;
    }
    // A page that is reached by its machine's address may name itself: the row holds that host anyway, and a step inside the site must be seen as one.
    if beacon.referrer != beacon.page.host {
        beacon.referrer = mask(std::mem::take(&mut beacon.referrer), Public::Nothing).0;
    }
    for text in [&mut beacon.os, &mut beacon.app_version] {
        *text = mask(std::mem::take(text), Public::Versions).0;
    }
    beacon.device_model = device_model(std::mem::take(&mut beacon.device_model));
    props(&mut beacon.props);
    masked
}

/// Characters of a query that would end it or be read as another.
const QUERY: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'%').add(b'&').add(b'+').add(b'<').add(b'=').add(b'>');

fn props(props: &mut Vec<(Cow<'_, str>, Cow<'_, str>)>) {
    let mut masked_keys: Vec<Cow<'_, str>> = Vec::new();
    props.retain_mut(|(key, value)| {
        *value = mask(std::mem::take(value), Public::Nothing).0;
        let (masked, changed) = mask(std::mem::take(key), Public::Nothing);
        *key = masked;
        // Two keys may become one: the first stays.
        let again = changed && masked_keys.contains(key);
        if changed && !again {
            masked_keys.push(key.clone());
        }
        !again
    });
}

/// A path as it is stored, and whether a mask has changed it. A route collapses the path to the owner's own pattern, which is no mask.
fn path<'a>(rules: &PathRules, path: Cow<'a, str>) -> (Cow<'a, str>, bool) {
    if let Some(route) = rules.routes.iter().find(|route| fits(route, &path)) {
        return (Cow::Owned(route.to_string()), false);
    }
    let public = if rules.keep.iter().any(|keep| fits(keep, &path)) { Public::Numbers } else { Public::Nothing };
    mask(path, public)
}

/// Whether `path` fits `pattern`, segment by segment: `*` is any one segment that is not empty, a last `*` also all that follow it.
fn fits(pattern: &str, path: &str) -> bool {
    let (mut wanted, mut found) = (pattern.split('/').peekable(), path.split('/'));
    while let Some(want) = wanted.next() {
        let Some(segment) = found.next() else { return false };
        match (want, wanted.peek()) {
            ("*", None) => return !segment.is_empty(),
            ("*", Some(_)) if !segment.is_empty() => {}
            _ if want == segment => {}
            _ => return false,
        }
    }
    found.next().is_none()
}

/// The model as it is stored: an id, a serial number or a person's own name for the device is none.
fn device_model(model: Cow<'_, str>) -> Cow<'_, str> {
    if SERIAL.is_match(&model) {
        return Cow::Borrowed("[id]");
    }
    match mask(model, Public::Nothing) {
        (_, true) => Cow::Borrowed("[id]"),
        (model, false) => model,
    }
}

/// `text` with every shape masked, and whether there was one. A text that hides a shape behind percent escapes, even of percent signs, is stored decoded.
fn mask(text: Cow<'_, str>, public: Public) -> (Cow<'_, str>, bool) {
    if !suspicious(&text) {
        return (text, false);
    }
    let mut plain = Cow::Borrowed(&*text);
    for _ in 0..ESCAPES {
        if plain.contains('%') {
            plain = percent_decode_str(&plain).decode_utf8_lossy().into_owned().into();
        }
    }
    match replaced(&plain, public) {
        Some(masked) => (masked.into(), true),
        None => (text, false),
    }
}

/// How many layers of percent escapes are looked behind.
const ESCAPES: usize = 3;

/// Whether `text` may hold a shape, plainly or behind percent escapes. Most texts cannot: one look at each byte spares them the patterns.
///
/// Letters and digits beyond ASCII count for whatever the patterns make of them. Within ASCII every shape needs one of these: an at sign (`email`); `eyJ`
/// (`token`); 12 hexadecimal digits in a row (`uuid`, `hex`); 20 letters, digits and low lines in a row (`word`); two colons (`colons`); five pairs
/// that end in a colon or a hyphen (`hardware`); four digits and three dots (`ip`); seven digits (`place`, `number`).
fn suspicious(text: &str) -> bool {
    let (mut digits, mut dots, mut colons, mut pairs, mut hex, mut word) = (0_usize, 0_usize, 0_usize, 0_usize, 0_usize, 0_usize);
    let bytes = text.as_bytes();
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            b'0'..=b'9' => {
                digits += 1;
                hex += 1;
                word += 1;
            }
            b'a'..=b'f' | b'A'..=b'F' => {
                hex += 1;
                word += 1;
            }
            b'g'..=b'z' | b'G'..=b'Z' | b'_' => {
                if *byte == b'J' && bytes[..at].ends_with(b"ey") {
                    return true;
                }
                hex = 0;
                word += 1;
            }
            b'@' | b'%' | 0x80.. => return true,
            separator => {
                dots += usize::from(*separator == b'.');
                colons += usize::from(*separator == b':');
                pairs = if matches!(separator, b'-' | b':') && word == 2 { pairs + 1 } else { 0 };
                hex = 0;
                word = 0;
            }
        }
        if hex == 12 || word == 20 || pairs == 5 {
            return true;
        }
    }
    digits >= 7 || colons >= 2 || (digits >= 4 && dots >= 3)
}

fn replaced(text: &str, public: Public) -> Option<String> {
    let mut masked: Option<String> = None;
    let mut copied = 0;
    for found in SHAPES.captures_iter(text) {
        let (Some(mask), Some(whole)) = (mask_of(&found, public), found.get(0)) else { continue };
        let out = masked.get_or_insert_with(|| String::with_capacity(text.len()));
        out.push_str(&text[copied..whole.start()]);
        out.push_str(mask);
        copied = whole.end();
    }
    masked.map(|mut out| {
        out.push_str(&text[copied..]);
        out
    })
}

/// The mask for what was found, or `None` when it may stay.
fn mask_of(found: &Captures<'_>, public: Public) -> Option<&'static str> {
    if let Some(colons) = found.name("colons") {
        return colons.as_str().trim_end_matches('.').parse::<Ipv6Addr>().is_ok_and(|ip| !ip.is_unspecified()).then_some("[ip]");
    }
    if let Some(word) = found.name("word") {
        let has = |test: fn(&u8) -> bool| word.as_str().as_bytes().iter().any(test);
        return (has(u8::is_ascii_digit) && has(u8::is_ascii_uppercase) && has(u8::is_ascii_lowercase)).then_some("[token]");
    }
    let (name, mask) = MASKS.iter().find(|(name, _)| found.name(name).is_some())?;
    let text = found.get(0)?.as_str();
    match *name {
        "hex" | "number" if text.bytes().all(|byte| byte.is_ascii_digit()) => (public == Public::Nothing).then_some("[number]"),
        "number" => (public == Public::Nothing).then_some(mask),
        "ip" => match public {
            Public::Versions => None,
            _ if text.split('.').all(|octet| octet.parse::<u8>().is_ok()) => Some(mask),
            _ => None,
        },
        _ => Some(mask),
    }
}

/// `text`, at most `bytes` long, cut between two characters.
fn cut(text: Cow<'_, str>, bytes: usize) -> Cow<'_, str> {
    if text.len() <= bytes {
        return text;
    }
    let end = text.floor_char_boundary(bytes);
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(&text[..end]),
        Cow::Owned(mut text) => {
            text.truncate(end);
            Cow::Owned(text)
        }
    }
}

#[cfg(test)]
mod tests;
