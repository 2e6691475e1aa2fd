//! What the writer thread, the readers and the callers of one lane share.

use super::JournalError;
use super::format::HEADER_BYTES;
use super::lane_files::{FIRST_SEGMENT, LaneFiles};
use super::queue::Queue;
use super::retention::Limits;
use crate::base::clock::UnixNanos;
use crate::base::error::Chain;
use crate::model::position::{Lane, Position};
use crate::telemetry::Telemetry;
use parking_lot::Mutex;
use prometheus::{Histogram, IntCounter, IntGauge};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tracing::error;

/// One lane.
#[derive(Debug)]
pub(super) struct LaneState {
    pub files: LaneFiles,
    pub queue: Queue,
    pub segments: Mutex<Segments>,
    pub limits: Limits,
    pub metrics: Metrics,
    /// Held while segments are removed, so that they go one by one, oldest first.
    pub removing: Mutex<()>,
    pub dropped_bytes: AtomicU64,
    pub torn_bytes: u64,
    poisoned: AtomicBool,
}

/// The segments of a lane, oldest first, and the place up to which they are durable.
#[derive(Debug, Default)]
pub(super) struct Segments {
    pub list: VecDeque<Segment>,
    pub tail: Position,
    /// Everything before is in a checkpoint.
    pub released: Position,
    /// Bytes claimed ahead.
    pub reserve_bytes: u64,
    segment_bytes: u64,
}

/// One segment file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    pub number: u64,
    pub created_at: UnixNanos,
    pub bytes: u64,
}

/// The metrics of one lane.
#[derive(Debug)]
pub(super) struct Metrics {
    pub appended_bytes: IntCounter,
    pub appended_records: IntCounter,
    pub commit_duration: Histogram,
    pub disk_bytes: IntGauge,
    pub dropped_bytes: IntCounter,
    pub poisoned: IntGauge,
    queue_records: IntGauge,
    queue_bytes: IntGauge,
    torn_bytes: IntCounter,
}

// === impl LaneState ===

impl LaneState {
    pub(super) fn new(
        files: LaneFiles,
        segments: Segments,
        limits: Limits,
        torn_bytes: u64,
        telemetry: &Telemetry,
    ) -> Self {
        let metrics = Metrics::of(files.lane, telemetry);
        metrics.poisoned.set(0);
        metrics.torn_bytes.inc_by(torn_bytes);
        let state = Self {
            files,
            queue: Queue::new(),
            segments: Mutex::new(segments),
            limits,
            metrics,
            removing: Mutex::new(()),
            dropped_bytes: AtomicU64::new(0),
            torn_bytes,
            poisoned: AtomicBool::new(false),
        };
        state.show_disk_bytes();
        state
    }

    pub(super) fn is_poisoned(&self) -> bool {
        self.poisoned.load(Ordering::Acquire)
    }

    /// Ends the lane: nothing more is written or acknowledged.
    pub(super) fn poison(&self, reason: Option<&JournalError>) {
        // The flag before the queue closes, or a caller could take the one for the other.
        self.poisoned.store(true, Ordering::Release);
        self.metrics.poisoned.set(1);
        let lane = self.files.lane.as_str();
        match reason {
            Some(reason) => error!(lane, error = %Chain(reason), "journal lane is poisoned"),
            None => error!(lane, "journal lane is poisoned: its writer thread ended"),
        }
        self.queue.close();
    }

    /// Shows how much waits in the queue.
    pub(super) fn show_queue(&self) {
        let gauge = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.metrics.queue_records.set(gauge(self.queue.claimed_records()));
        self.metrics.queue_bytes.set(gauge(self.queue.claimed_bytes()));
    }

    pub(super) fn show_disk_bytes(&self) {
        let bytes = self.segments.lock().disk_bytes();
        self.metrics.disk_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }
}

// === impl Segments ===

impl Segments {
    /// Appends a newer segment.
    pub(super) fn push(&mut self, segment: Segment) {
        self.segment_bytes = self.segment_bytes.saturating_add(segment.bytes);
        self.list.push_back(segment);
    }

    /// Removes the oldest segment.
    pub(super) fn pop_oldest(&mut self) -> Option<Segment> {
        let segment = self.list.pop_front()?;
        self.segment_bytes = self.segment_bytes.saturating_sub(segment.bytes);
        Some(segment)
    }

    /// Removes the newest segment.
    pub(super) fn pop_newest(&mut self) -> Option<Segment> {
        let segment = self.list.pop_back()?;
        self.segment_bytes = self.segment_bytes.saturating_sub(segment.bytes);
        Some(segment)
    }

    /// Notes the length of the newest segment's file.
    pub(super) fn resize_newest(&mut self, bytes: u64) {
        if let Some(newest) = self.list.back_mut() {
            self.segment_bytes = self.segment_bytes.saturating_sub(newest.bytes);
            self.segment_bytes = self.segment_bytes.saturating_add(bytes);
            newest.bytes = bytes;
        }
    }

    /// The oldest segment whose number is at least that.
    pub(super) fn at_or_after(&self, number: u64) -> Option<Segment> {
        let index = self.list.partition_point(|segment| segment.number < number);
        self.list.get(index).copied()
    }

    /// Where the oldest record begins, or will.
    pub(super) fn first(&self) -> Position {
        let segment = self.list.front().map_or(FIRST_SEGMENT, |oldest| oldest.number);
        Position { segment, offset: HEADER_BYTES }
    }

    /// Bytes of all files of the lane.
    pub(super) fn disk_bytes(&self) -> u64 {
        self.segment_bytes.saturating_add(self.reserve_bytes)
    }
}

// === impl Metrics ===

impl Metrics {
    fn of(lane: Lane, telemetry: &Telemetry) -> Self {
        let label = &[lane.as_str()];
        Self {
            appended_bytes: telemetry.journal_appended_bytes_total.with_label_values(label),
            appended_records: telemetry.journal_appended_records_total.with_label_values(label),
            commit_duration: telemetry.journal_commit_duration_seconds.with_label_values(label),
            disk_bytes: telemetry.journal_disk_bytes.with_label_values(label),
            dropped_bytes: telemetry.journal_dropped_bytes_total.with_label_values(label),
            queue_records: telemetry.journal_queue_records.with_label_values(label),
            queue_bytes: telemetry.journal_queue_bytes.with_label_values(label),
            torn_bytes: telemetry.journal_torn_bytes_total.with_label_values(label),
            poisoned: telemetry.journal_poisoned.with_label_values(label),
        }
    }
}
