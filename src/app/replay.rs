//! After a start: history that was set aside is made anew, then the journal's records from the
//! checkpoint's positions are applied as they were. Replay applies decisions and never makes any.

use super::daemon::StartError;
use super::engine::Engine;
use super::rebuild::{Gap, Rebuild};
use crate::alert::core::ApplyError;
use crate::base::error::Chain;
use crate::base::shutdown::Shutdown;
use crate::journal::JournalError;
use crate::model::position::{Lane, Position};
use crate::wire::record::Envelope;
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// How often the page learns how far it is, in records.
const TELL_EVERY: u64 = 128;

/// What a start found.
#[derive(Clone, Debug, Default)]
pub struct Replayed {
    /// Records behind the checkpoint.
    pub records: u64,
    /// History that is lost for good.
    pub gaps: Vec<Gap>,
}

/// Makes history anew that was set aside, and folds everything durable that the checkpoint does not
/// hold, off the async threads. None when `shutdown` began before the end.
///
/// # Errors
/// When the journal cannot be read at all, or folding it meets a fault of ours; a corrupt record costs
/// the rest of its segment, with a message, not the start.
pub async fn run(
    engine: &Engine,
    rebuild: &Arc<Rebuild>,
    shutdown: &Shutdown,
) -> Result<Option<Replayed>, StartError> {
    let (engine, rebuild, shutdown) = (engine.clone(), Arc::clone(rebuild), shutdown.clone());
    let folding = tokio::task::spawn_blocking(move || {
        let gaps = rebuild.run(&engine, &shutdown).unwrap_or_else(|error| {
            tracing::error!(error = %Chain(&error), "history cannot be made anew; the next start tries again");
            Vec::new()
        });
        let records = replay(&engine, &shutdown)?;
        Ok(records.map(|records| Replayed { records, gaps }))
    });
    match folding.await {
        Ok(outcome) => outcome,
        Err(error) if error.is_panic() => {
            Err("the journal cannot be folded, by a fault of radiosonde; nothing in it is lost"
                .into())
        }
        // Cut off with the whole runtime.
        Err(_) => Ok(None),
    }
}

pub(super) fn replay(engine: &Engine, shutdown: &Shutdown) -> Result<Option<u64>, JournalError> {
    let journal = &engine.journal;
    let from = {
        let core = engine.core.read();
        let reached = |lane, position: Position| (lane, position.max(journal.first(lane)));
        [reached(Lane::Bulk, core.bulk), reached(Lane::Control, core.control)]
    };
    let due = |(lane, from): &(Lane, Position)| journal.bytes_from(*lane, *from);
    let total: u64 = from.iter().map(due).sum();
    let (mut records, mut done) = (0_u64, 0_u64);
    for (lane, from) in from {
        let mut reader = journal.read_from(lane, from)?;
        while let Some(record) = reader.next() {
            if shutdown.has_begun() {
                return Ok(None);
            }
            match record {
                Ok((_, next, bytes)) => {
                    records += 1;
                    done += bytes.len() as u64;
                    apply(engine, lane, next, bytes);
                }
                Err(error) => {
                    tracing::error!(lane = lane.as_str(), error = %Chain(&error), "the journal is damaged; going on behind");
                    if !reader.skip_to_next_segment() {
                        break;
                    }
                }
            }
            if records.is_multiple_of(TELL_EVERY) {
                let permille = (done * 1_000 / total.max(1)).min(999);
                engine.replayed_permille.store(permille as u32, Ordering::Relaxed);
            }
        }
    }
    Ok(Some(records))
}

fn apply(engine: &Engine, lane: Lane, next: Position, bytes: Bytes) {
    let applied = Envelope::read(bytes)
        .map_err(ApplyError::from)
        .and_then(|envelope| engine.core.write().apply(lane, next, &envelope, None));
    if let Err(error) = applied {
        engine.telemetry.fold_unreadable_total.with_label_values(&[lane.as_str()]).inc();
        tracing::error!(lane = lane.as_str(), error = %Chain(&error), "a record cannot be replayed");
    }
}
