//! Series: named, labelled values in slots of event time; and the trait behind which their
//! history is stored.

use super::histogram::{ExpHistogram, ExplicitHistogram};
use super::labels::Labels;
use super::slot::Slot;
use std::sync::Arc;

/// The stable hash of name and labels; the key in history.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct SeriesId(pub u128);

/// Name and labels of a series, in OpenTelemetry's names.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SeriesKey {
    /// The metric's name.
    pub name: Arc<str>,
    /// Its labels.
    pub labels: Labels,
}

/// What a series holds in one slot.
#[derive(Clone, Debug, PartialEq)]
pub enum SlotValue {
    /// How much a counter grew, in nano-units.
    Counter(u128),
    /// The last value of a gauge.
    Gauge(f64),
    /// Values of a base-2 exponential histogram.
    Histogram(ExpHistogram),
    /// Values of a histogram whose bounds its source chose.
    Explicit(ExplicitHistogram),
}

/// The widths of slot in which history is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
pub enum Tier {
    /// Ten seconds.
    TenSeconds,
    /// One minute.
    OneMinute,
}

/// Consecutive slots of a series that are written to history as one block.
#[derive(Clone, Debug, PartialEq)]
pub struct Block {
    /// Which series.
    pub series: SeriesId,
    /// The block's first slot; aligned to the tier's block length.
    pub start: Slot,
    /// Slots that hold something, by rising slot (each the first ten-second slot of its own width).
    pub slots: Vec<(Slot, SlotValue)>,
}

/// What series were.
pub trait Past: Send + Sync {
    /// The slots of a series within `from..to`, merged, by rising slot.
    ///
    /// # Errors
    /// When the engine fails or holds a block that does not decode.
    fn read(
        &self,
        tier: Tier,
        series: SeriesId,
        from: Slot,
        to: Slot,
    ) -> Result<Vec<(Slot, SlotValue)>, HistoryError>;
}

/// An engine for history. Blocks are additive: several of one series and start are merged when
/// read, so late data is just one more block.
pub trait History: Past {
    /// Writes blocks under an epoch and makes them durable. They count only once the epoch is
    /// committed by a checkpoint.
    ///
    /// # Errors
    /// When the engine fails; nothing of the epoch may be relied on then.
    fn write(&self, tier: Tier, epoch: u64, blocks: &[Block]) -> Result<(), HistoryError>;

    /// Drops blocks of epochs after `committed`: a crash left them behind.
    ///
    /// # Errors
    /// When the engine fails.
    fn recover(&self, committed: u64) -> Result<(), HistoryError>;

    /// Drops what ended before `horizon`.
    ///
    /// # Errors
    /// When the engine fails.
    fn retain(&self, tier: Tier, horizon: Slot) -> Result<(), HistoryError>;

    /// Bytes on disk.
    fn disk_bytes(&self) -> u64;
}

/// Why history failed.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// The engine said so.
    #[error("the history engine failed at {path}")]
    Engine {
        /// Which directory.
        path: String,
        /// What it said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A block does not decode.
    #[error("a block of history in {path} does not decode: {reason}")]
    Corrupt {
        /// Which directory.
        path: String,
        /// What is wrong with it.
        reason: &'static str,
    },
}

impl Tier {
    /// Every tier.
    pub const ALL: [Self; 2] = [Self::TenSeconds, Self::OneMinute];

    /// Ten-second slots to one of this tier's.
    #[must_use]
    pub const fn slots(self) -> u32 {
        match self {
            Self::TenSeconds => 1,
            Self::OneMinute => 6,
        }
    }

    /// The name in paths and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TenSeconds => "10s",
            Self::OneMinute => "1m",
        }
    }
}

impl SlotValue {
    /// Adds another value of the same slot: counters and histograms add up, of gauges the later
    /// arrival stays. Values of another kind, or other bounds, replace what was there.
    pub fn add(&mut self, other: &Self) {
        match (&mut *self, other) {
            (Self::Counter(mine), Self::Counter(theirs)) => *mine = mine.saturating_add(*theirs),
            (Self::Histogram(mine), Self::Histogram(theirs)) => mine.merge(theirs),
            (Self::Explicit(mine), Self::Explicit(theirs)) => {
                if !mine.merge(theirs) {
                    mine.clone_from(theirs);
                }
            }
            _ => *self = other.clone(),
        }
    }
}

impl SeriesKey {
    /// The stable hash.
    #[must_use]
    pub fn id(&self) -> SeriesId {
        SeriesId(self.labels.identity(&self.name))
    }
}
