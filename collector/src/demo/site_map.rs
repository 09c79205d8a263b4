//! The made-up site, a shop for an app that keeps notes: its pages, where they lead, what can be done on them; the app's screens; and where visitors come from.

/// What a visitor can do on a page, beside reading it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Deed {
    /// Nothing that is counted.
    Read,
    /// An event with one property.
    Event {
        /// How many of a thousand views lead to it.
        per_mille: u64,
        name: &'static str,
        key: &'static str,
        values: &'static [&'static str],
    },
    /// The same, and money is paid.
    Purchase { per_mille: u64 },
}

/// What is bought: the plan, and its price in units of any currency.
pub(super) const PLANS: &[(&str, u64)] = &[("personal", 39), ("personal", 39), ("personal", 39), ("team", 180), ("family", 69)];

/// A page.
#[derive(Debug)]
pub(super) struct Page {
    pub path: &'static str,
    /// How often a visit that was sent nowhere in particular begins here.
    pub entries: u64,
    /// How often somebody who searched for something begins here.
    pub found: u64,
    /// Seconds that it takes to read.
    pub seconds: u64,
    /// Where it leads, by path and weight.
    pub links: &'static [(&'static str, u64)],
    pub deed: Deed,
}

const fn page(path: &'static str, [entries, found, seconds]: [u64; 3], deed: Deed, links: &'static [(&'static str, u64)]) -> Page {
    Page { path, entries, found, seconds, links, deed }
}

const NEWSLETTER: Deed = Deed::Event { per_mille: 38, name: "newsletter", key: "place", values: &["below the text", "in the margin"] };
const HELPFUL: Deed = Deed::Event { per_mille: 70, name: "feedback", key: "helpful", values: &["yes", "yes", "yes", "no"] };
const BLOG: &[(&str, u64)] = &[("/blog", 40), ("/", 25), ("/features", 20), ("/pricing", 15)];
const DOCS: &[(&str, u64)] =
    &[("/docs", 30), ("/docs/getting-started", 20), ("/docs/sync", 15), ("/docs/shortcuts", 12), ("/docs/api", 10), ("/pricing", 13)];

/// Every page. A path that a link names is one of these.
pub(super) const PAGES: &[Page] = &[
    page(
        "/",
        [520, 210, 60],
        Deed::Read,
        &[("/features", 30), ("/pricing", 30), ("/download", 15), ("/docs", 10), ("/blog", 10), ("/about", 5)],
    ),
    page("/features", [50, 70, 90], Deed::Read, &[("/pricing", 45), ("/download", 25), ("/features/sync", 18), ("/features/sharing", 12)]),
    page("/features/sync", [5, 30, 70], Deed::Read, &[("/pricing", 40), ("/features/sharing", 30), ("/docs/sync", 30)]),
    page("/features/sharing", [5, 20, 70], Deed::Read, &[("/pricing", 60), ("/features", 40)]),
    page(
        "/pricing",
        [90, 40, 75],
        Deed::Event { per_mille: 180, name: "plans compared", key: "billing", values: &["monthly", "yearly", "yearly"] },
        &[("/signup", 42), ("/features", 22), ("/docs", 12), ("/", 12), ("/contact", 12)],
    ),
    page(
        "/signup",
        [18, 5, 50],
        Deed::Event { per_mille: 430, name: "signup", key: "plan", values: &["free", "free", "free", "personal", "team"] },
        &[("/checkout", 45), ("/docs/getting-started", 35), ("/", 20)],
    ),
    page("/checkout", [2, 0, 80], Deed::Purchase { per_mille: 560 }, &[("/docs/getting-started", 60), ("/download", 40)]),
    page(
        "/download",
        [70, 60, 40],
        Deed::Event { per_mille: 480, name: "download", key: "system", values: &["Windows", "Windows", "macOS", "macOS", "Linux"] },
        &[("/docs/getting-started", 60), ("/pricing", 40)],
    ),
    page(
        "/docs",
        [50, 60, 40],
        Deed::Event { per_mille: 120, name: "search", key: "found", values: &["something", "something", "nothing"] },
        DOCS,
    ),
    page("/docs/getting-started", [40, 110, 150], HELPFUL, DOCS),
    page("/docs/sync", [10, 80, 130], HELPFUL, DOCS),
    page("/docs/shortcuts", [10, 90, 80], HELPFUL, DOCS),
    page("/docs/api", [15, 50, 190], HELPFUL, DOCS),
    page("/docs/import", [5, 60, 110], HELPFUL, DOCS),
    page(
        "/blog",
        [40, 15, 40],
        Deed::Read,
        &[("/blog/notes-that-last", 34), ("/blog/plain-text", 28), ("/blog/counting-without-watching", 22), ("/", 16)],
    ),
    page("/blog/notes-that-last", [25, 90, 210], NEWSLETTER, BLOG),
    page("/blog/plain-text", [20, 120, 240], NEWSLETTER, BLOG),
    page("/blog/counting-without-watching", [15, 45, 260], NEWSLETTER, BLOG),
    page("/blog/team-plan", [5, 5, 120], NEWSLETTER, &[("/pricing", 60), ("/signup", 25), ("/blog", 15)]),
    page("/changelog", [35, 10, 60], Deed::Read, &[("/download", 55), ("/blog", 45)]),
    page("/about", [12, 12, 50], Deed::Read, &[("/", 50), ("/blog", 30), ("/contact", 20)]),
    page(
        "/contact",
        [12, 10, 60],
        Deed::Event { per_mille: 190, name: "message sent", key: "about", values: &["sales", "support", "press"] },
        &[("/", 70), ("/docs", 30)],
    ),
    page("/jobs", [8, 8, 90], Deed::Read, &[("/about", 100)]),
    page("/privacy", [6, 4, 45], Deed::Read, &[("/", 100)]),
];

/// The app's screens, each with how long it is looked at and how often it is opened.
pub(super) const SCREENS: &[(&str, u64, u64)] =
    &[("Notes", 25, 40), ("Editor", 140, 34), ("Search", 15, 12), ("Share", 20, 6), ("Settings", 30, 5), ("Trash", 10, 3)];

/// The app's versions, the oldest first: each goes out somewhere along the days.
pub(super) const VERSIONS: &[&str] = &["4.0", "4.1", "4.2"];

/// Where a visit begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Landing {
    /// Where people begin who know the site.
    Known,
    /// Where a search leads.
    Found,
    /// On this page.
    At(&'static str),
}

/// Where visits come from.
#[derive(Debug)]
pub(super) struct Origin {
    /// Of the visits of an ordinary day, in thousandths.
    pub weight: u64,
    pub referrer: &'static str,
    /// Campaign tags, with the question mark.
    pub tags: &'static str,
    pub landing: Landing,
    /// When it has its day, in thousandths of all days, and how many visits it brings then, in thousandths of an ordinary day's. It fades by a third a day.
    pub launch: Option<(u64, u64)>,
}

const fn origin(weight: u64, referrer: &'static str, landing: Landing) -> Origin {
    Origin { weight, referrer, tags: "", landing, launch: None }
}

const fn campaign(weight: u64, referrer: &'static str, tags: &'static str, page: &'static str, launch: Option<(u64, u64)>) -> Origin {
    Origin { weight, referrer, tags, landing: Landing::At(page), launch }
}

/// Every origin.
pub(super) const ORIGINS: &[Origin] = &[
    origin(285, "", Landing::Known),
    origin(268, "https://www.google.com/", Landing::Found),
    origin(34, "https://duckduckgo.com/", Landing::Found),
    origin(31, "https://www.bing.com/", Landing::Found),
    origin(13, "https://www.ecosia.org/", Landing::Found),
    origin(7, "https://kagi.com/", Landing::Found),
    origin(27, "https://chatgpt.com/", Landing::Found),
    origin(9, "https://www.perplexity.ai/", Landing::Found),
    origin(7, "https://claude.ai/", Landing::Found),
    origin(22, "https://www.linkedin.com/", Landing::Known),
    origin(20, "https://www.reddit.com/", Landing::At("/blog/plain-text")),
    origin(15, "https://mastodon.social/", Landing::At("/blog/counting-without-watching")),
    origin(11, "https://t.co/", Landing::At("/blog/notes-that-last")),
    origin(13, "https://www.youtube.com/", Landing::Known),
    origin(20, "https://github.com/", Landing::At("/docs/api")),
    origin(8, "https://de.wikipedia.org/", Landing::Known),
    origin(12, "https://alternatives.example/", Landing::Known),
    origin(6, "https://papier.example/", Landing::At("/blog/plain-text")),
    Origin {
        weight: 4,
        referrer: "https://news.ycombinator.com/",
        tags: "",
        landing: Landing::At("/blog/plain-text"),
        launch: Some((380, 900)),
    },
    campaign(36, "https://www.google.com/", "?utm_source=google&utm_medium=cpc&utm_campaign=brand", "/", None),
    campaign(19, "", "?utm_source=newsletter&utm_medium=email&utm_campaign=monthly-letter", "/blog", Some((120, 260))),
    campaign(0, "", "?utm_source=newsletter&utm_medium=email&utm_campaign=team-plan", "/blog/team-plan", Some((680, 520))),
    campaign(
        0,
        "https://www.linkedin.com/",
        "?utm_source=linkedin&utm_medium=paid-social&utm_campaign=team-plan",
        "/pricing",
        Some((690, 420)),
    ),
    campaign(2, "", "?utm_source=sunday-notes&utm_medium=podcast&utm_campaign=podcast-tour", "/download", Some((250, 300))),
    campaign(
        0,
        "https://www.instagram.com/",
        "?utm_source=instagram&utm_medium=social&utm_campaign=students",
        "/pricing",
        Some((860, 380)),
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_link_and_every_landing_is_a_page() {
        let known = |path: &str| PAGES.iter().any(|page| page.path == path);
        for page in PAGES {
            assert!(!page.links.is_empty() && page.links.iter().all(|(path, _)| known(path)), "{}", page.path);
        }
        for origin in ORIGINS {
            assert!(!matches!(origin.landing, Landing::At(path) if !known(path)), "{origin:?}");
        }
    }
}
