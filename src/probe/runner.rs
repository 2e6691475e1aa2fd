//! One run of a probe: identity, deadline, journey, verdict.

use super::deadline::Deadline;
use super::journey;
use super::spec::ProbeSpec;
use super::stall::StallLog;
use super::tls::TlsConfigs;
use crate::base::clock::{Clock, UnixNanos, nanos};
use crate::model::probe::{FailureReason, Outcome, ProbeRun, RunId};
use crate::telemetry::Telemetry;
use std::sync::Arc;

/// What all runs share. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Context {
    /// Time.
    pub clock: Clock,
    /// The daemon's metrics.
    pub telemetry: Telemetry,
    pub(super) tls: Arc<TlsConfigs>,
    pub(super) stalls: Arc<StallLog>,
}

/// The slot that a run fills.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotStart {
    /// When the schedule wanted the run to start.
    pub intended: UnixNanos,
    /// How much later it does start.
    pub lateness_ns: u64,
}

impl Context {
    /// Reads the system's certificate authorities; everything else is handed in.
    #[must_use]
    pub fn new(clock: Clock, telemetry: Telemetry) -> Self {
        Self { clock, telemetry, tls: Arc::new(TlsConfigs::new()), stalls: Arc::default() }
    }
}

impl SlotStart {
    /// A run that starts now, outside any schedule.
    #[must_use]
    pub fn immediately(clock: &Clock) -> Self {
        Self { intended: clock.now(), lateness_ns: 0 }
    }
}

/// Runs a probe once. Takes at most its timeout, and [`super::CLEANUP_TIMEOUT`] beyond it when it has
/// something to clean up.
pub async fn run_once(spec: &ProbeSpec, slot: SlotStart, context: &Context) -> ProbeRun {
    let id = RunId(rand::random());
    let started = context.clock.monotonic();
    let deadline = Deadline::new(&context.clock, started, spec.timeout);
    let journey = journey::travel(spec, id, slot.intended, started, &deadline, context).await;
    let ended = context.clock.monotonic();
    let outcome = match &journey.failure {
        None => Outcome::Success,
        Some(failure) if failure.reason == FailureReason::Timeout => Outcome::Timeout,
        Some(_) => Outcome::Failure,
    };
    let duration_ns = nanos(ended.since(started));
    let latency_ns = match outcome {
        Outcome::Success => {
            Some(journey.message_latency_ns.unwrap_or_else(|| match spec.steps.as_slice() {
                [_] => journey.steps.first().map_or(duration_ns, |step| step.duration_ns),
                _ => duration_ns,
            }))
        }
        // A late message has a value, and it is worth knowing.
        _ => journey.message_latency_ns,
    };
    ProbeRun {
        probe: spec.name.clone(),
        labels: spec.labels.clone(),
        id,
        intended_start: slot.intended,
        lateness_ns: slot.lateness_ns,
        duration_ns,
        latency_ns,
        uncertainty_ns: context.stalls.longest(started, ended),
        outcome,
        failure: journey.failure,
        steps: journey.steps,
    }
}
