//! The engines against `conformance`, and sled against crashes, damage, locks and full disks.

mod damage;
mod sizes;
mod steps;

use super::conformance::{BASE, Engine, SERIES, conformance, counters};
use super::shelf::EXTRA_OPEN;
use super::{Config, EngineFailure, MemoryHistory, OpenReport, SledHistory, window_slots};
use crate::base::error::{Chain, cause};
use crate::model::series::{Block, History, HistoryError, Past, SeriesId, SlotValue, Tier};
use crate::model::slot::Slot;
use crate::telemetry::Telemetry;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;

struct OnDisk(TempDir);

struct InMemory(Arc<MemoryHistory>);

fn on_disk() -> OnDisk {
    OnDisk(tempfile::tempdir().expect("a directory"))
}

fn in_memory() -> InMemory {
    InMemory(Arc::new(MemoryHistory::new()))
}

impl Engine for OnDisk {
    fn open(&self) -> Box<dyn History> {
        Box::new(open_whole(self.0.path()))
    }
}

impl Engine for InMemory {
    fn open(&self) -> Box<dyn History> {
        Box::new(self.0.clone())
    }
}

impl Past for Arc<MemoryHistory> {
    fn read(
        &self,
        tier: Tier,
        series: SeriesId,
        from: Slot,
        to: Slot,
    ) -> Result<Vec<(Slot, SlotValue)>, HistoryError> {
        (**self).read(tier, series, from, to)
    }
}

impl History for Arc<MemoryHistory> {
    fn write(&self, tier: Tier, epoch: u64, blocks: &[Block]) -> Result<(), HistoryError> {
        (**self).write(tier, epoch, blocks)
    }
    fn recover(&self, committed: u64) -> Result<(), HistoryError> {
        (**self).recover(committed)
    }
    fn retain(&self, tier: Tier, horizon: Slot) -> Result<(), HistoryError> {
        (**self).retain(tier, horizon)
    }
    fn disk_bytes(&self) -> u64 {
        (**self).disk_bytes()
    }
}

conformance!(sled_conforms, on_disk, 12);
conformance!(memory_conforms, in_memory, 256);

fn open(dir: &Path) -> Result<(SledHistory, OpenReport), HistoryError> {
    SledHistory::open(Config::new(dir), &Telemetry::new())
}

/// Opens a history that is not damaged.
fn open_whole(dir: &Path) -> SledHistory {
    let (history, report) = open(dir).expect("opens");
    assert_eq!(report, OpenReport::default());
    history
}

fn write_one(history: &SledHistory, epoch: u64, at: Slot, value: u128) -> Result<(), HistoryError> {
    let block = counters(Tier::TenSeconds, SERIES, at, &[(0, value)]);
    history.write(Tier::TenSeconds, epoch, &[block])
}

fn read_all(history: &SledHistory) -> Vec<u128> {
    let all = history.read(Tier::TenSeconds, SERIES, Slot(0), Slot(u32::MAX)).expect("read");
    all.iter().map(|(_, value)| if let SlotValue::Counter(n) = value { *n } else { 0 }).collect()
}

fn copy_directory(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("made");
    for entry in fs::read_dir(from).expect("listed").map(|entry| entry.expect("an entry")) {
        let to = to.join(entry.file_name());
        if entry.metadata().expect("there").is_dir() {
            copy_directory(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).expect("copied");
        }
    }
}

/// Guarantees that a write that returned needs no orderly end: files copied while the process still
/// runs, as a crash would leave them, hold it.
#[test]
fn a_write_that_returned_survives_a_crash() {
    let (running, crashed) = (on_disk(), on_disk());
    let history = open_whole(running.0.path());
    for epoch in 1..=30 {
        write_one(&history, epoch, BASE.plus(epoch as u32 * 90), 5).expect("written");
    }
    copy_directory(running.0.path(), crashed.0.path());
    let found = open_whole(crashed.0.path());
    found.recover(29).expect("recovered");
    assert_eq!(read_all(&found), [5; 29]);
}

/// Guarantees that a history is opened by one process, that a second is told so, and that a lock,
/// ours or sled's, is never taken for damage.
#[test]
fn a_lock_is_an_error_and_no_damage() {
    let place = on_disk();
    let history = open_whole(place.0.path());
    write_one(&history, 1, BASE, 5).expect("written");
    let check = |refused: Result<(SledHistory, OpenReport), HistoryError>| {
        let error = refused.err().expect("it is locked");
        assert!(matches!(cause::<EngineFailure>(&error), Some(EngineFailure::Locked)));
        assert!(Chain(&error).to_string().contains("another process"), "{}", Chain(&error));
    };
    check(open(place.0.path()));
    assert_eq!(read_all(&history), [5]);
    drop(history);
    let window = fs::read_dir(place.0.path())
        .expect("listed")
        .map(|entry| entry.expect("an entry").path())
        .find(|path| path.is_dir())
        .expect("a window");
    let foreign = sled::open(&window).expect("opened by a tool");
    check(open(place.0.path()));
    drop(foreign);
    assert_eq!(read_all(&open_whole(place.0.path())), [5]);
}

/// Guarantees that many windows are readable although few stay open.
#[test]
fn few_windows_stay_open() {
    let place = on_disk();
    let history = open_whole(place.0.path());
    let starts = (0..8).map(|n| BASE.plus(n * window_slots(Tier::TenSeconds)));
    for start in starts.clone() {
        write_one(&history, 1, start, 5).expect("written");
        assert!(history.shelf.open_count() <= EXTRA_OPEN + 1);
    }
    assert_eq!(read_all(&history), [5; 8]);
    assert!(history.shelf.open_count() <= EXTRA_OPEN + 1);
    // Also when several read at once.
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for start in starts.clone().rev() {
                    let read = history.read(Tier::TenSeconds, SERIES, start, start.plus(1));
                    assert_eq!(read.expect("read"), [(start, SlotValue::Counter(5))]);
                }
            });
        }
    });
}

/// Guarantees that a dropped window's directory is gone, that late data does not bring it back, and
/// that both are counted.
#[test]
fn dropped_windows_stay_dropped() {
    let place = on_disk();
    let history = open_whole(place.0.path());
    let window = window_slots(Tier::TenSeconds);
    write_one(&history, 1, BASE, 5).expect("written");
    write_one(&history, 1, BASE.plus(window), 6).expect("written");
    let now = BASE.plus(window).start().plus(std::time::Duration::from_secs(2 * 24 * 3_600));
    history.expire(now).expect("expired");
    write_one(&history, 2, BASE.plus(90), 7).expect("left out");
    assert_eq!(read_all(&history), [6]);
    assert_eq!(history.counts().windows_dropped, 1);
    assert_eq!(history.counts().blocks_expired, 1);
    let names = fs::read_dir(place.0.path()).expect("listed").count();
    assert_eq!(names, 2, "one window and the lock");
}

/// Guarantees that the bound in bytes drops the oldest windows first and never the newest.
#[test]
fn the_disk_bound_drops_the_oldest() {
    let place = on_disk();
    let telemetry = Telemetry::new();
    let bounded = |max| {
        let config = Config { max_disk_bytes: Some(max), ..Config::new(place.0.path()) };
        SledHistory::open(config, &telemetry).expect("opens").0
    };
    let starts = [0, 1, 2, 3].map(|n| BASE.plus(n * window_slots(Tier::TenSeconds)));
    let history = bounded(u64::MAX);
    for (n, start) in (0..).zip(starts) {
        write_one(&history, 1, start, n).expect("written");
    }
    drop(history);
    // Once opened again, each window takes a whole segment of sled's.
    let history = bounded(u64::MAX);
    assert_eq!(read_all(&history), [0, 1, 2, 3]);
    history.retain(Tier::TenSeconds, Slot(0)).expect("nothing to drop");
    let used = history.disk_bytes();
    drop(history);
    let history = bounded(used - used / 8);
    history.retain(Tier::TenSeconds, Slot(0)).expect("dropped");
    assert_eq!(read_all(&history), [1, 2, 3]);
    assert!(history.disk_bytes() < used);
    drop(history);
    let history = bounded(1);
    history.retain(Tier::OneMinute, Slot(0)).expect("dropped");
    assert_eq!(read_all(&history), [3]);
    assert_eq!(history.counts().windows_dropped, 3, "one before, counted by the same telemetry");
    assert!(telemetry.history_disk_bytes.get() > 0);
}

/// Guarantees that a removal which a crash cut short is finished at the next start.
#[test]
fn a_removal_cut_short_is_finished() {
    let place = on_disk();
    let dropped = place.0.path().join("10s-2026-11-24T00.dropped");
    fs::create_dir_all(dropped.join("blobs")).expect("made");
    drop(open_whole(place.0.path()));
    assert!(!dropped.try_exists().expect("known"));
}

/// Guarantees that of a write that failed nothing stays: the same blocks under the next epoch count
/// once.
#[test]
fn a_failed_write_leaves_nothing() {
    let place = on_disk();
    let history = open_whole(place.0.path());
    let second = BASE.plus(window_slots(Tier::TenSeconds));
    write_one(&history, 1, BASE, 5).expect("written");
    // A file where the second window's directory would have to be.
    let obstacle = history.shelf.path(super::window::WindowId::of(Tier::TenSeconds, second));
    fs::write(&obstacle, "in the way").expect("written");
    let blocks = [BASE, second].map(|at| counters(Tier::TenSeconds, SERIES, at, &[(0, 10)]));
    let failed = history.write(Tier::TenSeconds, 2, &blocks).expect_err("no directory");
    assert!(matches!(cause::<EngineFailure>(&failed), Some(EngineFailure::File { .. })));
    assert_eq!(
        history.read(Tier::TenSeconds, SERIES, BASE, BASE.plus(1)).expect("read"),
        [(BASE, SlotValue::Counter(5))]
    );
    fs::remove_file(&obstacle).expect("out of the way");
    history.write(Tier::TenSeconds, 3, &blocks).expect("written");
    assert_eq!(read_all(&history), [15, 10]);
    drop(history);
    let history = open_whole(place.0.path());
    history.recover(3).expect("recovered");
    assert_eq!(read_all(&history), [15, 10]);
}
