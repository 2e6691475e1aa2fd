//! State to disk: one epoch a minute. History blocks first, then the checkpoint that makes them
//! count, then the journal may forget.

use super::engine::Engine;
use crate::base::error::Chain;
use crate::base::shutdown::Shutdown;
use crate::model::position::Lane;
use crate::model::series::{History, HistoryError, Tier};
use crate::model::slot::Slot;
use crate::store::data_dir::{DataDir, DataDirError};
use std::sync::Arc;
use std::time::Duration;

/// How often a checkpoint is made.
const EVERY: Duration = Duration::from_secs(60);

/// Where checkpoints go.
#[derive(Clone)]
pub struct Checkpoints {
    /// The data folder.
    pub data: Arc<DataDir>,
    /// History.
    pub history: Arc<dyn History>,
    /// How long each tier is kept.
    pub keep: [(Tier, Duration); 2],
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
        }
        epoch += 1;
        make(&engine, &checkpoints, epoch).await;
    }
}

/// Makes one checkpoint off the async threads, and says how it went.
pub async fn make(engine: &Engine, checkpoints: &Checkpoints, epoch: u64) {
    let (engine, checkpoints) = (engine.clone(), checkpoints.clone());
    let work = tokio::task::spawn_blocking(move || {
        let started = engine.clock.monotonic();
        let outcome = write(&engine, &checkpoints, epoch);
        let telemetry = &engine.telemetry;
        let took = engine.clock.monotonic().since(started);
        telemetry.checkpoint_duration_seconds.observe(took.as_secs_f64());
        let name = if outcome.is_ok() { "success" } else { "failure" };
        telemetry.checkpoints_total.with_label_values(&[name]).inc();
        match outcome {
            Ok(bytes) => {
                telemetry.checkpoint_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
                let now = engine.clock.now().as_seconds();
                telemetry.checkpoint_last_success_timestamp_seconds.set(now);
            }
            Err(error) => {
                tracing::error!(error = %Chain(&error), "a checkpoint failed; the journal keeps everything")
            }
        }
    });
    if work.await.is_err() {
        tracing::error!("a checkpoint was cut off");
    }
}

fn write(engine: &Engine, checkpoints: &Checkpoints, epoch: u64) -> Result<u64, CheckpointError> {
    let now = engine.clock.now();
    let slot = Slot::of(now);
    let (due, state, positions) = {
        let mut core = engine.core.write();
        core.store.counts.advance(slot);
        core.store.counts.settle();
        core.store.evidence.settle(slot);
        let due = core.store.head.due(slot);
        core.store.head.close(&due, slot);
        let core = &mut *core;
        core.folder.settle(&core.store, now);
        (due, core.save(epoch, now), [(Lane::Control, core.control), (Lane::Bulk, core.bulk)])
    };
    let written = due.blocks.iter().try_for_each(|(tier, blocks)| {
        if blocks.is_empty() { Ok(()) } else { checkpoints.history.write(*tier, epoch, blocks) }
    });
    let outcome = written
        .map_err(CheckpointError::from)
        .and_then(|()| Ok(checkpoints.data.write_checkpoint(&state)?));
    if outcome.is_err() {
        engine.core.write().store.head.reopen(&due);
    }
    let bytes = outcome?;
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
