//! One collector a data folder, and what it takes over while it runs.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test that cannot go on fails; it waits and measures as it needs")]

use headcount_tests::collector::Setup;

/// Nothing here needs ClickHouse.
const CONFIG: &str = "[public]\nworkers = 1\n[engine]\nlibrary = \"/nonexistent/libchdb.so\"\n";

#[test]
fn a_second_collector_on_the_folder_is_refused_in_one_clear_line() {
    let setup = Setup::new("second", CONFIG);
    let collector = setup.start();
    let (status, said) = setup.run(&["serve"]);
    assert!(!status.success());
    assert!(said.contains("another headcount is running there") && said.contains(&setup.data().display().to_string()), "{said}");
    assert_eq!(collector.beacon(r#"{"site":"localhost","kind":"pageview","url":"http://localhost/"}"#).status, 204);
    collector.kill();
    // The claim ended with the process.
    assert!(setup.start().stop().success());
}

#[test]
fn a_site_that_is_added_is_served_without_a_restart() {
    let setup = Setup::new("added", CONFIG);
    let collector = setup.start();
    let event = r#"{"site":"example.org","kind":"pageview","url":"https://www.example.org/"}"#;
    assert_eq!(collector.beacon(event).status, 400);
    let (status, said) = setup.run(&["site", "add", "example.org", "--timezone", "Europe/Berlin"]);
    assert!(status.success() && said.contains("has been told to read it"), "{said}");
    collector.wait_until("the new site", |collector| (collector.beacon(event).status == 204).then_some(()));
    assert!(collector.metric("headcount_spool_events").unwrap() > 0.5);
    // A configuration that cannot be read changes nothing.
    setup.configure("nonsense = 1\n");
    collector.signal("HUP");
    assert_eq!(collector.beacon(event).status, 204);
    assert!(collector.stop().success());
}
