//! Floor 5: schedules probes, runs them, measures, and hands each run to a bounded channel.
//!
//! Knows nothing of SLOs or storage. The definition is [`spec`]; `config/` makes it from YAML.

pub mod spec;
