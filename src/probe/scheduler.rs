//! Releases runs at their slots, on threads that nothing else uses.
//!
//! A timer thread waits for the next slot and hands it over; a second thread runs all probes on an
//! async runtime of its own. So a flood of telemetry does not delay a probe, and the timer is not
//! late by the runtime's wheel. Slots are never caught up: one that came while the run before was
//! going is reported as overlapped, one that we slept through as missed.

use super::runner::{Context, SlotStart, run_once};
use super::schedule::Slots;
use super::spec::ProbeSpec;
use crate::base::clock::{JumpDetector, UnixNanos, nanos};
use crate::model::probe::{Failure, FailureReason, Outcome, ProbeRun, RunId};
use parking_lot::{Condvar, Mutex};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// No more runs go on at once; slots beyond are reported as missed by us.
pub const MAX_CONCURRENT_RUNS: usize = 2_000;
/// Missed slots that are reported one by one after a gap; the others are only logged.
const MAX_MISSED_REPORTED: usize = 100;
/// Slots on their way from the timer to the runtime.
const HANDOVER: usize = 4_096;
/// A slot may start this late before it counts as missed, when its interval is shorter.
const LATEST_START: Duration = Duration::from_secs(1);
/// The timer looks at the clocks at least this often, to notice jumps.
const LONGEST_WAIT: Duration = Duration::from_millis(500);
/// Wall and monotonic clock may drift this far apart between two looks.
const JUMP_TOLERANCE: Duration = Duration::from_secs(2);

/// Runs probes by their schedules until it is stopped.
#[derive(Debug)]
pub struct Scheduler {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    stop: CancellationToken,
}

#[derive(Debug)]
struct Shared {
    plan: Mutex<Plan>,
    changed: Condvar,
    context: Context,
    results: mpsc::Sender<ProbeRun>,
    runs: mpsc::Sender<Release>,
    active: AtomicUsize,
}

#[derive(Debug, Default)]
struct Plan {
    entries: HashMap<String, Entry>,
    stopped: bool,
}

#[derive(Debug)]
struct Entry {
    spec: Arc<ProbeSpec>,
    slots: Slots,
    next: Option<UnixNanos>,
    running: Arc<AtomicUsize>,
}

/// A slot that is due.
#[derive(Debug)]
struct Release {
    spec: Arc<ProbeSpec>,
    slot: SlotStart,
    running: Arc<AtomicUsize>,
}

/// Why the scheduler cannot start.
#[derive(Debug, thiserror::Error)]
pub enum SchedulerError {
    /// The operating system gives no thread or no runtime.
    #[error("the probe threads cannot be started")]
    Threads(#[from] std::io::Error),
}

/// Why a probe cannot be run now.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum RunNowError {
    /// No such probe.
    #[error("there is no probe named `{0}`")]
    Unknown(String),
    /// Too much is waiting.
    #[error("too many runs are waiting already")]
    Busy,
}

impl Scheduler {
    /// Starts both threads. Results go to `results`; when nobody takes them they are dropped and
    /// counted.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn start(
        context: Context,
        results: mpsc::Sender<ProbeRun>,
        probes: Vec<Arc<ProbeSpec>>,
    ) -> Result<Self, SchedulerError> {
        let (runs, releases) = mpsc::channel(HANDOVER);
        let stop = CancellationToken::new();
        let active = AtomicUsize::new(0);
        let (plan, changed) = (Mutex::default(), Condvar::new());
        let shared = Arc::new(Shared { plan, changed, context, results, runs, active });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (for_runs, for_timer) = (Arc::clone(&shared), Arc::clone(&shared));
        let stopped = stop.clone();
        let runner = std::thread::Builder::new()
            .name("probes".to_owned())
            .spawn(move || runtime.block_on(run_released(for_runs, releases, stopped)))?;
        let timer = std::thread::Builder::new()
            .name("probe-timer".to_owned())
            .spawn(move || for_timer.keep_time())?;
        let scheduler = Self { shared, threads: vec![timer, runner], stop };
        scheduler.replace(probes);
        Ok(scheduler)
    }

    /// Schedules these probes instead. Unchanged ones keep their phase and their running runs.
    pub fn replace(&self, probes: Vec<Arc<ProbeSpec>>) {
        let now = self.shared.context.clock.wall();
        let mut plan = self.shared.plan.lock();
        let mut before = std::mem::take(&mut plan.entries);
        for spec in probes {
            let known = before.remove(&spec.name);
            let unchanged = known.as_ref().is_some_and(|entry| entry.spec == spec);
            let entry = match known {
                Some(entry) if unchanged => entry,
                other => {
                    let Some(slots) = Slots::of(&spec) else { continue };
                    let next = slots.next_after(now);
                    let running = other.map(|entry| entry.running).unwrap_or_default();
                    Entry { spec: Arc::clone(&spec), slots, next, running }
                }
            };
            drop(plan.entries.insert(spec.name.clone(), entry));
        }
        let _ = self.shared.changed.notify_all();
    }

    /// Runs a probe now, beside its schedule.
    ///
    /// # Errors
    /// When there is no such probe, or too much waits.
    pub fn run_now(&self, name: &str) -> Result<(), RunNowError> {
        let plan = self.shared.plan.lock();
        let entry = plan.entries.get(name).ok_or_else(|| RunNowError::Unknown(name.to_owned()))?;
        let release = Release {
            spec: Arc::clone(&entry.spec),
            slot: SlotStart::immediately(&self.shared.context.clock),
            running: Arc::clone(&entry.running),
        };
        self.shared.runs.try_send(release).map_err(|_| RunNowError::Busy)
    }

    /// Stops: no further run starts, those that go on have `within` to end.
    pub fn stop(self, within: Duration) {
        self.shared.plan.lock().stopped = true;
        let _ = self.shared.changed.notify_all();
        let clock = &self.shared.context.clock;
        let deadline = clock.monotonic().plus(within);
        while self.shared.active.load(Ordering::Acquire) > 0 && clock.monotonic() < deadline {
            let mut plan = self.shared.plan.lock();
            let _ = self.shared.changed.wait_for(&mut plan, Duration::from_millis(20));
        }
        self.stop.cancel();
        for thread in self.threads {
            // A panic of a probe thread was reported when it happened.
            drop(thread.join());
        }
    }
}

impl Shared {
    /// The timer thread.
    fn keep_time(&self) {
        let mut jumps = JumpDetector::new(JUMP_TOLERANCE);
        let mut plan = self.plan.lock();
        while !plan.stopped {
            let clock = &self.context.clock;
            let now = clock.wall();
            if let Some(jump) = jumps.observe(now, clock.monotonic()) {
                self.context.telemetry.clock_jumps_total.inc();
                tracing::warn!(seconds = jump.nanos as f64 / 1e9, "the clock jumped");
                if jump.nanos < 0 {
                    plan.entries
                        .values_mut()
                        .for_each(|entry| entry.next = entry.slots.next_after(now));
                }
            }
            plan.entries.values_mut().for_each(|entry| self.release_due(entry, now));
            let next = plan.entries.values().filter_map(|entry| entry.next).min();
            let wait = next.map_or(LONGEST_WAIT, |next| next.since(clock.wall())).min(LONGEST_WAIT);
            if !wait.is_zero() {
                let _ = self.changed.wait_for(&mut plan, wait);
            }
        }
    }

    fn release_due(&self, entry: &mut Entry, now: UnixNanos) {
        let mut missed = 0;
        while let Some(slot) = entry.next.filter(|slot| *slot <= now) {
            entry.next = entry.slots.next_after(slot);
            let overtaken = entry.next.is_some_and(|next| next <= now);
            if overtaken || now.since(slot) > entry.patience() {
                missed += 1;
                if missed <= MAX_MISSED_REPORTED {
                    self.report(unrun(
                        &entry.spec,
                        slot,
                        Outcome::Missed,
                        "the daemon did not run",
                    ));
                }
            } else if !entry.spec.overlap && entry.running.load(Ordering::Acquire) > 0 {
                let words = "the run before was still going";
                self.report(unrun(&entry.spec, slot, Outcome::Overlapped, words));
            } else {
                self.release(
                    entry,
                    SlotStart { intended: slot, lateness_ns: nanos(now.since(slot)) },
                );
            }
            if missed > MAX_MISSED_REPORTED {
                // A long sleep holds more slots than anybody wants to read of.
                entry.next = entry.slots.next_after(now);
            }
        }
        if missed > 0 {
            tracing::warn!(probe = entry.spec.name, slots = missed, "slots were missed");
        }
    }

    fn release(&self, entry: &Entry, slot: SlotStart) {
        let full = self.active.load(Ordering::Acquire) >= MAX_CONCURRENT_RUNS;
        let release =
            Release { spec: Arc::clone(&entry.spec), slot, running: Arc::clone(&entry.running) };
        if full || self.runs.try_send(release).is_err() {
            self.report(unrun(
                &entry.spec,
                slot.intended,
                Outcome::Missed,
                "too many runs at once",
            ));
        }
    }

    fn report(&self, run: ProbeRun) {
        if self.results.try_send(run).is_err() {
            self.context.telemetry.probe_results_dropped_total.inc();
        }
    }
}

impl Entry {
    /// How late a slot may start before it is missed.
    fn patience(&self) -> Duration {
        match &self.slots {
            Slots::Every { interval_ns, .. } => {
                Duration::from_nanos(*interval_ns).max(LATEST_START)
            }
            Slots::Cron(_) => Duration::from_secs(60),
        }
    }
}

/// The probe thread.
async fn run_released(
    shared: Arc<Shared>,
    mut releases: mpsc::Receiver<Release>,
    stop: CancellationToken,
) {
    let watched = Arc::clone(&shared);
    let watchdog = tokio::spawn(async move {
        watched.context.stalls.watch(&watched.context.clock, &watched.context.telemetry).await;
    });
    loop {
        let release = tokio::select! {
            () = stop.cancelled() => break,
            release = releases.recv() => release,
        };
        let Some(Release { spec, slot, running }) = release else { break };
        let _ = running.fetch_add(1, Ordering::AcqRel);
        let _ = shared.active.fetch_add(1, Ordering::AcqRel);
        let shared = Arc::clone(&shared);
        drop(tokio::spawn(async move {
            // What passed since the timer released it is lateness too.
            let lateness = shared.context.clock.wall().since(slot.intended);
            let slot = SlotStart { lateness_ns: nanos(lateness).max(slot.lateness_ns), ..slot };
            shared
                .context
                .telemetry
                .probe_start_lateness_seconds
                .observe(slot.lateness_ns as f64 / 1e9);
            let run = run_once(&spec, slot, &shared.context).await;
            let _ = running.fetch_sub(1, Ordering::AcqRel);
            let _ = shared.active.fetch_sub(1, Ordering::AcqRel);
            shared.report(run);
        }));
    }
    watchdog.abort();
}

/// A slot in which nothing ran.
fn unrun(spec: &ProbeSpec, slot: UnixNanos, outcome: Outcome, words: &str) -> ProbeRun {
    let reason = match outcome {
        Outcome::Overlapped => FailureReason::Overlapped,
        _ => FailureReason::Missed,
    };
    ProbeRun {
        probe: spec.name.clone(),
        labels: spec.labels.clone(),
        id: RunId(rand::random()),
        intended_start: slot,
        outcome,
        failure: Some(Failure { reason, message: words.to_owned() }),
        ..ProbeRun::default()
    }
}
