//! `/metrics`: the daemon's own metrics and, made of the read models, those of probes, SLOs, alerts
//! and phones. OpenTelemetry names are translated as its Prometheus exporters do.

use super::server::ApiState;
use crate::aggregate::names;
use crate::alert::Core;
use crate::base::clock::UnixNanos;
use crate::model::histogram::{ExpHistogram, upper_bound};
use crate::model::labels::Labels;
use crate::model::series::SlotValue;
use crate::store::ledger::ItemOutcome;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use prometheus::proto::{
    Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType,
};
use prometheus::{Encoder, TextEncoder};
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

/// Buckets of every histogram on this surface: one in four of ours, 2^(k/2), from 0.2 ms to 64 s.
const BUCKETS: std::ops::RangeInclusive<i32> = -24..=12;

/// The handler.
pub async fn serve(State(state): State<ApiState>) -> Response {
    let mut families = state.telemetry.gather();
    // While the journal is replayed, counters would look as if they had been reset.
    if state.ready.load(Ordering::Acquire) {
        families.extend(gather(&state.core.read(), state.clock.now()));
    }
    let mut text = Vec::new();
    match TextEncoder::new().encode(&families, &mut text) {
        Ok(()) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text)
            .into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

/// Families of the domain.
#[must_use]
pub fn gather(core: &Core, now: UnixNanos) -> Vec<MetricFamily> {
    let mut families = Families::default();
    slos(&mut families, core, now);
    for incident in core.book.all_active() {
        let labels = incident.labels.with("alertstate", "firing");
        families.gauge("ALERTS", "Alerts that fire.", &labels, 1.0);
    }
    for (app, signal, counts) in core.store.ledger.iter() {
        for outcome in ItemOutcome::ALL {
            let labels =
                Labels::new([("app", app), ("signal", signal), ("outcome", outcome.as_str())]);
            let help = "Items of phones by what became of them; received is their sum.";
            families.counter(
                "radiosonde_ingest_items_total",
                help,
                &labels,
                counts.get(*outcome) as f64,
            );
        }
        let labels = Labels::new([("app", app), ("signal", signal), ("outcome", "received")]);
        families.counter("radiosonde_ingest_items_total", "", &labels, counts.received() as f64);
    }
    for (name, probe) in &core.store.evidence.probes {
        let Some(run) = probe.runs.back() else { continue };
        let labels = Labels::new([("probe", name.as_str())]);
        let up = f64::from(u8::from(run.succeeded()));
        families.gauge("radiosonde_probe_up", "Whether the last run succeeded.", &labels, up);
        let at = run.ended().as_seconds();
        families.gauge(
            "radiosonde_probe_last_run_timestamp_seconds",
            "End of the last run.",
            &labels,
            at,
        );
    }
    for series in core.store.head.iter() {
        let name = prometheus_name(&series.key.name, &series.total);
        let labels = Labels::new(series.key.labels.iter().map(|(n, v)| (sanitize(n), v)));
        match &series.total {
            SlotValue::Counter(units) => {
                families.counter(&name, "From the journal.", &labels, *units as f64 / 1e9)
            }
            SlotValue::Gauge(value) => families.gauge(&name, "From the journal.", &labels, *value),
            SlotValue::Histogram(histogram) => {
                families.histogram(&name, "From the journal.", &labels, exponential(histogram))
            }
            SlotValue::Explicit(explicit) => {
                let mut below = 0;
                let buckets = explicit.bounds.iter().zip(&explicit.counts).map(|(bound, count)| {
                    below += count;
                    (*bound, below)
                });
                let buckets = buckets.collect();
                let parts = (explicit.count(), explicit.sum as f64 / 1e9, buckets);
                families.histogram(&name, "From the journal.", &labels, parts);
            }
        }
    }
    families.0.into_values().collect()
}

fn slos(families: &mut Families, core: &Core, now: UnixNanos) {
    for status in core.statuses(now) {
        let slo = &status.slo;
        let base = Labels::new([("slo", slo.name.as_str())]);
        let mut gauge =
            |name: &str, help: &str, value: f64| families.gauge(name, help, &base, value);
        gauge(
            "radiosonde_slo_objective_ratio",
            "The share of events that must be good.",
            slo.objective,
        );
        gauge("radiosonde_slo_window_seconds", "The rolling window.", slo.window.as_secs_f64());
        if let Some(attained) = status.attained() {
            gauge(
                "radiosonde_slo_attained_ratio",
                "The share that was good within the window.",
                attained,
            );
            gauge(
                "radiosonde_slo_error_budget_remaining_ratio",
                "The share left of the budget.",
                status.remaining,
            );
        }
        if let Some(left) = status.exhausted_in() {
            gauge(
                "radiosonde_slo_time_to_exhaustion_seconds",
                "When the budget is gone at the present rate.",
                left.as_secs_f64(),
            );
        }
        for pair in &status.pairs {
            for (window, burn) in
                [(pair.pair.long, pair.long.burn), (pair.pair.short, pair.short.burn)]
            {
                let labels = base.with("window", &crate::base::duration::format(window));
                families.gauge(
                    "radiosonde_slo_burn_rate",
                    "How fast the budget burns.",
                    &labels,
                    burn,
                );
            }
        }
        let owner = slo.owner.as_deref().unwrap_or("");
        let info = base.with("owner", owner).with("kind", slo.indicator.kind());
        families.gauge("radiosonde_slo_info", "Owner and kind.", &info, 1.0);
        if let Some(counts) = core.store.counts.get(slo.indicator.id()) {
            for (outcome, count) in [("good", counts.all.good()), ("bad", counts.all.bad)] {
                let labels = base.with("outcome", outcome);
                let help = "Events that the SLO counted.";
                families.counter("radiosonde_slo_events_total", help, &labels, count as f64);
            }
        }
    }
}

type HistogramParts = (u64, f64, Vec<(f64, u64)>);

fn exponential(histogram: &ExpHistogram) -> HistogramParts {
    let mut buckets = Vec::new();
    for step in BUCKETS {
        let last = step * 4 - 1;
        let within = histogram.buckets().iter().filter(|(index, _)| i32::from(*index) <= last);
        let count = histogram.zero + within.map(|(_, count)| count).sum::<u64>();
        buckets.push((upper_bound(last), count));
    }
    (histogram.count, histogram.sum_units(), buckets)
}

/// Dots become underscores; durations get `_seconds`, counters `_total`.
fn prometheus_name(name: &str, value: &SlotValue) -> String {
    let mut translated = sanitize(name);
    if matches!(name, names::PROBE_DURATION | names::SPAN_DURATION)
        || name.ends_with(".request.duration")
    {
        translated.push_str("_seconds");
    }
    if matches!(value, SlotValue::Counter(_)) {
        translated.push_str("_total");
    }
    translated
}

fn sanitize(name: &str) -> String {
    let mut text: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' }).collect();
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        text.insert(0, '_');
    }
    text
}

#[derive(Default)]
struct Families(BTreeMap<String, MetricFamily>);

impl Families {
    fn add(&mut self, name: &str, help: &str, kind: MetricType, metric: Metric) {
        let family = self.0.entry(name.to_owned()).or_insert_with(|| {
            let mut family = MetricFamily::default();
            family.set_name(name.to_owned());
            family.set_help(help.to_owned());
            family.set_field_type(kind);
            family
        });
        // One name means one thing: a series of another kind under the same name is left out.
        if family.get_field_type() == kind {
            family.mut_metric().push(metric);
        }
    }

    fn gauge(&mut self, name: &str, help: &str, labels: &Labels, value: f64) {
        let mut gauge = Gauge::default();
        gauge.set_value(value);
        let mut metric = Metric::from_label(pairs(labels));
        metric.set_gauge(gauge);
        self.add(name, help, MetricType::GAUGE, metric);
    }

    fn counter(&mut self, name: &str, help: &str, labels: &Labels, value: f64) {
        let mut counter = Counter::default();
        counter.set_value(value);
        let mut metric = Metric::from_label(pairs(labels));
        metric.set_counter(counter);
        self.add(name, help, MetricType::COUNTER, metric);
    }

    fn histogram(&mut self, name: &str, help: &str, labels: &Labels, parts: HistogramParts) {
        let (count, sum, buckets) = parts;
        let mut histogram = Histogram::default();
        histogram.set_sample_count(count);
        histogram.set_sample_sum(sum);
        let bucket = |(bound, below)| {
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(bound);
            bucket.set_cumulative_count(below);
            bucket
        };
        histogram.set_bucket(buckets.into_iter().map(bucket).collect());
        let mut metric = Metric::from_label(pairs(labels));
        metric.set_histogram(histogram);
        self.add(name, help, MetricType::HISTOGRAM, metric);
    }
}

fn pairs(labels: &Labels) -> Vec<LabelPair> {
    let pair = |(name, value): (&str, &str)| {
        let mut pair = LabelPair::default();
        pair.set_name(name.to_owned());
        pair.set_value(value.to_owned());
        pair
    };
    labels.iter().map(pair).collect()
}
