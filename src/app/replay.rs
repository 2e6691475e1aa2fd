//! After a start: the hashes of items that the checkpoint counts, then the journal's records from the
//! checkpoint's positions, applied as they were. Replay applies decisions and never makes any.

use crate::alert::Core;
use crate::base::clock::UnixNanos;
use crate::base::error::Chain;
use crate::journal::{Journal, JournalError};
use crate::model::position::Lane;
use crate::store::data_dir::DataDirError;
use crate::store::dedupe_files;
use crate::telemetry::Telemetry;
use crate::wire::record::Envelope;
use crate::wire::state::CheckpointState;
use std::path::Path;

/// Puts back the hashes of items that were folded before the checkpoint. What is missing shortens the
/// horizon within which duplicates are recognised, with a message; it does not keep from starting.
///
/// # Errors
/// When the folder cannot be read.
pub fn restore_hashes(
    core: &mut Core,
    hashes: &Path,
    checkpoint: Option<&CheckpointState>,
    now: UnixNanos,
) -> Result<(), DataDirError> {
    let epoch = checkpoint.map_or(0, |state| state.epoch);
    let state = checkpoint.and_then(|state| state.dedupe.clone()).unwrap_or_default();
    let dedupe = &mut core.folder.dedupe;
    let mut readable = true;
    let whole =
        dedupe_files::recover(hashes, epoch, |piece| readable &= dedupe.restore(piece, &state))?;
    let known = checkpoint.is_none_or(|checkpoint| checkpoint.dedupe.is_some());
    if !dedupe.restored(&state, now, whole && readable && known) {
        tracing::warn!(folder = %hashes.display(), "hashes of items are missing; duplicates of what came before may count twice");
    }
    Ok(())
}

/// Folds everything durable that the checkpoint does not hold. Returns how many records there were.
///
/// # Errors
/// When the journal cannot be read at all; a corrupt record costs the rest of its segment, with a
/// message, not the start.
pub fn replay(
    core: &mut Core,
    journal: &Journal,
    telemetry: &Telemetry,
) -> Result<u64, JournalError> {
    let mut records = 0;
    for lane in [Lane::Bulk, Lane::Control] {
        let reached = match lane {
            Lane::Control => core.control,
            Lane::Bulk => core.bulk,
        };
        let mut reader = journal.read_from(lane, reached.max(journal.first(lane)))?;
        while let Some(record) = reader.next() {
            match record {
                Ok((_, next, bytes)) => {
                    records += 1;
                    let applied = Envelope::read(bytes)
                        .map_err(crate::alert::core::ApplyError::from)
                        .and_then(|envelope| core.apply(lane, next, &envelope, None));
                    if let Err(error) = applied {
                        telemetry.fold_unreadable_total.with_label_values(&[lane.as_str()]).inc();
                        tracing::error!(lane = lane.as_str(), error = %Chain(&error), "a record cannot be replayed");
                    }
                }
                Err(error) => {
                    tracing::error!(lane = lane.as_str(), error = %Chain(&error), "the journal is damaged; going on behind");
                    if !reader.skip_to_next_segment() {
                        break;
                    }
                }
            }
        }
    }
    Ok(records)
}
