//! Countries from databases of every layout, and the refusal of those that know too much. The databases are written here, by the format's description
//! (<https://maxmind.github.io/MaxMind-DB/>), with one record for the lower half of IPv4.

use super::*;
use crate::assets::{Asset, Assets};

/// A value of a database.
enum Value {
    Text(&'static str),
    Number(u32),
    Map(&'static [(&'static str, Value)]),
}

fn encode(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Text(text) => {
            assert!(text.len() < 29, "short texts only");
            out.push(0x40 | u8::try_from(text.len()).unwrap());
            out.extend(text.as_bytes());
        }
        Value::Number(number) => {
            out.push(0xc4);
            out.extend(number.to_be_bytes());
        }
        Value::Map(pairs) => {
            out.push(0xe0 | u8::try_from(pairs.len()).unwrap());
            for (key, value) in *pairs {
                encode(&Value::Text(key), out);
                encode(value, out);
            }
        }
    }
}

/// A database of one node: its left record is `record`, its right one is empty.
fn database(kind: &'static str, record: &Value) -> Vec<u8> {
    let mut bytes = vec![0, 0, 17, 0, 0, 1];
    bytes.extend([0; 16]);
    encode(record, &mut bytes);
    bytes.extend(b"\xab\xcd\xefMaxMind.com");
    bytes.push(0xe9);
    let mut field = |key: &'static str, value: &[u8]| {
        encode(&Value::Text(key), &mut bytes);
        bytes.extend(value);
    };
    field("binary_format_major_version", &[0xa1, 2]);
    field("binary_format_minor_version", &[0xa0]);
    field("build_epoch", &[0x04, 0x02, 0x6a, 0x1d, 0xec, 0x7a]);
    let mut name = Vec::new();
    encode(&Value::Text(kind), &mut name);
    field("database_type", &name);
    field("description", &[0xe0]);
    field("ip_version", &[0xa1, 4]);
    field("languages", &[0x00, 0x04]);
    field("node_count", &[0xc1, 1]);
    field("record_size", &[0xa1, 24]);
    bytes
}

const FLAT_DE: Value = Value::Map(&[("country_code", Value::Text("DE"))]);
const NESTED_FR: Value = Value::Map(&[("country", Value::Map(&[("iso_code", Value::Text("FR"))]))]);

fn country_of(geo: &Geo, address: &str) -> String {
    String::from_utf8(geo.country(&ClientIp::parse(address).unwrap()).0.to_vec()).unwrap()
}

#[test]
fn both_layouts_give_the_country_and_everything_else_is_unknown() {
    for (record, expected) in [(FLAT_DE, "DE"), (NESTED_FR, "FR"), (Value::Map(&[("country_code", Value::Text("nl"))]), "NL")] {
        let geo = Geo::from_bytes(database("country", &record)).unwrap();
        assert_eq!(country_of(&geo, "1.2.3.4"), expected);
        assert_eq!(country_of(&geo, "192.0.2.1"), "ZZ", "in no record");
        assert_eq!(country_of(&geo, "2001:db8::1"), "ZZ", "a database of IPv4 alone");
        assert_eq!(geo.built(), Some(0x6a1d_ec7a));
    }
    assert_eq!(country_of(&Geo::off(), "1.2.3.4"), "ZZ");
    assert_eq!(Geo::off().built(), None);
}

#[test]
fn a_database_that_knows_more_than_countries_is_refused() {
    let finer = |geo: Result<Geo, GeoError>| matches!(geo, Err(GeoError::FinerThanCountry(_)));
    for name in ["GeoLite2-City", "GeoIP2-Enterprise", "DBIP-ASN-Lite", "GeoIP2-ISP", "GeoIP2-Insights"] {
        assert!(finer(Geo::from_bytes(database(name, &FLAT_DE))), "{name}");
    }
    let records = [
        Value::Map(&[("country_code", Value::Text("DE")), ("city", Value::Text("Bonn"))]),
        Value::Map(&[("country", Value::Map(&[("iso_code", Value::Text("DE"))])), ("location", Value::Map(&[]))]),
        Value::Map(&[("country_code", Value::Text("DE")), ("autonomous_system_number", Value::Number(64_496))]),
        Value::Map(&[("country_code", Value::Text("DE")), ("latitude", Value::Number(5))]),
    ];
    for record in &records {
        assert!(finer(Geo::from_bytes(database("country", record))), "whatever it calls itself");
    }
    let text = GeoError::FinerThanCountry("city").to_string();
    assert!(text.contains("finest place"), "{text}");
}

#[test]
fn a_database_that_is_missing_or_damaged_says_so_at_the_start() {
    assert!(matches!(Geo::open(Path::new("/nonexistent/country.mmdb")), Err(GeoError::Unreadable(_))));
    let whole = database("country", &FLAT_DE);
    for bytes in [Vec::new(), b"not a database".to_vec(), whole[..whole.len() - 40].to_vec(), whole[..30].to_vec()] {
        assert!(matches!(Geo::from_bytes(bytes), Err(GeoError::Damaged)));
    }
    for record in [Value::Map(&[("name", Value::Text("Germany"))]), Value::Map(&[("country_code", Value::Text("DEU"))])] {
        assert!(matches!(Geo::from_bytes(database("country", &record)), Err(GeoError::NoCountries)));
    }
}

#[test]
fn the_pinned_databases_know_countries() {
    for asset in [Asset::Countries, Asset::OtherCountries] {
        let geo = Geo::open(&Assets::locate().path(asset).unwrap()).unwrap();
        for (address, country) in [
            ("8.8.8.8", "US"),
            ("85.214.132.117", "DE"),
            ("2a01:238::1", "DE"),
            ("192.168.1.1", "ZZ"),
            ("10.0.0.1", "ZZ"),
            ("127.0.0.1", "ZZ"),
            ("fd00::1", "ZZ"),
            ("::1", "ZZ"),
        ] {
            assert_eq!(country_of(&geo, address), country, "{asset:?} {address}");
        }
    }
}
