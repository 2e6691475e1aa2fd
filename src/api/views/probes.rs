//! Probes as the page shows them: cards, a page each, single runs.

use super::Surroundings;
use crate::aggregate::{names, probes::TOTAL};
use crate::alert::Core;
use crate::api::page::view::{
    CellState, HeatColumn, ProbePage, ProbeView, QuantilePoint, RunView, SloOfRun, StripCell,
};
use crate::base::clock::UnixNanos;
use crate::model::histogram::ExpHistogram;
use crate::model::objective::{Indicator, Slo};
use crate::model::probe::{ProbeRun, RunId};
use crate::model::series::{History, SlotValue, Tier};
use crate::model::slot::Slot;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

const DAY_SLOTS: u32 = 8_640;
const HOUR_SLOTS: u32 = 360;
/// Ten minutes and half an hour.
const CELL_SLOTS: u32 = 60;
const COLUMN_SLOTS: u32 = 180;

/// A card.
pub(super) fn view(
    core: &Core,
    history: &dyn History,
    around: &Surroundings,
    name: &str,
    now: UnixNanos,
) -> ProbeView {
    let last = core.store.evidence.probes.get(name).and_then(|probe| probe.runs.back());
    let hour = latencies(core, history, name, HOUR_SLOTS, HOUR_SLOTS, now);
    let hour = hour.first().cloned().unwrap_or_default();
    let quantile = |q: f64| hour.quantile(q).map(|seconds| (seconds * 1e9) as u64);
    let steps = last.map(|run| run.steps.as_slice()).unwrap_or_default();
    let protocols: BTreeSet<&str> = steps.iter().map(|step| step.protocol.as_str()).collect();
    ProbeView {
        name: name.to_owned(),
        protocol: protocols.into_iter().collect::<Vec<_>>().join("+"),
        target: steps.first().map(|step| step.target.clone()).unwrap_or_default(),
        schedule: around.schedules.get(name).cloned().unwrap_or_default(),
        labels: last.map(|run| run.labels.clone()).unwrap_or_default(),
        last: last.map(|run| (**run).clone()),
        p50_ns: quantile(0.5),
        p95_ns: quantile(0.95),
        under_ns: slos(core, name).filter_map(threshold).min(),
        strip: strip(core, history, name, now),
        strip_step: Duration::from_secs(600),
    }
}

/// `/probes/{name}`
pub(super) fn page(
    core: &Core,
    history: &dyn History,
    around: &Surroundings,
    name: &str,
    now: UnixNanos,
) -> ProbePage {
    let columns = latencies(core, history, name, DAY_SLOTS, COLUMN_SLOTS, now);
    let point = |histogram: &ExpHistogram| QuantilePoint {
        p50_ns: histogram.quantile(0.5).map(|seconds| (seconds * 1e9) as u64),
        p95_ns: histogram.quantile(0.95).map(|seconds| (seconds * 1e9) as u64),
    };
    let kept = core.store.evidence.probes.get(name);
    let newest_first = |runs: &std::collections::VecDeque<Arc<ProbeRun>>| {
        runs.iter().rev().map(|run| (**run).clone()).collect()
    };
    ProbePage {
        now,
        version: around.version.clone(),
        probe: view(core, history, around, name, now),
        slos: slos(core, name).map(|slo| slo.name.clone()).collect(),
        runs: kept.map(|probe| newest_first(&probe.runs)).unwrap_or_default(),
        failed: kept.map(|probe| newest_first(&probe.failed)).unwrap_or_default(),
        quantiles: columns.iter().map(point).collect(),
        heatmap: columns.into_iter().map(|latencies| HeatColumn { latencies, failed: 0 }).collect(),
        span: Duration::from_secs(86_400),
    }
}

/// `/runs/{id}`
pub(super) fn run(
    core: &Core,
    around: &Surroundings,
    id: RunId,
    now: UnixNanos,
) -> Option<RunView> {
    let run = core.store.evidence.run(id)?;
    let runs = &core.store.evidence.probes.get(&run.probe)?.runs;
    let place = runs.iter().position(|known| known.id == id);
    let beside = |place: Option<usize>| place.and_then(|at| runs.get(at)).map(|run| run.id);
    let rules = core.rules.of_probe(&run.probe);
    let of_slo = |slo: &Arc<Slo>| {
        let rule = rules.iter().find(|rule| rule.indicator == slo.indicator.id());
        let good = rule.and_then(|rule| match crate::aggregate::probes::verdict(rule, run) {
            crate::aggregate::probes::Verdict::Good => Some(true),
            crate::aggregate::probes::Verdict::Bad => Some(false),
            _ => None,
        });
        SloOfRun { name: slo.name.clone(), under_ns: threshold(slo), good }
    };
    Some(RunView {
        now,
        version: around.version.clone(),
        run: (**run).clone(),
        slos: slos(core, &run.probe).map(of_slo).collect(),
        previous: beside(place.and_then(|at| at.checked_sub(1))),
        next: beside(place.map(|at| at + 1)),
    })
}

fn slos<'a>(core: &'a Core, probe: &'a str) -> impl Iterator<Item = &'a Arc<Slo>> {
    core.policy.slos.iter().filter(move |slo| slo.probe() == Some(probe))
}

fn threshold(slo: &Arc<Slo>) -> Option<u64> {
    match slo.indicator {
        Indicator::Latency { under_ns, phase: None, .. } => Some(under_ns),
        _ => None,
    }
}

/// Values of a probe over the last `span` slots, in columns of `width` slots.
fn latencies(
    core: &Core,
    history: &dyn History,
    probe: &str,
    span: u32,
    width: u32,
    now: UnixNanos,
) -> Vec<ExpHistogram> {
    let (from, to) = window(span, now);
    let mut columns = vec![ExpHistogram::default(); (span / width) as usize];
    let series = core.store.head.named(names::PROBE_DURATION).filter(|series| {
        series.key.labels.get("probe") == Some(probe)
            && series.key.labels.get("phase") == Some(TOTAL)
    });
    for series in series {
        let slots = core.store.head.read(history, Tier::OneMinute, series.key.id(), from, to);
        for (slot, value) in slots.unwrap_or_default() {
            let at = (slot.0.saturating_sub(from.0) / width) as usize;
            if let (Some(column), SlotValue::Histogram(histogram)) = (columns.get_mut(at), value) {
                column.merge(&histogram);
            }
        }
    }
    columns
}

/// The last day in cells of ten minutes.
fn strip(core: &Core, history: &dyn History, probe: &str, now: UnixNanos) -> Vec<StripCell> {
    let (from, to) = window(DAY_SLOTS, now);
    let mut cells = vec![StripCell::default(); (DAY_SLOTS / CELL_SLOTS) as usize];
    let place = |slot: Slot| (slot.0.saturating_sub(from.0) / CELL_SLOTS) as usize;
    let runs = core
        .store
        .head
        .named(names::PROBE_RUNS)
        .filter(|s| s.key.labels.get("probe") == Some(probe));
    for series in runs {
        let outcome = series.key.labels.get("outcome").unwrap_or("");
        let slots = core.store.head.read(history, Tier::OneMinute, series.key.id(), from, to);
        for (slot, value) in slots.unwrap_or_default() {
            if let (Some(cell), SlotValue::Counter(units)) = (cells.get_mut(place(slot)), value) {
                let runs = u32::try_from(units / 1_000_000_000).unwrap_or(u32::MAX);
                cell.runs += runs;
                cell.failed += if matches!(outcome, "success" | "missed") { 0 } else { runs };
            }
        }
    }
    for slo in slos(core, probe).filter(|slo| threshold(slo).is_some()) {
        let Some(counts) = core.store.counts.get(slo.indicator.id()) else { continue };
        for (slot, counts) in counts.coarse(from, to) {
            if let Some(cell) = cells.get_mut(place(slot)) {
                let bad = u32::try_from(counts.bad).unwrap_or(u32::MAX);
                cell.slow = cell.slow.max(bad.saturating_sub(cell.failed));
            }
        }
    }
    for cell in &mut cells {
        cell.state = match (cell.runs, cell.failed, cell.slow) {
            (0, ..) => CellState::NoData,
            (_, 0, 0) => CellState::Good,
            (_, 0, _) => CellState::Slow,
            _ => CellState::Failed,
        };
    }
    cells
}

/// Whole minutes, the last one that of now.
fn window(span: u32, now: UnixNanos) -> (Slot, Slot) {
    let to = Slot::of(now).align(6).plus(6);
    (to.minus(span), to)
}
