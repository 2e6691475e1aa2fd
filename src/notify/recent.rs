//! The notifications settled last: what makes a second submission of one harmless.
//!
//! The outbox learns of an outcome a little after it; what it hands over again in between must not
//! go out again.

use super::lane::is_repeat;
use crate::model::notification::Notification;
use std::collections::{HashMap, HashSet, VecDeque};

/// This many settled notifications are remembered.
pub(super) const REMEMBERED: usize = 4_096;

/// The last settled notifications, and how far each of their incidents had come.
#[derive(Debug, Default)]
pub(super) struct Recent {
    order: VecDeque<Settled>,
    ids: HashSet<String>,
    /// By receiver and incident, the newest transition settled.
    newest: HashMap<(String, String), u32>,
}

#[derive(Debug)]
struct Settled {
    id: String,
    lane: (String, String),
    transition: u32,
}

impl Recent {
    /// Remembers a settled notification, and forgets the oldest when there are too many.
    /// Repetitions are left out: they share what is remembered here with what they repeat.
    pub(super) fn remember(&mut self, notification: &Notification) {
        if is_repeat(notification.kind) {
            return;
        }
        let lane = (notification.receiver.clone(), notification.incident.clone());
        let newest = self.newest.entry(lane.clone()).or_default();
        *newest = notification.transition.max(*newest);
        let _ = self.ids.insert(notification.id.clone());
        let transition = notification.transition;
        self.order.push_back(Settled { id: notification.id.clone(), lane, transition });
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            let _ = self.ids.remove(&oldest.id);
            if self.newest.get(&oldest.lane) == Some(&oldest.transition) {
                let _ = self.newest.remove(&oldest.lane);
            }
        }
    }

    /// Whether this notification was settled before.
    pub(super) fn knows(&self, notification: &Notification) -> bool {
        !is_repeat(notification.kind) && self.ids.contains(&notification.id)
    }

    /// Whether a later transition of the same incident was settled for the same receiver.
    pub(super) fn overtook(&self, notification: &Notification) -> bool {
        let lane = (notification.receiver.clone(), notification.incident.clone());
        self.newest.get(&lane).is_some_and(|newest| *newest > notification.transition)
    }
}
