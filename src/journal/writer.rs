//! The thread of one lane: takes what is queued, writes it as one piece, flushes once, hands it to
//! the fold and answers those who wait.

use super::active::Active;
use super::format::{self, FRAME_BYTES};
use super::lane::{LaneState, Segment};
use super::queue::Request;
use super::reserve::Reserve;
use super::{Committed, JournalError, retention};
use crate::base::clock::Clock;
use crate::model::position::Position;
use std::sync::Arc;
use std::thread;
use tokio::sync::mpsc;
use tracing::warn;

/// Payload bytes that one commit takes, unless a single record has more. Bounds the time until the
/// next caller is served, and the buffer.
const COMMIT_BYTES: u64 = 8 * 1024 * 1024;

/// A larger buffer is given back after use.
const KEPT_BUFFER_BYTES: usize = 16 * 1024 * 1024;

/// The one writer of a lane.
#[derive(Debug)]
pub(super) struct Writer {
    lane: Arc<LaneState>,
    active: Active,
    reserve: Reserve,
    segment_bytes: u64,
    sink: mpsc::Sender<Committed>,
    sink_is_gone: bool,
    clock: Clock,
    buffer: Vec<u8>,
}

/// Answers those who still wait when the thread ends, in whatever way.
struct AtTheEnd<'a>(&'a LaneState);

// === impl Writer ===

impl Writer {
    pub(super) fn new(
        lane: Arc<LaneState>,
        active: Active,
        reserve: Reserve,
        segment_bytes: u64,
        sink: mpsc::Sender<Committed>,
        clock: Clock,
    ) -> Self {
        let buffer = Vec::new();
        Self { lane, active, reserve, segment_bytes, sink, sink_is_gone: false, clock, buffer }
    }

    /// Writes until the queue is closed and empty, or the lane poisoned.
    pub(super) fn run(mut self) {
        let lane = Arc::clone(&self.lane);
        let _at_the_end = AtTheEnd(&lane);
        let mut batch = Vec::new();
        loop {
            if self.claim_ahead() && lane.queue.is_idle() {
                continue;
            }
            if !lane.queue.take(COMMIT_BYTES.min(self.segment_bytes), &mut batch) {
                break;
            }
            match self.commit(&batch) {
                Ok(start) => self.deliver(&mut batch, start),
                Err(error) if error.is_full() => refuse_all(&mut batch),
                Err(error) => {
                    lane.poison(Some(&error));
                    break;
                }
            }
        }
    }

    fn claim_ahead(&mut self) -> bool {
        let claimed = self.reserve.step(self.clock.monotonic());
        if claimed {
            self.lane.segments.lock().reserve_bytes = self.reserve.bytes();
            self.lane.show_disk_bytes();
        }
        claimed
    }

    /// Makes a batch durable; returns the offset of its first record in the active segment.
    fn commit(&mut self, batch: &[Request]) -> Result<u64, JournalError> {
        let bytes: u64 = batch.iter().map(on_disk).sum();
        // Space that was claimed ahead is used up first: there may be no other.
        let room = self.segment_bytes.max(self.active.size());
        if self.active.has_records() && self.active.end().saturating_add(bytes) > room {
            self.roll()?;
        }
        match self.write(batch) {
            Err(error) if error.is_full() => {
                self.roll_into_reserve(error)?;
                self.write(batch)
            }
            result => result,
        }
    }

    fn write(&mut self, batch: &[Request]) -> Result<u64, JournalError> {
        self.buffer.clear();
        for request in batch {
            format::push_record(&mut self.buffer, self.active.seed(), &request.bytes);
        }
        let start = self.active.end();
        let began = self.clock.monotonic();
        self.active.commit(&self.buffer)?;
        let metrics = &self.lane.metrics;
        metrics.commit_duration.observe(self.clock.monotonic().since(began).as_secs_f64());
        metrics.appended_bytes.inc_by(self.buffer.len() as u64);
        metrics.appended_records.inc_by(batch.len() as u64);
        if self.buffer.capacity() > KEPT_BUFFER_BYTES {
            self.buffer = Vec::new();
        }
        let mut segments = self.lane.segments.lock();
        segments.tail = Position { segment: self.active.number(), offset: self.active.end() };
        segments.resize_newest(self.active.size());
        drop(segments);
        self.lane.show_disk_bytes();
        Ok(start)
    }

    /// Goes on in a new segment.
    fn roll(&mut self) -> Result<(), JournalError> {
        let number = self.active.number().saturating_add(1);
        match self.lane.files.create(number, self.clock.now()) {
            Ok(active) => {
                self.switch_to(active);
                Ok(())
            }
            Err(error) if error.is_full() => self.roll_into_reserve(error),
            Err(error) => Err(error),
        }
    }

    /// Goes on in the space that was claimed ahead; without any, passes on `full`.
    fn roll_into_reserve(&mut self, full: JournalError) -> Result<(), JournalError> {
        let number = self.active.number().saturating_add(1);
        let adopted = self.reserve.adopt(number, self.clock.now());
        self.lane.segments.lock().reserve_bytes = self.reserve.bytes();
        let active = adopted?.ok_or(full)?;
        warn!(
            lane = self.lane.files.lane.as_str(),
            bytes = active.size(),
            "disk is full: going on in the space claimed ahead"
        );
        self.switch_to(active);
        Ok(())
    }

    fn switch_to(&mut self, active: Active) {
        let now = self.clock.now();
        let (number, bytes) = (active.number(), active.size());
        let sealed_bytes = std::mem::replace(&mut self.active, active).seal();
        let mut segments = self.lane.segments.lock();
        segments.resize_newest(sealed_bytes);
        segments.push(Segment { number, created_at: now, bytes });
        segments.tail = Position { segment: number, offset: self.active.end() };
        drop(segments);
        // Bounds the lane even when nobody releases anything.
        retention::trim(&self.lane, now);
    }

    /// Hands the records of a durable batch to the fold, each before its caller is answered.
    fn deliver(&mut self, batch: &mut Vec<Request>, start: u64) {
        let segment = self.active.number();
        let mut offset = start;
        for request in batch.drain(..) {
            let end = offset.saturating_add(on_disk(&request));
            let Request { bytes, note, done, room } = request;
            let position = Position { segment, offset };
            let next = Position { segment, offset: end };
            let lane = self.lane.files.lane;
            let committed = Committed { lane, position, next, bytes, note };
            if self.sink.blocking_send(committed).is_err() && !self.sink_is_gone {
                // The record is durable all the same: the next start folds it.
                self.sink_is_gone = true;
                warn!(lane = lane.as_str(), "nobody folds the journal any more");
            }
            // A caller who has gone away needs no answer.
            let _ = done.send(Ok(position));
            drop(room);
            offset = end;
        }
    }
}

// === impl AtTheEnd ===

impl Drop for AtTheEnd<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.poison(None);
        }
        // Dropped requests wake their callers, who find the lane poisoned or closed.
        self.0.queue.discard();
    }
}

fn on_disk(request: &Request) -> u64 {
    FRAME_BYTES.saturating_add(request.bytes.len() as u64)
}

fn refuse_all(batch: &mut Vec<Request>) {
    for request in batch.drain(..) {
        let _ = request.done.send(Err(super::AppendError::Full));
    }
}
