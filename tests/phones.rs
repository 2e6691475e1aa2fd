//! What phones report, through the real binary: the configured region survives redaction, apps beyond
//! the cap count as `other`, and duplicates are known again after a restart from a checkpoint.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test stops at what it did not expect")]
#![expect(clippy::disallowed_methods, reason = "a client of the daemon has its own clock")]

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
const HOUR: u64 = 3_600_000_000_000;

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
        "listen: 127.0.0.1:{page}\notlp:\n  grpc: 127.0.0.1:{grpc}\n  http: 127.0.0.1:{http}\n\
         phones:\n  region: cloud.zone\n  max_apps: 1\n"
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

/// Ends the daemon as a service manager does, and waits for its last checkpoint.
fn stop(mut daemon: Daemon) {
    let pid = daemon.child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    assert!(daemon.child.wait().unwrap().success());
}

/// Spans of an app that ended `age` nanoseconds ago.
fn request(app: &str, age: u64) -> Vec<u8> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() * 1_000_000_000;
    let text = |key: &str, value: &str| KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(Value::StringValue(value.to_owned())) }),
        ..KeyValue::default()
    };
    let span = |number: u64| Span {
        trace_id: (u128::from(age) + 1).to_be_bytes().to_vec(),
        span_id: (number + 1).to_be_bytes().to_vec(),
        name: "GET".to_owned(),
        start_time_unix_nano: now - age - 5_000_000,
        end_time_unix_nano: now - age,
        attributes: vec![text("cloud.zone", "eu-1"), text("user.name", "somebody")],
        ..Span::default()
    };
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(Resource {
                attributes: vec![text("service.name", app)],
                ..Resource::default()
            }),
            scope_spans: vec![ScopeSpans {
                spans: (0..SPANS).map(span).collect(),
                ..ScopeSpans::default()
            }],
            ..ResourceSpans::default()
        }],
    }
    .encode_to_vec()
}

async fn send(daemon: &Daemon, body: &[u8]) {
    let answer = reqwest::Client::new()
        .post(&daemon.otlp)
        .header("content-type", "application/x-protobuf")
        .body(body.to_vec())
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status().as_u16(), 200);
}

async fn metrics(daemon: &Daemon) -> String {
    reqwest::get(format!("{}/metrics", daemon.page)).await.unwrap().text().await.unwrap()
}

/// The sum of the series of a name that have all of these labels.
fn sum(metrics: &str, name: &str, labels: &[&str]) -> u64 {
    let lines = metrics
        .lines()
        .filter(|line| line.starts_with(name) && labels.iter().all(|label| line.contains(label)));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum::<f64>() as u64
}

async fn wait_for(daemon: &Daemon, labels: &[&str], expected: u64) -> String {
    let mut text = String::new();
    for _ in 0..600 {
        text = metrics(daemon).await;
        if sum(&text, "radiosonde_ingest_items_total", labels) == expected {
            return text;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{labels:?} did not become {expected} within a minute:\n{text}");
}

/// Guarantees that the region's attribute is kept because it is the region's, that a second app counts as
/// `other` in series and ledger alike, that each app's equation sums up, and that what was sent before a
/// restart, days late or not, is a duplicate after it.
#[tokio::test(flavor = "multi_thread")]
async fn regions_apps_and_duplicates() {
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let dir = tempfile::tempdir().unwrap();
    let daemon = start(dir.path()).await;
    let bodies = [request("chat", 0), request("feed", 1), request("feed", 70 * HOUR)];
    let [live, other, late] = &bodies;
    send(&daemon, live).await;
    let _ = wait_for(&daemon, &[r#"app="chat""#, r#"outcome="stored""#], SPANS).await;
    send(&daemon, other).await;
    send(&daemon, late).await;
    let text = wait_for(&daemon, &[r#"app="other""#, r#"outcome="stored""#], 2 * SPANS).await;
    let calls = |labels: &[&str]| sum(&text, "traces_span_metrics_calls_total", labels);
    assert_eq!(calls(&[r#"region="eu-1""#, r#"service_name="chat""#]), SPANS);
    assert_eq!(calls(&[r#"region="eu-1""#, r#"service_name="other""#]), 2 * SPANS);
    assert!(!text.contains("feed") && !text.contains("somebody"));
    stop(daemon);

    let daemon = start(dir.path()).await;
    for body in &bodies {
        send(&daemon, body).await;
    }
    let _ = wait_for(&daemon, &[r#"app="chat""#, r#"outcome="duplicate""#], SPANS).await;
    let text = wait_for(&daemon, &[r#"app="other""#, r#"outcome="duplicate""#], 2 * SPANS).await;
    let items = |labels: &[&str]| sum(&text, "radiosonde_ingest_items_total", labels);
    assert_eq!(items(&[r#"outcome="stored""#]), 3 * SPANS);
    assert_eq!(items(&[r#"outcome="received""#, r#"app="other""#]), 4 * SPANS);
}
