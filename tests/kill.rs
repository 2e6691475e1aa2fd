//! `kill -9` of the real binary: what was acknowledged is there after a restart, exactly once.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const SPANS: u64 = 10;
const REQUESTS: u64 = 20;

struct Daemon {
    child: Child,
    page: String,
    otlp: String,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

async fn start(dir: &Path) -> Daemon {
    let [page, grpc, http] = [free_port(), free_port(), free_port()];
    let config = format!(
        "listen: 127.0.0.1:{page}\notlp:\n  grpc: 127.0.0.1:{grpc}\n  http: 127.0.0.1:{http}\n"
    );
    std::fs::write(dir.join("radiosonde.yaml"), config).unwrap();
    let child = Command::new(env!("CARGO_BIN_EXE_radiosonde"))
        .args(["run", "--data", "data"])
        .current_dir(dir)
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let daemon = Daemon {
        child,
        page: format!("http://127.0.0.1:{page}"),
        otlp: format!("http://127.0.0.1:{http}/v1/traces"),
    };
    for _ in 0..600 {
        if let Ok(answer) = reqwest::get(format!("{}/-/ready", daemon.page)).await
            && answer.status().is_success()
        {
            return daemon;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the daemon did not become ready within a minute");
}

fn request(number: u64) -> Vec<u8> {
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

async fn send(daemon: &Daemon, body: Vec<u8>) {
    let answer = reqwest::Client::new()
        .post(&daemon.otlp)
        .header("content-type", "application/x-protobuf")
        .body(body)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status().as_u16(), 200);
}

async fn items(daemon: &Daemon, outcome: &str) -> u64 {
    let text =
        reqwest::get(format!("{}/metrics", daemon.page)).await.unwrap().text().await.unwrap();
    let line = text
        .lines()
        .find(|line| {
            line.starts_with("radiosonde_ingest_items_total")
                && line.contains(&format!("outcome=\"{outcome}\""))
        })
        .map(str::to_owned);
    line.and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).map_or(0, |n| n as u64)
}

async fn wait_for(daemon: &Daemon, outcome: &str, expected: u64) {
    for _ in 0..600 {
        if items(daemon, outcome).await == expected {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(items(daemon, outcome).await, expected, "{outcome}");
}

/// Guarantees that every acknowledged span survives `kill -9`, that a repeated request after it counts
/// as duplicates, and that the equation of the ledger holds.
#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_spans_survive_kill_nine_exactly_once() {
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let dir = tempfile::tempdir().unwrap();
    let mut daemon = start(dir.path()).await;
    let bodies: Vec<Vec<u8>> = (0..REQUESTS).map(request).collect();
    for body in &bodies {
        send(&daemon, body.clone()).await;
    }
    daemon.child.kill().unwrap();
    let _ = daemon.child.wait().unwrap();
    drop(daemon);

    let daemon = start(dir.path()).await;
    wait_for(&daemon, "stored", SPANS * REQUESTS).await;
    for body in &bodies {
        send(&daemon, body.clone()).await;
    }
    wait_for(&daemon, "duplicate", SPANS * REQUESTS).await;
    assert_eq!(items(&daemon, "stored").await, SPANS * REQUESTS);
    assert_eq!(items(&daemon, "received").await, 2 * SPANS * REQUESTS);
}
