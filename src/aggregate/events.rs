//! Phones' log events become counts and verdicts. Log records without an event name are only
//! accounted for.

use super::dialect;
use super::fold::{Batch, Placed};
use super::item::Item;
use super::labels::SeriesLabels;
use super::names;
use super::rules::Role;
use super::spans::hex;
use crate::base::clock::UnixNanos;
use crate::model::evidence::SpanEvidence;
use crate::model::labels::Labels;
use crate::model::series::SlotValue;
use crate::model::slot::GoodTotal;
use crate::store::ledger::ItemOutcome;
use crate::wire::otlp::{KeyValue, LogRecord, ResourceLogs};
use prost::Message;
use std::borrow::Cow;
use xxhash_rust::xxh3::Xxh3Default;

/// Folds the log records of a resource.
pub fn fold(batch: &mut Batch<'_>, resource_logs: &ResourceLogs) {
    let resource = resource_logs.resource.as_ref().map_or(&[][..], |r| &r.attributes);
    let app = batch.app(resource);
    let mut of_resource = Xxh3Default::new();
    update_with(&mut of_resource, resource);
    for record in resource_logs.scope_logs.iter().flat_map(|scope| &scope.log_records) {
        let identity = batch.numbered(identity(record, of_resource.clone()));
        let outcome = fold_record(batch, app, record, resource, identity);
        batch.account(app, outcome);
    }
    batch.see_release(app, Item::new(&[], resource));
}

fn fold_record(
    batch: &mut Batch<'_>,
    app: &str,
    record: &LogRecord,
    resource: &[KeyValue],
    identity: u128,
) -> ItemOutcome {
    let at = time_of(record);
    if !batch.is_new(identity, at) {
        return ItemOutcome::Duplicate;
    }
    let Some(placed) = batch.place(if at == 0 { batch.received_at.0 } else { at }) else {
        return ItemOutcome::TooLate;
    };
    let item = Item::new(&record.attributes, resource);
    let Some(name) = event_name(record, item) else { return ItemOutcome::Stored };
    let own =
        [("service.name", Some(Cow::Borrowed(app))), ("event.name", Some(Cow::Borrowed(&*name)))];
    let labels = SeriesLabels::new(batch.rules, item, &own);
    batch.add_series(app, names::EVENTS, &labels, placed, &SlotValue::Counter(1_000_000_000));
    if !item.is_synthetic() {
        count(batch, &name, item, record, placed);
    }
    ItemOutcome::Stored
}

/// The event's current name: the record's field, else the attribute that older SDKs use.
fn event_name<'a>(record: &'a LogRecord, item: Item<'a>) -> Option<Cow<'a, str>> {
    let name = if record.event_name.is_empty() {
        item.label("event.name")?
    } else {
        Cow::Borrowed(record.event_name.as_str())
    };
    let current = dialect::event_name(&name);
    Some(if *current == *name { name } else { Cow::Owned(current.to_owned()) })
}

fn count(batch: &mut Batch<'_>, name: &str, item: Item<'_>, record: &LogRecord, placed: Placed) {
    let rules = batch.rules;
    for rule in rules.of_event(name) {
        if !item.matches(&rule.filter) {
            continue;
        }
        let counts = match rule.role {
            Role::Bad => GoodTotal { bad: 1, total: 0 },
            Role::Total | Role::Availability | Role::Latency { .. } => GoodTotal::one(true),
        };
        batch.count(rule.indicator, placed, counts, item);
        if counts.bad > 0 && batch.wants_evidence(rule.indicator, placed, 0) {
            batch.keep_span(
                rule.indicator,
                placed,
                SpanEvidence {
                    trace_id: hex(&record.trace_id),
                    span_id: hex(&record.span_id),
                    name: name.to_owned(),
                    at: UnixNanos(time_of(record)),
                    duration_ns: 0,
                    failed: true,
                    attributes: Labels::new(item.all_labels().map(|(k, v)| (k, v.into_owned()))),
                },
            );
        }
    }
}

/// When it happened, or was first seen when the phone does not say; 0 without either.
fn time_of(record: &LogRecord) -> u64 {
    let times = [record.time_unix_nano, record.observed_time_unix_nano];
    times.into_iter().find(|time| *time > 0).unwrap_or(0)
}

/// Resource, time, name, ids and attributes: all that tells two records apart. `hash` has taken in
/// the resource.
fn identity(record: &LogRecord, mut hash: Xxh3Default) -> u128 {
    update_with(&mut hash, &record.attributes);
    hash.update(record.event_name.as_bytes());
    hash.update(&record.trace_id);
    hash.update(&record.span_id);
    hash.update(&time_of(record).to_le_bytes());
    hash.digest128()
}

fn update_with(hash: &mut Xxh3Default, attributes: &[KeyValue]) {
    let mut buffer = Vec::with_capacity(128);
    for attribute in attributes {
        buffer.clear();
        // Encoding into a Vec cannot fail for want of room.
        let _ = attribute.encode(&mut buffer);
        hash.update(&buffer);
    }
}
