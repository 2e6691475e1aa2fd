//! Alerts: their identity, their life, and the decisions that move them.
//!
//! Decided by `alert/`, journaled as records, applied by the fold. One alert per SLO and severity;
//! an *incident* is one life of an alert, from firing to resolved.

use super::labels::Labels;
use super::objective::Severity;
use super::position::Position;
use super::probe::names;
use crate::base::clock::UnixNanos;

/// Which alert. The same over restarts, reloads and incidents.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AlertKey {
    /// `alertname`: the SLO's name, or one of the daemon's own.
    pub name: String,
    /// Page or ticket.
    pub severity: Severity,
}

/// Where an alert stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum AlertState {
    /// The condition holds.
    #[default]
    Firing,
    /// It held, but data is missing now: neither confirmed nor resolved.
    Frozen,
    /// It no longer holds.
    Resolved,
}

names!(AlertState { Firing = "firing", Frozen = "frozen", Resolved = "resolved" });

/// Why an alert moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// A pair of windows burns too fast.
    Burn,
    /// The short window is quiet again.
    Recovered,
    /// Data is missing.
    NoData,
    /// Data came back and the condition still holds.
    DataBack,
    /// The SLO was removed or now counts something else.
    Removed,
    /// A person closed it.
    Closed,
    /// Something is wrong with the daemon itself.
    Internal,
    /// A silence that held its notifications back is over.
    Unsilenced,
    /// It still fires, and its route wants to be told again.
    Repeated,
}

names!(Cause {
    Burn = "burn",
    Recovered = "recovered",
    NoData = "no_data",
    DataBack = "data_back",
    Removed = "removed",
    Closed = "closed",
    Internal = "internal",
    Unsilenced = "unsilenced",
    Repeated = "repeated",
});

/// A transition as decided: journaled first, then state.
#[derive(Clone, Debug, PartialEq)]
pub struct Transition {
    /// Which alert.
    pub key: AlertKey,
    /// Into which state; the same as before when only notifications are due.
    pub to: AlertState,
    /// Why.
    pub cause: Cause,
    /// The `now` from which it was decided.
    pub at: UnixNanos,
    /// The incident; new for a firing out of nothing.
    pub incident: String,
    /// Labels of the alert, alertname and severity among them.
    pub labels: Labels,
    /// Words and figures for people: summary, pair, burn rates, explanation.
    pub annotations: Labels,
    /// Position of the control lane up to which counts were folded when it was decided.
    pub decided_at: Position,
    /// Receivers to notify, as routed and not silenced when it was decided.
    pub receivers: Vec<String>,
}

/// One life of an alert.
#[derive(Clone, Debug, PartialEq)]
pub struct Incident {
    /// Which alert.
    pub key: AlertKey,
    /// Stable id: dedup key of every notification.
    pub id: String,
    /// Where it stands.
    pub state: AlertState,
    /// When it began to fire.
    pub started_at: UnixNanos,
    /// The last transition.
    pub changed_at: UnixNanos,
    /// When it resolved.
    pub ended_at: Option<UnixNanos>,
    /// Since when it is frozen.
    pub frozen_since: Option<UnixNanos>,
    /// Labels.
    pub labels: Labels,
    /// Annotations as of the last transition.
    pub annotations: Labels,
    /// Why it last moved.
    pub cause: Cause,
    /// How many transitions it has made: with the id the key of a notification.
    pub transitions: u32,
    /// Who said "I have it", and when.
    pub acknowledged: Option<(String, UnixNanos)>,
    /// Receivers that were told that it fires, each with when it was last told.
    pub notified: Vec<(String, UnixNanos)>,
}

/// Alerts that match all matchers are not notified between start and end.
#[derive(Clone, Debug)]
pub struct Silence {
    /// Random, given at creation.
    pub id: String,
    /// All of them must match.
    pub matchers: Vec<super::matcher::LabelMatcher>,
    /// From when.
    pub starts_at: UnixNanos,
    /// Until when.
    pub ends_at: UnixNanos,
    /// Who.
    pub created_by: String,
    /// Why.
    pub comment: String,
}

impl Silence {
    /// Whether it is in force and concerns these labels.
    #[must_use]
    pub fn mutes(&self, labels: &Labels, now: UnixNanos) -> bool {
        self.starts_at <= now
            && now < self.ends_at
            && self.matchers.iter().all(|m| m.matches(labels))
    }
}
