//! `GET /rooms/{id}/updates?after=…`: what is said in a room, by long polling.
//!
//! Without a number, or with an empty one, the answer says at once how far the room is. With one, the
//! request is held until there is something after it, or answered with 204 after a while.

use super::Service;
use super::hub::Message;
use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

/// A request is held no longer; proxies end those that take a minute.
const HOLD: Duration = Duration::from_secs(20);

/// What a request asks for.
#[derive(Debug, serde::Deserialize)]
pub(super) struct Wanted {
    #[serde(default)]
    after: String,
}

/// `{"messages": […], "next": …}`, or 204.
pub(super) async fn updates(
    State(service): State<Service>,
    Path(room): Path<String>,
    Query(Wanted { after }): Query<Wanted>,
) -> Response {
    let Some(_held) = service.admit_stream() else {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    let Ok(after) = after.parse::<u64>() else {
        return answer(&[], service.0.hub.last());
    };
    let (mut news, mut live) = service.0.hub.follow(Some(after));
    news.retain(|message| message.room == room);
    if news.is_empty() {
        tokio::select! {
            message = next_in(&room, &mut live) => news.extend(message),
            () = tokio::time::sleep(HOLD) => {}
            () = service.0.shutdown.begun() => {}
        }
    }
    match news.last() {
        Some(last) => answer(&news, last.sequence),
        None => StatusCode::NO_CONTENT.into_response(),
    }
}

async fn next_in(room: &str, live: &mut broadcast::Receiver<Arc<Message>>) -> Option<Arc<Message>> {
    loop {
        match live.recv().await {
            Ok(message) if message.room == room => return Some(message),
            // What was missed is still kept, and found by the next request.
            Ok(_) | Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return None,
        }
    }
}

fn answer(messages: &[Arc<Message>], next: u64) -> Response {
    let json = |message: &Arc<Message>| serde_json::from_str::<Value>(&message.json).ok();
    let messages: Vec<Value> = messages.iter().filter_map(json).collect();
    Json(json!({ "messages": messages, "next": next })).into_response()
}
