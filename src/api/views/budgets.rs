//! Budgets as the page shows them.

use super::Surroundings;
use super::phones;
use crate::alert::Core;
use crate::alert::budget::{Data, SloStatus, remaining_over_time};
use crate::alert::explain::{self, Explanation};
use crate::api::page::view::{
    BudgetVerdict, BudgetView, BurnView, Exhaustion, Factor, IncidentRow, LateRow, SloPage,
};
use crate::base::clock::UnixNanos;
use crate::base::duration::humane;
use crate::model::alert::AlertKey;
use crate::model::objective::{Indicator, Severity, Slo};
use crate::model::slot::{Slot, slots_in};
use std::time::Duration;

/// Points of the line of what is left.
const LINE_POINTS: usize = 48;

/// A row of the table.
pub(super) fn budget(core: &Core, status: &SloStatus, now: UnixNanos) -> BudgetView {
    let slo = &status.slo;
    let young = status.since > now.minus(slo.window);
    let has_data = status.data != Data::None;
    BudgetView {
        name: slo.name.clone(),
        owner: slo.owner.clone(),
        description: slo.description.clone(),
        indicator: words(slo),
        objective: slo.objective,
        window: slo.window,
        counted_since: young.then_some(status.since),
        good: status.window.good(),
        total: status.window.total,
        left_out: status.uncertain,
        left: has_data.then_some(status.remaining),
        line: line(core, slo, now),
        burn: status.pairs.iter().map(burn).collect(),
        exhaustion: exhaustion(status),
        verdict: verdict(core, status),
        missing_since: match status.data {
            Data::Missing(since) => Some(since),
            Data::None | Data::Present => None,
        },
    }
}

/// When the budget will be gone.
pub(super) fn exhaustion(status: &SloStatus) -> Exhaustion {
    if status.data == Data::None {
        return Exhaustion::Unknown;
    }
    match status.exhausted_in() {
        None => Exhaustion::Never,
        Some(left) if left.is_zero() => Exhaustion::Gone,
        Some(left) => Exhaustion::In(left),
    }
}

/// The explanation of what burns within the pair's long window.
pub(super) fn explanation(
    core: &Core,
    slo: &Slo,
    window: Duration,
    now: UnixNanos,
) -> Option<Explanation> {
    let evidence = core.store.evidence.phones.get(&slo.indicator.id())?;
    let to = Slot::of(now).plus(1);
    explain::within(evidence, to.minus(slots_in(window)), to)
}

/// An explanation as a part of the traffic.
pub(super) fn factor(explanation: &Explanation) -> Factor {
    let values = explanation.dimensions.iter();
    Factor {
        values: values.map(|(name, value)| ((*name).to_owned(), value.clone())).collect(),
        share_of_bad: explanation.excess_share,
        share_of_traffic: explanation.traffic_share,
    }
}

/// `/slos/{name}`
pub(super) fn page(
    core: &Core,
    around: &Surroundings,
    name: &str,
    now: UnixNanos,
) -> Option<SloPage> {
    let slo = core.policy.slos.iter().find(|slo| slo.name == name)?;
    let status = SloStatus::read(slo, &core.store.counts, &core.policy, now)?;
    let id = slo.indicator.id();
    let window = status.pairs.first().map_or(slo.window, |status| status.pair.long);
    let explanation = explanation(core, slo, window, now);
    let evidence = core.store.evidence.phones.get(&id);
    let incidents = core.book.all_active().chain(core.book.all_ended());
    let mut rows: Vec<IncidentRow> = incidents
        .filter(|incident| incident.key.name == name)
        .map(|incident| IncidentRow {
            id: incident.id.clone(),
            severity: incident.key.severity,
            started_at: incident.started_at,
            ended_at: incident.ended_at,
            summary: incident.annotations.get("summary").unwrap_or_default().to_owned(),
        })
        .collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.started_at));
    let late = core.store.late.iter().rev().filter(|(key, _)| key.indicator == id);
    let runs = slo.probe().and_then(|probe| core.store.evidence.probes.get(probe));
    Some(SloPage {
        now,
        version: around.version.clone(),
        readiness: super::readiness(around),
        budget: budget(core, &status, now),
        runbook: slo.runbook.clone(),
        indicator_id: format!("{id:?}"),
        probe: slo.probe().map(str::to_owned),
        explanation: explanation.as_ref().map(Explanation::sentence),
        factors: explanation.iter().map(factor).collect(),
        matrices: evidence.map(|evidence| phones::matrices(evidence, now)).unwrap_or_default(),
        matrices_over: phones::OVER,
        spans: evidence
            .map(|evidence| evidence.worst.values().rev().flatten().take(20).cloned().collect())
            .unwrap_or_default(),
        runs: runs
            .map(|probe| probe.failed.iter().rev().take(20).map(|run| (**run).clone()).collect())
            .unwrap_or_default(),
        incidents: rows,
        late: late
            .map(|(key, counts)| LateRow {
                at: key.received_hour.start(),
                oldest: key.event_hour.start(),
                total: counts.total,
                bad: counts.bad,
            })
            .take(20)
            .collect(),
    })
}

fn words(slo: &Slo) -> String {
    match &slo.indicator {
        Indicator::Latency { source, under_ns, .. } => {
            format!(
                "latency of {} under {}",
                place(source),
                humane(Duration::from_nanos(*under_ns))
            )
        }
        Indicator::Availability { source, .. } => format!("availability of {}", place(source)),
        Indicator::Ratio { bad, total } => {
            format!("{} per {}", place(&bad.source), place(&total.source))
        }
    }
}

fn place(source: &crate::model::objective::Source) -> String {
    source.to_string().replacen('=', " ", 1)
}

fn verdict(core: &Core, status: &SloStatus) -> BudgetVerdict {
    let burning = Severity::ALL.iter().find(|severity| {
        core.book
            .active(&AlertKey { name: status.slo.name.clone(), severity: **severity })
            .is_some()
    });
    match (burning, status.data) {
        (Some(severity), _) => BudgetVerdict::Burning(*severity),
        (None, Data::None | Data::Missing(_)) => BudgetVerdict::NoData,
        (None, Data::Present) if status.remaining <= 0.0 => BudgetVerdict::Exhausted,
        (None, Data::Present) => BudgetVerdict::Healthy,
    }
}

fn burn(status: &crate::alert::budget::PairStatus) -> BurnView {
    let rate = |window: crate::alert::budget::WindowStatus| {
        (window.counts.total > 0).then_some(window.burn)
    };
    BurnView {
        long: status.pair.long,
        short: status.pair.short,
        severity: status.pair.severity,
        budget: status.pair.budget,
        factor: status.factor,
        long_rate: rate(status.long),
        short_rate: rate(status.short),
        bad: status.long.counts.bad,
        total: status.long.counts.total,
        significant: status.significant,
        firing: status.holds(),
    }
}

fn line(core: &Core, slo: &Slo, now: UnixNanos) -> Vec<Option<f64>> {
    let Some(indicator) = core.store.counts.get(slo.indicator.id()) else { return Vec::new() };
    let to = Slot::of(now).plus(1);
    let from = to.minus(slots_in(slo.window)).align(crate::store::counts::COARSE_WIDTH);
    let points = remaining_over_time(slo, indicator, from, to);
    let slots = to.0.saturating_sub(from.0).max(1);
    let mut line = vec![None; LINE_POINTS];
    for (slot, left) in points {
        let at = (u64::from(slot.0 - from.0) * LINE_POINTS as u64 / u64::from(slots)) as usize;
        if let Some(point) = line.get_mut(at) {
            *point = Some(left);
        }
    }
    line
}
