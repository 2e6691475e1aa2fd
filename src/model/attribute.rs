//! Values of attributes: what a step found out, by OpenTelemetry's scalar types.
//!
//! A name ends in the unit of its number: `_ns` nanoseconds, `_seconds`, `_bytes`; others are plain
//! counts. So a number stays one on its way through spans, journal and JSON, and people are shown a
//! duration as such.

use crate::base::duration::humane;
use std::fmt;
use std::time::Duration;

/// A name and its value.
pub type Attribute = (String, AttributeValue);

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq)]
pub enum AttributeValue {
    /// Words.
    Text(String),
    /// A count, or a size or duration in the unit that the name ends in.
    Integer(i64),
    /// Any other number.
    Double(f64),
    /// Yes or no.
    Flag(bool),
}

impl AttributeValue {
    /// The value as people are shown it, under that name: durations with a unit that fits.
    #[must_use]
    pub fn shown(&self, name: &str) -> String {
        match self {
            Self::Integer(ns) if name.ends_with("_ns") => {
                humane(Duration::from_nanos(u64::try_from(*ns).unwrap_or(0)))
            }
            Self::Integer(bytes) if name.ends_with("_bytes") => format!("{bytes} B"),
            Self::Integer(seconds) if name.ends_with("_seconds") => {
                humane(Duration::from_secs(u64::try_from(*seconds).unwrap_or(0)))
            }
            other => other.to_string(),
        }
    }
}

impl fmt::Display for AttributeValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Integer(number) => number.fmt(f),
            Self::Double(number) => number.fmt(f),
            Self::Flag(truth) => truth.fmt(f),
        }
    }
}

impl From<String> for AttributeValue {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&str> for AttributeValue {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<u64> for AttributeValue {
    /// Saturates at the 63 bits that OpenTelemetry has.
    fn from(number: u64) -> Self {
        Self::Integer(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<usize> for AttributeValue {
    fn from(number: usize) -> Self {
        Self::from(number as u64)
    }
}

impl From<u32> for AttributeValue {
    fn from(number: u32) -> Self {
        Self::Integer(number.into())
    }
}

impl From<i32> for AttributeValue {
    fn from(number: i32) -> Self {
        Self::Integer(number.into())
    }
}

impl From<bool> for AttributeValue {
    fn from(truth: bool) -> Self {
        Self::Flag(truth)
    }
}

impl From<Duration> for AttributeValue {
    /// Nanoseconds: the name must end in `_ns`.
    fn from(duration: Duration) -> Self {
        Self::Integer(i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guarantees that a number is shown in the unit that its name ends in, and is itself elsewhere.
    #[test]
    fn numbers_are_shown_in_their_unit() {
        let value = AttributeValue::from(Duration::from_micros(1_500));
        assert_eq!(value.shown("fanout.first_ns"), "1.50ms");
        assert_eq!(value.shown("ledger.received"), "1500000");
        assert_eq!(AttributeValue::from(7_u64).shown("http.body_bytes"), "7 B");
        assert_eq!(AttributeValue::from(30_u64).shown("dns.ttl_seconds"), "30s");
        assert_eq!(AttributeValue::from(true).shown("mqtt.session_present"), "true");
        assert_eq!(AttributeValue::from(u64::MAX), AttributeValue::Integer(i64::MAX));
    }
}
