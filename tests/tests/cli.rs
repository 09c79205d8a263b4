//! The operator's commands beside a collector that runs, and after it has stopped.

use headcount_tests::collector::Setup;
use headcount_tests::http;

const SITE: &str = "[public]\nworkers = 1\n[[site]]\nid = \"example.org\"\ntimezone = \"Europe/Berlin\"\n";
const VIEW: &str = r#"{"site":"example.org","url":"https://example.org/a"}"#;

fn without_clickhouse(name: &str) -> Setup {
    Setup::new(name, &format!("[clickhouse]\nurl = \"http://127.0.0.1:9\"\n{SITE}"))
}

/// Runs a command that must succeed; its output, a line each.
fn lines(setup: &Setup, arguments: &[&str]) -> Vec<String> {
    let (status, said) = setup.run(arguments);
    assert!(status.success(), "{arguments:?}: {said}");
    said.lines().map(str::to_owned).collect()
}

#[test]
fn the_spool_is_listed_and_checked_while_it_is_written_and_after() {
    let setup = without_clickhouse("cli-spool");
    assert_eq!(lines(&setup, &["spool", "ls"]).len(), 1, "nothing but the names of the columns");
    let collector = setup.start();
    for _ in 0..2 {
        assert_eq!(collector.beacon(VIEW).status, 204);
    }
    let running = lines(&setup, &["spool", "ls"]);
    assert!(running.iter().any(|line| line.contains("\tevents\tEurope/Berlin\t")), "{running:?}");
    assert!(lines(&setup, &["spool", "verify"]).last().unwrap().ends_with(" sound, 0 not"));
    collector.kill();
    let left = lines(&setup, &["spool", "ls"]);
    let path = left.iter().find(|line| line.contains("\tevents\t")).unwrap().rsplit('\t').next().unwrap();
    // The first of two frames: damage at the end of an unsealed segment would be what a crash leaves of an unfinished write.
    let mut bytes = std::fs::read(path).unwrap();
    let place = bytes.windows(4).position(|window| window == b"FRM1").unwrap() + 20;
    bytes[place] ^= 1;
    std::fs::write(path, bytes).unwrap();
    let (status, said) = setup.run(&["spool", "verify"]);
    assert!(status.code() == Some(1) && said.contains(path) && said.contains(", 1 not"), "{said}");
}

#[test]
fn births_of_keys_are_logged_and_the_living_are_told() {
    let setup = without_clickhouse("cli-keys");
    assert_eq!(lines(&setup, &["keys", "log"]), ["time\twhat\tzone\tday\tcheck"]);
    let collector = setup.start();
    let log = lines(&setup, &["keys", "log"]);
    assert!(log[1..].iter().all(|line| line.contains("\tbirth\t")) && log[1].contains("\tEurope/Berlin\t"), "{log:?}");
    let status = lines(&setup, &["keys", "status"]);
    assert!(status.len() == log.len() && status[1].starts_with("Europe/Berlin\t") && status[1].ends_with("\tthere"), "{status:?}");
    collector.kill();
    assert_eq!(lines(&setup, &["keys", "status"]), status, "a restart finds the key");
}

#[test]
fn a_configuration_is_called_right_or_wrong_with_its_place() {
    let setup = without_clickhouse("cli-config");
    let right = lines(&setup, &["check-config"]);
    assert!(right[0].ends_with("headcount.toml: right") && right.contains(&"site example.org (Europe/Berlin)".to_owned()), "{right:?}");
    for (config, told) in [
        ("close_after_hours = 3", "close_after_hours = 3: must be "),
        ("[[site]]\nid = \"example.org\"\ntimezone = \"Europe/Atlantis\"", "timezone = \"Europe/Atlantis\": "),
        ("[public]\nport = 80", "port"),
    ] {
        setup.configure(config);
        let (status, said) = setup.run(&["check-config"]);
        assert!(status.code() == Some(1) && said.contains("headcount.toml:") && said.contains(told), "{said}");
    }
}

#[test]
fn clickhouse_is_asked_and_not_changed() {
    let setup = Setup::new("cli-sql", SITE);
    let (status, said) = setup.run(&["sql", "SELECT 1"]);
    assert!(status.code() == Some(1) && said.contains("no engine answers"), "{said}");
    let collector = setup.start();
    assert_eq!(collector.beacon(VIEW).status, 204);
    let page = collector.wait_until("the event in its table", |_| {
        let (status, said) = setup.run(&["sql", "SELECT page FROM events WHERE site = 'example.org'"]);
        (status.success() && said.lines().count() == 2).then_some(said)
    });
    assert_eq!(page, "page\n/a\n");
    assert_eq!(lines(&setup, &["sql", "--form", "json", "SELECT 1 AS one"]), [r#"{"one":1}"#]);
    for change in ["DROP TABLE events", "INSERT INTO events (site) VALUES ('x')", "SET readonly = 0"] {
        let (status, said) = setup.run(&["sql", change]);
        assert!(status.code() == Some(1), "{change}: {said}");
    }
    assert_eq!(lines(&setup, &["sql", "SELECT count() FROM events"]).last().unwrap(), "1");
    assert!(collector.stop().success());
}

#[test]
fn a_token_is_good_while_it_stands_in_the_list_and_no_longer() {
    let setup = without_clickhouse("cli-token");
    let collector = setup.start();
    let token = lines(&setup, &["token", "add", "--role", "analyst", "--site", "example.org", "--days", "1"]).remove(0);
    let bearer = format!("Authorization: Bearer {token}");
    let ask = || http::send(collector.private(), "GET", "/v1/sites", &[&bearer], b"").unwrap();
    let answer = ask();
    assert_eq!(answer.status, 200);
    let told = answer.text();
    assert!(told.contains(r#""role":"analyst""#) && told.contains(r#""id":"example.org""#) && !told.contains(r#""id":"demo""#), "{told}");
    let listed = lines(&setup, &["token", "ls"]);
    let id = listed[1].split('\t').next().unwrap();
    lines(&setup, &["token", "revoke", id]);
    assert_eq!(ask().status, 401);
    let (status, said) = setup.run(&["token", "revoke", id]);
    assert!(status.code() == Some(1) && said.contains("there is no token"), "{said}");
    let kept = std::fs::read_to_string(setup.data().join("tokens.json")).unwrap();
    assert!(!kept.contains(&token), "the token itself is nowhere");
}
