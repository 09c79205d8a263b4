//! The published description of the HTTP interface, held against answers of the running collector.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::http::Answer;

/// `schema/openapi.yaml`, and which of its answers have been seen.
#[derive(Debug)]
pub struct Api {
    document: Value,
    seen: BTreeSet<(String, String, u16)>,
}

impl Api {
    /// The description of this tree.
    ///
    /// # Panics
    ///
    /// When it is not YAML.
    pub fn published() -> Self {
        let text = include_str!("../../schema/openapi.yaml");
        Self { document: serde_norway::from_str(text).expect("the description is YAML"), seen: BTreeSet::new() }
    }

    /// Every answer that is described and has not been seen: path, method, status.
    ///
    /// # Panics
    ///
    /// When the description has not the shape of one.
    pub fn unseen(&self) -> Vec<(String, String, u16)> {
        let mut unseen = Vec::new();
        for (path, methods) in object(&self.document["paths"]) {
            for (method, operation) in object(methods).iter().filter(|(_, operation)| operation["responses"].is_object()) {
                for status in object(&operation["responses"]).keys() {
                    let described = (path.clone(), method.clone(), status.parse().expect("a status"));
                    if !self.seen.contains(&described) {
                        unseen.push(described);
                    }
                }
            }
        }
        unseen
    }

    /// Holds an answer against its description: status, headers, media type, body.
    ///
    /// # Panics
    ///
    /// When they differ.
    pub fn check(&mut self, method: &str, path: &str, answer: &Answer) {
        let place = format!("{method} {path} -> {}", answer.status);
        let method = method.to_lowercase();
        let operation = &self.document["paths"][path];
        // What is said of a method that a path does not know stands with the one that it does.
        let method = if operation[&method].is_object() { method } else { self.first_method(path) };
        let described = &operation[&method];
        let response = self.resolved(&described["responses"][answer.status.to_string()]);
        assert!(response.is_object(), "{place}: not described");
        for (name, header) in response["headers"].as_object().into_iter().flatten() {
            let value = answer.header(name).unwrap_or_else(|| panic!("{place}: no {name}"));
            let value = value.parse::<i64>().map_or(json!(value), |number| json!(number));
            self.assert_valid(&header["schema"], &value, &format!("{place}: {name}"));
        }
        match response["content"].as_object() {
            None => assert!(answer.body.is_empty(), "{place}: a body that is not described"),
            Some(content) => {
                let media_type = answer.header("content-type").unwrap_or_default().split(';').next().unwrap_or_default();
                let described = content.get(media_type).unwrap_or_else(|| panic!("{place}: {media_type} is not described"));
                if media_type == "application/json" {
                    let body = serde_json::from_slice(&answer.body).unwrap_or_else(|_| panic!("{place}: not JSON"));
                    self.assert_valid(&described["schema"], &body, &place);
                } else if media_type == "text/plain" {
                    self.assert_valid(&described["schema"], &json!(answer.text()), &place);
                }
            }
        }
        self.seen.insert((path.to_owned(), method, answer.status));
    }

    fn first_method(&self, path: &str) -> String {
        let methods = object(&self.document["paths"][path]);
        methods
            .iter()
            .find(|(method, one)| *method != "options" && one["responses"].is_object())
            .map(|(method, _)| method.clone())
            .expect("a path has a method")
    }

    fn resolved<'d>(&'d self, part: &'d Value) -> &'d Value {
        match part["$ref"].as_str().and_then(|reference| reference.strip_prefix('#')) {
            Some(pointer) => self.document.pointer(pointer).expect("references of the description lead somewhere"),
            None => part,
        }
    }

    fn assert_valid(&self, schema: &Value, value: &Value, place: &str) {
        let mut schemas = self.document["components"]["schemas"].clone();
        // What is sent is judged by the tests of the decoder; its schema stands in another file.
        schemas.as_object_mut().expect("schemas are an object").remove("Beacon");
        let whole = json!({ "allOf": [schema], "components": { "schemas": schemas } });
        let validator = jsonschema::validator_for(&whole).expect("the description's schemas are schemas");
        let faults: Vec<String> = validator.iter_errors(value).map(|fault| fault.to_string()).collect();
        assert!(faults.is_empty(), "{place}: {faults:?}");
    }
}

fn object(value: &Value) -> &serde_json::Map<String, Value> {
    value.as_object().expect("an object of the description")
}
