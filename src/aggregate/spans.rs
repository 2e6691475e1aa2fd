//! Phones' spans become counts, durations, verdicts and evidence.

use super::dialect;
use super::fold::{Batch, Placed};
use super::item::Item;
use super::labels::SeriesLabels;
use super::names;
use super::rules::{Role, Rule, Rules};
use crate::model::evidence::SpanEvidence;
use crate::model::histogram::ExpHistogram;
use crate::model::labels::Labels;
use crate::model::series::SlotValue;
use crate::model::slot::GoodTotal;
use crate::store::ledger::ItemOutcome;
use crate::wire::otlp::{ResourceSpans, Span, SpanKind, StatusCode};
use crate::wire::semconv as key;
use smallvec::SmallVec;
use std::borrow::Cow;
use xxhash_rust::xxh3::xxh3_128;

/// What a span is about, read once.
struct SpanFacts<'a> {
    span: &'a Span,
    item: Item<'a>,
    duration_ns: u64,
    failed: bool,
    method: Option<Cow<'a, str>>,
    route: Option<Cow<'a, str>>,
}

/// Folds the spans of a resource.
pub fn fold(batch: &mut Batch<'_>, resource_spans: &ResourceSpans) {
    let resource = resource_spans.resource.as_ref().map_or(&[][..], |r| &r.attributes);
    let app = batch.app(resource);
    for span in resource_spans.scope_spans.iter().flat_map(|scope| &scope.spans) {
        let item = Item::new(&span.attributes, resource);
        let outcome = fold_span(batch, app, span, item);
        batch.account(app, outcome);
    }
    batch.see_release(app, Item::new(&[], resource));
}

fn fold_span(batch: &mut Batch<'_>, app: &str, span: &Span, item: Item<'_>) -> ItemOutcome {
    if !batch.is_new(identity(span), span.end_time_unix_nano) {
        return ItemOutcome::Duplicate;
    }
    // A span is late by its end: long ones legitimately began long ago.
    let Some(placed) = batch.place(span.end_time_unix_nano) else {
        return ItemOutcome::TooLate;
    };
    let facts = SpanFacts::read(batch.rules, span, item);
    add_series(batch, app, &facts, placed);
    if !item.is_synthetic() {
        count(batch, &facts, placed);
    }
    ItemOutcome::Stored
}

impl<'a> SpanFacts<'a> {
    fn read(rules: &'a Rules, span: &'a Span, item: Item<'a>) -> Self {
        let status = item.label(key::HTTP_RESPONSE_STATUS_CODE);
        let server_error =
            status.as_deref().is_some_and(|code| code.len() == 3 && code.starts_with('5'));
        let marked = span.status.as_ref().is_some_and(|s| s.code == i32::from(StatusCode::Error));
        let method = item.label(key::HTTP_REQUEST_METHOD);
        let route = method.as_ref().and_then(|_| route(rules, item));
        Self {
            span,
            item,
            duration_ns: span.end_time_unix_nano.saturating_sub(span.start_time_unix_nano),
            failed: marked || server_error || item.get(key::ERROR_TYPE).is_some(),
            method,
            route,
        }
    }

    fn is_client(&self) -> bool {
        self.span.kind == i32::from(SpanKind::Client)
    }
}

/// The templated path: the SDK's own, else the configured template that fits.
fn route<'a>(rules: &'a Rules, item: Item<'a>) -> Option<Cow<'a, str>> {
    item.label(key::URL_TEMPLATE).or_else(|| {
        let path = item.path()?;
        rules.template_of(&path).map(Cow::Borrowed)
    })
}

fn add_series(batch: &mut Batch<'_>, app: &str, facts: &SpanFacts<'_>, placed: Placed) {
    let status = if facts.failed { "STATUS_CODE_ERROR" } else { "STATUS_CODE_UNSET" };
    let own = [
        ("service.name", Some(Cow::Borrowed(app))),
        ("span.name", Some(Cow::Borrowed(facts.span.name.as_str()))),
        ("status.code", Some(Cow::Borrowed(status))),
        ("http.route", facts.route.as_deref().map(Cow::Borrowed)),
    ];
    let mut duration = ExpHistogram::default();
    duration.record(facts.duration_ns);
    let labels = SeriesLabels::new(batch.rules, facts.item, &own);
    let calls = SlotValue::Counter(1_000_000_000);
    batch.add_series(app, names::SPAN_CALLS, &labels, placed, &calls);
    let duration = SlotValue::Histogram(duration);
    batch.add_series(app, names::SPAN_DURATION, &labels, placed, &duration);
}

fn count(batch: &mut Batch<'_>, facts: &SpanFacts<'_>, placed: Placed) {
    let rules = batch.rules;
    let by_name = rules.of_span(&facts.span.name);
    let by_http = match (&facts.method, &facts.route) {
        (Some(method), Some(route)) if facts.is_client() => rules.of_http(method, route),
        _ => &[],
    };
    // Splunk's SDKs send every event as a span without length.
    let by_event = if facts.duration_ns == 0 {
        rules.of_event(dialect::event_name(&facts.span.name))
    } else {
        &[]
    };
    for rule in by_name.iter().chain(by_http).chain(by_event) {
        if facts.item.matches(&rule.filter) {
            let counts = verdict(rule, facts);
            batch.count(rule.indicator, placed, counts, facts.item);
            let worth_keeping =
                counts.bad > 0 && batch.wants_evidence(rule.indicator, placed, facts.duration_ns);
            if worth_keeping {
                batch.keep_span(rule.indicator, placed, evidence(facts));
            }
        }
    }
}

fn verdict(rule: &Rule, facts: &SpanFacts<'_>) -> GoodTotal {
    match rule.role {
        Role::Latency { under_ns, .. } => {
            GoodTotal::one(!facts.failed && facts.duration_ns <= under_ns)
        }
        Role::Availability => GoodTotal::one(!facts.failed),
        Role::Bad => GoodTotal { bad: 1, total: 0 },
        Role::Total => GoodTotal::one(true),
    }
}

fn evidence(facts: &SpanFacts<'_>) -> SpanEvidence {
    let labels = facts.item.all_labels().map(|(name, value)| (name, value.into_owned()));
    SpanEvidence {
        trace_id: hex(&facts.span.trace_id),
        span_id: hex(&facts.span.span_id),
        name: facts.span.name.clone(),
        at: crate::base::clock::UnixNanos(facts.span.end_time_unix_nano),
        duration_ns: facts.duration_ns,
        failed: facts.failed,
        attributes: Labels::new(labels),
    }
}

/// Ids, times and name: all that tells two spans apart.
fn identity(span: &Span) -> u128 {
    let mut bytes: SmallVec<[u8; 128]> = SmallVec::new();
    bytes.extend_from_slice(&span.trace_id);
    bytes.extend_from_slice(&span.span_id);
    bytes.extend_from_slice(&span.start_time_unix_nano.to_le_bytes());
    bytes.extend_from_slice(&span.end_time_unix_nano.to_le_bytes());
    bytes.extend_from_slice(span.name.as_bytes());
    xxh3_128(&bytes)
}

/// Bytes as lower-case hex digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
