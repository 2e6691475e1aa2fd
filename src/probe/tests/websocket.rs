//! WebSockets against servers that answer, chatter, and hang up.

use super::super::spec::{Action, Expect, WebSocketStep};
use super::servers::{Server, echo, http, linger, raw, read_head, websocket, write};
use super::{assert_failure, assert_success, connect, expect_json, phases, run, run_within, step};
use crate::model::probe::{FailureReason, Phase, ProbeRun};
use futures::{SinkExt, StreamExt};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

async fn run_websocket(ask: WebSocketStep) -> ProbeRun {
    run(vec![step("1", Action::WebSocket(ask))]).await
}

fn echo_step(server: &Server) -> WebSocketStep {
    WebSocketStep {
        send: Some(r#"{"type":"echo","id":"${run.id}"}"#.into()),
        expect: Some(expect_json(json!({"type": "echo", "id": "${run.id}"}))),
        ..connect(server.url("ws", "/chat"))
    }
}

async fn say(socket: &mut WebSocketStream<TcpStream>, text: impl Into<String>) {
    drop(socket.send(Message::text(text.into())).await);
}

async fn close(socket: &mut WebSocketStream<TcpStream>, code: u16, reason: &str) {
    let frame = CloseFrame { code: code.into(), reason: reason.into() };
    drop(socket.close(Some(frame)).await);
    while let Some(Ok(_)) = socket.next().await {}
}

/// Guarantees the value of an echo, from send to match, and the phases before it.
#[tokio::test]
async fn an_echo_is_timed_from_send_to_match() {
    let server = websocket(echo).await;
    let run = run_websocket(echo_step(&server)).await;
    assert_success(&run);
    let done = &run.steps[0];
    assert_eq!(phases(done), [Phase::Connect, Phase::Upgrade, Phase::Send, Phase::Message]);
    assert_eq!((done.status, done.protocol.as_str()), (Some(101), "websocket"));
    assert_eq!(run.latency_ns, done.message_latency_ns);
    let [_, _, send, message] = done.phases[..] else { unreachable!("{done:#?}") };
    let together = message.offset_ns + message.duration_ns - send.offset_ns;
    assert_eq!(run.latency_ns, Some(together), "the sending is part of the value");
}

/// Guarantees that unrelated messages, pings, binary frames and fragments do not disturb a match.
#[tokio::test]
async fn noise_is_ignored() {
    let server = websocket(|mut socket: WebSocketStream<TcpStream>| async move {
        let Some(Ok(question)) = socket.next().await else { return };
        for n in 0..500 {
            say(&mut socket, json!({"type": "noise", "n": n}).to_string()).await;
        }
        drop(socket.send(Message::Ping(vec![1].into())).await);
        drop(socket.send(Message::Binary(vec![0, 255].into())).await);
        drop(socket.send(question).await);
        while let Some(Ok(_)) = socket.next().await {}
    })
    .await;
    assert_success(&run_websocket(echo_step(&server)).await);
}

/// Guarantees that a late message is told from a lost one, and that its value is measured.
#[tokio::test]
async fn late_is_not_lost() {
    let late = websocket(|mut socket: WebSocketStream<TcpStream>| async move {
        let Some(Ok(question)) = socket.next().await else { return };
        tokio::time::sleep(Duration::from_millis(150)).await;
        drop(socket.send(question).await);
        while let Some(Ok(_)) = socket.next().await {}
    })
    .await;
    let within = |server: &Server| {
        let mut ask = echo_step(server);
        ask.expect = ask.expect.map(|e| Expect { within: Some(Duration::from_millis(50)), ..e });
        vec![step("1", Action::WebSocket(ask))]
    };
    let run = run_within(Duration::from_secs(20), within(&late)).await;
    assert_failure(&run, FailureReason::Late, "within 50ms, but it came after");
    assert!(run.latency_ns >= Some(150_000_000));
    assert!(!run.steps[0].checks[0].passed);

    let lost = websocket(|mut socket: WebSocketStream<TcpStream>| async move {
        say(&mut socket, "noise").await;
        while let Some(Ok(_)) = socket.next().await {}
    })
    .await;
    let run = run_within(Duration::from_millis(300), within(&lost)).await;
    assert_failure(&run, FailureReason::Lost, "it never came (1 in all came)");
    assert!(run.duration_ns >= 300_000_000, "it listens on until the timeout");
    assert_eq!(run.latency_ns, None);
}

/// Guarantees that an answer does not precede its question: an equal message from before the send
/// is not the match.
#[tokio::test]
async fn an_answer_comes_after_its_question() {
    let server = websocket(|mut socket: WebSocketStream<TcpStream>| async move {
        say(&mut socket, r#"{"n":1}"#).await;
        drop(socket.send(Message::Ping(vec![1].into())).await);
        while let Some(Ok(message)) = socket.next().await {
            if message.is_text() {
                say(&mut socket, r#"{"n":1,"answer":true}"#).await;
            }
        }
    })
    .await;
    let mut ask = WebSocketStep {
        // The pong has come after the first message, so that this is in the inbox before the send.
        ping: true,
        send: Some("question".into()),
        expect: Some(expect_json(json!({"n": 1}))),
        ..connect(server.url("ws", "/"))
    };
    let mut with_capture = step("1", Action::WebSocket(ask.clone()));
    with_capture.capture = vec![("answer".into(), "/answer".into())];
    assert_success(&run(vec![with_capture]).await);
    ask.send = None;
    assert_success(&run_websocket(ask).await);
}

/// Guarantees that a server which hangs up while a message is expected is quoted with its code.
#[tokio::test]
async fn an_early_close_is_quoted() {
    let server = websocket(|mut socket: WebSocketStream<TcpStream>| async move {
        let _ = socket.next().await;
        close(&mut socket, 4401, "token expired").await;
    })
    .await;
    let run = run_websocket(echo_step(&server)).await;
    assert_failure(&run, FailureReason::Closed, "with code 4401 token expired");
    let abrupt = websocket(|mut socket: WebSocketStream<TcpStream>| async move {
        let _ = socket.next().await;
    })
    .await;
    let run = run_websocket(echo_step(&abrupt)).await;
    assert_failure(&run, FailureReason::Closed, "closing handshake");
}

/// Guarantees that an expected close is waited for at the end of the run, and its code judged.
#[tokio::test]
async fn a_close_can_be_expected() {
    let server = websocket(|mut socket: WebSocketStream<TcpStream>| async move {
        say(&mut socket, "{}").await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        close(&mut socket, 4001, "done").await;
    })
    .await;
    let ask = |close_code| WebSocketStep {
        close_code: Some(close_code),
        expect: Some(expect_json(json!({}))),
        ..connect(server.url("ws", "/"))
    };
    let run = run_websocket(ask(4001)).await;
    assert_success(&run);
    assert_eq!(phases(&run.steps[0]).last(), Some(&Phase::Close));
    assert_eq!(run.latency_ns, run.steps[0].message_latency_ns);
    let run = run_websocket(ask(1000)).await;
    assert_failure(&run, FailureReason::Check, "closes with code 1000, but the server closed");
    let mute = websocket(echo).await;
    let never = WebSocketStep { close_code: Some(1000), ..connect(mute.url("ws", "/")) };
    let run =
        run_within(Duration::from_millis(200), vec![step("1", Action::WebSocket(never))]).await;
    assert_failure(&run, FailureReason::Timeout, "waiting for the server to close");
}

/// Guarantees that a stream for which no close is expected gets a farewell of ours.
#[tokio::test]
async fn a_stream_is_left_politely() {
    let (said, heard) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let farewell = Arc::clone(&said);
    let server = websocket(move |mut socket: WebSocketStream<TcpStream>| {
        let farewell = Arc::clone(&farewell);
        async move {
            while let Some(Ok(message)) = socket.next().await {
                if message.is_close() {
                    farewell.notify_one();
                }
            }
        }
    })
    .await;
    assert_success(&run_websocket(connect(server.url("ws", "/"))).await);
    tokio::time::timeout(Duration::from_secs(20), said.notified()).await.expect("a close frame");
    drop(heard);
}

/// Guarantees that a ping is the value when nothing is expected.
#[tokio::test]
async fn a_ping_is_a_round_trip() {
    let server = websocket(echo).await;
    let run = run_websocket(WebSocketStep { ping: true, ..connect(server.url("ws", "/")) }).await;
    assert_success(&run);
    assert_eq!(phases(&run.steps[0]), [Phase::Connect, Phase::Upgrade, Phase::Message]);
    assert_eq!(run.latency_ns, run.phase_ns(Phase::Message));
    let both = run_websocket(WebSocketStep { ping: true, ..echo_step(&server) }).await;
    assert_success(&both);
    assert_eq!(phases(&both.steps[0])[2..], [Phase::Wait, Phase::Send, Phase::Message]);
}

/// Guarantees that a refused upgrade says why, and that a subprotocol must be echoed.
#[tokio::test]
async fn refused_upgrades_say_why() {
    let refusing = raw(|mut stream| async move {
        read_head(&mut stream).await;
        write(&mut stream, "HTTP/1.1 403 Forbidden\r\ncontent-length: 8\r\n\r\nno entry").await;
        linger(stream).await;
    })
    .await;
    let run = run_websocket(connect(refusing.url("ws", "/"))).await;
    assert_failure(&run, FailureReason::Status, "status 403 instead of 101; it says: no entry");
    assert_eq!(run.steps[0].status, Some(403));
    let server = websocket(echo).await;
    let ask =
        WebSocketStep { subprotocols: vec!["chat.v2".into()], ..connect(server.url("ws", "/")) };
    let run = run_websocket(ask).await;
    assert_failure(&run, FailureReason::Protocol, "subprotocol");
    let mute = raw(linger).await;
    let steps = vec![step("1", Action::WebSocket(connect(mute.url("ws", "/"))))];
    let run = run_within(Duration::from_millis(200), steps).await;
    assert_failure(&run, FailureReason::Timeout, "the upgrade");
}

/// Guarantees that the upgrade is marked as synthetic and names the server as its URL does.
#[tokio::test]
async fn upgrades_are_marked() {
    let router = axum::Router::new().route(
        "/",
        axum::routing::any(|headers: axum::http::HeaderMap| async move {
            let of = |name: &str| headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or("none");
            format!("{} {} {}", of("traceparent"), of("baggage"), of("sec-websocket-protocol"))
        }),
    );
    let server = http(router).await;
    let ask = WebSocketStep {
        subprotocols: vec!["a".into(), "b".into()],
        ..connect(server.url("ws", "/"))
    };
    let run = run_websocket(ask).await;
    let marks = "-01 user_agent.synthetic.type=test,radiosonde.probe.name=probe a, b";
    assert_failure(&run, FailureReason::Status, marks);
    assert_failure(&run, FailureReason::Status, &run.id.to_hex());
}

/// Guarantees the bound of a message.
#[tokio::test]
async fn messages_are_bounded() {
    let server = websocket(|mut socket: WebSocketStream<TcpStream>| async move {
        say(&mut socket, "x".repeat((1 << 20) + 1)).await;
        while let Some(Ok(_)) = socket.next().await {}
    })
    .await;
    let ask =
        WebSocketStep { expect: Some(expect_json(json!({}))), ..connect(server.url("ws", "/")) };
    assert_failure(&run_websocket(ask).await, FailureReason::Protocol, "too long");
}
