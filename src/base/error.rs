//! Errors for people: the whole chain on one line.

use std::error::Error;
use std::fmt;

/// Displays an error and all its sources, `outer: inner: innermost`.
///
/// Errors of this project never repeat their source in their own text, so the chain reads without
/// stutter.
pub struct Chain<'a>(pub &'a (dyn Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(error) = source {
            write!(f, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}

/// Whether `E` stands anywhere in the chain of `error`; the innermost match wins.
#[must_use]
pub fn cause<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    let mut found = None;
    let mut at = Some(error);
    while let Some(error) = at {
        found = error.downcast_ref::<E>().or(found);
        at = error.source();
    }
    found
}
