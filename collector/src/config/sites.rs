//! `[[site]]` -> [`Sites`]: ids, hosts, zones and policies.

use super::build::{networks_of, quoted};
use super::declared;
use super::fault::{Fault, Promise};
use super::written;
use crate::clock::Zone;
use crate::leak;
use crate::limits;
use crate::privacy::proxy::Networks;
use crate::privacy::secret::SecretHash;
use crate::site::declared::Declared;
use crate::site::{Basis, Ceiling, DEMONSTRATION, Hosts, Lowered, PathRules, Policy, Site, Sites, ZoneIndex};

type Judged<T> = Result<T, Fault>;

/// The site that is there while none is configured: pages on this machine may send for it, and nobody else.
const LOCAL_SITE: &str = "localhost";
const LOCAL_HOSTS: [&str; 4] = ["localhost", "127.0.0.1", "[::1]", "::1"];

/// The sites of a file, in its order, or this machine's when it names none; and the demonstration, whose pages are on `office` too, the host at which the
/// private listener is reached.
pub(super) fn build(written: Vec<written::Site>, office: &str) -> Judged<Sites> {
    let mut zones = Zones::default();
    let mut sites: Vec<Site> = Vec::with_capacity(written.len() + 1);
    for (index, entry) in written.into_iter().enumerate() {
        let site = site(entry, index, &mut zones).map_err(|fault| fault.in_site(index))?;
        if sites.iter().any(|other| other.id == site.id) {
            return Err(Fault::of("id", quoted(&site.id), "must not stand twice").in_site(index));
        }
        sites.push(site);
    }
    if sites.is_empty() {
        sites.push(unconfigured(LOCAL_SITE, 0, zones.index_of("UTC")?, &LOCAL_HOSTS));
    }
    // Its days stay what they were when a first site is added; only where no zone is left, they are the first site's.
    let zone = zones.index_of("UTC").unwrap_or(sites[0].zone);
    sites.push(unconfigured(DEMONSTRATION, sites.len(), zone, &[&LOCAL_HOSTS[..], &[office]].concat()));
    Ok(Sites::new(sites, zones.0))
}

fn unconfigured(id: &str, index: usize, zone: ZoneIndex, hosts: &[&str]) -> Site {
    Site {
        id: id.into(),
        index,
        hosts: Hosts::Listed(hosts.iter().map(|host| Box::from(*host)).collect()),
        zone,
        policy: Policy {
            basis: Basis::Exempt(Ceiling::Pseudonymous),
            child_directed: false,
            on_gpc: Lowered::Drop,
            on_advertising_refused: Lowered::Anonymous,
        },
        paths: PathRules::default(),
        ignore_from: Networks::default(),
        secret: None,
        debug: true,
        k: limits::SITE_K.1,
        declared: Declared::default(),
        share: false,
    }
}

fn site(written: written::Site, index: usize, zones: &mut Zones) -> Judged<Site> {
    let id = id(written.id)?;
    let hosts = hosts(&id, written.hosts, written.any_host)?;
    let declared = declared::Written {
        goals: written.goal,
        funnels: written.funnel,
        properties: written.properties,
        cubes: written.cubes,
        detail: written.detail,
    };
    let site = Site {
        index,
        hosts,
        zone: zones.index_of(written.timezone.as_deref().unwrap_or("UTC"))?,
        policy: Policy {
            basis: basis(&written.consent)?,
            child_directed: written.child_directed,
            on_gpc: lowered("gpc", written.gpc.as_deref(), Lowered::Drop)?,
            on_advertising_refused: lowered("advertising", written.advertising.as_deref(), Lowered::Anonymous)?,
        },
        paths: PathRules {
            routes: patterns("routes", written.routes)?,
            keep: patterns("path_keep", written.path_keep)?,
            query: query_names(written.query_keep)?,
        },
        ignore_from: networks_of("ignore_from", &written.ignore_from)?,
        secret: written.secret_sha256.as_deref().map(secret).transpose()?,
        debug: written.debug,
        k: threshold(written.k)?,
        declared: declared::build(declared)?,
        share: written.share,
        id,
    };
    if !site.has_ids() && !site.declared.funnels.is_empty() {
        return Err(Fault::about(
            "funnel",
            "has no meaning with consent.ceiling = \"anonymous\": without ids there are no visits to follow",
        ));
    }
    Ok(site)
}

fn id(written: Option<String>) -> Judged<Box<str>> {
    let allowed = "must be the site's domain (or another name of a-z, 0-9, - . _), in lower case; international names in their xn-- form";
    let id = written.ok_or_else(|| Fault::about("id", allowed))?;
    if id == DEMONSTRATION {
        return Err(Fault::of("id", quoted(&id), "must be another: this is the demonstration's, which is there without being configured"));
    }
    if is_host_like(&id) { Ok(id.into()) } else { Err(Fault::of("id", quoted(&id), allowed)) }
}

/// The id is the first host: most sites need to name no other.
fn hosts(id: &str, written: Vec<String>, any_host: bool) -> Judged<Hosts> {
    if any_host && !written.is_empty() {
        return Err(Fault::about("any_host", "has no meaning together with hosts: leave one of them out"));
    }
    if any_host {
        return Ok(Hosts::Any);
    }
    let mut hosts = vec![Box::from(id)];
    for host in written {
        let lower = host.to_ascii_lowercase();
        if !is_host_like(&lower) {
            let allowed = "must be a host such as www.example.org, without a scheme, a port or a path; its subdomains belong to it";
            return Err(Fault::of("hosts", quoted(&host), allowed));
        }
        hosts.push(lower.into());
    }
    Ok(Hosts::Listed(hosts))
}

fn is_host_like(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-._".contains(&byte);
    (1..=limits::SITE_BYTES).contains(&text.len()) && text.bytes().all(allowed) && !text.starts_with('.') && !text.ends_with('.')
}

fn basis(written: &written::Consent) -> Judged<Basis> {
    match written.mode.as_deref() {
        None | Some("exempt") if written.without.is_some() => {
            Err(Fault::about("consent.without", "has a meaning only with consent.mode = \"consent\""))
        }
        None | Some("exempt") => match written.ceiling.as_deref() {
            None | Some("pseudonymous") => Ok(Basis::Exempt(Ceiling::Pseudonymous)),
            Some("anonymous") => Ok(Basis::Exempt(Ceiling::Anonymous)),
            Some(other) => Err(Fault::of("consent.ceiling", quoted(other), "must be \"pseudonymous\" or \"anonymous\"")),
        },
        Some("consent") if written.ceiling.is_some() => {
            Err(Fault::about("consent.ceiling", "has a meaning only with consent.mode = \"exempt\""))
        }
        Some("consent") => lowered("consent.without", written.without.as_deref(), Lowered::Drop).map(Basis::Consent),
        Some(other) => Err(Fault::of("consent.mode", quoted(other), "must be \"exempt\" or \"consent\"")),
    }
}

fn lowered(key: &str, written: Option<&str>, default: Lowered) -> Judged<Lowered> {
    match written {
        None => Ok(default),
        Some("drop") => Ok(Lowered::Drop),
        Some("anonymous") => Ok(Lowered::Anonymous),
        Some(other) => Err(Fault::of(key, quoted(other), "must be \"drop\" or \"anonymous\"")),
    }
}

fn patterns(key: &str, written: Vec<String>) -> Judged<Vec<Box<str>>> {
    bounded(key, written, |pattern| {
        let well_formed = pattern.starts_with('/') && pattern.len() <= limits::PATH_BYTES && !pattern.contains(['?', '#']);
        if !well_formed {
            return Err(Fault::of(key, quoted(pattern), "must be a path whose parts may be *, such as /user/*/orders"));
        }
        if pattern.trim_matches(['/', '*']).is_empty() && !leak::planted("widening_accepted") {
            return Err(Fault::of(key, quoted(pattern), "must not be every path of the site").breaking(Promise::NothingRaw));
        }
        Ok(())
    })
}

fn query_names(written: Vec<String>) -> Judged<Vec<Box<str>>> {
    bounded("query_keep", written, |name| {
        if name.contains('*') && !leak::planted("widening_accepted") {
            return Err(Fault::of("query_keep", quoted(name), "must be a parameter's full name").breaking(Promise::QueryByName));
        }
        let well_formed = (1..=limits::PROP_KEY_BYTES).contains(&name.len()) && !name.contains(['&', '=', '#', '%', '+']);
        if well_formed { Ok(()) } else { Err(Fault::of("query_keep", quoted(name), "must be a parameter's name such as page")) }
    })
}

fn bounded(key: &str, written: Vec<String>, judge: impl Fn(&str) -> Judged<()>) -> Judged<Vec<Box<str>>> {
    if written.len() > limits::SITE_RULES {
        return Err(Fault::of(key, format!("{} entries", written.len()), format!("must be at most {} entries", limits::SITE_RULES)));
    }
    written.into_iter().map(|text| judge(&text).map(|()| text.into())).collect()
}

/// One visitor is never a group: a threshold that shows single visitors is refused.
fn threshold(written: Option<i64>) -> Judged<u16> {
    let (least, default, most) = limits::SITE_K;
    let Some(written) = written else { return Ok(default) };
    match u16::try_from(written) {
        Ok(k) if (least..=most).contains(&k) || leak::planted("widening_accepted") => Ok(k),
        _ => {
            let fault = Fault::of("k", written, format!("must be {least} to {most}"));
            Err(if written < i64::from(least) { fault.breaking(Promise::NoSmallCounts) } else { fault })
        }
    }
}

fn secret(written: &str) -> Judged<SecretHash> {
    SecretHash::from_hex(written).ok_or_else(|| {
        // The value may be the secret itself, by mistake: it is not repeated.
        Fault::about("secret_sha256", "must be 64 hexadecimal digits: what `printf %s \"$SECRET\" | sha256sum` prints")
    })
}

/// The zones named so far, each once.
#[derive(Default)]
struct Zones(Vec<Zone>);

impl Zones {
    fn index_of(&mut self, name: &str) -> Judged<ZoneIndex> {
        let zone = Zone::named(name)
            .map_err(|_| Fault::of("timezone", quoted(name), "must be a name of the IANA time zone database, such as Europe/Berlin"))?;
        let position = self.0.iter().position(|known| known.name() == zone.name()).unwrap_or_else(|| {
            self.0.push(zone);
            self.0.len() - 1
        });
        match u8::try_from(position) {
            Ok(index) if position < limits::ZONES => Ok(ZoneIndex(index)),
            _ => {
                let allowed =
                    format!("must be one of the first {} zones of this file: each costs partitions in every table", limits::ZONES);
                Err(Fault::of("timezone", quoted(name), allowed))
            }
        }
    }
}
