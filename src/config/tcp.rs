//! The `tcp:` block of a probe.
//!
//! ```yaml
//! tcp:
//!   address: gateway.example.com:5222
//!   send: "PING ${run.id}\r\n"                # without it the server speaks first
//!   expect: { text: { contains: PONG }, within: 100ms }
//!   tls: { ca_file: ca.pem }                  # TLS from the first byte; `tls: {}` is enough
//! tcp:
//!   address: mail.example.com:587
//!   dialogue:                                 # line by line; lines that do not match are passed over
//!     - { expect: { text: { matches: "^220 " } }, send: "EHLO probe.example.com\r\n" }
//!     - { expect: { text: { matches: "^250 " } }, send: "STARTTLS\r\n" }
//!     - { expect: { text: { matches: "^220 " }, within: 1s }, starttls: true }
//!     - { send: "QUIT\r\n" }
//! ```

use super::fields::Fields;
use super::steps::Steps;
use super::tree::{Node, Value};
use crate::probe::spec::{ExpectText, TcpStep, Turn};

/// Turns of one dialogue.
const MAX_DIALOGUE: usize = 50;
const EXAMPLE: &str = "chat.example.com:5222";

impl Steps<'_> {
    /// The block.
    pub(super) fn tcp(&self, node: &Node) -> Option<TcpStep> {
        self.cx.fields(node, "a tcp block", |fields| {
            let address = fields.need("address", EXAMPLE);
            let turns = match fields.get("dialogue") {
                Some(node) => {
                    self.refuse_beside_dialogue(fields);
                    self.dialogue(node)
                }
                None => self.exchange(fields),
            };
            let changes_later = turns.contains(&Turn::StartTls);
            let secure = fields.has("tls") && !changes_later;
            let scheme = if secure { "tls" } else { "tcp" };
            let url = address.and_then(|node| self.endpoint(node, scheme, EXAMPLE));
            let sends = turns.iter().any(|turn| matches!(turn, Turn::Send(_)));
            if let (Some(url), true) = (&url, sends) {
                self.check_write(fields.at("address"), url);
            }
            let tls = self.tls(fields, None);
            Some(TcpStep { url: url?, tls, turns })
        })?
    }

    /// `{ text, within }`: a text that a server sends.
    pub(super) fn expect_text(&self, node: &Node) -> Option<ExpectText> {
        self.cx.fields(node, "an expectation", |fields| ExpectText {
            text: fields.get("text").and_then(|node| self.text_check(node, "text")),
            within: self.within(fields, "within"),
        })
    }

    /// A text to send, be it a blank line.
    pub(super) fn text_to_send(&self, node: &Node) -> Option<String> {
        match &node.value {
            Value::Scalar { text, plain: false } if !text.is_empty() && text.trim().is_empty() => {
                Some(text.clone())
            }
            _ => self.message(node, "send"),
        }
    }

    /// As [`Steps::expect_text`], where it must say what it expects.
    fn expect_some_text(&self, node: &Node) -> Option<ExpectText> {
        let before = self.cx.problems.count();
        let expect = self.expect_text(node)?;
        if expect.text.is_none() && self.cx.problems.count() == before {
            let hint = "for example expect: { text: { contains: OK }, within: 100ms }";
            self.cx.problems.wrong_hint(node.at, "an expectation needs text", hint);
        }
        Some(expect)
    }

    /// `send` and `expect`, each of which may be missing.
    fn exchange(&self, fields: &mut Fields<'_>) -> Vec<Turn> {
        let send = fields.get("send").and_then(|node| self.text_to_send(node));
        let expect = fields.get("expect").and_then(|node| self.expect_some_text(node));
        let send = send.map(Turn::Send);
        send.into_iter().chain(expect.map(Turn::Expect)).collect()
    }

    fn dialogue(&self, node: &Node) -> Vec<Turn> {
        let items = self.cx.items(node, "dialogue");
        if items.len() > MAX_DIALOGUE {
            let message = format!("`dialogue` has more than {MAX_DIALOGUE} turns");
            self.cx.problems.wrong(node.at, message);
        }
        items.iter().take(MAX_DIALOGUE).flat_map(|item| self.dialogue_item(item)).collect()
    }

    /// One `{ expect, send, starttls }`, in this order.
    fn dialogue_item(&self, node: &Node) -> Vec<Turn> {
        let read = self.cx.fields(node, "a turn of a dialogue", |fields| {
            let expect = fields.get("expect").and_then(|node| self.expect_some_text(node));
            let send = fields.get("send").and_then(|node| self.text_to_send(node));
            let starttls = fields.flag("starttls").unwrap_or(false);
            if !["expect", "send", "starttls"].into_iter().any(|key| fields.has(key)) {
                let message = "a turn of a dialogue needs expect, send or starttls";
                self.cx.problems.wrong(fields.at, message);
            }
            let turns = [
                expect.map(Turn::ExpectLine),
                send.map(Turn::Send),
                starttls.then_some(Turn::StartTls),
            ];
            turns.into_iter().flatten().collect()
        });
        read.unwrap_or_default()
    }

    /// Beside a dialogue `send` and `expect` would be overlooked.
    fn refuse_beside_dialogue(&self, fields: &mut Fields<'_>) {
        for key in ["send", "expect"] {
            if fields.has(key) {
                let message = format!("`{key}` beside `dialogue` means nothing");
                let hint = "put it into the dialogue";
                self.cx.problems.wrong_hint(fields.at(key), message, hint);
            }
        }
    }
}
