//! The pages of a core that has seen one run.

use super::*;
use crate::aggregate::{PhoneSettings, Rules, probes};
use crate::alert::Policy;
use crate::api::page;
use crate::model::matcher::Where;
use crate::model::objective::{Indicator, Source, workbook_pairs};
use crate::model::probe::{ProbeRun, RunId, StepResult};
use crate::model::slot::Slot;
use crate::probe::reference::{Protocol, Sample};
use crate::store::history::MemoryHistory;
use std::time::Duration;

/// The instant of every test.
pub(in crate::api) const NOW: UnixNanos = UnixNanos(1_772_333_645_000_000_000);

/// An SLO on the probe `echo`.
pub(in crate::api) fn slo() -> Slo {
    let window = Duration::from_secs(30 * 86_400);
    Slo {
        name: "echo-fast".to_owned(),
        owner: Some("messaging".to_owned()),
        description: None,
        runbook: None,
        objective: 0.99,
        window,
        indicator: Indicator::Latency {
            source: Source::Probe("echo".to_owned()),
            filter: Where::default(),
            under_ns: 100_000_000,
            phase: None,
        },
        burn: workbook_pairs(window),
        absent_after: Duration::from_secs(600),
        labels: Default::default(),
    }
}

/// A core that knows SLOs and has folded one slow run of `echo`.
pub(in crate::api) fn core(slos: Vec<Arc<Slo>>) -> Core {
    let rules = Arc::new(Rules::new(&slos, PhoneSettings::default()));
    let probe_intervals = [("echo".to_owned(), Duration::from_secs(10))].into();
    let mut core = Core::default();
    let policy = Policy { slos, probe_intervals, ..Policy::default() };
    core.configure(Arc::new(policy), Arc::clone(&rules), NOW.minus(Duration::from_secs(3_600)));
    let run = ProbeRun {
        probe: "echo".to_owned(),
        id: RunId([7; 16]),
        intended_start: NOW.minus(Duration::from_secs(5)),
        duration_ns: 250_000_000,
        latency_ns: Some(250_000_000),
        steps: vec![StepResult {
            protocol: "http".to_owned(),
            target: "http://127.0.0.1:1/echo".to_owned(),
            ..StepResult::default()
        }],
        ..ProbeRun::default()
    };
    let _ = probes::fold(&mut core.store, &rules, run);
    core.store.counts.advance(Slot::of(NOW));
    core
}

/// Two probes, of which one never ran.
pub(in crate::api) fn around() -> Surroundings {
    let schedules = ["echo", "new"].map(|name| (name.to_owned(), "10s".to_owned())).into();
    let sample = Sample { error_ns: 110_000, stated_ns: 5, bare_error_ns: -90_000 };
    let calibration = Calibration::of(NOW, &[(Protocol::Http, vec![sample])]).map(Arc::new);
    let version = "1".to_owned();
    Surroundings { version, schedules, started_at: NOW, calibration, ..Default::default() }
}

/// Guarantees that one run shows up in every part of the home page that speaks of it, that a probe
/// without runs has a card, and that the page renders.
#[test]
fn home_shows_a_run_and_its_budget() {
    let view = home(&core(vec![Arc::new(slo())]), &MemoryHistory::new(), &around(), NOW);
    let [echo, new] = view.probes.as_slice() else { panic!("{:?}", view.probes) };
    assert_eq!((echo.protocol.as_str(), echo.under_ns), ("http", Some(100_000_000)));
    assert!(echo.p50_ns.is_some_and(|ns| ns.abs_diff(250_000_000) < 25_000_000));
    let last = echo.strip.last().copied().unwrap_or_default();
    assert_eq!((last.state, last.runs, last.slow), (view::CellState::Slow, 1, 1));
    assert_eq!((new.last.is_none(), new.strip.len()), (true, 144), "a day of nothing");
    assert_eq!((echo.strip.len(), echo.strip_step.as_secs()), (120, 10), "its life");
    let [budget] = view.budgets.as_slice() else { panic!("{:?}", view.budgets) };
    assert_eq!((budget.total, budget.good), (1, 0));
    assert_eq!((budget.line.len(), budget.line_span.as_secs()), (46, 3_680));
    assert_eq!(budget.indicator, "latency of probe echo under 100ms");
    assert!(page::render_home(&view).contains("echo-fast"));
}

/// Guarantees that the evidence pages find what the home page links to, and nothing else.
#[test]
fn evidence_pages_follow_from_home() {
    let (core, around, history) = (core(vec![Arc::new(slo())]), around(), MemoryHistory::new());
    let run = run(&core, &around, RunId([7; 16]), NOW).expect("the run is kept");
    assert_eq!(run.slos.first().and_then(|slo| slo.good), Some(false));
    let slo = super::slo(&core, &around, "echo-fast", NOW).expect("the SLO is in force");
    assert_eq!(slo.runs.len(), 1);
    assert!(page::render_slo(&slo).contains("echo-fast"));
    let probe = probe(&core, &history, &around, "echo", NOW).expect("the probe is scheduled");
    assert_eq!((probe.runs.len(), probe.heatmap.len(), probe.quantiles.len()), (1, 40, 120));
    assert!(page::render_probe(&probe).contains("echo"));
    assert!(incident(&core, &around, "none", NOW).is_none());
    assert!(!changes(&core, &around, NOW).changes.is_empty());
}
