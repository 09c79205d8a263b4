//! Tests of the configuration: its defaults, its errors, and what it refuses for a promise's sake.

mod declared;

use super::*;
use crate::site::{Basis, Ceiling, Lowered};

fn surroundings() -> Surroundings {
    Surroundings { home: Some("/home/ada".into()), user: 1000, ..Surroundings::default() }
}

fn read(text: &str) -> Result<Config, ConfigError> {
    Config::parse(text, Some(Path::new("headcount.toml")), &Overrides::default(), &surroundings())
}

fn complaint(text: &str) -> String {
    match read(text) {
        Ok(_) => panic!("was taken: {text}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn nothing_need_be_said() {
    let config = Config::load(&Overrides::default(), &surroundings()).unwrap();
    assert_eq!(config.file, None);
    assert_eq!(config.data_dir, Path::new("/home/ada/.local/share/headcount"));
    assert_eq!(config.public.listen.to_string(), "0.0.0.0:8080");
    assert_eq!(config.private.listen.to_string(), "127.0.0.1:8081");
    assert_eq!(config.close_after_hours, 48);
    assert_eq!(config.geo, Some(DataFile::Pinned));
    assert!(matches!(config.store, Store::Embedded(_)));
    assert!(matches!(config.proxy.trusted, Trusted::Loopback));
    for id in ["localhost", "demo"] {
        let site = config.sites.find(id).unwrap();
        assert!(site.hosts.admit("localhost") && site.hosts.admit("127.0.0.1") && site.hosts.admit("[::1]"));
        assert!(!site.hosts.admit("example.org"));
    }
}

#[test]
fn the_site_of_this_machine_is_gone_once_a_site_is_named_and_the_demonstration_stays() {
    let config = read("[[site]]\nid = \"example.org\"\ntimezone = \"Europe/Berlin\"").unwrap();
    assert!(config.sites.find("localhost").is_none());
    assert!(config.sites.find("example.org").unwrap().hosts.admit("www.example.org"));
    assert_eq!(config.sites.iter().map(|site| &*site.id).collect::<Vec<_>>(), ["example.org", "demo"]);
    let zone = |config: &Config| config.sites.zone(config.sites.find("demo").unwrap().zone).name().to_owned();
    assert_eq!([zone(&read("").unwrap()), zone(&config)], ["UTC", "UTC"], "its days are the same before and after");
    let in_zone = |zone: &str| format!("[[site]]\nid = \"{}\"\ntimezone = \"{zone}\"\n", zone.to_ascii_lowercase().replace('/', "."));
    let elsewhere =
        ["Berlin", "Paris", "Rome", "Vienna", "Madrid", "Lisbon", "London", "Dublin"].map(|city| in_zone(&format!("Europe/{city}")));
    assert_eq!(zone(&read(&elsewhere.concat()).unwrap()), "Europe/Berlin", "where no zone is left");
    assert!(complaint("[[site]]\nid = \"demo\"").contains("this is the demonstration's"));
}

#[test]
fn the_demonstration_belongs_to_wherever_the_private_listener_is_reached() {
    for (private, host, admitted) in [
        ("", "127.0.0.1", true),
        ("", "stats.internal", false),
        ("[private]\npublic_url = \"https://Stats.internal:8443/a\"", "stats.internal", true),
        ("[private]\nlisten = \"10.0.0.5:8081\"\ninsecure = true", "10.0.0.5", true),
        ("[private]\nlisten = \"[fd00::5]:8081\"\ninsecure = true", "[fd00::5]", true),
    ] {
        let config = read(private).unwrap();
        assert_eq!(config.sites.find("demo").unwrap().hosts.admit(host), admitted, "{host} of {private}");
        assert!(!config.sites.find("localhost").unwrap().hosts.admit("stats.internal"));
    }
}

#[test]
fn the_example_file_is_read_and_shows_the_defaults() {
    let example = read(include_str!("../../headcount.example.toml")).unwrap();
    let default = read("").unwrap();
    assert_eq!(example.public.listen, default.public.listen);
    assert_eq!(example.public.script_path, default.public.script_path);
    assert_eq!(example.public.event_path, default.public.event_path);
    assert_eq!(example.private.listen, default.private.listen);
    assert_eq!(example.close_after_hours, default.close_after_hours);
    assert_eq!(example.spool.max_bytes, default.spool.max_bytes);
    assert_eq!(example.spool.behind_after, default.spool.behind_after);
    assert_eq!(example.sites.zones()[0].name(), "Europe/Berlin");
    let policy = example.sites.find("example.org").unwrap().policy;
    assert_eq!(policy, default.sites.find("demo").unwrap().policy);
}

#[test]
fn the_example_file_without_its_comment_signs_names_every_key() {
    let example = include_str!("../../headcount.example.toml");
    let is_key = |text: &str| text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    let is_setting = |text: &str| text.starts_with('[') || text.split_once(" = ").is_some_and(|(key, _)| is_key(key));
    let uncommented: String = example
        .lines()
        .map(|line| line.strip_prefix("# ").filter(|rest| is_setting(rest)).unwrap_or(line))
        .fold(String::new(), |text, line| text + line + "\n");
    let without_engine = uncommented.replace("memory_bytes = 1_073_741_824", "").replace("library = \"/usr/lib/libchdb.so\"", "");
    let message = complaint(&without_engine);
    // Every key is known: reading gets as far as judging that a password file is not there.
    assert!(message.contains("clickhouse.password_file = /etc/headcount/clickhouse-password"), "{message}");
}

#[test]
fn policies_are_what_the_site_says() {
    let config = read(
        "[[site]]\nid = \"a\"\nconsent = { mode = \"consent\", without = \"anonymous\" }\ngpc = \"anonymous\"\nadvertising = \"drop\"\n\
         [[site]]\nid = \"b\"\nconsent = { ceiling = \"anonymous\" }\n",
    )
    .unwrap();
    let policy = config.sites.find("a").unwrap().policy;
    assert_eq!(policy.basis, Basis::Consent(Lowered::Anonymous));
    assert_eq!((policy.on_gpc, policy.on_advertising_refused), (Lowered::Anonymous, Lowered::Drop));
    assert_eq!(config.sites.find("b").unwrap().policy.basis, Basis::Exempt(Ceiling::Anonymous));
}

#[test]
fn a_wrong_value_is_told_with_its_place_key_value_and_what_is_allowed() {
    for (text, told) in [
        ("\nclose_after_hours = 12", "headcount.toml:2: close_after_hours = 12: must be 30 to 168"),
        (
            "[public]\nlisten = \"8080\"",
            "headcount.toml:2: public.listen = \"8080\": must be an address and a port, such as 127.0.0.1:8081",
        ),
        ("[public]\nworkers = 0", "headcount.toml:2: public.workers = 0: must be 1 to 64"),
        (
            "[public]\nevent_path = \"e\"",
            "headcount.toml:2: public.event_path = \"e\": must be a path such as /stats, of letters, digits and - . _ ~ /",
        ),
        (
            "[log]\nlevel = \"loud\"",
            "headcount.toml:2: log.level = \"loud\": must be \"error\", \"warn\", \"info\", \"debug\" or \"trace\"",
        ),
        ("[spool]\nmax_bytes = 5", "headcount.toml:2: spool.max_bytes = 5: must be 67108864 to 17592186044416 bytes"),
        ("[spool]\nbehind_after_seconds = 0", "headcount.toml:2: spool.behind_after_seconds = 0: must be 1 to 86400"),
        ("[engine]\nmemory_bytes = -1", "headcount.toml:2: engine.memory_bytes = -1: must be 536870912 to 1099511627776 bytes"),
        (
            "proxy = [\"10.0.0.0/8\", \"ten\"]",
            "headcount.toml:1: proxy = \"ten\": must be a network such as 10.0.0.0/8 or 2001:db8::/32, or one address",
        ),
        (
            "[[site]]\nid = \"a\"\n[[site]]\nid = \"b\"\ntimezone = \"Mars/Olympus\"",
            "headcount.toml:5: [[site]] number 2: timezone = \"Mars/Olympus\": must be a name of the IANA time zone database, such as Europe/Berlin",
        ),
        ("[[site]]\nid = \"a\"\n[[site]]\nid = \"a\"", "headcount.toml:4: [[site]] number 2: id = \"a\": must not stand twice"),
        (
            "[[site]]\nid = \"Example.org\"",
            "headcount.toml:2: [[site]] number 1: id = \"Example.org\": must be the site's domain (or another name of a-z, 0-9, - . _), in lower case; \
             international names in their xn-- form",
        ),
        (
            "[[site]]\nid = \"a\"\ngpc = \"count\"",
            "headcount.toml:3: [[site]] number 1: gpc = \"count\": must be \"drop\" or \"anonymous\"",
        ),
        (
            "[[site]]\nid = \"a\"\n[site.consent]\nmode = \"maybe\"",
            "headcount.toml:4: [[site]] number 1: consent.mode = \"maybe\": must be \"exempt\" or \"consent\"",
        ),
    ] {
        assert_eq!(complaint(text), told);
    }
}

#[test]
fn what_is_not_toml_or_not_a_key_is_told_with_its_line() {
    for (text, parts) in [
        ("data_dir = \"/a\"\npublik = 1", ["headcount.toml:2: publik: unknown field `publik`, expected one of `data_dir`", "`site`"]),
        ("[public]\nworkers = \"two\"", ["headcount.toml:2: public.workers: invalid type: string \"two\"", "expected a whole number"]),
        ("[[site]]\nid = 5", ["headcount.toml:2: site.id: invalid type: integer `5`", "expected a string"]),
        ("proxy = 5", ["headcount.toml:1: proxy: expected a preset (\"loopback\"", "{ trust = ..., header = ... }"]),
        ("data_dir = ", ["headcount.toml:1: ", "string values must be quoted, expected literal string"]),
    ] {
        let message = complaint(text);
        assert!(parts.iter().all(|part| message.contains(part)), "{message}");
    }
}

#[test]
fn what_would_collect_more_is_refused_and_names_the_promise() {
    for (text, promise) in [
        ("close_after_hours = 169", Promise::ShortLived),
        ("data_dir = \"/data\"\nkey_dir = \"/data/keys\"", Promise::KeysApart),
        ("proxy = \"nobody\"\n[clickhouse]\nurl = \"http://db.example.org:8123\"", Promise::NoPlainLink),
        ("[private]\nlisten = \"0.0.0.0:8081\"", Promise::OperatorOnly),
        ("[log]\nbodies = true", Promise::NothingRaw),
        ("[log]\nrequest_headers = true", Promise::NothingRaw),
        ("store_user_agent = true", Promise::NothingRaw),
        ("geo_city = \"/var/lib/GeoLite2-City.mmdb\"", Promise::CountryOnly),
        ("proxy = [\"0.0.0.0/0\"]", Promise::OwnAddress),
        ("proxy = [\"::/0\"]", Promise::OwnAddress),
        ("[[site]]\nid = \"a\"\nquery_keep = [\"*\"]", Promise::QueryByName),
        ("[[site]]\nid = \"a\"\npath_keep = [\"/*\"]", Promise::NothingRaw),
        ("[[site]]\nid = \"a\"\nk = 1", Promise::NoSmallCounts),
    ] {
        let message = complaint(text);
        assert!(message.contains(promise.text()), "{text}: {message}");
    }
}

#[test]
fn the_same_is_taken_when_it_stays_within_the_promise_or_is_said_outright() {
    for text in [
        "close_after_hours = 168",
        "close_after_hours = 30",
        "data_dir = \"/data\"\nkey_dir = \"/data-keys\"",
        "[clickhouse]\nurl = \"http://db.example.org:8123\"\nplaintext = true",
        "[clickhouse]\nurl = \"http://127.0.0.1:8123\"",
        "[clickhouse]\nurl = \"http://[::1]:8123/\"",
        "[clickhouse]\nurl = \"https://db.example.org:8443\"",
        "[private]\nlisten = \"0.0.0.0:8081\"\ninsecure = true",
        "[private]\nlisten = \"[::1]:8081\"",
        "proxy = { trust = [\"10.0.0.0/8\"], header = \"X-Real-IP\" }",
        "proxy = { trust = \"cloudflare\" }",
        "proxy = \"docker\"",
        "[[site]]\nid = \"a\"\nquery_keep = [\"page\"]\npath_keep = [\"/news/*\"]",
    ] {
        if let Err(error) = read(text) {
            panic!("{text}: {error}");
        }
    }
}

#[test]
fn secrets_are_not_repeated() {
    for text in [
        "[clickhouse]\nurl = \"https://ada:hunter2@db.example.org\"",
        "[clickhouse]\nurl = \"https://db.example.org\"\npassword = \"hunter2\\n\"",
        "[[site]]\nid = \"a\"\nsecret_sha256 = \"hunter2\"",
    ] {
        let message = complaint(text);
        assert!(!message.contains("hunter2"), "{message}");
    }
    let config = read("[clickhouse]\nurl = \"https://db.example.org\"\npassword = \"hunter2\"").unwrap();
    assert!(!format!("{config:?}").contains("hunter2"));
    assert!(matches!(config.store, Store::Server(server) if server.password.reveal() == "hunter2"));
}

#[test]
fn flags_win_over_the_file_and_are_blamed_for_their_own_values() {
    let overrides = Overrides {
        data_dir: Some("/elsewhere".into()),
        public_listen: Some("127.0.0.1:0".parse().unwrap()),
        private_listen: Some("192.0.2.1:81".parse().unwrap()),
        ..Overrides::default()
    };
    let text = "data_dir = \"/data\"\n[private]\nlisten = \"127.0.0.1:81\"\n";
    let Err(error) = Config::parse(text, None, &overrides, &surroundings()) else { panic!("was taken") };
    assert!(error.to_string().starts_with("--private-listen or HEADCOUNT_PRIVATE_LISTEN: private.listen = 192.0.2.1:81: "), "{error}");
    let overrides = Overrides { private_listen: None, ..overrides };
    let config = Config::parse(text, None, &overrides, &surroundings()).unwrap();
    assert_eq!(config.data_dir, Path::new("/elsewhere"));
    assert_eq!(config.public.listen.to_string(), "127.0.0.1:0");
}

#[test]
fn a_configuration_names_eight_zones_and_no_ninth() {
    let names = [
        "UTC",
        "Europe/Berlin",
        "Asia/Tokyo",
        "America/New_York",
        "Africa/Cairo",
        "Asia/Dubai",
        "America/Lima",
        "Europe/Paris",
        "Asia/Seoul",
    ];
    let sites = |count: usize| -> String {
        let entry = |(index, zone): (usize, &&str)| format!("[[site]]\nid = \"s{index}\"\ntimezone = \"{zone}\"\n");
        names.iter().take(count).enumerate().map(entry).collect()
    };
    assert_eq!(read(&sites(8)).unwrap().sites.zones().len(), 8);
    assert!(complaint(&sites(9)).contains("[[site]] number 9: timezone = \"Asia/Seoul\": must be one of the first 8 zones"));
}

#[test]
fn a_list_of_rules_has_a_bound() {
    let rules = |count: usize| format!("[[site]]\nid = \"a\"\nroutes = [{}]", "\"/a/*\", ".repeat(count));
    assert!(read(&rules(crate::limits::SITE_RULES)).is_ok());
    assert!(complaint(&rules(crate::limits::SITE_RULES + 1)).contains("routes = 201 entries: must be at most 200 entries"));
}

#[test]
fn the_threshold_has_a_least_and_a_most() {
    let k = |text: &str| read(&format!("[[site]]\nid = \"a\"\n{text}")).map(|config| config.sites.find("a").unwrap().k);
    assert_eq!((k("").unwrap(), k("k = 2").unwrap(), k("k = 1000").unwrap()), (5, 2, 1_000));
    for wrong in ["k = 1", "k = 0", "k = -3", "k = 1001"] {
        assert!(complaint(&format!("[[site]]\nid = \"a\"\n{wrong}")).contains("must be 2 to 1000"), "{wrong}");
    }
}

#[test]
fn the_tag_is_what_a_page_needs() {
    let config = read("[public]\nurl = \"https://stats.example.org/\"\nbase_path = \"/hc/\"\n[[site]]\nid = \"example.org\"").unwrap();
    assert_eq!(
        config.script_tag("example.org"),
        r#"<script defer src="https://stats.example.org/hc/h.js" data-site="example.org"></script>"#
    );
    for (listen, url) in [
        ("0.0.0.0:8080", "http://localhost:8080"),
        ("[::]:80", "http://localhost:80"),
        ("127.0.0.1:8080", "http://localhost:8080"),
        ("10.0.0.5:8080", "http://10.0.0.5:8080"),
    ] {
        assert_eq!(read(&format!("[public]\nlisten = \"{listen}\"")).unwrap().visitors_url(), url);
    }
}
