//! Reads series of probes: histograms and counts over the last day, in equal cells.
//!
//! A probe that is younger than a day is shown over its life: an axis of a day would be empty.

use crate::aggregate::names::{PROBE_DURATION, PROBE_RUNS};
use crate::aggregate::probes::TOTAL;
use crate::alert::Core;
use crate::base::clock::UnixNanos;
use crate::model::histogram::ExpHistogram;
use crate::model::probe::Outcome;
use crate::model::series::{Past, SeriesKey, SlotValue, Tier};
use crate::model::slot::{SLOT_SECONDS, Slot, slots_in};
use crate::store::counts::COARSE_WIDTH;
use std::time::Duration;

/// Ten-second slots to a minute, an hour and a day.
pub(super) const MINUTE: u32 = 6;
pub(super) const HOUR: u32 = 60 * MINUTE;
pub(super) const DAY: u32 = 24 * HOUR;

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
    /// Slots that were missed.
    pub(super) missed: u32,
}

/// What is shown of a probe that has not lived longer: slots, and slots to a cell.
const LIVES: [(u32, u32); 3] = [(20 * MINUTE, 1), (2 * HOUR, MINUTE), (6 * HOUR, 3 * MINUTE)];

/// Where series are read from.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    /// Live series.
    pub(super) core: &'a Core,
    /// Their past.
    pub(super) history: &'a dyn Past,
}

// === impl Grid ===

impl Grid {
    /// The last `span` slots in cells of `step`.
    pub(super) fn last(now: UnixNanos, span: u32, step: u32) -> Self {
        let step = step.max(1);
        // Series by the minute fill whole minutes, so cells of that size end with one.
        let width = if step < MINUTE { 1 } else { MINUTE };
        let to = Slot::of(now).align(width).plus(width);
        Self { from: to.minus(span), to, step }
    }

    /// At least the `span` slots before `to`, in at most `most` cells.
    pub(super) fn ending(to: Slot, span: u32, most: u32) -> Self {
        let fine = span.div_ceil(most.max(1)).max(1);
        // Counts by five minutes fill whole cells.
        let step = if fine < COARSE_WIDTH { fine } else { fine.next_multiple_of(COARSE_WIDTH) };
        Self { from: to.minus(span.div_ceil(step) * step), to, step }
    }

    /// How much time it covers.
    pub(super) fn span(self) -> Duration {
        Duration::from_secs(u64::from(self.to.0.saturating_sub(self.from.0)) * SLOT_SECONDS)
    }

    /// How much time a cell covers.
    pub(super) fn cell_span(self) -> Duration {
        Duration::from_secs(u64::from(self.step) * SLOT_SECONDS)
    }

    /// The resolution of series that its cells need.
    fn tier(self) -> Tier {
        if self.step < MINUTE { Tier::TenSeconds } else { Tier::OneMinute }
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
    /// The last day of a probe in cells of ten minutes, or its whole life in smaller ones.
    pub(super) fn grid(self, probe: &str, now: UnixNanos) -> Grid {
        let day = Grid::last(now, DAY, 10 * MINUTE);
        let first = self.runs(probe, day).iter().position(|cell| cell.runs > 0);
        let Some(first) = first else { return day };
        let age = (day.cells() - first) as u32 * day.step;
        let Some((span, step)) = LIVES.iter().find(|(span, _)| age <= *span) else { return day };
        // A cell shorter than the time between two runs would be a gap.
        let every = self.core.policy.probe_intervals.get(probe).copied().unwrap_or_default();
        let whole_slots = every.saturating_add(Duration::from_secs(SLOT_SECONDS - 1));
        let step = match slots_in(whole_slots).max(*step) {
            fine if fine < MINUTE => fine,
            coarse => coarse.next_multiple_of(MINUTE),
        };
        Grid::last(now, span.next_multiple_of(step), step)
    }

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
            let read = head.read(self.history, grid.tier(), key.id(), grid.from, grid.to);
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
            Outcome::Missed => {
                self.missed = self.missed.saturating_add(runs);
                return;
            }
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
