//! `targets` of a probe: where the targets of its instances are listed.
//!
//! ```yaml
//! targets:                                   # one or more; all of them together
//!   - static: [ "a.example.com:443", { targets: [ "b.example.com:443" ], labels: { zone: blue } } ]
//!   - files: [ "targets/*.yaml" ]            # YAML or JSON, as Prometheus reads it: lists of { targets, labels }
//!   - http: { url: "https://sd.example.com/targets", headers: { … }, refresh: 1m }   # the same as JSON
//! ```
//!
//! Files are read with the configuration, and again when they change. They may lie among the files of
//! probes: what a `files` names is not read as anything else. Services are asked by the daemon, whose
//! answers are read here as well ([`parse_targets`]). A group with a mistake is told and left out.

use super::fields::{Context, Fields};
use super::files::Files;
use super::names::label_error;
use super::parse::parse;
use super::problem::Problems;
use super::routing::secret_headers;
use super::scalar::quoted;
use super::tree::{Entry, Node, Place, Value};
use crate::model::labels::Labels;
use crate::probe::instances::{ADDRESS, MAX_INSTANCES};
use crate::probe::spec::{Dialling, Found, Listed, ProbeSpec, TargetService, Targets};
use crate::probe::uses_target;
use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use url::Url;

/// Longest target, and longest value of a label that comes with it.
const MAX_TEXT: usize = 256;
/// Labels of a group.
const MAX_LABELS: usize = 64;
/// A service is asked again after this.
const DEFAULT_REFRESH: Duration = Duration::from_secs(60);
const MIN_REFRESH: Duration = Duration::from_secs(1);
const MAX_REFRESH: Duration = Duration::from_secs(86_400);

/// Which of a name's addresses a probe talks to, and whether each has an instance.
const ADDRESSES: &[(&str, (Dialling, bool))] = &[
    ("first", (Dialling::First, false)),
    ("happy-eyeballs", (Dialling::HappyEyeballs, false)),
    ("each", (Dialling::First, true)),
];

/// What a service listed.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct ListedTargets {
    /// In its order.
    pub found: Vec<Found>,
    /// Groups that were left out, and why.
    pub complaints: Vec<String>,
}

/// What is wrong with a group.
struct Wrong {
    at: Place,
    message: String,
    hint: &'static str,
}

/// Reads what a service answered: Prometheus' JSON.
///
/// # Errors
/// When it is no list of groups; why, in words.
pub fn parse_targets(json: &str) -> Result<ListedTargets, String> {
    let is_json = serde_json::from_str::<serde::de::IgnoredAny>(json);
    is_json.map_err(|error| format!("the answer is no JSON: {error}"))?;
    let files = Files::default();
    let cx = Context {
        problems: Problems::default(),
        files: &files,
        is_whole: Cell::new(false),
        env: &|_| None,
        attribute_is_kept: &|_| true,
    };
    let found = groups_of(&cx, 0, json);
    let (problems, complaints) = cx.problems.finish(&files);
    match problems.first() {
        Some(problem) => Err(format!("line {}: {}", problem.line, problem.message)),
        None => {
            let complaint = |one: &super::Problem| format!("line {}: {}", one.line, one.message);
            Ok(ListedTargets { found, complaints: complaints.iter().map(complaint).collect() })
        }
    }
}

/// Patterns of files that list targets, each with the place where it is written.
pub(super) fn patterns(files: &Files) -> Vec<(Place, String)> {
    let mut patterns = Vec::new();
    for (number, text, _) in files.iter().filter(|(_, text, _)| text.contains("targets")) {
        // What is wrong with it is told when it is read.
        let documents = parse(number, text, &Problems::default());
        let probes = documents.iter().flat_map(|document| under(document, "probes"));
        let lists = probes.flat_map(|probe| under(probe, "targets"));
        let names = lists.flat_map(|list| under(list, "files"));
        patterns.extend(names.filter_map(|node| match &node.value {
            Value::Scalar { text, .. } => Some((node.at, text.clone())),
            _ => None,
        }));
    }
    patterns
}

/// The items under a key of a mapping, or the one thing that stands there.
fn under<'t>(node: &'t Node, key: &str) -> Vec<&'t Node> {
    let Value::Map(entries) = &node.value else { return Vec::new() };
    let found = entries.iter().filter(|entry| entry.key == key);
    found
        .flat_map(|entry| match &entry.value.value {
            Value::List(items) => items.iter().map(AsRef::as_ref).collect(),
            _ => vec![entry.value.as_ref()],
        })
        .collect()
}

/// `addresses` and `targets` of a probe.
pub(super) fn read(fields: &mut Fields<'_>) -> (Dialling, Targets) {
    let cx = fields.cx;
    let addresses = fields.get("addresses");
    let addresses = addresses.and_then(|node| cx.choice(node, "addresses", ADDRESSES));
    let (dialling, is_each) = addresses.unwrap_or_default();
    let Some(node) = fields.get("targets") else {
        return (dialling, if is_each { Targets::EachAddress } else { Targets::Own });
    };
    if is_each {
        let hint = "use happy-eyeballs or first, or leave targets out";
        let message = "`addresses: each` and `targets` would both make instances";
        cx.problems.wrong_hint(fields.at("addresses"), message, hint);
    }
    let mut listed = Listed::default();
    for node in cx.one_or_many(node) {
        list(cx, node, &mut listed);
    }
    let beyond = listed.known.len().saturating_sub(MAX_INSTANCES);
    if beyond > 0 {
        let message = format!("{beyond} more than {MAX_INSTANCES} targets are left out");
        cx.problems.warn(fields.at("targets"), message, "make several probes of it");
    }
    (dialling, Targets::Listed(Arc::new(listed)))
}

/// What must hold of a definition that has several instances.
pub(super) fn check(fields: &mut Fields<'_>, spec: &ProbeSpec) {
    let problems = &fields.cx.problems;
    let key = match &spec.targets {
        Targets::Listed(_) => "targets",
        Targets::EachAddress => "addresses",
        Targets::Own | Targets::Instance(_) => return,
    };
    let at = fields.at(key);
    let steps = || spec.steps.iter().chain(&spec.cleanup);
    if key == "targets" && !uses_target(spec) {
        let hint = "for example get: \"https://${target}/healthz\"";
        problems.wrong_hint(at, "no text has `${target}`: all instances would be the same", hint);
    }
    let captures = |name: &str| steps().any(|step| step.capture.iter().any(|(own, _)| own == name));
    if key == "targets" && captures("target") {
        let message = "a captured `target` would hide the target of the instance";
        problems.wrong_hint(at, message, "capture it under another name");
    }
    if key == "addresses" && spec.name_to_look_up().is_none() {
        let message =
            "`addresses: each` needs a name that is known before the run, and none is dialled";
        let hint =
            "write a host's name into the block's URL or address; an address has no addresses";
        problems.wrong_hint(at, message, hint);
    }
    if key == "addresses" && spec.labels.get(ADDRESS).is_some() {
        let message = format!("the label `{ADDRESS}` is that of each instance's address");
        problems.wrong_hint(fields.at("labels"), message, "choose another name");
    }
    if steps().any(|step| step.hold.is_some()) {
        let message = "streams are not held for several instances";
        problems.wrong_hint(at, message, "remove `hold`, or write a probe for each target");
    }
}

fn list(cx: &Context<'_>, node: &Node, listed: &mut Listed) {
    let _ = cx.fields(node, "a list of targets", |fields| {
        match fields.exactly_one(&["static", "files", "http"]) {
            Some(("static", node)) => {
                for item in cx.one_or_many(node) {
                    match target_or_group(item) {
                        Ok(found) => listed.known.extend(found),
                        Err(wrong) => cx.problems.wrong_hint(wrong.at, wrong.message, wrong.hint),
                    }
                }
            }
            Some(("files", node)) => {
                let names = cx.one_or_many(node);
                listed.known.extend(names.into_iter().flat_map(|node| file(cx, node)));
            }
            Some((_, node)) => listed.services.extend(service(cx, node)),
            None => {}
        }
    });
}

/// The files of a pattern.
fn file(cx: &Context<'_>, node: &Node) -> Vec<Found> {
    let Some(pattern) = cx.text(node, "files") else { return Vec::new() };
    if let Some((message, hint)) = pattern_error(pattern) {
        cx.problems.wrong_hint(node.at, message, hint);
        return Vec::new();
    }
    let files = cx.files.matching(node.at.file, pattern);
    if files.is_empty() {
        let message = format!("no file is named {}", quoted(pattern));
        cx.problems.warn(node.at, message, "it has no targets until there is one");
    }
    files.into_iter().flat_map(|file| groups_of_file(cx, file)).collect()
}

/// All groups of a file. One that is called JSON must be, though YAML would take more.
fn groups_of_file(cx: &Context<'_>, file: u32) -> Vec<Found> {
    let text = cx.files.text(file).unwrap_or_default();
    let is_json = cx.files.path(file).extension().is_some_and(|extension| extension == "json");
    if let (true, Err(error)) = (is_json, serde_json::from_str::<serde::de::IgnoredAny>(text)) {
        let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let at = Place { file, line: number(error.line()), column: number(error.column()) };
        let words = error.to_string();
        let words = words.split(" at line ").next().unwrap_or_default();
        cx.problems.wrong(at, format!("this is not JSON: {words}"));
        return Vec::new();
    }
    groups_of(cx, file, text)
}

/// What is wrong with a pattern of files, and what to write.
pub(super) fn pattern_error(pattern: &str) -> Option<(String, &'static str)> {
    let (folder, name) = pattern.rsplit_once('/').unwrap_or(("", pattern));
    if folder.contains('*') {
        let message = format!("`{}` has a `*` in a folder's name", quoted(pattern));
        return Some((message, "it may stand in the name of the file"));
    }
    let is_list = [".yaml", ".yml", ".json"].iter().any(|end| name.ends_with(end));
    let message = || format!("`{}` does not end with .yaml, .yml or .json", quoted(pattern));
    (!is_list).then(|| (message(), "files of targets are YAML or JSON"))
}

/// `{ url, headers, refresh }`.
fn service(cx: &Context<'_>, node: &Node) -> Option<TargetService> {
    cx.fields(node, "a service of targets", |fields| {
        let url = fields.need("url", "https://sd.example.com/targets");
        let url = url.and_then(|node| service_url(cx, node));
        let headers = fields.get("headers").map(|node| secret_headers(cx, node));
        let refresh = fields.duration("refresh", MIN_REFRESH..=MAX_REFRESH);
        Some(TargetService {
            url: url?,
            headers: headers.unwrap_or_default(),
            refresh: refresh.unwrap_or(DEFAULT_REFRESH),
        })
    })?
}

fn service_url(cx: &Context<'_>, node: &Node) -> Option<String> {
    let text = cx.text(node, "url")?;
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    let Some(url) = url.filter(Url::has_host) else {
        let message = format!("`{}` is not an http or https URL", quoted(text));
        cx.problems.wrong_hint(node.at, message, "for example https://sd.example.com/targets");
        return None;
    };
    if !url.username().is_empty() || url.password().is_some() {
        let hint = "send them as headers: { Authorization: \"Bearer ${env.TOKEN}\" }";
        cx.problems.wrong_hint(node.at, "a URL may not hold credentials", hint);
        return None;
    }
    Some(text.to_owned())
}

// === groups ===

/// All groups of a text; wrong ones are told and left out.
fn groups_of(cx: &Context<'_>, file: u32, text: &str) -> Vec<Found> {
    let mut all = Vec::new();
    for document in parse(file, text, &cx.problems) {
        let Value::List(groups) = &document.value else {
            let message = format!("a file of targets is a list of groups, not {}", document.kind());
            cx.problems.wrong_hint(document.at, message, "for example - targets: [ \"a:443\" ]");
            continue;
        };
        for node in groups {
            match group(node) {
                Ok(found) => all.extend(found),
                Err(Wrong { at, message, hint }) => {
                    cx.problems.warn(at, format!("{message}; the group is left out"), hint);
                }
            }
        }
    }
    all
}

/// A target, or a group as in files.
fn target_or_group(node: &Node) -> Result<Vec<Found>, Wrong> {
    match &node.value {
        Value::Scalar { .. } => Ok(vec![Found::plain(&target(node)?)]),
        _ => group(node),
    }
}

/// `{ targets: [ … ], labels: { … } }`.
fn group(node: &Node) -> Result<Vec<Found>, Wrong> {
    let wrong = |at, message: String| {
        Err(Wrong {
            at,
            message,
            hint: "a group is { targets: [ \"a:443\" ], labels: { zone: blue } }",
        })
    };
    let Value::Map(entries) = &node.value else {
        return wrong(node.at, format!("a group must be a mapping, not {}", node.kind()));
    };
    let (mut targets, mut found_labels) = (None, Labels::default());
    for entry in entries {
        match entry.key.as_str() {
            "targets" => targets = Some(&entry.value),
            "labels" => found_labels = labels(entry)?,
            key => return wrong(entry.at, format!("unknown key `{}` in a group", quoted(key))),
        }
    }
    let Some(targets) = targets else {
        return wrong(node.at, "a group needs `targets`".to_owned());
    };
    let Value::List(targets) = &targets.value else {
        return wrong(targets.at, format!("`targets` must be a list, not {}", targets.kind()));
    };
    let found = |node: &Rc<Node>| {
        let target = target(node)?;
        Ok(Found { target, labels: found_labels.clone() })
    };
    targets.iter().map(found).collect()
}

/// A target: a text without spaces and credentials.
fn target(node: &Node) -> Result<String, Wrong> {
    let wrong = |message: String| {
        let hint = "a target is host:port or whatever the texts of the probe make of ${target}";
        Err(Wrong { at: node.at, message, hint })
    };
    let Value::Scalar { text, .. } = &node.value else {
        return wrong(format!("a target must be a text, not {}", node.kind()));
    };
    if text.is_empty() || text.len() > MAX_TEXT {
        return wrong(format!("a target has 1 to {MAX_TEXT} bytes"));
    }
    if text.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return wrong(format!("`{}` has a space in it", quoted(text)));
    }
    if text.contains('@') {
        return wrong("a target holds no credentials: it is shown".to_owned());
    }
    Ok(text.clone())
}

/// The labels of a group; those that begin with `__` are for whoever made the list.
fn labels(entry: &Entry) -> Result<Labels, Wrong> {
    let wrong = |at, message: String, hint| Err(Wrong { at, message, hint });
    let Value::Map(entries) = &entry.value.value else {
        let message = format!("`labels` must be a mapping, not {}", entry.value.kind());
        return wrong(entry.value.at, message, "write labels: { zone: blue }");
    };
    let mut pairs: Vec<(&str, &str)> = Vec::new();
    for label in entries.iter().filter(|label| !label.key.starts_with("__")) {
        if let Some((message, hint)) = label_error(&label.key) {
            return wrong(label.at, message, hint);
        }
        if label.key == ADDRESS {
            let message = format!("the label `{ADDRESS}` is one of our own");
            return wrong(label.at, message, "choose another name");
        }
        match &label.value.value {
            Value::Scalar { text, .. } if text.len() <= MAX_TEXT => pairs.push((&label.key, text)),
            _ => {
                let message = format!("a label's value is a text of at most {MAX_TEXT} bytes");
                return wrong(label.value.at, message, "shorten it");
            }
        }
    }
    if pairs.len() > MAX_LABELS {
        return wrong(entry.at, format!("more than {MAX_LABELS} labels"), "leave some out");
    }
    Ok(Labels::new(pairs))
}
