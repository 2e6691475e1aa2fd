//! MQTT, versions 3.1.1 and 5: CONNECT, SUBSCRIBE, PUBLISH, and messages as they arrive.
//!
//! The packets are those of `mqtt-protocol-core` ([`incoming`], [`outgoing`]); the connection is ours,
//! so that every phase is stamped at the system call. A [`reader`] acknowledges and stamps messages
//! while steps wait; who publishes and who subscribes may be different steps at different servers,
//! which is what a probe of delivery needs. A message's topic is the event of
//! [`Received`](super::stream::Received).

mod incoming;
mod ledger;
mod line;
mod outgoing;
mod reader;
mod step;

use super::connection::Connection;
use super::dial::{StepContext, dial};
use super::failure::{Attempt, failure, of_stream, quote};
use super::record::StepRecord;
use super::stream::{Inbox, MAX_MESSAGE_BYTES, OpenStream};
use super::target::Target;
use super::template::Variables;
use super::tls::Alpn;
use super::writes;
use crate::base::clock::MonoNanos;
use crate::model::probe::{FailureReason, Phase};
use incoming::{Connack, Framer, Incoming};
use ledger::{Ledger, Tally};
use line::{Line, Publisher, Route, ended};
use reader::{READ_BYTES, Reader};
use std::sync::Arc;
pub use step::{MqttPublish, MqttStep, MqttVersion, Qos};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::task::AbortOnDropHandle;
use url::Url;

/// Where servers listen unless the URL says otherwise, without and with TLS.
pub const DEFAULT_PORTS: [u16; 2] = [1883, 8883];

/// The packet type of CONNACK.
const CONNACK: u8 = 2;

/// Who sends, as user properties.
type Marks = Vec<(&'static str, String)>;

/// An accepted connection.
struct Greeted {
    connection: Connection,
    framer: Framer,
    connack: Connack,
    /// Packets that came with the CONNACK.
    backlog: Vec<Incoming>,
    asked: MonoNanos,
}

/// Connects for a step, and subscribes where it does.
pub(super) async fn open(
    step: &MqttStep,
    name: &str,
    with: StepContext<'_>,
    record: &mut StepRecord,
) -> Attempt<OpenStream> {
    let target = target(&with.variables.fill(&step.url)?)?;
    record.talks("mqtt", target.to_string());
    if step.publish.as_ref().is_some_and(|publish| publish.message.is_some()) {
        // Asked before the write as well, but a server that must not be written to is not dialled.
        writes::admit(&target, with.writes)?;
    }
    let marks = marks(step.version, with);
    let connect = connect(step, &marks, with)?;
    let filters = fill_all(&step.subscribe, with.variables)?;
    let route = step.publish.as_ref().map(|publish| route(publish, with)).transpose()?;

    let greeted = greet(step, &connect, &target, with, record).await?;
    let stamps = greeted.connection.stamps();
    let (inbox, writer) = Inbox::new(&with.context.clock);
    let (half, writing) = tokio::io::split(greeted.connection);
    let line = Arc::new(Line::new(writing));
    let tally = Arc::new(Tally::default());
    let reader = Reader {
        half,
        framer: greeted.framer,
        stamps,
        line: Arc::clone(&line),
        inbox: writer,
        ledger: Ledger::default(),
        tally: Arc::clone(&tally),
        accept_retained: step.accept_retained,
        keep_alive: Some(greeted.connack.keep_alive.unwrap_or(step.keep_alive))
            .filter(|keep_alive| !keep_alive.is_zero()),
    };
    let reader = AbortOnDropHandle::new(tokio::spawn(reader.run(greeted.backlog)));
    let mut asked = greeted.asked;
    if !filters.is_empty() {
        let subscribed = subscribe(step, &filters, &line, &inbox, with, record).await?;
        // What a server kept of an earlier session may come before this one subscribes.
        asked = if step.clean_start { subscribed } else { asked };
    }
    record.sent = Some(asked);
    let outlet = Publisher {
        line,
        version: step.version,
        route,
        marks,
        pending: None,
        tally,
        refuse_duplicates: step.refuse_duplicates,
    };
    Ok(OpenStream {
        receiver: 0,
        step: name.to_owned(),
        target,
        protocol: "mqtt",
        asked,
        opened: record.now(),
        sent: Vec::new(),
        inbox,
        max_gap: None,
        close_code: None,
        outlet: Some(Box::new(outlet)),
        _reader: reader,
    })
}

// === what is filled in before anything is sent ===

/// The server that a URL names.
fn target(text: &str) -> Attempt<Target> {
    let mut url = Url::parse(text)
        .map_err(|error| failure(FailureReason::Local, format!("the URL is unusable: {error}")))?;
    let [plain, secure] = DEFAULT_PORTS;
    let port = if url.scheme() == "mqtts" { secure } else { plain };
    // It can only fail without a host, which is reported next.
    let _ = url.set_port(Some(url.port().unwrap_or(port)));
    Target::parse(url.as_str(), ["mqtt", "mqtts"])
}

fn marks(version: MqttVersion, with: StepContext<'_>) -> Marks {
    match version {
        MqttVersion::V3_1_1 => Vec::new(),
        MqttVersion::V5 => {
            vec![("traceparent", with.mark.traceparent()), ("baggage", with.mark.baggage())]
        }
    }
}

fn connect(step: &MqttStep, marks: &Marks, with: StepContext<'_>) -> Attempt<Vec<u8>> {
    let fill = |text: Option<&str>| text.map(|text| with.variables.fill(text)).transpose();
    let client_id = match fill(step.client_id.as_deref())? {
        Some(client_id) => client_id,
        None => own_client_id(with),
    };
    let username = fill(step.username.as_ref().map(|username| username.reveal()))?;
    let password = fill(step.password.as_ref().map(|password| password.reveal()))?;
    let seconds = |time: std::time::Duration| u32::try_from(time.as_secs()).unwrap_or(u32::MAX);
    let connect = outgoing::Connect {
        client_id: &client_id,
        username: username.as_deref(),
        password: password.as_deref(),
        keep_alive: u16::try_from(step.keep_alive.as_secs()).unwrap_or(u16::MAX),
        clean_start: step.clean_start,
        session_expiry: step.session_expiry.map(seconds),
        marks,
    };
    outgoing::connect(step.version, &connect)
}

/// A client identifier by which a run is found in the server's log. A second connection of the run
/// has another: with the same one it would take over the first. All servers accept 23 characters.
fn own_client_id(with: StepContext<'_>) -> String {
    let run: String = with.mark.run.to_hex().chars().take(4).collect();
    let span: String = with.mark.span.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    format!("radiosonde-{run}{span}")
}

fn fill_all(texts: &[String], variables: &Variables) -> Attempt<Vec<String>> {
    texts.iter().map(|text| variables.fill(text)).collect()
}

fn route(publish: &MqttPublish, with: StepContext<'_>) -> Attempt<Route> {
    let topic = with.variables.fill(&publish.topic)?;
    Ok(Route { topic, qos: publish.qos, retain: publish.retain })
}

// === CONNECT and SUBSCRIBE ===

/// Dials, and waits for the server to accept the connection.
async fn greet(
    step: &MqttStep,
    connect: &[u8],
    target: &Target,
    with: StepContext<'_>,
    record: &mut StepRecord,
) -> Attempt<Greeted> {
    let mut connection = dial(target, &step.tls, Alpn::None, with, record).await?;
    let stamps = connection.stamps();
    let asked = stamps.begin_exchange();
    record.sent = Some(asked);
    record.attribute("network.protocol.version", step.version.as_str());
    let mut framer = Framer::new(step.version, MAX_MESSAGE_BYTES);
    let doing = format!("waiting for the CONNACK of {target}");
    let answer = ask(&mut connection, connect, &mut framer, &doing);
    let mut packets = with.deadline.run(&doing, answer).await??.into_iter();
    let Some(Incoming::Connack(connack)) = packets.next() else {
        let text = format!("{target} answered CONNECT with something else than CONNACK");
        return Err(failure(FailureReason::Protocol, text));
    };
    record.status(connack.verdict.code.into());
    if connack.verdict.code != 0 {
        let verdict = connack.verdict.to_string();
        let text = format!("{target} refuses the connection with {}", quote(&verdict));
        record.check("the connection is accepted".to_owned(), Err(verdict));
        return Err(failure(FailureReason::Status, text));
    }
    record.phase(Phase::Handshake, asked, stamps.last_read());
    if !step.clean_start {
        record.attribute("mqtt.session_present", connack.session_present.to_string());
    }
    Ok(Greeted { connection, framer, connack, backlog: packets.collect(), asked })
}

/// Writes, and reads until there is a packet.
async fn ask(
    connection: &mut Connection,
    question: &[u8],
    framer: &mut Framer,
    doing: &str,
) -> Attempt<Vec<Incoming>> {
    let broken = |error: std::io::Error| of_stream(&error, doing);
    connection.write_all(question).await.map_err(broken)?;
    connection.flush().await.map_err(broken)?;
    let mut buffer = vec![0; READ_BYTES];
    let mut is_first = true;
    loop {
        let length = connection.read(&mut buffer).await.map_err(broken)?;
        if length == 0 {
            let text = format!("{doing}: the server closed the connection");
            return Err(failure(FailureReason::Closed, text));
        }
        let read = buffer.get(..length).unwrap_or_default();
        if is_first && read.first().is_some_and(|header| header >> 4 != CONNACK) {
            // Read as a length, the text of another protocol might be waited for in vain.
            let said = quote(&String::from_utf8_lossy(read));
            let text = format!("{doing}: the server answers with something else: {said}");
            return Err(failure(FailureReason::Protocol, text));
        }
        is_first = false;
        let packets = framer
            .feed(read)
            .map_err(|error| failure(FailureReason::Protocol, format!("{doing}: {error}")))?;
        if !packets.is_empty() {
            return Ok(packets);
        }
    }
}

/// Subscribes and waits for the answer; hands back when the request was sent.
async fn subscribe(
    step: &MqttStep,
    filters: &[String],
    line: &Line,
    inbox: &Inbox,
    with: StepContext<'_>,
    record: &mut StepRecord,
) -> Attempt<MonoNanos> {
    let (id, answer) = line.ask();
    let packet = outgoing::subscribe(step.version, id, filters, step.qos, step.accept_retained)?;
    let doing = format!("waiting for the SUBACK to {}", quote(&filters.join(", ")));
    let from = record.now();
    let exchange = async {
        line.write(&packet).await.map_err(|error| of_stream(&error, &doing))?;
        answer.await.map_err(|_| ended("before it answered SUBSCRIBE"))
    };
    let answer = with.deadline.run(&doing, exchange).await?.map_err(|error| {
        // The reader knows better why.
        inbox.look(|state| state.end.clone()).map_or(error, |end| failure(end.reason, end.words))
    })?;
    if answer.verdicts.len() != filters.len() {
        let text = format!("{doing}: the server answered another number of subscriptions");
        return Err(failure(FailureReason::Protocol, text));
    }
    let refused = filters.iter().zip(&answer.verdicts).find(|(_, verdict)| verdict.refuses());
    if let Some((filter, verdict)) = refused {
        record.status(verdict.code.into());
        record.check(format!("the subscription to {filter} is granted"), Err(verdict.to_string()));
        let verdict = quote(&verdict.to_string());
        let text = format!("the server refuses the subscription to {filter} with {verdict}");
        return Err(failure(FailureReason::Status, text));
    }
    record.phase(Phase::Subscribe, from, answer.arrived);
    let granted = answer.verdicts.iter().map(|verdict| verdict.code).min().unwrap_or_default();
    if granted < step.qos as u8 {
        record.attribute("mqtt.granted_qos", granted.to_string());
    }
    Ok(from)
}
