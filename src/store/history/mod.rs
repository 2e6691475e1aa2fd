//! The history of series: [`crate::model::series::History`] on sled, and in memory for what needs
//! no disk.
//!
//! ```text
//! history/
//!   lock                          one process at a time
//!   10s-2026-11-24T00/            a retention window: one sled database, dropped as a whole
//!     epochs                      the newest epochs written there, readable without sled
//!   1m-2026-11-23T00/
//!   10s-2026-11-23T12.broken-1/   a window that did not open and was set aside
//! ```
//!
//! [`block`] is what a value holds, `window` how directories and keys are named, `database` one
//! window while it is open, `shelf` which windows there are and which of them are open, `retention`
//! which of them go, and [`SledHistory`] and [`MemoryHistory`] are the engines. A further engine is
//! one more file that implements the trait and passes `conformance`.
//!
//! What this folder promises:
//! - A write that returned is on disk: sled's own flush leaves the file's length and its blobs to
//!   the kernel, so they are synced here. A write that failed left nothing behind.
//! - Blocks of one series and start add up, within an epoch and over epochs.
//! - A window that is damaged costs that window alone. sled may answer damage with an error or a
//!   panic; both are caught, and what came back with less than it had confirmed counts as damage.
//! - All calls block; callers on a runtime use its blocking threads.
//!
//! And what it does not: damage in the middle of a log whose end is whole may go unnoticed, because
//! sled passes over it; what it held then reads as a gap. And sled waits without a bound for its own
//! I/O threads, so callers that must not hang wait for their blocking call with a deadline.
//!
//! Neighbours: the live head writes whole blocks here at each checkpoint, and the checkpoint says
//! which epochs count. Reads see blocks as soon as they are written.

pub mod block;
mod database;
mod failure;
mod files;
mod mark;
mod memory;
mod pieces;
mod repair;
mod retention;
mod shelf;
mod sled_history;
mod window;

#[cfg(test)]
mod conformance;
#[cfg(test)]
mod tests;

use crate::model::series::Tier;
use crate::model::slot::Slot;
use std::path::PathBuf;
use std::time::Duration;

pub use failure::EngineFailure;
pub use memory::MemoryHistory;
pub use sled_history::{HistoryCounts, SledHistory};
pub use window::window_slots;

/// How many slots one read may return; a range that holds more is refused. Enough for all that the
/// default retention keeps of either tier.
pub const MAX_READ_SLOTS: u32 = 32_768;

/// How [`SledHistory`] stores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The directory of all windows; made when missing.
    pub dir: PathBuf,
    /// What sled may cache for each open window. A hint: sled may take some times as much.
    pub cache_bytes_per_window: u64,
    /// How long each tier is kept. Windows go as a whole, once all of them is older.
    pub keep: [(Tier, Duration); 2],
    /// Beyond this, the oldest windows go before their time; the newest of each tier stays.
    pub max_disk_bytes: Option<u64>,
}

/// What was found when history was opened.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct OpenReport {
    /// Windows that did not open now, or were set aside before and not settled since. Their time is to
    /// be rebuilt as far as the journal reaches: [`SledHistory::vacate`], write, commit,
    /// [`SledHistory::settle`].
    pub set_aside: Vec<SetAside>,
}

/// A window that was found damaged and whose directory was renamed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetAside {
    /// Where it was.
    pub from: PathBuf,
    /// Where it is now, for whoever wants to look into it; goes when the window would have gone.
    pub to: PathBuf,
    /// What was wrong with it.
    pub reason: String,
    /// Its tier.
    pub tier: Tier,
    /// The first slot that it held.
    pub from_slot: Slot,
    /// The first slot after it.
    pub to_slot: Slot,
}

/// How many ten-second slots a block of a tier spans: 15 minutes of ten-second slots, an hour of
/// minutes. A block begins at a multiple of it ([`Slot::align`]).
#[must_use]
pub const fn block_slots(tier: Tier) -> u32 {
    match tier {
        Tier::TenSeconds => 90,
        Tier::OneMinute => 360,
    }
}

impl Config {
    /// The defaults for a directory: 4 MiB of cache a window, ten-second slots for 2 d and minutes
    /// for 15 d, no bound in bytes.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        const DAY: Duration = Duration::from_secs(24 * 3_600);
        Self {
            dir: dir.into(),
            cache_bytes_per_window: 4 << 20,
            keep: [(Tier::TenSeconds, DAY * 2), (Tier::OneMinute, DAY * 15)],
            max_disk_bytes: None,
        }
    }
}
