//! A probe, its day, and its latencies.

use crate::base::clock::UnixNanos;
use crate::model::histogram::ExpHistogram;
use crate::model::labels::Labels;
use crate::model::probe::ProbeRun;
use crate::probe::maintenance::Window;
use std::time::Duration;

/// A probe as of now.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct ProbeView {
    /// The probe's name.
    pub name: String,
    /// `websocket`, `http`, `sse`; joined with `+` when steps differ.
    pub protocol: String,
    /// Where to: URL without credentials and query.
    pub target: String,
    /// The schedule in words: `10s`, or the cron expression.
    pub schedule: String,
    /// The probe's own labels, those of the newest run.
    pub labels: Labels,
    /// Names of labels in which its runs differ: it has several targets.
    pub differing: Vec<String>,
    /// The maintenance that keeps it from running now.
    pub maintenance: Option<Window>,
    /// The newest run; none before the first.
    pub last: Option<ProbeRun>,
    /// Median of the last hour, nanoseconds.
    pub p50_ns: Option<u64>,
    /// 95th percentile of the last hour, nanoseconds.
    pub p95_ns: Option<u64>,
    /// The strictest latency threshold of an SLO on this probe, nanoseconds.
    pub under_ns: Option<u64>,
    /// The last day in equal cells, oldest first; less than a day when it is all that there is.
    pub strip: Vec<StripCell>,
    /// How much time one cell covers.
    pub strip_step: Duration,
}

/// A piece of a probe's day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct StripCell {
    /// What it was like.
    pub state: CellState,
    /// Runs in it.
    pub runs: u32,
    /// Failed runs in it.
    pub failed: u32,
    /// Runs in it that succeeded, but slower than the threshold.
    pub slow: u32,
    /// Slots in it that were not run through our own doing.
    pub missed: u32,
}

/// What a piece of a day was like: the worst of its runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum CellState {
    /// No run.
    #[default]
    NoData,
    /// All runs succeeded in time.
    Good,
    /// Some were slower than the threshold.
    Slow,
    /// Some failed.
    Failed,
}

/// Quantiles of a piece of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct QuantilePoint {
    /// Median, nanoseconds.
    pub p50_ns: Option<u64>,
    /// 95th percentile, nanoseconds.
    pub p95_ns: Option<u64>,
}

/// A column of a heatmap: latencies in a piece of time.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct HeatColumn {
    /// Of runs that have a value.
    pub latencies: ExpHistogram,
    /// Runs that failed without one.
    pub failed: u32,
}

// === impl ProbeView ===

impl ProbeView {
    /// When the strip begins: its cells end now.
    #[must_use]
    pub fn strip_start(&self, now: UnixNanos) -> UnixNanos {
        let cells = u32::try_from(self.strip.len()).unwrap_or(u32::MAX);
        now.minus(self.strip_step.saturating_mul(cells))
    }
}
