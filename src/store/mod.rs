//! Floor 4: series, indicator counts, evidence and checkpoints; knows nothing of OTLP, probes or YAML.

pub mod history;
