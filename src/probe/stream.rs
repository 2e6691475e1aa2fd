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
use super::link::{Cut, Link};
use super::record::StepRecord;
use super::target::Target;
use super::writes::{self, WriteTarget};
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
/// An inbox keeps no more bytes than this, but for its newest message.
const MAX_BYTES: usize = 4 << 20;
/// The inboxes of the streams that one step opens keep no more bytes than this together.
const MAX_BYTES_OF_STEP: usize = 256 << 20;
/// However many they are, each keeps so many.
const MIN_BYTES: usize = 16 << 10;
/// So long may it take to write a farewell; the answer is not waited for.
pub(super) const FAREWELL: Duration = Duration::from_millis(50);
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
#[derive(Debug)]
pub(super) struct State {
    messages: VecDeque<(u64, Received)>,
    bytes: usize,
    /// No more bytes are kept.
    max_bytes: usize,
    /// The newest message that was taken out.
    taken: Option<(u64, Received)>,
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
    /// The longest time between two messages.
    pub longest_gap: Duration,
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

    /// Lets a write over the stream to `target` pass or refuses it.
    fn admit(&self, target: &Target, allowed: &[WriteTarget]) -> Attempt<()> {
        writes::admit(target, allowed)
    }

    /// Waits until the peer has confirmed what was sent last; nothing where it does not confirm.
    fn confirmed(&mut self) -> BoxFuture<'_, Attempt<Option<Confirmation>>> {
        ready(Ok(None)).boxed()
    }

    /// What was noticed so far.
    fn findings(&self) -> Findings {
        Findings::default()
    }

    /// The same, by one who knows when the run sent its messages over any of its streams, in order.
    fn findings_beside(&self, _sent: &[MonoNanos]) -> Findings {
        self.findings()
    }

    /// Asks the peer for a sign of life with this payload.
    fn ping(&mut self, payload: Bytes) -> BoxFuture<'_, Attempt<()>>;

    /// Ends the stream with a close code, where the protocol has them, and otherwise without.
    fn close_with(&mut self, _code: u16) -> BoxFuture<'_, ()> {
        self.hang_up()
    }

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
    pub reader: AbortOnDropHandle<()>,
    /// Under its connection, where that can be taken away; set by who opened it for a step.
    pub link: Option<Arc<Link>>,
    /// Connections that fell silent under it: to the other end they are open to the end of the run.
    pub silent: Vec<Silent>,
}

/// A connection that nobody listens to any more, but that is not closed either.
#[derive(Debug)]
pub(super) struct Silent {
    _outlet: Option<Box<dyn Outlet>>,
    _reader: AbortOnDropHandle<()>,
}

// === impl Findings ===

impl Findings {
    /// Takes up what was noticed of another stream of the same step: numbers are added up, and one
    /// stream of which something does not hold is enough.
    pub(super) fn add(&mut self, other: Self) {
        for (name, value) in other.attributes {
            let Some((_, sum)) = self.attributes.iter_mut().find(|(known, _)| *known == name)
            else {
                self.attributes.push((name, value));
                continue;
            };
            if let (Ok(one), Ok(two)) = (sum.parse::<u64>(), value.parse::<u64>()) {
                *sum = one.saturating_add(two).to_string();
            }
        }
        if !matches!(self.check, Some((_, Err(_)))) {
            self.check = other.check.or(self.check.take());
        }
    }
}

// === impl Inbox ===

impl Inbox {
    /// An empty inbox and the side that fills it.
    pub(super) fn new(clock: &Clock) -> (Arc<Self>, InboxWriter) {
        let inbox = Arc::new(Self::default());
        let writer = InboxWriter { inbox: Arc::clone(&inbox), clock: clock.clone() };
        (inbox, writer)
    }

    /// Keeps its share of what the inboxes of so many streams may keep together.
    pub(super) fn share(&self, streams: u32) {
        let share = MAX_BYTES_OF_STEP / (streams.max(1) as usize);
        let mut state = self.state.lock();
        state.max_bytes = share.clamp(MIN_BYTES, MAX_BYTES);
        state.make_room();
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

impl Default for State {
    fn default() -> Self {
        Self {
            messages: VecDeque::new(),
            bytes: 0,
            max_bytes: MAX_BYTES,
            taken: None,
            arrived: 0,
            dropped: 0,
            first: None,
            last: None,
            longest_gap: Duration::ZERO,
            event_id: None,
            retry: None,
            pong: None,
            end: None,
        }
    }
}

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
        let (number, message) = taken?;
        self.bytes -= message.body.len();
        if self.taken.as_ref().is_none_or(|(known, _)| *known <= number) {
            self.taken = Some((number, message.clone()));
        }
        Some(message)
    }

    /// The messages from number `from` on that have not been taken, oldest first.
    pub(super) fn since(&self, from: u64) -> impl DoubleEndedIterator<Item = &Received> {
        let messages = self.messages.iter();
        messages.filter(move |(number, _)| *number >= from).map(|(_, message)| message)
    }

    /// What the newest message says that says anything, taken messages included as far as the newest of
    /// them is known.
    pub(super) fn newest<T>(&self, read: impl Fn(&Received) -> Option<T>) -> Option<T> {
        let newest = self.messages.iter().rev().find_map(|(number, m)| Some((*number, read(m)?)));
        let taken = self.taken.as_ref().and_then(|(number, m)| Some((*number, read(m)?)));
        newest.into_iter().chain(taken).max_by_key(|(number, _)| *number).map(|(_, found)| found)
    }

    /// Puts what came over the connection before in front of what came over this one. Hands back the
    /// number of the first message of this one.
    fn follow(&mut self, before: Self) -> u64 {
        let boundary = before.arrived;
        let own = std::mem::replace(&mut self.messages, before.messages);
        self.messages.extend(own.into_iter().map(|(number, m)| (number + boundary, m)));
        self.arrived += boundary;
        self.dropped += before.dropped;
        self.bytes += before.bytes;
        self.taken = before.taken;
        self.first = before.first.or(self.first);
        self.last = self.last.or(before.last);
        self.event_id = self.event_id.take().or(before.event_id);
        self.retry = self.retry.or(before.retry);
        self.make_room();
        boundary
    }

    fn push(&mut self, message: Received) {
        self.first = self.first.or(Some(message.arrived));
        let gap = self.last.map_or(Duration::ZERO, |last| message.arrived.since(last));
        self.longest_gap = self.longest_gap.max(gap);
        self.last = Some(message.arrived);
        self.bytes += message.body.len();
        self.messages.push_back((self.arrived, message));
        self.arrived += 1;
        self.make_room();
    }

    fn make_room(&mut self) {
        let is_over = |state: &Self| {
            state.messages.len() > MAX_MESSAGES
                || (state.bytes > state.max_bytes && state.messages.len() > 1)
        };
        while is_over(self) {
            let Some((_, oldest)) = self.messages.pop_front() else { break };
            self.bytes -= oldest.body.len();
            self.dropped += 1;
        }
    }
}

// === impl OpenStream ===

impl OpenStream {
    /// Goes on over a connection that was opened in its place. Hands back the number of the first
    /// message that came over that one.
    pub(super) fn resume_over(&mut self, next: Self) -> u64 {
        let before = std::mem::take(&mut *self.inbox.state.lock());
        let boundary = next.inbox.state.lock().follow(before);
        let left = std::mem::replace(self, next);
        let Self { step, receiver, mut sent, close_code, max_gap, mut silent, .. } = left;
        let fell_silent = left.link.is_some_and(|link| link.cut() == Some(Cut::Silent));
        if fell_silent {
            silent.push(Silent { _outlet: left.outlet, _reader: left.reader });
        }
        sent.append(&mut self.sent);
        (self.step, self.receiver, self.sent, self.silent) = (step, receiver, sent, silent);
        (self.close_code, self.max_gap) = (close_code, max_gap);
        boundary
    }

    /// Begins anew for another run: what came before is not for it. Hands back how many messages came
    /// since the last beginning, and the longest time between two.
    pub(super) fn begin_anew(&mut self, now: MonoNanos, already: u64) -> (u64, Duration) {
        self.asked = now;
        self.sent.clear();
        let mut state = self.inbox.state.lock();
        state.messages.clear();
        (state.bytes, state.taken) = (0, None);
        let gap = std::mem::take(&mut state.longest_gap);
        (state.arrived.saturating_sub(already), gap)
    }

    /// Gives up the connection: the socket is closed by the time the reader is gone.
    pub(super) fn abandon(&mut self) {
        self.outlet = None;
        self.reader.abort();
    }

    /// When the run last sent anything over the stream before that instant. Nothing arrives before
    /// the request that opened it, so this is never later.
    pub(super) fn last_sent_before(&self, arrived: MonoNanos) -> MonoNanos {
        self.sent.iter().rev().copied().find(|at| *at <= arrived).unwrap_or(self.asked)
    }
}

/// A message that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sending {
    /// Just before it was written.
    pub from: MonoNanos,
    /// Once it was.
    pub written: MonoNanos,
    /// When the peer had confirmed it, where it does.
    pub confirmed: Option<MonoNanos>,
}

/// Sends a text message, if it may go there; the step's sending is from just before the write.
pub(super) async fn send(
    text: String,
    stream: &mut OpenStream,
    with: StepContext<'_>,
    record: &mut StepRecord,
) -> Attempt<MonoNanos> {
    let Sending { from, written, confirmed } = transmit(text, stream, with, record).await?;
    record.phase(Phase::Send, from, written);
    if let Some(at) = confirmed {
        record.phase(Phase::Wait, written, at);
    }
    Ok(from)
}

/// [`send`] for those who record its phases themselves.
pub(super) async fn transmit(
    text: String,
    stream: &mut OpenStream,
    with: StepContext<'_>,
    record: &mut StepRecord,
) -> Attempt<Sending> {
    match &stream.outlet {
        Some(outlet) => outlet.admit(&stream.target, with.writes)?,
        None => writes::admit(&stream.target, with.writes)?,
    }
    limits::pace(&stream.target, 1, with, record).await?;
    let from = record.now();
    write(stream, with.deadline, "sending over", |outlet| outlet.send(text)).await?;
    record.sent = Some(from);
    stream.sent.push(from);
    let written = record.now();
    let confirmed =
        write(stream, with.deadline, "waiting for confirmation by", |out| out.confirmed());
    let confirmation = confirmed.await?;
    let confirmed = confirmation.as_ref().map(|confirmation| confirmation.at);
    if let Some(Confirmation { status, refusal, .. }) = confirmation {
        record.status(status);
        if let Some(words) = refusal {
            return Err(failure(FailureReason::Status, words));
        }
    }
    Ok(Sending { from, written, confirmed })
}

/// Sends a ping whose answer is not waited for here.
pub(super) async fn call(
    payload: Bytes,
    stream: &mut OpenStream,
    deadline: &Deadline,
) -> Attempt<()> {
    write(stream, deadline, "sending over", |outlet| outlet.ping(payload)).await
}

/// Ends the stream with a close code; the answer is not waited for.
pub(super) async fn close(
    code: u16,
    stream: &mut OpenStream,
    with: StepContext<'_>,
) -> Attempt<()> {
    write(stream, with.deadline, "closing", |outlet| outlet.close_with(code).map(Ok).boxed()).await
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
    write(stream, with.deadline, "sending over", |outlet| outlet.ping(payload.clone())).await?;
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
    deadline: &Deadline,
    doing: &str,
    write: impl FnOnce(&mut dyn Outlet) -> BoxFuture<'_, Attempt<T>>,
) -> Attempt<T> {
    let OpenStream { outlet, target, inbox, .. } = stream;
    let Some(outlet) = outlet else {
        return Err(failure(FailureReason::Local, format!("nothing can be sent over {target}")));
    };
    let doing = format!("{doing} {target}");
    deadline.run(&doing, write(outlet.as_mut())).await?.map_err(|error| {
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
        state.max_bytes = MIN_BYTES;
        state.push(message(&large));
        assert_eq!(state.messages.len(), 1, "the newest stays, whatever its size");
    }

    /// Guarantees that the findings of many streams of a step stay as few as those of one.
    #[test]
    fn findings_are_added_up() {
        let of = |count: &str, check: Result<(), String>| Findings {
            attributes: vec![("mqtt.duplicates".to_owned(), count.to_owned())],
            check: Some(("none comes twice".to_owned(), check)),
        };
        let mut sum = of("1", Ok(()));
        sum.add(of("2", Err("one".to_owned())));
        sum.add(of("40", Ok(())));
        sum.add(of("0", Err("two".to_owned())));
        assert_eq!(sum, of("43", Err("one".to_owned())));
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
