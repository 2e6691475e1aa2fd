//! The live head: every series with its recent slots, and its total since it was first seen.
//!
//! A block of slots stays here until its time is over; the checkpoint then writes it to history and
//! drops it. Data that comes later opens a further block of the same time, and history adds the two
//! when it reads. Memory is bounded by the caps that `aggregate/` puts on series.

use crate::model::series::{Block, HistoryError, Past, SeriesId, SeriesKey, SlotValue, Tier};
use crate::model::slot::Slot;
use std::collections::{BTreeMap, HashMap};

/// Ten-second slots to a block: fifteen minutes.
pub const BLOCK_SLOTS: u32 = 90;
/// A block is closed this long after its end, so that phones' usual delay does not open it again.
const CLOSE_AFTER_SLOTS: u32 = 12;
/// A series that was not touched for this long leaves the head: six hours.
const IDLE_SLOTS: u32 = 6 * 360;

/// Every live series.
#[derive(Clone, Debug, Default)]
pub struct Head {
    series: HashMap<SeriesId, LiveSeries>,
}

/// One series.
#[derive(Clone, Debug)]
pub struct LiveSeries {
    /// Name and labels.
    pub key: SeriesKey,
    /// Everything since the series was first seen; what /metrics shows.
    pub total: SlotValue,
    /// The last slot that was written to.
    pub touched: Slot,
    /// Slots not yet in history, by the block to which they belong.
    pub open: BTreeMap<Slot, BTreeMap<Slot, SlotValue>>,
}

/// Blocks that are due for history, as [`Head::due`] found them.
#[derive(Clone, Debug, Default)]
pub struct DueBlocks {
    /// Per tier.
    pub blocks: Vec<(Tier, Vec<Block>)>,
    /// What to drop from the head once they are durable.
    closed: Vec<(SeriesId, Slot)>,
}

impl Head {
    /// Whether a series is known.
    #[must_use]
    pub fn contains(&self, id: SeriesId) -> bool {
        self.series.contains_key(&id)
    }

    /// Adds to a slot of a series; `key` is called only for a series not seen before. A value that
    /// does not fit what the series holds (another kind, other bucket edges) restarts its total.
    pub fn add(
        &mut self,
        id: SeriesId,
        key: impl FnOnce() -> SeriesKey,
        slot: Slot,
        value: &SlotValue,
    ) {
        let series = self.series.entry(id).or_insert_with(|| LiveSeries {
            key: key(),
            total: value.emptied(),
            touched: slot,
            open: BTreeMap::new(),
        });
        series.touched = series.touched.max(slot);
        series.total.add(value);
        let block = series.open.entry(slot.align(BLOCK_SLOTS)).or_default();
        match block.get_mut(&slot) {
            Some(known) => known.add(value),
            None => drop(block.insert(slot, value.clone())),
        }
    }

    /// A series.
    #[must_use]
    pub fn get(&self, id: SeriesId) -> Option<&LiveSeries> {
        self.series.get(&id)
    }

    /// Every series.
    pub fn iter(&self) -> impl Iterator<Item = &LiveSeries> {
        self.series.values()
    }

    /// Series of one name.
    pub fn named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a LiveSeries> {
        self.series.values().filter(move |series| &*series.key.name == name)
    }

    /// How many series there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.series.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.series.is_empty()
    }

    /// Puts back a series of a checkpoint.
    pub fn restore(&mut self, series: LiveSeries) {
        drop(self.series.insert(series.key.id(), series));
    }

    /// Blocks whose time is over at `now`, for every tier. They stay in the head until
    /// [`Head::close`].
    #[must_use]
    pub fn due(&self, now: Slot) -> DueBlocks {
        let mut due = DueBlocks::default();
        let (mut fine, mut coarse) = (Vec::new(), Vec::new());
        for (id, series) in &self.series {
            for (start, slots) in &series.open {
                if start.plus(BLOCK_SLOTS + CLOSE_AFTER_SLOTS) > now {
                    continue;
                }
                due.closed.push((*id, *start));
                coarse.extend(minute_block(*id, slots));
                let slots = slots.iter().map(|(slot, value)| (*slot, value.clone())).collect();
                fine.push(Block { series: *id, start: *start, slots });
            }
        }
        due.blocks = vec![(Tier::TenSeconds, fine), (Tier::OneMinute, coarse)];
        due
    }

    /// Drops blocks that history is about to hold; [`Head::reopen`] when it did not take them.
    pub fn close(&mut self, due: &DueBlocks) {
        for (id, start) in &due.closed {
            if let Some(series) = self.series.get_mut(id) {
                drop(series.open.remove(start));
            }
        }
    }

    /// Drops series that nobody touched for six hours and of which history has everything. Not
    /// together with [`Head::close`]: what is closed may have to be reopened.
    pub fn forget_idle(&mut self, now: Slot) {
        let horizon = now.minus(IDLE_SLOTS);
        self.series.retain(|_, series| series.touched >= horizon || !series.open.is_empty());
    }

    /// Puts blocks back that history did not take.
    pub fn reopen(&mut self, due: &DueBlocks) {
        let fine = due.blocks.iter().filter(|(tier, _)| *tier == Tier::TenSeconds);
        for block in fine.flat_map(|(_, blocks)| blocks) {
            let Some(series) = self.series.get_mut(&block.series) else { continue };
            let open = series.open.entry(block.start).or_default();
            block.slots.iter().for_each(|(slot, value)| merge_slot(open, *slot, value));
        }
    }

    /// The slots of a series within `from..to`: history and head together, by rising slot.
    ///
    /// # Errors
    /// When history fails.
    pub fn read(
        &self,
        history: &dyn Past,
        tier: Tier,
        id: SeriesId,
        from: Slot,
        to: Slot,
    ) -> Result<Vec<(Slot, SlotValue)>, HistoryError> {
        let mut merged: BTreeMap<Slot, SlotValue> =
            history.read(tier, id, from, to)?.into_iter().collect();
        let open = self.series.get(&id).map(|series| &series.open);
        let live = open.into_iter().flatten().flat_map(|(_, slots)| slots);
        for (slot, value) in live {
            let slot = slot.align(tier.slots());
            if slot >= from && slot < to {
                merge_slot(&mut merged, slot, value);
            }
        }
        Ok(merged.into_iter().collect())
    }
}

impl DueBlocks {
    /// Whether nothing is due.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.closed.is_empty()
    }
}

impl SlotValue {
    /// The same kind of value with nothing in it.
    #[must_use]
    pub fn emptied(&self) -> Self {
        match self {
            Self::Counter(_) => Self::Counter(0),
            Self::Gauge(value) => Self::Gauge(*value),
            Self::Histogram(_) => Self::Histogram(Default::default()),
            Self::Explicit(histogram) => {
                let mut empty = histogram.clone();
                empty.counts.iter_mut().for_each(|count| *count = 0);
                empty.sum = 0;
                Self::Explicit(empty)
            }
        }
    }
}

/// The same slots by the minute. A block of history's minute tier is made of several of these.
fn minute_block(series: SeriesId, slots: &BTreeMap<Slot, SlotValue>) -> Option<Block> {
    let mut minutes = BTreeMap::new();
    for (slot, value) in slots {
        merge_slot(&mut minutes, slot.align(Tier::OneMinute.slots()), value);
    }
    let (first, _) = minutes.first_key_value()?;
    let start = first.align(360);
    Some(Block { series, start, slots: minutes.into_iter().collect() })
}

fn merge_slot(into: &mut BTreeMap<Slot, SlotValue>, slot: Slot, value: &SlotValue) {
    match into.get_mut(&slot) {
        Some(known) => known.add(value),
        None => drop(into.insert(slot, value.clone())),
    }
}
