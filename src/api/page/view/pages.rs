//! The evidence pages: what the home page's numbers link to.

use super::{
    BudgetView, ChangeView, Factor, HeatColumn, MatrixView, ProbeView, QuantilePoint, Readiness,
};
use crate::base::clock::UnixNanos;
use crate::model::alert::Incident;
use crate::model::evidence::SpanEvidence;
use crate::model::objective::Severity;
use crate::model::probe::{ProbeRun, RunId};
use crate::probe::reference::Calibration;
use std::sync::Arc;
use std::time::Duration;

/// `/runs/{id}`: one run of a probe.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct RunView {
    /// As of when.
    pub now: UnixNanos,
    /// Version of the daemon.
    pub version: String,
    /// The run.
    pub run: ProbeRun,
    /// What SLOs make of it.
    pub slos: Vec<SloOfRun>,
    /// The run before, if it is kept.
    pub previous: Option<RunId>,
    /// The run after, if there is one yet.
    pub next: Option<RunId>,
}

/// What an SLO makes of a run.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct SloOfRun {
    /// The SLO's name.
    pub name: String,
    /// Its latency threshold, nanoseconds.
    pub under_ns: Option<u64>,
    /// Good or bad; none when it was left out.
    pub good: Option<bool>,
}

/// `/probes/{name}`: a probe and its last day.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct ProbePage {
    /// As of when.
    pub now: UnixNanos,
    /// Version of the daemon.
    pub version: String,
    /// The probe.
    pub probe: ProbeView,
    /// SLOs on it.
    pub slos: Vec<String>,
    /// The last runs, newest first, at most 100.
    pub runs: Vec<ProbeRun>,
    /// The last failed runs, newest first, at most 20.
    pub failed: Vec<ProbeRun>,
    /// Quantiles in equal steps up to now, oldest first.
    pub quantiles: Vec<QuantilePoint>,
    /// Latencies in equal steps up to now, oldest first.
    pub heatmap: Vec<HeatColumn>,
    /// How much time `quantiles` and `heatmap` cover.
    pub span: Duration,
    /// What the instrument measures too much.
    pub calibration: Option<Arc<Calibration>>,
}

/// `/slos/{name}`: a budget and why it is as it is.
#[derive(Clone, Debug, Default)]
pub struct SloPage {
    /// As of when.
    pub now: UnixNanos,
    /// Version of the daemon.
    pub version: String,
    /// Whether the numbers are final.
    pub readiness: Readiness,
    /// The SLO.
    pub budget: BudgetView,
    /// Where to read what to do.
    pub runbook: Option<String>,
    /// Hash of what is counted, as hex.
    pub indicator_id: String,
    /// The probe whose runs are counted.
    pub probe: Option<String>,
    /// What explains the bad events of now, in a sentence.
    pub explanation: Option<String>,
    /// The parts of the traffic behind it, best first.
    pub factors: Vec<Factor>,
    /// Breakdown by app version, for SLOs on phones.
    pub matrices: Vec<MatrixView>,
    /// The time over which the matrices are counted.
    pub matrices_over: Duration,
    /// The worst spans, newest first.
    pub spans: Vec<SpanEvidence>,
    /// Bad runs, newest first.
    pub runs: Vec<ProbeRun>,
    /// Incidents, newest first.
    pub incidents: Vec<IncidentRow>,
    /// What late data changed, newest first.
    pub late: Vec<LateRow>,
}

/// An incident in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IncidentRow {
    /// Its id.
    pub id: String,
    /// Page or ticket.
    pub severity: Severity,
    /// When it began.
    pub started_at: UnixNanos,
    /// When it was over.
    pub ended_at: Option<UnixNanos>,
    /// What it said.
    pub summary: String,
}

/// A change of a budget that late data made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LateRow {
    /// When the data came.
    pub at: UnixNanos,
    /// The oldest event time that it changed.
    pub oldest: UnixNanos,
    /// Events that it added.
    pub total: u64,
    /// Bad ones among them.
    pub bad: u64,
}

/// `/incidents/{id}`: one life of an alert.
#[derive(Clone, Debug, PartialEq)]
pub struct IncidentView {
    /// As of when.
    pub now: UnixNanos,
    /// Version of the daemon.
    pub version: String,
    /// The incident.
    pub incident: Incident,
    /// `alertname`.
    pub name: String,
    /// Whether there is an SLO of that name to link to.
    pub is_slo: bool,
    /// Page or ticket.
    pub severity: Severity,
    /// Who answers for it.
    pub owner: Option<String>,
    /// Where to read what to do.
    pub runbook: Option<String>,
    /// What it said when it last moved.
    pub summary: String,
    /// What explains it, best first.
    pub factors: Vec<Factor>,
    /// What happened, oldest first: transitions, acknowledgements, silences.
    pub timeline: Vec<TimelineEntry>,
    /// Notifications and what became of them, oldest first.
    pub deliveries: Vec<DeliveryView>,
}

/// Something that happened to an incident.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimelineEntry {
    /// When.
    pub at: UnixNanos,
    /// What kind of thing.
    pub kind: super::ChangeKind,
    /// In words.
    pub text: String,
}

/// A notification and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryView {
    /// Who was to be told.
    pub receiver: String,
    /// Of what: `firing`, `resolved`, `frozen`.
    pub of: String,
    /// When it was due.
    pub created_at: UnixNanos,
    /// When its state last changed.
    pub changed_at: UnixNanos,
    /// How often it was tried.
    pub attempts: u32,
    /// What became of it.
    pub state: DeliveryState,
    /// What the receiver said, when it did not take it.
    pub error: Option<String>,
}

/// What became of a notification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryState {
    /// Not tried yet, or being retried.
    Pending,
    /// The receiver has it.
    Delivered,
    /// The receiver refuses it for good.
    Refused,
    /// Given up after a day of tries.
    Expired,
}

/// `/changes`: all that happened.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct ChangesPage {
    /// As of when.
    pub now: UnixNanos,
    /// Version of the daemon.
    pub version: String,
    /// What happened, newest first.
    pub changes: Vec<ChangeView>,
}
