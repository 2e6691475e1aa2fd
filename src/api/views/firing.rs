//! Alerts that fire or are frozen.

use super::{budget, explained, owner, runbook, slo_named};
use crate::alert::Core;
use crate::alert::budget::{PairStatus, SloStatus};
use crate::api::page::view::{Exhaustion, FiringView, SilencedView};
use crate::base::clock::UnixNanos;
use crate::model::alert::{AlertState, Incident};
use crate::model::notification::NotificationKind;
use crate::model::objective::Slo;
use crate::model::slot::Slot;
use crate::store::counts::COARSE_WIDTH;
use std::time::Duration;

/// Points of the line of good events, five minutes each.
const RECENT_POINTS: u32 = 48;
const RECENT_SPAN: Duration = Duration::from_secs(RECENT_POINTS as u64 * 300);

/// All that fires or is frozen, worst first.
pub(super) fn all(core: &Core, now: UnixNanos) -> Vec<FiringView> {
    let mut all: Vec<FiringView> =
        core.book.all_active().map(|incident| view(core, incident, now)).collect();
    all.sort_by_key(|one| (one.severity, one.state != AlertState::Firing, one.since));
    all
}

fn view(core: &Core, incident: &Incident, now: UnixNanos) -> FiringView {
    // Figures and explanation belong to alerts of budgets, not to those about missing data.
    let status = slo_named(core, &incident.key.name).and_then(|slo| budget::status(core, slo, now));
    let pair = status.as_ref().and_then(|status| pair_of(incident, status));
    let explanation = status
        .as_ref()
        .zip(pair)
        .and_then(|(status, pair)| explained::explanation(core, &status.slo, pair.pair.long, now));
    let silence = core.book.silenced_by(&incident.labels, now);
    let (told, not_told) = told(core, incident);
    FiringView {
        incident: incident.id.clone(),
        name: incident.key.name.clone(),
        is_slo: slo_named(core, &incident.key.name).is_some(),
        severity: incident.key.severity,
        state: incident.state,
        summary: incident.annotations.get("summary").unwrap_or(&incident.key.name).to_owned(),
        since: incident.started_at,
        owner: owner(core, incident),
        runbook: runbook(core, incident),
        affected: explanation.as_ref().map(explained::affected),
        explanation: explanation.iter().map(explained::factor).collect(),
        budget_left: status.as_ref().and_then(budget::left),
        exhaustion: status.as_ref().map_or(Exhaustion::Unknown, budget::exhaustion),
        burn: pair.map(|pair| pair.long.burn),
        pair: pair.map(|pair| pair.pair.name()),
        recent: status.as_ref().map(|status| recent(core, &status.slo, now)).unwrap_or_default(),
        recent_span: RECENT_SPAN,
        objective: status.as_ref().map(|status| status.slo.objective),
        acknowledged: incident.acknowledged.clone(),
        silenced: silence.map(|silence| SilencedView {
            by: silence.created_by.clone(),
            comment: silence.comment.clone(),
            until: silence.ends_at,
        }),
        frozen_since: incident.frozen_since,
        told,
        not_told,
    }
}

/// The pair that fired, as the incident says, as long as the SLO still has it.
fn pair_of<'a>(incident: &Incident, status: &'a SloStatus) -> Option<&'a PairStatus> {
    let severity = incident.key.severity;
    let fired = incident.annotations.get("burn_pair");
    let mut pairs = status.pairs.iter().filter(|pair| pair.pair.severity == severity);
    pairs.clone().find(|pair| Some(&*pair.pair.name()) == fired).or_else(|| pairs.next())
}

/// The share of good events in steps of five minutes up to now.
fn recent(core: &Core, slo: &Slo, now: UnixNanos) -> Vec<Option<f64>> {
    let Some(indicator) = core.store.counts.get(slo.indicator.id()) else { return Vec::new() };
    let to = Slot::of(now).align(COARSE_WIDTH).plus(COARSE_WIDTH);
    let from = to.minus(RECENT_POINTS * COARSE_WIDTH);
    let mut points = vec![None; RECENT_POINTS as usize];
    for (slot, counts) in indicator.coarse(from, to) {
        let at = slot.0.saturating_sub(from.0) / COARSE_WIDTH;
        if let Some(point) = points.get_mut(at as usize) {
            *point = counts.ratio();
        }
    }
    points
}

/// Receivers that have the last notification of an incident, and those that should and do not.
fn told(core: &Core, incident: &Incident) -> (Vec<String>, Vec<String>) {
    let outbox = &core.book.outbox;
    let has_it = |receiver: &str| {
        let waits = outbox.pending().any(|due| {
            due.incident == incident.id
                && due.receiver == receiver
                && due.kind == NotificationKind::Transition
        });
        let lines = outbox.deliveries().rev();
        let mut lines =
            lines.filter(|line| line.incident == incident.id && line.receiver == receiver);
        // A delivery so old that it is forgotten went well as far as anybody knows.
        !waits && lines.next().is_none_or(|line| line.outcome == "delivered")
    };
    incident.notified.iter().map(|(receiver, _)| receiver.clone()).partition(|name| has_it(name))
}
