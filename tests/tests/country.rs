//! From an address in a trusted proxy's header to the country that is stored, with every database there is.

#![expect(clippy::unwrap_used, reason = "in a test an unwrap is a failed expectation")]

use headcount::assets::{Asset, Assets};
use headcount_tests::collector::{BROWSER, Setup};
use headcount_tests::{frames, http};

/// Addresses of long-standing owners, and where they are.
const ADDRESSES: [(&str, &str); 6] = [
    ("85.214.132.117", "DE"),
    ("193.0.6.139", "NL"),
    ("133.11.0.1", "JP"),
    ("200.160.2.3", "BR"),
    ("2001:638:200::1", "DE"),
    ("10.1.2.3", "ZZ"),
];

fn config(geo: &str) -> String {
    format!("{geo}\n[public]\nworkers = 1\n[clickhouse]\nurl = \"http://127.0.0.1:9\"\n[[site]]\nid = \"example.org\"\n")
}

/// What is stored for a visitor at each address, in their order.
fn countries(name: &str, geo: &str) -> Vec<String> {
    let setup = Setup::new(name, &config(geo));
    let collector = setup.start();
    for (address, _) in ADDRESSES {
        let forwarded = format!("X-Forwarded-For: {address}");
        let view = br#"{"site":"example.org","url":"https://example.org/"}"#;
        let answer = http::send(collector.public(), "POST", "/e", &[BROWSER, &forwarded], view).unwrap();
        assert_eq!(answer.status, 204);
    }
    collector.kill();
    frames::events(&setup.data().join("spool")).iter().map(|row| row["country"].clone()).collect()
}

#[test]
fn a_visitors_country_is_stored_whichever_database_tells_it() {
    let expected: Vec<&str> = ADDRESSES.iter().map(|(_, country)| *country).collect();
    assert_eq!(countries("geo", ""), expected);
    for asset in [Asset::Countries, Asset::OtherCountries] {
        let path = Assets::locate().path(asset).unwrap();
        assert_eq!(countries("geo-named", &format!("geo = \"{}\"", path.display())), expected, "{asset:?}");
    }
}

#[test]
fn no_country_is_stored_when_they_are_switched_off() {
    assert_eq!(countries("geo-off", "geo = \"off\""), ["ZZ"; 6]);
}

#[test]
fn a_missing_or_damaged_database_keeps_the_collector_from_starting_and_is_named() {
    let setup = Setup::new("geo-bad", "");
    let damaged = setup.path().join("damaged.mmdb");
    std::fs::write(&damaged, b"not a database").unwrap();
    for path in [damaged, setup.path().join("missing.mmdb")] {
        setup.configure(&config(&format!("geo = \"{}\"", path.display())));
        let (status, said) = setup.run(&["serve"]);
        assert_eq!(status.code(), Some(1), "{said}");
        assert!(said.contains(&path.display().to_string()) && !said.contains("panicked"), "{said}");
    }
}
