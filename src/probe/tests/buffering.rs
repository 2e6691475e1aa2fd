//! Event streams through a relay that holds back what it should pass on, and what is noticed of
//! streams besides their events.

use super::super::spec::{Action, Repeat, SseStep, Step};
use super::servers::{Server, http, linger, raw, read_head, write};
use super::{
    assert_failure, assert_success, attribute, connect, expect_json, number, run, step, subscribe,
};
use crate::model::probe::{FailureReason, ProbeRun};
use axum::Router;
use axum::extract::State;
use axum::extract::ws::{Message, WebSocketUpgrade};
use axum::response::Response;
use axum::response::sse::{Event, Sse};
use axum::routing::any;
use futures::stream::{Stream, unfold};
use serde_json::json;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::sync::broadcast::{self, Sender};

/// How many messages a run sends, and how far apart.
const MESSAGES: u32 = 5;
const GAP: Duration = Duration::from_millis(40);

/// What comes over `/socket` goes out over `/feed`.
async fn hub() -> Server {
    let (sender, _) = broadcast::channel(64);
    let router = Router::new().route("/socket", any(publish)).route("/feed", any(feed));
    http(router.with_state(sender)).await
}

async fn publish(State(sender): State<Sender<String>>, upgrade: WebSocketUpgrade) -> Response {
    upgrade.on_upgrade(|mut socket| async move {
        while let Some(Ok(message)) = socket.recv().await {
            if let Message::Text(text) = message {
                drop(sender.send(text.to_string()));
            }
        }
    })
}

async fn feed(
    State(sender): State<Sender<String>>,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    Sse::new(unfold(sender.subscribe(), |mut receiver| async move {
        let text = receiver.recv().await.ok()?;
        Some((Ok(Event::default().data(text)), receiver))
    }))
}

/// A relay that passes on the head of an answer, and then holds what comes until so many events are
/// together.
async fn holding(to: SocketAddr, events: usize) -> Server {
    raw(move |mut client| async move {
        let mut server = TcpStream::connect(to).await.expect("a server");
        let head = read_head(&mut client).await;
        write(&mut server, head).await;
        let head = read_head(&mut server).await;
        write(&mut client, head).await;
        let mut held = Vec::new();
        while server.read_buf(&mut held).await.is_ok_and(|length| length > 0) {
            if held.windows(5).filter(|part| part == b"data:").count() >= events {
                write(&mut client, std::mem::take(&mut held)).await;
            }
        }
    })
    .await
}

/// Listens to `feed`, sends messages over `hub`, and waits for the last of them.
fn journey(hub: &Server, feed: &Server, refuse_buffering: bool) -> Vec<Step> {
    let listen = SseStep { refuse_buffering, ..subscribe(feed.url("http", "/feed")) };
    let send = json!({"n": "${run.sequence}", "id": "${run.id}"}).to_string();
    let repeat = Repeat { count: MESSAGES, gap: GAP };
    let expect = expect_json(json!({"n": MESSAGES.to_string()}));
    vec![
        step("feed", Action::Sse(listen)),
        step("hub", Action::WebSocket(connect(hub.url("ws", "/socket")))),
        step("say", Action::Send { on: "hub".into(), send, repeat }),
        step("hear", Action::Expect { on: vec!["feed".into()], expect }),
    ]
}

/// Guarantees that a relay which holds events back is found by the run's own messages, and that the
/// same stream without it passes.
#[tokio::test]
async fn a_relay_that_holds_events_is_found() {
    let hub = hub().await;
    let direct = run(journey(&hub, &hub, true)).await;
    assert_success(&direct);
    assert_eq!(attribute(&direct.steps[0], "sse.buffered").as_deref(), Some("no"));
    assert_eq!(number(&direct.steps[0], "sse.events"), Some(5));

    let patient = holding(hub.address, 1).await;
    assert_success(&run(journey(&hub, &patient, true)).await);

    let relay = holding(hub.address, MESSAGES as usize).await;
    let held = run(journey(&hub, &relay, true)).await;
    let words = "nothing buffers the stream, but 5 events that were sent over 1";
    assert_failure(&held, FailureReason::Check, words);
    assert_failure(&held, FailureReason::Check, "something between buffers the stream");

    let told = run(journey(&hub, &relay, false)).await;
    assert_success(&told);
    let words = attribute(&told.steps[0], "sse.buffered").expect("noticed");
    assert!(words.starts_with("5 events that were sent over 1"), "{words}");
}

// === streams from a script ===

const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";

async fn pieces(pieces: &'static [(u64, &'static str)]) -> Server {
    raw(move |mut stream| async move {
        let asked = read_head(&mut stream).await;
        let id = asked.lines().find_map(|line| line.strip_prefix("last-event-id: "));
        write(&mut stream, HEAD).await;
        write(&mut stream, format!("data: {{\"after\":\"{}\"}}\n\n", id.unwrap_or("none"))).await;
        for (pause_ms, piece) in pieces {
            tokio::time::sleep(Duration::from_millis(*pause_ms)).await;
            write(&mut stream, piece).await;
        }
        linger(stream).await;
    })
    .await
}

async fn listen(server: &Server, ask: SseStep) -> ProbeRun {
    let ask = SseStep { expect: Some(expect_json(json!({"last": true}))), ..ask };
    run(vec![step("1", Action::Sse(SseStep { url: server.url("http", "/"), ..ask }))]).await
}

/// Guarantees that a server's own times tell as well, and that what cannot be told is not passed over.
#[tokio::test]
async fn a_server_s_times_tell() {
    let refusing = || SseStep {
        sent_at: Some("/at".into()),
        refuse_buffering: true,
        ..subscribe(String::new())
    };
    let together = pieces(&[(
        0,
        "data: {\"at\":1000}\n\ndata: {\"at\":\"1050\"}\n\ndata: {\"at\":1100.5,\"last\":true}\n\n",
    )])
    .await;
    let run = listen(&together, refusing()).await;
    let words = "3 events that were sent over 100ms arrived at once: something between buffers";
    assert_failure(&run, FailureReason::Check, words);
    let apart = pieces(&[
        (0, "data: {\"at\":1000}\n\n"),
        (100, "data: {\"at\":1100}\n\n"),
        (100, "data: {\"at\":1200,\"last\":true}\n\n"),
    ])
    .await;
    assert_success(&listen(&apart, refusing()).await);
    let once = pieces(&[(0, "data: {\"last\":true}\n\n")]).await;
    let run = listen(&once, refusing()).await;
    assert_failure(
        &run,
        FailureReason::Check,
        "but that cannot be told: 0 events with the run's id",
    );
    let run = listen(&once, subscribe(String::new())).await;
    assert_success(&run);
    assert_eq!(attribute(&run.steps[0], "sse.buffered"), None);
}

/// Guarantees what is noticed of a stream: comments, times, ids, and silence between bytes.
#[tokio::test]
async fn streams_are_described() {
    let server = pieces(&[
        (0, ": hello\n\nretry: 2500\nid: 7\n\n"),
        (150, ":\n"),
        (0, "data: {\"last\":true}\n\n"),
    ])
    .await;
    let run = listen(&server, subscribe(String::new())).await;
    assert_success(&run);
    let told = |name: &str| number(&run.steps[0], name).expect(name);
    assert_eq!((told("sse.events"), told("sse.comments")), (2, 2));
    assert_eq!(told("sse.retry_ns"), 2_500_000_000);
    assert_eq!(attribute(&run.steps[0], "sse.last_event_id").as_deref(), Some("given"));
    let silence = told("sse.longest_silence_ns");
    assert!((149_000_000..1_000_000_000).contains(&silence), "{silence}");
}

/// Guarantees that comments are no events: they do not fill a gap.
#[tokio::test]
async fn comments_do_not_fill_gaps() {
    let server = pieces(&[(60, ": 1\n"), (60, ": 2\n"), (60, ": 3\n"), (60, ": 4\n")]).await;
    let ask = SseStep { max_gap: Some(Duration::from_millis(150)), ..subscribe(String::new()) };
    let run = listen(&server, ask).await;
    assert_failure(&run, FailureReason::Check, "nothing came for 150ms");
}

/// Guarantees that the server is told after which event to go on.
#[tokio::test]
async fn a_stream_goes_on_after_an_event() {
    let server = pieces(&[(0, "data: {\"last\":true}\n\n")]).await;
    let ask = |after: &str, id: Option<&str>| SseStep {
        expect: Some(expect_json(json!({ "after": after }))),
        last_event_id: id.map(str::to_owned),
        ..subscribe(server.url("http", "/"))
    };
    for ask in [ask("none", None), ask("41", Some("41")), ask("a", Some("${id}"))] {
        let mut first = step("first", Action::Sse(subscribe(server.url("http", "/"))));
        if let Action::Sse(open) = &mut first.action {
            open.last_event_id = Some("a".into());
            open.expect = Some(expect_json(json!({"after": "a"})));
        }
        first.capture = vec![("id".into(), "/after".into())];
        assert_success(&run(vec![first, step("2", Action::Sse(ask))]).await);
    }
}
