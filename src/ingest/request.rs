//! The three kinds of export request under one roof.

use crate::wire::attributes::find_text;
use crate::wire::otlp::{
    ExportLogsServiceRequest, ExportMetricsServiceRequest, ExportTraceServiceRequest, Metric,
    Resource, Signal, metric::Data,
};
use crate::wire::record::Kind;
use crate::wire::semconv::SERVICE_NAME;
use bytes::Bytes;
use prost::Message;

/// The app of telemetry that does not name its own.
pub const UNKNOWN_APP: &str = "unknown_service";

/// A decoded export request.
#[derive(Clone, Debug, PartialEq)]
pub enum DecodedRequest {
    /// Spans.
    Traces(ExportTraceServiceRequest),
    /// Metric points.
    Metrics(ExportMetricsServiceRequest),
    /// Log records.
    Logs(ExportLogsServiceRequest),
}

/// How a request is written, and its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    /// Binary protobuf.
    Protobuf,
    /// OTLP's JSON mapping.
    Json,
}

/// The app that a resource stands for: its `service.name`, or [`UNKNOWN_APP`].
#[must_use]
pub fn app_of(resource: Option<&Resource>) -> &str {
    resource
        .and_then(|resource| find_text(&resource.attributes, SERVICE_NAME))
        .filter(|name| !name.is_empty())
        .unwrap_or(UNKNOWN_APP)
}

/// How many items a metric counts for: its points, or one when it has no readable data.
pub(super) fn points_of(metric: &Metric) -> usize {
    match &metric.data {
        None => 1,
        Some(Data::Gauge(gauge)) => gauge.data_points.len(),
        Some(Data::Sum(sum)) => sum.data_points.len(),
        Some(Data::Histogram(histogram)) => histogram.data_points.len(),
        Some(Data::ExponentialHistogram(histogram)) => histogram.data_points.len(),
        Some(Data::Summary(summary)) => summary.data_points.len(),
    }
}

// === impl DecodedRequest ===

impl DecodedRequest {
    /// Which signal it carries.
    #[must_use]
    pub fn signal(&self) -> Signal {
        match self {
            Self::Traces(_) => Signal::Traces,
            Self::Metrics(_) => Signal::Metrics,
            Self::Logs(_) => Signal::Logs,
        }
    }

    /// The kind of its record in the journal.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Traces(_) => Kind::Traces,
            Self::Metrics(_) => Kind::Metrics,
            Self::Logs(_) => Kind::Logs,
        }
    }

    /// Its bytes in protobuf.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        match self {
            Self::Traces(request) => request.encode_to_vec().into(),
            Self::Metrics(request) => request.encode_to_vec().into(),
            Self::Logs(request) => request.encode_to_vec().into(),
        }
    }

    /// How many spans, metric points or log records it holds for each app. A metric without
    /// readable data counts as one point.
    #[must_use]
    pub fn items_by_app(&self) -> Vec<(String, u64)> {
        let mut apps: Vec<(String, u64)> = Vec::new();
        let mut count = |resource: Option<&Resource>, items: usize| {
            let app = app_of(resource);
            match apps.iter_mut().find(|(name, _)| name == app) {
                Some((_, total)) => *total += items as u64,
                None => apps.push((app.to_owned(), items as u64)),
            }
        };
        match self {
            Self::Traces(request) => request.resource_spans.iter().for_each(|group| {
                let items = group.scope_spans.iter().map(|scope| scope.spans.len()).sum();
                count(group.resource.as_ref(), items);
            }),
            Self::Metrics(request) => request.resource_metrics.iter().for_each(|group| {
                let metrics = group.scope_metrics.iter().flat_map(|scope| &scope.metrics);
                count(group.resource.as_ref(), metrics.map(points_of).sum());
            }),
            Self::Logs(request) => request.resource_logs.iter().for_each(|group| {
                let items = group.scope_logs.iter().map(|scope| scope.log_records.len()).sum();
                count(group.resource.as_ref(), items);
            }),
        }
        apps
    }
}
