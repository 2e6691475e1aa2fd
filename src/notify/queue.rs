//! The outbox's working copy: which notification is tried when, and what became of it.
//!
//! A state machine without I/O or clock: `courier` brings the time, the answers and chance, and
//! carries attempts and outcomes out. Every accepted notification ends in exactly one outcome,
//! unless the process ends before.

use super::desk::Desk;
use super::lane::{Entry, Moment, is_repeat};
use super::recent::Recent;
use crate::base::backoff::Backoff;
use crate::base::clock::{MonoNanos, UnixNanos};
use crate::model::notification::{Delivery, Notification, NotificationKind};
use crate::model::routing::Receiver;
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// No more notifications are held, outcomes that nobody has taken yet among them. What is turned
/// away stays in the outbox and is handed over again later.
pub const MAX_PENDING: usize = 10_000;

/// Attempts under way at one receiver.
pub const MAX_IN_FLIGHT: usize = 8;

/// How long after its decision a notification is tried again at most.
pub const GIVE_UP_AFTER: Duration = Duration::from_secs(24 * 3_600);

/// What became of a notification, once and for all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The notification's id.
    pub id: String,
    /// The receiver's name.
    pub receiver: String,
    /// What kind of message it was.
    pub kind: NotificationKind,
    /// When it was settled.
    pub at: UnixNanos,
    /// How it ended.
    pub result: DeliveryResult,
    /// How often it was tried.
    pub attempts: u32,
}

/// How a notification ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeliveryResult {
    /// The receiver has it.
    Delivered,
    /// The receiver refused it for good, or there is no such receiver.
    Refused {
        /// What it said, without secrets.
        error: String,
    },
    /// It was not tried again: too late, only a repetition, or overtaken by newer news.
    GivenUp {
        /// The last failure or the reason, without secrets.
        error: String,
    },
}

/// A notification that is not settled, for the page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingView {
    /// The notification's id.
    pub id: String,
    /// The receiver's name.
    pub receiver: String,
    /// Attempts made so far.
    pub attempts: u32,
    /// What the last one came to.
    pub last_error: Option<String>,
    /// When it is tried next; none while it is under way or waits for an earlier one.
    pub next_attempt_at: Option<UnixNanos>,
}

/// An attempt to be made now.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    pub(super) receiver: Arc<Receiver>,
    pub(crate) notification: Arc<Notification>,
}

/// What an attempt led to, as told in metrics and logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Settled(DeliveryResult),
    Retried { error: String, attempts: u32 },
}

/// Everything that waits or is under way, for all receivers.
#[derive(Debug)]
pub(crate) struct Queue {
    backoff: Backoff,
    desks: BTreeMap<String, Desk>,
    /// What is pending: its id, and for repetitions, which may share one, when it was made.
    known: HashSet<(String, Option<UnixNanos>)>,
    recent: Recent,
    settled: VecDeque<Outcome>,
}

// === impl Queue ===

impl Queue {
    /// An empty queue for these receivers.
    pub(crate) fn new(receivers: Vec<Receiver>, backoff: Backoff) -> Self {
        let mut queue = Self {
            backoff,
            desks: BTreeMap::new(),
            known: HashSet::new(),
            recent: Recent::default(),
            settled: VecDeque::new(),
        };
        queue.replace_receivers(receivers, Moment::default());
        queue
    }

    /// Takes a notification in. False when there is no room; true also when it is known already.
    pub(crate) fn submit(&mut self, notification: Notification, now: Moment) -> bool {
        let key = identity(&notification);
        if self.known.contains(&key) || self.recent.knows(&notification) {
            return true;
        }
        if self.pending() + self.settled.len() >= MAX_PENDING {
            return false;
        }
        let _ = self.known.insert(key);
        let entry = Entry::new(notification, now);
        let desk = self.desks.get_mut(&entry.notification.receiver);
        match desk.filter(|desk| desk.receiver.is_some()) {
            Some(desk) => {
                if let Some(outdated) = desk.insert(entry) {
                    self.settle(outdated, now, superseded());
                }
            }
            None => self.settle(entry, now, not_configured()),
        }
        true
    }

    /// The next attempt that may be made at `now`.
    pub(crate) fn take_due(&mut self, now: Moment) -> Option<Attempt> {
        let names: Vec<String> = self.desks.keys().cloned().collect();
        names.iter().find_map(|name| self.take_due_from(name, now))
    }

    fn take_due_from(&mut self, name: &str, now: Moment) -> Option<Attempt> {
        loop {
            let desk = self.desks.get_mut(name)?;
            let receiver = desk.receiver.clone()?;
            let entry = desk.pop_due(now.mono, MAX_IN_FLIGHT)?;
            if self.recent.overtook(&entry.notification) {
                self.settle(entry, now, superseded());
                continue;
            }
            let notification = Arc::clone(&entry.notification);
            desk.set_out(entry);
            return Some(Attempt { receiver, notification });
        }
    }

    /// When the next attempt may be made.
    pub(super) fn next_due(&self) -> Option<MonoNanos> {
        self.desks.values().filter_map(|desk| desk.next_due(MAX_IN_FLIGHT)).min()
    }

    /// An attempt has come back. `random` in 0..1 spreads the next one.
    pub(crate) fn finish(
        &mut self,
        notification: &Notification,
        delivery: Delivery,
        now: Moment,
        random: f64,
    ) -> Option<Verdict> {
        let desk = self.desks.get_mut(&notification.receiver)?;
        let mut entry = desk.come_back(&notification.incident)?;
        entry.attempts = entry.attempts.saturating_add(1);
        let result = match delivery {
            Delivery::Delivered => DeliveryResult::Delivered,
            Delivery::Refused { error } => DeliveryResult::Refused { error },
            Delivery::Retry { .. } if desk.receiver.is_none() => not_configured(),
            Delivery::Retry { error, .. } if out_of_time(notification, now) => {
                DeliveryResult::GivenUp { error }
            }
            Delivery::Retry { error, after_seconds } => {
                let wish = after_seconds.map(Duration::from_secs);
                let delay = entry.delay(self.backoff, random);
                entry.put_off(now, error.clone(), wish, delay);
                let attempts = entry.attempts;
                let _ = desk.insert(entry);
                return Some(Verdict::Retried { error, attempts });
            }
        };
        self.settle(entry, now, result.clone());
        self.forget_retired();
        Some(Verdict::Settled(result))
    }

    /// The next outcome that nobody has taken.
    pub(crate) fn next_outcome(&mut self) -> Option<Outcome> {
        self.settled.pop_front()
    }

    /// From now on these are the receivers. What waits for one that is gone is refused; what waits
    /// for one that changed is tried at once.
    pub(super) fn replace_receivers(&mut self, receivers: Vec<Receiver>, now: Moment) {
        let names: HashSet<String> = receivers.iter().map(|r| r.name.clone()).collect();
        let mut gone = Vec::new();
        for (_, desk) in self.desks.iter_mut().filter(|(name, _)| !names.contains(*name)) {
            desk.receiver = None;
            gone.append(&mut desk.clear());
        }
        gone.into_iter().for_each(|entry| self.settle(entry, now, not_configured()));
        for receiver in receivers {
            let desk = self.desks.entry(receiver.name.clone()).or_default();
            if desk.receiver.as_deref() != Some(&receiver) {
                desk.receiver = Some(Arc::new(receiver));
                desk.hurry(now);
            }
        }
        self.forget_retired();
    }

    /// Everything that is not settled, by receiver, incident and transition.
    pub(super) fn views(&self) -> Vec<PendingView> {
        let lanes = self.desks.values().flat_map(Desk::lanes);
        let entries = lanes.flat_map(super::lane::Lane::entries);
        entries
            .map(|(entry, next_attempt_at)| PendingView {
                id: entry.notification.id.clone(),
                receiver: entry.notification.receiver.clone(),
                attempts: entry.attempts,
                last_error: entry.last_error.clone(),
                next_attempt_at,
            })
            .collect()
    }

    /// How many are not settled.
    pub(super) fn pending(&self) -> usize {
        self.known.len()
    }

    /// Whether no attempt is under way.
    pub(super) fn at_rest(&self) -> bool {
        self.desks.values().all(|desk| desk.in_flight() == 0)
    }

    fn settle(&mut self, entry: Entry, now: Moment, result: DeliveryResult) {
        let notification = &entry.notification;
        let _ = self.known.remove(&identity(notification));
        self.recent.remember(notification);
        self.settled.push_back(Outcome {
            id: notification.id.clone(),
            receiver: notification.receiver.clone(),
            kind: notification.kind,
            at: now.unix,
            result,
            attempts: entry.attempts,
        });
    }

    fn forget_retired(&mut self) {
        self.desks.retain(|_, desk| desk.receiver.is_some() || desk.in_flight() > 0);
    }
}

fn identity(notification: &Notification) -> (String, Option<UnixNanos>) {
    let made = is_repeat(notification.kind).then_some(notification.created_at);
    (notification.id.clone(), made)
}

/// Whether another attempt would be pointless: it only repeats, or its day is over.
fn out_of_time(notification: &Notification, now: Moment) -> bool {
    is_repeat(notification.kind) || now.unix.since(notification.created_at) >= GIVE_UP_AFTER
}

fn superseded() -> DeliveryResult {
    DeliveryResult::GivenUp { error: "superseded by a newer notification".to_owned() }
}

fn not_configured() -> DeliveryResult {
    DeliveryResult::Refused { error: "the receiver is not in the configuration".to_owned() }
}
