//! Address -> country, and nothing finer.
//!
//! The database is read into memory as a whole: it is 8 MB, a lookup then never waits for a disk, and a file that is replaced or cut short under a running
//! process cannot harm it, as it would a memory map (SIGBUS). A lookup result of the library holds the address; it ends in this file.

use std::path::Path;

use maxminddb::{MaxMindDbError, PathElement, Reader};

use super::proxy::is_private;
use super::raw::ClientIp;
use crate::event::Country;
use crate::leak;

/// Where a country code stands in a record: flat (`ip-location-db`) or nested (MaxMind, DB-IP).
const FLAT: &[PathElement<'static>] = &[PathElement::Key("country_code")];
const NESTED: &[PathElement<'static>] = &[PathElement::Key("country"), PathElement::Key("iso_code")];

/// Fields of records that tell more than a country. A database with any of them is refused, whatever it calls itself.
const FINER: &[&str] = &[
    "city",
    "subdivisions",
    "postal",
    "location",
    "state1",
    "state2",
    "postcode",
    "latitude",
    "longitude",
    "timezone",
    "region",
    "state",
    "autonomous_system_number",
    "autonomous_system_organization",
    "isp",
    "organization",
    "asn",
    "traits",
];

/// Words in a database's own name that promise more than a country.
const FINER_NAMES: &[&str] = &["city", "enterprise", "isp", "asn", "insights", "domain", "connection", "anonymous"];

/// Records that are looked at when a database is opened.
const SAMPLE: usize = 4_096;

/// Countries by address, or none.
pub struct Geo(Option<Database>);

struct Database {
    reader: Reader<Vec<u8>>,
    layout: &'static [PathElement<'static>],
}

/// Why a country database cannot be used. Found at the start, before any address is looked up.
#[derive(Debug, thiserror::Error)]
pub enum GeoError {
    /// The file cannot be read.
    #[error("the country database cannot be read")]
    Unreadable(#[source] std::io::Error),
    /// The file is no MaxMind database, or a damaged one.
    #[error("the country database is damaged or no MaxMind database (.mmdb)")]
    Damaged,
    /// No record has a country in a known place.
    #[error("the country database has neither country_code nor country.iso_code in its records")]
    NoCountries,
    /// It holds more than countries.
    #[error("the database holds {0}: Headcount promises that a country is the finest place it can know; use a country database")]
    FinerThanCountry(&'static str),
}

impl Geo {
    /// No database: every country is unknown (`geo = "off"`).
    pub fn off() -> Self {
        Self(None)
    }

    /// Reads the database at `path`, finds its layout and refuses one that knows more than countries.
    pub fn open(path: &Path) -> Result<Self, GeoError> {
        let bytes = std::fs::read(path).map_err(GeoError::Unreadable)?;
        Self::from_bytes(bytes)
    }

    fn from_bytes(bytes: Vec<u8>) -> Result<Self, GeoError> {
        let reader = Reader::from_source(bytes).map_err(|_| GeoError::Damaged)?;
        let name = reader.metadata().database_type.to_ascii_lowercase();
        let finer = if leak::planted("city_accepted") { &[] } else { FINER_NAMES };
        if let Some(word) = finer.iter().find(|word| name.contains(**word)) {
            return Err(GeoError::FinerThanCountry(word));
        }
        let layout = inspect(&reader)?;
        Ok(Self(Some(Database { reader, layout })))
    }

    /// The country of `address`; unknown when it is in no record, or in one that is damaged. A private address is nowhere, whatever a database says of it.
    pub(super) fn country(&self, address: &ClientIp) -> Country {
        let database = self.0.as_ref().filter(|_| !is_private(address.0));
        database.and_then(|database| database.find(address)).unwrap_or(Country::UNKNOWN)
    }

    /// The country of an IPv4 address that nobody has: for the demonstration, which makes its visitors up.
    pub fn country_of(&self, made_up: u32) -> Country {
        self.country(&ClientIp(std::net::Ipv4Addr::from(made_up).into()))
    }

    /// When the database was built, in seconds since 1970: for the metric of its age.
    pub fn built(&self) -> Option<u64> {
        self.0.as_ref().map(|database| database.reader.metadata().build_epoch)
    }
}

impl Database {
    fn find(&self, address: &ClientIp) -> Option<Country> {
        let record = self.reader.lookup(address.0).ok()?;
        country(record.decode_path::<&str>(self.layout).ok()??)
    }
}

/// Two letters in upper case, but for `ZZ`.
fn country(code: &str) -> Option<Country> {
    let code: [u8; 2] = code.as_bytes().try_into().ok()?;
    code.iter().all(u8::is_ascii_alphabetic).then(|| Country(code.map(|letter| letter.to_ascii_uppercase())))
}

/// Looks at the first records: every one must be readable, one must have a country, none anything finer.
fn inspect(reader: &Reader<Vec<u8>>) -> Result<&'static [PathElement<'static>], GeoError> {
    let damaged = |_: MaxMindDbError| GeoError::Damaged;
    let mut layout = None;
    for record in reader.networks(maxminddb::WithinOptions::default()).map_err(damaged)?.take(SAMPLE) {
        let record = record.map_err(damaged)?;
        for field in if leak::planted("city_accepted") { &[] } else { FINER } {
            if record.decode_path::<serde::de::IgnoredAny>(&[PathElement::Key(field)]).map_err(damaged)?.is_some() {
                return Err(GeoError::FinerThanCountry(field));
            }
        }
        for candidate in [FLAT, NESTED] {
            if layout.is_none() && record.decode_path::<&str>(candidate).ok().flatten().and_then(country).is_some() {
                layout = Some(candidate);
            }
        }
    }
    layout.ok_or(GeoError::NoCountries)
}

#[cfg(test)]
mod tests;
