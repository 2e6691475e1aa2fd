//! Packets to a server, as bytes.
//!
//! What cannot be written (a text that is too long, a topic with wildcards) is a local failure:
//! nothing was sent, so nothing is known about the target.

use super::super::failure::{Attempt, failure};
use super::step::{MqttVersion, Qos};
use crate::model::probe::FailureReason;
use mqtt_protocol_core::mqtt::packet::{
    Properties, Property, RetainHandling, SessionExpiryInterval, SubEntry, SubOpts, UserProperty,
    v3_1_1, v5_0,
};
use mqtt_protocol_core::mqtt::result_code::MqttError;

/// CONNECT, with everything filled in.
pub(super) struct Connect<'a> {
    /// Client identifier.
    pub client_id: &'a str,
    /// User name.
    pub username: Option<&'a str>,
    /// Password.
    pub password: Option<&'a str>,
    /// Keep-alive in seconds.
    pub keep_alive: u16,
    /// Whether to begin a new session.
    pub clean_start: bool,
    /// How many seconds the session outlives the connection; version 5 only.
    pub session_expiry: Option<u32>,
    /// Who sends; version 5 only.
    pub marks: &'a [(&'static str, String)],
}

/// PUBLISH, with everything filled in.
#[derive(Clone, Copy)]
pub(super) struct Publish<'a> {
    /// Topic.
    pub topic: &'a str,
    /// Payload.
    pub message: &'a str,
    /// Quality of service.
    pub qos: Qos,
    /// Whether to keep the message.
    pub retain: bool,
    /// Packet identifier, not used at quality of service 0.
    pub id: u16,
    /// Who sends; version 5 only.
    pub marks: &'a [(&'static str, String)],
}

/// An acknowledgement: which one, by its packet type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Acknowledge {
    /// PUBACK: a delivery at quality of service 1 has arrived.
    Puback,
    /// PUBREC: one at 2 has.
    Pubrec,
    /// PUBREL: a message of ours at 2 is released.
    Pubrel,
    /// PUBCOMP: a delivery at 2 is over.
    Pubcomp,
}

/// CONNECT.
pub(super) fn connect(version: MqttVersion, connect: &Connect<'_>) -> Attempt<Vec<u8>> {
    let written = match version {
        MqttVersion::V5 => connect_v5(connect),
        MqttVersion::V3_1_1 => connect_v3(connect),
    };
    written.map_err(|error| unwritable("CONNECT", error))
}

fn connect_v5(connect: &Connect<'_>) -> Result<Vec<u8>, MqttError> {
    let mut properties = marks(connect.marks)?;
    if let Some(seconds) = connect.session_expiry {
        properties.push(Property::SessionExpiryInterval(SessionExpiryInterval::new(seconds)?));
    }
    let mut packet = v5_0::Connect::builder()
        .client_id(connect.client_id)?
        .keep_alive(connect.keep_alive)
        .clean_start(connect.clean_start)
        .props(properties);
    if let Some(username) = connect.username {
        packet = packet.user_name(username)?;
    }
    if let Some(password) = connect.password {
        packet = packet.password(password)?;
    }
    Ok(packet.build()?.to_continuous_buffer())
}

fn connect_v3(connect: &Connect<'_>) -> Result<Vec<u8>, MqttError> {
    let mut packet = v3_1_1::Connect::builder()
        .client_id(connect.client_id)?
        .keep_alive(connect.keep_alive)
        .clean_session(connect.clean_start);
    if let Some(username) = connect.username {
        packet = packet.user_name(username)?;
    }
    if let Some(password) = connect.password {
        packet = packet.password(password)?;
    }
    Ok(packet.build()?.to_continuous_buffer())
}

/// SUBSCRIBE to all `filters`. Version 5 lets a client do without retained messages.
pub(super) fn subscribe(
    version: MqttVersion,
    id: u16,
    filters: &[String],
    qos: Qos,
    retained: bool,
) -> Attempt<Vec<u8>> {
    let handling =
        if retained { RetainHandling::SendRetained } else { RetainHandling::DoNotSendRetained };
    let options = match version {
        MqttVersion::V5 => SubOpts::new().set_qos(qos).set_rh(handling),
        MqttVersion::V3_1_1 => SubOpts::new().set_qos(qos),
    };
    let entries = filters.iter().map(|filter| SubEntry::new(filter.as_str(), options));
    let written = entries.collect::<Result<Vec<_>, _>>().and_then(|entries| match version {
        MqttVersion::V5 => {
            let packet = v5_0::Subscribe::builder().packet_id(id).entries(entries).build()?;
            Ok(packet.to_continuous_buffer())
        }
        MqttVersion::V3_1_1 => {
            let packet = v3_1_1::Subscribe::builder().packet_id(id).entries(entries).build()?;
            Ok(packet.to_continuous_buffer())
        }
    });
    written.map_err(|error| unwritable("SUBSCRIBE", error))
}

/// PUBLISH.
pub(super) fn publish(version: MqttVersion, publish: Publish<'_>) -> Attempt<Vec<u8>> {
    let written = match version {
        MqttVersion::V5 => publish_v5(publish),
        MqttVersion::V3_1_1 => publish_v3(publish),
    };
    written.map_err(|error| unwritable("PUBLISH", error))
}

fn publish_v5(publish: Publish<'_>) -> Result<Vec<u8>, MqttError> {
    let mut packet = v5_0::Publish::builder()
        .topic_name(publish.topic)?
        .qos(publish.qos)
        .retain(publish.retain)
        .payload(publish.message)
        .props(marks(publish.marks)?);
    if publish.qos != Qos::AtMostOnce {
        packet = packet.packet_id(publish.id);
    }
    Ok(packet.build()?.to_continuous_buffer())
}

fn publish_v3(publish: Publish<'_>) -> Result<Vec<u8>, MqttError> {
    let mut packet = v3_1_1::Publish::builder()
        .topic_name(publish.topic)?
        .qos(publish.qos)
        .retain(publish.retain)
        .payload(publish.message);
    if publish.qos != Qos::AtMostOnce {
        packet = packet.packet_id(publish.id);
    }
    Ok(packet.build()?.to_continuous_buffer())
}

/// An acknowledgement of success, which both versions write alike.
pub(super) fn acknowledge(kind: Acknowledge, id: u16) -> [u8; 4] {
    let header = match kind {
        Acknowledge::Puback => 0x40,
        Acknowledge::Pubrec => 0x50,
        Acknowledge::Pubrel => 0x62,
        Acknowledge::Pubcomp => 0x70,
    };
    let [high, low] = id.to_be_bytes();
    [header, 2, high, low]
}

/// PINGREQ, which both versions write alike.
pub(super) const PINGREQ: [u8; 2] = [0xc0, 0];
/// DISCONNECT without a reason: all is well. Both versions write it alike.
pub(super) const DISCONNECT: [u8; 2] = [0xe0, 0];
/// DISCONNECT of version 5 with a session expiry of 0: the server is to keep nothing.
pub(super) const DISCONNECT_AND_FORGET: [u8; 9] = [0xe0, 7, 0, 5, 0x11, 0, 0, 0, 0];

fn marks(marks: &[(&'static str, String)]) -> Result<Properties, MqttError> {
    let property = |(name, text): &(&'static str, String)| {
        UserProperty::new(*name, text.as_str()).map(Property::UserProperty)
    };
    marks.iter().map(property).collect()
}

fn unwritable(packet: &str, error: MqttError) -> crate::model::probe::Failure {
    let text = format!("{packet} cannot be written with these texts ({error})");
    failure(FailureReason::Local, text)
}
