//! The `icmp:` block of a probe.
//!
//! ```yaml
//! icmp:
//!   host: edge.example.com       # name or address
//!   count: 3                     # echoes of a run; 1 unless given, 10 at most
//!   interval: 200ms              # from one to the next
//!   size: 56                     # bytes of payload, up to 1400
//!   family: any                  # ipv4 or ipv6
//!   max_loss: 0%                 # more than this share lost is a failure; all of them always are
//!   wait: 1s                     # after the last echo; the whole timeout unless losses are allowed
//!   fallback: 443                # time connections to this port where ICMP is not permitted; or none
//! ```

use super::fields::Fields;
use super::scalar::quoted;
use super::steps::Steps;
use super::template::{Secrets, specimen};
use super::tree::Node;
use crate::probe::icmp::{Family, IcmpStep, is_host};
use std::time::Duration;

/// From one echo to the next, unless given: as often as ping lets everybody.
const DEFAULT_INTERVAL: Duration = Duration::from_millis(200);
/// No shorter: this is no load test.
const MIN_INTERVAL: Duration = Duration::from_millis(20);
const MAX_INTERVAL: Duration = Duration::from_secs(60);
/// How long lost echoes are waited for, unless given, where they may be lost.
const DEFAULT_WAIT: Duration = Duration::from_secs(1);
/// As ping sends.
const DEFAULT_SIZE: u16 = 56;
/// Nearly every host of an app listens here.
const DEFAULT_FALLBACK: u16 = 443;

const FAMILIES: &[(&str, Family)] =
    &[("any", Family::Any), ("ipv4", Family::Ipv4), ("ipv6", Family::Ipv6)];

impl Steps<'_> {
    /// The block.
    pub(super) fn icmp(&self, node: &Node) -> Option<IcmpStep> {
        self.cx.fields(node, "an icmp block", |fields| {
            let host = fields.need("host", "edge.example.com").and_then(|node| self.host(node));
            let count = narrow(fields.integer("count", 1..=10)).unwrap_or(1);
            let interval = fields.duration("interval", MIN_INTERVAL..=MAX_INTERVAL);
            let interval = interval.unwrap_or(DEFAULT_INTERVAL);
            let size = narrow(fields.integer("size", 0..=1_400)).unwrap_or(DEFAULT_SIZE);
            let family = fields.get("family").and_then(|n| self.cx.choice(n, "family", FAMILIES));
            let max_loss = fields.get("max_loss").and_then(|node| self.max_loss(node));
            let max_loss = max_loss.unwrap_or(0.0);
            let wait = self.within(fields, "wait");
            let wait = wait.or((max_loss > 0.0).then_some(DEFAULT_WAIT));
            let fallback = fields.get("fallback").map(|node| self.fallback(node));
            self.check_duration(fields, interval * u32::from(count - 1));
            Some(IcmpStep {
                host: host?,
                count,
                interval,
                size,
                family: family.unwrap_or_default(),
                max_loss,
                wait,
                fallback: fallback.unwrap_or(Some(DEFAULT_FALLBACK)),
                hop_limit: None,
            })
        })?
    }

    fn host(&self, node: &Node) -> Option<String> {
        let text = self.cx.raw_text(node, "host")?.trim();
        let filled = self.cx.run_text(node.at, text, &self.scope, Secrets::Refused)?;
        if is_host(&specimen(&filled.text)) {
            return Some(filled.text);
        }
        let message = format!("`{}` is not the name or address of a host", quoted(text));
        let hint = "for example 127.0.0.1, ::1 or edge.example.com";
        self.cx.problems.wrong_hint(node.at, message, hint);
        None
    }

    /// A share; unlike elsewhere none at all is one.
    fn max_loss(&self, node: &Node) -> Option<f64> {
        if self.cx.text(node, "max_loss")? == "0%" {
            return Some(0.0);
        }
        self.cx.share(node, "max_loss")
    }

    /// A port, or `none`.
    fn fallback(&self, node: &Node) -> Option<u16> {
        if self.cx.text(node, "fallback")? == "none" {
            return None;
        }
        let port = self.cx.text(node, "fallback")?.parse().ok().filter(|port| *port != 0);
        if port.is_none() {
            let hint = "write the port to connect to where ICMP is not permitted, or none";
            self.cx.problems.wrong_hint(node.at, "`fallback` must be a port or `none`", hint);
        }
        port
    }

    fn check_duration(&self, fields: &Fields<'_>, sending: Duration) {
        if self.timeout.is_some_and(|timeout| sending >= timeout) {
            let message = "the last echo would be sent after the timeout of the run";
            let hint = "send fewer, at a shorter interval, or raise `timeout`";
            self.cx.problems.wrong_hint(fields.at("count"), message, hint);
        }
    }
}

fn narrow(number: Option<u64>) -> Option<u16> {
    number.and_then(|number| u16::try_from(number).ok())
}
