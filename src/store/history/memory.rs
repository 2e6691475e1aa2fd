//! The engine that keeps history in memory: for the demo, for tests, and as the measure of what the
//! others must do.

use super::block_slots;
use super::pieces::{Merged, pieces};
use crate::model::series::{Block, History, HistoryError, Past, SeriesId, SlotValue, Tier};
use crate::model::slot::Slot;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::path::Path;

/// History in memory, gone with the process. Bounded by [`History::retain`] alone.
#[derive(Debug, Default)]
pub struct MemoryHistory {
    blocks: Mutex<BTreeMap<Place, Vec<(Slot, SlotValue)>>>,
}

/// Where a block stands; in the order in which reads want it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    tier: Tier,
    series: SeriesId,
    start: Slot,
    epoch: u64,
}

impl MemoryHistory {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl Clone for MemoryHistory {
    /// Another one with the same blocks.
    fn clone(&self) -> Self {
        Self { blocks: Mutex::new(self.blocks.lock().clone()) }
    }
}

impl Past for MemoryHistory {
    fn read(
        &self,
        tier: Tier,
        series: SeriesId,
        from: Slot,
        to: Slot,
    ) -> Result<Vec<(Slot, SlotValue)>, HistoryError> {
        if from >= to {
            return Ok(Vec::new());
        }
        let place = |start| Place { tier, series, start, epoch: 0 };
        let mut merged = Merged::default();
        let stored = self.blocks.lock();
        for slots in stored.range(place(from.align(block_slots(tier)))..place(to)).map(|(_, s)| s) {
            let added = merged.add_read(slots.iter().cloned(), &(from..to));
            added.map_err(|failure| failure.at(Path::new("memory")))?;
        }
        Ok(merged.into_slots())
    }
}

impl History for MemoryHistory {
    fn write(&self, tier: Tier, epoch: u64, blocks: &[Block]) -> Result<(), HistoryError> {
        let mut stored = self.blocks.lock();
        for piece in pieces(tier, blocks) {
            let place = Place { tier, series: piece.series, start: piece.start, epoch };
            let slots = stored.entry(place).or_default();
            let mut merged = Merged::default();
            merged.add(std::mem::take(slots));
            merged.add(piece.slots.iter().cloned());
            *slots = merged.into_slots();
        }
        Ok(())
    }

    fn recover(&self, committed: u64) -> Result<(), HistoryError> {
        self.blocks.lock().retain(|place, _| place.epoch <= committed);
        Ok(())
    }

    fn retain(&self, tier: Tier, horizon: Slot) -> Result<(), HistoryError> {
        let ends = |place: &Place| place.start.plus(block_slots(place.tier));
        self.blocks.lock().retain(|place, _| place.tier != tier || ends(place) > horizon);
        Ok(())
    }

    fn disk_bytes(&self) -> u64 {
        0
    }
}
