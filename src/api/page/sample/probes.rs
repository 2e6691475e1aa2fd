//! Twelve probes and their runs: one fails now, one never ran.

use super::{MINUTE, MS, NOW, noise};
use crate::api::page::view::*;
use crate::model::labels::Labels;
use crate::model::probe::{
    CheckResult, Failure, FailureReason, Messages, Outcome, Phase, PhaseTiming, ProbeRun, RunId,
    StepResult,
};
use crate::probe::maintenance::Window;
use std::time::Duration;

const PROBES: [(&str, &str, &str, u64); 12] = [
    ("chat-echo", "websocket", "ws://chat.example.com/chat", 10),
    ("room-delivery", "websocket+http", "ws://chat.example.com/rooms/probe", 15),
    ("feed-sse", "sse", "https://feed.example.com/live", 10),
    ("presence", "websocket", "wss://presence.example.com/v2/subscribe", 10),
    ("rest-login", "http", "https://api.example.com/login", 30),
    ("media-head", "http", "https://media.example.com/healthz", 30),
    ("typing", "websocket", "wss://chat.example.com/typing", 10),
    ("chat-echo-lte", "websocket", "ws://chat.example.com/chat", 30),
    ("chat-echo-us", "websocket", "ws://us.chat.example.com/chat", 10),
    ("feed-sse-us", "sse", "https://us.feed.example.com/live", 10),
    ("push-token", "http", "https://push.example.com/register", 60),
    ("collab-cursor", "websocket", "wss://collab.example.com/doc/probe", 10),
];

pub(in crate::api::page) fn probe(at: usize) -> ProbeView {
    let (name, protocol, target, every) = PROBES[at % PROBES.len()];
    let fails = at == 2;
    ProbeView {
        name: name.to_owned(),
        protocol: protocol.to_owned(),
        target: target.to_owned(),
        schedule: format!("{every}s"),
        maintenance: (at == 8)
            .then(|| Window { until: NOW.plus(MINUTE * 75), name: "vendor work".to_owned() }),
        labels: Labels::new([("region", "eu-west"), ("feature", "chat")]),
        differing: if at == 1 { vec!["target".to_owned()] } else { Vec::new() },
        last: (at != 6).then(|| run(at, 0, fails)),
        p50_ns: (at != 6).then_some((31 + at as u64 * 7) * MS),
        p95_ns: (at != 6).then_some((58 + at as u64 * 13) * MS),
        under_ns: Some(150 * MS),
        strip: strip(at),
        strip_step: MINUTE * 10,
    }
}

fn strip(at: usize) -> Vec<StripCell> {
    (0..144)
        .map(|cell| {
            let luck = noise(at as u64 * 7_919 + cell);
            let state = match (at, cell) {
                (6, _) => CellState::NoData,
                (2, 138..) | (1, 61..64) => CellState::Failed,
                (8, 20..31) => CellState::NoData,
                _ if luck > 0.985 => CellState::Failed,
                _ if luck > 0.95 => CellState::Slow,
                _ => CellState::Good,
            };
            let runs = if state == CellState::NoData { 0 } else { 60 };
            let failed = if state == CellState::Failed { 4 } else { 0 };
            let slow = if state == CellState::Slow { 6 } else { 0 };
            StripCell { state, runs, failed, slow, missed: u32::from(at == 8 && cell == 30) * 60 }
        })
        .collect()
}

/// The delivery probe has two targets, by turns.
fn labels(at: usize, back: u64) -> Labels {
    let labels = Labels::new([("region", "eu-west")]);
    match (at, back.is_multiple_of(2)) {
        (1, true) => labels.with("target", "chat-a.example.com:443"),
        (1, false) => labels.with("target", "chat-b.example.com:443"),
        _ => labels,
    }
}

/// A run; with one step, or three for the delivery probe.
pub(in crate::api::page) fn run(at: usize, back: u64, fails: bool) -> ProbeRun {
    let (name, protocol, target, every) = PROBES[at % PROBES.len()];
    let stretch = 0.8 + 0.5 * noise(at as u64 * 31 + back);
    let names: &[&str] = if at == 1 { &["bob", "alice", "3"] } else { &["1"] };
    let mut offset = 0;
    let steps: Vec<StepResult> = names
        .iter()
        .enumerate()
        .map(|(place, step_name)| {
            let last = place + 1 == names.len();
            let step = step(step_name, protocol, target, offset, stretch, (place, fails && last));
            offset += step.duration_ns;
            step
        })
        .collect();
    let failure = steps.iter().find_map(|step| step.failure.clone());
    let mut id = [0_u8; 16];
    id[0] = at as u8;
    id[8..].copy_from_slice(&back.to_be_bytes());
    ProbeRun {
        probe: name.to_owned(),
        labels: labels(at, back),
        id: RunId(id),
        intended_start: NOW.minus(Duration::from_secs(every * (back + 1))),
        lateness_ns: 180_000,
        duration_ns: offset,
        latency_ns: failure.is_none().then_some((34.0 * stretch * MS as f64) as u64),
        uncertainty_ns: 42_000,
        outcome: if failure.is_some() { Outcome::Failure } else { Outcome::Success },
        failure,
        steps,
    }
}

fn step(
    name: &str,
    protocol: &str,
    target: &str,
    offset: u64,
    stretch: f64,
    (place, fails): (usize, bool),
) -> StepResult {
    let ms = |value: f64| (value * stretch * MS as f64) as u64;
    let plan: &[(Phase, f64)] = match (place, protocol) {
        (2, _) => &[(Phase::Message, 22.0)],
        (1, _) | (_, "http") => &[
            (Phase::Resolve, 1.1),
            (Phase::Connect, 4.2),
            (Phase::Tls, 9.6),
            (Phase::Send, 0.4),
            (Phase::Wait, 27.0),
            (Phase::Receive, 2.2),
        ],
        (_, "sse") => &[
            (Phase::Resolve, 0.9),
            (Phase::Connect, 4.0),
            (Phase::Tls, 11.0),
            (Phase::Wait, 14.0),
            (Phase::FirstEvent, 31.0),
        ],
        _ => &[
            (Phase::Resolve, 0.7),
            (Phase::Connect, 3.1),
            (Phase::Upgrade, 6.4),
            (Phase::Send, 0.2),
            (Phase::Message, 34.0),
            (Phase::Close, 1.0),
        ],
    };
    let mut at = offset;
    let phases: Vec<PhaseTiming> = plan
        .iter()
        .take(if fails { plan.len() - 1 } else { plan.len() })
        .map(|(phase, length)| {
            let timing = PhaseTiming { phase: *phase, offset_ns: at, duration_ns: ms(*length) };
            at += timing.duration_ns;
            timing
        })
        .collect();
    let failure = fails.then(|| Failure {
        reason: FailureReason::Lost,
        message: "no event with type=tick within 2s, none until the deadline of 5s".to_owned(),
    });
    let duration_ns = at - offset + if fails { 4_900 * MS / 50 } else { 0 };
    StepResult {
        name: name.to_owned(),
        protocol: protocol.split('+').next().unwrap_or_default().to_owned(),
        target: target.to_owned(),
        offset_ns: offset,
        duration_ns,
        phases,
        checks: vec![
            CheckResult { name: "status is 101".to_owned(), passed: true, found: None },
            CheckResult {
                name: "json type is echo".to_owned(),
                passed: !fails,
                found: fails.then(|| "nothing".to_owned()),
            },
        ],
        message_latency_ns: (!fails && protocol != "http").then(|| ms(34.0)),
        status: Some(101),
        attributes: Vec::new(),
        messages: Messages::default(),
        failure,
        span_id: [1, 2, 3, 4, 5, 6, 7, place as u8],
    }
}
