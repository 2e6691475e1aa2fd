//! gRPC calls against servers that keep to the protocol, and servers that do not.

mod broken;
mod reflection;
mod servers;
mod streams;

use super::super::grpc::messages::{HealthCheckRequest, HealthCheckResponse, ServingStatus};
use super::super::grpc::{Call, Code, Descriptors, GrpcStep};
use super::super::spec::ProbeSpec;
use super::super::spec::{Action, Expect, HeaderText, Step, TlsOptions};
use super::super::writes::WriteTarget;
use super::super::{SlotStart, run_once};
use super::servers::{Server, http, https};
use super::{
    assert_failure, assert_success, context, expect_json, median_ms, number, phases, run,
    run_within, spec, step,
};
use crate::model::probe::{FailureReason, Phase, ProbeRun};
use axum::Router;
use axum::extract::Request;
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use serde_json::{Value, json};
use servers::{Item, OK, Part, answer, descriptor_set, frame, item, messages, trailers_only};
use std::time::Duration;

fn grpc(server: &Server, call: Call) -> GrpcStep {
    GrpcStep {
        url: server.url("http", ""),
        call,
        metadata: Vec::new(),
        status: Vec::new(),
        expect: None,
        messages: None,
        reads: false,
        tls: TlsOptions::default(),
    }
}

fn health(server: &Server, service: &str) -> GrpcStep {
    grpc(server, Call::Health { service: service.to_owned() })
}

/// A call of a method of `test.Chat` with one message.
fn chat(server: &Server, method: &str, message: Value) -> GrpcStep {
    chat_many(server, method, vec![message])
}

fn chat_many(server: &Server, method: &str, messages: Vec<Value>) -> GrpcStep {
    let descriptors = Descriptors::parse(&descriptor_set()).expect("a set");
    let path = format!("test.Chat/{method}");
    grpc(server, Call::Method { path, messages: messages.into(), descriptors: Some(descriptors) })
}

async fn run_grpc(step_: GrpcStep) -> ProbeRun {
    run(vec![step("1", Action::Grpc(step_))]).await
}

/// A server that answers a method of `test.Chat` with these parts.
async fn chat_server(method: &str, parts: Vec<Part>) -> Server {
    let handler = move |request: Request| async move {
        drop(messages::<Item>(request).await);
        answer(parts)
    };
    http(Router::new().route(&format!("/test.Chat/{method}"), post(handler))).await
}

/// A server that sends every message back.
async fn echo_server() -> Server {
    http(echo_router()).await
}

fn echo_router() -> Router {
    let echo = |request: Request| async {
        let mut parts: Vec<Part> = messages::<Item>(request).await.iter().map(frame).collect();
        parts.push(OK);
        answer(parts)
    };
    Router::new().route("/test.Chat/Echo", post(echo)).route("/test.Chat/Talk", post(echo))
}

fn attribute(run: &ProbeRun, name: &str) -> Option<String> {
    super::attribute(&run.steps[0], name)
}

async fn health_server() -> Server {
    let check = |request: Request| async {
        let asked = messages::<HealthCheckRequest>(request).await.remove(0).service;
        let status = match asked.as_str() {
            "" => ServingStatus::Serving,
            "chat" => ServingStatus::NotServing,
            _ => return trailers_only("5", "unknown%20service"),
        };
        answer(vec![frame(&HealthCheckResponse { status: status.into() }), OK])
    };
    http(Router::new().route("/grpc.health.v1.Health/Check", post(check))).await
}

/// Guarantees what a health check measures, and that only a service that serves passes.
#[tokio::test]
async fn health_is_checked() {
    let server = health_server().await;
    let run = run_grpc(health(&server, "")).await;
    assert_success(&run);
    let done = &run.steps[0];
    assert_eq!(phases(done), [Phase::Connect, Phase::Send, Phase::Wait, Phase::Receive]);
    assert_eq!((done.status, done.protocol.as_str()), (Some(0), "grpc"));
    assert_eq!(done.target, server.url("http", "/grpc.health.v1.Health/Check"));
    let names: Vec<&str> = done.checks.iter().map(|check| check.name.as_str()).collect();
    assert_eq!(names, ["status is OK", "health is SERVING"]);
    assert_eq!(run.latency_ns, done.message_latency_ns);
    let [_, send, .., receive] = done.phases[..] else { unreachable!("{done:#?}") };
    let together = receive.offset_ns + receive.duration_ns - send.offset_ns;
    assert_eq!(run.latency_ns, Some(together), "from the sending to the status");

    let run = run_grpc(health(&server, "chat")).await;
    assert_failure(&run, FailureReason::Check, "that health is SERVING, found: NOT_SERVING");
    let planned = GrpcStep {
        expect: Some(expect_json(json!({"status": "NOT_SERVING"}))),
        ..health(&server, "chat")
    };
    assert_success(&run_grpc(planned).await);

    let run = run_grpc(health(&server, "unheard")).await;
    assert_failure(&run, FailureReason::Status, "status is OK, found: NOT_FOUND (unknown service)");
    assert_eq!(run.steps[0].status, Some(5));
    let absent = GrpcStep { status: vec![Code(5)], ..health(&server, "unheard") };
    assert_success(&run_grpc(absent).await);
}

/// Guarantees that JSON becomes a message and back, with templates, captures and defaults.
#[tokio::test]
async fn an_echo_comes_back() {
    let server = echo_server().await;
    let message = json!({"text": "${run.id}", "number": 7, "since": "2026-01-02T03:04:05Z"});
    let expected = json!({"text": "${run.id}", "number": "7", "done": false});
    let ask =
        GrpcStep { expect: Some(expect_json(expected)), ..chat(&server, "Echo", message.clone()) };
    let first =
        Step { capture: vec![("n".into(), "/number".into())], ..step("a", Action::Grpc(ask)) };
    let again = json!({"number": "${n}", "done": true});
    let expected = json!({"number": "7", "done": true});
    let second = GrpcStep { expect: Some(expect_json(expected)), ..chat(&server, "Echo", again) };
    let run = run(vec![first, step("b", Action::Grpc(second))]).await;
    assert_success(&run);
    assert_eq!(attribute(&run, "grpc.messages").as_deref(), Some("1"));
    assert!(number(&run.steps[0], "grpc.first_message_ns").is_some());
    assert_eq!(number(&run.steps[0], "grpc.max_gap_ns"), None);
    assert_eq!(run.latency_ns, run.steps[1].message_latency_ns);

    let wrong = GrpcStep {
        expect: Some(expect_json(json!({"text": "other"}))),
        ..chat(&server, "Echo", json!({"text": "this"}))
    };
    let run = run_grpc(wrong).await;
    assert_failure(&run, FailureReason::Check, r#"found: one message came: {"done":false,"#);
    let run = run_grpc(chat(&server, "Echo", json!({"txt": 1}))).await;
    assert_failure(
        &run,
        FailureReason::Local,
        "the message is not a test.Item: there is no field `txt`",
    );
    let run = run_grpc(chat_many(&server, "Echo", vec![json!({}), json!({})])).await;
    assert_failure(&run, FailureReason::Local, "takes one message, and there are 2");
}

/// Guarantees that every status is told by its name and with the server's words, and may be expected.
#[tokio::test]
async fn every_status_is_named() {
    for (number, name) in (0_u16..).zip(Code::names()) {
        let status: &'static str = number.to_string().leak();
        let parts = vec![frame(&item("x", 1)), Part::Trailers(status, "because%20of%20x")];
        let server = chat_server("Echo", parts).await;
        let run = run_grpc(chat(&server, "Echo", json!({}))).await;
        assert_eq!(run.steps[0].status, Some(number));
        if number == 0 {
            assert_success(&run);
        } else {
            let words = format!("expected that status is OK, found: {name} (because of x)");
            assert_failure(&run, FailureReason::Status, &words);
        }
        let ask =
            GrpcStep { status: vec![Code(1), Code(number)], ..chat(&server, "Echo", json!({})) };
        assert_success(&run_grpc(ask).await);
    }
    let server = chat_server("Echo", vec![Part::Trailers("77", "")]).await;
    let run = run_grpc(chat(&server, "Echo", json!({}))).await;
    assert_failure(&run, FailureReason::Status, "found: 77");
}

/// Guarantees that a call is marked as synthetic, says how long it may take, and carries metadata.
#[tokio::test]
async fn calls_are_marked() {
    let tell = |request: Request| async move {
        let names = [
            "te",
            "content-type",
            "grpc-accept-encoding",
            "grpc-timeout",
            "user-agent",
            "baggage",
            "authorization",
            "traceparent",
        ];
        let of = |name: &&str| {
            let value = request.headers().get(*name).and_then(|value| value.to_str().ok());
            format!("{name}={}", value.unwrap_or("none"))
        };
        let text = names.iter().map(of).collect::<Vec<_>>().join(" ");
        let authority = request.uri().authority().map(ToString::to_string).unwrap_or_default();
        answer(vec![frame(&item(&format!("{authority} {text}"), 0)), OK])
    };
    let server = http(Router::new().route("/test.Chat/Echo", post(tell))).await;
    let plain = |name: &str, text: &str| (name.to_owned(), HeaderText::Plain(text.to_owned()));
    let ask = GrpcStep {
        metadata: vec![
            plain("authorization", "Bearer ${run.id}"),
            plain("host", "chat.internal"),
            plain("te", "gzip"),
        ],
        expect: Some(expect_json(json!({"text": "none"}))),
        ..chat(&server, "Echo", json!({}))
    };
    let run = run_within(Duration::from_secs(20), vec![step("1", Action::Grpc(ask))]).await;
    let words = run.failure.as_ref().map(|failure| failure.message.clone()).unwrap_or_default();
    let found = run.steps[0].checks[1].found.clone().unwrap_or_default();
    for part in ["chat.internal te=trailers content-type=application/grpc", "identity"] {
        assert!(found.contains(part), "{words}\n{found}");
    }
    let timeout = found.split("grpc-timeout=").nth(1).and_then(|rest| rest.split('m').next());
    let timeout: u64 = timeout.and_then(|text| text.parse().ok()).expect("a number");
    assert!((1..=20_000).contains(&timeout));
}

/// Guarantees TLS with HTTP/2 by ALPN.
#[tokio::test]
async fn tls_is_spoken() {
    let (server, pem) = https(echo_router()).await;
    let ask = GrpcStep {
        url: server.url("https", "/"),
        tls: TlsOptions { ca_pem: Some(pem), ..TlsOptions::default() },
        ..chat(&server, "Echo", json!({}))
    };
    let run = run_grpc(ask).await;
    assert_success(&run);
    let expected = [Phase::Connect, Phase::Tls, Phase::Send, Phase::Wait, Phase::Receive];
    assert_eq!(phases(&run.steps[0]), expected);
}

/// Guarantees that what a server takes is in the value and in the phase in which it took it.
#[tokio::test]
async fn a_slow_server_is_measured() {
    const DELAY: Duration = Duration::from_millis(60);
    let slow = |request: Request| async move {
        drop(messages::<Item>(request).await);
        tokio::time::sleep(DELAY).await;
        answer(vec![frame(&item("x", 1)), Part::Pause(DELAY), OK])
    };
    let server = http(Router::new().route("/test.Chat/Echo", post(slow))).await;
    let mut runs = Vec::new();
    for _ in 0..5 {
        let run = run_grpc(chat(&server, "Echo", json!({}))).await;
        assert_success(&run);
        assert!(run.latency_ns >= Some(120_000_000));
        runs.push(run);
    }
    assert!((60..300).contains(&median_ms(&runs, Phase::Wait)));
    assert!((60..300).contains(&median_ms(&runs, Phase::Receive)));
    let within = |within| GrpcStep {
        expect: Some(Expect { within: Some(within), ..expect_json(json!({"text": "x"})) }),
        ..chat(&server, "Echo", json!({}))
    };
    let run = run_grpc(within(Duration::from_millis(20))).await;
    assert_failure(&run, FailureReason::Late, "within 20ms, found: it came after");
    let run = run_grpc(within(Duration::from_secs(15))).await;
    assert_success(&run);
    assert!(run.latency_ns < run.steps[0].phases.last().map(|p| p.offset_ns + p.duration_ns));
}

/// Guarantees that a call is a write, unless it is a health check or said to read.
#[tokio::test]
async fn a_call_must_be_allowed() {
    let server = echo_server().await;
    let elsewhere = GrpcStep {
        url: server.url("http", "").replace("127.0.0.1", "0.0.0.0"),
        ..chat(&server, "Echo", json!({}))
    };
    let run_allowing = async |allowed: &[&str], ask: GrpcStep| {
        let writes = allowed.iter().map(|text| WriteTarget::parse(text).expect(text)).collect();
        let spec = ProbeSpec { writes, ..spec(vec![step("1", Action::Grpc(ask))]) };
        let context = context();
        run_once(&spec, SlotStart::now(&context.clock), &context).await
    };
    let refused = run_allowing(&[], elsewhere.clone()).await;
    assert_failure(&refused, FailureReason::Local, "writing to http://0.0.0.0:");
    let refused = run_allowing(&["0.0.0.0/test.Other"], elsewhere.clone()).await;
    assert_failure(&refused, FailureReason::Local, "test.Chat/Echo is not allowed");
    assert_success(&run_allowing(&["0.0.0.0/test.Chat"], elsewhere.clone()).await);
    assert_success(&run_allowing(&[], GrpcStep { reads: true, ..elsewhere }).await);
    let healthy = health_server().await;
    let ask = GrpcStep {
        url: healthy.url("http", "").replace("127.0.0.1", "0.0.0.0"),
        ..health(&healthy, "")
    };
    assert_success(&run_allowing(&[], ask).await);
}

struct Collector;

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, tonic::Status> {
        if request.get_ref().resource_spans.is_empty() {
            return Err(tonic::Status::invalid_argument("zwölf Boxkämpfer: 100%\n"));
        }
        let partial = ExportTracePartialSuccess { rejected_spans: 3, error_message: "no".into() };
        Ok(tonic::Response::new(ExportTraceServiceResponse { partial_success: Some(partial) }))
    }
}

/// Guarantees that a server of another make is understood: tonic, with its own trailers and escapes.
#[tokio::test]
async fn tonic_is_understood() {
    let routes = tonic::service::Routes::new(TraceServiceServer::new(Collector));
    let server = http(routes.into_axum_router()).await;
    let set = servers::collector_set();
    let call = |message: Value| {
        let path = "opentelemetry.proto.collector.trace.v1.TraceService/Export".to_owned();
        let descriptors = Some(Descriptors::parse(&set).expect("a set"));
        grpc(&server, Call::Method { path, messages: [message].into(), descriptors })
    };
    let expected = json!({"partialSuccess": {"rejectedSpans": "3"}});
    let full =
        GrpcStep { expect: Some(expect_json(expected)), ..call(json!({"resourceSpans": [{}]})) };
    assert_success(&run_grpc(full).await);
    let run = run_grpc(call(json!({}))).await;
    assert_failure(&run, FailureReason::Status, "INVALID_ARGUMENT (zwölf Boxkämpfer: 100% )");
    let run = run_grpc(health(&server, "")).await;
    assert_failure(&run, FailureReason::Status, "UNIMPLEMENTED");
}

/// Guarantees that a message which does not fit is told by its fields and never by its values: a
/// definition may have put secrets there.
#[tokio::test]
async fn what_does_not_fit_is_not_quoted() {
    let server = echo_server().await;
    let secret = json!({ "nothing_like_it": "s3cr3t" });
    let run = run_grpc(chat(&server, "Echo", secret)).await;
    assert_failure(&run, FailureReason::Local, "there is no field `nothing_like_it`");
    assert!(!format!("{run:?}").contains("s3cr3t"), "{run:#?}");
    let run = run_grpc(chat(&server, "Echo", json!({ "done": "s3cr3t" }))).await;
    assert_failure(&run, FailureReason::Local, "`done` does not fit");
    assert!(!format!("{run:?}").contains("s3cr3t"), "{run:#?}");
}
