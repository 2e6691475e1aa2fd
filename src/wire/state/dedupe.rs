//! What the checkpoint says about the items seen; the items are in `store::dedupe_files`.

use bytes::Bytes;
use prost::Message;

/// The recogniser of duplicates, apart from its hashes.
#[derive(Clone, PartialEq, Message)]
pub struct DedupeMessage {
    /// Generations of exact hashes that were in use.
    #[prost(message, repeated, tag = "1")]
    pub generations: Vec<GenerationMessage>,
    /// Fingerprints that the filters held.
    #[prost(uint64, tag = "2")]
    pub fingerprints: u64,
    /// The first slice of event time whose filter was not dropped for want of memory.
    #[prost(uint32, tag = "3")]
    pub floor: u32,
    /// Receipt from which on the exact hashes are complete.
    #[prost(fixed64, tag = "4")]
    pub exact_since: u64,
    /// When hashes were last lost; 0 for never.
    #[prost(fixed64, tag = "5")]
    pub lost_at: u64,
    /// Items that a filter called duplicates.
    #[prost(uint64, tag = "6")]
    pub filtered: u64,
    /// How many of those are expected to be new ones.
    #[prost(double, tag = "7")]
    pub expected_false: f64,
    /// The secret by which hashes are spread, 16 bytes, big-endian.
    #[prost(bytes = "bytes", tag = "8")]
    pub key: Bytes,
}

/// A generation of exact hashes.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct GenerationMessage {
    /// Its id.
    #[prost(uint64, tag = "1")]
    pub id: u64,
    /// How many hashes it held.
    #[prost(uint64, tag = "2")]
    pub items: u64,
}
