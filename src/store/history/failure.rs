//! What can go wrong in an engine, and which of it means that a window is damaged.

use super::MAX_READ_SLOTS;
use crate::model::series::HistoryError;
use std::any::Any;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

/// Why the engine failed; the source of [`HistoryError::Engine`].
#[derive(Debug, thiserror::Error)]
pub enum EngineFailure {
    /// Somebody else has it open.
    #[error("another process holds its lock; stop that process or use another data folder")]
    Locked,
    /// sled answered with an error.
    #[error("sled gave up")]
    Sled(#[source] sled::Error),
    /// sled panicked, as it does on some damage.
    #[error("sled panicked: {0}")]
    Panicked(String),
    /// sled opened, but with less than it had made durable.
    #[error("it came back at epoch {found} although epoch {durable} had been made durable")]
    Lost {
        /// The epoch that had been confirmed.
        durable: u64,
        /// The newest that is there.
        found: u64,
    },
    /// A file of our own, or syncing one of sled's.
    #[error("could not {action}")]
    File {
        /// What was tried.
        action: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// More than one read may return.
    #[error("more than {MAX_READ_SLOTS} slots are asked for at once; ask for a shorter range")]
    RangeTooLong,
}

/// Runs a call of sled's, which reports some damage by panicking.
///
/// sled is left as it was at the panic; who gets [`EngineFailure::Panicked`] closes the database.
pub(super) fn guarded<T>(call: impl FnOnce() -> sled::Result<T>) -> Result<T, EngineFailure> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(sled::Error::Io(error))) if is_lock(&error) => Err(EngineFailure::Locked),
        Ok(Err(error)) => Err(EngineFailure::Sled(error)),
        Err(panic) => Err(EngineFailure::Panicked(text_of(&*panic))),
    }
}

impl EngineFailure {
    /// For `map_err` on calls of `std::fs`.
    pub(super) fn file(action: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::File { action, source }
    }

    /// Whether it tells of damage, as opposed to a lock, a full disk, or missing permissions, which
    /// setting a window aside would not cure.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        use io::ErrorKind::{InvalidData, NotFound, UnexpectedEof};
        match self {
            Self::Panicked(_) | Self::Lost { .. } => true,
            // What is read beyond a cut end, and a blob that is gone.
            Self::Sled(sled::Error::Io(error)) => {
                matches!(error.kind(), InvalidData | NotFound | UnexpectedEof)
            }
            Self::Sled(_) => true,
            Self::Locked | Self::File { .. } | Self::RangeTooLong => false,
        }
    }

    /// The error for callers, with the directory it is about.
    pub(super) fn at(self, path: &Path) -> HistoryError {
        HistoryError::Engine { path: path.display().to_string(), source: Box::new(self) }
    }
}

/// sled 0.34 tells a held lock from other trouble by its text alone.
fn is_lock(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
        || error.to_string().contains("could not acquire lock")
}

fn text_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a message")
        .to_owned()
}
