//! Which events an SLO counts: `probe`, `http`, `span` or `event`, and `where`.

use super::fields::{Context, Fields};
use super::names::suggestion;
use super::probe::Probes;
use super::scalar::quoted;
use super::settings::Phones;
use super::tree::{Entry, Node, Place, Value};
use crate::model::matcher::{AttributeMatch, Where};
use crate::model::objective::{Selector, Source};
use crate::wire::semconv;

/// Values of one key, and keys of one filter.
const MAX_MATCHES: usize = 100;

/// Keys of older semantic conventions. Records carry the current ones by the time they are counted.
const OLD_KEYS: [(&str, &str); 5] = [
    (semconv::OLD_HTTP_METHOD, semconv::HTTP_REQUEST_METHOD),
    (semconv::OLD_HTTP_STATUS_CODE, semconv::HTTP_RESPONSE_STATUS_CODE),
    (semconv::OLD_HTTP_URL, semconv::URL_FULL),
    (semconv::OLD_HTTP_TARGET, semconv::URL_PATH),
    (semconv::OLD_NET_PEER_NAME, semconv::SERVER_ADDRESS),
];

/// Reads selectors, knowing what there is to select.
#[derive(Clone, Copy)]
pub(super) struct Selectors<'t> {
    /// Where to report.
    pub(super) cx: &'t Context<'t>,
    /// Probes that may be named.
    pub(super) probes: &'t Probes,
    /// Attributes that phones' settings keep.
    pub(super) phones: &'t Phones,
}

// === impl Selectors ===

impl Selectors<'_> {
    /// The source, one of `keys`, and its filter.
    pub(super) fn selector(
        &self,
        fields: &mut Fields<'_>,
        keys: &[&'static str],
    ) -> Option<Selector> {
        let filter = fields.get("where").map(|node| self.filter(node)).unwrap_or_default();
        if self.refuse_others(fields, keys) {
            return None;
        }
        let (key, node) = fields.exactly_one(keys)?;
        let source = match key {
            "probe" => Source::Probe(self.probe(node)?),
            "http" => self.http(node)?,
            "span" => Source::Span(self.cx.text(node, key)?.to_owned()),
            _ => Source::Event(self.cx.text(node, key)?.to_owned()),
        };
        if key == "probe" && fields.has("where") {
            let message = "`where` filters what phones report, not runs of a probe";
            let hint = "a probe is selected by its name alone";
            self.cx.problems.wrong_hint(fields.at("where"), message, hint);
        }
        Some(Selector { source, filter })
    }

    /// Reports sources that exist but cannot be counted here.
    fn refuse_others(&self, fields: &mut Fields<'_>, keys: &[&'static str]) -> bool {
        const REASONS: [(&str, &str, &str); 2] = [
            (
                "event",
                "an event neither takes time nor fails",
                "count it with ratio: { bad, total }",
            ),
            ("probe", "runs of a probe are not events to count", "use availability: { probe: … }"),
        ];
        let mut is_refused = false;
        for (key, message, hint) in REASONS {
            if !keys.contains(&key) && fields.peek(key) {
                fields.allow(&[key]);
                self.cx.problems.wrong_hint(fields.at(key), message, hint);
                is_refused = true;
            }
        }
        is_refused
    }

    fn probe(&self, node: &Node) -> Option<String> {
        let name = self.cx.text(node, "probe")?;
        if self.probes.by_name.contains_key(name) {
            return Some(name.to_owned());
        }
        if !self.cx.is_whole.get() {
            return None;
        }
        let names: Vec<&str> = self.probes.by_name.keys().map(String::as_str).collect();
        let message = format!("there is no probe `{}`", quoted(name));
        self.cx.problems.wrong_hint(node.at, message, suggestion(name, &names, "probe"));
        None
    }

    /// `POST /rooms/{id}/messages`.
    fn http(&self, node: &Node) -> Option<Source> {
        let text = self.cx.text(node, "http")?;
        if let Some((method, path)) = text.trim().split_once(' ') {
            let method = method.to_ascii_uppercase();
            let path = path.trim();
            let is_method = !method.is_empty() && method.chars().all(|c| c.is_ascii_uppercase());
            if is_method && is_template(path) {
                return Some(Source::Http { method, path: path.to_owned() });
            }
        }
        let message = format!("`{}` is not a method and a path", quoted(text));
        let hint = "for example \"POST /rooms/{id}/messages\"";
        self.cx.problems.wrong_hint(node.at, message, hint);
        None
    }

    /// `{ os.name: [Android, iOS], app.tier: gold }`.
    fn filter(&self, node: &Node) -> Where {
        let Value::Map(entries) = &node.value else {
            self.cx.expected(node, "where", "a mapping of attributes and values");
            return Where::default();
        };
        if entries.len() > MAX_MATCHES {
            self.cx.problems.wrong(node.at, format!("more than {MAX_MATCHES} attributes"));
        }
        let entries = entries.iter().take(MAX_MATCHES);
        Where(entries.filter_map(|entry| self.attribute(entry)).collect())
    }

    fn attribute(&self, entry: &Entry) -> Option<AttributeMatch> {
        let nodes = self.cx.one_or_many(&entry.value);
        let values: Vec<String> = nodes
            .iter()
            .filter_map(|node| self.cx.text(node, &entry.key).map(str::to_owned))
            .collect();
        if nodes.is_empty() || nodes.len() > MAX_MATCHES {
            let message = format!("`{}` needs 1 to {MAX_MATCHES} values", quoted(&entry.key));
            self.cx.problems.wrong(entry.value.at, message);
        }
        self.check_attribute(&entry.key, entry.at)
            .then(|| AttributeMatch { key: entry.key.clone(), values })
    }

    /// Whether an attribute will be there to be matched; reported when not.
    pub(super) fn check_attribute(&self, key: &str, at: Place) -> bool {
        if let Some((_, current)) = OLD_KEYS.iter().find(|(old, _)| *old == key) {
            let message = format!("`{key}` is an old name");
            self.cx.problems.wrong_hint(at, message, format!("write {current}"));
            return false;
        }
        let is_kept = (self.cx.attribute_is_kept)(key)
            || key == self.phones.region_attribute
            || self.phones.keep_attributes.iter().any(|kept| kept == key);
        if !is_kept {
            let message = format!("redaction removes the attribute `{}`", quoted(key));
            let hint = "if it may be kept: phones: { keep_attributes: [ … ] } in radiosonde.yaml";
            self.cx.problems.wrong_hint(at, message, hint);
        }
        is_kept
    }
}

/// A path from `/`, of segments that are text or one `{name}` each.
pub(super) fn is_template(path: &str) -> bool {
    let is_segment = |segment: &str| {
        let name = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
        let text = name.unwrap_or(segment);
        let is_plain = !text.contains(|c: char| "{}?#".contains(c) || c.is_whitespace());
        is_plain && name.is_none_or(|name| !name.is_empty())
    };
    path.len() <= 500 && path.strip_prefix('/').is_some_and(|rest| rest.split('/').all(is_segment))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guarantees what a path template is made of.
    #[test]
    fn templates_are_whole_segments() {
        let check = |path: &str, expected: bool| assert_eq!(is_template(path), expected, "{path}");
        check("/", true);
        check("/rooms/{id}/messages", true);
        check("rooms", false);
        check("/rooms/{id", false);
        check("/rooms/{}", false);
        check("/rooms/x{id}", false);
        check("/rooms?limit=1", false);
        check("/a b", false);
    }
}
