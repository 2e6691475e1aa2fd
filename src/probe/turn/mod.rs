//! The TURN step (RFC 8656): the relay over which calls go where nothing more direct does.
//!
//! It allocates a relayed address with long-term credentials, or time-limited ones made of a shared
//! secret, over UDP, TCP or TLS. The value is the time from the first request to the allocation, the
//! challenge included. Asked for an echo, it sends a datagram from a second socket of its own to the
//! relayed address, and what the server hands on back the same way: the value is then that round
//! trip, through the relay twice. At the end the allocation is given back.
//!
//! `message` is TURN on the wire, `line` carries it, `client` asks, `relay` sends through the relay.
//! Nothing is changed at the server but the allocation, and nothing is sent to others, so the
//! allow-list of writes is not asked.

mod client;
mod line;
mod message;
mod relay;

use super::awaited::ExpectText;
use super::datagrams::Addresses;
use super::dial::{StepContext, dial};
use super::failure::{Attempt, failure};
use super::record::StepRecord;
use super::spec::{TextCheck, TlsOptions};
use super::stun_message::{SOFTWARE, XOR_MAPPED_ADDRESS};
use super::target::Target;
use super::tls::Alpn;
use crate::base::clock::UnixNanos;
use crate::base::secret::Secret;
use crate::model::probe::{FailureReason, Phase};
use bytes::Bytes;
use client::{Client, Credentials, Denied, Granted};
use line::Line;
use message::{MAX_TEXT, Wish, XOR_RELAYED_ADDRESS, lifetime, timed_password};
use std::net::SocketAddr;
use std::time::Duration;

/// Time-limited credentials are good for so long: a step takes a fraction of it.
const CREDENTIALS_LIFETIME: Duration = Duration::from_secs(3_600);
/// So long is the answer waited for when the allocation is given back.
const RELEASE: Duration = Duration::from_secs(1);

/// Allocates a relayed address; may send through it.
#[derive(Clone, Debug, PartialEq)]
pub struct TurnStep {
    /// `turn://host:port`, or `turns://host:port` over TLS.
    pub url: String,
    /// Whether to ask over TCP rather than UDP; over TLS it is TCP in any case.
    pub tcp: bool,
    /// As whom; a server that wants nobody's name needs none.
    pub credentials: Option<TurnCredentials>,
    /// Send a datagram through the relay and back; its budget, where it has one.
    pub echo: Option<Option<Duration>>,
    /// TLS of the connection.
    pub tls: TlsOptions,
}

/// As whom a server is asked.
#[derive(Clone, Debug, PartialEq)]
pub enum TurnCredentials {
    /// A user of the server's.
    LongTerm {
        /// The name.
        username: Secret,
        /// The password.
        password: Secret,
    },
    /// A secret that the server shares: each run makes a user of its own, good for an hour.
    Shared {
        /// The name that follows the time in that user's name.
        username: Secret,
        /// The secret.
        secret: Secret,
    },
}

/// A relayed address that was allocated.
#[derive(Clone, Copy, Debug)]
struct Allocation {
    relayed: SocketAddr,
    /// From where the server sees us come.
    mapped: SocketAddr,
}

/// Carries out the step.
pub(super) async fn run(
    step: &TurnStep,
    with: StepContext<'_>,
    record: &mut StepRecord,
) -> Attempt<Option<Bytes>> {
    let target = Target::parse(&with.variables.fill(&step.url)?, ["turn", "turns"])?;
    record.talks("turn", target.to_string());
    let credentials = || match &step.credentials {
        Some(credentials) => credentials.now(with.context.clock.now()).map(Some),
        None => Ok(None),
    };
    let (mut client, allocated) = if step.tcp || target.tls {
        let connection = dial(&target, &step.tls, Alpn::None, with, record).await?;
        let line = Line::over(connection, &with.context.clock);
        let mut client = Client::new(line, &target, credentials()?);
        let wish = Wish::Relay(target.address().is_some_and(|address| address.is_ipv6()));
        let allocated = client.ask(wish, with.deadline).await;
        (client, allocated.map_err(|denied| denied.into_failure(&target)))
    } else {
        over_udp(&target, credentials()?, with, record).await?
    };
    note_client(&client, record);
    let granted = allocated?;
    record.phase(Phase::Handshake, granted.asked, granted.arrived);
    record.sent = Some(granted.asked);
    let allocation = note_allocation(&granted, &target, record)?;
    record.value(granted.arrived.since(granted.asked));
    let echoed = match step.echo {
        Some(within) => relay::echo(&mut client, allocation, within, with, record).await,
        None => Ok(()),
    };
    release(&mut client, with, record).await;
    echoed.map(|()| None)
}

/// Asks the first address of the target that takes datagrams.
async fn over_udp<'t>(
    target: &'t Target,
    credentials: Option<Credentials>,
    with: StepContext<'_>,
    record: &mut StepRecord,
) -> Attempt<(Client<'t>, Attempt<Granted>)> {
    let mut addresses = Addresses::of(target, with, record).await?;
    loop {
        let (datagrams, address) = addresses.connect(with, record).await?;
        let mut client = Client::new(Line::Datagrams(datagrams), target, credentials.clone());
        let allocated = client.ask(Wish::Relay(address.is_ipv6()), with.deadline).await;
        match allocated {
            Err(Denied::Line(error)) if !client.has_heard => addresses.refused(address, &error),
            allocated => {
                addresses.note(address, record);
                return Ok((client, allocated.map_err(|denied| denied.into_failure(target))));
            }
        }
    }
}

/// What is known of the server, whether it allocated or not.
fn note_client(client: &Client<'_>, record: &mut StepRecord) {
    if let Some(realm) = client.realm() {
        record.attribute("turn.realm", realm);
    }
    if client.line.is_lossy() {
        record.attribute("turn.retransmissions", client.retransmissions);
    }
    if let Some(code) = client.refusal {
        record.status(code);
    }
}

/// What was allocated.
fn note_allocation(
    granted: &Granted,
    target: &Target,
    record: &mut StepRecord,
) -> Attempt<Allocation> {
    let message = granted.message(target)?;
    let address = |kind, what: &str| {
        message.address(kind).ok_or_else(|| {
            let text = format!("{target} allocates without saying {what}");
            failure(FailureReason::Protocol, text)
        })
    };
    let relayed = address(XOR_RELAYED_ADDRESS, "which address")?;
    let mapped = address(XOR_MAPPED_ADDRESS, "which address it sees")?;
    record.attribute("turn.relayed_address", relayed.to_string());
    record.attribute("turn.mapped_address", mapped.to_string());
    if let Some(seconds) = lifetime(&message) {
        record.attribute("turn.lifetime_seconds", seconds);
    }
    if let Some(software) = message.text(SOFTWARE) {
        record.attribute("turn.software", software);
    }
    Ok(Allocation { relayed, mapped })
}

/// Gives the allocation back. A server that does not take it keeps it to the end of its lifetime,
/// which is no failure of the step.
async fn release(client: &mut Client<'_>, with: StepContext<'_>, record: &mut StepRecord) {
    let from = record.now();
    let deadline = with.deadline.no_later_than(from.plus(RELEASE));
    match client.ask(Wish::Release, &deadline).await {
        Ok(granted) => record.phase(Phase::Close, from, granted.arrived),
        Err(_) => record.attribute("turn.released", false),
    }
}

// === impl TurnStep, TurnCredentials ===

impl TurnStep {
    /// Its texts that are filled in at each run.
    pub(super) fn texts<'a>(&'a self, texts: &mut Vec<&'a str>) {
        texts.push(&self.url);
    }
}

impl TurnCredentials {
    /// User name and password of a run.
    fn now(&self, now: UnixNanos) -> Attempt<Credentials> {
        let credentials = match self {
            Self::LongTerm { username, password } => {
                Credentials { username: username.clone(), password: password.clone() }
            }
            Self::Shared { username, secret } => {
                let until = now.plus(CREDENTIALS_LIFETIME).0 / 1_000_000_000;
                let username = format!("{until}:{}", username.reveal());
                let password = Secret::new(timed_password(secret.reveal(), &username));
                Credentials { username: Secret::new(username), password }
            }
        };
        if credentials.username.reveal().len() > MAX_TEXT {
            let text = format!("the user name is longer than {MAX_TEXT} bytes");
            return Err(failure(FailureReason::Local, text));
        }
        Ok(credentials)
    }
}

/// What must come back: this text and no other.
fn awaited(text: &str, within: Option<Duration>) -> ExpectText {
    ExpectText { text: Some(TextCheck::Equals(text.to_owned())), within }
}
