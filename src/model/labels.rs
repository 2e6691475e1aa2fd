//! Label sets: sorted names and values, and their stable 128-bit identity.

use std::fmt;
use std::sync::Arc;
use xxhash_rust::xxh3::Xxh3Default;

/// Names and values, sorted by name, each name once. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Labels(Arc<[(Box<str>, Box<str>)]>);

impl Labels {
    /// The set of `pairs`; of pairs with the same name the last one counts, and a pair with an
    /// empty value is the same as none (as in Prometheus).
    pub fn new<N, V>(pairs: impl IntoIterator<Item = (N, V)>) -> Self
    where
        N: Into<Box<str>>,
        V: Into<Box<str>>,
    {
        let mut sorted: Vec<(Box<str>, Box<str>)> = Vec::new();
        for (name, value) in pairs {
            let (name, value) = (name.into(), value.into());
            match sorted.binary_search_by(|(known, _)| known.cmp(&name)) {
                Ok(at) => {
                    if let Some(pair) = sorted.get_mut(at) {
                        pair.1 = value;
                    }
                }
                Err(at) => sorted.insert(at, (name, value)),
            }
        }
        sorted.retain(|(_, value)| !value.is_empty());
        Self(sorted.into())
    }

    /// The value under `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        let at = self.0.binary_search_by(|(known, _)| (**known).cmp(name)).ok()?;
        self.0.get(at).map(|(_, value)| &**value)
    }

    /// Names and values in the order of names.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// This set with one more pair; it replaces a pair of the same name.
    #[must_use]
    pub fn with(&self, name: &str, value: &str) -> Self {
        Self::new(self.iter().chain([(name, value)]))
    }

    /// A hash that is the same in every process and version: xxh3-128 over `name` and all pairs.
    #[must_use]
    pub fn identity(&self, name: &str) -> u128 {
        identity_of(name, self.iter())
    }
}

/// The identity of a set that was not built: `pairs` sorted by name, none empty. Equal to
/// [`Labels::identity`] of the same pairs; for hot paths that only look a series up.
pub fn identity_of<'a>(name: &str, pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> u128 {
    let mut hash = Xxh3Default::new();
    let mut part = |text: &str| {
        hash.update(text.as_bytes());
        hash.update(&[0xff]);
    };
    part(name);
    for (label, value) in pairs {
        part(label);
        part(value);
    }
    hash.digest128()
}

impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (at, (name, value)) in self.iter().enumerate() {
            let comma = if at > 0 { ", " } else { "" };
            write!(f, "{comma}{name}={value:?}")?;
        }
        f.write_str("}")
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guarantees one canonical form, so that equal sets have equal identities.
    #[test]
    fn order_and_repetition_do_not_matter() {
        let one = Labels::new([("b", "2"), ("a", "1"), ("c", "")]);
        let two = Labels::new([("a", "0"), ("a", "1"), ("b", "2")]);
        assert_eq!(one, two);
        assert_eq!(one.identity("up"), two.identity("up"));
        assert_ne!(one.identity("up"), two.identity("down"));
        assert_eq!(one.get("b"), Some("2"));
        assert_eq!(one.to_string(), r#"{a="1", b="2"}"#);
    }
}
