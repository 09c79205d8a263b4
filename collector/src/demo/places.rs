//! Where the made-up visitors live, what they speak, pay with, and when they are awake; and what they sit in front of.

/// A country and its share of the visitors.
#[derive(Debug)]
pub(super) struct Place {
    /// ISO 3166.
    pub code: [u8; 2],
    /// Of all that there are.
    pub weight: u64,
    /// Languages of its visitors, each with its weight.
    pub languages: &'static [(&'static str, u64)],
    /// What they pay with.
    pub currency: &'static str,
    /// Hours ahead of central Europe: when it is noon there, it is that much earlier on the site's clock.
    pub hours_ahead: i64,
}

const fn place(code: [u8; 2], weight: u64, languages: &'static [(&'static str, u64)], currency: &'static str, hours_ahead: i64) -> Place {
    Place { code, weight, languages, currency, hours_ahead }
}

/// Every place. The last ones are so small that on most days they are not named.
pub(super) const PLACES: &[Place] = &[
    place(*b"DE", 240, &[("de-DE", 86), ("en-US", 9), ("tr-TR", 3), ("pl-PL", 2)], "EUR", 0),
    place(*b"US", 165, &[("en-US", 88), ("es-US", 9), ("zh-CN", 3)], "USD", -7),
    place(*b"GB", 78, &[("en-GB", 96), ("pl-PL", 4)], "GBP", -1),
    place(*b"FR", 64, &[("fr-FR", 94), ("en-US", 6)], "EUR", 0),
    place(*b"AT", 58, &[("de-AT", 92), ("en-US", 8)], "EUR", 0),
    place(*b"CH", 52, &[("de-CH", 64), ("fr-CH", 24), ("it-CH", 8), ("en-US", 4)], "CHF", 0),
    place(*b"NL", 46, &[("nl-NL", 84), ("en-US", 16)], "EUR", 0),
    place(*b"IN", 44, &[("en-IN", 82), ("hi-IN", 18)], "USD", 4),
    place(*b"PL", 32, &[("pl-PL", 92), ("en-US", 8)], "EUR", 0),
    place(*b"BR", 30, &[("pt-BR", 97), ("en-US", 3)], "USD", -4),
    place(*b"ES", 29, &[("es-ES", 88), ("ca-ES", 9), ("en-US", 3)], "EUR", 0),
    place(*b"IT", 28, &[("it-IT", 96), ("en-US", 4)], "EUR", 0),
    place(*b"CA", 24, &[("en-CA", 78), ("fr-CA", 22)], "USD", -6),
    place(*b"SE", 19, &[("sv-SE", 86), ("en-US", 14)], "EUR", 0),
    place(*b"AU", 18, &[("en-AU", 98), ("zh-CN", 2)], "USD", 9),
    place(*b"JP", 17, &[("ja-JP", 97), ("en-US", 3)], "USD", 8),
    place(*b"BE", 13, &[("nl-BE", 56), ("fr-BE", 40), ("en-US", 4)], "EUR", 0),
    place(*b"DK", 12, &[("da-DK", 88), ("en-US", 12)], "EUR", 0),
    place(*b"CZ", 12, &[("cs-CZ", 94), ("en-US", 6)], "EUR", 0),
    place(*b"FI", 9, &[("fi-FI", 90), ("en-US", 10)], "EUR", 1),
    place(*b"NO", 9, &[("nb-NO", 90), ("en-US", 10)], "EUR", 0),
    place(*b"PT", 8, &[("pt-PT", 96), ("en-US", 4)], "EUR", -1),
    place(*b"IE", 8, &[("en-IE", 100)], "EUR", -1),
    place(*b"MX", 8, &[("es-MX", 96), ("en-US", 4)], "USD", -7),
    place(*b"UA", 7, &[("uk-UA", 90), ("ru-RU", 10)], "EUR", 1),
    place(*b"KR", 6, &[("ko-KR", 97), ("en-US", 3)], "USD", 8),
    place(*b"ZA", 6, &[("en-ZA", 90), ("af-ZA", 10)], "USD", 1),
    place(*b"TR", 6, &[("tr-TR", 97), ("en-US", 3)], "EUR", 2),
    place(*b"AR", 5, &[("es-AR", 98), ("en-US", 2)], "USD", -4),
    place(*b"SG", 5, &[("en-SG", 74), ("zh-SG", 26)], "USD", 7),
    place(*b"NZ", 5, &[("en-NZ", 100)], "USD", 11),
    place(*b"GR", 4, &[("el-GR", 94), ("en-US", 6)], "EUR", 1),
    place(*b"RO", 4, &[("ro-RO", 94), ("en-US", 6)], "EUR", 1),
    place(*b"HU", 3, &[("hu-HU", 96), ("en-US", 4)], "EUR", 0),
    place(*b"LU", 2, &[("fr-LU", 60), ("de-LU", 40)], "EUR", 0),
    place(*b"EE", 1, &[("et-EE", 100)], "EUR", 1),
    place(*b"IS", 1, &[("is-IS", 100)], "EUR", -1),
];

/// A browser on a machine, whose agent, system and screen go together.
#[derive(Debug)]
pub(super) struct Machine {
    /// Of all browsers.
    pub weight: u64,
    /// The user agent.
    pub agent: &'static str,
    /// Widths of its screens, in CSS pixels.
    pub widths: &'static [u32],
}

const DESKTOP: &[u32] = &[1_920, 1_536, 1_440, 2_560, 1_366];

/// Every machine.
pub(super) const MACHINES: &[Machine] = &[
    Machine {
        weight: 235,
        agent: "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36",
        widths: DESKTOP,
    },
    Machine {
        weight: 28,
        agent: "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Safari/537.36",
        widths: DESKTOP,
    },
    Machine {
        weight: 78,
        agent: "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36 Edg/140.0.0.0",
        widths: DESKTOP,
    },
    Machine { weight: 62, agent: "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:143.0) Gecko/20100101 Firefox/143.0", widths: DESKTOP },
    Machine {
        weight: 14,
        agent: "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Safari/537.36 OPR/122.0.0.0",
        widths: DESKTOP,
    },
    Machine {
        weight: 92,
        agent: "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Safari/605.1.15",
        widths: &[1_440, 1_512, 1_728],
    },
    Machine {
        weight: 74,
        agent: "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36",
        widths: &[1_440, 1_512, 1_728, 2_560],
    },
    Machine {
        weight: 18,
        agent: "Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:143.0) Gecko/20100101 Firefox/143.0",
        widths: &[1_440, 1_728],
    },
    Machine { weight: 34, agent: "Mozilla/5.0 (X11; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0", widths: DESKTOP },
    Machine {
        weight: 22,
        agent: "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36",
        widths: DESKTOP,
    },
    Machine {
        weight: 148,
        agent: "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Mobile/15E148 Safari/604.1",
        widths: &[390, 393, 430, 375],
    },
    Machine {
        weight: 118,
        agent: "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Mobile Safari/537.36",
        widths: &[360, 393, 412],
    },
    Machine {
        weight: 26,
        agent: "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/28.0 Chrome/130.0.0.0 Mobile Safari/537.36",
        widths: &[360, 384, 412],
    },
    Machine { weight: 12, agent: "Mozilla/5.0 (Android 15; Mobile; rv:143.0) Gecko/143.0 Firefox/143.0", widths: &[393, 412] },
    Machine {
        weight: 24,
        agent: "Mozilla/5.0 (iPad; CPU OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Mobile/15E148 Safari/604.1",
        widths: &[820, 834, 1_024],
    },
];

/// Declared crawlers: they are turned away, and counted.
pub(super) const CRAWLERS: &[&str] = &[
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
    "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)",
    "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.2; +https://openai.com/gptbot)",
    "Mozilla/5.0 (compatible; AhrefsBot/7.0; +http://ahrefs.com/robot/)",
];

/// A phone with the app on it: model and system.
pub(super) const PHONES: &[(&str, &str)] = &[
    ("iPhone 16", "iOS 18.6"),
    ("iPhone 15", "iOS 18.5"),
    ("iPhone SE", "iOS 17.7"),
    ("Pixel 9", "Android 16"),
    ("Galaxy S25", "Android 15"),
    ("Fairphone 5", "Android 14"),
];
