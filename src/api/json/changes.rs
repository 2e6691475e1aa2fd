//! `/api/changes`: what happened lately, as the page tells it.

use super::replied_list;
use super::shape::{Shape, instant, one_of, text, text_or_null};
use crate::api::page::view::{ChangeKind, ChangeView};
use crate::api::server::ApiState;
use crate::api::views;
use axum::extract::State;
use axum::response::Response;
use serde_json::{Value, json};

/// Something that happened.
pub(in crate::api) const CHANGE: Shape<ChangeView> = Shape(&[
    ("at", instant, "When", |change| change.at.to_rfc3339().into()),
    ("kind", kinds, "What kind of thing", |change| kind(change.kind).into()),
    ("severity", severity_or_null, "Of an alert that began to fire", |change| match change.kind {
        ChangeKind::Fired(severity) => severity.as_str().into(),
        _ => Value::Null,
    }),
    ("text", text, "In words", |change| change.text.as_str().into()),
    ("link", text_or_null, "The page that tells more", |change| change.link.as_deref().into()),
]);

/// `GET /api/changes`
pub(in crate::api) async fn changes(State(state): State<ApiState>) -> Response {
    let (around, now) = ((state.surroundings)(), state.clock.now());
    let page = views::changes(&state.core.read(), &around, now);
    replied_list("changes", page.changes.iter().map(|change| CHANGE.value(change)))
}

/// Every kind.
pub(super) fn kinds() -> Value {
    one_of([
        "fired",
        "resolved",
        "frozen",
        "acknowledged",
        "silence",
        "reload",
        "refused",
        "release",
        "late_data",
        "gap",
        "started",
    ])
}

/// A kind of change as JSON names it.
pub(super) fn kind(kind: ChangeKind) -> &'static str {
    match kind {
        ChangeKind::Fired(_) => "fired",
        ChangeKind::Resolved => "resolved",
        ChangeKind::Frozen => "frozen",
        ChangeKind::Acknowledged => "acknowledged",
        ChangeKind::Silence => "silence",
        ChangeKind::Reload => "reload",
        ChangeKind::Refused => "refused",
        ChangeKind::Release => "release",
        ChangeKind::LateData => "late_data",
        ChangeKind::Gap => "gap",
        ChangeKind::Started => "started",
    }
}

fn severity_or_null() -> Value {
    json!({ "type": ["string", "null"], "enum": ["page", "ticket", null] })
}
