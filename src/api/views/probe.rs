//! A probe's card and its page.

use super::Surroundings;
use super::series::{Grid, HOUR, Reader, RunCounts, quantile_ns};
use crate::alert::Core;
use crate::api::page::differing;
use crate::api::page::view::{
    CellState, HeatColumn, ProbePage, ProbeView, QuantilePoint, StripCell,
};
use crate::base::clock::UnixNanos;
use crate::model::histogram::ExpHistogram;
use crate::model::labels::Labels;
use crate::model::objective::{Indicator, IndicatorId};
use crate::model::probe::ProbeRun;
use crate::model::series::Past;
use crate::probe::instances;
use std::collections::VecDeque;
use std::sync::Arc;

/// Cells of the strip to a column of the heatmap.
const CELLS_PER_COLUMN: u32 = 3;

/// `/probes/{name}`; none when no probe of that name is scheduled.
#[must_use]
pub fn probe(
    core: &Core,
    history: &dyn Past,
    around: &Surroundings,
    name: &str,
    now: UnixNanos,
) -> Option<ProbePage> {
    let schedule = around.schedules.get(name)?;
    let reader = Reader { core, history };
    let evidence = core.store.evidence.probes.get(name);
    let newest_first = |runs: Option<&VecDeque<Arc<ProbeRun>>>| {
        runs.into_iter().flatten().rev().map(|run| ProbeRun::clone(run)).collect()
    };
    let grid = reader.grid(name, now);
    let quantiles = reader.latencies(name, grid);
    let slos = core.policy.slos.iter().filter(|slo| slo.probe() == Some(name));
    Some(ProbePage {
        now,
        version: around.version.clone(),
        probe: card(reader, name, schedule, now),
        slos: slos.map(|slo| slo.name.clone()).collect(),
        runs: newest_first(evidence.map(|kept| &kept.runs)),
        failed: newest_first(evidence.map(|kept| &kept.failed)),
        quantiles: quantiles.iter().map(quantile_point).collect(),
        heatmap: heatmap(reader, name, Grid { step: grid.step * CELLS_PER_COLUMN, ..grid }),
        calibration: around.calibration.clone(),
        span: grid.span(),
    })
}

/// The card of a probe, also before its first run.
pub(super) fn card(reader: Reader<'_>, name: &str, schedule: &str, now: UnixNanos) -> ProbeView {
    let evidence = reader.core.store.evidence.probes.get(name);
    let last = evidence.and_then(|kept| kept.runs.back()).map(|run| ProbeRun::clone(run));
    let hour = reader.latencies(name, Grid::last(now, HOUR, HOUR));
    let hour = hour.first();
    let threshold = strictest_threshold(reader.core, name);
    let grid = reader.grid(name, now);
    let kept = evidence.into_iter().flat_map(|kept| &kept.runs);
    ProbeView {
        name: name.to_owned(),
        protocol: last.as_ref().map(protocol).unwrap_or_default(),
        target: last.as_ref().and_then(target).unwrap_or_default(),
        schedule: schedule.to_owned(),
        maintenance: reader.core.policy.rest_of(name, now).window,
        differing: differing(kept.map(|run| &**run)),
        labels: evidence.map(|kept| own_labels(&kept.runs)).unwrap_or_default(),
        p50_ns: hour.and_then(|latencies| quantile_ns(latencies, 0.5)),
        p95_ns: hour.and_then(|latencies| quantile_ns(latencies, 0.95)),
        under_ns: threshold.map(|(under_ns, _)| under_ns),
        strip: strip(reader, name, threshold.map(|(_, indicator)| indicator), grid),
        strip_step: grid.cell_span(),
        last,
    }
}

/// The labels of the newest run; of a probe with several instances, those that all of them have.
fn own_labels(runs: &VecDeque<Arc<ProbeRun>>) -> Labels {
    let Some(last) = runs.back() else { return Labels::default() };
    if instances::of(&last.labels).is_none() {
        return last.labels.clone();
    }
    let all_have =
        |name: &str, value: &str| runs.iter().all(|run| run.labels.get(name) == Some(value));
    let own = |(name, value): &(&str, &str)| !instances::is_own(name) && all_have(name, value);
    Labels::new(last.labels.iter().filter(own))
}

/// The protocols of a run's steps, each once; waiting for a message is none of its own.
fn protocol(run: &ProbeRun) -> String {
    let mut protocols: Vec<&str> = Vec::new();
    for step in &run.steps {
        if step.protocol != "expect" && !protocols.contains(&step.protocol.as_str()) {
            protocols.push(&step.protocol);
        }
    }
    protocols.join("+")
}

fn target(run: &ProbeRun) -> Option<String> {
    run.steps.iter().map(|step| &step.target).find(|target| !target.is_empty()).cloned()
}

/// The lowest threshold on whole runs of a probe, and its indicator. Thresholds on phases do not
/// compare with a run's value.
fn strictest_threshold(core: &Core, name: &str) -> Option<(u64, IndicatorId)> {
    let on_probe = core.policy.slos.iter().filter(|slo| slo.probe() == Some(name));
    let thresholds = on_probe.filter_map(|slo| match &slo.indicator {
        Indicator::Latency { under_ns, phase: None, .. } => Some((*under_ns, slo.indicator.id())),
        _ => None,
    });
    thresholds.min()
}

fn strip(
    reader: Reader<'_>,
    name: &str,
    indicator: Option<IndicatorId>,
    grid: Grid,
) -> Vec<StripCell> {
    let runs = reader.runs(name, grid);
    let mut bad = vec![0_u32; grid.cells()];
    let counts = indicator.and_then(|id| reader.core.store.counts.get(id));
    for (slot, counts) in counts.map(|c| c.fine(grid.from, grid.to)).unwrap_or_default() {
        if let Some(cell) = grid.cell(slot).and_then(|at| bad.get_mut(at)) {
            *cell = cell.saturating_add(u32::try_from(counts.bad).unwrap_or(u32::MAX));
        }
    }
    // Every failed run is bad, too: what is bad beyond them was too slow.
    let slow = |counts: &RunCounts, bad: u32| {
        bad.saturating_sub(counts.failed).min(counts.runs.saturating_sub(counts.failed))
    };
    runs.iter().zip(bad).map(|(counts, bad)| strip_cell(*counts, slow(counts, bad))).collect()
}

fn strip_cell(counts: RunCounts, slow: u32) -> StripCell {
    let state = match (counts.runs, counts.failed, slow) {
        (0, ..) => CellState::NoData,
        (_, 0, 0) => CellState::Good,
        (_, 0, _) => CellState::Slow,
        _ => CellState::Failed,
    };
    StripCell { state, runs: counts.runs, failed: counts.failed, slow, missed: counts.missed }
}

fn heatmap(reader: Reader<'_>, name: &str, grid: Grid) -> Vec<HeatColumn> {
    let runs = reader.runs(name, grid);
    let columns = reader.latencies(name, grid).into_iter().zip(runs);
    columns
        .map(|(latencies, runs)| HeatColumn { latencies, failed: runs.without_latency })
        .collect()
}

fn quantile_point(latencies: &ExpHistogram) -> QuantilePoint {
    QuantilePoint { p50_ns: quantile_ns(latencies, 0.5), p95_ns: quantile_ns(latencies, 0.95) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guarantees that a probe's own labels are those of its newest run, and of several instances what
    /// they have in common.
    #[test]
    fn instances_share_a_probes_labels() {
        let check = |runs: &[&[(&str, &str)]], expected: &str| {
            let run = |labels: &&[(&str, &str)]| {
                let labels = Labels::new(labels.iter().copied());
                Arc::new(ProbeRun { labels, ..ProbeRun::default() })
            };
            assert_eq!(own_labels(&runs.iter().map(run).collect()).to_string(), expected);
        };
        check(&[], "{}");
        check(&[&[("a", "1")], &[("a", "2")]], r#"{a="2"}"#);
        let blue = [("a", "1"), ("target", "x"), ("zone", "blue")];
        let green = [("a", "1"), ("target", "y"), ("zone", "green")];
        check(&[&blue, &green], r#"{a="1"}"#);
        check(&[&blue], r#"{a="1", zone="blue"}"#);
    }
}
