//! Walks a tree as typed fields. Reading a mapping to its end tells all that is wrong with it:
//! every key that nobody asked for, every value of the wrong kind, every key that is missing.

use super::files::Files;
use super::names::suggestion;
use super::problem::Problems;
use super::scalar::quoted;
use super::tree::{Entry, Node, Place, Value};
use std::cell::Cell;
use std::rc::Rc;

/// What everybody who reads needs: where to report, and what the outside world says.
pub(super) struct Context<'c> {
    /// Where mistakes go.
    pub(super) problems: Problems,
    /// What was read, for places and for files beside.
    pub(super) files: &'c Files,
    /// Whether every file was read and parsed: only then is what nothing defines a mistake of its own.
    pub(super) is_whole: Cell<bool>,
    /// The environment.
    pub(super) env: &'c dyn Fn(&str) -> Option<String>,
    /// Whether redaction leaves an attribute in what phones report.
    pub(super) attribute_is_kept: &'c dyn Fn(&str) -> bool,
}

/// A mapping being read. Made by [`Context::fields`].
pub(super) struct Fields<'t> {
    /// Where to report.
    pub(super) cx: &'t Context<'t>,
    /// Where the mapping stands.
    pub(super) at: Place,
    /// What it is, with its article: `a probe`.
    what: &'static str,
    entries: &'t [Entry],
    /// Keys that were asked for.
    known: Vec<&'static str>,
}

/// Keys of neighbouring tools, and what to write here instead.
const FOREIGN_KEYS: &[(&str, &str)] = &[
    ("frequency", "here it is `every: 10s`"),
    ("group_by", "alerts are told one by one, never grouped: remove it"),
    ("group_interval", "alerts are told one by one, never grouped: remove it"),
    ("group_wait", "alerts are told one by one, never grouped: remove it"),
    ("interval", "here it is `every: 10s`"),
    ("listen", "it stands at the top level: listen: 127.0.0.1:7663; OTLP has otlp: { grpc, http }"),
    ("match", "write matchers: [ 'severity=\"page\"' ]"),
    ("match_re", "write matchers: [ 'owner=~\"chat.*\"' ]"),
    ("module", "a probe holds its own http:, websocket: or sse: block"),
    ("percentile", "count instead: objective: 99% with latency: { under: 300ms }"),
    ("query_response", "here it is `dialogue`"),
    ("schedule", "here it is `cron: \"*/5 * * * *\"`"),
    ("target", "an SLO has an `objective`, a probe's block a `url`"),
    ("threshold", "here it is `under: 100ms`"),
    ("throttle", "here it is `network: lte`; `radiosonde probe --networks` lists them"),
    ("throttling", "here it is `network: lte`; `radiosonde probe --networks` lists them"),
    ("time_window", "here it is `window: 30d`"),
    ("timezone", "here it is `tz: Europe/Berlin`"),
    ("webhook_configs", "a receiver here has one channel: webhook: { url: … }"),
    ("ws", "here it is `websocket`"),
];

// === impl Context ===

impl<'c> Context<'c> {
    /// Reads a mapping; `what` is what it is, with its article. Keys that `read` did not ask for
    /// are reported afterwards, so `read` asks for all it knows before it gives up.
    pub(super) fn fields<'t, T>(
        &'t self,
        node: &'t Node,
        what: &'static str,
        read: impl FnOnce(&mut Fields<'t>) -> T,
    ) -> Option<T> {
        match &node.value {
            Value::Map(entries) => Some(self.entries(entries, node.at, what, read)),
            _ => {
                let message = format!("{what} must be a mapping, not {}", node.kind());
                self.problems.wrong_hint(node.at, message, "write it as key: value pairs");
                None
            }
        }
    }

    /// As [`Context::fields`], over entries that were gathered.
    pub(super) fn entries<'t, T>(
        &'t self,
        entries: &'t [Entry],
        at: Place,
        what: &'static str,
        read: impl FnOnce(&mut Fields<'t>) -> T,
    ) -> T {
        let mut fields = Fields { cx: self, at, what, entries, known: Vec::new() };
        let result = read(&mut fields);
        fields.report_unknown();
        result
    }

    /// The items of a list; a mistake when it is something else.
    pub(super) fn items<'t>(&self, node: &'t Node, key: &str) -> &'t [Rc<Node>] {
        match &node.value {
            Value::List(items) => items,
            _ => {
                self.expected(node, key, "a list");
                &[]
            }
        }
    }

    /// The items of a list, or the one thing that stands in its place.
    pub(super) fn one_or_many<'t>(&self, node: &'t Node) -> Vec<&'t Node> {
        match &node.value {
            Value::List(items) => items.iter().map(AsRef::as_ref).collect(),
            _ => vec![node],
        }
    }

    /// Reports that `key` needs something else than what is there.
    pub(super) fn expected(&self, node: &Node, key: &str, wanted: &str) {
        let message = format!("`{}` must be {wanted}, not {}", quoted(key), node.kind());
        self.problems.wrong(node.at, message);
    }
}

// === impl Fields ===

impl<'t> Fields<'t> {
    /// The value of `key`, if it is there. A key without a value is a mistake.
    pub(super) fn get(&mut self, key: &'static str) -> Option<&'t Node> {
        let entry = self.entry(key)?;
        if entry.value.is_nothing() {
            let hint = "give it one or remove the key";
            self.cx.problems.wrong_hint(entry.at, format!("`{key}` has no value"), hint);
            return None;
        }
        Some(&entry.value)
    }

    /// The value of `key`; a mistake when it is not there.
    pub(super) fn need(&mut self, key: &'static str, example: &str) -> Option<&'t Node> {
        if !self.has(key) {
            let message = format!("{} needs `{key}`", self.what);
            self.cx.problems.wrong_hint(self.at, message, format!("for example {key}: {example}"));
        }
        self.get(key)
    }

    /// Whether `key` is there, with a value or without.
    pub(super) fn has(&mut self, key: &'static str) -> bool {
        self.entry(key).is_some()
    }

    /// Whether `key` is there, without making it one of the known keys.
    pub(super) fn peek(&self, key: &str) -> bool {
        self.entries.iter().any(|entry| entry.key == key)
    }

    /// Where the value of `key` stands, or else the mapping itself.
    pub(super) fn at(&self, key: &str) -> Place {
        self.entries.iter().find(|entry| entry.key == key).map_or(self.at, |entry| entry.value.at)
    }

    /// The one of `keys` that is there; a mistake when there is none or more than one. Of several the
    /// first is handed back, so that what is wrong within it is told as well.
    pub(super) fn exactly_one(
        &mut self,
        keys: &[&'static str],
    ) -> Option<(&'static str, &'t Node)> {
        let present: Vec<&'static str> = keys.iter().copied().filter(|key| self.has(key)).collect();
        let one_of = keys.join(", ");
        match present.as_slice() {
            [key] => self.get(key).map(|node| (*key, node)),
            [] => {
                let message = format!("{} needs one of {one_of}", self.what);
                self.cx.problems.wrong(self.at, message);
                None
            }
            [first, second, ..] => {
                let message = format!("{} has both `{first}` and `{second}`", self.what);
                let at = self.entry(second).map_or(self.at, |entry| entry.at);
                self.cx.problems.wrong_hint(at, message, format!("give one of {one_of}"));
                self.get(first).map(|node| (*first, node))
            }
        }
    }

    /// Marks keys as known that are read elsewhere.
    pub(super) fn allow(&mut self, keys: &[&'static str]) {
        self.known.extend(keys);
    }

    fn entry(&mut self, key: &'static str) -> Option<&'t Entry> {
        if !self.known.contains(&key) {
            self.known.push(key);
        }
        self.entries.iter().find(|entry| entry.key == key)
    }

    fn report_unknown(mut self) {
        self.known.sort_unstable();
        for entry in self.entries {
            let key = entry.key.as_str();
            if self.known.contains(&key) {
                continue;
            }
            let foreign = FOREIGN_KEYS.iter().find(|(name, _)| *name == key).map(|(_, hint)| *hint);
            let hint = foreign.map_or_else(|| suggestion(key, &self.known, "key"), str::to_owned);
            let message = format!("unknown key `{}` in {}", quoted(key), self.what);
            self.cx.problems.wrong_hint(entry.at, message, hint);
        }
    }
}
