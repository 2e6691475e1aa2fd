//! Whole records through the fold.

use super::names;
use super::rules::{PhoneSettings, Rules};
use super::{Decoded, Folder};
use crate::base::clock::UnixNanos;
use crate::store::Store;
use crate::store::ledger::{ItemOutcome, OTHER};
use crate::wire::attributes::text;
use crate::wire::otlp::{
    ExportTraceServiceRequest, Resource, ResourceSpans, ScopeSpans, Signal, Span,
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
