//! The requests of the load: page views of a small site by a few dozen browsers, about 245 bytes of JSON each.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

/// Events in one batch.
pub const BATCH: usize = 500;

const AGENTS: [&str; 8] = [
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{v}.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{v}.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{v}.0.0.0 Safari/537.36 Edg/{v}.0.0.0",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:{v}.0) Gecko/20100101 Firefox/{v}.0",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:{v}.0) Gecko/20100101 Firefox/{v}.0",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.{v} Safari/605.1.15",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_{v} like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.{v} Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{v}.0.0.0 Mobile Safari/537.36",
];

const REFERRERS: [&str; 5] =
    ["", "https://www.google.com", "https://news.ycombinator.com", "https://mastodon.social", "https://duckduckgo.com"];

/// An agent; `agents` is how many distinct ones there are.
fn agent(number: usize, agents: usize) -> String {
    let number = number % agents;
    AGENTS[number % AGENTS.len()].replace("{v}", &(100 + number / AGENTS.len()).to_string())
}

/// One event's JSON. The page is on this machine, so that its address is looked up and hashed like any other.
fn event(number: usize) -> String {
    format!(
        r#"{{"site":"localhost","kind":"pageview","url":"http://localhost/articles/topic-{}/how-to-count-heads-and-not-faces-{}?utm_source=newsletter","referrer":"{}","width":{},"lang":"en-GB","entry":{}}}"#,
        number % 7,
        number % 100,
        REFERRERS[number % REFERRERS.len()],
        [390, 768, 1280, 1536, 1920][number % 5],
        number.is_multiple_of(3),
    )
}

/// Whole requests to `/e`, in 256 variants.
pub fn beacons(agents: usize, forwarded: bool) -> Vec<Vec<u8>> {
    let variants = if agents > 256 { agents } else { 256 };
    (0..variants)
        .map(|number| {
            let body = event(number);
            let forwarded = if forwarded { format!("X-Forwarded-For: 203.0.{}.{}\r\n", number / 250 % 250, number % 250) } else { String::new() };
            format!(
                "POST /e HTTP/1.1\r\nHost: localhost\r\nUser-Agent: {}\r\n{forwarded}Content-Type: text/plain\r\nContent-Length: {}\r\n\r\n{body}",
                agent(number, agents),
                body.len(),
            )
            .into_bytes()
        })
        .collect()
}

/// Whole requests to `/v1/events`, each a gzip array of [`BATCH`] events.
pub fn batches() -> Vec<Vec<u8>> {
    (0..16)
        .map(|batch| {
            let events: Vec<String> = (0..BATCH).map(|number| event(batch * 37 + number)).collect();
            let mut packer = GzEncoder::new(Vec::new(), Compression::default());
            packer.write_all(format!("[{}]", events.join(",")).as_bytes()).expect("memory does not fail");
            let body = packer.finish().expect("memory does not fail");
            let mut request = format!(
                "POST /v1/events HTTP/1.1\r\nHost: localhost\r\nUser-Agent: okhttp/4.12.0\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n",
                body.len()
            )
            .into_bytes();
            request.extend_from_slice(&body);
            request
        })
        .collect()
}
