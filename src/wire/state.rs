//! The state that a checkpoint keeps, as protobuf. Format 1; a field is never reused.
//!
//! Each read model converts itself to and from these messages beside its own code; this file is
//! only the layout.

use super::record::{Pair, SilenceRecord};
use bytes::Bytes;
use prost::Message;

/// The version that this build writes and the highest that it reads.
pub const VERSION: u32 = 1;

/// A whole checkpoint.
#[derive(Clone, PartialEq, Message)]
pub struct CheckpointState {
    /// Format version.
    #[prost(uint32, tag = "1")]
    pub version: u32,
    /// Its number; blocks of history of later epochs do not count.
    #[prost(uint64, tag = "2")]
    pub epoch: u64,
    /// When it was made.
    #[prost(fixed64, tag = "3")]
    pub at_unix_nano: u64,
    /// From where the control lane is to be replayed.
    #[prost(message, optional, tag = "4")]
    pub control: Option<PositionState>,
    /// From where the bulk lane is to be replayed.
    #[prost(message, optional, tag = "5")]
    pub bulk: Option<PositionState>,
    /// Counts of indicators.
    #[prost(message, repeated, tag = "6")]
    pub indicators: Vec<IndicatorMessage>,
    /// Live series.
    #[prost(message, repeated, tag = "7")]
    pub series: Vec<SeriesMessage>,
    /// Hashes of items seen.
    #[prost(message, repeated, tag = "8")]
    pub dedupe: Vec<GenerationMessage>,
    /// Cumulative streams.
    #[prost(message, repeated, tag = "9")]
    pub streams: Vec<StreamMessage>,
    /// When tracking of streams began, and when some were last forgotten; 0 for never.
    #[prost(fixed64, repeated, tag = "10")]
    pub stream_marks: Vec<u64>,
    /// Items by app, signal and outcome.
    #[prost(message, repeated, tag = "11")]
    pub ledger: Vec<LedgerMessage>,
    /// Changes by late data.
    #[prost(message, repeated, tag = "12")]
    pub late: Vec<LateMessage>,
    /// Releases seen.
    #[prost(message, repeated, tag = "13")]
    pub releases: Vec<ReleaseMessage>,
    /// Probe runs kept as evidence, each an `ExportTraceServiceRequest`.
    #[prost(bytes = "bytes", repeated, tag = "14")]
    pub runs: Vec<Bytes>,
    /// Evidence of phone SLOs.
    #[prost(message, repeated, tag = "15")]
    pub phones: Vec<PhoneMessage>,
    /// Alerts.
    #[prost(message, optional, tag = "16")]
    pub alerts: Option<AlertsMessage>,
    /// The secret with which identities are hashed is not here: it has a file of its own.
    #[prost(uint64, tag = "17")]
    pub skewed_items: u64,
}

/// A place in a lane.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct PositionState {
    /// Segment.
    #[prost(uint64, tag = "1")]
    pub segment: u64,
    /// Offset.
    #[prost(uint64, tag = "2")]
    pub offset: u64,
}

/// Counts of an indicator.
#[derive(Clone, PartialEq, Message)]
pub struct IndicatorMessage {
    /// 16 bytes, big-endian.
    #[prost(bytes = "bytes", tag = "1")]
    pub id: Bytes,
    /// The slot from which it counts.
    #[prost(uint32, tag = "2")]
    pub since: u32,
    /// The last slot with something in it.
    #[prost(uint32, optional, tag = "3")]
    pub last: Option<u32>,
    /// Packed hours.
    #[prost(message, repeated, tag = "4")]
    pub fine: Vec<ChunkMessage>,
    /// Packed days.
    #[prost(message, repeated, tag = "5")]
    pub coarse: Vec<ChunkMessage>,
    /// Bad events ever counted.
    #[prost(uint64, tag = "6")]
    pub all_bad: u64,
    /// Events ever counted.
    #[prost(uint64, tag = "7")]
    pub all_total: u64,
}

/// Packed slots.
#[derive(Clone, PartialEq, Message)]
pub struct ChunkMessage {
    /// Number of the chunk.
    #[prost(uint32, tag = "1")]
    pub number: u32,
    /// See `store::counts::chunk`.
    #[prost(bytes = "bytes", tag = "2")]
    pub packed: Bytes,
}

/// A live series.
#[derive(Clone, PartialEq, Message)]
pub struct SeriesMessage {
    /// Name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Labels.
    #[prost(message, repeated, tag = "2")]
    pub labels: Vec<Pair>,
    /// Everything since it was first seen.
    #[prost(message, optional, tag = "3")]
    pub total: Option<ValueMessage>,
    /// Last slot written to.
    #[prost(uint32, tag = "4")]
    pub touched: u32,
    /// Slots not yet in history.
    #[prost(message, repeated, tag = "5")]
    pub open: Vec<SlotMessage>,
}

/// A slot's value.
#[derive(Clone, PartialEq, Message)]
pub struct SlotMessage {
    /// The slot.
    #[prost(uint32, tag = "1")]
    pub slot: u32,
    /// Its value.
    #[prost(message, optional, tag = "2")]
    pub value: Option<ValueMessage>,
}

/// A value: exactly one field is set.
#[derive(Clone, PartialEq, Message)]
pub struct ValueMessage {
    /// A counter in nano-units, 16 bytes big-endian without leading zeros.
    #[prost(bytes = "bytes", optional, tag = "1")]
    pub counter: Option<Bytes>,
    /// A gauge.
    #[prost(double, optional, tag = "2")]
    pub gauge: Option<f64>,
    /// An exponential histogram.
    #[prost(message, optional, tag = "3")]
    pub histogram: Option<HistogramMessage>,
    /// A histogram with its own bounds.
    #[prost(message, optional, tag = "4")]
    pub explicit: Option<ExplicitMessage>,
}

/// An exponential histogram at scale 3.
#[derive(Clone, PartialEq, Message)]
pub struct HistogramMessage {
    /// Values.
    #[prost(uint64, tag = "1")]
    pub count: u64,
    /// Sum in nano-units, 16 bytes big-endian two's complement.
    #[prost(bytes = "bytes", tag = "2")]
    pub sum: Bytes,
    /// Zeros.
    #[prost(uint64, tag = "3")]
    pub zero: u64,
    /// Bucket indexes.
    #[prost(sint32, repeated, tag = "4")]
    pub indexes: Vec<i32>,
    /// Their counts.
    #[prost(uint64, repeated, tag = "5")]
    pub counts: Vec<u64>,
}

/// A histogram with its own bounds.
#[derive(Clone, PartialEq, Message)]
pub struct ExplicitMessage {
    /// Bounds.
    #[prost(double, repeated, tag = "1")]
    pub bounds: Vec<f64>,
    /// Counts.
    #[prost(uint64, repeated, tag = "2")]
    pub counts: Vec<u64>,
    /// Sum in nano-units, 16 bytes big-endian two's complement.
    #[prost(bytes = "bytes", tag = "3")]
    pub sum: Bytes,
}

/// A generation of item hashes.
#[derive(Clone, PartialEq, Message)]
pub struct GenerationMessage {
    /// Its number.
    #[prost(uint64, tag = "1")]
    pub number: u64,
    /// 16 bytes each.
    #[prost(bytes = "bytes", tag = "2")]
    pub items: Bytes,
}

/// A cumulative stream's last point.
#[derive(Clone, PartialEq, Message)]
pub struct StreamMessage {
    /// 16 bytes.
    #[prost(bytes = "bytes", tag = "1")]
    pub id: Bytes,
    /// When its count began.
    #[prost(fixed64, tag = "2")]
    pub start_unix_nano: u64,
    /// The point's time.
    #[prost(fixed64, tag = "3")]
    pub time_unix_nano: u64,
    /// The point's value.
    #[prost(message, optional, tag = "4")]
    pub value: Option<ValueMessage>,
}

/// A line of the ledger.
#[derive(Clone, PartialEq, Message)]
pub struct LedgerMessage {
    /// App.
    #[prost(string, tag = "1")]
    pub app: String,
    /// Signal.
    #[prost(string, tag = "2")]
    pub signal: String,
    /// Outcome.
    #[prost(string, tag = "3")]
    pub outcome: String,
    /// Items.
    #[prost(uint64, tag = "4")]
    pub items: u64,
}

/// A change by late data.
#[derive(Clone, PartialEq, Message)]
pub struct LateMessage {
    /// Indicator, 16 bytes.
    #[prost(bytes = "bytes", tag = "1")]
    pub indicator: Bytes,
    /// Hour of receipt.
    #[prost(uint32, tag = "2")]
    pub received_hour: u32,
    /// Hour that it changed.
    #[prost(uint32, tag = "3")]
    pub event_hour: u32,
    /// Bad events.
    #[prost(uint64, tag = "4")]
    pub bad: u64,
    /// All events.
    #[prost(uint64, tag = "5")]
    pub total: u64,
}

/// A release and when it was first seen.
#[derive(Clone, PartialEq, Message)]
pub struct ReleaseMessage {
    /// App.
    #[prost(string, tag = "1")]
    pub app: String,
    /// Version.
    #[prost(string, tag = "2")]
    pub version: String,
    /// First seen.
    #[prost(fixed64, tag = "3")]
    pub at_unix_nano: u64,
}

/// Evidence of a phone SLO.
#[derive(Clone, PartialEq, Message)]
pub struct PhoneMessage {
    /// Indicator, 16 bytes.
    #[prost(bytes = "bytes", tag = "1")]
    pub indicator: Bytes,
    /// Worst spans.
    #[prost(message, repeated, tag = "2")]
    pub worst: Vec<SpanMessage>,
    /// Combinations by minute.
    #[prost(message, repeated, tag = "3")]
    pub combinations: Vec<CombinationMessage>,
}

/// A span kept as evidence.
#[derive(Clone, PartialEq, Message)]
pub struct SpanMessage {
    /// The ten minutes in which it counts.
    #[prost(uint32, tag = "1")]
    pub slot: u32,
    /// Hex.
    #[prost(string, tag = "2")]
    pub trace_id: String,
    /// Hex.
    #[prost(string, tag = "3")]
    pub span_id: String,
    /// Name.
    #[prost(string, tag = "4")]
    pub name: String,
    /// When it happened.
    #[prost(fixed64, tag = "5")]
    pub at_unix_nano: u64,
    /// How long it took.
    #[prost(uint64, tag = "6")]
    pub duration_ns: u64,
    /// Whether it failed.
    #[prost(bool, tag = "7")]
    pub failed: bool,
    /// Attributes.
    #[prost(message, repeated, tag = "8")]
    pub attributes: Vec<Pair>,
}

/// Counts of a combination of dimensions.
#[derive(Clone, PartialEq, Message)]
pub struct CombinationMessage {
    /// Values in the order of `model::evidence::DIMENSIONS`.
    #[prost(string, repeated, tag = "1")]
    pub values: Vec<String>,
    /// Minutes.
    #[prost(uint32, repeated, tag = "2")]
    pub slots: Vec<u32>,
    /// Bad events of each.
    #[prost(uint64, repeated, tag = "3")]
    pub bad: Vec<u64>,
    /// All events of each.
    #[prost(uint64, repeated, tag = "4")]
    pub total: Vec<u64>,
}

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
