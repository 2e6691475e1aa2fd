//! Whatever operation fails, and whatever a power cut then leaves: what was acknowledged is there.

use super::*;
use crate::base::faulty::{Fault, Survivors};

const LANES: [Lane; 2] = [Lane::Control, Lane::Bulk];
const FAULTS: [Fault; 4] = [Fault::Fail, Fault::Tear, Fault::Full, Fault::Halt];
const ROUNDS: u32 = 4;
const RECORDS_A_ROUND: u32 = 4;

/// What one lane was given, in order, and whether it was acknowledged.
type Submitted = Vec<(Vec<u8>, bool)>;

fn config() -> Config {
    Config { control_reserve_bytes: 3_000, ..small_segments() }
}

fn record(number: u32) -> Vec<u8> {
    let length = 4 + (number as usize * 397) % 900;
    number.to_le_bytes().iter().copied().cycle().take(length).collect()
}

/// Appends to both lanes in rounds, each of two commits, until the process dies of a fault.
fn workload(disk: &FaultyFiles) -> [Submitted; 2] {
    let mut submitted = [Vec::new(), Vec::new()];
    let Ok(rig) = Rig::open(disk, config()) else { return submitted };
    for round in 0..ROUNDS {
        let numbers = round * RECORDS_A_ROUND..(round + 1) * RECORDS_A_ROUND;
        let records: Vec<_> = numbers.map(record).collect();
        for (lane, submitted) in LANES.iter().zip(&mut submitted) {
            let outcomes = rig.append_together(*lane, &records);
            submitted.extend(records.iter().cloned().zip(outcomes.iter().map(Result::is_ok)));
        }
    }
    submitted
}

/// Checks that the replay of a lane holds every acknowledged record and no other than submitted
/// ones, in order; and without a hole, unless the disk was full on the way.
fn check(replayed: &[Vec<u8>], submitted: &Submitted, holes: bool, context: &str) {
    let mut left = replayed.iter().peekable();
    let mut ended = false;
    for (record, acknowledged) in submitted {
        if left.next_if(|next| *next == record).is_some() {
            assert!(!ended || holes, "a hole before {:?}: {context}", &record[..4]);
        } else {
            ended = true;
            assert!(!acknowledged, "lost {:?}: {context}", &record[..4]);
        }
    }
    assert_eq!(left.next(), None, "never submitted, or out of order: {context}");
}

fn recovers(disk: &FaultyFiles, submitted: &[Submitted; 2], holes: bool, context: &str) {
    let mut rig = Rig::open(disk, config()).expect("a sound disk opens");
    for (lane, submitted) in LANES.into_iter().zip(submitted) {
        let replayed = rig.everything(lane);
        check(&replayed, submitted, holes, context);
        let position = rig.append(lane, b"after").expect("appended");
        assert!(position.segment >= rig.journal.first(lane).segment, "{context}");
    }
    rig = rig.restart(config());
    for lane in LANES {
        assert_eq!(
            rig.everything(lane).last().map(Vec::as_slice),
            Some(&b"after"[..]),
            "{context}"
        );
    }
}

/// Guarantees, for every operation that can fail and every way in which it can, that after a power
/// cut the journal opens, replays a prefix with everything that was acknowledged, and goes on; also
/// when its recovery is cut off in turn.
#[test]
fn an_acknowledged_record_survives_any_fault_and_a_power_cut() {
    let sound = FaultyFiles::new();
    let all_acknowledged = workload(&sound).iter().flatten().all(|(_, acknowledged)| *acknowledged);
    assert!(all_acknowledged);
    let operations = sound.operations();
    assert!(operations > 50, "{operations}");
    for operation in 1..=operations + 2 {
        for fault in FAULTS {
            let disk = FaultyFiles::new();
            disk.fail_at(operation, fault);
            let submitted = workload(&disk);
            let seed = operation * 10;
            for survivors in
                [Survivors::None, Survivors::All, Survivors::Some(seed), Survivors::Some(seed + 1)]
            {
                let context = format!("operation {operation}, {fault:?}, {survivors:?}");
                let holes = fault == Fault::Full;
                let after = disk.power_cut(survivors);
                recovers(&after.power_cut(Survivors::All), &submitted, holes, &context);
                after.fail_at(1 + operation % 4, Fault::Halt);
                drop(Rig::open(&after, config()));
                let again = after.power_cut(Survivors::Some(seed + 2));
                recovers(&again, &submitted, holes, &format!("{context}, again"));
            }
        }
    }
}

/// Guarantees that what a start has found is durable before anybody reads it: a killed process leaves
/// records that are written but not flushed, and a later power cut must not take them back.
#[test]
fn what_a_start_finds_is_durable() {
    let rig = Rig::new(small_segments());
    assert!(rig.append(Lane::Bulk, b"one").is_ok());
    // The write goes through, its flush and everything behind it does not.
    rig.disk.fail_at(rig.disk.operations() + 2, Fault::Halt);
    assert_eq!(rig.append(Lane::Bulk, b"two"), Err(AppendError::Poisoned));
    rig.disk.lift_fault();
    let found = Rig::open(&rig.disk, small_segments()).expect("opened").everything(Lane::Bulk);
    assert_eq!(found, [b"one", b"two"]);
    let after = Rig::open(&rig.disk.power_cut(Survivors::None), small_segments()).expect("opened");
    assert_eq!(after.everything(Lane::Bulk), found);
}
