//! Places in the journal.

use super::probe::names;

/// The two lanes of the journal, each with segments and a fold queue of its own, so that a flood of
/// phones delays neither a probe result nor a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Lane {
    /// Probe runs, decisions, configuration revisions. Small, never shed, its disk space reserved.
    Control,
    /// What phones send.
    Bulk,
}

names!(Lane { Control = "control", Bulk = "bulk" });

/// Where a record begins in its lane. Positions rise with the order of the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Position {
    /// Number of the segment.
    pub segment: u64,
    /// Byte offset in it.
    pub offset: u64,
}
