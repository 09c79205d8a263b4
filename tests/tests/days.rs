//! The days of a collector as it runs: what `headcount days` says of each and why, and what is 25 months old.

use headcount::clock::{Clock, Day, UnixMillis, Zone};
use headcount_tests::collector::{Collector, Setup};
use headcount_tests::delivery::execute;

const HOUR: i64 = 3_600_000;
const DAY_MILLIS: i64 = 24 * HOUR;

fn small(name: &str) -> Setup {
    Setup::new(name, "[public]\nworkers = 1\n[engine]\nmemory_bytes = 1073741824\n[[site]]\nid = \"a.example\"\n")
}

fn day_of(at: i64) -> String {
    Zone::utc().day_of(UnixMillis(at)).to_string()
}

fn see(collector: &Collector, page: &str) {
    assert_eq!(collector.beacon(&format!(r#"{{"site":"a.example","url":"https://a.example{page}"}}"#)).status, 204);
}

/// What `headcount days` says of a day, from its state on.
fn standing(setup: &Setup, day: &str) -> Option<String> {
    let (status, said) = setup.run(&["days"]);
    assert!(status.success() && said.starts_with("day\tzone\tstate\tevents\twhy\n"), "{said}");
    said.lines().find_map(|line| line.strip_prefix(&format!("{day}\tUTC\t"))).map(str::to_owned)
}

#[tokio::test]
async fn each_day_stands_as_it_does_and_says_why() {
    // The command asks the machine what time it is. So the collector lives in the past at first, and closes nothing that is over for everybody else.
    let now = Clock::system().now().0;
    let (past, today) = (day_of(now - 4 * DAY_MILLIS), day_of(now));
    let setup = small("days").on_stage(now - 4 * DAY_MILLIS);
    let mut collector = setup.start();
    let client = setup.database();

    see(&collector, "/");
    collector.wait_for_events(1);
    collector.drained();
    assert_eq!(standing(&setup, &past).unwrap(), "waiting\t1\tit is over, and is closed as soon as the collector comes to it");

    execute(&client, "ALTER TABLE events ADD CONSTRAINT rule CHECK page != '/poison'").await;
    see(&collector, "/poison");
    collector.wait_until("a parked segment", |_| std::fs::read_dir(setup.data().join("spool/parked")).ok()?.next().map(drop));
    assert_eq!(standing(&setup, &past).unwrap(), "waiting\t1\t1 segments of the spool hold events of it: see `headcount spool ls`");

    // The collector comes to today. It says the same in its log, and closes nothing.
    collector.set_clock(now);
    see(&collector, "/");
    collector.wait_for_events(2);
    let takes_until = standing(&setup, &today).unwrap();
    assert_eq!(takes_until, format!("open\t1\ttakes events until {}T22:00:00Z", day_of(now + DAY_MILLIS)));
    collector.wait_for_line("a day is over, and the spool still holds events of it: it is closed after them");
    assert!(standing(&setup, &past).unwrap().starts_with("waiting\t1\t1 segments"));

    // Given up by the operator, it holds nothing up any more.
    let batch = setup.run(&["spool", "ls"]).1;
    let batch = batch.lines().find(|line| line.contains("parked")).unwrap().split_whitespace().find(|word| word.parse::<u64>().is_ok());
    let (status, said) = setup.run(&["spool", "drop", batch.unwrap(), "--yes"]);
    assert!(status.success(), "{said}");
    collector.set_clock(now + 61_000);
    collector.wait_until("the day to be closed", |_| standing(&setup, &past)?.starts_with("closed\t0\tsince ").then_some(()));
    execute(&client, "TRUNCATE TABLE rollup_waiting").await;
    assert!(standing(&setup, &past).unwrap().ends_with("Z; nothing of it waits"));
    execute(
        &client,
        &format!("INSERT INTO rollup_waiting (zone, day, site, dimension, value) VALUES ('UTC', '{past}', 'a.example', 'page', '/')"),
    )
    .await;
    assert!(standing(&setup, &past).unwrap().ends_with("Z; 1 figures are too small to be named and wait for its week or month"));
    assert!(collector.stop().success());
}

#[tokio::test]
async fn figures_that_are_25_months_old_are_gone_and_younger_ones_stay() {
    let at = |day: &str, hour: i64| Zone::utc().start_of(day.parse::<Day>().unwrap()).0 + hour * HOUR;
    let mut setup = small("retention").on_stage(at("2027-08-01", 12));
    let collector = setup.start();
    // Dates are ahead of the machine's clock, by which ClickHouse itself would let old rows go at a merge.
    let client = setup.database();
    collector.wait_until("the tables", |_| setup.run(&["sql", "SELECT count() FROM rollup_waiting"]).0.success().then_some(()));
    let tables = [
        ("rollup_closed", "site, dimension", "'a', 'all'"),
        ("outcomes_daily", "site, reason", "'a', 'dnt'"),
        ("days", "what, at", "'closed', 0"),
    ];
    for (table, columns, values) in tables {
        for month in ["2027-04", "2027-05", "2027-06", "2027-07"] {
            execute(&client, &format!("INSERT INTO {table} (zone, day, {columns}) VALUES ('UTC', '{month}-30', {values})")).await;
        }
    }
    assert!(collector.stop().success());
    // After each start: which months go, and which stay.
    for (now, gone, kept) in [
        (at("2029-06-30", 23), [202_704, 202_705].as_slice(), [202_706, 202_707].as_slice()),
        (at("2029-07-01", 1), &[202_706], &[202_707]),
    ] {
        setup = setup.on_stage(now);
        let mut collector = setup.start();
        // `days` is the last table, and its months go in any order.
        for month in gone {
            collector.wait_for_line(&format!("figures that are 25 months old are gone table=\"days\" month={month}"));
        }
        let client = setup.database();
        for (table, ..) in tables {
            let months = format!("SELECT DISTINCT toYYYYMM(day) AS month FROM {table} ORDER BY month");
            assert_eq!(client.query_raw(&months).fetch_all::<u32>().await.unwrap(), kept, "{table}, at {now}");
        }
        assert!(collector.stop().success());
    }
}
