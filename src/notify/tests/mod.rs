//! Tests of delivery: the queue by itself, and the courier against receivers on loopback.

mod queue;
mod receivers;
mod wire;

use crate::base::clock::UnixNanos;
use crate::base::secret::Secret;
use crate::model::labels::Labels;
use crate::model::notification::Notification;
use crate::model::routing::{Channel, Receiver};
use std::time::Duration;

/// A firing of one incident for one receiver, the same in every test.
pub(super) fn sample(receiver: &str, incident: &str, transition: u32) -> Notification {
    Notification {
        id: format!("{incident}-{transition}-{receiver}"),
        receiver: receiver.to_owned(),
        incident: incident.to_owned(),
        transition,
        labels: Labels::new([
            ("alertname", "chat-echo-fast"),
            ("severity", "page"),
            ("owner", "messaging"),
        ]),
        annotations: Labels::new([("summary", "chat-echo-fast burns 18x since 22:13")]),
        starts_at: UnixNanos::from_seconds(1_700_000_000),
        created_at: UnixNanos::from_seconds(1_700_000_001),
        generator_url: "http://127.0.0.1:7663/slo/chat-echo-fast".to_owned(),
        ..Notification::default()
    }
}

/// A webhook receiver.
fn webhook(name: &str, url: &str, timeout: Duration) -> Receiver {
    Receiver {
        name: name.to_owned(),
        send_resolved: true,
        channel: Channel::Webhook { url: Secret::new(url), headers: Vec::new(), timeout },
    }
}
