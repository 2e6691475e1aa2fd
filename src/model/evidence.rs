//! What numbers link to: runs of probes and spans of phones that show the case.

use super::labels::Labels;
use crate::base::clock::UnixNanos;

/// A span kept as an example of what an SLO calls bad.
#[derive(Clone, Debug, PartialEq)]
pub struct SpanEvidence {
    /// Hex trace id; empty when the item had none.
    pub trace_id: String,
    /// Hex span id.
    pub span_id: String,
    /// The span's or event's name.
    pub name: String,
    /// When it happened.
    pub at: UnixNanos,
    /// How long it took.
    pub duration_ns: u64,
    /// Whether it failed.
    pub failed: bool,
    /// Attributes as journaled, resource included.
    pub attributes: Labels,
}

/// The dimensions over which a phone SLO is broken down.
pub const DIMENSIONS: [&str; 4] =
    ["service.version", "os.name", "network.connection.type", "region"];

/// Values of [`DIMENSIONS`], in that order; empty where the item had none.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Combination(pub [Box<str>; 4]);
