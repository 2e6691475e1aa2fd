//! The allow-list of writes, while a run goes on: what is captured and where a redirect leads is not
//! known before. 0.0.0.0 reaches this machine without being loopback.

use super::super::spec::{Action, HttpStep, ProbeSpec, Repeat, Step};
use super::super::writes::WriteTarget;
use super::super::{SlotStart, run_once};
use super::servers::{Server, echo, http, websocket};
use super::{assert_failure, assert_success, connect, context, expect_json, get, spec, step};
use crate::model::probe::{FailureReason, ProbeRun};
use axum::Router;
use axum::http::StatusCode;
use axum::routing::{get as on_get, post};
use parking_lot::Mutex;
use serde_json::json;
use std::sync::Arc;

/// Every write that got through.
type Written = Arc<Mutex<Vec<String>>>;

/// A server that says where to write to, and notes what is written.
async fn server() -> (Server, Written) {
    let written = Written::default();
    let note = Arc::clone(&written);
    let write = move |body: String| async move { note.lock().push(body) };
    let router = Router::new()
        .route("/place", on_get(|| async { axum::Json(json!({"host": "0.0.0.0"})) }))
        .route("/written", post(write))
        .route(
            "/moved/{port}",
            post(|path: axum::extract::Path<u16>| async move {
                let location = format!("http://0.0.0.0:{}/written", path.0);
                (StatusCode::TEMPORARY_REDIRECT, [("location", location)])
            }),
        );
    (http(router).await, written)
}

fn capture_host(server: &Server) -> Step {
    let ask = Action::Http(get(server.url("http", "/place")));
    Step { capture: vec![("host".into(), "/host".into())], ..step("place", ask) }
}

fn post_to(url: String) -> HttpStep {
    HttpStep { method: "POST".into(), body: Some("x".into()), ..get(url) }
}

async fn run_allowing(allowed: &[&str], steps: Vec<Step>) -> ProbeRun {
    let writes = allowed.iter().map(|text| WriteTarget::parse(text).expect(text)).collect();
    let spec = ProbeSpec { writes, ..spec(steps) };
    let context = context();
    run_once(&spec, SlotStart::now(&context.clock), &context).await
}

/// Guarantees that a request goes nowhere but to allowed targets, whatever its URL was made of, and
/// that reading is free.
#[tokio::test]
async fn a_captured_host_must_be_allowed() {
    let (server, written) = server().await;
    let elsewhere = server.url("http", "").replace("127.0.0.1", "${host}");
    let write = || step("write", Action::Http(post_to(format!("{elsewhere}/written"))));
    let read = step("read", Action::Http(get(format!("{elsewhere}/place"))));
    let refused = run_allowing(&[], vec![capture_host(&server), read, write()]).await;
    assert_failure(&refused, FailureReason::Local, "writing to http://0.0.0.0:");
    assert_failure(&refused, FailureReason::Local, "writes: { allow: [ 0.0.0.0 ] }");
    assert!(refused.steps[1].failure.is_none() && written.lock().is_empty());
    let other = ["0.0.0.0/rooms"];
    let refused = run_allowing(&other, vec![capture_host(&server), write()]).await;
    assert_failure(&refused, FailureReason::Local, "is not allowed");
    assert_success(&run_allowing(&["0.0.0.0"], vec![capture_host(&server), write()]).await);
    assert_eq!(*written.lock(), ["x"]);
}

/// Guarantees that a redirect does not carry a write to where none is allowed, and that cleaning up
/// is held to the same list.
#[tokio::test]
async fn a_redirect_must_be_allowed() {
    let (server, written) = server().await;
    let port = server.url("http", "").rsplit(':').next().unwrap_or_default().to_owned();
    let moved = server.url("http", &format!("/moved/{port}"));
    let ask = HttpStep { max_redirects: 1, ..post_to(moved) };
    let steps = || vec![step("1", Action::Http(ask.clone()))];
    let refused = run_allowing(&[], steps()).await;
    assert_failure(&refused, FailureReason::Protocol, "the redirect is unusable: writing to");
    let cleaning = ProbeSpec { cleanup: steps(), ..spec(vec![capture_host(&server)]) };
    let context = context();
    let cleaned = run_once(&cleaning, SlotStart::now(&context.clock), &context).await;
    assert_success(&ProbeRun { steps: cleaned.steps[..1].to_vec(), ..cleaned.clone() });
    assert!(cleaned.steps[1].failure.is_some() && written.lock().is_empty());
    assert_success(&run_allowing(&["0.0.0.0"], steps()).await);
    assert_eq!(*written.lock(), ["x"]);
}

/// Guarantees that a stream may be listened to anywhere, and spoken to only where that is allowed.
#[tokio::test]
async fn a_message_must_be_allowed() {
    let server = websocket(echo).await;
    let open = connect(server.url("ws", "/").replace("127.0.0.1", "0.0.0.0"));
    let listen = step("chat", Action::WebSocket(open.clone()));
    assert_success(&run_allowing(&[], vec![listen.clone()]).await);
    let say =
        step("say", Action::Send { on: "chat".into(), send: "{}".into(), repeat: Repeat::ONCE });
    let mut talk = open;
    talk.send = Some("{}".into());
    talk.expect = Some(expect_json(json!({})));
    for steps in [vec![listen, say], vec![step("talk", Action::WebSocket(talk))]] {
        let refused = run_allowing(&[], steps.clone()).await;
        assert_failure(&refused, FailureReason::Local, "writing to ws://0.0.0.0:");
        assert_success(&run_allowing(&["0.0.0.0"], steps).await);
    }
}
