//! Windows that were set aside, until what they held has been made anew elsewhere.
//!
//! A file `settled` in the renamed directory tells that nothing is left to do about it; without it a
//! start reports the window again, so that a crash in the middle of rebuilding costs nothing.

use super::failure::EngineFailure;
use super::files::sync_directory;
use super::shelf::Shelf;
use super::window::WindowId;
use super::{SetAside, SledHistory};
use crate::model::series::HistoryError;
use std::fs::File;

const SETTLED: &str = "settled";

impl SledHistory {
    /// Makes room for a window that is to be made anew: what was written in its place since it was
    /// set aside goes.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn vacate(&self, set_aside: &SetAside) -> Result<(), HistoryError> {
        let _freed = self.shelf.remove(WindowId::of(set_aside.tier, set_aside.from_slot))?;
        Ok(())
    }

    /// Notes that a window has been made anew, as far as it could be, and that a checkpoint holds it:
    /// it is not reported again.
    ///
    /// # Errors
    /// When the note cannot be made durable.
    pub fn settle(&self, set_aside: &SetAside) -> Result<(), HistoryError> {
        let note = || {
            File::create(set_aside.to.join(SETTLED))?.sync_all()?;
            sync_directory(&set_aside.to)
        };
        let noted = note().map_err(EngineFailure::file("note that a window was made anew"));
        noted.map_err(|failure| failure.at(&set_aside.to))
    }
}

/// Windows that were set aside, now or in an earlier run, and not settled, by tier, then time.
pub(super) fn unsettled(shelf: &Shelf) -> Result<Vec<SetAside>, HistoryError> {
    let found_now = shelf.set_aside();
    let mut unsettled = Vec::new();
    for (id, to) in shelf.broken()? {
        let is_settled = to
            .join(SETTLED)
            .try_exists()
            .map_err(EngineFailure::file("look for the note on a window that was set aside"))
            .map_err(|failure| failure.at(&to))?;
        if is_settled {
            continue;
        }
        let known = found_now.iter().find(|window| window.to == to).cloned();
        unsettled.push(known.unwrap_or_else(|| SetAside {
            from: shelf.path(id),
            to,
            reason: "it was set aside before this start".to_owned(),
            tier: id.tier,
            from_slot: id.start,
            to_slot: id.end(),
        }));
    }
    unsettled.sort_by_key(|window| (window.tier, window.from_slot));
    Ok(unsettled)
}
