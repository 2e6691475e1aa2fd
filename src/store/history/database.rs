//! One retention window while it is open: a sled database and the window's [`Mark`].

use super::block;
use super::failure::{EngineFailure, guarded};
use super::files::sync_directory;
use super::mark::Mark;
use super::pieces::{Merged, Piece};
use super::window::Key;
use crate::model::series::SeriesId;
use crate::model::slot::Slot;
use parking_lot::Mutex;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The tree beside the blocks, with one entry: the newest epoch that was flushed.
const EPOCHS: &[u8] = b"epochs";
const NEWEST: &[u8] = b"newest";

/// How often, and with which pause, a window that we closed ourselves is tried again: sled's I/O
/// threads keep its lock for a moment after the last handle is gone.
const LOCK_ATTEMPTS: u32 = 200;
const LOCK_PAUSE: Duration = Duration::from_millis(5);

/// A window's database. Closing it is dropping it.
pub(super) struct Database {
    path: PathBuf,
    blocks: sled::Db,
    epochs: sled::Tree,
    mark: Mutex<Mark>,
    /// Blobs up to this number are synced; sled numbers them upwards.
    synced_blob: Mutex<Option<u64>>,
}

/// What a key held before it was written, so that the write can be taken back.
#[derive(Clone)]
pub(super) struct Before {
    pub(super) key: Key,
    value: Option<sled::IVec>,
}

/// Why a block was not added or read.
#[derive(Debug)]
pub(super) enum BlockFailure {
    Engine(EngineFailure),
    Undecodable(block::Undecodable),
}

impl Database {
    /// Opens the window at `path`, making it when it does not exist.
    pub(super) fn open(path: &Path, cache_bytes: u64) -> Result<Self, EngineFailure> {
        fs::create_dir_all(path).map_err(EngineFailure::file("make the window's directory"))?;
        let mark = Mark::load(path).map_err(EngineFailure::file("read the window's epochs"))?;
        let blocks = open_sled(path, cache_bytes)?;
        let is_new = mark.is_none() && !blocks.was_recovered();
        if is_new {
            make_names_durable(path)?;
        }
        let mark = mark.unwrap_or(if is_new { Mark::NEW } else { Mark::UNKNOWN });
        let epochs = guarded(|| blocks.open_tree(EPOCHS))?;
        let database = Self {
            path: path.to_path_buf(),
            blocks,
            epochs,
            mark: Mutex::new(mark),
            synced_blob: Mutex::new(None),
        };
        let found = database.newest()?;
        if found < mark.durable {
            return Err(EngineFailure::Lost { durable: mark.durable, found });
        }
        Ok(database)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Notes that blocks of an epoch may stand here from now on; before the first of them is added.
    pub(super) fn begin(&self, epoch: u64) -> Result<(), EngineFailure> {
        self.update_mark(|mark| mark.begun = mark.begun.max(epoch))
    }

    /// What an epoch already has of the block in which a piece lies.
    pub(super) fn before(&self, piece: Piece<'_>, epoch: u64) -> Result<Before, EngineFailure> {
        let key = Key { series: piece.series, start: piece.start, epoch };
        let value = guarded(|| self.blocks.get(key.to_bytes()))?;
        Ok(Before { key, value })
    }

    /// Adds a piece to what was there before. Durable after [`Self::commit`].
    pub(super) fn add(&self, piece: Piece<'_>, before: Before) -> Result<(), BlockFailure> {
        let bytes = match &before.value {
            None if piece.slots.is_sorted_by(|a, b| a.0 < b.0) => {
                block::encode(piece.start, piece.slots)
            }
            known => {
                let mut merged = Merged::default();
                if let Some(bytes) = known {
                    merged.add(block::decode(piece.start, bytes)?);
                }
                merged.add(piece.slots.iter().cloned());
                block::encode(piece.start, &merged.into_slots())
            }
        };
        let _known = guarded(|| self.blocks.insert(before.key.to_bytes(), bytes))?;
        Ok(())
    }

    /// Puts back what a key held.
    pub(super) fn restore(&self, before: &Before) -> Result<(), EngineFailure> {
        let key = before.key.to_bytes();
        let _written = guarded(|| match &before.value {
            Some(value) => self.blocks.insert(key, value),
            None => self.blocks.remove(key),
        })?;
        Ok(())
    }

    /// Makes everything added so far durable and notes the epoch as such.
    pub(super) fn commit(&self, epoch: u64) -> Result<(), EngineFailure> {
        let newest = self.newest()?.max(epoch);
        let _before = guarded(|| self.epochs.insert(NEWEST, &newest.to_be_bytes()))?;
        self.sync()?;
        self.update_mark(|mark| mark.durable = mark.durable.max(epoch))
    }

    /// Makes everything durable: sled writes its buffers, and the rest is done here.
    ///
    /// On Linux sled 0.34 flushes with `sync_file_range`, which leaves the file's length and the
    /// disk's own cache alone, and it never syncs blobs.
    pub(super) fn sync(&self) -> Result<(), EngineFailure> {
        let _bytes = guarded(|| self.blocks.flush())?;
        self.sync_files().map_err(EngineFailure::file("sync the window's files"))
    }

    /// Hands the blocks of a series that begin within `from..to` to `visit`, by start, then epoch.
    pub(super) fn visit(
        &self,
        series: SeriesId,
        from: Slot,
        to: Slot,
        mut visit: impl FnMut(Slot, &[u8]) -> Result<(), BlockFailure>,
    ) -> Result<(), BlockFailure> {
        let bound = |start| Key { series, start, epoch: 0 }.to_bytes();
        let mut entries = guarded(|| Ok(self.blocks.range(bound(from)..bound(to))))?;
        while let Some((key, value)) = guarded(|| entries.next().transpose())? {
            let key = Key::parse(&key).ok_or(STRANGE_KEY)?;
            visit(key.start, &value)?;
        }
        Ok(())
    }

    /// Removes every block of an epoch after `committed`. Says how many there were.
    pub(super) fn remove_after(&self, committed: u64) -> Result<usize, BlockFailure> {
        let mut uncommitted = Vec::new();
        let mut entries = guarded(|| Ok(self.blocks.iter()))?;
        while let Some((key, _)) = guarded(|| entries.next().transpose())? {
            if Key::parse(&key).ok_or(STRANGE_KEY)?.epoch > committed {
                uncommitted.push(key);
            }
        }
        for key in &uncommitted {
            let _removed = guarded(|| self.blocks.remove(key))?;
        }
        self.sync()?;
        self.update_mark(|mark| {
            *mark = Mark { begun: committed, durable: mark.durable.min(committed) };
        })?;
        Ok(uncommitted.len())
    }

    /// The newest epoch that sled knows of; 0 when none.
    fn newest(&self) -> Result<u64, EngineFailure> {
        let known = guarded(|| self.epochs.get(NEWEST))?;
        let bytes = known.as_deref().and_then(|bytes| bytes.first_chunk::<8>());
        Ok(bytes.map_or(0, |bytes| u64::from_be_bytes(*bytes)))
    }

    fn update_mark(&self, change: impl FnOnce(&mut Mark)) -> Result<(), EngineFailure> {
        let mut mark = self.mark.lock();
        let mut changed = *mark;
        change(&mut changed);
        if changed != *mark {
            changed.store(&self.path).map_err(EngineFailure::file("write the window's epochs"))?;
            *mark = changed;
        }
        Ok(())
    }

    fn sync_files(&self) -> std::io::Result<()> {
        File::open(self.path.join("db"))?.sync_data()?;
        let blobs = self.path.join("blobs");
        let mut synced = self.synced_blob.lock();
        let mut highest = *synced;
        for entry in fs::read_dir(&blobs)? {
            let entry = entry?;
            let number = entry.file_name().to_str().and_then(|name| name.parse::<u64>().ok());
            if number > *synced {
                match File::open(entry.path()) {
                    Ok(blob) => blob.sync_all()?,
                    // sled has replaced it meanwhile.
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                    Err(error) => return Err(error),
                }
                highest = highest.max(number);
            }
        }
        if highest > *synced {
            sync_directory(&blobs)?;
            *synced = highest;
        }
        Ok(())
    }
}

/// Every key in a window is one of ours.
const STRANGE_KEY: block::Undecodable = block::Undecodable { reason: "its key is not a block's" };

fn open_sled(path: &Path, cache_bytes: u64) -> Result<sled::Db, EngineFailure> {
    let config = sled::Config::new()
        .path(path)
        .cache_capacity(cache_bytes)
        .mode(sled::Mode::LowSpace)
        .flush_every_ms(None);
    for _ in 0..LOCK_ATTEMPTS {
        match guarded(|| config.open()) {
            Err(EngineFailure::Locked) => std::thread::park_timeout(LOCK_PAUSE),
            answer => return answer,
        }
    }
    Err(EngineFailure::Locked)
}

/// A new window's directory and its files outlive a power cut only when their names do.
fn make_names_durable(path: &Path) -> Result<(), EngineFailure> {
    let dirs = [Some(path), path.parent()];
    let synced = dirs.into_iter().flatten().try_for_each(sync_directory);
    synced.map_err(EngineFailure::file("sync the window's directory"))
}

impl From<EngineFailure> for BlockFailure {
    fn from(failure: EngineFailure) -> Self {
        Self::Engine(failure)
    }
}

impl From<block::Undecodable> for BlockFailure {
    fn from(error: block::Undecodable) -> Self {
        Self::Undecodable(error)
    }
}
