//! The items of the last quarter of an hour by receipt, exactly: their hashes in generations of five
//! minutes, or of [`Limits::generation_items`](super::Limits) when that comes first.
//!
//! A full generation is a full hash table, which bounds both the memory that lies idle and the time
//! that a table takes to grow. What leaves here moves on to the filters.

use super::EXACT;
use crate::base::clock::UnixNanos;
use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// Length of a generation.
const GENERATION_SECONDS: u64 = 300;
/// Generations whose time is not over: those of [`EXACT`] and the one that is being filled.
const KEEP: u64 = EXACT.as_secs() / GENERATION_SECONDS;

/// A table of hashes.
pub(super) type Hashes = HashSet<u128, foldhash::fast::FixedState>;

/// The generations, the oldest first.
#[derive(Clone, Debug, Default)]
pub(super) struct Exact {
    generations: VecDeque<Generation>,
    /// Receipt from which on every item is here.
    pub(super) since: UnixNanos,
}

/// Hashes of items that were received about the same time.
#[derive(Clone, Debug, Default)]
pub(super) struct Generation {
    /// Number of its five minutes, and of its part in them.
    pub(super) id: u64,
    /// When its first item was received.
    pub(super) opened_at: UnixNanos,
    /// Shared with a checkpoint while it is being written.
    pub(super) seen: Arc<Hashes>,
    /// How many of them the last checkpoint has, and how many the one under way.
    saved: usize,
    taken: usize,
}

impl Exact {
    pub(super) fn contains(&self, hash: u128) -> bool {
        // The newest first: most repetitions follow soon.
        self.generations.iter().rev().any(|generation| generation.seen.contains(&hash))
    }

    pub(super) fn insert(&mut self, hash: u128) {
        if let Some(newest) = self.generations.back_mut() {
            let _ = Arc::make_mut(&mut newest.seen).insert(hash);
        }
    }

    /// Opens a generation when the newest one's time is over or it is full; whether it did.
    pub(super) fn turn(&mut self, now: UnixNanos, generation_items: usize) -> bool {
        let number = number_of(now);
        let (due, part) = match self.generations.back() {
            None => (true, 0),
            Some(newest) if newest.number() < number => (true, 0),
            Some(newest) => (newest.seen.len() >= generation_items, newest.part() + 1),
        };
        if due {
            let number = self.generations.back().map_or(number, |g| g.number().max(number));
            let id = number << 16 | part.min(0xffff);
            self.generations.push_back(Generation { id, opened_at: now, ..Generation::default() });
        }
        due
    }

    /// Takes the oldest generation out when its time is over, or when all are larger than `bytes`.
    pub(super) fn retire(&mut self, now: UnixNanos, bytes: usize) -> Option<Generation> {
        let oldest = self.generations.front()?;
        let stale = oldest.number() + KEEP < number_of(now);
        let crowded = self.generations.len() > 1 && self.bytes() > bytes;
        if !stale && !crowded {
            return None;
        }
        if !stale {
            self.since = self.generations.get(1).map_or(now, |next| next.opened_at);
        }
        self.generations.pop_front()
    }

    /// How far back every item is known exactly.
    pub(super) fn horizon(&self, now: UnixNanos) -> Duration {
        now.since(self.since).min(EXACT)
    }

    pub(super) fn len(&self) -> usize {
        self.generations.iter().map(|generation| generation.seen.len()).sum()
    }

    pub(super) fn bytes(&self) -> usize {
        self.generations.iter().map(Generation::bytes).sum()
    }

    pub(super) fn generations(&self) -> impl Iterator<Item = &Generation> {
        self.generations.iter()
    }

    /// Generations that changed since the last checkpoint, or all. They count as saved after
    /// [`Exact::committed`].
    pub(super) fn take(&mut self, all: bool) -> impl Iterator<Item = &Generation> {
        self.generations.iter_mut().filter_map(move |generation| {
            generation.taken = generation.seen.len();
            (all || generation.taken != generation.saved).then_some(&*generation)
        })
    }

    pub(super) fn committed(&mut self) {
        self.generations.iter_mut().for_each(|generation| generation.saved = generation.taken);
    }

    /// Puts a generation of a checkpoint in its place; the same one again replaces it.
    pub(super) fn restore(&mut self, id: u64, opened_at: UnixNanos, hashes: &[[u8; 16]]) {
        let seen: Hashes = hashes.iter().map(|hash| u128::from_le_bytes(*hash)).collect();
        let saved = seen.len();
        let generation = Generation { id, opened_at, seen: Arc::new(seen), saved, taken: saved };
        match self.generations.binary_search_by_key(&id, |generation| generation.id) {
            Ok(at) => drop(self.generations.get_mut(at).map(|old| *old = generation)),
            Err(at) => self.generations.insert(at, generation),
        }
    }
}

impl Generation {
    fn number(&self) -> u64 {
        self.id >> 16
    }

    fn part(&self) -> u64 {
        self.id & 0xffff
    }

    /// Memory of the table: a byte of control and sixteen of hash for each place, of which seven in
    /// eight may be in use.
    fn bytes(&self) -> usize {
        self.seen.capacity() / 7 * 8 * 17
    }
}

fn number_of(at: UnixNanos) -> u64 {
    at.0 / 1_000_000_000 / GENERATION_SECONDS
}
