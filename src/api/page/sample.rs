//! A full view for tests and for looking at: twelve SLOs, twelve probes, a bad night.

use super::view::*;
use crate::base::clock::UnixNanos;
use crate::model::alert::{AlertState, Cause, Incident};
use crate::model::evidence::SpanEvidence;
use crate::model::histogram::ExpHistogram;
use crate::model::labels::Labels;
use crate::model::objective::Severity;
use crate::model::probe::{
    CheckResult, Failure, FailureReason, Outcome, Phase, PhaseTiming, ProbeRun, RunId, StepResult,
};
use std::time::Duration;

pub(super) const NOW: UnixNanos = UnixNanos(1_772_333_645_000_000_000);
const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);
const MS: u64 = 1_000_000;

/// Even noise, 0..1, the same every time.
fn noise(seed: u64) -> f64 {
    let mut x = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d;
    x ^= x >> 31;
    x = x.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x ^= x >> 29;
    (x % 10_000) as f64 / 10_000.0
}

/// The home page with everything on it.
pub(super) fn big() -> PageView {
    PageView {
        now: NOW,
        version: "0.1.0".to_owned(),
        readiness: Readiness::Ready,
        freshness: Freshness {
            evaluated_at: Some(NOW.minus(Duration::from_secs(3))),
            sources: vec![source("probes", 2), source("phones", 14)],
            degraded: None,
        },
        config_problem: None,
        firing: vec![page(), ticket()],
        budgets: budgets(),
        probes: (0..12).map(probe).collect(),
        phones: Some(phones()),
        changes: changes(),
        endpoints: endpoints(),
    }
}

fn source(name: &str, seconds: u64) -> SourceFreshness {
    let newest = Some(NOW.minus(Duration::from_secs(seconds)));
    SourceFreshness { name: name.to_owned(), newest, stale: false }
}

pub(super) fn endpoints() -> Endpoints {
    Endpoints {
        http: Some("http://127.0.0.1:4318".to_owned()),
        grpc: Some("http://127.0.0.1:4317".to_owned()),
    }
}

fn factor(values: &[(&str, &str)], share_of_bad: f64, share_of_traffic: f64) -> Factor {
    let values = values.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    Factor { values, share_of_bad, share_of_traffic }
}

pub(super) fn factors() -> Vec<Factor> {
    vec![
        factor(
            &[("service.version", "4.2.0"), ("network.connection.type", "cellular")],
            0.93,
            0.06,
        ),
        factor(&[("region", "eu-south")], 0.41, 0.18),
    ]
}

fn page() -> FiringView {
    FiringView {
        incident: "018f2a6c-91d3".to_owned(),
        name: "send-message-on-phones".to_owned(),
        is_slo: true,
        severity: Severity::Page,
        state: AlertState::Firing,
        summary: "send-message-on-phones burns 18x since 02:14; app 4.2.0 on cellular explains 93 % of it with 6 % of the traffic; 41 % of the budget left, gone in 9 h".to_owned(),
        since: NOW.minus(MINUTE * 40),
        owner: Some("messaging".to_owned()),
        runbook: Some("https://wiki.example.com/runbooks/send-message".to_owned()),
        affected: Some("app 4.2.0 on cellular".to_owned()),
        explanation: factors(),
        budget_left: Some(0.41),
        exhaustion: Exhaustion::In(Duration::from_secs(9 * 3_600 + 1_260)),
        burn: Some(18.1),
        pair: Some("1h/5m".to_owned()),
        recent: (0..72)
            .map(|at| {
                let dip = if at > 58 { 0.16 + 0.03 * noise(at) } else { 0.004 * noise(at) };
                Some(1.0 - dip)
            })
            .collect(),
        recent_span: Duration::from_secs(4 * 3_600),
        objective: Some(0.99),
        acknowledged: Some(("ann".to_owned(), NOW.minus(MINUTE * 12))),
        silenced: None,
        frozen_since: None,
        told: vec!["oncall".to_owned(), "chat-room".to_owned()],
        not_told: vec!["mail-gateway".to_owned()],
    }
}

fn ticket() -> FiringView {
    FiringView {
        incident: "018f2a11-77c0".to_owned(),
        name: "feed-freshness".to_owned(),
        severity: Severity::Ticket,
        state: AlertState::Frozen,
        summary: "feed-freshness burns 3.4x since yesterday evening; no dimension explains it; 12 % of the budget left".to_owned(),
        since: NOW.minus(MINUTE * 520),
        owner: Some("feeds".to_owned()),
        runbook: Some("see the red folder".to_owned()),
        affected: None,
        explanation: Vec::new(),
        budget_left: Some(0.12),
        exhaustion: Exhaustion::In(DAY * 2),
        burn: Some(3.4),
        pair: Some("1d/2h".to_owned()),
        recent: Vec::new(),
        acknowledged: None,
        silenced: Some(SilencedView {
            by: "bob".to_owned(),
            comment: "vendor maintenance".to_owned(),
            until: NOW.plus(MINUTE * 95),
        }),
        frozen_since: Some(NOW.minus(MINUTE * 6)),
        told: vec!["tickets".to_owned()],
        not_told: Vec::new(),
        ..page()
    }
}

/// Name, indicator, objective, left, verdict, owner.
type Row = (&'static str, &'static str, f64, Option<f64>, BudgetVerdict, &'static str);

const ROWS: [Row; 12] = [
    (
        "chat-echo-fast",
        "latency of probe chat-echo under 100ms",
        0.999,
        Some(0.87),
        BudgetVerdict::Healthy,
        "messaging",
    ),
    (
        "chat-up",
        "availability of probe chat-echo",
        0.999,
        Some(0.94),
        BudgetVerdict::Healthy,
        "messaging",
    ),
    (
        "send-message-on-phones",
        "latency of POST /rooms/{id}/messages under 300ms",
        0.99,
        Some(0.41),
        BudgetVerdict::Burning(Severity::Page),
        "messaging",
    ),
    (
        "crash-ratio",
        "ratio of app.crash to session.start",
        0.995,
        Some(-0.32),
        BudgetVerdict::Exhausted,
        "mobile",
    ),
    (
        "feed-freshness",
        "latency of probe feed-sse under 2s",
        0.99,
        Some(0.12),
        BudgetVerdict::Burning(Severity::Ticket),
        "feeds",
    ),
    (
        "room-delivery",
        "latency of probe room-delivery under 100ms",
        0.999,
        Some(0.71),
        BudgetVerdict::Healthy,
        "messaging",
    ),
    (
        "presence-fast",
        "latency of probe presence under 250ms",
        0.995,
        Some(0.99),
        BudgetVerdict::Healthy,
        "presence",
    ),
    (
        "cold-start",
        "latency of span app.start under 2s",
        0.95,
        Some(0.64),
        BudgetVerdict::Healthy,
        "mobile",
    ),
    (
        "login-on-phones",
        "latency of POST /login under 800ms",
        0.99,
        Some(0.78),
        BudgetVerdict::Healthy,
        "identity",
    ),
    (
        "media-upload",
        "availability of POST /media",
        0.98,
        Some(0.55),
        BudgetVerdict::Healthy,
        "media",
    ),
    (
        "typing-indicator",
        "latency of probe typing under 150ms",
        0.99,
        None,
        BudgetVerdict::NoData,
        "presence",
    ),
    (
        "reconnect-ratio",
        "ratio of ws.reconnect to session.start",
        0.9995,
        Some(0.83),
        BudgetVerdict::Healthy,
        "mobile",
    ),
];

pub(super) fn budgets() -> Vec<BudgetView> {
    ROWS.iter().enumerate().map(|(at, row)| budget(at, *row)).collect()
}

fn budget(at: usize, (name, indicator, objective, left, verdict, owner): Row) -> BudgetView {
    let total = if left.is_some() { 259_200 + at as u64 * 31_337 } else { 0 };
    let bad = left.map_or(0.0, |left| (1.0 - left) * (1.0 - objective) * total as f64);
    let start = (left.unwrap_or(0.5) + 0.25).min(1.0);
    let line = (0..120)
        .map(|step| {
            let progress = f64::from(step) / 119.0;
            let knee = if matches!(verdict, BudgetVerdict::Burning(_) | BudgetVerdict::Exhausted) {
                ((progress - 0.9).max(0.0) * 10.0).powi(2)
            } else {
                progress
            };
            let wobble = 0.03 * noise(at as u64 * 1_000 + step as u64) * (1.0 - progress);
            let gap = at == 7 && (40..48).contains(&step);
            left.filter(|_| !gap).map(|left| start + (left - start) * knee - wobble)
        })
        .collect();
    let hot = |severity| verdict == BudgetVerdict::Burning(severity);
    let rates = match verdict {
        BudgetVerdict::Burning(Severity::Page) => [18.1, 7.4, 2.2, 1.1],
        BudgetVerdict::Burning(Severity::Ticket) => [2.9, 3.1, 3.4, 1.6],
        BudgetVerdict::Exhausted => [0.2, 0.4, 0.9, 1.4],
        _ => [0.0, 0.18, 0.42, 0.31].map(|rate| rate * (1.0 + at as f64 / 9.0)),
    };
    let pairs = [(1, 5, 0.02, 14.4), (6, 30, 0.05, 6.0), (24, 120, 0.1, 3.0), (72, 360, 0.1, 1.0)];
    let burn = pairs
        .iter()
        .zip(rates)
        .enumerate()
        .map(|(place, ((long, short, budget, factor), rate))| {
            let severity = if place < 2 { Severity::Page } else { Severity::Ticket };
            BurnView {
                long: MINUTE * 60 * *long,
                short: MINUTE * *short,
                severity,
                budget: *budget,
                factor: *factor,
                long_rate: left.map(|_| rate),
                short_rate: left.map(|_| rate * 1.1),
                bad: (rate * 3.0) as u64,
                total: u64::from(*long) * 360,
                significant: rate > 1.2,
                firing: hot(severity) && rate >= *factor,
            }
        })
        .collect();
    BudgetView {
        name: name.to_owned(),
        owner: Some(owner.to_owned()),
        description: Some("What people wait for when they press send.".to_owned()),
        indicator: indicator.to_owned(),
        objective,
        window: DAY * 30,
        counted_since: (at == 9).then(|| NOW.minus(DAY * 4)),
        good: total - bad as u64,
        total,
        left_out: 3,
        left,
        line,
        burn,
        exhaustion: match (verdict, left) {
            (BudgetVerdict::Exhausted, _) => Exhaustion::Gone,
            (BudgetVerdict::Burning(_), _) => Exhaustion::In(Duration::from_secs(33_660)),
            (_, None) => Exhaustion::Unknown,
            _ => Exhaustion::Never,
        },
        verdict,
        missing_since: left.is_none().then(|| NOW.minus(MINUTE * 21)),
    }
}

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

pub(super) fn probe(at: usize) -> ProbeView {
    let (name, protocol, target, every) = PROBES[at % PROBES.len()];
    let fails = at == 2;
    ProbeView {
        name: name.to_owned(),
        protocol: protocol.to_owned(),
        target: target.to_owned(),
        schedule: format!("{every}s"),
        labels: Labels::new([("region", "eu-west"), ("feature", "chat")]),
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
            StripCell { state, runs, failed, slow }
        })
        .collect()
}

/// A run; with one step, or three for the delivery probe.
pub(super) fn run(at: usize, back: u64, fails: bool) -> ProbeRun {
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
        labels: Labels::new([("region", "eu-west")]),
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
        failure,
        span_id: [1, 2, 3, 4, 5, 6, 7, place as u8],
    }
}

pub(super) fn phones() -> PhonesView {
    PhonesView {
        apps: vec![
            PhoneApp {
                name: "chat-android".to_owned(),
                newest: Some(NOW.minus(Duration::from_secs(14))),
                received: 1_204_033,
                dropped: 212,
            },
            PhoneApp {
                name: "chat-ios".to_owned(),
                newest: Some(NOW.minus(Duration::from_secs(15))),
                received: 870_118,
                dropped: 0,
            },
        ],
        slos: vec![phone_slo("send-message-on-phones", 0.99), phone_slo("login-on-phones", 0.95)],
    }
}

fn phone_slo(name: &str, objective: f64) -> PhoneSlo {
    PhoneSlo { name: name.to_owned(), objective, over: MINUTE * 60, matrices: matrices() }
}

pub(super) fn matrices() -> Vec<MatrixView> {
    let matrix = |column_dimension: &str, columns: &[&str]| MatrixView {
        row_dimension: "service.version".to_owned(),
        column_dimension: column_dimension.to_owned(),
        columns: columns.iter().map(|column| (*column).to_owned()).collect(),
        rows: ["4.2.0", "4.1.3", "4.1.2", "4.0.9"]
            .iter()
            .enumerate()
            .map(|(row, version)| {
                let cells = (0..columns.len()).map(|column| {
                    let seed = (row * 10 + column) as u64;
                    let total = [2_310, 18_400, 7_912, 38][row] / (column as u64 + 1);
                    let bad = match (row, column) {
                        (0, 1) => 0.17,
                        (0, 0) => 0.021,
                        _ => 0.007 * noise(seed),
                    };
                    let good = total - (bad * total as f64) as u64;
                    (!(row == 3 && column == 2)).then_some(MatrixCell { good, total })
                });
                ((*version).to_owned(), cells.collect())
            })
            .collect(),
    };
    vec![
        matrix("network.connection.type", &["wifi", "cellular", ""]),
        matrix("region", &["eu-west", "eu-south", "us-east", "ap-south"]),
    ]
}

pub(super) fn changes() -> Vec<ChangeView> {
    let change = |minutes: u32, kind, text: &str, link: Option<&str>| ChangeView {
        at: NOW.minus(MINUTE * minutes),
        kind,
        text: text.to_owned(),
        link: link.map(str::to_owned),
    };
    vec![
        change(
            6,
            ChangeKind::Frozen,
            "feed-freshness: no run of feed-sse for 3 intervals",
            Some("/incidents/018f2a11-77c0"),
        ),
        change(
            12,
            ChangeKind::Acknowledged,
            "send-message-on-phones, by ann",
            Some("/incidents/018f2a6c-91d3"),
        ),
        change(
            40,
            ChangeKind::Fired,
            "send-message-on-phones pages: 1h/5m burns 18x",
            Some("/incidents/018f2a6c-91d3"),
        ),
        change(
            47,
            ChangeKind::Release,
            "chat-android 4.2.0 seen for the first time",
            Some("/#phones"),
        ),
        change(
            63,
            ChangeKind::LateData,
            "212 events of a phone that was offline for 6 h; crash-ratio lost 0.4 %",
            Some("/slos/crash-ratio#late"),
        ),
        change(
            180,
            ChangeKind::Silence,
            "feed-freshness until 04:29 by bob: vendor maintenance",
            None,
        ),
        change(
            310,
            ChangeKind::Reload,
            "alerts/feeds.yaml: objective of feed-freshness 99.5% to 99%",
            None,
        ),
        change(
            520,
            ChangeKind::Fired,
            "feed-freshness opens a ticket: 1d/2h burns 3.4x",
            Some("/incidents/018f2a11-77c0"),
        ),
        change(
            1_500,
            ChangeKind::Resolved,
            "room-delivery resolved after 14 min",
            Some("/incidents/018f1c02-0001"),
        ),
        change(2_880, ChangeKind::Started, "version 0.1.0, journal read in 2.1 s", None),
    ]
}

/// The page of a run.
pub(super) fn run_view(fails: bool) -> RunView {
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

/// The page of a probe.
pub(super) fn probe_page() -> ProbePage {
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
        runs: (0..100).map(|back| run(1, back, back % 33 == 7)).collect(),
        failed: (0..4).map(|back| run(1, back * 33 + 7, true)).collect(),
        quantiles: heatmap
            .iter()
            .map(|c| QuantilePoint { p50_ns: quantile(c, 0.5), p95_ns: quantile(c, 0.95) })
            .collect(),
        heatmap,
        span: DAY,
    }
}

/// The page of an SLO.
pub(super) fn slo_page() -> SloPage {
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
pub(super) fn incident_view() -> IncidentView {
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
            key: crate::model::alert::AlertKey {
                name: "send-message-on-phones".to_owned(),
                severity: Severity::Page,
            },
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
            entry(40, ChangeKind::Fired, "1h/5m burns 18x, fires at 14x"),
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
