//! Event time in slots of ten seconds, and coarser ones made of them.

use crate::base::clock::UnixNanos;
use std::time::Duration;

/// Length of the finest slot.
pub const SLOT_SECONDS: u64 = 10;
/// [`SLOT_SECONDS`] as a duration.
pub const SLOT: Duration = Duration::from_secs(SLOT_SECONDS);

/// A ten-second slot of event time, numbered from the epoch. Good until the year 3331.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Slot(pub u32);

impl Slot {
    /// The slot in which an instant falls.
    #[must_use]
    pub fn of(at: UnixNanos) -> Self {
        Self(u32::try_from(at.0 / (SLOT_SECONDS * 1_000_000_000)).unwrap_or(u32::MAX))
    }

    /// The instant with which the slot begins.
    #[must_use]
    pub fn start(self) -> UnixNanos {
        UnixNanos::from_seconds(u64::from(self.0) * SLOT_SECONDS)
    }

    /// The first slot of the coarser slot of `slots` slots that holds this one.
    #[must_use]
    pub fn align(self, slots: u32) -> Self {
        Self(self.0 - self.0 % slots.max(1))
    }

    /// The slot `slots` later.
    #[must_use]
    pub fn plus(self, slots: u32) -> Self {
        Self(self.0.saturating_add(slots))
    }

    /// The slot `slots` earlier.
    #[must_use]
    pub fn minus(self, slots: u32) -> Self {
        Self(self.0.saturating_sub(slots))
    }
}

/// How many whole slots a duration has, at least one.
#[must_use]
pub fn slots_in(duration: Duration) -> u32 {
    u32::try_from(duration.as_secs() / SLOT_SECONDS).unwrap_or(u32::MAX).max(1)
}

/// Events of one slot or window as an indicator counts them.
///
/// Bad events are kept, not good ones: in a ratio of two kinds of event a bad one may fall into a
/// slot without any other, and must not be lost there.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Hash)]
pub struct GoodTotal {
    /// Events outside the objective.
    pub bad: u64,
    /// All events that count.
    pub total: u64,
}

impl GoodTotal {
    /// One event.
    #[must_use]
    pub const fn one(good: bool) -> Self {
        Self { bad: !good as u64, total: 1 }
    }

    /// Events within the objective.
    #[must_use]
    pub fn good(self) -> u64 {
        self.total.saturating_sub(self.bad)
    }

    /// Share of good events, 0..=1; none when nothing counted.
    #[must_use]
    pub fn ratio(self) -> Option<f64> {
        (self.total > 0).then(|| self.good() as f64 / self.total as f64)
    }

    /// Share of bad events, 0..=1; none when nothing counted.
    #[must_use]
    pub fn bad_ratio(self) -> Option<f64> {
        self.ratio().map(|good| 1.0 - good)
    }

    /// Whether nothing was counted.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.total == 0 && self.bad == 0
    }

    /// Adds counts; saturates.
    pub fn add(&mut self, other: Self) {
        self.bad = self.bad.saturating_add(other.bad);
        self.total = self.total.saturating_add(other.total);
    }

    /// Takes counts away that were added before.
    pub fn remove(&mut self, other: Self) {
        self.bad = self.bad.saturating_sub(other.bad);
        self.total = self.total.saturating_sub(other.total);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guarantees that slots tile event time without gap or overlap.
    #[test]
    fn a_slot_holds_its_start_and_not_its_end() {
        let slot = Slot::of(UnixNanos::from_seconds(1_234_567));
        assert_eq!(Slot::of(slot.start()), slot);
        assert_eq!(Slot::of(UnixNanos(slot.plus(1).start().0 - 1)), slot);
        assert_eq!(Slot(91).align(30), Slot(90));
    }
}
