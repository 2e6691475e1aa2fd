//! Recognises items that were sent twice: OTLP exporters repeat a request whose answer was lost, and
//! phones merge what failed with what is new, so the unit is the item.
//!
//! - By receipt, the last [`EXACT`] exactly: 112 bits of the item's hash (`exact`).
//! - By event time, the seven days for which items are accepted at all (the longest that real SDKs
//!   buffer): 48-bit fingerprints in one set for each quarter of an hour (`filters`, `run`, where
//!   formula and source of the false positives stand; at most 1e-6 for each look-up, in practice
//!   1e-9 to 1e-7). An item moves there from the exact memory, so it is never held twice.
//!
//! Memory is bounded by [`Limits::bytes`]. When it is short, exact generations move to the filters
//! early, and the filters oldest by event time are dropped: [`Dedupe::horizon`] says what remains. One
//! gigabyte is seven days at 330 items/s on average, two and a half days at 1,000/s, and ten to
//! twenty-five minutes at 100,000/s; the exact quarter of an hour holds up to some 15,000/s.
//!
//! A checkpoint takes what is new as [`Piece`]s ([`Dedupe::take`]); pieces of an epoch hold only items
//! folded before its positions, so a replayed record is never a duplicate of itself. Which pieces are
//! read back, and how runs happened to merge, makes no difference to any answer.

mod exact;
mod filters;
mod pieces;
mod run;
mod state;
#[cfg(test)]
mod tests;

pub use pieces::Piece;

use crate::base::clock::UnixNanos;
use exact::{Exact, Generation};
use filters::{Filters, SLICES, SLICES_AHEAD, slice_of, slice_start};
use run::BITS;
use std::time::Duration;

/// How long, by receipt, duplicates are recognised exactly.
pub const EXACT: Duration = Duration::from_secs(15 * 60);
/// How long, by event time, they are recognised at all: as long as items are accepted.
pub const LONGEST: Duration = Duration::from_secs(7 * 86_400);
/// The part of an exact hash that holds the item's slice of event time instead.
const SLICE_MASK: u128 = 0xffff;

/// Hashes of the items seen lately.
#[derive(Clone, Debug)]
pub struct Dedupe {
    limits: Limits,
    /// Odd and secret: items are multiplied by it, so that nobody can choose ids that crowd together.
    key: u128,
    exact: Exact,
    filters: Filters,
    /// When hashes were lost that a checkpoint promised.
    lost_at: Option<UnixNanos>,
    filtered: u64,
    expected_false: f64,
}

/// Bounds of memory.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// All memory that hashes take, transient copies while they move included.
    pub bytes: usize,
    /// Items of a generation: seven eighths of a power of two, so that its table is full.
    pub generation_items: usize,
}

impl Default for Limits {
    /// One gigabyte; generations of 3.7 million items (71 MB).
    fn default() -> Self {
        Self { bytes: 1 << 30, generation_items: (1 << 22) / 8 * 7 }
    }
}

impl Default for Dedupe {
    fn default() -> Self {
        Self::new(Limits::default())
    }
}

impl Dedupe {
    /// Remembers nothing yet.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        let (exact, filters) = (Exact::default(), Filters::default());
        let key = rand::random::<u128>() | 1;
        Self { limits, key, exact, filters, lost_at: None, filtered: 0, expected_false: 0.0 }
    }

    /// Whether the item is new. Remembers it. `event` is its own time in nanoseconds since the epoch;
    /// an item without a time (0) is recognised by the exact memory alone.
    pub fn is_new(&mut self, item: u128, event: u64, received_at: UnixNanos) -> bool {
        if self.exact.turn(received_at, self.limits.generation_items) {
            self.settle(received_at);
        }
        let slice = slice_of(event);
        let hash = (item.wrapping_mul(self.key) & !SLICE_MASK) | (u128::from(slice) & SLICE_MASK);
        if self.exact.contains(hash) {
            return false;
        }
        let lookup = self.filters.lookup(slice, fingerprint(hash));
        self.expected_false += lookup.false_positive;
        if lookup.found {
            self.filtered += 1;
            return false;
        }
        self.exact.insert(hash);
        true
    }

    /// How many items are remembered exactly.
    #[must_use]
    pub fn len(&self) -> usize {
        self.exact.len()
    }

    /// How many items the filters remember.
    #[must_use]
    pub fn fingerprints(&self) -> u64 {
        self.filters.fingerprints()
    }

    /// Whether none is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0 && self.fingerprints() == 0
    }

    /// Memory that the hashes take.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.exact.bytes() + self.filters.bytes()
    }

    /// Items that were called duplicates by a filter, not by an exact hash.
    #[must_use]
    pub fn filtered(&self) -> u64 {
        self.filtered
    }

    /// How many new items are expected to have been called duplicates, by chance: the sum of n / 2^48
    /// over all look-ups.
    #[must_use]
    pub fn expected_false(&self) -> f64 {
        self.expected_false
    }

    /// The horizon in force at `now`: duplicates are recognised of every item that is younger by its
    /// event time, or by its receipt, whichever of the two reaches further. At most [`LONGEST`].
    #[must_use]
    pub fn horizon(&self, now: UnixNanos) -> Duration {
        let by_event = now.since(slice_start(self.filters.floor)).min(LONGEST);
        let kept = self.exact.horizon(now).max(by_event);
        self.lost_at.map_or(kept, |lost| kept.min(now.since(lost)))
    }

    /// What is new since the last checkpoint, or everything. Call [`Dedupe::committed`] once the
    /// checkpoint stands; without it the next one takes the same again.
    pub fn take(&mut self, everything: bool) -> Vec<Piece> {
        let generations = self.exact.take(everything).map(Piece::generation);
        let runs = self.filters.take(everything).map(|(slice, run)| Piece::run(slice, run));
        generations.chain(runs).collect()
    }

    /// The checkpoint of what was last taken stands.
    pub fn committed(&mut self) {
        self.exact.committed();
        self.filters.committed();
    }

    /// Moves what left the exact memory to the filters, and keeps the bound.
    fn settle(&mut self, now: UnixNanos) {
        // The generation just opened may fill its table; twice as much goes for moving one to the
        // filters, or for a checkpoint that holds a copy of it.
        let table = self.limits.generation_items / 7 * 8 * 17;
        let for_exact = (self.limits.bytes / 3).saturating_sub(table);
        while let Some(generation) = self.exact.retire(now, for_exact) {
            self.absorb(generation);
        }
        self.filters.expire(now);
        let taken = self.exact.bytes() + 3 * table;
        self.filters.shrink(self.limits.bytes.saturating_sub(taken));
    }

    fn absorb(&mut self, generation: Generation) {
        // Slices as near to the receipt as sixteen bits tell them; others are not looked up later.
        let received = slice_of(generation.opened_at.0);
        let first = received.saturating_sub(SLICES);
        let last = received + SLICES_AHEAD;
        let offset = |hash: u128| (hash & SLICE_MASK) as u16;
        let mut packed: Vec<u64> = generation
            .seen
            .iter()
            .map(|hash| {
                u64::from(offset(*hash).wrapping_sub(first as u16)) << BITS | fingerprint(*hash)
            })
            .collect();
        drop(generation);
        packed.sort_unstable();
        let mut fingerprints = Vec::new();
        for of_slice in packed.chunk_by(|a, b| a >> BITS == b >> BITS) {
            let slice = of_slice.first().map_or(u32::MAX, |one| first + (one >> BITS) as u32);
            if slice <= last {
                fingerprints.clear();
                fingerprints.extend(of_slice.iter().map(|one| one & ((1 << BITS) - 1)));
                self.filters.absorb(slice, &fingerprints);
            }
        }
    }
}

/// The bits of a hash that a filter keeps; none of them is the slice's.
fn fingerprint(hash: u128) -> u64 {
    (hash >> (128 - BITS)) as u64
}
