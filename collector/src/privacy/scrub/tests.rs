//! What is masked, what survives, and what the owner may decide.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::beacon::samples;
use crate::clock::Clock;
use crate::site::Site;

fn masked(text: &str) -> String {
    mask(Cow::Borrowed(text), Public::Nothing).0.into_owned()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_096))]

    /// The quick look is never wrong in the dangerous direction, near any shape as far from it.
    #[test]
    fn what_is_not_suspected_holds_no_shape(
        before in "[a-fA-F0-9xJ_:./ -]{0,6}",
        shape in prop_oneof![
            "[a-g@.]{3,12}",
            "eyJ[a-z_.-]{6,12}",
            "[a-f]{7,8}-([0-9a-f]{4}-){3}[a-f]{11,12}",
            "([0-9a-f]{2}[:-]){4,6}[0-9a-f]{2}",
            "[0-9a-f]{0,4}:[0-9a-f:]{0,4}:[0-9a-f.]{0,4}",
            "([0-9]{1,3}\\.){2,3}[0-9]{1,3}",
            "-?[0-9]{1,3}\\.[0-9]{3,4}[,; ]-?[0-9]{1,3}\\.[0-9]{3}",
            "[0-9a-f]{11,16}",
            "\\+?\\(?([0-9][ ().-]{0,2}){5,9}",
            "[A-Za-z0-9_]{18,21}",
        ],
        after in "[a-fA-F0-9xJ_:./ -]{0,6}",
    ) {
        let text = format!("{before}{shape}{after}");
        if !suspicious(&text) {
            prop_assert_eq!(replaced(&text, Public::Nothing), None);
        }
    }
}

#[test]
fn shapes_of_people_and_ids_are_masked() {
    for (text, expected) in [
        // E-mail.
        ("/invite/jane.doe+x@example.co.uk", "/invite/[email]"),
        ("/invite/jane%40example.org/done", "/invite/[email]/done"),
        ("/invite/jane%2540example.org", "/invite/[email]"),
        ("/invite/jane%2540example", "/invite/jane%2540example"),
        ("write to jane@example.org!", "write to [email]"),
        ("jörg@müller.example", "[email]"),
        ("mailto:jane@example.org", "mailto:[email]"),
        // Phone, card, account.
        ("/call/+49 30 1234567", "/call/[number]"),
        ("/call/+4930123456", "/call/[number]"),
        ("+1 (555) 123-4567", "[number]"),
        ("555-123-4567", "[number]"),
        ("tel%3A%2B49%2030%201234567", "tel:[number]"),
        ("4111 1111 1111 1111", "[number]"),
        ("4111-1111-1111-1111", "[number]"),
        ("/order/4111111111111111", "/order/[number]"),
        ("DE89 3704 0044 0532 0130 00", "DE[number]"),
        ("078-05-1120", "[number]"),
        ("490154203237518", "[number]"),
        ("٠١٢٣٤٥٦٧٨", "[number]"),
        ("１２３４５６７８", "[number]"),
        ("/user/1234567", "/user/[number]"),
        // Tokens and ids.
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl", "[token]"),
        ("t=eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.", "t=[token]"),
        ("/s/Zm9vYmFyMTIzNDU2Nzg5MEFC", "/s/[token]"),
        ("/doc/38400000-8cf0-11bd-b23e-10b96e40000d/edit", "/doc/[uuid]/edit"),
        ("/doc/38400000-8CF0-11BD-B23E-10B96E40000D", "/doc/[uuid]"),
        ("d41d8cd98f00b204e9800998ecf8427e", "[hex]"),
        ("/c/0123456789abcdef", "/c/[hex]"),
        ("00:1A:2b:3c:4d:5e", "[hex]"),
        ("00-1A-2b-3c-4d-5e", "[hex]"),
        // Addresses.
        ("/from/192.0.2.1/x", "/from/[ip]/x"),
        ("host 2001:db8::1 up", "host [ip] up"),
        ("[2001:db8::1]:80", "[[ip]]:80"),
        ("::1", "[ip]"),
        ("::ffff:192.0.2.1", "[ip]"),
        // Coordinates.
        ("52.5200,13.4050", "[place]"),
        ("/near/-33.8688, 151.2093", "/near/[place]"),
        ("/near/52.5200%2C13.4050", "/near/[place]"),
        // Several in one text.
        ("a@b.example and 192.0.2.1", "[email] and [ip]"),
    ] {
        let (result, changed) = mask(Cow::Borrowed(text), Public::Nothing);
        assert_eq!(result, expected, "{text}");
        assert_eq!(changed, expected != text, "{text}");
    }
}

#[test]
fn ordinary_texts_come_back_as_they_are() {
    for text in [
        "",
        "/",
        "/blog/2026/11/22/a-title-with-10-words",
        "/news/123456",
        "2026-11-22",
        "2026-11-22T12:30:00",
        "12:30:45",
        "1999-2026",
        "/v1.2.3/api",
        "EUR 1.299,00",
        "10,000,000",
        "@username",
        "C++::vector",
        "how-to-win-friends-and-influence-people",
        "internationalization_and_localization",
        "ACCOUNT_SETTINGS_NOTIFICATIONS",
        "Zürich & Genève",
        "100 % of 365",
        "50%25",
        "deadbeef",
        "3.14159",
        "iPhone15,3",
        "SM-S918B",
    ] {
        let (result, changed) = mask(Cow::Borrowed(text), Public::Nothing);
        assert_eq!((&*result, changed), (text, false));
        assert!(matches!(result, Cow::Borrowed(_)), "{text} is handed back without a copy");
    }
}

#[test]
fn the_digit_threshold_is_the_stated_one() {
    for (text, expected) in [
        ("123456", "123456"),
        ("1234567", "[number]"),
        ("+123456", "+123456"),
        ("+1234567", "[number]"),
        ("12 34 56 78", "12 34 56 78"),
        ("12 34 56 78 9", "[number]"),
    ] {
        assert_eq!(masked(text), expected);
    }
}

fn rules(routes: &[&str], keep: &[&str]) -> PathRules {
    let boxed = |texts: &[&str]| texts.iter().map(|text| (*text).into()).collect();
    PathRules { routes: boxed(routes), keep: boxed(keep), query: Vec::new() }
}

#[test]
fn owners_collapse_routes_and_keep_public_numbers() {
    let rules = rules(&["/user/*/settings", "/user/*"], &["/news/*"]);
    for (text, expected, changed) in [
        ("/user/jane/settings", "/user/*/settings", false),
        ("/user/jane", "/user/*", false),
        ("/user/jane/photos/7", "/user/*", false),
        ("/user/", "/user/", false),
        ("/user", "/user", false),
        ("/users/jane", "/users/jane", false),
        ("/news/12345678", "/news/12345678", false),
        ("/news/2026/12345678/title", "/news/2026/12345678/title", false),
        ("/news/jane@example.org", "/news/[email]", true),
        ("/news/d41d8cd98f00b204e9800998ecf8427e", "/news/[hex]", true),
        ("/news/1234567890123456", "/news/1234567890123456", false),
        ("/shop/12345678", "/shop/[number]", true),
    ] {
        assert_eq!(path(&rules, Cow::Borrowed(text)), (Cow::Borrowed(expected), changed), "{text}");
    }
}

#[test]
fn models_stay_and_serial_numbers_do_not() {
    for (text, expected) in [
        ("Pixel 8", "Pixel 8"),
        ("iPhone15,3", "iPhone15,3"),
        ("SM-S918B", "SM-S918B"),
        ("moto g(60)s", "moto g(60)s"),
        ("M2101K6G", "M2101K6G"),
        ("", ""),
        ("R58M12ABCDE", "[id]"),
        ("Jane's iPhone", "[id]"),
        ("Jane’s iPhone", "[id]"),
        ("38400000-8cf0-11bd-b23e-10b96e40000d", "[id]"),
        ("490154203237518", "[id]"),
        ("a1b2c3d4e5f6", "[id]"),
    ] {
        assert_eq!(device_model(Cow::Borrowed(text)), expected);
    }
}

#[test]
fn every_free_text_of_an_event_is_masked() {
    let site = Site { paths: PathRules { query: vec!["page".into()], ..PathRules::default() }, ..samples::site("example.org") };
    let secret = || Cow::Borrowed("jane@example.org");
    let mut event = samples::pageview(&site);
    event.name = secret();
    event.page.path = "/a/jane@example.org".into();
    event.kept_query = vec![("page".into(), "2".into()), ("q".into(), "a&b=#".into()), ("who".into(), secret())];
    event.referrer = "192.0.2.1".into();
    event.campaign = crate::event::Campaign { source: secret(), medium: secret(), name: secret(), content: secret(), term: secret() };
    event.props = vec![("a".into(), secret()), (secret(), "1".into()), ("joe@example.org".into(), "2".into()), ("b".into(), "c".into())];
    event.os = "Android 15 d41d8cd98f00b204e9800998ecf8427e".into();
    event.app_version = "10.0.19.45".into();
    event.device_model = secret();
    assert!(beacon(&mut event));
    let text = format!("{event:?}");
    assert!(!text.contains("jane") && !text.contains("joe") && !text.contains("192.0.2.1") && !text.contains("d41d8"), "{text}");
    assert_eq!(event.page.path, "/a/[email]?page=2&q=a%26b%3D%23&who=[email]");
    assert_eq!(event.app_version, "10.0.19.45", "a version is no address");
    let props: Vec<_> = event.props.iter().map(|(key, value)| (&**key, &**value)).collect();
    assert_eq!(props, [("a", "[email]"), ("[email]", "1"), ("b", "c")], "keys stay distinct");
}

#[test]
fn a_referrer_that_is_an_address_stays_only_where_the_page_itself_is_there() {
    let site = samples::site("127.0.0.1");
    for (host, referrer, kept) in
        [("127.0.0.1", "127.0.0.1", "127.0.0.1"), ("127.0.0.1", "192.0.2.1", "[ip]"), ("example.org", "127.0.0.1", "[ip]")]
    {
        let mut event = samples::pageview(&site);
        event.page.host = host.into();
        event.referrer = referrer.into();
        beacon(&mut event);
        assert_eq!(event.referrer, kept, "{referrer} on {host}");
    }
}

#[test]
fn a_path_is_cut_at_its_bound_between_two_characters() {
    let site = samples::site("example.org");
    let mut event = samples::pageview(&site);
    event.page.path = "/ä".repeat(PATH_BYTES).into();
    beacon(&mut event);
    assert_eq!(event.page.path.len(), PATH_BYTES - 1, "170 times `/ä`, and the slash after them");
}

#[test]
fn hostile_texts_take_time_in_proportion_to_their_length() {
    for unit in ["1 ", "@", "a@", "1.", ":", "eyJ", "a.", "0-", "%40", "+(1", "a@a.", "1.111,"] {
        let text = unit.repeat(crate::limits::URL_BYTES / unit.len());
        let start = Clock::monotonic();
        for _ in 0..20 {
            masked(&text);
        }
        assert!(start.elapsed() < Duration::from_secs(2), "{unit:?}");
    }
}

proptest! {
    #[test]
    fn masking_twice_is_masking_once(text in "[a-f0-9@.:%+ /-]{0,60}|\\PC{0,60}") {
        let once = masked(&text);
        prop_assert_eq!(masked(&once), once);
    }

    #[test]
    fn an_address_is_found_wherever_it_stands(before in "[a-z/ =-]{0,9}[/ =]", after in "([/ &][a-z/ =-]{0,9})?", octets: [u8; 4]) {
        let address = std::net::Ipv4Addr::from(octets).to_string();
        let masked = masked(&format!("{before}{address}{after}"));
        prop_assert!(!masked.contains(&address), "{}", masked);
    }
}
