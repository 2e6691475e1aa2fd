//! A full view for tests and for looking at: twelve SLOs, twelve probes, a bad night.

mod budgets;
mod evidence;
mod firing;
mod phones;
mod probes;
mod steps;

pub(super) use budgets::budgets;
pub(super) use evidence::{
    incident_view, missed_view, probe_page, resilience_view, run_view, slo_page,
};
pub(super) use phones::phones;
pub(super) use probes::probe;

use super::view::*;
use crate::base::clock::UnixNanos;
use crate::model::objective::Severity;
use crate::probe::reference::{Calibration, Protocol, Sample};
use std::sync::Arc;
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
        firing: vec![firing::page(), firing::ticket()],
        budgets: budgets(),
        probes: (0..12).map(probe).collect(),
        phones: Some(phones()),
        changes: changes(),
        endpoints: endpoints(),
        calibration: calibration(),
    }
}

/// What the instrument measures too much, twelve minutes ago.
fn calibration() -> Option<Arc<Calibration>> {
    let sample = |error_ns| Sample { error_ns, stated_ns: 0, bare_error_ns: error_ns * 7 / 10 };
    let samples = |slow: i64| (0..100_i64).map(|n| sample(110_000 + n * n * slow)).collect();
    let measured = [
        (Protocol::Http, samples(38)),
        (Protocol::WebSocket, samples(21)),
        (Protocol::Sse, samples(19)),
    ];
    Calibration::of(NOW.minus(MINUTE * 12), &measured).map(Arc::new)
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
            ChangeKind::Fired(Severity::Page),
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
            ChangeKind::Fired(Severity::Ticket),
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
