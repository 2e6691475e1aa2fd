//! MQTT, versions 3.1.1 and 5: CONNECT, SUBSCRIBE, PUBLISH, and messages as they arrive.
//!
//! The packets are those of `mqtt-protocol-core` (`incoming`, `outgoing`); the connection is ours
//! (`session`), so that every phase is stamped at the system call. A task per connection (`reader`)
//! stamps, acknowledges and judges messages (`ledger`) while steps wait; what it and steps write goes
//! over one `line`. Who publishes and who subscribes may be different steps at different servers,
//! which is what a probe of delivery needs; `resume` asks whether a session survives its connection.
//! The topic of a message is its event in the inbox.

mod incoming;
mod ledger;
mod line;
mod outgoing;
mod reader;
mod resume;
mod session;
mod step;

use super::dial::StepContext;
use super::failure::{Attempt, failure};
use super::record::StepRecord;
use super::stream::OpenStream;
use super::target::Target;
use super::template::Variables;
use super::writes;
use crate::model::probe::FailureReason;
use line::Route;
use resume::{Absence, resume};
use session::{Caller, Membership, Session};
use std::time::Duration;
pub use step::{MqttPublish, MqttStep, MqttVersion, Qos};
use url::Url;

/// Where servers listen unless the URL says otherwise, without and with TLS.
pub const DEFAULT_PORTS: [u16; 2] = [1883, 8883];

/// Who connects, with everything filled in.
struct Identity {
    username: Option<String>,
    password: Option<String>,
    /// User properties that say who sends; version 5 only.
    marks: Vec<(&'static str, String)>,
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
    let route = step.publish.as_ref().map(|publish| route(publish, with)).transpose()?;
    let publishes = step.publish.as_ref().is_some_and(|publish| publish.message.is_some());
    if let Some(route) = route.as_ref().filter(|_| publishes) {
        // Asked before the write as well, but a server that must not be written to is not dialled.
        writes::admit_topic(&target, &route.topic, with.writes)?;
    }
    let identity = Identity::fill(step, with)?;
    let client_id = match &step.client_id {
        Some(client_id) => with.variables.fill(client_id)?,
        None => own_client_id(with),
    };
    let filters = fill_all(&step.subscribe, with.variables)?;
    record.attribute("network.protocol.version", step.version.as_str());

    let caller = Caller { step, target: &target, identity: &identity, with };
    let session = match absence(step, with)? {
        Some(absence) => resume(caller, &client_id, &filters, absence, record).await?,
        None => {
            let (clean_start, expiry) = (step.clean_start, step.session_expiry);
            let membership = Membership { client_id: &client_id, clean_start, expiry };
            attend(caller, membership, &filters, record).await?
        }
    };
    record.sent = Some(session.asked);
    let outlet = caller.publisher(&session, route);
    Ok(OpenStream {
        receiver: 0,
        step: name.to_owned(),
        target,
        protocol: "mqtt",
        asked: session.asked,
        opened: record.now(),
        sent: Vec::new(),
        inbox: session.inbox,
        max_gap: None,
        close_code: None,
        outlet: Some(Box::new(outlet)),
        reader: session.reader,
        link: None,
        silent: Vec::new(),
    })
}

/// Connects, and subscribes where there is something to subscribe to.
async fn attend(
    caller: Caller<'_>,
    membership: Membership<'_>,
    filters: &[String],
    record: &mut StepRecord,
) -> Attempt<Session> {
    let mut session = caller.join(membership, record).await?;
    if !membership.clean_start {
        record.attribute("mqtt.session_present", session.session_present);
    }
    if !filters.is_empty() {
        let subscribed = caller.subscribe(filters, &session, record).await?;
        // What a server kept of an earlier session may come before this one subscribes.
        session.asked = if membership.clean_start { subscribed } else { session.asked };
    }
    Ok(session)
}

// === what is filled in before anything is sent ===

impl Identity {
    fn fill(step: &MqttStep, with: StepContext<'_>) -> Attempt<Self> {
        let fill = |text: Option<&str>| text.map(|text| with.variables.fill(text)).transpose();
        let marks = match step.version {
            MqttVersion::V3_1_1 => Vec::new(),
            MqttVersion::V5 => {
                vec![("traceparent", with.mark.traceparent()), ("baggage", with.mark.baggage())]
            }
        };
        Ok(Self {
            username: fill(step.username.as_ref().map(|username| username.reveal()))?,
            password: fill(step.password.as_ref().map(|password| password.reveal()))?,
            marks,
        })
    }

    /// CONNECT.
    fn connect(&self, step: &MqttStep, membership: Membership<'_>) -> Attempt<Vec<u8>> {
        let seconds = |time: Duration| u32::try_from(time.as_secs()).unwrap_or(u32::MAX);
        let connect = outgoing::Connect {
            client_id: membership.client_id,
            username: self.username.as_deref(),
            password: self.password.as_deref(),
            keep_alive: u16::try_from(step.keep_alive.as_secs()).unwrap_or(u16::MAX),
            clean_start: membership.clean_start,
            session_expiry: membership.expiry.map(seconds),
            marks: &self.marks,
        };
        outgoing::connect(step.version, &connect)
    }
}

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

/// A client identifier by which a run is found in the server's log. Each connection of the run has
/// another: with the same one it would take over the one before. All servers accept 23 characters.
fn own_client_id(with: StepContext<'_>) -> String {
    let run: String = with.mark.run.to_hex().chars().take(4).collect();
    format!("radiosonde-{run}{:08x}", rand::random::<u32>())
}

fn fill_all(texts: &[String], variables: &Variables) -> Attempt<Vec<String>> {
    texts.iter().map(|text| variables.fill(text)).collect()
}

fn route(publish: &MqttPublish, with: StepContext<'_>) -> Attempt<Route> {
    let topic = with.variables.fill(&publish.topic)?;
    Ok(Route { topic, qos: publish.qos, retain: publish.retain })
}

/// What is published while the subscriber is away, when it goes away.
fn absence(step: &MqttStep, with: StepContext<'_>) -> Attempt<Option<Absence>> {
    let Some(publish) = step.publish.as_ref().filter(|_| step.resume) else { return Ok(None) };
    let Some(message) = &publish.message else { return Ok(None) };
    Ok(Some(Absence {
        client_id: own_client_id(with),
        route: route(publish, with)?,
        message: with.variables.fill(message)?,
    }))
}
