//! Runs that are announced, and settled, to the control lane: what is open there after a start is
//! cleaned up after.

use super::engine::Engine;
use crate::base::clock::UnixNanos;
use crate::model::probe::RunId;
use crate::probe::{Intent, Register};
use crate::telemetry::Telemetry;
use crate::wire::record::{Envelope, IntentRecord, Kind};
use futures::StreamExt;
use parking_lot::Mutex;
use std::collections::HashSet;
use std::sync::Arc;
use tokio::sync::{Notify, mpsc};

/// Notes on their way to the journal: a start may announce a run of every probe at once.
const QUEUE: usize = 10_000;
/// Notes that wait for the journal at once, so that they share its flushes.
const NOTES_IN_FLIGHT: usize = 64;

/// Takes announcements from the probe threads.
#[derive(Debug)]
pub struct Intents {
    notes: mpsc::Sender<Note>,
    unwritten: Arc<Unwritten>,
    telemetry: Telemetry,
}

/// Announced runs that are not in the journal yet. A run's own record goes behind its intent.
#[derive(Debug, Default)]
pub struct Unwritten {
    runs: Mutex<HashSet<RunId>>,
    written: Notify,
}

/// What is to be written.
#[derive(Debug)]
pub enum Note {
    /// A run will begin.
    Announced(Intent),
    /// Nothing of it is left.
    Settled(RunId),
}

/// A place for announcements, what of them is not written yet, and the way to the journal.
#[must_use]
pub fn channel(telemetry: &Telemetry) -> (Arc<Intents>, Arc<Unwritten>, mpsc::Receiver<Note>) {
    let (notes, receiver) = mpsc::channel(QUEUE);
    let unwritten = Arc::new(Unwritten::default());
    let telemetry = telemetry.clone();
    let intents = Intents { notes, unwritten: Arc::clone(&unwritten), telemetry };
    (Arc::new(intents), unwritten, receiver)
}

/// Runs that were announced before the start and have no record.
#[must_use]
pub fn left(engine: &Engine) -> Vec<Intent> {
    let core = engine.core.read();
    let intent = |(run, open): (RunId, &IntentRecord)| Intent {
        probe: open.probe.clone(),
        target: (!open.target.is_empty()).then(|| open.target.clone()),
        run,
        planned_start: Some(UnixNanos(open.planned_start_unix_nano)).filter(|at| at.0 > 0),
    };
    core.intents.open().map(intent).collect()
}

/// Writes notes until the probes are gone.
pub async fn run(engine: Engine, unwritten: Arc<Unwritten>, notes: mpsc::Receiver<Note>) {
    let notes = futures::stream::unfold(notes, |mut notes| async move {
        let note = notes.recv().await?;
        Some((note, notes))
    });
    notes.for_each_concurrent(NOTES_IN_FLIGHT, |note| write(&engine, &unwritten, note)).await;
}

async fn write(engine: &Engine, unwritten: &Unwritten, note: Note) {
    let now = engine.clock.now();
    let record = match note {
        Note::Announced(Intent { probe, target, run, planned_start }) => IntentRecord {
            probe,
            target: target.unwrap_or_default(),
            run: run.0.to_vec(),
            planned_start_unix_nano: planned_start.unwrap_or_default().0,
            at_unix_nano: now.0,
            settled: false,
        },
        Note::Settled(run) => {
            unwritten.wait_for(run).await;
            let run = run.0.to_vec();
            IntentRecord { run, at_unix_nano: now.0, settled: true, ..IntentRecord::default() }
        }
    };
    // When the lane cannot be written the record takes effect in memory, and the daemon says so.
    let _ = engine.record(Envelope::of(Kind::Intent, now, &record), None).await;
    if let Ok(run) = record.run.try_into() {
        unwritten.written(RunId(run));
    }
}

// === impl Intents ===

impl Register for Intents {
    fn announce(&self, intent: Intent) {
        let run = intent.run;
        let _ = self.unwritten.runs.lock().insert(run);
        if self.notes.try_send(Note::Announced(intent)).is_err() {
            self.unwritten.written(run);
            self.telemetry.probe_intents_dropped_total.inc();
        }
    }

    fn settle(&self, run: RunId) {
        if self.notes.try_send(Note::Settled(run)).is_err() {
            self.telemetry.probe_intents_dropped_total.inc();
        }
    }
}

// === impl Unwritten ===

impl Unwritten {
    /// Waits until the intent of a run is written, where it has one.
    pub async fn wait_for(&self, run: RunId) {
        loop {
            // Before the look: what is told after it is not missed.
            let written = self.written.notified();
            if !self.runs.lock().contains(&run) {
                return;
            }
            written.await;
        }
    }

    fn written(&self, run: RunId) {
        if self.runs.lock().remove(&run) {
            self.written.notify_waiters();
        }
    }
}
