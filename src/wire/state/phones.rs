//! Evidence of phone SLOs.

use super::super::record::Pair;
use bytes::Bytes;
use prost::Message;

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
    /// Sums by hour.
    #[prost(message, repeated, tag = "4")]
    pub hours: Vec<HourMessage>,
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

/// Counts of an hour by combination.
#[derive(Clone, PartialEq, Message)]
pub struct HourMessage {
    /// The hour's first slot.
    #[prost(uint32, tag = "1")]
    pub hour: u32,
    /// Places of the combinations in `PhoneMessage::combinations`.
    #[prost(uint32, repeated, tag = "2")]
    pub combinations: Vec<u32>,
    /// Bad events of each.
    #[prost(uint64, repeated, tag = "3")]
    pub bad: Vec<u64>,
    /// All events of each.
    #[prost(uint64, repeated, tag = "4")]
    pub total: Vec<u64>,
    /// Whether the hour is over and keeps its largest combinations only.
    #[prost(bool, tag = "5")]
    pub closed: bool,
}
