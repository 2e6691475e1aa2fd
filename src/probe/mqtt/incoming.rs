//! Packets of a server, freed of what the two versions write differently.
//!
//! Bytes are cut into packets and parsed by `mqtt-protocol-core`; nothing that a server sends can do
//! more than fail to be understood.

use super::super::failure::quote;
use super::step::{MqttVersion, Qos};
use bytes::Bytes;
use mqtt_protocol_core::mqtt::Arc;
use mqtt_protocol_core::mqtt::common::Cursor;
use mqtt_protocol_core::mqtt::connection::{
    PacketBuildResult, PacketBuilder, PacketData, RawPacket,
};
use mqtt_protocol_core::mqtt::packet::{Properties, Property, v3_1_1, v5_0};
use mqtt_protocol_core::mqtt::result_code::{ConnectReturnCode, MqttError};
use std::fmt::{self, Display};
use std::time::Duration;

/// Topic, properties and header of a message may take this much beside its payload.
const MAX_HEADER_BYTES: usize = 64 << 10;
/// What 3.1.1 answers to a version that it does not know.
const UNKNOWN_VERSION: u8 = 1;

/// A packet of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Incoming {
    /// The answer to CONNECT.
    Connack(Connack),
    /// A message.
    Publish(Delivery),
    /// The answer to SUBSCRIBE: one verdict per filter.
    Suback { id: u16, verdicts: Vec<Verdict> },
    /// PUBACK or PUBCOMP: a message of ours has arrived, or was refused.
    Confirmed { id: u16, verdict: Verdict },
    /// PUBREC: a message of ours has arrived and is to be released, or was refused.
    Recorded { id: u16, verdict: Verdict },
    /// PUBREL: the server will not send that message again.
    Released { id: u16 },
    /// PINGRESP.
    Pong,
    /// The server ends the connection.
    Disconnect(Verdict),
}

/// The answer to CONNECT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Connack {
    /// Whether the connection is accepted.
    pub verdict: Verdict,
    /// Whether the server continues an earlier session.
    pub session_present: bool,
    /// The keep-alive that the server imposes.
    pub keep_alive: Option<Duration>,
}

/// A message of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Delivery {
    /// Its topic.
    pub topic: String,
    /// What it says.
    pub payload: Bytes,
    /// The quality of service of this delivery.
    pub qos: Qos,
    /// Above 0: what to acknowledge.
    pub id: Option<u16>,
    /// Whether the server says that it may have delivered it before.
    pub dup: bool,
    /// Whether it was kept from before the subscription.
    pub retain: bool,
}

/// A code of the server with its name and, where it gave one, its reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    /// The number of the protocol.
    pub code: u8,
    name: String,
    reason: Option<String>,
}

/// Why bytes of a server cannot be understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unintelligible {
    /// Not a packet, or one that a server does not send.
    #[error("the server sent what is not MQTT {version}: {kind}", version = version.as_str(), kind = words(.error))]
    Malformed {
        /// What was spoken.
        version: MqttVersion,
        /// What the parser says.
        error: MqttError,
    },
    /// Longer than is read.
    #[error("the server sent a packet of more than {0} bytes")]
    TooLong(usize),
}

/// Cuts a byte stream into packets.
pub(super) struct Framer {
    version: MqttVersion,
    builder: PacketBuilder,
    limit: usize,
}

// === impl Framer ===

impl Framer {
    /// A framer before the first byte; payloads may be so long.
    pub(super) fn new(version: MqttVersion, max_payload: usize) -> Self {
        let limit = max_payload + MAX_HEADER_BYTES;
        let bytes = u32::try_from(limit).unwrap_or(u32::MAX);
        Self { version, builder: PacketBuilder::with_maximum_packet_size(bytes), limit }
    }

    /// The packets that these bytes complete. After an error nothing of the stream makes sense any
    /// more.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Result<Vec<Incoming>, Unintelligible> {
        let mut cursor = Cursor::new(bytes);
        let mut packets = Vec::new();
        while cursor.position() < bytes.len() as u64 {
            match self.builder.feed(&mut cursor) {
                PacketBuildResult::Complete(raw) => packets.push(self.decode(&raw)?),
                PacketBuildResult::Incomplete => break,
                PacketBuildResult::Error(MqttError::PacketTooLarge) => {
                    return Err(Unintelligible::TooLong(self.limit));
                }
                PacketBuildResult::Error(error) => return Err(self.malformed(error)),
            }
        }
        Ok(packets)
    }

    fn decode(&self, raw: &RawPacket) -> Result<Incoming, Unintelligible> {
        let decoded = match self.version {
            MqttVersion::V5 => decode_v5(raw),
            MqttVersion::V3_1_1 => decode_v3(raw),
        };
        decoded.map_err(|error| self.malformed(error))
    }

    fn malformed(&self, error: MqttError) -> Unintelligible {
        Unintelligible::Malformed { version: self.version, error }
    }
}

// === decoding ===

fn decode_v5(raw: &RawPacket) -> Result<Incoming, MqttError> {
    Ok(match raw.packet_type() {
        2 => Incoming::Connack(connack_v5(raw)?),
        3 => {
            let (packet, _) = v5_0::Publish::parse(raw.flags(), shared(raw))?;
            let (topic, id) = (packet.topic_name(), packet.packet_id());
            let flags = (packet.qos(), packet.dup(), packet.retain());
            delivery(topic, packet.payload().as_slice(), id, flags)?
        }
        4 => {
            let packet = raw.parse_exact(v5_0::Puback::parse)?;
            let code = packet.reason_code().map(|code| (code as u8, code.to_string()));
            Incoming::Confirmed { id: packet.packet_id(), verdict: verdict(code, packet.props()) }
        }
        5 => {
            let packet = raw.parse_exact(v5_0::Pubrec::parse)?;
            let code = packet.reason_code().map(|code| (code as u8, code.to_string()));
            Incoming::Recorded { id: packet.packet_id(), verdict: verdict(code, packet.props()) }
        }
        6 => Incoming::Released { id: raw.parse_exact(v5_0::Pubrel::parse)?.packet_id() },
        7 => {
            let packet = raw.parse_exact(v5_0::Pubcomp::parse)?;
            let code = packet.reason_code().map(|code| (code as u8, code.to_string()));
            Incoming::Confirmed { id: packet.packet_id(), verdict: verdict(code, packet.props()) }
        }
        9 => {
            let packet = raw.parse_exact(v5_0::Suback::parse)?;
            let reason = reason(packet.props());
            let verdicts = packet.reason_codes().into_iter();
            let verdicts = verdicts
                .map(|code| Verdict::new(code as u8, &code.to_string(), reason.clone()))
                .collect();
            Incoming::Suback { id: packet.packet_id(), verdicts }
        }
        13 => Incoming::Pong,
        14 => {
            let packet = raw.parse_exact(v5_0::Disconnect::parse)?;
            let code = packet.reason_code().map(|code| (code as u8, code.to_string()));
            let code = code.or_else(|| Some((0, "NormalDisconnection".to_owned())));
            Incoming::Disconnect(verdict(code, packet.props()))
        }
        _ => return Err(MqttError::ProtocolError),
    })
}

fn decode_v3(raw: &RawPacket) -> Result<Incoming, MqttError> {
    let fine = || Verdict::new(0, "Success", None);
    Ok(match raw.packet_type() {
        2 => {
            let packet = raw.parse_exact(v3_1_1::Connack::parse)?;
            let code = packet.return_code();
            Incoming::Connack(Connack {
                verdict: Verdict::new(code as u8, &code.to_string(), None),
                session_present: packet.session_present(),
                keep_alive: None,
            })
        }
        3 => {
            let (packet, _) = v3_1_1::Publish::parse(raw.flags(), shared(raw))?;
            let (topic, id) = (packet.topic_name(), packet.packet_id());
            let flags = (packet.qos(), packet.dup(), packet.retain());
            delivery(topic, packet.payload().as_slice(), id, flags)?
        }
        4 => {
            let id = raw.parse_exact(v3_1_1::Puback::parse)?.packet_id();
            Incoming::Confirmed { id, verdict: fine() }
        }
        5 => {
            let id = raw.parse_exact(v3_1_1::Pubrec::parse)?.packet_id();
            Incoming::Recorded { id, verdict: fine() }
        }
        6 => Incoming::Released { id: raw.parse_exact(v3_1_1::Pubrel::parse)?.packet_id() },
        7 => {
            let id = raw.parse_exact(v3_1_1::Pubcomp::parse)?.packet_id();
            Incoming::Confirmed { id, verdict: fine() }
        }
        9 => {
            let packet = raw.parse_exact(v3_1_1::Suback::parse)?;
            let verdicts = packet.return_codes().into_iter();
            let verdicts =
                verdicts.map(|code| Verdict::new(code as u8, &code.to_string(), None)).collect();
            Incoming::Suback { id: packet.packet_id(), verdicts }
        }
        13 => Incoming::Pong,
        _ => return Err(MqttError::ProtocolError),
    })
}

fn connack_v5(raw: &RawPacket) -> Result<Connack, MqttError> {
    // A server of 3.1.1 alone refuses in its own words, which are no answer of version 5.
    if let [_, UNKNOWN_VERSION] = raw.data_as_slice() {
        let code = ConnectReturnCode::UnacceptableProtocolVersion;
        let hint = Some("version 3.1.1 may be what it speaks".to_owned());
        let verdict = Verdict::new(code as u8, &code.to_string(), hint);
        return Ok(Connack { verdict, session_present: false, keep_alive: None });
    }
    let packet = raw.parse_exact(v5_0::Connack::parse)?;
    let code = packet.reason_code();
    let keep_alive = packet.props().iter().find_map(|property| match property {
        Property::ServerKeepAlive(seconds) => Some(Duration::from_secs(seconds.val().into())),
        _ => None,
    });
    Ok(Connack {
        verdict: Verdict::new(code as u8, &code.to_string(), reason(packet.props())),
        session_present: packet.session_present(),
        keep_alive,
    })
}

/// The bytes of a packet as the parser of messages wants them.
fn shared(raw: &RawPacket) -> Arc<[u8]> {
    match &raw.data {
        PacketData::Publish(bytes) => Arc::clone(bytes),
        PacketData::Normal(bytes) => Arc::from(bytes.as_slice()),
    }
}

fn delivery(
    topic: &str,
    payload: &[u8],
    id: Option<u16>,
    (qos, dup, retain): (Qos, bool, bool),
) -> Result<Incoming, MqttError> {
    // No topic alias was offered to the server, so each message names its topic.
    if topic.is_empty() || id == Some(0) {
        return Err(MqttError::ProtocolError);
    }
    let (topic, payload) = (topic.to_owned(), Bytes::copy_from_slice(payload));
    Ok(Incoming::Publish(Delivery { topic, payload, qos, id, dup, retain }))
}

fn verdict(code: Option<(u8, String)>, properties: &Option<Properties>) -> Verdict {
    let (code, name) = code.unwrap_or_else(|| (0, "Success".to_owned()));
    Verdict::new(code, &name, properties.as_ref().and_then(reason))
}

/// The server's own words, and where it sends its clients instead.
fn reason(properties: &Properties) -> Option<String> {
    let texts: Vec<String> = properties
        .iter()
        .filter_map(|property| match property {
            Property::ReasonString(text) => Some(text.val().to_owned()),
            Property::ServerReference(text) => Some(format!("use {}", text.val())),
            _ => None,
        })
        .collect();
    (!texts.is_empty()).then(|| texts.join("; "))
}

// === impl Verdict ===

impl Verdict {
    fn new(code: u8, name: &str, reason: Option<String>) -> Self {
        Self { code, name: words(&name), reason }
    }

    /// Whether the code stands for a refusal. Below 0x80 only CONNACK of 3.1.1 refuses.
    pub(super) fn refuses(&self) -> bool {
        self.code >= 0x80
    }
}

impl Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "code {:#04x}, {}", self.code, self.name)?;
        match &self.reason {
            Some(reason) => write!(f, ": {}", quote(reason)),
            None => Ok(()),
        }
    }
}

/// `NotAuthorized` as words.
fn words(name: &impl Display) -> String {
    let mut words = String::new();
    for c in name.to_string().chars() {
        if c.is_ascii_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.push(c.to_ascii_lowercase());
    }
    words
}

impl fmt::Debug for Framer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Framer").field("version", &self.version).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const VERSIONS: [MqttVersion; 2] = [MqttVersion::V3_1_1, MqttVersion::V5];

    /// Guarantees the words of refusals, and that one of an older server is understood.
    #[test]
    fn refusals_are_in_words() {
        let check = |version, bytes: &[u8], expected: &str| {
            let packets = Framer::new(version, 100).feed(bytes).expect("a packet");
            let [Incoming::Connack(Connack { verdict, .. })] = packets.as_slice() else {
                unreachable!("{packets:?}")
            };
            assert_eq!(verdict.to_string(), expected);
        };
        check(MqttVersion::V3_1_1, &[0x20, 2, 0, 5], "code 0x05, not authorized");
        let reason = [&[0x20, 8, 0, 0x87, 5, 0x1f, 0, 2][..], b"n\n"].concat();
        check(MqttVersion::V5, &reason, "code 0x87, not authorized: n ");
        let hint = "code 0x01, unacceptable protocol version: version 3.1.1 may be what it speaks";
        check(MqttVersion::V5, &[0x20, 2, 0, 1], hint);
    }

    /// Guarantees that packets which a server does not send, that lack their topic, or that are
    /// longer than is read, are refused.
    #[test]
    fn what_no_server_sends_is_refused() {
        for version in VERSIONS {
            let check = |bytes: &[u8], expected: &str| {
                let error = Framer::new(version, 0).feed(bytes).expect_err("refused").to_string();
                assert!(error.contains(expected), "{error}");
            };
            check(&[0xc0, 0], "protocol error");
            check(&[0x00, 0], "not MQTT");
            check(&[0x30, 3, 0, 0, 0], "protocol error");
            check(&[0x30, 0xff, 0xff, 0xff, 0x7f], "more than 65536 bytes");
        }
    }

    proptest! {
        /// Guarantees that no bytes make the parser panic, in whatever pieces they come.
        #[test]
        fn any_bytes_are_survived(bytes: Vec<u8>, kind in 0_u8..16, piece in 1_usize..9) {
            let mut framed = vec![kind << 4 | 0x02, u8::try_from(bytes.len() % 100).unwrap_or(0)];
            framed.extend(&bytes);
            for (version, bytes) in VERSIONS.iter().flat_map(|v| [(v, &bytes), (v, &framed)]) {
                let mut framer = Framer::new(*version, 1000);
                let mut all = bytes.chunks(piece).map(|piece| framer.feed(piece));
                let _ = all.find(Result::is_err);
            }
        }
    }
}
