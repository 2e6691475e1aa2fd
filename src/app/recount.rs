//! Indicators that are new in a configuration, counted from the journal's reach on: the journal is
//! read once more, up to where the live fold took over, into counts that are added when all is read.
//!
//! Runs on a thread of its own beside everything else. A checkpoint leaves such indicators out until
//! then, so that a restart in between begins anew and nothing is added twice.

use super::engine::Engine;
use crate::aggregate::dedupe::{Dedupe, Limits};
use crate::aggregate::{Folder, Rules};
use crate::alert::Core;
use crate::base::clock::UnixNanos;
use crate::base::error::Chain;
use crate::base::shutdown::Shutdown;
use crate::config::Settings;
use crate::journal::JournalError;
use crate::model::objective::{Indicator, Slo, Source};
use crate::model::position::{Lane, Position};
use crate::model::slot::Slot;
use crate::store::Store;
use crate::store::counts::book::NewIndicators;
use crate::wire::record::Envelope;
use std::sync::Arc;
use std::time::Duration;

/// Records after which the by-products of folding, series and evidence, are thrown away.
const SWEEP_EVERY: u64 = 4_096;

/// The quarter of an hour within which most repetitions come, up to some 300,000 items at once.
const SMALL: Limits = Limits { bytes: 64 << 20, generation_items: (1 << 18) / 8 * 7 };

/// What is to be counted again.
#[derive(Debug)]
pub struct Recount {
    new: NewIndicators,
    slos: Vec<Arc<Slo>>,
    rules: Arc<Rules>,
    now: UnixNanos,
    /// The live fold counts from here on.
    until: [(Lane, Position); 2],
}

impl Recount {
    /// For what [`Core::configure`] found new; to be made under the same lock.
    #[must_use]
    pub fn new(new: NewIndicators, settings: &Settings, core: &Core) -> Self {
        let is_new = |slo: &&Arc<Slo>| new.ids.contains(&slo.indicator.id());
        let slos: Vec<Arc<Slo>> = settings.slos.iter().filter(is_new).cloned().collect();
        let until = [(Lane::Control, core.control), (Lane::Bulk, core.bulk)];
        // All of them: another SLO's path template may be the nearer one.
        let rules = Arc::clone(&core.rules);
        Self { new, slos, rules, now: UnixNanos(0), until }
    }

    /// Counts on a thread of its own, until `shutdown`.
    pub fn start(mut self, engine: &Engine, shutdown: &Shutdown) {
        if self.new.ids.is_empty() {
            return;
        }
        self.now = engine.clock.now();
        let engine = engine.clone();
        let ending = shutdown.clone();
        let counting = tokio::task::spawn_blocking(move || self.run(&engine, &ending));
        shutdown.spawn(async move {
            if counting.await.is_err() {
                tracing::error!("new indicators were not counted from the journal");
            }
        });
    }

    fn run(self, engine: &Engine, shutdown: &Shutdown) {
        // One at a time: they share the disk and a core with everything else.
        let _turn = engine.recounting.lock();
        if !engine.core.read().store.counts.is_counting_back(&self.new) {
            return;
        }
        let started = engine.clock.monotonic();
        let mut scratch = Store::default();
        let slos = self.slos.iter().map(|slo| &**slo);
        drop(scratch.counts.configure(slos, Slot::of(self.now)));
        // What the live fold remembers of items is bounded apart: a second gigabyte is not ours to take.
        let mut folder = Folder::default();
        folder.dedupe = Dedupe::new(SMALL);
        let mut records = 0;
        for (lane, until) in self.until {
            if !self.slos.iter().any(|slo| reads(&slo.indicator, lane)) {
                continue;
            }
            match self.read(engine, lane, until, (&mut scratch, &mut folder), shutdown) {
                Ok(Some(read)) => records += read,
                // The end has come: the next start finds these indicators new again.
                Ok(None) => return,
                Err(error) => {
                    tracing::error!(lane = lane.as_str(), error = %Chain(&error), "the journal cannot be counted again");
                }
            }
        }
        engine.core.write().store.counts.complete(&self.new, &scratch.counts);
        engine.evaluate.notify_one();
        let took = engine.clock.monotonic().since(started);
        let indicators = self.new.ids.len();
        tracing::info!(
            indicators,
            records,
            seconds = took.as_secs_f64(),
            "new indicators are counted from the journal"
        );
    }

    /// Folds a lane up to `until`. Returns how many records that were; none when the daemon ends.
    fn read(
        &self,
        engine: &Engine,
        lane: Lane,
        until: Position,
        (store, folder): (&mut Store, &mut Folder),
        shutdown: &Shutdown,
    ) -> Result<Option<u64>, JournalError> {
        let longest = self.slos.iter().map(|slo| slo.window).max().unwrap_or(Duration::ZERO);
        let from = engine.journal.since(lane, self.now.minus(longest));
        let mut records = 0_u64;
        if from >= until {
            return Ok(Some(records));
        }
        let mut reader = engine.journal.read_from(lane, from)?;
        loop {
            match reader.next() {
                None => break,
                Some(Ok((position, _, _))) if position >= until => break,
                Some(_) if shutdown.has_begun() => return Ok(None),
                Some(Ok((_, _, bytes))) => {
                    records += 1;
                    // What cannot be read was reported when it was folded.
                    if let Ok(envelope) = Envelope::read(bytes) {
                        drop(folder.fold(store, &self.rules, &envelope, None));
                    }
                }
                Some(Err(error)) => {
                    tracing::error!(lane = lane.as_str(), error = %Chain(&error), "the journal is damaged; counting on behind");
                    if !reader.skip_to_next_segment() {
                        break;
                    }
                }
            }
            if records.is_multiple_of(SWEEP_EVERY) {
                let counts = std::mem::take(&mut store.counts);
                *store = Store { counts, ..Store::default() };
                folder.settle(store, self.now);
            }
        }
        Ok(Some(records))
    }
}

/// Whether an indicator's events are in a lane: probes' runs in control, phones' items in bulk.
fn reads(indicator: &Indicator, lane: Lane) -> bool {
    let in_lane = |source: &Source| matches!(source, Source::Probe(_)) == (lane == Lane::Control);
    match indicator {
        Indicator::Latency { source, .. } | Indicator::Availability { source, .. } => {
            in_lane(source)
        }
        Indicator::Ratio { bad, total } => in_lane(&bad.source) || in_lane(&total.source),
    }
}
