//! Notifications that are due, until a delivery record says what became of them.
//!
//! The outbox is journaled state: after a restart what is still in it is handed to the couriers
//! again, so delivery is at least once, under ids that stay the same.

use crate::base::clock::UnixNanos;
use crate::model::notification::Notification;
use std::collections::{BTreeMap, VecDeque};

/// Deliveries that are remembered for the page.
const MAX_DELIVERIES: usize = 500;
/// Notifications that may wait; beyond them the oldest are given up, visibly.
const MAX_PENDING: usize = 10_000;

/// What is due and what was delivered.
#[derive(Clone, Debug, Default)]
pub struct Outbox {
    pending: BTreeMap<String, Notification>,
    deliveries: VecDeque<DeliveryLine>,
}

/// What became of a notification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryLine {
    /// The notification's id.
    pub notification: String,
    /// Its incident.
    pub incident: String,
    /// Its receiver.
    pub receiver: String,
    /// When.
    pub at: UnixNanos,
    /// `delivered`, `refused` or `given_up`.
    pub outcome: String,
    /// What the receiver said, when it did not take it.
    pub error: String,
    /// How many attempts it took.
    pub attempts: u32,
}

impl Outbox {
    /// Adds a notification.
    pub fn add(&mut self, notification: Notification) {
        if self.pending.len() >= MAX_PENDING
            && let Some(oldest) =
                self.pending.values().min_by_key(|n| n.created_at).map(|n| n.id.clone())
        {
            let at = notification.created_at;
            self.settle(&oldest, at, "given_up", "the outbox is full", 0);
        }
        drop(self.pending.insert(notification.id.clone(), notification));
    }

    /// Takes a notification out, with what became of it.
    pub fn settle(&mut self, id: &str, at: UnixNanos, outcome: &str, error: &str, attempts: u32) {
        let Some(notification) = self.pending.remove(id) else { return };
        self.restore_delivery(DeliveryLine {
            notification: notification.id,
            incident: notification.incident,
            receiver: notification.receiver,
            at,
            outcome: outcome.to_owned(),
            error: error.to_owned(),
            attempts,
        });
    }

    /// Notifications that are due, by id.
    pub fn pending(&self) -> impl ExactSizeIterator<Item = &Notification> {
        self.pending.values()
    }

    /// What was delivered, the newest last.
    pub fn deliveries(&self) -> impl DoubleEndedIterator<Item = &DeliveryLine> {
        self.deliveries.iter()
    }

    /// Puts back a delivery of a checkpoint.
    pub fn restore_delivery(&mut self, line: DeliveryLine) {
        self.deliveries.push_back(line);
        while self.deliveries.len() > MAX_DELIVERIES {
            drop(self.deliveries.pop_front());
        }
    }
}
