//! The pixel: the same words in a query.

use super::*;

fn pixel(query: &str) -> Result<String, Refusal> {
    let sites = sites();
    query::event(query, &Context { page: Some("https://example.org/from-referer"), ..context(&sites, Route::Page) })
        .map(|decoded| format!("{:?}", decoded.beacon))
        .map_err(|unread| unread.refusal)
}

#[test]
fn the_pixel_says_the_same_as_json() {
    let words = "site=example.org&kind=event&name=sign+up&url=https%3A%2F%2Fexample.org%2Fa%3Fq%3D1&p.plan=team%20x&value=12.34&currency=eur&width=800\
                 &lang=de&scroll_pct=80&entry=1&network=wifi&age_ms=5000&first_today=true&since_first=1d&app_version=";
    let members = r#"{"site":"example.org","kind":"event","name":"sign up","url":"https://example.org/a?q=1","props":{"plan":"team x"},"value":12.34,
        "currency":"eur","width":800,"lang":"de","scroll_pct":80,"entry":true,"network":"wifi","age_ms":5000,"first_today":true,"since_first":"1d"}"#;
    assert_eq!(pixel(words), one(members.as_bytes(), |decoded| format!("{:?}", decoded.beacon)));
}

#[test]
fn a_pixel_without_a_page_takes_the_browsers_word_for_it() {
    assert!(pixel("site=example.org").unwrap().contains("/from-referer"));
    assert!(!pixel("site=example.org&screen=Home").unwrap().contains("/from-referer"));
    let sites = sites();
    for (page, reason) in [
        ("https://other.net/", Refused::WrongHost),
        ("https://example.org/a\tb", Refused::Invalid),
        (&*format!("https://example.org/{}", "a".repeat(limits::URL_BYTES)), Refused::TooLong),
    ] {
        let context = Context { page: Some(page), ..context(&sites, Route::Page) };
        let unread = query::event("site=example.org", &context).map(|_| ()).unwrap_err();
        assert_eq!(unread.refusal, Refusal::of("url", reason), "{page}");
    }
}

#[test]
fn a_bad_query_is_refused() {
    for (query, refusal) in [
        ("", Refusal::of("site", Refused::Missing)),
        ("site=example.org&site=example.org", Refusal::of("site", Refused::Repeated)),
        ("site=example.org&si%74e=example.org", Refusal::of("site", Refused::Repeated)),
        ("site=example.org&width=NaN", Refusal::of("width", Refused::Invalid)),
        ("site=example.org&width=-0", Refusal::of("width", Refused::Invalid)),
        ("site=example.org&name=%FF", Refusal::of("name", Refused::Invalid)),
        ("site=example.org&name=%00", Refusal::of("name", Refused::Invalid)),
        ("site=example.org&%FF=1", Refused::Unreadable.into()),
        ("site=example.org&props=x", Refusal::of("props", Refused::WrongType)),
        ("site=example.org&p.a=1&p.a=2", Refusal::of("props", Refused::Repeated)),
        ("site=example.org&p.=1", Refusal::of("props", Refused::Invalid)),
    ] {
        assert_eq!(pixel(query), Err(refusal), "{query}");
    }
    assert_eq!(pixel(&"a".repeat(limits::TARGET_BYTES + 1)), Err(Refused::TooLarge.into()));
    assert_eq!(pixel(&format!("site=example.org{}", "&x=1".repeat(limits::EVENT_FIELDS))), Err(Refused::OutOfRange.into()));
}
