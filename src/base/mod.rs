//! Floor 0: what every other module may lean on and none of it knows the domain.
//!
//! Time, durations, backoff, bounded queues, shutdown, secrets and the error chain.

pub mod backoff;
pub mod clock;
pub mod duration;
pub mod error;
pub mod secret;
pub mod shutdown;
