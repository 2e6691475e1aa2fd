//! What came over a stream and has not been taken yet.
//!
//! A reader task per stream stamps every message on arrival and puts it into an [`Inbox`], so that
//! a message that comes while another step is running keeps its true stamp. An inbox is bounded:
//! the oldest message makes way, and is counted. Messages that a step passes over stay for the
//! steps after it; the one that matches is taken out. The streams themselves are in `stream`.

use super::deadline::{Deadline, Expired};
use super::stamps::Stamps;
use crate::base::clock::{Clock, MonoNanos};
use crate::model::probe::FailureReason;
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// An inbox keeps no more messages than this.
const MAX_MESSAGES: usize = 4096;
/// An inbox keeps no more bytes than this, but for its newest message.
const MAX_BYTES: usize = 4 << 20;
/// The inboxes of the streams that one step opens keep no more bytes than this together.
const MAX_BYTES_OF_STEP: usize = 256 << 20;
/// However many they are, each keeps so many.
const MIN_BYTES: usize = 16 << 10;
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
    /// When each of them came, first ones first.
    pub stamps: Stamps,
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

    /// Changes the state from outside; nobody who waits is told.
    pub(super) fn alter<T>(&self, alter: impl FnOnce(&mut State) -> T) -> T {
        alter(&mut self.state.lock())
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
            stamps: Stamps::default(),
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
        self.stamps.matched(number);
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
    pub(super) fn follow(&mut self, before: Self) -> u64 {
        let boundary = before.arrived;
        let own = std::mem::replace(&mut self.messages, before.messages);
        self.messages.extend(own.into_iter().map(|(number, m)| (number + boundary, m)));
        self.arrived += boundary;
        self.dropped += before.dropped;
        let own = std::mem::replace(&mut self.stamps, before.stamps);
        self.stamps.follow(own);
        self.bytes += before.bytes;
        self.taken = before.taken;
        self.first = before.first.or(self.first);
        self.last = self.last.or(before.last);
        self.event_id = self.event_id.take().or(before.event_id);
        self.retry = self.retry.or(before.retry);
        self.make_room();
        boundary
    }

    /// Begins anew for another run: what came before is not for it. Hands back the longest time between
    /// two messages since the last beginning.
    pub(super) fn begin_anew(&mut self) -> Duration {
        self.messages.clear();
        (self.bytes, self.taken) = (0, None);
        self.stamps = Stamps::beginning_at(self.arrived);
        std::mem::take(&mut self.longest_gap)
    }

    fn push(&mut self, message: Received) {
        self.first = self.first.or(Some(message.arrived));
        let gap = self.last.map_or(Duration::ZERO, |last| message.arrived.since(last));
        self.longest_gap = self.longest_gap.max(gap);
        self.last = Some(message.arrived);
        self.bytes += message.body.len();
        self.stamps.push(self.arrived, message.arrived, message.body.len());
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
