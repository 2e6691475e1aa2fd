//! Who is told: receivers, the route tree in Alertmanager's shape, the heartbeat.
//!
//! ```yaml
//! receivers:
//!   - { name: oncall, webhook: { url: "https://hooks.example.com/${env.HOOK}" } }
//!   - name: alertmanager
//!     send_resolved: true            # as it is anyway
//!     alertmanager: { url: "http://127.0.0.1:9093", headers: { X-Scope: sre }, timeout: 5s }
//! route:
//!   receiver: oncall
//!   repeat_interval: 4h
//!   routes:
//!     - { receiver: alertmanager, matchers: [ 'owner=~"chat.*"' ], continue: true }
//! heartbeat: { receiver: oncall, every: 5m }
//! ```

use super::fields::{Context, Fields};
use super::http::MAX_HEADERS;
use super::names::suggestion;
use super::scalar::quoted;
use super::slo::unique;
use super::tree::{Node, Place, Value};
use crate::base::secret::Secret;
use crate::model::matcher::LabelMatcher;
use crate::model::routing::{Channel, Heartbeat, Receiver, Route};
use http::HeaderValue;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;
use url::Url;

/// Limit of one attempt unless given.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
/// An hour.
const HOUR: Duration = Duration::from_secs(3_600);

/// Keys of Alertmanager's routes that have no meaning where nothing is grouped.
const GROUPING: [&str; 3] = ["group_by", "group_wait", "group_interval"];

/// Who is told.
#[derive(Debug, Default)]
pub(super) struct Routing {
    /// Those without mistakes.
    pub(super) receivers: Vec<Receiver>,
    /// The tree.
    pub(super) route: Route,
    /// The dead-man's switch.
    pub(super) heartbeat: Option<Heartbeat>,
}

/// Names of receivers, and which of them somebody sends to.
struct Names<'t> {
    cx: &'t Context<'t>,
    places: BTreeMap<String, Place>,
    used: BTreeSet<String>,
}

impl Routing {
    /// Reads receivers, then who names them.
    pub(super) fn read(
        cx: &Context<'_>,
        receivers: &[Rc<Node>],
        route: Option<&Node>,
        heartbeat: Option<&Node>,
    ) -> Self {
        let mut names = Names { cx, places: BTreeMap::new(), used: BTreeSet::new() };
        let receivers: Vec<Receiver> =
            receivers.iter().filter_map(|node| names.receiver(node)).collect();
        let tree = route.and_then(|node| names.route(node, true));
        let heartbeat = heartbeat.and_then(|node| names.heartbeat(node));
        let first = names.places.iter().min_by_key(|(_, at)| **at);
        if let (None, Some((first, at))) = (route, first) {
            let message = "there are receivers and no `route`: nobody would be told";
            cx.problems.wrong_hint(*at, message, format!("add route: {{ receiver: {first} }}"));
        } else {
            names.warn_unused();
        }
        Self { receivers, route: tree.unwrap_or_default(), heartbeat }
    }
}

// === impl Names ===

impl Names<'_> {
    fn receiver(&mut self, node: &Node) -> Option<Receiver> {
        let cx = self.cx;
        cx.fields(node, "a receiver", |fields| {
            let name = fields.need("name", "oncall").and_then(|node| cx.name(node, "name"));
            if let Some(name) = &name {
                unique(cx, "receivers", name, fields.at("name"), &mut self.places);
            }
            let send_resolved = fields.flag("send_resolved").unwrap_or(true);
            let channel = fields.exactly_one(&["webhook", "alertmanager"]);
            let channel = channel.and_then(|(key, node)| channel_of(cx, key, node));
            Some(Receiver { name: name?, send_resolved, channel: channel? })
        })?
    }

    /// A route and its children. The root has a receiver and no conditions.
    fn route(&mut self, node: &Node, is_root: bool) -> Option<Route> {
        let cx = self.cx;
        cx.fields(node, "a route", |fields| {
            let receiver =
                if is_root { fields.need("receiver", "oncall") } else { fields.get("receiver") };
            let receiver = receiver.and_then(|node| self.existing(node));
            let matchers = fields.get("matchers").map(|node| matchers(cx, node));
            let goes_on = fields.flag("continue").unwrap_or(false);
            for key in ["matchers", "continue"] {
                if is_root && fields.has(key) {
                    let message = format!("the root route takes everything: no `{key}` here");
                    let hint = "put it into one of its routes:";
                    cx.problems.wrong_hint(fields.at(key), message, hint);
                }
            }
            ignore_grouping(fields);
            let repeat_interval =
                fields.duration("repeat_interval", Duration::from_secs(60)..=HOUR * 24 * 31);
            let children = fields.get("routes").map(|node| cx.items(node, "routes"));
            let children = children.unwrap_or_default().iter();
            Route {
                receiver,
                matchers: matchers.unwrap_or_default(),
                goes_on,
                repeat_interval,
                routes: children.filter_map(|node| self.route(node, false)).collect(),
            }
        })
    }

    fn heartbeat(&mut self, node: &Node) -> Option<Heartbeat> {
        let cx = self.cx;
        cx.fields(node, "the heartbeat", |fields| {
            let receiver = fields.need("receiver", "oncall").and_then(|node| self.existing(node));
            let every = fields.need("every", "5m");
            let bounds = Duration::from_secs(10)..=HOUR * 24;
            let every = every.and_then(|node| cx.duration(node, "every", bounds));
            Some(Heartbeat { receiver: receiver?, every: every? })
        })?
    }

    fn existing(&mut self, node: &Node) -> Option<String> {
        let name = self.cx.text(node, "receiver")?;
        if self.places.contains_key(name) {
            let _ = self.used.insert(name.to_owned());
            return Some(name.to_owned());
        }
        if !self.cx.is_whole.get() {
            return None;
        }
        let names: Vec<&str> = self.places.keys().map(String::as_str).collect();
        let message = format!("there is no receiver `{}`", quoted(name));
        self.cx.problems.wrong_hint(node.at, message, suggestion(name, &names, "receiver"));
        None
    }

    fn warn_unused(&self) {
        for (name, at) in &self.places {
            if !self.used.contains(name) {
                let message = format!("nothing is sent to the receiver `{name}`");
                self.cx.problems.warn(*at, message, "name it in a route or remove it");
            }
        }
    }
}

fn channel_of(cx: &Context<'_>, key: &'static str, node: &Node) -> Option<Channel> {
    cx.fields(node, "a channel", |fields| {
        let url = fields.need("url", "https://hooks.example.com/page");
        let url = url.and_then(|node| secret_url(cx, node));
        let headers = fields.get("headers").map(|node| secret_headers(cx, node));
        let headers = headers.unwrap_or_default();
        let timeout =
            fields.duration("timeout", Duration::from_millis(100)..=Duration::from_secs(120));
        let timeout = timeout.unwrap_or(DEFAULT_TIMEOUT);
        Some(match key {
            "webhook" => Channel::Webhook { url: url?, headers, timeout },
            _ => Channel::Alertmanager { url: url?, headers, timeout },
        })
    })?
}

/// An HTTP URL that may hold secrets; messages never show it.
fn secret_url(cx: &Context<'_>, node: &Node) -> Option<Secret> {
    let secret = cx.secret(node, "url")?;
    let url = Url::parse(secret.reveal()).ok();
    if !url.is_some_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host()) {
        let hint = "for example https://hooks.example.com/page";
        cx.problems.wrong_hint(node.at, "`url` must be an http:// or https:// address", hint);
        return None;
    }
    Some(secret)
}

/// Headers whose values are all secrets.
pub(super) fn secret_headers(cx: &Context<'_>, node: &Node) -> Vec<(String, Secret)> {
    let Value::Map(entries) = &node.value else {
        cx.expected(node, "headers", "a mapping of names and values");
        return Vec::new();
    };
    cx.check_header_count(node, entries.len());
    let mut headers: Vec<(String, Secret)> = Vec::new();
    for entry in entries.iter().take(MAX_HEADERS) {
        let name = cx.header_name(&entry.key, entry.at);
        let value = cx.secret(&entry.value, &entry.key);
        let (Some(name), Some(value)) = (name, value) else { continue };
        if headers.iter().any(|(known, _)| *known == name) {
            cx.problems.wrong(entry.at, format!("the header {name} is given twice"));
        } else if HeaderValue::from_str(value.reveal()).is_err() {
            let message = format!("the value of {name} holds what no header may");
            let hint = "use visible ASCII on one line";
            cx.problems.wrong_hint(entry.value.at, message, hint);
        } else {
            headers.push((name, value));
        }
    }
    headers
}

/// `[ 'severity="page"', 'owner=~"chat.*"' ]`.
fn matchers(cx: &Context<'_>, node: &Node) -> Vec<LabelMatcher> {
    let one = |node: &Node| {
        let text = cx.raw_text(node, "matchers")?;
        match LabelMatcher::parse(text) {
            Ok(matcher) => Some(matcher),
            Err(error) => {
                cx.problems.wrong(node.at, error.to_string());
                None
            }
        }
    };
    cx.one_or_many(node).into_iter().filter_map(one).collect()
}

/// An Alertmanager's route can be taken over as it is, minus what has no meaning here.
fn ignore_grouping(fields: &mut Fields<'_>) {
    for key in GROUPING {
        if fields.has(key) {
            let message = format!("`{key}` has no effect: each alert is told by itself");
            fields.cx.problems.warn(fields.at(key), message, "remove it");
        }
    }
}
