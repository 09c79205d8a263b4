//! Who is no visitor: declared crawlers, headless browsers, HTTP libraries, and whoever says nothing at all.
//!
//! The public list of crawlers names programs of three kinds, which are told apart when it is read: crawlers proper, tools that drive a browser, and HTTP libraries.
//! A page is only ever opened by a browser, so there all three are turned away. Apps and backends speak through HTTP libraries, so on the API only crawlers are.

use aho_corasick::AhoCorasick;
use regex_filtered::Regexes;
use serde::Deserialize;

use super::vocabulary::spellings;
use crate::beacon::Route;
use crate::outcome::Dropped;

/// Whether a person's browser speaks, or what else. Which of these is turned away depends on the route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Robot {
    /// A browser, as far as its agent tells.
    No,
    /// A crawler, monitor or preview fetcher that says so.
    Crawler,
    /// A headless or driven browser.
    Headless,
    /// An HTTP library or another program that is no browser.
    Library,
    /// There is no agent at all.
    Absent,
}

impl Robot {
    /// Why an event of such a sender is left out on `route`, if it is.
    pub fn refused_on(self, route: Route) -> Option<Dropped> {
        match (self, route) {
            (Self::Crawler, Route::Page | Route::Api) => Some(Dropped::Crawler),
            (Self::Headless, Route::Page) => Some(Dropped::Headless),
            (Self::Library, Route::Page) => Some(Dropped::NotABrowser),
            (Self::Absent, Route::Page) => Some(Dropped::NoUserAgent),
            (Self::No, Route::Page | Route::Api) | (Self::Headless | Self::Library | Self::Absent, Route::Api) => None,
        }
    }
}

/// The list of crawlers, and what we know beside it.
pub(super) struct Bots {
    crawlers: Matcher,
    headless: Matcher,
    libraries: Matcher,
}

/// A list of crawlers that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BotsError {
    /// Not JSON, or JSON of another form.
    #[error("not a list of objects with a `pattern`")]
    Json(#[from] serde_json::Error),
    /// A pattern is no regular expression, or too large a one.
    #[error("a pattern cannot be compiled")]
    Pattern(#[from] regex_filtered::ParseError),
    /// The patterns together are too large.
    #[error("the patterns are too large together")]
    Prefilter(#[from] regex_filtered::BuildError),
    /// The words together are too large.
    #[error("the words are too large together")]
    Words(#[from] aho_corasick::BuildError),
}

/// One entry of `crawler-user-agents.json`.
#[derive(Deserialize)]
struct Entry {
    pattern: String,
    #[serde(default)]
    tags: Vec<String>,
}

impl Bots {
    /// Reads a list in the form of crawler-user-agents: `[{"pattern": "Googlebot\\/", "tags": ["search-engine"]}, ...]`.
    pub(super) fn read(json: &str) -> Result<Self, BotsError> {
        let (mut crawlers, mut headless, mut libraries) = (owned(CRAWLERS), owned(HEADLESS), owned(LIBRARIES));
        for entry in serde_json::from_str::<Vec<Entry>>(json)? {
            let tagged = |tag| entry.tags.iter().any(|own| own == tag);
            if PEOPLE.contains(&entry.pattern.as_str()) {
                continue;
            }
            if BACKENDS.contains(&entry.pattern.as_str()) || (tagged("http-library") && !HARVESTERS.contains(&entry.pattern.as_str())) {
                libraries.push(entry.pattern);
            } else if tagged("browser-automation") {
                headless.push(entry.pattern);
            } else {
                crawlers.push(entry.pattern);
            }
        }
        Ok(Self { crawlers: Matcher::of(crawlers)?, headless: Matcher::of(headless)?, libraries: Matcher::of(libraries)? })
    }

    /// Who speaks as `agent`. What declares itself most plainly wins: a crawler that is written with an HTTP library is a crawler.
    pub(super) fn judge(&self, agent: &str) -> Robot {
        if !agent.bytes().any(|byte| byte.is_ascii_alphanumeric()) {
            Robot::Absent
        } else if self.headless.find(agent) {
            Robot::Headless
        } else if self.crawlers.find(agent) {
            Robot::Crawler
        } else if self.libraries.find(agent) || !BROWSER_STARTS.iter().any(|start| agent.starts_with(start)) {
            Robot::Library
        } else {
            Robot::No
        }
    }
}

/// Many patterns, asked at once. Nearly all of them are plain words, for which one automaton does; the others stand behind a prefilter.
struct Matcher {
    words: AhoCorasick,
    patterns: Regexes,
}

impl Matcher {
    fn of(patterns: Vec<String>) -> Result<Self, BotsError> {
        let mut words = Vec::new();
        let mut builder = regex_filtered::Builder::new();
        for pattern in patterns {
            let unanchored = regex_syntax::parse(&pattern).ok().filter(|parsed| parsed.properties().look_set().is_empty());
            match unanchored.as_ref().and_then(spellings) {
                Some(spelled) => words.extend(spelled.into_iter().filter(|word| !word.is_empty())),
                None => builder = builder.push(&pattern)?,
            }
        }
        Ok(Self { words: AhoCorasick::new(words)?, patterns: builder.build()? })
    }

    fn find(&self, agent: &str) -> bool {
        self.words.is_match(agent) || self.patterns.is_match(agent)
    }
}

fn owned(patterns: &[&str]) -> Vec<String> {
    patterns.iter().map(|&pattern| pattern.to_owned()).collect()
}

/// How the agents of browsers begin: all of today's with `Mozilla/`, old ones and those of feature phones with their maker.
const BROWSER_STARTS: &[&str] = &[
    "Mozilla/",
    "Opera/",
    "UCWEB/",
    "BlackBerry",
    "Nokia",
    "SAMSUNG-",
    "SonyEricsson",
    "LG-",
    "LGE-",
    "MOT-",
    "HTC_",
    "ZTE-",
    "Alcatel-",
    "SEC-",
    "Doris/",
];

/// Crawlers that are on no list but follow the custom: a name that ends in bot, with a version; or the trade itself. Not `CUBOT`, which makes phones.
const CRAWLERS: &[&str] =
    &["(?i)[a-z]bot/[0-9]", "(?i)bot(?:;|\\)) ?\\+?https?://", "(?i)\\+https?://[^ )]*bot", "(?i)(?:crawler|spider)(?:[/;) ]|$)"];

/// Browsers that nobody looks at.
const HEADLESS: &[&str] = &[
    "Headless",
    "PhantomJS",
    "SlimerJS",
    "Puppeteer",
    "puppeteer",
    "Playwright",
    "playwright",
    "Selenium",
    "selenium",
    "[Ww]eb[Dd]river",
    "jsdom/",
    "HtmlUnit",
    "Cypress/",
    "Nightmare",
    "ZombieJS",
    "Zombie\\.js",
    "happy-dom",
    "Electron/.*[Tt]est",
    "Chrome-Lighthouse",
    "PTST/",
    "Splash",
];

/// HTTP libraries and what speaks through the ones of a system: they are how apps and backends send events.
const LIBRARIES: &[&str] = &[
    "okhttp",
    "CFNetwork/",
    "^Dalvik/",
    "python-requests",
    "python-httpx",
    "Python-urllib",
    "Python/[0-9]",
    "aiohttp",
    "Go-http-client",
    "axios/",
    "node-fetch",
    "^node$",
    "^node/",
    "undici",
    "^curl/",
    "libcurl",
    "[Ww]get/",
    "^Java/",
    "^Java-http-client",
    "Apache-HttpClient",
    "Apache-HttpAsyncClient",
    "^Dart/",
    "[Kk]tor",
    "Alamofire",
    "GuzzleHttp",
    "^Guzzle",
    "reqwest",
    "hyper/",
    "ureq",
    "^got[ /]",
    "superagent",
    "Faraday",
    "^Ruby",
    "rest-client",
    "HTTParty",
    "Typhoeus",
    "libwww-perl",
    "RestSharp",
    "^Deno/",
    "^Bun/",
    "PostmanRuntime",
    "insomnia/",
    "^HTTPie",
    "^PHP/",
    "Symfony HttpClient",
    "^Elixir",
    "hackney",
    "^Mint/",
    "finch",
    "Volley",
    "Cronet",
    "^Swift",
    "NSURLConnection",
    "urllib3",
    "WinHttp",
    "WindowsPowerShell",
    "PowerShell/",
    "Jersey/",
    "Vert\\.x",
    "ReactorNetty",
    "AsyncHttpClient",
    "^Expo/",
    "Unity(?:Player|WebRequest)",
    "UnrealEngine",
    "libhttp",
    "Cpprest",
    "^cpp-httplib",
    "Boost\\.Beast",
    "Nim httpclient",
    "^Crystal",
    "http-kit",
    "k6/",
    "hey/",
    "ApacheBench",
    "wrk/",
    "^vegeta",
];

/// Entries of the list that real people's programs carry, too: browsers inside apps, shells around web pages, and models of phones.
const PEOPLE: &[&str] = &[
    "MetaIAB Facebook",
    "Viber",
    "WhatsApp",
    "Daum\\/",
    "Sogou",
    "Fluid",
    "Code\\/1\\.",
    "Trae\\/",
    "Notion\\/",
    "Bluesky\\/",
    "Tumblr\\/",
    "PayPal\\/",
    "Grammarly\\/",
    "Instapaper\\/",
    "Asana\\/",
    "Overcast\\/",
    "PocketCasts\\/",
    "^Silk\\/",
    "Goodreads",
    "Butterfly",
    "Sonic",
    "RED\\/",
];

/// Entries of the list that are how somebody's own backend speaks when it sends its events.
const BACKENDS: &[&str] = &[
    "WordPress\\/",
    "Zapier",
    "IFTTT\\/",
    "Integromat\\/",
    "Make\\/",
    "Google-Apps-Script",
    "Stripe\\/",
    "Salesforce\\.com",
    "SFDC-Callout\\/",
    "Svix-Webhooks\\/",
    "Shopify-Captain-Hook",
    "Recurly Webhooks\\/",
    "Retool\\/",
    "Zendesk Webhook",
    "AppEngine-Google",
    "TwilioProxy\\/",
    "SendGrid Event API",
    "Bitbucket-Webhooks",
    "Cloudflare-Stream-Webhook",
    "Mollie HTTP client",
    "Indy Library",
    "SimplePie",
];

/// Entries that the list calls libraries and that exist to harvest pages.
const HARVESTERS: &[&str] = &[
    "phpcrawl",
    "HTTrack",
    "SimpleCrawler",
    "crawler4j",
    "Scrapy",
    "newspaper\\/",
    "ALittle Client",
    "trafilatura",
    "Download Ninja",
    "GoParserBot",
    "larbin",
    "rawweb-bot",
    "python-opengraph",
    "colly",
    "BTWebClient",
    "Amazon CloudFront",
];
