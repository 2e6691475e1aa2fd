//! Reading a lane from a position on, for replay.

use super::JournalError;
use super::format::HEADER_BYTES;
use super::frames::{Frames, Step};
use super::lane::LaneState;
use crate::model::position::Position;
use bytes::Bytes;
use std::sync::Arc;

/// The records of a lane in order: where each begins, where the next one would, and its bytes.
///
/// It ends at what was durable when it was made. An error is reported once and ends it too; after
/// [`JournalError::Corrupt`] or [`JournalError::Missing`], [`Reader::skip_to_next_segment`] takes it
/// on.
#[derive(Debug)]
pub struct Reader {
    lane: Arc<LaneState>,
    until: Position,
    at: Position,
    frames: Option<Frames>,
    stopped: bool,
}

type Item = (Position, Position, Bytes);

// === impl Reader ===

impl Reader {
    /// From `from`, or from the oldest record when that is later.
    pub(super) fn new(lane: Arc<LaneState>, from: Position) -> Result<Self, JournalError> {
        let segments = lane.segments.lock();
        let (first, until) = (segments.first(), segments.tail);
        drop(segments);
        let wanted = Position { offset: from.offset.max(HEADER_BYTES), ..from };
        let at = if from.segment < first.segment { first } else { wanted };
        if at > until {
            let Position { segment, offset } = from;
            return Err(JournalError::Beyond { dir: lane.files.dir.clone(), segment, offset });
        }
        Ok(Self { lane, until, at, frames: None, stopped: false })
    }

    /// Goes on behind the segment in which reading stopped. False when there is none.
    pub fn skip_to_next_segment(&mut self) -> bool {
        let next = self.lane.segments.lock().at_or_after(self.at.segment.saturating_add(1));
        let number = next.map(|segment| segment.number).filter(|n| *n <= self.until.segment);
        self.stopped = number.is_none();
        self.frames = None;
        if let Some(segment) = number {
            self.at = Position { segment, offset: HEADER_BYTES };
        }
        !self.stopped
    }

    fn step(&mut self) -> Result<Option<Item>, JournalError> {
        loop {
            let frames = match &mut self.frames {
                Some(frames) => frames,
                none => none.insert(open(&self.lane, self.at, self.until)?),
            };
            let segment = self.at.segment;
            let path = self.lane.files.path(segment);
            match frames.step().map_err(JournalError::io("read", &path))? {
                Step::Record { offset, next, payload } => {
                    let next = Position { segment, offset: next };
                    return Ok(Some((Position { segment, offset }, next, payload)));
                }
                // Space claimed ahead ends a segment as its end does, but not where more is due.
                Step::Unreadable
                    if segment == self.until.segment
                        || !frames
                            .is_blank_from_here()
                            .map_err(JournalError::io("read", &path))? =>
                {
                    return Err(JournalError::Corrupt { file: path, offset: frames.at() });
                }
                Step::Unreadable | Step::End if segment == self.until.segment => return Ok(None),
                Step::Unreadable | Step::End => {
                    self.frames = None;
                    self.at = Position { segment: segment.saturating_add(1), offset: HEADER_BYTES };
                }
            }
        }
    }
}

impl Iterator for Reader {
    type Item = Result<Item, JournalError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.stopped {
            return None;
        }
        let item = self.step().transpose();
        self.stopped = !matches!(item, Some(Ok(_)));
        item
    }
}

/// Opens the segment in which `at` lies.
fn open(lane: &LaneState, at: Position, until: Position) -> Result<Frames, JournalError> {
    let path = lane.files.path(at.segment);
    let known = lane.segments.lock().at_or_after(at.segment);
    if known.is_none_or(|segment| segment.number != at.segment) {
        return Err(JournalError::Missing { file: path });
    }
    let (mut file, size) = lane.files.open(at.segment)?;
    let Some((_, seed)) = lane.files.header(at.segment, file.as_mut())? else {
        return Err(JournalError::Corrupt { file: path, offset: 0 });
    };
    let limit = if at.segment == until.segment { until.offset } else { size };
    if at.offset > limit {
        return Err(JournalError::Corrupt { file: path, offset: limit });
    }
    Ok(Frames::new(file, seed, at.offset, limit))
}
