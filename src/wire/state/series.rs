//! Series and their values, and the last points of cumulative streams.

use super::super::record::Pair;
use bytes::Bytes;
use prost::Message;

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
    /// When its last point was received; 0 in checkpoints that did not keep it.
    #[prost(fixed64, tag = "5")]
    pub received_unix_nano: u64,
}
