//! `/api/openapi.json`: the JSON API as an OpenAPI 3.1 document, made of the table of operations
//! and of the shapes of their answers.

use super::json::{self, Shape, VERSION, list, refer};
use super::json::{
    alerts, calibration, changes, incidents, phones, probes, runs, silences, slos, status,
};
use super::operations::{Operation, operations};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde_json::{Map, Value, json};
use std::sync::LazyLock;

/// The document never changes while the daemon runs.
static DOCUMENT: LazyLock<Bytes> =
    LazyLock::new(|| Bytes::from(format!("{:#}\n", document(&operations()))));

/// `GET /api/openapi.json`
pub(super) async fn serve() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], DOCUMENT.clone()).into_response()
}

/// The document over some operations.
pub(super) fn document(operations: &[Operation]) -> Value {
    let mut paths: Map<String, Value> = Map::new();
    for operation in operations {
        let path = paths.entry(operation.path).or_insert_with(|| json!({}));
        if let Value::Object(methods) = path {
            let _ = methods.insert(operation.method.to_owned(), described(operation));
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Radiosonde",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "The evidence behind every page of a radiosonde, and the requests that \
                change something. Instants are RFC 3339 in UTC, measured durations integer \
                nanoseconds, shares 0 to 1; what is not known is null. Every answer carries the \
                version of its shape; fields may be added under it, none is removed.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": "/" }],
        // No token is needed unless some are configured.
        "security": [{}, { "token": [] }],
        "paths": paths,
        "components": {
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
            "schemas": schemas(),
        },
    })
}

fn described(operation: &Operation) -> Value {
    let answer = |words: &str, schema: &str| {
        json!({
            "description": words,
            "content": { "application/json": { "schema": refer(schema) } },
        })
    };
    let parameters = operation.path.split('/').filter_map(|segment| {
        let name = segment.strip_prefix('{')?.strip_suffix('}')?;
        Some(
            json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }),
        )
    });
    let mut described = json!({
        "operationId": operation_id(operation),
        "summary": operation.summary,
        "parameters": parameters.collect::<Vec<_>>(),
        "responses": {
            "200": answer("Done", operation.answer),
            "default": answer("It was not done, and why", "Problem"),
        },
    });
    if let (Some(body), Value::Object(fields)) = (operation.body, &mut described) {
        let content = json!({ "application/json": { "schema": refer(body) } });
        let _ = fields
            .insert("requestBody".to_owned(), json!({ "required": true, "content": content }));
    }
    described
}

/// `get /api/slos/{name}` is `get_slos_name`.
fn operation_id(operation: &Operation) -> String {
    let words = operation.path.split(['/', '.']).map(|word| word.trim_matches(['{', '}', '-']));
    let words = words.filter(|word| !word.is_empty() && *word != "api");
    std::iter::once(operation.method).chain(words).collect::<Vec<_>>().join("_")
}

fn schemas() -> Value {
    let listed = |name: &str, of: &str| {
        answer(json!({
            "type": "object",
            "required": [name],
            "properties": { name: list(&refer(of)) },
        }))
    };
    json!({
        "Problem": of(&json::PROBLEM),
        "Done": of(&json::DONE),
        "Document": { "type": "object", "description": "An OpenAPI 3.1 document" },
        "Status": of(&status::STATUS),
        "Calibration": of(&calibration::CALIBRATION),
        "Slo": slos::SLO.schema(),
        "Slos": listed("slos", "Slo"),
        "SloEvidence": of(&slos::EVIDENCE),
        "Factor": alerts::FACTOR.schema(),
        "Matrix": phones::MATRIX.schema(),
        "Phones": of(&phones::PHONES),
        "Probe": probes::PROBE.schema(),
        "Probes": listed("probes", "Probe"),
        "ProbeEvidence": of(&probes::EVIDENCE),
        "Ran": of(&probes::RAN),
        "Run": runs::RUN.schema(),
        "Runs": listed("runs", "Run"),
        "RunEvidence": of(&runs::EVIDENCE),
        "Alert": alerts::ALERT.schema(),
        "Alerts": listed("alerts", "Alert"),
        "Incidents": listed("incidents", "Alert"),
        "IncidentEvidence": of(&incidents::EVIDENCE),
        "Acknowledgement": alerts::ACKNOWLEDGEMENT.schema(),
        "Change": changes::CHANGE.schema(),
        "Changes": listed("changes", "Change"),
        "Silence": silences::SILENCE.schema(),
        "Silences": listed("silences", "Silence"),
        "SilenceRequest": silences::ASKED.schema(),
        "SilenceMade": of(&silences::MADE),
    })
}

/// The schema of an answer of one shape.
fn of<T: ?Sized>(shape: &Shape<T>) -> Value {
    answer(shape.schema())
}

/// An object's schema, with the version that every answer carries.
fn answer(mut schema: Value) -> Value {
    if let Some(Value::Array(required)) = schema.get_mut("required") {
        required.push("version".into());
    }
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        let version = json!({ "const": VERSION, "description": "The version of this shape" });
        let _ = properties.insert("version".to_owned(), version);
    }
    schema
}
