//! Reads series of probes: histograms and counts over the last day, in equal cells.
//!
//! The grid ends with the minute in which `now` falls, so that series by the minute and counts by
//! ten seconds fall into the same cells.

use crate::aggregate::names::{PROBE_DURATION, PROBE_RUNS};
use crate::aggregate::probes::TOTAL;
use crate::alert::Core;
use crate::base::clock::UnixNanos;
use crate::model::histogram::ExpHistogram;
use crate::model::probe::Outcome;
use crate::model::series::{History, SeriesKey, SlotValue, Tier};
use crate::model::slot::Slot;

/// Ten-second slots to a day.
pub(super) const DAY_SLOTS: u32 = 8_640;

/// A stretch of time in equal cells, oldest first.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grid {
    /// The first slot.
    pub(super) from: Slot,
    /// The slot after the last.
    pub(super) to: Slot,
    /// Slots to a cell.
    pub(super) step: u32,
}

/// Runs of a cell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct RunCounts {
    /// Runs, those that were missed left out.
    pub(super) runs: u32,
    /// Of those, runs that did not succeed.
    pub(super) failed: u32,
    /// Of those, failed ones that took no time that is worth a latency.
    pub(super) without_latency: u32,
}

/// Where series are read from.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    /// Live series.
    pub(super) core: &'a Core,
    /// Their past.
    pub(super) history: &'a dyn History,
}

// === impl Grid ===

impl Grid {
    /// The last `span` slots in cells of `step`.
    pub(super) fn last(now: UnixNanos, span: u32, step: u32) -> Self {
        let minute = Tier::OneMinute.slots();
        let to = Slot::of(now).align(minute).plus(minute);
        Self { from: to.minus(span), to, step: step.max(1) }
    }

    /// How many cells there are.
    pub(super) fn cells(self) -> usize {
        (self.to.0.saturating_sub(self.from.0) / self.step) as usize
    }

    /// The cell of a slot; none before the grid.
    pub(super) fn cell(self, slot: Slot) -> Option<usize> {
        slot.0.checked_sub(self.from.0).map(|offset| (offset / self.step) as usize)
    }
}

// === impl Reader ===

impl Reader<'_> {
    /// Latencies of a probe's runs by cell.
    pub(super) fn latencies(self, probe: &str, grid: Grid) -> Vec<ExpHistogram> {
        let mut cells = vec![ExpHistogram::default(); grid.cells()];
        let wanted = |key: &SeriesKey| key.labels.get("phase") == Some(TOTAL);
        for (_, slot, value) in self.slots(PROBE_DURATION, probe, wanted, grid) {
            let cell = grid.cell(slot).and_then(|at| cells.get_mut(at));
            if let (Some(cell), SlotValue::Histogram(histogram)) = (cell, value) {
                cell.merge(&histogram);
            }
        }
        cells
    }

    /// Runs of a probe by cell.
    pub(super) fn runs(self, probe: &str, grid: Grid) -> Vec<RunCounts> {
        let mut cells = vec![RunCounts::default(); grid.cells()];
        for (key, slot, value) in self.slots(PROBE_RUNS, probe, |_| true, grid) {
            let outcome = key.labels.get("outcome").and_then(Outcome::from_name);
            let cell = grid.cell(slot).and_then(|at| cells.get_mut(at));
            if let (Some(outcome), Some(cell), SlotValue::Counter(nano)) = (outcome, cell, value) {
                cell.add(outcome, u32::try_from(nano / 1_000_000_000).unwrap_or(u32::MAX));
            }
        }
        cells
    }

    /// Slots of all series of a name and a probe. A series that history cannot deliver is left out.
    fn slots(
        self,
        name: &str,
        probe: &str,
        wanted: impl Fn(&SeriesKey) -> bool,
        grid: Grid,
    ) -> Vec<(SeriesKey, Slot, SlotValue)> {
        let head = &self.core.store.head;
        let mut found = Vec::new();
        for series in head.named(name) {
            let key = &series.key;
            if key.labels.get("probe") != Some(probe) || !wanted(key) {
                continue;
            }
            let read = head.read(self.history, Tier::OneMinute, key.id(), grid.from, grid.to);
            let slots = read.unwrap_or_default().into_iter();
            found.extend(slots.map(|(slot, value)| (key.clone(), slot, value)));
        }
        found
    }
}

// === impl RunCounts ===

impl RunCounts {
    fn add(&mut self, outcome: Outcome, runs: u32) {
        let (failed, without_latency) = match outcome {
            Outcome::Missed => return,
            Outcome::Success => (0, 0),
            Outcome::Timeout => (runs, 0),
            Outcome::Failure | Outcome::Overlapped => (runs, runs),
        };
        self.runs = self.runs.saturating_add(runs);
        self.failed = self.failed.saturating_add(failed);
        self.without_latency = self.without_latency.saturating_add(without_latency);
    }
}

/// A quantile of a histogram of durations, nanoseconds.
pub(super) fn quantile_ns(histogram: &ExpHistogram, q: f64) -> Option<u64> {
    histogram.quantile(q).map(|seconds| (seconds.max(0.0) * 1e9) as u64)
}
