//! The scanner finds every form that it claims to find, and nothing where nothing is.

use super::*;

const V4: [&str; 2] = ["203.0.113.77", "198.51.100.23"];
const V6: &str = "2001:db8:4b1d:77a0:8a2e:370:7334:9f1c";
const AGENT: &str = "Mozilla/5.0 Zebrafinch/7.31";

fn scanner() -> Scanner {
    let addresses: Vec<IpAddr> = V4.iter().chain([&V6]).map(|address| address.parse().unwrap()).collect();
    Scanner::new(&addresses, &[AGENT])
}

fn found(bytes: &[u8]) -> BTreeSet<(String, Form)> {
    scanner().bytes("here", bytes).into_iter().map(|hit| (hit.secret, hit.form)).collect()
}

#[test]
fn every_written_form_is_found() {
    // Made with other programs than the scanner: python's base64, urllib, struct and int.from_bytes.
    for (text, secret, form) in [
        ("from 203.0.113.77:443", V4[0], Form::Text),
        ("77.113.0.203.in-addr.arpa", V4[0], Form::Reversed),
        ("77.311.0.302", V4[0], Form::Reversed),
        ("cb00714d", V4[0], Form::Hex),
        ("CB00714D", V4[0], Form::Hex),
        ("4d7100cb", V4[0], Form::Hex),
        ("3405803853", V4[0], Form::Decimal),
        ("1299251403", V4[0], Form::Decimal),
        ("%32%30%33%2E%30%2E%31%31%33%2E%37%37", V4[0], Form::Percent),
        ("MjAzLjAuMTEzLjc3", V4[0], Form::Base64),
        ("aXA9MjAzLjAuMTEzLjc3", V4[0], Form::Base64),
        ("aT0yMDMuMC4xMTMuNzc=", V4[0], Form::Base64),
        ("PTIwMy4wLjExMy43Nw==", V4[0], Form::Base64),
        ("203.0.113.0/24", V4[0], Form::Network),
        ("cb007100", V4[0], Form::Network),
        ("3405803776", V4[0], Form::Network),
        ("[2001:db8:4b1d:77a0:8a2e:370:7334:9f1c]:443", V6, Form::Text),
        ("2001:0db8:4b1d:77a0:8a2e:0370:7334:9f1c", V6, Form::Text),
        ("2001:DB8:4B1D:77A0:8A2E:370:7334:9F1C", V6, Form::OtherCase),
        ("20010db84b1d77a08a2e037073349f1c", V6, Form::Hex),
        ("2001:db8:4b1d:77a0::/64", V6, Form::Network),
        ("20010DB84B1D77A0", V6, Form::Network),
        ("2306139569375770528", V6, Form::Network),
        ("IAENuEsdd6CKLgNwczSfHA==", V6, Form::Base64),
        ("mozilla/5.0 zebrafinch/7.31", AGENT, Form::OtherCase),
        ("Mozilla%2F5.0%20Zebrafinch%2F7.31", AGENT, Form::Percent),
        ("13.7/hcnifarbeZ 0.5/allizoM", AGENT, Form::Reversed),
        ("4d6f7a696c6c612f352e30205a6562726166696e63682f372e3331", AGENT, Form::Hex),
        ("TW96aWxsYS81LjAgWmVicmFmaW5jaC83LjMx", AGENT, Form::Base64),
    ] {
        assert!(
            found(text.as_bytes()).contains(&(secret.to_owned(), form)),
            "{form:?} of {secret} in {text}: {:?}",
            found(text.as_bytes())
        );
    }
}

#[test]
fn packed_addresses_are_found_in_either_order() {
    for (bytes, form) in [
        ([[203, 0, 113, 77], [198, 51, 100, 23]], Form::Packed),
        ([[77, 113, 0, 203], [23, 100, 51, 198]], Form::PackedReversed),
        ([[203, 0, 113, 0], [198, 51, 100, 0]], Form::NetworkPacked),
    ] {
        let both = [b"....", &bytes[0][..], b"..", &bytes[1], b"."].concat();
        assert!(V4.iter().all(|secret| found(&both).contains(&((*secret).to_owned(), form))), "{form:?}");
        // One of them alone stands in random data, sooner or later.
        assert_eq!(found(&bytes[0]), BTreeSet::new());
    }
    let V6Octets { whole, half } = v6_octets();
    assert!(found(&whole).contains(&(V6.to_owned(), Form::Packed)));
    assert!(found(&half).contains(&(V6.to_owned(), Form::NetworkPacked)));
}

struct V6Octets {
    whole: Vec<u8>,
    half: Vec<u8>,
}

fn v6_octets() -> V6Octets {
    let IpAddr::V6(address) = V6.parse().unwrap() else { unreachable!("it is one of IPv6") };
    let whole = address.octets().to_vec();
    V6Octets { half: whole[..8].iter().rev().copied().collect(), whole }
}

#[test]
fn nothing_is_found_where_nothing_is() {
    let innocent = "Mozilla/5.0 (X11; Linux x86_64) 127.0.0.1 ::1 203.0.11.77 2001:db8::1 /path?q=1 3405803000".as_bytes();
    assert_eq!(found(innocent), BTreeSet::new());
    let all: Vec<u8> = (0..=u16::MAX).flat_map(u16::to_le_bytes).collect();
    assert_eq!(found(&all), BTreeSet::new());
}

#[test]
fn files_of_any_depth_are_read_and_columns_unpacked() {
    let folder = tempfile::tempdir().unwrap();
    let deep = folder.path().join("a/b");
    std::fs::create_dir_all(&deep).unwrap();
    let block = |text: &str| {
        let data = lz4_flex::block::compress(text.as_bytes());
        let (length, unpacked) = (u32::try_from(data.len() + 9).unwrap(), u32::try_from(text.len()).unwrap());
        [&[7; 16], &[0x82][..], &length.to_le_bytes(), &unpacked.to_le_bytes(), &data].concat()
    };
    // LZ4 writes what it has seen before as a distance, so the packed bytes hold no address.
    let packed = [block("nothing"), block("203.0.203.0.113.0.113.77.203.0.113.77")].concat();
    assert_eq!(scanner().bytes("packed", &packed), Vec::new());
    std::fs::write(deep.join("data.bin"), packed).unwrap();
    std::fs::write(folder.path().join("log"), AGENT).unwrap();
    let hits = scanner().tree(folder.path()).unwrap();
    assert!(hits.iter().any(|hit| hit.secret == V4[0] && hit.place.ends_with("a/b/data.bin")), "{hits:?}");
    assert!(hits.iter().any(|hit| hit.secret == AGENT && hit.place.ends_with("log")), "{hits:?}");
}
