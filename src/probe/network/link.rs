//! One direction of a network: when what enters it comes out. No I/O and no clock: time is an
//! argument, in whole nanoseconds, and chance follows from a seed.
//!
//! A packet waits for those before it, takes its time at the rate, then half a round trip and, in
//! rough moments, some more. A stream keeps its order and loses nothing: what is lost comes later,
//! as TCP would have sent it again, and what follows waits for it. A datagram that is lost is lost.
//! Which packets are lost depends on the seed and their number alone, not on the time.
//!
//! Not part of it: congestion control (a stream is as fast as the link from its first packet on),
//! headers (rates are of payload), and other connections (each has a link of its own).

use super::dice::Dice;
use super::profile::Bursts;
use super::weather::Weather;
use crate::base::clock::MonoNanos;
use std::sync::Arc;
use std::time::Duration;

/// The payload of one packet of a stream: what fits into an Ethernet frame, less what tunnels of
/// mobile networks need.
pub(super) const SEGMENT_BYTES: usize = 1_400;

/// The shortest wait for an acknowledgement before a segment is sent again, on top of the round
/// trip: `TCP_RTO_MIN` of Linux.
const MIN_RETRANSMISSION: Duration = Duration::from_millis(200);
/// A segment is sent again so often: `net.ipv4.tcp_retries2` of Linux.
const MAX_RETRANSMISSIONS: u32 = 15;

/// One direction at rest.
#[derive(Clone, Copy, Debug)]
pub(super) struct Way {
    /// Payload, bits per second.
    pub bits: u64,
    /// From end to end.
    pub delay: Duration,
    /// More, at most, in rough moments.
    pub jitter: Duration,
    /// Packets lost, of a million.
    pub loss_ppm: u32,
    /// Bursts of loss.
    pub bursts: Option<Bursts>,
    /// The longest queue.
    pub queue: Duration,
    /// Whether the traffic of others stands in that queue.
    pub is_shared: bool,
    /// There and back, for what must be sent again.
    pub round_trip: Duration,
}

/// One direction of a connection.
#[derive(Clone, Debug)]
pub(super) struct Link {
    way: Way,
    weather: Arc<Weather>,
    losses: Dice,
    jitter: Dice,
    is_burst: bool,
    /// When the last packet has left.
    free_at: MonoNanos,
    /// When the last segment of the stream arrives.
    last: MonoNanos,
}

/// A packet on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Passage {
    /// When it arrives.
    pub arrives: MonoNanos,
    /// How long it waited for the packets before it.
    pub queued: Duration,
    /// How often it was lost on the way.
    pub lost: u32,
}

// === impl Link ===

impl Link {
    /// A link at rest.
    pub(super) fn new(way: Way, weather: Arc<Weather>, seed: u64) -> Self {
        Self {
            way,
            weather,
            losses: Dice::new(seed, 1),
            jitter: Dice::new(seed, 2),
            is_burst: false,
            free_at: MonoNanos(0),
            last: MonoNanos(0),
        }
    }

    /// From when on a stream may send its next segment, if not now: its queue is full until then.
    pub(super) fn full_until(&self, now: MonoNanos) -> Option<MonoNanos> {
        let queue = Duration::from_nanos(self.others()).max(self.way.queue);
        (self.free_at.since(now) > queue).then(|| MonoNanos(self.free_at.0 - ns(queue)))
    }

    /// Sends a segment of a stream. Where enough of them follow, the peer's acknowledgements tell of
    /// a loss within a round trip; otherwise the sender waits for its timer.
    pub(super) fn segment(&mut self, now: MonoNanos, bytes: usize, followed: bool) -> Passage {
        let from = self.turn(now);
        let mut left = from.plus(self.transmission(bytes));
        self.free_at = left;
        let mut timer = self.way.round_trip + MIN_RETRANSMISSION;
        let mut lost = 0;
        while lost < MAX_RETRANSMISSIONS {
            let (by_chance, is_cut) = (self.loses(), self.weather.is_cut(left));
            if !by_chance && !is_cut {
                break;
            }
            let quick = followed && lost == 0 && !is_cut;
            left =
                self.weather.sendable(left.plus(if quick { self.way.round_trip } else { timer }));
            timer = if quick { timer } else { timer * 2 };
            lost += 1;
            self.free_at = self.free_at.plus(self.transmission(bytes));
        }
        let arrives = self.arrival(left).max(self.last);
        self.last = arrives;
        Passage { arrives, queued: from.since(now), lost }
    }

    /// Forgets that packets stand in line since `before`: they were never sent. Chance goes on.
    pub(super) fn rewind(&mut self, before: &Self) {
        (self.free_at, self.last) = (before.free_at, before.last);
    }

    /// Sends a datagram; none when it is lost on the way or finds the queue full.
    pub(super) fn datagram(&mut self, now: MonoNanos, bytes: usize) -> Option<Passage> {
        let is_lost = self.loses();
        if self.full_until(now).is_some() {
            return None;
        }
        let from = self.turn(now);
        let left = from.plus(self.transmission(bytes));
        self.free_at = left;
        let arrives = self.arrival(left);
        let arrived = !is_lost && !self.weather.is_cut(left);
        arrived.then(|| Passage { arrives, queued: from.since(now), lost: 0 })
    }

    /// When it is the turn of a packet that comes now.
    fn turn(&self, now: MonoNanos) -> MonoNanos {
        let others = if self.way.is_shared { self.weather.others_ns(now) } else { 0 };
        self.weather.sendable(self.free_at.max(MonoNanos(now.0.saturating_add(others))))
    }

    fn others(&self) -> u64 {
        if self.way.is_shared { self.weather.most_others_ns() } else { 0 }
    }

    fn transmission(&self, bytes: usize) -> Duration {
        let bits = (bytes as u64).saturating_mul(8);
        let ns = u128::from(bits) * 1_000_000_000 / u128::from(self.way.bits.max(1));
        Duration::from_nanos(u64::try_from(ns).unwrap_or(u64::MAX))
    }

    fn arrival(&mut self, left: MonoNanos) -> MonoNanos {
        // Drawn also in calm moments, so that the numbers do not depend on the time.
        let late = self.jitter.below(ns(self.way.jitter).saturating_add(1));
        let late = if self.weather.is_rough(left) { late } else { 0 };
        left.plus(self.way.delay).plus(Duration::from_nanos(late))
    }

    fn loses(&mut self) -> bool {
        if let Some(bursts) = self.way.bursts {
            let turns = if self.is_burst { bursts.end_ppm } else { bursts.begin_ppm };
            self.is_burst ^= self.losses.hits(turns);
        }
        let in_burst = self.way.bursts.filter(|_| self.is_burst);
        self.losses.hits(in_burst.map_or(self.way.loss_ppm, |bursts| bursts.loss_ppm))
    }
}

fn ns(duration: Duration) -> u64 {
    crate::base::clock::nanos(duration)
}
