//! Requests that nobody should send, each with a canary in it: made from a seed, so that a failure can be repeated.

use crate::collector::BROWSER;

/// What stands somewhere in each request, and must not stand anywhere else afterwards.
pub const CANARY: &str = "cAnaRy7f3e9b";

/// Pseudorandom numbers (xorshift64*, Marsaglia 2003; Vigna 2016).
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    /// Numbers that follow from `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).expect("it is below a usize")
    }

    /// One of `all`.
    pub fn one<'a, T: ?Sized>(&mut self, all: &[&'a T]) -> &'a T {
        all[self.below(all.len())]
    }
}

/// Values that no field takes, or few.
const VALUES: &[&str] = &[
    "null",
    "true",
    "1",
    "-1",
    "1e999",
    "NaN",
    "Infinity",
    "0x10",
    "[]",
    "{}",
    "[1,\"@\"]",
    "{\"@\":1}",
    "\"@\"",
    "\"\\u0000@\"",
    "\"\\ud800@\"",
    "\"@",
    "@",
    "'@'",
    "99999999999999999999999",
    "\"2026-13-45@\"",
    "\"\\x40@\"",
    "\"\"",
];

/// Fields of an event, and some that are none.
const FIELDS: &[&str] = &[
    "site",
    "kind",
    "name",
    "url",
    "screen",
    "referrer",
    "props",
    "value",
    "currency",
    "width",
    "lang",
    "engaged_ms",
    "scroll_pct",
    "entry",
    "app_version",
    "os",
    "device_model",
    "network",
    "session",
    "install_id",
    "consent",
    "dnt",
    "gpc",
    "child",
    "age_ms",
    "first_today",
    "since_first",
    "id",
    "client_ip",
    "client_ua",
    "@",
    "__proto__",
    "title",
];

const HEADERS: &[&str] = &[
    "Content-Type: application/json; charset=@",
    "Content-Type: @",
    "Content-Encoding: @",
    "DNT: @",
    "Sec-GPC: @, 1",
    "X-Forwarded-For: @",
    "X-Forwarded-For: 203.0.113.9, @, 10.0.0.1",
    "Forwarded: for=@;by=\"@",
    "Authorization: Bearer @",
    "Authorization: @",
    "Idempotency-Key: @",
    "Cookie: @=@",
    "Origin: https://@.example",
    "Referer: https://@.example/@",
    "Expect: @",
    "Range: bytes=@",
    "X-@: \u{e9}@",
    "@: @",
    "@",
    ": @",
    "Transfer-Encoding: @",
    "Content-Length: @",
    "Connection: @",
    "Upgrade: @",
    "Accept-Encoding: @",
    "Host: @",
];

/// One whole request. The bytes tell how long its body is, so that whoever answers need not wait, unless that is what is wrong with it.
pub fn request(random: &mut Random) -> Vec<u8> {
    let target = random.one(&[
        "/e",
        "/e",
        "/e",
        "/v1/events",
        "/v1/events",
        "/e.gif?@",
        "/e.gif",
        "/@",
        "/e?@",
        "/e/@",
        "/%@",
        "/v1/events/../@",
        "/h.js?@",
        "@",
    ]);
    let method = match target {
        _ if random.below(20) == 0 => random.one(&["PUT", "OPTIONS", "DELETE", "GET", "POST", "TRACE", "@", "p@st", ""]),
        "/e" | "/v1/events" | "/e?@" | "/e/@" => "POST",
        _ => "GET",
    };
    let target = target.replace("gif?@", &format!("gif?{}", query(random)));
    let mut body = if method == "POST" { body(random) } else { Vec::new() };
    if random.below(3) == 0 && !body.is_empty() {
        spoil(random, &mut body);
    }
    let mut head = format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\n{BROWSER} @\r\nContent-Length: {}\r\n", body.len());
    let mut named_type = false;
    for _ in 0..random.below(3) {
        let header = random.one(HEADERS);
        named_type |= header.starts_with("Content-Type");
        head.push_str(header);
        head.push_str("\r\n");
    }
    if !named_type {
        head.push_str("Content-Type: text/plain\r\n");
    }
    if random.below(50) == 0 {
        head.extend(["X-Long: ", &"@".repeat(2_000), "\r\n"]);
    }
    head.push_str("\r\n");
    let mut request = head.replace('@', CANARY).into_bytes();
    request.extend(body);
    request
}

fn query(random: &mut Random) -> String {
    let mut query = "site=a.example".to_owned();
    for _ in 0..random.below(5) {
        let value = random.one(&["@", "%", "%4", "%zz@", "%ff@", "%00@", "1&&@", "https://a.example/@", "=@=", "+@+"]);
        query.extend(["&", random.one(FIELDS), "=", value]);
    }
    query
}

fn body(random: &mut Random) -> Vec<u8> {
    let text = match random.below(12) {
        0 => "@".to_owned(),
        1 => format!("{}\"@\"{}", "[".repeat(40), "]".repeat(40)),
        2 => format!("{{\"site\":\"a.example\",\"props\":{}\"@\"{}}}", "{\"a\":".repeat(20), "}".repeat(20)),
        3 => format!("[{}]", vec![event(random); 60].join(",")),
        4 => format!("{}\n{}\n@", event(random), event(random)),
        5 => format!("[{},{}]", event(random), event(random)),
        _ => event(random),
    };
    text.replace('@', CANARY).into_bytes()
}

/// An event with a few fields too many, twice, or of another type.
fn event(random: &mut Random) -> String {
    let site = random.one(&["a.example", "a.example", "a.example", "@", "A.EXAMPLE"]);
    let url = random.one(&[
        "https://a.example/@",
        "https://@.example/",
        "https://a.example:@/",
        "javascript:@",
        "//@",
        "https://@@a.example/%zz@",
        "@",
    ]);
    let mut event = format!("{{\"site\":\"{site}\",\"url\":\"{url}\"");
    for _ in 0..random.below(4) {
        let value = match random.below(6) {
            0 => format!("\"{}\"", "@".repeat(random.below(400))),
            _ => random.one(VALUES).to_owned(),
        };
        event.extend([",\"", random.one(FIELDS), "\":", &value]);
    }
    event + "}"
}

/// Cuts it short, turns a bit, or puts in bytes that are no text.
fn spoil(random: &mut Random, body: &mut Vec<u8>) {
    let at = random.below(body.len());
    match random.below(4) {
        0 => body.truncate(at),
        1 => body[at] ^= 1 << random.below(8),
        2 => body.splice(at..at, [0xff, 0xc0, 0x80]).for_each(drop),
        _ => body.splice(..0, [0x1f, 0x8b, 0x08]).for_each(drop),
    }
}
