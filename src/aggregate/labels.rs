//! The labels of an item's series: chosen once for all series that the item adds to, and hashed
//! without building a set, because most items only look known series up.

use super::item::Item;
use super::rules::Rules;
use crate::model::labels::Labels;
use crate::model::series::{SeriesId, SeriesKey};
use smallvec::SmallVec;
use std::borrow::Cow;
use xxhash_rust::xxh3::xxh3_128;

/// Names and values, sorted by name, none empty.
#[derive(Debug)]
pub struct SeriesLabels<'a> {
    pairs: SmallVec<[(&'a str, Cow<'a, str>); 12]>,
    /// The pairs as they are hashed.
    bytes: SmallVec<[u8; 256]>,
}

impl<'a> SeriesLabels<'a> {
    /// `own` labels first (those without a value are left out), then those attributes of the item
    /// that the rules make labels.
    #[must_use]
    pub fn new(
        rules: &'a Rules,
        item: Item<'a>,
        own: &'a [(&'a str, Option<Cow<'a, str>>)],
    ) -> Self {
        let mut pairs: SmallVec<[(&str, Cow<'_, str>); 12]> = SmallVec::new();
        for (name, value) in own {
            if let Some(value) = value.as_deref().filter(|value| !value.is_empty()) {
                pairs.push((name, Cow::Borrowed(value)));
            }
        }
        for name in &rules.labels {
            let name = name.as_str();
            let source = rules.phones.source_of(name);
            let taken = pairs.iter().any(|(known, _)| *known == name);
            if !taken && let Some(value) = item.label(source).filter(|value| !value.is_empty()) {
                pairs.push((name, value));
            }
        }
        pairs.sort_unstable_by(|a, b| a.0.cmp(b.0));
        let mut bytes = SmallVec::new();
        for (name, value) in &pairs {
            push(&mut bytes, name);
            push(&mut bytes, value);
        }
        Self { pairs, bytes }
    }

    /// The id of the series of this name: equal to that of [`SeriesLabels::key`].
    #[must_use]
    pub fn id(&self, name: &str) -> SeriesId {
        let mut bytes: SmallVec<[u8; 320]> = SmallVec::new();
        push(&mut bytes, name);
        bytes.extend_from_slice(&self.bytes);
        SeriesId(xxh3_128(&bytes))
    }

    /// The key of the series of this name.
    #[must_use]
    pub fn key(&self, name: &str) -> SeriesKey {
        let pairs = self.pairs.iter().map(|(name, value)| (*name, &**value));
        SeriesKey { name: name.into(), labels: Labels::new(pairs) }
    }
}

/// A text and the mark behind it, as `model::labels` hashes them.
fn push<const N: usize>(bytes: &mut SmallVec<[u8; N]>, text: &str) {
    bytes.extend_from_slice(text.as_bytes());
    bytes.push(0xff);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aggregate::PhoneSettings;
    use crate::wire::attributes::text;

    /// Guarantees that a series is found under the id that its key has, own labels before attributes,
    /// empty ones left out, the region taken from the attribute that is configured for it.
    #[test]
    fn the_id_is_that_of_the_key() {
        let phones =
            PhoneSettings { region_attribute: "cloud.zone".to_owned(), ..PhoneSettings::default() };
        let rules = Rules::new(&[], phones);
        let resource = [text("os.name", "iOS"), text("cloud.zone", "eu"), text("error.type", "")];
        let span = [text("http.route", "/raw"), text("region", "ignored")];
        let own = [
            ("service.name", Some(Cow::Borrowed("chat"))),
            ("http.route", Some(Cow::Borrowed("/rooms/{id}"))),
            ("span.name", None),
        ];
        let labels = SeriesLabels::new(&rules, Item::new(&span, &resource), &own);
        let key = labels.key("calls");
        assert_eq!(labels.id("calls"), key.id());
        assert_ne!(labels.id("calls"), labels.id("duration"));
        let expected =
            r#"{http.route="/rooms/{id}", os.name="iOS", region="eu", service.name="chat"}"#;
        assert_eq!(key.labels.to_string(), expected);
    }
}
