//! `headcount token add|ls|revoke`: who besides the operator may look, and at which sites.

use std::io::{self, Write};

use crate::access::{AccessError, Grant, Role, Tokens};
use crate::clock::{Clock, UnixMillis, Zone};
use crate::config::Config;

/// A token to be made.
pub(super) struct Addition {
    /// What it is for.
    pub(super) role: Role,
    /// Which sites an analyst sees.
    pub(super) sites: Vec<String>,
    /// After how many days it ends; without it, when it is revoked.
    pub(super) days: Option<u32>,
}

/// Why nothing was changed.
#[derive(Debug, thiserror::Error)]
pub(super) enum TokenError {
    #[error(transparent)]
    Access(#[from] AccessError),
    #[error("an analyst sees the sites that are named: say --site, once for each")]
    NoSite,
    #[error("an admin sees every site: leave --site out, or say --role analyst")]
    SitesOfAdmin,
    #[error("the configuration has no site {0:?}")]
    UnknownSite(String),
    #[error("cannot print")]
    Print(#[from] io::Error),
}

/// Makes a token and prints it, with the link that opens the pages with it. It is not shown again.
pub(super) fn add(addition: Addition, config: &Config, out: &mut dyn Write) -> Result<(), TokenError> {
    let Addition { role, sites, days } = addition;
    match role {
        Role::Analyst if sites.is_empty() => return Err(TokenError::NoSite),
        Role::Admin if !sites.is_empty() => return Err(TokenError::SitesOfAdmin),
        Role::Analyst | Role::Admin | Role::Public => {}
    }
    if let Some(unknown) = sites.iter().find(|site| config.sites.find(site).is_none()) {
        return Err(TokenError::UnknownSite(unknown.clone()));
    }
    let now = Clock::system().now();
    let ends = days.map(|days| now.plus(u64::from(days) * 86_400_000));
    let token = Tokens::of(&config.data_dir).add(role, sites.into_iter().map(Into::into).collect(), now, ends)?;
    writeln!(out, "{token}\n")?;
    writeln!(out, "This is the only time that it is shown. It opens the pages at")?;
    writeln!(out, "  {}/?token={token}", config.private.url())?;
    writeln!(out, "and the API with the header `Authorization: Bearer ...`.")?;
    Ok(())
}

/// Lists the tokens: what they are called, what they allow, and how long.
pub(super) fn list(config: &Config, out: &mut dyn Write) -> Result<(), TokenError> {
    let now = Clock::system().now();
    writeln!(out, "id\trole\tsites\tmade\tends")?;
    for grant in Tokens::of(&config.data_dir).all()? {
        let ends = match grant.ends {
            None => "-".to_owned(),
            Some(ends) if grant.holds(now) => day(ends),
            Some(ends) => format!("{} (over)", day(ends)),
        };
        let Grant { id, role, sites, made, .. } = grant;
        let sites = if sites.is_empty() { "(all)".to_owned() } else { sites.join(",") };
        writeln!(out, "{id}\t{}\t{sites}\t{}\t{ends}", role.label(), day(made))?;
    }
    Ok(())
}

/// Ends a token.
pub(super) fn revoke(id: &str, config: &Config, out: &mut dyn Write) -> Result<(), TokenError> {
    Tokens::of(&config.data_dir).revoke(id)?;
    writeln!(out, "{id} is revoked: whoever comes with it is turned away, now.")?;
    Ok(())
}

pub(super) fn day(millis: i64) -> String {
    Zone::utc().day_of(UnixMillis(millis)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Overrides, Surroundings};

    fn config(name: &str) -> Config {
        let data_dir = std::env::temp_dir().join(format!("headcount-token-cli-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&data_dir);
        let overrides = Overrides { data_dir: Some(data_dir), ..Overrides::default() };
        Config::parse("[[site]]\nid = \"a.example\"", None, &overrides, &Surroundings::default()).unwrap()
    }

    fn printed(print: impl FnOnce(&mut dyn Write) -> Result<(), TokenError>) -> Result<String, String> {
        let mut out = Vec::new();
        print(&mut out).map_err(|error| error.to_string())?;
        Ok(String::from_utf8(out).unwrap())
    }

    fn of(role: Role, sites: &[&str], days: Option<u32>) -> Addition {
        Addition { role, sites: sites.iter().map(|site| (*site).to_owned()).collect(), days }
    }

    #[test]
    fn a_token_is_printed_once_listed_and_revoked() {
        let config = config("life");
        let told = printed(|out| add(of(Role::Analyst, &["a.example"], Some(30)), &config, out)).unwrap();
        let token = told.lines().next().unwrap();
        assert!(token.len() == 64 && told.contains(&format!("http://127.0.0.1:8081/?token={token}")), "{told}");
        let listed = printed(|out| list(&config, out)).unwrap();
        assert!(listed.contains("\tanalyst\ta.example\t") && !listed.contains(token), "{listed}");
        let id = listed.lines().nth(1).unwrap().split('\t').next().unwrap();
        printed(|out| revoke(id, &config, out)).unwrap();
        assert_eq!(printed(|out| list(&config, out)).unwrap().lines().count(), 1);
        std::fs::remove_dir_all(&config.data_dir).unwrap();
    }

    #[test]
    fn roles_and_sites_that_do_not_fit_are_refused() {
        let config = config("unfit");
        for (addition, told) in [
            (of(Role::Analyst, &[], None), "say --site"),
            (of(Role::Admin, &["a.example"], None), "leave --site out"),
            (of(Role::Analyst, &["b.example"], None), "no site \"b.example\""),
        ] {
            let error = printed(|out| add(addition, &config, out)).unwrap_err();
            assert!(error.contains(told), "{error}");
        }
        assert!(!config.data_dir.exists());
    }
}
