//! What an `mqtt:` step is told: the definition that `config/` makes of the block.

use super::super::spec::{Expect, HeaderText, TlsOptions};
use crate::base::secret::Secret;
pub use mqtt_protocol_core::mqtt::packet::Qos;
use std::time::Duration;

/// Connects to an MQTT server; may subscribe, may publish, may expect.
#[derive(Clone, Debug, PartialEq)]
pub struct MqttStep {
    /// `mqtt://` or `mqtts://`, with 1883 and 8883 as default ports.
    pub url: String,
    /// Which version to speak.
    pub version: MqttVersion,
    /// The client identifier; unless given, one that no other connection has.
    pub client_id: Option<String>,
    /// The user name.
    pub username: Option<HeaderText>,
    /// The password.
    pub password: Option<Secret>,
    /// The server is pinged in half of this while the stream is open; whole seconds.
    pub keep_alive: Duration,
    /// Forget what the server kept for the client identifier; in 3.1.1 the clean session.
    pub clean_start: bool,
    /// How long the server is to keep the session after the connection; version 5 only.
    pub session_expiry: Option<Duration>,
    /// Topic filters to subscribe to, in one request.
    pub subscribe: Vec<String>,
    /// Quality of service of the subscriptions.
    pub qos: Qos,
    /// Where and what to publish.
    pub publish: Option<MqttPublish>,
    /// Publish while the subscriber is away, and expect the message when it is back.
    pub resume: bool,
    /// Send a PINGREQ and wait for its PINGRESP; the round trip is the value when nothing is
    /// expected.
    pub ping: bool,
    /// A message to wait for; its `event` is the topic.
    pub expect: Option<Expect>,
    /// Whether retained messages count; otherwise they are passed over.
    pub accept_retained: bool,
    /// Whether a message that comes twice where its quality of service rules that out is a failure.
    /// Two messages of the same topic and payload are the same: each needs something of its own. What
    /// another step or client publishes at quality of service 1 may legally come twice at any.
    pub refuse_duplicates: bool,
    /// TLS of the connection.
    pub tls: TlsOptions,
}

/// How messages are published over the connection of a step.
#[derive(Clone, Debug, PartialEq)]
pub struct MqttPublish {
    /// The topic, without wildcards.
    pub topic: String,
    /// What to publish once subscribed; later steps may send further messages to the topic.
    pub message: Option<String>,
    /// With more than 0, a sending is over when the server has confirmed it.
    pub qos: Qos,
    /// Whether the server is to keep the last message for later subscribers.
    pub retain: bool,
}

/// The versions of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum MqttVersion {
    /// 3.1.1 of 2014: no reasons, no user properties, so no trace context.
    V3_1_1,
    /// 5 of 2019.
    #[default]
    V5,
}

// === impl MqttStep ===

impl MqttStep {
    /// What is published once the connection stands; while the subscriber is away it already was.
    pub(in super::super) fn message(&self) -> Option<&str> {
        let publish = self.publish.as_ref().filter(|_| !self.resume)?;
        publish.message.as_deref()
    }

    /// All texts that are filled in at each run.
    pub(in super::super) fn texts(&self) -> Vec<&str> {
        let mut texts = vec![self.url.as_str()];
        texts.extend(self.client_id.as_deref());
        texts.extend(self.username.as_ref().map(HeaderText::reveal));
        texts.extend(self.password.as_ref().map(Secret::reveal));
        texts.extend(self.subscribe.iter().map(String::as_str));
        if let Some(publish) = &self.publish {
            texts.push(&publish.topic);
            texts.extend(publish.message.as_deref());
        }
        texts
    }
}

// === impl MqttVersion ===

impl MqttVersion {
    /// As the standard and definitions write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V3_1_1 => "3.1.1",
            Self::V5 => "5",
        }
    }
}
