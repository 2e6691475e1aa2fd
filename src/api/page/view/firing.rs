//! An alert that is not over.

use crate::base::clock::UnixNanos;
use crate::model::alert::AlertState;
use crate::model::objective::Severity;
use std::time::Duration;

use super::Exhaustion;

/// An alert that fires or is frozen.
#[derive(Clone, Debug, PartialEq)]
pub struct FiringView {
    /// Id of the incident.
    pub incident: String,
    /// `alertname`: the SLO, or one of the daemon's own.
    pub name: String,
    /// Whether there is an SLO of that name to link to.
    pub is_slo: bool,
    /// Page or ticket.
    pub severity: Severity,
    /// Firing or frozen.
    pub state: AlertState,
    /// What a tired person reads: one sentence that says what, since when and why.
    pub summary: String,
    /// When the incident began.
    pub since: UnixNanos,
    /// Who answers for it.
    pub owner: Option<String>,
    /// Where to read what to do.
    pub runbook: Option<String>,
    /// Which users are concerned, in a few words: "app 4.2.0 on cellular".
    pub affected: Option<String>,
    /// What explains it, best first.
    pub explanation: Vec<Factor>,
    /// The share of the budget that is left; below 0 when overspent.
    pub budget_left: Option<f64>,
    /// When the budget will be gone.
    pub exhaustion: Exhaustion,
    /// How fast it burns, in the long window of the pair that fired.
    pub burn: Option<f64>,
    /// The pair that fired, `1h/5m`.
    pub pair: Option<String>,
    /// Share of good events over the time before `now`, equal steps, oldest first.
    pub recent: Vec<Option<f64>>,
    /// How much time `recent` covers.
    pub recent_span: Duration,
    /// The objective, drawn into `recent`.
    pub objective: Option<f64>,
    /// Who has it, and since when.
    pub acknowledged: Option<(String, UnixNanos)>,
    /// The silence that keeps it from being notified.
    pub silenced: Option<SilencedView>,
    /// Since when data is missing.
    pub frozen_since: Option<UnixNanos>,
    /// Who was told: receivers that have the last notification.
    pub told: Vec<String>,
    /// Receivers that should have it and do not.
    pub not_told: Vec<String>,
}

/// The silence over an alert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SilencedView {
    /// Who made it.
    pub by: String,
    /// Why.
    pub comment: String,
    /// Until when.
    pub until: UnixNanos,
}

/// A part of the traffic that explains bad events.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Factor {
    /// Dimension and value, all of which hold: `service.version`, `4.2.0`.
    pub values: Vec<(String, String)>,
    /// Its share of the bad events, 0..=1.
    pub share_of_bad: f64,
    /// Its share of all events, 0..=1.
    pub share_of_traffic: f64,
}
