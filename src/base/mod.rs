//! Floor 0: what every other module may lean on and none of it knows the domain.
//!
//! Time, durations, backoff, shutdown, secrets, the error chain, and the seam to the disk.

pub mod backoff;
pub mod clock;
pub mod duration;
pub mod error;
pub mod faulty;
pub mod files;
pub mod secret;
pub mod shutdown;
