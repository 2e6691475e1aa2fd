//! Our own JSON: the evidence behind every page, and the requests that change something.
//!
//! One file a subject. What is answered is told by a `Shape`, which is both: it makes the
//! value and its schema in `/api/openapi.json`. Instants are RFC 3339 in UTC, measured durations
//! integer nanoseconds (`_ns`), shares 0..=1, what is not known is null. Every answer carries
//! `"version": 1`, errors too.

pub mod alerts;
pub mod calibration;
pub mod changes;
pub mod daemon;
pub mod incidents;
pub mod phones;
pub mod probes;
mod receive;
pub mod report;
pub mod runs;
mod shape;
pub mod silences;
pub mod slos;
pub mod status;

pub use report::{ProbeSummary, report_json, report_schema};
pub(super) use shape::{Shape, list, refer};

use super::actions::Failed;
use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// The version of all shapes. Fields may be added under it; none is removed or changes its meaning.
pub(super) const VERSION: u32 = 1;

/// The error of every answer that is none.
pub(super) const PROBLEM: Shape<str> =
    Shape(&[("error", shape::text, "What is wrong, and what to do", |words| words.into())]);

/// The answer to a request that was carried out and has nothing to tell.
pub(super) const DONE: Shape<()> = Shape(&[("ok", shape::flag, "Always true", |()| true.into())]);

/// An answer, with the version of its shape.
pub(super) fn reply(mut fields: Value) -> Response {
    if let Value::Object(fields) = &mut fields {
        let _ = fields.insert("version".to_owned(), VERSION.into());
    }
    Json(fields).into_response()
}

/// An error as JSON.
pub(super) fn problem(status: StatusCode, words: &str) -> Response {
    (status, reply(PROBLEM.value(words))).into_response()
}

/// The answer to what does not exist.
fn missing(words: &str) -> Response {
    problem(StatusCode::NOT_FOUND, words)
}

/// The answer to a request that changed something, or could not.
fn outcome(outcome: Result<(), Failed>) -> Response {
    match outcome {
        Ok(()) => reply(DONE.value(&())),
        Err(failed) => {
            let (status, words) = failed.status();
            problem(status, words)
        }
    }
}

/// An answer that is one list.
fn replied_list(name: &str, values: impl Iterator<Item = Value>) -> Response {
    reply(json!({ name: values.collect::<Vec<_>>() }))
}
