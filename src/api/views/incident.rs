//! An incident's page: what happened to it, and who was told.

use super::{Surroundings, budget, changes, explained, firing, owner, runbook, slo_named};
use crate::alert::Core;
use crate::alert::outbox::DeliveryLine;
use crate::api::page::view::{
    ChangeKind, DeliveryState, DeliveryView, Factor, IncidentView, TimelineEntry,
};
use crate::base::clock::UnixNanos;
use crate::model::alert::{AlertState, Incident};
use crate::model::notification::Notification;

/// `/incidents/{id}`; none when it is no longer kept.
#[must_use]
pub fn incident(
    core: &Core,
    around: &Surroundings,
    id: &str,
    now: UnixNanos,
) -> Option<IncidentView> {
    let incident = core.book.incident(id)?;
    Some(IncidentView {
        now,
        version: around.version.clone(),
        incident: incident.clone(),
        name: incident.key.name.clone(),
        is_slo: slo_named(core, &incident.key.name).is_some(),
        severity: incident.key.severity,
        owner: owner(core, incident),
        runbook: runbook(core, incident),
        summary: firing::summary(core, incident, now),
        factors: factors(core, incident, now),
        timeline: timeline(core, incident, now),
        deliveries: deliveries(core, incident),
    })
}

/// What explains it now; an incident that is over is explained by its summary alone, for the
/// evidence has moved on.
fn factors(core: &Core, incident: &Incident, now: UnixNanos) -> Vec<Factor> {
    let slo = slo_named(core, &incident.key.name).filter(|_| incident.ended_at.is_none());
    let status = slo.and_then(|slo| budget::status(core, slo, now));
    let explanation = status.and_then(|status| {
        let fired = incident.annotations.get("burn_pair");
        let pairs = &status.pairs;
        let pair = pairs.iter().find(|pair| Some(&*pair.pair.name()) == fired).or(pairs.first())?;
        explained::explanation(core, &status.slo, pair.pair.long, now)
    });
    explanation.iter().map(explained::factor).collect()
}

fn timeline(core: &Core, incident: &Incident, now: UnixNanos) -> Vec<TimelineEntry> {
    let moved = core.book.changes().filter(|change| change.incident == incident.id);
    let mut entries: Vec<TimelineEntry> = moved
        .map(|change| {
            let (kind, text) = changes::kind_and_text(change);
            TimelineEntry { at: change.at, kind, text }
        })
        .collect();
    if let Some((by, at)) = &incident.acknowledged {
        let text = format!("{by} has it");
        entries.push(TimelineEntry { at: *at, kind: ChangeKind::Acknowledged, text });
    }
    let end = incident.ended_at.unwrap_or(now);
    let concerns = core.book.silences().filter(|silence| {
        let overlaps = silence.starts_at <= end && silence.ends_at >= incident.started_at;
        overlaps && silence.matchers.iter().all(|matcher| matcher.matches(&incident.labels))
    });
    let silences = concerns.flat_map(|silence| changes::of_silence(silence, end));
    entries.extend(silences.map(|c| TimelineEntry { at: c.at, kind: c.kind, text: c.text }));
    entries.sort_by_key(|entry| entry.at);
    entries
}

fn deliveries(core: &Core, incident: &Incident) -> Vec<DeliveryView> {
    let outbox = &core.book.outbox;
    let settled = outbox.deliveries().filter(|line| line.incident == incident.id);
    let due = outbox.pending().filter(|due| due.incident == incident.id);
    let mut all: Vec<DeliveryView> =
        settled.map(|line| settled_view(core, incident, line)).chain(due.map(due_view)).collect();
    all.sort_by_key(|delivery| (delivery.created_at, delivery.changed_at));
    all
}

fn due_view(due: &Notification) -> DeliveryView {
    let of = match (due.resolved, due.frozen) {
        (true, _) => AlertState::Resolved,
        (_, true) => AlertState::Frozen,
        _ => AlertState::Firing,
    };
    DeliveryView {
        receiver: due.receiver.clone(),
        of: of.as_str().to_owned(),
        created_at: due.created_at,
        changed_at: due.created_at,
        attempts: 0,
        state: DeliveryState::Pending,
        error: None,
    }
}

fn settled_view(core: &Core, incident: &Incident, line: &DeliveryLine) -> DeliveryView {
    let (of, created_at) = subject(core, incident, line);
    DeliveryView {
        receiver: line.receiver.clone(),
        of: of.as_str().to_owned(),
        created_at: created_at.min(line.at),
        changed_at: line.at,
        attempts: line.attempts,
        state: match line.outcome.as_str() {
            "delivered" => DeliveryState::Delivered,
            "refused" => DeliveryState::Refused,
            _ => DeliveryState::Expired,
        },
        error: (!line.error.is_empty()).then(|| line.error.clone()),
    }
}

/// Of what a delivery told, and when it was due. The line itself keeps only the number of the
/// transition, in its id: the first and the last one are known, those between are the change that
/// came before.
fn subject(core: &Core, incident: &Incident, line: &DeliveryLine) -> (AlertState, UnixNanos) {
    let rest = line.notification.strip_prefix(&*incident.id);
    let number = rest.and_then(|rest| rest.strip_prefix('-')?.split('-').next()?.parse().ok());
    let told = incident.notified.iter().find(|(name, _)| *name == line.receiver);
    match (number, told) {
        (Some(1_u32), _) => (AlertState::Firing, incident.started_at),
        (Some(last), Some((_, at))) if last == incident.transitions => (incident.state, *at),
        _ => {
            let mut changes = core.book.changes().rev().filter(|c| c.incident == incident.id);
            let before = changes.find(|change| change.at <= line.at);
            before.map_or((AlertState::Firing, line.at), |change| (change.to, change.at))
        }
    }
}
