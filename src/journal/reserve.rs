//! Space claimed ahead, so that a full disk does not stop the control lane.
//!
//! The reserve is a file of zeros. It is filled piece by piece while the writer has nothing else to
//! do, lies untouched as long as the disk has room, and becomes the next segment when it has none.

use super::JournalError;
use super::active::Active;
use super::lane_files::LaneFiles;
use crate::base::clock::{MonoNanos, UnixNanos};
use crate::base::error::Chain;
use crate::base::files::FileHandle;
use std::time::Duration;
use tracing::warn;

/// Space claimed at a time: small enough to delay no commit noticeably.
const STEP_BYTES: u64 = 1024 * 1024;

/// After a failure the next attempt waits this long.
const RETRY_AFTER: Duration = Duration::from_secs(10);

/// The reserve of one lane.
#[derive(Debug)]
pub(super) struct Reserve {
    files: LaneFiles,
    target: u64,
    file: Option<Box<dyn FileHandle>>,
    filled: u64,
    failed: bool,
    retry_at: MonoNanos,
}

// === impl Reserve ===

impl Reserve {
    /// The reserve of a lane that wants `target` bytes of it; with what an earlier process left.
    pub(super) fn open(files: LaneFiles, target: u64) -> Self {
        let mut reserve =
            Self { files, target, file: None, filled: 0, failed: false, retry_at: MonoNanos(0) };
        if target > 0
            && let Ok(file) = reserve.files.files.open(&reserve.files.reserve_path())
        {
            reserve.filled = file.size().unwrap_or(0);
            reserve.file = Some(file);
        }
        reserve
    }

    /// Bytes that are claimed.
    pub(super) fn bytes(&self) -> u64 {
        self.filled
    }

    /// Claims a little more when less than wanted is claimed. False when there is nothing to do now.
    pub(super) fn step(&mut self, now: MonoNanos) -> bool {
        if self.filled >= self.target || now < self.retry_at {
            return false;
        }
        match self.claim() {
            Ok(()) => {
                self.failed = false;
                true
            }
            Err(error) => {
                self.retry_at = now.plus(RETRY_AFTER);
                if !std::mem::replace(&mut self.failed, true) {
                    let lane = self.files.lane.as_str();
                    warn!(lane, claimed_bytes = self.filled, wanted_bytes = self.target,
                        error = %Chain(&error), "cannot claim disk space ahead");
                }
                false
            }
        }
    }

    fn claim(&mut self) -> Result<(), JournalError> {
        let path = self.files.reserve_path();
        let file = match &mut self.file {
            Some(file) => file,
            none => {
                let created = self.files.files.create(&path);
                none.insert(created.map_err(JournalError::io("create", &path))?)
            }
        };
        let until = self.filled.saturating_add(STEP_BYTES).min(self.target);
        let claimed = file.reserve(self.filled, until).map_err(JournalError::io("write", &path));
        // What a disk that ran full still took is claimed as well, and must not lie idle.
        self.filled = if claimed.is_ok() { until } else { file.size().unwrap_or(self.filled) };
        claimed?;
        file.sync_data().map_err(JournalError::sync(&path))
    }

    /// Makes the reserve the segment of that number. None when nothing is claimed.
    ///
    /// # Errors
    /// When [`JournalError::is_full`], nothing has changed but that the reserve is spent.
    pub(super) fn adopt(
        &mut self,
        number: u64,
        now: UnixNanos,
    ) -> Result<Option<Active>, JournalError> {
        let claimed = std::mem::take(&mut self.filled);
        match self.file.take() {
            Some(file) if claimed > 0 => {
                self.files.adopt_reserve(file, claimed, number, now).map(Some)
            }
            _ => Ok(None),
        }
    }
}
