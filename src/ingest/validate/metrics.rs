//! Which metric points can be counted.
//!
//! A point that says "no recorded value" is valid without one: it ends a stream.

use super::{Reason, Tally};
use crate::ingest::request::points_of;
use crate::wire::otlp::{
    AggregationTemporality, ExponentialHistogramDataPoint, ExportMetricsServiceRequest,
    HistogramDataPoint, Metric, NumberDataPoint, metric::Data, number_data_point,
};
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;

/// The flag of a point that ends a stream: `DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK`.
const NO_RECORDED_VALUE: u32 = 1;
/// Scales beyond these hold no two doubles apart, or all of them together.
const SCALES: std::ops::RangeInclusive<i32> = -11..=20;

/// Takes invalid points out, and metrics that have none or no name.
pub(super) fn validate(metrics: &mut ExportMetricsServiceRequest, tally: &mut Tally) {
    let scopes = metrics.resource_metrics.iter_mut().flat_map(|group| &mut group.scope_metrics);
    for scope in scopes {
        scope.metrics.retain_mut(|metric| keep(metric, tally));
    }
}

fn keep(metric: &mut Metric, tally: &mut Tally) -> bool {
    let points = points_of(metric) as u64;
    let temporality = match &metric.data {
        None => Err(Reason::NoData),
        Some(Data::Sum(sum)) => known(sum.aggregation_temporality),
        Some(Data::Histogram(histogram)) => known(histogram.aggregation_temporality),
        Some(Data::ExponentialHistogram(histogram)) => known(histogram.aggregation_temporality),
        Some(Data::Gauge(_) | Data::Summary(_)) => Ok(()),
    };
    let named = if metric.name.is_empty() { Err(Reason::NoName) } else { Ok(()) };
    if let Err(reason) = temporality.and(named) {
        return tally.keep(Err(reason), points);
    }
    match &mut metric.data {
        None => {}
        Some(Data::Gauge(gauge)) => {
            gauge.data_points.retain(|point| tally.keep(number(point), 1));
        }
        Some(Data::Sum(sum)) => sum.data_points.retain(|point| tally.keep(number(point), 1)),
        Some(Data::Histogram(histogram)) => {
            histogram.data_points.retain(|point| tally.keep(explicit(point), 1));
        }
        Some(Data::ExponentialHistogram(histogram)) => {
            histogram.data_points.retain(|point| tally.keep(exponential(point), 1));
        }
        Some(Data::Summary(summary)) => summary.data_points.retain(|point| {
            let verdict = times(point.start_time_unix_nano, point.time_unix_nano)
                .and_then(|()| finite([point.sum]));
            tally.keep(verdict, 1)
        }),
    }
    points_of(metric) > 0
}

fn known(temporality: i32) -> Result<(), Reason> {
    match AggregationTemporality::try_from(temporality) {
        Ok(AggregationTemporality::Delta | AggregationTemporality::Cumulative) => Ok(()),
        _ => Err(Reason::Temporality),
    }
}

fn number(point: &NumberDataPoint) -> Result<(), Reason> {
    times(point.start_time_unix_nano, point.time_unix_nano)?;
    if point.flags & NO_RECORDED_VALUE != 0 {
        return Ok(());
    }
    match point.value {
        None => Err(Reason::NoValue),
        Some(number_data_point::Value::AsInt(_)) => Ok(()),
        Some(number_data_point::Value::AsDouble(value)) => finite([value]),
    }
}

fn explicit(point: &HistogramDataPoint) -> Result<(), Reason> {
    times(point.start_time_unix_nano, point.time_unix_nano)?;
    if point.flags & NO_RECORDED_VALUE != 0 {
        return Ok(());
    }
    finite(point.sum)?;
    let bounds = &point.explicit_bounds;
    // Neither buckets nor bounds is valid: the point then has sum and count alone.
    if bounds.is_empty() && point.bucket_counts.is_empty() {
        return Ok(());
    }
    if point.bucket_counts.len() != bounds.len() + 1 {
        return Err(Reason::Buckets);
    }
    let rising = bounds.windows(2).all(|pair| matches!(pair, [low, high] if low < high));
    if !rising || !bounds.iter().all(|bound| bound.is_finite()) {
        return Err(Reason::Bounds);
    }
    counted(point.count, &point.bucket_counts, 0)
}

fn exponential(point: &ExponentialHistogramDataPoint) -> Result<(), Reason> {
    times(point.start_time_unix_nano, point.time_unix_nano)?;
    if point.flags & NO_RECORDED_VALUE != 0 {
        return Ok(());
    }
    finite(point.sum)?;
    finite([point.zero_threshold])?;
    let none = Buckets::default();
    let positive = point.positive.as_ref().unwrap_or(&none);
    let negative = point.negative.as_ref().unwrap_or(&none);
    let in_range = |buckets: &Buckets| {
        i32::try_from(buckets.bucket_counts.len())
            .is_ok_and(|length| buckets.offset.checked_add(length).is_some())
    };
    if !SCALES.contains(&point.scale) || !in_range(positive) || !in_range(negative) {
        return Err(Reason::Scale);
    }
    let below = total(&negative.bucket_counts, point.zero_count).ok_or(Reason::Count)?;
    counted(point.count, &positive.bucket_counts, below)
}

fn times(start: u64, time: u64) -> Result<(), Reason> {
    match time {
        0 => Err(Reason::NoTime),
        _ if start > time => Err(Reason::TimeBeforeStart),
        _ => Ok(()),
    }
}

fn finite(values: impl IntoIterator<Item = f64>) -> Result<(), Reason> {
    match values.into_iter().all(f64::is_finite) {
        true => Ok(()),
        false => Err(Reason::NotFinite),
    }
}

fn counted(count: u64, buckets: &[u64], others: u64) -> Result<(), Reason> {
    match total(buckets, others) {
        Some(sum) if sum == count => Ok(()),
        _ => Err(Reason::Count),
    }
}

fn total(buckets: &[u64], others: u64) -> Option<u64> {
    buckets.iter().try_fold(others, |sum, &bucket| sum.checked_add(bucket))
}
