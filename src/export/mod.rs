//! Floor 5: OTLP out.
