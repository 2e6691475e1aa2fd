//! Recognises items that were sent twice: OTLP exporters repeat a request whose answer was lost, and
//! phones merge what failed with what is new, so the unit is the item.
//!
//! Exact for [`EXACT`] by the time of receipt: the items' 128-bit hashes in generations of five
//! minutes. Memory is bounded by [`MAX_ITEMS`]; beyond it the oldest generation goes, and the horizon
//! in force says so.

use crate::base::clock::UnixNanos;
use std::collections::{HashSet, VecDeque};
use std::time::Duration;

/// How long duplicates are recognised exactly.
pub const EXACT: Duration = Duration::from_secs(15 * 60);
/// Items that are remembered at most: about a gigabyte.
pub const MAX_ITEMS: usize = 32_000_000;
const GENERATION_SECONDS: u64 = 300;

/// Hashes of the items seen lately.
#[derive(Clone, Debug, Default)]
pub struct Dedupe {
    generations: VecDeque<Generation>,
    items: usize,
    limit_hit_at: Option<UnixNanos>,
}

#[derive(Clone, Debug)]
struct Generation {
    number: u64,
    seen: HashSet<u128, foldhash::fast::FixedState>,
}

impl Dedupe {
    /// Whether the item is new. Remembers it.
    pub fn is_new(&mut self, item: u128, received_at: UnixNanos) -> bool {
        let number = received_at.0 / 1_000_000_000 / GENERATION_SECONDS;
        self.turn(number, received_at);
        let exact = EXACT.as_secs() / GENERATION_SECONDS;
        let oldest = number.saturating_sub(exact);
        let known = |g: &Generation| g.number >= oldest && g.seen.contains(&item);
        if self.generations.iter().any(known) {
            return false;
        }
        if let Some(newest) = self.generations.back_mut() {
            let _ = newest.seen.insert(item);
            self.items += 1;
        }
        true
    }

    /// How many items are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.items
    }

    /// Whether none is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items == 0
    }

    /// How far back duplicates are recognised for sure at `now`.
    #[must_use]
    pub fn horizon(&self, now: UnixNanos) -> Duration {
        self.limit_hit_at.map_or(EXACT, |at| now.since(at).min(EXACT))
    }

    /// Generations for a checkpoint: number and hashes.
    pub fn generations(&self) -> impl Iterator<Item = (u64, impl Iterator<Item = u128>)> {
        self.generations.iter().map(|g| (g.number, g.seen.iter().copied()))
    }

    /// Puts back a generation of a checkpoint; call in rising order of numbers.
    pub fn restore(&mut self, number: u64, items: impl IntoIterator<Item = u128>) {
        let seen: HashSet<u128, _> = items.into_iter().collect();
        self.items += seen.len();
        self.generations.push_back(Generation { number, seen });
    }

    /// Opens the generation of `number` and forgets what is too old or too much.
    fn turn(&mut self, number: u64, now: UnixNanos) {
        if self.generations.back().is_none_or(|newest| newest.number < number) {
            self.generations.push_back(Generation { number, seen: HashSet::default() });
        }
        let keep = EXACT.as_secs() / GENERATION_SECONDS;
        while let Some(oldest) = self.generations.front() {
            let stale = oldest.number + keep < number;
            let crowded = self.items >= MAX_ITEMS && self.generations.len() > 1;
            if !stale && !crowded {
                break;
            }
            if !stale {
                let next = self
                    .generations
                    .get(1)
                    .map_or(now.0, |g| g.number * GENERATION_SECONDS * 1_000_000_000);
                self.limit_hit_at = Some(UnixNanos(next));
            }
            self.items -= self.generations.pop_front().map_or(0, |gone| gone.seen.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guarantees exactness for fifteen minutes, and that memory does not grow beyond what that needs.
    #[test]
    fn duplicates_are_known_for_fifteen_minutes() {
        let mut dedupe = Dedupe::default();
        let at = |minutes: u64| UnixNanos::from_seconds(1_000_000 * 300 + minutes * 60);
        assert!(dedupe.is_new(1, at(0)));
        assert!(!dedupe.is_new(1, at(1)));
        assert!(!dedupe.is_new(1, at(15)));
        assert!(dedupe.is_new(2, at(15)));
        assert!(dedupe.is_new(3, at(60)));
        assert_eq!(dedupe.len(), 1);
        assert_eq!(dedupe.horizon(at(60)), EXACT);
    }
}
