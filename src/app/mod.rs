//! Floor 11: wiring, one line a subsystem; reload; the command line.
//!
//! [`daemon`] starts and stops everything in order; the loops beside it move what one subsystem
//! hands to the next: [`results`] probe runs to the journal, [`intents`] those that will begin, [`fold_loop`] journal to state,
//! [`evaluate_loop`] state to decisions, [`deliver_loop`] outbox to couriers, [`checkpoint_loop`]
//! state to disk. [`replay`], [`recount`] and [`rebuild`] read the journal again: after a start, for
//! new indicators, and for history that did not open.

mod calibrate_loop;
pub mod checkpoint_loop;
pub mod cli;
pub mod collector;
pub mod daemon;
pub mod deliver_loop;
pub mod discovery;
pub mod engine;
pub mod evaluate_loop;
pub mod fold_loop;
pub mod front_door;
pub mod handle;
pub mod intents;
pub mod opening;
pub mod rebuild;
pub mod recount;
pub mod reload;
pub mod replay;
pub mod results;
#[cfg(test)]
mod tests;
pub mod watch;

pub use cli::main;
