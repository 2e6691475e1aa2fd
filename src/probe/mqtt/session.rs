//! One connection: CONNECT until it is accepted, SUBSCRIBE until it is confirmed, and the task that
//! reads from then on.

use super::super::connection::Connection;
use super::super::dial::{StepContext, dial};
use super::super::failure::{Attempt, failure, of_stream, quote};
use super::super::inbox::{Inbox, MAX_MESSAGE_BYTES};
use super::super::record::StepRecord;
use super::super::target::Target;
use super::super::tls::Alpn;
use super::incoming::{Connack, Framer, Incoming};
use super::ledger::{Ledger, Tally};
use super::line::{Line, Publisher, Route, ended};
use super::outgoing;
use super::reader::{READ_BYTES, Reader};
use super::step::{MqttStep, MqttVersion};
use super::{Identity, fill_all};
use crate::base::clock::MonoNanos;
use crate::model::probe::{Failure, FailureReason, Phase};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::task::AbortOnDropHandle;

/// The packet type of CONNACK.
const CONNACK: u8 = 2;

/// What the connections of a step have in common.
#[derive(Clone, Copy)]
pub(super) struct Caller<'a> {
    /// The definition.
    pub step: &'a MqttStep,
    /// The server.
    pub target: &'a Target,
    /// Credentials and marks.
    pub identity: &'a Identity,
    /// Deadline, clock, TLS.
    pub with: StepContext<'a>,
}

/// As whom a connection is made, and what becomes of the session.
#[derive(Clone, Copy)]
pub(super) struct Membership<'a> {
    /// The client identifier.
    pub client_id: &'a str,
    /// Whether to begin a new session.
    pub clean_start: bool,
    /// How long the session outlives the connection; version 5 only.
    pub expiry: Option<Duration>,
}

/// A connection that was accepted. Dropping it closes the socket without a farewell.
pub(super) struct Session {
    /// The way to the server.
    pub line: Arc<Line>,
    /// What comes from it.
    pub inbox: Arc<Inbox>,
    /// What its reader counts.
    pub tally: Arc<Tally>,
    /// Its reader.
    pub reader: AbortOnDropHandle<()>,
    /// Whether the server continues an earlier session.
    pub session_present: bool,
    /// When CONNECT was sent.
    pub asked: MonoNanos,
}

impl Caller<'_> {
    /// Dials, connects, and begins to read.
    pub(super) async fn join(
        self,
        membership: Membership<'_>,
        record: &mut StepRecord,
    ) -> Attempt<Session> {
        let Self { step, target, identity, with } = self;
        let connect = identity.connect(step, membership)?;
        let published = step.publish.as_ref().map(|publish| publish.qos);
        let ledger = Ledger::new(fill_all(&step.subscribe, with.variables)?, published);
        let mut connection = dial(target, &step.tls, Alpn::None, with, record).await?;
        let stamps = connection.stamps();
        let asked = stamps.begin_exchange();
        record.sent = Some(asked);
        let mut framer = Framer::new(step.version, MAX_MESSAGE_BYTES);
        let doing = format!("waiting for the CONNACK of {target}");
        let answer = ask(&mut connection, &connect, &mut framer, &doing);
        let mut packets = with.deadline.run(&doing, answer).await??.into_iter();
        let Some(Incoming::Connack(connack)) = packets.next() else {
            let text = format!("{target} answers CONNECT with something else than CONNACK");
            return Err(failure(FailureReason::Protocol, text));
        };
        admitted(&connack, target, record)?;
        record.phase(Phase::Handshake, asked, stamps.last_read());
        let (inbox, writer) = Inbox::new(&with.context.clock);
        let (half, writing) = tokio::io::split(connection);
        let line = Arc::new(Line::new(writing));
        let tally = Arc::new(Tally::default());
        let keep_alive = connack.keep_alive.unwrap_or(step.keep_alive);
        let reader = Reader {
            half,
            framer,
            stamps,
            line: Arc::clone(&line),
            inbox: writer,
            ledger,
            tally: Arc::clone(&tally),
            accept_retained: step.accept_retained,
            keep_alive: Some(keep_alive).filter(|keep_alive| !keep_alive.is_zero()),
        };
        let reader = AbortOnDropHandle::new(tokio::spawn(reader.run(packets.collect())));
        let session_present = connack.session_present;
        Ok(Session { line, inbox, tally, reader, session_present, asked })
    }

    /// Subscribes and waits for the answer; hands back when the request was sent.
    pub(super) async fn subscribe(
        self,
        filters: &[String],
        session: &Session,
        record: &mut StepRecord,
    ) -> Attempt<MonoNanos> {
        let Self { step, with, .. } = self;
        let (id, answer) = session.line.ask();
        let packet =
            outgoing::subscribe(step.version, id, filters, step.qos, step.accept_retained)?;
        let doing = format!("waiting for the SUBACK to {}", quote(&filters.join(", ")));
        let from = record.now();
        let exchange = async {
            let written = session.line.write(&packet).await;
            written.map_err(|error| of_stream(&error, &doing))?;
            answer.await.map_err(|_| ended("before it answered SUBSCRIBE"))
        };
        let answer = with.deadline.run(&doing, exchange).await?;
        let answer = answer.map_err(|error| session.why(error))?;
        if answer.verdicts.len() != filters.len() {
            let text = format!("{doing}: the server answered another number of subscriptions");
            return Err(failure(FailureReason::Protocol, text));
        }
        let refused = filters.iter().zip(&answer.verdicts).find(|(_, verdict)| verdict.refuses());
        if let Some((filter, verdict)) = refused {
            record.status(verdict.code.into());
            let name = format!("the subscription to {filter} is granted");
            record.check(name, Err(verdict.to_string()));
            let text = format!("the server refuses the subscription to {filter} with {verdict}");
            return Err(failure(FailureReason::Status, text));
        }
        record.phase(Phase::Subscribe, from, answer.arrived);
        let granted = answer.verdicts.iter().map(|verdict| verdict.code).min();
        if let Some(granted) = granted.filter(|granted| *granted < step.qos as u8) {
            record.attribute("mqtt.granted_qos", u32::from(granted));
        }
        Ok(from)
    }

    /// What sends over a connection.
    pub(super) fn publisher(self, session: &Session, route: Option<Route>) -> Publisher {
        Publisher {
            line: Arc::clone(&session.line),
            version: self.step.version,
            route,
            marks: self.identity.marks.clone(),
            pending: None,
            tally: Arc::clone(&session.tally),
            refuse_duplicates: self.step.refuse_duplicates,
            forget: self.step.resume && self.step.version == MqttVersion::V5,
        }
    }
}

// === impl Session ===

impl Session {
    /// Why something could not be done: the reader knows better when it has seen the end.
    pub(super) fn why(&self, error: Failure) -> Failure {
        let end = self.inbox.look(|state| state.end.clone());
        end.map_or(error, |end| failure(end.reason, end.words))
    }

    /// Closes the socket without a farewell, as when the network is lost.
    pub(super) async fn lose(self) {
        let Self { reader, line, .. } = self;
        reader.abort();
        // Both halves must be gone; that the reader was cancelled is no news.
        let _ = reader.await;
        drop(line);
    }
}

fn admitted(connack: &Connack, target: &Target, record: &mut StepRecord) -> Attempt<()> {
    let verdict = &connack.verdict;
    record.status(verdict.code.into());
    if verdict.code == 0 {
        return Ok(());
    }
    record.check("the connection is accepted".to_owned(), Err(verdict.to_string()));
    let text = format!("{target} refuses the connection with {verdict}");
    Err(failure(FailureReason::Status, text))
}

/// Writes, and reads until there is a packet.
async fn ask(
    connection: &mut Connection,
    question: &[u8],
    framer: &mut Framer,
    doing: &str,
) -> Attempt<Vec<Incoming>> {
    let broken = |error: io::Error| of_stream(&error, doing);
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
