//! Which items are rejected, and that nothing else is.

use super::*;
use crate::wire::otlp::{
    AggregationTemporality, ExponentialHistogram, ExponentialHistogramDataPoint,
    ExportMetricsServiceRequest, ExportTraceServiceRequest, Gauge, Histogram, HistogramDataPoint,
    LogRecord, Metric, NumberDataPoint, ResourceLogs, ResourceMetrics, ResourceSpans, ScopeLogs,
    ScopeMetrics, ScopeSpans, Span, Sum, metric::Data, number_data_point::Value,
};
use proptest::prelude::*;

fn span() -> Span {
    Span {
        trace_id: vec![1; 16],
        span_id: vec![2; 8],
        name: "GET".to_owned(),
        start_time_unix_nano: 10,
        end_time_unix_nano: 10,
        ..Span::default()
    }
}

fn traces(spans: Vec<Span>) -> DecodedRequest {
    let scope = ScopeSpans { spans, ..ScopeSpans::default() };
    let group = ResourceSpans { scope_spans: vec![scope], ..ResourceSpans::default() };
    DecodedRequest::Traces(ExportTraceServiceRequest { resource_spans: vec![group] })
}

fn metrics(data: Vec<Option<Data>>) -> DecodedRequest {
    let metric = |data| Metric { name: "m".to_owned(), data, ..Metric::default() };
    let metrics = data.into_iter().map(metric).collect();
    let scope = ScopeMetrics { metrics, ..ScopeMetrics::default() };
    let group = ResourceMetrics { scope_metrics: vec![scope], ..ResourceMetrics::default() };
    DecodedRequest::Metrics(ExportMetricsServiceRequest { resource_metrics: vec![group] })
}

fn left(request: &DecodedRequest) -> u64 {
    request.items_by_app().iter().map(|(_, items)| items).sum()
}

fn check_span(change: impl FnOnce(&mut Span), expected: Option<Reason>) {
    let mut changed = span();
    change(&mut changed);
    let mut request = traces(vec![changed]);
    let tally = validate(&mut request);
    let reasons: Vec<_> = tally.reasons.iter().map(|(reason, _)| *reason).collect();
    assert_eq!(reasons, expected.into_iter().collect::<Vec<_>>());
    assert_eq!(left(&request), u64::from(expected.is_none()));
}

/// Guarantees that each rule for spans rejects what breaks it and nothing at its edge.
#[test]
fn rules_for_spans() {
    check_span(|_| {}, None);
    check_span(|span| span.trace_id = vec![1; 15], Some(Reason::TraceId));
    check_span(|span| span.trace_id = vec![0; 16], Some(Reason::TraceId));
    check_span(|span| span.span_id.clear(), Some(Reason::SpanId));
    check_span(|span| span.span_id = vec![0; 8], Some(Reason::SpanId));
    check_span(|span| span.parent_span_id = vec![1; 7], Some(Reason::ParentSpanId));
    check_span(|span| span.parent_span_id = vec![1; 8], None);
    check_span(|span| span.parent_span_id = vec![0; 8], None);
    check_span(|span| span.start_time_unix_nano = 0, Some(Reason::NoStart));
    check_span(|span| span.end_time_unix_nano = 9, Some(Reason::EndBeforeStart));
    check_span(|span| span.name.clear(), None);
}

fn number(value: Option<Value>) -> NumberDataPoint {
    NumberDataPoint { time_unix_nano: 10, value, ..NumberDataPoint::default() }
}

fn gauge(point: NumberDataPoint) -> Option<Data> {
    Some(Data::Gauge(Gauge { data_points: vec![point] }))
}

fn histogram(counts: &[u64], bounds: &[f64], count: u64) -> Option<Data> {
    let point = HistogramDataPoint {
        time_unix_nano: 10,
        count,
        sum: Some(1.0),
        bucket_counts: counts.to_vec(),
        explicit_bounds: bounds.to_vec(),
        ..HistogramDataPoint::default()
    };
    let aggregation_temporality = AggregationTemporality::Delta.into();
    Some(Data::Histogram(Histogram { data_points: vec![point], aggregation_temporality }))
}

fn exponential(change: impl FnOnce(&mut ExponentialHistogramDataPoint)) -> Option<Data> {
    let buckets = |counts: &[u64]| {
        use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
        Some(Buckets { offset: -3, bucket_counts: counts.to_vec() })
    };
    let mut point = ExponentialHistogramDataPoint {
        time_unix_nano: 10,
        count: 10,
        zero_count: 1,
        positive: buckets(&[2, 3]),
        negative: buckets(&[4]),
        ..ExponentialHistogramDataPoint::default()
    };
    change(&mut point);
    let aggregation_temporality = AggregationTemporality::Cumulative.into();
    let data_points = vec![point];
    Some(Data::ExponentialHistogram(ExponentialHistogram { data_points, aggregation_temporality }))
}

fn check_metric(data: Option<Data>, expected: Option<Reason>) {
    let shown = format!("{data:?}");
    let mut request = metrics(vec![data]);
    let tally = validate(&mut request);
    let reasons: Vec<_> = tally.reasons.iter().map(|(reason, _)| *reason).collect();
    assert_eq!(reasons, expected.into_iter().collect::<Vec<_>>(), "{shown}");
    assert_eq!(left(&request), u64::from(expected.is_none()), "{shown}");
}

/// Guarantees that numbers without a finite value or a time are rejected, and the end of a stream
/// is not.
#[test]
fn rules_for_numbers() {
    check_metric(gauge(number(Some(Value::AsDouble(1.5)))), None);
    check_metric(gauge(number(Some(Value::AsInt(-1)))), None);
    check_metric(gauge(number(None)), Some(Reason::NoValue));
    check_metric(gauge(number(Some(Value::AsDouble(f64::NAN)))), Some(Reason::NotFinite));
    check_metric(gauge(number(Some(Value::AsDouble(f64::INFINITY)))), Some(Reason::NotFinite));
    let timeless = NumberDataPoint { time_unix_nano: 0, ..number(Some(Value::AsInt(1))) };
    check_metric(gauge(timeless), Some(Reason::NoTime));
    let backwards = NumberDataPoint { start_time_unix_nano: 11, ..number(Some(Value::AsInt(1))) };
    check_metric(gauge(backwards), Some(Reason::TimeBeforeStart));
    check_metric(gauge(NumberDataPoint { flags: 1, ..number(None) }), None);
    check_metric(None, Some(Reason::NoData));
    let unspecified = Sum { data_points: vec![number(Some(Value::AsInt(1)))], ..Sum::default() };
    check_metric(Some(Data::Sum(unspecified)), Some(Reason::Temporality));
}

/// Guarantees that histograms whose parts contradict each other are rejected.
#[test]
fn rules_for_histograms() {
    check_metric(histogram(&[1, 2], &[5.0], 3), None);
    check_metric(histogram(&[], &[], 3), None);
    check_metric(histogram(&[3], &[], 3), None);
    check_metric(histogram(&[1, 2], &[5.0, 6.0], 3), Some(Reason::Buckets));
    check_metric(histogram(&[], &[5.0], 3), Some(Reason::Buckets));
    check_metric(histogram(&[1, 1, 1], &[5.0, 5.0], 3), Some(Reason::Bounds));
    check_metric(histogram(&[1, 1, 1], &[6.0, 5.0], 3), Some(Reason::Bounds));
    check_metric(histogram(&[1, 2], &[f64::NAN], 3), Some(Reason::Bounds));
    check_metric(histogram(&[1, 2], &[f64::INFINITY], 3), Some(Reason::Bounds));
    check_metric(histogram(&[1, 2], &[5.0], 4), Some(Reason::Count));
    check_metric(histogram(&[u64::MAX, 2], &[5.0], 1), Some(Reason::Count));

    check_metric(exponential(|_| {}), None);
    check_metric(exponential(|point| point.count = 11), Some(Reason::Count));
    check_metric(exponential(|point| point.zero_count = u64::MAX), Some(Reason::Count));
    check_metric(exponential(|point| point.scale = 21), Some(Reason::Scale));
    check_metric(exponential(|point| point.zero_threshold = f64::NAN), Some(Reason::NotFinite));
    let far = |point: &mut ExponentialHistogramDataPoint| {
        point.positive.as_mut().expect("buckets").offset = i32::MAX;
    };
    check_metric(exponential(far), Some(Reason::Scale));
}

/// Guarantees that a metric without a name loses all its points and is counted by them.
#[test]
fn a_nameless_metric_counts_by_its_points() {
    let data_points = vec![number(Some(Value::AsInt(1))); 3];
    let mut request = metrics(vec![Some(Data::Gauge(Gauge { data_points }))]);
    if let DecodedRequest::Metrics(metrics) = &mut request {
        metrics.resource_metrics[0].scope_metrics[0].metrics[0].name.clear();
    }
    let tally = validate(&mut request);
    assert_eq!((tally.items(), tally.rejected(), left(&request)), (3, 3, 0));
    assert_eq!(
        tally.explain(Signal::Metrics),
        "3 of 3 data points rejected: metric has no name (3)"
    );
}

/// Guarantees that log records are kept whatever their ids, and lose ids that are none.
#[test]
fn log_records_lose_broken_ids() {
    let record = |trace_id: Vec<u8>, span_id: Vec<u8>| LogRecord {
        trace_id,
        span_id,
        ..LogRecord::default()
    };
    let log_records = vec![
        record(vec![1; 16], vec![1; 8]),
        record(vec![1; 16], vec![1; 9]),
        record(vec![0; 16], vec![1; 8]),
    ];
    let scope = ScopeLogs { log_records, ..ScopeLogs::default() };
    let group = ResourceLogs { scope_logs: vec![scope], ..ResourceLogs::default() };
    let mut logs = ExportLogsServiceRequest { resource_logs: vec![group] };
    let mut tally = Tally::default();
    validate_logs(&mut logs, &mut tally);
    assert_eq!((tally.items(), tally.rejected()), (3, 0));
    let lengths: Vec<_> = logs.resource_logs[0].scope_logs[0]
        .log_records
        .iter()
        .map(|record| (record.trace_id.len(), record.span_id.len()))
        .collect();
    assert_eq!(lengths, [(16, 8), (16, 0), (0, 0)]);
}

proptest! {
    /// Guarantees that of n spans with k bad ones exactly k are rejected and n - k kept, in order.
    #[test]
    fn k_of_n_bad_spans_are_rejected(bad in proptest::collection::vec(any::<bool>(), 0..60)) {
        let spans = bad.iter().enumerate().map(|(at, &bad)| Span {
            name: at.to_string(),
            end_time_unix_nano: if bad { 1 } else { 20 },
            ..span()
        });
        let mut request = traces(spans.collect());
        let tally = validate(&mut request);
        let k = bad.iter().filter(|&&bad| bad).count() as u64;
        prop_assert_eq!(tally.rejected(), k);
        prop_assert_eq!(tally.items(), bad.len() as u64);
        prop_assert_eq!(left(&request), bad.len() as u64 - k);
        let DecodedRequest::Traces(traces) = request else { unreachable!("made above") };
        let kept: Vec<_> =
            traces.resource_spans[0].scope_spans[0].spans.iter().map(|span| &span.name).collect();
        let good: Vec<_> = (0..bad.len()).filter(|&at| !bad[at]).map(|at| at.to_string()).collect();
        prop_assert_eq!(kept, good.iter().collect::<Vec<_>>());
    }
}
