//! The REST API: publish, read, and how the weather of the demo world falls on it.

use super::{REGION_HEADER, Service};
use crate::demo::cohort::Region;
use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use std::time::Duration;

/// How many messages a room's history shows.
const HISTORY: usize = 20;
/// A message's name, characters.
const MAX_ID: usize = 128;

/// Even on a good day a request in this many takes [`HICCUP`] longer, ...
const HICCUP_RATIO: f64 = 0.002;
/// ... as garbage collectors and radio cells have it.
const HICCUP: Duration = Duration::from_millis(350);

/// Why a request is not fulfilled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("the body must be a JSON object")]
    NotJson,
    #[error("the id must not be longer than {MAX_ID} characters")]
    IdTooLong,
    #[error("no such message, or it is too old")]
    Unknown,
    #[error("something went wrong")]
    Fault,
    #[error("too many requests at once")]
    Busy,
}

/// `POST /rooms/{id}/messages`: 202 with the message's `id`. The body is `{"id": …, "text": …}`,
/// both optional, whatever its content type says.
pub(super) async fn publish(
    State(service): State<Service>,
    Path(room): Path<String>,
    body: Bytes,
) -> Result<Response, Refusal> {
    let request: serde_json::Map<String, Value> =
        serde_json::from_slice(&body).map_err(|_| Refusal::NotJson)?;
    let text = |key: &str| request.get(key).and_then(Value::as_str);
    let id = text("id").filter(|id| !id.is_empty()).map(str::to_owned);
    if id.as_ref().is_some_and(|id| id.chars().count() > MAX_ID) {
        return Err(Refusal::IdTooLong);
    }
    let message = service.0.hub.publish(&room, id, text("text").unwrap_or_default());
    let accepted = json!({ "id": message.id, "room": message.room });
    Ok((StatusCode::ACCEPTED, Json(accepted)).into_response())
}

/// `GET /rooms/{id}/messages`: the last messages of a room, oldest first.
pub(super) async fn history(
    State(service): State<Service>,
    Path(room): Path<String>,
) -> Json<Value> {
    let messages: Vec<Value> = service
        .0
        .hub
        .history(&room, HISTORY)
        .iter()
        .map(|message| json!({ "id": message.id, "sequence": message.sequence }))
        .collect();
    Json(json!({ "room": room, "messages": messages }))
}

/// `GET /messages/{id}`: one message.
pub(super) async fn message(
    State(service): State<Service>,
    Path(id): Path<String>,
) -> Result<Response, Refusal> {
    let message = service.0.hub.find(&id).ok_or(Refusal::Unknown)?;
    Ok(([("content-type", "application/json")], message.json.clone()).into_response())
}

/// `GET /health`: for load balancers; the weather does not reach it.
pub(super) async fn health() -> Json<Value> {
    Json(json!({ "status": "pass" }))
}

/// Lets distance, hiccups and the script's faults fall on a request before it is handled.
pub(super) async fn weather(
    State(service): State<Service>,
    headers: HeaderMap,
    request: Request,
    next: Next,
) -> Response {
    // Delayed requests are held in memory, so there is a limit to how many.
    let Ok(_held) = service.0.in_flight.try_acquire() else {
        return Refusal::Busy.into_response();
    };
    if let Some(region) = region_of(&headers) {
        let hiccup = if service.happens(HICCUP_RATIO) { HICCUP } else { Duration::ZERO };
        let extra = service.0.conditions.extra_delay(region);
        tokio::time::sleep(service.about(region.round_trip()) + extra + hiccup).await;
    }
    if service.happens(service.0.conditions.error_ratio()) {
        return Refusal::Fault.into_response();
    }
    next.run(request).await
}

fn region_of(headers: &HeaderMap) -> Option<Region> {
    Region::from_name(headers.get(REGION_HEADER)?.to_str().ok()?)
}

// === impl Refusal ===

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = match self {
            Self::NotJson | Self::IdTooLong => StatusCode::BAD_REQUEST,
            Self::Unknown => StatusCode::NOT_FOUND,
            Self::Fault => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
        };
        (status, Json(json!({ "error": self.to_string() }))).into_response()
    }
}
