//! Floor 5: the OTLP front door: admit, inflate, validate, redact, journal, answer.
