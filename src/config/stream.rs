//! The `websocket:` and `sse:` blocks of a probe.
//!
//! ```yaml
//! websocket:
//!   url: wss://chat.example.com/socket
//!   subprotocols: [chat.v2, chat.v1]          # the server must choose one of them
//!   chosen_subprotocol: chat.v2               # this one
//!   headers: { Authorization: "Bearer ${env.CHAT_TOKEN}" }
//!   compression: on                           # or off; or as below
//!   send: '{"type":"echo","id":"${run.id}"}'   # or as YAML, sent as JSON
//!   fragment: 16                              # send in fragments of so many bytes
//!   expect: { json: { type: echo, id: "${run.id}" }, within: 100ms }
//!   max_gap: 5s                               # while waiting
//!   ping: true                                # wait for the pong as well
//!   close_code: 1000                          # the server must end with it
//! websocket:
//!   url: wss://chat.example.com/binary
//!   compression:                              # permessage-deflate (RFC 7692)
//!     server_no_context_takeover: true        # the server must compress each message by itself
//!     client_no_context_takeover: true        # we do
//!     server_max_window_bits: 12              # 8 to 15
//!     client_max_window_bits: 10
//!     required: true                          # a server that declines is a failure
//!   binary: hex                               # or base64: what is sent stands for data
//!   send: "0a ff 00"
//! sse:
//!   url: https://chat.example.com/feed
//!   last_event_id: "${last}"                  # the server goes on after it
//!   first_event_within: 1s
//!   expect: { event: tick, text: { matches: "^[0-9]+$" }, within: 2s }
//!   max_gap: 5s                               # between events, while waiting; comments are none
//!   buffered: false                           # events that were sent apart must not come together
//!   sent_at: /ts                              # where each says when it was sent, in Unix milliseconds
//! ```
//!
//! Without `sent_at` only the run's own messages tell when events were sent: those that hold the run's
//! id, where as many come as were sent. `buffered: false` fails where it cannot be told, too.

use super::fields::Fields;
use super::on_stream::Stream;
use super::scalar::quoted;
use super::steps::Steps;
use super::template::Secrets;
use super::tree::{Node, Value};
use crate::probe::spec::{BinaryText, Deflate, SseStep, WebSocketStep};
use std::num::NonZeroU32;

/// Close codes that an endpoint may send (RFC 6455, 7.4).
const CLOSE_CODES: std::ops::RangeInclusive<u64> = 1_000..=4_999;
/// The bits of a compression window (RFC 7692, 7.1.2).
const WINDOW_BITS: std::ops::RangeInclusive<u64> = 8..=15;
/// Bytes of a fragment: with fewer of a long message there would be many.
const FRAGMENT: std::ops::RangeInclusive<u64> = 1..=1 << 20;

const BINARY: &[(&str, BinaryText)] = &[("base64", BinaryText::Base64), ("hex", BinaryText::Hex)];
const COMPRESSION: &[(&str, bool)] = &[("off", false), ("on", true)];

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
            let subprotocols = subprotocols.unwrap_or_default();
            let fragment = fields.integer("fragment", FRAGMENT);
            let expect = fields.get("expect");
            let step = WebSocketStep {
                headers: self.headers(fields),
                chosen_subprotocol: self.chosen_subprotocol(fields, &subprotocols),
                subprotocols,
                compression: fields.get("compression").and_then(|node| self.compression(node)),
                binary: fields.get("binary").and_then(|n| self.cx.choice(n, "binary", BINARY)),
                fragment: fragment.and_then(|f| NonZeroU32::new(u32::try_from(f).ok()?)),
                send,
                ping: fields.flag("ping").unwrap_or(false),
                expect: expect.and_then(|node| self.expect(node, Stream::WebSocket)),
                max_gap: self.within(fields, "max_gap"),
                close_code: close_code.and_then(|code| u16::try_from(code).ok()),
                tls,
                url: url?,
            };
            self.check_data(fields, &step);
            self.check_gap(fields, "a message", "json: …");
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
            let buffered = fields.flag("buffered");
            if buffered == Some(true) {
                let message = "`buffered: true` asks for nothing";
                let hint = "write false, or remove it";
                self.cx.problems.wrong_hint(fields.at("buffered"), message, hint);
            }
            let step = SseStep {
                headers: self.headers(fields),
                last_event_id: fields.get("last_event_id").and_then(|node| self.event_id(node)),
                first_event_within: self.within(fields, "first_event_within"),
                expect: expect.and_then(|node| self.expect(node, Stream::Events)),
                max_gap: self.within(fields, "max_gap"),
                sent_at: self.pointer(fields, "sent_at"),
                refuse_buffering: buffered == Some(false),
                tls,
                url: url?,
            };
            self.check_gap(fields, "an event", "event: …");
            Some(step)
        })?
    }

    /// `max_gap` counts only while something is waited for.
    fn check_gap(&self, fields: &mut Fields<'_>, what: &str, example: &str) {
        if fields.has("max_gap") && !fields.has("expect") {
            let message = format!("`max_gap` counts while {what} is waited for, and none is");
            let hint = format!("add expect: {{ {example} }}");
            self.cx.problems.warn(fields.at("max_gap"), message, hint);
        }
    }

    /// What is sent must stand for data, as far as that can be told before a run.
    fn check_data(&self, fields: &Fields<'_>, step: &WebSocketStep) {
        let (Some(form), Some(text)) = (step.binary, &step.send) else { return };
        if !text.contains("${") && form.decode(text).is_none() {
            let message = format!("`{}` is not {}", quoted(text), form.as_str());
            let hint = "with `binary`, what is sent is data written as base64 or hex";
            self.cx.problems.wrong_hint(fields.at("send"), message, hint);
        }
    }

    /// `on`, `off`, or what is offered in detail.
    fn compression(&self, node: &Node) -> Option<Deflate> {
        if let Value::Scalar { .. } = node.value {
            let is_on = self.cx.choice(node, "compression", COMPRESSION)?;
            return is_on.then(Deflate::default);
        }
        self.cx.fields(node, "what is offered of compression", |fields| {
            let mut bits = |key| {
                let bits = fields.integer(key, WINDOW_BITS);
                bits.and_then(|bits| u8::try_from(bits).ok())
            };
            let server_max_window_bits = bits("server_max_window_bits");
            let client_max_window_bits = bits("client_max_window_bits");
            let mut flag = |key| fields.flag(key).unwrap_or(false);
            Deflate {
                server_no_context_takeover: flag("server_no_context_takeover"),
                client_no_context_takeover: flag("client_no_context_takeover"),
                server_max_window_bits,
                client_max_window_bits,
                required: flag("required"),
            }
        })
    }

    fn chosen_subprotocol(&self, fields: &mut Fields<'_>, offered: &[String]) -> Option<String> {
        let chosen = fields.text("chosen_subprotocol")?;
        if !offered.contains(&chosen) {
            let message = format!("the subprotocol `{}` is not offered", quoted(&chosen));
            let hint = "add it to subprotocols: [ … ]";
            self.cx.problems.wrong_hint(fields.at("chosen_subprotocol"), message, hint);
        }
        Some(chosen)
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

    fn event_id(&self, node: &Node) -> Option<String> {
        let text = self.cx.raw_text(node, "last_event_id")?;
        let filled = self.cx.run_text(node.at, text, &self.scope, Secrets::Refused)?;
        Some(filled.text)
    }
}
