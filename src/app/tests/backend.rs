//! The back end that is measured: healthy but for a little noise, and wrong during its incidents.

use crate::base::clock::UnixNanos;
use crate::model::probe::{Failure, FailureReason, Outcome, ProbeRun, RunId};
use rand::Rng;
use rand::rngs::StdRng;
use std::ops::Range;
use std::time::Duration;

const MILLISECOND: u64 = 1_000_000;

/// What is wrong during an incident.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Chat answers after 300 ms.
    SlowChat,
    /// REST answers with 500, mostly.
    BrokenRest,
    /// Messages of phones take a second.
    SlowMessages,
    /// A release crashes at every start.
    Crashes,
}

/// When something is wrong.
#[derive(Clone, Debug)]
pub(super) struct Incident {
    pub(super) fault: Fault,
    pub(super) time: Range<UnixNanos>,
}

/// The back end over the whole of a simulation.
#[derive(Clone, Debug)]
pub(super) struct Backend {
    pub(super) incidents: Vec<Incident>,
    /// From here on there is not even noise.
    pub(super) calm_from: UnixNanos,
}

impl Backend {
    /// Two or three incidents within `time`, each of six to twenty minutes.
    pub(super) fn new(time: Range<UnixNanos>, rng: &mut StdRng) -> Self {
        let faults = [Fault::SlowChat, Fault::BrokenRest, Fault::SlowMessages, Fault::Crashes];
        let span = time.end.since(time.start).as_secs();
        let mut incident = || {
            let start = time.start.plus(Duration::from_secs(rng.random_range(0..span)));
            let length = Duration::from_secs(rng.random_range(360..1_200));
            let fault = faults[rng.random_range(0..faults.len())];
            Incident { fault, time: start..start.plus(length).min(time.end) }
        };
        let mut incidents = vec![incident(), incident()];
        // One that nobody can overlook, so that no simulation passes for want of alerts.
        let start = time.start.plus(Duration::from_secs(600));
        let sure = start..start.plus(Duration::from_secs(600));
        incidents.push(Incident { fault: Fault::SlowChat, time: sure });
        Self { incidents, calm_from: time.end }
    }

    /// Whether this is wrong at an instant.
    pub(super) fn suffers(&self, fault: Fault, at: UnixNanos) -> bool {
        self.incidents.iter().any(|one| one.fault == fault && one.time.contains(&at))
    }

    /// Whether something goes wrong by chance.
    pub(super) fn noise(&self, at: UnixNanos, rng: &mut StdRng) -> bool {
        at < self.calm_from && rng.random_bool(0.0005)
    }

    /// What a probe finds that was due at `slot`.
    pub(super) fn run(&self, probe: &str, slot: UnixNanos, rng: &mut StdRng) -> ProbeRun {
        let broken = match probe {
            "rest" => self.suffers(Fault::BrokenRest, slot) && rng.random_bool(0.8),
            _ => false,
        };
        let slow = probe == "chat" && self.suffers(Fault::SlowChat, slot);
        let latency = if slow { 300 } else { rng.random_range(5..60) } * MILLISECOND;
        let failure = (broken || self.noise(slot, rng))
            .then(|| Failure { reason: FailureReason::Status, message: "status 500".to_owned() });
        ProbeRun {
            probe: probe.to_owned(),
            id: RunId(rng.random()),
            intended_start: slot,
            lateness_ns: rng.random_range(0..MILLISECOND),
            duration_ns: latency,
            latency_ns: failure.is_none().then_some(latency),
            uncertainty_ns: rng.random_range(0..MILLISECOND),
            outcome: if failure.is_some() { Outcome::Failure } else { Outcome::Success },
            failure,
            ..ProbeRun::default()
        }
    }
}
