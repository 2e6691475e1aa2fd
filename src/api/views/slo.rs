//! An SLO's page: its budget, and why it is as it is.

use super::{Surroundings, budget, explained, phones, run, slo_named};
use crate::aggregate::probes::Verdict;
use crate::alert::Core;
use crate::api::page::view::{IncidentRow, LateRow, SloPage};
use crate::base::clock::UnixNanos;
use crate::model::alert::Incident;
use crate::model::evidence::SpanEvidence;
use crate::model::objective::{IndicatorId, Slo};
use crate::model::probe::ProbeRun;
use std::cmp::Reverse;
use std::time::Duration;

/// Spans, runs, incidents and late rows that are shown, each.
const MAX_ROWS: usize = 50;

/// `/slos/{name}`; none when no SLO of that name is in force.
#[must_use]
pub fn slo(core: &Core, around: &Surroundings, name: &str, now: UnixNanos) -> Option<SloPage> {
    let slo = slo_named(core, name)?;
    let id = slo.indicator.id();
    let explanation = explained::explanation(core, slo, explained_window(core, slo, now), now);
    Some(SloPage {
        now,
        version: around.version.clone(),
        readiness: around.readiness(),
        budget: budget::view(core, slo, now),
        runbook: slo.runbook.clone(),
        indicator_id: format!("{id:?}"),
        probe: slo.probe().map(str::to_owned),
        explanation: explanation.as_ref().map(|explanation| explanation.sentence()),
        factors: explanation.iter().map(explained::factor).collect(),
        matrices: phones::matrices(core, slo, now),
        matrices_over: phones::OVER,
        spans: worst_spans(core, id),
        runs: bad_runs(core, slo),
        incidents: incidents(core, name),
        late: late(core, id),
    })
}

/// The long window of the pair that burns, else of the shortest.
fn explained_window(core: &Core, slo: &std::sync::Arc<Slo>, now: UnixNanos) -> Duration {
    let status = budget::status(core, slo, now);
    let burning = status.as_ref().and_then(|status| status.burning()).map(|pair| pair.pair.long);
    burning.or_else(|| slo.burn.iter().map(|pair| pair.long).min()).unwrap_or(phones::OVER)
}

fn worst_spans(core: &Core, id: IndicatorId) -> Vec<SpanEvidence> {
    let Some(evidence) = core.store.evidence.phones.get(&id) else { return Vec::new() };
    let mut spans: Vec<SpanEvidence> =
        evidence.worst.values().rev().flatten().take(MAX_ROWS).cloned().collect();
    spans.sort_by_key(|span| Reverse(span.at));
    spans
}

fn bad_runs(core: &Core, slo: &Slo) -> Vec<ProbeRun> {
    let evidence = slo.probe().and_then(|probe| core.store.evidence.probes.get(probe));
    let Some(evidence) = evidence else { return Vec::new() };
    let kept = evidence.runs.iter().chain(&evidence.failed);
    let mut bad: Vec<&std::sync::Arc<ProbeRun>> =
        kept.filter(|run| run::verdict_of(core, slo, run) == Some(Verdict::Bad)).collect();
    bad.sort_by_key(|run| Reverse((run.intended_start, run.id)));
    bad.dedup_by_key(|run| run.id);
    bad.into_iter().take(MAX_ROWS).map(|run| ProbeRun::clone(run)).collect()
}

fn incidents(core: &Core, name: &str) -> Vec<IncidentRow> {
    let all = core.book.all_active().chain(core.book.all_ended());
    let concerns = |incident: &&Incident| {
        incident.key.name == name || incident.labels.get("slo") == Some(name)
    };
    let mut rows: Vec<IncidentRow> = all.filter(concerns).map(row).collect();
    rows.sort_by_key(|row| Reverse(row.started_at));
    rows.truncate(MAX_ROWS);
    rows
}

fn row(incident: &Incident) -> IncidentRow {
    IncidentRow {
        id: incident.id.clone(),
        severity: incident.key.severity,
        started_at: incident.started_at,
        ended_at: incident.ended_at,
        summary: incident.annotations.get("summary").unwrap_or(&incident.key.name).to_owned(),
    }
}

fn late(core: &Core, id: IndicatorId) -> Vec<LateRow> {
    let lines = core.store.late.iter().rev().filter(|(key, _)| key.indicator == id);
    let row =
        |(key, counts): (&crate::store::late::LateKey, &crate::model::slot::GoodTotal)| LateRow {
            at: key.received_hour.start(),
            oldest: key.event_hour.start(),
            total: counts.total,
            bad: counts.bad,
        };
    lines.take(MAX_ROWS).map(row).collect()
}
