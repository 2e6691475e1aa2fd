//! A directory of history is damaged: the window is set aside, made anew as far as the journal reaches,
//! the rest is a gap, and budgets have not noticed.

use super::START;
use super::daemon::{Daemon, Found, Record, keep_all};
use crate::api::page::view::ChangeKind;
use crate::app::rebuild::{Gap, Rebuild};
use crate::base::clock::UnixNanos;
use crate::base::faulty::FaultyFiles;
use crate::base::shutdown::Shutdown;
use crate::journal;
use crate::model::position::Lane;
use crate::model::series::{History, Tier};
use crate::model::slot::Slot;
use crate::store::history::{Config, SetAside, SledHistory};
use crate::telemetry::Telemetry;
use std::cell::RefCell;
use std::fs::{self, OpenOptions};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

const ROUNDS: u64 = 6;

/// A daemon's files: the journal and checkpoints in memory, history on the disk.
struct Place {
    files: FaultyFiles,
    dir: TempDir,
    config: journal::Config,
}

/// A daemon that started, with what it made anew.
struct Started {
    daemon: Daemon,
    rebuild: Arc<Rebuild>,
    set_aside: Vec<SetAside>,
    gaps: Vec<Gap>,
}

impl Place {
    fn new(config: impl FnOnce(journal::Config) -> journal::Config) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let config = config(keep_all(dir.path()));
        Self { files: FaultyFiles::new(), dir, config }
    }

    fn history(&self) -> std::path::PathBuf {
        self.dir.path().join("history")
    }

    fn start(&self, now: UnixNanos) -> Started {
        self.start_until(now, &Shutdown::new())
    }

    /// A start; what was set aside is made anew unless `shutdown` has begun.
    fn start_until(&self, now: UnixNanos, shutdown: &Shutdown) -> Started {
        let opened = SledHistory::open(Config::new(self.history()), &Telemetry::new());
        let (history, report) = opened.expect("opens whatever a window looks like");
        let history = Arc::new(history);
        let made: RefCell<Option<(Arc<Rebuild>, Vec<Gap>)>> = RefCell::new(None);
        let set_aside = report.set_aside.clone();
        let before_replay = |found: &Found| {
            let windows = report.set_aside.clone();
            let rebuild = Rebuild::new(Arc::clone(&history), windows, found.at, found.epoch);
            let outcome = rebuild.run(&found.engine, shutdown);
            assert_eq!(outcome.is_err(), shutdown.has_begun(), "{outcome:?}");
            let gaps = outcome.unwrap_or_default();
            *made.borrow_mut() = Some((Arc::new(rebuild), gaps));
            found.epoch + 1
        };
        let kept: Arc<dyn History> = history.clone();
        let at = (self.dir.path(), now);
        let daemon = Daemon::start(&self.files, kept, self.config.clone(), at, before_replay);
        let (rebuild, gaps) = made.into_inner().expect("the start asked");
        Started { daemon, rebuild, set_aside, gaps }
    }

    /// A life of some rounds. Returns its records and when it ended.
    fn live(&self) -> (Vec<Record>, UnixNanos) {
        let mut started = self.start(START);
        started.daemon.live(ROUNDS);
        // Some records are behind the last checkpoint.
        started.daemon.round();
        (std::mem::take(&mut started.daemon.acknowledged), started.daemon.clock.now())
    }

    /// Cuts the log of every window whose name begins so. Returns how many there were.
    fn damage(&self, tier: Tier, damage: impl Fn(&Path)) -> usize {
        let windows = fs::read_dir(self.history()).expect("listed");
        let windows = windows.map(|entry| entry.expect("an entry").path());
        let of_tier = windows.filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            path.is_dir() && name.starts_with(tier.as_str()) && !name.contains("broken")
        });
        of_tier.map(|window| damage(&window.join("db"))).count()
    }
}

fn cut(db: &Path) {
    let file = OpenOptions::new().write(true).open(db).expect("opens");
    file.set_len(10).expect("cut");
}

fn garbage(db: &Path) {
    fs::write(db, b"not a database").expect("written");
}

fn flip(db: &Path) {
    let mut bytes = fs::read(db).expect("read");
    bytes.iter_mut().step_by(3).for_each(|byte| *byte ^= 0xff);
    fs::write(db, bytes).expect("written");
}

impl Started {
    /// The first checkpoint, as `Rebuild::commit` makes it.
    fn commit(&mut self) {
        self.daemon.checkpoint();
        self.rebuild.settle();
    }
}

/// Guarantees that history which is damaged is the same again after a start when the journal has
/// everything, whatever the damage, in either tier or both; also when that start is cut off before its
/// first checkpoint; and that it is made anew once.
#[test]
fn damaged_history_is_made_anew() {
    let cases = [
        (&[Tier::TenSeconds][..], cut as fn(&Path)),
        (&[Tier::OneMinute], garbage),
        (&Tier::ALL, cut),
        (&Tier::ALL, flip),
    ];
    for (tiers, damage) in cases {
        let place = Place::new(|config| config);
        let (records, now) = place.live();
        for tier in tiers {
            assert!(place.damage(*tier, damage) > 0, "{tier:?}");
        }
        let everything = |_: Lane, _: Tier, _: Slot| true;
        // Cut off: nothing of it counts, and the next start does it all again.
        let started = place.start(now);
        assert!(!started.set_aside.is_empty() && started.gaps.is_empty());
        started.daemon.check(&in_lanes(&records), everything, "at the first start");
        drop(started);
        let mut started = place.start(now);
        assert!(!started.set_aside.is_empty(), "it was not finished");
        started.daemon.check(&in_lanes(&records), everything, "at the second start");
        started.commit();
        started.daemon.live(1);
        let (more, now) = (started.daemon.acknowledged.clone(), started.daemon.clock.now());
        drop(started);
        let started = place.start(now);
        assert_eq!(started.set_aside, [], "it is finished");
        let records = [records, more].concat();
        started.daemon.check(&in_lanes(&records), everything, "when it is finished");
    }
}

/// Guarantees that history which could not be made anew stays set aside, whatever checkpoints follow, and
/// that what was in the head is not lost over it: the next start makes it anew.
#[test]
fn what_failed_is_tried_again() {
    let place = Place::new(|config| config);
    let (records, now) = place.live();
    assert!(place.damage(Tier::TenSeconds, cut) > 0);
    let ended = Shutdown::new();
    ended.begin();
    let mut started = place.start_until(now, &ended);
    let rebuild = Arc::clone(&started.rebuild);
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let commit = rebuild.commit(&started.daemon.engine, &started.daemon.checkpoints);
    started.daemon.epoch = runtime.block_on(commit);
    started.daemon.checkpoint();
    drop(started);
    let started = place.start(now);
    assert!(!started.set_aside.is_empty(), "it was not made anew");
    started.daemon.check(&in_lanes(&records), |_, _, _| true, "at the start after a failed one");
}

/// Guarantees that of what the journal does not reach only series are lost, in the damaged tier, and
/// that they are reported; counts, budgets, alerts and evidence are whole.
#[test]
fn what_the_journal_does_not_reach_is_a_gap() {
    let place = Place::new(|config| journal::Config {
        segment_bytes: 4_096,
        bulk_keep: Duration::from_secs(3_000),
        control_keep: Duration::from_secs(3_000),
        ..config
    });
    let (records, now) = place.live();
    assert!(place.damage(Tier::TenSeconds, cut) > 0);
    let mut started = place.start(now);
    let reaches: Vec<(Lane, Slot)> = started.gaps.iter().map(|gap| (gap.lane, gap.to)).collect();
    assert!(started.gaps.iter().all(|gap| gap.tier == Tier::TenSeconds && gap.from < gap.to));
    let reach = |lane: Lane| {
        let of_lane = reaches.iter().filter(|(at, _)| *at == lane);
        of_lane.map(|(_, to)| *to).max().expect("the journal was trimmed")
    };
    let (probes, phones) = (reach(Lane::Control), reach(Lane::Bulk));
    let begin = Slot::of(START);
    for reach in [probes, phones] {
        assert!(reach > begin.plus(30) && reach < Slot::of(now), "{begin:?} {reach:?}");
    }
    let wanted = |lane: Lane, tier: Tier, slot: Slot| {
        tier == Tier::OneMinute || slot >= if lane == Lane::Control { probes } else { phones }
    };
    started.daemon.check(&in_lanes(&records), wanted, "with a gap");
    // What is known of the lost time by chance, as late data, would look like a drop in traffic.
    for series in started.daemon.engine.core.read().store.head.iter() {
        let is_probe = series.key.labels.get("probe").is_some();
        let reach = if is_probe { probes } else { phones };
        let history = &started.daemon.checkpoints.history;
        let before = history.read(Tier::TenSeconds, series.key.id(), Slot(0), reach);
        assert_eq!(before.expect("readable"), [], "{:?}", series.key);
    }
    for gap in &started.gaps {
        let change = gap.change(now);
        assert_eq!(change.kind, ChangeKind::Gap);
        assert!(
            change.text.contains(" to 2026-11-2") && change.text.contains(gap.what()),
            "{change:?}"
        );
    }
    started.commit();
    drop(started);
    let started = place.start(now);
    assert_eq!((started.set_aside.len(), started.gaps.len()), (0, 0), "it is told once");
    started.daemon.check(&in_lanes(&records), wanted, "with a gap, later");
}

/// The records as a fold from nothing takes them: bulk first, as a replay does.
fn in_lanes(records: &[Record]) -> Vec<Record> {
    let lane = |lane| records.iter().filter(move |(at, _)| *at == lane).cloned();
    lane(Lane::Bulk).chain(lane(Lane::Control)).collect()
}
