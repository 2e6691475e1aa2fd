//! Series of the live head: copied under the lock, translated outside of it.

use super::edges::{Edges, is_in_seconds};
use super::page::{Buckets, Page, Title, Value};
use super::shown::Shown;
use super::{names, own};
use crate::aggregate::fold::OVERFLOW;
use crate::aggregate::names as inside;
use crate::alert::Core;
use crate::model::histogram::ExplicitHistogram;
use crate::model::series::{SeriesKey, SlotValue};
use crate::store::head::LiveSeries;
use crate::wire::semconv;

/// Samples of the live head on one page. What does not fit is left out by whole series, the probes'
/// never, and counted. So many samples of phones are about 30 MB of text.
pub const MAX_SAMPLES: usize = 100_000;

/// What the head held, and the edges of its histograms at that moment.
#[derive(Debug)]
pub struct Snapshot {
    series: Vec<(SeriesKey, SlotValue)>,
    edges: Edges,
    left_out: usize,
}

// === impl Snapshot ===

impl Snapshot {
    /// Copies the head.
    #[must_use]
    pub fn take(core: &Core) -> Self {
        Self::take_at_most(core, MAX_SAMPLES)
    }

    fn take_at_most(core: &Core, samples: usize) -> Self {
        let edges = Edges::of(core);
        let mut all: Vec<&LiveSeries> = core.store.head.iter().collect();
        // In an order that does not depend on when a series came, so that the same ones stay.
        all.sort_unstable_by_key(|series| (!is_of_probe(&series.key), &series.key));
        let mut used = 0;
        let mut fits = |series: &&LiveSeries| {
            used += samples_of(series, &edges);
            used <= samples || is_of_probe(&series.key)
        };
        let kept: Vec<_> = all.iter().copied().filter(|series| fits(series)).collect();
        let left_out = all.len() - kept.len();
        let series = kept.into_iter().map(|one| (one.key.clone(), one.total.clone())).collect();
        Self { series, edges, left_out }
    }

    /// Adds every series to a page.
    pub fn add(&self, page: &mut Page, shown: &mut Shown) {
        page.omit(self.left_out);
        shown.begin();
        for (key, total) in &self.series {
            let unit = is_in_seconds(&key.name).then_some("seconds");
            let labels = names::labels(&key.labels);
            let value = self.value(key, total, shown);
            match own_title(key) {
                Some(title) => page.add(title, labels, value),
                None => {
                    let name = names::metric(&key.name, unit, total);
                    let title = Title { name: &name, ..own::FOREIGN };
                    page.add_foreign(title, labels, value);
                }
            }
        }
        shown.end();
    }

    fn value(&self, key: &SeriesKey, total: &SlotValue, shown: &mut Shown) -> Value {
        match total {
            SlotValue::Counter(units) => Value::Counter(*units as f64 / 1e9),
            SlotValue::Gauge(value) => Value::Gauge(*value),
            SlotValue::Histogram(histogram) => {
                Value::Histogram(self.edges.buckets(key, histogram, shown))
            }
            SlotValue::Explicit(histogram) => Value::Histogram(explicit(histogram)),
        }
    }
}

/// The family of a series that the fold makes of probes, spans and events. Phones may send a metric
/// under such a name, but then without the labels that only the fold gives.
fn own_title(key: &SeriesKey) -> Option<Title<'static>> {
    let (title, label) = match &*key.name {
        inside::PROBE_RUNS => (own::PROBE_RUNS, "probe"),
        inside::PROBE_DURATION => (own::PROBE_DURATION, "probe"),
        inside::SPAN_CALLS => (own::SPAN_CALLS, "span.name"),
        inside::SPAN_DURATION => (own::SPAN_DURATION, "span.name"),
        inside::EVENTS => (own::EVENTS, "event.name"),
        _ => return None,
    };
    let made_by_fold = key.labels.get(label).is_some() || key.labels.get(OVERFLOW).is_some();
    made_by_fold.then_some(title)
}

fn is_of_probe(key: &SeriesKey) -> bool {
    matches!(&*key.name, inside::PROBE_RUNS | inside::PROBE_DURATION)
        && key.labels.get(semconv::SERVICE_NAME).is_none()
}

/// How many samples a series is on the wire: of a histogram its buckets, +Inf, sum and count.
fn samples_of(series: &LiveSeries, edges: &Edges) -> usize {
    match &series.total {
        SlotValue::Counter(_) | SlotValue::Gauge(_) => 1,
        SlotValue::Histogram(_) => edges.for_series(&series.key).len() + 3,
        SlotValue::Explicit(histogram) => histogram.bounds.len() + 3,
    }
}

fn explicit(histogram: &ExplicitHistogram) -> Buckets {
    let mut below = 0_u64;
    let mut cumulative: Vec<(f64, u64)> = Vec::with_capacity(histogram.bounds.len());
    for (bound, count) in histogram.bounds.iter().zip(&histogram.counts) {
        below = below.saturating_add(*count);
        cumulative.push((*bound, below));
    }
    Buckets { count: histogram.count(), sum: histogram.sum as f64 / 1e9, cumulative }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::labels::Labels;
    use crate::model::slot::Slot;

    /// Guarantees that a page is bounded, that probes are never left out, and that the rest is counted.
    #[test]
    fn what_does_not_fit_is_counted() {
        let mut core = Core::default();
        let mut add = |name: &str, labels: Labels| {
            let key = SeriesKey { name: name.into(), labels };
            let one = SlotValue::Counter(1_000_000_000);
            core.store.head.add(key.id(), || key.clone(), Slot(1), &one);
        };
        for number in 0..20 {
            add("taps", Labels::new([("service.name", format!("app-{number:02}"))]));
            add(inside::PROBE_RUNS, Labels::new([("probe", format!("probe-{number:02}"))]));
        }
        let snapshot = Snapshot::take_at_most(&core, 25);
        let kept =
            |name: &str| snapshot.series.iter().filter(|(key, _)| &*key.name == name).count();
        assert_eq!((kept(inside::PROBE_RUNS), kept("taps"), snapshot.left_out), (20, 5, 15));
        assert_eq!(
            snapshot.series.last().and_then(|(key, _)| key.labels.get("service.name")),
            Some("app-04")
        );
        let none = Snapshot::take_at_most(&core, 0);
        assert_eq!((none.series.len(), none.left_out), (20, 20));
    }
}
