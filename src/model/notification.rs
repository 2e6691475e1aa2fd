//! Messages to people and machines about alerts, and what became of them.
//!
//! `alert/` puts them into the outbox; `notify/` delivers them and reports back.

use super::labels::Labels;
use crate::base::clock::UnixNanos;

/// A message due to one receiver. Everything needed to deliver it is inside.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Notification {
    /// Unique: incident, transition and receiver; the receiver's `Idempotency-Key` is made of it.
    pub id: String,
    /// The receiver's name.
    pub receiver: String,
    /// The incident; stable dedup key for receivers that have one.
    pub incident: String,
    /// The number of the transition within the incident.
    pub transition: u32,
    /// Firing, or resolved.
    pub resolved: bool,
    /// Whether the alert is frozen: firing, without fresh data.
    pub frozen: bool,
    /// The alert's labels.
    pub labels: Labels,
    /// Its annotations.
    pub annotations: Labels,
    /// When the incident began.
    pub starts_at: UnixNanos,
    /// When it ended.
    pub ends_at: Option<UnixNanos>,
    /// When this message was put into the outbox.
    pub created_at: UnixNanos,
    /// A page on which to read more.
    pub generator_url: String,
    /// What kind of message it is.
    pub kind: NotificationKind,
}

/// What kind of message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum NotificationKind {
    /// A transition of an alert.
    #[default]
    Transition,
    /// A repetition for receivers that forget (Alertmanager); never retried, the next one follows.
    Resend,
    /// The dead-man's switch.
    Heartbeat,
    /// `alerts test`.
    Test,
}

/// What became of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// The receiver has it.
    Delivered,
    /// Worth another try: connection error, 429, 5xx. With the receiver's own wish, if any.
    Retry {
        /// What happened.
        error: String,
        /// Not before this many seconds.
        after_seconds: Option<u64>,
    },
    /// The receiver refuses it for good.
    Refused {
        /// What it said.
        error: String,
    },
}
