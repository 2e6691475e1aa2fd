//! What the pages show, as plain data without behaviour.
//!
//! The wiring fills these structs from the stores; the sibling modules turn them into HTML and ask
//! nothing else. Shares are 0..=1, durations of measurements integer nanoseconds, and every list is
//! already bounded by whoever fills it; the pages cut what is longer than they can show.

mod budget;
mod change;
mod firing;
mod pages;
mod phones;
mod probe;

pub use budget::{BudgetVerdict, BudgetView, BurnView, Exhaustion};
pub use change::{ChangeKind, ChangeView};
pub use firing::{Factor, FiringView, SilencedView};
pub use pages::{
    ChangesPage, DeliveryState, DeliveryView, IncidentRow, IncidentView, LateRow, ProbePage,
    RunView, SloOfRun, SloPage, TimelineEntry,
};
pub use phones::{MatrixCell, MatrixView, PhoneApp, PhoneSlo, PhonesView};
pub use probe::{CellState, HeatColumn, ProbeView, QuantilePoint, StripCell};

use crate::base::clock::UnixNanos;
use crate::probe::reference::Calibration;
use std::sync::Arc;

/// The home page.
#[derive(Clone, Debug, Default)]
pub struct PageView {
    /// The instant as of which everything below holds.
    pub now: UnixNanos,
    /// Version of the daemon.
    pub version: String,
    /// Whether the fold has reached the journal's tail.
    pub readiness: Readiness,
    /// How old the data is.
    pub freshness: Freshness,
    /// The configuration on disk was refused; an older one is in force.
    pub config_problem: Option<ConfigProblem>,
    /// Alerts that fire or are frozen, worst first.
    pub firing: Vec<FiringView>,
    /// All SLOs, in an order that stays the same; the page moves those in trouble to the top.
    pub budgets: Vec<BudgetView>,
    /// All probes, in an order that stays the same; the page moves failing ones to the top.
    pub probes: Vec<ProbeView>,
    /// What phones report; none as long as no phone ever did.
    pub phones: Option<PhonesView>,
    /// What happened lately, newest first.
    pub changes: Vec<ChangeView>,
    /// Where phones send to, for people who have none yet.
    pub endpoints: Endpoints,
    /// What the instrument measures too much; none before that was found out.
    pub calibration: Option<Arc<Calibration>>,
}

/// Whether budgets and alerts can be believed yet.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub enum Readiness {
    /// The fold has reached the tail.
    #[default]
    Ready,
    /// After a restart, the journal is being folded.
    Replaying {
        /// The share that is done.
        done: f64,
    },
}

/// How old the data is.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Freshness {
    /// When budgets were last evaluated.
    pub evaluated_at: Option<UnixNanos>,
    /// The sources of data, probes before phones.
    pub sources: Vec<SourceFreshness>,
    /// Why the daemon itself is not well, as a sentence: "the control lane cannot be written".
    pub degraded: Option<String>,
}

/// How old the data of one source is.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct SourceFreshness {
    /// `probes` or `phones`: also the section of the home page to which it links.
    pub name: String,
    /// Event time of its newest item.
    pub newest: Option<UnixNanos>,
    /// Whether that is too old.
    pub stale: bool,
}

/// Why the configuration on disk is not in force.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct ConfigProblem {
    /// When it was refused.
    pub since: UnixNanos,
    /// Each with file, line, column and a hint.
    pub problems: Vec<String>,
}

/// Addresses of the OTLP receivers as phones reach them.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Endpoints {
    /// OTLP/HTTP base address, `http://127.0.0.1:4318`.
    pub http: Option<String>,
    /// OTLP/gRPC address, `http://127.0.0.1:4317`.
    pub grpc: Option<String>,
}
