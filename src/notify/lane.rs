//! One receiver's notifications of one incident: strictly in order, one at a time.
//!
//! A lane knows order and nothing else; when to try again and when to give up is `queue`'s.

use crate::base::backoff::Backoff;
use crate::base::clock::{MonoNanos, UnixNanos};
use crate::model::notification::{Notification, NotificationKind};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// A receiver that asks for more patience than this is tried again after this.
pub const MAX_RETRY_AFTER: Duration = Duration::from_secs(600);

/// The same moment on both clocks: one to show, one to wait for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Moment {
    /// To show.
    pub(crate) unix: UnixNanos,
    /// To wait for.
    pub(crate) mono: MonoNanos,
}

/// A notification that is not settled yet.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) notification: Arc<Notification>,
    /// Attempts made so far.
    pub(super) attempts: u32,
    /// What the last one came to.
    pub(super) last_error: Option<String>,
    /// When it may be tried next.
    pub(super) due: Moment,
}

/// What waits and what is under way for one receiver and incident.
#[derive(Debug, Default)]
pub(super) struct Lane {
    /// By transition, then id.
    waiting: BTreeMap<(u32, String), Entry>,
    /// The newest repetition. It tells nothing new, so it goes after everything that does.
    repeat: Option<Entry>,
    in_flight: Option<Entry>,
    /// Its place in the desk's timetable.
    pub(super) slot: Option<(MonoNanos, u64)>,
}

/// Whether a notification only repeats what was told; such a one is never retried.
pub(super) fn is_repeat(kind: NotificationKind) -> bool {
    match kind {
        NotificationKind::Resend | NotificationKind::Heartbeat => true,
        NotificationKind::Transition | NotificationKind::Test => false,
    }
}

// === impl Moment ===

impl Moment {
    fn plus(self, by: Duration) -> Self {
        Self { unix: self.unix.plus(by), mono: self.mono.plus(by) }
    }
}

// === impl Entry ===

impl Entry {
    /// A notification to be tried at once.
    pub(super) fn new(notification: Notification, now: Moment) -> Self {
        Self { notification: Arc::new(notification), attempts: 0, last_error: None, due: now }
    }

    /// Puts the next attempt off: by the backoff, or longer when the receiver asked for it.
    pub(super) fn put_off(
        &mut self,
        now: Moment,
        error: String,
        wish: Option<Duration>,
        delay: Duration,
    ) {
        let wish = wish.unwrap_or_default().min(MAX_RETRY_AFTER);
        self.last_error = Some(error);
        self.due = now.plus(delay.max(wish));
    }

    /// The delay after the attempts so far.
    pub(super) fn delay(&self, backoff: Backoff, random: f64) -> Duration {
        backoff.delay(self.attempts, random)
    }

    fn order(&self) -> (u32, String) {
        (self.notification.transition, self.notification.id.clone())
    }
}

// === impl Lane ===

impl Lane {
    /// Takes an entry in; gives back the repetition that is now out of date, if any: the one in
    /// place or, when that is newer, the one brought.
    pub(super) fn insert(&mut self, entry: Entry) -> Option<Entry> {
        if !is_repeat(entry.notification.kind) {
            return self.waiting.insert(entry.order(), entry);
        }
        match &self.repeat {
            Some(newer) if newer.notification.created_at > entry.notification.created_at => {
                Some(entry)
            }
            _ => self.repeat.replace(entry),
        }
    }

    /// The entry to be tried next; none while one is under way.
    pub(super) fn head(&self) -> Option<&Entry> {
        if self.in_flight.is_some() {
            return None;
        }
        self.waiting.values().next().or(self.repeat.as_ref())
    }

    /// Takes the next entry out.
    pub(super) fn pop(&mut self) -> Option<Entry> {
        if self.in_flight.is_some() {
            return None;
        }
        self.waiting.pop_first().map(|(_, entry)| entry).or_else(|| self.repeat.take())
    }

    /// Marks an entry as under way.
    pub(super) fn set_out(&mut self, entry: Entry) {
        self.in_flight = Some(entry);
    }

    /// The entry under way has come back.
    pub(super) fn come_back(&mut self) -> Option<Entry> {
        self.in_flight.take()
    }

    /// Takes out everything that is not under way.
    pub(super) fn clear(&mut self) -> Vec<Entry> {
        let waiting = std::mem::take(&mut self.waiting);
        waiting.into_values().chain(self.repeat.take()).collect()
    }

    /// Makes everything that waits due now.
    pub(super) fn hurry(&mut self, now: Moment) {
        self.waiting.values_mut().chain(&mut self.repeat).for_each(|entry| entry.due = now);
    }

    /// Everything in the lane, in order, the one under way first, each with the time of its next
    /// attempt where that is known.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&Entry, Option<UnixNanos>)> {
        let head = self.head().map(|entry| &entry.notification);
        let behind = self.waiting.values().chain(&self.repeat).map(move |entry| {
            let is_head = head.is_some_and(|head| Arc::ptr_eq(head, &entry.notification));
            (entry, is_head.then_some(entry.due.unix))
        });
        self.in_flight.iter().map(|entry| (entry, None)).chain(behind)
    }

    /// Whether nothing is in it.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.repeat.is_none() && self.in_flight.is_none()
    }
}
