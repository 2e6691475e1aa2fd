//! A run with every kind of step and fact: held, cut, resumed, fanned out, booked, relayed.

use super::MS;
use super::probes::run;
use crate::model::probe::{
    CheckResult, Failure, FailureReason, Outcome, Phase, PhaseTiming, ProbeRun, StepResult,
};

type Plan =
    (&'static str, &'static str, &'static [(Phase, u64)], &'static [(&'static str, &'static str)]);

const STEPS: [Plan; 6] = [
    (
        "bob",
        "websocket",
        &[
            (Phase::Fallback, 80),
            (Phase::Quic, 31),
            (Phase::Connect, 42),
            (Phase::Tls, 61),
            (Phase::Upgrade, 44),
        ],
        &[
            ("network.protocol.version", "1.1"),
            ("network.peer.address", "192.0.2.17"),
            ("tls.protocol.version", "1.3"),
            ("tls.cipher", "TLS13_AES_256_GCM_SHA384"),
            ("tls.server.subject", "CN=chat.example.com"),
            ("tls.server.not_after", "2026-04-14"),
            ("fallback.used", "websocket"),
            ("fallback.failed", "quic://chat.example.com: no answer within 80ms"),
            ("network.profile", "lte+handover"),
            ("network.seed", "2740147556"),
            ("network.rtt_ms", "70.1"),
            ("network.lost", "3"),
            ("network.queued_ms", "12.4"),
            ("websocket.messages", "21"),
            ("websocket.bytes", "1247"),
        ],
    ),
    (
        "carol",
        "sse",
        &[(Phase::FirstEvent, 12)],
        &[
            ("connection", "reused"),
            ("held.seconds", "9.999"),
            ("held.messages", "3"),
            ("held.longest_gap_ms", "4120.5"),
            ("http.response.chunks", "7"),
            ("http.response.max_gap_ms", "11.2"),
        ],
    ),
    (
        "3",
        "drop",
        &[(Phase::Detect, 802)],
        &[("drop.by", "silence"), ("drop.noticed", "a ping was not answered within 400ms")],
    ),
    (
        "4",
        "reconnect",
        &[(Phase::Backoff, 200), (Phase::Connect, 43), (Phase::Upgrade, 40), (Phase::Resume, 96)],
        &[
            ("reconnect.open_ms", "283.4"),
            ("resume.outcome", "resumed with a gap"),
            ("resume.missed", "2"),
            ("heartbeat.pings", "2"),
            ("heartbeat.slowest_ms", "3.734"),
        ],
    ),
    (
        "5",
        "ledger",
        &[(Phase::Message, 190)],
        &[
            ("ledger.received", "997"),
            ("ledger.lost", "3"),
            ("ledger.duplicates", "1"),
            ("ledger.reordered", "0"),
            ("ledger.publisher", "alice: 498 received, 2 lost, 0 duplicates, 0 reordered"),
            ("ledger.publisher", "bob: 200 received, 1 lost, 0 duplicates, 0 reordered"),
            ("ledger.publisher", "carol: 150 received, 0 lost, 1 duplicates, 0 reordered"),
            ("ledger.publisher", "dave: 149 received, 0 lost, 0 duplicates, 1 reordered"),
            ("turn.relayed_address", "192.0.2.99:50411"),
            ("vendor.zone", "b"),
        ],
    ),
    (
        "6",
        "expect",
        &[(Phase::Message, 120)],
        &[
            ("fanout.received", "199 of 200"),
            ("fanout.first", "8.20ms"),
            ("fanout.median", "21ms"),
            ("fanout.p99", "88ms"),
            ("fanout.last", "120ms"),
            ("fanout.spread", "111ms"),
        ],
    ),
];

/// A slot in which nothing was run.
pub(super) fn not_run(at: usize, back: u64, outcome: Outcome, message: &str) -> ProbeRun {
    let reason = match outcome {
        Outcome::Overlapped => FailureReason::Overlapped,
        _ => FailureReason::Missed,
    };
    ProbeRun {
        outcome,
        failure: Some(Failure { reason, message: message.to_owned() }),
        steps: Vec::new(),
        latency_ns: None,
        duration_ns: 0,
        lateness_ns: 0,
        uncertainty_ns: 0,
        ..run(at, back, false)
    }
}

/// A run whose stream the run before had kept open.
pub(super) fn held(mut run: ProbeRun) -> ProbeRun {
    if let Some(step) = run.steps.first_mut() {
        step.attributes = vec![("connection".to_owned(), "reused".to_owned())];
    }
    run
}

/// The run; its last step fails, and a step that cleans up after it, too.
pub(super) fn resilience() -> ProbeRun {
    let mut offset_ns = 0;
    let mut steps: Vec<StepResult> = STEPS.iter().map(|plan| step(plan, &mut offset_ns)).collect();
    let failure = Failure {
        reason: FailureReason::Lost,
        message: "expected that a message that contains {\"id\":\"7\"} reaches all 200 receivers \
                  within 150ms, but 1 of 200 did not get it: crowd[117] (nothing came)"
            .to_owned(),
    };
    if let Some(last) = steps.last_mut() {
        last.checks = vec![CheckResult {
            name: "a message that contains {\"id\":\"7\"} reaches all 200 receivers within 150ms"
                .to_owned(),
            passed: false,
            found: Some("1 of 200 did not get it: crowd[117] (nothing came)".to_owned()),
        }];
        last.failure = Some(failure.clone());
        last.duration_ns += 300 * MS;
        offset_ns += 300 * MS;
    }
    steps.push(StepResult {
        name: "leave".to_owned(),
        protocol: "http".to_owned(),
        target: "https://chat.example.com/rooms/probe".to_owned(),
        offset_ns,
        duration_ns: 30 * MS,
        status: Some(503),
        failure: Some(Failure {
            reason: FailureReason::Status,
            message: "expected status 200, but it is 503".to_owned(),
        }),
        ..StepResult::default()
    });
    ProbeRun {
        outcome: Outcome::Failure,
        failure: Some(failure),
        duration_ns: offset_ns + 30 * MS,
        latency_ns: None,
        steps,
        ..run(1, 3, false)
    }
}

fn step((name, protocol, phases, facts): &Plan, offset: &mut u64) -> StepResult {
    let offset_ns = *offset;
    let mut timings = Vec::new();
    for (phase, length) in *phases {
        timings.push(PhaseTiming { phase: *phase, offset_ns: *offset, duration_ns: length * MS });
        *offset += length * MS;
    }
    let held = |n: usize| CheckResult {
        name: format!("assertion {n} of {protocol}"),
        passed: true,
        found: None,
    };
    StepResult {
        name: (*name).to_owned(),
        protocol: (*protocol).to_owned(),
        target: "wss://chat.example.com/rooms/probe".to_owned(),
        offset_ns,
        duration_ns: *offset - offset_ns,
        phases: timings,
        checks: (0..facts.len().min(6)).map(held).collect(),
        attributes: facts.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        span_id: [9, 2, 3, 4, 5, 6, 7, name.len() as u8],
        ..StepResult::default()
    }
}
