//! What an answer holds: messages, and how far it goes.

use super::super::check;
use super::super::failure::{Attempt, failure, quote};
use super::super::inbox::MAX_MESSAGE_BYTES;
use super::{Cursor, PollStep};
use crate::model::probe::{Failure, FailureReason};
use ::http::response;
use bytes::Bytes;
use serde_json::Value;

/// No cursor is longer: it goes into a URL.
const MAX_CURSOR_BYTES: usize = 4096;

/// What was in an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Content {
    /// In their order.
    pub messages: Vec<Bytes>,
    /// How far the answer goes, when it says so.
    pub cursor: Option<String>,
}

/// Reads an answer.
///
/// # Errors
/// An unexpected status, a body that is not what the definition says, or more than is kept.
pub(super) fn read(step: &PollStep, head: &response::Parts, body: &Bytes) -> Attempt<Content> {
    let status = head.status.as_u16();
    let by_header = header_cursor(step, head)?;
    if step.empty.iter().any(|range| (range.first..=range.last).contains(&status)) {
        return Ok(Content { messages: Vec::new(), cursor: by_header });
    }
    if let Some(complaint) = check::status(&[super::reader::OK], status).complaint() {
        let said = String::from_utf8_lossy(body);
        let words =
            if said.is_empty() { String::new() } else { format!("; it says: {}", quote(&said)) };
        return Err(failure(FailureReason::Status, format!("{complaint}{words}")));
    }
    let needs_json = step.items.is_some() || matches!(step.cursor, Some(Cursor::Json(_)));
    let json = if needs_json { Some(parse(body)?) } else { None };
    let messages = match (&step.items, &json) {
        (Some(pointer), Some(json)) => items(pointer, json)?,
        _ if body.is_empty() => Vec::new(),
        _ => vec![body.clone()],
    };
    if let Some(long) = messages.iter().map(Bytes::len).find(|len| *len > MAX_MESSAGE_BYTES) {
        let words = format!("a message of {long} bytes is longer than {MAX_MESSAGE_BYTES}");
        return Err(failure(FailureReason::Protocol, words));
    }
    let by_json = match (&step.cursor, &json) {
        (Some(Cursor::Json(pointer)), Some(json)) => json_cursor(pointer, json)?,
        _ => None,
    };
    Ok(Content { messages, cursor: by_json.or(by_header) })
}

fn parse(body: &[u8]) -> Attempt<Value> {
    serde_json::from_slice(body).map_err(|error| {
        let said = String::from_utf8_lossy(body);
        wrong(format!("the answer is not JSON ({error}): {}", quote(&said)))
    })
}

fn items(pointer: &str, json: &Value) -> Attempt<Vec<Bytes>> {
    match json.pointer(pointer) {
        Some(Value::Array(items)) => Ok(items.iter().map(|item| item.to_string().into()).collect()),
        Some(Value::Null) => Ok(Vec::new()),
        Some(other) => Err(wrong(format!(
            "at {pointer} of the answer is no list: {}",
            quote(&other.to_string())
        ))),
        None => Err(wrong(format!("the answer has nothing at {pointer}"))),
    }
}

fn json_cursor(pointer: &str, json: &Value) -> Attempt<Option<String>> {
    match json.pointer(pointer) {
        Some(Value::String(text)) => bounded(text).map(Some),
        Some(Value::Number(number)) => Ok(Some(number.to_string())),
        // Nothing new may come without one: then the last one stands.
        Some(Value::Null) | None => Ok(None),
        Some(other) => {
            Err(wrong(format!("the cursor at {pointer} is no text: {}", quote(&other.to_string()))))
        }
    }
}

fn header_cursor(step: &PollStep, head: &response::Parts) -> Attempt<Option<String>> {
    let Some(Cursor::Header(name)) = &step.cursor else { return Ok(None) };
    let Some(value) = head.headers.get(name) else { return Ok(None) };
    let text = value.to_str().map_err(|_| wrong(format!("the header {name} is no text")))?;
    bounded(text).map(Some)
}

fn bounded(cursor: &str) -> Attempt<String> {
    if cursor.len() > MAX_CURSOR_BYTES {
        return Err(wrong(format!("the cursor is longer than {MAX_CURSOR_BYTES} bytes")));
    }
    Ok(cursor.to_owned())
}

fn wrong(words: String) -> Failure {
    failure(FailureReason::Check, words)
}
