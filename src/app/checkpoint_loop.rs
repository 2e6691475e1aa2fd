//! State to disk: one epoch a minute, sooner under load. History blocks and hashes of items first,
//! then the checkpoint that makes them count, then the journal may forget.
//!
//! When history takes the blocks and the checkpoint fails after that, blocks and hashes stay where they
//! are: the next checkpoint makes them count. Whether the failed one is on the disk is unknown, and a
//! start is right either way. When history fails, the head takes its blocks back, and what history had
//! taken of them must go before anything else is written.

use super::engine::Engine;
use crate::aggregate::dedupe::Piece;
use crate::base::error::Chain;
use crate::base::shutdown::Shutdown;
use crate::export::Operation;
use crate::model::position::Lane;
use crate::model::series::{History, HistoryError, Tier};
use crate::model::slot::Slot;
use crate::store::data_dir::{DataDir, DataDirError};
use crate::store::dedupe_files;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How often a checkpoint is made.
const EVERY: Duration = Duration::from_secs(60);
/// Sooner when phones sent this much since the last one: it bounds what a start has to replay.
const EVERY_BYTES: u64 = 256 << 20;
/// How often that is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// The folder of the items' hashes.
pub const HASHES: &str = "dedupe";

/// Where checkpoints go.
#[derive(Clone)]
pub struct Checkpoints {
    /// The data folder.
    pub data: Arc<DataDir>,
    /// History.
    pub history: Arc<dyn History>,
    /// How long each tier is kept.
    pub keep: [(Tier, Duration); 2],
    /// The epoch of which history may hold blocks that the head has taken back; 0 when none.
    unclean: Arc<AtomicU64>,
}

impl Checkpoints {
    /// Checkpoints into these places.
    #[must_use]
    pub fn new(data: Arc<DataDir>, history: Arc<dyn History>, keep: [(Tier, Duration); 2]) -> Self {
        Self { data, history, keep, unclean: Arc::default() }
    }

    /// History may hold blocks of `epoch` that the head has taken back: they go before anything else is
    /// written.
    pub(super) fn take_back(&self, epoch: u64) {
        self.unclean.store(epoch, Ordering::Release);
    }

    /// Drops what a failed epoch has left in history of blocks that the head has taken back.
    fn clean(&self) -> Result<(), HistoryError> {
        let failed = self.unclean.load(Ordering::Acquire);
        if let Some(whole) = failed.checked_sub(1) {
            self.history.recover(whole)?;
            self.unclean.store(0, Ordering::Release);
        }
        Ok(())
    }
}

/// Why a checkpoint failed. The one before still stands, and the journal keeps what it needs.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// History did not take its blocks.
    #[error("the history blocks of the checkpoint cannot be written")]
    History(#[from] HistoryError),
    /// The checkpoint itself cannot be written.
    #[error("the checkpoint cannot be written")]
    File(#[from] DataDirError),
}

/// Makes checkpoints until shutdown begins.
pub async fn run(
    engine: Engine,
    checkpoints: Checkpoints,
    mut epoch: u64,
    shutdown: Shutdown,
) -> u64 {
    loop {
        tokio::select! {
            () = shutdown.begun() => return epoch,
            () = tokio::time::sleep(EVERY) => {}
            () = much_to_replay(&engine) => {}
        }
        epoch += 1;
        make(&engine, &checkpoints, epoch).await;
    }
}

/// Resolves when a start now would have much to replay.
async fn much_to_replay(engine: &Engine) {
    let covered = engine.core.read().bulk;
    while engine.journal.bytes_from(Lane::Bulk, covered) < EVERY_BYTES {
        tokio::time::sleep(LOOK).await;
    }
}

/// Makes one checkpoint off the async threads, and says how it went. Whether it was made.
pub async fn make(engine: &Engine, checkpoints: &Checkpoints, epoch: u64) -> bool {
    let (engine, checkpoints) = (engine.clone(), checkpoints.clone());
    let work = tokio::task::spawn_blocking(move || {
        let (began, started) = (engine.clock.now(), engine.clock.monotonic());
        let outcome = write(&engine, &checkpoints, epoch);
        let telemetry = &engine.telemetry;
        let took = engine.clock.monotonic().since(started);
        telemetry.checkpoint_duration_seconds.observe(took.as_secs_f64());
        let name = if outcome.is_ok() { "success" } else { "failure" };
        telemetry.checkpoints_total.with_label_values(&[name]).inc();
        let error = outcome.as_ref().err().map(|error| Chain(error).to_string());
        let number = [("radiosonde.epoch", epoch.to_string())];
        engine.own_spans.record(Operation::Checkpoint, began, took, error.as_deref(), &number);
        match &outcome {
            Ok(bytes) => {
                telemetry.checkpoint_bytes.set(i64::try_from(*bytes).unwrap_or(i64::MAX));
                let now = engine.clock.now().as_seconds();
                telemetry.checkpoint_last_success_timestamp_seconds.set(now);
            }
            Err(error) => {
                tracing::error!(error = %Chain(error), "a checkpoint failed; the journal keeps everything")
            }
        }
        outcome.is_ok()
    });
    work.await.unwrap_or_else(|_| {
        tracing::error!("a checkpoint was cut off");
        false
    })
}

pub(super) fn write(
    engine: &Engine,
    checkpoints: &Checkpoints,
    epoch: u64,
) -> Result<u64, CheckpointError> {
    checkpoints.clean()?;
    let now = engine.clock.now();
    let slot = Slot::of(now);
    let (files, hashes) = (checkpoints.data.files(), checkpoints.data.join(HASHES));
    let full = dedupe_files::wants_full(files, &hashes)?;
    let (due, state, positions, pieces) = {
        let mut core = engine.core.write();
        core.store.counts.advance(slot);
        core.store.counts.settle();
        core.store.evidence.settle(slot);
        core.store.head.forget_idle(slot);
        let due = core.store.head.due(slot);
        core.store.head.close(&due);
        let core = &mut *core;
        core.folder.settle(&core.store, now);
        let positions = [(Lane::Control, core.control), (Lane::Bulk, core.bulk)];
        (due, core.save(epoch, now), positions, core.folder.dedupe.take(full))
    };
    let written = due.blocks.iter().try_for_each(|(tier, blocks)| {
        if blocks.is_empty() { Ok(()) } else { checkpoints.history.write(*tier, epoch, blocks) }
    });
    if let Err(error) = written {
        engine.core.write().store.head.reopen(&due);
        checkpoints.take_back(epoch);
        checkpoints.clean()?;
        return Err(error.into());
    }
    let of_hashes =
        dedupe_files::write(files, &hashes, epoch, full, pieces.iter().map(Piece::encode))?;
    let bytes = checkpoints.data.write_checkpoint(&state)? + of_hashes;
    drop(pieces);
    engine.core.write().folder.dedupe.committed();
    dedupe_files::retain(files, &hashes, epoch)?;
    for (lane, position) in positions {
        engine.journal.release(lane, position, now);
        let disk = i64::try_from(engine.journal.disk_bytes(lane)).unwrap_or(i64::MAX);
        engine.telemetry.journal_disk_bytes.with_label_values(&[lane.as_str()]).set(disk);
    }
    for (tier, keep) in checkpoints.keep {
        checkpoints.history.retain(tier, Slot::of(now.minus(keep)))?;
    }
    let disk = i64::try_from(checkpoints.history.disk_bytes()).unwrap_or(i64::MAX);
    engine.telemetry.history_disk_bytes.set(disk);
    Ok(bytes)
}
