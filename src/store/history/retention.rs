//! Which windows go: those that ended before a horizon, and the oldest when there are too many bytes.

use super::SledHistory;
use super::window::WindowId;
use crate::base::clock::UnixNanos;
use crate::model::series::{History, HistoryError, Tier};
use crate::model::slot::Slot;

impl SledHistory {
    /// Drops what `config.keep` no longer covers at `now`, and then what takes more disk than
    /// `config.max_disk_bytes`.
    ///
    /// # Errors
    /// When a window cannot be removed.
    pub fn expire(&self, now: UnixNanos) -> Result<(), HistoryError> {
        self.config
            .keep
            .iter()
            .try_for_each(|(tier, keep)| self.retain(*tier, Slot::of(now.minus(*keep))))
    }

    /// Drops the windows of a tier that ended before `horizon`, those set aside included. No write
    /// may be under way: it could make a window again that goes.
    pub(super) fn drop_ended(&self, tier: Tier, horizon: Slot) -> Result<(), HistoryError> {
        let ended = |id: &WindowId| id.tier == tier && id.end() <= horizon;
        self.raise_horizon(tier, horizon);
        for id in self.shelf.all().into_iter().filter(ended) {
            let freed = self.shelf.remove(id)?;
            self.note_dropped(id, freed, "age");
        }
        for (id, path) in self.shelf.broken()?.into_iter().filter(|(id, _)| ended(id)) {
            let freed = self.shelf.remove_path(&path)?;
            self.note_dropped(id, freed, "age");
        }
        Ok(())
    }

    /// Drops windows, those set aside first and then the oldest, until the bound in bytes holds.
    pub(super) fn stay_within_disk(&self) -> Result<(), HistoryError> {
        let used = self.disk_bytes();
        self.metrics.disk_bytes.set(i64::try_from(used).unwrap_or(i64::MAX));
        let Some(mut excess) =
            self.config.max_disk_bytes.and_then(|max| used.checked_sub(max)).filter(|n| *n > 0)
        else {
            return Ok(());
        };
        for (id, path) in self.shelf.broken()? {
            if excess == 0 {
                return Ok(());
            }
            let freed = self.shelf.remove_path(&path)?;
            self.note_dropped(id, freed, "disk");
            excess = excess.saturating_sub(freed);
        }
        let all = self.shelf.all();
        let newest = Tier::ALL.map(|tier| all.iter().rfind(|id| id.tier == tier).copied());
        let mut older: Vec<_> = all.into_iter().filter(|id| !newest.contains(&Some(*id))).collect();
        older.sort_by_key(|id| id.end());
        for id in older {
            if excess == 0 {
                return Ok(());
            }
            self.raise_horizon(id.tier, id.end());
            let freed = self.shelf.remove(id)?;
            self.note_dropped(id, freed, "disk");
            excess = excess.saturating_sub(freed);
        }
        if excess > 0 {
            tracing::warn!(
                excess_bytes = excess,
                "the newest windows of history alone exceed the bound"
            );
        }
        Ok(())
    }

    /// What ended before this is not written again.
    pub(super) fn horizon(&self, tier: Tier) -> Slot {
        self.horizons.lock().get(&tier).copied().unwrap_or_default()
    }

    fn raise_horizon(&self, tier: Tier, horizon: Slot) {
        let mut horizons = self.horizons.lock();
        let known = horizons.entry(tier).or_default();
        *known = horizon.max(*known);
    }

    fn note_dropped(&self, id: WindowId, bytes: u64, why: &'static str) {
        self.metrics.windows_dropped.inc();
        tracing::info!(window = %id, bytes, why, "a window of history was dropped");
    }
}
