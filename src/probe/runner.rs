//! One run of a probe: its deadline, its steps, its verdict and value.

use super::deadline::Deadline;
use super::failure::failure;
use super::held::Held;
use super::inspection::Inspection;
use super::instances::Pin;
use super::intents::Register;
use super::journey::Journey;
use super::limits::{Capped, Limits};
use super::lookup::Lookups;
use super::maintenance::Calendar;
use super::spec::ProbeSpec;
use super::stall::StallWatch;
use super::tls::TlsConfigs;
use crate::base::clock::{Clock, MonoNanos, UnixNanos, nanos};
use crate::model::probe::{Failure, FailureReason, Outcome, ProbeRun, RunId, StepResult};
use crate::telemetry::Telemetry;
use futures::FutureExt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Names that are looked up at once: each may hold a thread for as long as a name server likes.
pub(super) const MAX_LOOKUPS: usize = 64;

/// What all runs share. Clones share it too.
#[derive(Clone, Debug)]
pub struct Context {
    /// The time.
    pub clock: Clock,
    /// The daemon's own metrics.
    pub telemetry: Telemetry,
    /// How hard targets may be pressed, by all runs together; nothing is limited at first.
    pub limits: Limits,
    /// When scheduled probes do not run.
    pub maintenance: Calendar,
    /// Names to addresses.
    pub(super) lookups: Lookups,
    /// TLS configurations.
    pub(super) tls: Arc<TlsConfigs>,
    /// The watch over the runtime on which runs happen; without one, a run keeps its own.
    pub(super) stalls: Option<StallWatch>,
    /// Streams that stay open between runs; without it none does.
    pub(super) held: Option<Arc<Held>>,
    /// Ends the steps of runs, but not their cleaning up.
    pub(super) interrupt: CancellationToken,
    /// Where runs are announced that must clean up; without it none is.
    pub(super) register: Option<Arc<dyn Register>>,
    /// Whoever looks into the runs of this context.
    pub(super) inspection: Option<Arc<Inspection>>,
    /// The one address of a name that is talked to.
    pub(super) pin: Option<Pin>,
}

/// The slot of the schedule to which a run belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotStart {
    /// When the schedule wants the start.
    pub intended_start: UnixNanos,
    /// How much later it is, nanoseconds.
    pub lateness_ns: u64,
}

/// What came of the steps.
struct Conduct {
    steps: Vec<StepResult>,
    failure: Option<Failure>,
    duration_ns: u64,
    /// How long our own limits held its messages back.
    held: Duration,
}

impl Context {
    /// Reads the system's certificate authorities, which takes some milliseconds.
    #[must_use]
    pub fn new(clock: Clock, telemetry: Telemetry) -> Self {
        Self {
            clock,
            telemetry,
            limits: Limits::default(),
            maintenance: Calendar::default(),
            lookups: Lookups::new(MAX_LOOKUPS),
            tls: Arc::new(TlsConfigs::new()),
            stalls: None,
            held: None,
            interrupt: CancellationToken::new(),
            register: None,
            inspection: None,
            pin: None,
        }
    }

    /// This context with a place where the runs of a schedule are announced.
    #[must_use]
    pub fn registered(self, register: Arc<dyn Register>) -> Self {
        Self { register: Some(register), ..self }
    }

    /// A context whose metrics, limits and streams are its own.
    pub(super) fn apart(&self) -> Self {
        Self {
            telemetry: Telemetry::new(),
            limits: Limits::default(),
            maintenance: Calendar::default(),
            stalls: None,
            held: None,
            register: None,
            inspection: None,
            ..self.clone()
        }
    }

    /// This context with somebody who looks into its runs.
    pub(super) fn inspected_by(&self, inspection: Arc<Inspection>) -> Self {
        Self { inspection: Some(inspection), ..self.clone() }
    }

    /// This context on the runtime of a schedule, which `stalls` watches, and on which streams are held.
    /// Runs go on until `interrupt`, and clean up then.
    pub(super) fn scheduled(
        &self,
        stalls: StallWatch,
        held: Arc<Held>,
        interrupt: CancellationToken,
    ) -> Self {
        Self { stalls: Some(stalls), held: Some(held), interrupt, ..self.clone() }
    }
}

impl SlotStart {
    /// A slot that is due now, for runs outside any schedule.
    #[must_use]
    pub fn now(clock: &Clock) -> Self {
        Self { intended_start: clock.now(), lateness_ns: 0 }
    }
}

/// Runs a probe once, on the current tokio runtime.
///
/// Takes no longer than the probe's timeout, [`super::CLEANUP_TIMEOUT`] where it has steps that clean
/// up, and a moment to take leave of open streams; never panics. A failure is a result like any other:
/// [`FailureReason::Timeout`] makes the outcome `timeout`, every other reason `failure`. A run that would
/// break a limit is not run, and missed.
pub async fn run_once(spec: &ProbeSpec, slot: SlotStart, context: &Context) -> ProbeRun {
    run_as(RunId(rand::random()), spec, slot, context).await
}

/// [`run_once`] with an id that was chosen before.
pub(super) async fn run_as(
    id: RunId,
    spec: &ProbeSpec,
    slot: SlotStart,
    context: &Context,
) -> ProbeRun {
    let pinned = context.for_runs_of(spec);
    let context = pinned.as_ref().unwrap_or(context);
    let watched = context.stalls.is_some();
    let stalls = context.stalls.clone().unwrap_or_else(|| StallWatch::new(&context.clock));
    let _own_watch = (!watched).then(|| stalls.keep(None));
    let started = context.clock.monotonic();
    let _permit = match context.limits.admit(spec, started) {
        Ok(permit) => permit,
        Err(Capped { limit, kind, message }) => {
            let counter = &context.telemetry.probe_limited_runs_total;
            counter.with_label_values(&[limit.as_str(), kind]).inc();
            let reason = FailureReason::Missed;
            let run = not_run(spec, slot.intended_start, Outcome::Missed, reason, &message);
            return ProbeRun { id, ..run };
        }
    };
    // A fault of ours, or of a library that reads what a target sent, costs one run at most.
    let conducted =
        AssertUnwindSafe(conduct(spec, slot, id, started, context)).catch_unwind().await;
    let Conduct { steps, failure, duration_ns, held } = conducted.unwrap_or_else(|_| Conduct {
        steps: Vec::new(),
        failure: Some(engine_failure()),
        duration_ns: nanos(context.clock.monotonic().since(started)),
        held: Duration::ZERO,
    });
    let latency_ns = value(spec, &steps, failure.as_ref(), duration_ns);
    let (from, to) = measured(&steps, latency_ns, duration_ns);
    let at = |offset_ns| started.plus(Duration::from_nanos(offset_ns));
    ProbeRun {
        latency_ns,
        uncertainty_ns: nanos(stalls.within(at(from), at(to))) + own_waiting(&steps, held),
        outcome: outcome(failure.as_ref()),
        lateness_ns: slot.lateness_ns,
        duration_ns,
        failure,
        steps,
        id,
        ..blank(spec, slot.intended_start)
    }
}

/// The record of a slot in which the probe did not run.
pub(super) fn not_run(
    spec: &ProbeSpec,
    intended_start: UnixNanos,
    outcome: Outcome,
    reason: FailureReason,
    message: &str,
) -> ProbeRun {
    let id = RunId(rand::random());
    let failure = Some(failure(reason, message));
    ProbeRun { id, outcome, failure, ..blank(spec, intended_start) }
}

fn blank(spec: &ProbeSpec, intended_start: UnixNanos) -> ProbeRun {
    ProbeRun {
        probe: spec.name.clone(),
        labels: spec.labels.clone(),
        intended_start,
        ..ProbeRun::default()
    }
}

async fn conduct(
    spec: &ProbeSpec,
    slot: SlotStart,
    id: RunId,
    started: MonoNanos,
    context: &Context,
) -> Conduct {
    let start = slot.intended_start.plus(Duration::from_nanos(slot.lateness_ns));
    let deadline = Deadline::new(&context.clock, started, spec.timeout);
    let mut journey = Journey::new(spec, context, id, started, start);
    // Whatever ends the steps, those that clean up follow.
    let failure = tokio::select! {
        biased;
        ran = AssertUnwindSafe(journey.run(&deadline)).catch_unwind() => {
            ran.unwrap_or_else(|_| Some(engine_failure()))
        }
        () = context.interrupt.cancelled() => {
            Some(failure(FailureReason::Missed, "the daemon stopped during the run"))
        }
    };
    // A run that passed ends with its last phase, as its steps do.
    let last = journey.steps().iter().map(|step| step.offset_ns + step.duration_ns).max();
    let duration_ns = match (&failure, last) {
        (None, Some(last)) => last,
        _ => nanos(context.clock.monotonic().since(started)),
    };
    let held = journey.held();
    journey.clean_up().await;
    let passed = failure.is_none();
    Conduct { steps: journey.hang_up(passed).await, failure, duration_ns, held }
}

/// The measured value: of the last message, where one was waited for; otherwise of the only step,
/// otherwise of the run. A failed run has one only if its last step measured it nevertheless.
fn value(
    spec: &ProbeSpec,
    steps: &[StepResult],
    failure: Option<&Failure>,
    duration_ns: u64,
) -> Option<u64> {
    let taken = steps.get(..spec.steps.len().min(steps.len())).unwrap_or_default();
    if failure.is_some() {
        let failed = taken.iter().find(|step| step.failure.is_some());
        return failed.and_then(|step| step.message_latency_ns);
    }
    let message = taken.iter().rev().find_map(|step| step.message_latency_ns);
    message.or(match taken {
        // A stream that was open already took no time.
        [only] => Some(only.duration_ns).filter(|_| !only.phases.is_empty()),
        _ => Some(duration_ns),
    })
}

/// The time in which the value was measured, offsets from the run's start: that of the message where it
/// is a message's, otherwise the whole run.
fn measured(steps: &[StepResult], latency_ns: Option<u64>, duration_ns: u64) -> (u64, u64) {
    let measured = steps
        .iter()
        .rev()
        .find(|step| latency_ns.is_some() && step.message_latency_ns == latency_ns);
    let Some((step, latency)) = measured.zip(latency_ns) else { return (0, duration_ns) };
    let ended = step.phases.iter().map(|phase| phase.offset_ns + phase.duration_ns).max();
    let to = ended.unwrap_or(step.offset_ns + step.duration_ns);
    (to.saturating_sub(latency), to)
}

/// How much of a run's value is waiting for our own limits. A message's counts from when it was sent.
fn own_waiting(steps: &[StepResult], held: Duration) -> u64 {
    let of_message = steps.iter().any(|step| step.message_latency_ns.is_some());
    if of_message { 0 } else { nanos(held) }
}

fn engine_failure() -> Failure {
    failure(FailureReason::Local, "the probe engine itself failed")
}

fn outcome(failure: Option<&Failure>) -> Outcome {
    match failure {
        None => Outcome::Success,
        Some(failure) if failure.reason == FailureReason::Timeout => Outcome::Timeout,
        Some(failure) if failure.reason == FailureReason::Missed => Outcome::Missed,
        Some(_) => Outcome::Failure,
    }
}
