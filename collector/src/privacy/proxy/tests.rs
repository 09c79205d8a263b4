//! Forwarding headers from friends, strangers and forgers.

use super::*;
use hyper::header::HeaderValue;

fn headers(name: &str, values: &[&str]) -> HeaderMap {
    let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
    let mut headers = HeaderMap::new();
    for value in values {
        headers.append(&name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    headers
}

/// Trust in a preset, or in networks joined by commas, and in the header of that name.
fn trust(proxies: &str, header: &str) -> Trust {
    let trusted = match proxies {
        "nobody" => Trusted::Nobody,
        "loopback" => Trusted::Loopback,
        "docker" => Trusted::Docker,
        "cloudflare" => Trusted::Cloudflare,
        networks => Trusted::Networks(Networks::parse(&networks.split(',').collect::<Vec<_>>()).unwrap()),
    };
    Trust::new(trusted, header.parse().unwrap())
}

const XFF: &str = "X-Forwarded-For";
const INSIDE: &str = "127.0.0.0/8,::1,10.0.0.0/8";

fn peer(text: &str) -> Peer {
    if text == "unix" { Peer::unix() } else { Peer::tcp(std::net::SocketAddr::new(text.parse().unwrap(), 40_000)) }
}

/// What is told about a visitor: an address, `-` for nobody, `here` for this machine.
fn told(trust: &Trust, from: &str, headers: &HeaderMap) -> (String, Forwarding) {
    let visitor = trust.visitor(&peer(from), headers);
    let address = match &visitor.address {
        Address::Known(address) => address.0.to_string(),
        Address::Nobody => "-".into(),
        Address::ThisMachine => "here".into(),
    };
    (address, visitor.forwarding())
}

#[test]
fn an_untrusted_peer_is_itself_whatever_it_says() {
    let forms = [
        "203.0.113.9",
        "203.0.113.9, 198.51.100.7",
        "unknown",
        "_hidden",
        "203.0.113.9:443",
        "fe80::1%eth0",
        "::ffff:203.0.113.9",
        &"203.0.113.9, ".repeat(800),
        "127.0.0.1",
        "",
    ];
    for proxies in ["nobody", "loopback", "docker", "cloudflare", "127.0.0.1,203.0.113.0/24"] {
        let trust = trust(proxies, XFF);
        for form in forms {
            let headers = headers("x-forwarded-for", &[form]);
            let public = told(&trust, "198.51.100.7", &headers);
            assert_eq!(public, ("198.51.100.7".into(), Forwarding::IgnoredFromPublicPeer), "{form}");
            let private = told(&trust, "10.1.2.3", &headers);
            assert_eq!(private, ("10.1.2.3".into(), Forwarding::IgnoredFromPrivatePeer), "{form}");
        }
        assert_eq!(told(&trust, "198.51.100.7", &HeaderMap::new()), ("198.51.100.7".into(), Forwarding::Direct));
    }
}

#[test]
fn headers_that_are_not_named_are_never_consulted() {
    let trust = trust("loopback", XFF);
    for name in ["cf-connecting-ip", "true-client-ip", "x-real-ip", "x-client-ip", "forwarded", "fastly-client-ip"] {
        let headers = headers(name, &["for=203.0.113.9", "203.0.113.9"]);
        assert_eq!(told(&trust, "127.0.0.1", &headers), ("here".into(), Forwarding::Unnamed), "{name}");
        assert_eq!(told(&trust, "198.51.100.7", &headers), ("198.51.100.7".into(), Forwarding::Direct), "{name}");
        let named = self::trust("loopback", name);
        let spoofed = self::headers("x-forwarded-for", &["203.0.113.9"]);
        assert_eq!(told(&named, "127.0.0.1", &spoofed), ("here".into(), Forwarding::Unnamed), "{name}");
    }
}

#[test]
fn a_trusted_proxy_is_believed_from_the_right() {
    let table: &[(&[&str], &str)] = &[
        (&["203.0.113.9"], "203.0.113.9"),
        (&["192.0.2.66, 203.0.113.9"], "203.0.113.9"),
        (&["192.0.2.66, 203.0.113.9, 10.0.0.1"], "203.0.113.9"),
        (&["192.0.2.66", "203.0.113.9", "10.0.0.1, 10.0.0.2"], "203.0.113.9"),
        (&["203.0.113.9,,"], "203.0.113.9"),
        (&["203.0.113.9:51000"], "203.0.113.9"),
        (&["2001:db8::9"], "2001:db8::9"),
        (&["[2001:db8::9]"], "2001:db8::9"),
        (&["[2001:db8::9]:51000"], "2001:db8::9"),
        (&["2001:db8::9%eth0"], "2001:db8::9"),
        (&["::ffff:203.0.113.9"], "203.0.113.9"),
        (&["::ffff:10.0.0.1"], "10.0.0.1"),
        (&["10.0.0.7, 10.0.0.1"], "10.0.0.7"),
        // Nobody is named: a forged entry further left must not be taken instead.
        (&["203.0.113.9, unknown"], "-"),
        (&["203.0.113.9, _hidden"], "-"),
        (&["203.0.113.9, unknown, 10.0.0.1"], "-"),
        (&["unknown"], "-"),
        (&[""], "-"),
        (&[" , "], "-"),
        (&["0.0.0.0"], "-"),
        (&["::"], "-"),
        (&["203.0.113.9:port"], "-"),
        (&["203.0.113.9:123456"], "-"),
        (&["203.0.113.999"], "-"),
        (&["203.0.113.09"], "-"),
        (&["[2001:db8::9"], "-"),
        (&["[2001:db8::9]x"], "-"),
        (&["[203.0.113.9]"], "-"),
        (&["203.0.113.9 10.0.0.1"], "-"),
        (&["\u{ff12}03.0.113.9"], "-"),
    ];
    let trust = trust(INSIDE, XFF);
    for (values, address) in table {
        let expected = if *address == "-" { Forwarding::Unnamed } else { Forwarding::Named };
        for from in ["127.0.0.1", "10.0.0.9", "::1", "::ffff:127.0.0.1", "unix"] {
            let told = told(&trust, from, &headers("x-forwarded-for", values));
            assert_eq!(told, ((*address).to_owned(), expected), "{values:?} from {from}");
        }
    }
}

#[test]
fn forwarded_is_read_whole_or_not_at_all() {
    let table: &[(&[&str], &str)] = &[
        (&["for=203.0.113.9"], "203.0.113.9"),
        (&["For=\"203.0.113.9\""], "203.0.113.9"),
        (&["for=203.0.113.9;proto=https;by=10.0.0.1"], "203.0.113.9"),
        (&["proto=https;for=203.0.113.9;host=\"a,b;c\""], "203.0.113.9"),
        (&["for=\"[2001:db8::1]:80\""], "2001:db8::1"),
        (&["for=\"[2001:db8::1]:_port\""], "2001:db8::1"),
        (&["for=\"203.0.113.9:80\""], "203.0.113.9"),
        (&["for=\"203.0.113.\\9\""], "203.0.113.9"),
        (&["for=192.0.2.66, for=203.0.113.9, for=10.0.0.1"], "203.0.113.9"),
        (&["for=192.0.2.66", "for=203.0.113.9"], "203.0.113.9"),
        (&["for=203.0.113.9,"], "203.0.113.9"),
        // Nobody.
        (&["for=unknown"], "-"),
        (&["for=_gazonk"], "-"),
        (&["for=\"_gazonk\""], "-"),
        (&["proto=https"], "-"),
        (&["for=192.0.2.66, proto=https"], "-"),
        // Malformed: no partial reading.
        (&["for=[2001:db8::1]:80"], "-"),
        (&["for=203.0.113.9:80"], "-"),
        (&["for=\"203.0.113.9"], "-"),
        (&["for=203.0.113.9;for=192.0.2.66"], "-"),
        (&["for =203.0.113.9"], "-"),
        (&["for= 203.0.113.9"], "-"),
        (&["203.0.113.9"], "-"),
        (&["for=203.0.113.9 for=192.0.2.66"], "-"),
        (&["garbage\", for=203.0.113.9"], "-"),
        (&["for=203.0.113.9;"], "-"),
        (&["for=\"203.0.113.9\\"], "-"),
        (&[""], "-"),
    ];
    let trust = trust(INSIDE, "Forwarded");
    for (values, address) in table {
        assert_eq!(told(&trust, "127.0.0.1", &headers("forwarded", values)).0, *address, "{values:?}");
    }
}

#[test]
fn a_walk_ends_at_its_bound() {
    let trust = trust(INSIDE, XFF);
    for (hops, address) in [(FORWARDED_HOPS - 1, "203.0.113.9"), (FORWARDED_HOPS, "-")] {
        let value = format!("203.0.113.9{}", ", 10.0.0.1".repeat(hops));
        assert_eq!(told(&trust, "127.0.0.1", &headers("x-forwarded-for", &[&value])).0, address);
    }
}

#[test]
fn a_trusted_proxy_that_names_nobody_is_never_the_visitor() {
    let table = [
        ("loopback", "127.0.0.1", "here"),
        ("loopback", "unix", "here"),
        ("docker", "172.17.0.1", "-"),
        ("cloudflare", "172.64.0.1", "-"),
        ("10.0.0.0/8", "10.0.0.1", "-"),
    ];
    for (proxies, from, address) in table {
        let trust = trust(proxies, XFF);
        assert_eq!(told(&trust, from, &HeaderMap::new()), (address.into(), Forwarding::Unnamed), "{proxies}");
    }
}

#[test]
fn presets_hold_what_they_name() {
    let table = [
        ("loopback", "127.9.9.9", true),
        ("loopback", "10.0.0.1", false),
        ("docker", "127.0.0.1", true),
        ("docker", "172.18.0.1", true),
        ("docker", "172.32.0.1", false),
        ("cloudflare", "104.16.1.1", true),
        ("cloudflare", "2606:4700::1", true),
        ("cloudflare", "127.0.0.1", true),
        ("cloudflare", "10.0.0.1", false),
        ("nobody", "127.0.0.1", false),
    ];
    for (preset, from, trusted) in table {
        let told = told(&trust(preset, XFF), from, &headers("x-forwarded-for", &["203.0.113.9"]));
        assert_eq!(told.1 == Forwarding::Named, trusted, "{preset} {from}");
    }
    let every = [LOOPBACK, DOCKER, CLOUDFLARE].concat();
    assert!(every.iter().all(|text| network(text).is_some()), "presets are networks");
}

#[test]
fn networks_are_cidrs_and_single_addresses() {
    assert_eq!(Networks::parse(&["10.0.0.0/8", "10.0.0.0/33"]).unwrap_err(), NotANetwork(1));
    let office = Networks::parse(&["192.0.2.0/24", "2001:db8::1"]).unwrap();
    for (address, held) in [("192.0.2.7", true), ("::ffff:192.0.2.7", true), ("2001:db8::1", true), ("2001:db8::2", false)] {
        assert_eq!(office.hold(&ClientIp::parse(address).unwrap()), held, "{address}");
    }
}
