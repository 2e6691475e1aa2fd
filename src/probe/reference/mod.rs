//! The instrument against a reference: servers on loopback that hold answers back and know by how much.
//!
//! A [`DelayServer`] waits before it answers and records, on the monotonic clock that probes are
//! measured with, how long it really waited. An [`Instrument`] is the scheduler and the probe
//! runtime as the daemon uses them. What a run measured beyond what the server recorded is its
//! error (`error`): everything of this machine and this instrument that is in a latency besides the
//! target. A bare blocking client (`bare`) that asks the same server right after each run says how
//! much of that is the machine's own.
//!
//! Promises: one thread a server, which ends when the server is dropped; nothing leaves loopback.

mod bare;
mod case;
mod error;
mod figures;
mod server;

pub use case::{Case, Instrument, ReferenceError};
pub use error::{LIMIT, Percentiles, Sample};
pub use figures::{Calibration, Figures};
pub use server::DelayServer;

use crate::model::probe::names;

/// What a reference server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1: the value is the whole request with its connection.
    Http,
    /// A WebSocket: from the message sent to the arrival of its echo.
    WebSocket,
    /// Server-sent events: from the head of the answer to the arrival of the event.
    Sse,
}

// The names of the blocks in probes, and of protocols in reports.
names!(Protocol {
    Http = "http",
    WebSocket = "websocket",
    Sse = "sse",
});
