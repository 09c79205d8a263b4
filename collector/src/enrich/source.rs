//! Referrer, campaign tags and click id -> the name and the channel a visitor came by.
//!
//! The site's owner knows best, so campaign tags speak first; a referrer on the site itself is a step inside, not an arrival; then the table of known sources; whatever
//! is left is another site, under its own host.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::LazyLock;

use foldhash::fast::FixedState;

use super::known_sources::{Known, SOURCES};
use crate::event::{Campaign, Channel, Source};
use crate::site::{Hosts, Site};

/// Where a visitor of `site` came from.
///
/// `referrer` is the referring page's host (lower case, without a port) or an Android package; `page_host` is the host that was visited; `paid_click` says that the
/// page's address carried a click id of an advertising network.
pub(super) fn source<'a>(site: &Site, page_host: &str, referrer: Cow<'a, str>, campaign: &Campaign<'a>, paid_click: bool) -> Source<'a> {
    let referring = Arrival::of(site, page_host, &referrer);
    let medium = channel_of_medium(&campaign.medium);
    let tagged = !campaign.source.is_empty() || medium.is_some();
    if !tagged && matches!(referring, Arrival::Internal) {
        return Source { name: Cow::Borrowed(""), channel: Channel::Internal, referrer };
    }
    let tag = of_tag(&campaign.source);
    let name = match (&referring, tag) {
        (_, Some(known)) => Cow::Borrowed(known.name),
        (_, None) if !campaign.source.is_empty() => campaign.source.clone(),
        (Arrival::Known(known), None) => Cow::Borrowed(known.name),
        (Arrival::Elsewhere, None) => without_www(referrer.clone()),
        (Arrival::Internal | Arrival::Nowhere, None) => Cow::Borrowed(""),
    };
    let paid = paid_click.then_some(Channel::Paid);
    let channel = paid.or(medium).or(tag.map(|known| known.channel)).unwrap_or(match referring {
        Arrival::Known(known) => known.channel,
        Arrival::Nowhere if !tagged => Channel::Direct,
        Arrival::Elsewhere | Arrival::Internal | Arrival::Nowhere => Channel::Referral,
    });
    Source { name, channel, referrer }
}

/// What a referrer says by itself.
enum Arrival {
    /// Nothing.
    Nowhere,
    /// A page of the same site.
    Internal,
    /// A known source.
    Known(&'static Known),
    /// Some other site.
    Elsewhere,
}

impl Arrival {
    fn of(site: &Site, page_host: &str, referrer: &str) -> Self {
        let own = match &site.hosts {
            Hosts::Any => false,
            hosts @ Hosts::Listed(_) => hosts.admit(referrer),
        };
        if referrer.is_empty() {
            Self::Nowhere
        } else if own || referrer == page_host {
            Self::Internal
        } else {
            of_host(referrer).map_or(Self::Elsewhere, Self::Known)
        }
    }
}

/// The channel that `utm_medium` names. The words are those that advertising tools write by themselves or advise.
fn channel_of_medium(medium: &str) -> Option<Channel> {
    const MEDIA: &[(&str, Channel)] = &[
        ("affiliate", Channel::Paid),
        ("banner", Channel::Paid),
        ("cpa", Channel::Paid),
        ("cpc", Channel::Paid),
        ("cpm", Channel::Paid),
        ("cpv", Channel::Paid),
        ("display", Channel::Paid),
        ("ppc", Channel::Paid),
        ("remarketing", Channel::Paid),
        ("retargeting", Channel::Paid),
        ("sponsored", Channel::Paid),
        ("e-mail", Channel::Email),
        ("e_mail", Channel::Email),
        ("email", Channel::Email),
        ("mail", Channel::Email),
        ("newsletter", Channel::Email),
        ("sm", Channel::Social),
        ("social", Channel::Social),
        ("social-media", Channel::Social),
        ("social-network", Channel::Social),
        ("social_media", Channel::Social),
        ("social media", Channel::Social),
        ("organic_social", Channel::Social),
        ("organic-social", Channel::Social),
        ("organic", Channel::Search),
        ("ai", Channel::Assistant),
        ("llm", Channel::Assistant),
        ("referral", Channel::Referral),
    ];
    if medium.is_empty() {
        return None;
    }
    let starts_with_paid = medium.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("paid"));
    let listed = || MEDIA.iter().find(|(word, _)| medium.eq_ignore_ascii_case(word)).map(|(_, channel)| *channel);
    if starts_with_paid { Some(Channel::Paid) } else { listed() }
}

/// The known source that a campaign's `source` means: by its name, a tag of its own, or a host.
fn of_tag(tag: &str) -> Option<&'static Known> {
    if tag.is_empty() {
        return None;
    }
    let is_lower = !tag.bytes().any(|byte| byte.is_ascii_uppercase());
    let tag = if is_lower { Cow::Borrowed(tag) } else { Cow::Owned(tag.to_ascii_lowercase()) };
    BY_TAG.get(&*tag).copied().or_else(|| tag.contains('.').then(|| of_host(&tag)).flatten())
}

/// A table of constants: nobody can aim at it, so the quickest hash will do.
type Table = HashMap<Cow<'static, str>, &'static Known, FixedState>;

/// Known sources by their names and tags, in lower case; of two that share one, the first.
static BY_TAG: LazyLock<Table> = LazyLock::new(|| {
    let named = |known: &'static Known| std::iter::once(known.name).chain(known.tags.iter().copied()).map(move |name| (name, known));
    let backwards = SOURCES.iter().rev().flat_map(named);
    backwards.map(|(name, known)| (name.to_ascii_lowercase().into(), known)).collect()
});

/// Known sources by host, package, or the name before `.*`, with the star.
static BY_HOST: LazyLock<Table> =
    LazyLock::new(|| SOURCES.iter().flat_map(|known| known.hosts.iter().map(move |&host| (host.into(), known))).collect());

/// The known source that `host` (lower case) belongs to: itself, else the longest part of it that is listed.
fn of_host(host: &str) -> Option<&'static Known> {
    let parts = std::iter::successors(Some(host), |part| part.split_once('.').map(|(_, rest)| rest));
    parts.take(MOST_LABELS).find_map(|part| BY_HOST.get(part).copied().or_else(|| of_any_country(part)))
}

/// Labels of a host that are looked at, from the left: no known host has more in front of it in practice.
const MOST_LABELS: usize = 16;

/// The source listed as `name.*`, when `host` is that name under a country's domain (`google.de`, `google.co.uk`) or a general one, and nothing else.
fn of_any_country(host: &str) -> Option<&'static Known> {
    let (name, domain) = host.split_once('.')?;
    let country = |label: &str| label.len() == 2 && label.bytes().all(|byte| byte.is_ascii_lowercase());
    let public = match domain.split_once('.') {
        None => matches!(domain, "com" | "net" | "org") || country(domain),
        Some((second, last)) => matches!(second, "com" | "co" | "net" | "org") && country(last),
    };
    public.then(|| WITH_ANY_COUNTRY.get(name).copied()).flatten()
}

/// Known sources listed as `name.*`, by that name.
static WITH_ANY_COUNTRY: LazyLock<Table> = LazyLock::new(|| {
    let starred = |(host, known): (&'static str, &'static Known)| host.strip_suffix(".*").map(|name| (name.into(), known));
    SOURCES.iter().flat_map(|known| known.hosts.iter().map(move |&host| (host, known))).filter_map(starred).collect()
});

fn without_www(host: Cow<'_, str>) -> Cow<'_, str> {
    match host {
        Cow::Borrowed(host) => Cow::Borrowed(host.strip_prefix("www.").unwrap_or(host)),
        Cow::Owned(host) => Cow::Owned(host.strip_prefix("www.").map_or_else(|| host.clone(), str::to_owned)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::site::{Basis, Ceiling, Lowered, PathRules, Policy, ZoneIndex};

    fn site() -> Site {
        Site {
            id: "example.org".into(),
            index: 0,
            hosts: Hosts::Listed(vec!["example.org".into(), "shop.example".into()]),
            zone: ZoneIndex(0),
            policy: Policy {
                basis: Basis::Exempt(Ceiling::Pseudonymous),
                child_directed: false,
                on_gpc: Lowered::Drop,
                on_advertising_refused: Lowered::Anonymous,
            },
            paths: PathRules::default(),
            ignore_from: crate::privacy::proxy::Networks::default(),
            secret: None,
            debug: false,
            k: 5,
            declared: crate::site::declared::Declared::default(),
            share: false,
        }
    }

    fn of(referrer: &str, tag: &str, medium: &str, paid_click: bool) -> (String, &'static str) {
        let campaign = Campaign { source: tag.into(), medium: medium.into(), ..Campaign::default() };
        let source = source(&site(), "www.example.org", referrer.into(), &campaign, paid_click);
        (source.name.into_owned(), source.channel.label())
    }

    #[test]
    fn a_referrer_tells_name_and_channel() {
        for (referrer, name, channel) in [
            ("", "", "direct"),
            ("example.org", "", "internal"),
            ("blog.example.org", "", "internal"),
            ("shop.example", "", "internal"),
            ("www.google.com", "Google", "search"),
            ("google.de", "Google", "search"),
            ("www.google.co.uk", "Google", "search"),
            ("www.google.com.br", "Google", "search"),
            ("google.evil.com", "google.evil.com", "referral"),
            ("notgoogle.com", "notgoogle.com", "referral"),
            ("google.com.evil.example", "google.com.evil.example", "referral"),
            ("news.google.com", "Google News", "search"),
            ("mail.google.com", "Gmail", "email"),
            ("gemini.google.com", "Gemini", "ai_assistant"),
            ("yandex.ru", "Yandex", "search"),
            ("search.yahoo.co.jp", "Yahoo", "search"),
            ("duckduckgo.com", "DuckDuckGo", "search"),
            ("chatgpt.com", "ChatGPT", "ai_assistant"),
            ("www.perplexity.ai", "Perplexity", "ai_assistant"),
            ("claude.ai", "Claude", "ai_assistant"),
            ("l.facebook.com", "Facebook", "social"),
            ("t.co", "X", "social"),
            ("out.reddit.com", "Reddit", "social"),
            ("news.ycombinator.com", "Hacker News", "social"),
            ("www.pinterest.de", "Pinterest", "social"),
            ("com.google.android.gm", "Gmail", "email"),
            ("com.google.android.googlequicksearchbox", "Google", "search"),
            ("org.telegram.messenger", "Telegram", "social"),
            ("googleads.g.doubleclick.net", "Google Ads", "paid"),
            ("www.neighbour.example", "neighbour.example", "referral"),
            ("com.some.app", "com.some.app", "referral"),
            ("..", "..", "referral"),
        ] {
            assert_eq!(of(referrer, "", "", false), (name.to_owned(), channel), "{referrer}");
        }
    }

    #[test]
    fn campaign_tags_and_click_ids_speak_before_the_referrer() {
        for (referrer, tag, medium, click, name, channel) in [
            ("www.google.com", "google", "cpc", false, "Google", "paid"),
            ("www.google.com", "", "", true, "Google", "paid"),
            ("", "", "", true, "", "paid"),
            ("", "fb", "paid_social", false, "Facebook", "paid"),
            ("l.facebook.com", "spring", "social", false, "spring", "social"),
            ("", "weekly", "email", false, "weekly", "email"),
            ("", "newsletter", "", false, "Newsletter", "email"),
            ("", "chatgpt.com", "", false, "ChatGPT", "ai_assistant"),
            ("", "IG", "", false, "Instagram", "social"),
            ("", "partner", "", false, "partner", "referral"),
            ("", "", "Newsletter", false, "", "email"),
            ("www.bing.com", "partner", "", false, "partner", "search"),
            ("blog.example.org", "partner", "banner", false, "partner", "paid"),
            ("blog.example.org", "", "", true, "", "internal"),
        ] {
            assert_eq!(of(referrer, tag, medium, click), (name.to_owned(), channel), "{referrer} {tag} {medium} {click}");
        }
    }

    #[test]
    fn a_host_is_listed_once_and_in_lower_case() {
        let mut hosts: Vec<&str> = SOURCES.iter().flat_map(|known| known.hosts.iter().copied()).collect();
        assert!(hosts.len() >= 150);
        assert!(hosts.iter().all(|host| !host.bytes().any(|byte| byte.is_ascii_uppercase() || byte == b'/' || byte == b':')));
        hosts.sort_unstable();
        assert!(hosts.windows(2).all(|pair| pair[0] != pair[1]), "{:?}", hosts.windows(2).find(|pair| pair[0] == pair[1]));
    }

    #[test]
    fn a_campaign_name_means_one_source() {
        let mut names: Vec<String> =
            SOURCES.iter().flat_map(|known| known.tags.iter().chain([&known.name])).map(|tag| tag.to_lowercase()).collect();
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "{:?}", names.windows(2).find(|pair| pair[0] == pair[1]));
    }
}
