//! Floor 3: formats that leave the process. OTLP messages and semantic-convention names, the
//! journal's envelope, probe runs as spans, and the state that checkpoints keep.
//!
//! Knows bytes, not files or sockets.

pub mod attributes;
pub mod otlp;
pub mod probe_spans;
pub mod record;
pub mod semconv;
pub mod state;
