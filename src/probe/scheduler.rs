//! Releases runs at their slots: a thread that only keeps time, and the probe runtime beside it.
//!
//! Timers of an async runtime are late by milliseconds and by more when a task computes, so a
//! thread of its own waits for the next slot and hands it over. How late a run starts nevertheless
//! is part of its result.

use super::executor::{Delivery, Requested, Start, execute};
use super::held::Held;
use super::intents::{Intent, clean_up_after};
use super::plan::{ClockState, Plan, Planned, Release};
use super::runner::{Context, MAX_LOOKUPS, not_run};
use super::spec::ProbeSpec;
use crate::base::clock::{Clock, JumpDetector, MonoNanos, UnixNanos};
use crate::model::probe::{FailureReason, Outcome, ProbeRun};
use parking_lot::{Condvar, Mutex, MutexGuard};
use prometheus::{IntCounter, IntCounterVec};
use std::io;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};

/// Slots on their way from the timer thread to the probe runtime.
const MAX_STARTS: usize = 1024;
/// Threads for what blocks: names, and some for the rest, which never waits for names then.
const BLOCKING_THREADS: usize = MAX_LOOKUPS + 8;
/// The clocks are compared at least this often.
const MAX_WAIT: Duration = Duration::from_millis(500);
/// A wall clock that moved by more than this against the monotonic one jumped.
const JUMP_TOLERANCE: Duration = Duration::from_secs(1);

/// Why probes cannot be scheduled.
#[derive(Debug, thiserror::Error)]
pub enum SchedulerError {
    /// A cron expression was not understood.
    #[error("probe `{probe}` has a cadence that cannot be understood: {why}")]
    Cadence {
        /// The probe.
        probe: String,
        /// What to write instead.
        why: String,
    },
    /// The machine gave no thread or no event queue.
    #[error("the probe runtime cannot be started; free threads or file descriptors")]
    Runtime(#[source] io::Error),
}

/// Why a run that was asked for does not happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RunNowError {
    /// There is no probe of that name.
    #[error("no such probe")]
    Unknown,
    /// A run of the probe is going on and must not be overlapped.
    #[error("a run is going on already; ask again when it has ended")]
    Running,
    /// Its target is worked on, and what is measured now must not count.
    #[error("the probe is in maintenance; `radiosonde probe` runs it without counting")]
    Maintenance,
    /// Too much is going on, or the scheduler is stopping.
    #[error("no further run can be started now; try again later")]
    Busy,
}

/// The running schedule. Dropping it stops everything without waiting.
#[derive(Debug)]
pub struct Scheduler {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    clock: Clock,
    context: Context,
    runtime: Handle,
    in_maintenance: IntCounterVec,
    state: Mutex<State>,
    /// Wakes the timer thread: the plan changed, or everything stops.
    changed: Condvar,
    starts: mpsc::Sender<Start>,
    stop: watch::Sender<Option<Duration>>,
    delivery: Delivery,
    held: Arc<Held>,
    clock_jumps: IntCounter,
}

#[derive(Debug, Default)]
struct State {
    plan: Plan,
    stopping: bool,
}

// === impl Scheduler ===

impl Scheduler {
    /// Starts two threads: one keeps time, the other is the probe runtime. Results leave over
    /// `results`; what does not fit there is dropped and counted.
    ///
    /// # Errors
    /// When a cadence cannot be understood, or the machine refuses threads or descriptors.
    pub fn start(
        context: Context,
        results: mpsc::Sender<ProbeRun>,
        probes: Vec<Arc<ProbeSpec>>,
    ) -> Result<Self, SchedulerError> {
        let mut plan = Plan::default();
        let clock = context.clock.clone();
        // Slots are planned from here on, so jumps count from here on.
        let mut jumps = JumpDetector::new(JUMP_TOLERANCE);
        let _ = jumps.observe(clock.wall(), clock.monotonic());
        plan.replace(probes, clock.wall()).map_err(SchedulerError::cadence)?;
        let (starts, incoming) = mpsc::channel(MAX_STARTS);
        let (stop, stopping) = watch::channel(None);
        let delivery = Delivery::new(results, context.telemetry.clone());
        let state = Mutex::new(State { plan, stopping: false });
        let changed = Condvar::new();
        let held = Held::new(clock.clone(), delivery.clone());
        let clock_jumps = context.telemetry.clock_jumps_total.clone();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(BLOCKING_THREADS)
            .thread_name("probe-resolve")
            .build()
            .map_err(SchedulerError::Runtime)?;
        let shared = Arc::new(Shared {
            clock,
            context: context.clone(),
            runtime: runtime.handle().clone(),
            in_maintenance: context.telemetry.probe_maintenance_slots_total.clone(),
            state,
            changed,
            starts,
            stop,
            delivery: delivery.clone(),
            held,
            clock_jumps,
        });
        let held = Arc::clone(&shared.held);
        let mut scheduler = Self { shared: Arc::clone(&shared), threads: Vec::new() };
        shared.announce();
        scheduler.spawn("probe-io", move || {
            execute(runtime, &context, &held, delivery, incoming, stopping);
        })?;
        scheduler.spawn("probe-clock", move || shared.keep_time(jumps))?;
        Ok(scheduler)
    }

    /// Takes over a new set of probes, instances for what they have several of. Those that are equal to one before keep their slots and
    /// runs; of others that go on under their name and an instance's labels, a run under way ends by itself before the next
    /// begins; those that are gone get no further slot.
    ///
    /// # Errors
    /// When a cadence cannot be understood; everything then goes on as before.
    pub fn replace(&self, probes: Vec<Arc<ProbeSpec>>) -> Result<(), SchedulerError> {
        let now = self.shared.clock.wall();
        let (replaced, gone) = {
            let mut state = self.shared.state.lock();
            let before: Vec<_> = state.plan.all().cloned().collect();
            let replaced = state.plan.replace(probes.clone(), now);
            (replaced, state.plan.lacking(before))
        };
        let _ = self.shared.changed.notify_one();
        if replaced.is_ok() {
            self.shared.held.keep_only(&probes);
            gone.iter().for_each(|planned| planned.upcoming.close(&self.shared.context));
            self.shared.announce();
        }
        replaced.map_err(SchedulerError::cadence)
    }

    /// Runs a probe now, outside its schedule; of one that has several instances, the first that can run.
    ///
    /// # Errors
    /// As [`Self::runs_now`].
    pub fn run_now(&self, name: &str) -> Result<oneshot::Receiver<ProbeRun>, RunNowError> {
        let mut runs = self.runs_now(name)?.into_iter();
        runs.next().ok_or(RunNowError::Unknown)
    }

    /// Runs all instances of a probe now that can run, outside their schedule. The results go the way of
    /// all results and, in addition, to the receivers; one is closed without when its run did not happen.
    ///
    /// # Errors
    /// When there is no such probe, or no run can begin now.
    pub fn runs_now(&self, name: &str) -> Result<Vec<oneshot::Receiver<ProbeRun>>, RunNowError> {
        let planned: Vec<_> = self.shared.state.lock().plan.named(name).cloned().collect();
        let (mut runs, mut refused) = (Vec::new(), RunNowError::Unknown);
        for one in planned {
            match self.run_planned_now(one) {
                Ok(run) => runs.push(run),
                Err(error) => refused = error,
            }
        }
        if runs.is_empty() { Err(refused) } else { Ok(runs) }
    }

    fn run_planned_now(
        &self,
        planned: Planned,
    ) -> Result<oneshot::Receiver<ProbeRun>, RunNowError> {
        if self.shared.context.maintenance.window(&planned.spec, self.shared.clock.wall()).is_some()
        {
            return Err(RunNowError::Maintenance);
        }
        let gate = if planned.spec.overlap {
            None
        } else {
            let permit = Arc::clone(&planned.gate).try_acquire_owned();
            Some(permit.map_err(|_| RunNowError::Running)?)
        };
        let (reply, receiver) = oneshot::channel();
        let requested = Some(Requested { gate, reply });
        let (slot, due) = (self.shared.clock.wall(), self.shared.clock.monotonic());
        let start = Start { planned, slot, due, requested };
        self.shared.starts.try_send(start).map_err(|_| RunNowError::Busy)?;
        Ok(receiver)
    }

    /// Cleans up, once and in the background, after runs that were announced in an earlier life and have no
    /// record, by their definitions. Those that a stop cuts off stay announced.
    pub fn clean_up_after(&self, left: Vec<Intent>, definitions: &[Arc<ProbeSpec>]) {
        let left = left.into_iter().map(|intent| {
            let spec = definitions.iter().find(|spec| spec.name == intent.probe);
            let spec = spec.and_then(|spec| intent.spec(spec));
            (intent, spec)
        });
        let cleaning = clean_up_after(left.collect(), self.shared.context.clone());
        drop(self.shared.runtime.spawn(cleaning));
    }

    /// Releases nothing more, waits at most `within` for the runs under way, interrupts those that
    /// are left (they are reported as missed) and ends both threads. Blocks.
    pub fn stop(mut self, within: Duration) {
        self.begin_stop(within);
        for thread in self.threads.drain(..) {
            // A panic in a thread was reported when it happened.
            drop(thread.join());
        }
        let state = self.shared.state.lock();
        state.plan.all().for_each(|planned| planned.upcoming.close(&self.shared.context));
    }

    fn spawn(
        &mut self,
        name: &str,
        work: impl FnOnce() + Send + 'static,
    ) -> Result<(), SchedulerError> {
        let thread = Builder::new().name(name.to_owned()).spawn(work);
        self.threads.push(thread.map_err(SchedulerError::Runtime)?);
        Ok(())
    }

    fn begin_stop(&self, within: Duration) {
        self.shared.state.lock().stopping = true;
        let _ = self.shared.changed.notify_one();
        let _ = self.shared.stop.send_replace(Some(within));
    }
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        if self.shared.stop.borrow().is_none() {
            self.begin_stop(Duration::ZERO);
        }
    }
}

impl SchedulerError {
    fn cadence((probe, why): (String, String)) -> Self {
        Self::Cadence { probe, why }
    }
}

// === impl Shared: the timer thread ===

impl Shared {
    /// Announces the next run of every probe that must clean up.
    fn announce(&self) {
        let state = self.state.lock();
        state
            .plan
            .all()
            .for_each(|planned| planned.upcoming.announce(&planned.spec, &self.context));
    }

    fn keep_time(&self, mut jumps: JumpDetector) {
        let mut state = self.state.lock();
        while !state.stopping {
            let (wall, mono) = (self.clock.wall(), self.clock.monotonic());
            let jump = jumps.observe(wall, mono);
            let clock = if jump.is_some() { ClockState::Jumped } else { ClockState::Steady };
            if let Some(jump) = jump {
                self.clock_jumps.inc();
                tracing::warn!(nanos = jump.nanos, "the clock jumped or the machine slept");
            }
            let releases = state.plan.take_due(wall, clock);
            if releases.is_empty() {
                let next =
                    state.plan.next_due().map_or(MAX_WAIT, |due| due.since(self.clock.wall()));
                let _ = self.changed.wait_for(&mut state, next.min(MAX_WAIT));
            } else {
                MutexGuard::unlocked(&mut state, || {
                    releases.into_iter().for_each(|release| self.release(release, wall, mono));
                });
            }
        }
    }

    fn release(&self, release: Release, wall: UnixNanos, mono: MonoNanos) {
        match release {
            Release::Run(planned, slot) => {
                if let Some(window) = self.context.maintenance.window(&planned.spec, slot) {
                    self.in_maintenance.with_label_values(&[&window.name]).inc();
                    let message = format!("not run: {window}");
                    return self.missed(&planned.spec, slot, FailureReason::Missed, &message);
                }
                let due = MonoNanos(mono.0.saturating_sub(wall.0.saturating_sub(slot.0)));
                let start = Start { planned, slot, due, requested: None };
                if let Err(refused) = self.starts.try_send(start) {
                    let start = refused.into_inner();
                    self.missed(
                        &start.planned.spec,
                        slot,
                        FailureReason::Local,
                        "too many slots are waiting",
                    );
                }
            }
            Release::Missed(planned, slots) => {
                let probe = planned.spec.name.as_str();
                let (missed, unreported) = (slots.first.len(), slots.more);
                tracing::warn!(probe, missed, unreported, "slots passed while nothing could run");
                self.delivery.lose(unreported);
                for slot in slots.first {
                    let message = "this slot passed while nothing could run";
                    self.missed(&planned.spec, slot, FailureReason::Missed, message);
                }
            }
        }
    }

    fn missed(&self, spec: &ProbeSpec, slot: UnixNanos, reason: FailureReason, message: &str) {
        self.delivery.deliver(not_run(spec, slot, Outcome::Missed, reason, message));
    }
}
