//! What a repeated probe comes to: how many runs failed and why, and percentiles of its value.

use super::super::palette::Mark;
use super::super::table::{Column, name, render};
use super::Series;
use crate::api::json::ProbeSummary;
use crate::base::duration::humane;
use crate::model::probe::ProbeRun;
use comfy_table::Cell;
use std::collections::BTreeMap;
use std::time::Duration;

/// The values of a probe's runs, in order. Runs without one have failed before they had it.
struct Values(Vec<u64>);

/// A row a probe.
pub(super) fn table(all: &[Series<'_>]) -> String {
    let columns = [
        Column::Name("probe"),
        Column::Right("runs"),
        Column::Right("failed"),
        Column::Right("p50"),
        Column::Right("p95"),
        Column::Right("max"),
        Column::Text("why"),
    ];
    let rows = all.iter().map(|series| {
        let values = Values::of(&series.runs);
        let shown = |ns: Option<u64>| {
            ns.map_or_else(|| "–".to_owned(), |ns| humane(Duration::from_nanos(ns)))
        };
        let failed = series.failed().count();
        let mark = if failed == 0 { Mark::Good } else { Mark::Bad };
        let why: Vec<String> =
            reasons(series).into_iter().map(|(why, times)| format!("{times} {why}")).collect();
        vec![
            mark.cell(&name(&series.probe.title())),
            Cell::new(series.runs.len()),
            Cell::new(failed),
            Cell::new(shown(values.percentile(50))),
            Cell::new(shown(values.percentile(95))),
            Cell::new(shown(values.percentile(100))),
            Cell::new(why.join(", ")),
        ]
    });
    render(&columns, rows)
}

/// The same for machines.
pub(super) fn summary(series: &Series<'_>) -> ProbeSummary {
    let values = Values::of(&series.runs);
    ProbeSummary {
        probe: series.probe.name.clone(),
        target: series.probe.instance().map(|instance| instance.text().to_owned()),
        runs: series.runs.len(),
        failed: series.failed().count(),
        failure_reasons: reasons(series),
        latency_ns: [50, 95, 100].map(|percent| values.percentile(percent)),
    }
}

fn reasons(series: &Series<'_>) -> BTreeMap<&'static str, usize> {
    let mut times = BTreeMap::new();
    for failure in series.failed().filter_map(|run| run.failure.as_ref()) {
        *times.entry(failure.reason.as_str()).or_default() += 1;
    }
    times
}

// === impl Values ===

impl Values {
    fn of(runs: &[ProbeRun]) -> Self {
        let mut values: Vec<u64> = runs.iter().filter_map(|run| run.latency_ns).collect();
        values.sort_unstable();
        Self(values)
    }

    /// By nearest rank: a value that was measured, never one between two.
    fn percentile(&self, percent: usize) -> Option<u64> {
        let rank = (self.0.len() * percent).div_ceil(100);
        self.0.get(rank.max(1) - 1).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guarantees percentiles by nearest rank, and none of nothing.
    #[test]
    fn percentiles_are_measured_values() {
        let check = |values: Vec<u64>, expected: [Option<u64>; 3]| {
            let values = Values(values);
            assert_eq!([50, 95, 100].map(|percent| values.percentile(percent)), expected);
        };
        check(vec![], [None; 3]);
        check(vec![7], [Some(7); 3]);
        check((1..=100).collect(), [Some(50), Some(95), Some(100)]);
        check(vec![1, 2, 9], [Some(2), Some(9), Some(9)]);
    }
}
