//! What a scalar means: texts, truth values, numbers, durations, sizes, shares, addresses.
//!
//! Each reader reports what is wrong with the value, and with what to write instead; `key` is how
//! the message calls it.

use super::fields::{Context, Fields};
use super::names::nearest;
use super::tree::{Node, Value};
use crate::base::duration;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

/// A duration of no more than a year is asked for everywhere.
pub(super) const YEAR: Duration = Duration::from_secs(366 * 86_400);

const SIZES: &[(&str, u64)] = &[
    ("B", 1),
    ("kB", 1_000),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

/// User text fit for a message: short and on one line.
pub(super) fn quoted(text: &str) -> String {
    const MAX_QUOTED: usize = 60;
    let visible = |c: char| if c.is_control() { ' ' } else { c };
    let mut short: String = text.chars().take(MAX_QUOTED).map(visible).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

// === impl Context ===

impl Context<'_> {
    /// A text in which nothing is filled in. It may look like a number.
    pub(super) fn text<'t>(&self, node: &'t Node, key: &str) -> Option<&'t str> {
        let text = self.raw_text(node, key)?;
        if text.contains("${") {
            let message = format!("`{}` takes no `${{…}}`", quoted(key));
            let hint = "secrets go into headers, bodies, messages, tokens and receivers' URLs";
            self.problems.wrong_hint(node.at, message, hint);
            return None;
        }
        Some(text)
    }

    /// A text whatever it contains.
    pub(super) fn raw_text<'t>(&self, node: &'t Node, key: &str) -> Option<&'t str> {
        match &node.value {
            Value::Scalar { text, .. } if !node.is_nothing() && !text.trim().is_empty() => {
                Some(text)
            }
            _ => {
                self.expected(node, key, "a text");
                None
            }
        }
    }

    /// One of the words of a closed set.
    pub(super) fn choice<T: Copy>(&self, node: &Node, key: &str, of: &[(&str, T)]) -> Option<T> {
        let text = self.text(node, key)?;
        let found = of.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        if found.is_none() {
            let words: Vec<&str> = of.iter().map(|(word, _)| *word).collect();
            let hint = match nearest(text, words.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("write one of {}", words.join(", ")),
            };
            let message = format!("`{}` cannot be `{}`", quoted(key), quoted(text));
            self.problems.wrong_hint(node.at, message, hint);
        }
        found
    }

    /// `true` or `false`.
    pub(super) fn flag(&self, node: &Node, key: &str) -> Option<bool> {
        match self.text(node, key)? {
            "true" => Some(true),
            "false" => Some(false),
            other => {
                let message = format!("`{}` must be true or false, not `{}`", key, quoted(other));
                self.problems.wrong(node.at, message);
                None
            }
        }
    }

    /// A whole number.
    pub(super) fn integer(&self, node: &Node, key: &str, of: RangeInclusive<u64>) -> Option<u64> {
        let text = self.text(node, key)?;
        let number = text.parse::<u64>().ok().filter(|number| of.contains(number));
        if number.is_none() {
            let message = format!("`{}` must be a whole number, not `{}`", key, quoted(text));
            let hint = format!("from {} to {}", of.start(), of.end());
            self.problems.wrong_hint(node.at, message, hint);
        }
        number
    }

    /// A duration within bounds.
    pub(super) fn duration(
        &self,
        node: &Node,
        key: &str,
        of: RangeInclusive<Duration>,
    ) -> Option<Duration> {
        let text = self.text(node, key)?;
        let parsed = match duration::parse(text) {
            Ok(parsed) => parsed,
            Err(error) => {
                let message = format!("`{key}`: {}", quoted_error(&error.to_string()));
                self.problems.wrong(node.at, message);
                return None;
            }
        };
        if of.contains(&parsed) {
            return Some(parsed);
        }
        let bounds = format!("from {} to {}", written(*of.start()), written(*of.end()));
        let message = format!("`{key}` cannot be {}", quoted(text));
        self.problems.wrong_hint(node.at, message, bounds);
        None
    }

    /// A number of bytes: `64MiB`, `500kB`, `1024`.
    pub(super) fn bytes(&self, node: &Node, key: &str, of: RangeInclusive<u64>) -> Option<u64> {
        let text = self.text(node, key)?;
        let Some(bytes) = parse_bytes(text) else {
            let message = format!("`{}` is not a size", quoted(text));
            let hint = "write a whole number and a unit, for example 64MiB or 8GiB";
            self.problems.wrong_hint(node.at, message, hint);
            return None;
        };
        if of.contains(&bytes) {
            return Some(bytes);
        }
        let message = format!("`{key}` cannot be {}", quoted(text));
        let hint = format!("from {} to {}", written_bytes(*of.start()), written_bytes(*of.end()));
        self.problems.wrong_hint(node.at, message, hint);
        None
    }

    /// A share above 0, written with %, as 0..1; the caller decides about 1.
    pub(super) fn share(&self, node: &Node, key: &str) -> Option<f64> {
        let text = self.text(node, key)?;
        let digits = text.strip_suffix('%').map(str::trim_end);
        if let Some(share) = digits.and_then(parse_percent) {
            return Some(share);
        }
        let message = format!("`{key}` must be a share above 0% and up to 100%");
        let hint = match text.parse::<f64>() {
            Ok(number) if number > 0.0 && number < 1.0 => {
                format!("write it with %: {}%", round_percent(number))
            }
            Ok(number) if (1.0..=100.0).contains(&number) => format!("write it with %: {number}%"),
            _ => "for example 99.9%".to_owned(),
        };
        self.problems.wrong_hint(node.at, message, hint);
        None
    }

    /// An address to listen on.
    pub(super) fn address(&self, node: &Node, key: &str) -> Option<SocketAddr> {
        let text = self.text(node, key)?;
        let address = text.parse::<SocketAddr>().ok();
        if address.is_none() {
            let message = format!("`{}` is not an IP address and port", quoted(text));
            let hint = match text.strip_prefix("localhost:").or(text.strip_prefix(':')) {
                Some(port) => format!("for example 127.0.0.1:{port}"),
                None => "for example 127.0.0.1:7663 or [::1]:7663".to_owned(),
            };
            self.problems.wrong_hint(node.at, message, hint);
        }
        address
    }
}

// === impl Fields: the same, by key ===

impl Fields<'_> {
    /// The text under `key`.
    pub(super) fn text(&mut self, key: &'static str) -> Option<String> {
        let node = self.get(key)?;
        self.cx.text(node, key).map(str::to_owned)
    }

    /// The truth value under `key`.
    pub(super) fn flag(&mut self, key: &'static str) -> Option<bool> {
        let node = self.get(key)?;
        self.cx.flag(node, key)
    }

    /// The whole number under `key`.
    pub(super) fn integer(&mut self, key: &'static str, of: RangeInclusive<u64>) -> Option<u64> {
        let node = self.get(key)?;
        self.cx.integer(node, key, of)
    }

    /// The duration under `key`.
    pub(super) fn duration(
        &mut self,
        key: &'static str,
        of: RangeInclusive<Duration>,
    ) -> Option<Duration> {
        let node = self.get(key)?;
        self.cx.duration(node, key, of)
    }

    /// The size under `key`.
    pub(super) fn bytes(&mut self, key: &'static str, of: RangeInclusive<u64>) -> Option<u64> {
        let node = self.get(key)?;
        self.cx.bytes(node, key, of)
    }

    /// The address under `key`.
    pub(super) fn address(&mut self, key: &'static str) -> Option<SocketAddr> {
        let node = self.get(key)?;
        self.cx.address(node, key)
    }
}

/// A duration as users write it.
pub(super) fn written(duration: Duration) -> String {
    duration::format(duration)
}

/// An error that repeats user text, cut to a bearable length.
fn quoted_error(text: &str) -> String {
    const MAX_ERROR: usize = 160;
    let visible = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().take(MAX_ERROR).map(visible).collect()
}

fn parse_bytes(text: &str) -> Option<u64> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim_start();
    let size = if unit.is_empty() {
        1
    } else {
        SIZES.iter().find(|(name, _)| *name == unit).map(|(_, size)| *size)?
    };
    number.parse::<u64>().ok()?.checked_mul(size)
}

fn written_bytes(bytes: u64) -> String {
    let binary = SIZES.iter().rev().filter(|(name, _)| name.ends_with("iB") || *name == "B");
    binary
        .into_iter()
        .find(|(_, size)| bytes >= *size && bytes.is_multiple_of(*size))
        .map_or_else(|| format!("{bytes}B"), |(name, size)| format!("{}{name}", bytes / size))
}

/// Reads `99.9` as 0.999 and not as the float next to it, which 99.9 / 100 would give.
fn parse_percent(digits: &str) -> Option<f64> {
    let is_decimal = digits.chars().all(|c| c.is_ascii_digit() || c == '.') && digits.len() <= 20;
    let share: f64 = format!("{digits}e-2").parse().ok().filter(|_| is_decimal)?;
    (share > 0.0 && share <= 1.0).then_some(share)
}

fn round_percent(share: f64) -> f64 {
    (share * 1e8).round() / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guarantees that a percentage is the float nearest to what was written.
    #[test]
    fn percentages_are_exact() {
        let check = |text: &str, expected: Option<f64>| {
            assert_eq!(parse_percent(text), expected, "{text}");
        };
        check("99.9", Some(0.999));
        check("99.95", Some(0.9995));
        check("2", Some(0.02));
        check("100", Some(1.0));
        check("0", None);
        check("100.1", None);
        check("-1", None);
        check("1e1", None);
        check("", None);
        check(".", None);
    }

    /// Guarantees that sizes are read and shown in the same units.
    #[test]
    fn sizes_are_read_and_written() {
        assert_eq!(parse_bytes("8GiB"), Some(8 << 30));
        assert_eq!(parse_bytes("500 kB"), Some(500_000));
        assert_eq!(parse_bytes("17"), Some(17));
        assert_eq!(parse_bytes("99999999999TiB"), None);
        assert_eq!(parse_bytes("1.5GiB"), None);
        assert_eq!(written_bytes(64 << 20), "64MiB");
        assert_eq!(written_bytes(1_000), "1000B");
    }
}
