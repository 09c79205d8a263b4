//! What is served to browsers and embedded in the binary: the tracking script, and the pages of the private listener.

use hyper::body::Bytes;

use crate::server::private::{Guard, Page};
use crate::server::share::Asset;

/// The minified script, as `collector/snippet` builds it. It sends to [`EVENT_PATH`], which stands in it once.
const SCRIPT: &str = include_str!("../snippet/h.min.js");
/// Where the script sends events, in its own words: next to itself.
const EVENT_PATH: &str = "\"./e\"";

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

const TEXT: &str = "text/plain; charset=utf-8";

/// The application, as `dashboards/web/build.mjs` builds it: its page, and what that loads from beside itself.
const APP: &str = include_str!("../../dashboards/web/dist/index.html");
const APP_SCRIPT: &str = include_str!("../../dashboards/web/dist/app.js");
const APP_STYLE: &str = include_str!("../../dashboards/web/dist/app.css");
const APP_WORLD: &str = include_str!("../../dashboards/web/dist/world.js");
const APP_LICENCES: &str = include_str!("../../dashboards/web/dist/licenses.md");

const STYLE: &str = include_str!("../../dashboards/web/style.css");
const ICON: &str = include_str!("../../dashboards/web/icon.svg");
const DEMO: &str = include_str!("../../dashboards/web/demo.html");
const DEMO_CONSENT: &str = include_str!("../../dashboards/web/demo-consent.html");
const DEMO_SCRIPT: &str = include_str!("../../dashboards/web/demo.js");

/// What stands in the demonstration for the script's address.
const SCRIPT_URL: &str = "{{script}}";

/// The script as it is served at `script_path`, sending to `event_path`; both are paths on the public listener that begin with a slash.
///
/// The way from one to the other is relative, so that it holds whatever a proxy puts in front of both.
pub fn script(script_path: &str, event_path: &str) -> String {
    let depth = script_path.matches('/').count().saturating_sub(1);
    let up = if depth == 0 { "./".to_owned() } else { "../".repeat(depth) };
    let relative = format!("\"{up}{}\"", event_path.trim_start_matches('/'));
    SCRIPT.replacen(EVENT_PATH, &relative, 1)
}

/// The pages of the private listener. `public_url` and `script_path` say where the demonstration finds the script.
pub fn private(public_url: &str, script_path: &str) -> Vec<Page> {
    let script_url = escaped(&format!("{public_url}{script_path}"));
    let embedded = |path, guard, content_type, text: &'static str| Page {
        path,
        content_type,
        body: Bytes::from_static(text.as_bytes()),
        guard,
        speaks_to: None,
    };
    let demonstration = |path, text: &str| Page {
        path,
        content_type: HTML,
        body: text.replace(SCRIPT_URL, &script_url).into(),
        guard: Guard::Open,
        speaks_to: Some(origin(public_url).to_owned()),
    };
    vec![
        embedded("/", Guard::Operator, HTML, APP),
        embedded("/app.js", Guard::Operator, JAVASCRIPT, APP_SCRIPT),
        embedded("/app.css", Guard::Operator, CSS, APP_STYLE),
        embedded("/world.js", Guard::Operator, JAVASCRIPT, APP_WORLD),
        embedded("/licenses.md", Guard::Operator, TEXT, APP_LICENCES),
        // The login form and the demonstration need these too.
        embedded("/style.css", Guard::Open, CSS, STYLE),
        embedded("/icon.svg", Guard::Open, SVG, ICON),
        embedded("/demo.js", Guard::Open, JAVASCRIPT, DEMO_SCRIPT),
        demonstration("/demo", DEMO),
        demonstration("/demo/articles", DEMO),
        demonstration("/demo/pricing", DEMO),
        demonstration("/demo/consent", DEMO_CONSENT),
    ]
}

/// The application's page, for who comes by a link on the public listener, and what it loads from beside itself.
pub fn shared() -> (Bytes, Vec<Asset>) {
    let asset = |name, content_type, text: &'static str| Asset { name, content_type, body: Bytes::from_static(text.as_bytes()) };
    let assets = vec![
        asset("app.js", JAVASCRIPT, APP_SCRIPT),
        asset("app.css", CSS, APP_STYLE),
        asset("world.js", JAVASCRIPT, APP_WORLD),
        asset("icon.svg", SVG, ICON),
        asset("licenses.md", TEXT, APP_LICENCES),
    ];
    (Bytes::from_static(APP.as_bytes()), assets)
}

/// Scheme, host and port of `url`. A policy that named more, such as a base path, would allow that path alone and nothing below it.
fn origin(url: &str) -> &str {
    let host = url.find("://").map_or(0, |scheme| scheme + 3);
    url[host..].find('/').map_or(url, |path| &url[..host + path])
}

/// `text` within a quoted attribute of HTML.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;
    use crate::event::ScreenClass;
    use crate::outcome::{Dropped, Refused};
    use crate::server::private::{Overview, SiteOverview, Totals};

    #[test]
    fn the_script_finds_its_endpoint_from_where_it_is_served() {
        for (script_path, event_path, relative) in
            [("/h.js", "/e", "./e"), ("/hc/h.js", "/hc/e", "../hc/e"), ("/assets/js/x.js", "/collect/it", "../../collect/it")]
        {
            let served = script(script_path, event_path);
            assert!(served.contains(&format!("\"{relative}\"")), "{relative}");
            assert_eq!(served.contains(EVENT_PATH), relative == "./e");
        }
    }

    #[test]
    fn the_first_page_has_words_for_every_reason() {
        const REASONS: &str = include_str!("../../dashboards/web/src/reasons.ts");
        let labels = Dropped::ALL.iter().map(|reason| reason.label()).chain(Refused::ALL.iter().map(|reason| reason.label()));
        for label in labels {
            assert!(REASONS.contains(&format!("\n  {label}: [")), "{label}");
        }
        assert!(!REASONS.contains("\n  no_such_reason: ["));
    }

    #[test]
    fn the_width_that_the_script_sends_is_of_the_same_class_as_the_screen() {
        for width in 32..4_000 {
            assert_eq!(ScreenClass::of_width(width >> 5 << 5), ScreenClass::of_width(width), "{width}");
        }
    }

    #[test]
    fn the_overview_has_the_fields_of_the_sample_that_the_page_is_tested_with() {
        let sample: Value = serde_json::from_str(include_str!("../../dashboards/web/overview.sample.json")).unwrap();
        let site = SiteOverview { today: Some(Totals::default()), ..SiteOverview::default() };
        let overview = serde_json::to_value(Overview { sites: vec![site], ..Overview::default() }).unwrap();
        let fields = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>();
        // The page shows `unattributed` where there is one.
        assert_eq!(
            fields(&overview),
            fields(&sample).into_iter().filter(|field| overview.get(field).is_some() || field != "unattributed").collect()
        );
        for pointer in ["/sites/0", "/sites/0/today", "/sites/0/check"] {
            assert_eq!(fields(overview.pointer(pointer).unwrap()), fields(sample.pointer(pointer).unwrap()), "{pointer}");
        }
    }

    #[test]
    fn the_demonstration_may_speak_to_the_origin_of_the_script_wherever_on_it_that_is() {
        for (url, origin) in [
            ("https://stats.example.org", "https://stats.example.org"),
            ("https://example.org/stats", "https://example.org"),
            ("http://localhost:8080/a/b", "http://localhost:8080"),
        ] {
            let pages = private(url, "/h.js");
            let page = pages.iter().find(|page| page.path == "/demo").unwrap();
            assert_eq!(page.speaks_to.as_deref(), Some(origin));
            assert!(std::str::from_utf8(&page.body).unwrap().contains(&format!("src=\"{url}/h.js\"")));
        }
    }

    #[test]
    fn everything_that_was_built_is_served() {
        let built = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../dashboards/web/dist")).unwrap();
        let pages = private("https://stats.example.org", "/h.js");
        for name in built.map(|file| file.unwrap().file_name().into_string().unwrap()).filter(|name| !name.starts_with('.')) {
            let path = if name == "index.html" { "/".to_owned() } else { format!("/{name}") };
            assert!(pages.iter().any(|page| page.path == path && page.guard == Guard::Operator), "{name}");
            assert!(name == "index.html" || shared().1.iter().any(|asset| asset.name == name), "{name}");
        }
    }

    #[test]
    fn every_page_is_whole_and_holds_nothing_inline() {
        for page in private("https://stats.example.org", "/h.js") {
            let text = std::str::from_utf8(&page.body).unwrap();
            assert!(!text.contains("{{"), "{}", page.path);
            if page.content_type == HTML {
                assert!(!text.contains("<script>") && !text.contains("<style") && !text.contains(" style=") && !text.contains(" onclick"));
            }
            assert_eq!(page.speaks_to.is_some(), text.contains("src=\"https://stats.example.org/h.js\""), "{}", page.path);
        }
    }
}
