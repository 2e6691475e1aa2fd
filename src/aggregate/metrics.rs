//! Phones' metric points become series, each metric under its own name.
//!
//! Monotonic sums and histograms add up, delta or cumulative; everything else is a gauge, of which
//! the last in journal order stays.

use super::fold::{Batch, Placed};
use super::item::Item;
use super::labels::SeriesLabels;
use super::points::{self, PointValue};
use super::streams::{Delta, Stream};
use crate::base::clock::UnixNanos;
use crate::model::series::SlotValue;
use crate::store::ledger::ItemOutcome;
use crate::wire::otlp::{
    AggregationTemporality, KeyValue, Metric, NumberDataPoint, ResourceMetrics, metric,
};
use prost::Message;
use std::borrow::Cow;
use xxhash_rust::xxh3::Xxh3Default;

/// The flag of a point without a value: `DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK`.
const NO_RECORDED_VALUE: u32 = 1;

/// What all points of a metric share.
struct MetricFacts<'a> {
    app: &'a str,
    name: &'a str,
    /// Hash of resource, scope and name; with a point's attributes it names a stream.
    hash: Xxh3Default,
    resource: &'a [KeyValue],
    cumulative: bool,
}

/// A point's attributes and times.
struct PointFacts<'a> {
    attributes: &'a [KeyValue],
    start: u64,
    time: u64,
}

/// Folds the metrics of a resource.
pub fn fold(batch: &mut Batch<'_>, resource_metrics: &ResourceMetrics) {
    let resource = resource_metrics.resource.as_ref().map_or(&[][..], |r| &r.attributes);
    let app = batch.app(resource);
    let mut of_resource = Xxh3Default::new();
    update_with(&mut of_resource, resource);
    for scope in &resource_metrics.scope_metrics {
        let scope_name = scope.scope.as_ref().map_or("", |s| s.name.as_str());
        for metric in &scope.metrics {
            let mut hash = of_resource.clone();
            hash.update(scope_name.as_bytes());
            hash.update(metric.name.as_bytes());
            let facts = MetricFacts { app, name: &metric.name, hash, resource, cumulative: false };
            fold_metric(batch, facts, metric);
        }
    }
}

fn fold_metric(batch: &mut Batch<'_>, facts: MetricFacts<'_>, metric: &Metric) {
    let is_cumulative = |t: i32| t == i32::from(AggregationTemporality::Cumulative);
    match &metric.data {
        Some(metric::Data::Gauge(gauge)) => {
            let points = recorded(batch, facts.app, &gauge.data_points, |point| point.flags);
            points.for_each(|point| fold_gauge(batch, &facts, point));
        }
        Some(metric::Data::Sum(sum)) if !sum.is_monotonic => {
            let points = recorded(batch, facts.app, &sum.data_points, |point| point.flags);
            points.for_each(|point| fold_gauge(batch, &facts, point));
        }
        Some(metric::Data::Sum(sum)) => {
            let facts =
                MetricFacts { cumulative: is_cumulative(sum.aggregation_temporality), ..facts };
            for point in recorded(batch, facts.app, &sum.data_points, |point| point.flags) {
                let at = PointFacts::of_number(point);
                fold_adding(batch, &facts, &at, points::counter(point));
            }
        }
        Some(metric::Data::Histogram(histogram)) => {
            let cumulative = is_cumulative(histogram.aggregation_temporality);
            let facts = MetricFacts { cumulative, ..facts };
            for p in recorded(batch, facts.app, &histogram.data_points, |point| point.flags) {
                let at = PointFacts::new(&p.attributes, p.start_time_unix_nano, p.time_unix_nano);
                fold_adding(batch, &facts, &at, Some(points::explicit(p)));
            }
        }
        Some(metric::Data::ExponentialHistogram(histogram)) => {
            let cumulative = is_cumulative(histogram.aggregation_temporality);
            let facts = MetricFacts { cumulative, ..facts };
            for p in recorded(batch, facts.app, &histogram.data_points, |point| point.flags) {
                let at = PointFacts::new(&p.attributes, p.start_time_unix_nano, p.time_unix_nano);
                fold_adding(batch, &facts, &at, Some(points::exponential(p)));
            }
        }
        // A summary's quantiles neither add up nor merge: accounted for, not kept.
        Some(metric::Data::Summary(summary)) => {
            summary.data_points.iter().for_each(|_| batch.account(facts.app, ItemOutcome::Stored));
        }
        None => {}
    }
}

/// The points with a value. Those that say they have none, which ends a stream, are accounted for.
fn recorded<'p, P>(
    batch: &mut Batch<'_>,
    app: &str,
    points: &'p [P],
    flags: fn(&P) -> u32,
) -> impl Iterator<Item = &'p P> + use<'p, P> {
    let has_value = move |point: &&P| flags(point) & NO_RECORDED_VALUE == 0;
    let without = points.len() - points.iter().filter(has_value).count();
    (0..without).for_each(|_| batch.account(app, ItemOutcome::Stored));
    points.iter().filter(has_value)
}

fn fold_gauge(batch: &mut Batch<'_>, facts: &MetricFacts<'_>, point: &NumberDataPoint) {
    let at = PointFacts::of_number(point);
    let value = points::number(point).unwrap_or(f64::NAN);
    let identity = facts.stream(&at, Some(&value.to_bits().to_le_bytes()));
    let outcome = if !batch.is_new(identity, at.time) {
        ItemOutcome::Duplicate
    } else if let Some(placed) = batch.place(at.time) {
        add_series(batch, facts, &at, placed, &SlotValue::Gauge(value));
        ItemOutcome::Stored
    } else {
        ItemOutcome::TooLate
    };
    batch.account(facts.app, outcome);
}

fn fold_adding(
    batch: &mut Batch<'_>,
    facts: &MetricFacts<'_>,
    at: &PointFacts<'_>,
    value: Option<PointValue>,
) {
    let outcome = match value {
        // The front door refuses points without a value; a replayed journal of another build may
        // still hold one.
        None => ItemOutcome::Rejected,
        Some(value) => take_point(batch, facts, at, value),
    };
    batch.account(facts.app, outcome);
}

fn take_point(
    batch: &mut Batch<'_>,
    facts: &MetricFacts<'_>,
    at: &PointFacts<'_>,
    value: PointValue,
) -> ItemOutcome {
    let Some(placed) = batch.place(at.time) else { return ItemOutcome::TooLate };
    let adds = if facts.cumulative {
        let point = Stream {
            start: UnixNanos(at.start),
            time: UnixNanos(at.time),
            received_at: batch.received_at,
            value,
        };
        match batch.take_cumulative(facts.stream(at, None), point) {
            Delta::Adds(value) => value,
            Delta::Baseline => return ItemOutcome::Stored,
            Delta::Duplicate => return ItemOutcome::Duplicate,
        }
    } else {
        let identity = facts.stream(at, Some(&at.time.to_le_bytes()));
        if !batch.is_new(identity, at.time) {
            return ItemOutcome::Duplicate;
        }
        value
    };
    add_series(batch, facts, at, placed, &adds.into_slot_value());
    ItemOutcome::Stored
}

fn add_series(
    batch: &mut Batch<'_>,
    facts: &MetricFacts<'_>,
    at: &PointFacts<'_>,
    placed: Placed,
    value: &SlotValue,
) {
    let item = Item::new(at.attributes, facts.resource);
    let own = [("service.name", Some(Cow::Borrowed(facts.app)))];
    let labels = SeriesLabels::new(batch.rules, item, &own);
    batch.add_series(facts.app, facts.name, &labels, placed, value);
}

impl MetricFacts<'_> {
    /// Hash of the stream; with `point` (start and times make it unique) the hash of one point.
    fn stream(&self, at: &PointFacts<'_>, point: Option<&[u8]>) -> u128 {
        let mut hash = self.hash.clone();
        update_with(&mut hash, at.attributes);
        if let Some(extra) = point {
            hash.update(&at.start.to_le_bytes());
            hash.update(&at.time.to_le_bytes());
            hash.update(extra);
        }
        hash.digest128()
    }
}

impl<'a> PointFacts<'a> {
    fn new(attributes: &'a [KeyValue], start: u64, time: u64) -> Self {
        Self { attributes, start, time }
    }

    fn of_number(point: &'a NumberDataPoint) -> Self {
        Self::new(&point.attributes, point.start_time_unix_nano, point.time_unix_nano)
    }
}

fn update_with(hash: &mut Xxh3Default, attributes: &[KeyValue]) {
    // Sorted: the same set in another order is the same stream.
    let mut encoded: Vec<Vec<u8>> = attributes.iter().map(Message::encode_to_vec).collect();
    encoded.sort_unstable();
    encoded.iter().for_each(|kv| hash.update(kv));
}
