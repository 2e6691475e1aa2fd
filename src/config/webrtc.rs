//! The `webrtc:` block of a probe.
//!
//! ```yaml
//! webrtc:
//!   url: https://sfu.example.com/whip/probe       # the offer is posted there, SDP comes back
//!   headers: { Authorization: "Bearer ${env.SFU_TOKEN}" }
//!   status: [200, 201]                            # of that answer; 2xx unless given
//!   channel: probe                                # the data channel's label
//!   protocol: chat.v2                             # its subprotocol
//!   ordered: false                                # messages may overtake each other; true unless given
//!   max_retransmits: 0                            # what is lost stays lost; sent again unless given
//!   send: "ping ${run.id}"
//!   expect: { text: "ping ${run.id}", within: 100ms }
//!   tls: { ca_file: ca.pem }                      # of the request
//! ```

use super::features;
use super::fields::Fields;
use super::on_stream::Stream;
use super::steps::Steps;
use super::template::Secrets;
use super::tree::Node;
use crate::probe::spec::WebRtcStep;

/// The label of a channel that is given none.
const CHANNEL: &str = "probe";

impl Steps<'_> {
    /// The block.
    pub(super) fn webrtc(&self, node: &Node) -> Option<WebRtcStep> {
        self.cx.need(features::WEBRTC, node.at);
        self.cx.fields(node, "a webrtc block", |fields| {
            let url = fields.need("url", "https://sfu.example.com/whip/probe");
            let url = url.and_then(|node| self.url(node, "url", &["http", "https"]));
            if let Some(url) = &url {
                // The offer alone makes the server open a session.
                self.check_write(fields.at("url"), url);
            }
            let tls = self.tls(fields, url.as_deref());
            let headers = self.headers(fields);
            let status = fields.get("status").map(|node| self.status(node));
            let channel = self.channel_text(fields, "channel");
            let protocol = self.channel_text(fields, "protocol");
            let ordered = fields.flag("ordered").unwrap_or(true);
            let max_retransmits = fields.integer("max_retransmits", 0..=u64::from(u16::MAX));
            let send = fields.get("send").and_then(|node| self.message(node, "send"));
            let expect = fields.get("expect").and_then(|node| self.expect(node, Stream::Channel));
            Some(WebRtcStep {
                url: url?,
                headers,
                status: status.unwrap_or_default(),
                channel: channel.unwrap_or_else(|| CHANNEL.to_owned()),
                protocol: protocol.unwrap_or_default(),
                ordered,
                max_retransmits: max_retransmits.and_then(|count| u16::try_from(count).ok()),
                send,
                expect,
                tls,
            })
        })?
    }

    /// A name that the channel's greeting tells the peer.
    fn channel_text(&self, fields: &mut Fields<'_>, key: &'static str) -> Option<String> {
        let node = fields.get(key)?;
        let text = self.cx.raw_text(node, key)?;
        let filled = self.cx.run_text(node.at, text, &self.scope, Secrets::Refused)?;
        Some(filled.text)
    }
}
