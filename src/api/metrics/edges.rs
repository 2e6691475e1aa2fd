//! The buckets of our histograms: a fixed ladder of powers of two, and the thresholds of SLOs.
//!
//! Inside, a histogram has eight buckets to each doubling ([`ExpHistogram`]); a power of two ends
//! one of them, so counts at the ladder are exact. A threshold falls anywhere. What is known there:
//!
//! - `lowest`: values in buckets that end at or below the threshold are surely within it;
//! - `highest`: values in buckets that begin below it may be;
//! - for probes, the good events of the SLO, which the fold counted from raw durations. Since the
//!   SLO began they are exactly the successful runs within the threshold.
//!
//! So the count at a threshold is the SLO's good events, kept within `lowest..=highest`: exact when
//! histogram and SLO began together, otherwise off by what one bucket of 9 % holds at most, too few
//! when the SLO is the younger. For phones, whose series cut across SLOs, it is `lowest`. All three
//! only grow, and so does what is made of them; when an SLO goes, [`Shown`] keeps what was known.
//!
//! Edges are the same for all series of a family (of probes: and phase), because `sum by (le)` over
//! series with different edges is wrong.

use super::page::Buckets;
use super::shown::Shown;
use crate::aggregate::{names, probes};
use crate::alert::Core;
use crate::model::histogram::{ExpHistogram, bucket_of, upper_bound};
use crate::model::objective::{Indicator, Source};
use crate::model::probe::Phase;
use crate::model::series::SeriesKey;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Powers of two in seconds: 0.24 ms to 64 s.
const SECONDS: std::ops::RangeInclusive<i32> = -12..=6;
/// Every second power of two for histograms whose unit is not known: 1/1024 to 2^30.
const ANY: std::ops::RangeInclusive<i32> = -5..=15;
/// Buckets to a doubling.
const PER_DOUBLING: i32 = 8;

/// An upper bound on the wire and what our buckets tell about it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Edge {
    /// The bound in the histogram's unit, inclusive.
    pub le: f64,
    /// Values in buckets up to this one are at or below the bound.
    lowest: i32,
    /// Values in buckets up to this one may be.
    highest: i32,
    /// The threshold, in nano-units.
    under_ns: Option<u64>,
}

/// The edges of every histogram of ours, and the exact counts that are known.
#[derive(Clone, Debug)]
pub struct Edges {
    probes: BTreeMap<&'static str, Vec<Edge>>,
    seconds: Vec<Edge>,
    spans: Vec<Edge>,
    any: Vec<Edge>,
    /// Good events of SLOs by probe, phase and threshold.
    good: HashMap<(String, &'static str, u64), u64>,
}

// === impl Edge ===

impl Edge {
    fn power_of_two(exponent: i32) -> Self {
        let last = exponent * PER_DOUBLING - 1;
        Self { le: upper_bound(last), lowest: last, highest: last, under_ns: None }
    }

    fn threshold(under_ns: u64) -> Self {
        let bucket = i32::from(bucket_of(under_ns.max(1)));
        // The last value of its bucket: all of the bucket is within.
        let ends = i32::from(bucket_of(under_ns.saturating_add(1).max(1))) > bucket;
        Self {
            le: under_ns as f64 / 1e9,
            lowest: if ends { bucket } else { bucket - 1 },
            highest: bucket,
            under_ns: Some(under_ns),
        }
    }
}

// === impl Edges ===

impl Edges {
    /// The edges under the SLOs in force.
    #[must_use]
    pub fn of(core: &Core) -> Self {
        let mut probes: BTreeMap<&'static str, BTreeSet<u64>> = BTreeMap::new();
        let mut spans = BTreeSet::new();
        let mut good: HashMap<_, u64> = HashMap::new();
        for slo in &core.policy.slos {
            let Indicator::Latency { source, under_ns, phase, .. } = &slo.indicator else {
                continue;
            };
            match source {
                Source::Probe(probe) => {
                    let phase = phase.map_or(probes::TOTAL, Phase::as_str);
                    let _ = probes.entry(phase).or_default().insert(*under_ns);
                    let counts = core.store.counts.get(slo.indicator.id());
                    let counted = counts.map_or(0, |counts| counts.all.good());
                    let known = good.entry((probe.clone(), phase, *under_ns)).or_default();
                    *known = counted.max(*known);
                }
                Source::Span(_) | Source::Http { .. } => drop(spans.insert(*under_ns)),
                Source::Event(_) => {}
            }
        }
        Self {
            probes: probes.into_iter().map(|(p, under)| (p, ladder(SECONDS, 1, &under))).collect(),
            seconds: ladder(SECONDS, 1, &BTreeSet::new()),
            spans: ladder(SECONDS, 1, &spans),
            any: ladder(ANY, 2, &BTreeSet::new()),
            good,
        }
    }

    /// The edges of a series.
    #[must_use]
    pub fn for_series(&self, key: &SeriesKey) -> &[Edge] {
        match &*key.name {
            names::PROBE_DURATION => {
                let phase = key.labels.get("phase").unwrap_or(probes::TOTAL);
                self.probes.get(phase).unwrap_or(&self.seconds)
            }
            names::SPAN_DURATION => &self.spans,
            name if is_in_seconds(name) => &self.seconds,
            _ => &self.any,
        }
    }

    /// A series' histogram in classic buckets.
    #[must_use]
    pub fn buckets(&self, key: &SeriesKey, histogram: &ExpHistogram, shown: &mut Shown) -> Buckets {
        let up_to = |index: i32| {
            let within = histogram.buckets().iter().take_while(|(i, _)| i32::from(*i) <= index);
            within.fold(histogram.zero, |sum, (_, count)| sum.saturating_add(*count))
        };
        // A sender's own count may be less than its buckets hold.
        let count = up_to(i32::MAX).max(histogram.count);
        let mut reached = 0;
        let at_edge = |edge: &Edge| {
            let lowest = up_to(edge.lowest);
            // Two thresholds may lie in one bucket and have SLOs of different age.
            reached = reached.max(lowest);
            if let Some(under_ns) = edge.under_ns.filter(|_| &*key.name == names::PROBE_DURATION) {
                let highest = up_to(edge.highest);
                let good = self.good(key, under_ns).unwrap_or(0).clamp(reached, highest);
                reached = shown.at_least((key.id(), under_ns), count, good).min(highest);
            }
            (edge.le, reached)
        };
        let cumulative = self.for_series(key).iter().map(at_edge).collect();
        Buckets { count, sum: histogram.sum_units(), cumulative }
    }

    fn good(&self, key: &SeriesKey, under_ns: u64) -> Option<u64> {
        let phase = Phase::from_name(key.labels.get("phase")?);
        let phase = phase.map_or(probes::TOTAL, Phase::as_str);
        self.good.get(&(key.labels.get("probe")?.to_owned(), phase, under_ns)).copied()
    }
}

/// Whether the values of a metric are durations in seconds by OpenTelemetry's conventions.
pub(super) fn is_in_seconds(name: &str) -> bool {
    matches!(name, names::PROBE_DURATION | names::SPAN_DURATION)
        || name.ends_with(".request.duration")
}

fn ladder(
    exponents: std::ops::RangeInclusive<i32>,
    step: i32,
    thresholds: &BTreeSet<u64>,
) -> Vec<Edge> {
    let mut edges: Vec<Edge> = exponents.map(|at| Edge::power_of_two(at * step)).collect();
    edges.extend(thresholds.iter().map(|under_ns| Edge::threshold(*under_ns)));
    // Where a threshold is a power of two, its own edge stays: it is exact as well, and known.
    edges.sort_by(|a, b| a.le.total_cmp(&b.le).then(b.under_ns.cmp(&a.under_ns)));
    edges.dedup_by(|later, kept| later.le == kept.le);
    edges
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Guarantees that counts at powers of two are exact, that those at a threshold lie between what is
    /// sure and what is possible, and that thresholds which are powers of two are no second edge.
    #[test]
    fn edges_know_what_they_do_not_know() {
        let edges = ladder(SECONDS, 1, &BTreeSet::from([100_000_000, 250_000_000]));
        assert_eq!(edges.len(), 20);
        let find = |le: f64| *edges.iter().find(|edge| edge.le == le).expect("an edge");
        assert_eq!(find(0.25), Edge { under_ns: Some(250_000_000), ..Edge::power_of_two(-2) });
        let tenth = find(0.1);
        assert_eq!(tenth.highest, tenth.lowest + 1);
        assert!(upper_bound(tenth.lowest) < 0.1 && upper_bound(tenth.highest) > 0.1);
        assert!(edges.windows(2).all(|pair| pair[0].le < pair[1].le));
    }

    proptest! {
        /// Guarantees the promise of the conservative count: never more than the true one, and never
        /// less than that of values nine percent below.
        #[test]
        fn conservative_counts_are_conservative(
            values in prop::collection::vec(1_u64..1 << 36, 0..200), under_ns in 1_000_u64..1 << 36,
        ) {
            let mut histogram = ExpHistogram::default();
            values.iter().for_each(|value| histogram.record(*value));
            let edge = Edge::threshold(under_ns);
            let edges = Edges {
                probes: BTreeMap::new(), seconds: Vec::new(), spans: vec![edge], any: Vec::new(),
                good: HashMap::new(),
            };
            let key = SeriesKey { name: names::SPAN_DURATION.into(), labels: Default::default() };
            let got = edges.buckets(&key, &histogram, &mut Shown::default()).cumulative[0].1;
            let at_or_below = |limit: f64| values.iter().filter(|v| **v as f64 <= limit).count() as u64;
            prop_assert!(got <= at_or_below(under_ns as f64));
            prop_assert!(got >= at_or_below(under_ns as f64 / 1.0906));
        }
    }
}
