//! Cumulative streams become deltas: each point less the one before of the same stream.
//!
//! At most [`MAX_STREAMS`] are tracked; idle ones are forgotten after [`IDLE`], and those that were
//! silent longest when there are too many; both are counted. A stream's first point counts in full
//! only when it began after we did, and after every stream that was forgotten (else it may be one of
//! those); otherwise it is a baseline. Idle is judged by our clock, not by the phones', and a start
//! that lies ahead of us proves nothing.

use super::points::PointValue;
use crate::base::clock::UnixNanos;
use std::collections::HashMap;
use std::time::Duration;

/// Streams that are tracked at most.
pub const MAX_STREAMS: usize = 200_000;
/// A stream without points for this long is forgotten.
pub const IDLE: Duration = Duration::from_secs(26 * 3_600);
/// How fast a phone's clock may be for its streams' starts to be believed.
const AHEAD: Duration = Duration::from_secs(600);
/// How many are forgotten at once when there are too many.
const EVICT_AT_ONCE: usize = MAX_STREAMS / 20;

/// The last point of every stream.
#[derive(Clone, Debug, Default)]
pub struct Streams {
    streams: HashMap<u128, Stream, foldhash::fast::FixedState>,
    /// When we began to track; streams that began before may have been counted elsewhere.
    began: Option<UnixNanos>,
    evicted: u64,
    /// The newest start of a stream that was forgotten.
    newest_forgotten: Option<UnixNanos>,
}

/// A stream's last point.
#[derive(Clone, Debug, PartialEq)]
pub struct Stream {
    /// When the stream's count began.
    pub start: UnixNanos,
    /// The point's time.
    pub time: UnixNanos,
    /// When it was received.
    pub received_at: UnixNanos,
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
    /// Tracking begins, unless it did before: streams older than `now` may have been counted by
    /// somebody else.
    pub fn begin(&mut self, now: UnixNanos) {
        let _ = self.began.get_or_insert(now);
    }

    /// Takes a point of a cumulative stream.
    pub fn take(&mut self, id: u128, point: Stream) -> Delta {
        self.begin(point.received_at);
        let Some(known) = self.streams.get_mut(&id) else {
            let counts_in_full = Some(point.start) > self.began.max(self.newest_forgotten)
                && point.start <= point.received_at.plus(AHEAD);
            let value = point.value.clone();
            self.insert(id, point);
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
        let horizon = now.minus(IDLE);
        self.forget(|stream| stream.received_at < horizon);
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

    /// When tracking began and the newest start of a forgotten stream, for a checkpoint.
    #[must_use]
    pub fn marks(&self) -> (Option<UnixNanos>, Option<UnixNanos>) {
        (self.began, self.newest_forgotten)
    }

    /// Puts back the marks of a checkpoint.
    pub fn restore_marks(&mut self, began: Option<UnixNanos>, newest_forgotten: Option<UnixNanos>) {
        (self.began, self.newest_forgotten) = (began, newest_forgotten);
    }

    /// Puts back a stream of a checkpoint.
    pub fn restore(&mut self, id: u128, stream: Stream) {
        drop(self.streams.insert(id, stream));
    }

    fn insert(&mut self, id: u128, stream: Stream) {
        if self.streams.len() >= MAX_STREAMS {
            let mut received: Vec<UnixNanos> =
                self.streams.values().map(|stream| stream.received_at).collect();
            let (earlier, cut, _) = received.select_nth_unstable(EVICT_AT_ONCE);
            let cut = *cut;
            // Of those that were received together at the cut only as many go as are too many.
            let mut at_the_cut = EVICT_AT_ONCE - earlier.iter().filter(|at| **at < cut).count();
            self.forget(|stream| {
                let goes = stream.received_at < cut || stream.received_at == cut && at_the_cut > 0;
                at_the_cut -= usize::from(goes && stream.received_at == cut);
                goes
            });
        }
        drop(self.streams.insert(id, stream));
    }

    fn forget(&mut self, mut goes: impl FnMut(&Stream) -> bool) {
        let (evicted, newest) = (&mut self.evicted, &mut self.newest_forgotten);
        self.streams.retain(|_, stream| {
            let goes = goes(stream);
            if goes {
                *evicted += 1;
                let believed = stream.start.min(stream.received_at.plus(AHEAD));
                *newest = (*newest).max(Some(believed));
            }
            !goes
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(start: u64, time: u64, received: u64, value: u128) -> Stream {
        let at = UnixNanos::from_seconds;
        Stream {
            start: at(start),
            time: at(time),
            received_at: at(received),
            value: PointValue::Counter(value),
        }
    }

    fn adds(value: u128) -> Delta {
        Delta::Adds(PointValue::Counter(value))
    }

    /// Guarantees differences, resets by start time and by value, duplicates, and the rule for a
    /// stream's first point.
    #[test]
    fn cumulative_points_become_deltas() {
        let mut streams = Streams::default();
        let mut check = |id, p, expected: Delta| assert_eq!(streams.take(id, p), expected);
        check(1, point(50, 100, 100, 7), Delta::Baseline);
        check(1, point(50, 110, 100, 9), adds(2));
        check(1, point(50, 110, 100, 9), Delta::Duplicate);
        check(1, point(50, 105, 100, 8), Delta::Duplicate);
        check(1, point(120, 130, 100, 3), adds(3));
        check(1, point(120, 140, 100, 1), adds(1));
        check(2, point(101, 130, 100, 5), adds(5));
    }

    /// Guarantees that tracking begins with the first record of any kind: a stream that began before
    /// it is a baseline, one that began after it counts in full, also as the very first.
    #[test]
    fn our_own_start_decides_about_first_points() {
        let first = |begin: u64| {
            let mut streams = Streams::default();
            streams.begin(UnixNanos::from_seconds(begin));
            streams.begin(UnixNanos::from_seconds(begin + 1_000));
            streams.take(1, point(100, 160, 170, 5))
        };
        assert_eq!(first(99), adds(5));
        assert_eq!(first(100), Delta::Baseline);
        assert_eq!(first(101), Delta::Baseline);
    }

    /// Guarantees that a stream which was forgotten returns as a baseline, and that streams which
    /// began after it count in full although others are forgotten all the time.
    #[test]
    fn forgotten_streams_return_as_baselines() {
        let mut streams = Streams::default();
        streams.begin(UnixNanos::from_seconds(900));
        assert_eq!(streams.take(1, point(1_000, 1_001, 1_001, 5)), adds(5));
        streams.settle(UnixNanos::from_seconds(1_001 + 26 * 3_600));
        assert_eq!((streams.len(), streams.evicted()), (1, 0));
        streams.settle(UnixNanos::from_seconds(1_002 + 26 * 3_600));
        assert_eq!((streams.len(), streams.evicted()), (0, 1));
        assert_eq!(streams.take(1, point(1_000, 99_000, 99_000, 9)), Delta::Baseline);
        assert_eq!(streams.take(2, point(1_001, 99_002, 99_002, 9)), adds(9));
    }

    /// Guarantees that a phone whose clock is years behind is not idle as long as it reports.
    #[test]
    fn idle_is_judged_by_our_clock() {
        let mut streams = Streams::default();
        let day = 86_400;
        let _ = streams.take(1, point(5, 10, 400 * day, 1));
        streams.settle(UnixNanos::from_seconds(401 * day));
        assert_eq!((streams.len(), streams.evicted()), (1, 0));
        assert_eq!(streams.take(1, point(5, 11, 401 * day, 3)), adds(2));
    }

    /// Guarantees that a phone whose clock is years ahead neither counts twice after it was forgotten,
    /// nor makes baselines of everybody else's streams.
    #[test]
    fn a_start_ahead_of_us_proves_nothing() {
        let mut streams = Streams::default();
        streams.begin(UnixNanos::from_seconds(1));
        let year = 365 * 86_400;
        assert_eq!(streams.take(1, point(year, year, 1_000, 7)), Delta::Baseline);
        streams.settle(UnixNanos::from_seconds(1_001 + 26 * 3_600));
        assert_eq!(streams.evicted(), 1);
        assert_eq!(streams.take(1, point(year, year + 9, 99_000, 9)), Delta::Baseline);
        assert_eq!(streams.take(2, point(99_000, 99_009, 99_009, 4)), adds(4));
    }

    /// Guarantees the bound: beyond it those go that were silent longest, counted and only as many as
    /// need be, also when all were received together; and who returns then is a baseline.
    #[test]
    fn the_bound_holds_and_is_counted() {
        for together in [true, false] {
            let mut streams = Streams::default();
            streams.begin(UnixNanos::from_seconds(1));
            let received = |n: u64| if together { 500 } else { 500 + n };
            for n in 0..MAX_STREAMS as u64 {
                let first = streams.take(u128::from(n), point(100, 400, received(n), 1));
                assert_eq!(first, adds(1));
            }
            assert_eq!((streams.len(), streams.evicted()), (MAX_STREAMS, 0));
            let last = received(MAX_STREAMS as u64);
            assert_eq!(streams.take(u128::MAX, point(101, 400, last, 1)), adds(1));
            assert_eq!(streams.len(), MAX_STREAMS - EVICT_AT_ONCE + 1);
            assert_eq!(streams.evicted(), EVICT_AT_ONCE as u64);
            assert_eq!(streams.take(u128::MAX - 1, point(100, 400, last, 1)), Delta::Baseline);
            if !together {
                assert_eq!(streams.take(0, point(100, 500, last, 2)), Delta::Baseline);
                assert_eq!(
                    streams.take(MAX_STREAMS as u128 - 1, point(100, 500, last, 2)),
                    adds(1)
                );
            }
        }
    }
}
