//! Floor 6: the fold. Journal records become series, good/total counts and evidence.
//!
//! Deterministic: the same journal gives the same counts, whatever the order of arrival. Knows
//! nothing of HTTP or alerts. A record comes in as an envelope ([`fold`]); spans ([`spans`]), log
//! events ([`events`]), metric points ([`metrics`]) and probe runs ([`probes`]) are folded by
//! [`rules`] that are compiled from the SLOs in force.

pub mod codec;
pub mod dedupe;
pub mod dialect;
pub mod events;
pub mod fold;
pub mod item;
pub mod labels;
pub mod metrics;
pub mod points;
pub mod probes;
pub mod rules;
pub mod spans;
pub mod streams;
#[cfg(test)]
mod tests;

pub use fold::{Decoded, Folder};
pub use rules::{PhoneSettings, Rules};

/// Names of the series that the fold makes, in OpenTelemetry's spelling.
pub mod names {
    /// Probe runs by outcome.
    pub const PROBE_RUNS: &str = "radiosonde.probe.runs";
    /// How long probe runs and their phases took, seconds.
    pub const PROBE_DURATION: &str = "radiosonde.probe.duration";
    /// Phones' spans, counted. The Collector's name for it.
    pub const SPAN_CALLS: &str = "traces.span.metrics.calls";
    /// How long phones' spans took, seconds. The Collector's name for it.
    pub const SPAN_DURATION: &str = "traces.span.metrics.duration";
    /// Phones' log events, counted.
    pub const EVENTS: &str = "radiosonde.events";
}
