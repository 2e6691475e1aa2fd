//! Signs that say with their shape what the colour says, and the levels that they stand for.
//!
//! The drawings are defined once in each document and used by reference.

use super::view::{BudgetVerdict, ChangeKind, DeliveryState};
use crate::model::objective::Severity;
use crate::model::probe::Outcome;
use maud::{Markup, html};

/// How bad something is; a colour and a shape each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// As it should be: green, a circle with a tick.
    Good,
    /// Not known, or without data: grey, a dashed circle.
    Unknown,
    /// To be looked at: amber, a triangle.
    Warning,
    /// Users suffer, somebody is paged: red, an octagon.
    Bad,
}

impl Level {
    /// The class of the style sheet, and the sign's name.
    pub(in crate::api) const fn class(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Unknown => "unknown",
            Self::Warning => "warning",
            Self::Bad => "bad",
        }
    }

    /// The level of an alert.
    pub(super) const fn of_severity(severity: Severity) -> Self {
        match severity {
            Severity::Page => Self::Bad,
            Severity::Ticket => Self::Warning,
        }
    }

    /// The level of a budget, and its word.
    pub(super) const fn of_budget(verdict: BudgetVerdict) -> (Self, &'static str) {
        match verdict {
            BudgetVerdict::Healthy => (Self::Good, "Healthy"),
            BudgetVerdict::Burning(Severity::Page) => (Self::Bad, "Paging"),
            BudgetVerdict::Burning(Severity::Ticket) => (Self::Warning, "Burning"),
            BudgetVerdict::Exhausted => (Self::Warning, "Exhausted"),
            BudgetVerdict::NoData => (Self::Unknown, "No data"),
        }
    }

    /// The level of a run, and its word.
    pub(super) const fn of_outcome(outcome: Outcome) -> (Self, &'static str) {
        match outcome {
            Outcome::Success => (Self::Good, "Passed"),
            Outcome::Failure => (Self::Bad, "Failed"),
            Outcome::Timeout => (Self::Bad, "Timed out"),
            Outcome::Overlapped => (Self::Bad, "Overlapped"),
            Outcome::Missed => (Self::Unknown, "Missed"),
        }
    }

    /// The level of a delivery, and its word.
    pub(super) const fn of_delivery(state: DeliveryState) -> (Self, &'static str) {
        match state {
            DeliveryState::Pending => (Self::Unknown, "Pending"),
            DeliveryState::Delivered => (Self::Good, "Delivered"),
            DeliveryState::Refused => (Self::Bad, "Refused"),
            DeliveryState::Expired => (Self::Bad, "Given up"),
        }
    }

    /// The level of a change, and its word; most changes are neither good nor bad.
    pub(super) const fn of_change(kind: ChangeKind) -> (Option<Self>, &'static str) {
        match kind {
            ChangeKind::Fired(severity) => (Some(Self::of_severity(severity)), "Fired"),
            ChangeKind::Resolved => (Some(Self::Good), "Resolved"),
            ChangeKind::Frozen => (Some(Self::Unknown), "Frozen"),
            ChangeKind::Acknowledged => (None, "Acknowledged"),
            ChangeKind::Silence => (None, "Silence"),
            ChangeKind::Reload => (None, "Reload"),
            ChangeKind::Refused => (Some(Self::Warning), "Refused"),
            ChangeKind::Release => (None, "Release"),
            ChangeKind::LateData => (None, "Late data"),
            ChangeKind::Gap => (Some(Self::Warning), "Gap"),
            ChangeKind::Started => (None, "Started"),
        }
    }
}

/// The sign of a level; words beside it say the same, so it is silent.
pub(super) fn sign(level: Level) -> Markup {
    html! {
        svg class={ "sign " (level.class()) } aria-hidden="true" { use href={ "#" (level.class()) } {} }
    }
}

/// A sign and its word.
pub(super) fn state(level: Level, word: &str) -> Markup {
    html! {
        span class={ "state " (level.class()) } {
            svg .sign aria-hidden="true" { use href={ "#" (level.class()) } {} }
            (word)
        }
    }
}

/// A kind of change: a word, and a sign if it is good or bad.
pub(super) fn change(kind: ChangeKind) -> Markup {
    match Level::of_change(kind) {
        (Some(level), word) => state(level, word),
        (None, word) => html! { span .state .plain { (word) } },
    }
}

/// What all drawings of a document refer to: signs, and the hatches of failed and missing data.
pub(super) fn definitions() -> Markup {
    html! {
        svg .definitions width="0" height="0" aria-hidden="true" focusable="false" {
            symbol id="good" viewBox="0 0 16 16" {
                circle cx="8" cy="8" r="7" fill="currentColor" {}
                path class="cut" d="M4.7 8.3l2.3 2.3 4.4-4.9" {}
            }
            symbol id="unknown" viewBox="0 0 16 16" {
                circle cx="8" cy="8" r="6.2" fill="none" stroke="currentColor" stroke-width="1.6" stroke-dasharray="2.6 2.27" {}
                path d="M5.5 8h5" stroke="currentColor" stroke-width="1.6" {}
            }
            symbol id="warning" viewBox="0 0 16 16" {
                path d="M8 1.2 15.4 14.6H.6z" fill="currentColor" {}
                path class="cut" d="M8 6v4.2M8 11.6v1.6" {}
            }
            symbol id="bad" viewBox="0 0 16 16" {
                path d="M5.1 1h5.8L15 5.1v5.8L10.9 15H5.1L1 10.9V5.1z" fill="currentColor" {}
                path class="cut" d="M8 4.2v4.6M8 10.3v1.7" {}
            }
            pattern id="hatch" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)" {
                rect class="bad" width="6" height="6" {}
                path class="cut" d="M0 0v6" {}
            }
            pattern id="dots" width="4" height="4" patternUnits="userSpaceOnUse" {
                rect class="unknown" x="1" y="1" width="1.2" height="1.2" {}
            }
        }
    }
}
