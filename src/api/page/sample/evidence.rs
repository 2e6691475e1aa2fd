//! The evidence pages of the same night.

use super::budgets::budgets;
use super::firing::{factors, page};
use super::phones::matrices;
use super::probes::{probe, run};
use super::steps::{held, not_run, resilience};
use super::{DAY, MINUTE, MS, NOW, calibration, noise};
use crate::api::page::view::*;
use crate::model::alert::{AlertKey, AlertState, Cause, Incident};
use crate::model::evidence::SpanEvidence;
use crate::model::histogram::ExpHistogram;
use crate::model::labels::Labels;
use crate::model::objective::Severity;
use crate::model::probe::{Outcome, ProbeRun, RunId};
use std::time::Duration;

/// The page of a run.
pub(in crate::api::page) fn run_view(fails: bool) -> RunView {
    let slo = |name: &str, good| SloOfRun { name: name.to_owned(), under_ns: Some(100 * MS), good };
    RunView {
        now: NOW,
        version: "0.1.0".to_owned(),
        run: run(if fails { 2 } else { 1 }, 3, fails),
        slos: vec![slo("room-delivery", Some(!fails)), slo("chat-up", None)],
        previous: Some(RunId([1; 16])),
        next: Some(RunId([2; 16])),
    }
}

/// The page of a run with everything that a step can find out.
pub(in crate::api::page) fn resilience_view() -> RunView {
    RunView { run: resilience(), slos: Vec::new(), ..run_view(false) }
}

/// The page of a slot that was not run.
pub(in crate::api::page) fn missed_view() -> RunView {
    let left_out = |slo: SloOfRun| SloOfRun { good: None, ..slo };
    let view = run_view(false);
    RunView { run: kept(20), slos: view.slos.into_iter().map(left_out).collect(), ..view }
}

/// The page of a probe.
pub(in crate::api::page) fn probe_page() -> ProbePage {
    let column = |at: u64| {
        let mut latencies = ExpHistogram::default();
        for sample in 0..60 {
            let tail = noise(at * 60 + sample);
            let spike = if (100..104).contains(&at) { 4.0 } else { 1.0 };
            latencies
                .record(((24.0 + 20.0 * tail + 160.0 * tail.powi(24)) * spike * MS as f64) as u64);
        }
        let failed = u32::from(at == 61 || at == 62);
        if at == 80 { HeatColumn::default() } else { HeatColumn { latencies, failed } }
    };
    let heatmap: Vec<HeatColumn> = (0..144).map(column).collect();
    let quantile = |column: &HeatColumn, q| column.latencies.quantile(q).map(|s| (s * 1e9) as u64);
    ProbePage {
        now: NOW,
        version: "0.1.0".to_owned(),
        probe: probe(1),
        slos: vec!["room-delivery".to_owned(), "chat-up".to_owned()],
        runs: (0..100).map(kept).collect(),
        failed: (0..4).map(|back| run(1, back * 33 + 7, true)).collect(),
        quantiles: heatmap
            .iter()
            .map(|c| QuantilePoint { p50_ns: quantile(c, 0.5), p95_ns: quantile(c, 0.95) })
            .collect(),
        heatmap,
        span: DAY,
        calibration: calibration(),
    }
}

/// A run of the probe's page: some over a held stream, some slots not run, one that cannot be judged.
fn kept(back: u64) -> ProbeRun {
    match back {
        11 | 12 | 40 => not_run(1, back, Outcome::Overlapped, "the run before was still going"),
        20..24 => not_run(
            1,
            back,
            Outcome::Missed,
            "not run: in maintenance: vendor work until 2026-03-01T02:30:00Z",
        ),
        30 => not_run(
            1,
            back,
            Outcome::Missed,
            "not run: runs at wss://chat.example.com are limited to 10/1m",
        ),
        50 => {
            ProbeRun { latency_ns: Some(152 * MS), uncertainty_ns: 4 * MS, ..run(1, back, false) }
        }
        60..64 => held(run(1, back, false)),
        _ => run(1, back, back % 33 == 7),
    }
}

/// The page of an SLO.
pub(in crate::api::page) fn slo_page() -> SloPage {
    let span = |at: u64| SpanEvidence {
        trace_id: format!("{:032x}", 0x4bf9_2f35_77b3_4da6_u64 + at),
        span_id: format!("{at:016x}"),
        name: "POST /rooms/{id}/messages".to_owned(),
        at: NOW.minus(MINUTE * at as u32),
        duration_ns: (900 + at * 37) * MS,
        failed: at.is_multiple_of(3),
        attributes: Labels::new([
            ("service.version", "4.2.0"),
            ("os.name", "Android"),
            ("network.connection.type", "cellular"),
            ("region", "eu-south"),
        ]),
    };
    SloPage {
        now: NOW,
        version: "0.1.0".to_owned(),
        readiness: Readiness::Ready,
        budget: budgets().swap_remove(2),
        runbook: Some("https://wiki.example.com/runbooks/send-message".to_owned()),
        indicator_id: "7f3a9d1c0b5e4f6a8c2d1e0f9a8b7c6d".to_owned(),
        probe: None,
        explanation: Some(
            "App 4.2.0 on cellular explains 93 % of the bad events with 6 % of the traffic."
                .to_owned(),
        ),
        factors: factors(),
        matrices: matrices(),
        matrices_over: MINUTE * 60,
        spans: (1..9).map(span).collect(),
        runs: Vec::new(),
        incidents: vec![
            IncidentRow {
                id: "018f2a6c-91d3".to_owned(),
                severity: Severity::Page,
                started_at: NOW.minus(MINUTE * 40),
                ended_at: None,
                summary: "burns 18x, app 4.2.0 on cellular".to_owned(),
            },
            IncidentRow {
                id: "018e0000-0001".to_owned(),
                severity: Severity::Ticket,
                started_at: NOW.minus(DAY * 9),
                ended_at: Some(NOW.minus(DAY * 8)),
                summary: "burned 3.3x".to_owned(),
            },
        ],
        late: vec![LateRow {
            at: NOW.minus(MINUTE * 63),
            oldest: NOW.minus(MINUTE * 423),
            total: 212,
            bad: 3,
        }],
    }
}

/// The page of an incident.
pub(in crate::api::page) fn incident_view() -> IncidentView {
    let entry = |minutes: u32, kind, text: &str| TimelineEntry {
        at: NOW.minus(MINUTE * minutes),
        kind,
        text: text.to_owned(),
    };
    let delivery = |receiver: &str, state, attempts, error: Option<&str>| DeliveryView {
        receiver: receiver.to_owned(),
        of: "firing".to_owned(),
        created_at: NOW.minus(MINUTE * 40),
        changed_at: NOW.minus(MINUTE * 40).plus(Duration::from_millis(312)),
        attempts,
        state,
        error: error.map(str::to_owned),
    };
    let labels = Labels::new([
        ("alertname", "send-message-on-phones"),
        ("severity", "page"),
        ("owner", "messaging"),
    ]);
    let summary = page().summary;
    IncidentView {
        now: NOW,
        version: "0.1.0".to_owned(),
        incident: Incident {
            key: AlertKey { name: "send-message-on-phones".to_owned(), severity: Severity::Page },
            notified: Vec::new(),
            id: "018f2a6c-91d3".to_owned(),
            state: AlertState::Firing,
            started_at: NOW.minus(MINUTE * 40),
            changed_at: NOW.minus(MINUTE * 40),
            ended_at: None,
            frozen_since: None,
            labels,
            annotations: Labels::new([("summary", summary.as_str()), ("pair", "1h/5m")]),
            cause: Cause::Burn,
            transitions: 1,
            acknowledged: Some(("ann".to_owned(), NOW.minus(MINUTE * 12))),
        },
        name: "send-message-on-phones".to_owned(),
        is_slo: true,
        severity: Severity::Page,
        owner: Some("messaging".to_owned()),
        runbook: Some("https://wiki.example.com/runbooks/send-message".to_owned()),
        summary,
        factors: factors(),
        timeline: vec![
            entry(47, ChangeKind::Release, "chat-android 4.2.0 seen for the first time"),
            entry(40, ChangeKind::Fired(Severity::Page), "1h/5m burns 18x, fires at 14x"),
            entry(12, ChangeKind::Acknowledged, "by ann: looking at the carrier"),
        ],
        deliveries: vec![
            delivery("oncall", DeliveryState::Delivered, 1, None),
            delivery("chat-room", DeliveryState::Delivered, 3, None),
            delivery(
                "mail-gateway",
                DeliveryState::Pending,
                6,
                Some("503 Service Unavailable; next try in 2 min"),
            ),
            delivery("old-pager", DeliveryState::Refused, 1, Some("401 Unauthorized")),
        ],
    }
}
