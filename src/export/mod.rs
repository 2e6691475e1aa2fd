//! Floor 5: what leaves for other people's telemetry systems. Probe runs as traces, and the
//! daemon's own operations as spans, by OTLP to one configured collector.
//!
//! Knows nothing of where the data came from and promises nothing about its arrival: export is a
//! courtesy beside the journal. It is bounded, never holds up a caller, and counts what it drops.

mod answer;
mod batch;
mod bridge;
mod endpoint;
mod exporter;
mod grpc;
mod http;
mod own_spans;

#[cfg(test)]
mod tests;

pub use endpoint::forwards_to_self;
pub use exporter::{Exporter, MAX_ATTEMPTS, MAX_QUEUED_TRACES};
pub use own_spans::{Operation, SelfSpans, shut_down, tracer_provider};

use crate::base::secret::Secret;
use std::time::Duration;

/// The collector to send to.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Its base address, `http://collector:4317`; without a scheme plain HTTP is meant. For
    /// [`Protocol::HttpProtobuf`] the path `/v1/traces` is appended unless it stands there.
    pub endpoint: String,
    /// How it is spoken to.
    pub protocol: Protocol,
    /// Sent along with every request, by name.
    pub headers: Vec<(String, Secret)>,
    /// Limit of one attempt.
    pub timeout: Duration,
}

/// The two transports of OTLP that collectors take by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Protocol {
    /// gRPC, usually on port 4317.
    #[default]
    Grpc,
    /// Protobuf over HTTP, usually on port 4318.
    HttpProtobuf,
}

/// Why export cannot start. Holds no secret.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The endpoint is not an address.
    #[error("the collector's endpoint is not an http or https address")]
    Endpoint,
    /// A header that cannot be sent.
    #[error("header `{0}` for the collector cannot be sent: name or value is not allowed in HTTP")]
    Header(String),
    /// Trusted certificates could not be loaded.
    #[error("the system's trusted certificates cannot be loaded, which https needs")]
    Certificates(#[source] rustls::Error),
    /// The HTTP client could not be made.
    #[error("the HTTP client for the collector cannot be made")]
    Client(#[source] reqwest::Error),
    /// The SDK refuses its configuration.
    #[error("the pipeline for the daemon's own spans cannot be made")]
    Pipeline(#[source] opentelemetry_otlp::ExporterBuildError),
}
