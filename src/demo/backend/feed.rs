//! `GET /feed`: what is said in all rooms, as server-sent events.
//!
//! A greeting comes first and a comment when nothing else does, so that a client can tell a quiet
//! feed from a dead one. Events are numbered; `Last-Event-ID` resumes after one.

use super::Service;
use super::hub::Message;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::stream::{self, Stream, StreamExt};
use serde_json::json;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

/// A comment goes out when nothing else did for this long.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// How long clients wait before they connect again.
const RETRY: Duration = Duration::from_secs(2);

/// `GET /feed`: an `event: hello`, then `event: message` with the message as JSON.
pub(super) async fn feed(State(service): State<Service>, headers: HeaderMap) -> Response {
    let Some(permit) = service.admit_stream() else {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    let after = headers.get("last-event-id").and_then(|id| id.to_str().ok()?.parse().ok());
    let (missed, live) = service.0.hub.follow(after);
    let hello = Event::default().event("hello").retry(RETRY).data("{}");
    let shutdown = service.0.shutdown.clone();
    let events = stream::once(async { hello })
        .chain(stream::iter(missed).map(|message| event_of(&message)))
        .chain(following(live))
        .take_until(async move { shutdown.begun().await })
        .map(move |event| {
            let _held = &permit;
            Ok::<_, Infallible>(event)
        });
    let heartbeat = KeepAlive::new().interval(HEARTBEAT).text("heartbeat");
    Sse::new(events).keep_alive(heartbeat).into_response()
}

fn following(live: broadcast::Receiver<Arc<Message>>) -> impl Stream<Item = Event> {
    stream::unfold(live, |mut live| async {
        match live.recv().await {
            Ok(message) => Some((event_of(&message), live)),
            Err(RecvError::Lagged(missed)) => {
                let data = json!({ "messages": missed }).to_string();
                Some((Event::default().event("missed").data(data), live))
            }
            Err(RecvError::Closed) => None,
        }
    })
}

fn event_of(message: &Message) -> Event {
    Event::default().event("message").id(message.sequence.to_string()).data(&message.json)
}
