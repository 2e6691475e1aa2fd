//! The task that reads: stamps, acknowledges, judges, and keeps the connection alive.
//!
//! All packets that one read completes are judged before any of them is put into the inbox, so that
//! a step which saw a message also sees that the same read brought it twice.

use super::super::connection::{Connection, Stamps};
use super::super::failure::{failure, of_stream};
use super::super::inbox::{InboxWriter, Received};
use super::incoming::{Delivery, Framer, Incoming};
use super::ledger::{Judgement, Ledger, Tally};
use super::line::{Answer, Line};
use super::outgoing::{Acknowledge, acknowledge};
use super::step::Qos;
use crate::base::clock::MonoNanos;
use crate::model::probe::{Failure, FailureReason};
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::io::{AsyncReadExt, ReadHalf};

/// Bytes of one read.
pub(super) const READ_BYTES: usize = 16 << 10;

/// An interval that is not waited for.
const NEVER: Duration = Duration::from_secs(86_400);

/// Reads until the connection ends.
#[derive(Debug)]
pub(super) struct Reader {
    /// The reading half.
    pub half: ReadHalf<Connection>,
    /// Cuts what is read; it may hold the beginning of a packet.
    pub framer: Framer,
    /// When reads returned.
    pub stamps: Arc<Stamps>,
    /// Where answers go.
    pub line: Arc<Line>,
    /// Where messages go.
    pub inbox: InboxWriter,
    /// What was delivered already.
    pub ledger: Ledger,
    /// What is counted.
    pub tally: Arc<Tally>,
    /// Whether retained messages count.
    pub accept_retained: bool,
    /// No pings without one.
    pub keep_alive: Option<Duration>,
}

/// What the packets of one read come to.
#[derive(Debug, Default)]
struct Batch {
    messages: Vec<Received>,
    replies: Vec<u8>,
    end: Option<Failure>,
}

// === impl Reader ===

impl Reader {
    /// Reads, beginning with packets that were read already.
    pub(super) async fn run(mut self, backlog: Vec<Incoming>) {
        let Failure { reason, message } = self.read(backlog).await;
        // Whoever waits for an answer finds out why none comes.
        self.inbox.end(reason, None, message);
        self.line.close();
    }

    /// Hands back why there is no more.
    async fn read(&mut self, backlog: Vec<Incoming>) -> Failure {
        if let Err(end) = self.settle(backlog).await {
            return end;
        }
        let mut buffer = vec![0; READ_BYTES];
        let half_of_it = self.keep_alive.map(|keep_alive| keep_alive / 2);
        let mut ticks = tokio::time::interval(half_of_it.unwrap_or(NEVER));
        ticks.reset();
        loop {
            let done = tokio::select! {
                read = self.half.read(&mut buffer) => match read {
                    Ok(0) => Err(failure(FailureReason::Closed, "the server closed the connection")),
                    Ok(length) => match self.framer.feed(buffer.get(..length).unwrap_or_default()) {
                        Ok(packets) => self.settle(packets).await,
                        Err(error) => Err(failure(FailureReason::Protocol, error.to_string())),
                    },
                    Err(error) => Err(of_stream(&error, "reading")),
                },
                _ = ticks.tick(), if half_of_it.is_some() => self.line.ping(Bytes::new()).await,
            };
            if let Err(end) = done {
                return end;
            }
        }
    }

    /// Does what packets ask for.
    async fn settle(&mut self, packets: Vec<Incoming>) -> Result<(), Failure> {
        let arrived = self.stamps.last_read();
        let mut batch = Batch::default();
        for packet in packets {
            self.take(packet, arrived, &mut batch);
            if batch.end.is_some() {
                break;
            }
        }
        batch.messages.into_iter().for_each(|message| self.inbox.push(message));
        if let Some(end) = batch.end {
            return Err(end);
        }
        if batch.replies.is_empty() {
            return Ok(());
        }
        let written = self.line.write(&batch.replies).await;
        written.map_err(|error| of_stream(&error, "acknowledging"))
    }

    fn take(&mut self, packet: Incoming, arrived: MonoNanos, batch: &mut Batch) {
        let mut reply = |kind, id| batch.replies.extend(acknowledge(kind, id));
        match packet {
            Incoming::Publish(delivery) => self.deliver(delivery, arrived, batch),
            Incoming::Suback { id, verdicts } => self.line.answer(id, Answer { arrived, verdicts }),
            Incoming::Recorded { id, verdict } if !verdict.refuses() => {
                reply(Acknowledge::Pubrel, id);
            }
            Incoming::Confirmed { id, verdict } | Incoming::Recorded { id, verdict } => {
                self.line.answer(id, Answer { arrived, verdicts: vec![verdict] });
            }
            Incoming::Released { id } => {
                self.ledger.release(id);
                reply(Acknowledge::Pubcomp, id);
            }
            Incoming::Pong => {
                if let Some(payload) = self.line.pong() {
                    self.inbox.pong(payload, arrived);
                }
            }
            Incoming::Disconnect(verdict) => {
                let text = format!("the server disconnected with {verdict}");
                batch.end = Some(failure(FailureReason::Closed, text));
            }
            Incoming::Connack(_) => {
                let text = "the server accepted the connection a second time";
                batch.end = Some(failure(FailureReason::Protocol, text));
            }
        }
    }

    fn deliver(&mut self, delivery: Delivery, arrived: MonoNanos, batch: &mut Batch) {
        let kind = match delivery.qos {
            Qos::AtMostOnce => None,
            Qos::AtLeastOnce => Some(Acknowledge::Puback),
            Qos::ExactlyOnce => Some(Acknowledge::Pubrec),
        };
        if let (Some(kind), Some(id)) = (kind, delivery.id) {
            batch.replies.extend(acknowledge(kind, id));
        }
        if delivery.retain && !self.accept_retained {
            self.tally.retained.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let judgement = self.ledger.judge(&delivery);
        self.tally.count(&delivery, judgement);
        if judgement != Judgement::Resent {
            let Delivery { topic, payload, .. } = delivery;
            batch.messages.push(Received { arrived, event: Some(topic), body: payload });
        }
    }
}
