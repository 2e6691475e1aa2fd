//! The probe runtime: one thread on which every scheduled run happens, shared with nobody.
//!
//! Slots come in over a bounded channel, results leave over one; what does not fit is counted. How
//! many runs go on at once is bounded, too, and a slot beyond that is missed through our own fault.

use super::held::Held;
use super::journey::CLEANUP_TIMEOUT;
use super::plan::Planned;
use super::runner::{Context, SlotStart, not_run, run_once};
use super::spec::{Cadence, ProbeSpec};
use super::stall::StallWatch;
use crate::base::clock::{MonoNanos, UnixNanos, nanos};
use crate::model::probe::{FailureReason, Outcome, ProbeRun};
use crate::telemetry::Telemetry;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// No more runs go on at once. Each holds a connection per step at most, so that the usual limit of
/// 1024 open files is not reached by probes alone.
pub const MAX_CONCURRENT_RUNS: usize = 512;

/// So many of them may be of probes whose runs may overlap. The others are for the rest: a target that goes
/// mute fills all that it can get.
const MAX_OVERLAPPING_RUNS: usize = MAX_CONCURRENT_RUNS / 4 * 3;
/// A slot whose predecessor is still going waits so long for it: a run that ends with its timeout
/// just when the next slot begins has not overlapped it.
const MAX_OVERLAP_GRACE: Duration = Duration::from_millis(100);
/// So long may interrupted runs take to clean up and to report that they were interrupted.
const INTERRUPTION: Duration = CLEANUP_TIMEOUT.saturating_add(Duration::from_secs(1));

/// A slot to run.
#[derive(Debug)]
pub(super) struct Start {
    /// The probe.
    pub planned: Planned,
    /// When the schedule wants it.
    pub slot: UnixNanos,
    /// The same instant on the monotonic clock.
    pub due: MonoNanos,
    /// Set when a person asked for the run, not the schedule.
    pub requested: Option<Requested>,
}

/// A run that was asked for.
#[derive(Debug)]
pub(super) struct Requested {
    /// Keeps other runs of the probe away, unless they may overlap.
    pub gate: Option<OwnedSemaphorePermit>,
    /// Who asked.
    pub reply: oneshot::Sender<ProbeRun>,
}

/// The way out for results. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Delivery {
    results: mpsc::Sender<ProbeRun>,
    telemetry: Telemetry,
}

#[derive(Clone, Debug)]
struct Executor {
    context: Context,
    delivery: Delivery,
    running: Arc<Semaphore>,
    overlapping: Arc<Semaphore>,
    tasks: TaskTracker,
    interrupt: CancellationToken,
}

/// Runs what comes in until `stop` holds a duration; waits so long for runs under way, and
/// interrupts those that are left.
pub(super) fn execute(
    runtime: Runtime,
    context: &Context,
    held: &Arc<Held>,
    delivery: Delivery,
    mut starts: mpsc::Receiver<Start>,
    mut stop: watch::Receiver<Option<Duration>>,
) {
    runtime.block_on(async {
        let stalls = StallWatch::new(&context.clock);
        let _watch = stalls.keep(Some(context.telemetry.clone()));
        let interrupt = CancellationToken::new();
        let executor = Executor {
            context: context.scheduled(stalls, Arc::clone(held), interrupt.clone()),
            delivery,
            running: Arc::new(Semaphore::new(MAX_CONCURRENT_RUNS)),
            overlapping: Arc::new(Semaphore::new(MAX_OVERLAPPING_RUNS)),
            tasks: TaskTracker::new(),
            interrupt,
        };
        loop {
            tokio::select! {
                biased;
                _ = stop.wait_for(Option::is_some) => break,
                start = starts.recv() => match start {
                    Some(start) => executor.admit(start),
                    None => break,
                },
            }
        }
        starts.close();
        while let Ok(start) = starts.try_recv() {
            executor.refuse(&start, FailureReason::Missed, "the daemon was stopping");
        }
        let within = stop.borrow().unwrap_or_default();
        executor.drain(within).await;
        held.release().await;
    });
    // A name that does not resolve may hold a thread for longer than anybody wants to wait.
    runtime.shutdown_background();
}

// === impl Delivery ===

impl Delivery {
    /// A way out that counts what does not fit.
    pub(super) fn new(results: mpsc::Sender<ProbeRun>, telemetry: Telemetry) -> Self {
        Self { results, telemetry }
    }

    /// Hands a result on, or counts it as dropped when nobody takes it.
    pub(super) fn deliver(&self, run: ProbeRun) {
        if self.results.try_send(run).is_err() {
            self.lose(1);
        }
    }

    /// Counts results that are not handed on.
    pub(super) fn lose(&self, results: u64) {
        self.telemetry.probe_results_dropped_total.inc_by(results);
    }
}

// === impl Executor ===

impl Executor {
    fn admit(&self, start: Start) {
        let spec = &start.planned.spec;
        let share = if spec.overlap {
            match Arc::clone(&self.overlapping).try_acquire_owned() {
                Ok(share) => Some(share),
                Err(_) => return self.refuse_overlap(&start),
            }
        } else {
            None
        };
        match Arc::clone(&self.running).try_acquire_owned() {
            Ok(permit) => {
                let executor = self.clone();
                drop(self.tasks.spawn(async move {
                    executor.run_slot(start).await;
                    drop((permit, share));
                }));
            }
            Err(_) => {
                let message = format!("{MAX_CONCURRENT_RUNS} runs are going on already");
                self.refuse(&start, FailureReason::Local, &message);
            }
        }
    }

    fn refuse(&self, start: &Start, reason: FailureReason, message: &str) {
        let spec = &start.planned.spec;
        // Who asked for a run learns that it did not happen by the reply that is dropped.
        if start.requested.is_none() {
            let run = not_run(spec, start.slot, Outcome::Missed, reason, message);
            self.delivery.deliver(run);
        }
    }

    fn refuse_overlap(&self, start: &Start) {
        if start.requested.is_none() {
            let message =
                format!("{MAX_OVERLAPPING_RUNS} runs that may overlap are going on already");
            let reason = FailureReason::Overlapped;
            let spec = &start.planned.spec;
            let run = not_run(spec, start.slot, Outcome::Overlapped, reason, &message);
            self.delivery.deliver(run);
        }
    }

    async fn run_slot(&self, start: Start) {
        let Start { planned: Planned { spec, gate }, slot, due, requested } = start;
        let (reply, gate) = match requested {
            Some(Requested { gate, reply }) => (Some(reply), gate),
            None if spec.overlap => (None, None),
            None => match tokio::time::timeout(grace(&spec), gate.acquire_owned()).await {
                Ok(Ok(permit)) => (None, Some(permit)),
                _ => {
                    let message = "the run before was still going";
                    let reason = FailureReason::Overlapped;
                    let run = not_run(&spec, slot, Outcome::Overlapped, reason, message);
                    return self.delivery.deliver(run);
                }
            },
        };
        let lateness = self.context.clock.monotonic().since(due);
        if reply.is_none() {
            self.context.telemetry.probe_start_lateness_seconds.observe(lateness.as_secs_f64());
        }
        let start = SlotStart { intended_start: slot, lateness_ns: nanos(lateness) };
        let run = run_once(&spec, start, &self.context).await;
        drop(gate);
        if let Some(reply) = reply {
            // Who asked may have gone meanwhile; the run counts all the same.
            drop(reply.send(run.clone()));
        }
        self.delivery.deliver(run);
    }

    async fn drain(&self, within: Duration) {
        let _ = self.tasks.close();
        if tokio::time::timeout(within, self.tasks.wait()).await.is_err() {
            self.interrupt.cancel();
            drop(tokio::time::timeout(INTERRUPTION, self.tasks.wait()).await);
        }
    }
}

fn grace(spec: &ProbeSpec) -> Duration {
    match spec.cadence {
        Cadence::Every(interval) => MAX_OVERLAP_GRACE.min(interval / 10),
        Cadence::Cron { .. } => MAX_OVERLAP_GRACE,
    }
}
