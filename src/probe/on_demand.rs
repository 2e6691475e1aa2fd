//! Runs that somebody waits for, beside every schedule: on a thread of their own, so that neither
//! scheduled runs nor the answers of the API disturb what they measure, and no more at once than a
//! bound.
//!
//! Their results go to whoever asked and nowhere else.

use super::inspection::Inspection;
use super::runner::{Context, SlotStart, run_once};
use super::spec::ProbeSpec;
use crate::model::probe::ProbeRun;
use std::io;
use std::sync::Arc;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Semaphore;
use tokio_util::task::AbortOnDropHandle;

/// No more runs on demand go on at once.
pub const MAX_ON_DEMAND_RUNS: usize = 64;
/// Threads on which their names are resolved.
const MAX_LOOKUPS: usize = 16;

/// The place for such runs. Dropping it ends those that are under way.
#[derive(Debug)]
pub struct OnDemand {
    context: Context,
    running: Arc<Semaphore>,
    /// Taken when it ends.
    runtime: Option<Runtime>,
}

/// Why there was no run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OnDemandError {
    /// Try again later.
    #[error("{MAX_ON_DEMAND_RUNS} runs on demand are going on already")]
    Busy,
    /// The daemon ends, or a fault of ours.
    #[error("the run was cut off")]
    CutOff,
}

impl OnDemand {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the machine refuses a thread or a descriptor.
    pub fn start(context: Context) -> io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .max_blocking_threads(MAX_LOOKUPS)
            .thread_name("probe-demand")
            .enable_all()
            .build()?;
        let running = Arc::new(Semaphore::new(MAX_ON_DEMAND_RUNS));
        Ok(Self { context, running, runtime: Some(runtime) })
    }

    /// Runs a probe now. Whoever does not wait for the end ends it.
    ///
    /// # Errors
    /// When too many runs are going on, or the run was cut off.
    pub async fn run(
        &self,
        spec: ProbeSpec,
        inspection: Arc<Inspection>,
    ) -> Result<ProbeRun, OnDemandError> {
        let running = Arc::clone(&self.running).try_acquire_owned();
        let permit = running.map_err(|_| OnDemandError::Busy)?;
        let runtime = self.runtime.as_ref().ok_or(OnDemandError::CutOff)?;
        let context = self.context.inspected_by(inspection);
        let run = runtime.spawn(async move {
            let run = run_once(&spec, SlotStart::now(&context.clock), &context).await;
            drop(permit);
            run
        });
        AbortOnDropHandle::new(run).await.map_err(|_| OnDemandError::CutOff)
    }

    /// Takes all places but `left`, for tests of what then happens.
    #[cfg(test)]
    pub(crate) fn crowd(&self, left: usize) -> Option<tokio::sync::OwnedSemaphorePermit> {
        let taken = u32::try_from(MAX_ON_DEMAND_RUNS - left).ok()?;
        Arc::clone(&self.running).try_acquire_many_owned(taken).ok()
    }
}

impl Drop for OnDemand {
    fn drop(&mut self) {
        // Waiting for threads is not possible on a runtime, where this may well be dropped.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
