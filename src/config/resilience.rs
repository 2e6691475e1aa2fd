//! The steps on a stream that goes away: `heartbeat`, `drop` and `reconnect`; and `fallback:`.
//!
//! ```yaml
//! - as: bob
//!   fallback:                              # the first that opens
//!     each_within: 2s                      # then the next is tried
//!     streams: [ { websocket: { url: … } }, { sse: { url: … } } ]
//! - { on: bob, heartbeat: { every: 1s, timeout: 2s, for: 5s } }    # it must live
//! - { on: bob, drop: rst }                 # rst, fin, close, silence; or server: wait until it ends it
//! - on: bob
//!   drop: { by: silence, heartbeat: { every: 1s, timeout: 2s } }   # how soon is that noticed?
//! - as: alice                              # what is published while bob is away
//!   http: { post: … }
//! - on: bob
//!   reconnect:
//!     after: 500ms                         # an event stream: what the server's `retry` says
//!     url: "wss://…?token=${token}"        # another URL than that of the opening
//!     headers: { X-Resume: "${token}" }
//!     send: { resume: "${token}", after: "${resume.last}" }
//!     sequence: /n                         # JSON pointer to a message's number
//!     session: /session                    # …to what must stay the same
//!     resumed: { json: { type: resumed } } # the server says that it goes on
//!     refused: { json: { type: hello } }   # or that it does not
//!     within: 2s
//!     max_missed: 0
//! ```

use super::fields::Fields;
use super::on_stream::Stream;
use super::scalar::quoted;
use super::steps::{Steps, is_pointer};
use super::tree::{Node, Value};
use crate::probe::spec::{
    Action, Cut, DropBy, DropStep, Expect, FallbackStep, Heartbeat, HeartbeatStep, Hold,
    ReconnectStep,
};
use std::time::Duration;

/// Nobody waits longer for a sign of life.
const MAX_TIMEOUT: Duration = Duration::from_secs(600);
/// More often would be a load.
const MIN_EVERY: Duration = Duration::from_millis(10);
/// Ways to open one stream.
const MAX_WAYS: usize = 8;
/// The code with which a client leaves that is going away.
const GOING_AWAY: u16 = 1001;
/// What a drop may be called.
const DROPS: [(&str, DropBy); 5] = [
    ("rst", DropBy::Network(Cut::Reset)),
    ("fin", DropBy::Network(Cut::Finished)),
    ("silence", DropBy::Network(Cut::Silent)),
    ("close", DropBy::Close(GOING_AWAY)),
    ("server", DropBy::Server),
];

impl Steps<'_> {
    /// `hold: true` beside a block that opens a stream, or how the stream is watched between runs.
    pub(super) fn hold(&self, fields: &mut Fields<'_>) -> Option<Hold> {
        let node = fields.get("hold")?;
        let stream = self.newest();
        if stream == Stream::None {
            let message = "`hold` is for a step that opens a stream";
            let hint = "put it beside websocket:, sse:, mqtt: or fallback:";
            self.cx.problems.wrong_hint(node.at, message, hint);
        }
        if stream == Stream::Channel {
            let message = "a data channel is not held between runs";
            self.cx.problems.wrong_hint(node.at, message, "remove hold: each run opens it anew");
        }
        if matches!(node.value, Value::Scalar { .. }) {
            return self.cx.flag(node, "hold")?.then(Hold::default);
        }
        self.cx.fields(node, "a hold", |fields| {
            let heartbeat = fields.need("heartbeat", "{ every: 15s, timeout: 10s }")?;
            let heartbeat =
                self.cx.fields(heartbeat, "a heartbeat", |fields| signs_of_life(fields, stream))?;
            Some(Hold { heartbeat: Some(heartbeat?) })
        })?
    }

    /// The `heartbeat:` of a step on a stream.
    pub(super) fn heartbeat(&self, node: &Node, stream: Stream) -> Option<HeartbeatStep> {
        self.cx.fields(node, "a heartbeat", |fields| {
            let heartbeat = signs_of_life(fields, stream);
            let _ = fields.need("for", "5s");
            let longest = self.timeout.unwrap_or(MAX_TIMEOUT);
            let listen = fields.duration("for", Duration::from_millis(1)..=longest);
            Some(HeartbeatStep { heartbeat: heartbeat?, listen: listen? })
        })?
    }

    /// The `drop:` of a step on a stream: a word, or a mapping.
    pub(super) fn drop_step(&self, node: &Node, stream: Stream) -> Option<DropStep> {
        let cx = self.cx;
        let step = if matches!(node.value, Value::Scalar { .. }) {
            DropStep { by: cx.choice(node, "drop", &DROPS)?, heartbeat: None }
        } else {
            cx.fields(node, "a drop", |fields| {
                let by = fields.need("by", "silence");
                let by = by.and_then(|node| cx.choice(node, "by", &DROPS));
                let code = fields.integer("code", 1_000..=4_999);
                let code = code.and_then(|code| u16::try_from(code).ok());
                if code.is_some() && !matches!(by, Some(DropBy::Close(_)) | None) {
                    let message = "`code` belongs to `by: close`";
                    cx.problems.wrong_hint(fields.at("code"), message, "remove it");
                }
                let by = match (by?, code) {
                    (DropBy::Close(_), Some(code)) => DropBy::Close(code),
                    (by, _) => by,
                };
                let heartbeat = fields.get("heartbeat");
                let heartbeat = heartbeat.and_then(|node| {
                    cx.fields(node, "a heartbeat", |fields| signs_of_life(fields, stream))?
                });
                Some(DropStep { by, heartbeat })
            })??
        };
        if step.by == DropBy::Network(Cut::Silent) && step.heartbeat.is_none() {
            let message = "silence is noticed by a heartbeat only";
            let hint = "write drop: { by: silence, heartbeat: { every: 1s, timeout: 2s } }";
            cx.problems.wrong_hint(node.at, message, hint);
        }
        Some(step)
    }

    /// The `reconnect:` of a step on a stream.
    pub(super) fn reconnect(&self, node: &Node, stream: Stream) -> Option<ReconnectStep> {
        self.cx.fields(node, "a reconnect", |fields| {
            let schemes: &[&str] = match stream {
                Stream::WebSocket => &["ws", "wss"],
                _ => &["http", "https"],
            };
            let url = fields.get("url").and_then(|node| self.url(node, "url", schemes));
            if url.is_some() && !matches!(stream, Stream::WebSocket | Stream::Events) {
                let message = "`url` is for WebSockets and event streams";
                self.cx.problems.wrong_hint(fields.at("url"), message, "remove it");
            }
            let send = fields.get("send").and_then(|node| self.message(node, "send"));
            if send.is_some() && !matches!(stream, Stream::WebSocket) {
                let message = "only over a WebSocket can a message ask to go on";
                let hint = "an event stream sends Last-Event-ID by itself; MQTT has sessions";
                self.cx.problems.wrong_hint(fields.at("send"), message, hint);
            }
            let step = ReconnectStep {
                after: fields.duration("after", Duration::ZERO..=MAX_TIMEOUT),
                url,
                headers: self.headers(fields),
                send,
                sequence: self.pointer(fields, "sequence"),
                session: self.pointer(fields, "session"),
                resumed: self.sign(fields, "resumed", stream),
                refused: self.sign(fields, "refused", stream),
                within: self.within(fields, "within"),
                max_missed: fields.integer("max_missed", 0..=u64::from(u32::MAX)).unwrap_or(0),
            };
            Some(step)
        })?
    }

    /// The `fallback:` block.
    pub(super) fn fallback_step(&mut self, node: &Node) -> Option<FallbackStep> {
        let cx = self.cx;
        cx.fields(node, "a fallback block", |fields| {
            let each_within = self.within(fields, "each_within");
            let list = fields.need("streams", "[ { websocket: … }, { sse: … } ]")?;
            let items = cx.items(list, "streams");
            if items.len() < 2 || items.len() > MAX_WAYS {
                let message = format!("`streams` needs two to {MAX_WAYS} ways to open the stream");
                cx.problems.wrong(list.at, message);
            }
            let mut streams = Vec::new();
            for item in items.iter().take(MAX_WAYS) {
                let way = cx.fields(item, "a way to open the stream", |fields| {
                    let (key, node) = fields.exactly_one(&["websocket", "sse", "poll", "mqtt"])?;
                    let way = self.action(key, node);
                    self.forget_way();
                    way
                });
                streams.extend(way.flatten());
            }
            Some(FallbackStep { each_within, streams })
        })?
    }

    /// A message that says something of a resumption.
    fn sign(&self, fields: &mut Fields<'_>, key: &'static str, stream: Stream) -> Option<Expect> {
        let node = fields.get(key)?;
        let expect = self.expect(node, stream)?;
        if expect.within.is_some() || expect.since.is_some() {
            let message = format!("`{key}` says what the message is, not when it comes");
            self.cx.problems.wrong_hint(node.at, message, "put within: beside it");
        }
        Some(expect)
    }

    /// A JSON pointer under `key`.
    pub(super) fn pointer(&self, fields: &mut Fields<'_>, key: &'static str) -> Option<String> {
        let node = fields.get(key)?;
        let text = self.cx.text(node, key)?;
        if is_pointer(text) {
            return Some(text.to_owned());
        }
        let message = format!("`{}` is not a JSON pointer", quoted(text));
        self.cx.problems.wrong_hint(node.at, message, "for example /id or /messages/0/id");
        None
    }

    /// What a step does to the stream of the step that it names.
    pub(super) fn on_connection(
        &self,
        key: &str,
        node: &Node,
        on: &str,
        stream: Stream,
    ) -> Option<Action> {
        if stream == Stream::Channel {
            let message = format!("`{key}` is not for a data channel");
            let hint = "it is for a step with a websocket:, sse:, poll: or mqtt: block";
            self.cx.problems.wrong_hint(node.at, message, hint);
            return None;
        }
        let on = on.to_owned();
        Some(match key {
            "heartbeat" => Action::Heartbeat { on, heartbeat: self.heartbeat(node, stream)? },
            "drop" => Action::Drop { on, drop: self.drop_step(node, stream)? },
            _ => Action::Reconnect { on, reconnect: Box::new(self.reconnect(node, stream)?) },
        })
    }
}

/// `every` and `timeout`.
fn signs_of_life(fields: &mut Fields<'_>, stream: Stream) -> Option<Heartbeat> {
    let every = fields.duration("every", MIN_EVERY..=MAX_TIMEOUT);
    let _ = fields.need("timeout", "2s");
    let timeout = fields.duration("timeout", MIN_EVERY..=MAX_TIMEOUT);
    if every.is_some() && stream == Stream::Events {
        let message = "nothing can be sent over an event stream: a client listens for keep-alives";
        let hint = "give timeout: alone, longer than the server's keep-alives are apart";
        fields.cx.problems.wrong_hint(fields.at("every"), message, hint);
    }
    if every.is_none() && timeout.is_some() && stream == Stream::WebSocket {
        let message =
            "without `every` no ping is sent: only what the server sends is a sign of life";
        let hint = "add every: 1s, unless the server sends pings by itself";
        fields.cx.problems.warn(fields.at("timeout"), message, hint);
    }
    Some(Heartbeat { every, timeout: timeout? })
}
