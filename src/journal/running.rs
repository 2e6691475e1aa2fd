//! A lane with its thread: how it starts, and how it ends within bounds.

use super::lane::{LaneState, Segments};
use super::lane_files::LaneFiles;
use super::reserve::Reserve;
use super::writer::Writer;
use super::{Committed, Config, JournalError, recovery};
use crate::base::clock::Clock;
use crate::telemetry::Telemetry;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tokio::sync::mpsc;
use tracing::warn;

/// A lane and its thread.
#[derive(Debug)]
pub(super) struct Running {
    pub state: Arc<LaneState>,
    thread: Mutex<Option<WriterThread>>,
}

#[derive(Debug)]
struct WriterThread {
    handle: JoinHandle<()>,
    /// Nothing is ever sent: it disconnects when the thread ends.
    ended: Receiver<()>,
}

// === impl Running ===

impl Running {
    /// Recovers the lane that was found, and starts its writer thread.
    pub(super) fn start(
        files: LaneFiles,
        found: Segments,
        config: &Config,
        clock: &Clock,
        telemetry: &Telemetry,
        sink: mpsc::Sender<Committed>,
    ) -> Result<Self, JournalError> {
        let lane = files.lane;
        let mut recovered = recovery::recover(&files, found, clock.now())?;
        let reserve = Reserve::open(files.clone(), config.reserve_bytes(lane));
        recovered.segments.reserve_bytes = reserve.bytes();
        let (segments, torn_bytes) = (recovered.segments, recovered.torn_bytes);
        let limits = config.limits(lane);
        let state = Arc::new(LaneState::new(files, segments, limits, torn_bytes, telemetry));
        let shared = Arc::clone(&state);
        let (active, segment_bytes) = (recovered.active, config.segment_bytes);
        let writer = Writer::new(shared, active, reserve, segment_bytes, sink, clock.clone());
        let (alive, ended) = sync_channel::<()>(0);
        let run = move || {
            let _alive = alive;
            writer.run();
        };
        let builder = thread::Builder::new().name(format!("journal-{}", lane.as_str()));
        let handle = builder.spawn(run).map_err(JournalError::Thread)?;
        Ok(Self { state, thread: Mutex::new(Some(WriterThread { handle, ended })) })
    }

    /// Waits for the writer thread, whose queue is closed, to end.
    pub(super) fn join(&self, within: Duration) {
        let Some(thread) = self.thread.lock().take() else { return };
        let lane = self.state.files.lane.as_str();
        match thread.ended.recv_timeout(within) {
            Ok(()) | Err(RecvTimeoutError::Disconnected) => {
                if thread.handle.join().is_err() {
                    warn!(lane, "journal writer thread panicked");
                }
            }
            Err(RecvTimeoutError::Timeout) => {
                warn!(lane, "journal writer thread still waits for the fold: left behind");
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.state.queue.close();
    }
}
