//! Windows of history that did not open are made anew: the journal is read once more, from as far
//! back as it reaches up to the checkpoint, into blocks of series. What it does not reach is reported
//! as a gap. Budgets and alerts have no part in it: they never depended on history.
//!
//! Runs at a start, before the replay. Everything is written under an epoch of its own, which the
//! next checkpoint makes count; until then a further start throws it away and begins again.

use super::checkpoint_loop::{self, Checkpoints};
use super::engine::Engine;
use crate::aggregate::Folder;
use crate::api::page::view::{ChangeKind, ChangeView};
use crate::base::clock::UnixNanos;
use crate::base::error::Chain;
use crate::base::shutdown::Shutdown;
use crate::journal::JournalError;
use crate::model::position::{Lane, Position};
use crate::model::series::{Block, History, HistoryError, Tier};
use crate::model::slot::Slot;
use crate::store::Store;
use crate::store::head::DueBlocks;
use crate::store::history::{SetAside, SledHistory};
use crate::wire::record::Envelope;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Records after which finished blocks are written, and by-products of folding thrown away.
const SWEEP_EVERY: u64 = 4_096;
/// Records that reached us so long before a window began may belong into it (clocks that are ahead),
/// or tell a duplicate in it from an original.
const LEAD: Duration = Duration::from_secs(20 * 60);

/// What is to be made anew.
pub struct Rebuild {
    history: Arc<SledHistory>,
    windows: Vec<SetAside>,
    /// When the checkpoint was made.
    at: UnixNanos,
    /// Under which epoch blocks are written.
    epoch: u64,
    /// Whether all of them are.
    made: AtomicBool,
}

/// A stretch of history that is lost for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Of probes (control) or of phones (bulk).
    pub lane: Lane,
    /// In which width of slot.
    pub tier: Tier,
    /// Its first slot.
    pub from: Slot,
    /// The first slot after it.
    pub to: Slot,
}

/// Why history could not be made anew. It stays set aside, and the next start tries again.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    /// History did not take it.
    #[error("history cannot be written")]
    History(#[from] HistoryError),
    /// The journal could not be read.
    #[error("the journal cannot be read")]
    Journal(#[from] JournalError),
    /// The daemon is ending.
    #[error("the daemon ends before it is done")]
    Ended,
}

// === impl Rebuild ===

impl Rebuild {
    /// For windows that were set aside, after a checkpoint of `epoch` that was made `at`.
    #[must_use]
    pub fn new(
        history: Arc<SledHistory>,
        windows: Vec<SetAside>,
        at: UnixNanos,
        epoch: u64,
    ) -> Self {
        Self { history, windows, at, epoch: epoch + 1, made: AtomicBool::new(false) }
    }

    /// Whether nothing was set aside.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.windows.is_empty()
    }

    /// Makes the windows anew from the journal's records before the engine's positions. Returns what
    /// is lost for good. Blocks.
    ///
    /// # Errors
    /// When history or the journal fails; nothing counts then.
    pub fn run(&self, engine: &Engine, shutdown: &Shutdown) -> Result<Vec<Gap>, RebuildError> {
        if self.is_empty() {
            return Ok(Vec::new());
        }
        // What is left in the head after this is wholly in it; everything else is wholly in history,
        // or to be made anew.
        let (due, positions) = {
            let mut core = engine.core.write();
            let due = core.store.head.due(Slot::of(self.at));
            core.store.head.close(&due);
            (due, [(Lane::Control, core.control), (Lane::Bulk, core.bulk)])
        };
        let outcome = self.make_anew(engine, &due, positions, shutdown);
        self.made.store(outcome.is_ok(), Ordering::Release);
        if outcome.is_err() {
            engine.core.write().store.head.reopen(&due);
            // Should this fail too, the first checkpoint does it: see `commit`.
            self.history.recover(self.epoch - 1)?;
        }
        outcome
    }

    fn make_anew(
        &self,
        engine: &Engine,
        due: &DueBlocks,
        positions: [(Lane, Position); 2],
        shutdown: &Shutdown,
    ) -> Result<Vec<Gap>, RebuildError> {
        for (tier, blocks) in due.blocks.iter().filter(|(_, blocks)| !blocks.is_empty()) {
            self.history.write(*tier, self.epoch, blocks)?;
        }
        for window in &self.windows {
            self.history.vacate(window)?;
        }
        let mut gaps = Vec::new();
        for (lane, until) in positions {
            let reach = self.reach(engine, lane, until)?;
            self.fold(engine, lane, (reach, until), shutdown)?;
            gaps.extend(self.windows.iter().filter_map(|window| gap(lane, window, reach)));
        }
        for gap in &gaps {
            tracing::error!(series = gap.what(), tier = gap.tier.as_str(), from = ?gap.from.start(), to = ?gap.to.start(), "history is lost for good: the journal does not reach back so far");
        }
        Ok(gaps)
    }

    /// Makes a checkpoint, so that what was written counts; then nothing is left to do at the next
    /// start. Returns the epoch from which checkpoints go on.
    pub async fn commit(self: Arc<Self>, engine: &Engine, checkpoints: &Checkpoints) -> u64 {
        if self.is_empty() {
            return self.epoch;
        }
        if !self.made.load(Ordering::Acquire) {
            checkpoints.take_back(self.epoch);
            return self.epoch;
        }
        let epoch = self.epoch + 1;
        if checkpoint_loop::make(engine, checkpoints, epoch).await {
            // A thread that is cut off leaves the windows as they are: to be made anew once more.
            drop(tokio::task::spawn_blocking(move || self.settle()).await);
        }
        epoch
    }

    /// The windows need not be made anew at the next start: a checkpoint holds them.
    pub(super) fn settle(&self) {
        for window in &self.windows {
            if let Err(error) = self.history.settle(window) {
                tracing::warn!(window = %window.to.display(), error = %Chain(&error), "a window will be made anew again at the next start");
            }
        }
    }

    /// From which slot on the journal has everything.
    fn reach(&self, engine: &Engine, lane: Lane, until: Position) -> Result<Slot, RebuildError> {
        if engine.journal.has_everything(lane) {
            return Ok(Slot(0));
        }
        let mut records = engine.journal.read_from(lane, engine.journal.first(lane))?;
        loop {
            match records.next() {
                Some(Ok((position, _, bytes))) if position < until => {
                    if let Ok(envelope) = Envelope::read(bytes) {
                        return Ok(Slot::of(envelope.received_at()).plus(1));
                    }
                }
                Some(Err(_)) if records.skip_to_next_segment() => {}
                // Nothing is left of it.
                _ => return Ok(Slot::of(self.at).plus(1)),
            }
        }
    }

    /// Folds a lane's records up to `until` into blocks from `reach` on.
    fn fold(
        &self,
        engine: &Engine,
        lane: Lane,
        (reach, until): (Slot, Position),
        shutdown: &Shutdown,
    ) -> Result<(), RebuildError> {
        let earliest = self.windows.iter().map(|w| w.from_slot.max(reach).start()).min();
        let earliest = earliest.unwrap_or(self.at).minus(LEAD);
        let mut records = engine.journal.read_from(lane, engine.journal.since(lane, earliest))?;
        // The rules in force: their templates give series their names. The counts are not asked.
        let rules = Arc::clone(&engine.core.read().rules);
        let (mut scratch, mut folder) = (Store::default(), Folder::default());
        let (mut folded, mut now) = (0_u64, UnixNanos(0));
        loop {
            match records.next() {
                None => break,
                Some(Ok((position, _, _))) if position >= until => break,
                Some(_) if shutdown.has_begun() => return Err(RebuildError::Ended),
                Some(Ok((_, _, bytes))) => {
                    // What cannot be read was reported when it was folded.
                    let Ok(envelope) = Envelope::read(bytes) else { continue };
                    now = now.max(envelope.received_at());
                    drop(folder.fold(&mut scratch, &rules, &envelope, None));
                    folded += 1;
                    if folded.is_multiple_of(SWEEP_EVERY) {
                        self.write(&mut scratch, now.min(self.at), reach)?;
                        folder.settle(&scratch, now);
                    }
                }
                Some(Err(error)) => {
                    tracing::error!(lane = lane.as_str(), error = %Chain(&error), "the journal is damaged; going on behind");
                    if !records.skip_to_next_segment() {
                        break;
                    }
                }
            }
        }
        self.write(&mut scratch, self.at, reach)
    }

    /// Writes the blocks that are finished at `now`, cut to the windows and the reach; the others
    /// stay. At the checkpoint's own instant those others are in its head.
    fn write(&self, scratch: &mut Store, now: UnixNanos, reach: Slot) -> Result<(), RebuildError> {
        let due = scratch.head.due(Slot::of(now));
        for (tier, blocks) in &due.blocks {
            let wanted: Vec<Block> =
                blocks.iter().filter_map(|block| self.cut(*tier, block, reach)).collect();
            if !wanted.is_empty() {
                self.history.write(*tier, self.epoch, &wanted)?;
            }
        }
        scratch.head.close(&due);
        scratch.head.forget_idle(Slot::of(now));
        let head = std::mem::take(&mut scratch.head);
        *scratch = Store { head, ..Store::default() };
        Ok(())
    }

    fn cut(&self, tier: Tier, block: &Block, reach: Slot) -> Option<Block> {
        let wanted = |slot: Slot| {
            let within = |w: &SetAside| w.tier == tier && w.from_slot <= slot && slot < w.to_slot;
            slot >= reach && self.windows.iter().any(within)
        };
        let slots = block.slots.iter().filter(|(slot, _)| wanted(*slot)).cloned();
        let cut = Block { series: block.series, start: block.start, slots: slots.collect() };
        (!cut.slots.is_empty()).then_some(cut)
    }
}

fn gap(lane: Lane, window: &SetAside, reach: Slot) -> Option<Gap> {
    let to = window.to_slot.min(reach);
    let gap = Gap { lane, tier: window.tier, from: window.from_slot, to };
    (gap.from < gap.to).then_some(gap)
}

// === impl Gap ===

impl Gap {
    /// Whose series are lost, in words.
    #[must_use]
    pub fn what(&self) -> &'static str {
        match self.lane {
            Lane::Control => "probes",
            Lane::Bulk => "phones",
        }
    }

    /// The line that the page shows.
    #[must_use]
    pub fn change(&self, at: UnixNanos) -> ChangeView {
        let minutes = |slot: Slot| {
            let rfc = slot.start().to_rfc3339();
            rfc.get(..16).unwrap_or_default().replace('T', " ")
        };
        let text = format!(
            "what was kept of {} in slots of {} is lost from {} to {} UTC: history was damaged, and \
             the journal does not reach back so far; budgets are not affected",
            self.what(),
            self.tier.as_str(),
            minutes(self.from),
            minutes(self.to),
        );
        ChangeView { at, kind: ChangeKind::Gap, text, link: None }
    }
}
