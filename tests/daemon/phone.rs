//! A phone that sends requests whose every byte the test decides.

use super::process::Daemon;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use std::time::{SystemTime, UNIX_EPOCH};

/// Spans in a request.
pub const SPANS: u64 = 10;

/// The `number`th request of spans named `GET`, each 5 ms long; no two requests share a span.
pub fn request(number: u64) -> Vec<u8> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() * 1_000_000_000;
    let span = |at: u64| Span {
        trace_id: (u128::from(number) + 1).to_be_bytes().to_vec(),
        span_id: (at + 1).to_be_bytes().to_vec(),
        name: "GET".to_owned(),
        start_time_unix_nano: now - 5_000_000 - number,
        end_time_unix_nano: now - number,
        ..Span::default()
    };
    let service = KeyValue {
        key: "service.name".to_owned(),
        value: Some(AnyValue { value: Some(Value::StringValue("chat-app".to_owned())) }),
        ..KeyValue::default()
    };
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(Resource { attributes: vec![service], ..Resource::default() }),
            scope_spans: vec![ScopeSpans {
                spans: (0..SPANS).map(span).collect(),
                ..ScopeSpans::default()
            }],
            ..ResourceSpans::default()
        }],
    }
    .encode_to_vec()
}

/// Sends a request; it is acknowledged when this returns.
pub async fn send(daemon: &Daemon, body: Vec<u8>) {
    let answer = reqwest::Client::new()
        .post(format!("{}/v1/traces", daemon.otlp_http))
        .header("content-type", "application/x-protobuf")
        .body(body)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status().as_u16(), 200);
}

/// How many items had an outcome.
pub async fn items(daemon: &Daemon, outcome: &str) -> u64 {
    let label = format!("outcome=\"{outcome}\"");
    daemon.metric("radiosonde_ingest_items_total", &[&label]).await as u64
}
