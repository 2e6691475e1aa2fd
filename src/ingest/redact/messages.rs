//! Redaction of whole requests: which fields of which message go, and where attributes are.

use super::Redactor;
use super::url::reduce_name;
use crate::ingest::request::DecodedRequest;
use crate::wire::otlp::{
    InstrumentationScope, KeyValue, LogRecord, Metric, Resource, Span, metric::Data,
};

/// A name keeps this many characters.
const MAX_NAME_CHARS: usize = 200;
/// A span keeps this many events, and as many links.
const MAX_EVENTS: usize = 128;
/// Schemas that are public knowledge; any other schema URL goes.
const KNOWN_SCHEMAS: &str = "https://opentelemetry.io/schemas/";

impl Redactor {
    /// Redacts `request` in place; how many attributes went.
    pub(in crate::ingest) fn redact(&self, request: &mut DecodedRequest) -> u64 {
        let mut removed = 0;
        match request {
            DecodedRequest::Traces(traces) => {
                for group in &mut traces.resource_spans {
                    removed += self.resource(&mut group.resource, &mut group.schema_url);
                    for scope in &mut group.scope_spans {
                        removed += self.scope(&mut scope.scope, &mut scope.schema_url);
                        removed += total(&mut scope.spans, |span| self.span(span));
                    }
                }
            }
            DecodedRequest::Metrics(metrics) => {
                for group in &mut metrics.resource_metrics {
                    removed += self.resource(&mut group.resource, &mut group.schema_url);
                    for scope in &mut group.scope_metrics {
                        removed += self.scope(&mut scope.scope, &mut scope.schema_url);
                        removed += total(&mut scope.metrics, |metric| self.metric(metric));
                    }
                }
            }
            DecodedRequest::Logs(logs) => {
                for group in &mut logs.resource_logs {
                    removed += self.resource(&mut group.resource, &mut group.schema_url);
                    for scope in &mut group.scope_logs {
                        removed += self.scope(&mut scope.scope, &mut scope.schema_url);
                        removed += total(&mut scope.log_records, |record| self.log_record(record));
                    }
                }
            }
        }
        removed
    }

    fn resource(&self, resource: &mut Option<Resource>, schema_url: &mut String) -> u64 {
        reduce_schema(schema_url);
        resource.as_mut().map_or(0, |resource| {
            resource.entity_refs.clear();
            self.attributes(&mut resource.attributes)
        })
    }

    fn scope(&self, scope: &mut Option<InstrumentationScope>, schema_url: &mut String) -> u64 {
        reduce_schema(schema_url);
        scope.as_mut().map_or(0, |scope| {
            cut(&mut scope.name);
            cut(&mut scope.version);
            self.attributes(&mut scope.attributes)
        })
    }

    fn span(&self, span: &mut Span) -> u64 {
        span.trace_state.clear();
        reduce_name(&mut span.name);
        cut(&mut span.name);
        if let Some(status) = &mut span.status {
            status.message.clear();
        }
        let events = shorten(&mut span.events, MAX_EVENTS);
        span.dropped_events_count = span.dropped_events_count.saturating_add(events);
        let links = shorten(&mut span.links, MAX_EVENTS);
        span.dropped_links_count = span.dropped_links_count.saturating_add(links);
        let events = total(&mut span.events, |event| {
            cut(&mut event.name);
            self.attributes(&mut event.attributes)
        });
        let links = total(&mut span.links, |link| {
            link.trace_state.clear();
            self.attributes(&mut link.attributes)
        });
        events + links + self.attributes(&mut span.attributes)
    }

    fn log_record(&self, record: &mut LogRecord) -> u64 {
        record.body = None;
        record.severity_text.clear();
        cut(&mut record.event_name);
        self.attributes(&mut record.attributes)
    }

    fn metric(&self, metric: &mut Metric) -> u64 {
        cut(&mut metric.name);
        cut(&mut metric.unit);
        metric.description.clear();
        let metadata = metric.metadata.len() as u64;
        metric.metadata.clear();
        let points = match &mut metric.data {
            None => 0,
            Some(Data::Gauge(gauge)) => total(&mut gauge.data_points, |point| {
                self.point(&mut point.attributes, &mut point.exemplars)
            }),
            Some(Data::Sum(sum)) => total(&mut sum.data_points, |point| {
                self.point(&mut point.attributes, &mut point.exemplars)
            }),
            Some(Data::Histogram(histogram)) => total(&mut histogram.data_points, |point| {
                self.point(&mut point.attributes, &mut point.exemplars)
            }),
            Some(Data::ExponentialHistogram(histogram)) => {
                total(&mut histogram.data_points, |point| {
                    self.point(&mut point.attributes, &mut point.exemplars)
                })
            }
            Some(Data::Summary(summary)) => {
                total(&mut summary.data_points, |point| self.attributes(&mut point.attributes))
            }
        };
        metadata + points
    }

    fn point<E>(&self, attributes: &mut Vec<KeyValue>, exemplars: &mut Vec<E>) -> u64 {
        exemplars.clear();
        self.attributes(attributes)
    }
}

fn total<T>(items: &mut [T], redact: impl FnMut(&mut T) -> u64) -> u64 {
    items.iter_mut().map(redact).sum()
}

fn cut(name: &mut String) {
    // Most names are short in bytes already.
    if name.len() > MAX_NAME_CHARS
        && let Some((end, _)) = name.char_indices().nth(MAX_NAME_CHARS)
    {
        name.truncate(end);
    }
}

/// Shortens `items`; how many went.
fn shorten<T>(items: &mut Vec<T>, limit: usize) -> u32 {
    let excess = items.len().saturating_sub(limit);
    items.truncate(limit);
    u32::try_from(excess).unwrap_or(u32::MAX)
}

fn reduce_schema(schema_url: &mut String) {
    let version = schema_url.strip_prefix(KNOWN_SCHEMAS).unwrap_or("none");
    if !version.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        schema_url.clear();
    }
}
