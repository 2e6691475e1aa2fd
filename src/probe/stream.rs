//! Streams that a run holds open, and the messages that came over them.
//!
//! A reader task per stream stamps every message on arrival and puts it into an [`Inbox`], so that
//! a message that comes while another step is running keeps its true stamp. An inbox is bounded:
//! the oldest message makes way, and is counted. Messages that a step passes over stay for the
//! steps after it; the one that matches is taken out.

use super::deadline::{Deadline, Expired};
use super::dial::StepContext;
use super::failure::{Attempt, failure};
use super::limits;
use super::record::StepRecord;
use super::target::Target;
use super::writes;
use crate::base::clock::{Clock, MonoNanos};
use crate::model::probe::{FailureReason, Phase};
use bytes::Bytes;
use futures::FutureExt;
use futures::future::{BoxFuture, ready};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio_util::task::AbortOnDropHandle;

/// An inbox keeps no more messages than this.
const MAX_MESSAGES: usize = 4096;
/// An inbox keeps no more bytes than this.
const MAX_BYTES: usize = 4 << 20;
/// So long may it take to write a farewell; the answer is not waited for.
const FAREWELL: Duration = Duration::from_millis(50);
/// A single message or event may not be longer.
pub(super) const MAX_MESSAGE_BYTES: usize = 1 << 20;

/// A message of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Received {
    /// When the read returned that completed it.
    pub arrived: MonoNanos,
    /// The type of an SSE event, `message` when it has none; the topic of an MQTT message.
    pub event: Option<String>,
    /// Text or data.
    pub body: Bytes,
}

/// How a stream ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StreamEnd {
    /// When that was seen.
    pub at: MonoNanos,
    /// Closed, or broken in another way.
    pub reason: FailureReason,
    /// The close code of a WebSocket, when it sent one.
    pub code: Option<u16>,
    /// In words.
    pub words: String,
}

/// Messages that came and have not been taken, and how the stream stands.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    state: Mutex<State>,
    changed: Notify,
}

/// What an inbox knows.
#[derive(Debug, Default)]
pub(super) struct State {
    messages: VecDeque<(u64, Received)>,
    bytes: usize,
    /// How many messages ever came: the number of the next one.
    pub arrived: u64,
    /// How many made way unseen.
    pub dropped: u64,
    /// When the first message came.
    pub first: Option<MonoNanos>,
    /// When the last message came.
    pub last: Option<MonoNanos>,
    /// The last pong: its payload and arrival.
    pub pong: Option<(Bytes, MonoNanos)>,
    /// SSE: the last event id that the server gave, which a client shows when it comes back.
    pub event_id: Option<String>,
    /// SSE: how long a client should stay away before it comes back.
    pub retry: Option<Duration>,
    /// Set once the stream has ended.
    pub end: Option<StreamEnd>,
}

/// The reader's side of an inbox. Dropping it ends the stream, so that nobody waits for a reader
/// that is gone.
#[derive(Debug)]
pub(super) struct InboxWriter {
    inbox: Arc<Inbox>,
    clock: Clock,
}

/// What a peer said to a message that it received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Confirmation {
    /// When the read returned that completed it.
    pub at: MonoNanos,
    /// The code of the protocol.
    pub status: u16,
    /// Why it does not take the message, in words.
    pub refusal: Option<String>,
}

/// What a reader noticed of a stream besides its messages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Findings {
    /// Attributes of the step that opened the stream.
    pub attributes: Vec<(String, String)>,
    /// What must hold of the stream as a whole: its name, and what was found instead.
    pub check: Option<(String, Result<(), String>)>,
}

/// The sending half of a stream. Each protocol that can send has its own.
pub(super) trait Outlet: Debug + Send + Sync {
    /// Sends a text message; done when it is written.
    fn send(&mut self, text: String) -> BoxFuture<'_, Attempt<()>>;

    /// Waits until the peer has confirmed what was sent last; nothing where it does not confirm.
    fn confirmed(&mut self) -> BoxFuture<'_, Attempt<Option<Confirmation>>> {
        ready(Ok(None)).boxed()
    }

    /// What was noticed so far.
    fn findings(&self) -> Findings {
        Findings::default()
    }

    /// Asks the peer for a sign of life with this payload.
    fn ping(&mut self, payload: Bytes) -> BoxFuture<'_, Attempt<()>>;

    /// Says goodbye to a peer that has not done so; the answer is not waited for.
    fn hang_up(&mut self) -> BoxFuture<'_, ()>;
}

/// A stream that a step opened and that stays open to the end of the run.
#[derive(Debug)]
pub(super) struct OpenStream {
    /// The step that opened it.
    pub step: String,
    /// Which of the step's streams it is, from 1; 0 when the step opens one alone.
    pub receiver: u32,
    /// Where it leads.
    pub target: Target,
    /// The block that opened it.
    pub protocol: &'static str,
    /// When the request that opened it was sent.
    pub asked: MonoNanos,
    /// When it was open.
    pub opened: MonoNanos,
    /// When messages were sent over it, in order.
    pub sent: Vec<MonoNanos>,
    /// What came over it.
    pub inbox: Arc<Inbox>,
    /// While something is waited for, no gap between messages may be longer.
    pub max_gap: Option<Duration>,
    /// The close code with which the server must end it.
    pub close_code: Option<u16>,
    /// The way to send, where there is one.
    pub outlet: Option<Box<dyn Outlet>>,
    /// Reads until the stream is dropped.
    pub _reader: AbortOnDropHandle<()>,
}

// === impl Inbox ===

impl Inbox {
    /// An empty inbox and the side that fills it.
    pub(super) fn new(clock: &Clock) -> (Arc<Self>, InboxWriter) {
        let inbox = Arc::new(Self::default());
        let writer = InboxWriter { inbox: Arc::clone(&inbox), clock: clock.clone() };
        (inbox, writer)
    }

    /// Looks at the state now.
    pub(super) fn look<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.state.lock())
    }

    /// Looks at the state, now and after every change, until it yields something or the deadline
    /// passes. One task at a time may wait.
    pub(super) async fn until<T>(
        &self,
        deadline: &Deadline,
        mut look: impl FnMut(&mut State) -> Option<T>,
    ) -> Result<T, Expired> {
        loop {
            let expired = deadline.has_passed();
            if let Some(found) = look(&mut self.state.lock()) {
                return Ok(found);
            }
            if expired {
                return Err(Expired);
            }
            // Whether it changed or expired, the state is looked at once more.
            let _ = deadline.limit(self.changed.notified()).await;
        }
    }
}

// === impl State ===

impl State {
    /// Takes out the first message from number `from` on that matches, and moves `from` behind
    /// everything that was looked at.
    pub(super) fn take(
        &mut self,
        from: &mut u64,
        mut matches: impl FnMut(&Received) -> bool,
    ) -> Option<Received> {
        let found =
            self.messages.iter().position(|(number, message)| *number >= *from && matches(message));
        let taken = found.and_then(|at| self.messages.remove(at));
        *from = taken.as_ref().map_or(self.arrived, |(number, _)| number + 1);
        let (_, message) = taken?;
        self.bytes -= message.body.len();
        Some(message)
    }

    fn push(&mut self, message: Received) {
        self.first = self.first.or(Some(message.arrived));
        self.last = Some(message.arrived);
        self.bytes += message.body.len();
        self.messages.push_back((self.arrived, message));
        self.arrived += 1;
        while self.messages.len() > MAX_MESSAGES || self.bytes > MAX_BYTES {
            let Some((_, oldest)) = self.messages.pop_front() else { break };
            self.bytes -= oldest.body.len();
            self.dropped += 1;
        }
    }
}

// === impl OpenStream ===

impl OpenStream {
    /// When the run last sent anything over the stream before that instant. Nothing arrives before
    /// the request that opened it, so this is never later.
    pub(super) fn last_sent_before(&self, arrived: MonoNanos) -> MonoNanos {
        self.sent.iter().rev().copied().find(|at| *at <= arrived).unwrap_or(self.asked)
    }
}

/// Sends a text message, if it may go there; the step's sending is from just before the write.
pub(super) async fn send(
    text: String,
    stream: &mut OpenStream,
    with: StepContext<'_>,
    record: &mut StepRecord,
) -> Attempt<MonoNanos> {
    writes::admit(&stream.target, with.writes)?;
    limits::pace(&stream.target, 1, with, record).await?;
    let from = record.now();
    write(stream, with, "sending over", |outlet| outlet.send(text)).await?;
    record.sent = Some(from);
    stream.sent.push(from);
    let written = record.now();
    record.phase(Phase::Send, from, written);
    let confirmed = write(stream, with, "waiting for confirmation by", |out| out.confirmed());
    if let Some(Confirmation { at, status, refusal }) = confirmed.await? {
        record.phase(Phase::Wait, written, at);
        record.status(status);
        if let Some(words) = refusal {
            return Err(failure(FailureReason::Status, words));
        }
    }
    Ok(from)
}

/// Sends a ping and waits for its pong. Where nothing else is expected, the round trip is the value.
pub(super) async fn ping(
    is_value: bool,
    stream: &mut OpenStream,
    with: StepContext<'_>,
    record: &mut StepRecord,
) -> Attempt<()> {
    let payload = Bytes::copy_from_slice(&rand::random::<[u8; 8]>());
    let from = record.now();
    write(stream, with, "sending over", |outlet| outlet.ping(payload.clone())).await?;
    let answered = stream.inbox.until(with.deadline, |state| {
        let pong = state.pong.take().filter(|(answer, _)| *answer == payload);
        let ended = state.end.clone().map(|end| Err(failure(end.reason, end.words)));
        pong.map(|(_, arrived)| Ok(arrived)).or(ended)
    });
    let waiting = || with.deadline.failure(format_args!("waiting for a pong of {}", stream.target));
    let arrived = answered.await.unwrap_or_else(|_| Err(waiting()))?;
    if is_value {
        record.message(from, arrived);
    } else {
        record.phase(Phase::Wait, from, arrived);
    }
    Ok(())
}

/// Says goodbye to a server that has not done so; neither its answer nor an error matters.
pub(super) async fn hang_up(stream: &mut OpenStream) {
    let open = stream.inbox.look(|state| state.end.is_none());
    if let Some(outlet) = stream.outlet.as_mut().filter(|_| open) {
        drop(tokio::time::timeout(FAREWELL, outlet.hang_up()).await);
    }
}

async fn write<T>(
    stream: &mut OpenStream,
    with: StepContext<'_>,
    doing: &str,
    write: impl FnOnce(&mut dyn Outlet) -> BoxFuture<'_, Attempt<T>>,
) -> Attempt<T> {
    let OpenStream { outlet, target, inbox, .. } = stream;
    let Some(outlet) = outlet else {
        return Err(failure(FailureReason::Local, format!("nothing can be sent over {target}")));
    };
    let doing = format!("{doing} {target}");
    with.deadline.run(&doing, write(outlet.as_mut())).await?.map_err(|error| {
        // The reader knows better why, when it has seen the end already.
        inbox.look(|state| state.end.clone()).map_or(error, |end| failure(end.reason, end.words))
    })
}

// === impl InboxWriter ===

impl InboxWriter {
    /// A message came.
    pub(super) fn push(&self, message: Received) {
        self.change(|state| state.push(message));
    }

    /// A pong came.
    pub(super) fn pong(&self, payload: Bytes, arrived: MonoNanos) {
        self.change(|state| state.pong = Some((payload, arrived)));
    }

    /// SSE: what a client should show and heed when it comes back.
    pub(super) fn resume_by(&self, event_id: Option<String>, retry: Option<Duration>) {
        self.change(|state| {
            state.event_id = event_id.or_else(|| state.event_id.take());
            state.retry = retry.or(state.retry);
        });
    }

    /// The stream ended. The first word on that counts.
    pub(super) fn end(&self, reason: FailureReason, code: Option<u16>, words: String) {
        let at = self.clock.monotonic();
        self.change(|state| {
            state.end.get_or_insert(StreamEnd { at, reason, code, words });
        });
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.inbox.state.lock());
        self.inbox.changed.notify_one();
    }
}

impl Drop for InboxWriter {
    fn drop(&mut self) {
        self.end(FailureReason::Closed, None, "the stream ended".to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::UnixNanos;

    fn message(text: &str) -> Received {
        let body = Bytes::copy_from_slice(text.as_bytes());
        Received { arrived: MonoNanos(1), event: None, body }
    }

    /// Guarantees that messages passed over stay, and that a matching one is taken once.
    #[test]
    fn what_does_not_match_stays() {
        let mut state = State::default();
        ["a", "b", "a"].iter().for_each(|text| state.push(message(text)));
        let (mut early, mut late) = (0, 0);
        let mut take = |from: &mut u64, text: &str| {
            let found = state.take(from, |m| m.body == text.as_bytes());
            found.is_some()
        };
        assert!(take(&mut early, "b"), "the second");
        assert!(take(&mut late, "a"), "the first, which was passed over");
        assert!(take(&mut late, "a"), "the third");
        assert!(!take(&mut late, "a"));
        assert_eq!((state.bytes, late), (0, 3));
    }

    /// Guarantees the bound, by number and by size, and that what made way is counted.
    #[test]
    fn an_inbox_is_bounded() {
        let mut state = State::default();
        (0..MAX_MESSAGES + 10).for_each(|_| state.push(message("x")));
        assert_eq!((state.messages.len(), state.dropped), (MAX_MESSAGES, 10));
        let large = "x".repeat(MAX_BYTES - 1);
        state.push(message(&large));
        assert_eq!((state.messages.len(), state.bytes), (2, MAX_BYTES));
    }

    /// Guarantees that a reader that disappears is seen as the end of its stream.
    #[tokio::test]
    async fn a_reader_that_is_gone_ends_the_stream() {
        let clock = Clock::manual(UnixNanos(0));
        let (inbox, writer) = Inbox::new(&clock);
        writer.end(FailureReason::Closed, Some(1000), "bye".to_owned());
        drop(writer);
        let deadline = Deadline::new(&clock, MonoNanos(0), Duration::from_secs(60));
        let end = inbox.until(&deadline, |state| state.end.clone()).await.expect("ended");
        assert_eq!((end.code, end.words.as_str()), (Some(1000), "bye"));
    }
}
