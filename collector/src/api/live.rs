//! `GET /v1/realtime` and `GET /v1/outcomes`: the last half hour of a site, and what was not counted.

use serde_json::{Value, json};

use super::answer::allowed;
use super::refusal::{Reason, Refusal};
use super::{Api, period, tables};
use crate::access::Access;
use crate::outcome::Outcome;

/// The last half hour: whole-site figures alone.
pub(super) async fn realtime(api: &Api, access: &Access, query: &str) -> Result<Value, Refusal> {
    let [site] = parameters(query, ["site"])?;
    let sites = (api.sites)();
    let site = allowed(&sites, access, &site)?;
    let now = api.clock.now();
    let (zone, today) = (sites.zone(site.zone).name(), sites.day_of(site, now));
    let half_hour = tables::half_hour(&api.client, zone, &site.id, (now, today)).await?;
    let tables::HalfHour { visitors, pageviews, minutes } = half_hour;
    Ok(json!({ "site": site.id, "at": now.0, "visitors": visitors, "pageviews": pageviews, "minutes": minutes }))
}

/// How many events were not counted, by reason.
pub(super) async fn outcomes(api: &Api, access: &Access, query: &str) -> Result<Value, Refusal> {
    let [site, from, to] = parameters(query, ["site", "from", "to"])?;
    let sites = (api.sites)();
    let site = allowed(&sites, access, &site)?;
    let days = period::range(&json!({ "from": from, "to": to }), sites.day_of(site, api.clock.now()))?;
    let counted: Vec<&str> = Outcome::all().filter(|outcome| outcome.family() == "accepted").map(Outcome::label).collect();
    let reader = tables::Reader::of(api).await;
    let rows = tables::outcomes(&reader, (sites.zone(site.zone).name(), &site.id), days, &counted).await?;
    Ok(json!({ "rows": rows }))
}

/// The parameters of a query string: each there, each once, and no other.
fn parameters<const COUNT: usize>(query: &str, names: [&'static str; COUNT]) -> Result<[String; COUNT], Refusal> {
    let mut found = [const { None }; COUNT];
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let Some(index) = names.iter().position(|own| **own == *name) else {
            return Err(Refusal::of(Reason::UnknownField).allowing(names));
        };
        if found[index].replace(value.into_owned()).is_some() {
            return Err(Refusal::at(names[index], Reason::Repeated));
        }
    }
    match found.iter().position(Option::is_none) {
        Some(missing) => Err(Refusal::at(names[missing], Reason::Missing)),
        None => Ok(found.map(Option::unwrap_or_default)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_there_once_and_no_others() {
        assert_eq!(parameters("from=a&site=b%20c", ["site", "from"]), Ok(["b c".to_owned(), "a".to_owned()]));
        for (query, field, reason) in [
            ("site=a", "from", Reason::Missing),
            ("site=a&site=b&from=c", "site", Reason::Repeated),
            ("site=a&from=b&till=c", "", Reason::UnknownField),
        ] {
            let refusal = parameters(query, ["site", "from"]).unwrap_err();
            assert_eq!((refusal.field.as_str(), refusal.reason), (field, reason), "{query}");
        }
    }
}
