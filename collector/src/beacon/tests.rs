//! What the three wire forms have in common: every rule judged through the door it comes by, and what no input may do.

mod batches;
mod pixel;

use std::fmt::Write as _;

use proptest::prelude::*;

use super::batch::{self, Coding};
use super::field::Known;
use super::{Context, Decoded, Route, json, query, samples};
use crate::consent::signals::Signal;
use crate::event::{Kind, Money, Network, ScreenClass, SinceFirst};
use crate::limits;
use crate::outcome::{Refusal, Refused};
use crate::privacy::secret::SecretHash;
use crate::site::Sites;

const SECRET: &[u8] = b"0123456789abcdef";

fn sites() -> Sites {
    let mut example = samples::site("example.org");
    example.secret = Some(SecretHash::of(SECRET));
    example.paths.query = vec!["q".into()];
    let mut other = samples::site("other.net");
    other.index = 1;
    Sites::new(vec![example, other], Vec::new())
}

fn context(sites: &Sites, route: Route) -> Context<'_> {
    Context { sites, bearer: None, route, page: None }
}

/// Decodes the one event of a `/e` body and hands it to `look`.
fn one<T>(body: &[u8], look: impl FnOnce(Decoded<'_>) -> T) -> Result<T, Refusal> {
    let sites = sites();
    let mut events = json::events(body, &context(&sites, Route::Page)).map_err(Refusal::from)?;
    let result = events.next().unwrap().map(look).map_err(|unread| unread.refusal);
    assert!(events.next().is_none());
    result
}

fn refusal(body: &[u8]) -> Refusal {
    one(body, |_| ()).unwrap_err()
}

/// A page view with `members` added.
fn with(members: &str) -> Vec<u8> {
    format!(r#"{{"site":"example.org","url":"https://example.org/a",{members}}}"#).into_bytes()
}

static EVERYTHING: &str = r#"{"site":"example.org","kind":"event","name":"sign up","url":"https://u:p@www.example.org/a?q=1&x=2&utm_source=n#f",
    "referrer":"https://news.example/x?y","props":{"plan":"team","n":12.50,"ok":true,"none":null},"value":12.34,"currency":"eur","width":800,
    "lang":"pt-BR","engaged_ms":1500,"scroll_pct":80,"entry":true,"app_version":"1.2","os":"Android 15","device_model":"Pixel 8","network":"wifi",
    "session":"s","install_id":"i","consent":"granted","dnt":false,"age_ms":5000,"first_today":true,"since_first":"2-6d","id":"e1","later":[1]}"#;

#[test]
fn every_field_arrives() {
    one(EVERYTHING.as_bytes(), |decoded| {
        let beacon = &decoded.beacon;
        assert_eq!((beacon.site.id.as_ref(), beacon.kind, beacon.name.as_ref()), ("example.org", Kind::Event, "sign up"));
        assert_eq!((beacon.page.host.as_ref(), beacon.page.path.as_ref()), ("www.example.org", "/a"));
        assert_eq!(beacon.kept_query, [("q".into(), "1".into())]);
        assert_eq!((beacon.campaign.source.as_ref(), beacon.referrer.as_ref()), ("n", "news.example"));
        assert_eq!(beacon.props, [("plan".into(), "team".into()), ("n".into(), "12.50".into()), ("ok".into(), "true".into())]);
        assert_eq!(beacon.value, Some(Money { ten_thousandths: 123_400, currency: *b"EUR" }));
        assert_eq!((beacon.screen, beacon.language.as_ref()), (ScreenClass::Medium, "pt"));
        assert_eq!((beacon.engaged_millis, beacon.scroll_percent, beacon.entry), (1_500, 80, true));
        assert_eq!((beacon.app_version.as_ref(), beacon.os.as_ref(), beacon.device_model.as_ref()), ("1.2", "Android 15", "Pixel 8"));
        assert_eq!((beacon.network, beacon.age_millis), (Network::Wifi, 5_000));
        assert!(beacon.activity.first_today && !beacon.activity.first_this_week);
        assert_eq!((beacon.activity.since_first, decoded.unknown_fields), (SinceFirst::Days, 1));
        assert!(beacon.id.is_some() && decoded.identity.session.is_some() && decoded.identity.install_id.is_some());
        assert!(decoded.signals.signals().has(Signal::Granted) && !decoded.signals.signals().has(Signal::DoNotTrack));
    })
    .unwrap();
}

#[test]
fn texts_without_escapes_are_borrowed_from_the_body() {
    one(EVERYTHING.as_bytes(), |decoded| {
        let body = EVERYTHING.as_bytes().as_ptr_range();
        for text in [
            &decoded.beacon.name,
            &decoded.beacon.page.host,
            &decoded.beacon.page.path,
            &decoded.beacon.device_model,
            &decoded.beacon.props[0].1,
        ] {
            assert!(body.contains(&text.as_ptr()), "{text}");
        }
    })
    .unwrap();
}

#[test]
fn the_kind_is_told_by_what_is_sent() {
    for (members, kind) in [
        (r#""url":"https://example.org/""#, Ok(Kind::Pageview)),
        (r#""screen":"Home""#, Ok(Kind::Screen)),
        (r#""name":"x""#, Ok(Kind::Event)),
        (r#""name":"x","screen":"Home""#, Ok(Kind::Event)),
        (r#""kind":"engagement","url":"https://example.org/""#, Ok(Kind::Engagement)),
        (r#""kind":"engagement","screen":"Home""#, Ok(Kind::Engagement)),
        (r#""dnt":0"#, Err(("kind", Refused::Missing))),
        (r#""kind":"event""#, Err(("name", Refused::Missing))),
        (r#""kind":"event","name":"""#, Err(("name", Refused::Invalid))),
        (r#""kind":"pageview""#, Err(("url", Refused::Missing))),
        (r#""kind":"pageview","screen":"x""#, Err(("url", Refused::Missing))),
        (r#""kind":"screen","url":"https://example.org/""#, Err(("screen", Refused::Missing))),
        (r#""kind":"engagement""#, Err(("url", Refused::Missing))),
        (r#""kind":"pageview","name":"x","url":"https://example.org/""#, Err(("name", Refused::Invalid))),
        (r#""url":"https://example.org/","screen":"x""#, Err(("screen", Refused::Invalid))),
        (r#""kind":"click""#, Err(("kind", Refused::Invalid))),
    ] {
        let body = format!(r#"{{"site":"example.org",{members}}}"#);
        let kind = kind.map_err(|(field, reason)| Refusal::of(field, reason));
        assert_eq!(one(body.as_bytes(), |decoded| decoded.beacon.kind), kind, "{members}");
    }
}

#[test]
fn each_fault_has_its_field_and_its_reason() {
    let long = |field: &str, bytes: usize| format!(r#""{field}":"{}""#, "a".repeat(bytes + 1));
    let mut table = vec![
        (r#""name":5"#.to_owned(), "name", Refused::WrongType),
        (r#""name":"a\nb""#.to_owned(), "name", Refused::Invalid),
        (r#""name":"a\u0000b""#.to_owned(), "name", Refused::Invalid),
        (r#""name":"\ud800""#.to_owned(), "name", Refused::Invalid),
        (r#""referrer":["x"]"#.to_owned(), "referrer", Refused::WrongType),
        (r#""props":[]"#.to_owned(), "props", Refused::WrongType),
        (r#""props":"a""#.to_owned(), "props", Refused::WrongType),
        (r#""props":{"a":{}}"#.to_owned(), "props", Refused::WrongType),
        (r#""props":{"a":1,"a":2}"#.to_owned(), "props", Refused::Repeated),
        (r#""props":{"a":1," \u0061":2}"#.to_owned(), "props", Refused::Repeated),
        (r#""props":{"":1}"#.to_owned(), "props", Refused::Invalid),
        (r#""props":{"\ud800":1}"#.to_owned(), "props", Refused::Invalid),
        (r#""props":{"a":"\udfff"}"#.to_owned(), "props", Refused::Invalid),
        (r#""props":{},"props":{}"#.to_owned(), "props", Refused::Repeated),
        (r#""width":1,"width":2"#.to_owned(), "width", Refused::Repeated),
        (r#""width":null,"width":2"#.to_owned(), "width", Refused::Repeated),
        (r#""width":1,"wi\u0064th":2"#.to_owned(), "width", Refused::Repeated),
        (r#""width":"800""#.to_owned(), "width", Refused::WrongType),
        (r#""width":-1"#.to_owned(), "width", Refused::OutOfRange),
        (r#""width":-0"#.to_owned(), "width", Refused::Invalid),
        (r#""width":1e999"#.to_owned(), "width", Refused::OutOfRange),
        (format!(r#""width":{}"#, limits::WIDTH_PIXELS + 1), "width", Refused::OutOfRange),
        (format!(r#""engaged_ms":{}"#, limits::ENGAGED_MILLIS + 1), "engaged_ms", Refused::OutOfRange),
        (r#""scroll_pct":101"#.to_owned(), "scroll_pct", Refused::OutOfRange),
        (r#""scroll_pct":0.5"#.to_owned(), "scroll_pct", Refused::Invalid),
        (r#""entry":"true""#.to_owned(), "entry", Refused::WrongType),
        (r#""age_ms":18446744073709551616"#.to_owned(), "age_ms", Refused::OutOfRange),
        (format!(r#""age_ms":{}"#, limits::AGE_MILLIS + 1), "age_ms", Refused::TooOld),
        (r#""value":1"#.to_owned(), "currency", Refused::Missing),
        (r#""currency":"EUR""#.to_owned(), "value", Refused::Missing),
        (r#""value":"1,5","currency":"EUR""#.to_owned(), "value", Refused::Invalid),
        (format!(r#""value":{},"currency":"EUR""#, limits::VALUE_UNITS + 1), "value", Refused::OutOfRange),
        (r#""value":1,"currency":"EURO""#.to_owned(), "currency", Refused::Invalid),
        (r#""network":"5g""#.to_owned(), "network", Refused::Invalid),
        (r#""since_first":"9d""#.to_owned(), "since_first", Refused::Invalid),
        (r#""session":"""#.to_owned(), "session", Refused::Invalid),
        (r#""id":5"#.to_owned(), "id", Refused::WrongType),
        (r#""client_ip":"192.0.2.1""#.to_owned(), "client_ip", Refused::SecretRequired),
        (r#""client_ua":"curl""#.to_owned(), "client_ua", Refused::SecretRequired),
        (format!(r#""props":{{"{}":1}}"#, "k".repeat(limits::PROP_KEY_BYTES + 1)), "props", Refused::TooLong),
        (format!(r#""props":{{"k":"{}"}}"#, "v".repeat(limits::PROP_VALUE_BYTES + 1)), "props", Refused::TooLong),
    ];
    for (field, bytes) in [
        ("name", limits::NAME_BYTES),
        ("referrer", limits::URL_BYTES),
        ("screen", limits::URL_BYTES),
        ("lang", limits::LANGUAGE_BYTES),
        ("app_version", limits::APP_VERSION_BYTES),
        ("os", limits::OS_BYTES),
        ("device_model", limits::DEVICE_MODEL_BYTES),
        ("session", limits::ID_BYTES),
        ("install_id", limits::ID_BYTES),
        ("id", limits::ID_BYTES),
        ("network", limits::WORD_BYTES),
    ] {
        table.push((long(field, bytes), field, Refused::TooLong));
    }
    for (members, field, reason) in table {
        assert_eq!(refusal(&with(&members)), Refusal::of(field, reason), "{members}");
    }
    let site = |site: &str| refusal(format!(r#"{{"site":{site},"name":"x"}}"#).as_bytes());
    assert_eq!(site(r#""nobody.example""#), Refusal::of("site", Refused::UnknownSite));
    assert_eq!(site("null"), Refusal::of("site", Refused::Missing));
    assert_eq!(site(&format!("{:?}", "a".repeat(limits::SITE_BYTES + 1))), Refusal::of("site", Refused::TooLong));
    let url = |path: &str| refusal(format!(r#"{{"site":"example.org","url":"https://{path}"}}"#).as_bytes());
    assert_eq!(url("other.net/"), Refusal::of("url", Refused::WrongHost));
    assert_eq!(url(&format!("example.org/{}", "a".repeat(limits::URL_BYTES))), Refusal::of("url", Refused::TooLong));
}

#[test]
fn what_stands_at_its_bound_is_taken() {
    let props: Vec<String> = (0..limits::PROPS)
        .map(|n| format!(r#""{n:0width$}":"{}""#, "v".repeat(limits::PROP_VALUE_BYTES), width = limits::PROP_KEY_BYTES))
        .collect();
    let members = format!(
        r#""props":{{{}}},"width":{},"engaged_ms":{},"scroll_pct":100,"age_ms":{},"value":{},"currency":"EUR","id":"{}""#,
        props.join(","),
        limits::WIDTH_PIXELS,
        limits::ENGAGED_MILLIS,
        limits::AGE_MILLIS,
        limits::VALUE_UNITS,
        "i".repeat(limits::ID_BYTES),
    );
    assert_eq!(one(&with(&members), |decoded| decoded.beacon.props.len()), Ok(limits::PROPS));
    let over = members.replacen("\"props\":{", "\"props\":{\"one more\":1,", 1);
    assert_eq!(refusal(&with(&over)), Refusal::of("props", Refused::OutOfRange));
}

#[test]
fn null_is_not_sent_but_a_null_signal_is_unreadable() {
    let members = Known::ALL.iter().map(|name| name.label()).filter(|name| !["site", "url"].contains(name));
    let nulls: Vec<String> = members.map(|name| format!("\"{name}\":null")).collect();
    let signals = one(&with(&nulls.join(",")), |decoded| decoded.signals.signals()).unwrap();
    assert!(signals.has(Signal::Unreadable));
    let plain = one(&with(r#""width":null"#), |decoded| decoded.signals.signals()).unwrap();
    assert!(!plain.has(Signal::Unreadable));
}

#[test]
fn no_signal_is_passed_over() {
    for (members, signal) in [
        (r#""dnt":true"#, Signal::DoNotTrack),
        (r#""dnt":1"#, Signal::DoNotTrack),
        (r#""dnt":"1""#, Signal::DoNotTrack),
        (r#""gpc":1"#, Signal::GlobalPrivacyControl),
        (r#""child":true"#, Signal::Child),
        (r#""opt_out":true"#, Signal::OptedOut),
        (r#""lat":1"#, Signal::AdvertisingRefused),
        (r#""att":"denied""#, Signal::AdvertisingRefused),
        (r#""ad_id":"00000000-0000-0000-0000-000000000000""#, Signal::AdvertisingRefused),
        (r#""consent":"denied""#, Signal::ConsentDenied),
        (r#""consent":" granted ""#, Signal::Granted),
        (r#""consent":true"#, Signal::Unreadable),
        (r#""consent":"\ud800""#, Signal::Unreadable),
        (r#""consent":{}"#, Signal::Unreadable),
        (r#""dnt":[1]"#, Signal::Unreadable),
        (r#""gpc":1e999"#, Signal::Unreadable),
        (r#""ad_id":0"#, Signal::Unreadable),
        (r#""att":3"#, Signal::Unreadable),
    ] {
        assert!(one(&with(members), |decoded| decoded.signals.signals().has(signal)).unwrap(), "{members}");
    }
}

#[test]
fn a_backend_with_the_secret_names_its_users_and_no_other_does() {
    let sites = sites();
    let body = br#"[{"site":"example.org","name":"x","client_ip":"2001:db8::1","client_ua":"App/1"},
                    {"site":"example.org","name":"x","client_ip":"2001:db8::1:"},{"site":"other.net","name":"x","client_ip":"192.0.2.1"}]"#;
    let (right, wrong) = (SecretHash::of(SECRET), SecretHash::of(b"guess"));
    let judge = |bearer| {
        let context = Context { bearer, ..context(&sites, Route::Api) };
        let events = batch::events(body, &context).unwrap();
        events
            .map(|event| event.map(|decoded| decoded.identity.client_ip.is_some() && decoded.identity.client_agent.is_some()))
            .map(|event| event.map_err(|unread| unread.refusal))
            .collect::<Vec<_>>()
    };
    let refused = Err(Refusal::of("client_ip", Refused::SecretRequired));
    assert_eq!(judge(Some(&right)), [Ok(true), Err(Refusal::of("client_ip", Refused::Invalid)), refused]);
    assert_eq!(judge(Some(&wrong)), [refused; 3]);
    assert_eq!(judge(None), [refused; 3]);
}

#[test]
fn a_strange_language_is_none_from_a_browser_and_refused_from_a_backend() {
    let sites = sites();
    let body = with(r#""lang":"x-klingon!""#);
    let language = |route| {
        let mut events = json::events(&body, &context(&sites, route)).unwrap();
        events.next().unwrap().map(|decoded| decoded.beacon.language.into_owned()).map_err(|unread| unread.refusal)
    };
    assert_eq!(language(Route::Page), Ok(String::new()));
    assert_eq!(language(Route::Api), Err(Refusal::of("lang", Refused::Invalid)));
}

#[test]
fn a_negative_age_is_new() {
    assert_eq!(one(&with(r#""age_ms":-5000"#), |decoded| decoded.beacon.age_millis), Ok(0));
}

#[test]
fn a_body_that_cannot_be_read_is_refused_whole() {
    let good = String::from_utf8(with(r#""width":1"#)).unwrap();
    let sites = sites();
    let context = context(&sites, Route::Page);
    let whole = |body: &[u8]| json::events(body, &context).map(|_| ()).unwrap_err();
    for body in [
        "",
        " ",
        "[]",
        "[ ]",
        "null",
        "5",
        "\"x\"",
        "NaN",
        &format!("\u{feff}{good}"),
        &format!("[{good}"),
        &format!("[{good}]x"),
        &format!("[{good},]"),
    ] {
        assert_eq!(whole(body.as_bytes()), Refused::Unreadable, "{body}");
        assert_eq!(batch::events(body.as_bytes(), &context).map(|_| ()).unwrap_err(), Refused::Unreadable, "{body}");
    }
    for bytes in [&b"{\"site\":\"\xff\"}"[..], b"{\"a\":\"\xc0\xaf\"}", b"{\"a\":\"\xed\xa0\x80\"}"] {
        assert_eq!(whole(bytes), Refused::Unreadable);
    }
    for body in [
        "{",
        "{}x",
        "{\"a\":NaN}",
        "{\"a\":Infinity}",
        "{\"a\":01}",
        "{'a':1}",
        "{\"a\":\"\u{1}\"}",
        "{\"a\":1,}",
        "{\"\\ud800\":1}",
        "{\"a\":\"\\q\"}",
    ] {
        assert_eq!(refusal(body.as_bytes()), Refused::Unreadable.into(), "{body}");
    }
    let many = |count: usize| format!("[{}]", vec!["5"; count].join(","));
    assert_eq!(whole(many(limits::BEACON_EVENTS + 1).as_bytes()), Refused::TooLarge);
    assert_eq!(json::events(many(limits::BEACON_EVENTS).as_bytes(), &context).unwrap().count(), limits::BEACON_EVENTS);
}

#[test]
fn hostile_objects_are_refused_in_linear_time() {
    let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    assert!(one(&with(&format!("\"x\":{}", deep(limits::JSON_DEPTH - 1))), |_| ()).is_ok());
    assert_eq!(refusal(&with(&format!("\"x\":{}", deep(limits::JSON_DEPTH)))), Refused::Unreadable.into());
    assert_eq!(refusal(&with(&format!("\"x\":{}", deep(10_000)))), Refused::Unreadable.into());
    assert!(one(&with(r#""x":"[[[[[[[[[[[[\"[[[[""#), |_| ()).is_ok());
    assert_eq!(refusal(&with(&format!("\"props\":{{\"a\":{}}}", deep(10_000)))), Refusal::of("props", Refused::WrongType));
    let keys = |count: usize| {
        (0..count).fold(String::new(), |mut keys, n| {
            let _ = write!(keys, "\"k{n}\":1,");
            keys
        }) + "\"z\":1"
    };
    assert_eq!(refusal(&with(&keys(5_000))), Refused::OutOfRange.into());
    assert_eq!(one(&with(&keys(limits::EVENT_FIELDS - 3)), |decoded| decoded.unknown_fields as usize), Ok(limits::EVENT_FIELDS - 2));
    assert_eq!(refusal(&with(&keys(limits::EVENT_FIELDS - 2))), Refused::OutOfRange.into());
    assert_eq!(refusal(&with(&format!("\"x\":{}", "9".repeat(1_000_000)))), Refused::TooLarge.into());
    assert_eq!(refusal(&with(&format!("\"name\":\"{}\"", "\\u0041".repeat(10_000)))), Refusal::of("name", Refused::TooLong));
}

/// Every character of `text` as an escape, so that nothing can be borrowed.
fn escaped(text: &str) -> String {
    text.encode_utf16().fold(String::new(), |mut escapes, unit| {
        let _ = write!(escapes, "\\u{unit:04x}");
        escapes
    })
}

fn everywhere(bytes: &[u8]) {
    let sites = sites();
    for route in [Route::Page, Route::Api] {
        let context = context(&sites, route);
        let _ = json::events(bytes, &context).map(Iterator::count);
        let _ = batch::events(bytes, &context).map(Iterator::count);
        let _ = batch::unpack(bytes, Coding::Gzip, |_| true);
        let _ = std::str::from_utf8(bytes).map(|text| query::event(text, &context).is_ok());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_cause_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        everywhere(&bytes);
    }

    #[test]
    fn no_damage_to_an_event_causes_a_panic(place in 0..EVERYTHING.len(), byte in any::<u8>(), end in 0..EVERYTHING.len()) {
        let mut body = EVERYTHING.as_bytes().to_vec();
        body[place] = byte;
        everywhere(&body);
        everywhere(&body[..end]);
        everywhere(&[b"[", &body[..], b"]"].concat());
    }

    #[test]
    fn what_was_sent_is_what_arrives_borrowed_or_not(name in "[^\\p{C}\\s]{1,30}", key in "[^\\p{C}\\s]{1,15}", value in "[^\\p{C}\\s]{0,60}", path in "[^\\p{C}\\s#?\\\\]{0,80}") {
        let url = format!("https://example.org/{path}?q={}", form_urlencoded::byte_serialize(value.as_bytes()).collect::<String>());
        let plain = serde_json::json!({"site": "example.org", "name": name, "url": url, "props": {key.as_str(): value}}).to_string();
        let hard = format!(
            r#"{{"site":"example.org","name":"{}","url":"{}","props":{{"{}":"{}"}}}}"#,
            escaped(&name), escaped(&url), escaped(&key), escaped(&value),
        );
        let seen = |body: &str| one(body.as_bytes(), |decoded| {
            assert_eq!((decoded.beacon.name.as_ref(), decoded.beacon.page.path.as_ref()), (name.as_str(), format!("/{path}").as_str()));
            assert_eq!(decoded.beacon.props, [(key.as_str().into(), value.as_str().into())]);
            assert_eq!(decoded.beacon.kept_query, [("q".into(), value.as_str().into())]);
            format!("{:?}", decoded.beacon)
        });
        prop_assert_eq!(seen(&plain).unwrap(), seen(&hard).unwrap());
    }
}
