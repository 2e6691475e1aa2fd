//! What a page shows of an SLO: its budget, how fast it burns, and how long it lasts.

use crate::base::clock::UnixNanos;
use crate::model::objective::Severity;
use std::time::Duration;

/// An SLO as of now.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct BudgetView {
    /// The SLO's name.
    pub name: String,
    /// Who answers for it.
    pub owner: Option<String>,
    /// Words for people.
    pub description: Option<String>,
    /// What is counted, in words: "latency of probe chat-echo under 100ms".
    pub indicator: String,
    /// The share of events that must be good.
    pub objective: f64,
    /// The rolling window.
    pub window: Duration,
    /// Set when counting began within the window.
    pub counted_since: Option<UnixNanos>,
    /// Good events in the window.
    pub good: u64,
    /// All events in the window.
    pub total: u64,
    /// Runs whose verdict was left out because our own measurement was too uncertain.
    pub left_out: u64,
    /// The share of the budget that is left: 1 untouched, 0 gone, below 0 overspent. None without
    /// data.
    pub left: Option<f64>,
    /// `left` in equal steps, oldest first, the last as of now; None is a gap.
    pub line: Vec<Option<f64>>,
    /// How much time `line` covers: the window, or as much of it as was counted.
    pub line_span: Duration,
    /// The burn policy and where it stands, shortest window first.
    pub burn: Vec<BurnView>,
    /// When the budget will be gone.
    pub exhaustion: Exhaustion,
    /// The verdict.
    pub verdict: BudgetVerdict,
    /// Since when data is missing.
    pub missing_since: Option<UnixNanos>,
}

/// How an SLO stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum BudgetVerdict {
    /// Within budget, and nothing burns too fast.
    Healthy,
    /// An alert of this severity holds.
    Burning(Severity),
    /// Nothing is left, though nothing burns too fast now.
    Exhausted,
    /// Nothing was counted, or data is missing.
    #[default]
    NoData,
}

/// When a budget will be gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Exhaustion {
    /// Not known: no data.
    #[default]
    Unknown,
    /// Not within the window at the present rate.
    Never,
    /// After this time at the present rate.
    In(Duration),
    /// It is gone.
    Gone,
}

/// A pair of the burn policy and the rates in its windows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BurnView {
    /// The long window.
    pub long: Duration,
    /// The short window.
    pub short: Duration,
    /// Page or ticket.
    pub severity: Severity,
    /// The share of the budget that is spent when it fires.
    pub budget: f64,
    /// The burn rate at which it fires.
    pub factor: f64,
    /// The rate in the long window; 1 spends the budget in exactly the window. None without data.
    pub long_rate: Option<f64>,
    /// The rate in the short window.
    pub short_rate: Option<f64>,
    /// Bad events in the long window.
    pub bad: u64,
    /// All events in the long window.
    pub total: u64,
    /// Whether that many bad events are significant against the objective.
    pub significant: bool,
    /// Whether the pair holds.
    pub firing: bool,
}
