//! One direction of a connection while it is used: what one side puts in, the other takes out when
//! the link says that it arrives.
//!
//! Both sides poll. What is in flight is bounded: a side that sends more waits, as it would for the
//! window of a receiver. Timers of the runtime fire at whole milliseconds, late by one on average, so
//! what arrives within [`EARLY`] is handed over at once: deliveries are off either way instead, and
//! their median is right.

use super::link::{Link, SEGMENT_BYTES};
use super::tally::{Direction, Tally};
use crate::base::clock::{Clock, MonoNanos};
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;
use tokio::time::Sleep;

/// Deliveries may be so much too early.
const EARLY: Duration = Duration::from_millis(1);
/// No more bytes are in flight,
const MAX_IN_FLIGHT: usize = 4 << 20;
/// each packet counted with so many more: empty ones need memory too.
const PACKET_OVERHEAD: usize = 100;
/// So many segments after it tell the sender by their acknowledgements that one was lost.
const FOLLOWING: usize = 3;

/// One direction of a connection.
#[derive(Debug)]
pub(super) struct Lane {
    direction: Direction,
    clock: Clock,
    tally: Arc<Tally>,
    state: Mutex<State>,
}

/// What comes out of a lane.
#[derive(Debug)]
pub(super) enum Taken {
    /// A part of the stream, or a datagram.
    Bytes(Bytes),
    /// Nothing will come any more: the sender has ended it, or an error has.
    End(io::Result<()>),
}

/// Waits for instants, one at a time.
#[derive(Debug, Default)]
pub(super) struct Timer(Option<Pin<Box<Sleep>>>);

#[derive(Debug)]
struct State {
    link: Link,
    flying: VecDeque<Flying>,
    /// In flight, overhead included.
    bytes: usize,
    /// When the end arrives, and whether it is an error.
    end: Option<(MonoNanos, io::Result<()>)>,
    /// Why the receiver takes nothing any more.
    refused: Option<io::Error>,
    sender: Option<Waker>,
    receiver: Option<Waker>,
    /// The receiver found nothing when it looked last.
    receiver_waits: bool,
    /// When the receiver last woke from waiting.
    woken: MonoNanos,
}

#[derive(Debug)]
struct Flying {
    entered: MonoNanos,
    arrives: MonoNanos,
    body: Bytes,
}

// === impl Lane ===

impl Lane {
    /// A lane over that link, with nothing in it.
    pub(super) fn new(direction: Direction, link: Link, clock: Clock, tally: Arc<Tally>) -> Self {
        let state = State {
            link,
            flying: VecDeque::new(),
            bytes: 0,
            end: None,
            refused: None,
            sender: None,
            receiver: None,
            receiver_waits: false,
            woken: MonoNanos(0),
        };
        Self { direction, clock, tally, state: Mutex::new(state) }
    }

    /// Sends the beginning of `bytes`, as much as there is room for; says how much that is. An error
    /// when the receiver cannot go on.
    pub(super) fn poll_send(
        &self,
        cx: &mut Context<'_>,
        timer: &mut Timer,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let now = self.clock.monotonic();
        let mut state = self.state.lock();
        if let Some(error) = &state.refused {
            return Poll::Ready(Err(copy(error)));
        }
        if state.bytes >= MAX_IN_FLIGHT {
            state.sender = Some(cx.waker().clone());
            return Poll::Pending;
        }
        if let Some(at) = state.link.full_until(now) {
            state.sender = Some(cx.waker().clone());
            ready!(timer.poll(cx, &self.clock, now, at));
        }
        let mut sent = 0;
        for body in bytes.chunks(SEGMENT_BYTES) {
            let is_full = state.bytes >= MAX_IN_FLIGHT || state.link.full_until(now).is_some();
            if sent > 0 && is_full {
                break;
            }
            let is_followed = bytes.len() - sent > body.len() + (FOLLOWING - 1) * SEGMENT_BYTES;
            let passage = state.link.segment(now, body.len(), is_followed);
            self.tally.sent(&passage);
            state.put(now, passage.arrives, Bytes::copy_from_slice(body));
            sent += body.len();
        }
        wake(state.receiver.take());
        Poll::Ready(Ok(sent))
    }

    /// Sends a datagram, which may be lost.
    pub(super) fn send_datagram(&self, body: &[u8]) {
        let now = self.clock.monotonic();
        let mut state = self.state.lock();
        let has_room = state.bytes + body.len() <= MAX_IN_FLIGHT;
        match state.link.datagram(now, body.len()).filter(|_| has_room) {
            Some(passage) => {
                self.tally.sent(&passage);
                state.put(now, passage.arrives, Bytes::copy_from_slice(body));
                wake(state.receiver.take());
            }
            None => self.tally.lost(),
        }
    }

    /// Sends the end, which arrives after everything that was sent before. The first counts.
    pub(super) fn end(&self, with: io::Result<()>) {
        let now = self.clock.monotonic();
        let mut state = self.state.lock();
        if state.end.is_none() {
            let arrives = state.link.segment(now, 0, false).arrives;
            let last = state.flying.back().map_or(arrives, |last| last.arrives.max(arrives));
            state.end = Some((last, with));
            wake(state.receiver.take());
        }
    }

    /// The receiver cannot take anything any more.
    pub(super) fn refuse(&self, error: io::Error) {
        let mut state = self.state.lock();
        state.refused = Some(error);
        wake(state.sender.take());
    }

    /// Whether there is something to take without waiting.
    pub(super) fn has_arrived(&self, now: MonoNanos) -> bool {
        let state = self.state.lock();
        state.flying.front().is_some_and(|packet| packet.arrives <= now.plus(EARLY))
    }

    /// Takes what has arrived by `now`: at most `limit` bytes of the next packet, or the end.
    pub(super) fn poll_take(
        &self,
        cx: &mut Context<'_>,
        timer: &mut Timer,
        now: MonoNanos,
        limit: usize,
    ) -> Poll<Taken> {
        let mut state = self.state.lock();
        let next = state.flying.front().map(|packet| packet.arrives);
        let next = next.or(state.end.as_ref().map(|(arrives, _)| *arrives));
        let arrived = match next {
            Some(at) => timer.poll(cx, &self.clock, now, at),
            None => Poll::Pending,
        };
        if arrived.is_pending() {
            state.receiver = Some(cx.waker().clone());
            state.receiver_waits = true;
            return Poll::Pending;
        }
        if std::mem::take(&mut state.receiver_waits) {
            state.woken = now;
        }
        let Some(packet) = state.flying.front_mut().filter(|packet| packet.body.len() > limit)
        else {
            return Poll::Ready(self.take_whole(&mut state, now));
        };
        let body = packet.body.split_to(limit);
        state.bytes -= body.len();
        wake(state.sender.take());
        Poll::Ready(Taken::Bytes(body))
    }

    fn take_whole(&self, state: &mut State, now: MonoNanos) -> Taken {
        let Some(Flying { entered, arrives, body }) = state.flying.pop_front() else {
            let with =
                state.end.as_ref().map_or(Ok(()), |(_, with)| with.as_ref().copied().map_err(copy));
            return Taken::End(with);
        };
        // Where the receiver came late, that is not the network's doing.
        let delivered = if state.woken == now { now } else { arrives };
        self.tally.delivered(self.direction, delivered.since(entered));
        state.bytes -= body.len() + PACKET_OVERHEAD;
        wake(state.sender.take());
        Taken::Bytes(body)
    }
}

// === impl State ===

impl State {
    /// Adds a packet before those that arrive later: datagrams may overtake each other.
    fn put(&mut self, entered: MonoNanos, arrives: MonoNanos, body: Bytes) {
        let place = self.flying.partition_point(|other| other.arrives <= arrives);
        self.bytes += body.len() + PACKET_OVERHEAD;
        self.flying.insert(place, Flying { entered, arrives, body });
    }
}

// === impl Timer ===

impl Timer {
    /// Ready once it is `at`, or nearly.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        clock: &Clock,
        now: MonoNanos,
        at: MonoNanos,
    ) -> Poll<()> {
        if at <= now.plus(EARLY) {
            return Poll::Ready(());
        }
        let early = MonoNanos(at.0.saturating_sub(crate::base::clock::nanos(EARLY)));
        // A manual clock has no instants; nothing is waited for on it.
        let Some(deadline) = clock.instant_of(early) else { return Poll::Ready(()) };
        let sleep =
            self.0.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline.into())));
        if sleep.deadline() != deadline.into() {
            sleep.as_mut().reset(deadline.into());
        }
        sleep.as_mut().poll(cx)
    }
}

/// Errors of the operating system cannot be cloned.
fn copy(error: &io::Error) -> io::Error {
    error.raw_os_error().map_or_else(|| error.kind().into(), io::Error::from_raw_os_error)
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}
