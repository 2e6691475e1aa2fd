//! Floor 9: HTTP on one port: the page, our own JSON, /metrics, health. The only place that knows our
//! own JSON.
//!
//! Reads the folded state under its lock; whatever changes something goes through [`Actions`], which
//! `app/` provides.

pub mod actions;
pub mod blackbox;
pub mod guard;
pub mod json;
pub mod metrics;
mod openapi;
mod operations;
pub mod page;
pub mod pages;
mod past;
pub mod routes;
pub mod server;
#[cfg(test)]
mod tests;
pub mod views;

pub use actions::{Actions, Failed};
pub use server::{ApiState, serve};
