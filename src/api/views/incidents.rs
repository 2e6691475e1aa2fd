//! Alerts as the page shows them.

use super::Surroundings;
use super::budgets::{exhaustion, explanation, factor};
use crate::alert::Core;
use crate::alert::budget::SloStatus;
use crate::api::page::view::{
    ChangeKind, DeliveryState, DeliveryView, Exhaustion, FiringView, IncidentView, SilencedView,
    TimelineEntry,
};
use crate::base::clock::UnixNanos;
use crate::model::alert::{AlertState, Incident};
use crate::model::slot::{GoodTotal, Slot};
use std::time::Duration;

/// What a firing alert shows of the time before now.
const RECENT: Duration = Duration::from_secs(1_800);
const RECENT_CELLS: u32 = 30;

/// Alerts that are not over, pages first, then the oldest.
pub(super) fn firing(core: &Core, now: UnixNanos) -> Vec<FiringView> {
    let mut firing: Vec<FiringView> =
        core.book.all_active().map(|incident| view(core, incident, now)).collect();
    firing.sort_by_key(|view| (view.severity, view.since));
    firing
}

/// `/incidents/{id}`
pub(super) fn page(
    core: &Core,
    around: &Surroundings,
    id: &str,
    now: UnixNanos,
) -> Option<IncidentView> {
    let incident = core.book.incident(id)?;
    let view = view(core, incident, now);
    let mut timeline: Vec<TimelineEntry> = core
        .book
        .changes()
        .filter(|change| change.incident == id)
        .map(|change| TimelineEntry {
            at: change.at,
            kind: match change.to {
                AlertState::Firing => ChangeKind::Fired,
                AlertState::Frozen => ChangeKind::Frozen,
                AlertState::Resolved => ChangeKind::Resolved,
            },
            text: change.summary.clone(),
        })
        .collect();
    timeline.extend(incident.acknowledged.as_ref().map(|(by, at)| TimelineEntry {
        at: *at,
        kind: ChangeKind::Acknowledged,
        text: format!("{by} has it"),
    }));
    timeline.sort_by_key(|entry| entry.at);
    Some(IncidentView {
        now,
        version: around.version.clone(),
        incident: incident.clone(),
        name: view.name,
        is_slo: view.is_slo,
        severity: view.severity,
        owner: view.owner,
        runbook: view.runbook,
        summary: view.summary,
        factors: view.explanation,
        timeline,
        deliveries: deliveries(core, id),
    })
}

fn view(core: &Core, incident: &Incident, now: UnixNanos) -> FiringView {
    let slo = core.policy.slos.iter().find(|slo| slo.name == incident.key.name);
    let status = slo.and_then(|slo| SloStatus::read(slo, &core.store.counts, &core.policy, now));
    let note = |name: &str| incident.annotations.get(name).map(str::to_owned);
    let over = incident.state == AlertState::Resolved;
    let pair = status.as_ref().and_then(|s| s.burning().or(s.pairs.first()));
    let why = match (slo, pair) {
        (Some(slo), Some(pair)) if !over => explanation(core, slo, pair.pair.long, now),
        _ => None,
    };
    let waiting = core.book.outbox.pending().filter(|n| n.incident == incident.id);
    FiringView {
        incident: incident.id.clone(),
        name: incident.labels.get("alertname").unwrap_or(&incident.key.name).to_owned(),
        is_slo: slo.is_some(),
        severity: incident.key.severity,
        state: incident.state,
        summary: note("summary").unwrap_or_default(),
        since: incident.started_at,
        owner: incident.labels.get("owner").map(str::to_owned),
        runbook: note("runbook_url"),
        affected: why.as_ref().map(|why| {
            why.dimensions.iter().map(|(_, value)| value.as_str()).collect::<Vec<_>>().join(" on ")
        }),
        explanation: why.iter().map(factor).collect(),
        budget_left: status.as_ref().map(|status| status.remaining),
        exhaustion: status.as_ref().map_or(Exhaustion::Unknown, exhaustion),
        burn: pair.map(|pair| pair.long.burn),
        pair: note("burn_pair"),
        recent: slo.map(|slo| recent(core, slo, now)).unwrap_or_default(),
        recent_span: RECENT,
        objective: slo.map(|slo| slo.objective),
        acknowledged: incident.acknowledged.clone(),
        silenced: core.book.silenced_by(&incident.labels, now).map(|silence| SilencedView {
            by: silence.created_by.clone(),
            comment: silence.comment.clone(),
            until: silence.ends_at,
        }),
        frozen_since: incident.frozen_since,
        told: incident.notified.iter().map(|(name, _)| name.clone()).collect(),
        not_told: waiting.map(|n| n.receiver.clone()).collect(),
    }
}

fn recent(core: &Core, slo: &crate::model::objective::Slo, now: UnixNanos) -> Vec<Option<f64>> {
    let Some(indicator) = core.store.counts.get(slo.indicator.id()) else { return Vec::new() };
    let to = Slot::of(now).plus(1);
    let width = crate::model::slot::slots_in(RECENT) / RECENT_CELLS;
    let from = to.minus(width * RECENT_CELLS);
    let mut cells = vec![GoodTotal::default(); RECENT_CELLS as usize];
    for (slot, counts) in indicator.fine(from, to) {
        if let Some(cell) = cells.get_mut(((slot.0 - from.0) / width) as usize) {
            cell.add(counts);
        }
    }
    cells.into_iter().map(GoodTotal::ratio).collect()
}

fn deliveries(core: &Core, id: &str) -> Vec<DeliveryView> {
    let settled = core.book.outbox.deliveries().filter(|line| line.incident == id);
    let settled = settled.map(|line| DeliveryView {
        receiver: line.receiver.clone(),
        of: "notification".to_owned(),
        created_at: line.at,
        changed_at: line.at,
        attempts: line.attempts,
        state: match line.outcome.as_str() {
            "delivered" => DeliveryState::Delivered,
            "refused" => DeliveryState::Refused,
            _ => DeliveryState::Expired,
        },
        error: (!line.error.is_empty()).then(|| line.error.clone()),
    });
    let pending = core.book.outbox.pending().filter(|n| n.incident == id).map(|n| DeliveryView {
        receiver: n.receiver.clone(),
        of: if n.resolved { "resolved" } else { "firing" }.to_owned(),
        created_at: n.created_at,
        changed_at: n.created_at,
        attempts: 0,
        state: DeliveryState::Pending,
        error: None,
    });
    settled.chain(pending).collect()
}
