//! The fleet against a real back end and a small OTLP/HTTP endpoint that keeps what it gets.

use super::*;
use crate::demo::backend::start_backend;
use crate::demo::cohort::{Network, Os, Region, Release};
use crate::demo::conditions::Fault;
use crate::wire::otlp::{
    ExportLogsServiceRequest, ExportMetricsServiceRequest, ExportTraceServiceRequest, KeyValue,
    LogRecord, Resource, Span, SpanKind, Value,
};
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::routing::post;
use flate2::read::GzDecoder;
use parking_lot::Mutex;
use prost::Message;
use std::io::Read;
use tokio::net::TcpListener;

/// Nothing here takes a fraction of it, unless something hangs.
const CEILING: Duration = Duration::from_secs(60);

/// What an endpoint received.
#[derive(Default)]
struct Kept {
    spans: Vec<(Resource, Span)>,
    events: Vec<(Resource, LogRecord)>,
    metrics: Vec<String>,
}

struct Stage {
    kept: Arc<Mutex<Kept>>,
    conditions: Arc<Conditions>,
    shutdown: Shutdown,
    fleet: Fleet,
}

impl Stage {
    async fn set(cohorts: Vec<Cohort>) -> Self {
        let shutdown = Shutdown::new();
        let conditions = Arc::new(Conditions::calm());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let backend = listener.local_addr().unwrap();
        shutdown.spawn(start_backend(listener, conditions.clone(), shutdown.clone()));

        let kept = Arc::new(Mutex::new(Kept::default()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let otlp = format!("http://{}", listener.local_addr().unwrap());
        let app = axum::Router::new().route("/v1/{signal}", post(keep)).with_state(kept.clone());
        let signal = shutdown.clone();
        shutdown.spawn(async move {
            let serving = axum::serve(listener, app);
            let _ = serving.with_graceful_shutdown(async move { signal.begun().await }).await;
        });
        let fleet = Fleet {
            cohorts,
            backend,
            otlp,
            conditions: conditions.clone(),
            clock: Clock::system(),
            seed: 7,
        };
        Self { kept, conditions, shutdown, fleet }
    }

    async fn wait_for(&self, what: &str, condition: impl Fn(&Kept) -> bool) {
        let wait = async {
            while !condition(&self.kept.lock()) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        assert!(tokio::time::timeout(CEILING, wait).await.is_ok(), "no {what}");
    }

    async fn strike(self) {
        assert!(self.shutdown.drain(CEILING).await);
    }
}

async fn keep(
    State(kept): State<Arc<Mutex<Kept>>>,
    Path(signal): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) {
    assert_eq!(headers["content-type"], "application/x-protobuf");
    assert_eq!(headers["content-encoding"], "gzip");
    let mut bytes = Vec::new();
    let _ = GzDecoder::new(&body[..]).read_to_end(&mut bytes).unwrap();
    let mut kept = kept.lock();
    match signal.as_str() {
        "traces" => {
            let request = ExportTraceServiceRequest::decode(&bytes[..]).unwrap();
            for resource in request.resource_spans {
                let of = resource.resource.unwrap();
                let spans = resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
                kept.spans.extend(spans.map(|span| (of.clone(), span)));
            }
        }
        "logs" => {
            let request = ExportLogsServiceRequest::decode(&bytes[..]).unwrap();
            for resource in request.resource_logs {
                let of = resource.resource.unwrap();
                let records = resource.scope_logs.into_iter().flat_map(|scope| scope.log_records);
                kept.events.extend(records.map(|record| (of.clone(), record)));
            }
        }
        _ => {
            let request = ExportMetricsServiceRequest::decode(&bytes[..]).unwrap();
            let scopes = request.resource_metrics.into_iter().flat_map(|r| r.scope_metrics);
            kept.metrics.extend(scopes.flat_map(|scope| scope.metrics).map(|metric| metric.name));
        }
    }
}

fn get(attributes: &[KeyValue], key: &str) -> Option<String> {
    let all: Vec<_> = attributes.iter().filter(|attribute| attribute.key == key).collect();
    assert!(all.len() <= 1, "{key} stands twice");
    match all.first()?.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text.clone()),
        Value::IntValue(number) => Some(number.to_string()),
        other => Some(format!("{other:?}")),
    }
}

fn cohort_of(resource: &Resource) -> (String, String, String) {
    let get = |key| get(&resource.attributes, key).unwrap();
    (get("service.version"), get("os.name"), get(REGION_ATTRIBUTE))
}

fn phone(os: Os) -> Cohort {
    Cohort { release: Release::V4_2_0, os, network: Network::Cell, region: Region::UsEast }
}

/// Guarantees what a request's span says: the keys of the semantic conventions, who the phone is,
/// and how long it really took.
#[tokio::test]
async fn spans_say_what_was_measured() {
    let stage = Stage::set(vec![phone(Os::Android), phone(Os::Ios)]).await;
    let phones = Phones::start(&stage.fleet).unwrap();
    stage
        .wait_for("span of both systems", |kept| {
            let of = |os: &str| kept.spans.iter().any(|(r, _)| cohort_of(r).1 == os);
            of("Android") && of("iOS")
        })
        .await;
    assert!(phones.stop().await);
    let kept = std::mem::take(&mut *stage.kept.lock());
    for (resource, span) in &kept.spans {
        assert_eq!(get(&resource.attributes, "service.name").as_deref(), Some("chat-app"));
        for key in ["device.model.name", "app.installation.id", "telemetry.sdk.name"] {
            assert!(get(&resource.attributes, key).is_some(), "{key}");
        }
        let (version, os, region) = cohort_of(resource);
        assert_eq!((version.as_str(), region.as_str()), ("4.2.0", "us-east"));

        let attribute = |key| get(&span.attributes, key);
        assert_eq!(span.kind, SpanKind::Client as i32);
        assert_eq!(attribute("http.request.method").as_ref(), Some(&span.name));
        assert!(attribute("url.full").unwrap().starts_with("http://127.0.0.1:"));
        assert_eq!(attribute("network.connection.type").as_deref(), Some("cell"));
        assert_eq!(attribute("session.id").unwrap().len(), 32);
        assert_eq!(attribute("url.template").is_some(), os == "Android");
        let status = attribute("http.response.status_code").unwrap();
        assert!(["200", "202"].contains(&status.as_str()), "{status}");
        assert_eq!(attribute("error.type"), None);
        // Radio and round trip are really waited for.
        let took = Duration::from_nanos(span.end_time_unix_nano - span.start_time_unix_nano);
        assert!(took >= Region::UsEast.round_trip().mul_f64(0.7), "{took:?}");
    }
    stage.strike().await;
}

/// Guarantees sessions and crashes as events with their names, and the histogram where the system
/// has one.
#[tokio::test]
async fn sessions_and_crashes_are_events() {
    let stage = Stage::set(vec![phone(Os::Android), phone(Os::Ios)]).await;
    stage.conditions.begin(Fault::Crashes { release: Release::V4_2_0, ratio: 1.0 });
    let phones = Phones::start(&stage.fleet).unwrap();
    let named = |kept: &Kept, name: &str| {
        let of = |(_, record): &&(Resource, LogRecord)| record.event_name == name;
        kept.events.iter().filter(of).count()
    };
    stage.wait_for("crash", |kept| named(kept, "app.crash") > 0).await;
    assert!(phones.stop().await);
    let kept = std::mem::take(&mut *stage.kept.lock());
    assert!(named(&kept, "session.start") >= named(&kept, "app.crash"));
    assert_eq!(named(&kept, "session.end"), 0);
    for (resource, record) in &kept.events {
        assert_eq!(cohort_of(resource).0, "4.2.0");
        assert!(record.time_unix_nano > 0);
        assert!(get(&record.attributes, "session.id").is_some());
        assert_eq!(
            get(&record.attributes, "exception.type").is_some(),
            record.event_name == "app.crash"
        );
    }
    assert!(kept.metrics.iter().all(|name| name == "http.client.request.duration"));
    assert!(!kept.metrics.is_empty());
    stage.strike().await;
}

/// Guarantees that a network that drops connections makes requests fail without an answer, and
/// that the reports about it come through all the same.
#[tokio::test]
async fn a_dropped_network_is_reported() {
    let stage = Stage::set(vec![phone(Os::Android)]).await;
    stage.conditions.begin(Fault::DroppedNetwork {
        network: Network::Cell,
        region: Region::UsEast,
        ratio: 0.6,
    });
    let phones = Phones::start(&stage.fleet).unwrap();
    let lost = |(_, span): &(Resource, Span)| {
        get(&span.attributes, "error.type").is_some_and(|error| error.contains("Timeout"))
            && get(&span.attributes, "http.response.status_code").is_none()
            && span.status.as_ref().is_some_and(|status| status.code == 2)
    };
    stage.wait_for("lost request", |kept| kept.spans.iter().any(lost)).await;
    assert!(phones.stop().await);
    stage.strike().await;
}

/// Guarantees that the whole fleet starts, reports as 24 cohorts, and ends within its limit even
/// though nobody answers its reports any more.
#[tokio::test]
async fn the_whole_fleet_reports_and_ends() {
    let stage = Stage::set(Cohort::all()).await;
    let phones = Phones::start(&stage.fleet).unwrap();
    let cohorts = |kept: &Kept| {
        let of = |(resource, span): &(Resource, Span)| {
            (cohort_of(resource), get(&span.attributes, "network.connection.type"))
        };
        kept.spans.iter().map(of).collect::<std::collections::HashSet<_>>().len()
    };
    stage.wait_for("span of every cohort", |kept| cohorts(kept) == Cohort::LIMIT).await;
    assert!(stage.shutdown.drain(CEILING).await);
    assert!(phones.stop().await);
}

/// Guarantees an error, not a panic, when the endpoint's address makes no sense.
#[tokio::test]
async fn a_senseless_endpoint_is_an_error() {
    let stage = Stage::set(vec![phone(Os::Ios)]).await;
    let fleet = Fleet { otlp: "no url at all".to_owned(), ..stage.fleet.clone() };
    assert!(matches!(Phones::start(&fleet), Err(PhonesError::Sdk { .. })));
    stage.strike().await;
}
