//! The recogniser in a checkpoint: marks in the checkpoint itself, hashes in pieces beside it.

use super::{Dedupe, pieces};
use crate::base::clock::UnixNanos;
use crate::wire::state::{DedupeMessage, GenerationMessage};
use bytes::Bytes;

impl Dedupe {
    /// Everything but the hashes, as a message.
    #[must_use]
    pub fn state(&self) -> DedupeMessage {
        let generations = self.exact.generations().map(|generation| GenerationMessage {
            id: generation.id,
            items: generation.seen.len() as u64,
        });
        DedupeMessage {
            generations: generations.collect(),
            fingerprints: self.filters.fingerprints(),
            floor: self.filters.floor,
            exact_since: self.exact.since.0,
            lost_at: self.lost_at.map_or(0, |at| at.0),
            filtered: self.filtered,
            expected_false: self.expected_false,
            key: Bytes::copy_from_slice(&self.key.to_be_bytes()),
        }
    }

    /// A recogniser without hashes, of a checkpoint's message; [`Dedupe::restore`] the pieces next.
    #[must_use]
    pub fn of_state(state: &DedupeMessage) -> Self {
        let mut dedupe = Self::default();
        if let Ok(key) = state.key.as_ref().try_into() {
            dedupe.key = u128::from_be_bytes(key);
        }
        dedupe.filters.floor = state.floor;
        dedupe.exact.since = UnixNanos(state.exact_since);
        dedupe.lost_at = (state.lost_at > 0).then_some(UnixNanos(state.lost_at));
        dedupe.filtered = state.filtered;
        dedupe.expected_false = state.expected_false;
        dedupe
    }

    /// Puts a piece back, in the order of epochs; pieces that `state` no longer counts are passed over.
    /// Whether it is a piece at all.
    pub fn restore(&mut self, piece: &[u8], state: &DedupeMessage) -> bool {
        match pieces::read(piece) {
            Some(pieces::Read::Generation { id, opened_at, hashes }) => {
                if state.generations.iter().any(|kept| kept.id == id) {
                    self.exact.restore(id, opened_at, hashes);
                }
                true
            }
            Some(pieces::Read::Run { slice, run }) => {
                self.filters.restore(slice, run);
                true
            }
            None => false,
        }
    }

    /// Compares what was put back with what the checkpoint promises; `readable` tells whether all of it
    /// could be read. When something is missing the horizon begins anew at `at`, and the answer is
    /// false.
    pub fn restored(&mut self, state: &DedupeMessage, at: UnixNanos, readable: bool) -> bool {
        let promised = state.generations.iter().map(|generation| (generation.id, generation.items));
        let there = self.exact.generations().map(|one| (one.id, one.seen.len() as u64));
        let generations =
            promised.filter(|(_, items)| *items > 0).eq(there.filter(|(_, items)| *items > 0));
        // Runs that were apart may be merged now, and the few fingerprints that are in both count once.
        let fingerprints = self.filters.fingerprints();
        let whole = readable
            && generations
            && fingerprints + fingerprints / 1_000 + 8 >= state.fingerprints;
        if !whole {
            self.lost_at = Some(at);
        }
        whole
    }
}
