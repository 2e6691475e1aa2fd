//! Floor 4: the durable, replayable lanes; knows nothing of what is in a record.
//!
//! A record that [`Journal::append`] acknowledged is on the disk, in its place in its lane, and has
//! been handed to the lane's fold. Each lane has segments, a queue and a writer thread of its own,
//! so neither waits for the other.
//!
//! ```text
//! append ─► queue ─► writer thread ─► active segment ─► fdatasync ─► sink (the fold) ─► answer
//!           bounded   one commit for                                 bounded: when it is full,
//!                     all that waits                                 appends wait
//! ```
//!
//! The bytes are described in `format`. `writer` is the thread, `active` what it writes to and
//! `reserve` the space claimed ahead; `recovery` takes up what a crash left, `reader` replays,
//! `retention` lets go. All files are touched through [`files::Files`].
//!
//! A failed write or flush *poisons* its lane: what is on the disk is then unknown, so nothing more
//! is promised until a restart has looked. Only a full disk is survived, because the write can be
//! taken back; the control lane goes on even then, in space claimed ahead.

mod active;
mod error;
pub mod faulty;
pub mod files;
mod format;
mod frames;
mod lane;
mod lane_files;
mod park;
mod queue;
mod reader;
mod recovery;
mod reserve;
mod retention;
mod running;
#[cfg(test)]
mod tests;
mod writer;

pub use error::{AppendError, JournalError};
pub use format::MAX_RECORD_BYTES;
pub use reader::Reader;

use crate::base::clock::{Clock, UnixNanos};
use crate::model::position::{Lane, Position};
use crate::telemetry::Telemetry;
use bytes::Bytes;
use files::Files;
use lane::LaneState;
use lane_files::LaneFiles;
use retention::Limits;
use running::Running;
use std::any::Any;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// [`Journal::close`] waits this long for each lane.
const CLOSE_WITHIN: Duration = Duration::from_secs(10);

/// Where the journal is and how much of it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Its directory; created when it is not there.
    pub dir: PathBuf,
    /// A segment is closed before it grows beyond this, unless one commit alone is larger.
    pub segment_bytes: u64,
    /// How long bulk segments are kept after they were released.
    pub bulk_keep: Duration,
    /// Above this many bytes released bulk segments go earlier; above twice as many also those that
    /// were not released.
    pub bulk_keep_bytes: u64,
    /// How long control segments are kept after they were released.
    pub control_keep: Duration,
    /// Claimed ahead, so that a full disk does not stop the control lane; 0 claims nothing.
    pub control_reserve_bytes: u64,
}

/// Travels beside the bytes to the fold of this process; never written, so absent in replay.
pub type Note = Option<Box<dyn Any + Send>>;

/// A record that is on the disk.
#[derive(Debug)]
pub struct Committed {
    /// Its lane.
    pub lane: Lane,
    /// Where it begins.
    pub position: Position,
    /// Where reading goes on behind it.
    pub next: Position,
    /// Its bytes as appended.
    pub bytes: Bytes,
    /// What was given along.
    pub note: Note,
}

/// Where committed records go, in the order of their positions. When the receiver of one is dropped,
/// appends to its lane are still acknowledged: the next start replays them.
#[derive(Clone, Debug)]
pub struct Sinks {
    /// The fold of the control lane.
    pub control: mpsc::Sender<Committed>,
    /// The fold of the bulk lane.
    pub bulk: mpsc::Sender<Committed>,
}

/// The journal. Clones share it; when the last one is dropped the writer threads write what is
/// queued and end.
#[derive(Clone, Debug)]
pub struct Journal(Arc<Lanes>);

#[derive(Debug)]
struct Lanes {
    control: Running,
    bulk: Running,
}

/// Opens the journal, creating it where it is not, and starts a writer thread for each lane.
///
/// A write that was cut off at the end of a lane is cut away, with a warning. The caller makes sure
/// that no other process has the directory open.
///
/// # Errors
/// When the directory or a file in it cannot be used, or a segment is of a [newer
/// format](JournalError::Newer). Corrupt segments are no error here: readers report them.
pub fn open(
    config: Config,
    files: Arc<dyn Files>,
    clock: Clock,
    telemetry: &Telemetry,
    sinks: Sinks,
) -> Result<Journal, JournalError> {
    files.create_dir(&config.dir).map_err(JournalError::io("create", &config.dir))?;
    let place = |lane| LaneFiles { files: Arc::clone(&files), dir: config.dir.clone(), lane };
    let (control, bulk) = (place(Lane::Control), place(Lane::Bulk));
    // Both before either is touched, so that a journal of a newer format stays as it is.
    let (control_found, bulk_found) = (recovery::find(&control)?, recovery::find(&bulk)?);
    let control_lane = recovery::recover(&control, control_found, clock.now())?;
    let bulk_lane = recovery::recover(&bulk, bulk_found, clock.now())?;
    // Both before either runs: the first to run claims what space there is.
    let start = |files, lane, sink| Running::start(files, lane, &config, &clock, telemetry, sink);
    let control = start(control, control_lane, sinks.control)?;
    let bulk = start(bulk, bulk_lane, sinks.bulk)?;
    let lanes = Arc::new(Lanes { control, bulk });
    let watched = Arc::downgrade(&lanes);
    telemetry.on_gather(move || watched.upgrade().map(|lanes| lanes.show_queues()).is_some());
    Ok(Journal(lanes))
}

// === impl Config ===

impl Config {
    /// The defaults, in that directory: segments of 64 MiB, 24 h or 8 GiB of bulk, 400 d of control
    /// and 64 MiB claimed ahead for it.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        const MIB: u64 = 1024 * 1024;
        const DAY: Duration = Duration::from_secs(24 * 3_600);
        Self {
            dir: dir.into(),
            segment_bytes: 64 * MIB,
            bulk_keep: DAY,
            bulk_keep_bytes: 8 * 1024 * MIB,
            control_keep: DAY * 400,
            control_reserve_bytes: 64 * MIB,
        }
    }

    fn limits(&self, lane: Lane) -> Limits {
        match lane {
            Lane::Control => Limits { keep: self.control_keep, keep_bytes: None },
            Lane::Bulk => Limits { keep: self.bulk_keep, keep_bytes: Some(self.bulk_keep_bytes) },
        }
    }

    fn reserve_bytes(&self, lane: Lane) -> u64 {
        match lane {
            Lane::Control => self.control_reserve_bytes,
            Lane::Bulk => 0,
        }
    }
}

// === impl Lanes ===

impl Lanes {
    fn show_queues(&self) {
        [&self.control, &self.bulk].iter().for_each(|lane| lane.state.show_queue());
    }
}

// === impl Journal ===

impl Journal {
    /// Appends a record of 1 to [`MAX_RECORD_BYTES`] bytes. Resolves when it is on the disk and
    /// handed to the lane's sink, and waits when either is slow. A caller who stops waiting may
    /// have appended or not.
    ///
    /// # Errors
    /// When the record is not on the disk, and will not be: see [`AppendError`].
    pub async fn append(
        &self,
        lane: Lane,
        bytes: Bytes,
        note: Note,
    ) -> Result<Position, AppendError> {
        if bytes.is_empty() {
            return Err(AppendError::Empty);
        }
        if bytes.len() > MAX_RECORD_BYTES {
            return Err(AppendError::TooLarge { bytes: bytes.len() });
        }
        let state = self.lane(lane);
        let (done, outcome) = oneshot::channel();
        let refusal =
            || if state.is_poisoned() { AppendError::Poisoned } else { AppendError::Closed };
        state.queue.push(bytes, note, done).await.map_err(|_| refusal())?;
        outcome.await.unwrap_or_else(|_| Err(refusal()))
    }

    /// [`Journal::append`] for plain threads; never to be called on a runtime's.
    ///
    /// # Errors
    /// As [`Journal::append`].
    pub fn append_blocking(
        &self,
        lane: Lane,
        bytes: Bytes,
        note: Note,
    ) -> Result<Position, AppendError> {
        park::block_on(self.append(lane, bytes, note))
    }

    /// Reads a lane from a position on, up to what is durable now. A position before
    /// [`Journal::first`] begins there; any other must be that of a record, its `next`, or a tail.
    ///
    /// # Errors
    /// [`JournalError::Beyond`] when `from` lies behind [`Journal::tail`].
    pub fn read_from(&self, lane: Lane, from: Position) -> Result<Reader, JournalError> {
        Reader::new(Arc::clone(self.lane(lane)), from)
    }

    /// Where the oldest record that is kept begins.
    #[must_use]
    pub fn first(&self, lane: Lane) -> Position {
        self.lane(lane).segments.lock().first()
    }

    /// Where the durable part ends.
    #[must_use]
    pub fn tail(&self, lane: Lane) -> Position {
        self.lane(lane).segments.lock().tail
    }

    /// Tells that everything before `upto` is in a checkpoint, and removes whole segments that
    /// are neither needed for recovery nor within what [`Config`] keeps.
    ///
    /// Bulk that outgrew twice its limit loses its oldest segments even when they were not released,
    /// with a warning each; [`Journal::dropped_bytes`] counts them.
    pub fn release(&self, lane: Lane, upto: Position, now: UnixNanos) {
        let state = self.lane(lane);
        let mut segments = state.segments.lock();
        segments.released = segments.released.max(upto);
        drop(segments);
        retention::trim(state, now);
    }

    /// Bytes that the lane takes on disk, with what is claimed ahead.
    #[must_use]
    pub fn disk_bytes(&self, lane: Lane) -> u64 {
        self.lane(lane).segments.lock().disk_bytes()
    }

    /// Bytes that were removed since the start although no checkpoint held them.
    #[must_use]
    pub fn dropped_bytes(&self, lane: Lane) -> u64 {
        self.lane(lane).dropped_bytes.load(Ordering::Acquire)
    }

    /// Bytes of unacknowledged writes that were cut away when the journal was opened.
    #[must_use]
    pub fn torn_bytes(&self, lane: Lane) -> u64 {
        self.lane(lane).torn_bytes
    }

    /// Whether the lane refuses writes after a failed one.
    #[must_use]
    pub fn is_poisoned(&self, lane: Lane) -> bool {
        self.lane(lane).is_poisoned()
    }

    /// Refuses further appends, writes what is queued and ends the writer threads. Blocks for at
    /// most some 20 s: a thread that waits for a fold that stands still is left behind.
    pub fn close(&self) {
        self.close_within(CLOSE_WITHIN);
    }

    fn close_within(&self, each: Duration) {
        let lanes = [&self.0.control, &self.0.bulk];
        lanes.iter().for_each(|lane| lane.state.queue.close());
        lanes.iter().for_each(|lane| lane.join(each));
    }

    fn lane(&self, lane: Lane) -> &Arc<LaneState> {
        match lane {
            Lane::Control => &self.0.control.state,
            Lane::Bulk => &self.0.bulk.state,
        }
    }
}
