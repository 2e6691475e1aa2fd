//! What happened lately: alerts, silences, reloads, releases, late data, starts.

use super::Surroundings;
use crate::alert::Core;
use crate::alert::book::Change;
use crate::api::page::view::{ChangeKind, ChangeView, ChangesPage};
use crate::base::clock::UnixNanos;
use crate::model::alert::{AlertState, Cause, Silence};
use crate::model::slot::GoodTotal;
use crate::store::late::LateKey;
use std::cmp::Reverse;

/// Changes that the page of changes shows.
const MAX: usize = 100;

/// `/changes`.
#[must_use]
pub fn changes(core: &Core, around: &Surroundings, now: UnixNanos) -> ChangesPage {
    let version = around.version.clone();
    ChangesPage { now, version, changes: newest(core, around, now, MAX) }
}

/// The last `limit` changes up to now, newest first.
pub(super) fn newest(
    core: &Core,
    around: &Surroundings,
    now: UnixNanos,
    limit: usize,
) -> Vec<ChangeView> {
    let book = &core.book;
    let mut all: Vec<ChangeView> = book.changes().rev().take(limit).map(of_alert).collect();
    for incident in book.all_active().chain(book.all_ended()) {
        let Some((by, at)) = &incident.acknowledged else { continue };
        all.push(ChangeView {
            at: *at,
            kind: ChangeKind::Acknowledged,
            text: format!("{by} has {}", incident.key.name),
            link: Some(format!("/incidents/{}", incident.id)),
        });
    }
    all.extend(book.silences().flat_map(|silence| of_silence(silence, now)));
    all.extend(around.reloads.iter().cloned());
    all.extend(core.store.late.releases().map(|(app, version, at)| ChangeView {
        at,
        kind: ChangeKind::Release,
        text: format!("{app} {version} was seen for the first time"),
        link: None,
    }));
    let late = core.store.late.iter().rev().take(limit);
    all.extend(late.filter_map(|(key, counts)| of_late_data(core, key, *counts)));
    all.push(ChangeView {
        at: around.started_at,
        kind: ChangeKind::Started,
        text: format!("radiosonde {} started", around.version),
        link: None,
    });
    all.retain(|change| change.at <= now);
    all.sort_by_key(|change| Reverse(change.at));
    all.truncate(limit);
    all
}

/// What kind of thing a change of an alert is, and how it reads.
pub(super) fn kind_and_text(change: &Change) -> (ChangeKind, String) {
    let name = &change.key.name;
    let fired = ChangeKind::Fired(change.key.severity);
    match (change.to, change.cause) {
        (AlertState::Firing, Cause::DataBack) => {
            (fired, format!("data of {name} is back, and it still holds"))
        }
        (AlertState::Firing, _) if change.summary.is_empty() => {
            (fired, format!("{name} began to fire"))
        }
        (AlertState::Firing, _) => (fired, change.summary.clone()),
        (AlertState::Frozen, _) => {
            (ChangeKind::Frozen, format!("{name} is frozen: its data is missing"))
        }
        (AlertState::Resolved, Cause::Removed) => {
            (ChangeKind::Resolved, format!("{name} was removed or now counts something else"))
        }
        (AlertState::Resolved, Cause::Closed) => {
            (ChangeKind::Resolved, format!("{name} was closed by hand"))
        }
        (AlertState::Resolved, _) => (ChangeKind::Resolved, format!("{name} is resolved")),
    }
}

/// Begin and end of a silence, as far as they have come.
pub(super) fn of_silence(silence: &Silence, now: UnixNanos) -> Vec<ChangeView> {
    let comment = &silence.comment;
    let change = |at, text| ChangeView { at, kind: ChangeKind::Silence, text, link: None };
    let began = format!("silence of {}: {comment}", silence.created_by);
    let ended = format!("silence of {} ended: {comment}", silence.created_by);
    let mut both = vec![change(silence.starts_at, began), change(silence.ends_at, ended)];
    both.retain(|change| change.at <= now);
    both
}

fn of_alert(change: &Change) -> ChangeView {
    let (kind, text) = kind_and_text(change);
    ChangeView { at: change.at, kind, text, link: Some(format!("/incidents/{}", change.incident)) }
}

/// None for indicators that no SLO in force has.
fn of_late_data(core: &Core, key: &LateKey, counts: GoodTotal) -> Option<ChangeView> {
    let slo = core.policy.slos.iter().find(|slo| slo.indicator.id() == key.indicator)?;
    let hour = key.event_hour.start().to_rfc3339();
    let hour = hour.get(..16).unwrap_or_default().replace('T', " ");
    let (name, total, bad) = (&slo.name, counts.total, counts.bad);
    Some(ChangeView {
        at: key.received_hour.start(),
        kind: ChangeKind::LateData,
        text: format!("late data: {total} events, {bad} of them bad, for {name} at {hour} UTC"),
        link: Some(format!("/slos/{name}")),
    })
}
