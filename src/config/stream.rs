//! The `websocket:` and `sse:` blocks of a probe.
//!
//! ```yaml
//! websocket:
//!   url: wss://chat.example.com/socket
//!   subprotocols: [chat.v2]
//!   headers: { Authorization: "Bearer ${env.CHAT_TOKEN}" }
//!   send: '{"type":"echo","id":"${run.id}"}'   # or as YAML, sent as JSON
//!   expect: { json: { type: echo, id: "${run.id}" }, within: 100ms }
//!   ping: true                                # wait for the pong as well
//!   close_code: 1000                          # the server must end with it
//! sse:
//!   url: https://chat.example.com/feed
//!   first_event_within: 1s
//!   expect: { event: tick, text: { matches: "^[0-9]+$" }, within: 2s }
//!   max_gap: 5s
//! ```

use super::scalar::quoted;
use super::steps::{Steps, Stream};
use super::tree::Node;
use crate::probe::spec::{SseStep, WebSocketStep};

/// Close codes that an endpoint may send (RFC 6455, 7.4).
const CLOSE_CODES: std::ops::RangeInclusive<u64> = 1_000..=4_999;

impl Steps<'_> {
    /// The `websocket:` block.
    pub(super) fn websocket(&self, node: &Node) -> Option<WebSocketStep> {
        self.cx.fields(node, "a websocket block", |fields| {
            let url = fields.need("url", "wss://chat.example.com/socket");
            let url = url.and_then(|node| self.url(node, "url", &["ws", "wss"]));
            let send = fields.get("send").and_then(|node| self.message(node, "send"));
            if let (Some(url), Some(_)) = (&url, &send) {
                self.check_write(fields.at("send"), url);
            }
            let tls = self.tls(fields, url.as_deref());
            let close_code = fields.integer("close_code", CLOSE_CODES);
            let subprotocols = fields.get("subprotocols").map(|node| self.subprotocols(node));
            let expect = fields.get("expect");
            let step = WebSocketStep {
                headers: self.headers(fields),
                subprotocols: subprotocols.unwrap_or_default(),
                send,
                ping: fields.flag("ping").unwrap_or(false),
                expect: expect.and_then(|node| self.expect(node, Stream::WebSocket)),
                close_code: close_code.and_then(|code| u16::try_from(code).ok()),
                tls,
                url: url?,
            };
            Some(step)
        })?
    }

    /// The `sse:` block.
    pub(super) fn sse(&self, node: &Node) -> Option<SseStep> {
        self.cx.fields(node, "an sse block", |fields| {
            let url = fields.need("url", "https://chat.example.com/feed");
            let url = url.and_then(|node| self.url(node, "url", &["http", "https"]));
            let tls = self.tls(fields, url.as_deref());
            let expect = fields.get("expect");
            let step = SseStep {
                headers: self.headers(fields),
                first_event_within: self.within(fields, "first_event_within"),
                expect: expect.and_then(|node| self.expect(node, Stream::Events)),
                max_gap: self.within(fields, "max_gap"),
                tls,
                url: url?,
            };
            if step.max_gap.is_some() && step.expect.is_none() {
                let message = "`max_gap` counts while an event is waited for, and none is";
                let hint = "add expect: { event: … }";
                self.cx.problems.warn(fields.at("max_gap"), message, hint);
            }
            Some(step)
        })?
    }

    fn subprotocols(&self, node: &Node) -> Vec<String> {
        let one = |node: &Node| {
            let text = self.cx.text(node, "subprotocols")?;
            // A token of HTTP, for which the name of a method has the same grammar.
            if http::Method::from_bytes(text.as_bytes()).is_err() {
                let message = format!("`{}` is not a subprotocol", quoted(text));
                self.cx.problems.wrong(node.at, message);
                return None;
            }
            Some(text.to_owned())
        };
        self.cx.one_or_many(node).into_iter().filter_map(one).collect()
    }
}
