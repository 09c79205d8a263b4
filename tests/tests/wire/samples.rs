//! Every sample event, through every door: in each form of a batch, as a beacon, and as a pixel.

use serde_json::{Value, json};

use super::*;

/// A sample event and what becomes of it.
struct Sample {
    name: String,
    event: Value,
    verdict: String,
    field: Option<String>,
    reason: Option<String>,
}

fn samples() -> Vec<Sample> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/events");
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let read = |path: &std::path::PathBuf| {
        let sample: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        Sample {
            name: path.file_stem().unwrap().to_string_lossy().into_owned(),
            event: sample["event"].clone(),
            verdict: text(&sample["verdict"]).unwrap(),
            field: text(&sample["field"]),
            reason: text(&sample["reason"]),
        }
    };
    paths.iter().map(read).collect()
}

/// The answer to a batch of all samples.
fn expected(samples: &[Sample]) -> Value {
    let mut dropped = serde_json::Map::new();
    let mut rejected = Vec::new();
    for (index, sample) in samples.iter().enumerate() {
        match (&*sample.verdict, &sample.reason) {
            ("dropped", Some(reason)) => {
                let count = dropped.get(reason).and_then(Value::as_u64).unwrap_or(0);
                dropped.insert(reason.clone(), json!(count + 1));
            }
            ("refused", Some(reason)) => {
                let mut entry = json!({ "index": index, "reason": reason });
                if let Some(field) = &sample.field {
                    entry["field"] = json!(field);
                }
                rejected.push(entry);
            }
            _ => {}
        }
    }
    let accepted = samples.iter().filter(|sample| sample.verdict == "accepted").count();
    json!({ "accepted": accepted, "dropped": dropped, "rejected": rejected })
}

#[test]
fn every_sample_is_judged_alike_in_every_form_of_a_batch() {
    let setup = Setup::new("samples", CONFIG);
    let collector = setup.start();
    let samples = samples();
    let events: Vec<String> = samples.iter().map(|sample| sample.event.to_string()).collect();
    let (array, lines) = (format!("[{}]", events.join(",")), events.join("\n"));
    // Those with an id of their own are stored once; every other form is told that they were stored before.
    let accepted = samples.iter().filter(|sample| sample.verdict == "accepted");
    let (with_id, without): (Vec<_>, Vec<_>) = accepted.partition(|sample| sample.event["id"].is_string());
    let mut expected = expected(&samples);
    for (headers, body) in [
        (&[JSON][..], array.clone().into_bytes()),
        (&[LINES], lines.clone().into_bytes()),
        (&[JSON, GZIP], gzip(array.as_bytes())),
        (&[LINES, GZIP], gzip(lines.as_bytes())),
        (&[TEXT], array.into_bytes()),
    ] {
        let answer = post(&collector, "/v1/events", headers, &body);
        assert_eq!((answer.status, answer.header("content-type")), (202, Some("application/json")), "{headers:?}");
        assert_eq!(serde_json::from_slice::<Value>(&answer.body).unwrap(), expected, "{headers:?}");
        expected["duplicates"] = json!(with_id.len());
    }
    collector.kill();
    let rows = frames::events(&setup.data().join("spool"));
    assert_eq!(rows.len(), 5 * without.len() + with_id.len());
    assert!(rows.iter().any(|row| row["country"] == "ZZ" && row["browser"] == "Chrome"));
}

#[test]
fn every_sample_is_judged_alike_as_a_beacon_and_where_it_can_be_said_as_a_pixel() {
    let setup = Setup::new("samples-e", CONFIG);
    let collector = setup.start();
    let mut pixels = 0;
    for sample in samples() {
        // Browsers send what their user typed into their settings: there a strange tag is no language.
        let verdict = if sample.name == "strange-language" { "accepted" } else { &sample.verdict };
        let told = sample.reason.as_deref().map(|reason| json!({ "error": reason }).to_string());
        for header in [TEXT, JSON] {
            let answer = post(&collector, "/e", &[header], sample.event.to_string().as_bytes());
            let expected = if verdict == "refused" { (400, told.clone().unwrap()) } else { (204, String::new()) };
            assert_eq!((answer.status, answer.text()), expected, "{}", sample.name);
        }
        let Some(query) = as_query(&sample) else { continue };
        let answer = get(&collector, &format!("/e.gif?{query}"), &[]);
        let expected = if verdict == "refused" { (400, told.unwrap().len()) } else { (200, 43) };
        assert_eq!((answer.status, answer.body.len()), expected, "{}: {query}", sample.name);
        pixels += 1;
    }
    assert!(pixels > 20, "{pixels}");
}

/// A sample as a query string. What is `null`, nested, or wrong only for its JSON type cannot be said in one.
fn as_query(sample: &Sample) -> Option<String> {
    if sample.reason.as_deref() == Some("wrong_type") {
        return None;
    }
    let mut parameters = Vec::new();
    for (name, value) in sample.event.as_object()? {
        match value {
            Value::Object(props) if name == "props" => {
                for (key, value) in props {
                    parameters.push((format!("p.{key}"), word(value)?));
                }
            }
            value => parameters.push((name.clone(), word(value)?)),
        }
    }
    let escaped = |text: &str| {
        text.bytes()
            .map(|byte| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") })
            .collect::<String>()
    };
    Some(parameters.iter().map(|(name, value)| format!("{}={}", escaped(name), escaped(value))).collect::<Vec<_>>().join("&"))
}

fn word(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}
