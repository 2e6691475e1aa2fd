//! The steps of a probe, and what they may say of each other.
//!
//! ```yaml
//! steps:
//!   - { as: bob, websocket: { url: "wss://chat.example.com/rooms/probe" } }
//!   - as: alice
//!     http: { post: "https://chat.example.com/rooms/probe/messages", json: { id: "${run.id}" } }
//!     capture: { message: /id }          # ${message} from the next step on
//!   - { on: bob, expect: { json: { id: "${message}" }, since: alice, within: 100ms } }
//!   - { on: bob, send: '{"type":"leave"}' }
//!   - { on: bob, send: '{"n":${run.sequence}}', repeat: 100, gap: 10ms }
//!   - { on: bob, ledger: { sequence: /n, messages: 100, for: 2s } }
//!   - { as: crowd, count: 200, websocket: { url: … } }   # so many receivers; `on: [crowd, bob]` is all
//! cleanup:                               # runs whatever happened, after `kill -9` at the next start
//!   - http: { delete: "https://chat.example.com/rooms/probe/messages/${message}" }
//! ```
//!
//! After a kill nothing is known of a run but its id: steps that clean up by `${run.id}` are taken at the next
//! start; those that need captured values or `${run.start}`, as the one above does, are left out then, and the log
//! says so.

use super::fields::{Context, Fields};
use super::names::{is_variable, suggestion};
use super::on_stream::{ON_A_STREAM, Stream};
use super::scalar::quoted;
use super::settings::Daemon;
use super::template::{Scope, Secrets};
use super::tree::{Node, Place, Value};
use crate::probe::fanout::MAX_RECEIVERS;
use crate::probe::spec::{Action, Step};
use crate::probe::writes::WriteTarget;
use std::path::PathBuf;
use std::time::Duration;
use url::Url;

/// More steps than this are no probe.
const MAX_STEPS: usize = 50;
/// Captures of one step.
const MAX_CAPTURES: usize = 50;

/// Reads steps, knowing those before.
pub(super) struct Steps<'t> {
    /// Where to report.
    pub(super) cx: &'t Context<'t>,
    /// What texts may refer to by now.
    pub(super) scope: Scope,
    /// The deadline of the run, when it is known.
    pub(super) timeout: Option<Duration>,
    pub(super) writes: &'t [WriteTarget],
    /// Programs that may run, and folders of them.
    pub(super) programs: &'t [PathBuf],
    /// Steps so far.
    pub(super) earlier: Vec<Earlier>,
    /// Put before the number of a step without a name.
    prefix: &'static str,
}

/// A step that was read.
pub(super) struct Earlier {
    /// What others call it by.
    pub(super) name: String,
    /// What it leaves open.
    pub(super) stream: Stream,
    /// How many of its stream it opens.
    pub(super) count: u32,
    /// Where a message sent to its stream goes.
    pub(super) target: Option<Url>,
    /// MQTT: to which topic there.
    pub(super) topic: Option<String>,
}

/// The protocols' blocks: keys of a probe, and of a step.
pub(super) const PROTOCOLS: &[&str] = &[
    "http",
    "websocket",
    "sse",
    "poll",
    "dns",
    "icmp",
    "exec",
    "tcp",
    "tls",
    "udp",
    "stun",
    "turn",
    "grpc",
    "mqtt",
    "webrtc",
    "fallback",
];
// === impl Steps ===

impl<'t> Steps<'t> {
    /// A reader before the first step.
    pub(super) fn new(cx: &'t Context<'t>, daemon: &'t Daemon, timeout: Option<Duration>) -> Self {
        Self {
            cx,
            scope: Scope::default(),
            timeout,
            writes: &daemon.writes_allowed,
            programs: &daemon.programs_allowed,
            earlier: Vec::new(),
            prefix: "",
        }
    }

    /// A probe's own protocol block, short for one step.
    pub(super) fn block(&mut self, key: &str, node: &Node) -> Vec<Step> {
        let action = self.action(key, node);
        action
            .map(|action| Step {
                name: "1".to_owned(),
                action,
                count: 1,
                hold: None,
                capture: Vec::new(),
            })
            .into_iter()
            .collect()
    }

    /// The list under `steps`.
    pub(super) fn list(&mut self, node: &Node) -> Vec<Step> {
        self.numbered(node, "steps")
    }

    /// The list under `cleanup`, which follows all steps.
    pub(super) fn cleanup(&mut self, node: &Node) -> Vec<Step> {
        self.prefix = "cleanup.";
        self.numbered(node, "cleanup")
    }

    fn numbered(&mut self, node: &Node, key: &str) -> Vec<Step> {
        let items = self.cx.items(node, key);
        if items.is_empty() {
            self.cx.problems.wrong(node.at, format!("`{key}` needs at least one step"));
        } else if items.len() > MAX_STEPS {
            self.cx.problems.wrong(node.at, format!("`{key}` has more than {MAX_STEPS} steps"));
            return Vec::new();
        }
        let mut steps = Vec::new();
        for (item, number) in items.iter().zip(1..) {
            steps.extend(self.step(item, number));
        }
        steps
    }

    fn step(&mut self, node: &Node, number: usize) -> Option<Step> {
        let cx = self.cx;
        let unnamed = format!("{}{number}", self.prefix);
        let earlier_problems = cx.problems.count();
        let step = cx.fields(node, "a step", |fields| {
            let name = fields.get("as").and_then(|node| self.step_name(node)).unwrap_or(unnamed);
            fields.allow(ON_A_STREAM);
            fields.allow(&["capture"]);
            let chosen = fields.exactly_one(&with("on"));
            let known = self.earlier.len();
            let action = match chosen {
                Some(("on", node)) => self.on(node, fields),
                Some((key, node)) => {
                    self.refuse_outside(fields);
                    self.action(key, node)
                }
                None => None,
            };
            // The step is known by its name even when it is wrong, so that later ones may be right.
            if self.earlier.len() == known {
                self.earlier.push(Earlier {
                    name: String::new(),
                    stream: Stream::None,
                    count: 1,
                    target: None,
                    topic: None,
                });
            }
            if let Some(own) = self.earlier.last_mut() {
                own.name.clone_from(&name);
            }
            let count = self.count(fields);
            if let Some(action) = action.as_ref().filter(|_| count > 1) {
                self.check_client_ids(fields, action);
            }
            let hold = self.hold(fields);
            let capture = fields.get("capture").map(|node| self.captures(node, &name));
            Some(Step { name, action: action?, count, hold, capture: capture.unwrap_or_default() })
        })?;
        step.filter(|_| cx.problems.count() == earlier_problems)
    }

    /// A protocol block. What it opens is remembered as the newest step's.
    pub(super) fn action(&mut self, key: &str, node: &Node) -> Option<Action> {
        let mut topic = None;
        let (action, stream, target) = match key {
            "http" => (self.http(node).map(Action::Http), Stream::None, None),
            "grpc" => (self.grpc(node).map(Action::Grpc), Stream::None, None),
            "websocket" => {
                let step = self.websocket(node);
                let target = step.as_ref().and_then(|step| parse_specimen(&step.url));
                (step.map(Action::WebSocket), Stream::WebSocket, target)
            }
            "poll" => (self.poll(node).map(Action::Poll), Stream::Polled, None),
            "dns" => (self.dns(node).map(Action::Dns), Stream::None, None),
            "icmp" => (self.icmp(node).map(Action::Icmp), Stream::None, None),
            "exec" => (self.exec(node).map(Action::Exec), Stream::None, None),
            "tcp" => (self.tcp(node).map(Action::Tcp), Stream::None, None),
            "tls" => (self.tls_handshake(node).map(Action::Tls), Stream::None, None),
            "udp" => (self.udp(node).map(Action::Udp), Stream::None, None),
            "stun" => (self.stun(node).map(Action::Stun), Stream::None, None),
            "turn" => (self.turn(node).map(Action::Turn), Stream::None, None),
            "mqtt" => {
                let step = self.mqtt(node);
                let publish = step.as_ref().and_then(|step| step.publish.as_ref());
                topic = publish.map(|publish| publish.topic.clone());
                let stream = if topic.is_some() { Stream::TopicsAndRoute } else { Stream::Topics };
                let target = step.as_ref().and_then(|step| parse_specimen(&step.url));
                (step.map(Action::Mqtt), stream, target)
            }
            "webrtc" => {
                let step = self.webrtc(node);
                let target = step.as_ref().and_then(|step| parse_specimen(&step.url));
                (step.map(Action::WebRtc), Stream::Channel, target)
            }
            // Over some of its ways nothing can be sent.
            "fallback" => (self.fallback_step(node).map(Action::Fallback), Stream::Events, None),
            _ => (self.sse(node).map(Action::Sse), Stream::Events, None),
        };
        self.earlier.push(Earlier { name: String::new(), stream, count: 1, target, topic });
        action
    }

    /// Many connections to a broker under one name throw each other out.
    fn check_client_ids(&self, fields: &Fields<'_>, action: &Action) {
        let is_shared = |action: &Action| match action {
            Action::Mqtt(mqtt) => {
                mqtt.client_id.as_ref().is_some_and(|id| !id.contains("${run.receiver}"))
            }
            _ => false,
        };
        let shares = match action {
            Action::Fallback(fallback) => fallback.streams.iter().any(is_shared),
            action => is_shared(action),
        };
        if shares {
            let message = "all receivers connect with one client_id and throw each other out";
            let hint = "add ${run.receiver} to client_id:, or remove it";
            self.cx.problems.wrong_hint(fields.at("count"), message, hint);
        }
    }

    /// What the newest step leaves open.
    pub(super) fn newest(&self) -> Stream {
        self.earlier.last().map_or(Stream::None, |step| step.stream)
    }

    /// Forgets the stream that was remembered last: it is one of several ways to open one.
    pub(super) fn forget_way(&mut self) {
        let _ = self.earlier.pop();
    }

    /// `count: 200` beside a block that opens a stream: so many receivers.
    fn count(&mut self, fields: &mut Fields<'_>) -> u32 {
        let count = fields.integer("count", 1..=u64::from(MAX_RECEIVERS));
        let count = count.and_then(|count| u32::try_from(count).ok()).unwrap_or(1);
        let Some(own) = self.earlier.last_mut() else { return count };
        own.count = count;
        if count > 1 && own.stream == Stream::None {
            let message = "`count` is for a step that opens a stream";
            let hint = "put it beside websocket:, sse:, poll: or mqtt:";
            self.cx.problems.wrong_hint(fields.at("count"), message, hint);
        }
        count
    }

    /// The name of a step before this one.
    pub(super) fn earlier(&self, node: &Node, key: &str) -> Option<String> {
        let text = self.cx.text(node, key)?;
        let names: Vec<&str> = self.earlier.iter().map(|step| step.name.as_str()).collect();
        if names.contains(&text) {
            return Some(text.to_owned());
        }
        let message = format!("`{key}`: no step before this one is called `{}`", quoted(text));
        self.cx.problems.wrong_hint(node.at, message, suggestion(text, &names, "earlier step"));
        None
    }

    /// A text message, or JSON written as YAML.
    pub(super) fn message(&self, node: &Node, key: &str) -> Option<String> {
        match node.value {
            Value::Scalar { .. } => {
                let text = self.cx.raw_text(node, key)?;
                let filled = self.cx.run_text(node.at, text, &self.scope, Secrets::Allowed)?;
                Some(filled.text)
            }
            _ => self.json(node, Secrets::Allowed).map(|json| json.to_string()),
        }
    }

    /// Reports a write to where none is allowed.
    pub(super) fn check_write(&self, at: Place, url: &str) {
        // Each run asks again, and knows its target.
        if is_target_host(url) {
            return;
        }
        if let Some(url) = parse_specimen(url) {
            self.cx.check_write(at, &url, self.writes);
        }
    }

    /// Reports what is published to where nothing may be.
    pub(super) fn check_publish(&self, at: Place, url: &str, topic: &str) {
        if is_target_host(url) {
            return;
        }
        if let Some(url) = parse_specimen(url) {
            let topic = super::template::specimen(topic);
            self.cx.check_publish(at, &url, &topic, self.writes);
        }
    }

    fn step_name(&self, node: &Node) -> Option<String> {
        let text = self.cx.text(node, "as")?;
        let wrong = |message: String, hint: &str| {
            self.cx.problems.wrong_hint(node.at, message, hint);
            None
        };
        let is_plain = text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
        if !is_plain || text.len() > 100 {
            return wrong(
                format!("`{}` is not the name of a step", quoted(text)),
                "use letters, digits, _ and - only",
            );
        }
        if text.starts_with(|c: char| c.is_ascii_digit()) || matches!(text, "run" | "env") {
            return wrong(
                format!("a step cannot be called `{text}`"),
                "numbers are the steps without a name; run and env mean something else",
            );
        }
        if self.earlier.iter().any(|step| step.name == text) {
            return wrong(format!("two steps are called `{text}`"), "choose another name");
        }
        Some(text.to_owned())
    }

    /// `capture: { name: /json/pointer }`, and makes the names known.
    fn captures(&mut self, node: &Node, step: &str) -> Vec<(String, String)> {
        let Value::Map(entries) = &node.value else {
            self.cx.expected(node, "capture", "a mapping of names and JSON pointers");
            return Vec::new();
        };
        let mut captures = Vec::new();
        for entry in entries.iter().take(MAX_CAPTURES) {
            let Some(pointer) = self.cx.text(&entry.value, &entry.key) else { continue };
            if !is_pointer(pointer) {
                let message = format!("`{}` is not a JSON pointer", quoted(pointer));
                let hint = "for example /id or /messages/0/id";
                self.cx.problems.wrong_hint(entry.value.at, message, hint);
            } else if !is_variable(&entry.key) {
                let message = format!("`{}` cannot be the name of a value", quoted(&entry.key));
                let hint = "use letters, digits and _, a letter first";
                self.cx.problems.wrong_hint(entry.at, message, hint);
            } else if let Some(other) = self.scope.captured.get(&entry.key) {
                let message = format!("`{}` is captured by step `{other}` already", entry.key);
                self.cx.problems.wrong_hint(entry.at, message, "choose another name");
            } else {
                let _ = self.scope.captured.insert(entry.key.clone(), step.to_owned());
                captures.push((entry.key.clone(), pointer.to_owned()));
            }
        }
        captures
    }
}

/// Keys that do something, of which there is one: a protocol's, or another.
pub(super) fn with(other: &'static str) -> Vec<&'static str> {
    PROTOCOLS.iter().copied().chain([other]).collect()
}

/// Whether a URL leads to whatever the target of an instance is.
fn is_target_host(url: &str) -> bool {
    let after = url.split_once("://").map_or(url, |(_, rest)| rest);
    after.split(['/', '?', '#']).next().is_some_and(|host| host.contains("${target}"))
}

/// The URL with something harmless in the place of what a run fills in.
pub(super) fn parse_specimen(url: &str) -> Option<Url> {
    Url::parse(&super::template::specimen(url)).ok()
}

/// RFC 6901: empty, or parts that each begin with `/`; `~` only as `~0` and `~1`.
pub(super) fn is_pointer(text: &str) -> bool {
    let escapes_are_whole = text.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
    (text.is_empty() || text.starts_with('/')) && escapes_are_whole
}
