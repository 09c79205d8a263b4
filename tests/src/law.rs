//! The conservation law, read from `/metrics` alone: every event that arrived has one outcome, and every accepted one is in one place.

use crate::collector::Collector;

/// Checks both halves of the law at a quiet moment; returns how many events are in the spool.
///
/// # Panics
///
/// When an event is missing or counted twice.
pub fn assert_holds(collector: &Collector) -> f64 {
    let (waiting, contradictions) = read(collector);
    assert!(contradictions.is_empty(), "{contradictions:?}");
    waiting
}

/// How many events are in the spool, and which half of the law does not hold, in figures.
pub fn read(collector: &Collector) -> (f64, Vec<String>) {
    let text = collector.operator("/metrics").text();
    let sum = |prefix: &str| -> f64 {
        let values = text.lines().filter(|line| line.starts_with(prefix)).filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        values.sum()
    };
    let outcomes = |outcome: &str| sum(&format!("headcount_events_total{{outcome=\"{outcome}\""));
    let accepted = outcomes("accepted");
    let received = sum("headcount_events_received_total");
    let (refused, dropped, duplicate) = (outcomes("refused"), outcomes("dropped"), outcomes("duplicate"));
    let recovered = sum("headcount_recovered_events");
    let inserted = sum("headcount_inserted_rows_total{table=\"events\"");
    let (parked, waiting) = (sum("headcount_parked_events"), sum("headcount_spool_events"));
    let (stripped, discarded) = (sum("headcount_stripped_events"), sum("headcount_discarded_events_total"));
    let lost = sum("headcount_lost_events_total");
    let mut contradictions = Vec::new();
    if (received - accepted - refused - dropped - duplicate).abs() > 0.5 {
        contradictions.push(format!("{received} = {accepted} + {refused} + {dropped} + {duplicate}"));
    }
    if (accepted + recovered - inserted - parked - waiting - stripped - discarded - lost).abs() > 0.5 {
        contradictions.push(format!(
            "{accepted} accepted + {recovered} recovered = \
             {inserted} inserted + {parked} parked + {waiting} waiting + {stripped} stripped + {discarded} discarded + {lost} lost to damage"
        ));
    }
    (waiting, contradictions)
}
