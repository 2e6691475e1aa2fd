//! A run with every kind of step and fact: held, cut, resumed, fanned out, booked, relayed.

use self::Fact::{Flag, Number, Text};
use super::MS;
use super::probes::run;
use crate::model::attribute::AttributeValue;
use crate::model::probe::{
    CheckResult, Failure, FailureReason, MessageStamp, Messages, Outcome, Phase, PhaseTiming,
    ProbeRun, StepResult,
};

type Plan = (&'static str, &'static str, &'static [(Phase, u64)], &'static [(&'static str, Fact)]);

/// A value that a constant can hold.
#[derive(Clone, Copy)]
enum Fact {
    Text(&'static str),
    Number(i64),
    Flag(bool),
}

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
            ("network.protocol.version", Text("1.1")),
            ("network.peer.address", Text("192.0.2.17")),
            ("tls.protocol.version", Text("1.3")),
            ("tls.cipher", Text("TLS13_AES_256_GCM_SHA384")),
            ("tls.server.subject", Text("CN=chat.example.com")),
            ("tls.server.not_after", Text("2026-04-14")),
            ("fallback.used", Text("websocket")),
            ("fallback.failed", Text("quic://chat.example.com: no answer within 80ms")),
            ("network.profile", Text("lte+handover")),
            ("network.seed", Text("2740147556")),
            ("network.rtt_ns", Number(70_100_000)),
            ("network.lost", Number(3)),
            ("network.queued_ns", Number(12_400_000)),
            ("websocket.messages", Number(21)),
            ("websocket.bytes", Number(1247)),
        ],
    ),
    (
        "carol",
        "sse",
        &[(Phase::FirstEvent, 12)],
        &[
            ("connection", Text("reused")),
            ("held.duration_ns", Number(9_999_000_000)),
            ("held.messages", Number(3)),
            ("held.longest_gap_ns", Number(4_120_500_000)),
            ("mqtt.session_present", Flag(true)),
            ("http.response.chunks", Number(7)),
            ("http.response.max_gap_ns", Number(11_200_000)),
        ],
    ),
    (
        "3",
        "drop",
        &[(Phase::Detect, 802)],
        &[
            ("drop.by", Text("silence")),
            ("drop.noticed", Text("a ping was not answered within 400ms")),
        ],
    ),
    (
        "4",
        "reconnect",
        &[(Phase::Backoff, 200), (Phase::Connect, 43), (Phase::Upgrade, 40), (Phase::Resume, 96)],
        &[
            ("reconnect.open_ns", Number(283_400_000)),
            ("resume.outcome", Text("resumed with a gap")),
            ("resume.missed", Number(2)),
            ("heartbeat.pings", Number(2)),
            ("heartbeat.slowest_ns", Number(3_734_000)),
        ],
    ),
    (
        "5",
        "ledger",
        &[(Phase::Message, 190)],
        &[
            ("ledger.received", Number(997)),
            ("ledger.lost", Number(3)),
            ("ledger.duplicates", Number(1)),
            ("ledger.reordered", Number(0)),
            ("ledger.publisher", Text("alice: 498 received, 2 lost, 0 duplicates, 0 reordered")),
            ("ledger.publisher", Text("bob: 200 received, 1 lost, 0 duplicates, 0 reordered")),
            ("ledger.publisher", Text("carol: 150 received, 0 lost, 1 duplicates, 0 reordered")),
            ("ledger.publisher", Text("dave: 149 received, 0 lost, 0 duplicates, 1 reordered")),
            ("turn.relayed_address", Text("192.0.2.99:50411")),
            ("vendor.zone", Text("b")),
        ],
    ),
    (
        "6",
        "expect",
        &[(Phase::Message, 120)],
        &[
            ("fanout.received", Number(199)),
            ("fanout.receivers", Number(200)),
            ("fanout.first_ns", Number(8_199_999)),
            ("fanout.median_ns", Number(21_000_000)),
            ("fanout.p99_ns", Number(88_000_000)),
            ("fanout.last_ns", Number(120_000_000)),
            ("fanout.spread_ns", Number(111_000_000)),
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
        step.attributes = vec![("connection".to_owned(), "reused".into())];
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
        attributes: facts.iter().map(|(name, fact)| ((*name).to_owned(), value(*fact))).collect(),
        messages: if *name == "bob" { messages(offset_ns) } else { Messages::default() },
        span_id: [9, 2, 3, 4, 5, 6, 7, name.len() as u8],
        ..StepResult::default()
    }
}

fn value(fact: Fact) -> AttributeValue {
    match fact {
        Text(text) => text.into(),
        Number(number) => AttributeValue::Integer(number),
        Flag(truth) => truth.into(),
    }
}

/// What came over a stream: a burst, then now and then, more than are kept.
fn messages(from: u64) -> Messages {
    let stamp = |n: u64| MessageStamp {
        offset_ns: from + 300 * MS + n * n * MS,
        size_bytes: 60 + n as u32 * 7,
        receiver: 1 + (n % 3) as u32,
        matched: n.is_multiple_of(9),
    };
    Messages { stamps: (0..38).map(stamp).collect(), omitted: 12 }
}
