//! One instance of the OpenTelemetry SDK as an app carries it: a resource that says what phone this
//! is, batches, gzip, OTLP over HTTP.

use super::uplink::Uplink;
use super::{APP, REGION_ATTRIBUTE};
use crate::demo::cohort::{Cohort, Os};
use crate::wire::semconv;
use opentelemetry::KeyValue;
use opentelemetry::logs::LoggerProvider;
use opentelemetry::metrics::{Histogram, MeterProvider};
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{
    Compression, ExporterBuildError, LogExporter, MetricExporter, Protocol, SpanExporter,
    WithExportConfig, WithHttpConfig,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::{BatchLogProcessor, SdkLogger, SdkLoggerProvider};
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider};
use opentelemetry_sdk::resource::TelemetryResourceDetector;
use opentelemetry_sdk::trace::{BatchSpanProcessor, Sampler, SdkTracer, SdkTracerProvider};
use opentelemetry_sdk::{logs, trace};
use std::time::Duration;

/// Spans and events wait this long for company. Real apps wait five seconds and more; the audience
/// of a demo does not.
const BATCH_DELAY: Duration = Duration::from_secs(2);
/// Metrics go out this often.
const METRIC_INTERVAL: Duration = Duration::from_secs(10);
/// One report may take this long, retries included.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(10);
/// Spans or events that wait for the network; more are dropped, and the SDK says so.
const MAX_QUEUE: usize = 1_024;
/// Spans or events in one report.
const MAX_BATCH: usize = 256;
/// Buckets of `http.client.request.duration` in seconds, as the semantic conventions advise.
const DURATION_BUCKETS: [f64; 14] =
    [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];
/// The instrumentation scope of everything that a phone reports.
const SCOPE: &str = "chat-app.http";

/// An SDK with its instruments. Clones are the same instance.
#[derive(Clone)]
pub(super) struct Sdk {
    /// Starts client spans.
    pub(super) tracer: SdkTracer,
    /// Emits events.
    pub(super) logger: SdkLogger,
    /// `http.client.request.duration`, on systems whose SDKs have it.
    pub(super) durations: Option<Histogram<f64>>,
    spans: SdkTracerProvider,
    events: SdkLoggerProvider,
    metrics: Option<SdkMeterProvider>,
}

// === impl Sdk ===

impl Sdk {
    /// Starts an instance that reports to the OTLP/HTTP endpoint at `otlp` through `uplink`.
    pub(super) fn start(
        cohort: Cohort,
        installation: &str,
        otlp: &str,
        uplink: Uplink,
    ) -> Result<Self, ExporterBuildError> {
        let resource = resource(cohort, installation);
        let base = otlp.trim_end_matches('/');
        let spans = span_provider(&resource, base, uplink.clone())?;
        let events = event_provider(&resource, base, uplink.clone())?;
        let metrics = match cohort.os {
            Os::Android => Some(metric_provider(&resource, base, uplink)?),
            Os::Ios => None,
        };
        let durations = metrics.as_ref().map(|provider| {
            provider
                .meter(SCOPE)
                .f64_histogram("http.client.request.duration")
                .with_unit("s")
                .with_description("Duration of HTTP client requests.")
                .with_boundaries(DURATION_BUCKETS.to_vec())
                .build()
        });
        let (tracer, logger) = (spans.tracer(SCOPE), events.logger(SCOPE));
        Ok(Self { tracer, logger, durations, spans, events, metrics })
    }

    /// Delivers what is queued and ends the SDK's threads, giving up after `within`. Blocks.
    pub(super) fn end(&self, within: Duration) {
        // A report that is lost on the way out is lost on real phones too.
        let each = within / 3;
        let _ = self.spans.shutdown_with_timeout(each);
        let _ = self.events.shutdown_with_timeout(each);
        if let Some(metrics) = &self.metrics {
            let _ = metrics.shutdown_with_timeout(each);
        }
    }
}

fn resource(cohort: Cohort, installation: &str) -> Resource {
    Resource::builder_empty()
        .with_detector(Box::new(TelemetryResourceDetector))
        .with_attributes([
            KeyValue::new(semconv::SERVICE_NAME, APP),
            KeyValue::new(semconv::SERVICE_VERSION, cohort.release.as_str()),
            KeyValue::new(semconv::OS_NAME, cohort.os.as_str()),
            KeyValue::new("device.model.name", cohort.os.device_model()),
            KeyValue::new(semconv::APP_INSTALLATION_ID, installation.to_owned()),
            KeyValue::new(REGION_ATTRIBUTE, cohort.region.as_str()),
        ])
        .build()
}

/// Protobuf, compressed, whatever features and environment variables say.
fn as_phones_do<B>(builder: B, uplink: Uplink, endpoint: String) -> B
where
    B: WithExportConfig + WithHttpConfig,
{
    builder
        .with_http_client(uplink)
        .with_protocol(Protocol::HttpBinary)
        .with_compression(Compression::Gzip)
        .with_timeout(EXPORT_TIMEOUT)
        .with_endpoint(endpoint)
}

fn span_provider(
    resource: &Resource,
    base: &str,
    uplink: Uplink,
) -> Result<SdkTracerProvider, ExporterBuildError> {
    let exporter =
        as_phones_do(SpanExporter::builder().with_http(), uplink, format!("{base}/v1/traces"))
            .build()?;
    let batches = trace::BatchConfigBuilder::default()
        .with_max_queue_size(MAX_QUEUE)
        .with_max_export_batch_size(MAX_BATCH)
        .with_scheduled_delay(BATCH_DELAY)
        .build();
    let processor = BatchSpanProcessor::builder(exporter).with_batch_config(batches).build();
    Ok(SdkTracerProvider::builder()
        .with_resource(resource.clone())
        .with_sampler(Sampler::AlwaysOn)
        .with_span_processor(processor)
        .build())
}

fn event_provider(
    resource: &Resource,
    base: &str,
    uplink: Uplink,
) -> Result<SdkLoggerProvider, ExporterBuildError> {
    let exporter =
        as_phones_do(LogExporter::builder().with_http(), uplink, format!("{base}/v1/logs"))
            .build()?;
    let batches = logs::BatchConfigBuilder::default()
        .with_max_queue_size(MAX_QUEUE)
        .with_max_export_batch_size(MAX_BATCH)
        .with_scheduled_delay(BATCH_DELAY)
        .build();
    let processor = BatchLogProcessor::builder(exporter).with_batch_config(batches).build();
    Ok(SdkLoggerProvider::builder()
        .with_resource(resource.clone())
        .with_log_processor(processor)
        .build())
}

fn metric_provider(
    resource: &Resource,
    base: &str,
    uplink: Uplink,
) -> Result<SdkMeterProvider, ExporterBuildError> {
    let exporter =
        as_phones_do(MetricExporter::builder().with_http(), uplink, format!("{base}/v1/metrics"))
            .build()?;
    let reader = PeriodicReader::builder(exporter).with_interval(METRIC_INTERVAL).build();
    Ok(SdkMeterProvider::builder().with_resource(resource.clone()).with_reader(reader).build())
}
