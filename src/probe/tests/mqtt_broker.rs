//! An MQTT broker for tests, of both versions, that can be told to misbehave.

use super::servers::{Server, raw, secure};
use mqtt_protocol_core::mqtt::common::Cursor;
use mqtt_protocol_core::mqtt::connection::{
    PacketBuildResult, PacketBuilder, PacketData, RawPacket,
};
use mqtt_protocol_core::mqtt::packet::{Property, Qos, RetainHandling, SubEntry, v3_1_1, v5_0};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;

/// Types of packets, for faults that name one.
pub(super) const CONNECT: u8 = 1;
pub(super) const PUBLISH: u8 = 3;
pub(super) const SUBSCRIBE: u8 = 8;
pub(super) const PINGREQ: u8 = 12;

/// How it misbehaves; not at all by default.
#[derive(Clone, Debug, Default)]
pub(super) struct Faults {
    /// Refuses packets of that type with that code and, in version 5, reason.
    pub(super) refuse: Option<(u8, u8, &'static str)>,
    /// Leaves packets of that type unanswered and without effect.
    pub(super) mute: Option<u8>,
    /// Closes the connection upon a packet of that type.
    pub(super) drop: Option<u8>,
    /// Disconnects with that code and reason instead of delivering.
    pub(super) disconnect: Option<(u8, &'static str)>,
    /// Delivers everything twice; whether the second time with the DUP flag.
    pub(super) duplicate: Option<bool>,
    /// Sends retained messages even to those who want none, and says that a session was present.
    pub(super) remembers: bool,
    /// Begins a new session whatever the client asks for.
    pub(super) forgets: bool,
    /// Delivers that much later.
    pub(super) delay: Duration,
}

/// A running broker; clones and further doors share one state.
#[derive(Clone)]
pub(super) struct Broker(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    faults: Faults,
    clients: Vec<Client>,
    retained: BTreeMap<String, Vec<u8>>,
    /// What clients sent, one line a packet.
    log: Vec<String>,
}

struct Client {
    id: String,
    is_v5: bool,
    filters: Vec<(String, u8)>,
    /// What it has not acknowledged: it comes again with the session.
    kept: Vec<(u16, Vec<u8>)>,
    last_id: u16,
    outbox: mpsc::Sender<Out>,
}

enum Out {
    Bytes(Vec<u8>),
    Close,
}

/// One connection.
struct Session {
    broker: Broker,
    outbox: mpsc::Sender<Out>,
    /// Its place among the clients, and its version, once it has connected.
    client: Option<(usize, bool)>,
}

// === impl Broker ===

impl Broker {
    pub(super) fn new(faults: Faults) -> Self {
        Self(Arc::new(Mutex::new(State { faults, ..State::default() })))
    }

    /// A port of this broker.
    pub(super) async fn door(&self) -> Server {
        let broker = self.clone();
        raw(move |stream| serve(stream, broker.clone())).await
    }

    /// A port with TLS, and its certificate.
    pub(super) async fn secure_door(&self) -> (Server, Arc<str>) {
        let broker = self.clone();
        secure(&[], move |stream| serve(stream, broker.clone())).await
    }

    /// Keeps a message as if somebody had published it before.
    pub(super) fn retain(&self, topic: &str, payload: &str) {
        self.0.lock().retained.insert(topic.to_owned(), payload.into());
    }

    pub(super) fn log(&self) -> Vec<String> {
        self.0.lock().log.clone()
    }

    /// How many packets of a type came.
    pub(super) fn count(&self, packet: &str) -> usize {
        self.log().iter().filter(|line| line.starts_with(packet)).count()
    }

    fn publish(&self, topic: &str, payload: &[u8], qos: u8) {
        let mut state = self.0.lock();
        let (duplicate, delay) = (state.faults.duplicate, state.faults.delay);
        for client in &mut state.clients {
            let granted = client.filters.iter().filter(|(filter, _)| matches(filter, topic));
            let Some(granted) = granted.map(|(_, qos)| *qos).max() else { continue };
            let qos = qos.min(granted);
            client.last_id += 1;
            let write = |dup| {
                let flags = u8::from(dup) << 3 | qos << 1;
                message(client.is_v5, topic, payload, client.last_id, flags)
            };
            let mut bytes = write(false);
            if qos > 0 {
                client.kept.push((client.last_id, write(true)));
            }
            bytes.extend(duplicate.into_iter().flat_map(write));
            let outbox = client.outbox.clone();
            drop(tokio::spawn(async move {
                tokio::time::sleep(delay).await;
                drop(outbox.send(Out::Bytes(bytes)).await);
            }));
        }
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite, broker: Broker) {
    let (mut read, mut write) = tokio::io::split(stream);
    let (outbox, mut waiting) = mpsc::channel(1000);
    let mut session = Session { broker, outbox, client: None };
    let (mut framer, mut buffer) = (PacketBuilder::new(), vec![0; 4096]);
    loop {
        tokio::select! {
            read = read.read(&mut buffer) => {
                let Ok(length @ 1..) = read else { return };
                let mut cursor = Cursor::new(&buffer[..length]);
                while let PacketBuildResult::Complete(packet) = framer.feed(&mut cursor) {
                    session.take(&packet);
                }
            }
            out = waiting.recv() => match out {
                Some(Out::Bytes(bytes)) => drop(write.write_all(&bytes).await),
                Some(Out::Close) | None => return,
            },
        }
    }
}

// === impl Session ===

impl Session {
    fn take(&mut self, raw: &RawPacket) {
        let faults = self.broker.0.lock().faults.clone();
        let kind = raw.packet_type();
        let fault = |of: Option<u8>| of == Some(kind);
        if fault(faults.drop) {
            return self.send(Out::Close);
        }
        let is_mute = fault(faults.mute);
        let refusal = faults.refuse.filter(|(of, ..)| *of == kind);
        match kind {
            CONNECT => self.connect(raw, is_mute, refusal, &faults),
            PUBLISH => self.publish(raw, is_mute, refusal, faults.disconnect),
            4 => self.acknowledged("PUBACK", id(raw)),
            5 => {
                self.acknowledged("PUBREC", id(raw));
                self.reply(vec![0x62, 2, raw.data_as_slice()[0], raw.data_as_slice()[1]]);
            }
            6 => self.reply(vec![0x70, 2, raw.data_as_slice()[0], raw.data_as_slice()[1]]),
            7 => self.log(format!("PUBCOMP {}", id(raw))),
            SUBSCRIBE => self.subscribe(raw, is_mute, refusal, faults.remembers),
            PINGREQ => {
                self.log("PINGREQ".to_owned());
                if !is_mute {
                    self.reply(vec![0xd0, 0]);
                }
            }
            14 => self.log("DISCONNECT".to_owned()),
            other => unreachable!("no client sends packets of type {other}"),
        }
    }

    fn connect(
        &mut self,
        raw: &RawPacket,
        mute: bool,
        refusal: Option<(u8, u8, &str)>,
        faults: &Faults,
    ) {
        let is_v5 = raw.data_as_slice()[6] == 5;
        let (line, client_id, clean) = if is_v5 {
            let (packet, _) = v5_0::Connect::parse(raw.data_as_slice()).expect("CONNECT");
            let marks = marks(packet.props());
            let (name, password) = (packet.user_name(), packet.password());
            let line = format!("CONNECT {} {name:?} {password:?} {marks}", packet.client_id());
            (line, packet.client_id().to_owned(), packet.clean_start())
        } else {
            let (packet, _) = v3_1_1::Connect::parse(raw.data_as_slice()).expect("CONNECT");
            let (name, password) = (packet.user_name(), packet.password());
            let line = format!("CONNECT {} {name:?} {password:?}", packet.client_id());
            (line, packet.client_id().to_owned(), packet.clean_session())
        };
        self.log(line);
        if mute {
            return;
        }
        let (code, reason) = refusal.map_or((0, ""), |(_, code, reason)| (code, reason));
        let broker = self.broker.clone();
        let mut state = broker.0.lock();
        let known = state.clients.iter().position(|client| client.id == client_id);
        let is_admitted = code == 0;
        // Whoever is connected under this name is told and thrown out (MQTT-3.1.4-3).
        for other in state.clients.iter().filter(|other| is_admitted && other.id == client_id) {
            if other.is_v5 {
                drop(other.outbox.try_send(Out::Bytes(packet(0xe0, vec![0x8e, 0]))));
            }
            drop(other.outbox.try_send(Out::Close));
        }
        let continues = !clean && !faults.forgets && (known.is_some() || faults.remembers);
        let mut body = vec![u8::from(continues && code == 0), code];
        if is_v5 {
            body.extend(properties(reason));
        }
        self.reply(packet(0x20, body));
        let outbox = self.outbox.clone();
        match known.filter(|_| continues) {
            Some(known) => {
                self.client = Some((known, is_v5));
                let client = &mut state.clients[known];
                client.outbox = outbox;
                client.kept.iter().for_each(|(_, bytes)| self.reply(bytes.clone()));
            }
            None => {
                state.clients.iter_mut().filter(|client| client.id == client_id).for_each(
                    |client| {
                        client.filters.clear();
                        client.id.clear();
                    },
                );
                self.client = Some((state.clients.len(), is_v5));
                let (filters, kept) = (Vec::new(), Vec::new());
                let client = Client { id: client_id, is_v5, filters, kept, last_id: 0, outbox };
                state.clients.push(client);
            }
        }
    }

    fn acknowledged(&self, packet: &str, id: u16) {
        self.log(format!("{packet} {id}"));
        let Some((client, _)) = self.client else { return };
        self.broker.0.lock().clients[client].kept.retain(|(kept, _)| *kept != id);
    }

    fn subscribe(
        &self,
        raw: &RawPacket,
        mute: bool,
        refusal: Option<(u8, u8, &str)>,
        retained_anyway: bool,
    ) {
        let Some((client, is_v5)) = self.client else { return };
        let data = raw.data_as_slice();
        let entries: Vec<SubEntry> = if is_v5 {
            v5_0::Subscribe::parse(data).expect("SUBSCRIBE").0.entries().to_vec()
        } else {
            v3_1_1::Subscribe::parse(data).expect("SUBSCRIBE").0.entries().to_vec()
        };
        let mut body = data[..2].to_vec();
        if is_v5 {
            body.extend(properties(refusal.map_or("", |(.., reason)| reason)));
        }
        let mut retained = Vec::new();
        for entry in &entries {
            let (filter, qos) = (entry.topic_filter(), entry.sub_opts().qos() as u8);
            self.log(format!("SUBSCRIBE {filter} {qos}"));
            body.push(refusal.map_or(qos, |(_, code, _)| code));
            let mut state = self.broker.0.lock();
            state.clients[client].filters.push((filter.to_owned(), qos));
            let wanted = entry.sub_opts().rh() != RetainHandling::DoNotSendRetained;
            let kept = state.retained.iter().filter(|(topic, _)| matches(filter, topic));
            retained.extend(
                kept.filter(|_| wanted || retained_anyway)
                    .flat_map(|(topic, payload)| message(is_v5, topic, payload, 0, 1)),
            );
        }
        if !mute {
            // A server may send what it has retained before it confirms the subscription.
            self.reply(retained);
            self.reply(packet(0x90, body));
        }
    }

    fn publish(
        &self,
        raw: &RawPacket,
        mute: bool,
        refusal: Option<(u8, u8, &str)>,
        disconnect: Option<(u8, &str)>,
    ) {
        let Some((_, is_v5)) = self.client else { return };
        let PacketData::Publish(data) = &raw.data else { return };
        let (topic, payload, qos, id, marks) = if is_v5 {
            let (packet, _) = v5_0::Publish::parse(raw.flags(), data.clone()).expect("PUBLISH");
            let marks = marks(packet.props());
            let payload = packet.payload().as_slice().to_vec();
            (packet.topic_name().to_owned(), payload, packet.qos(), packet.packet_id(), marks)
        } else {
            let (packet, _) = v3_1_1::Publish::parse(raw.flags(), data.clone()).expect("PUBLISH");
            let payload = packet.payload().as_slice().to_vec();
            let marks = String::new();
            (packet.topic_name().to_owned(), payload, packet.qos(), packet.packet_id(), marks)
        };
        self.log(format!("PUBLISH {topic} {} {marks}", qos as u8));
        if let Some((code, reason)) = disconnect {
            let body = if is_v5 { [vec![code], properties(reason)].concat() } else { Vec::new() };
            self.reply(packet(0xe0, body));
            return self.send(Out::Close);
        }
        if mute {
            return;
        }
        if let Some(id) = id {
            let kind = if qos == Qos::AtLeastOnce { 0x40 } else { 0x50 };
            let mut body = id.to_be_bytes().to_vec();
            if let Some((_, code, reason)) = refusal {
                body.push(code);
                body.extend(properties(reason));
            }
            self.reply(packet(kind, body));
        }
        if refusal.is_none() {
            self.broker.publish(&topic, &payload, qos as u8);
        }
    }

    fn reply(&self, bytes: Vec<u8>) {
        self.send(Out::Bytes(bytes));
    }

    fn send(&self, out: Out) {
        self.outbox.try_send(out).expect("tests send little");
    }

    fn log(&self, line: String) {
        self.broker.0.lock().log.push(line);
    }
}

// === packets by hand ===

fn id(raw: &RawPacket) -> u16 {
    u16::from_be_bytes([raw.data_as_slice()[0], raw.data_as_slice()[1]])
}

/// The user properties, by which a client says who it is.
fn marks(properties: &[Property]) -> String {
    let pairs = properties.iter().filter_map(|property| match property {
        Property::UserProperty(pair) => Some(format!("{}={}", pair.key(), pair.val())),
        _ => None,
    });
    pairs.collect::<Vec<_>>().join(" ")
}

/// A PUBLISH; `flags` are those of its header: DUP 8, quality of service 2 and 4, RETAIN 1.
fn message(is_v5: bool, topic: &str, payload: &[u8], id: u16, flags: u8) -> Vec<u8> {
    let mut body = text(topic);
    if flags & 6 > 0 {
        body.extend(id.to_be_bytes());
    }
    body.extend(is_v5.then_some(0));
    body.extend(payload);
    packet(0x30 | flags, body)
}

fn packet(header: u8, body: Vec<u8>) -> Vec<u8> {
    let mut packet = vec![header];
    let mut length = body.len();
    while length > 127 {
        packet.push(u8::try_from(length % 128).expect("below 128") | 0x80);
        length /= 128;
    }
    packet.push(u8::try_from(length).expect("below 128"));
    packet.extend(body);
    packet
}

/// The properties with a reason, or none.
fn properties(reason: &str) -> Vec<u8> {
    let mut list = Vec::new();
    if !reason.is_empty() {
        list.push(0x1f);
        list.extend(text(reason));
    }
    let mut properties = vec![u8::try_from(list.len()).expect("short")];
    properties.extend(list);
    properties
}

fn text(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).expect("short").to_be_bytes();
    [&length[..], text.as_bytes()].concat()
}

/// Whether a topic is one of a filter's.
fn matches(filter: &str, topic: &str) -> bool {
    let (mut filter, mut topic) = (filter.split('/'), topic.split('/'));
    loop {
        match (filter.next(), topic.next()) {
            (Some("#"), _) | (None, None) => return true,
            (Some("+"), Some(_)) => {}
            (Some(wanted), Some(found)) if wanted == found => {}
            _ => return false,
        }
    }
}
