//! Opening a lane after whatever happened to it.
//!
//! Only the newest segment can have been cut off in the middle of a write. What it holds behind its
//! last sound record is *torn*, and is cut away, unless a record of a later commit stands behind it:
//! then the disk has lost something that was acknowledged, which is never cut away. Such a segment
//! is left as it is for readers to report, and the lane goes on in a new one.

use super::JournalError;
use super::active::Active;
use super::format::{FRAME_BYTES, Frame, HEADER_BYTES, Seed};
use super::frames::{Frames, Step, is_blank};
use super::lane::{Segment, Segments};
use super::lane_files::{FIRST_SEGMENT, LaneFiles};
use crate::base::clock::UnixNanos;
use crate::base::files::FileHandle;
use crate::model::position::Position;
use tracing::warn;

/// Bytes that are checksummed in search of a later commit before the search is given up and the
/// segment taken for corrupt. Bounds the time to open: a second at the worst.
const SEARCH_BYTES: u64 = 4 * 1024 * 1024 * 1024;

/// A lane that can be written to.
#[derive(Debug)]
pub(super) struct Recovered {
    pub segments: Segments,
    pub active: Active,
    /// Bytes of writes that were cut off.
    pub torn_bytes: u64,
}

/// How the newest segment ends.
#[derive(Debug)]
enum Tail {
    /// A segment whose creation was cut off, before anything was acknowledged in it.
    Headless,
    /// Sound records up to `end`; then nothing, or `torn_bytes` of a write that was cut off.
    Sound { file: Box<dyn FileHandle>, seed: Seed, end: u64, torn_bytes: u64 },
    /// Acknowledged records cannot be read.
    Corrupt { offset: u64 },
}

/// Repairs the end of the newest of the segments that [`find`] has found, and makes durable what is
/// there.
pub(super) fn recover(
    files: &LaneFiles,
    mut segments: Segments,
    now: UnixNanos,
) -> Result<Recovered, JournalError> {
    let mut torn_total = 0;
    let active = loop {
        let Some(newest) = segments.list.back().copied() else {
            break files.create(FIRST_SEGMENT, now)?;
        };
        match examine(files, newest)? {
            Tail::Headless => {
                warn_torn(files, newest.number, 0, newest.bytes);
                torn_total += newest.bytes;
                files.remove(newest.number)?;
                let _ = segments.pop_newest();
            }
            Tail::Sound { mut file, seed, end, torn_bytes } => {
                let path = files.path(newest.number);
                let mut size = newest.bytes;
                if torn_bytes > 0 {
                    warn_torn(files, newest.number, end, torn_bytes);
                    torn_total += torn_bytes;
                    file.set_len(end).map_err(JournalError::io("cut", &path))?;
                    size = end;
                }
                // A process that was killed leaves records that are written but not yet durable.
                file.sync_data().map_err(JournalError::sync(&path))?;
                files.sync_dir()?;
                break Active::new(file, path, newest.number, seed, end, size);
            }
            Tail::Corrupt { offset } => {
                warn!(
                    lane = files.lane.as_str(),
                    segment = newest.number,
                    offset,
                    "journal segment is corrupt: going on in a new one"
                );
                break files.create(newest.number.saturating_add(1), now)?;
            }
        }
    };
    if segments.list.back().is_none_or(|newest| newest.number != active.number()) {
        let (number, bytes) = (active.number(), active.size());
        segments.push(Segment { number, created_at: now, bytes });
    }
    segments.resize_newest(active.size());
    segments.tail = Position { segment: active.number(), offset: active.end() };
    Ok(Recovered { segments, active, torn_bytes: torn_total })
}

/// The segments that are there, by their headers. Changes nothing.
pub(super) fn find(files: &LaneFiles) -> Result<Segments, JournalError> {
    let mut segments = Segments::default();
    for number in files.numbers()? {
        let (mut file, bytes) = files.open(number)?;
        let header = files.header(number, file.as_mut())?;
        // For one that cannot be told, the age of the one before is near enough for retention.
        let before = segments.list.back().map_or(UnixNanos(0), |older| older.created_at);
        let created_at = header.map_or(before, |(header, _)| header.created_at);
        segments.push(Segment { number, created_at, bytes });
    }
    Ok(segments)
}

fn examine(files: &LaneFiles, newest: Segment) -> Result<Tail, JournalError> {
    let path = files.path(newest.number);
    let (mut file, size) = files.open(newest.number)?;
    let Some((_, seed)) = files.header(newest.number, file.as_mut())? else {
        // A header that was written once and is damaged now has records behind it.
        let blank = size <= HEADER_BYTES
            || is_blank(file.as_mut(), HEADER_BYTES, size)
                .map_err(JournalError::io("read", &path))?;
        return Ok(if blank { Tail::Headless } else { Tail::Corrupt { offset: 0 } });
    };
    let mut frames = Frames::new(file, seed, HEADER_BYTES, size);
    end_of(&mut frames, seed).map_err(JournalError::io("read", &path)).map(|(end, torn_bytes)| {
        match torn_bytes {
            Some(torn_bytes) => Tail::Sound { file: frames.into_file(), seed, end, torn_bytes },
            None => Tail::Corrupt { offset: end },
        }
    })
}

/// Where the sound records end, and how much of a cut-off write follows; none when what follows
/// had been acknowledged.
fn end_of(frames: &mut Frames, seed: Seed) -> std::io::Result<(u64, Option<u64>)> {
    while let Step::Record { .. } = frames.step()? {}
    let end = frames.at();
    if frames.is_blank_from_here()? {
        return Ok((end, Some(0)));
    }
    let rest = frames.rest()?;
    let torn_bytes = rest.iter().rposition(|byte| *byte != 0).map_or(0, |last| last as u64 + 1);
    Ok((end, (!later_commit_in(&rest, seed)).then_some(torn_bytes)))
}

/// Whether a record of a commit that began behind the start of `bytes` stands anywhere in them. The
/// length of the unreadable record may itself be wrong, so every offset is looked at.
fn later_commit_in(bytes: &[u8], seed: Seed) -> bool {
    let mut checksummed = 0_u64;
    let mut rest = bytes;
    let mut at = 0_u64;
    while let Some((_, behind)) = rest.split_first() {
        rest = behind;
        at += 1;
        let Some((head, payload)) = rest.split_at_checked(FRAME_BYTES as usize) else { break };
        let Some(frame) = Frame::decode(head).filter(|frame| u64::from(frame.back) < at) else {
            continue;
        };
        let Some(payload) = frame.payload_bytes().and_then(|length| payload.get(..length)) else {
            continue;
        };
        if frame.fits(seed, payload) {
            return true;
        }
        checksummed = checksummed.saturating_add(payload.len() as u64);
        if checksummed > SEARCH_BYTES {
            return true;
        }
    }
    false
}

fn warn_torn(files: &LaneFiles, segment: u64, offset: u64, bytes: u64) {
    warn!(
        lane = files.lane.as_str(),
        segment,
        offset,
        bytes,
        "cut away a torn write at the end of the journal: nothing in it had been acknowledged"
    );
}
