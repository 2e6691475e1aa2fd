//! The official OpenTelemetry exporters as clients: three signals over gRPC, HTTP/protobuf and
//! HTTP/JSON.

use super::*;
use bytes::Bytes;
use opentelemetry::KeyValue;
use opentelemetry::logs::{LogRecord as _, Logger as _, LoggerProvider as _};
use opentelemetry::metrics::MeterProvider as _;
use opentelemetry::trace::{Span as _, Tracer as _, TracerProvider as _};
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{
    Compression, LogExporter, MetricExporter, Protocol, SpanExporter, WithExportConfig,
    WithHttpConfig, WithTonicConfig,
};
use opentelemetry_sdk::logs::SdkLoggerProvider;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::trace::SdkTracerProvider;
use std::pin::Pin;
use tokio::runtime::Handle;

/// Sends on the runtime: the SDK exports from threads of its own.
#[derive(Debug)]
struct OnRuntime {
    client: reqwest::Client,
    runtime: Handle,
}

impl HttpClient for OnRuntime {
    fn send_bytes<'a, 'b>(
        &'a self,
        request: ::http::Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<::http::Response<Bytes>, HttpError>> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        let client = self.client.clone();
        let sent = self.runtime.spawn(async move {
            let response = client.execute(request.try_into()?).await?;
            let mut answer = ::http::Response::builder().status(response.status());
            answer.headers_mut().expect("no error yet").extend(response.headers().clone());
            Ok(answer.body(response.bytes().await?)?)
        });
        Box::pin(async move { sent.await? })
    }
}

struct Exporters {
    spans: SpanExporter,
    metrics: MetricExporter,
    logs: LogExporter,
}

fn over_http(house: &House, protocol: Protocol) -> Exporters {
    let client = || OnRuntime { client: reqwest::Client::new(), runtime: Handle::current() };
    macro_rules! exporter {
        ($exporter:ident, $path:literal) => {
            $exporter::builder()
                .with_http()
                .with_http_client(client())
                .with_protocol(protocol)
                .with_compression(Compression::Gzip)
                .with_endpoint(house.url($path))
                .build()
                .expect("an exporter")
        };
    }
    Exporters {
        spans: exporter!(SpanExporter, "/v1/traces"),
        metrics: exporter!(MetricExporter, "/v1/metrics"),
        logs: exporter!(LogExporter, "/v1/logs"),
    }
}

fn over_grpc(house: &House) -> Exporters {
    macro_rules! exporter {
        ($exporter:ident) => {
            $exporter::builder()
                .with_tonic()
                .with_compression(Compression::Gzip)
                .with_endpoint(format!("http://{}", house.grpc))
                .build()
                .expect("an exporter")
        };
    }
    Exporters {
        spans: exporter!(SpanExporter),
        metrics: exporter!(MetricExporter),
        logs: exporter!(LogExporter),
    }
}

/// Sends 3 spans, 2 log records and metrics of each kind; every export has to succeed.
fn send(exporters: Exporters) {
    let resource = opentelemetry_sdk::Resource::builder().with_service_name("shop").build();
    let private = || KeyValue::new("user.email", "me@example.com");

    let traces = SdkTracerProvider::builder()
        .with_batch_exporter(exporters.spans)
        .with_resource(resource.clone())
        .build();
    for _ in 0..3 {
        let mut span = traces.tracer("test").start("GET");
        span.set_attribute(private());
        span.end();
    }
    traces.force_flush().expect("spans are exported");
    traces.shutdown().expect("shuts down");

    let metrics = SdkMeterProvider::builder()
        .with_periodic_exporter(exporters.metrics)
        .with_resource(resource.clone())
        .build();
    let meter = metrics.meter("test");
    meter.u64_counter("requests").build().add(5, &[private()]);
    meter.f64_gauge("temperature").build().record(1.5, &[]);
    meter.f64_histogram("http.client.request.duration").build().record(0.25, &[]);
    metrics.force_flush().expect("metrics are exported");
    metrics.shutdown().expect("shuts down");

    let logs = SdkLoggerProvider::builder()
        .with_batch_exporter(exporters.logs)
        .with_resource(resource)
        .build();
    let logger = logs.logger("test");
    for _ in 0..2 {
        let mut record = logger.create_log_record();
        record.set_event_name("app.crash");
        record.set_body("me@example.com".into());
        logger.emit(record);
    }
    logs.force_flush().expect("logs are exported");
    logs.shutdown().expect("shuts down");
}

async fn check(exporters: impl FnOnce(&House) -> Exporters) {
    let house = House::open().await;
    let exporters = exporters(&house);
    tokio::task::spawn_blocking(|| send(exporters)).await.expect("nothing panics");
    let admitted = house.sink.admitted.lock();
    for (signal, items) in [(Signal::Traces, 3), (Signal::Logs, 2)] {
        let of_signal = admitted.iter().filter(|admitted| admitted.request.signal() == signal);
        let apps: Vec<_> = of_signal.flat_map(|admitted| admitted.request.items_by_app()).collect();
        assert_eq!(apps.iter().map(|(_, items)| items).sum::<u64>(), items, "{apps:?}");
        assert!(apps.iter().all(|(app, _)| app == "shop"), "{apps:?}");
    }
    let metrics = admitted.iter().filter(|admitted| admitted.request.signal() == Signal::Metrics);
    // One export by the flush and one by the shutdown, which reads cumulative values once more.
    assert!(metrics.clone().count() >= 1);
    assert!(metrics.clone().all(|admitted| admitted.items == 3), "{admitted:?}");
    assert!(admitted.iter().all(|admitted| admitted.envelope.rejected == 0));
    for admitted in admitted.iter() {
        let payload = &admitted.envelope.payload;
        assert!(!payload.windows(11).any(|window| window == b"example.com"), "{admitted:?}");
    }
}

/// Guarantees that the official exporter over gRPC succeeds with all signals.
#[tokio::test(flavor = "multi_thread")]
async fn official_exporter_over_grpc() {
    check(over_grpc).await;
}

/// Guarantees that the official exporter over HTTP with protobuf succeeds with all signals.
#[tokio::test(flavor = "multi_thread")]
async fn official_exporter_over_http_protobuf() {
    check(|house| over_http(house, Protocol::HttpBinary)).await;
}

/// Guarantees that the official exporter over HTTP with JSON succeeds with all signals.
#[tokio::test(flavor = "multi_thread")]
async fn official_exporter_over_http_json() {
    check(|house| over_http(house, Protocol::HttpJson)).await;
}
