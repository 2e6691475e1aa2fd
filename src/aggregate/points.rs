//! Metric points in our units: counters in nano-units, histograms at our scale, and differences
//! between two of them.

use crate::model::histogram::{ExpHistogram, ExplicitHistogram, SCALE};
use crate::model::series::SlotValue;
use crate::wire::otlp::{
    ExponentialHistogramDataPoint, HistogramDataPoint, NumberDataPoint, number_data_point,
};

/// The value of a point that adds up.
#[derive(Clone, Debug, PartialEq)]
pub enum PointValue {
    /// Of a monotonic sum, in nano-units.
    Counter(u128),
    /// Of an exponential histogram, at our scale.
    Histogram(ExpHistogram),
    /// Of a histogram with its own bounds.
    Explicit(ExplicitHistogram),
}

impl PointValue {
    /// What was added since `earlier`; none when it is not a continuation (less than before, or other
    /// buckets).
    #[must_use]
    pub fn less(&self, earlier: &Self) -> Option<Self> {
        match (self, earlier) {
            (Self::Counter(now), Self::Counter(then)) => now.checked_sub(*then).map(Self::Counter),
            (Self::Histogram(now), Self::Histogram(then)) => less_exponential(now, then),
            (Self::Explicit(now), Self::Explicit(then)) => less_explicit(now, then),
            _ => None,
        }
    }

    /// As the value of a slot.
    #[must_use]
    pub fn into_slot_value(self) -> SlotValue {
        match self {
            Self::Counter(units) => SlotValue::Counter(units),
            Self::Histogram(histogram) => SlotValue::Histogram(histogram),
            Self::Explicit(histogram) => SlotValue::Explicit(histogram),
        }
    }
}

/// The number of a point; none when it has none or it is not finite.
#[must_use]
pub fn number(point: &NumberDataPoint) -> Option<f64> {
    match point.value? {
        number_data_point::Value::AsDouble(value) => value.is_finite().then_some(value),
        number_data_point::Value::AsInt(value) => Some(value as f64),
    }
}

/// A number of a monotonic sum in nano-units; integers exactly. Below zero counts as zero.
#[must_use]
pub fn counter(point: &NumberDataPoint) -> Option<PointValue> {
    let units = match point.value? {
        number_data_point::Value::AsInt(value) => {
            u128::try_from(value).unwrap_or(0) * 1_000_000_000
        }
        number_data_point::Value::AsDouble(value) if value.is_finite() => {
            to_nano(value).max(0) as u128
        }
        number_data_point::Value::AsDouble(_) => return None,
    };
    Some(PointValue::Counter(units))
}

/// A point of an explicit-bucket histogram; one without bounds has the single bucket (-inf, +inf).
#[must_use]
pub fn explicit(point: &HistogramDataPoint) -> PointValue {
    let counts = if point.bucket_counts.is_empty() {
        vec![point.count]
    } else {
        point.bucket_counts.clone()
    };
    let sum = to_nano(point.sum.unwrap_or(0.0));
    PointValue::Explicit(ExplicitHistogram { bounds: point.explicit_bounds.clone(), counts, sum })
}

/// A point of an exponential histogram at our scale. Finer ones merge exactly; coarser ones go to
/// the middle of the bucket that theirs spans. Negative values count as zero.
#[must_use]
pub fn exponential(point: &ExponentialHistogramDataPoint) -> PointValue {
    let negative: u64 = point.negative.iter().flat_map(|b| &b.bucket_counts).sum();
    let mut histogram = ExpHistogram::with_totals(
        point.count,
        to_nano(point.sum.unwrap_or(0.0)),
        point.zero_count.saturating_add(negative),
    );
    if let Some(positive) = &point.positive {
        for (at, count) in (0_i64..).zip(&positive.bucket_counts) {
            let index = rescale(i64::from(positive.offset) + at, point.scale);
            histogram.bump(index, *count);
        }
    }
    PointValue::Histogram(histogram)
}

/// A value in nano-units, saturating.
#[must_use]
pub fn to_nano(value: f64) -> i128 {
    (value * 1e9).round() as i128
}

fn rescale(index: i64, scale: i32) -> i16 {
    let steps = (scale - SCALE).clamp(-30, 30);
    let at_our_scale =
        if steps >= 0 { index >> steps } else { (index << -steps) + (1 << (-steps - 1)) };
    at_our_scale.clamp(i64::from(i16::MIN), i64::from(i16::MAX)) as i16
}

fn less_exponential(now: &ExpHistogram, then: &ExpHistogram) -> Option<PointValue> {
    let mut difference = ExpHistogram::with_totals(
        now.count.checked_sub(then.count)?,
        now.sum - then.sum,
        now.zero.checked_sub(then.zero)?,
    );
    let earlier = |index: i16| {
        then.buckets().iter().find(|(i, _)| *i == index).map_or(0, |(_, count)| *count)
    };
    for (index, count) in now.buckets() {
        difference.bump(*index, count.checked_sub(earlier(*index))?);
    }
    let gone =
        then.buckets().iter().any(|(index, _)| now.buckets().iter().all(|(i, _)| i != index));
    (!gone).then_some(PointValue::Histogram(difference))
}

fn less_explicit(now: &ExplicitHistogram, then: &ExplicitHistogram) -> Option<PointValue> {
    if now.bounds != then.bounds || now.counts.len() != then.counts.len() {
        return None;
    }
    let counts: Option<Vec<u64>> =
        now.counts.iter().zip(&then.counts).map(|(a, b)| a.checked_sub(*b)).collect();
    Some(PointValue::Explicit(ExplicitHistogram {
        bounds: now.bounds.clone(),
        counts: counts?,
        sum: now.sum - then.sum,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guarantees that rescaling keeps a value within the bucket it came from.
    #[test]
    fn buckets_rescale_downwards_exactly() {
        // At scale 5 four buckets make one of ours; (2^(8/32), 2^(9/32)] lies in (2^(2/8), 2^(3/8)].
        assert_eq!(rescale(8, 5), 2);
        assert_eq!(rescale(-1, 5), -1);
        assert_eq!(rescale(7, 3), 7);
        // At scale 0 one bucket spans eight of ours: the middle is taken.
        assert_eq!(rescale(0, 0), 4);
    }

    /// Guarantees that a histogram which lost counts is seen as restarted.
    #[test]
    fn less_than_before_is_a_restart() {
        let build = |values: &[u64]| {
            let mut histogram = ExpHistogram::default();
            values.iter().for_each(|v| histogram.record(*v));
            PointValue::Histogram(histogram)
        };
        assert_eq!(build(&[5, 5, 900]).less(&build(&[5])), Some(build(&[5, 900])));
        assert_eq!(build(&[5]).less(&build(&[5, 900])), None);
        assert_eq!(build(&[5, 6_000]).less(&build(&[900])), None);
    }
}
