//! Alerts that fire or are frozen.

use super::series::Grid;
use super::{budget, explained, owner, runbook, slo_named};
use crate::alert::Core;
use crate::alert::budget::{PairStatus, SloStatus};
use crate::alert::summary::{sentence, why};
use crate::api::page::view::{Exhaustion, FiringView, SilencedView};
use crate::base::clock::UnixNanos;
use crate::model::alert::{AlertState, Incident};
use crate::model::notification::NotificationKind;
use crate::model::slot::{GoodTotal, Slot, slots_in};
use std::time::Duration;

/// Points of the line of good events.
const RECENT_POINTS: u32 = 48;
/// Slots that it covers at the most, four hours, and at the least, two minutes.
const RECENT_SLOTS: std::ops::RangeInclusive<u32> = 12..=1_440;

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
    let (recent, recent_span) =
        status.as_ref().map(|status| recent(core, status, now)).unwrap_or_default();
    FiringView {
        incident: incident.id.clone(),
        name: incident.key.name.clone(),
        is_slo: slo_named(core, &incident.key.name).is_some(),
        severity: incident.key.severity,
        state: incident.state,
        summary: summary(core, incident, now),
        since: incident.started_at,
        owner: owner(core, incident),
        runbook: runbook(core, incident),
        affected: explanation.as_ref().map(explained::affected),
        explanation: explanation.iter().map(explained::factor).collect(),
        budget_left: status.as_ref().and_then(budget::left),
        exhaustion: status.as_ref().map_or(Exhaustion::Unknown, budget::exhaustion),
        burn: pair.map(|pair| pair.long.burn),
        pair: pair.map(|pair| pair.pair.name()),
        recent,
        recent_span,
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

/// What is wrong, in a sentence. With the figures of now while it fires, since they stand beside those of
/// now; in the words of the last notification otherwise.
pub(in crate::api) fn summary(core: &Core, incident: &Incident, now: UnixNanos) -> String {
    let then = || incident.annotations.get("summary").unwrap_or(&incident.key.name).to_owned();
    let slo = slo_named(core, &incident.key.name);
    let status = slo.and_then(|slo| budget::status(core, slo, now));
    let (AlertState::Firing, Some(status)) = (incident.state, status) else { return then() };
    let Some(pair) = pair_of(incident, &status) else { return then() };
    let explanation = explained::explanation(core, &status.slo, pair.pair.long, now);
    let why = why(&status.slo, explanation.as_ref(), &core.store.evidence, now);
    sentence(&status, Some(pair), why.as_deref(), incident.started_at)
}

/// The pair that fired, as the incident says, as long as the SLO still has it.
fn pair_of<'a>(incident: &Incident, status: &'a SloStatus) -> Option<&'a PairStatus> {
    let severity = incident.key.severity;
    let fired = incident.annotations.get("burn_pair");
    let mut pairs = status.pairs.iter().filter(|pair| pair.pair.severity == severity);
    pairs.clone().find(|pair| Some(&*pair.pair.name()) == fired).or_else(|| pairs.next())
}

/// The share of good events in equal steps up to now, and how much time they cover.
fn recent(core: &Core, status: &SloStatus, now: UnixNanos) -> (Vec<Option<f64>>, Duration) {
    let slo = &status.slo;
    let Some(indicator) = core.store.counts.get(slo.indicator.id()) else {
        return (Vec::new(), Duration::ZERO);
    };
    let to = Slot::of(now).plus(1);
    let age = to.0.saturating_sub(Slot::of(status.since).0);
    let span = slots_in(slo.window).min(age).clamp(*RECENT_SLOTS.start(), *RECENT_SLOTS.end());
    let grid = Grid::ending(to, span, RECENT_POINTS);
    let mut cells = vec![GoodTotal::default(); grid.cells()];
    for (slot, counts) in indicator.fine(grid.from, grid.to) {
        if let Some(cell) = grid.cell(slot).and_then(|at| cells.get_mut(at)) {
            cell.add(counts);
        }
    }
    (cells.into_iter().map(GoodTotal::ratio).collect(), grid.span())
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
