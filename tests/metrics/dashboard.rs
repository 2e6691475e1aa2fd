//! Grafana dashboards as this repository ships them, and their queries taken apart.

use serde_json::Value;
use std::path::{Path, PathBuf};

/// Functions, operators and keywords of PromQL that the dashboards use.
pub const PROMQL_WORDS: &[&str] = &[
    "and",
    "bool",
    "by",
    "clamp_min",
    "count",
    "histogram_quantile",
    "increase",
    "max",
    "min",
    "on",
    "or",
    "rate",
    "sum",
    "time",
    "topk",
    "vector",
];

/// A dashboard.
pub struct Dashboard {
    /// The name of its file.
    pub file: String,
    /// What is in it.
    pub model: Value,
}

/// A query, taken apart.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// Words outside of braces, brackets, strings and lists of labels.
    pub words: Vec<String>,
    /// Names of labels in selectors, by the metric before them.
    pub matched: Vec<(String, String)>,
    /// Names in lists of labels: by, without, on.
    pub grouped: Vec<String>,
    /// What stands in brackets.
    pub ranges: Vec<String>,
}

/// A query in its place.
pub struct Placed<'a> {
    /// File and panel.
    pub place: String,
    /// The query.
    pub query: &'a str,
    /// How its series are named.
    pub legend: &'a str,
}

// === reading ===

/// Where they are.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("dashboards")
}

/// All of them, by name of file.
pub fn dashboards() -> Vec<Dashboard> {
    let entries = std::fs::read_dir(folder()).expect("the folder of dashboards");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let mut found: Vec<Dashboard> = paths
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .map(|path| Dashboard {
            file: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            model: serde_json::from_slice(&std::fs::read(&path).expect("a file")).expect("JSON"),
        })
        .collect();
    found.sort_by(|a, b| a.file.cmp(&b.file));
    assert_eq!(found.len(), 4, "budgets, probes, phones and radiosonde itself");
    found
}

/// A list under a key; empty when there is none.
pub fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// Text under a key; empty when there is none.
pub fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

impl Dashboard {
    /// Panels that are shown together: the open ones, and those in each closed row.
    pub fn groups(&self) -> Vec<&[Value]> {
        let open = list(&self.model, "panels");
        let closed = open.iter().map(|panel| list(panel, "panels"));
        std::iter::once(open).chain(closed).collect()
    }

    /// All panels, rows included.
    pub fn panels(&self) -> impl Iterator<Item = &Value> {
        self.groups().into_iter().flatten()
    }

    /// Panels that show something, so no rows.
    pub fn shown(&self) -> impl Iterator<Item = &Value> {
        self.panels().filter(|panel| text(panel, "type") != "row")
    }

    /// Every query: of panels and annotations.
    pub fn queries(&self) -> Vec<Placed<'_>> {
        let placed = |title: &str, part| Placed {
            place: format!("{}: {title}", self.file),
            query: text(part, "expr"),
            legend: text(part, "legendFormat"),
        };
        let annotations = self.part("/annotations/list").iter();
        let annotations = annotations.map(|part| placed(text(part, "name"), part));
        let panels = self.shown().flat_map(|panel| {
            list(panel, "targets").iter().map(|part| placed(text(panel, "title"), part))
        });
        annotations.chain(panels).filter(|placed| !placed.query.is_empty()).collect()
    }

    /// The variables.
    pub fn variables(&self) -> &[Value] {
        self.part("/templating/list")
    }

    fn part(&self, pointer: &str) -> &[Value] {
        self.model.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }
}

// === taking queries apart ===

/// Takes a query apart.
pub fn parse(query: &str) -> Query {
    let mut parsed = Query::default();
    let mut rest = query;
    let mut grouping = false;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '{' | '[' | '(' if first != '(' || grouping => {
                rest.find(closing(first)).map(|at| at + 1)
            }
            c if is_word(c) => rest.find(|c| !is_word(c)),
            c => Some(c.len_utf8()),
        };
        let (token, after) = rest.split_at(length.unwrap_or(rest.len()));
        match first {
            '{' => {
                let metric = parsed.words.last().cloned().unwrap_or_default();
                parsed.matched.extend(labels(token).into_iter().map(|l| (metric.clone(), l)));
            }
            '[' => parsed.ranges.push(token.trim_matches(['[', ']']).to_owned()),
            '(' if grouping => {
                let names = token.trim_matches(['(', ')']).split(',').map(str::trim);
                parsed.grouped.extend(names.filter(|name| !name.is_empty()).map(str::to_owned));
                grouping = false;
            }
            c if is_word(c) && !c.is_ascii_digit() => {
                grouping = matches!(token, "by" | "without" | "on" | "ignoring");
                parsed.words.push(token.to_owned());
            }
            _ => {}
        }
        rest = after;
    }
    parsed
}

fn closing(open: char) -> char {
    match open {
        '{' => '}',
        '[' => ']',
        _ => ')',
    }
}

/// Whether a character may stand in a name or a number.
pub fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | ':' | '$' | '.')
}

/// The names of labels in a selector. Values hold no commas or quotes in these dashboards.
fn labels(selector: &str) -> Vec<String> {
    let matchers = selector.trim_matches(['{', '}']).split(',');
    let names = matchers.map(|m| m.split(['=', '!', '~']).next().unwrap_or_default().trim());
    names.filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// Whether brackets of each kind close in the order in which they opened, and strings end.
pub fn is_balanced(query: &str) -> bool {
    let mut open = Vec::new();
    let mut quoted = false;
    for c in query.chars() {
        match c {
            '"' => quoted = !quoted,
            _ if quoted => {}
            '(' | '[' | '{' => open.push(closing(c)),
            ')' | ']' | '}' if open.pop() != Some(c) => return false,
            _ => {}
        }
    }
    open.is_empty() && !quoted
}

/// All values under `key`, at any depth.
pub fn everywhere<'a>(value: &'a Value, key: &str) -> Vec<&'a Value> {
    let inner: Vec<&Value> = match value {
        Value::Object(map) => map.values().collect(),
        Value::Array(values) => values.iter().collect(),
        _ => Vec::new(),
    };
    let deeper = inner.into_iter().flat_map(|value| everywhere(value, key));
    value.get(key).into_iter().chain(deeper).collect()
}
