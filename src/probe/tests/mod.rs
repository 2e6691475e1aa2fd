//! Runs against real servers on loopback, faults included; and schedules against the calendar.

mod addresses;
mod admission;
mod arrival;
mod buffering;
mod calendar;
mod clock_jumps;
mod dns;
mod exec;
mod fanout;
mod grpc;
mod held;
mod hogs;
mod http;
#[cfg(feature = "http3")]
mod http3;
mod intents;
mod journey;
mod ledger;
mod limits;
mod lookup;
mod mqtt;
mod mqtt_broker;
mod network;
mod network_udp;
mod phases;
mod poll;
mod reconnect;
mod reference;
mod scheduler;
mod servers;
mod slow_phases;
mod sse;
mod tcp;
mod tls_handshake;
mod turn;
mod turn_server;
mod udp;
#[cfg(feature = "webrtc")]
mod webrtc;
#[cfg(feature = "webrtc")]
mod webrtc_peer;
mod websocket;
mod websocket_frames;
mod writes;

use super::spec::{
    Action, Cadence, Expect, FlowChecks, HttpStep, HttpVersion, ProbeSpec, SseStep, Step,
    TlsOptions, WebSocketStep,
};
use super::{Context, SlotStart, run_once};
use crate::base::clock::Clock;
use crate::model::attribute::AttributeValue;
use crate::model::labels::Labels;
use crate::model::probe::{Failure, FailureReason, Outcome, Phase, ProbeRun, StepResult};
use crate::telemetry::Telemetry;
use std::sync::Arc;
use std::time::Duration;

/// A probe with these steps.
pub(super) fn spec(steps: Vec<Step>) -> ProbeSpec {
    ProbeSpec {
        name: "probe".to_owned(),
        cadence: Cadence::Every(Duration::from_secs(60)),
        timeout: Duration::from_secs(20),
        overlap: false,
        labels: Labels::new([("region", "test")]),
        steps,
        cleanup: Vec::new(),
        addresses: Default::default(),
        targets: Default::default(),
        writes: [].into(),
        network: None,
    }
}

fn context() -> Context {
    Context::new(Clock::system(), Telemetry::new())
}

pub(super) fn step(name: &str, action: Action) -> Step {
    Step { name: name.to_owned(), action, count: 1, hold: None, capture: Vec::new() }
}

pub(super) fn get(url: impl Into<String>) -> HttpStep {
    HttpStep {
        method: "GET".to_owned(),
        url: url.into(),
        headers: Vec::new(),
        body: None,
        version: HttpVersion::Auto,
        status: Vec::new(),
        header_checks: Vec::new(),
        body_checks: Vec::new(),
        flow_checks: FlowChecks::default(),
        max_redirects: 0,
        tls: TlsOptions::default(),
    }
}

fn connect(url: impl Into<String>) -> WebSocketStep {
    WebSocketStep {
        url: url.into(),
        headers: Vec::new(),
        subprotocols: Vec::new(),
        chosen_subprotocol: None,
        compression: None,
        binary: None,
        fragment: None,
        send: None,
        ping: false,
        expect: None,
        max_gap: None,
        close_code: None,
        tls: TlsOptions::default(),
    }
}

fn subscribe(url: impl Into<String>) -> SseStep {
    SseStep {
        url: url.into(),
        headers: Vec::new(),
        last_event_id: None,
        first_event_within: None,
        expect: None,
        max_gap: None,
        sent_at: None,
        refuse_buffering: false,
        tls: TlsOptions::default(),
    }
}

fn expect_json(json: serde_json::Value) -> Expect {
    Expect { json: Some(Arc::new(json)), text: None, event: None, within: None, since: None }
}

/// Runs the steps once, within a timeout.
async fn run_within(timeout: Duration, steps: Vec<Step>) -> ProbeRun {
    let spec = ProbeSpec { timeout, ..spec(steps) };
    let context = context();
    run_once(&spec, SlotStart::now(&context.clock), &context).await
}

/// Runs the steps once, with time enough.
async fn run(steps: Vec<Step>) -> ProbeRun {
    run_within(Duration::from_secs(20), steps).await
}

async fn run_http(step_: HttpStep) -> ProbeRun {
    run(vec![step("1", Action::Http(step_))]).await
}

fn phases(step: &StepResult) -> Vec<Phase> {
    step.phases.iter().map(|timing| timing.phase).collect()
}

/// Asserts success, and that the phases of every step lie within it, in order, without overlap.
#[track_caller]
fn assert_success(run: &ProbeRun) {
    assert_eq!((run.outcome, &run.failure), (Outcome::Success, &None), "{run:#?}");
    assert!(run.latency_ns.is_some());
    for step in &run.steps {
        let mut cursor = step.offset_ns;
        for phase in &step.phases {
            assert!(phase.offset_ns >= cursor, "{step:#?}");
            cursor = phase.offset_ns + phase.duration_ns;
        }
        assert!(cursor <= step.offset_ns + step.duration_ns, "{step:#?}");
        assert!(step.offset_ns + step.duration_ns <= run.duration_ns, "{run:#?}");
        assert!(step.checks.iter().all(|check| check.passed), "{step:#?}");
    }
}

/// Asserts that the run failed for that reason, in words that contain `part`.
#[track_caller]
fn assert_failure(run: &ProbeRun, reason: FailureReason, part: &str) {
    let Some(Failure { reason: found, message }) = &run.failure else { unreachable!("{run:#?}") };
    assert_eq!(*found, reason, "{message}");
    assert!(message.contains(part), "{message}");
    let timeout = reason == FailureReason::Timeout;
    let outcome = if timeout { Outcome::Timeout } else { Outcome::Failure };
    assert_eq!(run.outcome, outcome);
}

/// What a step found out under that name.
pub(super) fn attribute(step: &StepResult, name: &str) -> Option<String> {
    let found = step.attributes.iter().find(|(known, _)| known == name);
    found.map(|(_, value)| value.to_string())
}

/// A number that a step found out under that name.
pub(super) fn number(step: &StepResult, name: &str) -> Option<i64> {
    match step.attributes.iter().find(|(known, _)| known == name)? {
        (_, AttributeValue::Integer(number)) => Some(*number),
        _ => None,
    }
}

/// The median of a phase's length over several runs, in milliseconds.
fn median_ms(runs: &[ProbeRun], phase: Phase) -> u64 {
    let mut lengths: Vec<u64> =
        runs.iter().map(|run| run.phase_ns(phase).expect("the phase was reached")).collect();
    lengths.sort_unstable();
    lengths[lengths.len() / 2] / 1_000_000
}
