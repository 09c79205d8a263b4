//! Batches: one bad event costs no other, and what is packed is unpacked to its bound.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::*;

#[test]
fn a_bad_event_of_a_batch_costs_no_other() {
    let sites = sites();
    let context = context(&sites, Route::Api);
    let good = r#"{"site":"example.org","name":"x"}"#;
    let items = [
        good,
        "5",
        r#"{"site":"example.org","name":"x","width":1e999}"#,
        r#"{"site":"other.net","name":"x"}"#,
        r#"{"site":"nobody","name":"x"}"#,
        good,
    ];
    let verdicts = |events: batch::Events<'_>| {
        events.map(|event| event.map(|decoded| decoded.beacon.site.index).map_err(|unread| unread.refusal)).collect::<Vec<_>>()
    };
    let expected = [
        Ok(0),
        Err(Refused::WrongType.into()),
        Err(Refusal::of("width", Refused::OutOfRange)),
        Ok(1),
        Err(Refusal::of("site", Refused::UnknownSite)),
        Ok(0),
    ];
    let array = format!("[{}]", items.join(","));
    assert_eq!(verdicts(batch::events(array.as_bytes(), &context).unwrap()), expected);
    let lines = items.join("\r\n\n");
    assert_eq!(verdicts(batch::events(lines.as_bytes(), &context).unwrap()), expected);
    let torn = [good.as_bytes(), b"\n{\"site\"\n\xff\xfe\n", good.as_bytes()].concat();
    let unreadable = Err(Refused::Unreadable.into());
    assert_eq!(verdicts(batch::events(&torn, &context).unwrap()), [Ok(0), unreadable, unreadable, Ok(0)]);
}

#[test]
fn a_single_object_may_be_written_over_several_lines() {
    let sites = sites();
    let count = |body: &str| {
        let events = batch::events(body.as_bytes(), &context(&sites, Route::Api)).unwrap();
        events.map(|event| event.is_ok()).collect::<Vec<_>>()
    };
    let whole = "{\"site\":\"example.org\",\"name\":\"x\"}";
    let pretty = "\n{\n  \"site\": \"example.org\",\n  \"name\": \"x\",\r\n  \"props\": {}\n}\n";
    assert_eq!(count(pretty), [true]);
    assert_eq!(count(whole), [true]);
    assert_eq!(count(&format!("{whole}\n{whole}")), [true, true]);
    assert_eq!(count(&format!("{{\"torn\n{whole}")), [false, true], "a damaged first line costs no other");
    assert_eq!(count(&pretty.replace("\"x\"", "x")), [false; 5]);
}

#[test]
fn the_site_of_a_refused_event_is_told_when_it_can_be() {
    let sites = sites();
    let long = "a".repeat(limits::PROP_VALUE_BYTES + 1);
    for (members, told) in [
        (r#""site":"other.net","width":-1"#.to_owned(), Some("other.net")),
        (r#""site":"other.net","url":"https://example.org/""#.to_owned(), Some("other.net")),
        // Behind the first fault, too.
        (format!(r#""props":{{"a":"{long}"}},"site":"other.net""#), Some("other.net")),
        (r#""name":"a","name":"b","site":"other.net""#.to_owned(), Some("other.net")),
        (r#""site":"nobody","width":-1"#.to_owned(), None),
        (r#""name":"x""#.to_owned(), None),
        (r#""site":"other.net","site":"example.org""#.to_owned(), None),
        (r#""site":"other.net","name":}"#.to_owned(), None),
    ] {
        let body = format!("{{{members}}}");
        let context = context(&sites, Route::Page);
        let unread = json::events(body.as_bytes(), &context).unwrap().next().unwrap().map(|_| ()).unwrap_err();
        assert_eq!(unread.site.map(|site| &*site.id), told, "{members}");
    }
    for (query, told) in [("width=-1&site=other.net", Some("other.net")), ("p.=&%FF=1&site=other.net", Some("other.net")), ("site=x", None)]
    {
        let unread = query::event(query, &context(&sites, Route::Page)).map(|_| ()).unwrap_err();
        assert_eq!(unread.site.map(|site| &*site.id), told, "{query}");
    }
}

#[test]
fn a_batch_holds_so_many_events_and_no_more() {
    let sites = sites();
    let context = context(&sites, Route::Api);
    for separator in [",", "\n"] {
        let body = |count: usize| {
            let items = vec!["{}"; count].join(separator);
            if separator == "," { format!("[{items}]") } else { items }
        };
        assert_eq!(batch::events(body(limits::BATCH_EVENTS).as_bytes(), &context).unwrap().count(), limits::BATCH_EVENTS);
        assert_eq!(batch::events(body(limits::BATCH_EVENTS + 1).as_bytes(), &context).map(|_| ()).unwrap_err(), Refused::TooLarge);
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn gzip_is_unpacked_to_its_bound_and_no_damage_is_overlooked() {
    let packed = gzip(EVERYTHING.as_bytes());
    assert_eq!(batch::unpack(&packed, Coding::Gzip, |_| true).unwrap(), EVERYTHING.as_bytes());
    let two = [gzip(b"[1,"), gzip(b"2]")].concat();
    assert_eq!(&*batch::unpack(&two, Coding::Gzip, |_| true).unwrap(), b"[1,2]");
    for cut in 0..packed.len() {
        assert_eq!(batch::unpack(&packed[..cut], Coding::Gzip, |_| true), Err(Refused::Unreadable), "{cut}");
    }
    for behind in [&b"x"[..], b"\0", b"garbage that is longer than a header"] {
        assert_eq!(batch::unpack(&[&packed, behind].concat(), Coding::Gzip, |_| true), Err(Refused::Unreadable));
    }
    let mut damaged = packed.clone();
    damaged[packed.len() - 6] ^= 1; // of the checksum
    assert_eq!(batch::unpack(&damaged, Coding::Gzip, |_| true), Err(Refused::Unreadable));
    let eighth = gzip(&vec![0; limits::BATCH_DECODED_BYTES / 8]);
    assert_eq!(batch::unpack(&eighth.repeat(8), Coding::Gzip, |_| true).map(|unpacked| unpacked.len()), Ok(limits::BATCH_DECODED_BYTES));
    assert_eq!(batch::unpack(&[eighth.repeat(8), gzip(b"x")].concat(), Coding::Gzip, |_| true), Err(Refused::TooLarge));
    assert_eq!(batch::unpack(&eighth.repeat(80), Coding::Gzip, |_| true), Err(Refused::TooLarge));
}
