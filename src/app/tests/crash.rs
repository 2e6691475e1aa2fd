//! The disk fails at any step of a checkpoint, the machine loses power, and the next start has
//! everything that was acknowledged, once.

use super::START;
use super::daemon::{Daemon, Record, keep_all};
use crate::base::clock::UnixNanos;
use crate::base::faulty::{Fault, FaultyFiles, Survivors};
use crate::model::position::Lane;
use crate::model::series::{Block, History, HistoryError, Past, SeriesId, SlotValue, Tier};
use crate::model::slot::Slot;
use crate::store::history::MemoryHistory;
use parking_lot::Mutex;
use std::path::Path;
use std::sync::Arc;

const FAULTS: [Fault; 4] = [Fault::Fail, Fault::Tear, Fault::Full, Fault::Halt];
const ROUNDS: u64 = 5;

/// What outlives a process.
#[derive(Clone)]
struct Disk {
    files: FaultyFiles,
    history: Arc<FaultyHistory>,
}

/// History that fails at a call of its choice; of a failed call nothing stays behind.
#[derive(Default)]
struct FaultyHistory {
    kept: MemoryHistory,
    /// Calls that change something, and which of them fail.
    calls: Mutex<(u64, Vec<u64>)>,
}

// === impl FaultyHistory ===

impl FaultyHistory {
    fn call(&self) -> Result<(), HistoryError> {
        let mut calls = self.calls.lock();
        calls.0 += 1;
        let fails = calls.1.contains(&calls.0);
        let error = || HistoryError::Engine { path: "memory".into(), source: "injected".into() };
        if fails { Err(error()) } else { Ok(()) }
    }
}

impl Past for FaultyHistory {
    fn read(
        &self,
        tier: Tier,
        series: SeriesId,
        from: Slot,
        to: Slot,
    ) -> Result<Vec<(Slot, SlotValue)>, HistoryError> {
        self.kept.read(tier, series, from, to)
    }
}

impl History for FaultyHistory {
    fn write(&self, tier: Tier, epoch: u64, blocks: &[Block]) -> Result<(), HistoryError> {
        self.call()?;
        self.kept.write(tier, epoch, blocks)
    }

    fn recover(&self, committed: u64) -> Result<(), HistoryError> {
        self.call()?;
        self.kept.recover(committed)
    }

    fn retain(&self, tier: Tier, horizon: Slot) -> Result<(), HistoryError> {
        self.kept.retain(tier, horizon)
    }

    fn disk_bytes(&self) -> u64 {
        0
    }
}

// === impl Disk ===

impl Disk {
    fn new() -> Self {
        Self { files: FaultyFiles::new(), history: Arc::default() }
    }

    /// What a power cut leaves. Blocks of history stay, whether an epoch holds them or not.
    fn power_cut(&self, survivors: Survivors) -> Self {
        let history = FaultyHistory { kept: self.history.kept.clone(), ..FaultyHistory::default() };
        Self { files: self.files.power_cut(survivors), history: Arc::new(history) }
    }

    fn start(&self, dir: &Path, now: UnixNanos) -> Daemon {
        let history: Arc<dyn History> = self.history.clone();
        Daemon::start(&self.files, history, keep_all(dir), (dir, now), |found| found.epoch)
    }
}

/// Checks all of a daemon against the journal, which must hold what was acknowledged.
fn check(daemon: &Daemon, acknowledged: &[Record], context: &str) {
    let records = daemon.records();
    for lane in [Lane::Control, Lane::Bulk] {
        let mut left = records.iter().filter(|(at, _)| *at == lane);
        for wanted in acknowledged.iter().filter(|(at, _)| *at == lane) {
            assert!(
                left.any(|record| record == wanted),
                "an acknowledged record is lost: {context}"
            );
        }
    }
    daemon.check(&records, |_, _, _| true, context);
}

/// Lives on a disk with faults, and some rounds on a sound one, loses power, and checks every start
/// after that.
fn survives(disk: &Disk, sound_rounds: u64, survivors: &[Survivors], context: &str) {
    let dir = tempfile::tempdir().expect("a directory");
    let mut daemon = disk.start(dir.path(), START);
    daemon.live(ROUNDS);
    disk.files.lift_fault();
    daemon.live(sound_rounds);
    check(&daemon, &daemon.acknowledged, &format!("alive, {context}"));
    let (acknowledged, now) = (std::mem::take(&mut daemon.acknowledged), daemon.clock.now());
    drop(daemon);
    for survivors in survivors {
        let context = format!("{survivors:?}, {context}");
        let disk = disk.power_cut(*survivors);
        let mut daemon = disk.start(dir.path(), now);
        check(&daemon, &acknowledged, &context);
        daemon.live(1);
        let later = daemon.clock.now();
        drop(daemon);
        let daemon = disk.start(dir.path(), later);
        check(&daemon, &acknowledged, &format!("and again, {context}"));
    }
}

/// Guarantees, for every operation on files during a checkpoint and every way in which it can fail,
/// that the daemon that lives on, and the one that starts after a power cut, have the state of the
/// acknowledged records: nothing lost, nothing added twice.
#[test]
fn a_checkpoint_may_fail_at_any_step() {
    let sound = Disk::new();
    let dir = tempfile::tempdir().expect("a directory");
    let mut daemon = sound.start(dir.path(), START);
    let operations: Vec<_> = (0..ROUNDS)
        .map(|_| {
            daemon.round();
            let before = sound.files.operations();
            daemon.checkpoint();
            before + 1..=sound.files.operations()
        })
        .collect();
    assert!(operations.iter().all(|range| range.clone().count() >= 6), "{operations:?}");
    // The first has no checkpoint before it, the third has one that it replaces.
    for operation in operations[0].clone().chain(operations[2].clone()) {
        for fault in FAULTS {
            let disk = Disk::new();
            disk.files.fail_at(operation, fault);
            let survivors = [Survivors::None, Survivors::All, Survivors::Some(operation)];
            survives(&disk, 0, &survivors, &format!("{fault:?} at operation {operation}"));
        }
    }
}

/// Guarantees the same once history works again after it failed, once or again and again, at the
/// taking back of what it had taken too.
#[test]
fn history_may_fail_at_any_step() {
    for first in 2..10 {
        for more in [vec![], vec![first + 1], vec![first + 1, first + 2], vec![first + 2]] {
            let disk = Disk::new();
            disk.history.calls.lock().1 = [vec![first], more].concat();
            let context = format!("calls {:?} of history fail", disk.history.calls.lock().1);
            survives(&disk, 1, &[Survivors::None], &context);
        }
    }
}
