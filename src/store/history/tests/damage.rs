//! Windows whose files were damaged while nobody looked.

use super::{BASE, OnDisk, SERIES, copy_directory, on_disk, open, write_one};
use crate::base::error::cause;
use crate::model::series::{Block, History, Past, SeriesId, SlotValue, Tier};
use crate::model::slot::Slot;
use crate::store::history::window::WindowId;
use crate::store::history::{EngineFailure, window_slots};
use std::fs::{self, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

const EPOCHS: u32 = 40;
/// So many that a window takes several of sled's segments, and so few that it takes one.
const MANY: u128 = 6;
const ONE: u128 = 1;

/// What happens to a file: how much of it is in use, and a number to draw places from, are given.
type Damage = fn(&Path, u64, u64);

/// The first slots of the window that is damaged, and of the one that is not.
fn bases() -> [Slot; 2] {
    [BASE, BASE.plus(window_slots(Tier::TenSeconds))]
}

/// What the history holds of a series in the window that begins at `base`.
fn expected(series: u128, base: Slot) -> Vec<(Slot, SlotValue)> {
    // Values that do not compress, so that there is something to damage.
    let value = |slot: u32| {
        u128::from(slot).wrapping_mul(0x2545_f491_4f6c_dd1d_9e37_79b9_7f4a_7c15).rotate_left(17)
            ^ series
    };
    (0..EPOCHS * 90).map(|n| (base.plus(n), SlotValue::Counter(value(n)))).collect()
}

/// Two windows of a history that was closed once and written further, so that sled has a snapshot
/// and a log beyond it.
fn fill(dir: &Path, series_count: u128) {
    for epochs in [0..8, 8..EPOCHS] {
        let history = open(dir).expect("opens").0;
        for n in epochs {
            let blocks: Vec<_> = (0..series_count)
                .flat_map(|series| bases().map(|base| (series, base)))
                .map(|(series, base)| Block {
                    series: SeriesId(series),
                    start: base.plus(n * 90),
                    slots: expected(series, base).drain(n as usize * 90..).take(90).collect(),
                })
                .collect();
            history.write(Tier::TenSeconds, u64::from(n + 1), &blocks).expect("written");
        }
    }
}

/// A filled history, and copies of it to be damaged.
struct Filled {
    place: OnDisk,
    series_count: u128,
}

impl Filled {
    fn new(series_count: u128) -> Self {
        let place = on_disk();
        fill(place.0.path(), series_count);
        Self { place, series_count }
    }

    /// Damages the file of the first window whose name begins so, and looks what comes of it.
    fn damaged(&self, file: &str, draw: u64, damage: Damage) -> Outcome {
        let copy = on_disk();
        copy_directory(self.place.0.path(), copy.0.path());
        let window = copy.0.path().join(WindowId::of(Tier::TenSeconds, BASE).to_string());
        let path = fs::read_dir(window)
            .expect("listed")
            .map(|entry| entry.expect("an entry").path())
            .find(|path| path.file_name().is_some_and(|n| n.to_string_lossy().starts_with(file)))
            .expect("there is such a file");
        // sled fills its last segment with zeros.
        let bytes = fs::read(&path).expect("read");
        let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1);
        damage(&path, used as u64, draw);
        outcome(copy.0.path(), self.series_count)
    }
}

fn cut(path: &Path, length: u64) {
    let file = OpenOptions::new().write(true).open(path).expect("opens");
    file.set_len(length).expect("cut");
}

fn garble(path: &Path, at: u64, bytes: &[u8]) {
    let mut file = OpenOptions::new().write(true).open(path).expect("opens");
    let _at = file.seek(SeekFrom::Start(at)).expect("there is such a place");
    file.write_all(bytes).expect("garbled");
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
fn outcome(dir: &Path, series_count: u128) -> Outcome {
    let (history, report) = open(dir).expect("opens whatever a window looks like");
    history.recover(u64::from(EPOCHS)).expect("recovers");
    let read = |series, base: Slot| {
        let to = base.plus(window_slots(Tier::TenSeconds));
        history.read(Tier::TenSeconds, SeriesId(series), base, to)
    };
    let [damaged, other] = bases();
    for series in 0..series_count {
        assert!(
            read(series, other).expect("the other window is readable") == expected(series, other)
        );
    }
    let found: Vec<_> = (0..series_count).map(|series| read(series, damaged)).collect();
    let written = write_one(&history, u64::from(EPOCHS) + 1, damaged, 1);
    let read_again = history.read(Tier::TenSeconds, SERIES, damaged, damaged.plus(1));
    let set_aside = history.set_aside();
    assert!(report.set_aside.iter().all(|window| set_aside.contains(window)));
    if let Some(window) = set_aside.first() {
        assert_eq!((window.from_slot, window.to_slot), (damaged, other));
        assert!(window.to.is_dir() && !window.reason.is_empty(), "{window:?}");
        written.expect("a new window takes its place");
        assert_eq!(read_again.expect("it is readable"), [(damaged, SlotValue::Counter(1))]);
        return Outcome::SetAside;
    }
    let found: Result<Vec<_>, _> = found.into_iter().collect();
    match found {
        Err(_) => Outcome::ReadFails,
        Ok(found) if (0..).zip(&found).all(|(n, found)| *found == expected(n, damaged)) => {
            Outcome::Whole
        }
        Ok(_) => Outcome::Less,
    }
}

/// Guarantees that a window that lost the end of its log, or all of it, is noticed and set aside
/// instead of coming back with less.
#[test]
fn a_cut_log_is_noticed() {
    // In one segment what was written last also stands last.
    let filled = Filled::new(ONE);
    let cuts: [Damage; 4] = [
        |path, _, _| cut(path, 0),
        |path, _, _| cut(path, 10),
        |path, used, _| cut(path, used / 2),
        |path, used, _| cut(path, used - used / 10),
    ];
    for (n, damage) in cuts.into_iter().enumerate() {
        assert_eq!(filled.damaged("db", 0, damage), Outcome::SetAside, "cut {n}");
    }
    // The very last record may be one that holds nothing of ours.
    let hair = filled.damaged("db", 0, |path, used, _| cut(path, used - 1));
    assert_ne!(hair, Outcome::Less);
}

/// Guarantees that damage to any of a window's files is survived without a panic, and costs no
/// other window anything.
#[test]
fn damage_costs_its_window_alone() {
    let filled = Filled::new(MANY);
    let damages: [(&str, Damage); 5] = [
        ("snap", |path, used, _| cut(path, used / 2)),
        ("snap", |path, used, draw| garble(path, draw % used, &[0xff; 8])),
        ("conf", |path, used, draw| garble(path, draw % used, &[0; 3])),
        ("epochs", |path, used, draw| garble(path, draw % used, &[0xa5; 2])),
        ("db", |path, used, draw| garble(path, draw % used, &draw.to_le_bytes())),
    ];
    // A fixed sequence: the same places at every run.
    let draws = (1_u64..).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 7);
    let cases = damages.into_iter().cycle().zip(draws).take(50);
    let outcomes: Vec<_> =
        cases.map(|((file, damage), draw)| filled.damaged(file, draw, damage)).collect();
    assert!(outcomes.contains(&Outcome::SetAside) && outcomes.contains(&Outcome::Whole));
    for file in ["snap", "conf", "epochs", "db"] {
        let _any = filled.damaged(file, 0, |path, _, _| fs::remove_file(path).expect("removed"));
    }
}

/// Guarantees that a window that was set aside still counts as disk, and goes when its time is over.
#[test]
fn a_window_set_aside_goes_in_its_time() {
    let place = on_disk();
    fill(place.0.path(), ONE);
    let window = WindowId::of(Tier::TenSeconds, BASE).to_string();
    cut(&place.0.path().join(window).join("db"), 0);
    assert_eq!(outcome(place.0.path(), ONE), Outcome::SetAside);
    let history = open(place.0.path()).expect("opens").0;
    let names = || fs::read_dir(place.0.path()).expect("listed").count();
    assert_eq!(names(), 4, "two windows, one of them set aside as well, and the lock");
    history.retain(Tier::TenSeconds, bases()[1]).expect("retained");
    assert_eq!(names(), 2);
    assert_eq!(history.counts().windows_dropped, 2);
}

/// Guarantees that damage to an old window, which is not opened at start, is an error once, is
/// reported, and is a gap from then on.
#[test]
fn damage_to_an_old_window_is_found_when_it_is_read() {
    let place = on_disk();
    let history = open(place.0.path()).expect("opens").0;
    let starts = [0, 1, 2, 3].map(|n| BASE.plus(n * window_slots(Tier::TenSeconds)));
    for start in starts {
        write_one(&history, 1, start, 5).expect("written");
    }
    drop(history);
    let oldest = WindowId::of(Tier::TenSeconds, BASE).to_string();
    cut(&place.0.path().join(oldest).join("db"), 10);
    let (history, report) = open(place.0.path()).expect("opens");
    assert_eq!(report.set_aside, []);
    let read = || history.read(Tier::TenSeconds, SERIES, BASE, starts[3].plus(1));
    let failed = read().expect_err("it is damaged");
    assert!(cause::<EngineFailure>(&failed).is_some_and(EngineFailure::is_damage), "{failed}");
    assert_eq!(history.set_aside().len(), 1);
    assert_eq!((history.counts().windows_set_aside, history.counts().reads_failed), (1, 1));
    let kept = starts[1..].iter().map(|start| (*start, SlotValue::Counter(5)));
    assert_eq!(read().expect("a gap"), kept.collect::<Vec<_>>());
}
