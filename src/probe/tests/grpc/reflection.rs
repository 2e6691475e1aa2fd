//! Methods whose messages are asked of the server.

use super::servers::{answer, files, frame, framed, messages, reflect, trailers_only};
use super::{
    Action, Call, FailureReason, GrpcStep, Phase, Server, assert_failure, assert_success,
    echo_router, expect_json, grpc, http, phases, run_grpc, run_within, step,
};
use crate::probe::grpc::messages::{ReflectedFiles, ReflectionRequest, ReflectionResponse};
use axum::extract::Request;
use axum::routing::post;
use prost::Message;
use prost_reflect::prost_types::FileDescriptorProto;
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;

const V1: &str = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
const V1ALPHA: &str = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo";

fn ask(server: &Server, method: &str) -> GrpcStep {
    let path = format!("test.Chat/{method}");
    let messages = [json!({"text": "${run.id}", "since": "2026-01-02T03:04:05Z"})].into();
    GrpcStep {
        expect: Some(expect_json(json!({"text": "${run.id}"}))),
        ..grpc(server, Call::Method { path, messages, descriptors: None })
    }
}

fn known() -> BTreeMap<String, Vec<u8>> {
    files().map(|file| (file.name().to_owned(), file.encode_to_vec())).into()
}

/// Guarantees that imports are asked for, what comes with protobuf is not needed, and that asking
/// is a phase of its own before the call.
#[tokio::test]
async fn messages_are_asked_of_the_server() {
    let router = echo_router().route(V1, post(|request| reflect(request, known())));
    let server = http(router).await;
    let run = run_grpc(ask(&server, "Echo")).await;
    assert_success(&run);
    let done = &run.steps[0];
    let expected = [Phase::Connect, Phase::Handshake, Phase::Send, Phase::Wait, Phase::Receive];
    let found: Vec<Phase> =
        phases(done).into_iter().filter(|phase| *phase != Phase::Message).collect();
    assert_eq!(found, expected);
    let asking = run.phase_ns(Phase::Handshake).expect("was reached");
    assert!(run.latency_ns.is_some_and(|latency| latency + asking < run.duration_ns));
    let run = run_grpc(ask(&server, "Shout")).await;
    let words = "`test.Chat` has no method `Shout`; there are: Echo, Watch, Gather, Talk";
    assert_failure(&run, FailureReason::Protocol, words);
}

/// Guarantees that the older version is spoken where the newer is unknown.
#[tokio::test]
async fn the_older_version_will_do() {
    let unknown = || async { trailers_only("12", "") };
    let router = echo_router()
        .route(V1, post(unknown))
        .route(V1ALPHA, post(|request| reflect(request, known())));
    assert_success(&run_grpc(ask(&http(router).await, "Echo")).await);
    let neither = echo_router().route(V1, post(unknown)).route(V1ALPHA, post(unknown));
    let run = run_grpc(ask(&http(neither).await, "Echo")).await;
    let words = "the server does not offer it; give the probe a descriptor_set";
    assert_failure(&run, FailureReason::Protocol, words);
    let refused =
        echo_router().route(V1, post(|| async { trailers_only("16", "who%20are%20you") }));
    let run = run_grpc(ask(&http(refused).await, "Echo")).await;
    assert_failure(&run, FailureReason::Protocol, "it ended with UNAUTHENTICATED (who are you)");
}

/// Guarantees that files which are missing, endless, foreign or nonsense end in words.
#[tokio::test]
async fn reflection_is_bounded() {
    let check = async |router: axum::Router, words: &str| {
        let run = run_grpc(ask(&http(router).await, "Echo")).await;
        assert_failure(&run, FailureReason::Protocol, words);
    };
    let mut without_import = known();
    let _ = without_import.remove("test/item.proto");
    let missing = move |request| reflect(request, without_import.clone());
    check(echo_router().route(V1, post(missing)), "`test/item.proto`: NOT_FOUND (no such file)")
        .await;
    let none = |request| reflect(request, BTreeMap::new());
    check(echo_router().route(V1, post(none)), "`test.Chat`: NOT_FOUND").await;

    // Every file imports two others that nobody has heard of.
    let endless = |request: Request| async {
        let asks = messages::<ReflectionRequest>(request).await;
        let file = |ask: ReflectionRequest| {
            let name = ask.file_by_filename.unwrap_or_default();
            let imports = vec![format!("{name}a"), format!("{name}b")];
            let file = FileDescriptorProto {
                name: Some(name),
                dependency: imports,
                ..FileDescriptorProto::default()
            };
            ReflectionResponse {
                files: Some(ReflectedFiles { files: vec![file.encode_to_vec()] }),
                error: None,
            }
        };
        answer(asks.into_iter().map(|ask| frame(&file(ask))).collect())
    };
    check(echo_router().route(V1, post(endless)), "it needs more than 500 files").await;
    let file = |n: usize| FileDescriptorProto { name: Some(n.to_string()), ..Default::default() };
    let files = (0..600).map(|n| file(n).encode_to_vec()).collect();
    let many = ReflectionResponse { files: Some(ReflectedFiles { files }), error: None };
    let many = move |_: Request| async move { answer(vec![frame(&many)]) };
    check(echo_router().route(V1, post(many)), "it needs more than 500 files").await;
    let nonsense = || async { answer(vec![framed(0, &[0xff; 4])]) };
    check(echo_router().route(V1, post(nonsense)), "an answer makes no sense").await;
    let empty = || async { answer(vec![framed(0, &[])]) };
    check(echo_router().route(V1, post(empty)), "an answer has no files").await;
    let broken =
        ReflectionResponse { files: Some(ReflectedFiles { files: vec![vec![0xff]] }), error: None };
    let broken = move |_: Request| async move { answer(vec![frame(&broken)]) };
    check(echo_router().route(V1, post(broken)), "a file makes no sense").await;
    let other = ReflectionResponse {
        files: Some(ReflectedFiles { files: vec![super::servers::files()[0].encode_to_vec()] }),
        error: None,
    };
    let other = move |_: Request| async move { answer(vec![frame(&other), frame(&other)]) };
    check(
        echo_router().route(V1, post(other)),
        "`google/protobuf/timestamp.proto` did not come when it was asked for",
    )
    .await;
}

/// Guarantees that a server whose reflection is mute costs the timeout.
#[tokio::test]
async fn mute_reflection_costs_the_timeout() {
    let mute = || async { answer(vec![super::Part::Mute]) };
    let server = http(echo_router().route(V1, post(mute))).await;
    let steps = vec![step("1", Action::Grpc(ask(&server, "Echo")))];
    let run = run_within(Duration::from_millis(300), steps).await;
    assert_failure(&run, FailureReason::Timeout, "asking the server's reflection");
}
