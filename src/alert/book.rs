//! The state of alerting: incidents, silences, what changed, and the outbox.
//!
//! Changes only by records of the journal, live and in replay alike.

use super::outbox::Outbox;
use crate::base::clock::UnixNanos;
use crate::model::alert::{AlertKey, AlertState, Cause, Incident, Silence, Transition};
use crate::model::notification::{Notification, NotificationKind};
use std::collections::{BTreeMap, VecDeque};

/// Changes that are remembered for the page.
const MAX_CHANGES: usize = 1_000;
/// Ended incidents that are remembered.
const MAX_ENDED: usize = 200;
/// Silences that are remembered, ended ones first to go.
const MAX_SILENCES: usize = 1_000;

/// Everything about alerts.
#[derive(Clone, Debug, Default)]
pub struct AlertBook {
    active: BTreeMap<AlertKey, Incident>,
    ended: VecDeque<Incident>,
    changes: VecDeque<Change>,
    silences: BTreeMap<String, Silence>,
    /// Notifications that are due.
    pub outbox: Outbox,
}

/// A line of what changed.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// When.
    pub at: UnixNanos,
    /// Which incident.
    pub incident: String,
    /// Which alert.
    pub key: AlertKey,
    /// Into which state.
    pub to: AlertState,
    /// Why.
    pub cause: Cause,
    /// What it said of itself.
    pub summary: String,
}

impl AlertBook {
    /// Applies a transition; the notifications that it causes are in the outbox then.
    pub fn apply(&mut self, transition: &Transition) {
        let incident = self.active.entry(transition.key.clone()).or_insert_with(|| Incident {
            key: transition.key.clone(),
            id: transition.incident.clone(),
            state: AlertState::Firing,
            started_at: transition.at,
            changed_at: transition.at,
            ended_at: None,
            frozen_since: None,
            labels: transition.labels.clone(),
            annotations: transition.annotations.clone(),
            cause: transition.cause,
            transitions: 0,
            acknowledged: None,
            notified: Vec::new(),
        });
        let moved = incident.state != transition.to || incident.transitions == 0;
        incident.transitions += 1;
        incident.labels = transition.labels.clone();
        incident.annotations = transition.annotations.clone();
        incident.frozen_since = match transition.to {
            AlertState::Frozen => incident.frozen_since.or(Some(transition.at)),
            _ => None,
        };
        if moved {
            incident.state = transition.to;
            incident.cause = transition.cause;
            incident.changed_at = transition.at;
        }
        for receiver in &transition.receivers {
            incident.notified.retain(|(known, _)| known != receiver);
            incident.notified.push((receiver.clone(), transition.at));
        }
        let ended = transition.to == AlertState::Resolved;
        if ended {
            incident.ended_at = Some(transition.at);
        }
        let incident = incident.clone();
        for receiver in &transition.receivers {
            self.outbox.add(notification(
                &incident,
                receiver,
                transition.at,
                NotificationKind::Transition,
            ));
        }
        if moved {
            self.remember(transition);
        }
        if ended && let Some(incident) = self.active.remove(&transition.key) {
            self.ended.push_back(incident);
            while self.ended.len() > MAX_ENDED {
                drop(self.ended.pop_front());
            }
        }
    }

    /// A person has the incident.
    pub fn acknowledge(&mut self, incident: &str, by: &str, at: UnixNanos) {
        if let Some(found) = self.active.values_mut().find(|known| known.id == incident) {
            found.acknowledged = Some((by.to_owned(), at));
        }
    }

    /// Makes, changes or ends a silence.
    pub fn put_silence(&mut self, silence: Silence) {
        drop(self.silences.insert(silence.id.clone(), silence));
        while self.silences.len() > MAX_SILENCES {
            let oldest = self.silences.values().min_by_key(|s| s.ends_at).map(|s| s.id.clone());
            drop(oldest.and_then(|id| self.silences.remove(&id)));
        }
    }

    /// The incident of an alert that fires or is frozen.
    #[must_use]
    pub fn active(&self, key: &AlertKey) -> Option<&Incident> {
        self.active.get(key)
    }

    /// Incidents that fire or are frozen.
    pub fn all_active(&self) -> impl Iterator<Item = &Incident> {
        self.active.values()
    }

    /// Ended incidents, the newest last.
    pub fn all_ended(&self) -> impl DoubleEndedIterator<Item = &Incident> {
        self.ended.iter()
    }

    /// An incident by its id.
    #[must_use]
    pub fn incident(&self, id: &str) -> Option<&Incident> {
        self.active.values().chain(&self.ended).find(|incident| incident.id == id)
    }

    /// What changed, the newest last.
    pub fn changes(&self) -> impl DoubleEndedIterator<Item = &Change> {
        self.changes.iter()
    }

    /// Silences by id.
    pub fn silences(&self) -> impl Iterator<Item = &Silence> {
        self.silences.values()
    }

    /// The silence that holds an alert's notifications back now.
    #[must_use]
    pub fn silenced_by(
        &self,
        labels: &crate::model::labels::Labels,
        now: UnixNanos,
    ) -> Option<&Silence> {
        self.silences.values().find(|silence| silence.mutes(labels, now))
    }

    /// Puts back what a checkpoint kept.
    pub fn restore(
        &mut self,
        active: Vec<Incident>,
        ended: Vec<Incident>,
        changes: Vec<Change>,
        silences: Vec<Silence>,
    ) {
        self.active = active.into_iter().map(|incident| (incident.key.clone(), incident)).collect();
        self.ended = ended.into();
        self.changes = changes.into();
        self.silences = silences.into_iter().map(|silence| (silence.id.clone(), silence)).collect();
    }

    fn remember(&mut self, transition: &Transition) {
        self.changes.push_back(Change {
            at: transition.at,
            incident: transition.incident.clone(),
            key: transition.key.clone(),
            to: transition.to,
            cause: transition.cause,
            summary: transition.annotations.get("summary").unwrap_or_default().to_owned(),
        });
        while self.changes.len() > MAX_CHANGES {
            drop(self.changes.pop_front());
        }
    }
}

/// The message that tells a receiver how an incident stands.
#[must_use]
pub fn notification(
    incident: &Incident,
    receiver: &str,
    at: UnixNanos,
    kind: NotificationKind,
) -> Notification {
    Notification {
        id: format!("{}-{}-{receiver}", incident.id, incident.transitions),
        receiver: receiver.to_owned(),
        incident: incident.id.clone(),
        transition: incident.transitions,
        resolved: incident.state == AlertState::Resolved,
        frozen: incident.state == AlertState::Frozen,
        labels: incident.labels.clone(),
        annotations: incident.annotations.clone(),
        starts_at: incident.started_at,
        ends_at: incident.ended_at,
        created_at: at,
        generator_url: incident.annotations.get("page").unwrap_or_default().to_owned(),
        kind,
    }
}
