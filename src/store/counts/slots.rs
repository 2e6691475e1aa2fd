//! Counts by slot over a long time: chunks of slots, the recent ones open, the others packed.

use super::chunk::Chunk;
use crate::model::slot::{GoodTotal, Slot};
use std::collections::BTreeMap;

/// Counts in slots of one width, over a bounded stretch of time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotCounts {
    /// Ten-second slots to one of ours.
    width: u32,
    /// Our slots to a chunk.
    per_chunk: u32,
    /// By number of the chunk from the epoch.
    chunks: BTreeMap<u32, Chunk>,
}

impl SlotCounts {
    /// No counts yet, in slots of `width` ten-second slots, `per_chunk` of them packed together.
    #[must_use]
    pub fn new(width: u32, per_chunk: u32) -> Self {
        Self { width: width.max(1), per_chunk: per_chunk.max(1), chunks: BTreeMap::new() }
    }

    /// Adds to the slot that holds `slot`.
    pub fn add(&mut self, slot: Slot, counts: GoodTotal) {
        let (number, at) = self.place(slot);
        let slots = self.per_chunk as usize;
        self.chunks.entry(number).or_insert_with(|| Chunk::empty(slots)).add(at, counts, slots);
    }

    /// The sum over `from..to`, both aligned to our slots.
    #[must_use]
    pub fn sum(&self, from: Slot, to: Slot) -> GoodTotal {
        let mut sum = GoodTotal::default();
        self.for_each(from, to, |_, counts| sum.add(counts));
        sum
    }

    /// Calls `visit` for each of our slots within `from..to` that holds something.
    pub fn for_each(&self, from: Slot, to: Slot, mut visit: impl FnMut(Slot, GoodTotal)) {
        if from >= to {
            return;
        }
        let (first, _) = self.place(from);
        let (last, _) = self.place(to.minus(1));
        for (number, chunk) in self.chunks.range(first..=last) {
            let start = number * self.per_chunk * self.width;
            // Windows move by a slot at a time: most calls want one slot of a chunk.
            let place = |slot: Slot| slot.0.saturating_sub(start).div_ceil(self.width) as usize;
            let wanted = place(from)..place(to).min(self.per_chunk as usize);
            chunk
                .for_each(wanted, |at, counts| visit(Slot(start + at as u32 * self.width), counts));
        }
    }

    /// Forgets chunks that end at or before `horizon` and packs those that end before `recent`, but
    /// for those that hold one of `edges`: there windows end, and slots are read one by one.
    pub fn settle(&mut self, horizon: Slot, recent: Slot, edges: &[Slot]) {
        let (oldest, _) = self.place(horizon);
        self.chunks = self.chunks.split_off(&oldest);
        let (open, _) = self.place(recent);
        let edges: Vec<u32> = edges.iter().map(|edge| self.place(*edge).0).collect();
        let slots = self.per_chunk as usize;
        for (number, chunk) in self.chunks.range_mut(..open) {
            if edges.contains(number) { chunk.unpack(slots) } else { chunk.pack() }
        }
    }

    /// Number and packed bytes of every chunk, for a checkpoint.
    pub fn packed(&self) -> impl Iterator<Item = (u32, Box<[u8]>)> {
        self.chunks.iter().map(|(number, chunk)| (*number, chunk.to_bytes()))
    }

    /// Puts back a chunk of a checkpoint.
    pub fn restore(&mut self, number: u32, bytes: Box<[u8]>) {
        let _ = self.chunks.insert(number, Chunk::Packed(bytes));
    }

    /// Bytes of memory behind pointers, about.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        // A B-tree entry costs its key, the chunk's enum and about a third more for the node.
        self.chunks.values().map(|chunk| chunk.heap_bytes() + 40).sum()
    }

    fn place(&self, slot: Slot) -> (u32, usize) {
        let own = slot.0 / self.width;
        (own / self.per_chunk, (own % self.per_chunk) as usize)
    }
}
