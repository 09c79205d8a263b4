//! The published schema and the decoder agree: the same names, the same bounds, the same verdict on every sample.

use serde_json::Value;

use super::field::Known;
use super::{Context, Route, json, samples};
use crate::consent::signals::Signal;
use crate::limits;
use crate::outcome::{Dropped, Outcome};
use crate::site::Sites;

const SCHEMA: &str = include_str!("../../../schema/events.schema.json");
const API: &str = include_str!("../../../schema/openapi.yaml");

fn schema() -> Value {
    serde_json::from_str(SCHEMA).unwrap()
}

#[test]
fn the_schema_names_the_fields_that_are_known() {
    let schema = schema();
    let published: Vec<&String> = schema["$defs"]["event"]["properties"].as_object().unwrap().keys().collect();
    let mut known: Vec<&str> = Known::ALL.iter().map(|name| name.label()).collect();
    known.sort_unstable();
    assert_eq!(published, known);
}

#[test]
fn the_schema_states_the_bounds_that_hold() {
    let schema = schema();
    let longest = |field| format!("/$defs/event/properties/{field}/maxLength");
    let most = |field| format!("/$defs/event/properties/{field}/maximum");
    for (place, bound) in [
        (longest("site"), limits::SITE_BYTES),
        (longest("name"), limits::NAME_BYTES),
        (longest("url"), limits::URL_BYTES),
        (longest("screen"), limits::URL_BYTES),
        (longest("referrer"), limits::URL_BYTES),
        (longest("lang"), limits::LANGUAGE_BYTES),
        (longest("app_version"), limits::APP_VERSION_BYTES),
        (longest("os"), limits::OS_BYTES),
        (longest("device_model"), limits::DEVICE_MODEL_BYTES),
        (longest("session"), limits::ID_BYTES),
        (longest("install_id"), limits::ID_BYTES),
        (longest("id"), limits::ID_BYTES),
        (longest("client_ip"), limits::ADDRESS_BYTES),
        (longest("client_ua"), limits::HEAD_BYTES),
        (longest("props/additionalProperties"), limits::PROP_VALUE_BYTES),
        (longest("props/propertyNames"), limits::PROP_KEY_BYTES),
        (most("width"), limits::WIDTH_PIXELS as usize),
        (most("engaged_ms"), limits::ENGAGED_MILLIS as usize),
        (most("scroll_pct"), 100),
        (most("age_ms"), usize::try_from(limits::AGE_MILLIS).unwrap()),
        (most("value"), usize::try_from(limits::VALUE_UNITS).unwrap()),
        ("/$defs/event/properties/props/maxProperties".to_owned(), limits::PROPS),
        ("/$defs/event/maxProperties".to_owned(), limits::EVENT_FIELDS),
        ("/$defs/batch/maxItems".to_owned(), limits::BATCH_EVENTS),
    ] {
        assert_eq!(schema.pointer(&place), Some(&Value::from(bound)), "{place}");
    }
}

/// The signals that drop an event under every policy, and the reason it is counted under. How they rank is tested with the vote.
const REFUSING: [(Signal, Dropped); 6] = [
    (Signal::Child, Dropped::Child),
    (Signal::DoNotTrack, Dropped::DoNotTrack),
    (Signal::GlobalPrivacyControl, Dropped::GlobalPrivacyControl),
    (Signal::OptedOut, Dropped::OptedOut),
    (Signal::ConsentDenied, Dropped::ConsentDenied),
    (Signal::Unreadable, Dropped::UnreadableSignal),
];

/// What becomes of one event, in the words of the samples: verdict, field, reason.
fn judged(event: &Value) -> (&'static str, Option<&'static str>, Option<&'static str>) {
    let sites = Sites::new(vec![samples::site("example.org")], Vec::new());
    let context = Context { sites: &sites, bearer: None, route: Route::Api, page: None };
    let body = event.to_string();
    let decoded = json::events(body.as_bytes(), &context).unwrap().next().unwrap();
    match decoded {
        Ok(decoded) => REFUSING
            .iter()
            .find(|(signal, _)| decoded.signals.signals().has(*signal))
            .map_or(("accepted", None, None), |(_, reason)| ("dropped", None, Some(reason.label()))),
        Err(unread) => ("refused", unread.refusal.field, Some(unread.refusal.reason.label())),
    }
}

#[test]
fn schema_and_decoder_judge_every_sample_alike() {
    let validator = jsonschema::validator_for(&schema()).unwrap();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/events");
    let mut verdicts = std::collections::BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let sample: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let event = &sample["event"];
        let expected = (sample["verdict"].as_str().unwrap(), sample["field"].as_str(), sample["reason"].as_str());
        assert_eq!(judged(event), expected, "{}", path.display());
        // A signal that cannot be read is wrong by the schema, and yet no fault of the sender's that would be told: it is obeyed.
        let valid = expected.0 != "refused" && expected.2 != Some("unreadable_signal");
        assert_eq!(validator.is_valid(event), valid, "{}", path.display());
        *verdicts.entry(expected.0.to_owned()).or_insert(0) += 1;
    }
    assert!(verdicts.values().all(|count| *count > 5) && verdicts.len() == 3, "{verdicts:?}");
}

#[test]
fn the_api_description_lists_every_route_and_reason() {
    let api: Value = serde_norway::from_str(API).unwrap();
    let public = api["paths"].as_object().unwrap().iter().filter(|(_, path)| path["servers"].is_null());
    let routes: Vec<&String> = public.map(|(route, _)| route).collect();
    assert_eq!(api["components"]["schemas"]["BatchAnswer"]["properties"]["rejected"]["maxItems"], limits::REFUSALS_LISTED);
    assert_eq!(api["components"]["schemas"]["Beacon"]["oneOf"][1]["maxItems"], limits::BEACON_EVENTS);
    assert_eq!(
        routes,
        [
            "/.well-known/gpc.json",
            "/e",
            "/e.gif",
            "/h.js",
            "/privacy.json",
            "/share/{token}",
            "/share/{token}/v1/query",
            "/share/{token}/v1/sites",
            "/v1/events"
        ]
    );
    let listed = |name: &str| -> Vec<String> { serde_json::from_value(api["components"]["schemas"][name]["enum"].clone()).unwrap() };
    let reasons =
        |family| Outcome::all().filter(|outcome| outcome.family() == family).map(|outcome| outcome.label().to_owned()).collect::<Vec<_>>();
    assert_eq!(listed("DroppedReason"), reasons("dropped"));
    assert_eq!(listed("RefusedReason"), reasons("refused"));
}
