//! What redaction removes, from everywhere, and what it leaves.

use super::*;
use crate::ingest::request::DecodedRequest;
use crate::wire::attributes::{find, find_text, integer, text};
use crate::wire::otlp::{
    ArrayValue, Event, ExponentialHistogram, ExponentialHistogramDataPoint,
    ExportLogsServiceRequest, ExportMetricsServiceRequest, ExportTraceServiceRequest, Gauge,
    Histogram, HistogramDataPoint, InstrumentationScope, KeyValueList, LogRecord, Metric,
    NumberDataPoint, Resource, ResourceLogs, ResourceMetrics, ResourceSpans, ScopeLogs,
    ScopeMetrics, ScopeSpans, Span, Status, Sum, metric::Data,
};
use opentelemetry_proto::tonic::common::v1::EntityRef;
use opentelemetry_proto::tonic::metrics::v1::{Exemplar, Summary, SummaryDataPoint};
use opentelemetry_proto::tonic::trace::v1::span::Link;

/// Planted wherever a secret could be; must be found nowhere afterwards.
const CANARY: &str = "CANARY";

fn redactor() -> Redactor {
    Redactor::new(&["shop.tier".to_owned()], IdentityKey::new([7; 16]))
}

fn canary() -> String {
    format!("some {CANARY} text")
}

fn valued(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), key_strindex: 0 }
}

/// Attributes with a canary in each way in which one could slip through, and three that stay.
fn planted() -> Vec<KeyValue> {
    let list = ArrayValue { values: vec![AnyValue { value: Some(Value::StringValue(canary())) }] };
    vec![
        text("http.request.method", "GET"),
        text("user.email", canary()),
        text(&format!("{CANARY}.key"), "x"),
        text("http.request.header.authorization", canary()),
        text("rpc.request.metadata.token", canary()),
        text("exception.message", canary()),
        text("exception.stacktrace", canary()),
        text("client.address", canary()),
        text("user_agent.original", canary()),
        text("url.query", canary()),
        text("url.full", format!("https://u:{CANARY}@host/rooms/1?token={CANARY}#{CANARY}")),
        text("http.target", format!("/rooms/1?token={CANARY}")),
        text("session.id", canary()),
        valued("http.route", Value::BytesValue(CANARY.into())),
        valued("os.name", Value::ArrayValue(list.clone())),
        valued("region", Value::KvlistValue(KeyValueList { values: vec![text("a", canary())] })),
        valued("app.installation.id", Value::ArrayValue(list)),
    ]
}

/// Of [`planted`] these are kept, in this order.
const KEPT: [&str; 4] = ["http.request.method", "url.full", "http.target", "session.id"];

fn resource() -> Option<Resource> {
    let entity =
        EntityRef { schema_url: canary(), id_keys: vec![canary()], ..EntityRef::default() };
    Some(Resource { attributes: planted(), entity_refs: vec![entity], ..Resource::default() })
}

fn scope() -> Option<InstrumentationScope> {
    let name = "io.opentelemetry.okhttp".to_owned();
    Some(InstrumentationScope { name, attributes: planted(), ..InstrumentationScope::default() })
}

fn traces() -> DecodedRequest {
    let event = Event { name: "exception".to_owned(), attributes: planted(), ..Event::default() };
    let link = Link { trace_state: canary(), attributes: planted(), ..Link::default() };
    let span = Span {
        name: format!("GET /search?q={CANARY}"),
        trace_state: canary(),
        attributes: planted(),
        events: vec![event],
        links: vec![link],
        status: Some(Status { message: canary(), code: 2 }),
        ..Span::default()
    };
    let scope = ScopeSpans { scope: scope(), spans: vec![span], schema_url: canary() };
    let group =
        ResourceSpans { resource: resource(), scope_spans: vec![scope], schema_url: canary() };
    DecodedRequest::Traces(ExportTraceServiceRequest { resource_spans: vec![group] })
}

fn metrics() -> DecodedRequest {
    let exemplars = vec![Exemplar { filtered_attributes: planted(), ..Exemplar::default() }];
    let number = NumberDataPoint {
        attributes: planted(),
        exemplars: exemplars.clone(),
        ..NumberDataPoint::default()
    };
    let numbers = vec![number];
    let explicit = HistogramDataPoint {
        attributes: planted(),
        exemplars: exemplars.clone(),
        ..HistogramDataPoint::default()
    };
    let exponential = ExponentialHistogramDataPoint {
        attributes: planted(),
        exemplars,
        ..ExponentialHistogramDataPoint::default()
    };
    let summary = SummaryDataPoint { attributes: planted(), ..SummaryDataPoint::default() };
    let data = [
        Data::Gauge(Gauge { data_points: numbers.clone() }),
        Data::Sum(Sum { data_points: numbers, ..Sum::default() }),
        Data::Histogram(Histogram { data_points: vec![explicit], ..Histogram::default() }),
        Data::ExponentialHistogram(ExponentialHistogram {
            data_points: vec![exponential],
            ..ExponentialHistogram::default()
        }),
        Data::Summary(Summary { data_points: vec![summary] }),
    ];
    let metric = |data| Metric {
        name: "http.client.request.duration".to_owned(),
        description: canary(),
        metadata: planted(),
        data: Some(data),
        ..Metric::default()
    };
    let metrics = data.into_iter().map(metric).collect();
    let scope = ScopeMetrics { scope: scope(), metrics, schema_url: canary() };
    let group =
        ResourceMetrics { resource: resource(), scope_metrics: vec![scope], schema_url: canary() };
    DecodedRequest::Metrics(ExportMetricsServiceRequest { resource_metrics: vec![group] })
}

fn logs() -> DecodedRequest {
    let record = LogRecord {
        event_name: "app.crash".to_owned(),
        severity_text: canary(),
        body: Some(AnyValue { value: Some(Value::StringValue(canary())) }),
        attributes: planted(),
        ..LogRecord::default()
    };
    let scope = ScopeLogs { scope: scope(), log_records: vec![record], schema_url: canary() };
    let group =
        ResourceLogs { resource: resource(), scope_logs: vec![scope], schema_url: canary() };
    DecodedRequest::Logs(ExportLogsServiceRequest { resource_logs: vec![group] })
}

fn holds_canary(bytes: &[u8]) -> bool {
    bytes.windows(CANARY.len()).any(|window| window == CANARY.as_bytes())
}

/// Guarantees that no byte of what was planted anywhere in any signal is left, and that every
/// removed attribute is counted.
#[test]
fn no_canary_survives() {
    let removed = (planted().len() - KEPT.len()) as u64;
    let metadata = planted().len() as u64;
    for (mut request, expected) in
        [(traces(), 5 * removed), (metrics(), 7 * removed + 5 * metadata), (logs(), 3 * removed)]
    {
        assert!(holds_canary(&request.to_bytes()));
        let signal = request.signal();
        assert_eq!(redactor().redact(&mut request), expected, "{signal:?}");
        assert!(!holds_canary(&request.to_bytes()), "{signal:?}: {request:?}");
    }
}

/// Guarantees that what is allowed is left, reduced as it has to be.
#[test]
fn allowed_attributes_stay() {
    let mut attributes = planted();
    attributes.push(text("shop.tier", "gold"));
    attributes.push(integer("http.response.status_code", 200));
    let _ = redactor().attributes(&mut attributes);
    let keys: Vec<_> = attributes.iter().map(|attribute| attribute.key.as_str()).collect();
    assert_eq!(keys[..4], KEPT);
    assert_eq!(find_text(&attributes, "url.full"), Some("https://host/rooms/1"));
    assert_eq!(find_text(&attributes, "http.target"), Some("/rooms/1"));
    assert_eq!(find_text(&attributes, "shop.tier"), Some("gold"));
    assert_eq!(find(&attributes, "http.response.status_code"), Some(&Value::IntValue(200)));
    let hash = find_text(&attributes, "session.id").expect("kept as a hash");
    assert!(hash.len() == 32 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()), "{hash}");
}

/// Guarantees that names stay, without a query, and everything beside them goes.
#[test]
fn names_stay() {
    let mut request = traces();
    let _ = redactor().redact(&mut request);
    let DecodedRequest::Traces(traces) = request else { unreachable!("made above") };
    let scope = &traces.resource_spans[0].scope_spans[0];
    assert_eq!(
        scope.scope.as_ref().map(|scope| scope.name.as_str()),
        Some("io.opentelemetry.okhttp")
    );
    let span = &scope.spans[0];
    assert_eq!(span.name, "GET /search");
    assert_eq!(span.status.as_ref().map(|status| status.code), Some(2));
    assert_eq!(span.events[0].name, "exception");
}

/// Guarantees that equal ids stay equal under any of their names, and that text and number agree.
#[test]
fn ids_stay_comparable() {
    let mut attributes = vec![
        text("session.id", "42"),
        text("session.previous_id", "42"),
        integer("device.id", 42),
        text("app.installation.id", "43"),
    ];
    assert_eq!(redactor().attributes(&mut attributes), 0);
    let hash = |key| find_text(&attributes, key).expect("kept as a hash");
    assert_eq!(hash("session.id"), hash("session.previous_id"));
    assert_eq!(hash("session.id"), hash("device.id"));
    assert_ne!(hash("session.id"), hash("app.installation.id"));
}

/// Guarantees the limits on attributes, values, names, events and schema URLs.
#[test]
fn everything_is_bounded() {
    let mut attributes = vec![text("region", "ü".repeat(MAX_VALUE_BYTES)); MAX_ATTRIBUTES + 5];
    assert_eq!(redactor().attributes(&mut attributes), 5);
    assert_eq!(find_text(&attributes, "region"), Some("ü".repeat(MAX_VALUE_BYTES / 2).as_str()));

    let span =
        Span { name: "ü".repeat(300), events: vec![Event::default(); 130], ..Span::default() };
    let scope = ScopeSpans {
        spans: vec![span],
        schema_url: "https://opentelemetry.io/schemas/1.44.0".to_owned(),
        ..ScopeSpans::default()
    };
    let schema_url = "https://opentelemetry.io/schemas/1.44.0?me".to_owned();
    let group = ResourceSpans { scope_spans: vec![scope], schema_url, ..ResourceSpans::default() };
    let mut request =
        DecodedRequest::Traces(ExportTraceServiceRequest { resource_spans: vec![group] });
    let _ = redactor().redact(&mut request);
    let DecodedRequest::Traces(traces) = request else { unreachable!("made above") };
    let group = &traces.resource_spans[0];
    assert_eq!(group.schema_url, "");
    assert_eq!(group.scope_spans[0].schema_url, "https://opentelemetry.io/schemas/1.44.0");
    let span = &group.scope_spans[0].spans[0];
    assert_eq!(span.name.chars().count(), 200);
    assert_eq!((span.events.len(), span.dropped_events_count), (128, 2));
}

/// Guarantees what configuration is told about attributes: ids are never readable.
#[test]
fn the_list_tells_what_is_readable() {
    let extra = ["shop.tier".to_owned(), "session.id".to_owned()];
    assert!(is_kept("os.name", &[]));
    assert!(is_kept("url.full", &[]));
    assert!(is_kept("shop.tier", &extra));
    assert!(!is_kept("shop.tier", &[]));
    assert!(!is_kept("user.id", &extra));
    assert!(!is_kept("session.id", &extra));
    let redactor = Redactor::new(&extra, IdentityKey::new([7; 16]));
    let mut attributes = vec![text("session.id", canary())];
    let _ = redactor.attributes(&mut attributes);
    assert_ne!(find_text(&attributes, "session.id"), Some(canary().as_str()));
}

/// Guarantees that the lists are sorted and without duplicates, and that the special ones name
/// attributes that are kept.
#[test]
fn the_lists_are_in_order() {
    for list in [DEFAULT_ALLOWED, IDENTITIES, URLS, PATHS] {
        assert!(list.is_sorted_by(|a, b| a < b), "{list:?}");
    }
    assert!(URLS.iter().chain(PATHS).all(|key| DEFAULT_ALLOWED.contains(key)));
    assert!(IDENTITIES.iter().all(|key| !DEFAULT_ALLOWED.contains(key)));
}
