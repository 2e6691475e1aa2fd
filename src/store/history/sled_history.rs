//! The engine that keeps history on disk: windows of sled, opened as they are needed.

use super::database::{Before, BlockFailure, Database};
use super::failure::EngineFailure;
use super::files::bytes_below;
use super::mark::Mark;
use super::pieces::{Merged, Piece, pieces};
use super::shelf::Shelf;
use super::window::WindowId;
use super::{Config, OpenReport, SetAside, block, block_slots, repair};
use crate::base::error::Chain;
use crate::model::series::{Block, History, HistoryError, Past, SeriesId, SlotValue, Tier};
use crate::model::slot::{SLOT_SECONDS, Slot};
use crate::telemetry::Telemetry;
use parking_lot::Mutex;
use prometheus::{Gauge, IntCounter, IntGauge};
use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::ops::Range;

/// Windows of each tier that are opened, and so checked, at start. They span more than the day that
/// the bulk lane of the journal keeps, which is what could be rebuilt; older ones are opened when
/// they are read.
const CHECKED_AT_OPEN: usize = 3;

/// History on sled, one database a retention window.
pub struct SledHistory {
    pub(super) config: Config,
    pub(super) shelf: Shelf,
    /// Held for as long as we live; the file's own lock goes with it.
    _lock: File,
    /// What a failed write has left and could not take back yet. Also lets one writer in at a time.
    unfinished: Mutex<Vec<(WindowId, Before)>>,
    /// What ended before is gone, and is not written again.
    pub(super) horizons: Mutex<BTreeMap<Tier, Slot>>,
    pub(super) metrics: Metrics,
}

/// What went missing since the process started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HistoryCounts {
    /// Windows that retention dropped, broken ones included.
    pub windows_dropped: u64,
    /// Windows that were found damaged and set aside.
    pub windows_set_aside: u64,
    /// Blocks, or parts of them, that came for a time that retention had dropped already.
    pub blocks_expired: u64,
    /// Reads of a window that failed.
    pub reads_failed: u64,
}

/// What is shown of it.
pub(super) struct Metrics {
    pub(super) windows_dropped: IntCounter,
    pub(super) disk_bytes: IntGauge,
    blocks: [(Tier, IntCounter); 2],
    blocks_expired: IntCounter,
    reads_failed: IntCounter,
    windows: IntGauge,
    windows_set_aside: IntGauge,
    gap_seconds: Gauge,
}

impl SledHistory {
    /// Opens the history below `config.dir` for this process alone, and checks the newest windows of
    /// each tier. Call [`History::recover`] next.
    ///
    /// # Errors
    /// When another process has it open, or the directory cannot be used. Damaged windows are no
    /// error: they are in the report.
    pub fn open(config: Config, telemetry: &Telemetry) -> Result<(Self, OpenReport), HistoryError> {
        let at_dir = |failure: EngineFailure| failure.at(&config.dir);
        fs::create_dir_all(&config.dir)
            .map_err(EngineFailure::file("make the directory of history"))
            .map_err(at_dir)?;
        let lock = take_lock(&config).map_err(at_dir)?;
        let shelf = Shelf::load(&config.dir, config.cache_bytes_per_window).map_err(at_dir)?;
        for tier in Tier::ALL {
            let windows = shelf.all().into_iter().filter(|id| id.tier == tier);
            for id in windows.rev().take(CHECKED_AT_OPEN).collect::<Vec<_>>() {
                let known = shelf.set_aside().len();
                match shelf.open(id) {
                    Err(error) if shelf.set_aside().len() == known => return Err(error),
                    _ => {}
                }
            }
        }
        let set_aside = repair::unsettled(&shelf)?;
        let report = OpenReport { set_aside };
        let history = Self {
            config,
            shelf,
            _lock: lock,
            unfinished: Mutex::default(),
            horizons: Mutex::default(),
            metrics: Metrics::of(telemetry),
        };
        history.show();
        Ok((history, report))
    }

    /// Every window that was set aside since this was opened: those of the report, and those found
    /// damaged later when they were read or recovered.
    #[must_use]
    pub fn set_aside(&self) -> Vec<SetAside> {
        self.shelf.set_aside()
    }

    /// What went missing since the process started.
    #[must_use]
    pub fn counts(&self) -> HistoryCounts {
        HistoryCounts {
            windows_dropped: self.metrics.windows_dropped.get(),
            windows_set_aside: self.shelf.set_aside().len() as u64,
            blocks_expired: self.metrics.blocks_expired.get(),
            reads_failed: self.metrics.reads_failed.get(),
        }
    }

    /// Shows what there is, and what is missing.
    pub(super) fn show(&self) {
        let gauge = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        let set_aside = self.shelf.set_aside();
        let slots = set_aside.iter().map(|gone| gone.to_slot.0.saturating_sub(gone.from_slot.0));
        let gap_slots: u64 = slots.map(u64::from).sum();
        self.metrics.windows.set(gauge(self.shelf.all().len()));
        self.metrics.windows_set_aside.set(gauge(set_aside.len()));
        self.metrics.gap_seconds.set((gap_slots * SLOT_SECONDS) as f64);
    }

    fn write_windows(
        &self,
        tier: Tier,
        epoch: u64,
        blocks: &[Block],
        written: &mut Vec<(WindowId, Before)>,
    ) -> Result<(), HistoryError> {
        let horizon = self.horizon(tier);
        let mut windows: BTreeMap<WindowId, Vec<Piece<'_>>> = BTreeMap::new();
        for piece in pieces(tier, blocks) {
            let id = WindowId::of(tier, piece.start);
            if id.end() <= horizon {
                self.metrics.blocks_expired.inc();
            } else {
                windows.entry(id).or_default().push(piece);
            }
        }
        for (id, pieces) in windows {
            let database = self.shelf.open_or_make(id)?;
            let write = || -> Result<(), BlockFailure> {
                database.begin(epoch)?;
                for piece in pieces {
                    // Noted before it is tried, for a write that fails may have been half done.
                    let before = database.before(piece, epoch)?;
                    written.push((id, before.clone()));
                    database.add(piece, before)?;
                }
                Ok(database.commit(epoch)?)
            };
            write().map_err(|failure| self.give_up_on(id, failure, &database))?;
        }
        Ok(())
    }

    /// Takes back what a failed write has left. Nothing leaves the list before all of it is undone
    /// and durable, and doing it twice does no harm.
    fn take_back(&self, unfinished: &mut Vec<(WindowId, Before)>) -> Result<(), HistoryError> {
        let mut touched = BTreeMap::new();
        // The last first, so that of several writes to one key the oldest value stays.
        for (id, before) in unfinished.iter().rev() {
            // A window that has gone took the block with it.
            if let Some(database) = self.shelf.open(*id)? {
                let restored = database.restore(before);
                restored.map_err(|failure| self.give_up_on(*id, failure.into(), &database))?;
                let _known = touched.insert(*id, database);
            }
        }
        for (id, database) in touched {
            database.sync().map_err(|failure| self.give_up_on(id, failure.into(), &database))?;
        }
        unfinished.clear();
        Ok(())
    }

    /// Closes a window after sled failed in it: sled stays broken until it is opened again.
    fn give_up_on(&self, id: WindowId, failure: BlockFailure, database: &Database) -> HistoryError {
        if matches!(failure, BlockFailure::Engine(_)) {
            self.shelf.close(id);
        }
        failure.at(database)
    }

    fn read_window(
        &self,
        id: WindowId,
        series: SeriesId,
        range: &Range<Slot>,
        merged: &mut Merged,
    ) -> Result<(), HistoryError> {
        let Some(database) = self.shelf.open(id)? else { return Ok(()) };
        let first = range.start.align(block_slots(id.tier));
        let visited = database.visit(series, first, range.end, |start, bytes| {
            Ok(merged.add_read(block::decode(start, bytes)?, range)?)
        });
        visited.map_err(|failure| match &failure {
            BlockFailure::Engine(EngineFailure::RangeTooLong) => failure.at(&database),
            _ => self.give_up_on(id, failure, &database),
        })
    }

    fn recover_window(&self, id: WindowId, committed: u64) -> Result<(), HistoryError> {
        let path = self.shelf.path(id);
        let mark = Mark::load(&path)
            .map_err(EngineFailure::file("read the window's epochs"))
            .map_err(|failure| failure.at(&path))?;
        // A window without a mark is older than its first write, or has lost it.
        if mark.unwrap_or(Mark::UNKNOWN).begun <= committed {
            return Ok(());
        }
        let Some(database) = self.shelf.open(id)? else { return Ok(()) };
        let removed = database
            .remove_after(committed)
            .map_err(|failure| self.give_up_on(id, failure, &database))?;
        if removed > 0 {
            tracing::info!(window = %id, committed, removed, "uncommitted blocks of history dropped");
        }
        Ok(())
    }
}

impl Metrics {
    fn of(telemetry: &Telemetry) -> Self {
        let blocks = |tier: Tier| {
            let counter = telemetry.history_blocks_total.with_label_values(&[tier.as_str()]);
            (tier, counter)
        };
        Self {
            windows_dropped: telemetry.history_windows_dropped_total.clone(),
            disk_bytes: telemetry.history_disk_bytes.clone(),
            blocks: Tier::ALL.map(blocks),
            blocks_expired: telemetry.history_blocks_expired_total.clone(),
            reads_failed: telemetry.history_read_failures_total.clone(),
            windows: telemetry.history_windows.clone(),
            windows_set_aside: telemetry.history_windows_set_aside.clone(),
            gap_seconds: telemetry.history_gap_seconds.clone(),
        }
    }

    fn wrote(&self, tier: Tier, blocks: usize) {
        let counter = self.blocks.iter().find(|(known, _)| *known == tier);
        counter.into_iter().for_each(|(_, counter)| counter.inc_by(blocks as u64));
    }
}

impl Past for SledHistory {
    fn read(
        &self,
        tier: Tier,
        series: SeriesId,
        from: Slot,
        to: Slot,
    ) -> Result<Vec<(Slot, SlotValue)>, HistoryError> {
        let mut merged = Merged::default();
        for id in self.shelf.overlapping(tier, from, to) {
            self.read_window(id, series, &(from..to), &mut merged).inspect_err(|error| {
                self.metrics.reads_failed.inc();
                tracing::warn!(window = %id, reason = %Chain(error), "history could not be read");
            })?;
        }
        Ok(merged.into_slots())
    }
}

impl History for SledHistory {
    /// Of a failed call nothing stays behind, whether it is tried again under this epoch or another:
    /// what it had written is taken back, at the latest before the next write or recovery.
    fn write(&self, tier: Tier, epoch: u64, blocks: &[Block]) -> Result<(), HistoryError> {
        let mut unfinished = self.unfinished.lock();
        self.take_back(&mut unfinished)?;
        let result = self.write_windows(tier, epoch, blocks, &mut unfinished);
        if result.is_ok() {
            unfinished.clear();
            self.metrics.wrote(tier, blocks.len());
        } else if let Err(error) = self.take_back(&mut unfinished) {
            tracing::warn!(
                reason = %Chain(&error), blocks = unfinished.len(),
                "a failed write to history is taken back later",
            );
        }
        result
    }

    fn recover(&self, committed: u64) -> Result<(), HistoryError> {
        let mut unfinished = self.unfinished.lock();
        self.take_back(&mut unfinished)?;
        for id in self.shelf.all() {
            let known = self.shelf.set_aside().len();
            let recovered = self.recover_window(id, committed);
            // A damaged window has taken its uncommitted blocks with it.
            if self.shelf.set_aside().len() == known {
                recovered?;
            }
        }
        Ok(())
    }

    fn retain(&self, tier: Tier, horizon: Slot) -> Result<(), HistoryError> {
        let _one_writer = self.unfinished.lock();
        let retained = self.drop_ended(tier, horizon).and_then(|()| self.stay_within_disk());
        self.show();
        retained
    }

    /// Walks all files; callers that ask often keep the answer.
    fn disk_bytes(&self) -> u64 {
        bytes_below(&self.config.dir)
    }
}

impl BlockFailure {
    fn at(self, database: &Database) -> HistoryError {
        match self {
            Self::Engine(failure) => failure.at(database.path()),
            Self::Undecodable(error) => HistoryError::Corrupt {
                path: database.path().display().to_string(),
                reason: error.reason,
            },
        }
    }
}

fn take_lock(config: &Config) -> Result<File, EngineFailure> {
    let mut options = File::options();
    let file = options
        .write(true)
        .create(true)
        .truncate(false)
        .open(config.dir.join("lock"))
        .map_err(EngineFailure::file("open the lock of history"))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(EngineFailure::Locked),
        Err(TryLockError::Error(source)) => {
            Err(EngineFailure::File { action: "lock history", source })
        }
    }
}
