//! The state of alerting as messages of a checkpoint, and back.

use super::book::{AlertBook, Change};
use super::codec::{silence, silence_record};
use super::outbox::DeliveryLine;
use crate::base::clock::UnixNanos;
use crate::model::alert::{AlertKey, AlertState, Cause, Incident};
use crate::model::notification::{Notification, NotificationKind};
use crate::model::objective::Severity;
use crate::store::codec::{labels, pairs};
use crate::wire::state::{
    AlertsMessage, ChangeMessage, DeliveryMessage, IncidentMessage, NotificationMessage,
};

/// The book as a message.
#[must_use]
pub fn save(book: &AlertBook) -> AlertsMessage {
    AlertsMessage {
        active: book.all_active().map(incident_message).collect(),
        ended: book.all_ended().map(incident_message).collect(),
        changes: book.changes().map(change_message).collect(),
        silences: book.silences().map(silence_record).collect(),
        pending: book.outbox.pending().map(notification_message).collect(),
        deliveries: book.outbox.deliveries().map(delivery_message).collect(),
    }
}

/// The message as a book. Lines that name what this build does not know are left out.
#[must_use]
pub fn load(message: &AlertsMessage) -> AlertBook {
    let mut book = AlertBook::default();
    book.restore(
        message.active.iter().filter_map(incident).collect(),
        message.ended.iter().filter_map(incident).collect(),
        message.changes.iter().filter_map(change).collect(),
        message.silences.iter().filter_map(silence).collect(),
    );
    message.pending.iter().map(notification).for_each(|n| book.outbox.add(n));
    message.deliveries.iter().map(delivery).for_each(|line| book.outbox.restore_delivery(line));
    book
}

fn incident_message(incident: &Incident) -> IncidentMessage {
    let (by, at) = incident.acknowledged.clone().unwrap_or_default();
    IncidentMessage {
        name: incident.key.name.clone(),
        severity: incident.key.severity.as_str().to_owned(),
        id: incident.id.clone(),
        state: incident.state.as_str().to_owned(),
        cause: incident.cause.as_str().to_owned(),
        started_at: incident.started_at.0,
        changed_at: incident.changed_at.0,
        ended_at: incident.ended_at.map_or(0, |at| at.0),
        frozen_since: incident.frozen_since.map_or(0, |at| at.0),
        labels: pairs(&incident.labels),
        annotations: pairs(&incident.annotations),
        transitions: incident.transitions,
        acknowledged_by: by,
        acknowledged_at: at.0,
        notified: incident.notified.iter().map(|(name, _)| name.clone()).collect(),
        notified_at: incident.notified.iter().map(|(_, at)| at.0).collect(),
    }
}

fn incident(message: &IncidentMessage) -> Option<Incident> {
    let instant = |at: u64| (at > 0).then_some(UnixNanos(at));
    let acknowledged = (!message.acknowledged_by.is_empty())
        .then(|| (message.acknowledged_by.clone(), UnixNanos(message.acknowledged_at)));
    let notified = message.notified.iter().cloned();
    Some(Incident {
        key: key(&message.name, &message.severity)?,
        id: message.id.clone(),
        state: AlertState::from_name(&message.state)?,
        cause: Cause::from_name(&message.cause)?,
        started_at: UnixNanos(message.started_at),
        changed_at: UnixNanos(message.changed_at),
        ended_at: instant(message.ended_at),
        frozen_since: instant(message.frozen_since),
        labels: labels(&message.labels),
        annotations: labels(&message.annotations),
        transitions: message.transitions,
        acknowledged,
        notified: notified.zip(message.notified_at.iter().map(|at| UnixNanos(*at))).collect(),
    })
}

fn change_message(change: &Change) -> ChangeMessage {
    ChangeMessage {
        at_unix_nano: change.at.0,
        incident: change.incident.clone(),
        name: change.key.name.clone(),
        severity: change.key.severity.as_str().to_owned(),
        to: change.to.as_str().to_owned(),
        cause: change.cause.as_str().to_owned(),
        summary: change.summary.clone(),
    }
}

fn change(message: &ChangeMessage) -> Option<Change> {
    Some(Change {
        at: UnixNanos(message.at_unix_nano),
        incident: message.incident.clone(),
        key: key(&message.name, &message.severity)?,
        to: AlertState::from_name(&message.to)?,
        cause: Cause::from_name(&message.cause)?,
        summary: message.summary.clone(),
    })
}

fn key(name: &str, severity: &str) -> Option<AlertKey> {
    Some(AlertKey { name: name.to_owned(), severity: Severity::from_name(severity)? })
}

fn notification_message(notification: &Notification) -> NotificationMessage {
    NotificationMessage {
        id: notification.id.clone(),
        receiver: notification.receiver.clone(),
        incident: notification.incident.clone(),
        transition: notification.transition,
        resolved: notification.resolved,
        frozen: notification.frozen,
        labels: pairs(&notification.labels),
        annotations: pairs(&notification.annotations),
        starts_at: notification.starts_at.0,
        ends_at: notification.ends_at.map_or(0, |at| at.0),
        created_at: notification.created_at.0,
        generator_url: notification.generator_url.clone(),
    }
}

/// Only transitions wait in the outbox; repetitions and heartbeats are made anew.
fn notification(message: &NotificationMessage) -> Notification {
    Notification {
        id: message.id.clone(),
        receiver: message.receiver.clone(),
        incident: message.incident.clone(),
        transition: message.transition,
        resolved: message.resolved,
        frozen: message.frozen,
        labels: labels(&message.labels),
        annotations: labels(&message.annotations),
        starts_at: UnixNanos(message.starts_at),
        ends_at: (message.ends_at > 0).then_some(UnixNanos(message.ends_at)),
        created_at: UnixNanos(message.created_at),
        generator_url: message.generator_url.clone(),
        kind: NotificationKind::Transition,
    }
}

fn delivery_message(line: &DeliveryLine) -> DeliveryMessage {
    DeliveryMessage {
        notification: line.notification.clone(),
        incident: line.incident.clone(),
        receiver: line.receiver.clone(),
        at_unix_nano: line.at.0,
        outcome: line.outcome.clone(),
        error: line.error.clone(),
        attempts: line.attempts,
    }
}

fn delivery(message: &DeliveryMessage) -> DeliveryLine {
    DeliveryLine {
        notification: message.notification.clone(),
        incident: message.incident.clone(),
        receiver: message.receiver.clone(),
        at: UnixNanos(message.at_unix_nano),
        outcome: message.outcome.clone(),
        error: message.error.clone(),
        attempts: message.attempts,
    }
}
