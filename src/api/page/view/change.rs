//! What a page shows of things that happened lately: alerts, reloads, releases, late data.

use crate::base::clock::UnixNanos;
use crate::model::objective::Severity;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangeView {
    /// When.
    pub at: UnixNanos,
    /// What kind of thing.
    pub kind: ChangeKind,
    /// In words.
    pub text: String,
    /// Path on this server where to read more, `/incidents/…`.
    pub link: Option<String>,
}

/// Kinds of things that happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// An alert of this severity began to fire.
    Fired(Severity),
    /// An alert was resolved.
    Resolved,
    /// Data went missing under a firing alert.
    Frozen,
    /// Somebody has an incident.
    Acknowledged,
    /// A silence began or ended.
    Silence,
    /// A configuration came into force.
    Reload,
    /// A configuration was refused.
    Refused,
    /// A version of an app was seen for the first time.
    Release,
    /// Late data changed budgets.
    LateData,
    /// Data is missing for good.
    Gap,
    /// The daemon started.
    Started,
}
