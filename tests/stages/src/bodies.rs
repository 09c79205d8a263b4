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
pub fn agent(number: usize, agents: usize) -> String {
    let number = number % agents;
    AGENTS[number % AGENTS.len()].replace("{v}", &(100 + number / AGENTS.len()).to_string())
}

/// One event's JSON. The page is on this machine, so that its address is looked up and hashed like any other.
pub fn event(number: usize) -> String {
    format!(
        r#"{{"site":"localhost","kind":"pageview","url":"http://localhost/articles/topic-{}/how-to-count-heads-and-not-faces-{}?utm_source=newsletter","referrer":"{}","width":{},"lang":"en-GB","entry":{}}}"#,
        number % 7,
        number % 100,
        REFERRERS[number % REFERRERS.len()],
        [390, 768, 1280, 1536, 1920][number % 5],
        number.is_multiple_of(3),
    )
}

/// An event's JSON of about so many bytes, of which it has at least 250: what is missing stands in properties.
pub fn event_of(number: usize, bytes: usize) -> String {
    let mut json = event(number);
    let mut missing = bytes.saturating_sub(json.len() + r#","props":{}"#.len());
    if missing < 20 {
        return json;
    }
    json.pop();
    json.push_str(r#","props":{"#);
    for property in 0.. {
        let key = format!(r#"{}"p{property}":"#, if property == 0 { "" } else { "," });
        let value = missing.saturating_sub(key.len() + 2).min(400);
        json.extend([&key, "\"", "a quiet day ".repeat(34)[..value].trim_end(), "\""]);
        missing = missing.saturating_sub(key.len() + 2 + value);
        if missing < 20 {
            break;
        }
    }
    json.push_str("}}");
    json
}

/// A whole request to `/e`; `headers` are whole lines with their ends.
fn beacon(agent: &str, headers: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "POST /e HTTP/1.1\r\nHost: localhost\r\nUser-Agent: {agent}\r\n{headers}Content-Type: text/plain\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// Distinct requests where nothing asks for more.
const VARIANTS: usize = 256;

/// Whole requests to `/e`, in 256 variants or as many as there are agents.
pub fn beacons(agents: usize, forwarded: bool) -> Vec<Vec<u8>> {
    let request = |number: usize| {
        let header = if forwarded { format!("X-Forwarded-For: 203.0.{}.{}\r\n", number / 250 % 250, number % 250) } else { String::new() };
        beacon(&agent(number, agents), &header, &event(number))
    };
    (0..agents.max(VARIANTS)).map(request).collect()
}

/// Whole requests to `/e` with an event of about so many bytes.
pub fn beacons_of(bytes: usize) -> Vec<Vec<u8>> {
    (0..VARIANTS).map(|number| beacon(&agent(number, 40), "", &event_of(number, bytes))).collect()
}

/// The same requests, each the last on its connection.
pub fn on_connections_of_their_own(requests: &[Vec<u8>]) -> Vec<Vec<u8>> {
    with_header(requests, "Connection: close\r\n")
}

/// The same requests, from people who do not want to be counted.
pub fn opted_out(requests: &[Vec<u8>]) -> Vec<Vec<u8>> {
    with_header(requests, "DNT: 1\r\n")
}

fn with_header(requests: &[Vec<u8>], header: &str) -> Vec<Vec<u8>> {
    let behind_first_line = |request: &Vec<u8>| request.windows(2).position(|window| window == b"\r\n").map_or(0, |end| end + 2);
    let with = |request: &Vec<u8>| {
        let (first, rest) = request.split_at(behind_first_line(request));
        [first, header.as_bytes(), rest].concat()
    };
    requests.iter().map(with).collect()
}

/// Events whose last bytes never came.
pub fn broken() -> Vec<Vec<u8>> {
    let body = |number| event(number).trim_end_matches(|letter| letter != ',').to_owned();
    (0..VARIANTS).map(|number| beacon(&agent(number, 40), "", &body(number))).collect()
}

/// Events of a site that nobody has.
pub fn of_unknown_site() -> Vec<Vec<u8>> {
    let body = |number| event(number).replacen("localhost", "nowhere.example", 1);
    (0..VARIANTS).map(|number| beacon(&agent(number, 40), "", &body(number))).collect()
}

/// Events of robots that say so.
pub fn by_bots() -> Vec<Vec<u8>> {
    let robot = |number| format!("Mozilla/5.0 (compatible; Googlebot/2.{}; +http://www.google.com/bot.html)", number % 40);
    (0..VARIANTS).map(|number| beacon(&robot(number), "", &event(number))).collect()
}

/// Heads that announce more than may come.
pub fn too_large() -> Vec<Vec<u8>> {
    vec![b"POST /e HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nContent-Length: 70000\r\n\r\n".to_vec()]
}

/// A gzip array of [`BATCH`] events.
///
/// # Panics
/// Never: memory does not fail.
pub fn batch(number: usize) -> Vec<u8> {
    let events: Vec<String> = (0..BATCH).map(|event_number| event(number * 37 + event_number)).collect();
    let mut packer = GzEncoder::new(Vec::new(), Compression::default());
    packer.write_all(format!("[{}]", events.join(",")).as_bytes()).expect("memory does not fail");
    packer.finish().expect("memory does not fail")
}

/// Whole requests to `/v1/events`, each a [`batch`].
pub fn batches() -> Vec<Vec<u8>> {
    (0..16)
        .map(|number| {
            let body = batch(number);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_has_about_as_many_bytes_as_are_asked_for() {
        for bytes in [200, 300, 500, 1_000, 2_000, 4_000] {
            let made = event_of(1, bytes).len();
            assert!(made.abs_diff(bytes.max(event(1).len())) <= 60, "{made} for {bytes}");
        }
    }

    #[test]
    fn a_header_is_added_behind_the_first_line() {
        let added = opted_out(&[b"POST /e HTTP/1.1\r\nHost: a\r\n\r\nb".to_vec()]);
        assert_eq!(added, [b"POST /e HTTP/1.1\r\nDNT: 1\r\nHost: a\r\n\r\nb".to_vec()]);
    }
}
