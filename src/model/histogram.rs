//! Base-2 exponential histograms of one fixed scale, and explicit-bucket ones.
//!
//! Scale 3: eight buckets to each doubling, so a value is known to within 2^(1/8) = 9.05 %, and a
//! quantile taken at a bucket's geometric middle to within 4.4 %. The bounds are those of
//! OpenTelemetry's ExponentialHistogram and of Prometheus' native histograms of schema 3:
//! bucket `i` holds values in (2^(i/8), 2^((i+1)/8)].
//!
//! Values are kept in billionths of their unit ("nano-units"): durations in seconds are integer
//! nanoseconds, sums are integers, and so merging is exact and independent of order.

use std::sync::LazyLock;

/// Buckets to a doubling are 2^SCALE.
pub const SCALE: i32 = 3;
const PER_DOUBLING: i32 = 1 << SCALE;
/// The lowest bucket that a nano-unit value can fall into: 1e-9 = 2^-29.9.
const LOWEST: i32 = -240;
/// The highest, of u64::MAX nano-units.
const HIGHEST: i32 = 272;

/// Upper bounds in nano-units, rounded down, of buckets LOWEST..=HIGHEST.
static UPPER_BOUNDS: LazyLock<Vec<u64>> = LazyLock::new(|| {
    (LOWEST..=HIGHEST)
        .map(|index| {
            let bound = upper_bound(index) * 1e9;
            if bound >= u64::MAX as f64 { u64::MAX } else { bound as u64 }
        })
        .collect()
});

/// A histogram of nano-unit values. Counts and sum are integers; adding is commutative.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct ExpHistogram {
    /// How many values.
    pub count: u64,
    /// Their sum in nano-units.
    pub sum: i128,
    /// How many of them were zero or less.
    pub zero: u64,
    /// Counts by bucket index, sorted by index, without empty ones.
    buckets: Vec<(i16, u64)>,
}

/// The upper bound of a bucket in the unit itself: 2^((index+1)/8).
#[must_use]
pub fn upper_bound(index: i32) -> f64 {
    f64::from(index + 1).mul_add(1.0 / f64::from(PER_DOUBLING), 0.0).exp2()
}

/// The bucket of a nano-unit value above zero.
#[must_use]
pub fn bucket_of(value: u64) -> i16 {
    let guess = ((value as f64 * 1e-9).log2() * f64::from(PER_DOUBLING)).ceil() as i32 - 1;
    let mut at = (guess.clamp(LOWEST, HIGHEST) - LOWEST) as usize;
    // The logarithm may be off by one at a bound; the integer table decides.
    let bound = |at: usize| UPPER_BOUNDS.get(at).copied().unwrap_or(u64::MAX);
    while at > 0 && value <= bound(at - 1) {
        at -= 1;
    }
    while value > bound(at) {
        at += 1;
    }
    (at as i32 + LOWEST) as i16
}

impl ExpHistogram {
    /// A histogram of known totals whose buckets are still to be bumped; for decoders.
    #[must_use]
    pub fn with_totals(count: u64, sum: i128, zero: u64) -> Self {
        Self { count, sum, zero, buckets: Vec::new() }
    }

    /// Adds one value of nano-units.
    pub fn record(&mut self, value: u64) {
        self.count += 1;
        self.sum += i128::from(value);
        if value == 0 {
            self.zero += 1;
        } else {
            self.bump(bucket_of(value), 1);
        }
    }

    /// Adds `count` to the bucket `index` without touching count or sum; for decoders, which know
    /// those totals already.
    pub fn bump(&mut self, index: i16, count: u64) {
        if count == 0 {
            return;
        }
        match self.buckets.binary_search_by_key(&index, |(i, _)| *i) {
            Ok(at) => {
                if let Some(bucket) = self.buckets.get_mut(at) {
                    bucket.1 = bucket.1.saturating_add(count);
                }
            }
            Err(at) => self.buckets.insert(at, (index, count)),
        }
    }

    /// Adds another histogram.
    pub fn merge(&mut self, other: &Self) {
        self.count = self.count.saturating_add(other.count);
        self.sum = self.sum.saturating_add(other.sum);
        self.zero = self.zero.saturating_add(other.zero);
        for &(index, count) in &other.buckets {
            self.bump(index, count);
        }
    }

    /// Buckets that hold something, by rising index.
    #[must_use]
    pub fn buckets(&self) -> &[(i16, u64)] {
        &self.buckets
    }

    /// Sum in the unit itself.
    #[must_use]
    pub fn sum_units(&self) -> f64 {
        self.sum as f64 / 1e9
    }

    /// The quantile `q` (0..=1) in the unit itself, within 4.4 %: the geometric middle of the
    /// bucket in which the rank falls. None when empty.
    #[must_use]
    pub fn quantile(&self, q: f64) -> Option<f64> {
        let in_buckets: u64 = self.buckets.iter().map(|(_, n)| n).sum();
        let total = self.zero + in_buckets;
        if total == 0 {
            return None;
        }
        let rank = (q.clamp(0.0, 1.0) * total as f64).ceil().max(1.0) as u64;
        let mut seen = self.zero;
        if rank <= seen {
            return Some(0.0);
        }
        for &(index, count) in &self.buckets {
            seen += count;
            if rank <= seen {
                return Some(
                    upper_bound(i32::from(index)) / (0.5 / f64::from(PER_DOUBLING)).exp2(),
                );
            }
        }
        None
    }

    /// How many values are surely at or below `bound` nano-units: the buckets that end there.
    #[must_use]
    pub fn count_at_or_below(&self, bound: u64) -> u64 {
        let limit = i32::from(bucket_of(bound.max(1)));
        let exact_at_edge = UPPER_BOUNDS.get((limit - LOWEST) as usize) == Some(&bound);
        let within =
            |index: i16| i32::from(index) < limit || (exact_at_edge && i32::from(index) == limit);
        self.zero + self.buckets.iter().filter(|(i, _)| within(*i)).map(|(_, n)| n).sum::<u64>()
    }
}

/// A histogram with bounds chosen by its source. `counts` has one more entry than `bounds`.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct ExplicitHistogram {
    /// Inclusive upper bounds, rising, in the unit of the metric.
    pub bounds: Vec<f64>,
    /// Counts between the bounds.
    pub counts: Vec<u64>,
    /// Sum of the values, in nano-units.
    pub sum: i128,
}

impl ExplicitHistogram {
    /// How many values.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Adds another histogram of the same bounds. False, and nothing added, when they differ.
    #[must_use]
    pub fn merge(&mut self, other: &Self) -> bool {
        if self.bounds != other.bounds || self.counts.len() != other.counts.len() {
            return false;
        }
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine = mine.saturating_add(*theirs);
        }
        self.sum = self.sum.saturating_add(other.sum);
        true
    }

    /// The quantile `q`, linear within its bucket as Prometheus' histogram_quantile. None when empty
    /// or when the rank falls above the last bound and there is none.
    #[must_use]
    pub fn quantile(&self, q: f64) -> Option<f64> {
        let total = self.count();
        if total == 0 {
            return None;
        }
        let rank = q.clamp(0.0, 1.0) * total as f64;
        let mut below = 0.0;
        let mut lower = 0.0;
        for (at, count) in self.counts.iter().enumerate() {
            let count = *count as f64;
            let upper = self.bounds.get(at).copied();
            if below + count >= rank && count > 0.0 {
                return upper.map_or(Some(lower), |upper| {
                    Some(lower + (upper - lower) * ((rank - below) / count).clamp(0.0, 1.0))
                });
            }
            below += count;
            lower = upper.unwrap_or(lower);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Guarantees inclusive upper bounds where they are integers: 1 s ends bucket -1.
    #[test]
    fn bounds_are_inclusive_above() {
        assert_eq!(bucket_of(1_000_000_000), -1);
        assert_eq!(bucket_of(1_000_000_001), 0);
        assert_eq!(bucket_of(2_000_000_000), 7);
        assert_eq!(bucket_of(1), -240);
        assert_eq!(bucket_of(u64::MAX), 272);
    }

    proptest! {
        /// Guarantees that a value lies within its bucket's bounds, whatever the value.
        #[test]
        fn a_value_lies_in_its_bucket(value in 1_u64..) {
            let index = i32::from(bucket_of(value));
            let (low, high) = (upper_bound(index - 1) * 1e9, upper_bound(index) * 1e9);
            prop_assert!(value as f64 >= low.floor() && value as f64 <= high * (1.0 + 1e-12));
        }

        /// Guarantees that merging equals recording everything in one, in any order.
        #[test]
        fn merge_is_recording_together(mut values in prop::collection::vec(0_u64..1 << 40, 0..200), cut in 0_usize..200) {
            let mut whole = ExpHistogram::default();
            values.iter().for_each(|v| whole.record(*v));
            values.reverse();
            let (left, right) = values.split_at(cut.min(values.len()));
            let (mut a, mut b) = (ExpHistogram::default(), ExpHistogram::default());
            left.iter().for_each(|v| a.record(*v));
            right.iter().for_each(|v| b.record(*v));
            b.merge(&a);
            prop_assert_eq!(b, whole);
        }

        /// Guarantees that merging in any grouping is counting the values between the same bounds.
        #[test]
        fn explicit_merge_is_counting_together(
            groups in prop::collection::vec(prop::collection::vec(0_u32..1_000, 0..30), 1..6),
            bounds in prop::collection::btree_set(1_u32..1_000, 0..6),
        ) {
            let bounds: Vec<f64> = bounds.into_iter().map(f64::from).collect();
            let build = |values: &[u32]| {
                let mut counts = vec![0; bounds.len() + 1];
                for value in values {
                    counts[bounds.iter().filter(|bound| f64::from(*value) > **bound).count()] += 1;
                }
                let sum = values.iter().map(|value| i128::from(*value)).sum();
                ExplicitHistogram { bounds: bounds.clone(), counts, sum }
            };
            let mut merged = build(&[]);
            groups.iter().rev().for_each(|values| assert!(merged.merge(&build(values))));
            prop_assert_eq!(&merged, &build(&groups.concat()));
            let other = ExplicitHistogram { bounds: vec![0.5], counts: vec![1, 1], sum: 7 };
            prop_assert!(!merged.merge(&other) && merged == build(&groups.concat()));
        }

        /// Guarantees that what is counted as at or below a bound really is, and that only values of
        /// the bound's own bucket may be left out.
        #[test]
        fn counts_below_a_bound_are_sure(values in prop::collection::vec(0_u64..1 << 34, 0..100), bound in 1_u64..1 << 34) {
            let mut histogram = ExpHistogram::default();
            values.iter().for_each(|v| histogram.record(*v));
            let sure = histogram.count_at_or_below(bound);
            let below = |limit: &dyn Fn(u64) -> bool| values.iter().filter(|v| limit(**v)).count() as u64;
            prop_assert!(sure <= below(&|value| value <= bound));
            prop_assert!(sure >= below(&|value| value == 0 || bucket_of(value) < bucket_of(bound)));
        }

        /// Guarantees the stated error of quantiles: within 4.5 % of the exact one.
        #[test]
        fn quantiles_are_within_the_stated_error(mut values in prop::collection::vec(1_000_u64..1 << 40, 1..300), q in 0.0_f64..1.0) {
            let mut histogram = ExpHistogram::default();
            values.iter().for_each(|v| histogram.record(*v));
            values.sort_unstable();
            let rank = ((q * values.len() as f64).ceil() as usize).clamp(1, values.len());
            let exact = values[rank - 1] as f64 / 1e9;
            let got = histogram.quantile(q).expect("not empty");
            prop_assert!((got / exact - 1.0).abs() < 0.045, "{got} against {exact}");
        }
    }
}
