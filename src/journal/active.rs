//! The segment that is written to.

use super::JournalError;
use super::format::{HEADER_BYTES, Seed};
use crate::base::files::FileHandle;
use std::path::PathBuf;

/// The newest segment of a lane, open for appending.
#[derive(Debug)]
pub(super) struct Active {
    file: Box<dyn FileHandle>,
    path: PathBuf,
    number: u64,
    seed: Seed,
    /// Where the durable records end.
    end: u64,
    /// Length of the file; beyond `end` only when space was claimed ahead.
    size: u64,
}

// === impl Active ===

impl Active {
    pub(super) fn new(
        file: Box<dyn FileHandle>,
        path: PathBuf,
        number: u64,
        seed: Seed,
        end: u64,
        size: u64,
    ) -> Self {
        Self { file, path, number, seed, end, size }
    }

    pub(super) fn number(&self) -> u64 {
        self.number
    }

    pub(super) fn seed(&self) -> Seed {
        self.seed
    }

    pub(super) fn end(&self) -> u64 {
        self.end
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    pub(super) fn has_records(&self) -> bool {
        self.end > HEADER_BYTES
    }

    /// Appends the bytes of one commit, durably.
    ///
    /// # Errors
    /// When [`JournalError::is_full`], the segment is as before and can be written to again. After
    /// any other error it must not be.
    pub(super) fn commit(&mut self, bytes: &[u8]) -> Result<(), JournalError> {
        if let Err(error) = self.file.write_at(self.end, bytes) {
            let cut = self.cut_back();
            let error = JournalError::io("write", &self.path)(error);
            // What cannot be taken back would stand before the next commit.
            return if error.is_full() { cut.and(Err(error)) } else { Err(error) };
        }
        if let Err(error) = self.file.sync_data() {
            // Best effort, so that what was refused does not come back after a restart.
            let _ = self.cut_back();
            return Err(JournalError::sync(&self.path)(error));
        }
        self.end += bytes.len() as u64;
        self.size = self.size.max(self.end);
        Ok(())
    }

    /// Gives back space that was claimed ahead. Of no consequence when it fails: zeros end a log.
    pub(super) fn seal(mut self) -> u64 {
        if self.size > self.end {
            let _ = self.cut_back();
        }
        self.size
    }

    fn cut_back(&mut self) -> Result<(), JournalError> {
        let path = &self.path;
        // As a failed flush: `is_full` must not be true of it.
        self.file.set_len(self.end).map_err(JournalError::sync(path))?;
        self.size = self.end;
        Ok(())
    }
}
