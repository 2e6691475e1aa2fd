//! A stretch of consecutive slots, open as an array or packed.
//!
//! Packed layout: a sequence of groups. Each begins with a varint `n << 1 | run`. A run (1) is
//! followed by one pair and stands for `n` slots of it; a literal (0) is followed by `n` pairs. A
//! pair is a varint `total << 1 | some bad` and, when some are bad, a varint of how many. Slots
//! after the last group are empty. A healthy probe packs into 4 bytes an hour.

use crate::model::slot::GoodTotal;
use std::ops::Range;

/// Slots that are written to, and slots at rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Chunk {
    /// Being written.
    Open(Box<[GoodTotal]>),
    /// At rest.
    Packed(Box<[u8]>),
}

impl Chunk {
    /// A chunk of `slots` empty slots.
    #[must_use]
    pub fn empty(slots: usize) -> Self {
        Self::Open(vec![GoodTotal::default(); slots].into())
    }

    /// The counts of a slot; empty beyond the end.
    #[must_use]
    pub fn get(&self, at: usize) -> GoodTotal {
        match self {
            Self::Open(slots) => slots.get(at).copied().unwrap_or_default(),
            Self::Packed(bytes) => {
                let mut left = at;
                for (count, pair) in groups(bytes) {
                    if left < count {
                        return pair;
                    }
                    left -= count;
                }
                GoodTotal::default()
            }
        }
    }

    /// All slots, by rising slot; a packed chunk may end before its last, empty ones.
    #[must_use]
    pub fn to_slots(&self, slots: usize) -> Box<[GoodTotal]> {
        match self {
            Self::Open(open) => open.clone(),
            Self::Packed(bytes) => {
                let mut all = Vec::with_capacity(slots);
                for (count, pair) in groups(bytes) {
                    let room = slots - all.len();
                    all.extend(std::iter::repeat_n(pair, count.min(room)));
                }
                all.resize(slots, GoodTotal::default());
                all.into()
            }
        }
    }

    /// Calls `visit` for each slot within `wanted` that holds something.
    pub fn for_each(&self, wanted: Range<usize>, mut visit: impl FnMut(usize, GoodTotal)) {
        match self {
            Self::Open(slots) => {
                let slots = slots.iter().enumerate().take(wanted.end).skip(wanted.start);
                slots
                    .filter(|(_, counts)| !counts.is_empty())
                    .for_each(|(at, counts)| visit(at, *counts));
            }
            Self::Packed(bytes) => {
                let mut start = 0_usize;
                for (count, pair) in groups(bytes) {
                    let end = start.saturating_add(count).min(wanted.end);
                    if !pair.is_empty() {
                        (start.max(wanted.start)..end).for_each(|at| visit(at, pair));
                    }
                    start = end;
                    if start >= wanted.end {
                        break;
                    }
                }
            }
        }
    }

    /// Adds to a slot, unpacking the chunk (of `slots` slots) when it was at rest.
    pub fn add(&mut self, at: usize, counts: GoodTotal, slots: usize) {
        self.unpack(slots);
        if let Self::Open(open) = self
            && let Some(slot) = open.get_mut(at)
        {
            slot.add(counts);
        }
    }

    /// Takes the chunk (of `slots` slots) up again.
    pub fn unpack(&mut self, slots: usize) {
        if let Self::Packed(_) = self {
            *self = Self::Open(self.to_slots(slots));
        }
    }

    /// Puts the chunk at rest.
    pub fn pack(&mut self) {
        if let Self::Open(slots) = self {
            *self = Self::Packed(packed(slots));
        }
    }

    /// The packed form, whichever it is in.
    #[must_use]
    pub fn to_bytes(&self) -> Box<[u8]> {
        match self {
            Self::Open(slots) => packed(slots),
            Self::Packed(bytes) => bytes.clone(),
        }
    }

    /// Bytes of memory behind the pointer.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        match self {
            Self::Open(slots) => size_of_val(&**slots),
            Self::Packed(bytes) => bytes.len(),
        }
    }
}

fn packed(slots: &[GoodTotal]) -> Box<[u8]> {
    let used = slots.iter().rposition(|slot| !slot.is_empty()).map_or(0, |last| last + 1);
    let mut bytes = Vec::new();
    let mut literal: Vec<GoodTotal> = Vec::new();
    let flush = |literal: &mut Vec<GoodTotal>, bytes: &mut Vec<u8>| {
        if !literal.is_empty() {
            put_varint(bytes, (literal.len() as u64) << 1);
            literal.iter().for_each(|pair| put_pair(bytes, *pair));
            literal.clear();
        }
    };
    let used_slots = slots.get(..used).unwrap_or_default();
    for run in used_slots.chunk_by(|a, b| a == b) {
        match run {
            // Two equal slots cost the same either way; a run of three pays.
            [pair, _, _, ..] => {
                flush(&mut literal, &mut bytes);
                put_varint(&mut bytes, (run.len() as u64) << 1 | 1);
                put_pair(&mut bytes, *pair);
            }
            few => literal.extend_from_slice(few),
        }
    }
    flush(&mut literal, &mut bytes);
    bytes.into()
}

/// Runs of equal slots as packed; stops silently at bytes that make no sense.
fn groups(bytes: &[u8]) -> impl Iterator<Item = (usize, GoodTotal)> {
    let mut rest = bytes;
    let mut literals = 0_u64;
    std::iter::from_fn(move || {
        if literals > 0 {
            literals -= 1;
            return take_pair(&mut rest).map(|pair| (1, pair));
        }
        let head = take_varint(&mut rest)?;
        let count = head >> 1;
        if head & 1 == 1 {
            return take_pair(&mut rest).map(|pair| (count as usize, pair));
        }
        literals = count.checked_sub(1)?;
        take_pair(&mut rest).map(|pair| (1, pair))
    })
}

fn put_pair(bytes: &mut Vec<u8>, pair: GoodTotal) {
    let bad = pair.bad;
    put_varint(bytes, pair.total << 1 | u64::from(bad > 0));
    if bad > 0 {
        put_varint(bytes, bad);
    }
}

fn take_pair(bytes: &mut &[u8]) -> Option<GoodTotal> {
    let head = take_varint(bytes)?;
    let total = head >> 1;
    let bad = if head & 1 == 1 { take_varint(bytes)? } else { 0 };
    Some(GoodTotal { bad, total })
}

fn put_varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Guarantees that packing loses nothing and that single reads agree with whole ones.
        #[test]
        fn packing_is_lossless(pairs in prop::collection::vec((0_u64..5, 0_u64..3), 0..360)) {
            let mut slots = vec![GoodTotal::default(); 360];
            for (slot, (total, bad)) in slots.iter_mut().zip(pairs) {
                *slot = GoodTotal { bad, total };
            }
            let open = Chunk::Open(slots.clone().into());
            let mut chunk = open.clone();
            chunk.pack();
            prop_assert_eq!(&*chunk.to_slots(360), slots.as_slice());
            for at in [0, 1, 77, 359] {
                prop_assert_eq!(chunk.get(at), slots[at]);
            }
            for wanted in [0..360, 0..1, 77..78, 60..300, 359..360] {
                for chunk in [&chunk, &open] {
                    let mut visited = vec![GoodTotal::default(); 360];
                    chunk.for_each(wanted.clone(), |at, counts| visited[at] = counts);
                    prop_assert_eq!(&visited[wanted.clone()], &slots[wanted.clone()]);
                    let outside = visited.iter().enumerate().filter(|(at, _)| !wanted.contains(at));
                    prop_assert!(outside.map(|(_, counts)| counts).all(|c| c.is_empty()));
                }
            }
        }

        /// Guarantees that no bytes make reading panic or run away.
        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            prop_assert_eq!(Chunk::Packed(bytes.into()).to_slots(360).len(), 360);
        }
    }

    /// Guarantees the size promised for a healthy probe.
    #[test]
    fn a_healthy_hour_is_a_few_bytes() {
        let mut chunk = Chunk::Open(vec![GoodTotal::one(true); 360].into());
        chunk.pack();
        assert!(chunk.heap_bytes() <= 4);
    }
}
