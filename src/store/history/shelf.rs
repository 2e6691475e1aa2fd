//! Which windows there are, and which of them are open: the newest of each tier, and a few more
//! that were used last.
//!
//! A window that turns out damaged when it is opened is renamed and noted; there is no such window
//! then, and a write makes a new one. Locks are taken in this order: a window's, then the list's.

use super::SetAside;
use super::database::Database;
use super::failure::{EngineFailure, guarded};
use super::files::{bytes_below, remove_directory, rename_broken, sync_directory};
use super::window::{Directory, WindowId};
use crate::base::error::Chain;
use crate::model::series::{HistoryError, Tier};
use crate::model::slot::Slot;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Windows that stay open beside the newest of each tier.
pub(super) const EXTRA_OPEN: usize = 3;

/// The windows below one directory.
pub(super) struct Shelf {
    dir: PathBuf,
    cache_bytes: u64,
    windows: Mutex<BTreeMap<WindowId, Arc<Window>>>,
    uses: AtomicU64,
    set_aside: Mutex<Vec<SetAside>>,
}

struct Window {
    id: WindowId,
    path: PathBuf,
    /// None while closed. Held while the window is opened, so that others wait instead of trying.
    database: Mutex<Option<Arc<Database>>>,
    last_use: AtomicU64,
}

impl Shelf {
    /// Finds the windows below `dir`, which exists. Opens none of them.
    pub(super) fn load(dir: &Path, cache_bytes: u64) -> Result<Self, EngineFailure> {
        let shelf = Self {
            dir: dir.to_path_buf(),
            cache_bytes,
            windows: Mutex::default(),
            uses: AtomicU64::new(0),
            set_aside: Mutex::default(),
        };
        for (directory, path) in directories(dir)? {
            match directory {
                Directory::Window(id) => drop(shelf.put(id)),
                Directory::Dropped => fs::remove_dir_all(path)
                    .map_err(EngineFailure::file("finish removing a dropped window"))?,
                Directory::Broken(_) => {}
            }
        }
        Ok(shelf)
    }

    /// Every window, by tier, then time.
    pub(super) fn all(&self) -> Vec<WindowId> {
        self.windows.lock().keys().copied().collect()
    }

    /// The windows of a tier that hold some of `from..to`, by time.
    pub(super) fn overlapping(&self, tier: Tier, from: Slot, to: Slot) -> Vec<WindowId> {
        let within = |id: &&WindowId| id.tier == tier && id.start < to && from < id.end();
        self.windows.lock().keys().filter(within).copied().collect()
    }

    /// The directory of a window.
    pub(super) fn path(&self, id: WindowId) -> PathBuf {
        self.dir.join(id.to_string())
    }

    /// Opens a window unless it is open. None when there is no such window.
    ///
    /// A damaged one is set aside, and this once answered with an error.
    pub(super) fn open(&self, id: WindowId) -> Result<Option<Arc<Database>>, HistoryError> {
        let window = self.windows.lock().get(&id).cloned();
        window.map_or(Ok(None), |window| self.open_window(&window))
    }

    /// Opens a window, making it when there is none or when it had to be set aside.
    pub(super) fn open_or_make(&self, id: WindowId) -> Result<Arc<Database>, HistoryError> {
        let mut was_set_aside = false;
        loop {
            let window = self.put(id);
            match self.open_window(&window) {
                Ok(Some(database)) => return Ok(database),
                // Somebody else found it damaged meanwhile.
                Ok(None) => {}
                Err(error) if was_set_aside || self.has(&window) => return Err(error),
                Err(_) => was_set_aside = true,
            }
        }
    }

    /// Closes a window after a failure, so that its next use starts afresh.
    pub(super) fn close(&self, id: WindowId) {
        let window = self.windows.lock().get(&id).cloned();
        if let Some(database) = window.and_then(|window| window.database.lock().take()) {
            retire(database);
        }
    }

    /// Removes a window with all it holds. Says how many bytes that gave back.
    pub(super) fn remove(&self, id: WindowId) -> Result<u64, HistoryError> {
        let removed = self.windows.lock().remove(&id);
        let Some(window) = removed else { return Ok(0) };
        let mut database = window.database.lock();
        if let Some(database) = database.take() {
            retire(database);
        }
        self.remove_path(&window.path)
    }

    /// Removes a window that was set aside before. Says how many bytes that gave back.
    pub(super) fn remove_path(&self, path: &Path) -> Result<u64, HistoryError> {
        let bytes = bytes_below(path);
        remove_directory(path)
            .and_then(|()| sync_directory(&self.dir))
            .map_err(|source| EngineFailure::File { action: "remove a window", source }.at(path))?;
        Ok(bytes)
    }

    /// Windows that were set aside, now or in an earlier run, and still take up space.
    pub(super) fn broken(&self) -> Result<Vec<(WindowId, PathBuf)>, HistoryError> {
        let all = directories(&self.dir).map_err(|failure| failure.at(&self.dir))?;
        let broken = all.into_iter().filter_map(|(directory, path)| match directory {
            Directory::Broken(id) => Some((id, path)),
            Directory::Window(_) | Directory::Dropped => None,
        });
        Ok(broken.collect())
    }

    /// Windows that were set aside since the shelf was loaded.
    pub(super) fn set_aside(&self) -> Vec<SetAside> {
        self.set_aside.lock().clone()
    }

    /// The window under `id` in the list, put there when it was not.
    fn put(&self, id: WindowId) -> Arc<Window> {
        let new = || {
            let (path, last_use) = (self.path(id), AtomicU64::new(0));
            Arc::new(Window { id, path, database: Mutex::new(None), last_use })
        };
        self.windows.lock().entry(id).or_insert_with(new).clone()
    }

    fn has(&self, window: &Arc<Window>) -> bool {
        self.windows.lock().get(&window.id).is_some_and(|known| Arc::ptr_eq(known, window))
    }

    fn open_window(&self, window: &Arc<Window>) -> Result<Option<Arc<Database>>, HistoryError> {
        let mut database = window.database.lock();
        // Opening what was removed while we waited would make it anew.
        if !self.has(window) {
            return Ok(None);
        }
        window.last_use.store(self.uses.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
        if let Some(open) = &*database {
            return Ok(Some(open.clone()));
        }
        match Database::open(&window.path, self.cache_bytes) {
            Ok(opened) => {
                let opened = Arc::new(opened);
                *database = Some(opened.clone());
                drop(database);
                self.close_least_used();
                Ok(Some(opened))
            }
            Err(failure) => {
                if failure.is_damage() {
                    self.put_aside(window, &failure).map_err(|other| other.at(&window.path))?;
                }
                Err(failure.at(&window.path))
            }
        }
    }

    fn put_aside(&self, window: &Window, why: &EngineFailure) -> Result<(), EngineFailure> {
        let to = rename_broken(&window.path)
            .map_err(EngineFailure::file("set the damaged window aside"))?;
        let _gone = self.windows.lock().remove(&window.id);
        let reason = Chain(why).to_string();
        tracing::error!(
            window = %window.id, kept_as = %to.display(), reason,
            "a window of history is damaged and was set aside",
        );
        self.set_aside.lock().push(SetAside {
            from: window.path.clone(),
            to,
            reason,
            tier: window.id.tier,
            from_slot: window.id.start,
            to_slot: window.id.end(),
        });
        Ok(())
    }

    /// Closes open windows beyond [`EXTRA_OPEN`] that are not the newest of their tier and that
    /// nobody uses, the one used longest ago first.
    fn close_least_used(&self) {
        let mut closed = Vec::new();
        {
            let windows = self.windows.lock();
            let newest = Tier::ALL.map(|tier| windows.keys().rfind(|id| id.tier == tier).copied());
            let mut open: Vec<_> = windows
                .values()
                .filter(|window| !newest.contains(&Some(window.id)))
                .filter(|window| window.database.try_lock().is_some_and(|db| db.is_some()))
                .collect();
            open.sort_by_key(|window| window.last_use.load(Ordering::Relaxed));
            for window in open.iter().take(open.len().saturating_sub(EXTRA_OPEN)) {
                let Some(mut database) = window.database.try_lock() else { continue };
                // Handles are given out under this lock only, so one that is alone stays alone.
                if database.as_ref().is_some_and(|database| Arc::strong_count(database) == 1) {
                    closed.extend(database.take());
                }
            }
        }
        closed.into_iter().for_each(retire);
    }

    /// How many windows are open.
    #[cfg(test)]
    pub(super) fn open_count(&self) -> usize {
        self.windows.lock().values().filter(|window| window.database.lock().is_some()).count()
    }
}

impl Drop for Shelf {
    fn drop(&mut self) {
        let windows = std::mem::take(&mut *self.windows.lock());
        windows.into_values().filter_map(|window| window.database.lock().take()).for_each(retire);
    }
}

/// Lets go of a database; the last one to do so closes it. sled syncs then, and panics when it
/// cannot, although all that counts was synced before.
fn retire(database: Arc<Database>) {
    let path = database.path().to_path_buf();
    let closed = guarded(|| {
        drop(database);
        Ok(())
    });
    if let Err(failure) = closed {
        tracing::warn!(
            window = %path.display(), reason = %Chain(&failure),
            "a window of history did not close cleanly",
        );
    }
}

/// What below `dir` is ours.
fn directories(dir: &Path) -> Result<Vec<(Directory, PathBuf)>, EngineFailure> {
    let list = || -> std::io::Result<Vec<_>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let name = entry.file_name();
            if let Some(directory) = name.to_str().and_then(Directory::parse) {
                found.push((directory, entry.path()));
            }
        }
        Ok(found)
    };
    list().map_err(EngineFailure::file("list the windows of history"))
}
