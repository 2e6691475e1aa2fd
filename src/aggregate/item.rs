//! A span, log event or point with its resource: one place to look an attribute up.

use super::dialect;
use crate::model::matcher::Where;
use crate::wire::attributes::{as_label, find};
use crate::wire::otlp::{KeyValue, Value};
use crate::wire::semconv as key;
use std::borrow::Cow;

/// Attributes of an item, before those of its resource.
#[derive(Clone, Copy, Debug)]
pub struct Item<'a> {
    own: &'a [KeyValue],
    resource: &'a [KeyValue],
}

impl<'a> Item<'a> {
    /// An item of a resource.
    #[must_use]
    pub fn new(own: &'a [KeyValue], resource: &'a [KeyValue]) -> Self {
        Self { own, resource }
    }

    /// The value under a current key, or under an older name of it. The item's own attribute counts
    /// before its resource's.
    #[must_use]
    pub fn get(&self, current: &str) -> Option<&'a Value> {
        let one = |name: &str| find(self.own, name).or_else(|| find(self.resource, name));
        one(current).or_else(|| dialect::aliases(current).iter().find_map(|alias| one(alias)))
    }

    /// The value as the text of a label.
    #[must_use]
    pub fn label(&self, current: &str) -> Option<Cow<'a, str>> {
        self.get(current).and_then(as_label)
    }

    /// Whether the filter matches.
    #[must_use]
    pub fn matches(&self, filter: &Where) -> bool {
        filter.matches(|name, wanted| self.label(name).is_some_and(|got| got == wanted))
    }

    /// The application: `service.name`.
    #[must_use]
    pub fn app(&self) -> &'a str {
        match find(self.resource, key::SERVICE_NAME) {
            Some(Value::StringValue(name)) if !name.is_empty() => name,
            _ => "unknown_service",
        }
    }

    /// Whether a probe or a test made it; selectors skip those.
    #[must_use]
    pub fn is_synthetic(&self) -> bool {
        self.get(key::SYNTHETIC_TYPE).is_some()
    }

    /// The request's path without query: from `url.path`, else cut out of `url.full`.
    #[must_use]
    pub fn path(&self) -> Option<Cow<'a, str>> {
        if let Some(path) = self.label(key::URL_PATH) {
            return Some(cut(path, without_query));
        }
        self.label(key::URL_FULL).map(|full| cut(full, path_of_url))
    }

    /// Own attributes and those of the resource that they do not hide, as labels.
    pub fn all_labels(&self) -> impl Iterator<Item = (&'a str, Cow<'a, str>)> {
        let both = self.resource.iter().chain(self.own);
        both.filter_map(|kv| Some((kv.key.as_str(), as_label(kv.value.as_ref()?.value.as_ref()?)?)))
    }
}

fn without_query(text: &str) -> &str {
    text.split(['?', '#']).next().unwrap_or("")
}

fn path_of_url(full: &str) -> &str {
    let after_scheme = full.split_once("://").map_or(full, |(_, rest)| rest);
    let path = after_scheme.find('/').and_then(|at| after_scheme.get(at..)).unwrap_or("/");
    without_query(path)
}

/// A part of a text; what is borrowed stays so.
fn cut<'a>(text: Cow<'a, str>, part: impl for<'t> FnOnce(&'t str) -> &'t str) -> Cow<'a, str> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(part(text)),
        Cow::Owned(text) => Cow::Owned(part(&text).to_owned()),
    }
}
