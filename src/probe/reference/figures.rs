//! What samples come to, and a calibration: the figures of each protocol at one time.

use super::Protocol;
use super::error::{LIMIT, Percentiles, Sample};
use crate::base::clock::{UnixNanos, nanos};

/// What some samples come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Figures {
    /// How many there are.
    pub runs: usize,
    /// What runs measured too much, nanoseconds.
    pub errors: Percentiles,
    /// The uncertainty that runs stated, nanoseconds.
    pub stated: Percentiles,
    /// Runs whose error was larger than they stated.
    pub beyond_stated: usize,
    /// What a bare client measured too much, nanoseconds.
    pub bare_errors: Percentiles,
}

/// The instrument's own error on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Calibration {
    /// When it was measured.
    pub at: UnixNanos,
    /// Over all runs.
    pub overall: Figures,
    /// By protocol.
    pub protocols: Vec<(Protocol, Figures)>,
}

// === impl Figures ===

impl Figures {
    /// Of samples; none of nothing.
    #[must_use]
    pub fn of(samples: &[Sample]) -> Option<Self> {
        Some(Self {
            runs: samples.len(),
            errors: Sample::errors(samples)?,
            stated: Sample::stated(samples)?,
            beyond_stated: samples.iter().filter(|sample| sample.is_beyond_stated()).count(),
            bare_errors: Sample::bare_errors(samples)?,
        })
    }

    /// Whether the median error is a fault.
    #[must_use]
    pub fn is_beyond_limit(&self) -> bool {
        i128::from(self.errors.p50) > nanos(LIMIT).into()
    }
}

// === impl Calibration ===

impl Calibration {
    /// Of what was measured by protocol, as of `at`; none when nothing was.
    #[must_use]
    pub fn of(at: UnixNanos, measured: &[(Protocol, Vec<Sample>)]) -> Option<Self> {
        let all: Vec<Sample> = measured.iter().flat_map(|(_, samples)| samples).copied().collect();
        let figures = |(protocol, samples): &(Protocol, Vec<Sample>)| {
            Some((*protocol, Figures::of(samples)?))
        };
        let protocols = measured.iter().filter_map(figures).collect();
        Some(Self { at, overall: Figures::of(&all)?, protocols })
    }

    /// Whether no protocol's median error is a fault.
    #[must_use]
    pub fn is_within_limit(&self) -> bool {
        !self.protocols.iter().any(|(_, figures)| figures.is_beyond_limit())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guarantees the figures of each protocol and of all together, and that one that is too slow is
    /// a fault however good the others are.
    #[test]
    fn a_calibration_is_judged_by_its_worst_protocol() {
        let sample = |error_ns| Sample { error_ns, stated_ns: 0, bare_error_ns: error_ns / 2 };
        let of = |sse: i64| {
            let measured = [
                (Protocol::Http, vec![sample(100), sample(300), sample(200)]),
                (Protocol::WebSocket, Vec::new()),
                (Protocol::Sse, vec![sample(sse)]),
            ];
            Calibration::of(UnixNanos(7), &measured)
        };
        let good = of(1_000_000).expect("samples");
        assert_eq!((good.overall.runs, good.protocols.len()), (4, 2));
        assert_eq!(good.protocols[0].1.errors.p50, 200);
        assert_eq!(good.protocols[0].1.bare_errors.p99, 150);
        assert!(good.is_within_limit());
        assert!(!of(1_000_001).expect("samples").is_within_limit());
        assert_eq!(Calibration::of(UnixNanos(7), &[]), None);
    }
}
