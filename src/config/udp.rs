//! The `udp:` block of a probe.
//!
//! ```yaml
//! udp:
//!   address: game.example.com:7777
//!   send: "ping ${run.id}"                     # or as YAML, sent as JSON
//!   expect: { text: "ping ${run.id}", within: 100ms }   # any datagram will do unless given
//! ```

use super::steps::Steps;
use super::tree::Node;
use crate::probe::spec::{ExpectText, UdpStep};

const EXAMPLE: &str = "game.example.com:7777";

impl Steps<'_> {
    /// The block.
    pub(super) fn udp(&self, node: &Node) -> Option<UdpStep> {
        self.cx.fields(node, "a udp block", |fields| {
            let address = fields.need("address", EXAMPLE);
            let url = address.and_then(|node| self.endpoint(node, "udp", EXAMPLE));
            let send = fields.need("send", "\"ping ${run.id}\"");
            let send = send.and_then(|node| self.text_to_send(node));
            if let Some(url) = &url {
                self.check_write(fields.at("address"), url);
            }
            let expect = fields.get("expect").and_then(|node| self.expect_text(node));
            let expect = expect.unwrap_or(ExpectText { text: None, within: None });
            Some(UdpStep { url: url?, send: send?, expect })
        })?
    }
}
