//! Streams of messages, there and back.

use super::super::super::spec::Expect;
use super::servers::{Item, OK, Part, answer, frame, item, messages};
use super::{
    Action, FailureReason, GrpcStep, Phase, ProbeRun, assert_failure, assert_success, chat,
    chat_many, chat_server, echo_server, expect_json, http, number, phases, run_grpc, run_within,
    step,
};
use crate::probe::grpc::Code;
use axum::Router;
use axum::extract::Request;
use axum::routing::post;
use serde_json::json;
use std::time::Duration;

const PAUSE: Duration = Duration::from_millis(40);

/// Noise, then the message that is waited for, then silence.
fn noisy() -> Vec<Part> {
    let mut parts: Vec<Part> = (0..300).map(|n| frame(&item("noise", n))).collect();
    parts.extend([Part::Pause(PAUSE), frame(&item("match", 1)), Part::Mute]);
    parts
}

async fn run_briefly(ask: GrpcStep) -> ProbeRun {
    run_within(Duration::from_millis(400), vec![step("1", Action::Grpc(ask))]).await
}

/// Guarantees that a match ends a stream without its end, and that noise does not disturb it.
#[tokio::test]
async fn a_match_is_found_among_noise() {
    let server = chat_server("Watch", noisy()).await;
    let ask = GrpcStep {
        expect: Some(expect_json(json!({"text": "match"}))),
        ..chat(&server, "Watch", json!({}))
    };
    let run = run_grpc(ask).await;
    assert_success(&run);
    let done = &run.steps[0];
    let expected = [Phase::Connect, Phase::Send, Phase::Wait, Phase::Message];
    assert_eq!(phases(done), expected);
    assert_eq!((run.latency_ns, done.status), (done.message_latency_ns, None));
    assert_eq!(number(&run.steps[0], "grpc.messages"), Some(301));
    let messages = &run.steps[0].messages;
    assert_eq!((messages.stamps.len(), messages.omitted), (301, 0));
    assert!(messages.stamps.is_sorted_by_key(|stamp| stamp.offset_ns), "{run:#?}");
    let gap = number(&run.steps[0], "grpc.max_gap_ns").map(|ns| ns as f64 / 1e6);
    assert!(gap >= Some(35.0), "{gap:?}");
}

/// Guarantees that late is told from lost, and both from a stream that ended or failed.
#[tokio::test]
async fn late_is_not_lost() {
    let ask = |server, text: &str| GrpcStep {
        expect: Some(Expect {
            within: Some(Duration::from_millis(10)),
            ..expect_json(json!({"text": text}))
        }),
        ..chat(server, "Watch", json!({}))
    };
    let server = chat_server("Watch", noisy()).await;
    let run = run_grpc(ask(&server, "match")).await;
    assert_failure(&run, FailureReason::Late, "within 10ms, found: it came after");
    assert!(run.latency_ns >= Some(40_000_000));
    let run = run_briefly(ask(&server, "other")).await;
    assert_failure(&run, FailureReason::Lost, "it never came; 301 messages came, the last: {");

    let ended = chat_server("Watch", vec![frame(&item("a", 1)), frame(&item("b", 2)), OK]).await;
    let run = run_grpc(ask(&ended, "match")).await;
    assert_failure(&run, FailureReason::Check, "2 messages came, the last: {");
    let empty = chat_server("Watch", vec![OK]).await;
    let run = run_grpc(ask(&empty, "match")).await;
    assert_failure(&run, FailureReason::Check, "found: no message came");
    let failed = vec![frame(&item("a", 1)), Part::Trailers("14", "going%20away")];
    let failed = chat_server("Watch", failed).await;
    let run = run_grpc(ask(&failed, "match")).await;
    assert_failure(&run, FailureReason::Status, "found: UNAVAILABLE (going away)");
    let mute = chat_server("Watch", vec![Part::Mute]).await;
    let run = run_briefly(ask(&mute, "match")).await;
    assert_failure(&run, FailureReason::Lost, "it never came; no message came");
}

/// Guarantees that messages are counted, and that a status asks for the end of the stream.
#[tokio::test]
async fn messages_are_counted() {
    let parts = vec![frame(&item("a", 1)), Part::Pause(PAUSE), frame(&item("b", 2)), OK];
    let server = chat_server("Watch", parts).await;
    let ask = |messages| GrpcStep { messages, ..chat(&server, "Watch", json!({})) };
    let first = run_grpc(ask(Some(1))).await;
    assert_success(&first);
    assert_eq!(first.steps[0].status, None);
    let second = run_grpc(ask(Some(2))).await;
    assert_success(&second);
    assert!(second.latency_ns >= Some(40_000_000));
    let run = run_grpc(ask(Some(3))).await;
    assert_failure(&run, FailureReason::Check, "at least 3 messages come, found: 2");
    let to_the_end = GrpcStep { status: vec![Code::OK], ..ask(Some(1)) };
    let run = run_grpc(to_the_end).await;
    assert_success(&run);
    assert_eq!((run.steps[0].status, number(&run.steps[0], "grpc.messages")), (Some(0), Some(2)));
    let run = run_grpc(ask(None)).await;
    assert_success(&run);
    assert_eq!(phases(&run.steps[0]).last(), Some(&Phase::Receive));
    let mute = chat_server("Watch", vec![frame(&item("a", 1)), Part::Mute]).await;
    let run = run_briefly(GrpcStep { messages: Some(2), ..chat(&mute, "Watch", json!({})) }).await;
    assert_failure(&run, FailureReason::Lost, "at least 2 messages come, found: 1");
    let run = run_briefly(chat(&mute, "Watch", json!({}))).await;
    assert_failure(&run, FailureReason::Timeout, "while waiting for the end of http");
}

/// Guarantees that all messages of a client stream arrive, none included, and the end with them.
#[tokio::test]
async fn many_messages_are_sent() {
    let sum = |request: Request| async {
        let items = messages::<Item>(request).await;
        let texts: Vec<&str> = items.iter().map(|item| item.text.as_str()).collect();
        let sum = items.iter().map(|item| item.number).sum();
        answer(vec![frame(&item(&texts.join("+"), sum)), OK])
    };
    let server = http(Router::new().route("/test.Chat/Gather", post(sum))).await;
    let gather = |messages, expected| GrpcStep {
        expect: Some(expect_json(expected)),
        ..chat_many(&server, "Gather", messages)
    };
    let messages = vec![json!({"text": "a", "number": 1}), json!({"text": "b", "number": 41})];
    assert_success(&run_grpc(gather(messages, json!({"text": "a+b", "number": "42"}))).await);
    assert_success(&run_grpc(gather(Vec::new(), json!({"text": ""}))).await);
    let large = json!({"text": "x".repeat(300_000)});
    assert_success(&run_grpc(gather(vec![large; 10], json!({"number": "0"}))).await);
}

/// Guarantees that streams may go both ways.
#[tokio::test]
async fn streams_go_both_ways() {
    let server = echo_server().await;
    let messages = (0..3).map(|n| json!({"text": "m", "number": n})).collect();
    let ask = GrpcStep {
        status: vec![Code::OK],
        messages: Some(3),
        expect: Some(expect_json(json!({"number": "2"}))),
        ..chat_many(&server, "Talk", messages)
    };
    let run = run_grpc(ask).await;
    assert_success(&run);
    assert_eq!(number(&run.steps[0], "grpc.messages"), Some(3));
}
