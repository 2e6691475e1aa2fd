//! Journeys of several steps over several protocols.

use super::super::spec::{Action, Expect, HttpStep, ProbeSpec, Repeat, Step};
use super::super::{SlotStart, run_once};
use super::servers::{Server, http, linger, raw, read_head, websocket, write};
use super::{
    assert_failure, assert_success, connect, context, expect_json, get, phases, run, run_within,
    spec, step, subscribe,
};
use crate::base::clock::UnixNanos;
use crate::model::probe::{FailureReason, Outcome, Phase};
use axum::Router;
use axum::extract::State;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::response::sse::{Event, Sse};
use axum::routing::{any, get as on_get, post};
use futures::{SinkExt, StreamExt};
use parking_lot::Mutex;
use serde_json::json;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast;

type Room = broadcast::Sender<String>;

/// Whatever is posted goes to everybody in the room, over WebSocket and SSE; the poster is answered
/// some time later.
async fn room(answer_after: Duration) -> Server {
    async fn enter(State(room): State<Room>, upgrade: WebSocketUpgrade) -> impl IntoResponse {
        let mut messages = room.subscribe();
        upgrade.on_upgrade(async move |mut socket: WebSocket| {
            while let Ok(text) = messages.recv().await {
                if socket.send(Message::text(text)).await.is_err() {
                    break;
                }
            }
        })
    }
    async fn feed(State(room): State<Room>) -> impl IntoResponse {
        let events = futures::stream::unfold(room.subscribe(), async |mut messages| {
            let text = messages.recv().await.ok()?;
            Some((Ok::<_, Infallible>(Event::default().event("message.new").data(text)), messages))
        });
        Sse::new(events)
    }
    let say = move |State(room): State<Room>, body: String| async move {
        drop(room.send(r#"{"type":"presence"}"#.to_owned()));
        drop(room.send(body));
        tokio::time::sleep(answer_after).await;
        StatusCode::ACCEPTED
    };
    let router = Router::new()
        .route("/room", any(enter))
        .route("/feed", on_get(feed))
        .route("/messages", post(say))
        .with_state(Room::new(1024));
    http(router).await
}

fn publish(name: &str, server: &Server) -> Step {
    let ask = HttpStep {
        method: "POST".into(),
        body: Some(r#"{"id":"${run.id}"}"#.into()),
        ..get(server.url("http", "/messages"))
    };
    step(name, Action::Http(ask))
}

fn expect(name: &str, on: &str, since: &str) -> Step {
    let since = Some(since.to_owned());
    let expect = Expect { since, ..expect_json(json!({"id": "${run.id}"})) };
    step(name, Action::Expect { on: vec![on.into()], expect })
}

/// Guarantees publish-to-receive latency across protocols: it counts from the publishing step, and
/// a message that came while that step was still running keeps its true arrival.
#[tokio::test]
async fn published_over_http_received_over_websocket_and_sse() {
    let answer_after = Duration::from_millis(150);
    let server = room(answer_after).await;
    let run = run(vec![
        step("bob", Action::WebSocket(connect(server.url("ws", "/room")))),
        step("eve", Action::Sse(subscribe(server.url("http", "/feed")))),
        publish("alice", &server),
        expect("at-bob", "bob", "alice"),
        expect("at-eve", "eve", "alice"),
    ])
    .await;
    assert_success(&run);
    let [_, _, alice, at_bob, at_eve] = &run.steps[..] else { unreachable!("{run:#?}") };
    assert!(alice.duration_ns >= 150_000_000);
    for received in [at_bob, at_eve] {
        let latency = received.message_latency_ns.expect("a value");
        assert!(latency > 0 && latency < alice.duration_ns, "it came before the poster's answer");
        assert_eq!(phases(received), [], "nothing was waited for any more");
        assert_eq!(received.protocol, "expect");
    }
    assert_eq!(run.latency_ns, at_eve.message_latency_ns, "the last message is the value");
}

/// Guarantees that a message sent over an open stream is measured from its own step.
#[tokio::test]
async fn sending_over_an_open_stream() {
    let server = websocket(super::servers::echo).await;
    let send = Action::Send {
        on: "chat".into(),
        send: r#"{"id":"${run.id}"}"#.into(),
        repeat: Repeat::ONCE,
    };
    let run = run(vec![
        step("chat", Action::WebSocket(connect(server.url("ws", "/")))),
        step("say", send),
        expect("hear", "chat", "say"),
    ])
    .await;
    assert_success(&run);
    assert_eq!(phases(&run.steps[1]), [Phase::Send]);
    assert_eq!(run.steps[1].target, server.url("ws", "/"));
    assert!(run.latency_ns > Some(0));
}

/// Guarantees that captured values reach later steps, with their types, and that a missing one
/// fails its step.
#[tokio::test]
async fn values_are_captured() {
    let router = Router::new()
        .route("/rooms", post(|| async { axum::Json(json!({"room": {"id": 7}})) }))
        .route("/rooms/7", on_get(|| async { axum::Json(json!({"id": 7, "name": "7"})) }));
    let server = http(router).await;
    let create = HttpStep { method: "POST".into(), ..get(server.url("http", "/rooms")) };
    let capturing = |pointer: &str| Step {
        capture: vec![("room".into(), pointer.into())],
        ..step("create", Action::Http(create.clone()))
    };
    let wanted = Arc::new(json!({"id": "${room}", "name": "${create.room}${}"}));
    let show = |wanted: &Arc<serde_json::Value>| {
        let body_checks = vec![super::super::spec::BodyCheck::Json(Arc::clone(wanted))];
        let url = server.url("http", "/rooms/${create.room}");
        step("show", Action::Http(HttpStep { body_checks, ..get(url) }))
    };
    let run1 = run(vec![capturing("/room/id"), show(&wanted)]).await;
    assert_failure(&run1, FailureReason::Local, "the variable `` has no value");
    let wanted = Arc::new(json!({"id": "${room}"}));
    assert_success(&run(vec![capturing("/room/id"), show(&wanted)]).await);
    let run2 = run(vec![capturing("/room/key"), show(&wanted)]).await;
    assert_failure(&run2, FailureReason::Check, "`room` cannot be captured: nothing at /room/key");
    assert_eq!(run2.steps.len(), 1, "the first failure ends the run");
}

/// Guarantees that one deadline holds for all steps together.
#[tokio::test]
async fn one_deadline_for_all_steps() {
    let server = http(
        Router::new()
            .route("/", on_get(|| async { tokio::time::sleep(Duration::from_millis(200)).await })),
    )
    .await;
    let slow = |name: &str| step(name, Action::Http(get(server.url("http", "/"))));
    let run = run_within(Duration::from_millis(300), vec![slow("1"), slow("2"), slow("3")]).await;
    assert_failure(&run, FailureReason::Timeout, "timeout of 300ms");
    assert_eq!(run.steps.len(), 2);
    assert!(run.steps[0].failure.is_none() && run.steps[1].failure.is_some());
}

/// Guarantees that cleaning up happens after a failure too, with what was captured, outside the
/// run's time, and without changing the verdict.
#[tokio::test]
async fn cleaning_up_happens_in_any_case() {
    let deleted = Arc::new(Mutex::new(Vec::new()));
    let server = {
        let deleted = Arc::clone(&deleted);
        raw(move |mut stream| {
            let deleted = Arc::clone(&deleted);
            async move {
                let head = read_head(&mut stream).await;
                let line = head.lines().next().unwrap_or_default().to_owned();
                if line.starts_with("DELETE") {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    deleted.lock().push(line);
                }
                write(&mut stream, "HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\n{\"id\":7}").await;
            }
        })
        .await
    };
    let create = Step {
        capture: vec![("id".into(), "/id".into())],
        ..step("create", Action::Http(get(server.url("http", "/"))))
    };
    let mute = raw(linger).await;
    let stuck = step("stuck", Action::Http(get(mute.url("http", "/"))));
    let delete = |name: &str, path: &str| {
        let ask = HttpStep { method: "DELETE".into(), ..get(server.url("http", path)) };
        step(name, Action::Http(ask))
    };
    let spec = ProbeSpec {
        timeout: Duration::from_millis(300),
        cleanup: vec![delete("bad", "/${nobody}"), delete("good", "/${id}")],
        ..spec(vec![create, stuck])
    };
    let context = context();
    let run = run_once(&spec, SlotStart::now(&context.clock), &context).await;
    assert_failure(&run, FailureReason::Timeout, "waiting for the answer");
    assert_eq!(*deleted.lock(), ["DELETE /7 HTTP/1.1"]);
    let names: Vec<(&str, bool)> =
        run.steps.iter().map(|step| (step.name.as_str(), step.failure.is_none())).collect();
    assert_eq!(names, [("create", true), ("stuck", false), ("bad", false), ("good", true)]);
    assert!(run.steps[3].phases.is_empty());
    assert!(run.steps[2].offset_ns >= run.duration_ns, "cleaning up is not part of the run");
}

/// Guarantees that a run says what it is a run of, and when it was due.
#[tokio::test]
async fn a_run_belongs_to_its_slot() {
    let server = http(Router::new().route("/", on_get(|| async {}))).await;
    let spec = spec(vec![
        step("a", Action::Http(get(server.url("http", "/")))),
        step("b", Action::Http(get(server.url("http", "/")))),
    ]);
    let slot = SlotStart { intended_start: UnixNanos::from_seconds(1_000), lateness_ns: 5 };
    let run = run_once(&spec, slot, &context()).await;
    assert_success(&run);
    assert_eq!((run.probe.as_str(), run.labels.get("region")), ("probe", Some("test")));
    assert_eq!((run.intended_start, run.lateness_ns), (UnixNanos::from_seconds(1_000), 5));
    assert_eq!(
        run.latency_ns,
        Some(run.duration_ns),
        "without a message the whole run is the value"
    );
    assert!(run.steps[1].offset_ns >= run.steps[0].duration_ns);
}

/// Guarantees that references to nothing are our own fault.
#[tokio::test]
async fn references_to_nothing_are_local_failures() {
    let run1 = run(vec![expect("1", "nobody", "nobody")]).await;
    assert_failure(&run1, FailureReason::Local, "no step `nobody` has opened a stream");
    let server = room(Duration::ZERO).await;
    let open = step("bob", Action::WebSocket(connect(server.url("ws", "/room"))));
    let run2 = run(vec![open, expect("2", "bob", "nobody")]).await;
    assert_failure(&run2, FailureReason::Local, "the step `nobody` has not sent anything");
}

/// Guarantees that a run in which the runtime was blocked says how far its value may be wrong.
#[tokio::test]
async fn a_blocked_runtime_makes_a_run_uncertain() {
    let server = websocket(|mut socket: tokio_tungstenite::WebSocketStream<_>| async move {
        let _ = socket.next().await;
        let Some(Ok(said)) = socket.next().await else { return };
        // Server and probe share this runtime: what blocks one blocks the other.
        let clock = crate::base::clock::Clock::system();
        while clock.monotonic().0 < 60_000_000 {
            std::hint::spin_loop();
        }
        drop(socket.send(said).await);
        let _ = socket.next().await;
    })
    .await;
    let mut ask = connect(server.url("ws", "/"));
    ask.send = Some("{}".into());
    let opened = step("chat", Action::WebSocket(ask));
    let again = Action::Send {
        on: "chat".into(),
        send: r#"{"id":"${run.id}"}"#.into(),
        repeat: Repeat::ONCE,
    };
    let run = run(vec![opened, step("say", again), expect("hear", "chat", "say")]).await;
    assert_success(&run);
    assert_eq!(run.outcome, Outcome::Success);
    assert!(run.uncertainty_ns >= 40_000_000, "{run:#?}");
}
