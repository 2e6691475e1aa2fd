//! Redaction: what must not be kept never reaches the journal.
//!
//! An allow-list. Of attributes only the named ones stay, with scalar values of bounded length;
//! URLs are reduced, ids become keyed hashes. Of the messages around them everything that is free
//! text goes: log bodies, severity texts, status messages, metric descriptions, trace states,
//! exemplars. Names stay, because they are what is counted.

mod allowed;
mod identity;
mod messages;
mod url;

pub use allowed::{DEFAULT_ALLOWED, IDENTITIES};
pub use identity::IdentityKey;

use crate::wire::otlp::{AnyValue, KeyValue, Value};
use allowed::{PATHS, URLS};
use std::collections::HashMap;
use url::{reduce_path, reduce_url};

/// An item keeps this many attributes.
pub const MAX_ATTRIBUTES: usize = 128;
/// A text value keeps this many bytes.
pub const MAX_VALUE_BYTES: usize = 1024;

/// Whether redaction leaves the attribute readable, with `extra` from the configuration. Ids are
/// not: they are kept as hashes, which no `where` can name.
#[must_use]
pub fn is_kept(key: &str, extra: &[String]) -> bool {
    let named = DEFAULT_ALLOWED.contains(&key) || extra.iter().any(|extra| extra == key);
    named && !IDENTITIES.contains(&key)
}

/// Removes what is not allowed from requests. Made once and shared.
#[derive(Debug)]
pub(super) struct Redactor {
    treatments: HashMap<String, Treatment, foldhash::fast::RandomState>,
    key: IdentityKey,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Treatment {
    Keep,
    Url,
    Path,
    Hash,
}

// === impl Redactor ===

impl Redactor {
    /// Allows the default attributes and `extra`, and hashes ids with `key`.
    pub(super) fn new(extra: &[String], key: IdentityKey) -> Self {
        let mut treatments = HashMap::default();
        let extra = extra.iter().map(String::as_str);
        let mut treat = |keys: &mut dyn Iterator<Item = &str>, treatment| {
            treatments.extend(keys.map(|key| (key.to_owned(), treatment)));
        };
        // Later rows win: an id stays an id when the configuration names it.
        treat(&mut DEFAULT_ALLOWED.iter().copied().chain(extra), Treatment::Keep);
        treat(&mut URLS.iter().copied(), Treatment::Url);
        treat(&mut PATHS.iter().copied(), Treatment::Path);
        treat(&mut IDENTITIES.iter().copied(), Treatment::Hash);
        Self { treatments, key }
    }

    /// Redacts one list of attributes; how many of them went.
    fn attributes(&self, attributes: &mut Vec<KeyValue>) -> u64 {
        let before = attributes.len();
        attributes.retain_mut(|attribute| self.keep(attribute));
        attributes.truncate(MAX_ATTRIBUTES);
        (before - attributes.len()) as u64
    }

    fn keep(&self, attribute: &mut KeyValue) -> bool {
        let Some(treatment) = self.treatments.get(attribute.key.as_str()) else { return false };
        // An index into a dictionary that this protocol does not carry.
        attribute.key_strindex = 0;
        match attribute.value.as_mut().and_then(|value| value.value.as_mut()) {
            Some(Value::StringValue(text)) => {
                match treatment {
                    Treatment::Keep => {}
                    Treatment::Url => reduce_url(text),
                    Treatment::Path => reduce_path(text),
                    Treatment::Hash => *text = self.key.hash(text.as_bytes()),
                }
                text.truncate(text.floor_char_boundary(MAX_VALUE_BYTES));
                true
            }
            Some(Value::IntValue(number)) if *treatment == Treatment::Hash => {
                let hash = self.key.hash(number.to_string().as_bytes());
                attribute.value = Some(AnyValue { value: Some(Value::StringValue(hash)) });
                true
            }
            Some(Value::BoolValue(_) | Value::IntValue(_) | Value::DoubleValue(_)) => {
                *treatment == Treatment::Keep
            }
            // Lists, maps and bytes could hold anything under an allowed name.
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests;
