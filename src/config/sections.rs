//! Gathers the top-level keys of all documents of all files.

use super::fields::Context;
use super::names::suggestion;
use super::parse::parse;
use super::scalar::quoted;
use super::tree::{Entry, Node, Value};
use std::rc::Rc;

/// Keys that may stand in any file.
pub(super) const SECTIONS: [&str; 8] =
    ["probes", "modules", "networks", "maintenance", "slos", "receivers", "route", "heartbeat"];
/// Keys of the main file, for the hint when one stands elsewhere.
const SETTINGS: [&str; 15] = [
    "api",
    "blackbox",
    "data",
    "exec",
    "export",
    "external_url",
    "history",
    "insecure",
    "journal",
    "limits",
    "listen",
    "log",
    "otlp",
    "phones",
    "writes",
];
/// Keys with this prefix hold anchors for elsewhere.
const FREE_PREFIX: &str = "x-";

/// Everything that was written, by section.
#[derive(Debug, Default)]
pub(super) struct Sections {
    /// The number of the main file, if there is one.
    pub(super) main: u32,
    /// Settings of the process.
    pub(super) settings: Vec<Entry>,
    /// Items of every `probes`.
    pub(super) probes: Vec<Rc<Node>>,
    /// Entries of every `modules`; none when no file has that key.
    pub(super) modules: Option<Vec<Entry>>,
    /// Items of every `networks`.
    pub(super) networks: Vec<Rc<Node>>,
    /// Items of every `maintenance`.
    pub(super) maintenance: Vec<Rc<Node>>,
    /// Items of every `slos`.
    pub(super) slos: Vec<Rc<Node>>,
    /// Items of every `receivers`.
    pub(super) receivers: Vec<Rc<Node>>,
    /// The one `route`.
    pub(super) route: Option<Rc<Node>>,
    /// The one `heartbeat`.
    pub(super) heartbeat: Option<Rc<Node>>,
    /// Keys that are given once over all files, as far as they were.
    once: Vec<Entry>,
}

// === impl Sections ===

impl Sections {
    /// Parses all files and sorts what they hold.
    pub(super) fn gather(cx: &Context<'_>) -> Self {
        let mut sections = Self::default();
        for (number, text, file) in cx.files.iter() {
            if file.is_main {
                sections.main = number;
            }
            for document in parse(number, text, &cx.problems) {
                let Value::Map(entries) = &document.value else {
                    let message = format!("a file must be a mapping, not {}", document.kind());
                    let hint = format!("it holds one or more of {}", SECTIONS.join(", "));
                    cx.problems.wrong_hint(document.at, message, hint);
                    continue;
                };
                for entry in entries {
                    sections.take(cx, entry, file.is_main);
                }
            }
        }
        sections
    }

    fn take(&mut self, cx: &Context<'_>, entry: &Entry, is_main: bool) {
        let value = &entry.value;
        let key = entry.key.as_str();
        if key.starts_with(FREE_PREFIX) {
            return;
        }
        let list = match key {
            "probes" => &mut self.probes,
            "modules" => return self.take_modules(cx, value),
            "networks" => &mut self.networks,
            "maintenance" => &mut self.maintenance,
            "slos" => &mut self.slos,
            "receivers" => &mut self.receivers,
            _ => return self.take_once(cx, entry, is_main),
        };
        // An empty section is a file that is going to be filled.
        if !value.is_nothing() {
            list.extend(cx.items(value, key).iter().cloned());
        }
    }

    fn take_modules(&mut self, cx: &Context<'_>, node: &Node) {
        let modules = self.modules.get_or_insert_default();
        match &node.value {
            Value::Map(entries) => modules.extend(entries.iter().cloned()),
            _ if node.is_nothing() => {}
            _ => cx.expected(node, "modules", "a mapping of names and modules"),
        }
    }

    fn take_once(&mut self, cx: &Context<'_>, entry: &Entry, is_main: bool) {
        let key = entry.key.as_str();
        let is_section = SECTIONS.contains(&key);
        if !is_main && !is_section {
            let hint = if SETTINGS.contains(&key) {
                "it belongs into radiosonde.yaml".to_owned()
            } else {
                suggestion(key, &SECTIONS, "key")
            };
            cx.problems.wrong_hint(entry.at, format!("unknown key `{}`", quoted(key)), hint);
            return;
        }
        if let Some(other) = self.once.iter().find(|other| other.key == key) {
            let message = format!("`{}` is given twice", quoted(key));
            let hint =
                format!("once over all files; the other is at {}", cx.files.display(other.at));
            cx.problems.wrong_hint(entry.at, message, hint);
            return;
        }
        self.once.push(entry.clone());
        let value = Some(Rc::clone(&entry.value)).filter(|value| !value.is_nothing());
        match key {
            "route" => self.route = value,
            "heartbeat" => self.heartbeat = value,
            _ => self.settings.push(entry.clone()),
        }
    }
}
