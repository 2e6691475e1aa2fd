//! What an emulated network really delivered to a step: measured, not what was asked for.

use super::link::Passage;
use parking_lot::Mutex;
use std::time::Duration;

/// Samples of one direction; when there are more, every other is forgotten.
const MAX_SAMPLES: usize = 2_048;

/// Which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    /// Away from the probe.
    Up,
    /// Towards it.
    Down,
}

/// What passed, of all connections of a step.
#[derive(Debug, Default)]
pub(super) struct Tally(Mutex<State>);

/// What was delivered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delivered {
    /// The median of packets there plus that of packets back, as they were delivered; none when
    /// nothing came back.
    pub round_trip: Option<Duration>,
    /// Packets lost, in both directions; those of streams came later.
    pub lost: u64,
    /// The longest that a packet waited for others before it.
    pub queued: Duration,
}

#[derive(Debug, Default)]
struct State {
    up: Samples,
    down: Samples,
    lost: u64,
    queued: Duration,
}

/// Evenly spread samples of a series of any length.
#[derive(Debug, Default)]
struct Samples {
    kept: Vec<Duration>,
    seen: usize,
    /// One in 2 to this power is kept.
    halvings: u32,
}

// === impl Tally ===

impl Tally {
    /// A packet was sent.
    pub(super) fn sent(&self, passage: &Passage) {
        let mut state = self.0.lock();
        state.lost += u64::from(passage.lost);
        state.queued = state.queued.max(passage.queued);
    }

    /// A packet was lost for good.
    pub(super) fn lost(&self) {
        self.0.lock().lost += 1;
    }

    /// A packet came out, so long after it went in.
    pub(super) fn delivered(&self, direction: Direction, after: Duration) {
        let mut state = self.0.lock();
        match direction {
            Direction::Up => state.up.add(after),
            Direction::Down => state.down.add(after),
        }
    }

    /// All in all.
    pub(super) fn sum(&self) -> Delivered {
        let state = self.0.lock();
        let round_trip = state.up.median().zip(state.down.median()).map(|(up, down)| up + down);
        Delivered { round_trip, lost: state.lost, queued: state.queued }
    }
}

// === impl Samples ===

impl Samples {
    fn add(&mut self, sample: Duration) {
        if self.kept.len() >= MAX_SAMPLES {
            let mut number = 0;
            self.kept.retain(|_| {
                number += 1;
                number % 2 == 1
            });
            self.halvings += 1;
        }
        if self.seen.trailing_zeros() >= self.halvings {
            self.kept.push(sample);
        }
        self.seen += 1;
    }

    fn median(&self) -> Option<Duration> {
        let mut sorted = self.kept.clone();
        sorted.sort_unstable();
        sorted.get(sorted.len() / 2).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guarantees that the median of a long series is of all of it, from bounded memory.
    #[test]
    fn samples_are_of_the_whole_series() {
        let mut samples = Samples::default();
        assert_eq!(samples.median(), None);
        (0..100_000).for_each(|us| samples.add(Duration::from_micros(us)));
        let median = samples.median().expect("there are samples").as_micros();
        assert!((49_000..=51_000).contains(&median), "{median}");
        assert!(samples.kept.len() <= MAX_SAMPLES);
    }
}
