//! What the API tells of a day before it is closed and after: the same, up to what closing says it folds.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;

use headcount::clock::Day;
use headcount::store::close::{Closing, Thresholds};
use headcount::store::days::ZoneDay;
use headcount_tests::figures::stage::{DAYS, METRICS, NOW, Stage, told, written};
use headcount_tests::figures::{Asked, dimensions};
use serde_json::Value;

/// One with a change of its clocks, and one without ids.
const SITES: &[&str] = &["angeles.example", "without.example"];

const ENGINE: &str = env!("CARGO_BIN_EXE_engine_child");

/// Rows of an answer by their keys.
type Rows = BTreeMap<Vec<String>, Vec<Option<f64>>>;

/// A question about one day of a site, by its index in the list of questions.
type Place = (&'static str, Day, usize);

/// Every dimension and the whole site, alone and by the hour, with every metric that each tells.
fn questions(day: Day) -> Vec<Asked> {
    let alone = |dimensions: Vec<&'static str>, interval| {
        let mut asked = Asked { metrics: Vec::new(), dimensions, filters: Vec::new(), days: (day, day), interval };
        asked.metrics = METRICS.iter().copied().filter(|metric| asked.tells(metric)).collect();
        asked
    };
    let whole = [None, Some("hour")].map(|interval| alone(Vec::new(), interval));
    whole.into_iter().chain(dimensions().into_iter().map(|name| alone(vec![name], None))).collect()
}

/// Every answer, with its totals.
async fn answers(stage: &Stage) -> BTreeMap<Place, (Asked, Rows, Value)> {
    let mut answers = BTreeMap::new();
    for (site, today) in &stage.today {
        for day in (today.0 + 1 - DAYS..=today.0).map(Day) {
            for (index, asked) in questions(day).into_iter().enumerate() {
                let (status, answer) = stage.query(&written(site, &asked)).await;
                assert_eq!(status, 200, "{asked:?}: {answer}");
                let rows = told(&answer, asked.metrics.len());
                answers.insert((*site, day, index), (asked, rows, answer["totals"].clone()));
            }
        }
    }
    answers
}

async fn close_all(stage: &Stage) {
    let without = vec!["without.example".to_owned()];
    let thresholds = Thresholds {
        sites: SITES.iter().map(|site| (*site).to_owned()).collect(),
        ks: vec![5; SITES.len()],
        without,
        ..Thresholds::default()
    };
    for (site, today) in &stage.today {
        for day in (today.0 + 1 - DAYS..=today.0).map(Day) {
            let zone_day = ZoneDay { zone: stage.zones[site].to_owned(), day };
            Closing { client: &stage.client, day: &zone_day, through: day, thresholds: &thresholds, now: NOW }.run().await.unwrap();
        }
    }
}

fn alike(before: &[Option<f64>], after: &[Option<f64>]) -> bool {
    before.iter().zip(after).all(|(before, after)| match (before, after) {
        (Some(before), Some(after)) => (before - after).abs() <= 1e-9 * before.abs().max(1.0),
        (before, after) => before == after,
    })
}

/// How many named rows closing has kept, and how many it has folded.
#[derive(Debug, Default)]
struct Compared {
    kept: usize,
    folded: usize,
}

/// Whether a row is a cell of its own.
fn is_named(key: &[String]) -> bool {
    key.iter().all(|text| text != "(other)")
}

/// Compares two rounds of answers; says what differs otherwise than by folding.
fn compared(before: &BTreeMap<Place, (Asked, Rows, Value)>, after: &BTreeMap<Place, (Asked, Rows, Value)>) -> Result<Compared, String> {
    let mut compared = Compared::default();
    for (place, (asked, was, totals)) in before {
        let (_, is, totals_after) = &after[place];
        if asked.dimensions.is_empty() && (was, totals) != (is, totals_after) {
            return Err(format!("{asked:?}: {was:?} {totals} and then {is:?} {totals_after}"));
        }
        for key in is.keys().filter(|key| is_named(key)) {
            match was.get(key) {
                Some(figures) if alike(figures, &is[key]) => compared.kept += 1,
                figures => return Err(format!("{place:?}, {key:?}: {figures:?} and then {:?} of {:?}", is[key], asked.metrics)),
            }
        }
        compared.folded += was.keys().filter(|key| is_named(key) && !is.contains_key(*key)).count();
    }
    Ok(compared)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_figures_of_a_day_are_the_same_before_and_after_it_is_closed() {
    let stage = Stage::set(ENGINE, "before_after", SITES).await;
    let before = answers(&stage).await;
    close_all(&stage).await;
    let mut after = answers(&stage).await;
    let all = compared(&before, &after).unwrap();
    assert!(all.kept > 500 && all.folded * 20 < all.kept, "{all:?}");

    // The control: one more in one cell is found.
    let named = |(asked, rows, _): &&mut (Asked, Rows, Value)| !asked.dimensions.is_empty() && rows.keys().any(|key| is_named(key));
    let (_, rows, _) = after.values_mut().find(named).unwrap();
    let (_, figures) = rows.iter_mut().find(|(key, _)| is_named(key)).unwrap();
    *figures.iter_mut().flatten().next().unwrap() += 1.0;
    compared(&before, &after).unwrap_err();
}
