//! Cumulative streams become deltas: each point less the one before of the same stream.
//!
//! At most [`MAX_STREAMS`] are tracked; idle ones are forgotten after [`IDLE`], and the oldest when
//! there are too many. A stream's first point counts in full only when it began after we did and
//! nothing was forgotten since (else it may be an old acquaintance); otherwise it is a baseline.

use super::points::PointValue;
use crate::base::clock::UnixNanos;
use std::collections::HashMap;
use std::time::Duration;

/// Streams that are tracked at most.
pub const MAX_STREAMS: usize = 200_000;
/// A stream without points for this long is forgotten.
pub const IDLE: Duration = Duration::from_secs(26 * 3_600);
/// How many are forgotten at once when there are too many.
const EVICT_AT_ONCE: usize = MAX_STREAMS / 20;

/// The last point of every stream.
#[derive(Clone, Debug, Default)]
pub struct Streams {
    streams: HashMap<u128, Stream, foldhash::fast::FixedState>,
    /// When we began to track; streams that began before may have been counted elsewhere.
    began: Option<UnixNanos>,
    evicted: u64,
    last_eviction: Option<UnixNanos>,
}

/// A stream's last point.
#[derive(Clone, Debug, PartialEq)]
pub struct Stream {
    /// When the stream's count began.
    pub start: UnixNanos,
    /// The point's time.
    pub time: UnixNanos,
    /// Its value.
    pub value: PointValue,
}

/// What a cumulative point adds.
#[derive(Clone, Debug, PartialEq)]
pub enum Delta {
    /// This much.
    Adds(PointValue),
    /// Nothing that we could know: the first point of a stream that may be older than we are.
    Baseline,
    /// Nothing: the point is not newer than the one before.
    Duplicate,
}

impl Streams {
    /// Takes a point of a cumulative stream.
    pub fn take(&mut self, id: u128, point: Stream, received_at: UnixNanos) -> Delta {
        let began = *self.began.get_or_insert(received_at);
        let Some(known) = self.streams.get_mut(&id) else {
            let since = self.last_eviction.map_or(began, |eviction| eviction.max(began));
            let counts_in_full = point.start > since;
            let value = point.value.clone();
            self.insert(id, point, received_at);
            return if counts_in_full { Delta::Adds(value) } else { Delta::Baseline };
        };
        if point.start == known.start && point.time <= known.time || point.start < known.start {
            return Delta::Duplicate;
        }
        let restarted = point.start > known.start && known.start.0 != 0;
        let difference = if restarted { None } else { point.value.less(&known.value) };
        let adds = difference.unwrap_or_else(|| point.value.clone());
        *known = point;
        Delta::Adds(adds)
    }

    /// Forgets idle streams.
    pub fn settle(&mut self, now: UnixNanos) {
        let before = self.streams.len();
        let horizon = now.minus(IDLE);
        self.streams.retain(|_, stream| stream.time >= horizon);
        self.count_evicted(before - self.streams.len(), now);
    }

    /// How many are tracked.
    #[must_use]
    pub fn len(&self) -> usize {
        self.streams.len()
    }

    /// Whether none is tracked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.streams.is_empty()
    }

    /// How many were forgotten.
    #[must_use]
    pub fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Everything, for a checkpoint.
    pub fn iter(&self) -> impl Iterator<Item = (u128, &Stream)> {
        self.streams.iter().map(|(id, stream)| (*id, stream))
    }

    /// When tracking began and when streams were last forgotten, for a checkpoint.
    #[must_use]
    pub fn marks(&self) -> (Option<UnixNanos>, Option<UnixNanos>) {
        (self.began, self.last_eviction)
    }

    /// Puts back the marks of a checkpoint.
    pub fn restore_marks(&mut self, began: Option<UnixNanos>, last_eviction: Option<UnixNanos>) {
        (self.began, self.last_eviction) = (began, last_eviction);
    }

    /// Puts back a stream of a checkpoint.
    pub fn restore(&mut self, id: u128, stream: Stream) {
        drop(self.streams.insert(id, stream));
    }

    fn insert(&mut self, id: u128, stream: Stream, now: UnixNanos) {
        if self.streams.len() >= MAX_STREAMS {
            let mut times: Vec<UnixNanos> = self.streams.values().map(|s| s.time).collect();
            let (_, cut, _) = times.select_nth_unstable(EVICT_AT_ONCE);
            let cut = *cut;
            let before = self.streams.len();
            self.streams.retain(|_, s| s.time > cut);
            self.count_evicted(before - self.streams.len(), now);
        }
        drop(self.streams.insert(id, stream));
    }

    fn count_evicted(&mut self, evicted: usize, now: UnixNanos) {
        if evicted > 0 {
            self.evicted += evicted as u64;
            self.last_eviction = Some(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(start: u64, time: u64, value: u128) -> Stream {
        let at = UnixNanos::from_seconds;
        Stream { start: at(start), time: at(time), value: PointValue::Counter(value) }
    }

    /// Guarantees differences, resets by start time and by value, duplicates, and the rule for a
    /// stream's first point.
    #[test]
    fn cumulative_points_become_deltas() {
        let mut streams = Streams::default();
        let now = UnixNanos::from_seconds(100);
        let mut check = |id, p, expected: Delta| assert_eq!(streams.take(id, p, now), expected);
        let adds = |n| Delta::Adds(PointValue::Counter(n));
        check(1, point(50, 100, 7), Delta::Baseline);
        check(1, point(50, 110, 9), adds(2));
        check(1, point(50, 110, 9), Delta::Duplicate);
        check(1, point(50, 105, 8), Delta::Duplicate);
        check(1, point(120, 130, 3), adds(3));
        check(1, point(120, 140, 1), adds(1));
        check(2, point(101, 130, 5), adds(5));
    }

    /// Guarantees that after forgetting streams, a first point is not taken for a new stream's.
    #[test]
    fn forgotten_streams_return_as_baselines() {
        let mut streams = Streams::default();
        let at = UnixNanos::from_seconds;
        let _ = streams.take(1, point(1_000, 1_001, 5), at(900));
        streams.settle(at(1_001 + 27 * 3_600));
        assert_eq!((streams.len(), streams.evicted()), (0, 1));
        assert_eq!(streams.take(1, point(1_000, 99_000, 9), at(99_000)), Delta::Baseline);
        assert_eq!(
            streams.take(2, point(99_001, 99_002, 9), at(99_002)),
            Delta::Adds(PointValue::Counter(9))
        );
    }
}
