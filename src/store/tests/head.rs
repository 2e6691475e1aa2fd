//! The live head and history together: whatever the checkpoints do in between, a read is the sum over
//! the values that were added.

use crate::model::histogram::ExpHistogram;
use crate::model::labels::Labels;
use crate::model::series::{History, HistoryError, SeriesId, SeriesKey, SlotValue, Tier};
use crate::model::slot::Slot;
use crate::store::head::Head;
use crate::store::history::MemoryHistory;
use proptest::prelude::*;
use std::collections::BTreeMap;

const BASE: Slot = Slot(17_280 * 10_000);

/// One thing that happens to the head.
#[derive(Clone, Debug)]
enum Step {
    /// A value of one of the series, so many slots ago.
    Add { series: u8, ago: u32, value: u64 },
    /// Time goes on.
    Advance(u32),
    /// A checkpoint: what is due goes to history, or history fails and it stays.
    Checkpoint { fails: bool },
}

fn step() -> impl Strategy<Value = Step> {
    let ago = prop_oneof![4 => 0_u32..20, 2 => 0_u32..300, 1 => 0_u32..20_000];
    prop_oneof![
        6 => (0_u8..3, ago, 1_u64..1 << 30).prop_map(|(series, ago, value)| Step::Add { series, ago, value }),
        3 => prop_oneof![0_u32..10, 0_u32..200, 0_u32..5_000].prop_map(Step::Advance),
        2 => any::<bool>().prop_map(|fails| Step::Checkpoint { fails }),
    ]
}

fn key(series: u8) -> SeriesKey {
    SeriesKey { name: "a.series".into(), labels: Labels::new([("n", &*series.to_string())]) }
}

/// Even series count, odd ones are histograms.
fn slot_value(series: u8, value: u64) -> SlotValue {
    if series.is_multiple_of(2) {
        return SlotValue::Counter(value.into());
    }
    let mut histogram = ExpHistogram::default();
    histogram.record(value);
    SlotValue::Histogram(histogram)
}

fn checkpoint(head: &mut Head, history: &dyn History, now: Slot, epoch: u64, fails: bool) {
    head.forget_idle(now);
    let due = head.due(now);
    head.close(&due);
    if fails {
        head.reopen(&due);
    } else {
        let write = |(tier, blocks): &(Tier, Vec<_>)| history.write(*tier, epoch, blocks);
        due.blocks.iter().try_for_each(write).expect("memory takes it");
    }
}

fn read(
    head: &Head,
    history: &dyn History,
    tier: Tier,
    id: SeriesId,
) -> Result<Vec<(Slot, SlotValue)>, HistoryError> {
    head.read(history, tier, id, BASE.minus(30_000), BASE.plus(400_000))
}

proptest! {
    /// Guarantees that head and history together lose nothing and count nothing twice, in either tier,
    /// whatever is late and whenever history fails.
    #[test]
    fn a_read_is_the_sum_over_what_was_added(steps in prop::collection::vec(step(), 1..60)) {
        let (mut head, history) = (Head::default(), MemoryHistory::new());
        let mut added: BTreeMap<(u8, Slot), SlotValue> = BTreeMap::new();
        let (mut now, mut epoch) = (BASE, 0);
        for step in steps {
            match step {
                Step::Add { series, ago, value } => {
                    let (slot, value) = (now.minus(ago), slot_value(series, value));
                    head.add(key(series).id(), || key(series), slot, &value);
                    match added.get_mut(&(series, slot)) {
                        Some(known) => known.add(&value),
                        None => drop(added.insert((series, slot), value)),
                    }
                }
                Step::Advance(slots) => now = now.plus(slots),
                Step::Checkpoint { fails } => {
                    epoch += 1;
                    checkpoint(&mut head, &history, now, epoch, fails);
                }
            }
        }
        for tier in Tier::ALL {
            for series in 0..3 {
                let mut expected: BTreeMap<Slot, SlotValue> = BTreeMap::new();
                for ((_, slot), value) in added.iter().filter(|((one, _), _)| *one == series) {
                    match expected.get_mut(&slot.align(tier.slots())) {
                        Some(known) => known.add(value),
                        None => drop(expected.insert(slot.align(tier.slots()), value.clone())),
                    }
                }
                let expected: Vec<_> = expected.into_iter().collect();
                prop_assert_eq!(read(&head, &history, tier, key(series).id()).expect("read"), expected);
            }
        }
    }
}

/// Guarantees that a series which nobody touches leaves the head, but never with something in it.
#[test]
fn idle_series_leave_when_they_are_empty() {
    let (mut head, history) = (Head::default(), MemoryHistory::new());
    head.add(key(0).id(), || key(0), BASE, &slot_value(0, 5));
    let later = BASE.plus(6 * 360 + 1);
    checkpoint(&mut head, &history, later, 1, true);
    assert_eq!(head.len(), 1, "history has not taken its block");
    checkpoint(&mut head, &history, later, 2, false);
    checkpoint(&mut head, &history, later, 3, false);
    assert!(head.is_empty());
    let kept = read(&head, &history, Tier::TenSeconds, key(0).id()).expect("read");
    assert_eq!(kept, [(BASE, SlotValue::Counter(5))]);
}
