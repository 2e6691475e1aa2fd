//! Messages that had arrived before anybody waited for them: their value is the time from the send
//! to their arrival all the same, and never nothing.

use super::super::spec::{Action, Expect, Repeat, Step, WebSocketStep};
use super::servers::{Server, echo, http, linger, raw, read_head, websocket, write};
use super::{assert_success, connect, expect_json, get, phases, run, step, subscribe};
use crate::model::probe::Phase;
use axum::Router;
use axum::routing::get as on_get;
use serde_json::json;
use std::time::Duration;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// How long the servers here take over what must show in a value, or must not.
const PAUSE: Duration = Duration::from_millis(150);
const PAUSE_NS: u64 = 150_000_000;

/// A WebSocket server whose first message comes in one piece with its consent to the upgrade,
/// after a pause.
async fn greeting() -> Server {
    raw(|mut stream| async move {
        let head = read_head(&mut stream).await;
        let is_key = |name: &str| name.eq_ignore_ascii_case("sec-websocket-key");
        let mut headers = head.lines().filter_map(|line| line.split_once(": "));
        let (_, key) = headers.find(|(name, _)| is_key(name)).expect("a key");
        let accept = derive_accept_key(key.as_bytes());
        let mut answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-accept: {accept}\r\n\r\n"
        )
        .into_bytes();
        // One unmasked text frame of seven bytes.
        answer.extend_from_slice(b"\x81\x07{\"n\":1}");
        tokio::time::sleep(PAUSE).await;
        write(&mut stream, answer).await;
        linger(stream).await;
    })
    .await
}

async fn slow() -> (Server, Step) {
    let server = http(Router::new().route("/", on_get(|| tokio::time::sleep(PAUSE)))).await;
    let ask = Action::Http(get(server.url("http", "/")));
    (server, step("slow", ask))
}

fn hear(on: &str, json: serde_json::Value) -> Step {
    step("hear", Action::Expect { on: vec![on.into()], expect: expect_json(json) })
}

/// Guarantees that a message that comes in one read with the answer to the upgrade counts from the
/// request for it, in the step that opens the stream and in one after it.
#[tokio::test]
async fn a_greeting_counts_from_the_request() {
    let server = greeting().await;
    let (_slow_server, slow) = slow().await;
    let open = connect(server.url("ws", "/"));
    let own = WebSocketStep { expect: Some(expect_json(json!({"n": 1}))), ..open.clone() };
    let own = run(vec![step("1", Action::WebSocket(own))]).await;
    assert_success(&own);
    assert_eq!(phases(&own.steps[0]), [Phase::Connect, Phase::Upgrade]);
    assert_eq!(own.latency_ns, own.phase_ns(Phase::Upgrade), "one read brought both");

    let open = step("open", Action::WebSocket(open));
    let later = run(vec![open, slow, hear("open", json!({"n": 1}))]).await;
    assert_success(&later);
    assert_eq!(later.latency_ns, later.phase_ns(Phase::Upgrade), "whatever was done meanwhile");
    let [_, _, heard] = &later.steps[..] else { unreachable!("{later:#?}") };
    assert_eq!((phases(heard), heard.duration_ns), (Vec::new(), 0));
}

/// Guarantees the same for an event that comes in one read with the head of its stream, and that
/// another step may count from the opening.
#[tokio::test]
async fn a_first_event_counts_from_the_request() {
    let server = raw(|mut stream| async move {
        read_head(&mut stream).await;
        tokio::time::sleep(PAUSE).await;
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
        write(&mut stream, format!("{head}event: hello\ndata: {{\"n\":1}}\n\n")).await;
        linger(stream).await;
    })
    .await;
    let hello = || Expect { event: Some("hello".into()), ..expect_json(json!({"n": 1})) };
    let mut ask = subscribe(server.url("http", "/feed"));
    let open = step("feed", Action::Sse(ask.clone()));
    ask.expect = Some(hello());
    let own = run(vec![step("1", Action::Sse(ask))]).await;
    let since = Expect { since: Some("feed".into()), ..hello() };
    let since = step("hear", Action::Expect { on: vec!["feed".into()], expect: since });
    let (_slow_server, slow) = slow().await;
    let since = run(vec![open, slow, since]).await;
    for run in [own, since] {
        assert_success(&run);
        let value = run.latency_ns.expect("a value");
        assert!(value >= PAUSE_NS, "{run:#?}");
        assert_eq!(run.phase_ns(Phase::Message), None, "nothing was waited for any more");
    }
}

/// Guarantees that without `since` a message counts from what was last sent over its stream before
/// it came: neither from the opening long before, nor from a send after it.
#[tokio::test]
async fn a_message_counts_from_the_send_before_it() {
    let server = websocket(echo).await;
    let (_slow_server, slow) = slow().await;
    let say = |name: &str, n: u64| {
        let send = json!({ "n": n }).to_string();
        step(name, Action::Send { on: "chat".into(), send, repeat: Repeat::ONCE })
    };
    let run = run(vec![
        step("chat", Action::WebSocket(connect(server.url("ws", "/")))),
        slow.clone(),
        say("one", 1),
        slow,
        say("two", 2),
        hear("chat", json!({"n": 1})),
    ])
    .await;
    assert_success(&run);
    let value = run.latency_ns.expect("a value");
    assert!(value > 0 && value < PAUSE_NS, "{value}");
}
