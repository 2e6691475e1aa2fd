//! What the engines do alike: cutting what is written at the bounds of blocks, adding up what is
//! read, and refusing ranges that are too long.

use super::{EngineFailure, MAX_READ_SLOTS, block_slots};
use crate::model::series::{Block, SeriesId, SlotValue, Tier};
use crate::model::slot::Slot;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::Range;

/// Slots of one series that lie in one block.
#[derive(Clone, Copy, Debug)]
pub(super) struct Piece<'a> {
    pub(super) series: SeriesId,
    /// The block's first slot.
    pub(super) start: Slot,
    pub(super) slots: &'a [(Slot, SlotValue)],
}

/// Slots that add up, by rising slot.
#[derive(Debug, Default)]
pub(super) struct Merged(BTreeMap<Slot, SlotValue>);

/// Blocks as the engines store them. Where a slot goes follows from the slot alone, so a block that
/// reaches beyond its bounds is cut instead of hiding what lies there.
pub(super) fn pieces(tier: Tier, blocks: &[Block]) -> impl Iterator<Item = Piece<'_>> {
    let start_of = move |slot: Slot| slot.align(block_slots(tier));
    blocks.iter().flat_map(move |block| {
        block.slots.chunk_by(move |a, b| start_of(a.0) == start_of(b.0)).filter_map(move |slots| {
            let (first, _) = slots.first()?;
            Some(Piece { series: block.series, start: start_of(*first), slots })
        })
    })
}

impl Merged {
    /// Adds slots that came after those added before.
    pub(super) fn add(&mut self, slots: impl IntoIterator<Item = (Slot, SlotValue)>) {
        for (slot, value) in slots {
            match self.0.entry(slot) {
                Entry::Vacant(free) => drop(free.insert(value)),
                Entry::Occupied(mut taken) => taken.get_mut().add(&value),
            }
        }
    }

    /// Adds those slots of a stored block that lie within `from..to`. Refuses more than
    /// [`MAX_READ_SLOTS`] in all.
    pub(super) fn add_read(
        &mut self,
        slots: impl IntoIterator<Item = (Slot, SlotValue)>,
        range: &Range<Slot>,
    ) -> Result<(), EngineFailure> {
        self.add(slots.into_iter().filter(|(slot, _)| range.contains(slot)));
        if self.0.len() > MAX_READ_SLOTS as usize {
            return Err(EngineFailure::RangeTooLong);
        }
        Ok(())
    }

    pub(super) fn into_slots(self) -> Vec<(Slot, SlotValue)> {
        self.0.into_iter().collect()
    }
}
