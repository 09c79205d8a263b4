//! `/metrics`: every name under which Headcount is scraped, in one file.
//!
//! The conservation law can be read from it at any quiet moment: `headcount_events_received_total` is the sum of `headcount_events_total`, and of those
//! the accepted ones, and what the process found in the spool when it started (`headcount_recovered_events`), are
//! `headcount_inserted_rows_total{table="events"}` + `headcount_parked_events` + `headcount_spool_events` + `headcount_stripped_events` +
//! `headcount_discarded_events_total` + `headcount_lost_events_total`. Of the inserted rows, the table has those that were neither deleted since
//! (`headcount_deleted_events_total`) nor of a day that is closed.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use crate::metrics::Noted;
use crate::outcome::Outcome;

/// Everything that is scraped, read at one moment.
#[derive(Debug, Default)]
pub struct Reading {
    /// Events by outcome, in the order of [`Outcome::all`].
    pub outcomes: Vec<u64>,
    /// What else was noted, in the order of [`Noted::ALL`].
    pub noted: Vec<u64>,
    /// Numbers that only grow: name, help, and a value for each label.
    pub counters: Vec<Family<u64>>,
    /// Numbers that come and go.
    pub gauges: Vec<Family<f64>>,
}

/// One name, with a value for each value of its one label, or without a label.
#[derive(Debug)]
pub struct Family<T> {
    /// The name, without `headcount_` and without `_total`.
    pub name: &'static str,
    /// What it counts.
    pub help: &'static str,
    /// The label's name; empty without a label.
    pub label: &'static str,
    /// Label values and numbers.
    pub values: Vec<(String, T)>,
}

impl<T> Family<T> {
    /// A number without a label.
    pub fn single(name: &'static str, help: &'static str, value: T) -> Self {
        Self { name, help, label: "", values: vec![(String::new(), value)] }
    }
}

impl Reading {
    /// The text format that Prometheus scrapes.
    pub fn render(self) -> String {
        let mut registry = Registry::with_prefix("headcount");
        registry.register_collector(Box::new(self));
        let mut text = String::new();
        // Writing into a String fails only if a name is not one, which the test below would show.
        let _ = prometheus_client::encoding::text::encode(&mut text, &registry);
        #[cfg(feature = "leaky")]
        text.push_str(&crate::leak::labels());
        text
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    outcome: &'static str,
    reason: &'static str,
}

impl Collector for Reading {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let received: u64 = self.outcomes.iter().sum();
        counter(&mut encoder, &Family::single("events_received", "Events that arrived; an unreadable body counts as one", received))?;
        let outcomes = ConstCounter::new(0_u64);
        let mut family = encoder.encode_descriptor("events", "Events by what became of them", None, outcomes.metric_type())?;
        for (outcome, count) in Outcome::all().zip(&self.outcomes) {
            let labels = OutcomeLabels { outcome: outcome.family(), reason: outcome.label() };
            ConstCounter::new(*count).encode(family.encode_family(&labels)?)?;
        }
        let noted = Noted::ALL.iter().zip(&self.noted).map(|(noted, count)| (noted.label().to_owned(), *count)).collect();
        counter(
            &mut encoder,
            &Family { name: "noted", help: "What else was noted about requests and events", label: "what", values: noted },
        )?;
        for family in &self.counters {
            counter(&mut encoder, family)?;
        }
        self.gauges.iter().try_for_each(|family| gauge(&mut encoder, family))
    }
}

fn counter(encoder: &mut DescriptorEncoder<'_>, family: &Family<u64>) -> Result<(), fmt::Error> {
    let metric_type = ConstCounter::new(0_u64).metric_type();
    let mut metric = encoder.encode_descriptor(family.name, family.help, None, metric_type)?;
    for (value, count) in &family.values {
        let counter = ConstCounter::new(*count);
        if family.label.is_empty() {
            return counter.encode(metric);
        }
        counter.encode(metric.encode_family(&[(family.label, value.as_str())])?)?;
    }
    Ok(())
}

fn gauge(encoder: &mut DescriptorEncoder<'_>, family: &Family<f64>) -> Result<(), fmt::Error> {
    let metric_type = ConstGauge::new(0.0_f64).metric_type();
    let mut metric = encoder.encode_descriptor(family.name, family.help, None, metric_type)?;
    for (value, number) in &family.values {
        let gauge = ConstGauge::new(*number);
        if family.label.is_empty() {
            return gauge.encode(metric);
        }
        gauge.encode(metric.encode_family(&[(family.label, value.as_str())])?)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_stands_under_its_family_and_the_sum_is_what_was_received() {
        let reading = Reading {
            outcomes: (1..=Outcome::COUNT as u64).collect(),
            noted: vec![7; Noted::ALL.len()],
            counters: vec![Family { name: "inserted_rows", help: "h", label: "table", values: vec![("events".into(), 5)] }],
            gauges: vec![Family::single("spool_bytes", "h", 2.5)],
        };
        let text = reading.render();
        let sum = Outcome::COUNT * (Outcome::COUNT + 1) / 2;
        for line in [
            format!("headcount_events_received_total {sum}"),
            "headcount_events_total{outcome=\"accepted\",reason=\"pseudonymous\"} 1".into(),
            "headcount_events_total{outcome=\"dropped\",reason=\"dnt\"} 4".into(),
            "headcount_noted_total{what=\"unknown_fields\"} 7".into(),
            "headcount_inserted_rows_total{table=\"events\"} 5".into(),
            "headcount_spool_bytes 2.5".into(),
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
    }
}
