//! `headcount share add|ls|revoke`: links to the closed days of a site, for everybody who has one.

use std::io::{self, Write};

use super::token::day;
use crate::access::{AccessError, Role, Tokens};
use crate::clock::Clock;
use crate::config::Config;
use crate::limits::SHARE_K;

/// Why nothing was changed.
#[derive(Debug, thiserror::Error)]
pub(super) enum ShareError {
    #[error(transparent)]
    Access(#[from] AccessError),
    #[error("the configuration has no site {0:?}")]
    UnknownSite(String),
    #[error("the site {0:?} allows no links: say `share = true` in its [[site]]; the running collector takes it over with SIGHUP")]
    NotShared(String),
    #[error("cannot print")]
    Print(#[from] io::Error),
}

/// Makes a link and prints it. It is not shown again.
pub(super) fn add(site: &str, days: Option<u32>, config: &Config, out: &mut dyn Write) -> Result<(), ShareError> {
    let found = config.sites.find(site).ok_or_else(|| ShareError::UnknownSite(site.to_owned()))?;
    if !found.share {
        return Err(ShareError::NotShared(site.to_owned()));
    }
    let now = Clock::system().now();
    let ends = days.map(|days| now.plus(u64::from(days) * 86_400_000));
    let token = Tokens::shares(&config.data_dir).add(Role::Public, vec![site.into()], now, ends)?;
    writeln!(out, "{}/share/{token}\n", config.visitors_url())?;
    writeln!(out, "This is the only time that it is shown. Whoever has it sees the closed days of {site}, and of them what")?;
    writeln!(out, "{} visitors of a day or more share.", found.k.max(SHARE_K))?;
    Ok(())
}

/// Lists the links: what they are called, of which site, how long, and whether they open anything.
pub(super) fn list(config: &Config, out: &mut dyn Write) -> Result<(), ShareError> {
    let now = Clock::system().now();
    writeln!(out, "id\tsite\tmade\tends\topens")?;
    for grant in Tokens::shares(&config.data_dir).all()? {
        let ends = grant.ends.map_or_else(|| "-".to_owned(), day);
        let site = grant.sites.join(",");
        let allowed = config.sites.find(&site).is_some_and(|site| site.share);
        let opens = match (grant.holds(now), allowed) {
            (false, _) => "no: it is over",
            (true, false) => "no: the site does not say `share = true`",
            (true, true) => "yes",
        };
        writeln!(out, "{}\t{site}\t{}\t{ends}\t{opens}", grant.id, day(grant.made))?;
    }
    Ok(())
}

/// Ends a link.
pub(super) fn revoke(id: &str, config: &Config, out: &mut dyn Write) -> Result<(), ShareError> {
    Tokens::shares(&config.data_dir).revoke(id)?;
    writeln!(out, "{id} is revoked: whoever comes by it finds nothing, from now on.")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Overrides, Surroundings};

    fn printed(print: impl FnOnce(&mut dyn Write) -> Result<(), ShareError>) -> Result<String, String> {
        let mut out = Vec::new();
        print(&mut out).map_err(|error| error.to_string())?;
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn a_link_is_made_for_a_site_that_allows_it_printed_once_listed_and_revoked() {
        let data_dir = std::env::temp_dir().join(format!("headcount-share-cli-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&data_dir);
        let overrides = Overrides { data_dir: Some(data_dir), ..Overrides::default() };
        let config = |text: &str| Config::parse(text, None, &overrides, &Surroundings::default()).unwrap();
        let shared = config(
            "[public]\nurl = \"https://x.example\"\nbase_path = \"/hc\"\n[[site]]\nid = \"a.example\"\nk = 20\nshare = true\n[[site]]\nid = \"b.example\"",
        );
        for (site, told) in [("b.example", "say `share = true`"), ("c.example", "no site \"c.example\"")] {
            let error = printed(|out| add(site, None, &shared, out)).unwrap_err();
            assert!(error.contains(told), "{error}");
        }
        let told = printed(|out| add("a.example", Some(30), &shared, out)).unwrap();
        let token = told.lines().next().unwrap().strip_prefix("https://x.example/hc/share/").unwrap();
        assert!(token.len() == 64 && told.contains("20 visitors of a day"), "{told}");
        let listed = printed(|out| list(&shared, out)).unwrap();
        assert!(listed.contains("\ta.example\t") && listed.ends_with("\tyes\n") && !listed.contains(token), "{listed}");
        let off = config("[[site]]\nid = \"a.example\"");
        assert!(printed(|out| list(&off, out)).unwrap().contains("no: the site does not say"));
        let id = listed.lines().nth(1).unwrap().split('\t').next().unwrap();
        printed(|out| revoke(id, &shared, out)).unwrap();
        assert_eq!(printed(|out| list(&shared, out)).unwrap().lines().count(), 1);
        let again = printed(|out| revoke(id, &shared, out)).unwrap_err();
        assert_eq!(again, format!("there is no link {id:?} (`headcount share ls` lists them)"));
        std::fs::remove_dir_all(&shared.data_dir).unwrap();
    }
}
