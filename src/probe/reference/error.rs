//! The error of a measured latency, and what many of them come to.

use crate::base::clock::nanos;
use std::time::Duration;

/// A median error beyond this is a fault: of the instrument, or of a machine that it cannot measure on.
pub const LIMIT: Duration = Duration::from_millis(1);

/// An error may be so much larger than stated: the stalls from which uncertainty follows are noticed
/// from about there on, and every latency contains loopback and a wake-up at each end.
const UNSTATED: Duration = Duration::from_millis(1);

/// A run and a bare client's request, one right after the other. Nanoseconds; errors are negative
/// where less was measured than the server held back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// The run's value less what the server held back.
    pub error_ns: i64,
    /// The uncertainty that the run gave with its value.
    pub stated_ns: u64,
    /// What the bare client measured less what the server held back.
    pub bare_error_ns: i64,
}

/// Figures below or at which a share of all lies; each is one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Percentiles {
    /// Half.
    pub p50: i64,
    /// Nine of ten.
    pub p90: i64,
    /// All but one of a hundred.
    pub p99: i64,
}

/// By how much a value is larger than what the server held back.
pub(super) fn error_ns(value: Duration, held_back: Duration) -> i64 {
    signed(nanos(value)).saturating_sub(signed(nanos(held_back)))
}

fn signed(ns: u64) -> i64 {
    i64::try_from(ns).unwrap_or(i64::MAX)
}

// === impl Sample ===

impl Sample {
    /// Whether the error is larger than the run stated, by more than what runs do not state: then
    /// the instrument did not know that it was wrong.
    #[must_use]
    pub fn is_beyond_stated(&self) -> bool {
        self.error_ns > signed(self.stated_ns).saturating_add(signed(nanos(UNSTATED)))
    }

    /// Percentiles of the runs' errors.
    #[must_use]
    pub fn errors<'a>(samples: impl IntoIterator<Item = &'a Self>) -> Option<Percentiles> {
        Percentiles::of(samples.into_iter().map(|sample| sample.error_ns).collect())
    }

    /// Percentiles of the uncertainties that runs stated.
    #[must_use]
    pub fn stated<'a>(samples: impl IntoIterator<Item = &'a Self>) -> Option<Percentiles> {
        Percentiles::of(samples.into_iter().map(|sample| signed(sample.stated_ns)).collect())
    }

    /// Percentiles of the bare client's errors.
    #[must_use]
    pub fn bare_errors<'a>(samples: impl IntoIterator<Item = &'a Self>) -> Option<Percentiles> {
        Percentiles::of(samples.into_iter().map(|sample| sample.bare_error_ns).collect())
    }
}

// === impl Percentiles ===

impl Percentiles {
    /// By nearest rank; none of nothing.
    #[must_use]
    pub fn of(mut figures: Vec<i64>) -> Option<Self> {
        figures.sort_unstable();
        let at = |percent: usize| {
            let rank = (figures.len() * percent).div_ceil(100);
            figures.get(rank.checked_sub(1)?).copied()
        };
        Some(Self { p50: at(50)?, p90: at(90)?, p99: at(99)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guarantees percentiles that are figures of the list, whatever its length, and none of none.
    #[test]
    fn percentiles_are_by_nearest_rank() {
        let check = |figures: Vec<i64>, expected: Option<[i64; 3]>| {
            let expected = expected.map(|[p50, p90, p99]| Percentiles { p50, p90, p99 });
            assert_eq!(Percentiles::of(figures), expected);
        };
        check(vec![], None);
        check(vec![-7], Some([-7; 3]));
        check((1..=100).rev().collect(), Some([50, 90, 99]));
        check(vec![5, -1, 3], Some([3, 5, 5]));
    }

    /// Guarantees the sign of an error, and which errors a run should have stated.
    #[test]
    fn an_error_is_what_was_measured_too_much() {
        let ms = Duration::from_millis;
        assert_eq!(error_ns(ms(12), ms(10)), 2_000_000);
        assert_eq!(error_ns(ms(9), ms(10)), -1_000_000);
        assert_eq!(error_ns(Duration::MAX, ms(0)), i64::MAX);
        let check = |error_ns, stated_ns, beyond| {
            let sample = Sample { error_ns, stated_ns, bare_error_ns: 0 };
            assert_eq!(sample.is_beyond_stated(), beyond, "{sample:?}");
        };
        check(1_000_000, 0, false);
        check(1_000_001, 0, true);
        check(5_000_000, 4_000_000, false);
        check(i64::MAX, u64::MAX, false);
        check(-3, 0, false);
    }
}
