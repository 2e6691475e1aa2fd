//! Status codes of gRPC and the trailers in which a call ends.

use super::super::failure::{Attempt, failure, quote};
use super::super::target::unescape;
use crate::model::probe::FailureReason;
use ::http::HeaderMap;
use std::fmt;

/// The names, by number.
const NAMES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

const STATUS: &str = "grpc-status";
const MESSAGE: &str = "grpc-message";

/// A status code: one of the 17, or another number that a server made up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code(pub u16);

/// How a server ended a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ending {
    /// Its verdict.
    pub code: Code,
    /// Its own words, often none.
    pub words: String,
}

// === impl Code ===

impl Code {
    /// It went well.
    pub const OK: Self = Self(0);
    /// The server does not know the method.
    pub const UNIMPLEMENTED: Self = Self(12);

    /// Reads a name (`NOT_FOUND`, in any case) or the number of one of the 17 codes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let by_name = (0_u16..).zip(NAMES).find(|(_, name)| name.eq_ignore_ascii_case(text));
        let known = |number: &u16| usize::from(*number) < NAMES.len();
        by_name.map(|(number, _)| number).or_else(|| text.parse().ok().filter(known)).map(Self)
    }

    /// All names, in the order of their numbers.
    #[must_use]
    pub fn names() -> &'static [&'static str] {
        &NAMES
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.get(usize::from(self.0)) {
            Some(name) => f.write_str(name),
            None => write!(f, "{}", self.0),
        }
    }
}

// === impl Ending ===

impl Ending {
    /// Reads the ending in trailers, or in the headers of an answer that has nothing else; none
    /// when there is no status among them.
    ///
    /// # Errors
    /// A protocol failure when the status is not a number.
    pub(super) fn of(trailers: &HeaderMap) -> Attempt<Option<Self>> {
        let Some(status) = trailers.get(STATUS) else { return Ok(None) };
        let number = status.to_str().ok().and_then(|text| text.parse().ok());
        let Some(number) = number else {
            let text = String::from_utf8_lossy(status.as_bytes());
            let words = format!("`{}` is not a {STATUS}", quote(&text));
            return Err(failure(FailureReason::Protocol, words));
        };
        let words = trailers.get(MESSAGE).map(|text| String::from_utf8_lossy(text.as_bytes()));
        let words = quote(&unescape(words.as_deref().unwrap_or_default()));
        Ok(Some(Self { code: Code(number), words }))
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)?;
        if self.words.is_empty() { Ok(()) } else { write!(f, " ({})", self.words) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guarantees names and numbers of codes, and nothing beyond the 17.
    #[test]
    fn codes_have_names_and_numbers() {
        let check = |text: &str, expected: Option<u16>| {
            assert_eq!(Code::parse(text).map(|code| code.0), expected, "{text}");
        };
        check("OK", Some(0));
        check("not_found", Some(5));
        check("16", Some(16));
        check("17", None);
        check("-1", None);
        check("FINE", None);
        assert_eq!(
            (Code(14).to_string(), Code(99).to_string()),
            ("UNAVAILABLE".into(), "99".into())
        );
    }

    /// Guarantees that a server's words are decoded, whatever bytes they stand for.
    #[test]
    fn endings_are_read_from_trailers() {
        let check = |status: &str, message: &str, expected: &str| {
            let mut trailers = HeaderMap::new();
            trailers.insert(STATUS, status.parse().expect("a value"));
            trailers.insert(MESSAGE, message.parse().expect("a value"));
            let ending = Ending::of(&trailers);
            let got = ending.map_or_else(|f| f.message, |e| e.expect("a status").to_string());
            assert_eq!(got, expected);
        };
        check("0", "", "OK");
        check("5", "no%20such r%C3%B6%C3%B6m%", "NOT_FOUND (no such rööm%)");
        check("42", "%FF", "42 (\u{fffd})");
        check("fine", "", "`fine` is not a grpc-status");
        check("70000", "", "`70000` is not a grpc-status");
        assert_eq!(Ending::of(&HeaderMap::new()), Ok(None));
    }
}
