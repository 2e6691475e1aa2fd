//! Event streams, byte by byte.

use super::super::spec::{Action, Expect, SseStep, TextCheck};
use super::servers::{Server, http, linger, raw, read_head, write};
use super::{
    assert_failure, assert_success, expect_json, phases, run, run_within, step, subscribe,
};
use crate::model::probe::{FailureReason, Phase, ProbeRun};
use axum::Router;
use axum::response::sse::{Event, Sse};
use axum::routing::get;
use serde_json::json;
use std::convert::Infallible;
use std::time::Duration;

const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n\r\n";

/// A server that writes its head and these pieces, each after a pause, and then stays.
async fn pieces(pieces: &'static [(u64, &'static [u8])]) -> Server {
    raw(move |mut stream| async move {
        read_head(&mut stream).await;
        write(&mut stream, HEAD).await;
        for (pause_ms, piece) in pieces {
            tokio::time::sleep(Duration::from_millis(*pause_ms)).await;
            write(&mut stream, piece).await;
        }
        linger(stream).await;
    })
    .await
}

async fn run_sse(ask: SseStep) -> ProbeRun {
    run(vec![step("1", Action::Sse(ask))]).await
}

fn wanting(server: &Server, expect: Expect) -> SseStep {
    SseStep { expect: Some(expect), ..subscribe(server.url("http", "/feed")) }
}

/// Guarantees a match among other events, and the phases up to it.
#[tokio::test]
async fn an_event_is_matched() {
    let server = pieces(&[
        (0, b"event: hello\ndata: {}\n\n"),
        (30, b"data: {\"id\":1}\n\n:comment\n\n"),
        (30, b"event: note\nid: 7\ndata: {\"id\":\ndata: 2}\n\n"),
    ])
    .await;
    let run = run_sse(wanting(&server, expect_json(json!({"id": 2})))).await;
    assert_success(&run);
    let expected = [Phase::Connect, Phase::Send, Phase::Wait, Phase::FirstEvent, Phase::Message];
    assert_eq!(phases(&run.steps[0]), expected);
    assert!(run.latency_ns >= Some(59_000_000), "{run:#?}");
    let typed = Expect { event: Some("note".into()), ..expect_json(json!({})) };
    assert_success(&run_sse(wanting(&server, typed)).await);
    let typed = Expect { event: Some("message".into()), ..expect_json(json!({"id": 1})) };
    assert_success(&run_sse(wanting(&server, typed)).await);
}

/// Guarantees the format's oddities: a byte order mark, all three line ends, cut anywhere.
#[tokio::test]
async fn oddities_of_the_format() {
    let server = pieces(&[
        (0, b"\xEF\xBB"),
        (5, b"\xBFdata: a\r"),
        (5, b"\ndata: b\r\r"),
        (5, b"retry: 10\n\nda"),
        (5, b"ta:c\r\n\r"),
        (5, b"\ndata: \xC3"),
        (5, b"\xA9\n\n"),
    ])
    .await;
    for text in ["a\nb", "c", "é"] {
        let expect = Expect {
            json: None,
            text: Some(TextCheck::Equals(text.into())),
            ..expect_json(json!({}))
        };
        assert_success(&run_sse(wanting(&server, expect)).await);
    }
}

/// Guarantees HTTP/2 streams, and that the real server of the demo is understood.
#[tokio::test]
async fn a_framework_s_stream_is_understood() {
    let feed = || async {
        let events = futures::stream::iter([Ok::<_, Infallible>(
            Event::default().event("tick").data(r#"{"n":1}"#),
        )]);
        Sse::new(futures::StreamExt::chain(events, futures::stream::pending()))
    };
    let server = http(Router::new().route("/feed", get(feed))).await;
    let expect = Expect { event: Some("tick".into()), ..expect_json(json!({"n": 1})) };
    assert_success(&run_sse(wanting(&server, expect)).await);
}

/// Guarantees that the first event is judged by its own budget, late told from lost.
#[tokio::test]
async fn the_first_event_has_a_budget() {
    let ask = |server: &Server, ms| SseStep {
        first_event_within: Some(Duration::from_millis(ms)),
        ..subscribe(server.url("http", "/"))
    };
    let slow = pieces(&[(120, b"data: 1\n\n")]).await;
    let run = run_sse(ask(&slow, 5_000)).await;
    assert_success(&run);
    assert!(run.phase_ns(Phase::FirstEvent) >= Some(119_000_000));
    let run = run_sse(ask(&slow, 40)).await;
    assert_failure(
        &run,
        FailureReason::Late,
        "the first event comes within 40ms, but it came after",
    );
    let silent = pieces(&[(0, b": keep-alive\n\n")]).await;
    let steps = vec![step("1", Action::Sse(ask(&silent, 40)))];
    let run = run_within(Duration::from_millis(200), steps).await;
    assert_failure(&run, FailureReason::Lost, "it never came");
}

/// Guarantees that a gap between events is found while waiting, and that steady events are not one.
#[tokio::test]
async fn gaps_are_found() {
    let stalling = pieces(&[(0, b"data: 1\n\n"), (20, b"data: 2\n\n")]).await;
    let ask = |server: &Server, ms| SseStep {
        max_gap: Some(Duration::from_millis(ms)),
        ..wanting(server, expect_json(json!({"end": true})))
    };
    let run = run_sse(ask(&stalling, 150)).await;
    assert_failure(&run, FailureReason::Check, "nothing came for 150ms");
    let silent = pieces(&[]).await;
    assert_failure(&run_sse(ask(&silent, 50)).await, FailureReason::Check, "nothing came for 50ms");
    let steady = pieces(&[
        (0, b"data: 1\n\n"),
        (400, b"data: 2\n\n"),
        (400, b"data: 3\n\n"),
        (400, b"data: {\"end\":true}\n\n"),
    ])
    .await;
    assert_success(&run_sse(ask(&steady, 1_000)).await);
}

/// Guarantees that a stream that ends, breaks or is none is told apart.
#[tokio::test]
async fn streams_that_are_none() {
    let check = async |answer: &'static str, reason: FailureReason, part: &str| {
        let server = raw(move |mut stream| async move {
            read_head(&mut stream).await;
            write(&mut stream, answer).await;
        })
        .await;
        let run = run_sse(wanting(&server, expect_json(json!({"a": 1})))).await;
        assert_failure(&run, reason, part);
    };
    let ended = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: 1\n\n";
    check(ended, FailureReason::Closed, "the server ended the event stream (1 in all came)").await;
    let cut =
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 90\r\n\r\ndata";
    check(cut, FailureReason::Closed, "reading events").await;
    let page = "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 0\r\n\r\n";
    check(page, FailureReason::Check, "found: text/html").await;
    let gone = "HTTP/1.1 204 No Content\r\n\r\n";
    check(gone, FailureReason::Status, "expected that status is 200, found: 204").await;
    let garbled = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: \u{0}\n\n";
    check(garbled, FailureReason::Closed, "ended the event stream").await;
}

/// Guarantees the bound of an event.
#[tokio::test]
async fn events_are_bounded() {
    let server = raw(|mut stream| async move {
        read_head(&mut stream).await;
        write(&mut stream, HEAD).await;
        write(&mut stream, "data: ").await;
        write(&mut stream, vec![b'x'; (1 << 20) + 1]).await;
        linger(stream).await;
    })
    .await;
    let run = run_sse(wanting(&server, expect_json(json!({})))).await;
    assert_failure(&run, FailureReason::Protocol, "an event is longer than 1048576 bytes");
}
