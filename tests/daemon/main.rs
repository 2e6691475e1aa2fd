//! Guarantees about the real binary as a process: what it keeps when it is killed, how it takes a new
//! configuration, what it does while it starts.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test stops at what it did not expect"
)]
#![expect(clippy::print_stdout, reason = "what the daemon logs belongs to a failed test")]
#![expect(clippy::disallowed_methods, reason = "a client of the daemon has its own clock")]

mod blackbox;
mod canary;
mod cleanup;
mod damage;
mod kill;
mod phone;
mod process;
mod reload;
mod restart;
mod targets;
