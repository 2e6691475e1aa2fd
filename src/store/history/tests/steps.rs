//! A crash between any two steps of a checkpoint, as copies of the directory taken in between.

use super::super::conformance::counters;
use super::{BASE, OnDisk, SERIES, copy_directory, on_disk, open_whole};
use crate::model::series::{History, Past, SlotValue, Tier};
use crate::model::slot::Slot;
use crate::store::history::window_slots;

const EPOCHS: u32 = 8;

/// A directory as a crash leaves it, with what the checkpoint file beside it would say.
struct Crashed {
    place: OnDisk,
    committed: u64,
    horizon: Slot,
}

/// From epoch to epoch half a window of ten-second slots.
fn start(epoch: u32) -> Slot {
    BASE.plus(epoch * window_slots(Tier::TenSeconds) / 2)
}

/// What a tier holds of an epoch.
fn value(tier: Tier, epoch: u32) -> (Slot, SlotValue) {
    let tens = u128::from(epoch) * 10;
    (start(epoch), SlotValue::Counter(if tier == Tier::TenSeconds { tens } else { tens + 1 }))
}

/// Checkpoints on history alone: both tiers, the commit, retention; and a crash after each step.
fn crashes() -> Vec<Crashed> {
    let running = on_disk();
    let history = open_whole(running.0.path());
    let mut crashes = Vec::new();
    let (mut committed, mut horizon) = (0, Slot(0));
    for epoch in 1..=EPOCHS {
        let mut crash = |committed: u64, horizon: Slot| {
            let place = on_disk();
            copy_directory(running.0.path(), place.0.path());
            crashes.push(Crashed { place, committed, horizon });
        };
        for tier in Tier::ALL {
            let (slot, SlotValue::Counter(units)) = value(tier, epoch) else { continue };
            let block = counters(tier, SERIES, slot, &[(0, units)]);
            history.write(tier, u64::from(epoch), &[block]).expect("written");
            crash(committed, horizon);
        }
        committed = u64::from(epoch);
        crash(committed, horizon);
        horizon = start(epoch.saturating_sub(3));
        for tier in Tier::ALL {
            history.retain(tier, horizon).expect("retained");
            crash(committed, horizon);
        }
    }
    crashes
}

/// Guarantees that after a crash between any two steps of a checkpoint history has exactly what the
/// committed epochs wrote and retention keeps, and takes the next epoch.
#[test]
fn a_crash_between_any_two_steps_is_survived() {
    for Crashed { place, committed, horizon } in crashes() {
        let history = open_whole(place.0.path());
        history.recover(committed).expect("recovered");
        let next = committed as u32 + 1;
        for tier in Tier::ALL {
            let read =
                |from: Slot| history.read(tier, SERIES, from, Slot(u32::MAX)).expect("readable");
            let written = |last: u32| (1..=last).map(move |epoch| value(tier, epoch));
            let kept: Vec<_> = written(next - 1).filter(|(slot, _)| *slot >= horizon).collect();
            assert_eq!(read(horizon), kept, "{tier:?} at {committed}");
            // Windows go as a whole: of what is older some may still be there, as it was written.
            assert!(read(Slot(0)).iter().all(|found| written(next - 1).any(|one| one == *found)));
            let (slot, SlotValue::Counter(units)) = value(tier, next) else { continue };
            let block = counters(tier, SERIES, slot, &[(0, units)]);
            history.write(tier, u64::from(next), &[block]).expect("written");
            assert_eq!(read(slot), [value(tier, next)], "{tier:?} after {committed}");
        }
    }
}
