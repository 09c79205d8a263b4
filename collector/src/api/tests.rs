//! Questions as they are read, and the statements they become.

use serde_json::{Value, json};

use super::plan::{Audience, Facts, Identities, Parameter, plan};
use super::question::{Dimension, Metric};
use super::read;
use super::refusal::{Reason, Refusal};
use crate::clock::Day;
use crate::leak;
use crate::site::declared::{Declared, Funnel, Goal, Step};
use crate::store::closing::pairs;

fn today() -> Day {
    "2026-11-23".parse().unwrap()
}

fn refused(body: &Value) -> Refusal {
    let read = read::object(body.to_string().as_bytes());
    read.and_then(|(object, _)| read::query(&object, today(), Identities::OfADay)).unwrap_err()
}

/// A question that is right, with `change` made to it.
fn asked(change: Value) -> Value {
    let mut body = json!({ "site": "a", "metrics": ["pageviews"], "range": "7d" });
    let Value::Object(change) = change else { panic!("an object") };
    body.as_object_mut().unwrap().extend(change);
    body
}

#[test]
fn a_wrong_question_is_told_its_field_and_what_is_allowed_and_nothing_of_itself() {
    const CANARY: &str = "') OR 1=1 --";
    for (body, field, reason) in [
        (asked(json!({ CANARY: 1 })), "", Reason::UnknownField),
        (asked(json!({ "metrics": [CANARY] })), "metrics[0]", Reason::UnknownMetric),
        (asked(json!({ "metrics": ["visits", "visits"] })), "metrics[1]", Reason::Repeated),
        (asked(json!({ "metrics": [] })), "metrics", Reason::Missing),
        (asked(json!({ "metrics": CANARY })), "metrics", Reason::WrongType),
        (asked(json!({ "metrics": vec![CANARY; 1_000] })), "metrics", Reason::TooMany),
        (asked(json!({ "dimensions": [CANARY] })), "dimensions[0]", Reason::UnknownDimension),
        (asked(json!({ "dimensions": ["page", "country", "os"] })), "dimensions", Reason::TooMany),
        (asked(json!({ "dimensions": ["page", "page"] })), "dimensions[1]", Reason::Repeated),
        (asked(json!({ "dimensions": ["page"], "metrics": ["visits"] })), "metrics[0]", Reason::NotStored),
        (asked(json!({ "dimensions": ["entry_page"], "metrics": ["value"] })), "metrics[0]", Reason::NotStored),
        (asked(json!({ "filters": [{ "dimension": CANARY, "is": ["x"] }] })), "filters[0].dimension", Reason::UnknownDimension),
        (asked(json!({ "filters": [{ "dimension": "page", "like": ["x"] }] })), "filters[0]", Reason::UnknownField),
        (asked(json!({ "filters": [{ "dimension": "page" }] })), "filters[0].is", Reason::Missing),
        (asked(json!({ "filters": [{ "dimension": "page", "is": [] }] })), "filters[0].is", Reason::Missing),
        (asked(json!({ "filters": [{ "dimension": "page", "is": ["x"], "is_not": ["y"] }] })), "filters[0].is_not", Reason::NotTogether),
        (asked(json!({ "filters": [{ "dimension": "page", "is": [1] }] })), "filters[0].is[0]", Reason::WrongType),
        (asked(json!({ "filters": [{ "dimension": "page", "is": ["a\0b"] }] })), "filters[0].is[0]", Reason::OutOfRange),
        (asked(json!({ "filters": [{ "dimension": "page", "is": ["a".repeat(3_000)] }] })), "filters[0].is[0]", Reason::OutOfRange),
        (asked(json!({ "filters": [{ "dimension": "page", "is": vec!["x"; 101] }] })), "filters[0].is", Reason::TooMany),
        (asked(json!({ "filters": vec![json!({ "dimension": "page", "is": ["x"] }); 9] })), "filters", Reason::TooMany),
        (asked(json!({ "range": CANARY })), "range", Reason::UnknownValue),
        (asked(json!({ "compare": CANARY })), "compare", Reason::UnknownValue),
        (asked(json!({ "interval": CANARY })), "interval", Reason::UnknownValue),
        (asked(json!({ "interval": "hour", "dimensions": ["page"] })), "interval", Reason::NotTogether),
        (asked(json!({ "interval": "hour", "range": "12months" })), "range", Reason::TooWide),
        (asked(json!({ "order": { "by": CANARY } })), "order.by", Reason::UnknownValue),
        (asked(json!({ "order": { "by": "time" } })), "order.by", Reason::UnknownValue),
        (asked(json!({ "order": { "by": "pageviews", "descending": CANARY } })), "order.descending", Reason::WrongType),
        (asked(json!({ "limit": 0 })), "limit", Reason::OutOfRange),
        (asked(json!({ "limit": 10_001 })), "limit", Reason::OutOfRange),
        (asked(json!({ "limit": CANARY })), "limit", Reason::WrongType),
        (asked(json!({ "limit": -1 })), "limit", Reason::WrongType),
        (asked(json!({ "offset": 1_000_001 })), "offset", Reason::OutOfRange),
        (asked(json!({ "format": CANARY })), "format", Reason::UnknownValue),
        (asked(json!({ "format": "csv", "compare": "year" })), "compare", Reason::NotTogether),
        (json!({ "metrics": ["visits"], "range": "7d" }), "site", Reason::Missing),
        (json!({ "site": 1, "metrics": ["visits"], "range": "7d" }), "site", Reason::WrongType),
        (json!([1]), "", Reason::Unreadable),
    ] {
        let refusal = refused(&body);
        assert_eq!((refusal.field.as_str(), refusal.reason), (field, reason), "{body}");
        let told = serde_json::to_string(&refusal).unwrap();
        assert!(!told.contains("1=1"), "{told}");
    }
}

#[test]
fn every_reason_has_a_name_of_its_own_that_the_description_lists() {
    let description: Value = serde_norway::from_str(include_str!("../../../schema/openapi.yaml")).unwrap();
    let schemas = &description["components"]["schemas"];
    let reasons: Vec<&str> = Reason::ALL.iter().map(|reason| reason.label()).collect();
    assert_eq!(schemas["RefusalReason"]["enum"], json!(reasons));
    let metrics: Vec<&str> = Metric::ALL.iter().map(|metric| metric.name()).collect();
    assert_eq!(schemas["Metric"]["enum"], json!(metrics));
    let dimensions: Vec<&str> = Dimension::all().map(|dimension| dimension.name).collect();
    assert_eq!(schemas["Dimension"]["enum"], json!(dimensions));
}

fn facts(closed: &[&str]) -> Facts {
    Facts {
        zone: "UTC".into(),
        site: "a".into(),
        k: 5,
        audience: Audience::Analysts,
        ids: Identities::OfADay,
        pairs: pairs(&Declared::default()),
        declared: Declared::default(),
        closed: closed.iter().map(|day| day.parse().unwrap()).collect(),
        first_day: None,
        hour: 12,
        today: today(),
    }
}

fn planned(change: Value, facts: &Facts) -> Result<super::plan::Plan, Refusal> {
    let (object, _) = read::object(asked(change).to_string().as_bytes())?;
    let query = read::query(&object, today(), facts.ids)?;
    plan(&query, query.days, facts)
}

#[test]
fn no_text_of_a_question_is_in_the_statement() {
    const CANARY: &str = "'; DROP TABLE events; --{x:String}?";
    let open = facts(&[]);
    for dimensions in [json!([]), json!(["country"]), json!(["page", "country"]), json!(["entry_page"]), json!(["page", "entry_page"])] {
        for dimension in ["page", "entry_page", "country"] {
            let change = json!({ "dimensions": dimensions, "filters": [{ "dimension": dimension, "is": [CANARY, "é\u{1}"] }] });
            let plan = planned(change, &open).unwrap();
            assert!(!plan.sql.contains("DROP") && !plan.sql.contains('?'), "{}", plan.sql);
            let bound = Parameter::Texts(vec![CANARY.to_owned(), "é\u{1}".to_owned()]);
            assert!(plan.parameters.contains(&("filter0".to_owned(), bound)));
            // Every parameter that the statement names is there, and no other.
            for (name, _) in &plan.parameters {
                assert!(plan.sql.contains(&format!("{{{name}:")), "{name} is bound and not used: {}", plan.sql);
            }
            for named in plan.sql.split('{').skip(1).map(|rest| rest.split(':').next().unwrap()) {
                assert!(plan.parameters.iter().any(|(name, _)| name == named), "{named} is used and not bound");
            }
        }
    }
}

#[test]
fn the_cheapest_table_that_can_answer_is_asked() {
    let tables = |change: Value| {
        let sql = planned(change, &facts(&[])).unwrap().sql;
        ["FROM rollup_open", "FROM sessions", "FROM events WHERE", "events AS source"].map(|table| sql.contains(table))
    };
    assert_eq!(tables(json!({})), [true, false, false, false]);
    assert_eq!(tables(json!({ "dimensions": ["page"] })), [true, false, false, false]);
    assert_eq!(tables(json!({ "metrics": ["visits"] })), [true, true, false, false]);
    assert_eq!(tables(json!({ "metrics": ["visits"], "dimensions": ["country"] })), [true, true, false, false]);
    assert_eq!(tables(json!({ "dimensions": ["entry_page"] })), [false, true, false, false]);
    assert_eq!(tables(json!({ "dimensions": ["page", "os"] })), [false, false, false, true]);
    assert_eq!(tables(json!({ "filters": [{ "dimension": "os", "is": ["x"] }] })), [false, false, false, true]);
    assert_eq!(tables(json!({ "filters": [{ "dimension": "entry_page", "is": ["x"] }] })), [false, true, true, false]);
}

#[test]
fn whatever_has_an_attribute_has_the_threshold_of_the_site() {
    let threshold = |change: Value, facts: &Facts| {
        let plan = planned(change, facts).unwrap();
        plan.parameters.into_iter().find(|(name, _)| name == "threshold").map(|(_, value)| value)
    };
    let without_ids = Facts { ids: Identities::None, ..facts(&[]) };
    for change in [
        json!({ "dimensions": ["page"] }),
        json!({ "dimensions": ["page", "os"] }),
        json!({ "filters": [{ "dimension": "os", "is_not": ["x"] }] }),
    ] {
        assert_eq!(threshold(change.clone(), &facts(&[])), Some(Parameter::Number(5)), "{change}");
        assert_eq!(threshold(change.clone(), &without_ids), Some(Parameter::Number(10)), "{change}");
        // The control: taken out, it is seen to be missing.
        let leaking = leak::here::with("small_counts_shown", || threshold(change.clone(), &facts(&[])));
        assert_eq!(leaking, Some(Parameter::Number(0)), "{change}");
    }
    assert_eq!(threshold(json!({ "interval": "hour" }), &facts(&[])), None, "the whole site has no attribute");
}

#[test]
fn closed_days_answer_one_cut_or_a_pair_that_is_stored_and_say_so() {
    let closed = facts(&["2026-11-20"]);
    let stored = |change: Value| planned(change, &closed).map(drop).map_err(|refusal| (refusal.field, refusal.reason));
    let by = |field: &str, values: &[&str]| json!([{ "dimension": field, "is": values }]);
    for right in [
        json!({}),
        json!({ "dimensions": ["page"] }),
        json!({ "dimensions": ["country", "page"] }),
        json!({ "filters": by("country", &["DE"]) }),
        json!({ "dimensions": ["page"], "filters": by("country", &["DE"]) }),
        json!({ "dimensions": ["page"], "filters": by("page", &["/a", "/b"]) }),
        json!({ "interval": "hour" }),
    ] {
        assert_eq!(stored(right.clone()), Ok(()), "{right}");
    }
    let not_stored = |field: &str| Err((field.to_owned(), Reason::NotStored));
    for (wrong, field) in [
        (json!({ "dimensions": ["page", "os"] }), "dimensions"),
        (json!({ "dimensions": ["page", "country"], "filters": by("device", &["x"]) }), "dimensions"),
        (json!({ "filters": by("country", &["DE", "FR"]) }), "filters[0]"),
        (json!({ "filters": [{ "dimension": "country", "is_not": ["DE"] }] }), "filters[0]"),
    ] {
        assert_eq!(stored(wrong.clone()), not_stored(field), "{wrong}");
        assert!(planned(wrong, &facts(&[])).is_ok(), "an open day answers it");
    }
    // What closed days have not kept must not be told as nothing.
    let pair = json!(["page", "country"]);
    for wrong in [
        json!({ "metrics": ["pageviews", "engaged_time"], "dimensions": pair }),
        json!({ "metrics": ["pageviews", "value"], "dimensions": ["page"], "filters": by("country", &["DE"]) }),
        json!({ "metrics": ["pageviews", "visits"], "filters": by("page", &["/a"]) }),
        json!({ "metrics": ["pageviews", "bounce_rate"], "dimensions": ["country"], "filters": by("event", &["x"]) }),
    ] {
        assert_eq!(stored(wrong.clone()), not_stored("metrics[1]"), "{wrong}");
        assert!(planned(wrong, &facts(&[])).is_ok(), "an open day answers it");
    }
    let without_ids = Facts { ids: Identities::None, ..facts(&["2026-11-20"]) };
    assert!(
        planned(json!({ "metrics": ["visits"], "filters": by("page", &["/a"]) }), &without_ids).is_ok(),
        "entries, which every event tells"
    );
    let refusal = planned(json!({ "dimensions": ["page", "os"] }), &closed).unwrap_err();
    assert!(refusal.allowed.contains(&"page".to_owned()) && refusal.allowed.contains(&"page and country".to_owned()));
}

#[test]
fn everybody_gets_closed_days_cut_one_way_with_a_threshold_that_is_bound() {
    let public = Facts { audience: Audience::Public, k: 10, ..facts(&["2026-11-20"]) };
    let by = |field: &str, values: &[&str]| json!([{ "dimension": field, "is": values }]);
    for right in [
        json!({}),
        json!({ "dimensions": ["page"] }),
        json!({ "filters": by("country", &["DE"]), "interval": "week" }),
        json!({ "dimensions": ["page"], "filters": by("page", &["/a", "/b"]) }),
    ] {
        let plan = planned(right.clone(), &public).unwrap();
        for table in ["rollup_open", "events AS", "sessions", "rollup_waiting", "span = 'week'"] {
            assert!(!plan.sql.contains(table), "{right} {table}");
        }
        assert!(plan.parameters.contains(&("threshold".to_owned(), Parameter::Number(10))));
        for (name, _) in &plan.parameters {
            assert!(plan.sql.contains(&format!("{{{name}:")), "{name} is bound and not used: {}", plan.sql);
        }
    }
    for wrong in [
        json!({ "dimensions": ["page", "country"] }),
        json!({ "dimensions": ["page"], "filters": by("country", &["DE"]) }),
        json!({ "filters": by("country", &["DE", "FR"]) }),
        json!({ "interval": "hour" }),
    ] {
        assert_eq!(planned(wrong.clone(), &public).unwrap_err().reason, Reason::NotStored, "{wrong}");
    }
    let leaking = leak::here::with("small_counts_shared", || planned(json!({ "dimensions": ["page"] }), &public).unwrap());
    assert!(leaking.parameters.contains(&("threshold".to_owned(), Parameter::Number(0))));
}

#[test]
fn what_was_reached_is_asked_with_bound_parameters_and_with_all_of_them() {
    let declared = Declared {
        goals: vec![Goal { name: "g".into(), at: Step::Page("/a/*".into()), worth: None }],
        funnels: vec![Funnel { name: "f".into(), steps: vec![Step::Page("/".into()), Step::Event("e".into())] }],
        properties: vec!["plan".into()],
        ..Declared::default()
    };
    let filters = json!([{ "dimension": "country", "is": ["') OR 1=1 --"] }]);
    for closed in [&[][..], &["2026-11-20"]] {
        for ids in [Identities::OfADay, Identities::None] {
            let facts = Facts { ids, pairs: pairs(&declared), declared: declared.clone(), ..facts(closed) };
            for change in [
                json!({ "dimensions": ["goal"] }),
                json!({ "dimensions": ["funnel"] }),
                json!({ "dimensions": ["country", "goal"] }),
                json!({ "dimensions": ["goal"], "filters": filters }),
                json!({ "dimensions": ["goal"], "filters": [{ "dimension": "goal", "is": ["g"] }], "interval": "day" }),
            ] {
                if ids == Identities::None && change["dimensions"] == json!(["funnel"]) {
                    continue; // Without visits there are no ways.
                }
                let mut asked = json!({ "metrics": ["conversions", "conversion_rate"] });
                asked.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
                let plan = planned(asked.clone(), &facts).unwrap();
                assert!(!plan.sql.contains("OR 1=1"), "{}", plan.sql);
                let named = |sql: &str| sql.split('{').skip(1).map(|rest| rest.split(':').next().unwrap().to_owned()).collect::<Vec<_>>();
                let named = named(&plan.sql);
                for name in &named {
                    assert!(plan.parameters.iter().any(|(bound, _)| bound == name), "{name} is used and not bound by {asked}");
                }
                for (bound, _) in &plan.parameters {
                    assert!(named.contains(bound), "{bound} is bound and not used by {asked}: {}", plan.sql);
                }
            }
        }
    }
}
