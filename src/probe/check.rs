//! Assertions on an answer or a message: what is asserted, in words, and whether it holds.

use super::failure::{Attempt, quote};
use super::http_exchange::Flow;
use super::json_match::mismatch;
use super::spec::{BodyCheck, FlowChecks, HeaderCheck, StatusRange, TextCheck};
use super::template::Variables;
use crate::base::duration::humane;
use ::http::HeaderMap;
use serde_json::Value;
use std::time::Duration;

/// What passes when a definition names no status.
const SUCCESSFUL: [StatusRange; 1] = [StatusRange { first: 200, last: 299 }];

/// An assertion: its name, and what was found instead when it does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Check {
    /// `status is 200`.
    pub name: String,
    /// What was found instead.
    pub found: Result<(), String>,
}

/// A body as far as it was kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Body<'a> {
    /// The first bytes.
    pub kept: &'a [u8],
    /// How many there were.
    pub length: u64,
}

/// A text check with its variables filled in.
#[derive(Clone, Debug)]
pub(super) enum FilledText {
    /// Equal.
    Equals(String),
    /// Contains.
    Contains(String),
    /// Matches.
    Matches(regex::Regex),
}

/// Asserts that a status is in one of the ranges; of no ranges, that it is a success.
pub(super) fn status(ranges: &[StatusRange], status: u16) -> Check {
    let ranges = if ranges.is_empty() { &SUCCESSFUL } else { ranges };
    let words: Vec<String> = ranges.iter().map(|range| range_text(*range)).collect();
    let holds = ranges.iter().any(|range| (range.first..=range.last).contains(&status));
    Check::new(format!("status is {}", words.join(" or ")), holds, || status.to_string())
}

/// Asserts a header; of several with that name, one must hold.
///
/// # Errors
/// A local failure when a variable has no value.
pub(super) fn header(
    check: &HeaderCheck,
    headers: &HeaderMap,
    variables: &Variables,
) -> Attempt<Check> {
    let text = FilledText::fill(&check.text, variables)?;
    let values: Vec<String> = headers
        .get_all(&check.name)
        .iter()
        .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
        .collect();
    let holds = values.iter().any(|value| text.holds(value));
    Ok(Check::new(format!("header {} {text}", check.name), holds, || {
        if values.is_empty() { "no such header".to_owned() } else { values.join(", ") }
    }))
}

/// Asserts something of a body.
///
/// # Errors
/// A local failure when a variable has no value.
pub(super) fn body(check: &BodyCheck, body: Body<'_>, variables: &Variables) -> Attempt<Check> {
    Ok(match check {
        BodyCheck::MaxBytes(most) => {
            let name = format!("body is not longer than {most} bytes");
            Check::new(name, body.length <= *most, || format!("{} bytes", body.length))
        }
        BodyCheck::Text(text) => {
            let text = FilledText::fill(text, variables)?;
            let found = String::from_utf8_lossy(body.kept);
            Check::new(format!("body {text}"), text.holds(&found), || found.to_string())
        }
        BodyCheck::Json(json) => {
            let expected = variables.fill_json(json)?;
            let name = format!("body contains {}", quote(&expected.to_string()));
            Check { name, found: json_found(&expected, body) }
        }
    })
}

/// Asserts how an answer came: when it began, counted from its request, and how it flowed.
pub(super) fn flow(checks: &FlowChecks, first_byte: Duration, flow: &Flow) -> Vec<Check> {
    let first = checks.first_byte_within.map(|within| {
        let name = format!("the first byte comes within {}", humane(within));
        Check::new(name, first_byte <= within, || humane(first_byte))
    });
    let gap = checks.max_gap.map(|most| {
        let name = format!("nothing is waited for longer than {}", humane(most));
        Check::new(name, flow.max_gap <= most, || humane(flow.max_gap))
    });
    let chunks = checks.min_chunks.map(|least| {
        let name = format!("the body comes in at least {least} chunks");
        Check::new(name, flow.chunks >= least, || flow.chunks.to_string())
    });
    first.into_iter().chain(gap).chain(chunks).collect()
}

fn json_found(expected: &Value, body: Body<'_>) -> Result<(), String> {
    if body.length > body.kept.len() as u64 {
        return Err(format!("{} bytes, too long to be read as JSON", body.length));
    }
    let actual: Value = serde_json::from_slice(body.kept)
        .map_err(|error| format!("not JSON ({error}): {}", String::from_utf8_lossy(body.kept)))?;
    mismatch(expected, &actual).map_or(Ok(()), |mismatch| Err(mismatch.to_string()))
}

fn range_text(range: StatusRange) -> String {
    if range.first == range.last {
        range.first.to_string()
    } else {
        format!("{}-{}", range.first, range.last)
    }
}

// === impl Check ===

impl Check {
    /// An assertion that `holds`, or else what was found.
    pub(super) fn new(name: String, holds: bool, found: impl FnOnce() -> String) -> Self {
        Self { name, found: if holds { Ok(()) } else { Err(found()) } }
    }

    /// What to say when it does not hold.
    pub(super) fn complaint(&self) -> Option<String> {
        let found = self.found.as_ref().err()?;
        Some(format!("expected that {}, found: {}", self.name, quote(found)))
    }
}

// === impl FilledText ===

impl FilledText {
    /// The check with its variables filled in.
    ///
    /// # Errors
    /// A local failure when a variable has no value.
    pub(super) fn fill(check: &TextCheck, variables: &Variables) -> Attempt<Self> {
        Ok(match check {
            TextCheck::Equals(text) => Self::Equals(variables.fill(text)?),
            TextCheck::Contains(text) => Self::Contains(variables.fill(text)?),
            TextCheck::Matches(pattern) => Self::Matches(pattern.clone()),
        })
    }

    /// Whether a text passes.
    pub(super) fn holds(&self, text: &str) -> bool {
        match self {
            Self::Equals(wanted) => text == wanted,
            Self::Contains(wanted) => text.contains(wanted.as_str()),
            Self::Matches(pattern) => pattern.is_match(text),
        }
    }
}

impl std::fmt::Display for FilledText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Equals(text) => write!(f, "is {:?}", quote(text)),
            Self::Contains(text) => write!(f, "contains {:?}", quote(text)),
            Self::Matches(pattern) => write!(f, "matches /{}/", quote(pattern.as_str())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::UnixNanos;
    use crate::model::probe::RunId;
    use serde_json::json;
    use std::sync::Arc;

    /// Guarantees the default range, single statuses and ranges, and their names.
    #[test]
    fn statuses_are_ranges() {
        let one = |first, last| StatusRange { first, last };
        assert_eq!(status(&[], 204).found, Ok(()));
        assert_eq!(status(&[], 301).found, Err("301".to_owned()));
        let check = status(&[one(404, 404), one(500, 503)], 404);
        assert_eq!((check.name.as_str(), check.found), ("status is 404 or 500-503", Ok(())));
    }

    /// Guarantees that every kind of body check says what it found instead.
    #[test]
    fn body_checks_say_what_they_found() {
        let variables = Variables::new(RunId([1; 16]), UnixNanos(0));
        let check = |check: BodyCheck, text: &str, found: Option<&str>| {
            let of = Body { kept: text.as_bytes(), length: text.len() as u64 };
            let done = body(&check, of, &variables).expect("no variables");
            match (done.found, found) {
                (Ok(()), None) => {}
                (Err(got), Some(part)) => assert!(got.contains(part), "{got}"),
                (got, wanted) => unreachable!("{got:?} {wanted:?}"),
            }
        };
        let json = |value| BodyCheck::Json(Arc::new(value));
        check(json(json!({"ok": true})), r#"{"ok":true,"n":1}"#, None);
        check(json(json!({"ok": true})), r#"{"ok":false}"#, Some("json.ok is false, not true"));
        check(json(json!({})), "<html>", Some("not JSON"));
        check(BodyCheck::Text(TextCheck::Contains("up".into())), "is up", None);
        let digits = regex::Regex::new("^[0-9]+$").expect("valid");
        check(BodyCheck::Text(TextCheck::Matches(digits)), "x1", Some("x1"));
        check(BodyCheck::MaxBytes(3), "four", Some("4 bytes"));
    }

    /// Guarantees that one of several equal headers is enough, and that none is a failure.
    #[test]
    fn a_header_may_come_more_than_once() {
        let variables = Variables::new(RunId([1; 16]), UnixNanos(0));
        let mut headers = HeaderMap::new();
        headers.append("x-a", "1".parse().expect("valid"));
        headers.append("x-a", "2".parse().expect("valid"));
        let check = |name: &str, text: &str| {
            let wanted = HeaderCheck { name: name.into(), text: TextCheck::Equals(text.into()) };
            header(&wanted, &headers, &variables).expect("no variables").found
        };
        assert_eq!(check("x-a", "2"), Ok(()));
        assert_eq!(check("x-a", "3"), Err("1, 2".to_owned()));
        assert_eq!(check("x-b", ""), Err("no such header".to_owned()));
    }
}
