//! The sample back end's MQTT server: versions 3.1.1 and 5, quality of service up to 1, nothing
//! retained and no session kept.
//!
//! Clients, their filters and what waits for them have limits. A client beyond them is let go; a
//! message for one that does not keep up is dropped and counted in the log.

mod exchange;

use crate::base::shutdown::Shutdown;
use bytes::Bytes;
use exchange::{Exchange, Message};
use mqtt_protocol_core::mqtt::common::Cursor;
use mqtt_protocol_core::mqtt::connection::{ConnectionOptions, Event};
use mqtt_protocol_core::mqtt::packet::{
    MaximumQos, MqttString, Packet, Property, Qos, RetainAvailable, SubEntry, v3_1_1, v5_0,
};
use mqtt_protocol_core::mqtt::prelude::*;
use mqtt_protocol_core::mqtt::result_code::{
    ConnectReasonCode, ConnectReturnCode, MqttError, SubackReasonCode, SubackReturnCode,
    UnsubackReasonCode,
};
use mqtt_protocol_core::mqtt::{Connection, Version, role};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tracing::{debug, warn};

/// Where the shipped probes expect the MQTT server.
pub const DEFAULT_MQTT_ADDRESS: &str = "127.0.0.1:7071";

/// Clients at a time.
const MAX_CLIENTS: usize = 64;
/// A packet, bytes.
const MAX_PACKET: u32 = 64 << 10;
/// A client that says nothing for this long is let go.
const IDLE: Duration = Duration::from_secs(300);
/// So long nobody is accepted when somebody could not be.
const PAUSE: Duration = Duration::from_millis(100);
/// Bytes of one read.
const READ_BYTES: usize = 4 << 10;

/// One connection, from its acceptance to its end.
struct Client {
    number: u64,
    connection: Connection<role::Server>,
    exchange: Arc<Exchange>,
}

/// Serves MQTT on `listener` until `shutdown` begins.
pub async fn start_mqtt(listener: TcpListener, shutdown: Shutdown) {
    let exchange = Arc::new(Exchange::default());
    let places = Arc::new(Semaphore::new(MAX_CLIENTS));
    loop {
        let accepted = tokio::select! {
            () = shutdown.begun() => return,
            accepted = listener.accept() => accepted,
        };
        let (Ok((stream, _)), Ok(place)) = (accepted, Arc::clone(&places).try_acquire_owned())
        else {
            warn!("the sample mqtt server turned a client away");
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let (exchange, signal) = (Arc::clone(&exchange), shutdown.clone());
        shutdown.spawn(async move {
            let _held = place;
            tokio::select! {
                () = signal.begun() => {}
                ended = serve(stream, exchange) => if let Err(error) = ended {
                    debug!(error = &error as &dyn std::error::Error, "an mqtt client was let go");
                },
            }
        });
    }
}

/// Why a client is let go.
#[derive(Debug, thiserror::Error)]
enum Gone {
    #[error("the connection broke")]
    Io(#[from] std::io::Error),
    #[error("what it sent is not allowed")]
    Mqtt(#[from] MqttError),
    #[error("it was silent for too long")]
    Idle,
}

async fn serve(mut stream: TcpStream, exchange: Arc<Exchange>) -> Result<(), Gone> {
    stream.set_nodelay(true)?;
    let (mut client, mut waiting) = Client::new(exchange);
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let out = tokio::select! {
            read = tokio::time::timeout(IDLE, stream.read(&mut buffer)) => {
                match read.map_err(|_| Gone::Idle)?? {
                    0 => return Ok(()),
                    length => client.take(buffer.get(..length).unwrap_or_default())?,
                }
            }
            Some(message) = waiting.recv() => client.deliver(&message)?,
        };
        stream.write_all(&out).await?;
    }
}

// === impl Client ===

impl Client {
    fn new(exchange: Arc<Exchange>) -> (Self, mpsc::Receiver<Message>) {
        let options = ConnectionOptions::new().maximum_packet_size_recv(MAX_PACKET);
        let mut connection = Connection::with_options(Version::Undetermined, options);
        connection.set_auto_pub_response(true);
        connection.set_auto_ping_response(true);
        let (number, waiting) = exchange.enter();
        (Self { number, connection, exchange }, waiting)
    }

    /// What to write in answer to these bytes.
    fn take(&mut self, bytes: &[u8]) -> Result<Vec<u8>, MqttError> {
        let mut cursor = Cursor::new(bytes);
        let mut out = Vec::new();
        while cursor.position() < bytes.len() as u64 {
            let events = self.connection.recv(&mut cursor);
            self.follow(events, &mut out)?;
        }
        Ok(out)
    }

    /// What to write to deliver a message.
    fn deliver(&mut self, message: &Message) -> Result<Vec<u8>, MqttError> {
        let id = match message.qos {
            Qos::AtMostOnce => None,
            Qos::AtLeastOnce | Qos::ExactlyOnce => Some(self.connection.acquire_packet_id()?),
        };
        let (topic, payload) = (&*message.topic, message.payload.to_vec());
        let packet = if self.connection.get_protocol_version() == Version::V5_0 {
            let mut packet = v5_0::Publish::builder().topic_name(topic)?.qos(message.qos);
            if let Some(id) = id {
                packet = packet.packet_id(id);
            }
            Packet::from(packet.payload(payload).build()?)
        } else {
            let mut packet = v3_1_1::Publish::builder().topic_name(topic)?.qos(message.qos);
            if let Some(id) = id {
                packet = packet.packet_id(id);
            }
            Packet::from(packet.payload(payload).build()?)
        };
        let mut out = Vec::new();
        let events = self.connection.send(packet);
        self.follow(events, &mut out)?;
        Ok(out)
    }

    fn follow(&mut self, events: Vec<Event>, out: &mut Vec<u8>) -> Result<(), MqttError> {
        for event in events {
            match event {
                Event::RequestSendPacket { packet, .. } => {
                    out.extend(packet.to_continuous_buffer())
                }
                Event::NotifyPacketReceived(packet) => {
                    if let Some(answer) = self.answer(packet)? {
                        // An answer is answered by nothing but a request to send it.
                        for event in self.connection.send(answer) {
                            if let Event::RequestSendPacket { packet, .. } = event {
                                out.extend(packet.to_continuous_buffer());
                            }
                        }
                    }
                }
                Event::NotifyError(error) => return Err(error),
                Event::RequestClose => return Err(MqttError::ProtocolError),
                // Who is silent for long is let go whatever it promised.
                Event::NotifyPacketIdReleased(_)
                | Event::RequestTimerReset { .. }
                | Event::RequestTimerCancel(_) => {}
            }
        }
        Ok(())
    }

    fn answer(&self, packet: Packet) -> Result<Option<Packet>, MqttError> {
        Ok(match packet {
            Packet::V5_0Connect(_) => {
                let offers: [Property; 2] =
                    [MaximumQos::new(1)?.into(), RetainAvailable::new(0)?.into()];
                let packet = v5_0::Connack::builder()
                    .session_present(false)
                    .reason_code(ConnectReasonCode::Success)
                    .props(offers.to_vec());
                Some(packet.build()?.into())
            }
            Packet::V5_0Subscribe(packet) => {
                let code = |granted| match granted {
                    Some(Qos::AtMostOnce) => SubackReasonCode::GrantedQos0,
                    Some(_) => SubackReasonCode::GrantedQos1,
                    None => SubackReasonCode::QuotaExceeded,
                };
                let codes = self.subscribe(packet.entries()).into_iter().map(code).collect();
                let answer = v5_0::Suback::builder().packet_id(packet.packet_id());
                Some(answer.reason_codes(codes).build()?.into())
            }
            Packet::V5_0Unsubscribe(packet) => {
                self.unsubscribe(packet.entries());
                let codes = vec![UnsubackReasonCode::Success; packet.entries().len()];
                let answer = v5_0::Unsuback::builder().packet_id(packet.packet_id());
                Some(answer.reason_codes(codes).build()?.into())
            }
            Packet::V5_0Publish(packet) => {
                self.publish(packet.topic_name(), packet.payload().as_slice(), packet.qos());
                None
            }
            other => return self.answer_old(other),
        })
    }

    /// The same in version 3.1.1.
    fn answer_old(&self, packet: Packet) -> Result<Option<Packet>, MqttError> {
        Ok(match packet {
            Packet::V3_1_1Connect(_) => {
                let packet = v3_1_1::Connack::builder()
                    .session_present(false)
                    .return_code(ConnectReturnCode::Accepted);
                Some(packet.build()?.into())
            }
            Packet::V3_1_1Subscribe(packet) => {
                let code = |granted| match granted {
                    Some(Qos::AtMostOnce) => SubackReturnCode::SuccessMaximumQos0,
                    Some(_) => SubackReturnCode::SuccessMaximumQos1,
                    None => SubackReturnCode::Failure,
                };
                let codes = self.subscribe(packet.entries()).into_iter().map(code).collect();
                let answer = v3_1_1::Suback::builder().packet_id(packet.packet_id());
                Some(answer.return_codes(codes).build()?.into())
            }
            Packet::V3_1_1Unsubscribe(packet) => {
                self.unsubscribe(packet.entries());
                let answer = v3_1_1::Unsuback::builder().packet_id(packet.packet_id());
                Some(answer.build()?.into())
            }
            Packet::V3_1_1Publish(packet) => {
                self.publish(packet.topic_name(), packet.payload().as_slice(), packet.qos());
                None
            }
            _ => None,
        })
    }

    fn unsubscribe(&self, filters: &[MqttString]) {
        filters.iter().for_each(|filter| self.exchange.unsubscribe(self.number, filter.as_str()));
    }

    /// Subscribes; what is granted for each filter, or nothing beyond the limit.
    fn subscribe(&self, entries: &[SubEntry]) -> Vec<Option<Qos>> {
        let one = |entry: &SubEntry| {
            let granted = entry.sub_opts().qos().min(Qos::AtLeastOnce);
            self.exchange.subscribe(self.number, entry.topic_filter(), granted).then_some(granted)
        };
        entries.iter().map(one).collect()
    }

    fn publish(&self, topic: &str, payload: &[u8], qos: Qos) {
        let payload = Bytes::copy_from_slice(payload);
        self.exchange.publish(&Message { topic: topic.into(), payload, qos });
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.exchange.leave(self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::Clock;
    use crate::config;
    use crate::model::probe::FailureReason;
    use crate::probe::{Context, SlotStart, run_once};
    use crate::telemetry::Telemetry;

    /// Nothing here takes a fraction of it, unless something hangs.
    const CEILING: Duration = Duration::from_secs(30);

    /// Guarantees that the shipped probes pass, in both versions of the protocol.
    #[tokio::test]
    async fn the_shipped_probes_pass() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound").to_string();
        let shutdown = Shutdown::new();
        shutdown.spawn(start_mqtt(listener, shutdown.clone()));
        let text = include_str!("../../../../probes/mqtt.yaml");
        let text = text.replace(DEFAULT_MQTT_ADDRESS, &address);
        let loaded = config::load_embedded(&[("probes.yaml", &text)], &|_| true);
        let context = Context::new(Clock::system(), Telemetry::new());
        let probes = loaded.settings.expect("the file is fine").probes;
        assert!(!probes.is_empty());
        for probe in probes {
            let run = run_once(&probe, SlotStart::now(&context.clock), &context).await;
            // How fast it is, is not asked here.
            let late = run.failure.as_ref().is_some_and(|f| f.reason == FailureReason::Late);
            assert!(run.succeeded() || late, "{run:#?}");
        }
        shutdown.begin();
        assert!(shutdown.drain(CEILING).await);
    }

    /// Guarantees that clients are let go for what is not MQTT, and at the end.
    #[tokio::test]
    async fn clients_are_let_go() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let shutdown = Shutdown::new();
        shutdown.spawn(start_mqtt(listener, shutdown.clone()));
        let ends = async |words: &[u8], begin: bool| {
            let mut stream = TcpStream::connect(address).await.expect("connected");
            stream.write_all(words).await.expect("written");
            if begin {
                shutdown.begin();
            }
            let mut rest = Vec::new();
            let read = tokio::time::timeout(CEILING, stream.read_to_end(&mut rest)).await;
            // Closed or reset: both are an end.
            drop(read.expect("an end"));
        };
        ends(&[0x47, 1, 0], false).await;
        ends(&[0xc0, 0], false).await;
        ends(&[0x10], true).await;
        assert!(shutdown.drain(CEILING).await);
    }
}
