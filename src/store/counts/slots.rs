//! Counts by slot over a long time: chunks of slots, the recent ones open, the others packed.

use super::chunk::Chunk;
use crate::model::slot::{GoodTotal, Slot};

/// Counts in slots of one width, over a bounded stretch of time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotCounts {
    /// Ten-second slots to one of ours.
    width: u32,
    /// Our slots to a chunk.
    per_chunk: u32,
    /// With the number of each from the epoch, ascending. Rarely is one missing between two others, so
    /// that a chunk lies where its number says: an evaluation reads some ten slots of every indicator,
    /// and what it costs is the memory that it touches on the way to them.
    chunks: Vec<(u32, Chunk)>,
}

impl SlotCounts {
    /// No counts yet, in slots of `width` ten-second slots, `per_chunk` of them packed together.
    #[must_use]
    pub fn new(width: u32, per_chunk: u32) -> Self {
        Self { width: width.max(1), per_chunk: per_chunk.max(1), chunks: Vec::new() }
    }

    /// Adds to the slot that holds `slot`.
    pub fn add(&mut self, slot: Slot, counts: GoodTotal) {
        let (number, at) = self.place(slot);
        let slots = self.per_chunk as usize;
        let found = self.position(number).unwrap_or_else(|missing| {
            self.chunks.insert(missing, (number, Chunk::empty(slots)));
            missing
        });
        if let Some((_, chunk)) = self.chunks.get_mut(found) {
            chunk.add(at, counts, slots);
        }
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
        let begin = self.position(first).unwrap_or_else(|later| later);
        let within = self.chunks.iter().skip(begin).take_while(|(number, _)| *number <= last);
        for (number, chunk) in within {
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
        let forgotten = self.position(oldest).unwrap_or_else(|later| later);
        drop(self.chunks.drain(..forgotten));
        let (open, _) = self.place(recent);
        let edges: Vec<u32> = edges.iter().map(|edge| self.place(*edge).0).collect();
        let slots = self.per_chunk as usize;
        let closed = self.chunks.iter_mut().take_while(|(number, _)| *number < open);
        for (number, chunk) in closed {
            if edges.contains(number) { chunk.unpack(slots) } else { chunk.pack() }
        }
    }

    /// Number and packed bytes of every chunk, for a checkpoint.
    pub fn packed(&self) -> impl Iterator<Item = (u32, Box<[u8]>)> {
        self.chunks.iter().map(|(number, chunk)| (*number, chunk.to_bytes()))
    }

    /// Puts back a chunk of a checkpoint.
    pub fn restore(&mut self, number: u32, bytes: Box<[u8]>) {
        let chunk = (number, Chunk::Packed(bytes));
        match self.position(number) {
            Ok(found) => self.chunks.splice(found..=found, [chunk]).for_each(drop),
            Err(missing) => self.chunks.insert(missing, chunk),
        }
    }

    /// Bytes of memory behind pointers, about.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        let held: usize = self.chunks.iter().map(|(_, chunk)| chunk.heap_bytes()).sum();
        held + self.chunks.capacity() * size_of::<(u32, Chunk)>()
    }

    /// Where a chunk lies, or else where it would.
    fn position(&self, number: u32) -> Result<usize, usize> {
        let first = self.chunks.first().map_or(0, |(first, _)| *first);
        let place = number.saturating_sub(first) as usize;
        match self.chunks.get(place) {
            Some((there, _)) if *there == number => Ok(place),
            _ => self.chunks.binary_search_by_key(&number, |(number, _)| *number),
        }
    }

    fn place(&self, slot: Slot) -> (u32, usize) {
        let own = slot.0 / self.width;
        (own / self.per_chunk, (own % self.per_chunk) as usize)
    }
}
