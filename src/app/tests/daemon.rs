//! A daemon on a disk in memory, without sockets and loops: whoever holds it takes the steps.

use super::backend::Backend;
use super::canonical::{assert_same, canonical};
use super::phones::Phones;
use super::setup::Setup;
use super::{START, envelope};
use crate::alert::Core;
use crate::alert::codec::transition_record;
use crate::app::checkpoint_loop::{self, Checkpoints};
use crate::app::engine::Engine;
use crate::app::{evaluate_loop, fold_loop, opening, replay};
use crate::base::clock::{Clock, UnixNanos};
use crate::base::faulty::FaultyFiles;
use crate::base::shutdown::Shutdown;
use crate::export::SelfSpans;
use crate::journal::{self, Committed, Sinks};
use crate::model::position::Lane;
use crate::model::series::{History, Tier};
use crate::model::slot::Slot;
use crate::store::CountsBook;
use crate::store::data_dir::DataDir;
use crate::store::head::Head;
use crate::store::history::MemoryHistory;
use crate::telemetry::Telemetry;
use crate::wire::record::{Envelope, Kind};
use bytes::Bytes;
use parking_lot::RwLock;
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

pub(super) const DAY: Duration = Duration::from_secs(86_400);
/// A round of [`Daemon::live`]: longer than a block of the head, so that blocks fall due.
pub(super) const ROUND: Duration = Duration::from_secs(1_200);

/// A record as it was appended.
pub(super) type Record = (Lane, Bytes);

/// The daemon.
pub(super) struct Daemon {
    pub(super) engine: Engine,
    folds: [mpsc::Receiver<Committed>; 2],
    pub(super) checkpoints: Checkpoints,
    pub(super) epoch: u64,
    pub(super) clock: Clock,
    /// Records that the journal has acknowledged.
    pub(super) acknowledged: Vec<Record>,
}

/// What a start found on the disk.
pub(super) struct Found {
    pub(super) engine: Engine,
    /// The checkpoint's epoch, and when it was made.
    pub(super) epoch: u64,
    pub(super) at: UnixNanos,
}

/// How the journal is kept by most tests: all of it.
pub(super) fn keep_all(dir: &Path) -> journal::Config {
    journal::Config { control_reserve_bytes: 0, ..journal::Config::new(dir.join("journal")) }
}

// === impl Daemon ===

impl Daemon {
    /// Starts as `app::daemon` does, at an instant. `before_replay` answers with the epoch from which
    /// checkpoints go on.
    pub(super) fn start(
        files: &FaultyFiles,
        history: Arc<dyn History>,
        config: journal::Config,
        (dir, now): (&Path, UnixNanos),
        before_replay: impl FnOnce(&Found) -> u64,
    ) -> Self {
        let clock = Clock::manual(now);
        let telemetry = Telemetry::new();
        let files = Arc::new(files.clone());
        let data = Arc::new(DataDir::open(dir, files.clone()).expect("opens"));
        let checkpoint = data.read_checkpoint().expect("readable");
        let epoch = checkpoint.as_ref().map_or(0, |state| state.epoch);
        let at = checkpoint.as_ref().map_or(now, |state| UnixNanos(state.at_unix_nano));
        history.recover(epoch).expect("recovers");
        let (control, folds_control) = mpsc::channel(1_000);
        let (bulk, folds_bulk) = mpsc::channel(1_000);
        let sinks = Sinks { control, bulk };
        let journal =
            journal::open(config, files, clock.clone(), &telemetry, sinks).expect("opens");
        let mut core = checkpoint.as_ref().map(Core::load).unwrap_or_default();
        opening::restore_hashes(&mut core, &data, checkpoint.as_ref(), now).expect("readable");
        let setup = setup();
        let new = core.configure(Arc::clone(&setup.policy), Arc::clone(&setup.rules), now);
        core.store.counts.complete(&new, &CountsBook::default());
        let core = Arc::new(RwLock::new(core));
        let spans = SelfSpans::default();
        let engine = Engine::new(core, journal, clock.clone(), telemetry, spans);
        let found = Found { engine, epoch, at };
        let epoch = before_replay(&found);
        let engine = found.engine;
        let _records = replay::replay(&engine, &Shutdown::new()).expect("replays");
        engine.become_ready();
        let checkpoints = Checkpoints::new(data, history, Tier::ALL.map(|tier| (tier, DAY * 15)));
        let folds = [folds_control, folds_bulk];
        Self { engine, folds, checkpoints, epoch, clock, acknowledged: Vec::new() }
    }

    /// Rounds of records and decisions, each with a checkpoint at its end; whatever fails is borne.
    pub(super) fn live(&mut self, rounds: u64) {
        for _ in 0..rounds {
            self.round();
            self.checkpoint();
        }
    }

    /// A round without its checkpoint.
    pub(super) fn round(&mut self) {
        let mut rng = StdRng::seed_from_u64(self.clock.now().0);
        let mut backend = Backend::new(START..START.plus(DAY), &mut rng);
        backend.incidents.iter_mut().for_each(|incident| incident.time = START..START.plus(DAY));
        let mut phones = Phones::default();
        for _ in 0..4 {
            self.clock.advance(ROUND / 4);
            let now = self.clock.now();
            let slot = now.minus(Duration::from_secs(2));
            let run = backend.run("chat", slot, &mut rng);
            self.append(Lane::Control, &envelope(&run, now));
            let request = phones.request(&backend, now, &mut rng);
            self.append(Lane::Bulk, &phones.arrive(now, &request));
            for transition in evaluate_loop::decide(&self.engine) {
                let record = transition_record(&transition);
                self.append(Lane::Control, &Envelope::of(Kind::Transition, now, &record));
            }
        }
    }

    fn append(&mut self, lane: Lane, envelope: &Envelope) {
        let bytes = envelope.to_bytes();
        if self.engine.journal.append_blocking(lane, bytes.clone(), None).is_ok() {
            self.acknowledged.push((lane, bytes));
        }
        for folds in &mut self.folds {
            while let Ok(committed) = folds.try_recv() {
                fold_loop::fold(&self.engine, committed);
            }
        }
    }

    /// A checkpoint that may fail.
    pub(super) fn checkpoint(&mut self) {
        self.epoch += 1;
        drop(checkpoint_loop::write(&self.engine, &self.checkpoints, self.epoch));
    }

    /// All records of the journal, bulk first.
    pub(super) fn records(&self) -> Vec<Record> {
        let lane = |lane| {
            let from = self.engine.journal.first(lane);
            let records = self.engine.journal.read_from(lane, from).expect("readable");
            records.map(move |record| record.map(|(_, _, bytes)| (lane, bytes)).expect("sound"))
        };
        lane(Lane::Bulk).chain(lane(Lane::Control)).collect()
    }

    /// Checks that counts, alerts and evidence are those of a daemon which folded these records and
    /// never saw a disk fail, and returns its state.
    pub(super) fn check_state(&self, records: &[Record], context: &str) -> Core {
        let mut pristine = setup().fresh(START);
        for (lane, bytes) in records {
            let envelope = Envelope::read(bytes.clone()).expect("ours");
            drop(pristine.apply(*lane, Default::default(), &envelope, None).expect("applied"));
        }
        let before = pristine.store.head.clone();
        let now = self.clock.now();
        let [found, expected] = [&mut *self.engine.core.write(), &mut pristine].map(|core| {
            let mut state = canonical(core, now);
            // Blocks may be in the head or in history. Who started without a checkpoint counts since
            // the first record at the latest.
            state.state.series.iter_mut().for_each(|series| series.open.clear());
            state.state.indicators.iter_mut().for_each(|indicator| indicator.since = 0);
            (state.state.control, state.state.bulk) = (None, None);
            state
        });
        assert_same(&found, &expected, context);
        pristine.store.head = before;
        pristine
    }

    /// Checks the state, and that head and history together hold of every series what these records
    /// say, in every slot that is `wanted`.
    pub(super) fn check(
        &self,
        records: &[Record],
        wanted: impl Fn(Lane, Tier, Slot) -> bool,
        context: &str,
    ) {
        let pristine = self.check_state(records, context);
        let nowhere = MemoryHistory::new();
        let core = self.engine.core.read();
        for tier in Tier::ALL {
            for series in pristine.store.head.iter() {
                let is_probe = series.key.labels.get("probe").is_some();
                let lane = if is_probe { Lane::Control } else { Lane::Bulk };
                let wanted_slots = |head: &Head, history: &dyn History| {
                    let all = head.read(history, tier, series.key.id(), Slot(0), Slot(u32::MAX));
                    let mut all = all.expect("readable");
                    all.retain(|(slot, _)| wanted(lane, tier, *slot));
                    all
                };
                let found = wanted_slots(&core.store.head, &*self.checkpoints.history);
                let expected = wanted_slots(&pristine.store.head, &nowhere);
                assert_eq!(found, expected, "{:?} {tier:?}: {context}", series.key);
            }
        }
    }
}

/// One probe and what phones send, under SLOs.
fn setup() -> Setup {
    Setup::new(&[("chat", Duration::from_secs(300))], 2_000)
}
