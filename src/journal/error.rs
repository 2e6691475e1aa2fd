//! What can go wrong in the journal: [`JournalError`] for opening and reading, [`AppendError`] for
//! a caller who appends.

use std::io;
use std::path::{Path, PathBuf};

/// Why the journal could not be opened, read or extended.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The operating system refused an operation on a file.
    #[error("cannot {action} {}", file.display())]
    Io {
        /// The operation, as a verb.
        action: &'static str,
        /// The file or directory.
        file: PathBuf,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// A flush failed; what was written before it may or may not be on the disk.
    #[error("cannot flush {} to the disk", file.display())]
    Sync {
        /// The file or directory.
        file: PathBuf,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// A record, or the segment's header (offset 0), does not match its checksum although later
    /// records were acknowledged. The rest of the segment cannot be read.
    #[error(
        "{} is corrupt at byte {offset}: its records from there on are lost; restore the file, or \
         skip the segment", file.display()
    )]
    Corrupt {
        /// The segment.
        file: PathBuf,
        /// Where the first unreadable byte stands in it.
        offset: u64,
    },
    /// A segment in the middle of the lane is not there.
    #[error("{} is missing: restore the file, or skip the segment", file.display())]
    Missing {
        /// The segment.
        file: PathBuf,
    },
    /// A segment was written by a later version of this program.
    #[error(
        "{} has format version {version}, newer than this program reads: run the newer program, \
         or move the journal away", file.display()
    )]
    Newer {
        /// The segment.
        file: PathBuf,
        /// Its format version.
        version: u32,
    },
    /// Reading was to begin behind the end of the lane: whoever noted that place saw another
    /// journal than this one.
    #[error(
        "position {segment}:{offset} lies behind the end of the journal in {}: the journal was \
         replaced or cut", dir.display()
    )]
    Beyond {
        /// The directory of the journal.
        dir: PathBuf,
        /// The segment asked for.
        segment: u64,
        /// The offset asked for.
        offset: u64,
    },
    /// The thread of a lane could not be started.
    #[error("cannot start the writer thread of the journal")]
    Thread(#[source] io::Error),
}

/// Why a record was not acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// An earlier write or flush of this lane failed, so nothing more can be promised until the
    /// process is restarted.
    #[error("the journal refuses writes after a failed one: check the disk and restart")]
    Poisoned,
    /// The disk is full. The lane lives on: a later append may succeed.
    #[error("the disk is full: free space in the data directory")]
    Full,
    /// More than [`MAX_RECORD_BYTES`](super::MAX_RECORD_BYTES).
    #[error("a record of {bytes} bytes is larger than the journal takes")]
    TooLarge {
        /// Its length.
        bytes: usize,
    },
    /// A record needs at least one byte.
    #[error("a record without bytes cannot be journaled")]
    Empty,
    /// The journal was closed.
    #[error("the journal is closed")]
    Closed,
}

// === impl JournalError ===

impl JournalError {
    /// For `map_err`: an operation on `file` that failed.
    pub(super) fn io(action: &'static str, file: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, file: file.to_owned(), source }
    }

    /// For `map_err`: a flush of `file` that failed.
    pub(super) fn sync(file: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Sync { file: file.to_owned(), source }
    }

    /// Whether the disk, or the quota on it, is used up and nothing else is wrong. Never so for a
    /// flush: what a failed flush has lost cannot be known.
    #[must_use]
    pub fn is_full(&self) -> bool {
        use io::ErrorKind::{QuotaExceeded, StorageFull};
        matches!(self, Self::Io { source, .. } if matches!(source.kind(), StorageFull | QuotaExceeded))
    }
}
