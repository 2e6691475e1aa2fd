//! Walks the records of one segment file, for recovery and for readers.

use super::format::{FRAME_BYTES, Frame, Seed};
use crate::base::files::FileHandle;
use bytes::{Bytes, BytesMut};
use std::io;

/// Read at a time.
const CHUNK_BYTES: usize = 256 * 1024;

/// A place in a segment, moving forward from record to record.
#[derive(Debug)]
pub(super) struct Frames {
    file: Box<dyn FileHandle>,
    seed: Seed,
    at: u64,
    limit: u64,
    /// Bytes from `at` on that are read already.
    buffer: BytesMut,
}

/// What stands at a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A sound record from `offset` to `next`.
    Record { offset: u64, next: u64, payload: Bytes },
    /// The limit, right behind a record.
    End,
    /// No sound record; the place stays where it is.
    Unreadable,
}

// === impl Frames ===

impl Frames {
    /// From `at`, where a record begins, up to `limit`.
    pub(super) fn new(file: Box<dyn FileHandle>, seed: Seed, at: u64, limit: u64) -> Self {
        Self { file, seed, at, limit, buffer: BytesMut::new() }
    }

    /// Where the next record begins.
    pub(super) fn at(&self) -> u64 {
        self.at
    }

    /// The record here, moving behind it.
    pub(super) fn step(&mut self) -> io::Result<Step> {
        if self.at == self.limit {
            return Ok(Step::End);
        }
        self.fill(FRAME_BYTES as usize)?;
        let Some(frame) = Frame::decode(&self.buffer) else { return Ok(Step::Unreadable) };
        let Some(length) = frame.payload_bytes() else { return Ok(Step::Unreadable) };
        let next = self.at.saturating_add(FRAME_BYTES).saturating_add(length as u64);
        if next > self.limit {
            return Ok(Step::Unreadable);
        }
        let whole = FRAME_BYTES as usize + length;
        self.fill(whole)?;
        let sound = self
            .buffer
            .get(FRAME_BYTES as usize..whole)
            .is_some_and(|payload| frame.fits(self.seed, payload));
        if !sound {
            return Ok(Step::Unreadable);
        }
        let payload = self.buffer.split_to(whole).freeze().split_off(FRAME_BYTES as usize);
        let offset = std::mem::replace(&mut self.at, next);
        Ok(Step::Record { offset, next, payload })
    }

    /// Whether there are only zeros from here to the limit: space claimed ahead.
    pub(super) fn is_blank_from_here(&mut self) -> io::Result<bool> {
        is_blank(self.file.as_mut(), self.at, self.limit)
    }

    /// All bytes from here to the limit, or to the end of the file when that comes earlier.
    pub(super) fn rest(&mut self) -> io::Result<BytesMut> {
        let rest = usize::try_from(self.limit.saturating_sub(self.at)).map_err(io::Error::other)?;
        self.fill(rest)?;
        Ok(std::mem::take(&mut self.buffer))
    }

    pub(super) fn into_file(self) -> Box<dyn FileHandle> {
        self.file
    }

    /// Reads on until the buffer holds `need` bytes, if the file has them.
    fn fill(&mut self, need: usize) -> io::Result<()> {
        while self.buffer.len() < need {
            let have = self.buffer.len();
            let from = self.at.saturating_add(have as u64);
            let left = usize::try_from(self.limit.saturating_sub(from)).unwrap_or(usize::MAX);
            self.buffer.resize(have + (need - have).max(CHUNK_BYTES).min(left), 0);
            let read = self.file.read_at(from, self.buffer.get_mut(have..).unwrap_or_default())?;
            self.buffer.truncate(have + read);
            if read == 0 {
                break;
            }
        }
        Ok(())
    }
}

/// Whether the file holds zeros, and nothing else, in `from..to`.
pub(super) fn is_blank(file: &mut dyn FileHandle, from: u64, to: u64) -> io::Result<bool> {
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut at = from;
    while at < to {
        let wanted = usize::try_from(to - at).unwrap_or(usize::MAX).min(CHUNK_BYTES);
        let read = file.read_at(at, chunk.get_mut(..wanted).unwrap_or_default())?;
        let zeros = chunk.get(..read).is_some_and(|read| read.iter().all(|byte| *byte == 0));
        if read == 0 || !zeros {
            return Ok(false);
        }
        at += read as u64;
    }
    Ok(true)
}
