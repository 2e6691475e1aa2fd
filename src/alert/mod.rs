//! Floor 8: budgets, burn rates, alert states, routing, silences, explanation.
//!
//! Everything is a function of the counts and `now`. [`evaluate`] decides transitions; they are
//! journaled and come back through [`book`], live and in replay alike. Knows nothing of channels'
//! payloads.

pub mod binomial;
pub mod book;
pub mod budget;
pub mod codec;
pub mod core;
pub mod evaluate;
pub mod explain;
pub mod health;
pub mod intents;
pub mod outbox;
pub mod policy;
pub mod state;
pub mod summary;
#[cfg(test)]
mod tests;

pub use self::core::{Core, SharedCore};
pub use book::AlertBook;
pub use policy::Policy;
