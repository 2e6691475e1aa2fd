//! Counts of indicators, the ledger of items, what late data changed, and releases.

use bytes::Bytes;
use prost::Message;

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
