//! Attack: somebody talks the operator into a configuration that collects more than is promised.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use headcount::config::Promise;
use headcount_tests::collector::Setup;
use headcount_tests::leaky;

const SITE: &str = "[engine]\nmemory_bytes = 536870912\n[[site]]\nid = \"a.example\"\n";

/// Starts the collector; what it says, if it ends by itself and in disorder, and `None` if it serves.
fn refusal(setup: &Setup) -> Option<String> {
    let mut child = setup.command(&["serve"]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || tell.send(out.lines().map_while(Result::ok).any(|line| line.starts_with("visitors"))));
    if told.recv_timeout(Duration::from_mins(1)).expect("it serves or it ends") {
        // In order, so that its engine has ended too when the folder goes.
        assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
        child.wait().unwrap();
        return None;
    }
    let output = child.wait_with_output().unwrap();
    assert!(!output.status.success(), "a refusal to start is a failure");
    Some(String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn what_would_collect_more_does_not_start_and_the_promise_is_named() {
    for (widening, promise) in [
        ("close_after_hours = 169\n", Promise::ShortLived),
        ("geo_city = \"/var/lib/city.mmdb\"\n", Promise::CountryOnly),
        ("store_user_agent = true\n", Promise::NothingRaw),
        ("[log]\nbodies = true\n", Promise::NothingRaw),
        ("[log]\nrequest_headers = true\n", Promise::NothingRaw),
        ("[clickhouse]\nurl = \"http://db.example.org:8123\"\n", Promise::NoPlainLink),
        ("proxy = [\"0.0.0.0/0\"]\n", Promise::OwnAddress),
        ("[[site]]\nid = \"b.example\"\nquery_keep = [\"*\"]\n", Promise::QueryByName),
        ("[[site]]\nid = \"b.example\"\nk = 1\n", Promise::NoSmallCounts),
        ("[[site]]\nid = \"b.example\"\npath_keep = [\"/*\"]\n", Promise::NothingRaw),
    ] {
        // A table can only follow what is outside of tables.
        let engine = if widening.contains("[clickhouse]") { "[[site]]\nid = \"a.example\"\n" } else { SITE };
        let setup = Setup::new("wide", &format!("{widening}{engine}"));
        let told = refusal(&setup).unwrap_or_else(|| panic!("{widening} was taken"));
        assert!(told.contains(promise.text()), "{widening}: {told}");
        let (status, told) = setup.run(&["check-config"]);
        assert!(!status.success() && told.contains(promise.text()), "{widening}: {told}");
        assert!(!setup.data().exists(), "{widening}: nothing was begun");
    }
    let setup = Setup::new("wide", "");
    setup.configure(&format!("key_dir_of_nobody = 1\n{SITE}"));
    assert!(refusal(&setup).is_some(), "a key that nobody knows is not passed over");
}

#[test]
fn keys_beside_the_data_do_not_start() {
    let setup = Setup::new("beside", SITE);
    let inside = setup.data().join("keys");
    let output = setup.command(&["--key-dir", &inside.display().to_string(), "check-config"]).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && told.contains(Promise::KeysApart.text()), "{told}");
}

#[test]
fn the_operators_pages_on_an_open_port_do_not_start() {
    let setup = Setup::new("open", &format!("[private]\nlisten = \"0.0.0.0:8081\"\n{SITE}"));
    // Without the flags of the harness, which name another address.
    let mut command = Command::new(headcount_tests::binaries().join("headcount"));
    let output = command.arg("--config").arg(setup.config_path()).arg("serve").output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && told.contains(Promise::OperatorOnly.text()), "{told}");
}

/// The control: without the judgements, each widening that has a key of its own is taken. The others have no key and no code that could take them.
#[test]
fn a_collector_that_does_not_judge_takes_every_widening() {
    let unjudged =
        |config: &str| Setup::new("unjudged", config).with_program(leaky::program()).with_variable(leaky::LEAK, "widening_accepted");
    for widening in [
        "close_after_hours = 169\n",
        "proxy = [\"0.0.0.0/0\"]\n",
        "[[site]]\nid = \"b.example\"\nquery_keep = [\"*\"]\n",
        "[[site]]\nid = \"b.example\"\npath_keep = [\"/*\"]\n",
        "[clickhouse]\nurl = \"http://db.example.org:8123\"\n",
    ] {
        let (status, told) = unjudged(widening).run(&["check-config"]);
        assert!(status.success(), "{widening}: {told}");
    }
    let beside = unjudged(SITE);
    let (status, told) = beside.run(&["--key-dir", &beside.data().join("keys").display().to_string(), "check-config"]);
    assert!(status.success(), "{told}");
    let open = unjudged(&format!("[private]\nlisten = \"0.0.0.0:8081\"\n{SITE}"));
    // Without the flags of the harness, which name another address.
    let mut command = Command::new(leaky::program());
    command.arg("--config").arg(open.config_path()).arg("check-config").env(leaky::LEAK, "widening_accepted");
    assert!(command.output().unwrap().status.success());
}

/// And each of the above starts once the widening is gone.
#[test]
fn the_same_without_the_widening_starts() {
    assert_eq!(
        refusal(&Setup::new("narrow", &format!("close_after_hours = 168\nproxy = \"nobody\"\n[log]\nlevel = \"trace\"\n{SITE}"))),
        None
    );
}

/// A country database that knows a city besides: one node, one record for the lower half of IPv4. Format: <https://maxmind.github.io/MaxMind-DB/>.
fn city_database() -> Vec<u8> {
    fn text(text: &str) -> Vec<u8> {
        [&[0x40 | u8::try_from(text.len()).unwrap()], text.as_bytes()].concat()
    }
    let record = [vec![0xe2], text("country_code"), text("DE"), text("city"), text("Potsdam")].concat();
    let tree = [0, 0, 17, 0, 0, 1];
    let fields: [(&str, Vec<u8>); 9] = [
        ("binary_format_major_version", vec![0xa1, 2]),
        ("binary_format_minor_version", vec![0xa0]),
        ("build_epoch", vec![0x04, 0x02, 0x6a, 0x1d, 0xec, 0x7a]),
        ("database_type", text("Country")),
        ("description", vec![0xe0]),
        ("ip_version", vec![0xa1, 4]),
        ("languages", vec![0x00, 0x04]),
        ("node_count", vec![0xc1, 1]),
        ("record_size", vec![0xa1, 24]),
    ];
    let metadata: Vec<u8> = fields.into_iter().flat_map(|(key, value)| [text(key), value].concat()).collect();
    [&tree[..], &[0; 16], &record, b"\xab\xcd\xefMaxMind.com", &[0xe9], &metadata].concat()
}

#[test]
fn a_database_that_knows_cities_is_not_opened() {
    let started = |setup: Setup| {
        let path = setup.path().join("countries.mmdb");
        std::fs::write(&path, city_database()).unwrap();
        setup.configure(&format!("geo = \"{}\"\n{SITE}", path.display()));
        refusal(&setup)
    };
    let told = started(Setup::new("city", "")).expect("it was opened");
    assert!(told.contains("a country is the finest place"), "{told}");
    let control = started(Setup::new("city", "").with_program(leaky::program()).with_variable(leaky::LEAK, "city_accepted"));
    assert_eq!(control, None, "the control is refused for another reason");
}
