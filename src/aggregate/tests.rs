//! Whole records through the fold.

use super::names;
use super::rules::{PhoneSettings, Rules};
use super::{Decoded, Folder};
use crate::base::clock::UnixNanos;
use crate::model::series::SlotValue;
use crate::store::Store;
use crate::store::ledger::{ItemOutcome, OTHER};
use crate::wire::attributes::text;
use crate::wire::otlp::{
    AggregationTemporality, ExportLogsServiceRequest, ExportMetricsServiceRequest,
    ExportTraceServiceRequest, Gauge, Histogram, HistogramDataPoint, LogRecord, Metric,
    NumberDataPoint, Resource, ResourceLogs, ResourceMetrics, ResourceSpans, ScopeLogs,
    ScopeMetrics, ScopeSpans, Signal, Span, metric,
};
use crate::wire::record::{Envelope, Kind, Origin};
use bytes::Bytes;
use std::collections::BTreeMap;

const NOW: UnixNanos = UnixNanos(1_800_000_000_000_000_000);

/// A request of one span for each app, which begins `number` nanoseconds before now.
fn request(apps: &[&str], number: u64) -> ExportTraceServiceRequest {
    let resource_spans = apps.iter().map(|app| ResourceSpans {
        resource: Some(Resource {
            attributes: vec![text("service.name", *app)],
            ..Resource::default()
        }),
        scope_spans: vec![ScopeSpans {
            spans: vec![Span {
                trace_id: vec![1; 16],
                span_id: vec![2; 8],
                name: (*app).to_owned(),
                start_time_unix_nano: NOW.0 - number,
                end_time_unix_nano: NOW.0,
                ..Span::default()
            }],
            ..ScopeSpans::default()
        }],
        ..ResourceSpans::default()
    });
    ExportTraceServiceRequest { resource_spans: resource_spans.collect() }
}

fn fold(folder: &mut Folder, store: &mut Store, rules: &Rules, request: ExportTraceServiceRequest) {
    let envelope = Envelope::new(Origin::Otlp, Kind::Traces, NOW, Bytes::new());
    let runs = folder.fold(store, rules, &envelope, Some(Decoded::Traces(request)));
    assert_eq!(runs.unwrap().len(), 0);
}

/// Guarantees that apps beyond the cap fold into `other` alike in series and ledger, also when many come
/// new in one record, and that each app's outcomes sum to what it sent.
#[test]
fn apps_beyond_the_cap_fold_into_other() {
    let mut store = Store::default();
    let mut folder = Folder::default();
    let phones = PhoneSettings { max_apps: 2, ..PhoneSettings::default() };
    let rules = Rules::new(&[], phones);
    store.ledger.set_max_apps(rules.phones.max_apps);
    let apps = ["chat", "feed", "maps", "pay"];
    for number in [1, 2, 2] {
        fold(&mut folder, &mut store, &rules, request(&apps, number));
    }
    let expected = BTreeMap::from([("chat", (2, 1)), ("feed", (2, 1)), (OTHER, (4, 2))]);
    let lines: BTreeMap<_, _> = store
        .ledger
        .iter()
        .map(|(app, signal, counts)| {
            assert_eq!(signal, Signal::Traces.as_str());
            let (stored, duplicate) =
                (counts.get(ItemOutcome::Stored), counts.get(ItemOutcome::Duplicate));
            assert_eq!(counts.received(), stored + duplicate);
            (app, (stored, duplicate))
        })
        .collect();
    assert_eq!(lines, expected);
    let mut calls: BTreeMap<String, u128> = BTreeMap::new();
    for series in store.head.named(names::SPAN_CALLS) {
        let crate::model::series::SlotValue::Counter(units) = series.total else { panic!() };
        let app = series.key.labels.get("service.name").unwrap();
        *calls.entry(app.to_owned()).or_default() += units / 1_000_000_000;
    }
    let stored = expected.iter().map(|(app, (stored, _))| ((*app).to_owned(), *stored));
    assert_eq!(calls, stored.map(|(app, n)| (app, u128::from(n))).collect());
}

/// Folds a request and returns the ledger's stored and duplicate items of the app `chat`.
fn fold_decoded(
    folder: &mut Folder,
    store: &mut Store,
    kind: Kind,
    decoded: Decoded,
) -> (u64, u64) {
    let envelope = Envelope::new(Origin::Otlp, kind, NOW, Bytes::new());
    let runs = folder.fold(store, &Rules::default(), &envelope, Some(decoded));
    assert_eq!(runs.unwrap().len(), 0);
    let mut sum = (0, 0);
    for (_, _, counts) in store.ledger.iter() {
        sum.0 += counts.get(ItemOutcome::Stored);
        sum.1 += counts.get(ItemOutcome::Duplicate);
    }
    sum
}

fn chat() -> Option<Resource> {
    Some(Resource { attributes: vec![text("service.name", "chat")], ..Resource::default() })
}

/// Guarantees that two events which tell only when they were observed are two, and that the same one
/// sent again is a duplicate.
#[test]
fn events_without_a_time_are_told_apart_by_their_observation() {
    let request = |observed: u64| {
        Decoded::Logs(ExportLogsServiceRequest {
            resource_logs: vec![ResourceLogs {
                resource: chat(),
                scope_logs: vec![ScopeLogs {
                    log_records: vec![LogRecord {
                        event_name: "message.failed".to_owned(),
                        observed_time_unix_nano: NOW.0 - observed,
                        ..LogRecord::default()
                    }],
                    ..ScopeLogs::default()
                }],
                ..ResourceLogs::default()
            }],
        })
    };
    let (mut folder, mut store) = (Folder::default(), Store::default());
    let mut send = |observed| fold_decoded(&mut folder, &mut store, Kind::Logs, request(observed));
    assert_eq!(send(5), (1, 0));
    assert_eq!(send(9), (2, 0));
    assert_eq!(send(5), (2, 1));
}

/// Guarantees that a point which says that it has no value changes no series and no stream: the next
/// point of a cumulative histogram adds what is new, not all of it.
#[test]
fn points_without_a_value_change_nothing() {
    let point = |number: u64, counts: [u64; 2], flags: u32| HistogramDataPoint {
        start_time_unix_nano: NOW.0 - 1_000_000_000,
        time_unix_nano: NOW.0 - 1_000 + number,
        count: counts.iter().sum(),
        sum: (flags == 0).then_some(1.0),
        bucket_counts: if flags == 0 { counts.to_vec() } else { vec![0] },
        explicit_bounds: if flags == 0 { vec![1.0] } else { Vec::new() },
        flags,
        ..HistogramDataPoint::default()
    };
    let metric = |data| Metric { name: "render".to_owned(), data: Some(data), ..Metric::default() };
    let request = |data| {
        Decoded::Metrics(ExportMetricsServiceRequest {
            resource_metrics: vec![ResourceMetrics {
                resource: chat(),
                scope_metrics: vec![ScopeMetrics {
                    metrics: vec![metric(data)],
                    ..ScopeMetrics::default()
                }],
                ..ResourceMetrics::default()
            }],
        })
    };
    let histogram = |point| {
        let aggregation_temporality = AggregationTemporality::Cumulative.into();
        request(metric::Data::Histogram(Histogram {
            data_points: vec![point],
            aggregation_temporality,
        }))
    };
    let gauge = |flags| {
        let point = NumberDataPoint { time_unix_nano: NOW.0, flags, ..NumberDataPoint::default() };
        request(metric::Data::Gauge(Gauge { data_points: vec![point] }))
    };
    let (mut folder, mut store) = (Folder::default(), Store::default());
    let mut send = |decoded| fold_decoded(&mut folder, &mut store, Kind::Metrics, decoded);
    assert_eq!(send(histogram(point(0, [3, 1], 0))), (1, 0));
    assert_eq!(send(histogram(point(1, [0, 0], 1))), (2, 0));
    assert_eq!(send(histogram(point(2, [5, 2], 0))), (3, 0));
    assert_eq!(send(gauge(1)), (4, 0));
    let totals: Vec<u64> = store
        .head
        .iter()
        .filter_map(|series| match &series.total {
            SlotValue::Explicit(histogram) => Some(histogram.count()),
            _ => None,
        })
        .collect();
    // The first point is a baseline or counts in full, depending on when the daemon began.
    let [total] = totals.as_slice() else { panic!("one series: {totals:?}") };
    assert!([3, 7].contains(total), "{total}");
    assert_eq!(store.head.iter().count(), 1, "no gauge without a value");
}
