//! Good and total events of indicators, in slots of event time, with running sums for windows.
//!
//! An event costs O(windows); reading a window costs nothing, its sum is kept. Ten-second slots
//! reach back [`FINE_SLOTS`], which covers every window up to three days exactly; longer windows
//! move in five-minute steps over slots that reach back the longest window and 35 days. Old hours are kept
//! compressed ([`chunk`]), so that a busy indicator stays below 150 KiB.

pub mod book;
pub mod chunk;
pub mod indicator;
pub mod slots;

pub use book::CountsBook;
pub use indicator::{IndicatorCounts, IndicatorState};

/// How far back ten-second slots reach: three days and an hour.
pub const FINE_SLOTS: u32 = (3 * 24 + 1) * 360;
/// Ten-second slots to one of the coarse ones: five minutes.
pub const COARSE_WIDTH: u32 = 30;
