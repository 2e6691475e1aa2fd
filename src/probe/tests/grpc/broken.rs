//! Servers that are mute, hang up, or do not keep to the protocol.

use super::super::servers::{linger, raw, read_head, write};
use super::servers::{OK, Part, frame, framed, h2_frame, item, scripted};
use super::{
    Action, FailureReason, GrpcStep, ProbeRun, Server, assert_failure, chat, chat_server, health,
    http, run_grpc, run_within, step,
};
use axum::Router;
use axum::http::StatusCode;
use axum::routing::post;
use serde_json::json;
use std::time::Duration;
use tokio::net::TcpListener;

const TIMEOUT: Duration = Duration::from_millis(300);

async fn run_briefly(ask: GrpcStep) -> ProbeRun {
    run_within(TIMEOUT, vec![step("1", Action::Grpc(ask))]).await
}

/// Guarantees that a mute server costs the timeout and no more, wherever it falls silent.
#[tokio::test]
async fn a_mute_server_costs_the_timeout() {
    let check = async |server: Server, words: &str| {
        let run = run_briefly(chat(&server, "Echo", json!({}))).await;
        assert_failure(&run, FailureReason::Timeout, words);
        assert!((300_000_000..3_000_000_000).contains(&run.duration_ns), "{}", run.duration_ns);
        assert_eq!(run.latency_ns, None);
    };
    check(raw(linger).await, "waiting for the answer of test.Chat/Echo").await;
    check(chat_server("Echo", vec![Part::Mute]).await, "waiting for the end of http").await;
    let half = Part::Data(vec![0, 0, 0, 0, 9, 1]);
    check(chat_server("Echo", vec![half, Part::Mute]).await, "waiting for the end of http").await;
    let all = vec![frame(&item("x", 1)), Part::Mute];
    check(chat_server("Echo", all).await, "waiting for the end of http").await;
}

/// Guarantees that answers which are none are told apart, and never a panic.
#[tokio::test]
async fn nonsense_is_a_protocol_failure() {
    let check = async |parts: Vec<Part>, words: &str| {
        let server = chat_server("Echo", parts).await;
        let run = run_grpc(chat(&server, "Echo", json!({}))).await;
        assert_failure(&run, FailureReason::Protocol, words);
    };
    let message = || frame(&item("x", 1));
    check(vec![], "without a grpc-status").await;
    check(vec![message()], "without a grpc-status").await;
    check(vec![message(), Part::NoStatus], "without a grpc-status").await;
    check(vec![message(), Part::Trailers("fine", "")], "`fine` is not a grpc-status").await;
    check(vec![OK], "the server said OK and sent 0 messages instead of 1").await;
    check(vec![message(), message(), OK], "sent 2 messages instead of 1").await;
    check(vec![framed(1, b"\x1f\x8b"), OK], "compressed, which was not offered").await;
    check(vec![Part::Data(b"<html>".to_vec()), OK], "not framed as gRPC: its flags are 0x3c").await;
    check(vec![Part::Data(vec![0, 0, 0, 0, 9, 1]), OK], "the last message is cut off").await;
    check(vec![framed(0, &[0xff; 9]), OK], "a message is not a test.Item").await;
    check(vec![Part::Data(vec![0, 0xff, 0, 0, 0]), OK], "longer than 4194304").await;
    let long = item(&"x".repeat(4 << 20), 1);
    check(vec![frame(&long), OK], "longer than 4194304").await;
}

/// Guarantees that answers of proxies and of servers without gRPC are quoted.
#[tokio::test]
async fn other_servers_are_quoted() {
    let busy = || async { (StatusCode::SERVICE_UNAVAILABLE, "no upstream") };
    let html = || async { ([("content-type", "text/html")], "<h1>hello</h1>") };
    let router = Router::new()
        .route("/test.Chat/Echo", post(busy))
        .route("/grpc.health.v1.Health/Check", post(html));
    let server = http(router).await;
    let run = run_grpc(chat(&server, "Echo", json!({}))).await;
    let words = "the HTTP status is 503 instead of 200; it says: no upstream";
    assert_failure(&run, FailureReason::Protocol, words);
    let run = run_grpc(health(&server, "")).await;
    let words = "the content-type is not application/grpc but text/html";
    assert_failure(&run, FailureReason::Protocol, words);

    let old = raw(|mut stream| async move {
        read_head(&mut stream).await;
        write(&mut stream, "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await;
        linger(stream).await;
    });
    let run = run_grpc(health(&old.await, "")).await;
    assert_failure(&run, FailureReason::Protocol, "waiting for the answer of grpc.health.v1");
}

/// Guarantees that a connection or stream which ends early says why, with the server's words.
#[tokio::test]
async fn an_early_end_says_why() {
    let check = async |bytes: Vec<u8>, then_close, reason, words: &[&str]| {
        let server = scripted(bytes, then_close).await;
        let run = run_grpc(chat(&server, "Echo", json!({}))).await;
        words.iter().for_each(|words| assert_failure(&run, reason, words));
    };
    let goaway = |code: u8, words: &[u8]| {
        let mut payload = vec![0, 0, 0, 0, 0, 0, 0, code];
        payload.extend(words);
        h2_frame(7, 0, 0, &payload)
    };
    let calm = goaway(11, b"too_many_pings");
    let words = ["connection error received: detected excessive load", "too_many_pings"];
    check(calm, false, FailureReason::Protocol, &words).await;
    check(goaway(0, b"drain"), true, FailureReason::Protocol, &["drain"]).await;
    let refused = h2_frame(3, 0, 1, &[0, 0, 0, 7]);
    check(refused, false, FailureReason::Protocol, &["refused stream"]).await;
    check(Vec::new(), true, FailureReason::Closed, &["waiting for the answer"]).await;
    check(vec![0xff; 64], false, FailureReason::Protocol, &["waiting for the answer"]).await;

    let closed = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = closed.local_addr().expect("bound");
    drop(closed);
    let nowhere = raw(linger).await;
    let ask = GrpcStep { url: format!("http://{address}"), ..health(&nowhere, "") };
    assert_failure(&run_grpc(ask).await, FailureReason::Connect, "refused");
}
