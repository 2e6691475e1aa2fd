//! WebSockets: `/chat` answers every echo, `/rooms/{id}` passes on what is said in a room.

use super::Service;
use super::hub::Message as Said;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

/// A message from a client, bytes.
const MAX_MESSAGE: usize = 16 * 1024;
/// A client that takes nothing for this long is let go.
const SEND_TIMEOUT: Duration = Duration::from_secs(5);

/// `GET /chat`: replies `{"type":"echo","id":…}` to `{"type":"echo","id":…}`, with its number `n` where it
/// has one.
pub(super) async fn echo(State(service): State<Service>, upgrade: WebSocketUpgrade) -> Response {
    let Some(permit) = service.admit_stream() else {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    upgrade.max_message_size(MAX_MESSAGE).on_upgrade(move |mut socket| async move {
        let _held = permit;
        let _ = answer(&service, &mut socket).await;
    })
}

/// `GET /rooms/{id}`: everything that is said in the room from now on.
pub(super) async fn room(
    State(service): State<Service>,
    Path(id): Path<String>,
    upgrade: WebSocketUpgrade,
) -> Response {
    // Entered before the upgrade is answered: whoever sees it succeed misses nothing said after.
    let (Some(permit), Some(messages)) = (service.admit_stream(), service.0.hub.enter(&id)) else {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    upgrade.max_message_size(MAX_MESSAGE).on_upgrade(move |mut socket| async move {
        let _held = permit;
        let _ = pass_on(&service, messages, &mut socket).await;
    })
}

/// The client is gone, or the back end is going.
struct Gone;

async fn answer(service: &Service, socket: &mut WebSocket) -> Result<(), Gone> {
    send(socket, json!({ "type": "hello" }).to_string()).await?;
    loop {
        let text = tokio::select! {
            () = service.0.shutdown.begun() => return send_close(socket).await,
            text = receive(socket) => text?,
        };
        let delay = service.0.conditions.chat_delay();
        if !delay.is_zero() {
            tokio::time::sleep(service.about(delay)).await;
        }
        send(socket, reply(&text).to_string()).await?;
    }
}

fn reply(text: &str) -> Value {
    match serde_json::from_str::<Value>(text) {
        Ok(Value::Object(request)) if request.get("type") == Some(&json!("echo")) => {
            let mut answer = json!({ "type": "echo", "id": request.get("id") });
            if let (Some(number), Value::Object(fields)) = (request.get("n"), &mut answer) {
                let _ = fields.insert("n".to_owned(), number.clone());
            }
            answer
        }
        Ok(_) => json!({ "type": "error", "message": "only messages of type echo are answered" }),
        Err(_) => json!({ "type": "error", "message": "this is not JSON" }),
    }
}

async fn pass_on(
    service: &Service,
    mut messages: broadcast::Receiver<Arc<Said>>,
    socket: &mut WebSocket,
) -> Result<(), Gone> {
    loop {
        let received = tokio::select! {
            () = service.0.shutdown.begun() => return send_close(socket).await,
            // What clients say here is not answered; they publish over REST.
            text = receive(socket) => { text?; continue }
            received = messages.recv() => received,
        };
        match received {
            Ok(said) => {
                let held_for = service.0.clock.monotonic().since(said.at);
                let delay = service.0.conditions.chat_delay();
                tokio::time::sleep(delay.saturating_sub(held_for)).await;
                send(socket, said.json.clone()).await?;
            }
            Err(RecvError::Lagged(missed)) => {
                send(socket, json!({ "type": "missed", "messages": missed }).to_string()).await?;
            }
            Err(RecvError::Closed) => return send_close(socket).await,
        }
    }
}

/// The next text of the client. Pings are answered by the protocol itself.
async fn receive(socket: &mut WebSocket) -> Result<String, Gone> {
    loop {
        match socket.recv().await {
            Some(Ok(Message::Text(text))) => return Ok(text.as_str().to_owned()),
            Some(Ok(Message::Close(_)) | Err(_)) | None => return Err(Gone),
            Some(Ok(_)) => {}
        }
    }
}

async fn send(socket: &mut WebSocket, text: String) -> Result<(), Gone> {
    send_message(socket, Message::Text(text.into())).await
}

async fn send_close(socket: &mut WebSocket) -> Result<(), Gone> {
    send_message(socket, Message::Close(None)).await
}

async fn send_message(socket: &mut WebSocket, message: Message) -> Result<(), Gone> {
    match tokio::time::timeout(SEND_TIMEOUT, socket.send(message)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(Gone),
    }
}
