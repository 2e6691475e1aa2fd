//! The daemon's own operations as spans, by the OpenTelemetry SDK: how long an evaluation, a
//! checkpoint, a reload or a delivery took, in the same place as the probes' traces.

use super::bridge::Bridge;
use super::endpoint::Endpoint;
use super::grpc::{Tls, channel, metadata};
use super::http::client;
use super::{Config, ExportError, Protocol};
use crate::base::clock::UnixNanos;
use crate::base::error::Chain;
use crate::wire::semconv;
use opentelemetry::KeyValue;
use opentelemetry::trace::{Span, SpanKind, Status, Tracer, TracerProvider};
use opentelemetry_otlp::{
    Compression, SpanExporter, WithExportConfig, WithHttpConfig, WithTonicConfig,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use std::time::{Duration, UNIX_EPOCH};

/// What the daemon does that is worth a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// All SLOs evaluated once.
    Evaluation,
    /// A checkpoint written.
    Checkpoint,
    /// The configuration read anew.
    Reload,
    /// A notification tried.
    Delivery,
}

/// Records operations of the daemon. Clones share one pipeline; one made by `default` records
/// nothing.
#[derive(Clone, Debug, Default)]
pub struct SelfSpans {
    tracer: Option<SdkTracer>,
}

// === impl Operation ===

impl Operation {
    /// The name of its spans.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Evaluation => "evaluation",
            Self::Checkpoint => "checkpoint",
            Self::Reload => "reload",
            Self::Delivery => "delivery",
        }
    }

    const fn kind(self) -> SpanKind {
        match self {
            Self::Evaluation | Self::Checkpoint | Self::Reload => SpanKind::Internal,
            Self::Delivery => SpanKind::Client,
        }
    }
}

// === impl SelfSpans ===

impl SelfSpans {
    /// Records into this provider.
    #[must_use]
    pub fn new(provider: &SdkTracerProvider) -> Self {
        Self { tracer: Some(provider.tracer("radiosonde")) }
    }

    /// Records that `operation` began at `started` and took `duration`; with an `error` when it
    /// failed. Attribute values must hold no secrets. Never waits: a full queue drops the span.
    pub fn record(
        &self,
        operation: Operation,
        started: UnixNanos,
        duration: Duration,
        error: Option<&str>,
        attributes: &[(&'static str, String)],
    ) {
        let Some(tracer) = &self.tracer else { return };
        let attributes = attributes.iter().map(|(key, value)| KeyValue::new(*key, value.clone()));
        let started = UNIX_EPOCH + Duration::from_nanos(started.0);
        let mut span = tracer
            .span_builder(operation.as_str())
            .with_kind(operation.kind())
            .with_start_time(started)
            .with_attributes(attributes)
            .start(tracer);
        match error {
            Some(error) => span.set_status(Status::error(error.to_owned())),
            None => span.set_status(Status::Ok),
        }
        span.end_with_timestamp(started + duration);
    }
}

// === the pipeline ===

/// A provider that sends spans to the collector in batches, from a thread of its own. Call it on
/// the runtime that is to carry the requests.
///
/// It must be shut down before that runtime ends, or the last spans are lost. The SDK's own
/// `shutdown` and `force_flush` block: use [`shut_down`], or a thread that may block.
///
/// # Errors
/// When endpoint or headers are invalid, or the system has no certificates to trust.
pub fn tracer_provider(config: &Config) -> Result<SdkTracerProvider, ExportError> {
    let endpoint = Endpoint::parse(&config.endpoint)?;
    let exporter = match config.protocol {
        Protocol::Grpc => SpanExporter::builder()
            .with_tonic()
            .with_channel(channel(&endpoint, config.timeout, Tls::System)?)
            .with_metadata(metadata(config)?)
            .with_compression(Compression::Gzip)
            .with_timeout(config.timeout)
            .build(),
        Protocol::HttpProtobuf => SpanExporter::builder()
            .with_http()
            .with_http_client(Bridge::new(client(config)?))
            .with_protocol(opentelemetry_otlp::Protocol::HttpBinary)
            .with_endpoint(endpoint.traces_url())
            .with_compression(Compression::Gzip)
            .with_timeout(config.timeout)
            .build(),
    };
    let resource = Resource::builder()
        .with_service_name("radiosonde")
        .with_attribute(KeyValue::new(semconv::SERVICE_VERSION, env!("CARGO_PKG_VERSION")))
        .build();
    Ok(SdkTracerProvider::builder()
        .with_batch_exporter(exporter.map_err(ExportError::Pipeline)?)
        .with_resource(resource)
        .build())
}

/// Sends what is left and ends the pipeline; takes at most `within`.
pub async fn shut_down(provider: SdkTracerProvider, within: Duration) {
    let ended = tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(within)).await;
    match ended {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::warn!(error = %Chain(&error), "own spans left unsent at the end");
        }
        Err(error) => tracing::warn!(error = %Chain(&error), "own spans left unsent at the end"),
    }
}
