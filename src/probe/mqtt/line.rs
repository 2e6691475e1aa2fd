//! The writing half of a connection, shared by reader and steps, and who waits for which answer.

use super::super::connection::Connection;
use super::super::failure::{Attempt, failure, of_stream};
use super::super::stream::{Confirmation, Findings, Outlet};
use super::super::target::Target;
use super::super::writes::{self, WriteTarget};
use super::incoming::Verdict;
use super::ledger::Tally;
use super::outgoing::{self, DISCONNECT, DISCONNECT_AND_FORGET, PINGREQ};
use super::step::{MqttVersion, Qos};
use crate::base::clock::MonoNanos;
use crate::model::probe::{Failure, FailureReason};
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tokio::io::{AsyncWriteExt, WriteHalf};
use tokio::sync::{Mutex as AsyncMutex, oneshot};

/// So many pings may be without their answer; with one more the server counts as gone.
const MAX_UNANSWERED_PINGS: usize = 2;

/// The way to the server. Packets are written whole, whoever writes them.
#[derive(Debug)]
pub(super) struct Line {
    half: AsyncMutex<WriteHalf<Connection>>,
    /// Set while a packet is being written, and for ever once one was cut off: what followed would be
    /// taken for the rest of it.
    broken: AtomicBool,
    desk: Mutex<Desk>,
}

/// What a server said to a packet with an identifier.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    /// When the read returned that completed it.
    pub arrived: MonoNanos,
    /// One for a message, one per filter for a subscription.
    pub verdicts: Vec<Verdict>,
}

/// Who waits for what.
#[derive(Debug, Default)]
struct Desk {
    last_id: u16,
    /// Absent once nothing will be answered any more.
    waiting: Option<HashMap<u16, oneshot::Sender<Answer>>>,
    /// Pings without their answer, in order; the keep-alive's are empty.
    pings: VecDeque<Bytes>,
}

/// Publishes what later steps send, to the topic of the step that opened the connection.
#[derive(Debug)]
pub(super) struct Publisher {
    /// The way.
    pub line: Arc<Line>,
    /// What is spoken.
    pub version: MqttVersion,
    /// Where to; absent when the definition names no topic.
    pub route: Option<Route>,
    /// Who sends.
    pub marks: Vec<(&'static str, String)>,
    /// The answer to the last sending, when it was not waited for.
    pub pending: Option<oneshot::Receiver<Answer>>,
    /// What the reader counts.
    pub tally: Arc<Tally>,
    /// Whether duplicates are a failure.
    pub refuse_duplicates: bool,
    /// Whether the farewell tells the server to keep nothing; version 5 only.
    pub forget: bool,
}

/// Where messages go, with everything filled in.
#[derive(Clone, Debug)]
pub(super) struct Route {
    /// The topic.
    pub topic: String,
    /// Quality of service.
    pub qos: Qos,
    /// Whether the server is to keep the last one.
    pub retain: bool,
}

// === impl Line ===

impl Line {
    /// The line over the writing half of a connection.
    pub(super) fn new(half: WriteHalf<Connection>) -> Self {
        let desk = Desk { waiting: Some(HashMap::new()), ..Desk::default() };
        Self { half: AsyncMutex::new(half), broken: AtomicBool::new(false), desk: Mutex::new(desk) }
    }

    /// Writes whole packets. Nothing more can be written once this was dropped or failed midway.
    pub(super) async fn write(&self, packets: &[u8]) -> io::Result<()> {
        let mut half = self.half.lock().await;
        if self.broken.swap(true, Ordering::Relaxed) {
            let words = "a packet before was cut off, so nothing can be sent any more";
            return Err(io::Error::new(io::ErrorKind::BrokenPipe, words));
        }
        half.write_all(packets).await?;
        half.flush().await?;
        self.broken.store(false, Ordering::Relaxed);
        Ok(())
    }

    /// A fresh packet identifier, and where the answer to it will be. It never comes, and the
    /// receiver says so, once the connection has ended.
    pub(super) fn ask(&self) -> (u16, oneshot::Receiver<Answer>) {
        let (sender, receiver) = oneshot::channel();
        let mut desk = self.desk.lock();
        // Steps ask one after another, so the identifiers cannot all be taken.
        desk.last_id = desk.last_id.checked_add(1).unwrap_or(1);
        let id = desk.last_id;
        if let Some(waiting) = &mut desk.waiting {
            waiting.insert(id, sender);
        }
        (id, receiver)
    }

    /// Passes an answer to who waits for it; one that nobody waits for has no effect.
    pub(super) fn answer(&self, id: u16, answer: Answer) {
        let sender = self.desk.lock().waiting.as_mut().and_then(|waiting| waiting.remove(&id));
        if let Some(sender) = sender {
            // Whoever asked may have stopped waiting.
            let _ = sender.send(answer);
        }
    }

    /// Sends a ping with what its answer stands for.
    pub(super) async fn ping(&self, payload: Bytes) -> Attempt<()> {
        let unanswered = {
            let mut desk = self.desk.lock();
            desk.pings.push_back(payload);
            desk.pings.len()
        };
        if unanswered > MAX_UNANSWERED_PINGS {
            return Err(failure(FailureReason::Closed, "the server answers no pings"));
        }
        self.write(&PINGREQ).await.map_err(|error| of_stream(&error, "pinging"))
    }

    /// A ping was answered: what that one stood for, unless it only kept the connection alive.
    pub(super) fn pong(&self) -> Option<Bytes> {
        self.desk.lock().pings.pop_front().filter(|payload| !payload.is_empty())
    }

    /// Nothing will be answered any more.
    pub(super) fn close(&self) {
        self.desk.lock().waiting = None;
    }
}

// === impl Publisher ===

impl Outlet for Publisher {
    fn send(&mut self, text: String) -> BoxFuture<'_, Attempt<()>> {
        self.publish(text).boxed()
    }

    fn confirmed(&mut self) -> BoxFuture<'_, Attempt<Option<Confirmation>>> {
        self.confirmation().boxed()
    }

    fn admit(&self, target: &Target, allowed: &[WriteTarget]) -> Attempt<()> {
        // Without a topic nothing is sent at all.
        let topic = self.route.as_ref().map(|route| &route.topic);
        topic.map_or(Ok(()), |topic| writes::admit_topic(target, topic, allowed))
    }

    fn ping(&mut self, payload: Bytes) -> BoxFuture<'_, Attempt<()>> {
        self.line.ping(payload).boxed()
    }

    fn hang_up(&mut self) -> BoxFuture<'_, ()> {
        let farewell = if self.forget { &DISCONNECT_AND_FORGET[..] } else { &DISCONNECT[..] };
        async move { drop(self.line.write(farewell).await) }.boxed()
    }

    fn findings(&self) -> Findings {
        let tally = &self.tally;
        let counted = |name: &str, count: &AtomicU64| {
            let count = count.load(Ordering::Relaxed);
            (count > 0).then(|| (name.to_owned(), count.into()))
        };
        let attributes = [
            counted("mqtt.duplicates", &tally.duplicates),
            counted("mqtt.illegal_duplicates", &tally.illegal_duplicates),
            counted("mqtt.retained_ignored", &tally.retained),
        ];
        let check = self.refuse_duplicates.then(|| {
            let found = tally.first_illegal.lock().clone();
            ("no message comes twice that must not".to_owned(), found.map_or(Ok(()), Err))
        });
        Findings { attributes: attributes.into_iter().flatten().collect(), check }
    }
}

impl Publisher {
    async fn publish(&mut self, message: String) -> Attempt<()> {
        let Some(Route { topic, qos, retain }) = &self.route else {
            let text = "the step that connected names no topic to publish to";
            return Err(failure(FailureReason::Local, text));
        };
        let (id, answer) = match qos {
            Qos::AtMostOnce => (0, None),
            Qos::AtLeastOnce | Qos::ExactlyOnce => {
                let (id, answer) = self.line.ask();
                (id, Some(answer))
            }
        };
        let publish = outgoing::Publish {
            topic,
            message: &message,
            qos: *qos,
            retain: *retain,
            id,
            marks: &self.marks,
        };
        let packet = outgoing::publish(self.version, publish)?;
        self.pending = answer;
        self.line.write(&packet).await.map_err(|error| of_stream(&error, "publishing"))
    }

    async fn confirmation(&mut self) -> Attempt<Option<Confirmation>> {
        let (Some(answer), Some(route)) = (self.pending.take(), &self.route) else {
            return Ok(None);
        };
        let answer = answer.await.map_err(|_| ended("before it confirmed the message"))?;
        let verdict = answer.verdicts.first();
        let refusal = verdict.filter(|verdict| verdict.refuses());
        Ok(Some(Confirmation {
            at: answer.arrived,
            status: verdict.map_or(0, |verdict| verdict.code.into()),
            refusal: refusal.map(|verdict| {
                format!("the server refuses the message to {}: {verdict}", route.topic)
            }),
        }))
    }
}

/// The failure of who waits for an answer when there will be none.
pub(super) fn ended(when: &str) -> Failure {
    failure(FailureReason::Closed, format!("the server ended the connection {when}"))
}
