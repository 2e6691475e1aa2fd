//! Releases runs at their slots: a thread that only keeps time, and the probe runtime beside it.
//!
//! Timers of an async runtime are late by milliseconds and by more when a task computes, so a
//! thread of its own waits for the next slot and hands it over. How late a run starts nevertheless
//! is part of its result.

use super::executor::{Delivery, Requested, Start, execute};
use super::held::Held;
use super::maintenance::Calendar;
use super::plan::{ClockState, Plan, Release};
use super::runner::{Context, not_run};
use super::spec::ProbeSpec;
use crate::base::clock::{Clock, JumpDetector, MonoNanos, UnixNanos};
use crate::model::probe::{FailureReason, Outcome, ProbeRun};
use parking_lot::{Condvar, Mutex, MutexGuard};
use prometheus::{IntCounter, IntCounterVec};
use std::io;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};

/// Slots on their way from the timer thread to the probe runtime.
const MAX_STARTS: usize = 1024;
/// Threads on which names are resolved: each may wait for a name server.
const MAX_LOOKUPS: usize = 64;
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
    maintenance: Calendar,
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
        let shared = Arc::new(Shared {
            clock,
            maintenance: context.maintenance.clone(),
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
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(MAX_LOOKUPS)
            .thread_name("probe-resolve")
            .build()
            .map_err(SchedulerError::Runtime)?;
        scheduler.spawn("probe-io", move || {
            execute(runtime, &context, &held, delivery, incoming, stopping);
        })?;
        scheduler.spawn("probe-clock", move || shared.keep_time(jumps))?;
        Ok(scheduler)
    }

    /// Takes over a new set of probes. Those that are equal to one before keep their slots and
    /// runs; of others that go on under their name, a run under way ends by itself before the next
    /// begins; those that are gone get no further slot.
    ///
    /// # Errors
    /// When a cadence cannot be understood; everything then goes on as before.
    pub fn replace(&self, probes: Vec<Arc<ProbeSpec>>) -> Result<(), SchedulerError> {
        let now = self.shared.clock.wall();
        let replaced = self.shared.state.lock().plan.replace(probes.clone(), now);
        let _ = self.shared.changed.notify_one();
        if replaced.is_ok() {
            self.shared.held.keep_only(&probes);
        }
        replaced.map_err(SchedulerError::cadence)
    }

    /// Runs a probe now, outside its schedule. The result goes the way of all results and, in
    /// addition, to the receiver; that is closed without one when the run did not happen.
    ///
    /// # Errors
    /// When there is no such probe, or a run cannot begin now.
    pub fn run_now(&self, name: &str) -> Result<oneshot::Receiver<ProbeRun>, RunNowError> {
        let found = self.shared.state.lock().plan.find(name).cloned();
        let planned = found.ok_or(RunNowError::Unknown)?;
        if self.shared.maintenance.window(&planned.spec, self.shared.clock.wall()).is_some() {
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

    /// Releases nothing more, waits at most `within` for the runs under way, interrupts those that
    /// are left (they are reported as missed) and ends both threads. Blocks.
    pub fn stop(mut self, within: Duration) {
        self.begin_stop(within);
        for thread in self.threads.drain(..) {
            // A panic in a thread was reported when it happened.
            drop(thread.join());
        }
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
                if let Some(window) = self.maintenance.window(&planned.spec, slot) {
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
