//! The state that a checkpoint keeps, as protobuf. Format 2; a field is never reused.
//!
//! Each read model converts itself to and from these messages beside its own code; this folder is
//! only the layout, a file a subject.
//!
//! - Format 1 kept the hashes of items seen in the checkpoint itself (field 8). A checkpoint of it is
//!   read without them: duplicates of what came before are not recognised then.
//! - Format 2 keeps them in files beside the checkpoint (`store::dedupe_files`) and here only what
//!   tells whether those are whole.

mod alerts;
mod counts;
mod dedupe;
mod phones;
mod series;

pub use alerts::{
    AlertsMessage, ChangeMessage, DeliveryMessage, IncidentMessage, NotificationMessage,
};
pub use counts::{ChunkMessage, IndicatorMessage, LateMessage, LedgerMessage, ReleaseMessage};
pub use dedupe::{DedupeMessage, GenerationMessage};
pub use phones::{CombinationMessage, HourMessage, PhoneMessage, SpanMessage};
pub use series::{
    ExplicitMessage, HistogramMessage, SeriesMessage, SlotMessage, StreamMessage, ValueMessage,
};

use super::record::IntentRecord;
use bytes::Bytes;
use prost::Message;

/// The version that this build writes and the highest that it reads.
pub const VERSION: u32 = 2;

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
    /// Cumulative streams.
    #[prost(message, repeated, tag = "9")]
    pub streams: Vec<StreamMessage>,
    /// When tracking of streams began, and the newest start of those forgotten; 0 for none.
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
    /// Items whose time lay more than ten minutes ahead.
    #[prost(uint64, tag = "17")]
    pub skewed_items: u64,
    /// What is known of items seen; they themselves are in files of their own.
    #[prost(message, optional, tag = "18")]
    pub dedupe: Option<DedupeMessage>,
    /// End of the newest probe run; 0 for none.
    #[prost(fixed64, tag = "19")]
    pub newest_run_unix_nano: u64,
    /// Receipt of the newest item of phones; 0 for none.
    #[prost(fixed64, tag = "20")]
    pub newest_item_unix_nano: u64,
    /// Probe runs that were announced and have not ended.
    #[prost(message, repeated, tag = "21")]
    pub intents: Vec<IntentRecord>,
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
