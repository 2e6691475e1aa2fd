//! The `mqtt:` block of a probe.
//!
//! ```yaml
//! mqtt:
//!   url: mqtts://mqtt.example.com              # or mqtt://; ports 8883 and 1883 unless given
//!   version: 5                                 # or 3.1.1, which carries no trace context
//!   client_id: "probe-${run.id}"               # a fresh one unless given
//!   username: probe
//!   password: "${env.MQTT_PASSWORD}"
//!   keep_alive: 60s
//!   clean_start: true                          # false continues the session of the client_id
//!   session_expiry: 1h                         # version 5: how long the server keeps it
//!   subscribe: "rooms/${run.id}/+"             # or a list
//!   qos: 1                                     # of the subscriptions; 0 unless given
//!   publish: { topic: "rooms/${run.id}/a", message: { id: "${run.id}" }, qos: 1, retain: false }
//!   expect: { topic: "rooms/${run.id}/a", json: { id: "${run.id}" }, within: 100ms }
//!   retained: ignore                           # or accept
//!   duplicates: refuse                         # or accept, which only counts them; refuse what is published at 0 or 2
//!   resume: true                               # lose the connection, publish meanwhile, come back
//!   ping: true                                 # wait for the PINGRESP as well
//!   tls: { ca_file: ca.pem }
//! ```
//!
//! Without its `message`, `publish` says where `send:` of later steps goes.

use super::fields::Fields;
use super::on_stream::Stream;
use super::scalar::quoted;
use super::steps::{Steps, parse_specimen};
use super::template::{Filled, Secrets, specimen};
use super::tree::Node;
use crate::base::secret::Secret;
use crate::probe::mqtt::DEFAULT_PORTS;
use crate::probe::spec::{HeaderText, MqttPublish, MqttStep, MqttVersion, Qos};
use std::time::Duration;

/// Filters of one subscription.
const MAX_FILTERS: usize = 50;
/// A topic or filter, bytes (MQTT 5, 1.5.4).
const MAX_TOPIC_BYTES: usize = 65_535;
/// A keep-alive is two bytes of seconds.
const MAX_KEEP_ALIVE: Duration = Duration::from_secs(65_535);
/// An expiry is four bytes of seconds, of which the greatest stands for never.
const MAX_EXPIRY: Duration = Duration::from_secs(u32::MAX as u64 - 1);
const KEEP_ALIVE: Duration = Duration::from_secs(60);
const SECOND: Duration = Duration::from_secs(1);

const VERSIONS: &[(&str, MqttVersion)] = &[("5", MqttVersion::V5), ("3.1.1", MqttVersion::V3_1_1)];
const QUALITIES: &[(&str, Qos)] =
    &[("0", Qos::AtMostOnce), ("1", Qos::AtLeastOnce), ("2", Qos::ExactlyOnce)];
const RETAINED: &[(&str, bool)] = &[("ignore", false), ("accept", true)];
const DUPLICATES: &[(&str, bool)] = &[("accept", false), ("refuse", true)];

/// What a topic is used for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    Publish,
    Subscribe,
}

impl Steps<'_> {
    /// The block.
    pub(super) fn mqtt(&self, node: &Node) -> Option<MqttStep> {
        self.cx.fields(node, "an mqtt block", |fields| {
            let url = fields.need("url", "mqtts://mqtt.example.com");
            let url = url.and_then(|node| self.mqtt_url(node));
            let version =
                fields.get("version").and_then(|n| self.cx.choice(n, "version", VERSIONS));
            let publish = fields.get("publish").and_then(|node| self.publish(node));
            if let (Some(url), Some(MqttPublish { message: Some(_), topic, .. })) = (&url, &publish)
            {
                self.check_publish(fields.at("publish"), url, topic);
            }
            let subscribe = fields.get("subscribe").map(|node| self.filters(node));
            let retained =
                fields.get("retained").and_then(|n| self.cx.choice(n, "retained", RETAINED));
            let duplicates =
                fields.get("duplicates").and_then(|n| self.cx.choice(n, "duplicates", DUPLICATES));
            let expect = fields.get("expect");
            let mut text = |key| fields.get(key).and_then(|node| self.sent_text(node, key));
            let (client_id, username, password) =
                (text("client_id"), text("username"), text("password"));
            let step = MqttStep {
                version: version.unwrap_or_default(),
                client_id: client_id.map(|filled| filled.text),
                username: username.map(header_text),
                password: password.map(|filled| Secret::new(filled.text)),
                keep_alive: self
                    .seconds(fields, "keep_alive", MAX_KEEP_ALIVE)
                    .unwrap_or(KEEP_ALIVE),
                clean_start: fields.flag("clean_start").unwrap_or(true),
                session_expiry: self.seconds(fields, "session_expiry", MAX_EXPIRY),
                subscribe: subscribe.unwrap_or_default(),
                qos: self.quality(fields),
                publish,
                resume: fields.flag("resume").unwrap_or(false),
                ping: fields.flag("ping").unwrap_or(false),
                expect: expect.and_then(|node| self.expect(node, Stream::Topics)),
                accept_retained: retained.unwrap_or(false),
                refuse_duplicates: duplicates.unwrap_or(false),
                tls: self.mqtt_tls(fields, url.as_deref()),
                url: url?,
            };
            self.check_session(fields, &step);
            if step.resume {
                self.check_resume(fields, &step);
            }
            Some(step)
        })?
    }

    /// What parts of the block mean together.
    fn check_session(&self, fields: &mut Fields<'_>, step: &MqttStep) {
        let wrong = |at, message: &str, hint: &str| self.cx.problems.wrong_hint(at, message, hint);
        let is_old = step.version == MqttVersion::V3_1_1;
        if is_old && fields.has("session_expiry") {
            let hint = "remove it: the server decides how long it keeps a session";
            wrong(fields.at("session_expiry"), "MQTT 3.1.1 has no session expiry", hint);
        }
        if is_old && fields.has("password") && !fields.has("username") {
            let hint = "add username:, or use version: 5";
            wrong(fields.at("password"), "MQTT 3.1.1 has no password without a user name", hint);
        }
        if !step.clean_start && !fields.has("client_id") {
            let message = "`clean_start: false` continues a session, and none is named";
            let hint = "add client_id: with a name that stays the same from run to run";
            wrong(fields.at("clean_start"), message, hint);
        }
        if !is_old && !fields.has("client_id") && step.session_expiry.is_some() {
            let message = "each run leaves a session behind at the server";
            let hint = "add client_id:, or remove session_expiry";
            self.cx.problems.warn(fields.at("session_expiry"), message, hint);
        }
        if step.clean_start && fields.has("expect") && !fields.has("subscribe") {
            let message = "nothing is subscribed to, so nothing can be expected";
            let hint = "add subscribe: \"rooms/probe/#\"";
            wrong(fields.at("expect"), message, hint);
        }
    }

    /// What a session needs to be worth resuming.
    fn check_resume(&self, fields: &mut Fields<'_>, step: &MqttStep) {
        let at = fields.at("resume");
        let wrong = |message: &str, hint: &str| self.cx.problems.wrong_hint(at, message, hint);
        let message = step.publish.as_ref().filter(|publish| publish.message.is_some());
        if step.subscribe.is_empty() || message.is_none() || step.expect.is_none() {
            let hint = "give it all three; the message is published while the subscriber is away";
            wrong("`resume` needs subscribe, publish with its message, and expect", hint);
        } else if [Some(step.qos), message.map(|m| m.qos)].contains(&Some(Qos::AtMostOnce)) {
            let hint = "use qos: 1 or 2 for the subscription and for what is published";
            wrong("at qos 0 a server keeps nothing for who is away", hint);
        }
        if step.version == MqttVersion::V3_1_1 && !fields.has("client_id") {
            let hint = "add client_id: with a name that stays the same from run to run";
            wrong("MQTT 3.1.1 keeps a session for ever, and none is named", hint);
        }
    }

    /// `mqtt://host:port`, with its port where that can be told.
    fn mqtt_url(&self, node: &Node) -> Option<String> {
        let mut text = self.url(node, "url", &["mqtt", "mqtts"])?;
        let url = parse_specimen(&text)?;
        if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
            let hint = "topics go into subscribe: and publish: { topic: … }";
            self.cx.problems.wrong_hint(node.at, "an MQTT URL ends with its port", hint);
            return None;
        }
        if url.port().is_none() && !text.contains("${") {
            let [plain, secure] = DEFAULT_PORTS;
            let port = if url.scheme() == "mqtts" { secure } else { plain };
            text = format!("{}:{port}", text.trim_end_matches('/'));
        }
        Some(text)
    }

    fn mqtt_tls(
        &self,
        fields: &mut Fields<'_>,
        url: Option<&str>,
    ) -> crate::probe::spec::TlsOptions {
        if fields.has("tls") && url.is_some_and(|url| url.starts_with("mqtt:")) {
            let hint = "remove it, or use mqtts://";
            self.cx.problems.warn(fields.at("tls"), "`tls` has no effect without TLS", hint);
        }
        self.tls(fields, url)
    }

    fn publish(&self, node: &Node) -> Option<MqttPublish> {
        self.cx.fields(node, "what is published", |fields| {
            let topic = fields.need("topic", "\"rooms/${run.id}/a\"");
            let topic = topic.and_then(|node| self.topic(node, "topic", Use::Publish));
            let message = fields.get("message").and_then(|node| self.message(node, "message"));
            let (qos, retain) = (self.quality(fields), fields.flag("retain").unwrap_or(false));
            if retain && !fields.has("message") {
                let hint = "add message:, or remove it";
                let text = "what is sent later is kept by the server as the last message";
                self.cx.problems.warn(fields.at("retain"), text, hint);
            }
            Some(MqttPublish { topic: topic?, message, qos, retain })
        })?
    }

    fn filters(&self, node: &Node) -> Vec<String> {
        let filters = self.cx.one_or_many(node);
        if filters.is_empty() || filters.len() > MAX_FILTERS {
            let message = format!("`subscribe` takes 1 to {MAX_FILTERS} filters");
            self.cx.problems.wrong(node.at, message);
            return Vec::new();
        }
        let one = |node: &Node| self.topic(node, "subscribe", Use::Subscribe);
        filters.into_iter().filter_map(one).collect()
    }

    fn topic(&self, node: &Node, key: &str, used: Use) -> Option<String> {
        let text = self.cx.raw_text(node, key)?;
        let filled = self.cx.run_text(node.at, text, &self.scope, Secrets::Refused)?;
        let Err(why) = check_topic(&specimen(&filled.text), used) else { return Some(filled.text) };
        let what = if used == Use::Publish { "a topic" } else { "a topic filter" };
        let message = format!("`{}` is not {what}", quoted(text));
        self.cx.problems.wrong_hint(node.at, message, why);
        None
    }

    fn sent_text(&self, node: &Node, key: &str) -> Option<Filled> {
        let text = self.cx.raw_text(node, key)?;
        self.cx.run_text(node.at, text, &self.scope, Secrets::Allowed)
    }

    fn quality(&self, fields: &mut Fields<'_>) -> Qos {
        let found = fields.get("qos").and_then(|node| self.cx.choice(node, "qos", QUALITIES));
        found.unwrap_or(Qos::AtMostOnce)
    }

    /// A duration of whole seconds.
    fn seconds(
        &self,
        fields: &mut Fields<'_>,
        key: &'static str,
        most: Duration,
    ) -> Option<Duration> {
        let found = fields.duration(key, SECOND..=most)?;
        if found.subsec_nanos() > 0 {
            let message = format!("`{key}` is told to the server in whole seconds");
            self.cx.problems.wrong_hint(fields.at(key), message, "for example 30s");
        }
        Some(found)
    }
}

fn header_text(filled: Filled) -> HeaderText {
    match filled {
        Filled { text, is_secret: true } => HeaderText::Secret(Secret::new(text)),
        Filled { text, is_secret: false } => HeaderText::Plain(text),
    }
}

/// Says why a text cannot be used so.
fn check_topic(text: &str, used: Use) -> Result<(), &'static str> {
    if text.len() > MAX_TOPIC_BYTES || text.contains('\0') {
        return Err("it is too long, or holds what no topic may");
    }
    let levels = || text.split('/');
    let last = levels().next_back();
    let is_whole = |level: &str| !level.contains(['+', '#']) || matches!(level, "+" | "#");
    match used {
        Use::Publish if text.contains(['+', '#']) => Err("only a subscription has wildcards"),
        Use::Subscribe if !levels().all(is_whole) => Err("a wildcard stands alone in its level"),
        Use::Subscribe
            if text.contains('#') && (last, text.matches('#').count()) != (Some("#"), 1) =>
        {
            Err("nothing follows the wildcard `#`")
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guarantees what may be published to and what may be subscribed to.
    #[test]
    fn wildcards_stand_alone() {
        let check = |text: &str, topic: bool, filter: bool| {
            let found = [Use::Publish, Use::Subscribe].map(|used| check_topic(text, used).is_ok());
            assert_eq!(found, [topic, filter], "{text}");
        };
        check("rooms/1/a", true, true);
        check("/", true, true);
        check("rooms/+/a", false, true);
        check("rooms/#", false, true);
        check("#", false, true);
        check("$share/probes/rooms/+", false, true);
        check("rooms+", false, false);
        check("rooms/#/a", false, false);
        check("#/#", false, false);
        check("a\0b", false, false);
    }
}
