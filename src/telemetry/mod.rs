//! Floor 1: the daemon's own health as metrics, its logs, and its traces. Knows nothing of the
//! domain: a module hands in numbers and words.

pub mod catalog;
pub mod logs;
pub mod process;
pub mod readings;

pub use catalog::Telemetry;
