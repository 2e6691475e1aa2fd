//! Incidents, silences, the outbox and what became of it.

use super::super::record::{Pair, SilenceRecord};
use prost::Message;

/// Everything about alerts.
#[derive(Clone, PartialEq, Message)]
pub struct AlertsMessage {
    /// Firing and frozen ones.
    #[prost(message, repeated, tag = "1")]
    pub active: Vec<IncidentMessage>,
    /// Ended ones.
    #[prost(message, repeated, tag = "2")]
    pub ended: Vec<IncidentMessage>,
    /// What changed.
    #[prost(message, repeated, tag = "3")]
    pub changes: Vec<ChangeMessage>,
    /// Silences.
    #[prost(message, repeated, tag = "4")]
    pub silences: Vec<SilenceRecord>,
    /// Notifications that are due.
    #[prost(message, repeated, tag = "5")]
    pub pending: Vec<NotificationMessage>,
    /// What became of earlier ones.
    #[prost(message, repeated, tag = "6")]
    pub deliveries: Vec<DeliveryMessage>,
}

/// An incident.
#[derive(Clone, PartialEq, Message)]
pub struct IncidentMessage {
    /// Alert.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Severity.
    #[prost(string, tag = "2")]
    pub severity: String,
    /// Id.
    #[prost(string, tag = "3")]
    pub id: String,
    /// State.
    #[prost(string, tag = "4")]
    pub state: String,
    /// Cause.
    #[prost(string, tag = "5")]
    pub cause: String,
    /// Began.
    #[prost(fixed64, tag = "6")]
    pub started_at: u64,
    /// Last moved.
    #[prost(fixed64, tag = "7")]
    pub changed_at: u64,
    /// Ended; 0 for not.
    #[prost(fixed64, tag = "8")]
    pub ended_at: u64,
    /// Frozen since; 0 for not.
    #[prost(fixed64, tag = "9")]
    pub frozen_since: u64,
    /// Labels.
    #[prost(message, repeated, tag = "10")]
    pub labels: Vec<Pair>,
    /// Annotations.
    #[prost(message, repeated, tag = "11")]
    pub annotations: Vec<Pair>,
    /// Transitions made.
    #[prost(uint32, tag = "12")]
    pub transitions: u32,
    /// Who has it; empty for nobody.
    #[prost(string, tag = "13")]
    pub acknowledged_by: String,
    /// Since when.
    #[prost(fixed64, tag = "14")]
    pub acknowledged_at: u64,
    /// Receivers that were told.
    #[prost(string, repeated, tag = "15")]
    pub notified: Vec<String>,
    /// When each was last told.
    #[prost(fixed64, repeated, tag = "16")]
    pub notified_at: Vec<u64>,
}

/// A line of what changed.
#[derive(Clone, PartialEq, Message)]
pub struct ChangeMessage {
    /// When.
    #[prost(fixed64, tag = "1")]
    pub at_unix_nano: u64,
    /// Incident.
    #[prost(string, tag = "2")]
    pub incident: String,
    /// Alert.
    #[prost(string, tag = "3")]
    pub name: String,
    /// Severity.
    #[prost(string, tag = "4")]
    pub severity: String,
    /// Into which state.
    #[prost(string, tag = "5")]
    pub to: String,
    /// Why.
    #[prost(string, tag = "6")]
    pub cause: String,
    /// What it said.
    #[prost(string, tag = "7")]
    pub summary: String,
}

/// A notification that is due.
#[derive(Clone, PartialEq, Message)]
pub struct NotificationMessage {
    /// Id.
    #[prost(string, tag = "1")]
    pub id: String,
    /// Receiver.
    #[prost(string, tag = "2")]
    pub receiver: String,
    /// Incident.
    #[prost(string, tag = "3")]
    pub incident: String,
    /// Number of the transition.
    #[prost(uint32, tag = "4")]
    pub transition: u32,
    /// Resolved.
    #[prost(bool, tag = "5")]
    pub resolved: bool,
    /// Frozen.
    #[prost(bool, tag = "6")]
    pub frozen: bool,
    /// Labels.
    #[prost(message, repeated, tag = "7")]
    pub labels: Vec<Pair>,
    /// Annotations.
    #[prost(message, repeated, tag = "8")]
    pub annotations: Vec<Pair>,
    /// Began.
    #[prost(fixed64, tag = "9")]
    pub starts_at: u64,
    /// Ended; 0 for not.
    #[prost(fixed64, tag = "10")]
    pub ends_at: u64,
    /// When it became due.
    #[prost(fixed64, tag = "11")]
    pub created_at: u64,
    /// Page to read more.
    #[prost(string, tag = "12")]
    pub generator_url: String,
}

/// What became of a notification.
#[derive(Clone, PartialEq, Message)]
pub struct DeliveryMessage {
    /// Notification.
    #[prost(string, tag = "1")]
    pub notification: String,
    /// Incident.
    #[prost(string, tag = "2")]
    pub incident: String,
    /// Receiver.
    #[prost(string, tag = "3")]
    pub receiver: String,
    /// When.
    #[prost(fixed64, tag = "4")]
    pub at_unix_nano: u64,
    /// Outcome.
    #[prost(string, tag = "5")]
    pub outcome: String,
    /// Error.
    #[prost(string, tag = "6")]
    pub error: String,
    /// Attempts.
    #[prost(uint32, tag = "7")]
    pub attempts: u32,
}
