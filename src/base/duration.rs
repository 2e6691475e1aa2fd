//! Durations as users write them: `250ms`, `10s`, `1h30m`, `30d`, `4w`.
//!
//! A day is 24 h and a week 7 d, always; calendar time lives with cron alone.

use std::time::Duration;

const UNITS: [(&str, u64); 6] = [
    ("w", 7 * 24 * 3_600_000),
    ("d", 24 * 3_600_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// What is wrong with a duration's text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// Nothing was written.
    #[error("a duration is missing, for example 10s")]
    Empty,
    /// A number without a unit, or a unit without a number.
    #[error("`{0}` is not a duration: write number and unit, for example 250ms, 10s or 1h30m")]
    Malformed(String),
    /// An unknown unit.
    #[error("`{0}` is not a unit of time: use ms, s, m, h, d or w")]
    Unit(String),
    /// More than 584 million years.
    #[error("`{0}` is too long")]
    TooLong(String),
}

/// Reads a duration: one or more of number and unit, without spaces or fractions.
///
/// # Errors
/// When the text is empty, malformed, has an unknown unit, or overflows.
pub fn parse(text: &str) -> Result<Duration, DurationError> {
    let text = text.trim();
    if text.is_empty() {
        return Err(DurationError::Empty);
    }
    let mut rest = text;
    let mut total_ms = 0_u64;
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, after) = rest.split_at(digits);
        let letters =
            after.len() - after.trim_start_matches(|c: char| c.is_ascii_alphabetic()).len();
        let (unit, next) = after.split_at(letters);
        if number.is_empty() || unit.is_empty() {
            return Err(DurationError::Malformed(text.to_owned()));
        }
        let ms = UNITS
            .iter()
            .find(|(name, _)| *name == unit)
            .map(|(_, ms)| *ms)
            .ok_or_else(|| DurationError::Unit(unit.to_owned()))?;
        total_ms = number
            .parse::<u64>()
            .ok()
            .and_then(|n| n.checked_mul(ms))
            .and_then(|part| total_ms.checked_add(part))
            .ok_or_else(|| DurationError::TooLong(text.to_owned()))?;
        rest = next;
    }
    Ok(Duration::from_millis(total_ms))
}

/// Writes a duration as [`parse`] reads it, in the largest units; parts below a millisecond are cut.
#[must_use]
pub fn format(duration: Duration) -> String {
    let mut ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if ms == 0 {
        return "0s".to_owned();
    }
    let mut text = String::new();
    // Weeks are read but not written: people think of windows in days.
    for (unit, size) in UNITS.into_iter().skip(1) {
        if ms >= size {
            text.push_str(&(ms / size).to_string());
            text.push_str(unit);
            ms %= size;
        }
    }
    text
}

/// A duration for people: two significant units at most, `2d 4h`, `9m 30s`, `41ms`, `870us`.
#[must_use]
pub fn humane(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match duration {
        d if d < Duration::from_millis(1) => format!("{}us", d.as_micros()),
        d if d < Duration::from_millis(10) => format!("{:.2}ms", d.as_secs_f64() * 1e3),
        d if d < Duration::from_secs(1) => format!("{}ms", d.as_millis()),
        d if d < Duration::from_secs(10) => format!("{:.2}s", d.as_secs_f64()),
        _ if seconds < 60 => format!("{seconds}s"),
        _ if seconds < 3_600 => two(seconds / 60, "m", seconds % 60, "s"),
        _ if seconds < 86_400 => two(seconds / 3_600, "h", seconds % 3_600 / 60, "m"),
        _ => two(seconds / 86_400, "d", seconds % 86_400 / 3_600, "h"),
    }
}

fn two(large: u64, large_unit: &str, small: u64, small_unit: &str) -> String {
    if small == 0 {
        format!("{large}{large_unit}")
    } else {
        format!("{large}{large_unit} {small}{small_unit}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Guarantees the documented grammar, and an error that names the wrong part.
    #[test]
    fn reads_what_users_write_and_says_what_is_wrong() {
        let check = |text: &str, expected: Result<u64, &str>| {
            let got = parse(text).map(|d| d.as_millis() as u64).map_err(|e| e.to_string());
            match expected {
                Ok(ms) => assert_eq!(got, Ok(ms), "{text}"),
                Err(part) => {
                    assert!(got.as_ref().is_err_and(|e| e.contains(part)), "{text}: {got:?}")
                }
            }
        };
        check("250ms", Ok(250));
        check("1h30m", Ok(5_400_000));
        check("2w", Ok(1_209_600_000));
        check("", Err("missing"));
        check("10", Err("number and unit"));
        check("10 s", Err("number and unit"));
        check("5y", Err("`y` is not a unit"));
        check("99999999999999999999d", Err("too long"));
    }

    proptest! {
        /// Guarantees that what we print we read back as the same duration.
        #[test]
        fn format_and_parse_agree(ms in 0_u64..4_000_000_000_000) {
            let duration = Duration::from_millis(ms);
            prop_assert_eq!(parse(&format(duration)), Ok(duration));
        }

        /// Guarantees that no text makes the parser panic.
        #[test]
        fn any_text_is_answered(text in ".*") {
            let _ = parse(&text);
        }
    }
}
