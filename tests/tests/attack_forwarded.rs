//! Attack: a stranger names another's address in a header, to be many visitors, or somebody else.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![expect(clippy::disallowed_types, reason = "the adversary's own addresses")]

use std::net::Ipv4Addr;

use headcount_tests::collector::{BROWSER, Setup};
use headcount_tests::http::Connection;
use headcount_tests::leaky;

/// Every header by which proxies name a visitor, with an address of Cloudflare's resolver, which every database knows.
const FORGED: &[&str] = &[
    "X-Forwarded-For: 1.1.1.1",
    "X-Forwarded-For: 8.8.8.8, 127.0.0.1",
    "X-Forwarded-For: 2606:4700:4700::1111",
    "X-Forwarded-For: 127.0.0.1\r\nX-Forwarded-For: 8.8.4.4",
    "X-Real-IP: 1.1.1.1",
    "True-Client-IP: 1.1.1.1",
    "CF-Connecting-IP: 1.1.1.1",
    "X-Client-IP: 1.1.1.1",
    "Fastly-Client-IP: 1.1.1.1",
    "X-Cluster-Client-IP: 1.1.1.1",
    "X-Original-Forwarded-For: 1.1.1.1",
    "Forwarded: for=1.1.1.1;proto=https",
    "Forwarded: for=\"[2606:4700:4700::1111]\"",
    "Via: 1.1 1.1.1.1",
];

/// The visitors and countries that are stored when two peers come, the second of them with every forged header.
fn stored(proxy: &str, setup: impl FnOnce(Setup) -> Setup) -> (usize, Vec<String>) {
    let config = format!("proxy = {proxy}\n[public]\nworkers = 1\n[engine]\nmemory_bytes = 536870912\n[[site]]\nid = \"a.example\"\n");
    let setup = setup(Setup::new("forged", &config));
    let collector = setup.start();
    let event = br#"{"site":"a.example","url":"https://a.example/"}"#;
    let send = |from: Ipv4Addr, header: &str| {
        let headers = [BROWSER, "Content-Type: text/plain", header];
        let mut connection = Connection::open_from(from, collector.public()).unwrap();
        assert_eq!(connection.send("POST", "/e", &headers, event).unwrap().status, 204);
    };
    let (one, other) = (Ipv4Addr::LOCALHOST, Ipv4Addr::new(127, 0, 0, 2));
    send(one, "X-Nothing: 0");
    send(other, "X-Nothing: 0");
    for header in FORGED {
        send(other, header);
    }
    collector.wait_for_events(FORGED.len() as u64 + 2);
    let (_, text) = setup.run(&["sql", "SELECT visitor, country FROM events ORDER BY country", "--form", "tsv"]);
    let rows: Vec<(&str, &str)> = text.lines().skip(1).map(|line| line.split_once('\t').unwrap()).collect();
    assert_eq!(rows.len(), FORGED.len() + 2, "{text}");
    let distinct = |mut values: Vec<String>| {
        values.sort();
        values.dedup();
        values
    };
    let visitors = distinct(rows.iter().map(|(visitor, _)| (*visitor).to_owned()).collect());
    (visitors.len(), distinct(rows.iter().map(|(_, country)| (*country).to_owned()).collect()))
}

#[test]
fn the_socket_counts_and_not_what_a_stranger_says() {
    // Trusting nobody, and trusting proxies that this peer is none of.
    for proxy in [
        "\"nobody\"",
        "[\"192.0.2.0/24\"]",
        "{ trust = \"nobody\", header = \"CF-Connecting-IP\" }",
        "{ trust = \"nobody\", header = \"Forwarded\" }",
    ] {
        assert_eq!(stored(proxy, |setup| setup), (2, vec!["ZZ".to_owned()]), "{proxy}");
    }
}

#[test]
fn a_stranger_who_is_believed_is_many() {
    let believed = |setup: Setup| setup.with_program(leaky::program()).with_variable(leaky::LEAK, "forwarded_trusted");
    for proxy in ["\"nobody\"", "{ trust = \"nobody\", header = \"CF-Connecting-IP\" }", "{ trust = \"nobody\", header = \"Forwarded\" }"] {
        let (visitors, countries) = stored(proxy, believed);
        assert!(visitors > 2 || countries.len() > 1, "{proxy}: {visitors} visitors from {countries:?}");
    }
}
