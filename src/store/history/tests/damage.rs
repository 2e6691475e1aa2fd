//! Windows whose files were damaged while nobody looked.

use super::{BASE, SERIES, on_disk, open, write_one};
use crate::model::series::{History, SlotValue, Tier};
use crate::model::slot::Slot;
use crate::store::history::conformance::counters;
use crate::store::history::window::WindowId;
use crate::store::history::{SledHistory, window_slots};
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

const BLOCKS: u32 = 40;

/// What happens to a file: its length and a number to draw places from are given.
type Damage = (&'static str, fn(&Path, u64, u64));

fn second() -> Slot {
    BASE.plus(window_slots(Tier::TenSeconds))
}

/// Two windows with blocks of several sizes, closed, and opened once more in between so that sled
/// has made a snapshot. The path of the first window.
fn fill(dir: &Path) -> PathBuf {
    for run in 0..2 {
        let history = open(dir).expect("opens").0;
        for n in run * BLOCKS / 2..(run + 1) * BLOCKS / 2 {
            let values: Vec<_> = (0..90).map(|slot| (slot, u128::from(slot * 7 + n))).collect();
            let at = |base: Slot| base.plus(n * 90);
            let blocks =
                [BASE, second()].map(|base| counters(Tier::TenSeconds, SERIES, at(base), &values));
            history.write(Tier::TenSeconds, u64::from(n + 1), &blocks).expect("written");
        }
    }
    dir.join(WindowId::of(Tier::TenSeconds, BASE).to_string())
}

fn first_file(window: &Path, prefix: &str) -> PathBuf {
    fs::read_dir(window)
        .expect("listed")
        .map(|entry| entry.expect("an entry").path())
        .find(|path| path.file_name().is_some_and(|n| n.to_string_lossy().starts_with(prefix)))
        .expect("sled keeps such a file")
}

fn cut(path: &Path, length: u64) {
    let file = OpenOptions::new().write(true).open(path).expect("opens");
    file.set_len(length).expect("cut");
}

fn garble(path: &Path, at: u64, bytes: &[u8]) {
    let file = OpenOptions::new().write(true).open(path).expect("opens");
    file.write_all_at(bytes, at).expect("garbled");
}

/// How a damaged window answers.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    SetAside,
    ReadFails,
    Whole,
    Less,
}

/// Opens, recovers, reads, writes and reads again. The other window must be whole throughout.
fn outcome(dir: &Path) -> Outcome {
    let (history, report) = open(dir).expect("opens whatever a window looks like");
    history.recover(u64::from(BLOCKS)).expect("recovers");
    let read = |history: &SledHistory, base: Slot| {
        let to = base.plus(window_slots(Tier::TenSeconds));
        history.read(Tier::TenSeconds, SERIES, base, to)
    };
    let whole = (BLOCKS * 90) as usize;
    assert_eq!(read(&history, second()).expect("the other window is readable").len(), whole);
    let damaged = read(&history, BASE);
    let _ = write_one(&history, u64::from(BLOCKS) + 1, BASE, 1);
    let _ = read(&history, BASE);
    let set_aside = history.set_aside();
    assert!(report.set_aside.iter().all(|window| set_aside.contains(window)));
    if let Some(window) = set_aside.first() {
        assert_eq!((window.from_slot, window.to_slot), (BASE, second()));
        assert!(window.to.is_dir() && !window.reason.is_empty(), "{window:?}");
        let last = history.read(Tier::TenSeconds, SERIES, BASE, BASE.plus(1));
        assert_eq!(last.expect("a new window"), [(BASE, SlotValue::Counter(1))]);
        return Outcome::SetAside;
    }
    match damaged {
        Err(_) => Outcome::ReadFails,
        Ok(slots) if slots.len() == whole => Outcome::Whole,
        Ok(_) => Outcome::Less,
    }
}

fn check(file: &'static str, damage: fn(&Path, u64, u64), draw: u64) -> Outcome {
    let place = on_disk();
    let window = fill(place.0.path());
    let path = first_file(&window, file);
    damage(&path, fs::metadata(&path).expect("there").len(), draw);
    outcome(place.0.path())
}

/// Guarantees that a window that lost the end of its log, or all of it, is noticed and set aside
/// instead of coming back with less.
#[test]
fn a_cut_log_is_noticed() {
    let check_cut = |keep: fn(u64) -> u64, draw| {
        let place = on_disk();
        let window = fill(place.0.path());
        let path = window.join("db");
        cut(&path, keep(fs::metadata(&path).expect("there").len()));
        let got = outcome(place.0.path());
        assert_eq!(got, Outcome::SetAside, "cut {draw}");
    };
    check_cut(|_| 0, "to nothing");
    check_cut(|_| 10, "to a few bytes");
    check_cut(|length| length / 2, "to a half");
    check_cut(|length| length - length / 10, "by a tenth");
}

/// Guarantees that damage to any of a window's files is survived without a panic, and costs no
/// other window anything.
#[test]
fn damage_costs_its_window_alone() {
    let damages: [Damage; 5] = [
        ("snap", |path, length, _| cut(path, length / 2)),
        ("snap", |path, length, draw| garble(path, draw % length, &[0xff; 8])),
        ("conf", |path, length, draw| garble(path, draw % length, &[0; 3])),
        ("epochs", |path, length, draw| garble(path, draw % length, &[0xa5; 2])),
        ("db", |path, length, draw| garble(path, draw % length, &draw.to_le_bytes())),
    ];
    // A fixed sequence: the same places at every run.
    let draws = (1_u64..).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 7);
    for ((file, damage), draw) in damages.into_iter().cycle().zip(draws).take(40) {
        let got = check(file, damage, draw);
        println!("{file} {draw}: {got:?}");
    }
}

/// Guarantees that a window that was set aside still counts as disk, and goes when its time is over.
#[test]
fn a_window_set_aside_goes_in_its_time() {
    let place = on_disk();
    let window = fill(place.0.path());
    cut(&window.join("db"), 0);
    assert_eq!(outcome(place.0.path()), Outcome::SetAside);
    let history = open(place.0.path()).expect("opens").0;
    let names = || fs::read_dir(place.0.path()).expect("listed").count();
    assert_eq!(names(), 4, "two windows, one of them set aside as well, and the lock");
    history.retain(Tier::TenSeconds, second()).expect("retained");
    assert_eq!(names(), 2);
    assert_eq!(history.counts().windows_dropped, 2);
}
